"""Paid plans at Stripe: what we ask for, never inside a transaction, and what its events do to an enrollment.

The enrollment is stored before Stripe is asked; its id is the idempotency key, and travels in the subscription's
metadata with the plan's slug. A plan is changed here and not in Stripe's portal: up at once, paid for by the days that
are left; down, or to the Free plan, from the next month on. Credits come by paid invoices alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import stripe
import structlog
from django.conf import settings

from . import checkout, errors, idempotency, ledger, periods, plans, sales, stripe_inbox
from .clock import Now, now
from .models import Account, Enrollment, InboxEvent, Plan, new_id
from .periods import Period
from .plans import State
from .sales import NotKnownYet, NotOurs

log = structlog.get_logger("holdfast.subscriptions")


class PlanNotOffered(errors.BillingError):
    code = "invalid_fields"
    status = 422
    sentence = "That plan is not offered."
    reason = "There is no such plan to be paid for, or it is not sold any more."
    action = "Choose one of GET /api/plans that has a price."


class AlreadySubscribed(errors.BillingError):
    code = "already_subscribed"
    status = 409
    sentence = "This account has a paid plan already. Nothing was bought and nothing was paid."
    reason = "An account has one plan at a time."
    action = "Change the plan on the page /account/plan."


class PlanCannotChange(errors.BillingError):
    code = "plan_cannot_change"
    status = 409
    sentence = "The plan cannot be changed in this way now. Nothing was changed."
    reason = "The plan stands otherwise than this act needs."
    action = "Look at the page /account/plan again: it offers what can be done."


class UpgradeNotPaid(errors.BillingError):
    code = "payment_declined"
    status = 402
    sentence = "The card was declined. Your plan stays as it is, and nothing was paid."
    reason = "The bank did not pay for the larger plan."
    action = "Change how you pay, then try again."


# Beginning one


def subscribe(
    account: UUID,
    slug: str,
    *,
    user: Any,
    site: str,
    success_url: str = "",
    cancel_url: str = "",
    key: ledger.Key | None = None,
) -> tuple[Enrollment, ledger.Repeat | None]:
    """A pending enrollment with the address at which it is paid; a repeat of the key gives the first one.

    Raises PlanNotOffered, AlreadySubscribed, NotSetUp, StripeUnavailable, InvalidFields, AccountFrozen,
    TooManyPurchases, AccountNotFound.
    """
    if not settings.STRIPE_IS_SET_UP:
        raise checkout.NotSetUp
    for name, address in (("success_url", success_url), ("cancel_url", cancel_url)):
        checkout.check_address(name, address)
    id = key.made if key is not None else new_id()

    def write() -> None:
        plan = Plan.objects.filter(slug=slug, is_offered=True, price_minor__gt=0).first()
        if plan is None:
            raise PlanNotOffered(fields={"plan": ["This plan is not offered."]})
        if Account.objects.get(id=account).is_frozen:
            raise checkout.BuyingFrozen
        mine = Enrollment.objects.filter(account=account)
        if mine.filter(state__in=plans.IN_FORCE, plan__price_minor__gt=0).exists():
            raise AlreadySubscribed
        begun = mine.filter(
            stripe_subscription=None, plan__price_minor__gt=0, started_at__gt=now() - timedelta(hours=1)
        )
        if begun.count() >= checkout.UNPAID_AN_HOUR_MAX:
            raise checkout.TooManyPurchases(retry_after_seconds=3600)
        Enrollment.objects.create(
            id=id, account_id=account, user=user, plan=plan, state=State.PENDING, started_at=now()
        )

    repeat = idempotency.once(account, key, write)
    row = Enrollment.objects.select_related("plan").get(account=account, id=repeat.made if repeat else id)
    if row.state == State.PENDING and not row.checkout_url:
        _give_up_earlier(row)
        _open_session(row, user.email, site, success_url, cancel_url)
    return row, repeat


def _give_up_earlier(row: Enrollment) -> None:
    """No other page is left at which the account could pay for a second plan."""
    earlier = Enrollment.objects.filter(account=row.account_id, state=State.PENDING).exclude(id=row.id)
    of = checkout.client().v1.checkout.sessions
    for one in earlier.exclude(stripe_session=None):
        name = one.stripe_session or ""
        try:
            of.expire(name)
        except stripe.InvalidRequestError as error:
            if of.retrieve(name).status == "complete":
                raise AlreadySubscribed from error
        except stripe.StripeError as error:
            raise checkout.StripeUnavailable from error
        plans.give_up(one.id)


def _open_session(row: Enrollment, email: str, site: str, success_url: str, cancel_url: str) -> None:
    """The enrollment has its session at Stripe; asked for again, the same one."""
    customer, price = checkout.customer_of(row.account_id, email), _price_of(row.plan)
    page = f"{(settings.PUBLIC_URL or site).rstrip('/')}{plans.PAGE}"
    about = _about(row, row.plan)
    more: dict[str, Any] = {}
    if plans.may_try(row.account_id, row.plan):
        more["trial_period_days"] = row.plan.trial_days
    asked: Any = {
        "mode": "subscription",
        "customer": customer,
        "client_reference_id": str(row.id),
        "metadata": about,
        "subscription_data": {"metadata": about, **more},
        "line_items": [{"quantity": 1, "price": price}],
        "success_url": success_url or f"{page}?back=paid",
        "cancel_url": cancel_url or f"{page}?back=cancelled",
    }
    session = _asked(
        "checkout_session",
        lambda: checkout.client().v1.checkout.sessions.create(asked, {"idempotency_key": str(row.id)}),
    )
    plans.note_names(row.id, session=session.id)
    Enrollment.objects.filter(id=row.id, checkout_url="").update(checkout_url=session.url or "")
    row.refresh_from_db()


def _about(row: Enrollment, plan: Plan, **more: str) -> dict[str, str]:
    return {"enrollment": str(row.id), "account": str(row.account_id), "plan": plan.slug, **more}


def _price_of(plan: Plan) -> str:
    """Stripe's price of the plan, made now where there is none that costs what the plan does."""
    of = checkout.client().v1.prices
    if plan.stripe_price:
        try:
            known = of.retrieve(plan.stripe_price)
        except stripe.InvalidRequestError:
            known = None
        except stripe.StripeError as error:
            raise checkout.StripeUnavailable from error
        if (
            known is not None
            and known.active
            and (known.unit_amount, known.currency) == (plan.price_minor, plan.currency)
        ):
            return plan.stripe_price
    key = f"price:{plan.id}:{plan.price_minor}:{plan.currency}:{plan.stripe_price}"
    asked: Any = {
        "currency": plan.currency,
        "unit_amount": plan.price_minor,
        "recurring": {"interval": "month"},
        "product_data": {"name": plan.title},
        "metadata": {"plan": plan.slug},
    }
    made = _asked("price", lambda: of.create(asked, {"idempotency_key": key}))
    Plan.objects.filter(id=plan.id).update(stripe_price=made.id)
    return str(made.id)


