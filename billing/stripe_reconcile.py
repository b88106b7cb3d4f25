"""Our books beside Stripe's: what it told and we did not hear is fetched and applied, then each payment is compared.

A payment is Stripe's payment intent, for a pack; or a paid invoice, for a plan's period, whatever paid it. Compared are
its money with the price on our row, and the credits that this is worth, less the share of what went back, with our
grant less its claw-backs.

Nothing here runs inside a transaction: Stripe is asked first, and what it said is applied as any event is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import stripe
import structlog

from . import alerts, checkout, credits, money, sales, stripe_inbox
from .clock import now
from .models import Allocation, ClawBack, Customer, Enrollment, InboxEvent, Payment, Plan, Purchase
from .sales import Sale

log = structlog.get_logger("holdfast.stripe")

HOURS = 72
PAGE = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One payment: what Stripe has of it, and what our books have. Money in minor units, credits in microcredits."""

    # Stripe's name of it: a payment intent's, or a plan's invoice's.
    name: str
    # Our row's id; empty where there is none.
    sale: str
    title: str
    currency: str
    paid: int
    # Refunded, and lost in disputes.
    back: int
    # What our row says that it cost; 0 where nothing was granted for it.
    sold: int
    granted: int
    taken: int
    # What the ledger should have, by what Stripe says; None where nothing here says what it was worth.
    granted_expected: int | None
    taken_expected: int | None

    @property
    def key(self) -> str:
        return self.sale or self.name

    @property
    def is_equal(self) -> bool:
        """A claw-back that was restored may leave the next one a microcredit further on, not more.

        Money that nothing of ours was sold for is equal once all of it went back.
        """
        if self.granted_expected is None or self.taken_expected is None:
            return self.paid == self.back and not self.granted
        is_money = self.sold == self.paid
        return is_money and self.granted == self.granted_expected and 0 <= self.taken - self.taken_expected <= 10


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


def reconcile_stripe(hours: int = HOURS, also: Iterable[str] = ()) -> Report:
    """What Stripe told within the hours is applied, and every payment of that time stands beside our grant.

    `also` names older ones by Line.key.
    """
    report = Report(hours)
    _fetch_missed(report)
    while stripe_inbox.apply_due():
        pass
    report.waiting = InboxEvent.objects.filter(state__in=["received", "failed"]).count()
    lines = {line.name: line for line in _Comparison(hours).lines(also)}
    report.lines = [lines[name] for name in sorted(lines)]
    log.info(
        "stripe_reconciled", events=report.events, missed=report.missed, payments=len(report.lines),
        differing=len(report.differing),
    )  # fmt: skip
    return report


def reconcile_nightly() -> Report:
    """The same, and staff have an alert for each payment that differs; it clears when it does so no more."""
    report = reconcile_stripe(also=alerts.open_keys("stripe_differs"))
    alerts.open_all(
        "stripe_differs",
        [
            alerts.Crossing(f"Stripe and our books differ over {line.title} ({line.name}).", line.key, facts(line))
            for line in report.differing
        ],
    )
    equal = {line.key for line in report.lines if line.is_equal}
    alerts.clear_all("stripe_differs", equal.intersection(alerts.open_keys("stripe_differs")))
    return report


def facts(line: Line) -> dict[str, Any]:
    """The line in words and credits."""
    return {
        "payment": line.name,
        "paid": money.words(line.paid, line.currency),
        "sold_for": money.words(line.sold, line.currency),
        "given_back": money.words(line.back, line.currency),
        "granted_credits": credits.format(line.granted),
        "expected_credits": _expected(line.granted_expected),
        "taken_back_credits": credits.format(line.taken),
        "expected_taken_back_credits": _expected(line.taken_expected),
    }


def _expected(micro: int | None) -> str | None:
    return None if micro is None else credits.format(micro)


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


