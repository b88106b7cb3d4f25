"""Whoever comes together on one job: one is first, the others change nothing. Old claims, many workers, every end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django_q.models import OrmQ

from billing import errors
from billing.models import Alert
from generations import lifecycle, rounds, tasks
from generations.models import Attempt, Generation
from generations.providers.base import Answer
from tests.generations.trip import MICRO, Job, Trip, asked, fetched, heard

pytestmark = pytest.mark.django_db(transaction=True)

guard = tasks._guard  # as it is, not as the tests of the trip have it


def together(*acts: Callable[[], Any]) -> list[Any]:
    """What each act returned, or the refusal it met; all begin at once, each on a connection of its own."""
    ready = threading.Barrier(len(acts))
    results: list[Any] = [None] * len(acts)

    def run(at: int) -> None:
        try:
            connection.ensure_connection()
            ready.wait(60)
            results[at] = acts[at]()
        except BaseException as error:
            results[at] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, errors.BillingError):
            raise result
    return results


def completed(trip: Trip) -> Job:
    """A job whose provider has said that it is completed, its output fetched, not yet settled."""
    job = trip.running("A boat")
    trip.advance(5)
    (claimed,) = lifecycle.claim_due(only=job.id)
    assert heard(claimed, asked(claimed))
    assert fetched(claimed)
    assert job.stands == ("running", "open", None)
    return job


# Fencing


def test_an_old_claims_answer_is_ignored(trip: Trip) -> None:
    job = trip.running("[slow 1h]")
    trip.advance(5)
    (old,) = lifecycle.claim_due()
    assert lifecycle.claim_due() == [], "a leased job was claimed twice"
    trip.clock.advance(seconds=lifecycle.LEASE_SECONDS + 1)
    (new,) = lifecycle.claim_due()
    assert (new.id, new.claim) == (old.id, old.claim + 1)
    with trip.nothing_moves():
        assert not heard(old, Answer("in_progress", progress=77))
        assert not heard(old, Answer("failed", code="stale"))
    row = job.row
    assert (row.progress, row.verdict_at, row.answered_at) == (0, None, None)
    assert not heard(new, Answer("in_progress", progress=50))
    assert job.row.progress == 50


def test_the_first_of_two_terminal_words_stands_and_the_other_alerts(trip: Trip) -> None:
    job = trip.running("[slow 1h]")
    trip.advance(5)
    (claimed,) = lifecycle.claim_due()
    assert heard(claimed, Answer("failed", code="first"))
    assert not heard(claimed, Answer("completed"))
    lifecycle.settle([job.id])
    assert job.stands == ("failed", "released", "refunded")
    assert job.row.verdict_code == "first"
    assert trip.alerts == ["provider_changed_its_word"]


def test_progress_never_goes_back(trip: Trip) -> None:
    job = trip.running("[slow 1h]")
    for said, shown in ((10, 10), (60, 60), (40, 60), (None, 60), (100, 100)):
        trip.clock.advance(seconds=70)
        (claimed,) = lifecycle.claim_due()
        heard(claimed, Answer("in_progress", progress=said))
        assert job.row.progress == shown


def test_a_provider_that_takes_its_word_back_is_reported_and_nothing_moves(trip: Trip) -> None:
    job = trip.start("[flip]").ended()
    assert job.stands == ("succeeded", "captured", "charged")
    with trip.nothing_moves():
        trip.sweep(4)
    assert job.stands == ("succeeded", "captured", "charged")
    assert trip.alerts == ["provider_changed_its_word"]
    alert = Alert.objects.get()
    assert "first said “completed” and now says “failed”" in alert.sentence
    assert job.row.is_looked_back
    polls = {row["id"]: row["polls"] for row in trip.stand_in.get("state")["jobs"]}
    trip.sweep(3)
    assert polls == {row["id"]: row["polls"] for row in trip.stand_in.get("state")["jobs"]}, "it is asked for ever"


# Many workers


def test_of_many_workers_one_submits(trip: Trip) -> None:
    job = trip.start("[slow 1h]")
    together(*[lambda: rounds.submit(job.id)] * 6)
    assert job.submits == {"received": 1, "accepted": 1}
    assert job.attempts == ["accepted"]
    assert job.stands == ("running", "open", None)


def test_of_many_workers_one_asks(trip: Trip) -> None:
    jobs = {trip.running("[slow 1h]").id for _ in range(3)}
    trip.advance(5)
    claimed = [one.id for found in together(*[lifecycle.claim_due] * 5) for one in found]
    assert len(claimed) == 3
    assert set(claimed) == jobs


def test_two_workers_that_settle_at_once_settle_once(trip: Trip) -> None:
    for _ in range(5):
        job = completed(trip)
        together(*[lambda job=job: lifecycle.settle([job.id])] * 4)
        assert job.stands == ("succeeded", "captured", "charged")
        assert trip.lines[-2:] == [("hold", "0.5"), ("capture", "0.5")]
    assert len(trip.lines) == 10


def test_whole_sweeps_at_once_settle_everything_once(trip: Trip, in_a_hurry: None) -> None:
    words = ("A boat", "[failed x]", "[timeout_after_accept]", "[submit 400]", "[poll 503]", "[garbage]")
    jobs = [trip.start(word) for word in words]
    for _ in range(10):
        trip.advance(21)
        together(*[tasks.sweep_once] * 3)
        if all(job.row.is_ended for job in jobs):
            break
    assert [job.row.outcome for job in jobs] == ["charged", "refunded", "charged", "refunded", "charged", "charged"]
    assert all(job.submits["accepted"] <= 1 for job in jobs)
    assert sorted(kind for kind, _ in trip.lines) == ["capture"] * 4 + ["hold"] * 6 + ["release"] * 2


@pytest.mark.parametrize("round", range(4))
def test_capture_expiry_cancel_and_staff_have_one_winner(trip: Trip, round: int) -> None:
    job = completed(trip)
    trip.clock.advance(hours=1.1)
    acts: list[Callable[[], Any]] = [
        lambda: lifecycle.settle([job.id]),
        lambda: lifecycle.expire(job.id),
        lambda: lifecycle.cancel(trip.purse.id, job.id),
        lambda: lifecycle.settle_by_hand(job.id, outcome="release", staff=trip.person.pk, reason="A race"),
    ]
    results = together(*acts[round:], *acts[:round])
    cancelled = results[(2 - round) % 4]
    assert isinstance(cancelled, lifecycle.CannotCancel), "a job with a verdict was cancelled"
    if not job.row.is_ended:  # expired, and now paid late
        assert job.stands == ("awaiting_settlement", "expired", "withheld")
        trip.sweep()
    ends = {
        ("succeeded", "captured", "charged"): ["hold", "capture"],
        ("failed", "released", "refunded"): ["hold", "release"],
        ("failed", "expired", "refunded"): ["hold", "hold_expired"],
        ("succeeded", "expired", "charged"): ["hold", "hold_expired", "late_capture"],
    }
    assert [kind for kind, _ in trip.lines] == ends[job.stands]


@pytest.mark.parametrize("round", range(3))
def test_submitting_and_cancelling_have_one_winner(trip: Trip, round: int) -> None:
    job = trip.start("[slow 1h]")
    _, cancelled = together(lambda: rounds.submit(job.id), lambda: lifecycle.cancel(trip.purse.id, job.id))
    if job.submits["received"] == 0:
        assert job.stands == ("cancelled", "released", "refunded")
        assert isinstance(cancelled, Generation)
    else:
        assert job.stands == ("running", "open", None)
        assert [kind for kind, _ in trip.lines] == ["hold"]


@pytest.mark.parametrize("round", range(3))
def test_late_payment_waiver_and_staff_have_one_winner(trip: Trip, round: int) -> None:
    job = completed(trip)
    trip.clock.advance(hours=1.1)
    lifecycle.expire(job.id)
    results = together(
        lambda: lifecycle.settle([job.id]),
        lambda: lifecycle.settle(lifecycle.due_late()),
        lambda: lifecycle.waive(job.id, staff=trip.person.pk, reason="A race"),
        lambda: lifecycle.settle_by_hand(job.id, outcome="release", staff=trip.person.pk, reason="A race"),
    )
    outcome = job.row.outcome
    assert [kind for kind, _ in trip.lines] == ["hold", "hold_expired"] + ["late_capture"] * (outcome == "charged")
    assert isinstance(results[2], lifecycle.CannotSettle) == (outcome != "waived")
    assert isinstance(results[3], lifecycle.CannotSettle) == (outcome != "refunded")


# Hints and crashes


def test_a_job_and_its_task_are_queued_together_or_not_at_all(trip: Trip) -> None:
    OrmQ.objects.all().delete()
    job = trip.start()
    assert OrmQ.objects.count() == 1
    trip.purse.charge(trip.purse.available)
    with pytest.raises(errors.InsufficientCredits), trip.nothing_moves():
        trip.start()
    assert OrmQ.objects.count() == 1
    assert Generation.objects.count() == 1
    OrmQ.objects.all().delete()  # nothing is lost with the queue
    job.ended()
    assert job.row.outcome == "charged"


def test_the_task_follows_a_job_to_its_end_and_may_run_again(trip: Trip, settings: Any) -> None:
    settings.POLL_SECONDS = 0
    job = trip.start()
    OrmQ.objects.all().delete()  # while other tasks wait it leaves the rest to the sweep
    for _ in range(2):
        tasks.follow(str(job.id))
        assert job.stands == ("succeeded", "captured", "charged")
    assert job.submits == {"received": 1, "accepted": 1}


def test_a_crash_before_the_call_leaves_a_doubt_that_is_looked_up(
    trip: Trip, monkeypatch: pytest.MonkeyPatch, provider_calls: list[str]
) -> None:
    job = trip.start()
    with monkeypatch.context() as broken:

        def pull_the_plug(*_: Any) -> None:
            raise KeyboardInterrupt

        broken.setattr(rounds.Round, "_add", pull_the_plug)
        with pytest.raises(KeyboardInterrupt):
            rounds.submit(job.id)
    assert job.stands == ("submitting", "open", None)
    assert Attempt.objects.get().result is None
    job.ended()
    assert provider_calls[:2] == ["look_up", "submit"]
    assert job.submits == {"received": 1, "accepted": 1}
    assert job.stands == ("succeeded", "captured", "charged")


def test_a_crash_after_the_acceptance_is_found_and_not_submitted_again(
    trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = trip.start()
    with monkeypatch.context() as broken:

        def pull_the_plug(*_: Any) -> None:
            raise KeyboardInterrupt

        broken.setattr(lifecycle, "_record_acceptance", pull_the_plug)
        with pytest.raises(KeyboardInterrupt):
            rounds.submit(job.id)
    assert job.submits == {"received": 1, "accepted": 1}
    job.ended()
    assert job.submits == {"received": 1, "accepted": 1}
    assert job.stands == ("succeeded", "captured", "charged")


def test_a_broken_connection_is_tried_once_more(trip: Trip) -> None:
    job = completed(trip)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()

    def kill() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

    together(kill)
    lifecycle.settle([job.id])
    assert job.stands == ("succeeded", "captured", "charged")
    assert [kind for kind, _ in trip.lines] == ["hold", "capture"]


def test_one_broken_job_stops_no_other(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_guard", guard)
    bad, good = trip.start("[failed bad]"), trip.start("[failed good]")
    Generation.objects.filter(id=bad.id).update(provider="gone")
    trip.sweep(4)
    assert good.row.outcome == "refunded"
    assert bad.stands == ("queued", "open", None)
    trip.advance(hours=1)
    trip.sweep(2)
    assert trip.purse.available == 10 * MICRO, "the hold of a job whose provider is gone stayed open"