def _asked(what: str, ask: Callable[[], Any]) -> Any:
    """What Stripe answered; StripeUnavailable where it did not."""
    try:
        return ask()
    except stripe.StripeError as error:
        log.error("stripe_refused", what=what, error=str(error)[:300], request_id=error.request_id)
        raise checkout.StripeUnavailable from error


# Changing one


def change(account: UUID, slug: str) -> str:
    """The account's paid plan is to be that one: a larger one now, a smaller one from the next month on. In words.

    Raises PlanNotOffered, PlanCannotChange, UpgradeNotPaid, StripeUnavailable.
    """
    row, plan = _paid(account), Plan.objects.filter(slug=slug, is_offered=True, price_minor__gt=0).first()
    if plan is None or plan.currency != row.plan.currency:
        raise PlanNotOffered(fields={"plan": ["This plan is not offered."]})
    is_as_it_is = row.state == State.ACTIVE and row.next_plan is None and not row.ends_with_period
    if not is_as_it_is or plan.id == row.plan_id or row.period_start is None or row.period_end is None:
        raise PlanCannotChange
    if plan.price_minor > row.plan.price_minor:
        return _upgrade(row, plan, Period(row.period_start, row.period_end))
    _update(row, items=_item(row, plan), proration_behavior="none", metadata=_about(row, plan, from_plan=""))
    plans.asked(row.id, is_ending=False, next_plan=plan)
    return f"{plan.title} begins on {plans.say_day(row.period_end)}. Until then everything stays as it is."


