"""What we ask of Stripe: a customer, a session to pay in, its portal, a refund. Never inside a transaction.

Each is stored here before Stripe is asked, and our row's id is Stripe's idempotency key: whatever line the plug is
pulled at, asking again finds the same thing there. What was paid is only ever heard from Stripe (stripe_inbox.py).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import stripe
import structlog
from django.conf import settings
from django.core.cache import cache as shared
from django.db import connection, transaction
from django.http.request import validate_host

from . import credits, errors, idempotency, ledger, money, people, refusals
from .clock import now
from .models import Account, Customer, Pack, Plan, Purchase, Refunding, new_id

log = structlog.get_logger("holdfast.checkout")

TIMEOUT_SECONDS = 10
# Purchases, and plans, begun and not paid, of one account.
UNPAID_AN_HOUR_MAX = 20
# Browsers read some other signs in ways of their own: a backslash as a slash, a line break as nothing.
PLAIN = re.compile(r"[!-\[\]-~]+")
HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")
# What people agree to who let their card be kept: before they pay, here and on Stripe's page.
KEEPS_CARD = (
    "Stripe keeps this card for this account, or the one that you put in its place there, and charges it for the auto "
    "top-ups that you set, without you being there. You can change or end that at any time."
)
Said = TypeVar("Said")


class NotSetUp(errors.BillingError):
    code = "buying_not_set_up"
    status = 503
    sentence = "Nothing can be bought here at the moment."
    reason = "This installation has no Stripe key."
    action = "Ask the people who run it to set STRIPE_SECRET_KEY."


class StripeUnavailable(errors.BillingError):
    code = "payments_unavailable"
    status = 503
    sentence = "The payment page could not be opened. Nothing was bought and nothing was paid."
    reason = "Stripe could not be reached, or did not take the request."
    action = "Try again in a moment; with the same Idempotency-Key it stays one purchase."
    can_retry = True


class PackNotOffered(errors.BillingError):
    code = "invalid_fields"
    status = 422
    sentence = "That pack is not offered."
    reason = "There is no such pack, or it is not sold any more."
    action = "Choose one of GET /api/packs."


class TooManyPurchases(errors.BillingError):
    code = "too_many_purchases"
    status = 429
    sentence = "Too many purchases were begun and not paid. Nothing was bought and nothing was paid."
    reason = "An account may have only so many within an hour."
    action = "Pay one of those that are open, or wait as long as Retry-After says."
    can_retry = True


class NoCustomer(errors.BillingError):
    code = "no_customer"
    status = 409
    sentence = "There is nothing to see at Stripe yet."
    reason = "This account has never bought anything, so Stripe knows neither a card nor an invoice of it."
    action = "Buy a pack or subscribe to a plan first."


class BuyingFrozen(errors.AccountFrozen):
    sentence = "This account is frozen. Nothing was bought and nothing was paid."


# The client


def client() -> stripe.StripeClient:
    """The official client, for one request or several; refuses while a transaction is open."""
    if connection.in_atomic_block:
        raise RuntimeError("Stripe was to be asked while a transaction was open.")
    if not settings.STRIPE_IS_SET_UP:
        raise NotSetUp
    return _client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE, settings.STRIPE_API_VERSION)


@cache
def _client(key: str, api_base: str, version: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        stripe_version=version,
        base_addresses={"api": api_base} if api_base else {},
        max_network_retries=1,
        http_client=stripe.RequestsClient(timeout=TIMEOUT_SECONDS),
    )


def asked(what: str, ask: Callable[[], Said], **about: str) -> Said:
    """What Stripe answered; StripeUnavailable where it did not, with the cause in the log and not in the answer."""
    try:
        return ask()
    except stripe.StripeError as error:
        log.error("stripe_refused", what=what, error=str(error)[:300], request_id=error.request_id, **about)
        raise StripeUnavailable from error


# Customers


def customer_of(account: UUID, email: str) -> str:
    """The account's customer at Stripe, made now if there was none."""
    row, _ = Customer.objects.get_or_create(account_id=account)
    if row.stripe_customer is None:
        made = asked(
            "customer",
            lambda: client().v1.customers.create(
                {"email": email, "metadata": {"account": str(account)}}, {"idempotency_key": f"customer:{account}"}
            ),
            account=str(account),
        )
        Customer.objects.filter(account_id=account, stripe_customer=None).update(stripe_customer=made.id)
        row.refresh_from_db()
    assert row.stripe_customer is not None
    return row.stripe_customer


# Packs


