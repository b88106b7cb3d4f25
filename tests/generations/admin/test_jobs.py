"""What staff do to a job: settle what was delivered, end it and give back, deliver unpaid. Never a charge without the
provider's word."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.urls import reverse

from billing import credits
from billing.models import Approval, Entry, Hold, Membership
from generations import lifecycle, tasks
from generations.models import Attempt, Generation, Output, SettlementRule
from tests.billing.admin.colleague import Colleague, a_form, said, url_of
from tests.generations.test_late_success import withheld
from tests.generations.trip import MICRO, Job, Trip, asked, fetched, heard

pytestmark = pytest.mark.django_db(transaction=True)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
ACTS = ("settle", "release_job", "waive")


def page_of(row: object) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])  # type: ignore[attr-defined]


@pytest.mark.parametrize("act", ACTS)
def test_only_with_the_act_s_permission(trip: Trip, act: str) -> None:
    job = trip.running()
    others = {"waive": "settle_generation", "settle": "waive_generation", "release_job": "waive_generation"}
    nora = Colleague("nora", "view_generation", others[act])
    with trip.nothing_moves():
        assert nora.opens(job.row, act).status_code == 403
        assert nora.does(job.row, act).status_code == 403
        olga = Colleague("olga", "*", is_staff=False)
        assert olga.does(job.row, act).status_code == 302
    assert job.row.state == "running"


@pytest.mark.parametrize("prompt", ["[slow 9h]", "[silent]", "[unknown_word]"])
def test_nothing_is_charged_without_the_provider_s_success(trip: Trip, staff: Colleague, prompt: str) -> None:
    job = trip.running(prompt)
    trip.sweep()
    with trip.nothing_moves():
        answer = staff.does(job.row, "settle")
    assert answer.status_code == 409
    assert "there is nothing to charge for" in said(answer)
    assert staff.deeds == [("settle", True, "cannot_settle")]


def test_a_running_job_is_ended_and_its_credits_are_back_once(trip: Trip, staff: Colleague) -> None:
    job, once = trip.running(), a_form()
    assert "Available 9.50 10.00" in said(staff.checks(job.row, "release_job"))
    for _ in range(2):
        assert staff.does(job.row, "release_job", once=once, reason="The customer asked.").status_code == 302
    assert job.stands == ("failed", "released", "refunded")
    assert job.row.settled_by == staff.actor
    assert trip.lines == [("hold", "0.5"), ("release", "0.5")]
    assert staff.deeds == [("release_job", False, "")]
    assert staff.does(job.row, "release_job").status_code == 409


def delivered(trip: Trip) -> Job:
    """A job whose success and output are here, and which nobody has settled yet."""
    job = trip.running("A pier")
    trip.advance(30)
    (claimed,) = lifecycle.claim_due(only=job.id)
    assert heard(claimed, asked(claimed))
    assert fetched(claimed)
    assert job.row.delivered
    return job


def test_what_was_delivered_is_settled_by_hand_once(trip: Trip, staff: Colleague) -> None:
    job, once = delivered(trip), a_form()
    assert "Charged 0.00 0.50" in said(staff.checks(job.row, "settle"))
    for _ in range(2):
        assert staff.does(job.row, "settle", once=once).status_code == 302
    assert job.stands == ("succeeded", "captured", "charged")
    assert job.row.settled_by == staff.actor
    assert trip.lines == [("hold", "0.5"), ("capture", "0.5")]
    assert job.output is not None
    assert job.output.released_at is not None
    assert staff.deeds == [("settle", False, "")]


def test_a_withheld_output_that_cannot_be_paid_stays_withheld(trip: Trip, staff: Colleague) -> None:
    (job,) = withheld(trip)
    with trip.nothing_moves():
        answer = staff.does(job.row, "settle")
    assert answer.status_code == 409
    assert "cannot pay it now" in said(answer)
    assert job.stands == ("awaiting_settlement", "expired", "withheld")


def test_a_withheld_output_is_delivered_unpaid_once(trip: Trip, staff: Colleague) -> None:
    (job,), once = withheld(trip), a_form()
    lines, values = trip.lines, trip.purse.values
    for _ in range(2):
        assert staff.does(job.row, "waive", once=once, reason="Our fault.").status_code == 302
    assert (trip.lines, trip.purse.values) == (lines, values)
    row = job.row
    assert (row.state, row.outcome, row.waived_by, row.waiver_reason) == (
        "succeeded", "waived", staff.user, "Our fault.",
    )  # fmt: skip
    assert job.output is not None
    assert job.output.released_at is not None
    assert staff.deeds == [("waive", False, "")]


def test_what_is_not_withheld_cannot_be_waived(trip: Trip, staff: Colleague) -> None:
    job = trip.running()
    assert staff.does(job.row, "waive").status_code == 409
    assert job.row.outcome is None


def test_unpaid_outputs_count_toward_the_day_s_sum(
    trip: Trip, staff: Colleague, second: Colleague, settings: object
) -> None:
    settings.APPROVAL_CREDITS = "0.75"  # type: ignore[attr-defined]
    first, other = withheld(trip, count=2)
    assert staff.does(first.row, "waive").status_code == 302
    assert first.row.outcome == "waived"
    staff.does(other.row, "waive")
    assert other.row.outcome == "withheld"
    approval = Approval.objects.get()
    assert approval.amount == MICRO // 2
    assert staff.does(approval, "approve").status_code == 409
    assert second.does(approval, "approve").status_code == 302
    assert other.row.outcome == "waived"
    assert other.row.waived_by == staff.user


def test_staff_deliver_nothing_unpaid_to_an_account_of_their_own(trip: Trip, staff: Colleague) -> None:
    (job,) = withheld(trip)
    Membership.objects.create(account_id=trip.purse.id, user=staff.user, role="member")
    assert staff.does(job.row, "waive").status_code == 409
    assert job.row.outcome == "withheld"


def test_staff_and_the_worker_settling_at_once_settle_once(trip: Trip, staff: Colleague) -> None:
    job = delivered(trip)
    start = threading.Barrier(4)
    ends = {"settle": 0, "release_job": 0}

    def press(act: str) -> None:
        browser = staff.browser()
        start.wait(60)
        answer = browser.post(url_of(job.row, act), {"reason": "Now.", "once": str(a_form()), "step": "do"})
        ends[act] += answer.status_code == 302
        connection.close()

    def work() -> None:
        start.wait(60)
        tasks.sweep_once()
        connection.close()

    threads = [threading.Thread(target=press, args=[act]) for act in ("settle", "settle", "release_job")]
    threads.append(threading.Thread(target=work))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert job.row.is_ended
    assert [kind for kind, _ in trip.lines] in (["hold", "capture"], ["hold", "release"])


# To look at


def test_hostile_words_of_people_and_providers_are_data(trip: Trip, staff: Colleague) -> None:
    job = trip.running(HOSTILE)
    job.tell("failed", code="moderation_blocked", message=HOSTILE)
    job.ended()
    entry = Entry.objects.filter(hold=job.row.hold).first()
    assert entry is not None
    pages = [
        "/admin/",
        "/admin/generations/generation/",
        "/admin/generations/attempt/",
        page_of(job.row),
        page_of(Hold.objects.get(id=job.row.hold_id)),
        page_of(entry),
        f"/admin/billing/account/{trip.purse.id}/change/",
        page_of(Attempt.objects.get(generation=job.id)),
    ]
    for path in pages:
        answer = staff.get(path)
        assert answer.status_code == 200, path
        assert "<script>alert" not in answer.content.decode(), path
        assert "<img src=x" not in answer.content.decode(), path
    assert "&lt;script&gt;alert(1)" in staff.get(page_of(job.row)).content.decode()


def test_a_job_s_page_tells_its_story(trip: Trip, staff: Colleague) -> None:
    job = trip.running("A lighthouse").ended()
    words = said(staff.get(page_of(job.row)))
    for part in ("Estimated", "Accepted", "Provider said completed", "Charged", "Attempt", "video/mp4"):
        assert part in words
    entry = Entry.objects.get(hold=job.row.hold, kind="capture")
    assert "Provider said completed" in said(staff.get(page_of(entry)))
    assert page_of(job.row) in staff.get(page_of(entry)).content.decode()


def test_jobs_are_found_by_their_ids(trip: Trip, staff: Colleague) -> None:
    job, other = trip.running("A lighthouse"), trip.running("Another thing")
    row = job.row
    for term in (str(row.id), str(row.hold_id), row.provider_job_id):
        words = said(staff.get("/admin/generations/generation/", q=term))
        assert "A lighthouse" in words
        assert "Another thing" not in words
    both = said(staff.get("/admin/generations/generation/", q=str(trip.purse.id)))
    assert other.row.title in both


@pytest.mark.parametrize("model", [Generation, Attempt, Output, SettlementRule])
def test_no_row_is_changed_through_its_page(trip: Trip, staff: Colleague, model: type) -> None:
    trip.running("A lighthouse").ended()
    row = model.objects.first()  # type: ignore[attr-defined]
    before = list(model.objects.values())  # type: ignore[attr-defined]
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}"
    assert staff.get(page_of(row)).status_code == 200
    assert staff.get(reverse(f"{name}_changelist")).status_code == 200
    for path in (page_of(row), reverse(f"{name}_delete", args=[row.pk]), reverse(f"{name}_add")):
        assert staff.client.post(path, {"state": "succeeded", "post": "yes"}).status_code == 403
    assert list(model.objects.values()) == before  # type: ignore[attr-defined]


def test_the_first_page_counts_what_failed_and_what_is_not_settled(trip: Trip, staff: Colleague) -> None:
    trip.running("[moderation_blocked]").ended()
    trip.running("A lighthouse").ended()
    trip.running("[unknown_word]")
    trip.sweep()
    words = said(staff.get("/admin/"))
    assert "Charged today 0.50" in words
    assert "Jobs not settled 1" in words
    assert "moderation_blocked 1" in words
    assert "Jobs that need a look 1" in words
    assert f"Held {credits.display(MICRO // 2)} in 1 open hold" in words
