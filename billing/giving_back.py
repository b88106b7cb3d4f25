"""Giving the money of a purchase back, asked for by staff: stored first, then sent to Stripe, then heard from it.

What takes the credits back is what Stripe says (refunds.told_of_refund): the answer to our question at once, or its
event, whichever comes first; both by our row's id, so once. Lock order: the purchase, then the account.
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

from . import alerts, checkout, errors, money, refunds
from .clock import now
from .models import ClawBack, Dispute, Purchase, Refunding
from .sales import Mismatch, NotKnownYet

log = structlog.get_logger("holdfast.refunds")

# So long a refund is its own request's to send, before the worker's sweep does.
WAITS = timedelta(seconds=60)


class NotPaid(errors.BillingError):
    code = "purchase_not_paid"
    sentence = "This purchase is not paid, so there is nothing to give back."
    reason = "Only what was paid can be refunded."
    action = "Wait for its payment, or close its checkout at Stripe."


class RefundExceedsPayment(errors.BillingError):
    code = "refund_exceeds_payment"
    sentence = "That is more than is left to refund."
    reason = "Refunds and disputed money together never come to more than was paid."
    action = "Choose a smaller amount."


# What can be given back


def left_minor(purchase: Purchase) -> int:
    """What of the payment was neither given back, nor is on its way back, nor is disputed. In the smallest unit."""
    if purchase.state != Purchase.State.PAID:
        return 0
    of = {"account": purchase.account_id, "purchase": purchase.id}
    given = Refunding.objects.filter(**of).exclude(state=Refunding.State.FAILED)
    disputed = Dispute.objects.filter(**of).exclude(state=Dispute.State.WON)
    return max(0, purchase.amount_minor - _money(given) - _money(disputed))


def _money(rows: QuerySet[Any]) -> int:
    return sum(rows.values_list("amount_minor", flat=True))


def share(purchase: Purchase, amount_minor: int) -> int:
    """The credits that go with so much more of the payment, cumulatively and rounded down, as refunds.py takes them."""
    if purchase.state != Purchase.State.PAID:
        return 0
    of = {"account": purchase.account_id, "purchase": purchase.id}
    given = Refunding.objects.filter(**of).exclude(state=Refunding.State.FAILED)
    lost = Dispute.objects.filter(**of, state=Dispute.State.LOST)
    before, whole = _money(given) + _money(lost), purchase.amount_minor
    backs = ClawBack.objects.filter(account=purchase.account_id, payment=purchase.payment_id, restored_by=None)
    taken = sum(backs.values_list("amount", flat=True))
    gone = max(taken, purchase.credits * min(before, whole) // whole)
    return max(0, purchase.credits * min(before + amount_minor, whole) // whole - gone)


def refuse(purchase: Purchase, amount_minor: int) -> int:
    """What is left to refund; refused where the amount is more, or nothing was paid."""
    if purchase.state != Purchase.State.PAID or not purchase.stripe_intent:
        raise NotPaid(state=purchase.state)
    left = left_minor(purchase)
    if amount_minor > left:
        raise RefundExceedsPayment(left=money.words(left, purchase.currency))
    return left


# Asking


def sold(instruction: dict[str, Any]) -> Purchase:
    return Purchase.objects.select_related("pack").get(account=instruction["account"], id=instruction["purchase"])


def lock(instruction: dict[str, Any]) -> None:
    """The purchase is locked, before its account, until the transaction ends."""
    Purchase.objects.select_for_update().get(account=instruction["account"], id=instruction["purchase"])


def ask(instruction: dict[str, Any], asked_by: Any) -> Refunding:
    """The refund's row is there, ASKED, and goes to Stripe when this transaction has ended. The purchase is locked."""
    purchase, id = sold(instruction), UUID(instruction["refunding"])
    refuse(purchase, instruction["amount_minor"])
    if Refunding.objects.filter(id=id).exists() or Dispute.objects.filter(id=id).exists():
        raise errors.IdempotencyConflict
    # refusing ends

    row = Refunding.objects.create(
        id=id,
        account_id=purchase.account_id,
        purchase_id=purchase.id,
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
    waiting = Refunding.objects.filter(state=Refunding.State.ASKED, purchase__isnull=False)
    due = list(waiting.filter(created_at__lte=now() - WAITS).order_by("created_at").values_list("id", flat=True)[:50])
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
    row = Refunding.objects.select_related("purchase").get(id=refunding)
    if row.state != Refunding.State.ASKED or row.purchase is None:
        return row.state
    intent = row.purchase.stripe_intent or ""
    try:
        found = _at_stripe(row, intent)
        if found is None:
            found = checkout.client().v1.refunds.retrieve(checkout.send_refund(row, intent)).to_dict()
        refunds.told_of_refund(found)
    except checkout.StripeUnavailable as error:
        if _is_refusal(error.__cause__):
            _give_up(row, error.__cause__)
    except (stripe.StripeError, checkout.NotSetUp, Mismatch, NotKnownYet) as error:
        log.warning("refund_not_noted", refunding=str(row.id), error=str(error)[:300])
    row.refresh_from_db()
    return row.state


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


def _give_up(row: Refunding, error: BaseException | None) -> None:
    """The refund has failed: Stripe refuses it. No credits were taken."""
    asked = Refunding.objects.filter(id=row.id, state=Refunding.State.ASKED)
    if not asked.update(state=Refunding.State.FAILED):
        return
    why = getattr(error, "user_message", None) or str(error)
    alerts.open_alert(
        "refund_failed",
        key=str(row.id),
        sentence="Stripe refuses a refund that staff asked for. Nothing was given back, and no credits were taken.",
        facts={"account": str(row.account_id), "why": str(why)[:300]},
    )