def buy(
    account: UUID,
    slug: str,
    *,
    user: Any,
    site: str,
    success_url: str = "",
    cancel_url: str = "",
    keeps_card: bool = False,
    key: ledger.Key | None = None,
) -> tuple[Purchase, ledger.Repeat | None]:
    """A purchase of the pack, OPEN with the address at which it is paid; a repeat of the key gives the first one.

    `keeps_card`: the person, an owner, agreed that the card is kept at Stripe for auto top-up.

    `site` is our own address ("https://desk.example"), for the pages that people come back to.

    What is owed is no obstacle: what is bought settles it first. Raises PackNotOffered, NotSetUp, StripeUnavailable,
    InvalidFields (an address that is not ours), OwnersOnly, AccountFrozen, TooManyPurchases, AccountNotFound.
    """
    if not settings.STRIPE_IS_SET_UP:
        raise NotSetUp
    for name, address in (("success_url", success_url), ("cancel_url", cancel_url)):
        check_address(name, address)
    if keeps_card and people.role_in(user, account) != "owner":
        # What auto top-up charges is its owners' to choose: not to be put in their card's place by a member.
        raise refusals.OwnersOnly(reason="Which card auto top-up charges is for an owner to say.")
    id = key.made if key is not None else new_id()

    def write() -> None:
        # A repeat does not come here: what it asks for again was offered once.
        pack = Pack.objects.filter(slug=slug, is_offered=True).first()
        if pack is None:
            raise PackNotOffered(fields={"pack": ["This pack is not offered."]})
        if Account.objects.get(id=account).is_frozen:
            raise BuyingFrozen
        _refuse_too_many(account)
        Purchase.objects.create(
            id=id,
            account_id=account,
            user=user,
            pack=pack,
            amount_minor=pack.price_minor,
            currency=pack.currency,
            credits=pack.credits,
            keep_months=pack.keep_months,
            success_url=success_url,
            cancel_url=cancel_url,
            keeps_card=keeps_card,
            created_at=now(),
        )

    repeat = idempotency.once(account, key, write)
    purchase = Purchase.objects.select_related("pack").get(account=account, id=repeat.made if repeat else id)
    return open_session(purchase, user.email, site), repeat


def _refuse_too_many(account: UUID) -> None:
    """Whoever tries cards one after the other is slowed down. The account is locked."""
    recent = Purchase.objects.filter(account=account, is_top_up=False, created_at__gt=now() - timedelta(hours=1))
    waiting = recent.exclude(state=Purchase.State.PAID).order_by("-created_at").values_list("created_at", flat=True)
    begun = list(waiting[:UNPAID_AN_HOUR_MAX])
    if len(begun) == UNPAID_AN_HOUR_MAX:
        seconds = (begun[-1] + timedelta(hours=1) - now()).total_seconds()
        raise TooManyPurchases(retry_after_seconds=max(1, math.ceil(seconds)))


def open_session(purchase: Purchase, email: str, site: str) -> Purchase:
    """The purchase has its session at Stripe; asked for again, the same one."""
    if purchase.state != Purchase.State.CREATED:
        return purchase
    customer, line = customer_of(purchase.account_id, email), _line_of(purchase)
    page = f"{(settings.PUBLIC_URL or site).rstrip('/')}/account/credits/purchases/{purchase.id}"
    about = {"purchase": str(purchase.id)}
    kept: Any = {"setup_future_usage": "off_session"} if purchase.keeps_card else {}
    consent: Any = {"custom_text": {"submit": {"message": KEEPS_CARD}}} if purchase.keeps_card else {}
    session = asked(
        "checkout_session",
        lambda: client().v1.checkout.sessions.create(
            {
                "mode": "payment",
                "customer": customer,
                "client_reference_id": str(purchase.id),
                "metadata": about,
                "payment_intent_data": {"metadata": about, **kept},
                "line_items": [line],
                "invoice_creation": {"enabled": True, "invoice_data": {"metadata": about}},
                # What the page says while it waits; whether it was paid is never read from an address.
                "success_url": purchase.success_url or f"{page}?back=paid",
                "cancel_url": purchase.cancel_url or f"{page}?back=cancelled",
                **consent,
            },
            {"idempotency_key": str(purchase.id)},
        ),
        purchase=str(purchase.id),
    )
    Purchase.objects.filter(id=purchase.id, state=Purchase.State.CREATED).update(
        state=Purchase.State.OPEN, stripe_session=session.id, checkout_url=session.url or ""
    )
    purchase.refresh_from_db()
    return purchase


def _line_of(purchase: Purchase) -> Any:
    """What it was sold for: at the pack's price where that is the same, else, when the pack changed, at one of its own.

    Which one is stored before the session is asked for.
    """
    if purchase.stripe_price is None:
        pack = purchase.pack
        is_same = (pack.price_minor, pack.currency, pack.credits) == (
            purchase.amount_minor,
            purchase.currency,
            purchase.credits,
        )
        name = price_of(pack) if is_same else ""
        Purchase.objects.filter(id=purchase.id, stripe_price=None).update(stripe_price=name)
        purchase.refresh_from_db(fields=["stripe_price"])
    if purchase.stripe_price:
        return {"quantity": 1, "price": purchase.stripe_price}
    price = {"currency": purchase.currency, "unit_amount": purchase.amount_minor}
    return {"quantity": 1, "price_data": price | {"product_data": {"name": _name_of(purchase)}}}


