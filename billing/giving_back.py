"""Giving the money of a sale back, asked for by staff: stored first, then sent to Stripe, then heard from it.

A sale is a pack that was bought or a plan's period that was paid for, upgrades included. What takes the credits back is
what Stripe says (refunds.told_of_refund): the answer to our question at once, or its event, whichever comes first; both
by our row's id, so once. Lock order: the purchase or the allocation, then the account.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import stripe
import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from . import alerts, book, checkout, errors, money, plans, refunds, sales
from .clock import now
from .models import ClawBack, Dispute, Lot, Payment, Refunding
from .sales import Mismatch, NotKnownYet, Sale

log = structlog.get_logger("holdfast.refunds")

# So long a refund is its own request's to send, before the worker's sweep does.
WAITS = timedelta(seconds=60)


class NotPaid(errors.BillingError):
    code = "purchase_not_paid"
    sentence = "This is not paid, so there is nothing to give back."
    reason = "Only what was paid can be refunded."
    action = "Wait for its payment, or close its checkout at Stripe."


class RefundExceedsPayment(errors.BillingError):
    code = "refund_exceeds_payment"
    sentence = "That is more than is left to refund."
    reason = "Refunds and disputed money together never come to more than was paid."
    action = "Choose a smaller amount."


# What can be given back


def left_minor(sale: Sale) -> int:
    """What of the payment was neither given back, nor is on its way back, nor is disputed. In the smallest unit."""
    if not sale.is_paid:
        return 0
    disputed = Dispute.objects.filter(**sale.columns).exclude(state=Dispute.State.WON)
    return max(0, sale.amount_minor - _money(_given(sale)) - _money(disputed))


def _given(sale: Sale) -> QuerySet[Refunding]:
    return Refunding.objects.filter(**sale.columns).exclude(state=Refunding.State.FAILED)


def _money(rows: QuerySet[Any]) -> int:
    return sum(rows.values_list("amount_minor", flat=True))


def share(sale: Sale, amount_minor: int) -> int:
    """The credits that go with so much more of the payment, cumulatively and rounded down, as refunds.py takes them."""
    if not sale.is_paid or sale.payment is None:
        return 0
    lost = Dispute.objects.filter(**sale.columns, state=Dispute.State.LOST)
    before, whole = _money(_given(sale)) + _money(lost), sale.amount_minor
    backs = ClawBack.objects.filter(account=sale.account, payment=sale.payment, restored_by=None)
    taken = sum(backs.values_list("amount", flat=True))
    gone = max(taken, sale.credits * min(before, whole) // whole)
    return max(0, sale.credits * min(before + amount_minor, whole) // whole - gone)


def stands(sale: Sale) -> tuple[int, int]:
    """Of the credits that the sale granted: how many are free, and how many expired for good and count when it goes
    back."""
    if sale.payment is None:
        return 0, 0
    of: dict[str, Any] = {"account": sale.account, "payment": sale.payment}
    lots, backs = list(Lot.objects.filter(**of)), list(ClawBack.objects.filter(**of))
    granted = Payment.objects.get(account=sale.account, id=sale.payment).granted
    return sum(lot.remaining - lot.held for lot in lots), book.lost(granted, lots, backs)


def refuse(sale: Sale, amount_minor: int) -> int:
    """What is left to refund; refused where the amount is more, or nothing was paid."""
    if not sale.is_paid or not (sale.intent or sale.invoice):
        raise NotPaid
    left = left_minor(sale)
    if amount_minor > left:
        raise RefundExceedsPayment(left=money.words(left, sale.currency))
    return left


# Asking


def sold(instruction: dict[str, Any]) -> Sale:
    """What the instruction is about: it names a purchase, or an allocation."""
    return sales.known(
        instruction["account"], purchase=instruction.get("purchase"), allocation=instruction.get("allocation")
    )


def lock(instruction: dict[str, Any]) -> None:
    """The sale is locked, before its account, until the transaction ends."""
    sales.locked(sold(instruction))


def ask(instruction: dict[str, Any], asked_by: Any) -> Refunding:
    """The refund's row is there, ASKED, and goes to Stripe when this transaction has ended. The sale is locked."""
    sale, id = sold(instruction), UUID(instruction["refunding"])
    refuse(sale, instruction["amount_minor"])
    if Refunding.objects.filter(id=id).exists() or Dispute.objects.filter(id=id).exists():
        raise errors.IdempotencyConflict
    # refusing ends

    row = Refunding.objects.create(
        **sale.columns,
        id=id,
        amount_minor=instruction["amount_minor"],
        reason=instruction["reason"][:300],
        made_by=asked_by,
        created_at=now(),
    )
    send_after_commit(row)
    return row


