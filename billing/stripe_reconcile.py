"""Our books beside Stripe's: what it told and we did not hear is fetched and applied, then each payment is compared.

Nothing here runs inside a transaction: Stripe is asked first, and what it said is applied as any event is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from . import alerts, checkout, credits, money, sales, stripe_inbox
from .clock import now
from .models import Allocation, ClawBack, InboxEvent, Payment, Purchase
from .sales import Sale

log = structlog.get_logger("holdfast.stripe")

HOURS = 72
PAGE = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One payment: what Stripe has of it, and what our ledger has. Money in minor units, credits in microcredits."""

    intent: str
    sale: str
    title: str
    currency: str
    paid: int
    # Refunded, and lost in disputes.
    back: int
    granted: int
    taken: int
    # What the ledger should have, by what Stripe says.
    granted_expected: int
    taken_expected: int

    @property
    def is_equal(self) -> bool:
        """A claw-back that was restored may leave the next one a microcredit further on, not more."""
        return self.granted == self.granted_expected and 0 <= self.taken - self.taken_expected <= 10


@dataclass(slots=True)
class Report:
    hours: int
    events: int = 0
    missed: int = 0
    waiting: int = 0
    lines: list[Line] = field(default_factory=list)

    @property
    def differing(self) -> list[Line]:
        return [line for line in self.lines if not line.is_equal]


def reconcile_stripe(hours: int = HOURS) -> Report:
    """What Stripe told within the hours is applied, and every payment of that time stands beside our grant."""
    report = Report(hours)
    _fetch_missed(report)
    while stripe_inbox.apply_due():
        pass
    report.waiting = InboxEvent.objects.filter(state__in=["received", "failed"]).count()
    report.lines = sorted(_lines(hours), key=lambda line: line.intent)
    log.info(
        "stripe_reconciled", events=report.events, missed=report.missed, payments=len(report.lines),
        differing=len(report.differing),
    )  # fmt: skip
    return report


def reconcile_nightly() -> Report:
    """The same, and staff have an alert for each payment that differs; it clears when it does so no more."""
    report = reconcile_stripe()
    alerts.open_all(
        "stripe_differs",
        [
            alerts.Crossing(
                f"Stripe and our books differ over {line.title} ({line.intent}).", line.sale or line.intent, facts(line)
            )
            for line in report.differing
        ],
    )
    equal = {line.sale or line.intent for line in report.lines if line.is_equal}
    alerts.clear_all("stripe_differs", equal.intersection(alerts.open_keys("stripe_differs")))
    return report


def facts(line: Line) -> dict[str, Any]:
    """The line in words and credits."""
    return {
        "payment": line.intent,
        "paid": money.words(line.paid, line.currency),
        "given_back": money.words(line.back, line.currency),
        "granted_credits": credits.format(line.granted),
        "expected_credits": credits.format(line.granted_expected),
        "taken_back_credits": credits.format(line.taken),
        "expected_taken_back_credits": credits.format(line.taken_expected),
    }


# Events


def _fetch_missed(report: Report) -> None:
    """Events that Stripe lists and our inbox does not have are in it, marked as found by the list."""
    since = int(time.time()) - report.hours * 3600
    found = checkout.client().v1.events.list({"created": {"gte": since}, "limit": PAGE})
    page: list[dict[str, Any]] = []
    for event in found.auto_paging_iter():
        page.append(event.to_dict(for_json=True))
        report.events += 1
        if len(page) == PAGE:
            report.missed += _store_missed(page)
            page.clear()
    report.missed += _store_missed(page)


def _store_missed(page: list[dict[str, Any]]) -> int:
    known = set(InboxEvent.objects.filter(id__in=[event["id"] for event in page]).values_list("id", flat=True))
    # Stripe lists the newest first; they are applied in the order in which they happened.
    missed = [event for event in reversed(page) if event["id"] not in known]
    return sum(stripe_inbox.take(event) for event in missed)


# Payments


def _lines(hours: int) -> Iterator[Line]:
    """Every payment of that time which one of the two has: Stripe's list first, then what only we have."""
    client = checkout.client()
    since = int(time.time()) - hours * 3600
    listed = client.v1.payment_intents.list(
        {"created": {"gte": since}, "limit": PAGE, "expand": ["data.latest_charge"]}
    )
    seen: set[str] = set()
    for intent in listed.auto_paging_iter():
        seen.add(intent.id)
        line = _line(client, intent.to_dict(for_json=True))
        if line is not None:
            yield line
    for name in _intents_since(hours) - seen:
        intent = client.v1.payment_intents.retrieve(name, {"expand": ["latest_charge"]})
        line = _line(client, intent.to_dict(for_json=True))
        if line is not None:
            yield line


def _intents_since(hours: int) -> set[str]:
    """The payment intents that paid what we granted in that time."""
    since = now() - timedelta(hours=hours)
    purchases = Purchase.objects.filter(paid_at__gte=since, stripe_intent__isnull=False)
    allocations = Allocation.objects.filter(created_at__gte=since, payment__isnull=False).exclude(stripe_intent="")
    return {
        *(name or "" for name in purchases.values_list("stripe_intent", flat=True)),
        *allocations.values_list("stripe_intent", flat=True),
    }


def _line(client: Any, intent: Mapping[str, Any]) -> Line | None:
    """The payment beside our grant; None where neither has anything, or where it is not about a sale of ours."""
    sale = sales.paid_by(sales.name_of(intent)) or sales.named_in(intent.get("metadata"))
    if sale is None:
        return None
    is_paid = intent.get("status") == "succeeded"
    paid = int(intent.get("amount_received") or 0) if is_paid else 0
    back = min(_given_back(client, intent), paid)
    payment = Payment.objects.filter(account=sale.account, id=sale.payment).first() if sale.payment else None
    if payment is None and not paid:
        return None
    claw_backs = ClawBack.objects.filter(account=sale.account, payment=sale.payment, restored_by=None)
    expected = _sold(sale) if paid else 0
    return Line(
        intent=sales.name_of(intent),
        sale=sale.key,
        title=sale.title,
        currency=sale.currency,
        paid=paid,
        back=back,
        granted=payment.granted if payment else 0,
        taken=sum(claw_backs.values_list("amount", flat=True)) if payment else 0,
        granted_expected=expected,
        taken_expected=expected * min(back, sale.amount_minor) // sale.amount_minor,
    )


def _sold(sale: Sale) -> int:
    """The credits that the sale is worth."""
    if sale.purchase is not None:
        return Purchase.objects.get(account=sale.account, id=sale.purchase).credits
    assert sale.allocation is not None
    return Allocation.objects.get(account=sale.account, id=sale.allocation).credits


def _given_back(client: Any, intent: Mapping[str, Any]) -> int:
    """What of the payment was refunded, or lost in a dispute."""
    charge = intent.get("latest_charge")
    if not isinstance(charge, Mapping):
        return 0
    back = int(charge.get("amount_refunded") or 0)
    if charge.get("disputed"):
        disputes = client.v1.disputes.list({"payment_intent": sales.name_of(intent), "limit": PAGE})
        back += sum(one.amount for one in disputes.auto_paging_iter() if one.status == "lost")
    return back
