"""Paid plans at Stripe: what we ask for, never inside a transaction, and what its events do to an enrollment.

The enrollment is stored before Stripe is asked; its id is the idempotency key, and travels in the subscription's
metadata with the plan's slug. A plan is changed here and not in Stripe's portal: up at once, paid for by the days that
are left; down, or to the Free plan, from the next month on. Credits come by paid invoices alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import stripe
import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from . import checkout, errors, giving_back, idempotency, ledger, periods, plans, sales, stripe_inbox
from .clock import Now, now
from .models import Account, Enrollment, InboxEvent, Plan, PlanChange, new_id
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
    action = "Change it: POST /api/payments/plan/change."


class NoPaidPlan(errors.BillingError):
    code = "no_paid_plan"
    status = 409
    sentence = "This account has no plan that is paid for. Nothing was changed."
    reason = "Only a plan with a price is changed, ended, or gone on with."
    action = "Subscribe to one: POST /api/payments/subscribe."


class PlanCannotChange(errors.BillingError):
    code = "plan_cannot_change"
    status = 409
    sentence = "The plan cannot be changed in this way now. Nothing was changed."
    reason = "The plan stands otherwise than this act needs."
    action = "Look at GET /api/payments/plan: it lists what can be done."


class PlanUnpaid(PlanCannotChange):
    code = "plan_unpaid"
    sentence = "The last payment for this plan did not go through. Nothing was changed."
    reason = "A plan is changed once what is open is paid."
    action = "Settle it first: POST /api/payments/plan/settle, after a change of the card in the portal if need be."


class PlanPaused(PlanCannotChange):
    code = "plan_paused"
    sentence = "This plan is paused. Nothing was changed."
    reason = "A paused plan goes on before it is changed."
    action = "Go on with it first: POST /api/payments/plan/resume."


class PlanChangePlanned(PlanCannotChange):
    code = "plan_change_planned"
    sentence = "Another change of this plan is planned. Nothing was changed."
    reason = "It ends, or becomes a smaller one, with its month."
    action = "Undo that first: POST /api/payments/plan/keep."


class PlanChangeInProgress(PlanCannotChange):
    code = "plan_change_in_progress"
    sentence = "Something about this plan is being confirmed. Nothing was changed."
    reason = "A payment, a change, or a new month is under way, and Stripe's word on it has not come yet."
    action = "Try again in a moment."
    can_retry = True


class PlanUnreachable(checkout.StripeUnavailable):
    sentence = "Stripe could not be reached. Nothing was changed and nothing was paid."
    action = "Try again in a moment."


class PlanChangeOnItsWay(checkout.StripeUnavailable):
    sentence = "Stripe has not answered yet. What you asked for is noted, and asked for again within a minute."
    action = "Look again in a minute. It is done once, or not at all."


class UpgradeNotPaid(errors.BillingError):
    code = "payment_declined"
    status = 402
    sentence = "The card was declined. Your plan stays as it is, and nothing was paid."
    reason = "The bank did not pay."
    action = "Change how you pay (POST /api/payments/portal), then try again."


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
        _refuse_another(account)
        mine = Enrollment.objects.filter(account=account)
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
        # A repeat may come long after its first request, which could open no page; a plan was paid for in between.
        _refuse_another(account)
        _open_session(row, user.email, site, success_url, cancel_url)
    return row, repeat


def _refuse_another(account: UUID) -> None:
    """Raises AlreadySubscribed where the account has a plan that is paid for."""
    if Enrollment.objects.filter(account=account, state__in=plans.IN_FORCE, plan__price_minor__gt=0).exists():
        raise AlreadySubscribed


def _give_up_earlier(row: Enrollment) -> None:
    """No page that was opened before is left at which the account could pay for a second plan.

    One that is only being opened finds that it was given up, and closes again (_open_session).
    """
    earlier = Enrollment.objects.filter(account=row.account_id, state=State.PENDING, started_at__lte=row.started_at)
    of = checkout.client().v1.checkout.sessions
    for one in earlier.exclude(id=row.id):
        if one.stripe_session is None and plans.give_up(one.id, unless_opened=True) == State.ENDED:
            continue
        one.refresh_from_db()
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
    customer, price = checkout.customer_of(row.account_id, email), checkout.price_of(row.plan)
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
    session = checkout.asked(
        "checkout_session",
        lambda: checkout.client().v1.checkout.sessions.create(asked, {"idempotency_key": str(row.id)}),
    )
    plans.note_names(row.id, session=session.id)
    row.refresh_from_db()
    if row.state == State.ENDED:  # given up while its page was being opened: another was begun after it
        with suppress(stripe.StripeError):  # it closes by itself within a day, and being paid it is undone
            checkout.client().v1.checkout.sessions.expire(session.id)
        raise PlanChangeInProgress(reason="Another page to pay for a plan was opened at the same time.")
    Enrollment.objects.filter(id=row.id, checkout_url="").update(checkout_url=session.url or "")
    row.refresh_from_db()


def _about(row: Enrollment, plan: Plan, **more: str) -> dict[str, str]:
    return {"enrollment": str(row.id), "account": str(row.account_id), "plan": plan.slug, **more}


# Changing one: decide by our row and Stripe's, store what is asked, ask it, note what it did

Act = PlanChange.Act
# So long a change is its own request's to send, before the worker's sweep does; and so long it is tried at all.
WAITS, TRIED_FOR = timedelta(seconds=60), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be asked of Stripe, and what that means in words."""

    act: str
    said: str
    plan: Plan | None = None
    # Stripe's object, where it is not the subscription; and the parameters.
    name: str = ""
    asks: dict[str, Any] = field(default_factory=dict)


