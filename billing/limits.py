"""Spend limits: pure rules over rows handed in. Amounts are microcredits, days and months are UTC.

A plan's limit binds only what comes from plan and promotional lots; staff's replaces the plan's and binds everything,
as the account's own (person) and a member's do, which only tighten. How much may be under way at once a plan or staff
say, whatever pays for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from . import credits
from .errors import SpendLimitReached, TooManyJobsAtOnce, TooManyOpenHolds


@dataclass(frozen=True, slots=True)
class Limit:
    source: str
    user: int | None
    per_run: int | None
    per_day: int | None
    per_month: int | None
    open_holds_max: int | None = None
    jobs_at_once_max: int | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """What is committed already: all of it, and the part from plan and promotional lots."""

    spent: int = 0
    spent_capped: int = 0


Days = Mapping[tuple[int | None, date], Use]
"""Committed spend by member and day, the current month at least."""


def in_force(limits: Iterable[Limit], user: int | None) -> list[Limit]:
    """The limits that bind `user`: staff's in the plan's place, and of the members' only the user's own."""
    limits = [limit for limit in limits if limit.source != "member" or (user is not None and limit.user == user)]
    if any(limit.source == "staff" for limit in limits):
        limits = [limit for limit in limits if limit.source != "plan"]
    return limits


def use(days: Days, today: date, *, user: int | None = None, month: bool = False) -> Use:
    """The sum of the account's days (today's or the month's), or of one member's where `user` is given."""
    spent = capped = 0
    for (member, day), row in days.items():
        if user is not None and member != user:
            continue
        if day == today or (month and (day.year, day.month) == (today.year, today.month)):
            spent += row.spent
            capped += row.spent_capped
    return Use(spent, capped)


def refuse_too_many(limits: Iterable[Limit], holds: int, holds_max: int, jobs: int, more_jobs: int) -> None:
    """Raises TooManyOpenHolds where `holds` are open and no more may be; TooManyJobsAtOnce where `more_jobs` beside the
    `jobs` under way are too many.

    Of the limits the tightest binds; `holds_max` is the installation's own.
    """
    bound = in_force(limits, None)
    holds_bound = [(limit.open_holds_max, limit.source) for limit in bound if limit.open_holds_max is not None]
    holds_max, source = min([(holds_max, ""), *holds_bound])
    if holds >= holds_max:
        raise TooManyOpenHolds(open_holds=holds, open_holds_max=holds_max, **({"source": source} if source else {}))
    jobs_bound = [(limit.jobs_at_once_max, limit.source) for limit in bound if limit.jobs_at_once_max is not None]
    if not jobs_bound or not more_jobs:
        return
    jobs_max, source = min(jobs_bound)
    if jobs + more_jobs > jobs_max:
        raise TooManyJobsAtOnce(
            f"{'Your plan' if source == 'plan' else 'This account'} runs up to {jobs_max} "
            f"{'job' if jobs_max == 1 else 'jobs'} at once, and {jobs} {'is' if jobs == 1 else 'are'} under way. "
            "Nothing was started and nothing was charged.",
            jobs_at_once=jobs,
            jobs_at_once_max=jobs_max,
            source=source,
        )


def day_resets_at(today: date) -> datetime:
    return datetime.combine(today + timedelta(days=1), time(), UTC)


def month_resets_at(today: date) -> datetime:
    first = today.replace(day=1)
    return datetime.combine((first + timedelta(days=32)).replace(day=1), time(), UTC)


def allowance(
    limits: Iterable[Limit], days: Days, today: date, user: int | None, amount: int, uncapped_available: int
) -> int | None:
    """How much of `amount` may come from plan and promotional lots; None where no plan limit binds.

    Raises SpendLimitReached, naming the limit, its use, its source and when it resets: per run first, then day, month.
    """
    bound = in_force(limits, user)
    allowed: int | None = None
    for span in ("run", "day", "month"):
        for limit in bound:
            most = {"run": limit.per_run, "day": limit.per_day, "month": limit.per_month}[span]
            if most is None:
                continue
            is_plan = limit.source == "plan"
            used = 0
            if span != "run":
                member = limit.user if limit.source == "member" else None
                row = use(days, today, user=member, month=span == "month")
                used = row.spent_capped if is_plan else row.spent
            wanted = max(0, amount - uncapped_available) if is_plan else amount
            # A limit lowered below what is used already leaves nothing, not less than nothing.
            left = max(0, most - used)
            if wanted > left:
                raise _refusal(limit.source, span, most, used, today)
            if is_plan:
                allowed = left if allowed is None else min(allowed, left)
    return allowed


_SPAN = {"run": "for one run", "day": "for a day", "month": "for a month"}


def _refusal(source: str, span: str, most: int, used: int, today: date) -> SpendLimitReached:
    resets = {"run": None, "day": day_resets_at(today), "month": month_resets_at(today)}[span]
    whose = {"plan": "your plan’s", "staff": "the account’s", "person": "your own", "member": "your member"}[source]
    return SpendLimitReached(
        f"This goes over {whose} limit of {credits.display(most)} credits {_SPAN[span]}. "
        "Nothing was started and nothing was charged.",
        limit=credits.format(most),
        used=credits.format(used),
        span=span,
        source=source,
        resets_at=resets,
    )