def _upgrade(row: Enrollment, plan: Plan, month: Period) -> str:
    moment = now()
    gives, left, days = plans.upgrade_gives(row, plan, moment)
    if not left:
        raise PlanCannotChange(reason="This month is over and the next one is not paid yet.")
    _update(
        row,
        items=_item(row, plan),
        proration_behavior="always_invoice",
        proration_date=int(periods.part_begins(month, moment).timestamp()),
        payment_behavior="error_if_incomplete",
        metadata=_about(row, plan, from_plan=row.plan.slug),
    )
    return (
        f"{plan.title} is being paid for: {left} of {days} days. {plans.whole(gives)} credits come as soon as the "
        "payment is confirmed."
    )


def cancel(account: UUID) -> str:
    """The plan ends with its month, or now where nothing is paid for; in words."""
    row = _paid(account)
    if row.state in (State.GRACE, State.PAUSED):
        _cancel_at_stripe(row)
        plans.end(row.id)
        return "Your plan has ended. The account is on the Free plan."
    if row.ends_with_period:
        raise PlanCannotChange
    if row.next_plan is not None:
        _update(
            row, items=_item(row, row.plan), proration_behavior="none", metadata=_about(row, row.plan, from_plan="")
        )
    _update(row, cancel_at_period_end=True)
    plans.asked(row.id, is_ending=True, next_plan=None)
    return f"{row.plan.title} ends on {plans.say_day(row.period_end or now())}. Until then everything stays as it is."


def keep(account: UUID) -> str:
    """What was asked for the next month is undone: the plan goes on as it is; in words."""
    row = _paid(account)
    if row.state == State.PAUSED or not (row.ends_with_period or row.next_plan):
        raise PlanCannotChange
    if row.ends_with_period:
        _update(row, cancel_at_period_end=False)
    if row.next_plan is not None:
        _update(
            row, items=_item(row, row.plan), proration_behavior="none", metadata=_about(row, row.plan, from_plan="")
        )
    plans.asked(row.id, is_ending=False, next_plan=None)
    return f"{row.plan.title} goes on."


def go_on(account: UUID) -> str:
    """A paused plan begins a new month, which is paid for now; in words."""
    row = _paid(account)
    if row.state != State.PAUSED:
        raise PlanCannotChange
    name = row.stripe_subscription or ""
    _asked("resume", lambda: checkout.client().v1.subscriptions.resume(name, {"billing_cycle_anchor": "now"}))
    return f"{row.plan.title} goes on as soon as the payment is confirmed."


def _paid(account: UUID) -> Enrollment:
    row = plans.in_force(account)
    if row is None or not row.plan.price_minor or row.stripe_subscription is None:
        raise PlanCannotChange
    return row


def _item(row: Enrollment, plan: Plan) -> list[Any]:
    found = _asked("subscription", lambda: checkout.client().v1.subscriptions.retrieve(row.stripe_subscription or ""))
    return [{"id": found.to_dict()["items"]["data"][0]["id"], "price": _price_of(plan)}]


def _update(row: Enrollment, **wanted: Any) -> None:
    of: Any = checkout.client().v1.subscriptions
    try:
        of.update(row.stripe_subscription, wanted)
    except stripe.CardError as error:
        raise UpgradeNotPaid from error
    except stripe.StripeError as error:
        log.error("stripe_refused", what="subscription", error=str(error)[:300], enrollment=str(row.id))
        raise checkout.StripeUnavailable from error


def _cancel_at_stripe(row: Enrollment) -> None:
    """Stripe asks for no more payments; also where it had ended there before."""
    try:
        checkout.client().v1.subscriptions.cancel(row.stripe_subscription or "")
    except stripe.InvalidRequestError as error:
        if error.code != "resource_missing":
            raise checkout.StripeUnavailable from error
    except stripe.StripeError as error:
        raise checkout.StripeUnavailable from error