def _name_of(sold: Pack | Purchase) -> str:
    return f"{credits.short(sold.credits)} credits"


# Prices


def price_of(sold: Pack | Plan) -> str:
    """Stripe's price of the pack or plan, made now where there is none that says what it is sold for."""
    of = client().v1.prices
    wanted: Any = {"currency": sold.currency, "unit_amount": sold.price_minor}
    if isinstance(sold, Pack):
        wanted["product_data"] = {"name": _name_of(sold)}
        wanted["metadata"] = {"pack": sold.slug, "credits": credits.format(sold.credits)}
    else:
        wanted["product_data"] = {"name": sold.title}
        wanted["metadata"] = {"plan": sold.slug}
        wanted["recurring"] = {"interval": "month"}
    if sold.stripe_price:
        try:
            known = of.retrieve(sold.stripe_price).to_dict()
        except stripe.InvalidRequestError:
            known = {}
        except stripe.StripeError as error:
            raise StripeUnavailable from error
        terms = ("currency", "unit_amount") if isinstance(sold, Plan) else ("currency", "unit_amount", "metadata")
        if known.get("active") and all(known.get(term) == wanted[term] for term in terms):
            return sold.stripe_price
    # The same terms asked for twice, or by two at once, are one price.
    key = hashlib.sha256(json.dumps([str(sold.id), sold.stripe_price, wanted], sort_keys=True).encode()).hexdigest()
    made = asked("price", lambda: of.create(wanted, {"idempotency_key": f"price:{key}"}), sold=sold.slug)
    type(sold)._default_manager.filter(id=sold.id).update(stripe_price=made.id)
    return str(made.id)


def check_address(name: str, address: str) -> None:
    """Raises InvalidFields where people would be sent anywhere but to us."""
    if not address:
        return
    try:
        parts = urlsplit(address)
        host, is_plain = parts.netloc.rpartition(":")[0] if parts.port else parts.netloc, PLAIN.fullmatch(address)
    except ValueError:
        host, is_plain = "", None
    # A star would let people be sent anywhere.
    ours = (
        [urlsplit(settings.PUBLIC_URL).hostname or ""] if settings.PUBLIC_URL else set(settings.ALLOWED_HOSTS) - {"*"}
    )
    is_ours = bool(HOST.fullmatch(host)) and validate_host(host.lower(), ours)
    if not is_plain or parts.scheme not in ("http", "https") or not is_ours or len(address) > 2000:
        raise refusals.InvalidFields(fields={name: ["Write an address of this site."]})


# The portal


def has_customer(account: UUID) -> bool:
    """Says whether Stripe knows the account."""
    return Customer.objects.filter(account=account, stripe_customer__isnull=False).exists()


def portal(account: UUID, return_url: str) -> str:
    """Where the account's people see their invoices, change how they pay, and cancel; plans are changed here.

    Raises NoCustomer, NotSetUp, StripeUnavailable, InvalidFields.
    """
    if not settings.STRIPE_IS_SET_UP:
        raise NotSetUp
    check_address("return_url", return_url)
    customer = Customer.objects.filter(account=account).values_list("stripe_customer", flat=True).first()
    if customer is None:
        raise NoCustomer
    arranged = _portal_arrangement()
    session = asked(
        "portal",
        lambda: client().v1.billing_portal.sessions.create(
            {"customer": customer, "configuration": arranged, "return_url": return_url}
        ),
        account=str(account),
    )
    return session.url


PORTAL_FEATURES: Any = {
    "payment_method_update": {"enabled": True},
    "invoice_history": {"enabled": True},
    "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
    "subscription_update": {"enabled": False},
    "customer_update": {"enabled": False},
}


def _portal_arrangement() -> str:
    """The portal as we arranged it, made once for each key."""
    name = f"stripe-portal-{hashlib.sha256(settings.STRIPE_SECRET_KEY.encode()).hexdigest()[:16]}"
    known = shared.get(name)
    if known is None:
        made = asked(
            "portal_configuration",
            lambda: client().v1.billing_portal.configurations.create(
                {"features": PORTAL_FEATURES}, {"idempotency_key": f"{name}-1"}
            ),
        )
        known = made.id
        shared.set(name, known, timeout=None)
    return str(known)


# Refunds


def send_refund(refunding: Refunding, intent: str) -> str:
    """Stripe has been asked for the refund, once; its events say what became of it. Gives Stripe's name of it."""
    made = asked(
        "refund",
        lambda: client().v1.refunds.create(
            {
                "payment_intent": intent,
                "amount": refunding.amount_minor,
                "metadata": {"refunding": str(refunding.id)},
            },
            {"idempotency_key": str(refunding.id)},
        ),
        refunding=str(refunding.id),
    )
    with transaction.atomic():
        Refunding.objects.filter(id=refunding.id, state=Refunding.State.ASKED).update(
            state=Refunding.State.PENDING, stripe_refund=made.id
        )
    log.info("refund_sent", refunding=str(refunding.id), amount=money.words(refunding.amount_minor, made.currency))
    return made.id
