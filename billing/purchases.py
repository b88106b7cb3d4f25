"""What became of what was paid for, in words: payments, receipts, what was given back, what a bank questions.

A purchase of a pack, or a paid period of a plan, upgrades included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.urls import reverse

from . import credits, money
from .models import Allocation, ClawBack, Dispute, Entry, Lot, Payment, Purchase, Refunding

Paid = Purchase | Allocation


@dataclass(slots=True)
class Told:
    """What was told of one purchase, or one period, after it was paid, oldest first."""

    amount_minor: int
    refunds: list[Refunding] = field(default_factory=list)
    disputes: list[Dispute] = field(default_factory=list)

    @property
    def refunded_minor(self) -> int:
        """What was given back, or is on its way."""
        failed = Refunding.State.FAILED
        return min(sum(row.amount_minor for row in self.refunds if row.state != failed), self.amount_minor)

    @property
    def is_disputed(self) -> bool:
        return any(row.state == Dispute.State.OPEN for row in self.disputes)

    @property
    def is_lost(self) -> bool:
        return any(row.state == Dispute.State.LOST for row in self.disputes)

    @property
    def words(self) -> tuple[str, str]:
        """How the payment stands, in a word or two, and its kind: ok, wait, bad or nothing."""
        if self.is_disputed:
            return "Disputed", "wait"
        if self.is_lost:
            return "Taken back by the bank", "bad"
        if self.refunded_minor >= self.amount_minor:
            return "Refunded", ""
        return ("Refunded in part", "") if self.refunded_minor else ("Paid", "ok")


def told(rows: Iterable[Paid]) -> dict[UUID, Told]:
    """By purchase or period what was told of it. Two queries."""
    found = {row.id: Told(row.amount_minor) for row in rows}
    about = Q(purchase__in=found) | Q(allocation__in=found)
    for refund in Refunding.objects.filter(about).order_by("id"):
        found[refund.purchase_id or refund.allocation_id].refunds.append(refund)
    for dispute in Dispute.objects.filter(about).order_by("id"):
        found[dispute.purchase_id or dispute.allocation_id].disputes.append(dispute)
    return found


def is_on_its_way(row: Purchase) -> bool:
    """The person has done their part, and the bank has not paid yet: a debit, which takes days.

    Stripe's name of the payment is first told when its page is left with the payment made.
    """
    return row.state == Purchase.State.OPEN and bool(row.stripe_intent) and not _is_to_confirm(row)


def _is_to_confirm(row: Purchase) -> bool:
    """A top-up that the cardholder's bank wants confirmed, on a page of its own."""
    return row.is_top_up and bool(row.checkout_url)


def way_to_pay(row: Purchase) -> str:
    """Where it can still be paid; empty where it is paid, on its way, or over."""
    can_pay = row.state == Purchase.State.OPEN and (not row.stripe_intent or _is_to_confirm(row))
    return row.checkout_url if can_pay else ""


def state_words(row: Purchase, said: Told) -> tuple[str, str]:
    """The purchase's state in a word or two, and its kind: ok, wait, bad or nothing."""
    match row.state:
        case Purchase.State.PAID:
            return said.words
        case Purchase.State.FAILED:
            return "Did not go through", "bad"
        case Purchase.State.EXPIRED:
            return "Not paid", ""
    if _is_to_confirm(row):
        return "Waits for you", "wait"
    if is_on_its_way(row) or row.is_top_up:
        return "On its way", "wait"
    return "Waits to be paid", "wait"


def in_list(rows: Iterable[Purchase]) -> list[dict[str, Any]]:
    """The purchases as pages list them. Two queries."""
    rows = list(rows)
    said = told(rows)
    shown = []
    for row in rows:
        word, kind = state_words(row, said[row.id])
        given = said[row.id].refunded_minor
        shown.append(
            {
                "url": page_of(row.id),
                "title": f"{credits.short(row.credits)} credits",
                "pack": f"{row.pack.title}, by auto top-up" if row.is_top_up else row.pack.title,
                "price": money.words(row.amount_minor, row.currency),
                "refunded": money.words(given, row.currency) if given else "",
                "word": word,
                "kind": kind,
                "at": row.paid_at or row.created_at,
                "receipt_url": receipt_of(row),
                "checkout_url": way_to_pay(row),
            }
        )
    return shown


# A row of the plan page's list is short; older receipts are in Stripe's portal.
PERIODS_SHOWN = 24


def periods_in_list(account: UUID) -> list[dict[str, Any]]:
    """What the account paid for its plans, newest first, as pages list it. Three queries."""
    every = Allocation.objects.filter(account=account, amount_minor__gt=0).select_related("plan")
    rows = list(every.order_by("-created_at", "-id")[:PERIODS_SHOWN])
    said = told(rows)
    shown = []
    for row in rows:
        word, kind = said[row.id].words
        given = said[row.id].refunded_minor
        shown.append(
            {
                "url": page_about(row),
                "title": in_words(row),
                "pack": f"{credits.short(row.credits)} credits",
                "price": money.words(row.amount_minor, row.currency),
                "refunded": money.words(given, row.currency) if given else "",
                "word": word,
                "kind": kind,
                "at": row.created_at,
                "receipt_url": row.invoice_url or page_about(row),
                "checkout_url": "",
            }
        )
    return shown


def in_words(row: Paid) -> str:
    """What was paid for: "1,400 credits, Standard", or "Supporter, 21 Nov 2026 to 21 Dec 2026"."""
    if isinstance(row, Purchase):
        return f"{credits.short(row.credits)} credits, {row.pack.title}"
    words = str(row)
    return f"{words[:1].upper()}{words[1:]}"