def end_graces(until: float | None = None) -> int:
    """Whoever has not paid in time is on the Free plan, and asked for no more money; how many.

    Where Stripe cannot be told, the plan stays until it can: nobody is asked to pay for what they no longer have.
    """
    done = 0
    late = Enrollment.objects.filter(state=State.GRACE, grace_until__lte=Now()).order_by("grace_until")
    for row in late[: plans.BATCH]:
        if until is not None and time.monotonic() >= until:
            break
        try:
            _cancel_at_stripe(row)
        except (checkout.StripeUnavailable, checkout.NotSetUp) as error:
            log.warning("grace_not_ended", enrollment=str(row.id), error=str(error))
            continue
        plans.end(row.id)
        done += 1
    return done


# What Stripe tells

Thing = Mapping[str, Any]


def _enrollment_of(metadata: Any, subscription: str) -> UUID:
    """The enrollment that is named, or that has this subscription. NotOurs where there is neither."""
    id = sales.uuid_in(metadata, "enrollment")
    if id is None and subscription:
        id = Enrollment.objects.filter(stripe_subscription=subscription).values_list("id", flat=True).first()
    if id is None:
        raise NotOurs("about no plan of ours")
    return id


def _session_of(event: InboxEvent) -> tuple[Thing, UUID]:
    session = event.payload["data"]["object"]
    if session.get("mode") != "subscription":
        raise NotOurs("nothing to do")
    return session, _enrollment_of(session.get("metadata"), sales.name_of(session.get("subscription")))


def _session_completed(event: InboxEvent) -> str:
    """Only its names are noted: the subscription says how it stands, and its invoices grant."""
    session, id = _session_of(event)
    names = {"session": sales.name_of(session.get("id")), "subscription": sales.name_of(session.get("subscription"))}
    plans.note_names(id, **names)
    return "noted"


def _session_over(event: InboxEvent) -> str:
    _, id = _session_of(event)
    return plans.give_up(id)


def _subscription_told(event: InboxEvent) -> str:
    """The enrollment stands as its subscription does: as Stripe says now, or else as it said then."""
    told: Thing = event.payload["data"]["object"]
    name = sales.name_of(told.get("id"))
    id = _enrollment_of(told.get("metadata"), name)
    is_fresh = False
    try:
        found = checkout.client().v1.subscriptions.retrieve(name).to_dict()
        told, is_fresh = found, True
    except (checkout.NotSetUp, stripe.StripeError) as error:
        log.info("subscription_not_read", subscription=name, error=type(error).__name__)
    status = str(told.get("status"))
    if status == "trialing" and told.get("trial_start") and told.get("trial_end"):
        plans.give_trial(id, Period(_moment(told["trial_start"]), _moment(told["trial_end"])), name)
    items = (told.get("items") or {}).get("data") or [{}]
    start, over = items[0].get("current_period_start"), items[0].get("current_period_end")
    return plans.told(
        id,
        status,
        subscription=name,
        at=event.happened_at,
        period=Period(_moment(start), _moment(over)) if start and over else None,
        is_ending=bool(told.get("cancel_at_period_end") or told.get("cancel_at")),
        next_plan=_plan_named(told.get("metadata"), "plan"),
        is_fresh=is_fresh,
    )


def _subscription_over(event: InboxEvent) -> str:
    told = event.payload["data"]["object"]
    name = sales.name_of(told.get("id"))
    return plans.end(_enrollment_of(told.get("metadata"), name), name)


def _subscription_in(invoice: Thing) -> tuple[str, Thing]:
    """Which subscription the invoice is for, and what its metadata said then."""
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    return sales.name_of(details.get("subscription")), details.get("metadata") or {}