Decide = Callable[[Enrollment], Wish]


def change(account: UUID, slug: str, *, user: Any = None, key: ledger.Key | None = None) -> Changed:
    """The account's paid plan is to be that one: a larger one now, a smaller one from the next month on.

    On trial at once and for nothing: the trial goes on until its end. Raises PlanNotOffered, UpgradeNotPaid and
    whatever `_asked_once` does.
    """

    def decide(row: Enrollment) -> Wish:
        plan = Plan.objects.filter(slug=slug, is_offered=True, price_minor__gt=0).first()
        if plan is None or plan.currency != row.plan.currency:
            raise PlanNotOffered(fields={"plan": ["This plan is not offered."]})
        refuse_change(row, plan)
        if row.state == State.TRIAL:
            end = plans.say_day(row.period_end or now())
            said = f"You are trying {plan.title} now, until {end} as before. Nothing was charged."
            return Wish(Act.SWITCH_TRIAL, said, plan, asks=_item_of(row, plan))
        assert row.period_start is not None, "refuse_change has seen it"
        assert row.period_end is not None, "refuse_change has seen it"
        if plan.price_minor > row.plan.price_minor:
            return _upgrade(row, plan, Period(row.period_start, row.period_end))
        said = f"{plan.title} begins on {plans.say_day(row.period_end)}. Until then everything stays as it is."
        return Wish(Act.DOWNGRADE, said, plan, asks=_item_of(row, plan))

    return _asked_once(account, decide, user, key)


def refuse_change(row: Enrollment, plan: Plan) -> None:
    """Raises what stands in the way of that plan now: PlanUnpaid, PlanPaused, PlanChangePlanned, PlanCannotChange."""
    if row.state == State.GRACE:
        raise PlanUnpaid
    if row.state == State.PAUSED:
        raise PlanPaused
    if row.next_plan is not None or row.ends_with_period:
        raise PlanChangePlanned
    if row.period_start is None or row.period_end is None:
        raise PlanChangeInProgress
    if plan.id == row.plan_id or plan.price_minor == row.plan.price_minor != 0:
        raise PlanCannotChange(reason="The account has that plan, or one of the same price.")


def _upgrade(row: Enrollment, plan: Plan, month: Period) -> Wish:
    moment = now()
    gives, left, days = plans.upgrade_gives(row, plan, moment)
    if not left:
        raise PlanChangeInProgress(reason="This month is over and the next one is not paid yet.")
    asks = _item_of(row, plan) | {
        "proration_behavior": "always_invoice",
        "proration_date": int(periods.part_begins(month, moment).timestamp()),
        "payment_behavior": "error_if_incomplete",
    }
    asks["metadata"]["from_plan"] = row.plan.slug
    said = (
        f"{plan.title} is being paid for: {left} of {days} days. {plans.whole(gives)} credits come as soon as the "
        "payment is confirmed."
    )
    return Wish(Act.UPGRADE, said, plan, asks=asks)


