"""Laws that a review found broken, each by the smallest story that broke it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import OperationalError, connection, transaction

from billing import clock as ledger_clock
from billing import errors, ledger
from generations import afterwards, circuits, lifecycle, pacing, rounds, safety_net, tasks
from generations.models import Circuit, Generation, SettlementRule
from generations.providers import calls, openai
from generations.providers.base import Answer, Unknown
from generations.providers.calls import Calls
from generations.storage import Unreachable
from tests.billing.purse import Purse
from tests.generations.test_safety_net import telling_breaks
from tests.generations.trip import MICRO, SHORT, Trip, heard
from tests.instance import until

pytestmark = pytest.mark.django_db(transaction=True)


def broken(*_: Any, **__: Any) -> Any:
    raise OperationalError("the server closed the connection unexpectedly")


def answered(round: rounds.Round, count: int) -> None:
    """So many answers are there to be taken."""
    until(lambda: round.calls._answered.qsize() >= count, 60, "answers")
    assert round.calls._answered.qsize() == count


# Answers that are lost


@pytest.mark.parametrize("what", ["questions", "circuits"])
def test_an_acceptance_outlives_what_breaks_beside_it(trip: Trip, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    polled, submitted = trip.running(), trip.start("[slow 9h]")
    trip.advance(30)
    round = rounds.Round()
    round.submit(submitted.id)
    round.ask(lifecycle.claim_due(only=polled.id))
    answered(round, 2)
    with monkeypatch.context() as breaks:
        breaks.setattr(*((lifecycle, "hear") if what == "questions" else (circuits, "hear")), broken)
        with suppress(OperationalError):
            round.hear()
    round.finish()
    assert submitted.row.state == "running"
    assert submitted.row.provider_job_id


def test_a_call_that_was_cancelled_from_within_is_a_doubt_and_not_a_silence() -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError

    under_way: Calls[str] = Calls()
    under_way.add("poll somebody", "it", gives_up)
    ((tag, said),) = under_way.take(5)
    assert (tag, said.status) == ("it", "broken")
    with pytest.raises(Unknown):
        calls.run(gives_up())


# Time


def test_a_submission_that_would_outlast_its_sweep_is_left_to_the_next(
    trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is begun and not heard is in doubt for ever where the provider cannot be asked by our reference."""
    monkeypatch.setattr("generations.providers.rehearsal.Rehearsal.submit_seconds_max", 100.0)
    job = trip.start("[slow 9h]")
    late = rounds.Round(90)
    late.begin()
    assert job.stands == ("queued", "open", None)
    early = rounds.Round(tasks.TASK_SECONDS)
    early.begin()
    early.finish()
    assert job.stands == ("running", "open", None)