def _invoice_paid(event: InboxEvent) -> str:
    """The month or the upgrade that it is for is granted; nothing by an invoice of nothing but a trial's credits."""
    invoice: Thing = event.payload["data"]["object"]
    subscription, metadata = _subscription_in(invoice)
    id = _enrollment_of(metadata, subscription)
    reason, total = invoice.get("billing_reason"), invoice.get("total")
    if reason not in ("subscription_create", "subscription_cycle", "subscription_update"):
        raise NotOurs(f"an invoice for {reason}")
    if isinstance(total, bool) or not isinstance(total, int) or total <= 0:
        return "nothing was paid, nothing is granted"
    sold = plans.Sold(
        invoice=sales.name_of(invoice.get("id")),
        amount_minor=total,
        currency=str(invoice.get("currency")),
        url=_page_of(invoice),
        intent=_intent_in(invoice),
    )
    plan = _plan_named(metadata, "plan")
    if plan is None:
        raise NotKnownYet(f"there is no plan called {metadata.get('plan')}")
    if reason == "subscription_update":
        old, part = _plan_named(metadata, "from_plan"), _period_of(invoice, is_proration=True)
        if old is None or part is None:
            raise NotOurs("a change that was not made here")
        return plans.allocate_upgrade(id, old, plan, part, sold, subscription)
    period = _period_of(invoice, is_proration=False)
    if period is None:
        raise NotKnownYet("the invoice has no line for a month")
    return plans.allocate_month(id, plan, period, sold, subscription)


def _invoice_failed(event: InboxEvent) -> str:
    invoice: Thing = event.payload["data"]["object"]
    subscription, metadata = _subscription_in(invoice)
    id = _enrollment_of(metadata, subscription)
    if invoice.get("billing_reason") != "subscription_cycle":
        return "the plan stays as it was"
    return plans.payment_failed(id, sales.name_of(invoice.get("id")), subscription)


def _invoice_payment(event: InboxEvent) -> str:
    """What paid which invoice: Stripe does not lead from a payment to its invoice, so refunds are found by this."""
    told: Thing = event.payload["data"]["object"]
    invoice, intent = (
        sales.name_of(told.get("invoice")),
        sales.name_of((told.get("payment") or {}).get("payment_intent")),
    )
    if not invoice or not intent:
        raise NotOurs("no payment of an invoice")
    if plans.note_intent(invoice, intent):
        return "noted"
    found = checkout.client().v1.invoices.retrieve(invoice).to_dict()
    subscription, metadata = _subscription_in(found)
    _enrollment_of(metadata, subscription)
    if not found.get("total"):
        raise NotOurs("it grants nothing")
    raise NotKnownYet(f"{invoice} has granted nothing yet")


def _plan_named(metadata: Any, name: str) -> Plan | None:
    slug = metadata.get(name) if isinstance(metadata, Mapping) else None
    return Plan.objects.filter(slug=slug).first() if isinstance(slug, str) and slug else None


def _period_of(invoice: Thing, *, is_proration: bool) -> Period | None:
    """What the invoice's line is for: the month, or the part of one that a larger plan costs more for."""
    for line in (invoice.get("lines") or {}).get("data") or []:
        details = (line.get("parent") or {}).get("subscription_item_details") or {}
        if bool(details.get("proration")) == is_proration and details and line.get("amount", 0) > 0:
            return Period(_moment(line["period"]["start"]), _moment(line["period"]["end"]))
    return None


def _intent_in(invoice: Thing) -> str:
    for one in (invoice.get("payments") or {}).get("data") or []:
        intent = sales.name_of((one.get("payment") or {}).get("payment_intent"))
        if one.get("status") == "paid" and intent:
            return intent
    return ""


def _page_of(invoice: Thing) -> str:
    url = invoice.get("hosted_invoice_url")
    schemes = ("https://",) if settings.STRIPE_LIVE_MODE else ("https://", "http://")
    return url if isinstance(url, str) and url.startswith(schemes) else ""


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


EFFECTS: dict[str, stripe_inbox.Effect] = {
    "checkout.session.completed": _session_completed,
    "checkout.session.async_payment_succeeded": _session_completed,
    "checkout.session.expired": _session_over,
    "customer.subscription.created": _subscription_told,
    "customer.subscription.updated": _subscription_told,
    "customer.subscription.paused": _subscription_told,
    "customer.subscription.resumed": _subscription_told,
    "customer.subscription.deleted": _subscription_over,
    "invoice.paid": _invoice_paid,
    "invoice.payment_succeeded": _invoice_paid,
    "invoice.payment_failed": _invoice_failed,
    "invoice_payment.paid": _invoice_payment,
}
