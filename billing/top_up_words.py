"""Auto top-up in words: what is set, what it does now, why it waits or is off, and what can be done."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings

from . import alerts, credits, limits, money, purchases, top_ups
from .clock import now
from .models import AutoTopUp, Customer, Notice, Purchase
from .top_ups import Off, Wait

OFF = {
    Off.PERSON: "It is off: nothing is bought by itself.",
    Off.STAFF: "The people who run this desk switched it off. You can turn it on again.",
    Off.DECLINED: "It is off: three payments in a row did not go through. Buy a pack and keep the card that paid, then "
    "turn it on again.",
    Off.PACK: "It is off: its pack is not sold any more as you agreed to it. Look at the pack and turn it on again.",
    Off.RETURNED: "It is off: a payment of this account was given back or is disputed. You can turn it on again once "
    "that is settled.",
    Off.GONE: "It is off: who set it up is no owner of this account any more. An owner can turn it on again.",
}

# What is known once it has been set.
SET = (
    "below", "pack", "price", "monthly_max_minor", "monthly_max", "used_minor", "used", "currency", "resets_at",
    "waits_until", "purchase", "confirm_url",
)  # fmt: skip


def standing(account: UUID) -> dict[str, Any] | None:
    """How auto top-up stands, for the page and the API; None where nothing can be bought. Five queries at most.

    `state`: never_set, off, on, buying, confirm (with the bank), no_card, resting (after a decline), month_used,
    paused (after a burst), debt or frozen.
    """
    if not settings.STRIPE_IS_SET_UP:
        return None
    moment = now()
    row = AutoTopUp.objects.select_related("pack", "account").filter(account=account).first()
    has_card = Customer.objects.filter(account=account, payment_method__gt="").exists()
    if row is None:
        return dict.fromkeys(SET) | {
            "state": "never_set",
            "words": "Nothing is bought by itself.",
            "is_on": False,
            "has_card": has_card,
        }
    under_way = top_ups.waiting_of(account)
    used = top_ups.used_in_month(account, moment)
    state, words = _state(row, has_card, under_way, moment)
    return {
        "state": state,
        "words": words,
        "is_on": row.is_on,
        "has_card": has_card,
        "below": row.below,
        "pack": row.pack.slug,
        "price": money.words(row.price_minor, row.currency),
        "monthly_max_minor": row.month_max_minor,
        "monthly_max": money.words(row.month_max_minor, row.currency),
        "used_minor": used,
        "used": money.words(used, row.currency),
        "currency": row.currency,
        "resets_at": limits.month_resets_at(moment.date()),
        "waits_until": row.waits_until if row.waits_until and row.waits_until > moment else None,
        "purchase": under_way.id if under_way is not None else None,
        "confirm_url": (purchases.way_to_pay(under_way) or None) if under_way is not None else None,
    }


def _state(row: AutoTopUp, has_card: bool, under_way: Purchase | None, moment: Any) -> tuple[str, str]:
    if under_way is not None and purchases.way_to_pay(under_way):
        return "confirm", "A top-up waits for you: your bank asks you to confirm it."
    if under_way is not None:
        return "buying", "A top-up is under way. Its credits come once it is paid."
    if not row.is_on:
        return "off", OFF[Off(row.off_because)]
    if not has_card:
        return "no_card", "It is on, and no card is kept yet. Buy a pack once and keep the card: then it begins."
    if row.account.is_frozen:
        return "frozen", "It is on, and buys nothing while this account is frozen."
    if row.account.debt:
        return "debt", "It is on, and buys nothing while credits are owed: buy a pack yourself to settle that."
    if row.waits_until is not None and row.waits_until > moment:
        until = alerts.moment_words(row.waits_until)
        match row.waits_because:
            case Wait.DECLINED:
                return "resting", f"The last payment did not go through. It tries again after {until} at the earliest."
            case Wait.MONTH:
                return "month_used", f"The month’s maximum is used up. It goes on after {until}, or when you raise it."
        return "paused", f"It bought often in a short time, and waits until {until}. Keep the settings to go on now."
    pack = f"{credits.short(row.credits)} credits for {money.words(row.price_minor, row.currency)}"
    return "on", f"When fewer than {credits.short(row.below)} credits are available it buys {pack}."


def line(account: UUID) -> dict[str, str] | None:
    """A sentence for the page of credits, where a top-up is under way, waits for its person, or was declined.

    A decline is not said here as long as its notice stands above. Three queries at most.
    """
    if not settings.STRIPE_IS_SET_UP:
        return None
    newest = Purchase.objects.filter(account=account, is_top_up=True).select_related("pack").order_by("-id").first()
    if newest is None:
        return None
    url, price = purchases.page_of(newest.id), money.words(newest.amount_minor, newest.currency)
    if newest.state in top_ups.WAITING:
        if purchases.way_to_pay(newest):
            said = f"A top-up of {price} waits: your bank asks you to confirm it."
            return {"words": said, "kind": "wait", "url": url, "act": "Confirm it"}
        bought = f"{credits.short(newest.credits)} credits for {price}"
        return {"words": f"A top-up is under way: {bought}.", "kind": "", "url": url, "act": "See it"}
    row = AutoTopUp.objects.filter(account=account).first()
    if newest.declined_at is None or row is None or row.agreed_at > newest.declined_at:
        return None
    if row.off_because == Off.DECLINED:
        said = f"Auto top-up is off: {top_ups.DECLINES_MAX} payments in a row did not go through."
        return {"words": said, "kind": "bad", "url": f"{top_ups.PAGE}#auto-top-up", "act": "What to do"}
    is_told = Notice.objects.filter(account=account, key=f"top-up:declined:{newest.id}", seen_at=None).exists()
    if row.is_on and not is_told:
        said = f"The last top-up of {price} did not go through. Nothing was paid."
        return {"words": said, "kind": "wait", "url": url, "act": "Why"}
    return None
