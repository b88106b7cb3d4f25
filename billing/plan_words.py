"""Plans in words: what the account is on, what each other plan would do, and what each button does, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from . import credits, errors, money, periods, plans, subscriptions
from .models import Enrollment, Plan, PlanChange, new_id
from .plans import State

Act = PlanChange.Act

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
        "is_coming": is_coming,
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
            "credits come as soon as it is paid, and until then it cannot be changed. After that day the account is on "
            "the Free plan."
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
    if plan.jobs_at_once_max is not None:
        said.append(f"Jobs under way at once: up to {plan.jobs_at_once_max}.")
    return said


# What choosing a plan would do


@dataclass(frozen=True, slots=True)
class Preview:
    """What choosing a plan would do now: the same for the page's button and for programs."""

    plan: Plan
    act: str  # subscribe, upgrade, downgrade, switch_trial
    words: str
    begins_at: datetime
    # Microcredits that come as soon as the payment is confirmed; and what is paid: about, Stripe has the last word.
    credits_now: int = 0
    amount_minor: int = 0
    days_left: int | None = None
    days: int | None = None


def preview(row: Enrollment | None, plan: Plan, now: datetime, *, may_try: bool) -> Preview:
    """What choosing the plan would do to the account now; raises what choosing it would be refused for.

    `row` is the account's plan, if any; `may_try` says whether it may still try one.
    """
    if not plan.is_offered or not plan.price_minor:
        raise subscriptions.PlanNotOffered(fields={"plan": ["This plan is not offered."]})
    price, gives = money.short(plan.price_minor, plan.currency), plans.whole(plan.monthly_credits)
    if row is None or not row.plan.price_minor:
        if plan.trial_days and may_try:
            words = f"The first {plan.trial_days} days cost nothing; then {price} is charged each month."
            if plan.trial_credits:
                words = f"{plans.whole(plan.trial_credits)} credits to try it come at once. {words}"
            return Preview(plan, "subscribe", words, now, credits_now=plan.trial_credits)
        words = f"{price} is charged today and each month; {gives} credits come each time."
        return Preview(plan, "subscribe", words, now, plan.monthly_credits, plan.price_minor)
    if plan.currency != row.plan.currency:
        raise subscriptions.PlanNotOffered(fields={"plan": ["This plan is not offered."]})
    subscriptions.refuse_change(row, plan)
    assert row.period_end is not None, "refuse_change has seen it"
    end = plans.say_day(row.period_end)
    if row.state == State.TRIAL:
        words = (
            f"Your trial goes on as one of {plan.title}, until {end} as before. Nothing is charged now; then {price} a "
            "month."
        )
        return Preview(plan, Act.SWITCH_TRIAL, words, now)
    if plan.price_minor < row.plan.price_minor:
        words = f"Everything stays as it is until {end}; nothing is taken away and nothing is paid back."
        return Preview(plan, Act.DOWNGRADE, words, row.period_end)
    gives_now, left, days = plans.upgrade_gives(row, plan, now)
    if not left:
        raise subscriptions.PlanChangeInProgress
    costs = periods.difference(row.plan.price_minor, plan.price_minor, left, days)
    words = (
        f"You pay about {money.short(costs, plan.currency)} now, the difference for {left} of {days} days, and "
        f"{plans.whole(gives_now)} credits come at once, to be spent until {end}."
    )
    return Preview(plan, Act.UPGRADE, words, now, gives_now, costs, left, days)


def shelf(row: Enrollment | None, now: datetime, *, may_act: bool, may_try: bool) -> list[dict[str, Any]]:
    """The plans that are offered, each with what choosing it would do now; `row` is the account's, if any.

    Without `may_act` nothing can be chosen: whoever looks is not signed in, or no owner, or has to wait.
    """
    return [_offer(plan, row, now, may_act, may_try) for plan in plans.offered()]


def _offer(plan: Plan, row: Enrollment | None, now: datetime, may_act: bool, may_try: bool) -> dict[str, Any]:
    offer: dict[str, Any] = {
        "slug": plan.slug,
        "title": plan.title,
        "price": money.short(plan.price_minor, plan.currency) if plan.price_minor else "Free",
        "is_paid": bool(plan.price_minor),
        "credits": plans.whole(plan.monthly_credits),
        "features": plans.features(plan),
        "is_mine": row is not None and row.plan_id == plan.id,
        "act": "",
        "button": "",
        "words": "",
        "key": str(new_id()),
    }
    if not plan.price_minor or offer["is_mine"] or not may_act:
        return offer
    try:
        seen = preview(row, plan, now, may_try=may_try)
    except errors.BillingError:
        return offer  # the plan's own lines say what stands in the way
    return offer | {
        "act": "subscribe" if seen.act == "subscribe" else "change",
        "button": _button(seen),
        "words": seen.words,
    }


def _button(seen: Preview) -> str:
    match seen.act:
        case "subscribe":
            return f"Subscribe to {seen.plan.title}"
        case Act.DOWNGRADE:
            return f"Change on {plans.say_day(seen.begins_at)}"
        case Act.SWITCH_TRIAL:
            return f"Try {seen.plan.title} instead"
    return f"Change to {seen.plan.title} now"


def acts(row: Enrollment | None) -> list[dict[str, str]]:
    """What else can be done about a plan that is paid for, each with a key of its own."""
    return [one | {"key": str(new_id())} for one in _acts(row)]


def _acts(row: Enrollment | None) -> list[dict[str, str]]:
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
            "act": "resume",
            "button": f"Go on with {row.plan.title}",
            "words": f"{price} is charged now; {plans.whole(row.plan.monthly_credits)} credits come once it is paid.",
        }
        return [go_on, ends_now]
    if row.state == State.GRACE:
        price = money.short((row.next_plan or row.plan).price_minor, row.plan.currency)
        pay = {
            "act": "settle",
            "button": f"Pay {price} now",
            "words": "With the card that Stripe has. If it was declined for good, change the card first.",
        }
        return [pay, ends_now]
    keep = {"act": "keep", "button": f"Keep {row.plan.title}", "words": "It goes on as it is; the change is undone."}
    cancel = {
        "act": "cancel",
        "button": f"End {row.plan.title} on {end}",
        "words": f"Everything stays as it is until {end}. Then the account is on the Free plan.",
    }
    if row.ends_with_period:
        return [keep]
    return [keep, cancel] if row.next_plan is not None else [cancel]


def names_of_acts(row: Enrollment | None) -> list[str]:
    """What can be done about the plan now, as programs name it."""
    if not settings.STRIPE_IS_SET_UP:
        return []
    if row is None or not row.plan.price_minor:
        return ["subscribe"]
    can_change = row.state in (State.TRIAL, State.ACTIVE) and row.next_plan is None and not row.ends_with_period
    return [*(["change"] if can_change else []), *(one["act"] for one in _acts(row))]
