"""What nobody knows moves nothing: submissions in doubt, silent providers, unknown words, holds at their end."""

from __future__ import annotations

from typing import Any

import pytest

from billing import credits, ledger
from generations import lifecycle, monitoring, rounds
from generations.models import ProviderJob
from tests.generations.trip import Trip

pytestmark = pytest.mark.django_db(transaction=True)

HELD, EXPIRED = ("hold", "0.5"), ("hold_expired", "0.5")


# Submissions


def test_a_timeout_after_the_acceptance_is_found_by_looking_up_and_never_submitted_again(
    trip: Trip, provider_calls: list[str], in_a_hurry: None
) -> None:
    job = trip.start("[timeout_after_accept]")
    rounds.submit(job.id)
    assert job.stands == ("submitting", "open", None)
    assert job.attempts == ["doubt"]
    assert job.row.provider_job_id is None

    job.ended()
    assert provider_calls[:2] == ["submit", "look_up"]
    assert provider_calls.count("submit") == 1
    assert job.submits == {"received": 1, "accepted": 1}
    assert job.stands == ("succeeded", "captured", "charged")
    assert ProviderJob.objects.get(generation=job.id).provider_job_id == job.row.provider_job_id


def test_a_503_on_submit_is_doubt_and_is_tried_again_only_after_the_look_up_found_nothing(
    trip: Trip, provider_calls: list[str]
) -> None:
    job = trip.start("[submit 503]")
    rounds.submit(job.id)
    assert job.attempts == ["doubt"]
    trip.clock.advance(seconds=30)
    assert "It is not made twice" in job.spoken.words
    trip.sweep(12)

    assert job.attempts == ["doubt", "doubt", "doubt"]
    assert [call for call in provider_calls if call != "poll"] == ["submit", "look_up"] * 3
    assert job.stands == ("queued", "open", None)
    assert "not submitted again" in job.row.review
    assert "it is not sent again" in job.spoken.words
    assert trip.alerts == ["job_needs_review"]

    trip.advance(hours=1)
    trip.sweep(2)
    assert job.stands == ("expired", "expired", "expired")
    assert trip.lines == [HELD, EXPIRED]
    assert job.charge == (False, None, True)
    assert trip.purse.available == 10_000_000
    assert job.submits == {"received": 3, "accepted": 0}
    assert job.spoken.credits == "Your 0.50 credits are back."


def test_a_provider_that_cannot_be_reached_is_asked_later(trip: Trip, settings: Any) -> None:
    job = trip.start()
    settings.REHEARSAL_URL = "http://127.0.0.1:9"
    trip.sweep(2)
    assert job.stands == ("queued", "open", None)
    assert set(job.attempts) == {"later"}
    assert "tried again by itself" in job.spoken.words
    settings.REHEARSAL_URL = trip.stand_in.url
    job.ended()
    assert job.stands == ("succeeded", "captured", "charged")
    assert job.submits == {"received": 1, "accepted": 1}


def test_a_429_on_submit_waits_as_long_as_the_provider_asks(trip: Trip) -> None:
    job = trip.start("[submit 429]")
    rounds.submit(job.id)
    assert job.stands == ("queued", "open", None)
    rounds.submit(job.id)
    trip.clock.advance(seconds=0.9)
    rounds.submit(job.id)
    assert job.attempts == ["later"], "it was asked again before the provider's second was over"
    trip.clock.advance(seconds=1.6)
    rounds.submit(job.id)
    assert job.attempts == ["later", "later"]


# Words that no rule knows


def test_an_unknown_word_keeps_the_hold_and_asks_staff_who_release_it(trip: Trip) -> None:
    job = trip.start("[unknown_word]")
    trip.sweep(4)
    assert job.stands == ("running", "open", None)
    assert trip.lines == [HELD]
    assert "transmogrified" in job.row.review
    assert job.spoken.title == "The provider’s answer is not clear"
    assert trip.alerts == ["job_needs_review"]

    with trip.nothing_moves(), pytest.raises(lifecycle.CannotSettle):
        lifecycle.settle_by_hand(job.id, outcome="capture", staff=trip.person.pk, reason="It looks done")
    lifecycle.settle_by_hand(job.id, outcome="release", staff=trip.person.pk, reason="The provider says it is lost")
    assert job.stands == ("failed", "released", "refunded")
    assert trip.lines == [HELD, ("release", "0.5")]
    assert job.charge == (False, None, True)
    assert job.row.settled_by == f"user:{trip.person.pk}"
    assert job.row.review == ""
    assert trip.purse.lines[-1].text.reason == "The provider says it is lost"
    assert job.spoken.credits == "Your 0.50 credits are back."
    with pytest.raises(lifecycle.CannotSettle):
        lifecycle.settle_by_hand(job.id, outcome="release", staff=trip.person.pk, reason="Once more")


def test_an_unknown_word_that_becomes_a_known_one_is_settled_by_it(trip: Trip) -> None:
    job = trip.start("[unknown_word]")
    trip.sweep(3)
    job.tell("completed")
    job.ended()
    assert job.stands == ("succeeded", "captured", "charged")


# Holds that reach their end


