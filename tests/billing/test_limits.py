"""Spend limits as tables: which bind, how far, and what the refusal says. First the pure rules, then the ledger's."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from billing import credits, errors, ledger, limits
from billing.limits import Limit, Use
from billing.models import Account, SpendLimit
from tests.conftest import Clock

from .purse import HOUR, Purse

ADA, BOB = 1, 2
TODAY = date(2026, 12, 31)
YESTERDAY, LAST_MONTH = TODAY - timedelta(days=1), date(2026, 11, 30)


def limit(
    source: str, run: int | None = None, day: int | None = None, month: int | None = None, user: int | None = None
) -> Limit:
    return Limit(source, user, run, day, month)


# name: limits, days, user, amount, available that no plan binds → what may come from plan lots, or (source, span, used)
USED = {(ADA, TODAY): Use(5, 3), (BOB, TODAY): Use(2, 2), (None, YESTERDAY): Use(4, 0), (ADA, LAST_MONTH): Use(90, 90)}
TABLE: dict[str, tuple[list[Limit], Any, int | None, int, int, Any]] = {
    "no limit": ([], USED, ADA, 10**9, 0, None),
    "a run within": ([limit("person", run=10)], {}, None, 10, 0, None),
    "a run over": ([limit("person", run=10)], {}, None, 11, 0, ("person", "run", 0)),
    "a day within, members together": ([limit("person", day=10)], USED, ADA, 3, 0, None),
    "a day over, members together": ([limit("person", day=10)], USED, ADA, 4, 0, ("person", "day", 7)),
    "a month is the sum of its days": ([limit("person", month=12)], USED, ADA, 1, 0, None),
    "a month over": ([limit("person", month=12)], USED, ADA, 2, 0, ("person", "month", 11)),
    "run before day before month": (
        [limit("person", run=1, day=1, month=1)],
        USED,
        ADA,
        2,
        0,
        ("person", "run", 0),
    ),
    "day before month": ([limit("person", day=1, month=1)], USED, ADA, 2, 0, ("person", "day", 7)),
    "a member's own use": ([limit("member", day=10, user=ADA)], USED, ADA, 5, 0, None),
    "a member over": ([limit("member", day=10, user=ADA)], USED, ADA, 6, 0, ("member", "day", 5)),
    "another member's limit": ([limit("member", day=0, user=BOB)], USED, ADA, 6, 0, None),
    "a member's limit and nobody": ([limit("member", day=0, user=BOB)], USED, None, 6, 0, None),
    "a plan binds its own lots": ([limit("plan", day=10)], USED, ADA, 5, 0, 5),
    "a plan over": ([limit("plan", day=10)], USED, ADA, 6, 0, ("plan", "day", 5)),
    "a plan over, the rest from bought lots": ([limit("plan", day=10)], USED, ADA, 6, 1, 5),
    "a plan's month, from bought lots alone": ([limit("plan", month=5)], USED, ADA, 8, 8, 0),
    "a plan's run, the rest from bought lots": ([limit("plan", run=2)], {}, ADA, 8, 6, 2),
    "the tightest of a plan's": ([limit("plan", run=9, day=8, month=7)], USED, ADA, 2, 9, 2),
    "a plan lowered below its use leaves nothing": ([limit("plan", day=1)], USED, ADA, 8, 8, 0),
    "staff's in the plan's place": ([limit("plan", day=1), limit("staff", day=20)], USED, ADA, 13, 0, None),
    "staff's binds everything": ([limit("staff", day=20)], USED, ADA, 14, 99, ("staff", "day", 7)),
    "the others only tighten": (
        [limit("staff", day=20), limit("person", day=9)],
        USED,
        ADA,
        3,
        0,
        ("person", "day", 7),
    ),
    "nothing is not over a limit": ([limit("person", day=1)], USED, ADA, 0, 0, None),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    bound, days, user, amount, uncapped, expected = TABLE[name]
    if not isinstance(expected, tuple):
        assert limits.allowance(bound, days, TODAY, user, amount, uncapped) == expected
        return
    with pytest.raises(errors.SpendLimitReached) as caught:
        limits.allowance(bound, days, TODAY, user, amount, uncapped)
    facts = caught.value.facts
    assert (facts["source"], facts["span"], facts["used"]) == (expected[0], expected[1], credits.format(expected[2]))


@pytest.mark.parametrize(
    ("today", "day", "month"),
    [
        (date(2026, 12, 31), datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (date(2028, 2, 28), datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        (date(2026, 1, 31), datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
    ],
)
def test_days_and_months_reset_at_midnight_utc(today: date, day: datetime, month: datetime) -> None:
    assert limits.day_resets_at(today) == day
    assert limits.month_resets_at(today) == month


def test_the_refusal_names_limit_use_source_and_reset() -> None:
    with pytest.raises(errors.SpendLimitReached) as caught:
        limits.allowance([limit("person", day=10 * credits.MICRO)], USED, TODAY, ADA, 10 * credits.MICRO, 0)
    assert caught.value.facts == {
        "limit": "10",
        "used": "0.000007",
        "span": "day",
        "source": "person",
        "resets_at": datetime(2027, 1, 1, tzinfo=UTC),
    }
    assert "your own limit of 10.00 credits for a day" in caught.value.message


# The ledger's


def set_limit(purse: Purse, source: str, **most: Any) -> None:
    SpendLimit.objects.create(account=Account.objects.get(id=purse.id), source=source, **most)


@pytest.mark.django_db
def test_a_plans_cap_takes_the_rest_from_bought_lots(purse: Purse) -> None:
    plan, promotion, pack = (
        purse.grant(10, source="plan", priority=1),
        purse.grant(10, source="promotion", is_promotional=True, priority=2),
        purse.grant(10, source="pack", priority=3),
    )
    set_limit(purse, "plan", per_day=12)
    hold = purse.hold(purse.place(15))
    assert (hold.receipt_lots, hold.receipt_amounts) == ([plan, promotion, pack], [10, 2, 3])
    assert purse.spent() == (15, 12)
    with purse.refuses(errors.SpendLimitReached, source="plan", used="0.000012"):
        purse.charge(8)
    with purse.moves(balance=-7):
        purse.charge(7)
    assert purse.spent() == (22, 12)


@pytest.mark.django_db
def test_a_release_gives_the_limit_back_and_a_capture_only_its_rest(purse: Purse) -> None:
    purse.grant(30)
    set_limit(purse, "person", per_day=10)
    hold = purse.place(10)
    with purse.refuses(errors.SpendLimitReached):
        purse.place(1)
    purse.release(hold)
    hold = purse.place(10)
    purse.capture(hold, 4)
    purse.place(6)
    with purse.refuses(errors.SpendLimitReached, used="0.00001"):
        purse.charge(1)


@pytest.mark.django_db
def test_a_limit_is_new_each_day_and_a_hold_counts_for_the_day_it_was_placed(purse: Purse, clock: Clock) -> None:
    purse.grant(30)
    set_limit(purse, "person", per_day=10)
    hold = purse.place(10, expires_in_seconds=100 * HOUR)
    clock.advance(days=1)
    with purse.moves(held=10):
        purse.place(10)
    purse.capture(hold, 10)
    with purse.refuses(errors.SpendLimitReached):
        purse.place(1)


@pytest.mark.django_db
def test_limits_bind_within_a_batch(purse: Purse) -> None:
    from billing import steps

    purse.grant(30)
    set_limit(purse, "person", per_day=10)
    outcomes = ledger.post([ledger.Group(purse.id, [steps.Charge(amount=6)])] * 2)
    assert [type(outcome.refusal) for outcome in outcomes] == [type(None), errors.SpendLimitReached]


@pytest.mark.django_db
def test_a_members_limit_binds_the_member_alone(purse: Purse, new_purse: Callable[..., Purse]) -> None:
    ada, bob = (User.objects.create(username=name) for name in ("ada", "bob"))
    purse.grant(30)
    set_limit(purse, "member", user=ada, per_day=5)
    purse.charge(5, user=ada.id)
    with purse.refuses(errors.SpendLimitReached, source="member"):
        purse.charge(1, user=ada.id)
    purse.charge(6, user=bob.id)
    purse.charge(6)


@pytest.mark.django_db
def test_a_day_may_lose_bought_spend_and_gain_plan_spend_in_one_step(purse: Purse) -> None:
    """Found by the machine: +4 from the plan and −1 bought is no row by itself, and fits the row that stands."""
    from billing import steps

    purse.grant(1)
    hold = purse.place(1)
    purse.grant(10, source="plan")
    with purse.moves(balance=-4, held=-1):
        purse.post(steps.Charge(amount=4), steps.Release(hold=hold))
    assert purse.spent() == (4, 4)
