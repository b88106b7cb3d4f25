"""Telling people: alerts for staff, notices for an account. Both are rows first; mail goes out from the worker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib.admin.utils import quote
from django.db.models import Count
from django.urls import NoReverseMatch, reverse

from . import clock, credits
from .errors import BillingError
from .models import Alert, Allocation, Notice, Purchase


class AlertClearsItself(BillingError):
    code = "alert_clears_itself"
    sentence = "This alert clears by itself when it is over."
    reason = "It says what is so now. Closed by hand it would open again within a minute."
    action = "Put right what it is about."


@dataclass(frozen=True, slots=True)
class Kind:
    """What all alerts of one name have in common: their words, and how they end."""

    name: str
    title: str
    # What staff do about it, in a sentence or two.
    advice: str = "Open it in the admin and see what it is about."
    # Told of something that happened: staff close it. Else of something that is so: it clears when it is so no more.
    is_closed_by_staff: bool = True
    # The name of the admin page about its key, and what that page shows. OF_SALE: a purchase's or a plan period's.
    page_of_key: str = ""
    about: str = ""


OF_SALE = "of_sale"

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "hold_late",
            "A hold is past its end",
            "Whatever should have ended this hold did not. See that a worker runs (/readyz), then open the hold.",
            is_closed_by_staff=False,
            page_of_key="admin:billing_hold_change",
            about="The hold",
        ),
        Kind(
            "group_quarantined",
            "A movement of credits was set aside",
            "The database refused to write it, so nothing of it happened. Run `manage.py reconcile`, look for the "
            "error in the log, and close the alert when its cause is gone.",
            page_of_key="admin:billing_account_change",
            about="The account",
        ),
        Kind(
            "payment_mismatch",
            "A payment does not match what was sold",
            "Nothing was granted or taken for it. Compare Stripe's payment with the purchase; give the money back at "
            "Stripe or grant by hand, or replay the event once it is right.",
            page_of_key=OF_SALE,
            about="What was sold",
        ),
        Kind(
            "stripe_event_failed",
            "An event of Stripe cannot be applied",
            "It is tried again once an hour. Read its error, put right what it is about, and replay it.",
            is_closed_by_staff=False,
            page_of_key="admin:billing_inboxevent_change",
            about="The event",
        ),
        Kind(
            "stripe_differs",
            "Stripe's books and ours differ",
            "Run `manage.py reconcile_stripe` and look at the payment there and here. It clears when they agree.",
            is_closed_by_staff=False,
            page_of_key=OF_SALE,
            about="What was sold",
        ),
        Kind(
            "stripe_version_differs",
            "Stripe's events are of another API version",
            "They are still applied as far as they can be read. Set the endpoint's version at Stripe to the one that "
            "this installation is made for, or bring the installation up to date.",
        ),
        Kind(
            "second_plan",
            "An account paid for two plans",
            "Its first plan stays in force. The second is ended at Stripe, and its money given back, by itself: see "
            "that both have happened, under the account’s refunds.",
        ),
        Kind(
            "dispute_open",
            "A payment is disputed",
            "Its credits are frozen. Send Stripe the evidence before it is due, or accept the dispute there.",
            is_closed_by_staff=False,
            page_of_key="admin:billing_dispute_change",
            about="The dispute",
        ),
        Kind(
            "top_up_burst",
            "An account tops itself up often",
            "It has paused by itself, and its owner was told. See what spends its credits; freeze the account, or "
            "switch its auto top-up off, if that is not its owner.",
            page_of_key="admin:billing_account_change",
            about="The account",
        ),
        Kind(
            "sign_ups_bounded",
            "Many sign-ups from one network",
            "More of them are refused until tomorrow; accounts that are there go on. If it is a school or an office "
            "that you know, make accounts for them (`create_person`) or raise SIGN_UPS_OF_NETWORK_MAX. Then close it.",
        ),
        Kind(
            "free_plans_wait",
            "Many new accounts from one network",
            "Each of them gets its first free credits on the first day on which there is room for it, by itself. Look "
            "at the newest accounts: freeze those that are one person’s. Then close this.",
        ),
        Kind(
            "refund_failed",
            "A refund failed",
            "The credits are back with the account, and the money is still with us. Ask the person how they want it.",
            page_of_key="admin:billing_refunding_change",
            about="The refund",
        ),
    )
}
"""Kinds by name; rooms above add their own. A name that is not here is an alert all the same."""


def kind_of(name: str) -> Kind:
    """The kind of that name, or a plain one made of the name's words."""
    return KINDS.get(name) or Kind(name, name.replace("_", " "))


@dataclass(frozen=True, slots=True)
class Crossing:
    """Something that staff must be told, once. `key` tells it from others of its name."""

    sentence: str
    key: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def open_alert(name: str, *, key: str = "", sentence: str, facts: dict[str, Any] | None = None) -> None:
    """The alert is open; one that is open already stays as it is, so that a crossing is told once."""
    open_all(name, [Crossing(sentence, key, facts or {})])


