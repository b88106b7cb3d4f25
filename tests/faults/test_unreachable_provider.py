"""A provider is gone for a while: it is left alone, its jobs wait, their credits held, and go on when it is back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from billing.models import Alert
from generations import circuits, pacing, tasks
from generations.models import Circuit, Generation
from tests.generations.conftest import provider_calls
from tests.generations.trip import Job, Trip

__all__ = ["provider_calls"]

pytestmark = pytest.mark.django_db(transaction=True)

JOBS = 8
REST_SECONDS = 600.0


@pytest.fixture
def running(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Job]]:
    """Jobs that the provider has accepted; this process remembers nothing yet, and a rest outlasts the test."""
    monkeypatch.setattr(pacing, "SECONDS_MIN", 0.0)
    monkeypatch.setattr(pacing, "REST_SECONDS", REST_SECONDS)
    monkeypatch.setattr(pacing, "REST_SECONDS_MAX", 2 * REST_SECONDS)
    for remembered in (circuits._streaks, circuits._open, circuits._trying):
        remembered.clear()
    yield [trip.running("[slow 30s]") for _ in range(JOBS)]
    for remembered in (circuits._streaks, circuits._open, circuits._trying):
        remembered.clear()


@pytest.fixture
def gone(trip: Trip, running: list[Job]) -> Iterator[None]:
    trip.stand_in.kill()
    yield
    if trip.stand_in.process.poll() is not None:
        trip.stand_in.start()


def make_due() -> None:
    Generation.objects.filter(credits_charged=None).update(next_poll_at="2020-01-01T00:00:00Z")


def sweep(asked: list[str]) -> int:
    """How many calls one pass made, with every job due."""
    before = len(asked)
    make_due()
    tasks.sweep_once()
    return len(asked) - before


def open_alerts() -> list[str]:
    return list(Alert.objects.filter(cleared_at=None).values_list("name", flat=True))


def test_a_provider_that_is_gone_is_left_alone_until_it_is_back(
    trip: Trip, running: list[Job], gone: None, provider_calls: list[str]
) -> None:
    while not Circuit.objects.exists():
        assert sweep(provider_calls) == JOBS
    assert circuits.resting() == {"rehearsal"}
    assert open_alerts() == ["provider_unreachable"]

    with trip.nothing_moves():
        assert sweep(provider_calls) == 0, "it rests"
        trip.clock.advance(seconds=REST_SECONDS)
        assert sweep(provider_calls) == 1, "one call tries it"
        trip.clock.advance(seconds=REST_SECONDS)
        assert sweep(provider_calls) == 0, "and it rests for longer"
    assert {job.stands for job in running} == {("running", "open", None)}

    trip.stand_in.start()
    trip.advance(seconds=2 * REST_SECONDS)
    sweep(provider_calls)
    assert circuits.resting() == set()
    assert open_alerts() == []
    trip.sweep_until(lambda: all(job.row.is_ended for job in running))
    assert {job.stands for job in running} == {("succeeded", "captured", "charged")}


def test_a_new_job_waits_while_its_provider_rests(
    trip: Trip, running: list[Job], gone: None, provider_calls: list[str]
) -> None:
    while not Circuit.objects.exists():
        sweep(provider_calls)
    job = trip.start()
    assert sweep(provider_calls) == 0
    assert (job.stands, job.attempts) == (("queued", "open", None), [])

    trip.stand_in.start()
    trip.advance(seconds=2 * REST_SECONDS)
    assert job.ended().stands == ("succeeded", "captured", "charged")
    assert job.submits == {"received": 1, "accepted": 1}


def test_one_jobs_trouble_rests_nobody(trip: Trip, running: list[Job], provider_calls: list[str]) -> None:
    silent: Any = trip.running("[silent]")
    for _ in range(25):
        Generation.objects.filter(id=silent.id).update(next_poll_at="2020-01-01T00:00:00Z")
        tasks.sweep_once()
    assert circuits.resting() == set()
    assert open_alerts() == []
