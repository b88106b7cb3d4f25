"""Cancelling: at once before the submission, afterwards by asking the provider, whose first terminal word decides."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from generations import lifecycle, rounds
from tests.billing.purse import Purse
from tests.generations.trip import Trip

pytestmark = pytest.mark.django_db(transaction=True)

HELD, RELEASED = ("hold", "0.5"), ("release", "0.5")


def test_before_its_submission_a_job_is_cancelled_and_its_credits_are_back(
    trip: Trip, provider_calls: list[str]
) -> None:
    job = trip.start()
    lifecycle.cancel(trip.purse.id, job.id)
    assert job.stands == ("cancelled", "released", "refunded")
    assert job.charge == (False, None, True)
    assert trip.lines == [HELD, RELEASED]
    assert job.spoken.credits == "Your 0.50 credits are back."
    trip.sweep(3)
    assert provider_calls == [], "a cancelled job was submitted"


def test_while_it_runs_the_provider_is_asked_and_its_word_decides(trip: Trip, provider_calls: list[str]) -> None:
    job = trip.running("[slow 20m]")
    lifecycle.cancel(trip.purse.id, job.id)
    assert provider_calls == ["submit", "cancel"]
    assert job.stands == ("running", "open", None), "asking is not yet an answer"
    assert job.spoken.word == "Stopping"
    trip.sweep()
    assert job.stands == ("cancelled", "released", "refunded")
    assert trip.lines == [HELD, RELEASED]
    assert job.row.error_message == "It was cancelled before it was finished."


def test_a_job_that_completed_meanwhile_is_charged(trip: Trip) -> None:
    job = trip.running("[slow 20m]")
    trip.advance(minutes=21)
    with pytest.raises(lifecycle.CannotCancel):
        lifecycle.cancel(trip.purse.id, job.id)
    job.ended()
    assert job.stands == ("succeeded", "captured", "charged")


def test_a_provider_that_says_completed_after_it_was_asked_to_stop_is_believed(trip: Trip) -> None:
    job = trip.running("[slow 20m]")
    lifecycle.cancel(trip.purse.id, job.id)
    job.tell("completed")
    job.ended()
    assert job.stands == ("succeeded", "captured", "charged")


@pytest.mark.parametrize("prompt", ["A boat", "[failed x]", "cancelled", "overdue"])
def test_what_has_ended_cannot_be_cancelled(trip: Trip, prompt: str) -> None:
    job = trip.start("[silent]" if prompt == "overdue" else prompt)
    if prompt == "cancelled":
        lifecycle.cancel(trip.purse.id, job.id)
    elif prompt == "overdue":
        rounds.submit(job.id)
        trip.advance(hours=1.1)
        trip.sweep()
    else:
        job.ended()
    before = job.stands
    with trip.nothing_moves(), pytest.raises(lifecycle.CannotCancel):
        lifecycle.cancel(trip.purse.id, job.id)
    assert job.stands == before


def test_a_submission_in_doubt_cannot_be_cancelled(trip: Trip, in_a_hurry: None) -> None:
    job = trip.start("[timeout_after_accept]")
    rounds.submit(job.id)
    with trip.nothing_moves(), pytest.raises(lifecycle.CannotCancel):
        lifecycle.cancel(trip.purse.id, job.id)


def test_a_provider_that_cannot_be_reached_was_not_asked(trip: Trip, settings: Any) -> None:
    job = trip.running("[slow 20m]")
    settings.REHEARSAL_URL = "http://127.0.0.1:9"
    with pytest.raises(lifecycle.CannotCancel, match="could not be reached"):
        lifecycle.cancel(trip.purse.id, job.id)
    settings.REHEARSAL_ENABLED = False
    with pytest.raises(lifecycle.CannotCancel):
        lifecycle.cancel(trip.purse.id, job.id)
    assert job.row.cancel_asked_at is None


def test_a_provider_that_cannot_stop_says_so(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    from generations.providers.rehearsal import Rehearsal

    monkeypatch.setattr(Rehearsal, "has_cancel", False)
    job = trip.running("[slow 20m]")
    with pytest.raises(lifecycle.CannotCancel):
        lifecycle.cancel(trip.purse.id, job.id)
    assert job.stands == ("running", "open", None)


def test_a_stranger_cancels_nothing(trip: Trip) -> None:
    job = trip.start()
    with trip.nothing_moves():
        for account, id in ((Purse().id, job.id), (trip.purse.id, uuid4())):
            with pytest.raises(lifecycle.JobNotFound):
                lifecycle.cancel(account, id)
    assert job.stands == ("queued", "open", None)