def cancel(account: UUID, *, user: Any = None, key: ledger.Key | None = None) -> Changed:
    """The plan ends with its month or its trial, or now where nothing is paid for."""

    def decide(row: Enrollment) -> Wish:
        if row.state in (State.GRACE, State.PAUSED):
            return Wish(Act.END, "Your plan has ended. The account is on the Free plan.")
        if row.ends_with_period:
            raise PlanCannotChange(reason="It ends already.", action="Nothing is left to do.")
        asks: dict[str, Any] = {"cancel_at_period_end": True}
        if row.next_plan is not None:
            asks |= _item_of(row, row.plan)
        end = plans.say_day(row.period_end or now())
        return Wish(Act.CANCEL, f"{row.plan.title} ends on {end}. Until then everything stays as it is.", asks=asks)

    # Whoever wants to end it is not kept waiting by news that have not come: ending is right whatever they say.
    return _asked_once(account, decide, user, key, is_patient=False)


def keep(account: UUID, *, user: Any = None, key: ledger.Key | None = None) -> Changed:
    """What was asked for the next month is undone: the plan goes on as it is."""

    def decide(row: Enrollment) -> Wish:
        if row.state == State.GRACE:
            raise PlanUnpaid
        if row.state == State.PAUSED or not (row.ends_with_period or row.next_plan):
            raise PlanCannotChange(reason="Nothing is planned that could be undone.", action="Nothing is left to do.")
        asks: dict[str, Any] = {"cancel_at_period_end": False} if row.ends_with_period else {}
        if row.next_plan is not None:
            asks |= _item_of(row, row.plan)
        return Wish(Act.KEEP, f"{row.plan.title} goes on.", asks=asks)

    return _asked_once(account, decide, user, key)


def go_on(account: UUID, *, user: Any = None, key: ledger.Key | None = None) -> Changed:
    """A paused plan begins a new month, which is paid for now."""

    def decide(row: Enrollment) -> Wish:
        if row.state != State.PAUSED:
            raise PlanCannotChange(reason="It is not paused.", action="Nothing is left to do.")
        said = f"{row.plan.title} goes on as soon as the payment is confirmed."
        return Wish(Act.RESUME, said, asks={"billing_cycle_anchor": "now"})

    return _asked_once(account, decide, user, key)


def settle(account: UUID, *, user: Any = None, key: ledger.Key | None = None) -> Changed:
    """The invoice that was not paid is tried again now, with the card that Stripe has. Raises UpgradeNotPaid."""

    def decide(row: Enrollment) -> Wish:
        if row.state != State.GRACE:
            raise PlanCannotChange(reason="Nothing is left unpaid.", action="Nothing is left to do.")
        of = checkout.client().v1.invoices
        name = row.stripe_subscription or ""
        found = _read(lambda: of.list({"subscription": name, "status": "open", "limit": 1})).data
        if not found:
            raise PlanChangeInProgress  # paid, and not heard of yet; or over
        said = "The payment went through. Your plan goes on, and its credits come as soon as that is confirmed."
        return Wish(Act.SETTLE, said, name=found[0].id)

    return _asked_once(account, decide, user, key)


def _item_of(row: Enrollment, plan: Plan) -> dict[str, Any]:
    """The subscription's item at the plan's price, without any money moving; its metadata says which plan that is."""
    found = _read(lambda: checkout.client().v1.subscriptions.retrieve(row.stripe_subscription or "")).to_dict()
    return {
        "items": [{"id": found["items"]["data"][0]["id"], "price": checkout.price_of(plan)}],
        "proration_behavior": "none",
        "metadata": _about(row, plan, from_plan=""),
    }


def _read(ask: Callable[[], Any]) -> Any:
    """What Stripe answered to a question that changes nothing."""
    try:
        return ask()
    except stripe.StripeError as error:
        log.warning("stripe_not_read", error=str(error)[:300])
        raise PlanUnreachable from error


def paid_plan(account: UUID) -> Enrollment:
    """The account's plan in force, which is paid for at Stripe; NoPaidPlan where there is none."""
    row = plans.in_force(account)
    if row is None or not row.plan.price_minor or row.stripe_subscription is None:
        raise NoPaidPlan
    return row


Changed = tuple[PlanChange, ledger.Repeat | None]


