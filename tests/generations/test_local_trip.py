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
from generations import lifecycle, providers, tasks
from generations.models import Generation, Output
from generations.providers import calls
from generations.providers.base import Job
from generations.providers.local_renderer import read_json, write_json
from generations.providers.local_text import count_tokens
from tests.billing.admin.colleague import Colleague, said
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


def started(purse: Purse, operation: str, **inputs: Any) -> Generation:
    quote = lifecycle.quote(operation, {"prompt": "A lighthouse that anyone can rent", **inputs})
    assert quote.provider.name == "local"
    job = lifecycle.start(purse.id, quote, actor="user:1").generation
    assert purse.account.held == quote.estimate.max
    return job


def done(purse: Purse, operation: str, **inputs: Any) -> Generation:
    """The job, followed to its end by the worker's own passes."""
    job = started(purse, operation, **inputs)

    def is_settled() -> bool:
        tasks.sweep_once()
        return Generation.objects.filter(id=job.id, credits_charged__isnull=False).exists()

    until(is_settled, 180)
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


def test_a_text_whose_tokens_nobody_counted_is_a_question_for_staff(purse: Purse, settings: Any) -> None:
    """It is never priced at its maximum: it stays held until staff give the credits back."""
    job, staff = started(purse, "ai/script"), Colleague("stella", "*")
    status = settings.LOCAL_DIR / "jobs" / str(job.id) / "status.json"

    def forgets() -> bool:
        """The renderer's last word is there, and loses its count before anybody asks."""
        found = read_json(status) or {}
        if found.get("status") == "completed":
            write_json(status, {name: value for name, value in found.items() if name != "usage"})
        return "usage" not in found and "bytes" in found

    calls.run(providers.get("local").submit(Job(str(job.id), job.operation, job.inputs)))
    until(forgets)

    def is_in_question() -> bool:
        tasks.sweep_once()
        return bool(Generation.objects.get(id=job.id).review)

    until(is_in_question, 180)
    job.refresh_from_db()
    assert (job.credits_charged, job.outcome, purse.account.held) == (None, None, job.estimate_max)
    assert "It cannot be priced" in job.review
    for answer in (staff.checks(job, "settle"), staff.does(job, "settle")):
        assert answer.status_code == 409
        assert "It is not known how many input tokens were used." in said(answer)
    assert purse.account.held == job.estimate_max
    assert staff.does(job, "release_job").status_code == 302
    assert (purse.account.held, purse.account.balance) == (0, 10 * credits.MICRO)
