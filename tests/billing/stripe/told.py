"""Purchases of a pack, and what Stripe says of them: objects and events in the pinned version's shapes, signed."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any
from uuid import UUID

import stripe
from django.conf import settings
from django.utils import timezone

from billing import stripe_inbox
from billing.models import InboxEvent, Pack, Purchase

from ..purse import Purse

SECRET = "whsec_a_secret_of_these_tests"
MICRO = 1_000_000
_numbers = itertools.count(1)


def a_pack(**fields: Any) -> Pack:
    number = next(_numbers)
    given = {
        "slug": f"studio-{number}",
        "title": "Studio",
        "price_minor": 2500,
        "currency": "gbp",
        "credits": 1400 * MICRO,
        "keep_months": 12,
    }
    return Pack.objects.create(**given | fields)


class Sold:
    """One purchase, open at Stripe, and every object of Stripe's that belongs to it."""

    def __init__(self, purse: Purse, *, is_known: bool = True, **pack: Any) -> None:
        self.purse = purse
        sold = a_pack(**pack)
        number = next(_numbers)
        self.session_name, self.intent_name = f"cs_test_{number}", f"pi_{number}"
        self.charge_name, self.invoice_name = f"ch_{number}", f"in_{number}"
        self.id: UUID = Purchase.objects.create(
            account_id=purse.id,
            pack=sold,
            amount_minor=sold.price_minor,
            currency=sold.currency,
            credits=sold.credits,
            keep_months=sold.keep_months,
            state="open" if is_known else "created",
            stripe_session=self.session_name if is_known else None,
            created_at=timezone.now(),
        ).id
        self.amount, self.currency = sold.price_minor, sold.currency
        self.metadata = {"purchase": str(self.id)}

    @property
    def row(self) -> Purchase:
        return Purchase.objects.get(id=self.id)

    @property
    def payment(self) -> UUID:
        return self.purse.payment(f"purchase:{self.id}")

    def session(self, **changes: Any) -> dict[str, Any]:
        return {
            "id": self.session_name,
            "object": "checkout.session",
            "mode": "payment",
            "status": "complete",
            "payment_status": "paid",
            "amount_total": self.amount,
            "currency": self.currency,
            "client_reference_id": str(self.id),
            "metadata": self.metadata,
            "payment_intent": self.intent_name,
            "invoice": self.invoice_name,
            "customer": "cus_1",
        } | changes

    def intent(self, **changes: Any) -> dict[str, Any]:
        return {
            "id": self.intent_name,
            "object": "payment_intent",
            "status": "succeeded",
            "amount": self.amount,
            "amount_received": self.amount,
            "currency": self.currency,
            "customer": "cus_1",
            "latest_charge": self.charge_name,
            "metadata": self.metadata,
        } | changes

    def invoice(self, **changes: Any) -> dict[str, Any]:
        return {
            "id": self.invoice_name,
            "object": "invoice",
            "status": "paid",
            "total": self.amount,
            "currency": self.currency,
            "parent": None,
            "metadata": self.metadata,
            "hosted_invoice_url": f"https://invoice.stripe.com/i/{self.invoice_name}",
        } | changes

    def charge(self, **changes: Any) -> dict[str, Any]:
        return {
            "id": self.charge_name,
            "object": "charge",
            "amount": self.amount,
            "amount_refunded": 0,
            "currency": self.currency,
            "payment_intent": self.intent_name,
            "metadata": self.metadata,
        } | changes

    def refund(self, name: str, amount: int, status: str = "succeeded", **changes: Any) -> dict[str, Any]:
        return {
            "id": name,
            "object": "refund",
            "amount": amount,
            "currency": self.currency,
            "charge": self.charge_name,
            "payment_intent": self.intent_name,
            "status": status,
            "reason": "requested_by_customer",
            "metadata": {},
        } | changes

    def dispute(self, name: str, amount: int, status: str = "needs_response", **changes: Any) -> dict[str, Any]:
        return {
            "id": name,
            "object": "dispute",
            "amount": amount,
            "currency": self.currency,
            "charge": self.charge_name,
            "payment_intent": self.intent_name,
            "status": status,
            "reason": "fraudulent",
            "evidence_details": {"due_by": int(time.time()) + 7 * 86_400},
            "metadata": {},
        } | changes


def event(type: str, thing: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An event of Stripe's, with an id of its own."""
    return {
        "id": f"evt_{next(_numbers)}",
        "object": "event",
        "api_version": settings.STRIPE_API_VERSION,
        "created": int(time.time()),
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type,
        "data": {"object": thing},
    } | changes


def signed(body: bytes, *, secret: str = SECRET, at: int | None = None) -> str:
    """The header that Stripe sends with the body: made by Stripe's own library."""
    return stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at or int(time.time()))


def receive(of_event: dict[str, Any]) -> int:
    body = json.dumps(of_event).encode()
    return stripe_inbox.receive(body, signed(body))


def tell(type: str, thing: dict[str, Any], **changes: Any) -> InboxEvent:
    """The event is received and applied; the inbox's row after that."""
    made = event(type, thing, **changes)
    assert receive(made) == 200
    stripe_inbox.apply_due()
    return InboxEvent.objects.get(id=made["id"])