def receipt(row: Paid, said: Told) -> dict[str, Any]:
    """What a receipt of it says: see receipt.html."""
    is_pack = isinstance(row, Purchase)
    person = row.user if isinstance(row, Purchase) else row.enrollment.user
    return {
        "id": row.id,
        "number": str(row.id).rpartition("-")[2].upper(),
        "named": "Purchase" if is_pack else "Period",
        "crumbs": [("/account/credits", "Credits"), ("/account/credits/purchases", "Purchases")]
        if is_pack
        else [("/account/plan", "Plan")],
        "buyer": person.email if person is not None else str(row.account),
        "what": in_words(row),
        "price": money.words(row.amount_minor, row.currency),
        "refunds": [
            {"at": one.created_at, "amount": money.words(one.amount_minor, row.currency)}
            for one in said.refunds
            if one.state != one.State.FAILED
        ],
        "total": money.words(row.amount_minor - said.refunded_minor, row.currency),
        "currency": row.currency.upper(),
        "paid_at": row.paid_at if isinstance(row, Purchase) else row.created_at,
        "stripe_url": row.receipt_url if isinstance(row, Purchase) else row.invoice_url,
        "payment": row.stripe_intent or "",
    }


def afterwards(row: Paid, said: Told) -> list[dict[str, Any]]:
    """What its refunds and disputes did, in steps. One query."""
    both: list[Refunding | Dispute] = [*said.refunds, *said.disputes]
    taken = {back.id: back for back in ClawBack.objects.filter(account=row.account_id, id__in=[one.id for one in both])}
    return [step for one in both for step in story_of(one, row, taken.get(one.id))]


def story_of(one: Refunding | Dispute, row: Paid, taken: ClawBack | None) -> list[dict[str, Any]]:
    """What a refund or a dispute did, in steps: when, what, and what it meant for the credits."""
    price = money.words(one.amount_minor, row.currency)
    back = f"{credits.display(taken.amount)} credits taken back" if taken is not None else ""
    if taken is not None and taken.debt:
        back += f"; {credits.display(taken.debt)} of them had been spent and are owed"
    if isinstance(one, Refunding):
        if one.state == Refunding.State.FAILED:
            back = "its credits are yours again" if one.is_restored else ""
            return [{"at": one.created_at, "what": f"Refund of {price} failed", "kind": "bad", "more": back}]
        word = "Refunded" if one.state == Refunding.State.SUCCEEDED else "Refund on its way:"
        return [{"at": one.created_at, "what": f"{word} {price}", "kind": "", "more": back}]
    asked = f"the cardholder’s bank questions {price}; the credits are set aside until that is decided"
    steps = [{"at": one.created_at, "what": "Payment disputed", "kind": "wait", "more": asked}]
    if one.ended_at is not None:
        is_won = one.state == Dispute.State.WON
        what = "Dispute won" if is_won else "Dispute lost"
        more = "the credits can be spent again" if is_won else back
        steps.append({"at": one.ended_at, "what": what, "kind": "" if is_won else "bad", "more": more})
    return steps


def page_of(id: UUID) -> str:
    """The purchase's own page."""
    return reverse("purchase", args=[id])


def page_about(row: Paid) -> str:
    """Where people read about it: a purchase's page, or a period's receipt."""
    return page_of(row.id) if isinstance(row, Purchase) else reverse("plan_receipt", args=[row.id])


def receipt_of(row: Purchase) -> str:
    """Where its receipt is: Stripe's, else our own; empty for what was not paid."""
    if row.state != Purchase.State.PAID:
        return ""
    return row.receipt_url or reverse("purchase_receipt", args=[row.id])


def moved_by(line: Entry) -> Paid | None:
    """What was paid for, where a line gave its credits, took them back, returned, froze or freed them; else None."""
    of = {"account": line.account_id}
    payments: Any
    match line.kind:
        case "grant":
            payments = Payment.objects.filter(**of, sequence=line.sequence).values("id")
        case "claw_back":
            payments = ClawBack.objects.filter(**of, sequence=line.sequence).values("payment")
        case "restore":
            payments = ClawBack.objects.filter(**of, restored_by=line.sequence).values("payment")
        case "freeze" | "thaw":
            payments = Lot.objects.filter(**of, id__in=line.lots).values("payment")
        case _:
            return None
    bought = Purchase.objects.filter(**of, payment__in=payments).select_related("pack").first()
    periods = Allocation.objects.filter(**of, payment__in=payments, amount_minor__gt=0)
    return bought or periods.select_related("plan").first()


def story_until(line: Entry) -> list[dict[str, Any]]:
    """What had happened, by then, to what the line's credits were paid for with, as steps of the line's story."""
    row = moved_by(line)
    if row is None or line.kind == "grant":
        return []
    paid = money.words(row.amount_minor, row.currency)
    what = in_words(row) if isinstance(row, Purchase) else f"{credits.short(row.credits)} credits, {in_words(row)}"
    at, title = (row.paid_at, "Bought") if isinstance(row, Purchase) else (row.created_at, "Paid")
    steps: list[dict[str, Any]] = [{"at": at, "title": title, "detail": f"{paid} for {what}."}]
    for step in afterwards(row, told([row])[row.id]):
        detail = step["more"]
        detail = f"{detail[:1].upper()}{detail[1:]}." if detail else ""
        steps.append({"at": step["at"], "title": step["what"], "detail": detail})
    return [step for step in steps if step["at"] is not None and step["at"] <= line.created_at]
