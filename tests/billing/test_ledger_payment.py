"""freeze, thaw, claw back, restore: what a payment's refund or dispute does to its credits. Debt, and its repayment."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from billing import book, credits, errors, ledger, steps
from billing.models import ClawBack, Lot
from tests.conftest import Clock

from .purse import Purse

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def payment(purse: Purse) -> UUID:
    """A payment that granted 10."""
    purse.grant(10, payment="cs_1")
    return purse.payment("cs_1")


def claw_back(purse: Purse, payment: UUID, amount: int, **terms: Any) -> UUID:
    id = terms.pop("id", None) or uuid4()
    ledger.claw_back(purse.id, payment=payment, id=id, amount=amount, **terms)
    return id


def parts(id: UUID) -> tuple[int, int, int, int]:
    row = ClawBack.objects.get(id=id)
    return row.amount, row.taken, row.expired, row.debt


# freeze and thaw: frozen ± the free part


def test_a_freeze_takes_the_free_part_out_of_what_is_available(purse: Purse, payment: UUID) -> None:
    purse.grant(5)
    purse.place(4, reference="from the frozen lot")
    with purse.moves(frozen=6, lines=["freeze"]):
        ledger.freeze(purse.id, payment=payment)
    assert purse.available == 5
    with purse.refuses(errors.InsufficientCredits, available="0.000005"):
        purse.place(6)


def test_a_frozen_lot_held_before_is_captured_and_the_rest_falls_back_frozen(purse: Purse, payment: UUID) -> None:
    hold = purse.place(4)
    ledger.freeze(purse.id, payment=payment)
    with purse.moves(balance=-3, held=-4, frozen=1):
        purse.capture(hold, 3)


@pytest.mark.parametrize("end", ["release", "expire"])
def test_what_a_hold_gives_back_to_a_frozen_lot_is_frozen(purse: Purse, payment: UUID, clock: Clock, end: str) -> None:
    hold = purse.place(4)
    ledger.freeze(purse.id, payment=payment)
    clock.advance(hours=1)
    with purse.moves(held=-4, frozen=4):
        purse.release(hold) if end == "release" else ledger.expire_hold(purse.id, hold=hold)


def test_a_thaw_makes_them_spendable_for_seven_days_at_least(purse: Purse, clock: Clock) -> None:
    now = purse.account.created_at
    lot = purse.grant(10, payment="cs_1", expires_at=now + 3 * DAY)
    payment = purse.payment("cs_1")
    ledger.freeze(purse.id, payment=payment)
    clock.advance(days=2)
    with purse.moves(frozen=-10, lines=["thaw"]):
        line = ledger.thaw(purse.id, payment=payment)
    assert purse.lot(lot).spendable_until == line.created_at + 7 * DAY
    assert purse.lot(lot).expires_at == now + 3 * DAY


def test_lots_are_frozen_once_and_thawed_once(purse: Purse, payment: UUID) -> None:
    with purse.refuses(errors.NothingToFreeze):
        ledger.thaw(purse.id, payment=payment)
    ledger.freeze(purse.id, payment=payment)
    with purse.refuses(errors.NothingToFreeze):
        ledger.freeze(purse.id, payment=payment)


def test_a_payment_is_found_only_on_its_own_account(
    purse: Purse, payment: UUID, new_purse: Callable[..., Purse]
) -> None:
    stranger = new_purse()
    for verb in (ledger.freeze, ledger.thaw):
        with stranger.refuses(errors.PaymentNotFound):
            verb(stranger.id, payment=payment)
    with stranger.refuses(errors.PaymentNotFound):
        claw_back(stranger, payment, 1)


# claw back m: balance −t, frozen −fz, debt +d


def test_a_claw_back_takes_the_free_credits_of_that_payment_only(purse: Purse, payment: UUID) -> None:
    other = purse.grant(5, priority=1)
    with purse.moves(balance=-10, lines=["claw_back"]):
        id = claw_back(purse, payment, 10)
    assert parts(id) == (10, 10, 0, 0)
    assert purse.lot(other).remaining == 5


def test_a_claw_back_of_spent_credits_is_debt_and_repaid_from_what_is_free(purse: Purse, payment: UUID) -> None:
    purse.charge(10)
    purse.grant(4)
    with purse.moves(balance=-4, debt=6, lines=["claw_back", "repay"]):
        id = claw_back(purse, payment, 10)
    assert parts(id) == (10, 0, 0, 10)
    with purse.moves(balance=1, debt=-6, lines=["grant", "repay"]):
        purse.grant(7)
    lot = Lot.objects.get(account=purse.id, amount=7)
    assert (lot.remaining, lot.repaid) == (1, 6)


def test_a_claw_back_of_held_credits_is_debt_until_they_come_back(purse: Purse, payment: UUID) -> None:
    hold = purse.place(6)
    with purse.moves(balance=-4, debt=6, lines=["claw_back"]):
        claw_back(purse, payment, 10)
    with purse.moves(balance=-6, held=-6, debt=-6, lines=["release", "repay"]):
        purse.release(hold)


def test_a_claw_back_counts_what_of_the_payment_had_expired(purse: Purse, clock: Clock) -> None:
    """10 granted; 3 spent, 7 expired. The payment is taken back in three refunds of 4, 4 and 2."""
    purse.grant(10, payment="cs_1", expires_at=purse.account.created_at + DAY)
    payment = purse.payment("cs_1")
    purse.charge(3)
    clock.advance(days=2)
    ledger.expire_lots(purse.id)
    assert parts(claw_back(purse, payment, 4)) == (4, 0, 4, 0)
    assert parts(claw_back(purse, payment, 4)) == (4, 0, 3, 1)
    assert parts(claw_back(purse, payment, 2)) == (2, 0, 0, 2)
    assert purse.values == (0, 0, 0, 3)


def test_a_claw_back_of_frozen_credits_takes_them_from_frozen(purse: Purse, payment: UUID) -> None:
    ledger.freeze(purse.id, payment=payment)
    with purse.moves(balance=-10, frozen=-10, lines=["claw_back"]):
        claw_back(purse, payment, 10)


def test_claw_backs_add_up_to_at_most_the_grant(purse: Purse, payment: UUID) -> None:
    claw_back(purse, payment, 7)
    with purse.refuses(errors.ClawBackExceedsGrant, left="0.000003"):
        claw_back(purse, payment, 4)
    for amount in (0, -1):
        with purse.refuses(errors.ClawBackExceedsGrant):
            claw_back(purse, payment, amount)
    claw_back(purse, payment, 3)


def test_a_refund_row_claws_back_once_in_the_world(
    purse: Purse, payment: UUID, new_purse: Callable[..., Purse]
) -> None:
    id = claw_back(purse, payment, 1)
    with purse.refuses(errors.ClawBackAlreadyMade):
        claw_back(purse, payment, 1, id=id)
    other = new_purse()
    other.grant(10, payment="cs_2")
    with other.refuses(errors.ClawBackAlreadyMade):
        claw_back(other, other.payment("cs_2"), 1, id=id)


def test_claw_backs_in_one_batch_see_one_another(purse: Purse, payment: UUID) -> None:
    groups = [ledger.Group(purse.id, [steps.ClawBack(payment=payment, id=uuid4(), amount=6)]) for _ in range(2)]
    one, two = ledger.post(groups)
    assert (one.refusal, type(two.refusal)) == (None, errors.ClawBackExceedsGrant)


# restore: balance +(t + d), frozen +fz


def test_a_restore_undoes_the_claw_back_with_a_new_lot_of_that_payment(purse: Purse, payment: UUID) -> None:
    purse.charge(4)
    id = claw_back(purse, payment, 10)
    assert purse.values == (0, 0, 0, 4)
    with purse.moves(balance=6, debt=-4, lines=["restore", "repay"]):
        line = ledger.restore(purse.id, claw_back=id)
    lot = Lot.objects.exclude(moved_by__lt=4).get(account=purse.id, amount=10, payment=payment)
    assert (lot.remaining, lot.repaid, line.amount) == (6, 4, 10)
    with purse.refuses(errors.AlreadyRestored):
        ledger.restore(purse.id, claw_back=id)


def test_a_restored_claw_back_frees_its_part_of_the_grant(purse: Purse, payment: UUID) -> None:
    id = claw_back(purse, payment, 10)
    ledger.restore(purse.id, claw_back=id)
    with purse.moves(balance=-10):
        claw_back(purse, payment, 10)


def test_what_had_expired_is_not_restored(purse: Purse, clock: Clock) -> None:
    purse.grant(10, payment="cs_1", expires_at=purse.account.created_at + DAY)
    clock.advance(days=2)
    id = claw_back(purse, purse.payment("cs_1"), 10)
    with purse.moves(lines=["restore"]):
        ledger.restore(purse.id, claw_back=id)
    assert Lot.objects.filter(account=purse.id).count() == 1


def test_a_lot_restored_after_its_expiry_may_be_spent_for_seven_days(purse: Purse, clock: Clock) -> None:
    now = purse.account.created_at
    purse.grant(10, payment="cs_1", expires_at=now + DAY)
    id = claw_back(purse, purse.payment("cs_1"), 10)
    clock.advance(days=30)
    line = ledger.restore(purse.id, claw_back=id)
    lot = purse.lot(line.lots[0])
    assert (lot.expires_at, lot.spendable_until) == (now + DAY, line.created_at + 7 * DAY)


def test_a_restore_while_the_payment_is_frozen_is_frozen(purse: Purse, payment: UUID) -> None:
    id = claw_back(purse, payment, 4)
    ledger.freeze(purse.id, payment=payment)
    with purse.moves(balance=4, frozen=4):
        ledger.restore(purse.id, claw_back=id)
    with purse.moves(frozen=-10):
        ledger.thaw(purse.id, payment=payment)


def test_a_claw_back_is_restored_only_on_its_own_account(
    purse: Purse, payment: UUID, new_purse: Callable[..., Purse]
) -> None:
    id = claw_back(purse, payment, 4)
    stranger = new_purse()
    with stranger.refuses(errors.ClawBackNotFound):
        ledger.restore(stranger.id, claw_back=id)
    groups = [ledger.Group(account.id, [steps.Restore(claw_back=id)]) for account in (stranger, purse)]
    refused, done = ledger.post(groups)
    assert type(refused.refusal) is errors.ClawBackNotFound
    assert done.refusal is None


def test_a_restore_beyond_the_range_of_a_balance_is_refused(purse: Purse, payment: UUID) -> None:
    id = claw_back(purse, payment, 10)
    purse.post(*[steps.Grant(amount=credits.AMOUNT_MAX, source="staff")] * 100)
    with purse.refuses(errors.BalanceTooLarge):
        ledger.restore(purse.id, claw_back=id)


# repay: balance −x, debt −x, by itself


def test_debt_is_repaid_by_every_verb_that_frees_credits(purse: Purse, payment: UUID, clock: Clock) -> None:
    def indebted(line: book.Line) -> None:
        assert purse.kinds[-1] == "repay"
        assert purse.available == 0

    charge = purse.charge(2)
    first, second, third = purse.place(2), purse.place(3), purse.place(3, reference="last")
    claw_back(purse, payment, 10)
    assert purse.values == (8, 8, 0, 10)
    with purse.moves(balance=-2, held=-2, debt=-1):
        indebted(purse.capture(first, 1))
    with purse.moves(balance=-3, held=-3, debt=-3):
        indebted(purse.release(second))
    clock.advance(hours=1)
    with purse.moves(balance=-3, held=-3, debt=-3):
        indebted(ledger.expire_hold(purse.id, hold=third))
    with purse.moves(debt=-1):
        indebted(purse.refund(charge.id, 1))
    with purse.moves(debt=-1):
        indebted(ledger.adjust(purse.id, amount=1, reason="kind"))
    with purse.moves(balance=4, debt=-1):
        purse.grant(5)


def test_frozen_credits_do_not_repay_until_they_are_thawed(purse: Purse, payment: UUID) -> None:
    purse.grant(5, payment="cs_2", priority=1)
    other = purse.payment("cs_2")
    ledger.freeze(purse.id, payment=other)
    purse.charge(10)
    claw_back(purse, payment, 3)
    assert purse.values == (5, 0, 5, 3)
    with purse.moves(balance=-3, frozen=-5, debt=-3, lines=["thaw", "repay"]):
        ledger.thaw(purse.id, payment=other)
