"""A refusal as a page tells it: what is missing or in the way, and what can be done now."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from . import credits, errors, packs, plans, statement

TITLES = {"insufficient_credits": "Not enough credits", "free_credits_not_accepted": "Free credits cannot pay for this"}
NOTHING = "Nothing was started and nothing was charged."
NO_CREDITS = "Credits can be added by the people who run this desk."


def in_words(refusal: errors.BillingError, account: UUID, *, noun: str, url: str) -> dict[str, Any]:
    """What templates/_refusal.html shows. `noun`: what was wanted; `url`: where its form is."""
    facts = refusal.facts
    on_offer = packs.offered() if refusal.status == 402 else []
    enough = packs.enough_for(credits.parse(facts.get("shortfall") or facts.get("debt") or "0"), on_offer)
    shown: dict[str, Any] = {
        "pack": packs.in_words(enough) if enough is not None else None,
        "code": refusal.code,
        "title": TITLES.get(refusal.code, "It was not started"),
        "sentence": NOTHING if refusal.code in TITLES else refusal.message,
        "reason": refusal.reason,
        "action": NO_CREDITS if refusal.status == 402 and not on_offer else refusal.action,
        "noun": noun,
        "url": url,
        "resets_at": facts.get("resets_at"),
        "is_run_limit": facts.get("span") == "run",
    }
    for name in ("required", "available", "shortfall", "limit", "used", "free"):
        if name in facts:
            shown[name] = credits.display(credits.parse(facts[name]))
    if facts.get("source") == "plan":
        shown |= plans.way_up(account)
    if isinstance(refusal, errors.InsufficientCredits):
        values, _, _ = statement.values_now(account)
        shown["held"] = credits.display(values.held) if values.held else ""
    return shown
