"""Where settling a provider's failure broke, staff give the credits back in an emergency: only then, once, by name."""

from __future__ import annotations

import pytest

from billing import clock as ledger_clock
from billing.models import Alert, Membership
from generations import lifecycle
from generations.models import SettlementFailure
from tests.billing.admin.colleague import Colleague, a_form, said, url_of
from tests.generations.admin.test_jobs import HOSTILE, delivered, page_of
from tests.generations.trip import Job, Trip, asked, heard

pytestmark = pytest.mark.django_db(transaction=True)
ACT = "emergency_release"


def failed(trip: Trip) -> Job:
    """A job whose provider said that it failed, and which nobody has settled yet."""
    job = trip.running("A pier")
    job.tell("failed", code="moderation_blocked")
    trip.advance(30)
    (claimed,) = lifecycle.claim_due(only=job.id)
    assert heard(claimed, asked(claimed))
    return job


def broke(job: Job, error: str = "ValueError: no such lot") -> None:
    """A try to settle it broke."""
    row = job.row
    SettlementFailure.objects.create(
        account_id=row.account_id, generation=row, occurred_at=ledger_clock.now(), error=error
    )


def test_the_credits_are_back_once_and_everybody_knows(trip: Trip, staff: Colleague) -> None:
    job, once = failed(trip), a_form()
    broke(job)
    page = staff.get(page_of(job.row))
    assert url_of(job.row, ACT) in page.content.decode()
    assert "ValueError: no such lot" in said(page)
    assert "Settling it broke 1 time so far" in said(page)
    with trip.nothing_moves():
        assert "Available 9.50 10.00" in said(staff.checks(job.row, ACT))
    for _ in range(2):
        assert staff.does(job.row, ACT, once=once, reason="They are waiting.").status_code == 302
    assert job.stands == ("failed", "released", "refunded")
    assert (job.row.is_emergency, job.row.settled_by) == (True, staff.actor)
    assert trip.lines == [("hold", "0.5"), ("release", "0.5")]
    assert Alert.objects.get(name="emergency_release").facts["by"] == staff.actor
    assert staff.deeds == [(ACT, False, "")]
    assert staff.does(job.row, ACT).status_code == 409
    assert "given back in an emergency release" in said(staff.get(page_of(job.row)))
    assert job.row.title in said(staff.get("/admin/generations/generation/", staff="emergency"))


def test_never_for_a_failure_whose_settlement_did_not_break(trip: Trip, staff: Colleague) -> None:
    job = failed(trip)
    assert url_of(job.row, ACT) not in staff.get(page_of(job.row)).content.decode()
    with trip.nothing_moves():
        assert staff.does(job.row, ACT).status_code == 409
    assert staff.checks(job.row, ACT).status_code == 409


def test_never_without_a_recorded_failure(trip: Trip, staff: Colleague) -> None:
    running, done = trip.running(), delivered(trip)
    for job in (running, done):
        broke(job)
        assert url_of(job.row, ACT) not in staff.get(page_of(job.row)).content.decode()
        with trip.nothing_moves():
            assert staff.does(job.row, ACT).status_code == 409
        assert not job.row.is_ended


def test_only_with_the_right_and_never_for_an_account_of_one_s_own(trip: Trip, staff: Colleague) -> None:
    job = failed(trip)
    broke(job)
    nora = Colleague("nora", "view_generation", "waive_generation")
    with trip.nothing_moves():
        assert nora.opens(job.row, ACT).status_code == 403
        assert nora.does(job.row, ACT).status_code == 403
        assert Colleague("olga", "*", is_staff=False).does(job.row, ACT).status_code == 302
    Membership.objects.create(account_id=trip.purse.id, user=staff.user, role="member")
    assert staff.does(job.row, ACT).status_code == 409
    assert not job.row.is_ended


def test_an_error_s_words_are_data(trip: Trip, staff: Colleague) -> None:
    job = failed(trip)
    broke(job, HOSTILE)
    assert "<script>alert" not in staff.get(page_of(job.row)).content.decode()
