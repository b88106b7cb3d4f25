"""Money that goes back: refunds by us or made elsewhere, refunds that fail, disputes and how they end."""

from __future__ import annotations

from . import shapes
from .book import Book, Thing
from .refusals import wrong

DISPUTE_DAYS = 9


# Refunds -------------------------------------------------------------------------------------------------------------


def charge_of(book: Book, intent: str | None, charge: str | None) -> Thing:
    """The charge that is meant, by itself or by its payment intent."""
    if bool(intent) == bool(charge):
        raise wrong("One of the following params should be provided: charge or payment_intent.", "payment_intent")
    if intent:
        charge = book.get("payment_intent", intent, "payment_intent", 400)["latest_charge"]
    found = book.get("charge", charge, "charge", 400)
    if found["status"] != "succeeded":
        raise wrong(f"The PaymentIntent {intent} does not have a successful charge to refund.", "payment_intent")
    return found


def refund(book: Book, charge: Thing, amount: int | None, *, reason: str | None, metadata: Thing) -> Thing:
    """That much, or what is left, has been refunded; or is on its way, where the controls say so."""
    left = charge["amount"] - charge["amount_refunded"]
    if charge["disputed"] and not _was_won(book, charge):
        raise wrong(f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    if not left:
        raise wrong(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = left if amount is None else amount
    if amount < 1:
        raise wrong("Invalid positive integer", "amount", "parameter_invalid_integer")
    if amount > left:
        raise wrong(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", "amount")
    status = str(book.controls["refunds_become"])
    thing = shapes.refund(book, charge, amount, status=status, reason=reason, metadata=metadata)
    money = shapes.balance_transaction(
        book, amount=-amount, currency=charge["currency"], source=thing["id"], kind="refund"
    )
    book.put(money)
    thing["balance_transaction"] = money["id"]
    book.put(thing)
    book.tell("refund.created", thing)
    _count_refunds(book, charge)
    book.tell("charge.refunded", charge)
    return thing


def end_refund(book: Book, thing: Thing, status: str) -> Thing:
    """A refund has succeeded, failed or been cancelled after all; what failed is not refunded any more."""
    if status == "canceled" and thing["status"] != "pending":
        raise wrong(f"This refund is {thing['status']} and cannot be cancelled.")
    charge = book.get("charge", thing["charge"])
    if status == "failed":
        money = shapes.balance_transaction(
            book, amount=thing["amount"], currency=thing["currency"], source=thing["id"], kind="refund_failure"
        )
        book.put(money)
        thing |= {"failure_balance_transaction": money["id"], "failure_reason": "lost_or_stolen_card"}
    previous = {"status": thing["status"]}
    book.alter(thing, status=status)
    _count_refunds(book, charge)
    book.tell("refund.updated", thing, previous)
    book.tell("charge.refund.updated", thing, previous)
    if status == "failed":
        book.tell("refund.failed", thing)
    return thing


def _count_refunds(book: Book, charge: Thing) -> None:
    each = book.where("refund", lambda one: one["charge"] == charge["id"] and one["status"] in ("succeeded", "pending"))
    total = sum(one["amount"] for one in each)
    book.alter(charge, amount_refunded=total, refunded=total == charge["amount"])


def _was_won(book: Book, charge: Thing) -> bool:
    each = book.where("dispute", lambda one: one["charge"] == charge["id"])
    return all(one["status"] in ("won", "warning_closed") or one["is_charge_refundable"] for one in each)


# Disputes ------------------------------------------------------------------------------------------------------------


def dispute(book: Book, charge: Thing, amount: int | None, *, reason: str, is_inquiry: bool) -> Thing:
    """The bank has taken the money back for now; by an inquiry it only asks."""
    if charge["disputed"]:
        raise wrong(f"Charge {charge['id']} is disputed already.")
    amount = charge["amount"] - charge["amount_refunded"] if amount is None else amount
    status = "warning_needs_response" if is_inquiry else "needs_response"
    due = book.now() + DISPUTE_DAYS * 86_400
    thing = shapes.dispute(book, charge, amount, status=status, reason=reason, due=due, is_refundable=is_inquiry)
    book.put(thing)
    book.alter(charge, disputed=True)
    book.tell("charge.dispute.created", thing)
    if not is_inquiry:
        _move_funds(book, thing, -amount, "charge.dispute.funds_withdrawn")
    return thing


def end_dispute(book: Book, thing: Thing, status: str) -> Thing:
    """Won: the money is back. Lost: it is gone. Under review: the bank has our evidence."""
    if thing["status"] in ("won", "lost", "warning_closed"):
        raise wrong(f"This dispute is {thing['status']} and can no longer be changed.")
    if status in ("under_review", "warning_under_review", "needs_response"):
        was_inquiry = thing["status"].startswith("warning") and status == "needs_response"
        book.alter(thing, "charge.dispute.updated", status=status, is_charge_refundable=status.startswith("warning"))
        if was_inquiry:
            _move_funds(book, thing, -thing["amount"], "charge.dispute.funds_withdrawn")
        return thing
    if status == "won":
        book.alter(book.get("charge", thing["charge"]), disputed=True)
    book.alter(thing, status=status, is_charge_refundable=status != "lost")
    book.tell("charge.dispute.closed", thing)
    if status == "won":
        _move_funds(book, thing, thing["amount"], "charge.dispute.funds_reinstated")
    return thing


def _move_funds(book: Book, thing: Thing, amount: int, kind: str) -> None:
    money = shapes.balance_transaction(
        book, amount=amount, currency=thing["currency"], source=thing["id"], kind="adjustment"
    )
    book.put(money)
    book.alter(thing, balance_transactions=[*thing["balance_transactions"], money])
    book.tell(kind, thing)