def _asked_once(
    account: UUID, decide: Decide, user: Any, key: ledger.Key | None, *, is_patient: bool = True
) -> Changed:
    """Stripe took what was decided, once; a repeat of the key finds the change as it is now, or goes on with it.

    Raises NoPaidPlan, PlanChangeInProgress (another change, or news that have not come), PlanUnpaid, PlanPaused,
    PlanCannotChange, UpgradeNotPaid, PlanUnreachable, StripeUnavailable, NotSetUp, RequestInProgress.
    """
    if not settings.STRIPE_IS_SET_UP:
        raise checkout.NotSetUp
    repeat = idempotency.repeat_of(account, key)
    before = PlanChange.objects.get(account=account, id=repeat.made) if repeat else None
    if before is None or before.state == PlanChange.State.REFUSED:
        begun_at, row = now(), paid_plan(account)
        if is_patient:
            _refuse_stale(row)
        begun = _begin(row, decide(row), user, key, before, begun_at)
        if begun is not None:
            send(begun)
            return begun, None
        # Somebody with the same key was faster.
        repeat = idempotency.repeat_of(account, key)
        assert repeat is not None
        before = PlanChange.objects.get(account=account, id=repeat.made)
    if before.state == PlanChange.State.ASKED:
        if before.created_at > now() - WAITS:
            raise errors.RequestInProgress(retry_after_seconds=2)
        send(before)
    return before, repeat


def _refuse_stale(row: Enrollment) -> None:
    """Stripe's subscription stands as our row says; else something was asked or happened that is not heard of yet."""
    name = row.stripe_subscription or ""
    found = _read(lambda: checkout.client().v1.subscriptions.retrieve(name)).to_dict()
    plan = (found.get("metadata") or {}).get("plan")
    end = found["items"]["data"][0]["current_period_end"]
    is_same_month = row.period_end is not None and end == int(row.period_end.timestamp())
    is_running = row.state in (State.TRIAL, State.ACTIVE)
    if plan != (row.next_plan or row.plan).slug or (is_running and not is_same_month):
        raise PlanChangeInProgress


def _begin(
    row: Enrollment, wish: Wish, user: Any, key: ledger.Key | None, before: PlanChange | None, begun_at: datetime
) -> PlanChange | None:
    """The change is stored, the only one that is being asked; None where the key's first request was faster.

    Locks the enrollment, then the account.
    """
    id = before.id if before is not None else key.made if key is not None else new_id()
    told = {
        "act": wish.act,
        "plan": wish.plan,
        "stripe_name": wish.name or row.stripe_subscription or "",
        "asks": wish.asks,
        "said": wish.said,
    }

    def write() -> None:
        mine = PlanChange.objects.filter(account=row.account_id, enrollment=row.id)
        if mine.filter(Q(state=PlanChange.State.ASKED) | Q(ended_at__gte=begun_at)).exclude(id=id).exists():
            raise PlanChangeInProgress
        # refusing ends

        if before is None:
            PlanChange.objects.create(
                id=id, account_id=row.account_id, enrollment_id=row.id, user=user, created_at=now(), **told
            )
            return
        again = mine.filter(id=id, state=PlanChange.State.REFUSED)
        if not again.update(
            state=PlanChange.State.ASKED, tries=F("tries") + 1, created_at=now(), ended_at=None, **told
        ):
            raise errors.RequestInProgress(retry_after_seconds=2)

    with plans.locked(row.id) as (current, _):
        if plans.standing(current) != plans.standing(row):
            raise PlanChangeInProgress
        if before is not None:
            write()
        elif idempotency.once(row.account_id, key, write) is not None:
            return None
    return PlanChange.objects.get(account=row.account_id, id=id)


# What Stripe says to a change that was done before, by us or there.
_DONE_BEFORE = {Act.END: "resource_missing", Act.SETTLE: "invoice_already_paid"}


def send(change: PlanChange) -> None:
    """Stripe took the change, and our row knows what it did; asked for again, the same. Outside any transaction.

    Raises UpgradeNotPaid or PlanCannotChange where Stripe refuses, and PlanChangeOnItsWay where it is not known
    whether it did: then the worker asks again.
    """
    try:
        is_paid = _ask(change)
    except stripe.CardError as error:
        _refused(change, "The card was declined.")
        raise UpgradeNotPaid from error
    except stripe.InvalidRequestError as error:
        if error.code != _DONE_BEFORE.get(Act(change.act)):
            log.error("plan_change_refused", change=str(change.id), act=change.act, error=str(error)[:300])
            _refused(change, "Stripe refused.")
            raise PlanCannotChange from error
        is_paid = True
    except (stripe.StripeError, checkout.NotSetUp) as error:
        log.warning("plan_change_not_sent", change=str(change.id), act=change.act, error=str(error)[:300])
        raise PlanChangeOnItsWay from error
    if not is_paid:
        _refused(change, "The bank asks the cardholder to confirm the payment.")
        raise UpgradeNotPaid(reason="The bank asks you to confirm the payment, on Stripe's page of the invoice.")
    _done(change)


