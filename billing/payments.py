"""Packs: what is bought once, and the credits that a payment of it grants."""

from __future__ import annotations

from uuid import UUID

import structlog
from django.db import transaction

from . import alerts, credits, ledger, money, refunds, steps
from .clock import now
from .models import Lot, Notice, Payment, Purchase
from .periods import months_after

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
