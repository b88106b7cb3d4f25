"""Pictures and texts made on this machine, from the estimate to the statement: what was held, charged and delivered."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage

from billing import credits
from billing.reconcile import reconcile
from generations import lifecycle, tasks
from generations.models import Generation, Output
from generations.providers.local_text import count_tokens
from tests.billing.purse import Purse
from tests.generations.providers.conftest import Renderer, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def purse(catalogue: None, settings: Any, tmp_path: Path) -> Iterator[Purse]:
    """An account with 10 credits, and the renderer at work; afterwards the books are reconciled."""
    settings.LOCAL_DIR = tmp_path / "local"
    renderer = Renderer(settings.LOCAL_DIR)
    purse = Purse()
    purse.grant(10 * credits.MICRO)
    yield purse
    renderer.kill(signal.SIGTERM)
    assert reconcile().findings == []


def done(purse: Purse, operation: str, **inputs: Any) -> Generation:
    """The job, followed to its end by the worker's own passes."""
    quote = lifecycle.quote(operation, {"prompt": "A lighthouse that anyone can rent", **inputs})
    assert quote.provider.name == "local"
    job = lifecycle.start(purse.id, quote, actor="user:1").generation
    assert purse.account.held == quote.estimate.max

    def is_settled() -> bool:
        tasks.sweep_once()
        return Generation.objects.filter(id=job.id, credits_charged__isnull=False).exists()

    until(is_settled, 60)
    assert purse.account.held == 0
    return Generation.objects.get(id=job.id)


def content_of(job: Generation) -> bytes:
    output = Output.objects.get(generation=job)
    assert output.released_at is not None
    with default_storage.open(output.file) as file:
        return bytes(file.read())


@pytest.mark.parametrize(
    ("inputs", "cost"), [({"quality": "draft"}, "0.5"), ({"quality": "high", "size": "1536x1024"}, "3")]
)
def test_a_picture_is_charged_by_the_piece(purse: Purse, inputs: dict[str, str], cost: str) -> None:
    job = done(purse, "ai/image", **inputs)
    assert (job.state, job.outcome, job.loss) == ("succeeded", "charged", 0)
    assert credits.format(job.charged_amount or 0) == cost
    assert content_of(job)[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("operation", ["ai/script", "ai/threads"])
def test_a_text_is_charged_by_its_tokens(purse: Purse, operation: str) -> None:
    job = done(purse, operation)
    text = content_of(job).decode()
    assert job.delivered is not None
    assert job.delivered["output_tokens"] == count_tokens(text)
    # 0.1 a thousand read, 0.5 a thousand written, at least 0.1
    cost = max(100 * job.delivered["input_tokens"] + 500 * job.delivered["output_tokens"], 100_000)
    assert (job.state, job.outcome, job.charged_amount, job.loss) == ("succeeded", "charged", cost, 0)
    assert cost < job.estimate_max
    assert purse.account.balance == 10 * credits.MICRO - cost
    assert "lighthouse" in text


def test_a_text_that_stopped_at_its_length_is_charged_and_delivered(purse: Purse) -> None:
    job = done(purse, "ai/threads", posts=20, length_max=300)
    assert (job.verdict_status, job.verdict_code) == ("incomplete", "max_output_tokens")
    assert (job.state, job.outcome) == ("succeeded", "charged")
    assert job.delivered is not None
    assert job.delivered["output_tokens"] == 300
    assert job.charged_amount == 500 * 300 + 100 * job.delivered["input_tokens"]
    assert len(content_of(job)) > 500
