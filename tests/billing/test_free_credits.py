"""Before an account's first payment: plan and promotional credits pay only what takes them, all others pay anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from billing import errors, ledger, packs, payments, plans, statement, steps, trust
from billing.clock import now
from billing.credits import MICRO
from billing.models import Allocation, Dispute, Enrollment, Pack, Plan, Purchase, Refunding, SpendLimit, new_id
from tests.conftest import Clock

from .purse import Purse

pytestmark = pytest.mark.django_db


def buy(account: UUID) -> Purchase:
    """A pack of 500 credits is paid for."""
    packs.install()
    pack = Pack.objects.get(slug="starter")
    bought = Purchase.objects.create(
        account_id=account, pack=pack, amount_minor=1000, currency="gbp", credits=500 * MICRO, keep_months=12,
        created_at=now(),
    )  # fmt: skip
    assert payments.paid(bought.id, intent=f"pi_{bought.id}")
    bought.refresh_from_db()
    return bought


def pay_a_month(purse: Purse) -> Allocation:
    """A month of a plan that was paid for."""
    plans.install()
    plan = Plan.objects.get(slug="pro")
    row = Enrollment.objects.create(account_id=purse.id, plan=plan, state="active", started_at=now())
    return Allocation.objects.create(
        account_id=purse.id, enrollment=row, plan=plan, period="month sub_1 2026-01-01", starts_at=now(),
        ends_at=now(), credits=0, amount_minor=16_000, currency="gbp", created_at=now(),
    )  # fmt: skip


def give_back(of: Purchase | Allocation, minor: int, state: str = "succeeded") -> Refunding:
    sale = {"purchase": of} if isinstance(of, Purchase) else {"allocation": of}
    return Refunding.objects.create(account_id=of.account_id, amount_minor=minor, state=state, created_at=now(), **sale)


def question(of: Purchase, state: str = "open") -> Dispute:
    ended_at = None if state == "open" else now()
    return Dispute.objects.create(
        account_id=of.account_id, purchase=of, stripe_dispute=f"dp_{new_id()}", amount_minor=of.amount_minor,
        state=state, created_at=now(), ended_at=ended_at,
    )  # fmt: skip


def place(purse: Purse, amount: int) -> Any:
    return purse.place(amount, takes_free_credits=False)


@pytest.mark.parametrize(
    "terms", [{"source": "plan"}, {"source": "gift", "is_promotional": True}], ids=["plan", "gift"]
)
def test_free_credits_pay_only_what_takes_them(purse: Purse, terms: dict[str, Any]) -> None:
    purse.grant(10, **terms)
    with purse.refuses(errors.FreeCreditsNotAccepted, required="0.000004", available="0", free="0.00001"):
        place(purse, 4)
    with purse.refuses(errors.FreeCreditsNotAccepted):
        ledger.charge(purse.id, amount=4, takes_free_credits=False)
    purse.place(4)
    purse.charge(4)


def test_all_other_credits_pay_and_the_free_ones_stay(purse: Purse) -> None:
    free = purse.grant(10, source="plan", priority=1)
    given, imported = purse.grant(5, source="staff", priority=2), purse.grant(5, source="import", priority=3)
    with purse.refuses(errors.FreeCreditsNotAccepted, required="0.000011", available="0.00001", free="0.00001"):
        place(purse, 11)
    hold = purse.hold(place(purse, 7))
    assert dict(zip(hold.receipt_lots, hold.receipt_amounts, strict=True)) == {given: 5, imported: 2}
    ledger.charge(purse.id, amount=3, takes_free_credits=False)
    assert (purse.lot(free).remaining, purse.lot(imported).spent) == (10, 3)
    assert purse.spent() == (10, 0), "nothing of it came from what a plan's cap binds"


def test_where_even_all_together_are_too_few_that_is_said_too(purse: Purse) -> None:
    purse.grant(10, source="plan")
    with purse.refuses(errors.FreeCreditsNotAccepted, shortfall="0.000002"):
        place(purse, 12)
    with pytest.raises(errors.FreeCreditsNotAccepted) as refused:
        place(purse, 9)
    assert "shortfall" not in refused.value.facts


def test_who_has_no_free_credits_has_too_few(purse: Purse) -> None:
    purse.grant(3, source="staff")
    with purse.refuses(errors.InsufficientCredits, shortfall="0.000001"):
        place(purse, 4)


def test_a_plans_cap_binds_nothing_where_nothing_comes_from_it(purse: Purse) -> None:
    purse.grant(10, source="plan")
    SpendLimit.objects.create(account_id=purse.id, source="plan", per_day=2, per_run=2)
    with purse.refuses(errors.FreeCreditsNotAccepted):
        place(purse, 4)
    purse.grant(5, source="staff")
    place(purse, 4)
    SpendLimit.objects.create(account_id=purse.id, source="person", per_run=3)
    with purse.refuses(errors.SpendLimitReached, source="person"):
        place(purse, 4)


def test_a_first_payment_lets_all_of_them_pay(purse: Purse) -> None:
    free = purse.grant(10 * MICRO, source="plan", priority=1)
    buy(purse.id)
    place(purse, 4 * MICRO)
    assert purse.lot(free).held == 4 * MICRO
    SpendLimit.objects.create(account_id=purse.id, source="plan", per_day=5 * MICRO)
    place(purse, 4 * MICRO)
    assert purse.lot(free).held == 5 * MICRO, "and the plan's cap binds them again"


# What is captured late


def expired(purse: Purse, clock: Clock, amount: int) -> UUID:
    """A hold of what takes no free credits, whose hour is over."""
    hold = place(purse, amount)
    clock.advance(hours=2)
    purse.post(steps.ExpireHold(hold=hold))
    return hold


def late(purse: Purse, hold: UUID) -> Any:
    return ledger.capture_late(purse.id, hold=hold)


def test_a_late_capture_asks_again_which_credits_may_pay(purse: Purse, clock: Clock) -> None:
    free, given = purse.grant(10, source="plan"), purse.grant(5, source="staff")
    hold = expired(purse, clock, 5)
    purse.post(steps.Adjust(amount=-11, reason="Spent on what takes free credits, and on more"))
    assert (purse.lot(free).remaining, purse.lot(given).remaining) == (0, 4)
    gift = purse.grant(10, source="gift", is_promotional=True)
    with purse.refuses(errors.FreeCreditsNotAccepted, required="0.000005", available="0.000004", free="0.00001"):
        late(purse, hold)
    purse.grant(1, source="staff")
    late(purse, hold)
    assert (purse.lot(gift).remaining, purse.lot(given).spent, purse.spent()) == (10, 4, (5, 0))


def test_a_first_payment_lets_them_pay_late(purse: Purse, clock: Clock) -> None:
    free, given = purse.grant(10, source="plan", priority=1), purse.grant(5, source="staff")
    hold = expired(purse, clock, 5)
    buy(purse.id)
    late(purse, hold)
    assert (purse.lot(free).spent, purse.lot(given).spent) == (5, 0)


def test_what_was_promised_stands_and_what_is_taken_anew_is_asked_anew(clock: Clock) -> None:
    purse = Purse()  # its books are not reconciled: nothing here takes credits back
    free = purse.grant(10, source="plan", priority=1)
    bought = buy(purse.id)
    stands, ends = place(purse, 4), place(purse, 5)
    give_back(bought, 1000)
    purse.capture(stands)
    assert purse.lot(free).spent == 4, "a capture takes what its hold was given, whatever became of the payment"
    purse.post(steps.Adjust(amount=-500 * MICRO, reason="Spent elsewhere"))
    clock.advance(hours=2)
    purse.post(steps.ExpireHold(hold=ends))
    with purse.refuses(errors.FreeCreditsNotAccepted):
        late(purse, ends)


def test_what_takes_free_credits_takes_them_late(purse: Purse, clock: Clock) -> None:
    free = purse.grant(10, source="plan")
    hold = purse.place(5)
    clock.advance(hours=2)
    purse.post(steps.ExpireHold(hold=hold))
    late(purse, hold)
    assert purse.lot(free).spent == 5


def test_a_paid_month_is_a_payment() -> None:
    purse = Purse()  # its books are not reconciled: nothing here is granted for the month
    purse.grant(10, source="plan")
    month = pay_a_month(purse)
    packs.install()
    place(purse, 1)
    give_back(month, 15_000)
    place(purse, 1)  # as much stands as the smallest pack costs
    give_back(month, 1, "asked")
    with purse.refuses(errors.FreeCreditsNotAccepted):
        place(purse, 1)


@pytest.mark.parametrize(
    ("spoil", "counts"),
    [
        (lambda of: give_back(of, 1), False),
        (lambda of: give_back(of, 999), False),
        (lambda of: give_back(of, 1, "failed"), True),
        (lambda of: give_back(of, 1000), False),
        (lambda of: give_back(of, 1000, "asked"), False),
        (lambda of: give_back(of, 1000, "pending"), False),
        (lambda of: give_back(of, 1000, "failed"), True),
        (lambda of: question(of), False),
        (lambda of: question(of, "lost"), False),
        (lambda of: question(of, "won"), True),
        (lambda of: (give_back(of, 400), give_back(of, 600)), False),
    ],
    ids=[
        "a penny back",
        "a penny left",
        "a penny failed",
        "back",
        "asked back",
        "on its way back",
        "failed",
        "questioned",
        "lost",
        "won",
        "in two parts",
    ],
)
def test_a_payment_counts_with_what_is_left_of_it(spoil: Callable[[Purchase], object], counts: bool) -> None:
    purse = Purse()  # its books are not reconciled: nothing here takes credits back
    bought = buy(purse.id)
    assert ledger.have_paid([purse.id]) == {purse.id}
    spoil(bought)
    assert ledger.have_paid([purse.id]) == ({purse.id} if counts else set())
    buy(purse.id)
    assert ledger.have_paid([purse.id]) == {purse.id}, "another one counts all the same"


def pay(purse: Purse, minor: int, currency: str = "gbp") -> Purchase:
    """A pack is paid for, at a price of its own."""
    packs.install()
    row = Purchase.objects.create(
        account_id=purse.id, pack=Pack.objects.get(slug="studio"), amount_minor=minor, currency=currency,
        credits=MICRO, keep_months=12, created_at=now(),
    )  # fmt: skip
    assert payments.paid(row.id, intent=f"pi_{row.id}")
    return row


def upgrade(month: Allocation, minor: int) -> Allocation:
    """The month's plan became a larger one, for the days left."""
    return Allocation.objects.create(
        account_id=month.account_id, enrollment=month.enrollment, plan=month.plan, period=f"upgrade in_{minor}",
        starts_at=now(), ends_at=now(), credits=0, amount_minor=minor, currency="gbp", created_at=now(),
    )  # fmt: skip


