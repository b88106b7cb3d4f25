"""Settlements that break, and what catches them: tried again, and for a failure an emergency release; and resettle."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from billing.models import Hold, Notice
from generations import lifecycle, safety_net, tasks
from generations.models import Generation, SettlementFailure, SettlementRule
from tests.generations.trip import Job, Trip, asked, heard

BREAKS = """
CREATE FUNCTION break_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the disk is on fire'; END $$;
"""


@contextmanager
def broken(table: str, when: str) -> Iterator[None]:
    """Writing such rows of the table breaks."""
    with connection.cursor() as cursor:
        cursor.execute(BREAKS)
        cursor.execute(
            f"CREATE TRIGGER breaks BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW WHEN ({when})"
            " EXECUTE FUNCTION break_it()"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION break_it() CASCADE")


def telling_breaks(job: Job) -> Any:
    """Telling the person of the job's end breaks, and with it the settlement that tells."""
    return broken("billing_notice", f"NEW.key = 'job:{job.id}:ended'")


def failed(trip: Trip, prompt: str = "[failed nsfw]") -> Job:
    """A job that its provider has failed, and that nobody has settled."""
    job = trip.running(prompt)
    trip.advance(5)
    (claimed,) = lifecycle.claim_due(only=job.id)
    assert heard(claimed, asked(claimed))
    return job


def test_a_failure_whose_settlement_breaks_again_and_again_is_released_in_an_emergency(trip: Trip) -> None:
    job = trip.start("[moderation_blocked]")
    with telling_breaks(job):
        trip.sweep(2)
        for tries in range(1, safety_net.FAILURES_MAX):
            assert job.stands == ("running", "open", None)
            assert "your credits are on their way back" in job.spoken.words
            assert job.row.settlement_failures.count() == tries
            trip.sweep(seconds=lifecycle.LEASE_SECONDS + 1)
        assert job.stands == ("failed", "released", "refunded")
    row = job.row
    assert (row.is_emergency, row.settled_by, row.error_code) == (True, "emergency", "moderation_blocked")
    assert job.charge == (False, None, True)
    assert trip.lines == [("hold", "0.5"), ("release", "0.5")]
    assert "emergency_release" in trip.alerts
    assert "the disk is on fire" in row.settlement_failures.first().error
    with trip.nothing_moves():
        trip.sweep(3, seconds=61)
    assert job.row.settlement_failures.count() == safety_net.FAILURES_MAX


def test_one_settlement_that_breaks_stops_no_other_and_is_done_when_it_can_be(trip: Trip) -> None:
    jobs = [trip.start("[failed nsfw]") for _ in range(4)]
    with telling_breaks(jobs[1]):
        trip.sweep(2)
        assert [job.row.state for job in jobs] == ["failed", "running", "failed", "failed"]
    trip.sweep(seconds=lifecycle.LEASE_SECONDS + 1)
    assert [job.stands for job in jobs] == [("failed", "released", "refunded")] * 4
    assert not any(job.row.is_emergency for job in jobs)
    assert "emergency_release" not in trip.alerts
    assert Notice.objects.filter(key__endswith=":ended").count() == 4


def test_a_success_is_never_released_in_an_emergency(trip: Trip) -> None:
    job = trip.start("A lighthouse")
    with broken("generations_generation", f"NEW.id = '{job.id}' AND NEW.credits_charged"):
        trip.sweep(2)
        for _ in range(safety_net.FAILURES_MAX + 1):
            trip.sweep(seconds=lifecycle.LEASE_SECONDS + 1)
        assert job.row.settlement_failures.count() > safety_net.FAILURES_MAX
        assert job.stands == ("running", "open", None)
        with pytest.raises(lifecycle.CannotSettle):
            safety_net.emergency_release(job.id)
    trip.sweep(seconds=lifecycle.LEASE_SECONDS + 1)
    assert job.stands == ("succeeded", "captured", "charged")


def test_an_emergency_release_that_breaks_too_is_told_and_tried_again(trip: Trip) -> None:
    job = trip.start("[failed nsfw]")
    with broken("generations_generation", f"NEW.id = '{job.id}' AND NEW.credits_charged IS NOT NULL"):
        trip.sweep(2)
        for _ in range(safety_net.FAILURES_MAX):
            trip.sweep(seconds=lifecycle.LEASE_SECONDS + 1)
        assert "emergency_release_broke" in trip.alerts
        assert trip.lines == [("hold", "0.5")]
    trip.sweep()
    assert job.stands == ("failed", "released", "refunded")


def test_nothing_but_a_recorded_failure_whose_settlement_broke_is_released_so(trip: Trip) -> None:
    running, refused, done = trip.running("[slow 1h]"), failed(trip), trip.start("[failed nsfw]")
    with trip.nothing_moves():
        for job in (running, refused):
            with pytest.raises(lifecycle.CannotSettle):
                safety_net.emergency_release(job.id)
        with pytest.raises(lifecycle.JobNotFound):
            safety_net.emergency_release(trip.purse.id)
    lifecycle.note_failure(refused.row, "broke")
    assert safety_net.emergency_release(refused.id, by="user:1")
    done.ended()
    with trip.nothing_moves():
        assert not safety_net.emergency_release(refused.id)
        assert not safety_net.emergency_release(done.id)
    assert refused.row.settled_by == "user:1"


