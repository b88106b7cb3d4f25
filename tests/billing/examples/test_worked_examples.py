"""What an accountant would work out on paper; each table is checked, number by number, against the ledger."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from billing import errors, ledger, steps
from billing.models import Account, SpendDay, SpendLimit
from tests.conftest import Clock

from ..purse import HOUR, Purse
from .statement import Statement, c

pytestmark = pytest.mark.django_db
DAY, WEEK = timedelta(days=1), timedelta(days=7)


@pytest.fixture
def statement(purse: Purse, request: pytest.FixtureRequest) -> Iterator[Statement]:
    statement = Statement(purse, request.function.__doc__)
    yield statement
    statement.end()


class Calendar:
    """Day 0 is when the account was opened; `calendar.day(29)` moves the clock there."""

    def __init__(self, clock: Clock, start: datetime) -> None:
        self.clock, self.start, self.now = clock, start, start

    def day(self, number: float) -> None:
        there = self.start + number * DAY + timedelta(minutes=1)
        self.clock.advance(seconds=(there - self.now).total_seconds())
        self.now = there


@pytest.fixture
def calendar(purse: Purse, clock: Clock) -> Calendar:
    return Calendar(clock, purse.account.created_at)


def test_a_capture_over_two_lots(purse: Purse, statement: Statement, calendar: Calendar) -> None:
    """A gift of 5 that ends first burns first; the pack gives the rest, and gets back what the job did not need.

    | what                               | balance | held | available | gift | pack |
    | ---------------------------------- | ------- | ---- | --------- | ---- | ---- |
    | a gift of 5, ending in 10 days     | 5       | 0    | 5         | 5    | 0    |
    | a pack of 10, without an end       | 15      | 0    | 15        | 5    | 10   |
    | hold 8: 5 of the gift, 3 of a pack | 15      | 8    | 7         | 5    | 10   |
    | capture 6.25: gift 5, pack 1.25    | 8.75    | 0    | 8.75      | 0    | 8.75 |
    """
    statement.lots["gift"] = purse.grant(c("5"), source="gift", expires_at=calendar.start + 10 * DAY)
    statement.row("a gift of 5, ending in 10 days")
    statement.lots["pack"] = purse.grant(c("10"), source="pack")
    statement.row("a pack of 10, without an end")
    hold = purse.place(c("8"))
    assert purse.hold(hold).receipt_amounts == [c("5"), c("3")]
    statement.row("hold 8: 5 of the gift, 3 of a pack")
    line = purse.capture(hold, c("6.25"))
    assert line.remaining_deltas == [-c("5"), -c("1.25")]
    assert line.held_deltas == [-c("5"), -c("3")]
    statement.row("capture 6.25: gift 5, pack 1.25")


def test_a_lot_that_expires_while_held(purse: Purse, statement: Statement, calendar: Calendar) -> None:
    """What was free is gone on the day; what was held comes back for the seven days after it, and not longer.

    | when   | what                                       | balance | held | available | lot |
    | ------ | ------------------------------------------ | ------- | ---- | --------- | --- |
    | day 0  | 10 granted, ending on day 30               | 10      | 0    | 10        | 10  |
    | day 29 | hold 4                                     | 10      | 4    | 6         | 10  |
    | day 31 | the free 6 have expired                    | 4       | 4    | 0         | 4   |
    | day 33 | release: 4 are back, until day 37          | 4       | 0    | 4         | 4   |
    | day 36 | 1 spent in the grace                       | 3       | 0    | 3         | 3   |
    | day 37 | the other 3 have expired                   | 0       | 0    | 0         | 0   |
    """
    statement.lots["lot"] = purse.grant(c("10"), expires_at=calendar.start + 30 * DAY)
    statement.row("10 granted, ending on day 30")
    calendar.day(29)
    hold = purse.place(c("4"), expires_in_seconds=1000 * HOUR)
    statement.row("hold 4")
    calendar.day(31)
    ledger.expire_lots(purse.id)
    statement.row("the free 6 have expired")
    calendar.day(33)
    purse.release(hold)
    assert purse.lot(statement.lots["lot"]).spendable_until == calendar.start + 37 * DAY
    statement.row("release: 4 are back, until day 37")
    calendar.day(36)
    purse.charge(c("1"))
    statement.row("1 spent in the grace")
    calendar.day(37)
    ledger.expire_lots(purse.id)
    statement.row("the other 3 have expired")
    assert purse.kinds == ["grant", "hold", "lot_expired", "release", "charge", "lot_expired"]


def test_sixty_weeks_of_hold_and_release_do_not_keep_credits_alive(
    purse: Purse, statement: Statement, calendar: Calendar
) -> None:
    """Every week all that there is is held, and released a week later; the lot ends on day 30, its grace on day 37.

    | when    | what                                    | balance | held | available | lot |
    | ------- | --------------------------------------- | ------- | ---- | --------- | --- |
    | week 0  | 10 granted, ending on day 30; held      | 10      | 10   | 0         | 10  |
    | week 1  | released and held again                 | 10      | 10   | 0         | 10  |
    | week 2  | released and held again                 | 10      | 10   | 0         | 10  |
    | week 3  | released and held again                 | 10      | 10   | 0         | 10  |
    | week 4  | released and held again                 | 10      | 10   | 0         | 10  |
    | week 5  | released in the grace and held again    | 10      | 10   | 0         | 10  |
    | week 6  | released after the grace: nothing lent  | 0       | 0    | 0         | 0   |
    | week 60 | still nothing, whatever was tried       | 0       | 0    | 0         | 0   |
    """
    statement.lots["lot"] = purse.grant(c("10"), expires_at=calendar.start + 30 * DAY)
    hold = purse.place(c("10"), expires_in_seconds=1000 * HOUR)
    statement.row("10 granted, ending on day 30; held")
    for week in range(1, 6):
        calendar.day(7 * week)
        purse.release(hold)
        hold = purse.place(c("10"), expires_in_seconds=1000 * HOUR)
        statement.row("released in the grace and held again" if week == 5 else "released and held again")
    calendar.day(42)
    purse.release(hold)
    with pytest.raises(errors.InsufficientCredits):
        purse.place(c("0.000001"))
    ledger.expire_lots(purse.id)
    statement.row("released after the grace: nothing lent")
    for week in range(7, 61):
        calendar.day(7 * week)
        with pytest.raises(errors.InsufficientCredits):
            purse.place(c("0.000001"))
    statement.row("still nothing, whatever was tried")


def test_a_refund_of_a_capture_whose_lot_expired(purse: Purse, statement: Statement, calendar: Calendar) -> None:
    """What we took wrongly comes back to the lot it came from, for seven days from the refund.

    | when   | what                                      | balance | held | available | lot |
    | ------ | ----------------------------------------- | ------- | ---- | --------- | --- |
    | day 0  | 10 granted, ending on day 30              | 10      | 0    | 10        | 10  |
    | day 20 | hold 8                                    | 10      | 8    | 2         | 10  |
    | day 20 | capture 8                                 | 2       | 0    | 2         | 2   |
    | day 31 | the other 2 have expired                  | 0       | 0    | 0         | 0   |
    | day 40 | refund 5: back until day 47               | 5       | 0    | 5         | 5   |
    | day 46 | 2 spent                                   | 3       | 0    | 3         | 3   |
    | day 48 | the other 3 have expired                  | 0       | 0    | 0         | 0   |
    | day 48 | refund the other 3 of the capture         | 3       | 0    | 3         | 3   |
    """
    statement.lots["lot"] = purse.grant(c("10"), expires_at=calendar.start + 30 * DAY)
    statement.row("10 granted, ending on day 30")
    calendar.day(20)
    hold = purse.place(c("8"))
    statement.row("hold 8")
    capture = purse.capture(hold, c("8"))
    statement.row("capture 8")
    calendar.day(31)
    ledger.expire_lots(purse.id)
    statement.row("the other 2 have expired")
    calendar.day(40)
    purse.refund(capture.id, c("5"))
    statement.row("refund 5: back until day 47")
    calendar.day(46)
    purse.charge(c("2"))
    statement.row("2 spent")
    calendar.day(48)
    ledger.expire_lots(purse.id)
    statement.row("the other 3 have expired")
    with pytest.raises(errors.RefundExceedsSpent):
        purse.refund(capture.id, c("3.000001"))
    purse.refund(capture.id)
    statement.row("refund the other 3 of the capture")
    lot = purse.lot(statement.lots["lot"])
    assert (lot.remaining, lot.spent, lot.expired) == (c("3"), c("2"), c("5"))


def test_debt_beside_held_credits(purse: Purse, statement: Statement) -> None:
    """A card payment is charged back while a job runs: what is free is taken, the rest is owed until it comes back.

    | what                                           | balance | held | debt | available | first | second |
    | ---------------------------------------------- | ------- | ---- | ---- | --------- | ----- | ------ |
    | 10 bought                                      | 10      | 0    | 0    | 10        | 10    | 0      |
    | 4 spent                                        | 6       | 0    | 0    | 6         | 6     | 0      |
    | a job holds 5                                  | 6       | 5    | 0    | 1         | 6     | 0      |
    | the payment is taken back: 1 is free, 9 owed   | 5       | 5    | 9    | 0         | 5     | 0      |
    | another job is refused                         | 5       | 5    | 9    | 0         | 5     | 0      |
    | the job captures 2; the other 3 repay          | 0       | 0    | 6    | 0         | 0     | 0      |
    | 20 bought: 6 repay, 14 are free                | 14      | 0    | 0    | 14        | 0     | 14     |
    """
    statement.lots["first"] = purse.grant(c("10"), payment="pi_1")
    statement.row("10 bought")
    purse.charge(c("4"))
    statement.row("4 spent")
    hold = purse.place(c("5"))
    statement.row("a job holds 5")
    ledger.claw_back(purse.id, payment=purse.payment("pi_1"), id=uuid4(), amount=c("10"))
    statement.row("the payment is taken back: 1 is free, 9 owed")
    with pytest.raises(errors.AccountInDebt):
        purse.place(c("1"))
    statement.row("another job is refused")
    purse.capture(hold, c("2"))
    statement.row("the job captures 2; the other 3 repay")
    statement.lots["second"] = purse.grant(c("20"), payment="pi_2")
    statement.row("20 bought: 6 repay, 14 are free")
    assert purse.kinds[-4:] == ["capture", "repay", "grant", "repay"]


def test_an_envelope_with_three_children_one_failing(purse: Purse, statement: Statement) -> None:
    """A workflow holds the most that it can cost, once; each child draws its own price; what is left goes back.

    | what                                  | balance | held | available |
    | ------------------------------------- | ------- | ---- | --------- |
    | 20 granted                            | 20      | 0    | 20        |
    | an envelope of 12, a share of 4 each  | 20      | 12   | 8         |
    | the first child draws 3.5             | 16.5    | 8.5  | 8         |
    | the second fails: its share is closed | 16.5    | 8.5  | 8         |
    | the third draws 4                     | 12.5    | 4.5  | 8         |
    | the envelope is released: 4.5 back    | 12.5    | 0    | 12.5      |
    """
    purse.grant(c("20"))
    statement.row("20 granted")
    envelope = purse.place(c("12"), shares=tuple((child, c("4")) for child in ("first", "second", "third")))
    statement.row("an envelope of 12, a share of 4 each")
    ledger.draw(purse.id, hold=envelope, reference="first", amount=c("3.5"))
    statement.row("the first child draws 3.5")
    purse.post(steps.CloseShare(hold=envelope, reference="second"))
    statement.row("the second fails: its share is closed")
    ledger.draw(purse.id, hold=envelope, reference="third", amount=c("4"))
    statement.row("the third draws 4")
    purse.release(envelope)
    statement.row("the envelope is released: 4.5 back")
    assert purse.hold(envelope).captured == c("7.5")
    assert purse.spent() == (c("7.5"), 0)


def test_a_hold_placed_before_midnight_and_captured_after(purse: Purse, statement: Statement, clock: Clock) -> None:
    """The spend counts for the day of the hold: a limit of 10 a day is whole again after midnight, UTC.

    | when     | what                                   | balance | held | available | yesterday | today |
    | -------- | -------------------------------------- | ------- | ---- | --------- | --------- | ----- |
    | 23:30    | 30 granted                             | 30      | 0    | 30        | 0         | 0     |
    | 23:30    | hold 8                                 | 30      | 8    | 22        | 8         | 0     |
    | 23:30    | hold 3 more: refused, 10 a day         | 30      | 8    | 22        | 8         | 0     |
    | 00:30    | hold 10                                | 30      | 18   | 12        | 8         | 10    |
    | 00:30    | capture 5 of the first                 | 25      | 10   | 15        | 5         | 10    |
    | 00:30    | hold 1 more: refused, 10 a day         | 25      | 10   | 15        | 5         | 10    |
    | 00:30    | refund 2 of that capture               | 27      | 10   | 17        | 3         | 10    |
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT holdfast_now()")
        (now,) = cursor.fetchone()
    before_midnight = datetime.combine(now.date() + DAY, datetime.min.time(), UTC) + timedelta(hours=23, minutes=30)
    clock.advance(seconds=(before_midnight - now).total_seconds())
    SpendLimit.objects.create(account=Account.objects.get(id=purse.id), source="person", per_day=c("10"))

    def day(offset: int) -> int:
        rows = SpendDay.objects.filter(account=purse.id, day=before_midnight.date() + offset * DAY)
        return sum(row.spent for row in rows)

    statement.more = {"yesterday": lambda: day(0), "today": lambda: day(1)}

    def refused(amount: str) -> Any:
        with pytest.raises(errors.SpendLimitReached):
            purse.place(c(amount))

    purse.grant(c("30"))
    statement.row("30 granted")
    first = purse.place(c("8"))
    statement.row("hold 8")
    refused("3")
    statement.row("hold 3 more: refused, 10 a day")
    clock.advance(hours=1)
    purse.place(c("10"))
    statement.row("hold 10")
    capture = purse.capture(first, c("5"))
    statement.row("capture 5 of the first")
    refused("1")
    statement.row("hold 1 more: refused, 10 a day")
    purse.refund(capture.id, c("2"))
    statement.row("refund 2 of that capture")
