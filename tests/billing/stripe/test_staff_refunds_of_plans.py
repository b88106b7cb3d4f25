"""Staff give the money of a plan's period back, an upgrade's too, as a pack's: with the credits that its invoice paid.

£45 granted 3,000 credits; the upgrade to Pro at half time another 4,500 for £57.50: each is its own sale.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from billing import giving_back, plans
from billing.models import Alert, Allocation, Approval, Audit, ClawBack, Membership, Notice, Refunding, new_id
from billing.reconcile import reconcile

from ...conftest import Clock
from ..admin.colleague import Colleague, a_form, messages_of, said
from ..examples.statement import Statement, c
from ..purse import Purse
from .conftest import StandIn
from .desk import Subscribed, set_clocks
from .told import MICRO

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def staff() -> Colleague:
    return Colleague("stella", "*")


@pytest.fixture
def second() -> Colleague:
    return Colleague("sebastian", "*")


@pytest.fixture
def subscribed(stripe_settings: Any, stand_in: StandIn, purse: Purse, clock: Clock) -> Subscribed:
    """£45 a month for 3,000 credits; the first month is paid and granted."""
    stand_in.settings(deliver=False)
    set_clocks(stand_in, "2027-04-10 08:00")
    subscribed = Subscribed(stand_in, purse)
    subscribed.hear()
    assert purse.available == 3000 * MICRO
    return subscribed


@pytest.fixture
def statement(purse: Purse, request: pytest.FixtureRequest) -> Iterator[Statement]:
    statement = Statement(purse, request.function.__doc__)
    yield statement
    statement.end()
    assert reconcile([purse.id]).findings == []


def at_stripe(period: Allocation) -> list[tuple[int, str]]:
    """Every refund that Stripe has of the period's payment: the money, and our row's id that it carries."""
    made = giving_back.checkout.client().v1.refunds.list({"payment_intent": period.stripe_intent}).data
    return [(one.amount, (one.metadata or {}).get("refunding", "")) for one in made]


def give_back(staff: Colleague, second: Colleague, period: Allocation, pounds: str) -> Refunding:
    """The money goes back, on a second person's word where that is needed."""
    once = a_form()
    staff.does(period, "refund_period", amount_minor=pounds, once=once)
    for waiting in Approval.objects.filter(state="waiting"):
        assert second.does(waiting, "approve").status_code == 302
    return Refunding.objects.get(id=once)


def test_a_month_and_its_upgrade_are_given_back_each_by_its_own_invoice(
    subscribed: Subscribed, purse: Purse, staff: Colleague, second: Colleague, statement: Statement
) -> None:
    """Half of the month's £45 is half of its 3,000. Of 6,000 left the month's lot burns first, being the older one.

    | what                                              | balance | debt | available |
    | ------------------------------------------------- | ------- | ---- | --------- |
    | Supporter for £45                                 | 3000    | 0    | 3000      |
    | 1,200 spent                                       | 1800    | 0    | 1800      |
    | £22.50 of the month: 1,500 taken                  | 300     | 0    | 300       |
    | Pro from half time on, 4,500 more                 | 4800    | 0    | 4800      |
    | the other £22.50: 300 taken, 1,200 owed, repaid   | 3300    | 0    | 3300      |
    | all of the upgrade: 3,300 taken, 1,200 owed       | 0       | 1200 | 0         |
    """
    statement.row("Supporter for £45")
    for day in (10, 11, 12, 13):  # the plan lets 300 of its credits go in a day
        subscribed.go_to(f"2027-04-{day} 09:00")
        purse.charge(c("300"))
    statement.row("1,200 spent")
    (month,) = subscribed.periods
    row = give_back(staff, second, month, "22.50")
    statement.row("£22.50 of the month: 1,500 taken")
    assert at_stripe(month) == [(2250, str(row.id))]
    assert (row.state, row.allocation_id, row.purchase_id, row.made_by) == ("succeeded", month.id, None, staff.user)
    subscribed.go_to("2027-04-25 08:05")
    subscribed.change("pro")
    upgrade = subscribed.periods[-1]
    assert (upgrade.amount_minor, upgrade.credits) == (5750, c("4500"))
    statement.row("Pro from half time on, 4,500 more")
    give_back(staff, second, month, "22.50")
    statement.row("the other £22.50: 300 taken, 1,200 owed, repaid")
    give_back(staff, second, upgrade, "57.50")
    statement.row("all of the upgrade: 3,300 taken, 1,200 owed")
    words = said(staff.get(f"/admin/billing/allocation/{upgrade.id}/change/"))
    assert "upgrade to Pro, 25 Apr 2027 to 10 May 2027" in words
    assert "4,500.00 credits taken back, 1,200.00 owed" in words