def _ask(change: PlanChange) -> bool:
    """False where Stripe took it, and the invoice that was to be paid is not."""
    v1, name, once = checkout.client().v1, change.stripe_name, {"idempotency_key": f"{change.id}:{change.tries}"}
    asks: Any = change.asks
    options: Any = once
    match change.act:
        case Act.END:
            v1.subscriptions.cancel(name, {}, options)
        case Act.RESUME:
            v1.subscriptions.resume(name, asks, options)
        case Act.SETTLE:
            return v1.invoices.pay(name, {"off_session": False}, options).status == "paid"
        case _:
            v1.subscriptions.update(name, asks, options)
    return True


def _done(change: PlanChange) -> None:
    with transaction.atomic():
        asked = PlanChange.objects.filter(id=change.id, state=PlanChange.State.ASKED)
        if not asked.update(state=PlanChange.State.DONE, ended_at=Now()):
            return
        match change.act:
            case Act.DOWNGRADE:
                plans.asked(change.enrollment_id, is_ending=False, next_plan=change.plan)
            case Act.CANCEL | Act.KEEP:
                plans.asked(change.enrollment_id, is_ending=change.act == Act.CANCEL, next_plan=None)
            case Act.SWITCH_TRIAL if change.plan is not None:
                plans.switch_trial(change.enrollment_id, change.plan)
            case Act.END:
                plans.end(change.enrollment_id)
    change.refresh_from_db()


def _refused(change: PlanChange, said: str) -> None:
    PlanChange.objects.filter(id=change.id, state=PlanChange.State.ASKED).update(
        state=PlanChange.State.REFUSED, ended_at=Now(), said=said
    )


def send_waiting(until: float | None = None) -> int:
    """Changes that were stored and not known to be taken are asked for again, with the same key; how many.

    After an hour it is given up: what Stripe took of it is heard by its events.
    """
    if not settings.STRIPE_IS_SET_UP:
        return 0
    moment, done = now(), 0
    waiting = PlanChange.objects.filter(state=PlanChange.State.ASKED, created_at__lte=moment - WAITS)
    for change in waiting.order_by("created_at")[: plans.BATCH]:
        if until is not None and time.monotonic() >= until:
            break
        if change.created_at < moment - TRIED_FOR:
            _refused(change, "Stripe could not be asked in time.")
            continue
        with suppress(errors.BillingError):
            send(change)
        done += 1
    return done


def _cancel_at_stripe(name: str) -> None:
    """Stripe asks for no more payments; also where it had ended there before."""
    try:
        checkout.client().v1.subscriptions.cancel(name)
    except stripe.InvalidRequestError as error:
        if error.code != "resource_missing":
            raise checkout.StripeUnavailable from error
    except stripe.StripeError as error:
        raise checkout.StripeUnavailable from error


# What ends by itself


def undo_second(enrollment: UUID) -> None:
    """A plan that was paid for beside another has ended at Stripe too, and its money is asked back."""
    row = Enrollment.objects.get(id=enrollment)
    _cancel_at_stripe(row.stripe_subscription or "")
    for refunding in plans.ask_back(enrollment):
        giving_back.send(refunding)


def undo_seconds(until: float | None = None) -> int:
    """The same for every second plan for which it could not be done at once; how many were."""
    done = 0
    for id in plans.seconds_to_undo():
        if until is not None and time.monotonic() >= until:
            break
        try:
            undo_second(id)
        except (checkout.StripeUnavailable, checkout.NotSetUp) as error:
            log.warning("second_plan_not_undone", enrollment=str(id), error=str(error))
            continue
        done += 1
    return done


def end_graces(until: float | None = None) -> int:
    """Whoever has not paid in time is on the Free plan, and asked for no more money; how many.

    Where Stripe cannot be told, the plan stays until it can: nobody is asked to pay for what they no longer have.
    """
    done = 0
    late = Enrollment.objects.filter(state=State.GRACE, grace_until__lte=Now()).order_by("grace_until")
    for row in late[: plans.BATCH]:
        if until is not None and time.monotonic() >= until:
            break
        if not late.filter(id=row.id).exists():
            continue  # paid at the last moment, while Stripe was asked about the others
        try:
            _cancel_at_stripe(row.stripe_subscription or "")
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
    heard = Enrollment.objects.filter(id=id).values_list("told_at", flat=True).first()
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
    outcome = plans.told(
        id,
        status,
        subscription=name,
        at=event.happened_at,
        period=Period(_moment(start), _moment(over)) if start and over else None,
        is_ending=bool(told.get("cancel_at_period_end") or told.get("cancel_at")),
        next_plan=_plan_named(told.get("metadata"), "plan"),
        is_fresh=is_fresh,
        heard=heard,
    )
    _undo_if_second(id)
    return outcome


