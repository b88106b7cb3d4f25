"""Three people at the counter of the studio, the shipped prices, and a tool that can end in every way."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command

from billing import clock
from billing.models import Entry, Hold, IdempotencyKey
from tests.people import Answer, Caller, member, nobody, owner, stranger
from tests.tools_registry.test_runs import PROBE, RATES
from tools_registry import registry, runner
from tools_registry.models import ToolCost, ToolRun

__all__ = ["member", "nobody", "owner", "stranger"]

RUN = f"/api/{PROBE.slug}/run"


@pytest.fixture(scope="module")
def probe_runner() -> Iterator[runner.Runner]:
    """The real runner, which knows the probe's package too."""
    made = runner.Runner(also=("tests.tools_registry.probes",))
    yield made
    made.close()


@pytest.fixture
def prices(transactional_db: None) -> None:
    """The shipped prices and plans; the tests commit, as a run does."""
    call_command("install_catalogue", stdout=io.StringIO())
    call_command("install_plans", stdout=io.StringIO())


@pytest.fixture
def probe(prices: None, monkeypatch: pytest.MonkeyPatch, probe_runner: runner.Runner, settings: Any) -> None:
    """The probe is a tool of the studio, with a price and an address."""
    monkeypatch.setitem(registry.TOOLS, PROBE.slug, PROBE)
    monkeypatch.setattr(runner, "run", probe_runner.run)
    ToolCost.objects.create(tool=PROBE.slug, valid_from=clock.now(), model="measured", rates=RATES)
    settings.ROOT_URLCONF = "tests.tools_registry.api.urls"


def written() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Entry, Hold, ToolRun, IdempotencyKey))


def multipart(caller: Caller, path: str, inputs: Any, files: Mapping[str, tuple[str, bytes]], **headers: str) -> Answer:
    """The inputs as JSON with files beside them."""
    boundary = f"b{uuid4().hex}"
    parts: list[bytes] = []
    if inputs is not None:
        written = inputs if isinstance(inputs, str) else json.dumps(inputs)
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="inputs"\r\n\r\n{written}\r\n'.encode())
    for field, (name, content) in files.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        parts.append(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + content + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return caller.send("POST", path, body, f"multipart/form-data; boundary={boundary}", **headers)
