"""The database gives a transaction up, or its connection goes away: settling and sweeping try once more, and everything
is done once. A trigger made by the test does it, counting by a sequence, which no rollback turns back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import OperationalError, connection

from generations import lifecycle, rounds, tasks
from generations.models import Generation, Output
from tests.generations.trip import Job, Trip

GIVEN_UP = {
    "a serialization failure": "RAISE EXCEPTION 'given up' USING ERRCODE = '40001'",
    "a deadlock": "RAISE EXCEPTION 'given up' USING ERRCODE = '40P01'",
    "a connection failure": "RAISE EXCEPTION 'given up' USING ERRCODE = '08006'",
    "a lost connection": "PERFORM pg_terminate_backend(pg_backend_pid())",
}
SETTLING = {
    "at the money": "BEFORE INSERT ON billing_entry FOR EACH ROW",
    "at the account": "AFTER UPDATE ON billing_account FOR EACH ROW",
    "at the job": "BEFORE UPDATE OF credits_charged ON generations_generation FOR EACH ROW",
}


@contextmanager
def given_up(how: str, where: str, times: int = 1) -> Iterator[Callable[[], int]]:
    """The first `times` statements that reach the trigger fail. Yields how often it was reached."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            CREATE SEQUENCE given_up;
            CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              IF nextval('given_up') <= {times} THEN {how}; END IF;
              RETURN NEW;
            END $$;
            CREATE TRIGGER give_up {where} EXECUTE FUNCTION give_up();
            """
        )

    def reached() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM given_up")
            return int(cursor.fetchone()[0])

    try:
        yield reached
    finally:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION give_up() CASCADE; DROP SEQUENCE given_up;")


def with_a_verdict(trip: Trip, monkeypatch: pytest.MonkeyPatch, prompt: str = "A lighthouse") -> Job:
    """A job whose provider has spoken and whose output is here: only its settlement is left."""
    job = trip.running(prompt)
    trip.advance(5)
    with monkeypatch.context() as only:
        only.setattr(lifecycle, "settle", lambda ids, by="provider": None)
        rounds.poll(lifecycle.claim_due(only=job.id))
    assert job.row.verdict_at is not None
    assert job.row.credits_charged is None
    return job


@pytest.mark.parametrize(
    ("how", "where"),
    [
        ("a serialization failure", "at the money"),
        ("a deadlock", "at the account"),
        ("a connection failure", "at the job"),
        ("a lost connection", "at the money"),
        ("a lost connection", "at the job"),
    ],
)
def test_a_settlement_given_up_once_is_done_at_the_second_try(
    trip: Trip, how: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = with_a_verdict(trip, monkeypatch)

    with given_up(GIVEN_UP[how], SETTLING[where]) as reached:
        lifecycle.settle([job.id])
        assert reached() == 2

    assert job.stands == ("succeeded", "captured", "charged")
    assert trip.lines == [("hold", "0.5"), ("capture", "0.5")]
    assert [output.released_at is not None for output in Output.objects.filter(generation=job.id)] == [True]


@pytest.mark.parametrize("how", ["a deadlock", "a lost connection"])
def test_a_release_given_up_once_is_done_at_the_second_try(
    trip: Trip, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = with_a_verdict(trip, monkeypatch, "[moderation_blocked]")

    with given_up(GIVEN_UP[how], SETTLING["at the money"]):
        lifecycle.settle([job.id])

    assert job.stands == ("failed", "released", "refunded")
    assert trip.lines == [("hold", "0.5"), ("release", "0.5")]


@pytest.mark.parametrize("how", ["a serialization failure", "a lost connection"])
def test_a_settlement_given_up_twice_is_left_whole_for_the_sweep(
    trip: Trip, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = with_a_verdict(trip, monkeypatch)

    with given_up(GIVEN_UP[how], SETTLING["at the job"], times=2) as reached:
        with pytest.raises(OperationalError):
            lifecycle.settle([job.id])
        connection.close_if_unusable_or_obsolete()
        assert reached() == 2
        assert job.stands == ("running", "open", None)
        assert trip.lines == [("hold", "0.5")]
        trip.advance(lifecycle.LEASE_SECONDS)
        tasks.sweep_once()

    assert job.stands == ("succeeded", "captured", "charged")
    assert trip.lines == [("hold", "0.5"), ("capture", "0.5")]


# The steps of a sweep's pass in the order of the trip: what each writes first, and the job's state after it.
STEPS = {
    "claiming a submission": ("BEFORE INSERT ON generations_attempt FOR EACH ROW", "running"),
    "resolving a doubt": ("BEFORE UPDATE OF claim ON generations_generation FOR EACH ROW", "running"),
    "claiming a poll": ("BEFORE UPDATE OF asked_at ON generations_generation FOR EACH ROW", "running"),
    "recording a verdict": ("BEFORE UPDATE OF verdict_at ON generations_generation FOR EACH ROW", "succeeded"),
    "recording an acceptance": ("BEFORE INSERT ON generations_providerjob FOR EACH ROW", "running"),
    "recording an output": ("BEFORE INSERT ON generations_output FOR EACH ROW", "succeeded"),
    "settling": (SETTLING["at the money"], "succeeded"),
}
BEFORE = {
    "claiming a submission": "queued",
    "recording an acceptance": "queued",
    "resolving a doubt": "submitting",
}


@pytest.mark.parametrize("how", ["a serialization failure", "a lost connection"])
def test_no_step_of_the_sweep_is_stopped_by_one_given_up_transaction(trip: Trip, how: str) -> None:
    for step, (where, after) in STEPS.items():
        before = BEFORE.get(step, "running")
        job = trip.start("[slow 30s]" if (before, after) == ("running", "running") else "A lighthouse")
        if before != "queued":
            rounds.submit(job.id)
        if before == "submitting":  # its worker died after the provider had accepted, before it could write that down
            Generation.objects.filter(id=job.id).update(state=before, provider_job_id=None, accepted_at=None)
        trip.advance(25)

        with given_up(GIVEN_UP[how], where) as reached:
            tasks.sweep_once()
            assert reached() >= 2, step

        assert job.row.state == after, step
        job.ended()
        assert job.stands == ("succeeded", "captured", "charged"), step
        assert job.submits["accepted"] == 1, step
    assert trip.lines == [("hold", "0.5"), ("capture", "0.5")] * len(STEPS)


def test_what_is_no_such_failure_is_not_tried_again(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    job = with_a_verdict(trip, monkeypatch)

    with given_up("RAISE EXCEPTION 'locked' USING ERRCODE = '55P03'", SETTLING["at the money"]) as reached:
        with pytest.raises(OperationalError):
            lifecycle.settle([job.id])
        assert reached() == 1

    assert trip.lines == [("hold", "0.5")]
    lifecycle.settle([job.id])


def test_trying_again_is_on_record(
    trip: Trip, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = with_a_verdict(trip, monkeypatch)

    with given_up(GIVEN_UP["a deadlock"], SETTLING["at the money"]), caplog.at_level(logging.WARNING):
        lifecycle.settle([job.id])

    assert any("tried_again" in record.getMessage() and "40P01" in record.getMessage() for record in caplog.records)