def _undo_if_second(id: UUID) -> None:
    """At once, if that can be; else the worker's sweep does it."""
    if Enrollment.objects.filter(id=id, is_second=True, undone_at=None).exists():
        with suppress(checkout.StripeUnavailable, checkout.NotSetUp):
            undo_second(id)


def _subscription_over(event: InboxEvent) -> str:
    told = event.payload["data"]["object"]
    name = sales.name_of(told.get("id"))
    return plans.end(_enrollment_of(told.get("metadata"), name), name)


def _invoice_of(event: InboxEvent) -> Thing:
    """The event's invoice; as Stripe shows it to us where the event is of an API version that shapes it otherwise."""
    told: Thing = event.payload["data"]["object"]
    if event.payload.get("api_version") == settings.STRIPE_API_VERSION:
        return told
    return dict(checkout.client().v1.invoices.retrieve(sales.name_of(told.get("id"))).to_dict())


def _subscription_in(invoice: Thing) -> tuple[str, Thing]:
    """Which subscription the invoice is for, and what its metadata said then."""
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    return sales.name_of(details.get("subscription")), details.get("metadata") or {}


def _invoice_paid(event: InboxEvent) -> str:
    """The month or the upgrade that it is for is granted; nothing by an invoice of nothing but a trial's credits."""
    invoice = _invoice_of(event)
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
    before, part, month = _lines_of(invoice)
    # Going on after a pause is paid for by an invoice of that kind too, with a month and nothing else.
    if reason == "subscription_update" and (part is not None or before is not None or month is None):
        old, plan = _plan_on(before, metadata, "from_plan"), _plan_on(part, metadata, "plan")
        if old is None or plan is None or part is None or old == plan:
            raise NotOurs("a change that was not made here")
        return plans.allocate_upgrade(id, old, plan, _span_of(part), sold, subscription)
    plan = _plan_on(month, metadata, "plan")
    if plan is None:
        raise NotKnownYet(f"there is no plan called {metadata.get('plan')}")
    if month is None:
        raise NotKnownYet("the invoice has no line for a month")
    outcome = plans.allocate_month(id, plan, _span_of(month), sold, subscription)
    _undo_if_second(id)
    return outcome


def _invoice_failed(event: InboxEvent) -> str:
    invoice = _invoice_of(event)
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


def _plan_on(line: Thing | None, metadata: Any, name: str) -> Plan | None:
    """The plan whose price the line has; where that is no plan's price here or at Stripe, the one that is named.

    The metadata alone would not do: Stripe takes it when it finalises the invoice, up to an hour after its lines, and
    in between a plan can be changed.
    """
    named = _plan_named(metadata, name)
    price = sales.name_of((((line or {}).get("pricing") or {}).get("price_details") or {}).get("price"))
    if not price or (named is not None and named.stripe_price == price):
        return named
    known = Plan.objects.filter(stripe_price=price).first()
    if known is None:  # an earlier price of a plan
        with suppress(stripe.InvalidRequestError):
            known = _plan_named(checkout.client().v1.prices.retrieve(price).to_dict().get("metadata"), "plan")
    return known or named


def _lines_of(invoice: Thing) -> tuple[Thing | None, Thing | None, Thing | None]:
    """The invoice's lines: what is given back for the plan before, the part of a month that the larger plan costs,
    and the whole month. None for each that is not there."""
    before = part = month = None
    for line in (invoice.get("lines") or {}).get("data") or []:
        details = (line.get("parent") or {}).get("subscription_item_details") or {}
        amount = line.get("amount", 0)
        if details.get("proration") and amount < 0:
            before = before or line
        elif details.get("proration") and amount > 0:
            part = part or line
        elif details and amount > 0:
            month = month or line
    return before, part, month


def _span_of(line: Thing) -> Period:
    return Period(_moment(line["period"]["start"]), _moment(line["period"]["end"]))


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