class _Comparison:
    """Stripe's payments and invoices of a time, each read once."""

    def __init__(self, hours: int) -> None:
        self.client = checkout.client()
        self.since = now() - timedelta(hours=hours)
        # Stripe's clock is not the ledger's, which tests move.
        self.listed: Any = {"created": {"gte": int(time.time()) - hours * 3600}, "limit": PAGE}
        self.intents: dict[str, Mapping[str, Any]] = {}
        self.invoices: dict[str, Mapping[str, Any]] = {}

    def lines(self, also: Iterable[str]) -> Iterator[Line]:
        """Every payment of that time which one of the two has: Stripe's lists first, then what only we have."""
        of = self.client.v1
        each: Any = {**self.listed, "expand": ["data.latest_charge"]}
        for found in of.payment_intents.list(each).auto_paging_iter():
            self.intents[found.id] = found.to_dict(for_json=True)
        paid: Any = {**self.listed, "status": "paid", "expand": ["data.payments"]}
        for one in of.invoices.list(paid).auto_paging_iter():
            self.invoices[one.id] = one.to_dict(for_json=True)
        for name in {*self._ours_since(), *self._names_of(also)}:
            self._read(name)

        spoken_of: set[str] = set()
        for invoice in self.invoices.values():
            line = self._of_invoice(invoice)
            if line is not None:
                spoken_of.update(self._paid_by(invoice))
                yield line
        for name, intent in self.intents.items():
            line = None if name in spoken_of else self._of_intent(intent)
            if line is not None:
                yield line

    def _ours_since(self) -> set[str]:
        """The names of what paid for what we granted in that time."""
        purchases = Purchase.objects.filter(paid_at__gte=self.since, stripe_intent__isnull=False)
        periods = Allocation.objects.filter(created_at__gte=self.since).exclude(stripe_invoice="")
        return {
            *(name or "" for name in purchases.values_list("stripe_intent", flat=True)),
            *periods.values_list("stripe_invoice", flat=True),
        }

    def _names_of(self, keys: Iterable[str]) -> set[str]:
        """Stripe's names of these lines, whatever time they are of."""
        ids, names = set(), set()
        for key in keys:
            try:
                ids.add(UUID(key))
            except ValueError:
                names.add(key)
        purchases = Purchase.objects.filter(id__in=ids, stripe_intent__isnull=False)
        periods = Allocation.objects.filter(id__in=ids).exclude(stripe_invoice="")
        return {
            *names,
            *(name or "" for name in purchases.values_list("stripe_intent", flat=True)),
            *periods.values_list("stripe_invoice", flat=True),
        }

    def _read(self, name: str) -> None:
        """Stripe's thing of that name is among those compared; left out where Stripe knows none."""
        of = self.client.v1
        try:
            if name.startswith("in_") and name not in self.invoices:
                self.invoices[name] = of.invoices.retrieve(name, {"expand": ["payments"]}).to_dict(for_json=True)
            elif name.startswith("pi_") and name not in self.intents:
                found = of.payment_intents.retrieve(name, {"expand": ["latest_charge"]})
                self.intents[name] = found.to_dict(for_json=True)
        except stripe.InvalidRequestError as error:
            log.warning("not_at_stripe", name=name, error=str(error)[:300])

    def _paid_by(self, invoice: Mapping[str, Any]) -> list[str]:
        """The payment intents that paid the invoice."""
        each = (invoice.get("payments") or {}).get("data") or []
        paid = [sales.name_of((one.get("payment") or {}).get("payment_intent")) for one in each if is_paid(one)]
        return [name for name in paid if name]

    def _of_invoice(self, invoice: Mapping[str, Any]) -> Line | None:
        """A plan's period beside our grant; None for an invoice of nothing, or of what is no plan of ours."""
        details = (invoice.get("parent") or {}).get("subscription_details")
        name, paid = sales.name_of(invoice), int(invoice.get("total") or 0) if is_paid(invoice) else 0
        sale = sales.invoiced(name)
        if sale is None and (not paid or not isinstance(details, Mapping) or not _is_ours(details)):
            return None
        back = 0
        for intent in self._paid_by(invoice):
            self._read(intent)
            back += self._given_back(self.intents.get(intent, {}))
        if sale is not None:
            return _beside(sale, name, paid, min(back, paid))
        return _without(name, f"a period of {_plan_of(invoice)}", invoice, paid, min(back, paid), _worth(invoice))

    def _of_intent(self, intent: Mapping[str, Any]) -> Line | None:
        """A pack beside our grant; None for what nobody paid, and for what is no customer's of ours."""
        name = sales.name_of(intent)
        sale = sales.paid_by(name) or sales.named_in(intent.get("metadata"))
        paid = int(intent.get("amount_received") or 0) if intent.get("status") == "succeeded" else 0
        if sale is not None and sale.purchase is not None and (sale.payment or paid):
            return _beside(sale, name, paid, min(self._given_back(intent), paid))
        if sale is not None or not paid:
            return None
        customer = sales.name_of(intent.get("customer"))
        if not customer or not Customer.objects.filter(stripe_customer=customer).exists():
            return None
        return _without(name, "nothing that was sold here", intent, paid, min(self._given_back(intent), paid), None)

    def _given_back(self, intent: Mapping[str, Any]) -> int:
        """What of the payment was refunded, or lost in a dispute."""
        charge = intent.get("latest_charge")
        if not isinstance(charge, Mapping):
            return 0
        back = int(charge.get("amount_refunded") or 0)
        if charge.get("disputed"):
            disputes = self.client.v1.disputes.list({"payment_intent": sales.name_of(intent), "limit": PAGE})
            back += sum(one.amount for one in disputes.auto_paging_iter() if one.status == "lost")
        return back


