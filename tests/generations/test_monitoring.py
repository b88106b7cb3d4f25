"""The figures, counted by hand; and each alert from rows: it fires, does not repeat, clears, and fires again."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import psycopg
import pytest
from django.core import mail
from django.db import InterfaceError, OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from prometheus_client.parser import text_string_to_metric_families

from billing import alerts, clock, credits, tasks
from billing.models import Alert, Audit, Hold, new_id
from config.schedules import SCHEDULES
from generations import gauges, monitoring
from generations.models import Circuit, Generation
from tests.billing.admin.colleague import Colleague, messages_of, said
from tests.billing.purse import Purse
from tests.conftest import Clock
from tests.generations.history import History, a_member_of_staff, past_the_triggers
from tests.generations.trip import Trip

MICRO = credits.MICRO
HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture
def history(catalogue: None, clock: Clock, settings: Any) -> History:
    """A desk with one member of staff, and no job yet."""
    settings.PUBLIC_URL = "https://credits.example.com"
    purse = Purse(name="Ada")
    a_member_of_staff(purse)
    gauges.figures.forget()
    return History(purse)


# Figures


def test_nothing_is_counted_where_nothing_is(history: History) -> None:
    since = history.ago(DAY)
    assert (monitoring.unsettled(), monitoring.in_holds()) == (monitoring.Unsettled(), monitoring.InHolds())
    ended = monitoring.ended_since(since)
    assert (ended.jobs, ended.failures, ended.refunded_by_itself_percent, ended.median_seconds) == (0, 0, None, None)
    assert (monitoring.failures_by_code(since), monitoring.settlements_since(since)) == ([], (0, 0))
    assert (monitoring.charged_since(since), monitoring.oldest_hold()) == (0, None)


def test_unsettled_jobs_are_counted_by_state_with_what_they_may_cost(history: History) -> None:
    for state, cost in (("queued", "1"), ("running", "2.5"), ("running", "0.5"), ("awaiting_settlement", "4")):
        history.job(state, cost=cost)
    history.jobs(3)
    found = monitoring.unsettled()
    assert (found.jobs, found.credits) == (4, 8 * MICRO)
    assert found.by_state == {
        "awaiting_settlement": (1, 4 * MICRO),
        "queued": (1, 1 * MICRO),
        "running": (2, 3 * MICRO),
    }


def test_failures_of_the_window_are_counted_by_code_most_first(history: History) -> None:
    history.jobs(2, "failed", code="invalid_request")
    history.jobs(3, "failed", code="moderation_blocked")
    history.job("expired", took=None, code="expired", by="expiry")
    history.job("failed", ended=2 * DAY, code="invalid_request")
    history.job("cancelled", code="cancelled")
    history.job("succeeded")
    assert monitoring.failures_by_code(history.ago(DAY)) == [
        ("moderation_blocked", 3),
        ("invalid_request", 2),
        ("expired", 1),
    ]


def test_charged_today_is_what_was_taken_less_what_was_refunded(history: History) -> None:
    purse = history.purse
    purse.grant(100 * MICRO)
    start = clock.now()
    line = purse.charge(8 * MICRO)
    purse.capture(purse.place(5 * MICRO), 2 * MICRO)
    purse.release(purse.place(7 * MICRO))
    purse.refund(line.id, 3 * MICRO)
    assert monitoring.charged_since(start) == 7 * MICRO  # 8 + 2 − 3
    assert monitoring.charged_since(clock.now()) == 0


def test_credits_in_holds_are_what_open_holds_still_keep(history: History) -> None:
    purse = history.purse
    purse.grant(100 * MICRO)
    first = purse.place(3 * MICRO)
    purse.place(4 * MICRO, owner="service:renders")
    purse.release(purse.place(20 * MICRO))
    held = monitoring.in_holds()
    assert (held.holds, held.credits, held.of_jobs) == (2, 7 * MICRO, 3 * MICRO)
    oldest = monitoring.oldest_hold()
    assert oldest is not None
    assert (oldest.id, oldest.placed_at) == (first, held.oldest_at)


def test_from_verdict_to_settlement_median_and_95th_percentile(history: History) -> None:
    """1, 2, 3 and 10 s: half way between 2 and 3; and 0.85 of the way from 3 to 10, by linear interpolation."""
    for took in (10, 1, 3, 2):
        history.job(took=took)
    history.job("expired", took=None, by="expiry")
    history.job(took=9000, ended=2 * DAY)
    ended = monitoring.ended_since(history.ago(DAY))
    assert ended.median_seconds == pytest.approx(2.5)
    assert ended.p95_seconds == pytest.approx(8.95)


def test_failures_are_counted_by_who_gave_the_credits_back(history: History) -> None:
    history.jobs(5, "failed", code="failed")
    history.job("failed", by="emergency", is_emergency=True)
    history.job("failed", by="user:7")
    history.job("failed", by="resettle")
    history.jobs(2, "expired", took=None, by="expiry")
    history.job("expired", took=3, by="expiry", verdict_status="completed")  # made, and never paid for: no failure
    history.jobs(4, "cancelled")
    history.jobs(6)
    ended = monitoring.ended_since(history.ago(DAY))
    assert ended.jobs == 21
    assert ended.failures_by == {"provider": 5, "emergency": 1, "expiry": 2, "staff": 1, "other": 1}
    assert ended.refunded_by_itself_percent == 50


def test_a_job_broke_once_however_often_it_broke(history: History) -> None:
    jobs = history.jobs(8)
    history.breaks(jobs[0], times=3)
    history.breaks(history.job(ended=30, took=2 * HOUR))  # an old verdict, still being tried
    history.breaks(jobs[1], seconds_ago=2 * HOUR)
    assert monitoring.settlements_since(history.ago(HOUR)) == (2, 9)


def test_the_last_24_hours_by_hour(history: History) -> None:
    history.jobs(2, ended=1)
    history.job("failed", ended=1)
    history.job("cancelled", ended=1)
    history.job("expired", took=None, ended=5 * HOUR)
    history.job(ended=30 * HOUR)
    now = clock.now()
    hours = monitoring.by_hour(now)
    assert len(hours) == 24
    assert [hour.starts_at for hour in hours] == sorted(hour.starts_at for hour in hours)
    assert sum(hour.succeeded for hour in hours) == 2
    assert sum(hour.failed for hour in hours) == 2
    at = next(
        hour for hour in hours if hour.starts_at <= now - timedelta(hours=5) < hour.starts_at + timedelta(hours=1)
    )
    assert (at.succeeded, at.failed) == (0, 1)


# Alerts: each from rows


@dataclass
class Told:
    """What one alert does to the rows and the mailbox."""

    name: str

    @property
    def open(self) -> list[str]:
        return list(Alert.objects.filter(name=self.name, cleared_at=None).order_by("key").values_list("key", flat=True))

    @property
    def ever(self) -> int:
        return Alert.objects.filter(name=self.name).count()

    def look(self) -> None:
        """A minute of the worker: watch, then mail. Twice, as it may happen."""
        for _ in range(2):
            assert monitoring.watch()
            tasks.mail_alerts()

    @property
    def mails(self) -> list[Any]:
        title = alerts.kind_of(self.name).title
        return [one for one in mail.outbox if one.subject.startswith(f"Holdfast: Alert: {title}")]


def test_settlements_that_break(history: History, clock: Clock) -> None:
    told = Told("settlement_failing")
    jobs = history.jobs(20)
    history.breaks(jobs[0])
    told.look()
    assert told.open == []  # 1 of 20 is 5 %, and not over it
    history.breaks(jobs[1])
    told.look()
    assert (told.open, told.ever) == ([""], 1)
    (sent,) = told.mails
    assert sent.subject == "Holdfast: Alert: Settlements break"
    assert sent.to == ["staff@desk.test"]
    assert "Settling broke for 2 of the 20 jobs that were due in the last hour." in sent.body
    assert "Broken: 10.0 %" in sent.body
    assert "Commonest errors: ValueError: odd (2 ×)" in sent.body
    assert "What to do: Look for “settlement” in the worker’s log" in sent.body
    assert "It clears by itself when it is over." in sent.body
    alert = Alert.objects.get(name=told.name)
    assert f"https://credits.example.com/admin/billing/alert/{alert.id}/change/" in sent.body
    clock.advance(hours=1, minutes=1)
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([], 1, 1)
    for job in history.jobs(5)[:2]:
        history.breaks(job)
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([""], 2, 2)
    assert "2 of the 5 jobs" in told.mails[1].body


def test_one_broken_settlement_among_few_is_no_alert(history: History) -> None:
    for job in history.jobs(4):
        history.breaks(job)
    told = Told("settlement_failing")
    told.look()
    assert told.open == []
    history.job()
    told.look()
    assert told.open == [""]


def test_moderation_that_blocks_often(history: History, clock: Clock) -> None:
    told = Told("moderation_blocks_often")
    history.jobs(8)
    history.jobs(2, "failed", code="moderation_blocked")
    told.look()
    assert told.open == []  # 2 of 10 is 20 %, and not over it
    history.job("failed", code="content_filter")
    told.look()
    assert (told.open, told.ever) == ([""], 1)
    (sent,) = told.mails
    assert sent.subject == "Holdfast: Alert: Moderation blocks many jobs"
    assert "Moderation blocked 3 of the 11 jobs that ended in the last 24 hours." in sent.body
    assert "Blocked: 27.3 %" in sent.body
    assert "Accounts: 1\n" in sent.body
    assert "Most of them: ai/video at rehearsal (3 ×)" in sent.body
    history.jobs(4)
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([], 1, 1)  # 3 of 15
    clock.advance(days=1)
    history.jobs(10, "failed", code="moderation_blocked")
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([""], 2, 2)


def test_a_hold_open_for_too_long(history: History, clock: Clock) -> None:
    told = Told("hold_open_long")
    job = history.job("running", cost="12.5", held_since=2 * HOUR - 60)
    other = history.job("queued", held_since=HOUR)
    told.look()
    assert told.open == []
    clock.advance(minutes=2)
    told.look()
    assert (told.open, told.ever) == ([str(job.id)], 1)
    (sent,) = told.mails
    assert sent.subject == "Holdfast: Alert: A job holds credits for too long"
    assert "A job at rehearsal has held 12.50 credits for more than 2 hours." in sent.body
    assert "Held credits: 12.50 credits" in sent.body
    assert re.search(r"Held since: \d+ \w+ \d{4}, \d\d:\d\d UTC", sent.body)
    assert f"The job: https://credits.example.com/admin/generations/generation/{job.id}/change/" in sent.body
    history.ends(job)
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([], 1, 1)
    clock.advance(hours=1)
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([str(other.id)], 2, 2)


def test_holds_that_became_long_together_are_one_mail(history: History) -> None:
    history.jobs(3, "running", held_since=3 * HOUR)
    told = Told("hold_open_long")
    told.look()
    assert len(told.open) == 3
    (sent,) = told.mails
    assert sent.subject == "Holdfast: Alert: A job holds credits for too long (3)"
    assert sent.body.count("has held 1.00 credits") == 3


def test_many_holds_become_alerts_over_some_minutes(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "OPENED_AT_ONCE", 2)
    history.jobs(5, "running", held_since=3 * HOUR)
    told = Told("hold_open_long")
    counts = []
    for _ in range(4):
        monitoring.watch()
        counts.append(len(told.open))
    assert counts == [2, 4, 5, 5]
    assert told.ever == 5


def test_an_emergency_release(history: History, clock: Clock) -> None:
    told = Told("emergency_release")
    job = history.job("failed", by="emergency", is_emergency=True, cost="3")
    told.look()
    assert (told.open, told.ever) == ([str(job.id)], 1)
    (sent,) = told.mails
    assert sent.subject == "Holdfast: Alert: An emergency release"
    assert "broke again and again, so the safety net gave its 3.00 credits back." in sent.body
    assert "Given back credits: 3.00 credits" in sent.body
    assert "Close it in the admin when it has been looked at." in sent.body
    clock.advance(hours=24)
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([], 1, 1)
    again = history.job("failed", by="emergency", is_emergency=True)
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([str(again.id)], 2, 2)


def test_an_emergency_release_that_staff_closed_stays_closed(history: History) -> None:
    told = Told("emergency_release")
    job = history.job("failed", by="emergency", is_emergency=True)
    told.look()
    stella = Colleague("stella", "view_alert", "clear_alert")
    answer = stella.does(Alert.objects.get(), "clear", reason="The price of an old job could not be read; mended.")
    assert messages_of(answer) == ["The alert is closed."]
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([], 1, 1)
    (trail,) = Audit.objects.filter(act="clear")
    assert (trail.actor, trail.facts["reason"]) == (stella.actor, "The price of an old job could not be read; mended.")
    another = history.job("failed", by="emergency", is_emergency=True)
    told.look()
    assert (told.open, told.ever) == ([str(another.id)], 2)
    assert another.id != job.id


def test_a_provider_that_cannot_be_reached(history: History) -> None:
    told = Told("provider_unreachable")
    broken = {"opened_at": history.ago(90), "retry_at": history.ago(0), "openings": 2, "last_error": "ConnectTimeout"}
    Circuit.objects.create(provider="comfyui", **broken)
    told.look()
    assert (told.open, told.ever) == (["comfyui"], 1)
    (sent,) = told.mails
    assert sent.subject == "Holdfast: Alert: A provider cannot be reached"
    assert "The provider comfyui cannot be reached." in sent.body
    assert "Last error: ConnectTimeout" in sent.body
    Circuit.objects.update(opened_at=None, retry_at=None, openings=0)
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([], 1, 1)
    Circuit.objects.update(**broken)
    told.look()
    assert (told.open, told.ever, len(told.mails)) == (["comfyui"], 2, 2)


def refused(provider: str) -> None:
    """What the lifecycle does when a provider refuses our key."""
    alerts.open_alert(
        "provider_refuses_us",
        key=provider,
        sentence=f"{provider} refuses our requests with 401.",
        facts={"generation": str(new_id()), "code": None},
    )


def test_a_provider_that_refuses_us(history: History) -> None:
    told = Told("provider_refuses_us")
    history.accepts("openai")  # before the refusal: says nothing
    refused("openai")
    refused("openai")
    history.accepts("rehearsal")
    told.look()
    assert (told.open, told.ever) == (["openai"], 1)
    (sent,) = told.mails
    assert sent.subject == "Holdfast: Alert: A provider refuses us"
    assert "openai refuses our requests with 401." in sent.body
    assert "None" not in sent.body
    history.accepts("openai")
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([], 1, 1)
    refused("openai")
    told.look()
    assert (told.open, told.ever, len(told.mails)) == (["openai"], 2, 2)


def test_a_job_that_needs_a_decision(history: History) -> None:
    told = Told("job_needs_review")
    job = history.job("running", cost="2")
    history.change(job, review="The provider said “parked”, which no rule knows.")
    told.look()
    assert (told.open, told.ever) == ([str(job.id)], 1)
    (sent,) = told.mails
    assert sent.subject == "Holdfast: Alert: A job needs a decision"
    assert "The provider said “parked”, which no rule knows." in sent.body
    history.change(job, review="")
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([], 1, 1)
    history.change(job, review="The provider said “lost”, which no rule knows.")
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([str(job.id)], 2, 2)


def test_a_provider_that_changed_its_word_waits_for_staff(history: History) -> None:
    told = Told("provider_changed_its_word")
    job = history.job()

    def flips() -> None:
        alerts.open_alert(
            told.name,
            key=str(job.id),
            sentence="rehearsal first said “completed” and now says “failed”. The first word stands.",
            facts={"generation": str(job.id), "first": "completed", "now": "failed"},
        )

    flips()
    flips()
    told.look()
    assert (told.open, told.ever) == ([str(job.id)], 1)
    (sent,) = told.mails
    assert sent.subject == "Holdfast: Alert: A provider changed its word"
    assert "First: completed" in sent.body
    alerts.close(Alert.objects.get().id)
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([], 1, 1)
    flips()
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([str(job.id)], 2, 2)


# Alerts: from a job that is really on its way


def test_a_real_jobs_hold_is_told_and_clears_with_its_settlement(trip: Trip) -> None:
    a_member_of_staff(trip.purse)
    told = Told("hold_open_long")
    job = trip.running("[slow 9h]")
    for _ in range(3):
        trip.advance(minutes=50)
        trip.sweep()
        monitoring.watch()
    assert job.stands == ("running", "open", None)
    tasks.mail_alerts()
    assert (told.open, len(told.mails)) == ([str(job.id)], 1)
    assert monitoring.in_holds().credits == job.row.estimate_max
    job.tell("completed")
    job.ended()
    told.look()
    assert (told.open, told.ever, len(told.mails)) == ([], 1, 1)
    assert monitoring.unsettled().jobs == 0
    ended = monitoring.ended_since(clock.now() - monitoring.DAY)
    assert (ended.jobs, ended.failures) == (1, 0)
    assert ended.median_seconds is not None


def test_real_jobs_that_moderation_blocks_are_told_and_counted(trip: Trip, settings: Any) -> None:
    settings.ALERT_MODERATION_JOBS_MIN = 3
    a_member_of_staff(trip.purse)
    for prompt in ("A pier", "[moderation_blocked]", "[moderation_blocked]"):
        trip.start(prompt).ended()
    told = Told("moderation_blocks_often")
    told.look()
    (sent,) = told.mails
    assert "Moderation blocked 2 of the 3 jobs" in sent.body
    assert monitoring.failures_by_code(clock.now() - monitoring.DAY) == [("moderation_blocked", 2)]
    ended = monitoring.ended_since(clock.now() - monitoring.DAY)
    assert ended.refunded_by_itself_percent == 100
    assert monitoring.charged_since(monitoring.midnight(clock.now()) - monitoring.DAY) == 500_000


# What holds for all of them


def test_every_alert_that_is_opened_anywhere_has_its_words() -> None:
    root = Path(monitoring.__file__).parent.parent
    sources = [path.read_text() for app in ("billing", "generations", "config") for path in (root / app).rglob("*.py")]
    opened = {name for text in sources for name in re.findall(r"open_alert\(\s*\"(\w+)\"", text)}
    assert opened | monitoring.WATCHED.keys() <= alerts.KINDS.keys()
    for kind in alerts.KINDS.values():
        assert len(kind.advice) > 40
        if kind.page_of_key and kind.page_of_key != alerts.OF_SALE:  # which leads to one of two pages
            assert reverse(kind.page_of_key, args=[new_id()])


def test_what_clears_by_itself_cannot_be_closed(history: History) -> None:
    history.job("running", held_since=3 * HOUR)
    told = Told("hold_open_long")
    told.look()
    alert = Alert.objects.get()
    stella = Colleague("stella", "view_alert", "clear_alert")
    answer = stella.does(alert, "clear")
    assert answer.status_code == 409
    assert "This alert clears by itself when it is over." in said(answer)
    assert "Close the alert" not in said(stella.get(f"/admin/billing/alert/{alert.id}/change/"))
    told.look()
    assert (told.ever, len(told.open), len(told.mails)) == (1, 1, 1)


def test_one_that_breaks_holds_up_no_other(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> monitoring.Standing:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing_of_that_name")
        raise AssertionError

    monkeypatch.setitem(monitoring.WATCHED, "settlement_failing", broken)
    history.job("running", held_since=3 * HOUR)
    with pytest.raises(Exception, match="nothing_of_that_name"):
        monitoring.watch()
    assert len(Told("hold_open_long").open) == 1


def test_the_worker_watches_every_minute() -> None:
    assert [one.minutes for one in SCHEDULES if one.path == "generations.monitoring.watch"] == [1]


# Two watchers


def test_without_the_lock_a_late_watcher_tells_a_crossing_again(history: History) -> None:
    """The race: one looks, another opens and clears, the first opens by what it saw."""
    told = Told("hold_open_long")
    job = history.job("running", held_since=3 * HOUR)
    seen = monitoring.hold_open_long(clock.now(), {})
    assert monitoring.watch()
    history.ends(job)
    assert monitoring.watch()
    alerts.open_all(told.name, seen.new)
    assert told.ever == 2


def test_while_one_watches_another_does_nothing(history: History, raw_connection: psycopg.Connection[Any]) -> None:
    told = Told("hold_open_long")
    history.job("running", held_since=3 * HOUR)
    raw_connection.execute("SELECT pg_advisory_xact_lock(%s)", [monitoring.WATCHER])
    assert monitoring.watch() is False
    assert told.ever == 0
    raw_connection.rollback()
    assert monitoring.watch() is True
    assert told.ever == 1


def at_once(work: Callable[[], Any], times: int) -> list[Any]:
    """The work, by so many threads at the same moment."""
    barrier = Barrier(times)

    def one(_: int) -> Any:
        try:
            barrier.wait(60)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))


def test_watchers_and_mailers_at_the_same_moment_tell_once(history: History) -> None:
    told = Told("hold_open_long")
    for crossing in range(1, 6):
        job = history.job("running", held_since=3 * HOUR)
        assert any(at_once(monitoring.watch, 4))
        assert told.ever == crossing
        assert sum(at_once(tasks.mail_alerts, 4)) == 1
        history.ends(job)
        at_once(monitoring.watch, 4)
        assert told.open == []
    assert len(told.mails) == 5


# What it costs


def queries(work: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        work()
    return [query["sql"] for query in captured.captured_queries]


def grow(history: History, times: int) -> None:
    """A bit of everything, so many times."""
    for job in history.jobs(times):
        history.breaks(job)
    history.jobs(times, "failed", code="moderation_blocked")
    history.jobs(times, "failed", by="emergency", is_emergency=True)
    history.jobs(times, "running", held_since=3 * HOUR, review="Odd.")
    for number in range(times):
        provider = f"provider-{Circuit.objects.count()}-{number}"
        Circuit.objects.create(provider=provider, opened_at=history.ago(9), retry_at=history.ago(0))
        refused(provider)


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(monitoring.watch, id="watch"),
        pytest.param(gauges.read, id="scrape"),
        pytest.param(lambda: monitoring.standings(clock.now()), id="standings"),
    ],
)
def test_more_rows_are_not_more_queries(history: History, work: Callable[[], Any]) -> None:
    grow(history, 2)
    monitoring.watch()
    few = queries(work)
    grow(history, 8)
    monitoring.watch()
    many = queries(work)
    assert len(many) == len(few)
    assert len(many) <= (40 if work is monitoring.watch else 30)


def test_a_scrape_asks_few_questions(history: History) -> None:
    grow(history, 3)
    assert len(queries(gauges.read)) <= 10


def test_the_figures_of_a_day_are_found_by_indexes_among_years_of_jobs(history: History) -> None:
    job = history.job("failed", is_emergency=True, by="emergency")
    history.breaks(job)
    history.many(job, 20_000, ended_days_ago=3)
    with past_the_triggers():
        Generation.objects.filter(ended_at__lt=history.ago(DAY)).update(is_emergency=False)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE generations_generation")
        cursor.execute("ANALYZE generations_settlementfailure")
    now = clock.now()
    asked = {
        "generation_ended": lambda: (
            monitoring.ended_since(now - monitoring.DAY),
            monitoring.failures_by_code(now - monitoring.DAY),
            monitoring.ended_by_provider(now - monitoring.DAY),
            monitoring.by_hour(now),
        ),
        "generation_verdicts": lambda: monitoring.settlements_since(now - monitoring.HOUR),
        "generation_unsettled": monitoring.unsettled,
        "generation_emergency": lambda: monitoring.emergency_release(now, {}),
        "generation_review": lambda: monitoring.job_needs_review(now, {}),
    }
    for index, work in asked.items():
        for sql in queries(work):
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {sql}")
                plan = "\n".join(row[0] for row in cursor.fetchall())
            assert index in plan, f"{sql}\n{plan}"
            assert "Seq Scan on generations_generation" not in plan, plan


# Prometheus


def scraped(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics", REMOTE_ADDR="127.0.0.1")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    families = list(text_string_to_metric_families(answer.content.decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("holdfast_")
    }


def test_metrics_show_the_figures(history: History, client: Client) -> None:
    history.job("running", cost="2.5", held_since=3 * HOUR)
    history.jobs(3, took=2)
    history.jobs(2, "failed", code="moderation_blocked", took=4)
    history.job("failed", code='odd "code"\nwith \\ lines', took=4, by="user:1")
    Circuit.objects.create(provider="comfyui", opened_at=history.ago(9), retry_at=history.ago(0))
    monitoring.watch()
    shown = scraped(client)

    def value(name: str, /, **labels: str) -> float:
        return shown[(f"holdfast_{name}", tuple(sorted(labels.items())))]

    assert value("figures_up") == 1
    assert value("unsettled_jobs", state="running") == 1
    assert value("unsettled_jobs", state="queued") == 0
    assert value("unsettled_credits", state="running") == 2.5
    assert (value("open_holds"), value("held_credits", owner="job"), value("held_credits", owner="other")) == (
        1,
        2.5,
        0,
    )
    assert 3 * HOUR <= value("oldest_hold_seconds") < 3 * HOUR + 60
    assert value("charged_today_credits") == 0  # history writes no lines
    assert value("failed_jobs_24h", code="moderation_blocked") == 2
    assert value("failed_jobs_24h", code='odd "code"\nwith \\ lines') == 1
    assert value("ended_jobs_24h", provider="rehearsal", outcome="charged") == 3
    assert value("ended_jobs_24h", provider="rehearsal", outcome="refunded") == 3
    assert value("moderation_blocked_jobs_24h") == 2
    assert (value("refunded_jobs_24h", by="provider"), value("refunded_jobs_24h", by="staff")) == (2, 1)
    assert value("verdict_to_settlement_seconds", quantile="0.5") == pytest.approx(3)
    assert (value("settlements_1h", which="due"), value("settlements_1h", which="broken")) == (6, 0)
    assert value("alerts_open", name="hold_open_long") == 1
    assert value("alerts_open", name="emergency_release") == 0
    assert value("circuits_open") == 1


def test_metrics_look_once_in_a_while(history: History, client: Client) -> None:
    scraped(client)
    history.job("running")
    again = queries(lambda: scraped(client))
    assert not [sql for sql in again if "generations_" in sql]
    gauges.figures.forget()
    assert scraped(client)[("holdfast_unsettled_jobs", (("state", "running"),))] == 1


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_metrics_outlive_a_broken_database(history: History, client: Client, error: type[Exception]) -> None:
    def gone(execute: Any, *arguments: Any) -> Any:
        raise error("the connection is closed")

    with connection.execute_wrapper(gone):
        shown = scraped(client)
    assert shown[("holdfast_figures_up", ())] == 0
    assert ("holdfast_open_holds", ()) not in shown
    assert any(name.startswith("holdfast_django_http_requests") for name, _ in shown)
    gauges.figures.forget()
    assert scraped(client)[("holdfast_figures_up", ())] == 1


# The page


def test_the_page_shows_figures_thresholds_and_alerts(history: History) -> None:
    history.job("running", cost="12.5", held_since=3 * HOUR)
    history.jobs(9, took=2)
    history.jobs(3, "failed", code="moderation_blocked", took=4)
    history.breaks(history.job("failed", code="<script>alert(1)</script>"))
    monitoring.watch()
    stella = Colleague("stella", "*")
    page = stella.get("/admin/watch/")
    assert page.status_code == 200
    words = said(page)
    assert "Jobs not settled 1 at most 12.50 credits" in words
    assert "3 of 13 jobs, 23.1 %" in words
    assert "over 20 % of at least 10 jobs in 24 hours" in words
    assert "A job at rehearsal has held 12.50 credits for more than 2 hours." in words
    assert "with a result 9" in words
    assert "ValueError: odd" in words
    assert b"<script>alert(1)" not in page.content
    assert "/admin/watch/" in stella.get("/admin/").content.decode()


def test_the_page_is_empty_in_words(history: History) -> None:
    words = said(Colleague("stella", "*").get("/admin/watch/"))
    for sentence in ("everything has its end", "nothing is held", "No job has failed.", "Nothing needs you."):
        assert sentence in words
    assert "No job has ended in the last 24 hours." in words


def test_the_page_is_for_who_may_look_at_alerts(history: History) -> None:
    assert Client().get("/admin/watch/").status_code == 302
    assert Colleague("nora", "view_generation").get("/admin/watch/").status_code == 403
    history.jobs(1, "failed", code="quite_special")
    only_alerts = said(Colleague("anna", "view_alert").get("/admin/watch/"))
    assert "Where each alert stands" in only_alerts
    assert "quite_special" not in only_alerts


def test_the_page_says_when_nobody_has_the_mails(history: History, settings: Any) -> None:
    stella = Colleague("stella", "view_alert")
    assert "Nobody gets the mail" not in said(stella.get("/admin/watch/"))
    stella.user.__class__.objects.update(email="")
    assert "Nobody gets the mail" in said(stella.get("/admin/watch/"))
    settings.ALERT_EMAILS = ["desk@example.org"]
    assert "Nobody gets the mail" not in said(stella.get("/admin/watch/"))


def test_the_page_takes_as_many_queries_with_many_rows(history: History) -> None:
    stella = Colleague("stella", "*")
    grow(history, 2)
    monitoring.watch()
    stella.get("/admin/watch/")
    few = len(queries(lambda: stella.get("/admin/watch/")))
    grow(history, 6)
    monitoring.watch()
    assert len(queries(lambda: stella.get("/admin/watch/"))) == few


def test_an_alerts_page_says_what_to_do_and_where(history: History) -> None:
    job = history.job("running", held_since=3 * HOUR)
    monitoring.watch()
    stella = Colleague("stella", "*")
    page = stella.get(f"/admin/billing/alert/{Alert.objects.get().id}/change/")
    assert "what its provider last said" in said(page)
    assert "It clears by itself when it is over" in said(page)
    assert f"/admin/generations/generation/{job.id}/change/" in page.content.decode()
    assert Hold.objects.filter(id=job.hold_id, state="open").exists()
