"""Every event that the desk listens to: what it does to a pack, to a plan, and why it does nothing otherwise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from billing import stripe_inbox, subscriptions
from billing.models import Entry, InboxEvent

from ..purse import Purse
from .told import SECRET, Sold, tell

pytestmark = pytest.mark.django_db
DOCS = Path(__file__).resolve().parents[3] / "docs" / "stripe.md"

# Of issue 4, word for word, and what becomes of one that is about a pack of ours, or about nothing of ours.
EVENTS: dict[str, tuple[str, str]] = {
    "checkout.session.completed": ("granted", "nothing to do"),
    "checkout.session.async_payment_succeeded": ("granted", "nothing to do"),
    "checkout.session.async_payment_failed": ("failed", "of no pack: the subscription itself tells"),
    "checkout.session.expired": ("expired", "nothing to do"),
    "invoice.paid": ("receipt noted", "about no plan of ours"),
    "invoice.payment_succeeded": ("receipt noted", "about no plan of ours"),
    "invoice.payment_failed": ("", "about no plan of ours"),
    "customer.subscription.created": ("", "about no plan of ours"),
    "customer.subscription.updated": ("", "about no plan of ours"),
    "customer.subscription.deleted": ("", "about no plan of ours"),
    "customer.subscription.paused": ("", "about no plan of ours"),
    "customer.subscription.resumed": ("", "about no plan of ours"),
    "payment_intent.succeeded": ("granted", "of no pack: a plan's credits come by its paid invoices"),
    "payment_intent.payment_failed": ("declined, noted", "of no pack: the plan's invoice tells"),
    "payment_intent.requires_action": ("waits for the cardholder", "of no pack: the plan's invoice tells"),
    "setup_intent.succeeded": ("", "saved by nobody who is a customer here"),
    "invoice_payment.paid": ("", "no payment of an invoice"),
    "refund.created": ("claw back", ""),
    "refund.updated": ("claw back", ""),
    "refund.failed": ("refund failed", ""),
    "charge.dispute.created": ("freeze", ""),
    "charge.dispute.updated": ("freeze", ""),
    "charge.dispute.closed": ("dispute won", ""),
    "charge.dispute.funds_withdrawn": ("freeze", ""),
    "charge.dispute.funds_reinstated": ("dispute won", ""),
}
# Asks Stripe: see test_orders.py and test_reconcile_stripe.py.
ASKS = {"charge.refunded"}
PAYS = ("refund.", "charge.dispute.")


@pytest.fixture(autouse=True)
def _secrets(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_LIVE_MODE = False


def of_pack(sold: Sold, type: str) -> dict[str, Any]:
    """Stripe's object of that event, about the pack."""
    name = type.partition(".")[0]
    if name == "refund":
        return sold.refund("re_1", 500, "failed" if type == "refund.failed" else "succeeded")
    if type.startswith("charge.dispute"):
        is_over = type.endswith(("closed", "reinstated"))
        return sold.dispute("du_1", 2500, "won" if is_over else "needs_response")
    return sold.session() if name == "checkout" else sold.invoice() if name == "invoice" else sold.intent()


@pytest.mark.parametrize("type", [type for type, (outcome, _) in EVENTS.items() if outcome])
def test_what_it_does_to_a_pack(purse: Purse, type: str) -> None:
    sold = Sold(purse)
    if type.startswith(PAYS):
        tell("checkout.session.completed", sold.session())
    row = tell(type, of_pack(sold, type))
    assert (row.state, row.outcome) == ("applied", EVENTS[type][0])


@pytest.mark.parametrize("type", [type for type, (_, why) in EVENTS.items() if why])
def test_why_it_does_nothing_to_what_is_not_ours(db: None, type: str) -> None:
    kind = {"checkout": "checkout.session", "customer": "subscription"}.get(type.partition(".")[0], "payment_intent")
    row = tell(type, {"id": "x_1", "object": kind, "mode": "payment", "metadata": {}, "customer": "cus_stranger"})
    assert row.state == "ignored"
    assert row.outcome.startswith(EVENTS[type][1])
    assert not Entry.objects.exists()


@pytest.mark.parametrize("type", [*EVENTS, *ASKS])
def test_something_reads_it(type: str) -> None:
    assert type in stripe_inbox._OF_PACKS or type in subscriptions.EFFECTS
    assert type in stripe_inbox.EFFECTS or type not in subscriptions.EFFECTS, "the plans' effects are put in place"


def test_the_documentation_names_every_one_of_them() -> None:
    """In the table of docs/stripe.md: in full, or as one of its family (“customer.subscription.*”, “.closed”)."""
    table = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    named: set[str] = set()
    for line in table:
        whole = re.findall(r"`([a-z_.*]+)`", line.split("|")[1])
        family = whole[0].rpartition(".")[0]
        named |= {family + name if name.startswith(".") else name for name in whole}
    for type in [*EVENTS, *ASKS]:
        assert type in named or f"{type.rpartition('.')[0]}.*" in named, type


def test_a_type_that_nobody_reads_is_stored_answered_and_left(db: None) -> None:
    row = tell("treasury.received_credit.created", {"id": "rc_1", "object": "treasury.received_credit"})
    assert (row.state, row.outcome) == ("ignored", "nothing to do")
    assert InboxEvent.objects.count() == 1