def is_paid(thing: Mapping[str, Any]) -> bool:
    """Whether Stripe says so of an invoice, or of a payment of one."""
    return thing.get("status") == "paid"


def _beside(sale: Sale, name: str, paid: int, back: int) -> Line:
    """What Stripe has of the sale beside what our books have."""
    payment = Payment.objects.filter(account=sale.account, id=sale.payment).first() if sale.payment else None
    claw_backs = ClawBack.objects.filter(account=sale.account, payment=sale.payment, restored_by=None)
    expected = sale.credits if paid else 0
    return Line(
        name=name,
        sale=sale.key,
        title=sale.title,
        currency=sale.currency,
        paid=paid,
        back=back,
        sold=sale.amount_minor if sale.is_paid else 0,
        granted=payment.granted if payment else 0,
        taken=sum(claw_backs.values_list("amount", flat=True)) if payment else 0,
        granted_expected=expected,
        taken_expected=expected * min(back, sale.amount_minor) // sale.amount_minor,
    )


def _without(name: str, title: str, thing: Mapping[str, Any], paid: int, back: int, worth: int | None) -> Line:
    """What Stripe was paid and our books have nothing for."""
    return Line(
        name=name,
        sale="",
        title=title,
        currency=str(thing.get("currency")),
        paid=paid,
        back=back,
        sold=0,
        granted=0,
        taken=0,
        granted_expected=worth,
        taken_expected=None if worth is None else worth * back // paid,
    )


def _is_ours(details: Mapping[str, Any]) -> bool:
    """Whether the subscription that the invoice is for is of an enrollment of ours."""
    id = sales.uuid_in(details.get("metadata"), "enrollment")
    named = Enrollment.objects.filter(id=id) if id else Enrollment.objects.none()
    name = sales.name_of(details.get("subscription"))
    return named.exists() or bool(name and Enrollment.objects.filter(stripe_subscription=name).exists())


def _plan_of(invoice: Mapping[str, Any]) -> str:
    plan = _named_plan(invoice)
    return plan.title if plan is not None else "a plan"


def _named_plan(invoice: Mapping[str, Any]) -> Plan | None:
    about = ((invoice.get("parent") or {}).get("subscription_details") or {}).get("metadata") or {}
    return Plan.objects.filter(slug=about.get("plan") or "").first()


def _worth(invoice: Mapping[str, Any]) -> int | None:
    """The credits of a whole month; None where the invoice is for a part of one, or for no plan that is known."""
    plan = _named_plan(invoice)
    is_whole = invoice.get("billing_reason") in ("subscription_create", "subscription_cycle")
    return plan.monthly_credits if plan is not None and is_whole else None
