"""A worker is killed with -9 while it submits: whether the job is submitted again is decided by what can be asked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from generations import lifecycle, rounds
from generations.providers.rehearsal import Rehearsal
from tests.generations.trip import Job, Trip
from tests.instance import ROOT, until

WORKER = """
import sys
from uuid import UUID
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from generations import rounds
rounds.submit(UUID(sys.argv[2]))
"""


def look_up_doubts() -> None:
    """What a sweep does about submissions whose end nobody knows."""
    alone = rounds.Round()
    for job in lifecycle.claim_doubts(100):
        alone.look_up(job)
    alone.finish()


@contextmanager
def submitting(job: Job, gate: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process has claimed the job, and waits at the gate for its provider's answer; it is gone afterwards."""
    stand_in = job.trip.stand_in
    stand_in.post("gates", point=gate, reference=str(job.id))
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(connection.settings_dict["NAME"]), str(job.id)],
        cwd=ROOT,
        env=os.environ | {"HOLDFAST_REHEARSAL_URL": stand_in.url, "HOLDFAST_ROLE": "worker"},
    )
    here = {"point": gate, "reference": str(job.id)}
    try:
        until(lambda: here in stand_in.get("gates")["waiting"], 180, f"a worker waits {gate}")
        yield worker
    finally:
        worker.kill()
        worker.wait()
        stand_in.post("release", reference=str(job.id))
    until(lambda: here not in stand_in.get("gates")["waiting"], 180, "the gate is passed")


def killed_while_submitting(job: Job, gate: str) -> None:
    """Another process has claimed the job and called the provider, and was killed at the gate, which is open now."""
    with submitting(job, gate):
        assert job.row.state == "submitting"
    assert job.row.state == "submitting"


@pytest.mark.parametrize(("gate", "accepted"), [("before_accept", 0), ("after_accept", 1)])
def test_without_a_look_up_it_is_never_submitted_again_but_waits_for_its_hold_to_expire(
    trip: Trip, gate: str, accepted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rehearsal, "has_lookup", False)
    job = trip.start()

    killed_while_submitting(job, gate)
    trip.sweep(3)
    trip.sweep(3, seconds=600)
    assert job.stands == ("submitting", "open", None)
    trip.sweep(seconds=1800)

    assert job.stands == ("awaiting_settlement", "expired", "expired")
    assert job.charge == (None, None, False)
    assert trip.lines == [("hold", "0.5"), ("hold_expired", "0.5")]
    trip.sweep(2, seconds=3600)
    trip.sweep(2, seconds=7 * 86_400)
    assert job.stands == ("expired", "expired", "expired")
    assert (job.attempts, job.submits["accepted"]) == ([None], accepted)
    assert job.submits["received"] == accepted


@pytest.mark.parametrize(("gate", "attempts"), [("before_accept", [None, "accepted"]), ("after_accept", ["accepted"])])
def test_with_a_look_up_it_is_submitted_again_only_when_it_is_not_there(
    trip: Trip, gate: str, attempts: list[str | None]
) -> None:
    job = trip.start()

    killed_while_submitting(job, gate)

    assert job.ended().stands == ("succeeded", "captured", "charged")
    assert (job.attempts, job.submits["accepted"]) == (attempts, 1)
    assert trip.lines == [("hold", "0.5"), ("capture", "0.5")]


def test_what_is_accepted_after_a_look_up_found_nothing_is_not_submitted_again(trip: Trip) -> None:
    """Its worker stood still for so long that another took it for dead; then it went on."""
    job = trip.start()

    with submitting(job, "before_accept") as worker:
        trip.advance(45)
        look_up_doubts()
        assert job.row.state == "queued"
        trip.stand_in.post("release", reference=str(job.id))
        assert worker.wait(180) == 0

    assert job.row.state == "running"
    assert job.ended().stands == ("succeeded", "captured", "charged")
    assert (job.attempts, job.submits) == (["accepted"], {"received": 1, "accepted": 1})


@pytest.fixture
def idempotent(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Rehearsal, "has_idempotent_submit", True)
    trip.stand_in.post("settings", idempotent=True)
    yield
    trip.stand_in.post("settings", idempotent=False)


def test_with_an_idempotent_submit_the_second_one_finds_the_first(trip: Trip, idempotent: None) -> None:
    job = trip.start()

    killed_while_submitting(job, "after_accept")

    assert job.ended().stands == ("succeeded", "captured", "charged")
    assert (job.attempts, job.submits["accepted"]) == ([None, "accepted"], 1)
    assert len(trip.stand_in.get("requests", reference=str(job.id))["requests"]) >= 3
    assert trip.lines == [("hold", "0.5"), ("capture", "0.5")]


def test_a_job_that_takes_three_workers_down_is_left_to_staff(trip: Trip, settings: Any) -> None:
    job = trip.start()
    for _ in range(lifecycle.DOUBTS_MAX):
        killed_while_submitting(job, "before_accept")
        trip.advance(45)
        look_up_doubts()
        assert job.row.state == "queued"
        trip.advance(60)

    trip.sweep(3)
    assert job.stands == ("queued", "open", None)
    assert job.attempts == [None] * lifecycle.DOUBTS_MAX
    assert "job_needs_review" in trip.alerts

    trip.sweep(2, seconds=3600)
    assert job.stands == ("expired", "expired", "expired")
    assert trip.lines == [("hold", "0.5"), ("hold_expired", "0.5")]
    assert job.submits == {"received": 0, "accepted": 0}
