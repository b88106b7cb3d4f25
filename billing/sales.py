"""What money was paid for: a pack that was bought, or a period of a plan. The one or the other is a Sale here.

What Stripe tells of a payment is compared with the sale's own row; what does not match moves nothing (Mismatch).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from .models import Allocation, Dispute, Purchase, Refunding


class Mismatch(Exception):
    """Stripe's words and our row do not agree: nothing is moved, and staff are told. `key` is the alert's."""

    def __init__(self, why: str, key: str = "") -> None:
        super().__init__(why)
        self.key = key


class NotKnownYet(Exception):
    """The payment spoken of is not on our books, or not yet. `intent` is Stripe's name of it, to be asked about."""

    def __init__(self, why: str, intent: str = "") -> None:
        super().__init__(why)
        self.intent = intent


class NotOurs(Exception):
    """Nothing here is about this: the event is kept, and nothing done."""


@dataclass(frozen=True, slots=True)
class Sale:
    account: UUID
    amount_minor: int
    currency: str
    title: str
    # What it granted, or will.
    credits: int
    is_paid: bool
    # Stripe's names of the payment, and of a plan's invoice; empty where we were not told.
    intent: str
    # The grant; None as long as there is none, or where it granted nothing.
    payment: UUID | None
    invoice: str = ""
    purchase: UUID | None = None
    allocation: UUID | None = None

    @property
    def columns(self) -> dict[str, UUID | None]:
        """What a row about this sale carries."""
        return {"account_id": self.account, "purchase_id": self.purchase, "allocation_id": self.allocation}

    @property
    def key(self) -> str:
        return str(self.purchase or self.allocation)


def of_purchase(purchase: Purchase) -> Sale:
    return Sale(
        account=purchase.account_id,
        amount_minor=purchase.amount_minor,
        currency=purchase.currency,
        title=purchase.pack.title,
        credits=purchase.credits,
        is_paid=purchase.state == Purchase.State.PAID,
        intent=purchase.stripe_intent or "",
        payment=purchase.payment_id,
        purchase=purchase.id,
    )


def of_allocation(allocation: Allocation) -> Sale:
    return Sale(
        account=allocation.account_id,
        amount_minor=allocation.amount_minor,
        currency=allocation.currency,
        title=allocation.plan.title,
        credits=allocation.credits,
        is_paid=allocation.amount_minor > 0,
        intent=allocation.stripe_intent,
        payment=allocation.payment_id,
        invoice=allocation.stripe_invoice,
        allocation=allocation.id,
    )


def locked(sale: Sale) -> Sale:
    """The sale as it is now, its row locked until the transaction ends."""
    if sale.purchase is not None:
        purchases = Purchase.objects.select_for_update(of=("self",)).select_related("pack")
        return of_purchase(purchases.get(account=sale.account, id=sale.purchase))
    assert sale.allocation is not None
    allocations = Allocation.objects.select_for_update(of=("self",)).select_related("plan")
    return of_allocation(allocations.get(account=sale.account, id=sale.allocation))


def of_row(row: Refunding | Dispute) -> Sale:
    """The sale that a refund or a dispute is about."""
    return known(row.account_id, purchase=row.purchase_id, allocation=row.allocation_id)


def known(account: Any, *, purchase: Any = None, allocation: Any = None) -> Sale:
    """The one of the two that is named."""
    if purchase is not None:
        return of_purchase(Purchase.objects.select_related("pack").get(account=account, id=purchase))
    assert allocation is not None, "dispute_of_one_sale and refunding_of_one_sale hold"
    return of_allocation(Allocation.objects.select_related("plan").get(account=account, id=allocation))


def invoiced(invoice: str) -> Sale | None:
    """The plan's period that this invoice paid, as far as it was granted."""
    allocation = Allocation.objects.select_related("plan").filter(stripe_invoice=invoice).first() if invoice else None
    return of_allocation(allocation) if allocation is not None else None


def paid_by(intent: str) -> Sale | None:
    """The sale that this payment intent paid, as far as we were told."""
    if not intent:
        return None
    purchase = Purchase.objects.select_related("pack").filter(stripe_intent=intent).first()
    if purchase is not None:
        return of_purchase(purchase)
    allocation = Allocation.objects.select_related("plan").filter(stripe_intent=intent).first()
    return of_allocation(allocation) if allocation is not None else None


def named_in(metadata: Any) -> Sale | None:
    """The purchase that `metadata` names, as we write it there; None where it names none of ours."""
    id = uuid_in(metadata, "purchase")
    purchase = Purchase.objects.select_related("pack").filter(id=id).first() if id else None
    return of_purchase(purchase) if purchase is not None else None


def uuid_in(metadata: Any, name: str) -> UUID | None:
    """The id that `metadata` carries under that name; None where it carries nothing that is one."""
    value = metadata.get(name) if isinstance(metadata, Mapping) else None
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def name_of(thing: Any) -> str:
    """Stripe's name of something that it gives as an id or, expanded, as the whole object; empty for neither."""
    if isinstance(thing, Mapping):
        thing = thing.get("id")
    return thing if isinstance(thing, str) else ""