def test_after_the_hold_has_expired_an_emergency_moves_no_money(trip: Trip) -> None:
    job = trip.running("[slow 2h]")
    trip.advance(hours=7)
    trip.stand_in.post(f"jobs/{job.id}", status="in_progress")
    trip.sweep(2)
    assert job.stands == ("awaiting_settlement", "expired", "expired")
    job.tell("failed", code="nsfw")
    with telling_breaks(job):
        trip.sweep(2)
        for _ in range(safety_net.FAILURES_MAX):
            trip.sweep(seconds=lifecycle.LEASE_SECONDS + 1)
    assert job.row.is_emergency
    assert job.stands == ("failed", "expired", "refunded")
    assert trip.lines == [("hold", "0.5"), ("hold_expired", "0.5")]


@pytest.mark.parametrize("end", ["[failed nsfw]", "A lighthouse"])
def test_the_database_keeps_the_flag_for_failures_and_the_failures_for_ever(trip: Trip, end: str) -> None:
    job = trip.start(end).ended()
    lifecycle.note_failure(job.row, "once upon a time")
    law = "generation_settled_once"
    for act in (
        lambda: Generation.objects.filter(id=job.id).update(is_emergency=True),
        lambda: SettlementFailure.objects.update(error="never mind"),
        lambda: SettlementFailure.objects.all()._raw_delete("default"),
    ):
        with pytest.raises(IntegrityError, match=f"{law}|settlement_failure_stands"), transaction.atomic():
            act()
    undecided = trip.running("[slow 1h]")
    with pytest.raises(IntegrityError, match="generation_emergency_only_after_failure"), transaction.atomic():
        Generation.objects.filter(id=undecided.id).update(is_emergency=True)


# resettle


def resettle(*options: str) -> list[str]:
    said = io.StringIO()
    call_command("resettle", *options, stdout=said)
    return said.getvalue().splitlines()


def wrongly_charged(trip: Trip, part_refunded: bool = False) -> Job:
    """A job of an older day: charged, though its provider had failed it."""
    job = trip.start("A lighthouse").ended()
    rule = SettlementRule.objects.get(phase="poll", status="failed", code="any", superseded_at=None)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE generations_generation SET verdict_status = 'failed', verdict_code = 'nsfw', verdict_rule_id = %s"
            " WHERE id = %s",
            [rule.id, job.id],
        )
    if part_refunded:
        capture = trip.purse.lines[-1]
        trip.purse.refund(capture.id, 200_000)
    return job


def test_resettle_puts_a_made_set_of_wrong_jobs_right_once(trip: Trip) -> None:
    good, free = trip.start("A lighthouse").ended(), trip.start("[failed nsfw]").ended()
    charged, part = wrongly_charged(trip), wrongly_charged(trip, part_refunded=True)
    stuck = failed(trip)
    Generation.objects.filter(id=stuck.id).update(next_poll_at="2099-01-01T00:00:00Z")
    forgotten = trip.running("[slow 10m]")
    forgotten.tell("failed", code="nsfw")
    still = trip.running("[slow 9h]")
    trip.advance(hours=2)
    Generation.objects.filter(id__in=[forgotten.id, still.id]).update(next_poll_at="2099-01-01T00:00:00Z")
    assert trip.purse.account.held == 1_500_000

    with trip.nothing_moves():
        said = resettle("--dry-run")
    assert said[-1] == "2 charged and 1 open would be put right, 1.3 credits in all"
    assert f"would be refunded {part.id} 0.3" in said

    said = resettle()
    assert said[-1] == "2 charged and 1 open put right, 1.3 credits in all"
    assert "2 without an answer for an hour were asked about" in said
    assert stuck.stands == forgotten.stands == ("failed", "released", "refunded")
    assert still.stands == ("running", "open", None)
    assert good.stands == ("succeeded", "captured", "charged")
    assert free.stands == ("failed", "released", "refunded")
    refunds = [amount for kind, amount in trip.lines if kind == "refund"]
    assert sorted(refunds) == ["0.2", "0.3", "0.5"]
    assert trip.purse.account.held == 500_000
    assert [title for title in trip.notices if "had failed and was charged" in title] != []

    with trip.nothing_moves():
        said = resettle()
    assert said[-1] == "0 charged and 0 open put right, 0 credits in all"
    assert charged.row.outcome == "charged", "what a line says is never rewritten: the refund stands beside it"
    assert Hold.objects.filter(state="open").count() == 1


def test_resettle_releases_what_cannot_be_settled(trip: Trip) -> None:
    job = failed(trip)
    with telling_breaks(job):
        said = resettle()
    assert said[-1] == "0 charged and 1 open put right, 0.5 credits in all"
    assert job.row.is_emergency
    assert job.stands == ("failed", "released", "refunded")


def test_the_sweep_leaves_no_settlement_behind_while_one_breaks(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard of the sweep is on here, as in a worker."""
    monkeypatch.undo()
    jobs = [trip.start("[failed nsfw]") for _ in range(2)]
    with telling_breaks(jobs[0]):
        for _ in range(3):
            trip.advance(20)
            tasks.sweep_once()
    assert jobs[1].stands == ("failed", "released", "refunded")
