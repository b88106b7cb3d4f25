"""An answer that no rule knows moves nothing until staff say what it means: for one job, or for all that wait on it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.urls import reverse

from billing import clock as ledger_clock
from billing.models import Approval, Audit
from generations import lifecycle
from generations.models import Generation, SettlementRule
from generations.providers.base import Unknown
from generations.providers.rehearsal import Rehearsal
from tests.billing.admin.colleague import Colleague, a_form, said, url_of
from tests.generations.admin.test_jobs import page_of
from tests.generations.trip import Job, Trip, heard

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = "<script>alert(1)</script>"


def review_of(job: Job) -> str:
    return reverse("admin:generations_generation_review", args=[job.id])


def unknown(trip: Trip, word: str = "nsfw_content", **more: str) -> Job:
    """A job whose provider says what no rule knows."""
    job = trip.running("A beach")
    job.tell(word, **more)
    trip.sweep_until(lambda: job.row.review)
    return job


def links(page: Any) -> list[str]:
    return [unescape(link) for link in re.findall(r'href="([^"]+)"', page.content.decode())]


def test_the_very_answer_is_asked_about(trip: Trip, staff: Colleague) -> None:
    job, other = unknown(trip), unknown(trip)
    elsewhere = unknown(trip, "transmogrified")
    row = job.row
    assert row.unknown_answer is not None
    assert (row.unknown_answer["phase"], row.unknown_answer["status"], row.unknown_answer["code"]) == (
        "poll", "nsfw_content", None,
    )  # fmt: skip
    assert row.review == "The provider said “nsfw_content”, which no rule knows."
    page = staff.get(review_of(job))
    words = said(page)
    assert "The provider said “nsfw_content”, which no rule knows." in words
    assert "Wait on this answer 2 jobs 1.00 held" in words
    assert page_of(other.row) in links(page)
    assert page_of(elsewhere.row) not in links(page)
    assert review_of(job) in links(staff.get(page_of(row)))
    assert review_of(job) in links(staff.get("/admin/generations/generation/", staff="review"))
    assert review_of(job) not in links(staff.get("/admin/generations/generation/"))


def test_a_rule_settles_every_job_that_waits_on_the_answer(trip: Trip, staff: Colleague, second: Colleague) -> None:
    jobs = [unknown(trip) for _ in range(2)]
    (address,) = [link for link in links(staff.get(review_of(jobs[0]))) if "/act/new_rule/?" in link]
    page = staff.get(address)
    html = page.content.decode()
    for word in ("rehearsal", "ai/video", "nsfw_content"):
        assert f'value="{word}"' in html
    filled = {
        "phase": "poll", "provider": "rehearsal", "operation": "ai/video", "status": "nsfw_content", "code": "any",
        "outcome": "release", "provider_bills": "yes", "sentence": "Blocked by the provider.",
    }  # fmt: skip
    path = address.split("?")[0]
    check = staff.client.post(path, filled | {"reason": "Seen.", "once": str(a_form()), "step": "check"})
    assert "settled once their provider says it again 2" in said(check)
    assert "waits → release" in said(check)
    staff.does_at(path, **filled)
    assert "waits for a second person" in said(staff.get(review_of(jobs[1])))
    trip.sweep(2)
    assert [job.stands for job in jobs] == [("running", "open", None)] * 2, "a draft moves nothing"
    second.does(Approval.objects.get(), "approve")
    trip.sweep_until(lambda: all(job.row.is_ended for job in jobs))
    for job in jobs:
        assert job.stands == ("failed", "released", "refunded")
        assert (job.row.review, job.row.unknown_answer) == ("", None)
        assert job.row.verdict_rule == SettlementRule.objects.get(status="nsfw_content")
        assert job.row.error_message == "Blocked by the provider."
    assert trip.alerts == []


@pytest.mark.parametrize("has_lookup", [True, False])
def test_a_refused_submission_that_no_rule_settles_waits_for_one(
    trip: Trip, staff: Colleague, second: Colleague, monkeypatch: pytest.MonkeyPatch, has_lookup: bool
) -> None:
    monkeypatch.setattr(Rehearsal, "has_lookup", has_lookup)
    SettlementRule.objects.filter(phase="submit", status="422").update(superseded_at=ledger_clock.now())
    job = trip.start("[submit 422]")
    trip.sweep_until(lambda: job.row.review)
    assert "refused it with “422 · rehearsed_refusal”, and no rule settles that" in said(staff.get(review_of(job)))
    (address,) = [link for link in links(staff.get(review_of(job))) if "/act/new_rule/?" in link]
    assert "phase=submit" in address
    key = {"phase": "submit", "provider": "rehearsal", "operation": "any", "status": "422", "code": "rehearsed_refusal"}
    terms = {"outcome": "release", "provider_bills": "no", "sentence": "They do not take this."}
    staff.does_at(address.split("?")[0], **key, **terms)
    second.does(Approval.objects.get(), "approve")
    assert job.ended().stands == ("failed", "released", "refunded")
    assert job.submits["accepted"] == 0
    assert (job.row.review, trip.alerts) == ("", [])


def test_the_credits_are_given_back_from_the_review(trip: Trip, staff: Colleague) -> None:
    job = unknown(trip)
    html = staff.get(review_of(job)).content.decode()
    form = html[html.index(url_of(job.row, "release_job")) :]
    once = re.findall(r'name="once" value="([^"]+)"', form)[0]
    reason = unescape(re.findall(r'name="reason" value="([^"]+)"', form)[0])
    assert reason == "The provider said “nsfw_content”, which no rule knows."
    with trip.nothing_moves():
        check = staff.checks(job.row, "release_job", once=once, reason=reason)
    assert "Available 9.50 10.00" in said(check)
    assert staff.does(job.row, "release_job", once=once, reason=reason).status_code == 302
    assert job.stands == ("failed", "released", "refunded")
    assert (job.row.review, trip.alerts) == ("", [])
    assert Audit.objects.get(act="release_job").facts["reason"] == reason


def test_kept_is_not_asked_again_until_the_provider_says_something_else(trip: Trip, staff: Colleague) -> None:
    job = unknown(trip)
    lines, values = trip.lines, trip.purse.values
    assert staff.does(job.row, "keep_asking").status_code == 302
    assert (trip.lines, trip.purse.values) == (lines, values)
    assert (job.row.review, trip.alerts) == ("", [])
    trip.sweep(3)
    assert (job.row.review, trip.alerts) == ("", []), "the same answer asks nobody twice"
    assert "The review is closed." in said(staff.get(review_of(job)))
    assert staff.does(job.row, "keep_asking").status_code == 409
    job.tell("transmogrified")
    trip.sweep_until(lambda: job.row.review)
    assert trip.alerts == ["job_needs_review"]
    job.tell("completed")
    job.ended()
    assert (job.row.outcome, job.row.review, job.row.unknown_answer, trip.alerts) == ("charged", "", None, [])


def test_a_known_word_closes_the_review_by_itself(trip: Trip) -> None:
    job = unknown(trip)
    job.tell("in_progress")
    trip.sweep_until(lambda: not job.row.review)
    assert job.stands == ("running", "open", None)
    assert job.row.unknown_answer is None
    assert trip.alerts == []


def test_a_failed_question_neither_closes_nor_replaces_a_review(trip: Trip) -> None:
    job = unknown(trip)
    before = job.row.unknown_answer
    for status in ("503", "418"):  # one that a rule knows, and one that none does
        trip.advance(30)
        (claimed,) = lifecycle.claim_due(only=job.id)
        heard(claimed, Unknown(status))
        assert "“nsfw_content”" in job.row.review
        assert job.row.unknown_answer == before
    assert trip.alerts == ["job_needs_review"]


def test_a_question_that_fails_as_no_rule_knows_can_only_be_kept(trip: Trip, staff: Colleague) -> None:
    job = trip.running()
    trip.advance(30)
    (claimed,) = lifecycle.claim_due(only=job.id)
    heard(claimed, Unknown("418"))
    assert job.row.review == "The question to the provider ended with “418”, which no rule knows."
    (address,) = [link for link in links(staff.get(review_of(job))) if "/act/new_rule/?" in link]
    key = {"phase": "poll", "provider": "rehearsal", "operation": "any", "status": "418", "code": "any"}
    terms = {"provider_bills": "no", "sentence": "It is a teapot."}
    refused = staff.does_at(address.split("?")[0], **key, **terms, outcome="release")
    assert "not the provider’s word on the job" in said(refused)
    kept = {**key, **terms, "outcome": "keep", "reason": "Odd.", "once": str(a_form()), "step": "check"}
    assert "Of these, known then and kept 1" in said(staff.client.post(address.split("?")[0], kept))


def test_other_reviews_are_closed_when_they_were_looked_at(trip: Trip, staff: Colleague) -> None:
    job = trip.running("[no_output]").ended()
    assert job.row.review
    words = said(staff.get(review_of(job)))
    assert "its output cannot be had" in words
    assert "Make this a rule" not in words
    lines, values = trip.lines, trip.purse.values
    assert staff.does(job.row, "close_review", reason="They have refunded us.").status_code == 302
    assert (trip.lines, trip.purse.values) == (lines, values)
    assert (job.row.review, trip.alerts) == ("", [])
    assert ("close_review", False, "") in staff.deeds


@pytest.mark.parametrize("act", ["keep_asking", "close_review"])
def test_only_with_the_right_to_settle(trip: Trip, act: str) -> None:
    job = unknown(trip)
    nora = Colleague("nora", "view_generation", "waive_generation")
    with trip.nothing_moves():
        assert nora.opens(job.row, act).status_code == 403
        assert nora.does(job.row, act).status_code == 403
    words = said(nora.get(review_of(job)))
    assert "nothing that you can do about it here" in words
    assert "Make this a rule" not in words
    assert job.row.review


def test_who_may_not_see_jobs_sees_no_review(trip: Trip) -> None:
    job = unknown(trip)
    assert Colleague("nora", "settle_generation").get(review_of(job)).status_code == 403
    assert Colleague("olga", "*", is_staff=False).get(review_of(job)).status_code == 302


def test_the_provider_s_words_are_data(trip: Trip, staff: Colleague) -> None:
    job = unknown(trip, HOSTILE, code=HOSTILE)
    answer = (job.row.unknown_answer or {}) | {"message": HOSTILE}
    Generation.objects.filter(id=job.id).update(unknown_answer=answer)
    assert "The provider’s own words: “&lt;script&gt;" in staff.get(review_of(job)).content.decode()
    for path in (
        review_of(job),
        page_of(job.row),
        "/admin/generations/generation/?staff=review",
        *links(staff.get(review_of(job))),
    ):
        if "new_rule" in path or path.startswith("/admin/generations/"):
            answer = staff.client.get(path)
            assert answer.status_code == 200, path
            assert "<script>alert" not in answer.content.decode(), path


def test_what_a_provider_really_said_can_be_a_rule_whatever_it_looks_like(
    trip: Trip, staff: Colleague, second: Colleague
) -> None:
    job = unknown(trip, "FAILED Badly", code="E 17/Ü")
    (address,) = [link for link in links(staff.get(review_of(job))) if "/act/new_rule/?" in link]
    key = {"phase": "poll", "provider": "rehearsal", "operation": "any", "status": "FAILED Badly", "code": "E 17/Ü"}
    terms = {"outcome": "release", "provider_bills": "no", "sentence": "It failed."}
    assert staff.does_at(address.split("?")[0], **key, **terms).status_code == 302
    second.does(Approval.objects.get(), "approve")
    assert job.ended().stands == ("failed", "released", "refunded")
