"""What a draft of a rule would have changed is shown to who asks and to the second person, and changes nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.models import Approval
from generations.admin import rules
from generations.models import Generation, SettlementRule
from tests.billing.admin.colleague import Colleague, a_form, said, url_of
from tests.generations.admin.test_jobs import page_of
from tests.generations.trip import Job, Trip

pytestmark = pytest.mark.django_db(transaction=True)

NEW_RULE = "/admin/generations/settlementrule/act/new_rule/"
BILLED = {
    "phase": "poll", "provider": "rehearsal", "operation": "any", "status": "failed", "code": "moderation_blocked",
    "outcome": "release", "provider_bills": "yes", "sentence": "Blocked by the provider’s moderation.",
}  # fmt: skip


def asks(colleague: Colleague, **changes: str) -> Any:
    """The filled-in form of a new rule, sent once: its page says what it would change."""
    filled = BILLED | {"reason": "Their terms.", "once": str(a_form()), "step": "check"} | changes
    return colleague.client.post(NEW_RULE, filled)


def billed(job: Job) -> str:
    rule = job.row.verdict_rule
    assert rule is not None
    return rule.provider_bills


def test_moderated_but_billed_is_one_row_by_two_people(trip: Trip, staff: Colleague, second: Colleague) -> None:
    blocked = [trip.running("A pier [moderation_blocked]").ended() for _ in range(2)]
    made = trip.running("A lighthouse").ended()
    with trip.nothing_moves():
        words = said(asks(staff))
    assert "What it would have changed in the last 30 days" in words
    assert "Jobs with a final word in the last 30 days 3" in words
    assert "Of these, another outcome for the customer 0" in words
    assert "Another “provider bills us” 2" in words
    assert "Another sentence 0" in words
    assert "would not have been charged 0.00" in words
    assert words.count("bills us: unknown → yes") == 2
    assert not Approval.objects.exists()

    staff.does_at(NEW_RULE, **BILLED, reason="Their terms say so.")
    approval = Approval.objects.get()
    for page in (second.get(page_of(approval)), second.checks(approval, "approve", reason=None, note="")):
        html = page.content.decode()
        assert "Another “provider bills us” 2" in said(page)
        assert all(page_of(job.row) in html for job in blocked)
        assert page_of(made.row) not in html
    assert second.does(approval, "approve").status_code == 302

    after = trip.running("A pier, again [moderation_blocked]").ended()
    assert after.stands == ("failed", "released", "refunded")
    assert billed(after) == "yes"
    assert [billed(job) for job in blocked] == ["unknown", "unknown"], "a settled job keeps its rule"
    assert after.spoken.credits == "Your 0.50 credits are back."
    assert page_of(after.row.verdict_rule) in staff.get(page_of(after.row)).content.decode()


def test_a_new_version_says_what_would_not_have_been_charged(trip: Trip, staff: Colleague) -> None:
    job = trip.running("A lighthouse").ended()
    trip.running("[invalid_request]").ended()
    done = SettlementRule.objects.get(phase="poll", status="completed")
    terms = {"outcome": "release", "provider_bills": "yes", "sentence": done.sentence}
    with trip.nothing_moves():
        words = said(staff.checks(done, "rule", **terms))
    assert "another outcome for the customer 1" in words
    assert "would not have been charged 0.50" in words
    assert "customer: capture → release − 0.50" in words
    assert job.row.title in words


def test_a_refused_submission_is_tried_too(trip: Trip, staff: Colleague) -> None:
    trip.start("[submit 422]").ended()
    rule = SettlementRule.objects.get(phase="submit", status="422")
    words = said(staff.checks(rule, "rule", outcome="release", provider_bills="yes", sentence=rule.sentence))
    assert "Another “provider bills us” 1" in words
    key = {"phase": "submit", "status": "422", "code": "rehearsed_refusal", "sentence": rule.sentence}
    assert "Another “provider bills us” 1" in said(asks(staff, **key))
    assert "in the last 30 days: nothing" in said(asks(staff, **key | {"code": "http_422", "provider_bills": "no"}))


def test_what_is_older_than_thirty_days_is_left_out(trip: Trip, staff: Colleague) -> None:
    trip.running("[moderation_blocked]").ended()
    trip.clock.advance(days=31)
    words = said(asks(staff))
    assert "What it would have changed in the last 30 days: nothing" in words
    assert "Jobs with a final word in the last 30 days 0" in words


def test_it_reads_so_many_jobs_and_says_so(trip: Trip, staff: Colleague, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        trip.running("[moderation_blocked]").ended()
    monkeypatch.setattr(rules, "REHEARSED_MAX", 2)
    with CaptureQueriesContext(connection) as queries:
        words = said(asks(staff))
    assert "only the newest 2 were looked at 2" in words
    assert "Another “provider bills us” 2" in words
    assert not [query for query in queries.captured_queries if re.match("INSERT|UPDATE|DELETE", query["sql"])]


def test_the_jobs_are_named_only_to_who_may_see_jobs(trip: Trip, staff: Colleague) -> None:
    job = trip.running("A secret plan [moderation_blocked]").ended()
    nora = Colleague("nora", "view_settlementrule", "add_settlementrule")
    words = said(asks(nora))
    assert "Another “provider bills us” 1" in words
    assert "A secret plan" not in words
    assert page_of(job.row) not in asks(nora).content.decode()
    assert Colleague("theo", "view_settlementrule", "view_generation").get(NEW_RULE).status_code == 403


@pytest.mark.parametrize(
    ("phase", "status"), [("poll", "503"), ("poll", "5xx"), ("poll", "404"), ("poll", "timeout"), ("submit", "5xx")]
)
def test_what_is_no_word_on_the_job_settles_nothing(staff: Colleague, phase: str, status: str) -> None:
    words = said(asks(staff, phase=phase, status=status, code="odd"))
    assert "not the provider’s word on the job" in words
    assert "See what it changes" in words


def test_words_that_were_heard_are_offered(trip: Trip, staff: Colleague) -> None:
    trip.running("[failed model_overloaded]").ended()
    html = staff.get(NEW_RULE).content.decode()
    for word in ("rehearsal", "ai/video", "completed", "model_overloaded", "any"):
        assert f'<option value="{word}">' in html


def test_a_page_can_be_filled_in_by_a_link(staff: Colleague) -> None:
    page = staff.get(NEW_RULE, status="failed", code='"><script>alert(1)</script>', reason="Seen.", once="no")
    html = page.content.decode()
    assert 'value="failed"' in html
    assert "<script>alert" not in html
    assert 'name="once" value="no"' not in html


def test_an_approval_that_cannot_be_done_foresees_nothing(staff: Colleague, second: Colleague) -> None:
    failed = SettlementRule.objects.get(phase="poll", status="failed", code="any")
    for _ in range(2):
        staff.does(failed, "rule", outcome="release", provider_bills="no", sentence="No.")
    first, other = Approval.objects.order_by("id")
    second.does(first, "approve")
    words = said(second.get(page_of(other)))
    assert "It cannot be done any more as it was asked for." in words
    assert "would have changed" not in words
    assert Generation.objects.count() == 0
    assert second.get(url_of(other, "approve")).status_code == 200
