"""Plans in words: what the account is on, what each other plan would do, and what each button does, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings

from . import credits, money, plans
from .models import Enrollment, Plan, new_id
from .plans import State

COMING = "This month’s credits come as soon as the payment is confirmed, mostly within seconds."
# What the plan is, in a word beside its name, and how that looks.
STATES = {
    State.TRIAL: ("On trial", ""),
    State.ACTIVE: ("", ""),
    State.GRACE: ("Not paid", "bad"),
    State.PAUSED: ("Paused", "wait"),
}


def standing(row: Enrollment | None) -> dict[str, Any] | None:
    """The account's plan: its name, its state, what happens next, and how much of its month is used."""
    if row is None:
        return None
    word, kind = STATES[State(row.state)]
    price = money.short(row.plan.price_minor, row.plan.currency)
    granted, left = plans.this_month(row)
    is_coming = bool(row.plan.price_minor) and row.state == State.ACTIVE and not granted
    return {
        "title": row.plan.title,
        "price": f"{price} a month" if row.plan.price_minor else "costs nothing",
        "word": "Ends soon" if row.ends_with_period and not word else word,
        "kind": "wait" if row.ends_with_period and not word else kind,
        "lines": [COMING, *_lines(row)] if is_coming else _lines(row),
        "meter": _meter(row, granted, left) if granted else None,
    }


def _meter(row: Enrollment, granted: int, left: int) -> dict[str, str]:
    """How much of the month's credits is used."""
    used = granted - left
    share = used * 10_000 // granted
    until = f", until {plans.say_day(row.period_end)}" if row.period_end else ""
    return {
        "title": "This month’s plan credits",
        "used": credits.display(used),
        "limit": credits.display(granted),
        "percent": f"{share // 100}.{share % 100:02d}",
        "state": "full" if share >= 10_000 else "warn" if share >= 8_000 else "",
        "words": f"{credits.display(left)} are left{until}.",
    }


def _lines(row: Enrollment) -> list[str]:
    """What happens to the credits and the money, and when, in plain sentences."""
    plan, said = row.plan, []
    end = plans.say_day(row.period_end) if row.period_end else ""
    coming = plans.next_allocation(row)
    if row.state == State.GRACE and row.grace_until:
        said.append(
            f"The last payment did not go through. The plan stays until {plans.say_day(row.grace_until)}; its next "
            "credits come as soon as it is paid. After that day the account is on the Free plan."
        )
    elif row.state == State.PAUSED:
        said.append(
            "Nothing is charged and no credits come while it is paused. Credits you have stay until they expire."
        )
    elif row.ends_with_period:
        said.append(f"It ends on {end}. Nothing more is charged. Then the account is on the Free plan.")
    elif row.next_plan is not None:
        price = money.short(row.next_plan.price_minor, plan.currency)
        said.append(f"From {end} on it is {row.next_plan.title}, for {price} a month.")
    elif row.state == State.TRIAL:
        said.append(
            f"The trial ends on {end}; then {money.short(plan.price_minor, plan.currency)} is charged each month."
        )
    if coming is not None:
        at, amount = coming
        said.append(f"The next {plans.whole(amount)} credits come on {plans.say_day(at)}.")
    if plan.rollover_max is None:
        said.append("What is left of a month’s credits ends with the month.")
    else:
        said.append(f"Of what is left at a month’s end up to {plans.whole(plan.rollover_max)} credits are kept.")
    if plan.per_day is not None:
        said.append(
            f"Up to {plans.whole(plan.per_day)} plan and promotional credits may be spent a day; bought ones any day."
        )
    return said


def shelf(row: Enrollment | None, now: datetime) -> list[dict[str, Any]]:
    """The plans that are offered, each with what choosing it would do now; `row` is the account's, if any."""
    return [_offer(plan, row, now) for plan in plans.offered()]


def _offer(plan: Plan, row: Enrollment | None, now: datetime) -> dict[str, Any]:
    offer: dict[str, Any] = {
        "slug": plan.slug,
        "title": plan.title,
        "price": money.short(plan.price_minor, plan.currency) if plan.price_minor else "Free",
        "is_paid": bool(plan.price_minor),
        "credits": plans.whole(plan.monthly_credits),
        "features": plan.features,
        "is_mine": row is not None and row.plan_id == plan.id,
        "act": "",
        "button": "",
        "words": "",
        "key": str(new_id()),
    }
    if not plan.price_minor or offer["is_mine"]:
        return offer
    if row is None or not row.plan.price_minor:
        words = f"{offer['price']} is charged today and each month; {offer['credits']} credits come each time."
        if plan.trial_days:
            words = f"If you have not tried or paid for a plan before, the first {plan.trial_days} days cost nothing."
        return offer | {"act": "subscribe", "button": f"Subscribe to {plan.title}", "words": words}
    can_change = row.state == State.ACTIVE and row.next_plan is None and not row.ends_with_period
    if not can_change or row.period_start is None or row.period_end is None or plan.currency != row.plan.currency:
        return offer
    end = plans.say_day(row.period_end)
    if plan.price_minor < row.plan.price_minor:
        words = f"Everything stays as it is until {end}; nothing is taken away and nothing is paid back."
        return offer | {"act": "change", "button": f"Change on {end}", "words": words}
    gives, left, days = plans.upgrade_gives(row, plan, now)
    if not left:
        return offer
    words = (
        f"You pay the difference for {left} of {days} days now, and {plans.whole(gives)} credits come at once, to be "
        f"spent until {end}."
    )
    return offer | {"act": "change", "button": f"Change to {plan.title} now", "words": words}


def acts(row: Enrollment | None) -> list[dict[str, str]]:
    """What else can be done about a plan that is paid for."""
    if row is None or not row.plan.price_minor or not settings.STRIPE_IS_SET_UP:
        return []
    end = plans.say_day(row.period_end) if row.period_end else ""
    ends_now = {
        "act": "cancel",
        "button": f"End {row.plan.title} now",
        "words": "Nothing more is charged. Credits you have stay until they expire.",
    }
    if row.state == State.PAUSED:
        price = money.short(row.plan.price_minor, row.plan.currency)
        go_on = {
            "act": "go-on",
            "button": f"Go on with {row.plan.title}",
            "words": f"{price} is charged now; {plans.whole(row.plan.monthly_credits)} credits come once it is paid.",
        }
        return [go_on, ends_now]
    if row.state == State.GRACE:
        return [ends_now]
    keep = {"act": "keep", "button": f"Keep {row.plan.title}", "words": "It goes on as it is; the change is undone."}
    cancel = {
        "act": "cancel",
        "button": f"End {row.plan.title} on {end}",
        "words": f"Everything stays as it is until {end}. Then the account is on the Free plan.",
    }
    if row.ends_with_period:
        return [keep]
    return [keep, cancel] if row.next_plan is not None else [cancel]