def open_all(name: str, crossings: Iterable[Crossing]) -> None:
    """Each has an open alert; those that have one already stay as they are. Two queries, or none for nothing."""
    found = list(crossings)
    if not found:
        return
    now = clock.now()
    Alert.objects.bulk_create(
        [Alert(name=name, key=one.key, sentence=one.sentence[:500], facts=one.facts, opened_at=now) for one in found],
        ignore_conflicts=True,
    )


def open_keys(name: str) -> list[str]:
    """The keys for which the alert is open."""
    return list(Alert.objects.filter(name=name, cleared_at=None).values_list("key", flat=True))


def count_open() -> dict[str, int]:
    """How many alerts are open, by name. One query."""
    rows = Alert.objects.filter(cleared_at=None).values_list("name").annotate(Count("id"))
    return dict(rows.order_by("name"))


def clear_alert(name: str, *, key: str = "") -> None:
    """The alert is cleared, and may open again."""
    clear_all(name, [key])


def clear_all(name: str, keys: Iterable[str]) -> None:
    """The alerts of these keys are cleared, and may open again. One query."""
    Alert.objects.filter(name=name, key__in=list(keys), cleared_at=None).update(cleared_at=clock.Now())


def close(alert: UUID) -> bool:
    """The alert is cleared by staff. False where it was before; AlertClearsItself where it says what is so now."""
    row = Alert.objects.get(id=alert)
    if not kind_of(row.name).is_closed_by_staff:
        raise AlertClearsItself
    return bool(Alert.objects.filter(id=alert, cleared_at=None).update(cleared_at=clock.Now()))


def notify(account: UUID, key: str, title: str, *, body: str = "", link: str = "", level: str = "info") -> None:
    """The account's people will read it in the page and by mail; the same `key` is told once."""
    notify_all([notice(account, key, title, body=body, link=link, level=level)])


def notice(account: UUID, key: str, title: str, *, body: str = "", link: str = "", level: str = "info") -> Notice:
    """What `notify_all` will tell."""
    return Notice(account_id=account, key=key[:200], title=title[:200], body=body, link=link[:300], level=level)


def notify_all(notices: list[Notice]) -> None:
    """Each is told as `notify` tells one. One query, or none for nothing."""
    if notices:
        Notice.objects.bulk_create(notices, ignore_conflicts=True)


# In words


def page_of(alert: Alert) -> str:
    """The path of the admin page about the alert's key; empty where there is none."""
    kind = kind_of(alert.name)
    if not kind.page_of_key or not alert.key:
        return ""
    try:
        page = _page_of_sale(alert.key) if kind.page_of_key == OF_SALE else kind.page_of_key
        return reverse(page, args=[quote(alert.key)])
    except NoReverseMatch:
        return ""


def _page_of_sale(key: str) -> str:
    """The page's name; empty where the key names neither, but a payment of Stripe's, or an event. Two queries."""
    try:
        id = UUID(key)
    except ValueError:
        return ""
    found = ((Purchase, "admin:billing_purchase_change"), (Allocation, "admin:billing_allocation_change"))
    return next((page for model, page in found if model._default_manager.filter(id=id).exists()), "")


def told_facts(alert: Alert) -> list[tuple[str, str]]:
    """What the alert knows, as people read it: label and words. Times first, then figures, then the rest.

    Without its key, which stands in the link to what it is about.
    """
    has_page = bool(page_of(alert))
    facts = alert.facts.items()
    found = [(name, _words(name, value)) for name, value in facts if not (has_page and value == alert.key)]
    named = sorted((_rank(name), name, words) for name, words in found if words)
    return [(_label(name), words) for _, name, words in named]


def moment_words(moment: datetime) -> str:
    """A moment as a mail has it: "21 Nov 2026, 16:40 UTC"."""
    return f"{moment.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def _rank(name: str) -> int:
    return 0 if name.endswith("_at") else 1 if name.endswith(("credits", "percent", "jobs")) else 2


def _label(name: str) -> str:
    return name.removesuffix("_at").removesuffix("_percent").replace("_", " ").capitalize()


def _words(name: str, value: Any) -> str:
    """The value of a fact in words; empty where it says nothing. Credits are decimal strings, times RFC 3339."""
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{_label(inner)} {_words(inner, one)}" for inner, one in sorted(value.items()))
    if isinstance(value, list):
        return ", ".join(_words("", one) for one in value)
    text = " ".join(str(value).split())
    try:
        if name.endswith("credits"):
            return f"{credits.display(credits.parse(text))} credits"
        if name.endswith("_at"):
            return moment_words(datetime.fromisoformat(text))
    except ValueError:
        return text
    return f"{text} %" if name.endswith("percent") else text
