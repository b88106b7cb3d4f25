"""refund r of a spending line: balance +r; its lot moves are returned in reverse order."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from billing import book, credits, errors, ledger, steps
from tests.conftest import Clock

from .purse import Purse

pytestmark = pytest.mark.django_db


@pytest.fixture
def charge(purse: Purse) -> book.Line:
    """10 granted, 6 charged."""
    purse.grant(10)
    return purse.charge(6)


def test_a_refund_gives_back_to_the_lot_it_came_from(purse: Purse, charge: book.Line) -> None:
    with purse.moves(balance=4, lines=["refund"]):
        line = purse.refund(charge.id, 4)
    assert line.refunds == charge.id
    lot = purse.lot(charge.lots[0])
    assert (lot.remaining, lot.spent) == (8, 2)


def test_a_refund_without_an_amount_gives_back_what_is_left(purse: Purse, charge: book.Line) -> None:
    purse.refund(charge.id, 4)
    with purse.moves(balance=2):
        purse.refund(charge.id)
    with purse.refuses(errors.RefundExceedsSpent, left="0"):
        purse.refund(charge.id)


def test_refunds_never_exceed_what_was_spent(purse: Purse, charge: book.Line) -> None:
    with purse.refuses(errors.RefundExceedsSpent, left="0.000006"):
        purse.refund(charge.id, 7)
    purse.refund(charge.id, 4)
    with purse.refuses(errors.RefundExceedsSpent, left="0.000002"):
        purse.refund(charge.id, 3)


def test_refunds_in_one_batch_see_one_another(purse: Purse, charge: book.Line) -> None:
    refund = ledger.Group(purse.id, [steps.Refund(entry=charge.id, amount=4)])
    with purse.moves(balance=4, lines=["refund"]):
        one, two = ledger.post([refund, refund])
    assert one.refusal is None
    assert type(two.refusal) is errors.RefundExceedsSpent


@pytest.mark.parametrize("amount", [0, -1])
def test_a_refund_of_no_amount_is_refused(purse: Purse, charge: book.Line, amount: int) -> None:
    with purse.refuses(errors.InvalidInstruction):
        purse.refund(charge.id, amount)


def test_lots_are_given_back_in_reverse_order(purse: Purse) -> None:
    """A charge of 9 over lots of 4, 3 and 10 is 4 + 3 + 2; refunds of 3, 3 and 3 return 2 1 · 2 1 · 3."""
    lots = [purse.grant(amount, priority=at) for at, amount in enumerate((4, 3, 10))]
    charge = purse.charge(9)
    assert charge.remaining_deltas == [-4, -3, -2]
    first, second, third = (purse.refund(charge.id, 3) for _ in range(3))
    assert list(zip(first.lots, first.remaining_deltas, strict=True)) == [(lots[2], 2), (lots[1], 1)]
    assert list(zip(second.lots, second.remaining_deltas, strict=True)) == [(lots[1], 2), (lots[0], 1)]
    assert list(zip(third.lots, third.remaining_deltas, strict=True)) == [(lots[0], 3)]
    assert [purse.lot(lot).remaining for lot in lots] == [4, 3, 10]


def test_captures_draws_and_late_captures_can_be_refunded(purse: Purse, clock: Clock) -> None:
    purse.grant(20)
    capture = purse.capture(purse.place(6), 4)
    envelope = purse.place(6, shares=(("a", 3),))
    draw = ledger.draw(purse.id, hold=envelope, reference="a", amount=2)
    clock.advance(hours=2)
    ledger.expire_hold(purse.id, hold=envelope)
    late = ledger.capture_late(purse.id, hold=envelope, amount=3)
    for line, amount in ((capture, 4), (draw, 2), (late, 3)):
        with purse.moves(balance=amount, lines=["refund"]):
            purse.refund(line.id)
    assert purse.available == 20
    assert purse.spent() == (0, 0)


@pytest.mark.parametrize("kind", ["grant", "hold", "release", "refund", "adjust"])
def test_a_line_that_spent_nothing_cannot_be_refunded(purse: Purse, charge: book.Line, kind: str) -> None:
    purse.release(purse.place(1))
    purse.refund(charge.id, 1)
    ledger.adjust(purse.id, amount=-1, reason="a slip")
    line = next(line for line in purse.lines if line.kind == kind)
    with purse.refuses(errors.NothingToRefund, kind=kind):
        purse.refund(line.id, 1)


def test_a_line_of_another_account_is_not_found(
    purse: Purse, charge: book.Line, new_purse: Callable[..., Purse]
) -> None:
    stranger = new_purse()
    with stranger.refuses(errors.EntryNotFound):
        stranger.refund(charge.id, 1)
    outcomes = ledger.post(
        [
            ledger.Group(purse.id, [steps.Refund(entry=charge.id, amount=1)]),
            ledger.Group(stranger.id, [steps.Refund(entry=charge.id, amount=1)]),
        ]
    )
    assert [type(outcome.refusal) for outcome in outcomes] == [type(None), errors.EntryNotFound]


def test_a_refund_to_an_expired_lot_may_be_spent_for_seven_days(purse: Purse, clock: Clock) -> None:
    now = purse.account.created_at
    lot = purse.grant(10, expires_at=now + timedelta(days=2))
    charge = purse.charge(10)
    clock.advance(days=30)
    line = purse.refund(charge.id)
    assert purse.lot(lot).spendable_until == line.created_at + timedelta(days=7)
    assert purse.lot(lot).expires_at == now + timedelta(days=2)
    clock.advance(days=7)
    with purse.moves(balance=-10, lines=["lot_expired"]):
        ledger.expire_lots(purse.id)


def test_a_refund_to_a_frozen_lot_stays_frozen(purse: Purse) -> None:
    purse.grant(10, payment="cs_1")
    charge = purse.charge(6)
    ledger.freeze(purse.id, payment=purse.payment("cs_1"))
    with purse.moves(balance=5, frozen=5):
        purse.refund(charge.id, 5)
    assert purse.available == 0


def test_a_refund_takes_the_spend_from_the_member_and_day_that_committed_it(purse: Purse, clock: Clock) -> None:
    ada, bob = (User.objects.create(username=name) for name in ("ada", "bob"))
    purse.grant(10, source="plan")
    charge = purse.charge(6, user=ada.id)
    hold = purse.place(4)
    capture = purse.capture(hold, 4, user=bob.id)
    assert purse.spent(ada.id) == (6, 6)
    assert purse.spent() == (4, 4)
    clock.advance(days=40)
    purse.refund(charge.id, 5, user=bob.id)
    purse.refund(capture.id, 1, user=bob.id)
    assert purse.spent(ada.id) == (1, 1)
    assert purse.spent() == (3, 3)
    assert purse.spent(bob.id) == (0, 0)


def test_a_refund_beyond_the_range_of_a_balance_is_refused(purse: Purse, charge: book.Line) -> None:
    purse.post(*[steps.Grant(amount=credits.AMOUNT_MAX, source="staff")] * 99)
    purse.grant(credits.AMOUNT_MAX - 4)
    with purse.refuses(errors.BalanceTooLarge):
        purse.refund(charge.id, 1)