def test_a_task_that_follows_a_job_does_not_wait_through_a_long_submission(
    trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four pictures at a provider that hangs would occupy all workers, who would then be taken for dead and killed."""
    monkeypatch.setattr("generations.providers.rehearsal.Rehearsal.submit_seconds_max", 100.0)
    job = trip.start("[slow 9h]")
    tasks.follow(str(job.id))
    assert job.stands == ("queued", "open", None)
    sweep = rounds.Round(tasks.TASK_SECONDS - tasks.SWEEP_SECONDS)  # as late as one begins anything
    sweep.begin()
    sweep.finish()
    assert job.stands == ("running", "open", None)


def test_every_submission_fits_into_the_end_of_a_sweep() -> None:
    """One that did not would never be begun, or begun and not heard."""
    longest = openai.IMAGE_SECONDS_MAX + rounds.SUBMIT_MORE
    assert longest < tasks.TASK_SECONDS - tasks.SWEEP_SECONDS


def test_a_round_waits_for_its_answers_no_longer_than_it_may(trip: Trip) -> None:
    job = trip.running()
    trip.advance(30)
    gate = {"point": "before_poll_answer", "reference": str(job.id)}
    trip.stand_in.post("gates", **gate)
    rounds.poll(lifecycle.claim_due(only=job.id), 0.2)
    until(lambda: gate in trip.stand_in.get("gates")["waiting"], 30, "nobody has waited for the answer")
    assert job.stands == ("running", "open", None)
    trip.stand_in.post("release", reference=str(job.id))


def test_the_queue_gives_a_task_longer_than_it_takes(settings: Any) -> None:
    assert tasks.SWEEP_SECONDS < tasks.TASK_SECONDS < settings.Q_CLUSTER["timeout"]


def test_deleting_takes_no_longer_than_its_share_of_a_pass(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [trip.start().ended() for _ in range(2)]
    trip.advance(days=31)
    ticks = iter(range(0, 1000, 10))
    monkeypatch.setattr(afterwards, "monotonic", lambda: float(next(ticks)))
    for gone in (1, 2):
        afterwards.delete_old_outputs()
        assert [job.has_file for job in jobs].count(False) == gone


# The last question


def test_a_hold_outlives_the_last_question_until_its_answer_is_there(trip: Trip) -> None:
    """After an hour without a worker everything is due at once: its question and its hold."""
    job = trip.running("[slow 9h]")
    trip.advance(hours=1, minutes=1)
    round = rounds.Round()
    tasks._chores(round)
    assert job.stands == ("running", "open", None)
    round.finish()
    hold = job.row.hold
    assert hold is not None
    assert hold.expires_at > ledger_clock.now()
    tasks._chores(round)
    assert job.stands == ("running", "open", None)


def test_a_last_question_that_nobody_hears_the_answer_of_ends_with_its_claim(trip: Trip) -> None:
    job = trip.running("[slow 9h]")
    trip.advance(hours=1, minutes=1)
    assert lifecycle.claim_last_questions()
    trip.advance(lifecycle.LEASE_SECONDS - 1)
    lifecycle.expire(job.id)
    assert job.stands == ("running", "open", None)
    trip.advance(2)
    lifecycle.expire(job.id)
    assert job.stands == ("awaiting_settlement", "expired", "expired")


def test_a_failure_that_could_not_be_settled_is_not_called_a_result_that_waits(trip: Trip) -> None:
    job = trip.running("[failed nsfw]")
    trip.advance(5)
    (claimed,) = lifecycle.claim_due(only=job.id)
    assert heard(claimed, Answer("failed", "nsfw"))
    trip.advance(hours=1, minutes=1)
    lifecycle.expire(job.id)
    assert job.stands == ("awaiting_settlement", "expired", "expired")


# One that delays others


def rest(provider: str) -> None:
    now = ledger_clock.now()
    Circuit.objects.create(provider=provider, opened_at=now, retry_at=now + timedelta(hours=1))


def test_submissions_to_a_provider_that_rests_delay_no_other(trip: Trip, settings: Any, tmp_path: Any) -> None:
    settings.PROVIDER_CALLS_AT_ONCE, settings.LOCAL_DIR = 1, tmp_path
    for _ in range(5):
        trip.start()
    terms = {"prompt": "A lighthouse", "seconds": 4, "size": "640x360", "quality": "draft"}
    quote = lifecycle.quote("ai/video", terms, "local")
    other = lifecycle.start(trip.purse.id, quote, actor="user:1", user=trip.person.pk).generation
    rest("rehearsal")
    round = rounds.Round()
    round.begin()
    round.finish()
    assert Generation.objects.get(id=other.id).state == "running"
    assert Generation.objects.filter(provider="rehearsal", state="queued").count() == 5


def test_look_ups_pile_up_no_higher_than_their_lane_and_leave_who_rests_alone(trip: Trip, settings: Any) -> None:
    settings.PROVIDER_CALLS_AT_ONCE = 1
    for _ in range(6):
        lifecycle.claim_submission(trip.start().id)
    trip.advance(minutes=2)
    round = rounds.Round()
    for _ in range(6):
        round.begin()
    assert round.calls.waiting["look_up rehearsal"] <= 2
    round.finish()
    rest("rehearsal")
    trip.advance(minutes=2)
    assert round.begin() == 0


def test_last_questions_and_looks_back_pile_up_no_higher_than_their_lanes(trip: Trip, settings: Any) -> None:
    settings.PROVIDER_CALLS_AT_ONCE = 1
    silent = [trip.running("[silent]") for _ in range(4)]
    ended = [trip.start("[failed nsfw]").ended() for _ in range(4)]
    assert len(silent) == len(ended)
    trip.advance(hours=1, minutes=1)
    round = rounds.Round()
    for _ in range(4):
        round.ask_last_questions()
        round.look_back()
    assert round.calls.waiting["last rehearsal"] <= 2
    assert round.calls.waiting["poll rehearsal"] == 0
    round.finish()


def test_fetches_from_one_provider_delay_none_from_another(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, other = trip.running().row, trip.running().row
    monkeypatch.setattr(rounds, "FETCHES_WAITING_MAX", 1)
    monkeypatch.setattr(rounds.Round, "_add", lambda *_: None)
    round = rounds.Round()
    round.to_fetch.append(slow)
    round.calls.waiting["fetch rehearsal"] = 4
    assert not round._fetch(other)
    other.provider = "local"
    assert round._fetch(other)


def test_a_fetch_that_waited_for_its_turn_is_claimed_anew(trip: Trip, settings: Any) -> None:
    """So that no other worker takes it for given up while it is under way."""
    settings.FETCHES_AT_ONCE = 0
    job = trip.running("A lighthouse")
    trip.advance(5)
    (claimed,) = lifecycle.claim_due(only=job.id)
    round = rounds.Round()
    round.go_on(lifecycle.hear([(claimed, Answer("completed"))]))
    trip.advance(170)
    settings.FETCHES_AT_ONCE = 1
    round._start_fetches()
    due_at = job.row.next_poll_at
    assert due_at is not None
    assert due_at > ledger_clock.now() + timedelta(seconds=settings.OUTPUT_SECONDS_MAX * 2)
    round.finish()
    assert job.stands == ("succeeded", "captured", "charged")

    taken = trip.running("A lighthouse")
    trip.advance(5)
    (claimed,) = lifecycle.claim_due(only=taken.id)
    settings.FETCHES_AT_ONCE = 0
    round.go_on(lifecycle.hear([(claimed, Answer("completed"))]))
    assert lifecycle.claim_fetch(taken.row)
    settings.FETCHES_AT_ONCE = 1
    assert not round.hear()
    assert not len(round)


def test_an_account_that_somebody_keeps_locked_delays_no_settlement_of_another(trip: Trip) -> None:
    job = trip.running("[failed nsfw]")
    rich = Purse()
    rich.grant(MICRO)
    quote = lifecycle.quote("ai/video", SHORT | {"prompt": "[failed nsfw]"}, "rehearsal")
    kept = lifecycle.start(rich.id, quote, actor="user:1").generation
    rounds.submit(kept.id)
    trip.advance(5)
    for id in (job.id, kept.id):
        (claimed,) = lifecycle.claim_due(only=id)
        assert heard(claimed, Answer("failed", "nsfw"))
    is_locked, is_done = threading.Event(), threading.Event()

    def keep_locked() -> None:
        with transaction.atomic():
            ledger.lock([rich.id])
            is_locked.set()
            is_done.wait(120)
        connection.close()

    keeper = threading.Thread(target=keep_locked)
    keeper.start()
    try:
        assert is_locked.wait(60)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '200ms'")
        with suppress(OperationalError):
            safety_net.settle([kept.id, job.id])
        assert job.stands == ("failed", "released", "refunded")
        assert Generation.objects.get(id=kept.id).state == "running"
    finally:
        is_done.set()
        keeper.join()
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
    safety_net.settle([kept.id])
    assert Generation.objects.get(id=kept.id).state == "failed"


def test_holds_that_must_wait_for_a_question_delay_none_that_need_not(trip: Trip) -> None:
    trip.running("[silent]")
    doubtful = trip.start()
    lifecycle.claim_submission(doubtful.id)
    trip.advance(hours=1, minutes=1)
    Generation.objects.filter(id=doubtful.id).update(next_poll_at=ledger_clock.now())
    assert lifecycle.due_expiries(1) == [doubtful.id]


# Words for what happened


def test_a_provider_that_is_not_set_up_any_more_was_surely_sent_nothing(trip: Trip, settings: Any) -> None:
    job = trip.start()
    settings.REHEARSAL_ENABLED = False
    rounds.submit(job.id)
    assert (job.row.state, job.attempts) == ("queued", ["later"])
    settings.REHEARSAL_ENABLED = True
    job.ended()
    assert job.stands == ("succeeded", "captured", "charged")


def test_a_storage_that_cannot_be_reached_is_not_its_providers_fault(
    trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = trip.running("A lighthouse")
    trip.advance(5)
    (claimed,) = lifecycle.claim_due(only=job.id)
    assert heard(claimed, Answer("completed"))
    with monkeypatch.context() as away:
        away.setattr(default_storage, "save", lambda *_: (_ for _ in ()).throw(Unreachable("away")))
        with pytest.raises(Unknown) as caught:
            calls.run(lifecycle.fetched(job.row), 60)
    assert caught.value.status == "storage"
    assert pacing.sign_of(caught.value) is pacing.Sign.NOTHING


def test_a_word_that_is_too_long_for_its_column_is_cut(trip: Trip) -> None:
    SettlementRule.objects.create(phase="poll", provider="rehearsal", status="any", outcome="release")
    job = trip.running()
    trip.advance(30)
    (claimed,) = lifecycle.claim_due(only=job.id)
    assert heard(claimed, Answer("x" * 200, "y" * 200, "z" * 2000))
    safety_net.settle([job.id])
    assert job.stands == ("failed", "released", "refunded")


def test_a_submission_is_put_back_however_often_it_was_tried(trip: Trip) -> None:
    job = trip.start("[submit 429]")
    Generation.objects.filter(id=job.id).update(attempt_count=2000)
    rounds.submit(job.id)
    assert (job.row.state, job.attempts) == ("queued", ["later"])


# The safety net


def test_an_emergency_release_is_for_refused_submissions_and_for_every_word_that_a_rule_releases(trip: Trip) -> None:
    SettlementRule.objects.create(phase="poll", provider="rehearsal", status="transmogrified", outcome="release")
    jobs = [trip.start("[submit 422]"), trip.start("[unknown_word]")]
    with telling_breaks(jobs[0]):
        rounds.submit(jobs[0].id)
        trip.sweep(1 + safety_net.FAILURES_MAX, seconds=lifecycle.LEASE_SECONDS + 1)
    assert jobs[0].stands == ("failed", "released", "refunded")
    assert jobs[0].row.is_emergency

    job = trip.running("[unknown_word]")
    with telling_breaks(job):
        trip.sweep(2 + safety_net.FAILURES_MAX, seconds=lifecycle.LEASE_SECONDS + 1)
    assert job.stands == ("failed", "released", "refunded")
    assert job.row.is_emergency


def test_a_refusal_by_the_ledger_stops_no_other_emergency_release(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, other = (trip.running("[failed nsfw]") for _ in range(2))
    for job in (stuck, other):
        trip.advance(5)
        (claimed,) = lifecycle.claim_due(only=job.id)
        assert heard(claimed, Answer("failed", "nsfw"))
        for _ in range(safety_net.FAILURES_MAX):
            lifecycle.note_failure(job.row, "broke")
    release = ledger.release

    def refuses(account: Any, **terms: Any) -> Any:
        if terms["hold"] == stuck.row.hold_id:
            raise errors.HoldNotOpen
        return release(account, **terms)

    monkeypatch.setattr(ledger, "release", refuses)
    assert safety_net.rescue() == 1
    assert other.stands == ("failed", "released", "refunded")
    assert trip.alerts.count("emergency_release_broke") == 1
