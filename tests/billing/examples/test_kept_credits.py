"""What a plan keeps of a month's credits is still that month's: its refund and its dispute reach it.

The plan costs £45.00 and gives 1,000 credits a month, of which 500 may be kept.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from billing import errors, giving_back, plans, refunds, revenue, sales, steps
from billing.credits import MICRO
from billing.models import Allocation, ClawBack, Enrollment, Lot, Plan
from billing.periods import Period
from billing.reconcile import reconcile
from tests.conftest import Clock

from ..purse import Purse
from ..test_free_plan import set_clock
from ..test_revenue import agree

pytestmark = pytest.mark.django_db

STARTS = [datetime(2027, month, 10, 8, tzinfo=UTC) for month in (1, 2, 3, 4)]


class Saver:
    """An account on the plan, and what Stripe tells of its months, numbered from 0."""

    def __init__(self, purse: Purse) -> None:
        self.purse = purse
        self.plan = Plan.objects.create(
            slug="keeper", title="Keeper", price_minor=4500, monthly_credits=1000 * MICRO, rollover_max=500 * MICRO
        )
        self.row = Enrollment.objects.create(account_id=purse.id, plan=self.plan, state="pending", started_at=STARTS[0])

    def pay(self, month: int) -> None:
        """The month begins, and is paid for."""
        set_clock(f"2027-{month + 1:02}-10 08:00:01")
        sold = plans.Sold(f"in_{month}", 4500, "gbp", intent=f"pi_{month}")
        plans.allocate_month(self.row.id, self.plan, Period(STARTS[month], STARTS[month + 1]), sold, "sub_1")

    def refund(self, month: int, pence: int, status: str = "succeeded") -> None:
        name = f"re_{month}_{pence}"
        told = {"id": name, "amount": pence, "currency": "gbp", "payment_intent": f"pi_{month}", "status": status}
        refunds.told_of_refund(told)

    def dispute(self, month: int, status: str = "needs_response") -> None:
        told = {"id": f"dp_{month}", "amount": 4500, "currency": "gbp", "payment_intent": f"pi_{month}"}
        refunds.told_of_dispute(told | {"status": status})

    @property
    def stands(self) -> tuple[int, int]:
        """Credits available and owed; the books are in order."""
        assert reconcile([self.purse.id]).findings == []
        agree()
        account = self.purse.account
        return account.available // MICRO, account.debt // MICRO

    def taken(self, month: int) -> list[tuple[int, int, int]]:
        """Of each claw-back of the month: taken, counted as expired, and owed."""
        rows = ClawBack.objects.filter(payment_id__in=self.period(month).values("payment")).order_by("id")
        return [(row.taken // MICRO, row.expired // MICRO, row.debt // MICRO) for row in rows]

    def period(self, month: int) -> Any:
        return Allocation.objects.filter(account=self.purse.id, stripe_invoice=f"in_{month}")


@pytest.fixture
def saver(purse: Purse, clock: Clock) -> Saver:
    return Saver(purse)


def test_a_refund_of_a_past_month_takes_back_what_was_kept_of_it(saver: Saver) -> None:
    saver.pay(0)
    saver.purse.charge(300 * MICRO)
    saver.pay(1)
    assert saver.stands == (1500, 0)  # 700 were left, 500 of them are kept
    assert sum(revenue.figures().breakage.values()) == 200 * MICRO
    saver.refund(0, 4500)
    assert saver.taken(0) == [(500, 200, 300)]
    assert saver.stands == (700, 0)  # the 300 that were spent are owed, and settled by this month's credits


def test_parts_of_a_refund_take_what_was_kept_first_and_never_more_than_the_whole(saver: Saver) -> None:
    saver.pay(0)
    saver.pay(1)
    assert saver.stands == (1500, 0)
    saver.refund(0, 1500)  # a third: 333.333333
    assert saver.taken(0)[0] == (333, 0, 0)
    saver.refund(0, 1400)
    saver.refund(0, 1600)
    assert sum(taken for taken, _, _ in saver.taken(0)) in (499, 500)
    assert saver.stands == (1000, 0)
    assert sum(row.amount for row in ClawBack.objects.filter(account=saver.purse.id)) == 1000 * MICRO


def test_kept_credits_that_were_spent_are_owed(saver: Saver) -> None:
    saver.pay(0)
    saver.pay(1)
    saver.purse.charge(1200 * MICRO)  # the month's own 1,000 first, then 200 of those that were kept
    assert giving_back.stands(sales.of_allocation(saver.period(0).get())) == (300 * MICRO, 500 * MICRO)
    saver.refund(0, 4500)
    assert saver.taken(0) == [(300, 500, 200)]
    assert giving_back.stands(sales.of_allocation(saver.period(0).get())) == (0, 0)
    assert saver.stands == (0, 200)


def test_a_month_that_was_given_back_keeps_nothing(saver: Saver) -> None:
    saver.pay(0)
    set_clock("2027-02-10 08:00:00.5")
    saver.refund(0, 4500)  # its credits have expired, and the next month is not heard of yet
    assert saver.taken(0) == [(0, 1000, 0)]
    saver.pay(1)
    assert saver.stands == (1000, 0)


def test_a_refund_that_failed_gives_back_what_was_kept_until_its_end(saver: Saver) -> None:
    saver.pay(0)
    saver.pay(1)
    saver.refund(0, 4500)
    assert saver.stands == (1000, 0)
    saver.refund(0, 4500, "failed")
    assert saver.stands == (1500, 0)
    again = Lot.objects.filter(account=saver.purse.id).latest("granted_at")
    assert (again.amount, again.expires_at) == (500 * MICRO, STARTS[2])
    saver.refund(0, 4400)
    assert saver.stands == (1000, 0)


def test_a_dispute_over_a_past_month_freezes_what_was_kept_of_it(saver: Saver) -> None:
    saver.pay(0)
    saver.pay(1)
    saver.dispute(0)
    assert saver.stands == (1000, 0)
    assert saver.purse.account.frozen == 500 * MICRO
    saver.dispute(0, "won")
    assert saver.stands == (1500, 0)


def test_a_lost_dispute_takes_it(saver: Saver) -> None:
    saver.pay(0)
    saver.pay(1)
    saver.dispute(0)
    saver.dispute(0, "lost")
    assert saver.stands == (1000, 0)
    assert saver.taken(0) == [(500, 500, 0)]


def test_while_a_month_is_disputed_nothing_is_kept_of_it(saver: Saver) -> None:
    saver.pay(0)
    set_clock("2027-02-10 08:00:00.2")
    plans.ledger.expire_lots(saver.purse.id)
    saver.dispute(0)
    saver.pay(1)
    assert saver.stands == (1000, 0)
    saver.dispute(0, "won")
    assert saver.stands == (1000, 0)


def test_what_was_kept_is_kept_again_the_newest_first(saver: Saver) -> None:
    for month in (0, 1, 2):
        saver.pay(month)
    assert saver.stands == (1500, 0)  # the 500 that were kept of the second month
    saver.refund(0, 4500)  # all of the first month has expired by now
    assert saver.taken(0) == [(0, 1000, 0)]
    assert saver.stands == (1500, 0)
    saver.refund(1, 4500)
    assert saver.taken(1) == [(500, 500, 0)]
    assert saver.stands == (1000, 0)


def test_what_was_left_of_two_months_is_kept_of_both(saver: Saver) -> None:
    saver.pay(0)
    saver.pay(1)
    saver.purse.charge(800 * MICRO)
    saver.pay(2)
    assert saver.stands == (1500, 0)
    kept = Lot.objects.filter(account=saver.purse.id, expires_at=STARTS[3], payment__reference__startswith="allocation")
    assert kept.count() >= 2
    saver.refund(1, 4500)
    saver.refund(0, 4500)
    assert saver.stands == (200, 0)  # 1,000 less the 800 that were spent


def test_a_trial_s_credits_stay_promotional_when_they_are_kept(saver: Saver) -> None:
    Plan.objects.filter(id=saver.plan.id).update(trial_days=14, trial_credits=50 * MICRO)
    row = Enrollment.objects.select_related("plan").get(id=saver.row.id)
    set_clock("2026-12-27 08:00")
    plans.give_trial(row.id, Period(datetime(2026, 12, 27, 8, tzinfo=UTC), STARTS[0]), "sub_1")
    saver.pay(0)
    assert saver.stands == (1050, 0)
    assert Lot.objects.get(account=saver.purse.id, amount=50 * MICRO, expires_at=STARTS[1]).is_promotional


def test_the_ledger_keeps_no_more_than_expired(saver: Saver) -> None:
    saver.pay(0)
    saver.purse.charge(600 * MICRO)
    saver.pay(1)
    assert saver.stands == (1400, 0)
    payment = saver.period(0).get().payment_id
    with saver.purse.refuses(errors.KeepsMoreThanExpired):
        saver.purse.post(steps.Keep(payment=payment, amount=1, expires_at=STARTS[2]))
