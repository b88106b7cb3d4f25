"""The trip of a job, driven in-process against the rehearsal provider's real server."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from django.core.management import call_command

from billing.reconcile import reconcile
from generations import tasks
from generations.providers.rehearsal import Rehearsal
from tests.billing.purse import Purse
from tests.conftest import Clock
from tests.generations.providers.conftest import StandIn
from tests.generations.trip import MICRO, SHORT, Trip


@pytest.fixture(scope="session")
def rehearsal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """One stand-in for the whole run: jobs end at once, and an acceptance that is late is later than anyone waits.

    The films that the tests ask for are made beforehand, so that no fetch waits for them.
    """
    state = tmp_path_factory.mktemp("rehearsal") / "state.sqlite3"
    running = StandIn(state, "--seconds", "0", "--timeout-accept-seconds", "60")
    for seconds in (2, SHORT["seconds"]):
        film = SHORT | {"reference": f"film-{seconds}", "prompt": "A film", "seconds": seconds}
        keyed = StandIn.headers | {"Idempotency-Key": str(film["reference"])}
        job = httpx.post(f"{running.url}/v1/videos", json=film, headers=keyed).raise_for_status().json()["id"]
        httpx.get(f"{running.url}/v1/videos/{job}/content", headers=keyed, timeout=60).raise_for_status()
    yield running
    running.kill()


@pytest.fixture
def catalogue(transactional_db: None) -> None:
    """The shipped prices and settlement rules."""
    call_command("install_catalogue", stdout=io.StringIO())


@pytest.fixture
def provider_calls(monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> list[str]:
    """What the rehearsal provider was asked, in order. calls.py refuses every call while a transaction is open."""
    made: list[str] = []

    def watched(name: str) -> Callable[..., Any]:
        original = getattr(Rehearsal, name)

        async def call(self: Rehearsal, *args: Any) -> Any:
            made.append(name)
            return await original(self, *args)

        return call

    for name in ("submit", "poll", "look_up", "cancel", "fetch"):
        monkeypatch.setattr(Rehearsal, name, watched(name))
    return made


@pytest.fixture
def in_a_hurry(trip: Trip, settings: Any) -> None:
    """No call waits for long: for jobs that are accepted and said to be so too late."""
    settings.PROVIDER_TIMEOUT_SECONDS = 2.0


@pytest.fixture
def trip(
    rehearsal_server: StandIn,
    catalogue: None,
    clock: Clock,
    settings: Any,
    provider_calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Trip]:
    """A person with 10 credits; what a sweep would only log is raised; afterwards the books are reconciled."""
    settings.REHEARSAL_URL = rehearsal_server.url
    settings.PROVIDER_TIMEOUT_SECONDS = 10.0  # no answer takes so long, however busy the machine is
    monkeypatch.setattr(tasks, "_guard", lambda step, *args: step(*args))
    purse = Purse()
    purse.grant(10 * MICRO)
    trip = Trip(rehearsal_server, clock, purse)
    yield trip
    assert reconcile().findings == []
