"""What became of purchases, in words: their payment, their receipt, what was given back, what a bank questions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.urls import reverse

from . import credits, money
from .models import ClawBack, Dispute, Entry, Lot, Payment, Purchase, Refunding


@dataclass(slots=True)
class Told:
    """What was told of one purchase after it was paid, oldest first."""

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


def told(rows: Iterable[Purchase]) -> dict[UUID, Told]:
    """By purchase what was told of it. Two queries."""
    found = {row.id: Told(row.amount_minor) for row in rows}
    for refund in Refunding.objects.filter(purchase__in=found).order_by("id"):
        found[refund.purchase_id].refunds.append(refund)
    for dispute in Dispute.objects.filter(purchase__in=found).order_by("id"):
        found[dispute.purchase_id].disputes.append(dispute)
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
        case Purchase.State.PAID if said.is_disputed:
            return "Disputed", "wait"
        case Purchase.State.PAID if said.is_lost:
            return "Taken back by the bank", "bad"
        case Purchase.State.PAID if said.refunded_minor >= row.amount_minor:
            return "Refunded", ""
        case Purchase.State.PAID if said.refunded_minor:
            return "Refunded in part", ""
        case Purchase.State.PAID:
            return "Paid", "ok"
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


def afterwards(row: Purchase, said: Told) -> list[dict[str, Any]]:
    """What its refunds and disputes did, in steps. One query."""
    both: list[Refunding | Dispute] = [*said.refunds, *said.disputes]
    taken = {back.id: back for back in ClawBack.objects.filter(account=row.account_id, id__in=[one.id for one in both])}
    return [step for one in both for step in story_of(one, row, taken.get(one.id))]


def story_of(one: Refunding | Dispute, row: Purchase, taken: ClawBack | None) -> list[dict[str, Any]]:
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


def receipt_of(row: Purchase) -> str:
    """Where its receipt is: Stripe's, else our own; empty for what was not paid."""
    if row.state != Purchase.State.PAID:
        return ""
    return row.receipt_url or reverse("purchase_receipt", args=[row.id])


def moved_by(line: Entry) -> Purchase | None:
    """The purchase whose credits a line gave, took back, returned, set aside or freed; None for any other line."""
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
    return Purchase.objects.filter(**of, payment__in=payments).select_related("pack").first()


def story_until(line: Entry) -> list[dict[str, Any]]:
    """What had happened to the purchase that a line is about, by then, as steps of the line's story."""
    row = moved_by(line)
    if row is None or line.kind == "grant":
        return []
    words = f"{money.words(row.amount_minor, row.currency)} for {credits.short(row.credits)} credits, {row.pack.title}"
    steps: list[dict[str, Any]] = [{"at": row.paid_at, "title": "Bought", "detail": f"{words}."}]
    for step in afterwards(row, told([row])[row.id]):
        detail = step["more"]
        detail = f"{detail[:1].upper()}{detail[1:]}." if detail else ""
        steps.append({"at": step["at"], "title": step["what"], "detail": detail})
    return [step for step in steps if step["at"] is not None and step["at"] <= line.created_at]
