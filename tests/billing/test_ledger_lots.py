"""Burn order; expire lot: balance −(remaining − held), at the start of every verb; the grace of seven days."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from billing import ledger, steps
from tests.conftest import Clock

from .purse import Purse

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def now(purse: Purse) -> datetime:
    return purse.account.created_at


def test_lots_burn_by_priority_then_soonest_end_then_promotional_then_oldest(purse: Purse, now: datetime) -> None:
    """Granted in the worst order, taken one by one."""
    terms = [
        {"priority": 50},
        {"priority": 50, "source": "gift"},
        {"priority": 50, "is_promotional": True},
        {"priority": 50, "expires_at": now + 9 * DAY},
        {"priority": 50, "expires_at": now + 3 * DAY},
        {"priority": 50, "expires_at": now + 3 * DAY, "is_promotional": True},
        {"priority": 60, "expires_at": now + 1 * DAY},
        {"priority": 10},
    ]
    lots = [purse.grant(1, **term) for term in terms]
    burnt = [lots.index(purse.charge(1).lots[0]) for _ in lots]
    assert burnt == [7, 5, 4, 3, 2, 0, 1, 6]


@pytest.mark.parametrize(
    "verb",
    [
        lambda purse: purse.grant(1),
        lambda purse: purse.place(1),
        lambda purse: purse.charge(1),
        lambda purse: ledger.expire_lots(purse.id),
        lambda purse: ledger.adjust(purse.id, amount=1, reason="a slip"),
    ],
)
def test_every_verb_first_expires_what_is_due(
    purse: Purse, now: datetime, clock: Clock, verb: Callable[[Purse], object]
) -> None:
    purse.grant(1)
    lot = purse.grant(10, expires_at=now + DAY)
    clock.advance(days=1, seconds=1)
    lines = purse.account.entry_count
    verb(purse)
    assert purse.lines[lines].kind == "lot_expired"
    assert (purse.lot(lot).remaining, purse.lot(lot).expired) == (0, 10)


def test_nothing_expires_before_its_end(purse: Purse, now: datetime, clock: Clock) -> None:
    purse.grant(10, expires_at=now + DAY)
    clock.advance(hours=23)
    with purse.moves(lines=[]):
        ledger.expire_lots(purse.id)


def test_nothing_overdue_is_lent(purse: Purse, now: datetime, clock: Clock) -> None:
    from billing import errors

    purse.grant(10, expires_at=now + DAY)
    clock.advance(days=2)
    assert purse.available == 10
    with purse.refuses(errors.InsufficientCredits, available="0"):
        purse.place(1)


def test_what_is_held_of_a_due_lot_does_not_expire(purse: Purse, now: datetime, clock: Clock) -> None:
    lot = purse.grant(10, expires_at=now + DAY)
    hold = purse.place(4)
    clock.advance(days=2)
    with purse.moves(balance=-6, lines=["lot_expired"]):
        ledger.expire_lots(purse.id)
    assert (purse.lot(lot).remaining, purse.lot(lot).held) == (4, 4)
    with purse.moves(balance=-3, held=-4):
        purse.capture(hold, 3)
    assert purse.lot(lot).spendable_until == now + 8 * DAY
    assert purse.available == 1


@pytest.mark.parametrize("end", ["release", "capture", "hold_expired"])
def test_what_comes_back_after_expiry_may_be_spent_until_seven_days_after_it(
    purse: Purse, now: datetime, clock: Clock, end: str
) -> None:
    lot = purse.grant(10, expires_at=now + DAY)
    hold = purse.place(10)
    clock.advance(days=5)
    {
        "release": lambda: purse.release(hold),
        "capture": lambda: purse.capture(hold, 0),
        "hold_expired": lambda: ledger.expire_hold(purse.id, hold=hold),
    }[end]()
    assert purse.lot(lot).spendable_until == now + 8 * DAY
    clock.advance(days=2)
    purse.charge(1)
    clock.advance(days=1, seconds=1)
    with purse.moves(balance=-9, lines=["lot_expired"]):
        ledger.expire_lots(purse.id)


def test_what_comes_back_after_the_grace_is_gone_with_the_next_verb(purse: Purse, now: datetime, clock: Clock) -> None:
    purse.grant(10, expires_at=now + DAY)
    hold = purse.place(10)
    clock.advance(days=9)
    purse.release(hold)
    with purse.moves(balance=-10, lines=["lot_expired"]):
        ledger.expire_lots(purse.id)


def test_what_comes_back_before_expiry_gets_no_grace(purse: Purse, now: datetime, clock: Clock) -> None:
    lot = purse.grant(10, expires_at=now + DAY)
    hold = purse.place(10)
    clock.advance(hours=20)
    purse.release(hold)
    assert purse.lot(lot).spendable_until == now + DAY


def test_frozen_lots_do_not_expire(purse: Purse, now: datetime, clock: Clock) -> None:
    purse.grant(10, expires_at=now + DAY, payment="cs_1")
    ledger.freeze(purse.id, payment=purse.payment("cs_1"))
    clock.advance(days=30)
    with purse.moves(lines=[]):
        ledger.expire_lots(purse.id)
    with purse.moves(frozen=-10, lines=["thaw"]):
        ledger.thaw(purse.id, payment=purse.payment("cs_1"))
    assert purse.available == 10


def test_several_lots_due_at_once_have_a_line_each(purse: Purse, now: datetime, clock: Clock) -> None:
    purse.grant(3, expires_at=now + DAY)
    purse.grant(4, expires_at=now + 2 * DAY)
    clock.advance(days=3)
    with purse.moves(balance=-7, lines=["lot_expired", "lot_expired"]):
        ledger.expire_lots(purse.id)


def test_each_group_of_a_batch_sees_the_lots_that_the_one_before_left(purse: Purse) -> None:
    purse.grant(10)
    outcomes = ledger.post([ledger.Group(purse.id, [steps.Charge(amount=4)])] * 3)
    assert [outcome.refusal is None for outcome in outcomes] == [True, True, False]
    assert purse.available == 2
