"""A success that comes after its hold expired: paid late and delivered, else withheld until it is paid or waived."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from billing import ledger
from billing.models import Notice
from generations import afterwards, lifecycle, rounds, tasks
from tests.generations.trip import MICRO, Job, Trip, asked, heard

pytestmark = pytest.mark.django_db(transaction=True)

HELD, EXPIRED, LATE = ("hold", "0.5"), ("hold_expired", "0.5"), ("late_capture", "0.5")


def overdue(trip: Trip, *, left: int = 10 * MICRO, count: int = 1) -> list[Job]:
    """Jobs whose holds have expired, on an account that then has only `left`; their provider has not answered yet."""
    jobs = [trip.running("[late 70m]") for _ in range(count)]
    trip.advance(minutes=61)
    trip.sweep()
    assert [job.stands for job in jobs] == [("awaiting_settlement", "expired", "expired")] * count
    if left < trip.purse.available:
        trip.purse.charge(trip.purse.available - left)
    return jobs


def withheld(trip: Trip, *, left: int = 0, count: int = 1) -> list[Job]:
    jobs = overdue(trip, left=left, count=count)
    trip.advance(minutes=10)
    trip.sweep(2)
    assert [job.stands for job in jobs] == [("awaiting_settlement", "expired", "withheld")] * count
    return jobs


def test_a_late_success_is_paid_from_what_is_available_and_delivered(trip: Trip) -> None:
    (job,) = overdue(trip)
    assert trip.purse.available == 10 * MICRO
    trip.advance(minutes=10)
    job.ended()
    assert job.stands == ("succeeded", "expired", "charged")
    assert job.charge == (True, "0.5", True)
    assert trip.lines == [HELD, EXPIRED, LATE]
    assert job.output is not None
    assert job.output.released_at is not None
    hold = job.row.hold
    assert hold is not None
    assert (hold.captured, hold.captured_late) == (0, MICRO // 2)
    assert job.spoken.credits == "0.50 credits were charged."


def test_a_late_failure_gives_nothing_back_twice(trip: Trip) -> None:
    (job,) = overdue(trip)
    job.tell("failed", code="moderation_blocked", message="Blocked.")
    with trip.nothing_moves():
        trip.sweep(2)
    assert job.stands == ("failed", "expired", "refunded")
    assert job.charge == (False, None, True)
    assert job.row.error_code == "moderation_blocked"


def test_a_late_success_without_credits_is_withheld_and_its_file_is_private(trip: Trip) -> None:
    (job,) = withheld(trip)
    assert job.charge == (None, None, False)
    assert job.has_file
    assert job.output is not None
    assert job.output.released_at is None
    assert job.spoken.title == "Ready, and waiting for credits"
    assert trip.purse.account.held == 0
    waiting = Notice.objects.get(key=f"job:{job.id}:withheld")
    assert waiting.title == f"“{job.row.title}” is ready and waits for 0.50 credits."


def test_a_withheld_output_is_paid_and_delivered_by_itself_after_a_top_up(trip: Trip) -> None:
    (job,) = withheld(trip, left=MICRO // 4)
    trip.purse.grant(MICRO // 4 - 1)
    trip.sweep()
    assert job.row.outcome == "withheld"
    trip.purse.grant(1)
    trip.sweep()
    assert job.stands == ("succeeded", "expired", "charged")
    assert trip.purse.available == 0
    assert job.output is not None
    assert job.output.released_at is not None


def test_after_a_top_up_the_oldest_is_paid_first(trip: Trip) -> None:
    first, second, third = withheld(trip, count=3)
    trip.purse.grant(MICRO)
    trip.sweep(5)
    assert [job.row.outcome for job in (first, second, third)] == ["charged", "charged", "withheld"]
    assert trip.purse.available == 0
    trip.purse.grant(MICRO // 2)
    trip.sweep()
    assert third.row.outcome == "charged"


def test_a_frozen_account_pays_nothing_late_until_it_is_thawed(trip: Trip) -> None:
    (job,) = overdue(trip)
    ledger.set_account_frozen(trip.purse.id, True, "Looked at")
    trip.advance(minutes=10)
    trip.sweep(3)
    assert job.stands == ("awaiting_settlement", "expired", "withheld")
    ledger.set_account_frozen(trip.purse.id, False, "")
    trip.sweep()
    assert job.stands == ("succeeded", "expired", "charged")


def test_debt_comes_before_a_withheld_output(trip: Trip) -> None:
    trip.purse.grant(2 * MICRO, payment="pi_1")
    (job,) = overdue(trip, left=0)
    payment = trip.purse.payment("pi_1")
    ledger.claw_back(trip.purse.id, payment=payment, id=payment, amount=2 * MICRO)
    assert trip.purse.account.debt == 2 * MICRO
    trip.advance(minutes=10)
    trip.sweep(2)
    assert job.row.outcome == "withheld"
    trip.purse.grant(2 * MICRO)
    trip.sweep()
    assert job.row.outcome == "withheld"
    assert trip.purse.account.debt == 0
    trip.purse.grant(MICRO // 2)
    trip.sweep()
    assert job.row.outcome == "charged"


def test_staff_waive_a_withheld_output_and_nothing_moves(trip: Trip) -> None:
    (job,) = withheld(trip)
    with trip.nothing_moves():
        lifecycle.waive(job.id, staff=trip.person.pk, reason="Our mistake")
    assert job.stands == ("succeeded", "expired", "waived")
    assert job.charge == (False, None, True)
    row = job.row
    assert (row.waived_by_id, row.waiver_reason) == (trip.person.pk, "Our mistake")
    assert job.output is not None
    assert job.output.released_at is not None
    assert job.spoken.credits == "Nothing was charged."
    trip.purse.grant(MICRO)
    with trip.nothing_moves():
        trip.sweep(2)
        with pytest.raises(lifecycle.CannotSettle):
            lifecycle.waive(job.id, staff=trip.person.pk, reason="Again")


@pytest.mark.parametrize("state", ["queued", "running", "expired without a word", "succeeded", "failed"])
def test_nothing_but_a_withheld_output_is_waived(trip: Trip, state: str) -> None:
    prompt = {"running": "[slow 1h]", "failed": "[failed x]", "expired without a word": "[silent]"}.get(state, "A boat")
    job = trip.start(prompt)
    if state == "running":
        rounds.submit(job.id)
    elif state == "expired without a word":
        rounds.submit(job.id)
        trip.advance(hours=1.1)
        trip.sweep()
        assert job.row.state == "awaiting_settlement"
    elif state != "queued":
        job.ended()
    before = job.stands
    with trip.nothing_moves(), pytest.raises(lifecycle.CannotSettle):
        lifecycle.waive(job.id, staff=trip.person.pk, reason="A gift")
    assert job.stands == before


def test_an_output_unpaid_for_thirty_days_is_deleted_and_the_job_has_expired(trip: Trip) -> None:
    (job,) = withheld(trip)
    trip.advance(days=29.9)
    trip.sweep()
    assert job.row.outcome == "withheld"
    trip.advance(days=0.2)
    trip.sweep()
    assert job.stands == ("expired", "expired", "expired")
    assert job.charge == (False, None, True)
    assert not job.has_file
    assert job.output is not None
    assert job.output.deleted_at is not None
    trip.purse.grant(MICRO)
    with trip.nothing_moves():
        trip.sweep(2)


def test_a_file_that_a_crash_left_after_the_end_is_deleted_by_the_next_pass(
    trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = withheld(trip)
    trip.advance(days=30.1)
    with monkeypatch.context() as broken:

        def crash(*_: Any) -> None:
            raise KeyboardInterrupt

        broken.setattr(afterwards, "delete_outputs", crash)
        with pytest.raises(KeyboardInterrupt):
            afterwards.end_waiting()
    assert job.row.state == "expired"
    assert job.has_file
    trip.sweep()
    assert not job.has_file


def test_a_delivered_output_is_kept_for_thirty_days(trip: Trip) -> None:
    job = trip.start().ended()
    trip.advance(days=29.9)
    trip.sweep()
    assert job.has_file
    trip.advance(days=0.2)
    trip.sweep()
    assert not job.has_file
    assert job.stands == ("succeeded", "captured", "charged")


def test_the_output_of_a_job_that_staff_release_is_deleted(trip: Trip) -> None:
    (job,) = withheld(trip)
    lifecycle.settle_by_hand(job.id, outcome="release", staff=trip.person.pk, reason="The customer wants it no more")
    assert job.stands == ("failed", "expired", "refunded")
    trip.sweep()
    assert not job.has_file


def test_debt_during_a_run_keeps_the_output_back_until_it_is_repaid(trip: Trip) -> None:
    trip.purse.grant(2 * MICRO, payment="pi_1")
    job = trip.running("[slow 5m]")
    trip.purse.charge(trip.purse.available)
    payment = trip.purse.payment("pi_1")
    ledger.claw_back(trip.purse.id, payment=payment, id=payment, amount=2 * MICRO)
    trip.advance(minutes=5)
    job.ended()
    assert job.stands == ("succeeded", "captured", "charged")
    assert job.output is not None
    assert job.output.released_at is None
    trip.purse.grant(MICRO)
    trip.sweep()
    assert job.output.released_at is None
    trip.purse.grant(MICRO)
    trip.sweep()
    assert job.output.released_at is not None


def test_a_late_success_without_an_output_charges_nothing(trip: Trip) -> None:
    job = trip.running("[late 70m] [no_output]")
    trip.advance(minutes=61)
    trip.sweep()
    trip.advance(minutes=10)
    with trip.nothing_moves():
        trip.sweep(3)
    assert job.stands == ("failed", "expired", "refunded")
    assert job.row.error_code == "output_unavailable"


# Fetching


def test_the_price_is_that_of_the_seconds_delivered(trip: Trip) -> None:
    outputs = trip.stand_in.state.with_suffix(".outputs")
    (outputs / "640x360-9.mp4").write_bytes((outputs / "640x360-2.mp4").read_bytes())
    job = trip.start(seconds=9).ended()
    assert job.row.estimate_max == 1_125_000
    assert job.charge == (True, "0.25", True), "nine seconds were asked for and two delivered"
    assert trip.lines == [("hold", "1.125"), ("capture", "0.25")]
    assert job.row.delivered["seconds"] == "2.000"
    assert trip.purse.account.held == 0


def test_an_output_that_is_no_video_is_not_charged(trip: Trip) -> None:
    outputs = trip.stand_in.state.with_suffix(".outputs")
    outputs.mkdir(exist_ok=True)
    (outputs / "640x360-8.mp4").write_bytes(b"<html>" * 1000)
    job = trip.start(seconds=8).ended()
    (outputs / "640x360-8.mp4").unlink()
    assert job.row.error_code == "output_unavailable"
    assert job.stands == ("failed", "released", "refunded")


def test_an_output_larger_than_the_limit_is_not_charged(trip: Trip, settings: Any) -> None:
    settings.OUTPUT_BYTES_MAX = 1000
    job = trip.start().ended()
    assert job.stands == ("failed", "released", "refunded")
    assert job.row.error_code == "output_unavailable"
    assert trip.alerts == ["job_needs_review"]


def test_an_output_that_cannot_be_fetched_now_is_fetched_later(trip: Trip, settings: Any) -> None:
    job = trip.start()
    rounds.submit(job.id)
    trip.advance(5)
    url, settings.REHEARSAL_URL = settings.REHEARSAL_URL, None
    (claimed,) = lifecycle.claim_due()
    settings.REHEARSAL_URL = url
    answer = asked(claimed)
    settings.REHEARSAL_URL = "http://127.0.0.1:9"
    alone = rounds.Round()
    alone.go_on(lifecycle.hear([(claimed, answer)]))
    alone.finish()
    assert job.row.verdict_status == "completed"
    assert job.stands == ("running", "open", None)
    trip.clock.advance(minutes=2)
    tasks.sweep_once()
    assert job.stands == ("running", "open", None)
    settings.REHEARSAL_URL = url
    trip.clock.advance(minutes=2)
    tasks.sweep_once()
    assert job.stands == ("succeeded", "captured", "charged")


def test_an_output_that_never_comes_within_the_hour_is_withheld_and_charged_when_it_comes(
    trip: Trip, settings: Any
) -> None:
    job = trip.start()
    rounds.submit(job.id)
    trip.advance(5)
    (claimed,) = lifecycle.claim_due()
    answer = asked(claimed)
    url, settings.REHEARSAL_URL = settings.REHEARSAL_URL, "http://127.0.0.1:9"
    assert heard(claimed, answer)
    trip.advance(hours=1.1)
    trip.sweep()
    assert job.stands == ("awaiting_settlement", "expired", "withheld")
    assert job.row.delivered is None
    settings.REHEARSAL_URL = url
    trip.advance(minutes=2)
    trip.sweep(3)
    assert job.stands == ("succeeded", "expired", "charged")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM generations_output WHERE generation_id = %s", [job.id])
        assert cursor.fetchone() == (1,)
