"""Months with an anchor day, and the part of one that is left."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.credits import MICRO
from billing.periods import DAY, Period, days_left, days_of, month_of, months_after, part_begins, prorated


def on(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("anchor", "months", "falls_on"),
    [
        ("2026-11-21 10:00", 0, "2026-11-21 10:00"),
        ("2026-11-21 10:00", 1, "2026-12-21 10:00"),
        ("2026-12-31 23:59:59", 1, "2027-01-31 23:59:59"),
        ("2027-01-31 08:00", 1, "2027-02-28 08:00"),
        ("2027-01-31 08:00", 2, "2027-03-31 08:00"),
        ("2027-01-31 08:00", 3, "2027-04-30 08:00"),
        ("2028-01-31 08:00", 1, "2028-02-29 08:00"),
        ("2028-01-29 08:00", 1, "2028-02-29 08:00"),
        ("2028-02-29 08:00", 1, "2028-03-29 08:00"),
        ("2028-02-29 08:00", 12, "2029-02-28 08:00"),
        ("2028-02-29 08:00", 48, "2032-02-29 08:00"),
    ],
)
def test_a_month_later_is_the_same_day_or_the_months_last(anchor: str, months: int, falls_on: str) -> None:
    assert months_after(on(anchor), months) == on(falls_on)


@pytest.mark.parametrize(
    ("anchor", "at", "start", "end"),
    [
        ("2027-01-31 08:00", "2027-01-31 08:00", "2027-01-31 08:00", "2027-02-28 08:00"),
        ("2027-01-31 08:00", "2027-02-28 07:59:59", "2027-01-31 08:00", "2027-02-28 08:00"),
        ("2027-01-31 08:00", "2027-02-28 08:00", "2027-02-28 08:00", "2027-03-31 08:00"),
        ("2027-01-31 08:00", "2027-03-30 12:00", "2027-02-28 08:00", "2027-03-31 08:00"),
        ("2028-01-31 08:00", "2028-02-29 08:00", "2028-02-29 08:00", "2028-03-31 08:00"),
        ("2026-11-21 10:00", "2027-11-21 09:59:59", "2027-10-21 10:00", "2027-11-21 10:00"),
        ("2026-11-21 10:00", "2026-11-20 10:00", "2026-11-21 10:00", "2026-12-21 10:00"),
    ],
)
def test_each_moment_lies_in_one_month(anchor: str, at: str, start: str, end: str) -> None:
    assert month_of(on(anchor), on(at)) == Period(on(start), on(end))


THIRTY = Period(on("2026-11-21 10:00"), on("2026-12-21 10:00"))
LEAP = Period(on("2028-01-31 00:00"), on("2028-02-29 00:00"))
SUPPORTER, PRO = 3000 * MICRO, 12_000 * MICRO


@pytest.mark.parametrize(
    ("period", "at", "days", "left", "begins", "credits"),
    [
        (THIRTY, "2026-11-21 10:00", 30, 30, "2026-11-21 10:00", 9000),
        (THIRTY, "2026-11-21 10:00:01", 30, 30, "2026-11-21 10:00", 9000),
        (THIRTY, "2026-11-22 10:00", 30, 29, "2026-11-22 10:00", 8700),
        (THIRTY, "2026-12-06 10:00", 30, 15, "2026-12-06 10:00", 4500),
        (THIRTY, "2026-12-21 09:59:59", 30, 1, "2026-12-20 10:00", 300),
        (THIRTY, "2026-12-21 10:00", 30, 0, "2026-12-21 10:00", 0),
        (THIRTY, "2027-01-01 10:00", 30, 0, "2026-12-21 10:00", 0),
        (LEAP, "2028-02-18 00:00", 29, 11, "2028-02-18 00:00", 3413),  # 9,000 × 11 ÷ 29 = 3,413.79…
        (LEAP, "2028-02-28 23:59:59", 29, 1, "2028-02-28 00:00", 310),
    ],
)
def test_an_upgrade_gives_the_days_that_are_left(
    period: Period, at: str, days: int, left: int, begins: str, credits: int
) -> None:
    assert (days_of(period), days_left(period, on(at))) == (days, left)
    assert part_begins(period, on(at)) == on(begins)
    assert prorated(SUPPORTER, PRO, left, days) == credits * MICRO


def test_a_smaller_plan_takes_nothing_away() -> None:
    assert prorated(PRO, SUPPORTER, 15, 30) == 0


moments = st.timedeltas(timedelta(0), timedelta(days=36_500)).map(lambda span: on("2000-01-01") + span)


@given(anchor=moments, later=st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_months_follow_each_other_without_a_gap(anchor: datetime, later: timedelta) -> None:
    at = anchor + later
    month = month_of(anchor, at)
    assert at in month
    assert 28 <= days_of(month) <= 31
    assert month_of(anchor, month.end).start == month.end
    assert month.end.day == anchor.day or (month.end + DAY).day == 1
    if month.start > anchor:
        assert month_of(anchor, month.start - timedelta(microseconds=1)).end == month.start
    # Each begins in a calendar month of its own: a name by year and month tells them apart.
    assert (month.start.year, month.start.month) != (month.end.year, month.end.month)


@given(anchor=moments, part=st.floats(0, 1), old=st.integers(0, 10**5), more=st.integers(0, 10**5))
def test_what_is_left_never_exceeds_the_whole(anchor: datetime, part: float, old: int, more: int) -> None:
    month = month_of(anchor, anchor)
    at = month.start + (month.end - month.start) * part
    left, days = days_left(month, at), days_of(month)
    given_now = prorated(old * MICRO, (old + more) * MICRO, left, days)
    assert 0 <= given_now <= more * MICRO
    assert given_now % MICRO == 0
    assert part_begins(month, at) <= at
    assert (month.end - part_begins(month, at)) == left * DAY
