"""Packs: what is bought once, and the credits that a payment of it grants."""

from __future__ import annotations

from uuid import UUID

import structlog
from django.db import transaction

from . import ledger, refunds, steps
from .checkout import client
from .clock import now
from .models import Payment, Purchase
from .periods import months_after

__all__ = ["client", "months_after", "paid"]

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
                description=purchase.pack.title,
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
        refunds.apply_known(purchase)
    log.info("purchase_paid", purchase=str(purchase.id), account=str(purchase.account_id))
    return True