# What was paid, of each what went back; whether the account has paid. The packs cost 1000, 2500 and 5000, no plan less.
STANDING: dict[str, tuple[list[tuple[int, int]], bool]] = {
    "half of the smallest pack": ([(1000, 500)], False),
    "half of the middle pack": ([(2500, 1250)], True),
    "a penny of the largest": ([(5000, 4999)], False),
    "as much of it as the smallest costs": ([(5000, 4000)], True),
    "a penny less": ([(5000, 4001)], False),
    "two halves of the smallest": ([(1000, 500), (1000, 500)], True),
    "pennies of many": ([(1000, 999)] * 9, False),
    "a pack that was cheaper once": ([(400, 0)], True),
    "a penny less of that": ([(400, 1)], False),
}


@pytest.mark.parametrize("name", STANDING)
def test_what_stands_of_all_payments_is_worth_the_smallest(name: str) -> None:
    purse = Purse()  # its books are not reconciled: nothing here takes credits back
    paid, counts = STANDING[name]
    for minor, back in paid:
        row = pay(purse, minor)
        if back:
            give_back(row, back)
    assert ledger.have_paid([purse.id]) == ({purse.id} if counts else set())


def test_currencies_are_not_added_up() -> None:
    purse = Purse()
    for currency in ("gbp", "usd"):
        give_back(pay(purse, 1000, currency), 400)
    assert ledger.have_paid([purse.id]) == set()


