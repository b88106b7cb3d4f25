"""charge c: balance −c, refused as place_hold is; 0 is allowed. capture late c: an expired hold, paid after all."""

from uuid import UUID

import pytest
from django.contrib.auth.models import User

from billing import credits, errors, ledger
from billing.models import SpendDay, new_id
from tests.conftest import Clock

from .purse import Purse

pytestmark = pytest.mark.django_db


def test_a_charge_spends_at_once(purse: Purse) -> None:
    lot = purse.grant(10)
    with purse.moves(balance=-4, lines=["charge"]):
        purse.charge(4)
    assert (purse.lot(lot).remaining, purse.lot(lot).spent) == (6, 4)


def test_a_charge_of_0_writes_its_line(purse: Purse) -> None:
    with purse.moves(lines=["charge"]):
        purse.charge(0)


def test_a_charge_beyond_what_is_available_is_refused(purse: Purse) -> None:
    purse.grant(10)
    purse.place(4)
    with purse.refuses(errors.InsufficientCredits, available="0.000006", shortfall="0.000001"):
        purse.charge(7)


@pytest.mark.parametrize("amount", [-1, credits.AMOUNT_MAX + 1])
def test_a_charge_of_no_amount_is_refused(purse: Purse, amount: int) -> None:
    with purse.refuses(errors.InvalidInstruction):
        purse.charge(amount)


def test_a_debtor_pays_no_charge(purse: Purse) -> None:
    purse.grant(10, payment="cs_1")
    purse.charge(10)
    ledger.claw_back(purse.id, payment=purse.payment("cs_1"), id=new_id(), amount=3)
    with purse.refuses(errors.AccountInDebt):
        purse.charge(1)


# capture late c: balance −c


@pytest.fixture
def expired(purse: Purse, clock: Clock) -> UUID:
    """10 granted, a hold of 6 that has expired."""
    purse.grant(10)
    hold = purse.place(6)
    clock.advance(hours=1)
    ledger.expire_hold(purse.id, hold=hold)
    return hold


def late(purse: Purse, hold: UUID, amount: int | None = None) -> object:
    return ledger.capture_late(purse.id, hold=hold, amount=amount)


def test_a_late_capture_takes_from_what_is_available_now(purse: Purse, expired: UUID) -> None:
    with purse.moves(balance=-5, lines=["late_capture"]):
        late(purse, expired, 5)
    hold = purse.hold(expired)
    assert (hold.state, hold.captured, hold.captured_late) == ("expired", 0, 5)


def test_a_late_capture_without_an_amount_takes_all(purse: Purse, expired: UUID) -> None:
    with purse.moves(balance=-6):
        late(purse, expired)


def test_a_hold_is_captured_late_once(purse: Purse, expired: UUID) -> None:
    late(purse, expired, 0)
    with purse.refuses(errors.HoldCapturedLate):
        late(purse, expired, 1)


def test_only_an_expired_hold_is_captured_late(purse: Purse) -> None:
    purse.grant(10)
    hold = purse.place(6)
    with purse.refuses(errors.HoldNotExpired, state="open"):
        late(purse, hold, 1)
    purse.capture(hold, 1)
    with purse.refuses(errors.HoldNotExpired, state="captured"):
        late(purse, hold, 1)
    other = purse.place(6)
    purse.release(other)
    with purse.refuses(errors.HoldNotExpired, state="released"):
        late(purse, other, 1)


@pytest.mark.parametrize("amount", [7, -1])
def test_a_late_capture_beyond_what_was_held_is_refused(purse: Purse, expired: UUID, amount: int) -> None:
    with purse.refuses(errors.CaptureExceedsHold, left="0.000006"):
        late(purse, expired, amount)


def test_a_late_capture_beyond_what_is_available_waits_for_a_top_up(purse: Purse, expired: UUID) -> None:
    purse.charge(8)
    with purse.refuses(errors.InsufficientCredits, shortfall="0.000003"):
        late(purse, expired, 5)
    purse.grant(3)
    with purse.moves(balance=-5):
        late(purse, expired, 5)


def test_a_frozen_account_pays_nothing_late(purse: Purse, expired: UUID) -> None:
    ledger.set_account_frozen(purse.id, True, "looked at")
    with purse.refuses(errors.AccountFrozen):
        late(purse, expired, 1)


def test_a_debtor_pays_nothing_late(purse: Purse, clock: Clock) -> None:
    purse.grant(10, payment="cs_1")
    hold = purse.place(6)
    clock.advance(hours=1)
    ledger.expire_hold(purse.id, hold=hold)
    purse.charge(10)
    ledger.claw_back(purse.id, payment=purse.payment("cs_1"), id=new_id(), amount=10)
    with purse.refuses(errors.AccountInDebt):
        late(purse, hold, 1)
    with purse.moves(lines=["late_capture"]):
        late(purse, hold, 0)


def test_a_late_capture_counts_for_the_day_and_member_of_its_hold(purse: Purse, clock: Clock) -> None:
    user = User.objects.create(username="ada")
    purse.grant(10)
    hold = purse.place(6, user=user.id)
    day = purse.hold(hold).placed_on
    clock.advance(days=3)
    ledger.expire_hold(purse.id, hold=hold)
    assert purse.spent(user.id) == (0, 0)
    late(purse, hold, 4)
    assert SpendDay.objects.get(account=purse.id, user=user, day=day).spent == 4


def test_a_late_capture_is_never_refused_by_a_limit(purse: Purse, expired: UUID) -> None:
    from billing.models import SpendLimit

    SpendLimit.objects.create(account_id=purse.id, source="staff", per_run=0, per_day=0, per_month=0)
    with purse.moves(balance=-6):
        late(purse, expired)