# Sending


def send_after_commit(row: Refunding) -> None:
    """The refund is sent once the transaction has ended. What goes wrong then is logged, the row stays ASKED, and the
    worker's sweep sends it again."""
    transaction.on_commit(lambda: send(row.id), robust=True)


def send_waiting(until: float | None = None) -> int:
    """Refunds that should have been sent a while ago, and were not, are; says how many were tried.

    What is to be sent after a commit is remembered by its process alone: here the row is found again.
    """
    if not settings.STRIPE_IS_SET_UP:
        return 0
    waiting = Refunding.objects.filter(state=Refunding.State.ASKED, created_at__lte=now() - WAITS)
    due = list(waiting.order_by("created_at").values_list("id", flat=True)[:50])
    tried = 0
    for id in due:
        if until is not None and time.monotonic() >= until:
            break
        send(id)
        tried += 1
    return tried


def send(refunding: UUID) -> str:
    """Stripe has the refund, and its credits are taken back; the row's state after that. Outside any transaction.

    Stripe is first asked for its refunds of this payment: an idempotency key is forgotten after a day there, and a
    refund that we asked for and never heard of must not be made again. Stripe's refusal ends the row as FAILED, with an
    alert; where it cannot be reached the row stays ASKED.
    """
    row = Refunding.objects.get(id=refunding)
    if row.state != Refunding.State.ASKED:
        return row.state
    try:
        intent = _intent_of(sales.of_row(row))
        found = _at_stripe(row, intent)
        if found is None:
            found = checkout.client().v1.refunds.retrieve(checkout.send_refund(row, intent)).to_dict()
        refunds.told_of_refund(found)
    except checkout.StripeUnavailable as error:
        if _is_refusal(error.__cause__):
            _give_up(row, _why(error.__cause__))
    except PaidElsewhere as error:
        _give_up(row, str(error))
    except (stripe.StripeError, checkout.NotSetUp, Mismatch, NotKnownYet) as error:
        log.warning("refund_not_noted", refunding=str(row.id), error=str(error)[:300])
    row.refresh_from_db()
    return row.state


class PaidElsewhere(Exception):
    """The invoice was not paid by a payment of Stripe's: there is nothing that Stripe could give back."""


def _intent_of(sale: Sale) -> str:
    """Stripe's name of the payment; asked for by its invoice, and noted, where we were not told of it."""
    if sale.intent:
        return sale.intent
    paid = checkout.client().v1.invoice_payments.list({"invoice": sale.invoice, "status": "paid", "limit": 1})
    for one in paid.data:
        intent = sales.name_of(one.to_dict()["payment"].get("payment_intent"))
        if intent:
            plans.note_intent(sale.invoice, intent)
            return intent
    raise PaidElsewhere(f"Stripe has no payment of {sale.invoice}.")


def _at_stripe(row: Refunding, intent: str) -> dict[str, Any] | None:
    """Stripe's refund that carries our row's id, if there is one."""
    made = checkout.client().v1.refunds.list({"payment_intent": intent, "limit": 100})
    for one in made.auto_paging_iter():
        said: dict[str, Any] = one.to_dict()
        if (said.get("metadata") or {}).get("refunding") == str(row.id):
            return said
    return None


def _is_refusal(error: BaseException | None) -> bool:
    """Stripe understood the request and will not do it: asking again would not help."""
    return isinstance(error, stripe.InvalidRequestError) and error.http_status in (400, 402, 404)


def _why(error: BaseException | None) -> str:
    return str(getattr(error, "user_message", None) or error)


def _give_up(row: Refunding, why: str) -> None:
    """The refund has failed: Stripe refuses it. No credits were taken."""
    asked = Refunding.objects.filter(id=row.id, state=Refunding.State.ASKED)
    if not asked.update(state=Refunding.State.FAILED):
        return
    alerts.open_alert(
        "refund_failed",
        key=str(row.id),
        sentence="Stripe refuses a refund that staff asked for. Nothing was given back, and no credits were taken.",
        facts={"account": str(row.account_id), "why": why[:300]},
    )