def test_an_upgrades_few_pennies_are_no_first_payment(settings: Any, clock: Clock) -> None:
    """Its month was given back; what the last day of a larger plan cost stands."""
    purse = Purse()
    packs.install()
    month = pay_a_month(purse)
    upgrade(month, 380)
    give_back(month, 16_000)
    assert ledger.have_paid([purse.id]) == set()
    clock.advance(days=settings.SETTLED_DAYS)
    assert trust.of(purse.id).settles_at is None
    upgrade(month, 620)
    assert ledger.have_paid([purse.id]) == {purse.id}, "together they come to what the smallest pack costs"


def test_where_nothing_is_on_offer_what_was_bought_is_the_measure() -> None:
    purse = Purse()
    row = pay(purse, 1000)
    Pack.objects.update(is_offered=False)
    assert ledger.have_paid([purse.id]) == {purse.id}
    give_back(row, 1)
    assert ledger.have_paid([purse.id]) == set()


def test_one_accounts_payment_is_no_others(purse: Purse, new_purse: Callable[..., Purse]) -> None:
    other = new_purse()
    buy(other.id)
    purse.grant(10, source="plan")
    other.grant(10, source="plan")
    wary = [steps.PlaceHold(amount=5, reference="r", owner="job", expires_in_seconds=60, takes_free_credits=False)]
    outcomes = ledger.post([ledger.Group(purse.id, wary), ledger.Group(other.id, wary)])
    assert [type(outcome.refusal) for outcome in outcomes] == [errors.FreeCreditsNotAccepted, type(None)]


def test_what_is_shown_is_what_the_ledger_takes(purse: Purse) -> None:
    purse.grant(10, source="plan")
    purse.grant(4, source="gift", is_promotional=True)
    purse.grant(3, source="staff")
    purse.place(2)
    values, accepted = statement.payable(purse.id, takes_free_credits=False)
    assert (values.available, accepted) == (15, 3)
    assert statement.payable(purse.id, takes_free_credits=True)[1] == 15
    with purse.refuses(errors.FreeCreditsNotAccepted):
        place(purse, accepted + 1)
    place(purse, accepted)
    buy(purse.id)
    assert statement.payable(purse.id, takes_free_credits=False)[1] == 12 + 500 * MICRO


# When a payment has settled


def test_a_payment_settles_by_standing(clock: Clock, settings: Any) -> None:
    purse = Purse()
    settings.SETTLED_DAYS = 7
    assert trust.of(purse.id).settles_at is None
    first = buy(purse.id)
    assert not trust.of(purse.id).has_settled(now())
    clock.advance(days=6, hours=23)
    assert not trust.of(purse.id).has_settled(now())
    clock.advance(hours=1)
    assert trust.of(purse.id).has_settled(now())
    buy(purse.id)
    give_back(first, 1)
    assert not trust.of(purse.id).has_settled(now()), "one that was touched does not count; the next one is fresh"
    clock.advance(days=7)
    assert trust.of(purse.id).has_settled(now())
