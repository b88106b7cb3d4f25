"""Months of a plan, and the part of one that is left. Pure; all moments are UTC.

A month is counted from an anchor: begun on the 31st it ends on the last day of February and on the 31st of March
again. A plan that is changed within a period is prorated by its days: the day that has begun counts as left, and is
paid for as well, so what is paid and what is given are the same part of the period, on its last second too.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import datetime, timedelta

from .credits import MICRO

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """From its start until just before its end."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def months_after(anchor: datetime, months: int) -> datetime:
    """The anchor's day and time so many months later, or that month's last day where it has no such day."""
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    day = min(anchor.day, calendar.monthrange(year, month + 1)[1])
    return anchor.replace(year=year, month=month + 1, day=day)


def month_of(anchor: datetime, at: datetime) -> Period:
    """The month counted from the anchor in which the moment lies; the first one for a moment before the anchor."""
    months = max(0, (at.year - anchor.year) * 12 + at.month - anchor.month)
    if months and months_after(anchor, months) > at:
        months -= 1
    return Period(months_after(anchor, months), months_after(anchor, months + 1))


def days_of(period: Period) -> int:
    """How many days it has, a part of one counted as one; at least one."""
    return max(1, -((period.start - period.end) // DAY))


def days_left(period: Period, at: datetime) -> int:
    """How many of its days are left, the one that has begun among them: all before its start, none from its end on."""
    return min(days_of(period), max(0, -((at - period.end) // DAY)))


def part_begins(period: Period, at: datetime) -> datetime:
    """When the days that are left began: whoever pays from then on pays for just those days."""
    return max(period.start, period.end - days_left(period, at) * DAY)


def prorated(old: int, new: int, left: int, days: int) -> int:
    """The microcredits that the change to a plan of `new` a period gives for the days left, down to a whole credit.

    Nothing where the new plan gives no more.
    """
    return max(0, (new - old) * left // days // MICRO * MICRO)


def difference(old: int, new: int, left: int, days: int) -> int:
    """What the change to a dearer plan costs for the days left, in the currency's smallest unit: the part of the new
    price less the part of the old one, each to the nearest, as Stripe's invoice has them. Stripe has the last word."""
    return max(0, (2 * new * left + days) // (2 * days) - (2 * old * left + days) // (2 * days))
