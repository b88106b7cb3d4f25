"""Packs: what is bought once, and the credits that a payment of it grants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction

from . import alerts, credits, ledger, money, refunds, steps
from .clock import now
from .models import Lot, Notice, Payment, Purchase
from .periods import months_after
from .sales import Mismatch

log = structlog.get_logger("holdfast.payments")


# What a payment does


def paid(purchase_id: UUID, *, intent: str | None, receipt_url: str = "") -> bool:
    """The purchase is paid, its credits are granted, and refunds and disputes told of before have had their effect.

    False where it was paid before.

    Locks the purchase, then its account. Whoever calls has compared amount and currency with the purchase's.
    """
    with transaction.atomic():
        purchase = Purchase.objects.select_for_update(of=("self",)).select_related("pack").get(id=purchase_id)
        if purchase.state == Purchase.State.PAID:
            if receipt_url and not purchase.receipt_url:
                Purchase.objects.filter(id=purchase.id).update(receipt_url=receipt_url)
            return False
        moment = now()
        reference = f"purchase:{purchase.id}"
        ledger.post_one(
            purchase.account_id,
            steps.Grant(
                actor="stripe",
                user=purchase.user_id,
                amount=purchase.credits,
                source="pack",
                expires_at=months_after(moment, purchase.keep_months),
                payment=reference,
                description=f"{credits.short(purchase.credits)} credits bought",
                reason=f"{purchase.pack.title} for {money.words(purchase.amount_minor, purchase.currency)}",
                occurred_at=moment,
            ),
        )
        purchase.state = Purchase.State.PAID
        purchase.payment = Payment.objects.get(account=purchase.account_id, reference=reference)
        purchase.paid_at = moment
        purchase.error = ""
        purchase.stripe_intent = purchase.stripe_intent or intent or None
        purchase.receipt_url = receipt_url or purchase.receipt_url
        purchase.save(update_fields=["state", "payment", "paid_at", "error", "stripe_intent", "receipt_url"])
        alerts.notify_all([_arrived(purchase)])
        refunds.apply_known(purchase)
    log.info("purchase_paid", purchase=str(purchase.id), account=str(purchase.account_id))
    return True


def _arrived(purchase: Purchase) -> Notice:
    """What the account's people read, and are sent, once the credits are theirs."""
    lots = Lot.objects.filter(account=purchase.account_id, payment=purchase.payment_id)
    repaid = sum(lots.values_list("repaid", flat=True))
    owed = f" {credits.display(repaid)} of them settled what was owed." if repaid else ""
    until = months_after(purchase.paid_at or now(), purchase.keep_months)
    price = money.words(purchase.amount_minor, purchase.currency)
    return alerts.notice(
        purchase.account_id,
        f"purchase:{purchase.id}",
        f"{credits.short(purchase.credits)} credits are here",
        body=f"{price} for {purchase.pack.title}. They can be spent until {until.day} {until:%B %Y}.{owed}",
        link=f"/account/credits/purchases/{purchase.id}",
        level="good",
    )


# What Stripe says of a payment, held against our own row


def compare(purchase: Purchase, amount: Any, currency: Any) -> None:
    """Stripe was paid what the purchase was sold for; else Mismatch."""
    if isinstance(amount, bool) or (amount, currency) != (purchase.amount_minor, purchase.currency):
        sold = money.words(purchase.amount_minor, purchase.currency)
        raise Mismatch(f"{amount} {currency} was paid, and it was sold for {sold}", str(purchase.id))


def note_names(purchase: Purchase, *, session: str = "", intent: str = "") -> Purchase:
    """The purchase with Stripe's names of its session and intent, which never change; Mismatch where they would."""
    with transaction.atomic():
        row = Purchase.objects.select_for_update().get(account=purchase.account_id, id=purchase.id)
        for field, name in (("stripe_session", session), ("stripe_intent", intent)):
            known = getattr(row, field)
            if name and known and known != name:
                raise Mismatch(f"it is {known}, and Stripe speaks of {name}", str(row.id))
            if name and not known and Purchase.objects.filter(**{field: name}).exists():
                raise Mismatch(f"{name} belongs to another purchase", str(row.id))
            setattr(row, field, known or name or None)
        row.save(update_fields=["stripe_session", "stripe_intent"])
    return row


def why_declined(intent: Mapping[str, Any]) -> str:
    """The bank's words, as Stripe passes them on; empty where there are none."""
    error = intent.get("last_payment_error")
    return str(error.get("message") or error.get("code") or "") if isinstance(error, Mapping) else ""