def test_the_page_says_what_will_happen_and_one_act_does_it(
    subscribed: Subscribed, purse: Purse, staff: Colleague
) -> None:
    (month,) = subscribed.periods
    page = said(staff.checks(month, "refund_period", amount_minor="10"))
    assert "Left to refund £45.00 £35.00" in page
    assert "Credits taken back – 666.666666" in page or "Credits taken back – 666.67" in page
    assert "The plan itself goes on" in page
    assert "A second person" not in page
    assert at_stripe(month) == []
    answer = staff.does(month, "refund_period", amount_minor="10", reason="Not what they wanted.")
    assert messages_of(answer) == ["Stripe has the refund, and its credits are taken back."]
    row = Refunding.objects.get()
    assert (row.state, row.amount_minor, row.is_clawed_back, row.allocation_id) == ("succeeded", 1000, True, month.id)
    assert at_stripe(month) == [(1000, str(row.id))]
    assert purse.available == 3000 * MICRO - 666_666_666
    deed = Audit.objects.get(act="refund_period")
    assert (deed.actor, deed.amount, deed.subject) == (staff.actor, 666_666_666, f"refunding:{row.id}")
    subscribed.hear()
    assert purse.kinds == ["grant", "claw_back"]
    assert Notice.objects.filter(account=purse.id, key=f"taken:{row.id}").count() == 1
    assert subscribed.row.state == "active"


def test_above_the_sum_nothing_leaves_until_a_second_person_approves(
    subscribed: Subscribed, purse: Purse, staff: Colleague, second: Colleague
) -> None:
    (month,) = subscribed.periods
    assert "A second person must approve this" in said(staff.checks(month, "refund_period", amount_minor="45"))
    staff.does(month, "refund_period", amount_minor="45")
    assert (Refunding.objects.count(), at_stripe(month), purse.available) == (0, [], 3000 * MICRO)
    waiting = Approval.objects.get()
    assert (waiting.act, waiting.amount) == ("refund_period", 3000 * MICRO)
    assert "Credits taken back – 3,000.00" in said(second.checks(waiting, "approve"))
    assert second.does(waiting, "approve").status_code == 302
    row = Refunding.objects.get()
    assert (row.state, row.made_by, at_stripe(month)) == ("succeeded", staff.user, [(4500, str(row.id))])
    assert (purse.available, "refund_period/" in page_of(staff, month)) == (0, False)


def test_the_same_form_twice_is_one_refund_and_no_more_goes_back_than_was_paid(
    subscribed: Subscribed, purse: Purse, staff: Colleague
) -> None:
    (month,) = subscribed.periods
    once = a_form()
    for _ in range(2):
        assert staff.does(month, "refund_period", amount_minor="9", once=once).status_code == 302
    assert (at_stripe(month), purse.available) == ([(900, str(once))], 2400 * MICRO)
    assert staff.does(month, "refund_period", amount_minor="8", once=once).status_code == 409
    answer = staff.does(month, "refund_period", amount_minor="36.01")
    assert (answer.status_code, "left: £36.00" in said(answer)) == (409, True)
    assert Refunding.objects.count() == 1


