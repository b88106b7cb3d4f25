"""What a plan keeps of a month's credits is still that month's: its refund and its dispute reach it.

The plan costs £45.00 and gives 1,000 credits a month, of which 500 may be kept.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from .statement import Statement

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


@pytest.fixture
def statement(saver: Saver, request: pytest.FixtureRequest) -> Iterator[Statement]:
    statement = Statement(saver.purse, request.function.__doc__)
    yield statement
    statement.end()
    assert reconcile([saver.purse.id]).findings == []
    agree()


def test_a_refund_of_a_past_month_takes_back_what_was_kept_of_it(saver: Saver, statement: Statement) -> None:
    """Of January's 1,000, 300 were spent, 200 expired and 500 were kept; its £45 goes back, so 1,000 are to be gone.

    | what                                                    | balance | debt | available |
    | ------------------------------------------------------- | ------- | ---- | --------- |
    | 10 Jan, £45 paid                                        | 1000    | 0    | 1000      |
    | 300 spent                                               | 700     | 0    | 700       |
    | 10 Feb, £45 paid: 700 expire, 500 kept, and 1,000 new   | 1500    | 0    | 1500      |
    | January refunded: 500 taken, 200 expired, 300 were owed | 700     | 0    | 700       |
    """
    saver.pay(0)
    statement.row("10 Jan, £45 paid")
    saver.purse.charge(300 * MICRO)
    statement.row("300 spent")
    saver.pay(1)
    statement.row("10 Feb, £45 paid: 700 expire, 500 kept, and 1,000 new")
    assert sum(revenue.figures().breakage.values()) == 200 * MICRO
    saver.refund(0, 4500)
    statement.row("January refunded: 500 taken, 200 expired, 300 were owed")
    assert saver.taken(0) == [(500, 200, 300)]  # the 300 are settled at once, by February's credits


def test_parts_of_a_refund_take_what_was_kept_first_and_never_more_than_the_whole(
    saver: Saver, statement: Statement
) -> None:
    """January's 1,000 went unspent: 500 expired, 500 were kept. Its £45 goes back in three parts.

    | what                                                       | balance     | debt |
    | ---------------------------------------------------------- | ----------- | ---- |
    | 10 Jan and 10 Feb, £45 each: 500 kept, 1,000 new           | 1500        | 0    |
    | £15 refunded: 1,000 × 1,500 ÷ 4,500 of what was kept       | 1166.666667 | 0    |
    | £14 refunded: 644.444444 by now: the kept 166.666667 go    | 1000        | 0    |
    | £16 refunded: 1,000 by now: the expired 500 count          | 1000        | 0    |
    """
    saver.pay(0)
    saver.pay(1)
    statement.row("10 Jan and 10 Feb, £45 each: 500 kept, 1,000 new")
    saver.refund(0, 1500)
    statement.row("£15 refunded: 1,000 × 1,500 ÷ 4,500 of what was kept")
    saver.refund(0, 1400)
    statement.row("£14 refunded: 644.444444 by now: the kept 166.666667 go")
    saver.refund(0, 1600)
    statement.row("£16 refunded: 1,000 by now: the expired 500 count")
    assert sum(row.amount for row in ClawBack.objects.filter(account=saver.purse.id)) == 1000 * MICRO


def test_kept_credits_that_were_spent_are_owed(saver: Saver, statement: Statement) -> None:
    """The month's own 1,000 are spent first, then 200 of the 500 that were kept.

    | what                                             | balance | debt | available |
    | ------------------------------------------------ | ------- | ---- | --------- |
    | 10 Jan and 10 Feb, £45 each: 500 kept, 1,000 new | 1500    | 0    | 1500      |
    | 1,200 spent                                      | 300     | 0    | 300       |
    | January refunded: 300 taken, 500 expired         | 0       | 200  | 0         |
    """
    saver.pay(0)
    saver.pay(1)
    statement.row("10 Jan and 10 Feb, £45 each: 500 kept, 1,000 new")
    saver.purse.charge(1200 * MICRO)
    statement.row("1,200 spent")
    assert giving_back.stands(sales.of_allocation(saver.period(0).get())) == (300 * MICRO, 500 * MICRO)
    saver.refund(0, 4500)
    statement.row("January refunded: 300 taken, 500 expired")
    assert saver.taken(0) == [(300, 500, 200)]
    assert giving_back.stands(sales.of_allocation(saver.period(0).get())) == (0, 0)


def test_a_month_that_was_given_back_keeps_nothing(saver: Saver, statement: Statement) -> None:
    """The refund comes when January's credits have expired, and February is not heard of yet.

    | what                                  | balance | debt |
    | ------------------------------------- | ------- | ---- |
    | 10 Jan, £45 paid                      | 1000    | 0    |
    | 10 Feb, January refunded: all expired | 0       | 0    |
    | £45 paid for February                 | 1000    | 0    |
    """
    saver.pay(0)
    statement.row("10 Jan, £45 paid")
    set_clock("2027-02-10 08:00:00.5")
    saver.refund(0, 4500)
    statement.row("10 Feb, January refunded: all expired")
    assert saver.taken(0) == [(0, 1000, 0)]
    saver.pay(1)
    statement.row("£45 paid for February")


def test_a_refund_that_failed_gives_back_what_was_kept_until_its_end(saver: Saver, statement: Statement) -> None:
    """What comes back ends with February, as what was kept did.

    | what                                              | balance | debt |
    | ------------------------------------------------- | ------- | ---- |
    | 10 Jan and 10 Feb, £45 each: 500 kept, 1,000 new  | 1500    | 0    |
    | January refunded: 500 taken, 500 expired          | 1000    | 0    |
    | that fails: 500 restored                          | 1500    | 0    |
    | £44 of it refunded: 977.777777: 500 taken, rest expired | 1000 | 0  |
    """
    saver.pay(0)
    saver.pay(1)
    statement.row("10 Jan and 10 Feb, £45 each: 500 kept, 1,000 new")
    saver.refund(0, 4500)
    statement.row("January refunded: 500 taken, 500 expired")
    saver.refund(0, 4500, "failed")
    statement.row("that fails: 500 restored")
    again = Lot.objects.filter(account=saver.purse.id).latest("granted_at")
    assert (again.amount, again.expires_at) == (500 * MICRO, STARTS[2])
    saver.refund(0, 4400)
    statement.row("£44 of it refunded: 977.777777: 500 taken, rest expired")


def test_a_dispute_over_a_past_month_freezes_what_was_kept_of_it(saver: Saver, statement: Statement) -> None:
    """
    | what                                             | balance | frozen | available |
    | ------------------------------------------------ | ------- | ------ | --------- |
    | 10 Jan and 10 Feb, £45 each: 500 kept, 1,000 new | 1500    | 0      | 1500      |
    | January disputed                                 | 1500    | 500    | 1000      |
    | won                                              | 1500    | 0      | 1500      |
    """
    saver.pay(0)
    saver.pay(1)
    statement.row("10 Jan and 10 Feb, £45 each: 500 kept, 1,000 new")
    saver.dispute(0)
    statement.row("January disputed")
    saver.dispute(0, "won")
    statement.row("won")


def test_a_lost_dispute_takes_it(saver: Saver, statement: Statement) -> None:
    """
    | what                                             | balance | frozen | debt | available |
    | ------------------------------------------------ | ------- | ------ | ---- | --------- |
    | 10 Jan and 10 Feb, £45 each: 500 kept, 1,000 new | 1500    | 0      | 0    | 1500      |
    | January disputed                                 | 1500    | 500    | 0    | 1000      |
    | lost: 500 taken, 500 expired                     | 1000    | 0      | 0    | 1000      |
    """
    saver.pay(0)
    saver.pay(1)
    statement.row("10 Jan and 10 Feb, £45 each: 500 kept, 1,000 new")
    saver.dispute(0)
    statement.row("January disputed")
    saver.dispute(0, "lost")
    statement.row("lost: 500 taken, 500 expired")
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