def test_a_silent_provider_is_asked_when_the_hold_is_due_then_the_credits_are_back(
    trip: Trip, provider_calls: list[str]
) -> None:
    job = trip.running("[silent]")
    trip.sweep(3)
    assert job.stands == ("running", "open", None)

    hold = job.row.hold
    assert hold is not None
    trip.advance(hours=1)
    del provider_calls[:]
    trip.sweep()
    assert "poll" in provider_calls
    row = job.row
    assert row.asked_at is not None
    assert row.asked_at >= hold.expires_at, "the last question came before the hold was due"
    assert job.stands == ("awaiting_settlement", "expired", "expired")
    assert job.charge == (None, None, False)
    assert trip.lines == [HELD, EXPIRED]
    assert trip.purse.available == 10_000_000
    assert job.spoken.credits == "Your 0.50 credits are back."
    assert trip.notices == [f"“{row.title}” is still not finished. Your 0.50 credits are back."]

    del provider_calls[:]
    trip.sweep(2)
    assert provider_calls.count("poll") == 2, "it is still asked"
    trip.advance(days=6.9)
    trip.sweep()
    assert job.row.state == "awaiting_settlement"
    trip.advance(days=0.1)
    trip.sweep()
    assert job.stands == ("expired", "expired", "expired")
    assert job.charge == (False, None, True)
    assert job.row.error_message == "The provider never said how it ended."
    assert trip.lines == [HELD, EXPIRED]


def test_no_hold_expires_before_the_question_that_was_asked_when_it_was_due(trip: Trip) -> None:
    job = trip.running("[silent]")
    trip.advance(hours=2)
    lifecycle.expire(job.id)
    assert job.stands == ("running", "open", None)


def test_an_answer_to_the_last_question_settles_instead_of_expiring(trip: Trip) -> None:
    job = trip.running("[slow 50m]")
    trip.advance(hours=1, minutes=1)
    trip.sweep()
    assert job.stands == ("succeeded", "captured", "charged")


def test_still_running_renews_the_hold_until_six_hours_after_the_submission(trip: Trip) -> None:
    job = trip.running("[slow 9h]")
    submitted = job.row.submitted_at
    assert submitted is not None
    ends = []
    for _ in range(16):
        trip.sweep(seconds=1500)
        hold = job.row.hold
        assert hold is not None
        ends.append((hold.expires_at - submitted).total_seconds() / 3600)
        if hold.state != "open":
            break
    assert 50 < job.row.progress < 100
    assert ends == sorted(ends)
    assert max(ends) == pytest.approx(6, abs=0.01)
    trip.sweep(2)
    assert job.stands == ("awaiting_settlement", "expired", "expired")
    assert trip.lines == [HELD, EXPIRED]

    trip.advance(hours=4)
    job.ended()
    assert job.stands == ("succeeded", "expired", "charged")
    assert trip.lines == [HELD, EXPIRED, ("late_capture", "0.5")]


def test_renewing_writes_seldom(trip: Trip) -> None:
    job = trip.running("[slow 9h]")
    ends = set()
    for _ in range(10):
        trip.sweep(seconds=60)
        hold = job.row.hold
        assert hold is not None
        ends.add(hold.expires_at)
    assert len(ends) == 1, "ten questions in ten minutes moved the hold's end"


def test_a_job_whose_account_is_frozen_is_not_submitted_until_it_is_thawed(
    trip: Trip, provider_calls: list[str]
) -> None:
    job = trip.start()
    ledger.set_account_frozen(trip.purse.id, True, "Looked at")
    trip.sweep(5)
    assert provider_calls == []
    assert job.stands == ("queued", "open", None)
    ledger.set_account_frozen(trip.purse.id, False, "")
    trip.advance(minutes=1)
    job.ended()
    assert job.stands == ("succeeded", "captured", "charged")


def test_a_job_that_stays_unsubmitted_expires_with_its_hold(trip: Trip, provider_calls: list[str]) -> None:
    job = trip.start()
    ledger.set_account_frozen(trip.purse.id, True, "Looked at")
    trip.advance(hours=1)
    trip.sweep()
    assert provider_calls == []
    assert job.stands == ("expired", "expired", "expired")
    assert job.row.error_message == "It was never started, and its reservation ended."
    assert trip.purse.account.balance - trip.purse.account.held == 10_000_000


def test_a_job_over_a_disputed_payment_is_not_submitted(trip: Trip, provider_calls: list[str]) -> None:
    trip.purse.charge(trip.purse.available)
    trip.purse.grant(credits.MICRO, payment="pi_1")
    job = trip.start()
    ledger.freeze(trip.purse.id, payment=trip.purse.payment("pi_1"))
    trip.sweep(5)
    assert provider_calls == []
    assert job.stands == ("queued", "open", None)


def test_a_hold_open_for_two_hours_is_told_to_staff_once(trip: Trip) -> None:
    job = trip.running("[slow 9h]")
    trip.advance(minutes=50)
    trip.sweep()
    monitoring.watch()
    assert "hold_open_long" not in trip.alerts
    for _ in range(3):
        trip.advance(minutes=50)
        trip.sweep()
        monitoring.watch()
    assert job.stands == ("running", "open", None)
    assert trip.alerts.count("hold_open_long") == 1