def test_where_nobody_told_what_paid_the_invoice_stripe_is_asked_and_it_is_noted(
    subscribed: Subscribed, purse: Purse, staff: Colleague
) -> None:
    (month,) = subscribed.periods
    Allocation.objects.filter(id=month.id).update(stripe_intent="")
    staff.does(month, "refund_period", amount_minor="9")
    assert at_stripe(month) == [(900, str(Refunding.objects.get().id))]
    assert Allocation.objects.get(id=month.id).stripe_intent == month.stripe_intent
    assert purse.available == 2400 * MICRO


def test_an_invoice_that_was_paid_elsewhere_cannot_be_given_back_and_staff_read_so(
    subscribed: Subscribed, purse: Purse, staff: Colleague
) -> None:
    (month,) = subscribed.periods
    Allocation.objects.filter(id=month.id).update(stripe_intent="", stripe_invoice="in_by_bank")
    answer = staff.does(month, "refund_period", amount_minor="9")
    assert "Stripe refuses the refund" in messages_of(answer)[-1]
    row = Refunding.objects.get()
    assert (row.state, purse.available) == ("failed", 3000 * MICRO)
    assert (
        Alert.objects.get(name="refund_failed", key=str(row.id)).facts["why"] == "Stripe has no payment of in_by_bank."
    )


def test_stripe_that_is_away_leaves_a_row_that_the_sweep_sends(
    subscribed: Subscribed, stand_in: StandIn, purse: Purse, staff: Colleague, clock: Clock
) -> None:
    (month,) = subscribed.periods
    stand_in.settings(down=True)
    assert "Stripe could not be reached" in messages_of(staff.does(month, "refund_period", amount_minor="9"))[-1]
    row = Refunding.objects.get()
    assert (row.state, purse.available) == ("asked", 3000 * MICRO)
    assert "Stripe may not know of it" in page_of(staff, month)
    stand_in.settings(down=False)
    clock.advance(seconds=61)
    assert giving_back.send_waiting() == 1
    row.refresh_from_db()
    assert (row.state, purse.available, at_stripe(month)) == ("succeeded", 2400 * MICRO, [(900, str(row.id))])


def test_a_free_month_has_nothing_to_give_back(purse: Purse, staff: Colleague) -> None:
    plans.install()
    plans.begin_free(purse.id)
    month = Allocation.objects.get(account=purse.id)
    assert "refund_period/" not in page_of(staff, month)
    assert "This is not paid" in said(staff.does(month, "refund_period", amount_minor="1"))
    assert not Refunding.objects.exists()


def test_it_needs_its_permission_and_is_not_for_one_s_own_account(
    subscribed: Subscribed, purse: Purse, staff: Colleague
) -> None:
    (month,) = subscribed.periods
    nora = Colleague("nora", "view_allocation", "refund_entry")
    assert nora.does(month, "refund_period", amount_minor="1").status_code == 403
    Membership.objects.create(account_id=purse.id, user=staff.user, role="owner")
    assert staff.does(month, "refund_period", amount_minor="1").status_code == 409
    assert at_stripe(month) == []
    assert not ClawBack.objects.exists()


def test_a_period_is_found_by_every_id(subscribed: Subscribed, staff: Colleague) -> None:
    (month,) = subscribed.periods
    subscription = str(subscribed.row.stripe_subscription)
    for term in (month.id, month.account_id, month.stripe_invoice, month.stripe_intent, subscription):
        page = staff.get("/admin/billing/allocation/", q=str(term)).content.decode()
        assert f"/admin/billing/allocation/{month.id}/change/" in page, term
    assert str(month.id) not in staff.get("/admin/billing/allocation/", q=str(new_id())).content.decode()


def page_of(staff: Colleague, period: Allocation) -> str:
    return str(staff.get(f"/admin/billing/allocation/{period.id}/change/").content.decode())
