"""Auto top-up: an account with too few credits buys a pack by itself, with the card that its person let Stripe keep.

A top-up is a Purchase, stored before Stripe is asked; its id is Stripe's idempotency key and stands in the intent's
metadata. Its credits come as those of every purchase, by `payments.paid`, on Stripe's word alone: an event, its answer,
or a look-up. The database keeps one waiting at a time and the month within its maximum.

The sweep finds whose credits are too few, and which top-up has not been heard of. Nothing here asks Stripe while a
transaction is open. Locks: the purchase, then the account, then the account's AutoTopUp.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import stripe
import structlog
from django.conf import settings
from django.core.cache import cache as shared
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django_q.tasks import async_task

from . import alerts, checkout, credits, errors, ledger, limits, money, payments, refusals, sales
from .clock import Now, now
from .models import Account, AutoTopUp, Customer, Dispute, Membership, Notice, Pack, Purchase, Refunding, new_id
from .sales import Mismatch

log = structlog.get_logger("holdfast.top_ups")

Off, Wait, State = AutoTopUp.Off, AutoTopUp.Wait, Purchase.State
WAITING = [State.CREATED, State.OPEN]
PAGE = "/account/settings/credits"
# After a decline nothing is tried for so long; after so many in a row, nothing at all.
REST = timedelta(hours=1)
DECLINES_MAX = 3
# So long a top-up is its own task's; then the sweep asks Stripe about it, ever more seldom.
ASKED_AGAIN = timedelta(seconds=60)
ASKED_SELDOM = timedelta(hours=6)
# Stripe forgets an idempotency key after a day. What was never taken there by then is not bought any more.
SENT_WITHIN = timedelta(hours=20)
NEEDS_CARDHOLDER = "authentication_required"
AT_ONCE = 100


class TopUpNotPossible(errors.BillingError):
    code = "top_up_not_possible"
    status = 409
    sentence = "Auto top-up cannot be turned on now. Nothing was changed and nothing was paid."
    reason = "A payment of this account is disputed: until that is decided nothing is bought by itself."
    action = "Buy a pack yourself, or wait until the dispute is over."


# What is agreed


def agree(
    account: UUID,
    *,
    user: Any,
    site: str,
    is_on: bool | None = None,
    below: int | None = None,
    pack: str | None = None,
    month_max_minor: int | None = None,
) -> AutoTopUp:
    """These terms hold from now on; what is None stays as it is. A pause ends, but not the hour after a decline.

    Without a kept card it may be on: it begins when there is one. Locks the account. Raises InvalidFields,
    BuyingFrozen, TopUpNotPossible.
    """
    if not settings.STRIPE_IS_SET_UP:
        raise TopUpNotPossible(
            reason="Nothing can be bought here: this installation has no Stripe key.",
            action="Ask the people who run it to set STRIPE_SECRET_KEY.",
        )
    with transaction.atomic():
        heads = ledger.lock([account])
        row = AutoTopUp.objects.select_related("pack").filter(account=account).first()
        if row is not None and is_on is False and below is None and pack is None and month_max_minor is None:
            # Whatever became of its pack, it can be turned off.
            row.is_on, row.off_because = False, row.off_because or Off.PERSON
            row.save(update_fields=["is_on", "off_because"])
            return row
        missing = {
            name: ["Say this when auto top-up is set for the first time."]
            for name, value in (("below", below), ("pack", pack), ("monthly_max_minor", month_max_minor))
            if row is None and value is None
        }
        if missing:
            raise refusals.InvalidFields(fields=missing)
        will_be_on = row.is_on if row is not None and is_on is None else bool(is_on)
        sold = Pack.objects.filter(slug=pack).first() if pack is not None else row.pack if row is not None else None
        if sold is None or (will_be_on and not sold.is_offered):
            raise refusals.InvalidFields(fields={"pack": ["This pack is not offered."]})
        least = below if below is not None else row.below if row is not None else 0
        most = month_max_minor if month_max_minor is not None else row.month_max_minor if row is not None else 0
        _refuse_terms(sold, least, most)
        if will_be_on and heads[account].is_frozen:
            raise checkout.BuyingFrozen
        if will_be_on and _is_disputed(account):
            raise TopUpNotPossible
        # refusing ends
        _forget_disputed_card(account)
        still = row is not None and row.waits_because == Wait.DECLINED and row.waits_until is not None
        terms = {
            "is_on": will_be_on,
            "off_because": "" if will_be_on else Off.PERSON,
            "below": least,
            "pack": sold,
            "price_minor": sold.price_minor,
            "currency": sold.currency,
            "credits": sold.credits,
            "month_max_minor": most,
            "agreed_by": user,
            "agreed_at": now(),
            "site": site.rstrip("/")[:200],
            "waits_until": row.waits_until if row is not None and still else None,
            "waits_because": Wait.DECLINED if still else "",
        }
        made, _ = AutoTopUp.objects.update_or_create(account_id=account, defaults=terms)
    return made


def _forget_disputed_card(account: UUID) -> None:
    """A card whose holder had their bank take a payment back is not charged again, until they keep it anew."""
    kept = Purchase.objects.filter(account=account, keeps_card=True, state=State.PAID).order_by("-paid_at").first()
    lost = Dispute.objects.filter(account=account, state=Dispute.State.LOST)
    if kept is not None and lost.filter(created_at__gte=kept.paid_at).exists():
        Customer.objects.filter(account=account).update(payment_method="")


def _refuse_terms(pack: Pack, below: int, month_max_minor: int) -> None:
    wrong: dict[str, list[str]] = {}
    if below <= 0:
        wrong["below"] = ["Write more than zero."]
    elif below > pack.credits:
        wrong["below"] = [f"This pack brings {credits.short(pack.credits)} credits: choose no more, or a larger pack."]
    if month_max_minor < pack.price_minor:
        price = money.words(pack.price_minor, pack.currency)
        wrong["monthly_max_minor"] = [f"One such pack costs {price}: choose at least that."]
    elif month_max_minor > money.MINOR_MAX:
        wrong["monthly_max_minor"] = ["Choose less than a million."]
    if wrong:
        raise refusals.InvalidFields(fields=wrong)


def stop(account: UUID, because: str) -> bool:
    """It is off; False where it was. What is on its way at Stripe goes on. Locks the account."""
    with transaction.atomic():
        ledger.lock([account])
        stopped = AutoTopUp.objects.filter(account=account, is_on=True).update(is_on=False, off_because=because)
    return bool(stopped)


def used_in_month(account: UUID, moment: datetime) -> int:
    """What top-ups of the UTC month have spent, in the smallest unit: paid, or waiting to be. One query."""
    start = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = limits.month_resets_at(start.date())
    of_month = Purchase.objects.filter(
        account=account, is_top_up=True, state__in=[*WAITING, State.PAID], created_at__gte=start, created_at__lt=end
    )
    return int(of_month.aggregate(sum=Sum("amount_minor"))["sum"] or 0)


def waiting_of(account: UUID) -> Purchase | None:
    """The account's top-up that is under way."""
    return Purchase.objects.filter(account=account, is_top_up=True, state__in=WAITING).select_related("pack").first()


# Finding


def due() -> QuerySet[AutoTopUp, UUID]:
    """The accounts that have too few credits and may buy. One query, over those that have it on."""
    under_way = Purchase.objects.filter(account=OuterRef("account"), is_top_up=True, state__in=WAITING)
    found = AutoTopUp.objects.filter(
        Q(waits_until=None) | Q(waits_until__lte=Now()),
        is_on=True,
        account__is_frozen=False,
        account__debt=0,
        account__customer__payment_method__gt="",
    )
    found = found.annotate(available=F("account__balance") - F("account__held") - F("account__frozen"))
    found = found.filter(~Exists(under_way), available__lt=F("below"))
    return found.order_by("account_id").values_list("account_id", flat=True)


def wake() -> None:
    """A worker tops up soon, where an account has too few credits. One query; the sweep does the same each minute."""
    if settings.STRIPE_IS_SET_UP and due().exists() and shared.add("top-up-hint", 1, timeout=5):
        async_task("billing.tasks.top_up")


def sweep(until: float | None = None) -> int:
    """Top-ups that nothing was heard of are asked about, and accounts with too few credits buy; how many were tried.

    One account's trouble is no other's.
    """
    if not settings.STRIPE_IS_SET_UP:
        return 0
    unheard = Purchase.objects.filter(is_top_up=True, state__in=WAITING, ask_at__lte=Now()).order_by("ask_at")
    tried = 0
    for id in list(unheard.values_list("id", flat=True)[:AT_ONCE]):
        if until is None or time.monotonic() < until:
            tried += _guarded(ask_again, id)
    for account in list(due()[:AT_ONCE]):
        if until is None or time.monotonic() < until:
            tried += _guarded(top_up, account)
    return tried


def _guarded(act: Any, id: UUID) -> int:
    try:
        return int(act(id))
    except (OperationalError, InterfaceError):
        raise  # the database is away, or stopped us: the next sweep finds the same
    except Exception as error:
        log.error("top_up_failed", of=str(id), exc_info=error)
        return 0


# Buying


def top_up(account: UUID) -> bool:
    """The account has bought its pack, or tried to; False where it may not, or need not. Outside any transaction."""
    purchase = begin(account)
    if purchase is None:
        return False
    pursue(purchase.id, is_new=True)
    return True


def begin(account: UUID) -> Purchase | None:
    """A top-up is stored, for Stripe to be asked; None where none is due or none may be. Locks the account.

    Where its terms do not hold any more it is off, or waits, and the account's people are told why.
    """
    with transaction.atomic():
        head = ledger.lock([account]).get(account)
        row = AutoTopUp.objects.select_for_update(of=("self",)).select_related("pack").filter(account=account).first()
        if head is None or row is None or not row.is_on or head.is_frozen or head.debt or head.available >= row.below:
            return None
        moment = now()
        method = Customer.objects.filter(account=account).values_list("payment_method", flat=True).first()
        if not method or (row.waits_until is not None and row.waits_until > moment) or waiting_of(account) is not None:
            return None
        if _ends(row) or _pauses(row, moment):
            return None
        # refusing ends
        if row.waits_until is not None:
            _wait(row, None, "")
        id = new_id()
        return Purchase.objects.create(
            id=id,
            account_id=account,
            user_id=row.agreed_by_id,
            pack=row.pack,
            amount_minor=row.price_minor,
            currency=row.currency,
            credits=row.credits,
            keep_months=row.pack.keep_months,
            is_top_up=True,
            payment_method=method,
            month_max_minor=row.month_max_minor,
            success_url=f"{settings.PUBLIC_URL or row.site}/account/credits/purchases/{id}?back=paid",
            created_at=moment,
            ask_at=moment + ASKED_AGAIN,
        )


def _ends(row: AutoTopUp) -> bool:
    """It is off, and the people told why, where what was agreed is no more."""
    because, title, body = _why_over(row)
    if not because:
        return False
    row.is_on, row.off_because = False, because
    row.save(update_fields=["is_on", "off_because"])
    alerts.notify_all([_notice(row, f"{because}:{row.agreed_at.isoformat()}", title, body, "warning")])
    log.info("auto_top_up_off", account=str(row.account_id), because=because)
    return True


def _why_over(row: AutoTopUp) -> tuple[str, str, str]:
    off = "Auto top-up is off"
    if _is_disputed(row.account_id) or _was_returned(row):
        said = "A payment of this account was given back or is disputed, so nothing more is bought by itself."
        return Off.RETURNED, f"{off}: a payment went back", f"{said} Nothing was bought. You can turn it on again."
    pack = row.pack
    if not pack.is_offered:
        said = f"{pack.title} is not sold any more. Nothing was bought. Choose another pack to go on."
        return Off.PACK, f"{off}: its pack is not sold any more", said
    if (pack.price_minor, pack.currency, pack.credits) != (row.price_minor, row.currency, row.credits):
        before = f"{credits.short(row.credits)} credits for {money.words(row.price_minor, row.currency)}"
        after = f"{credits.short(pack.credits)} credits for {money.words(pack.price_minor, pack.currency)}"
        said = f"You agreed to {before}; {pack.title} is {after} now. Nothing was bought. Turn it on again to agree."
        return Off.PACK, f"{off}: its pack has changed", said
    is_owner = Membership.objects.filter(
        account=row.account_id, user=row.agreed_by_id, role="owner", user__is_active=True
    )
    if not is_owner.exists():
        said = "Who set it up is no owner of this account any more. Nothing was bought. An owner can turn it on again."
        return Off.GONE, f"{off}: nobody stands for it", said
    return "", "", ""


def _is_disputed(account: UUID) -> bool:
    return Dispute.objects.filter(account=account, state=Dispute.State.OPEN).exists()


def _was_returned(row: AutoTopUp) -> bool:
    """Money of the account went back since the terms were agreed: a refund takes credits, and must not buy new ones."""
    of = {"account": row.account_id}
    refunds = Refunding.objects.filter(**of, created_at__gt=row.agreed_at).exclude(state=Refunding.State.FAILED)
    lost = Dispute.objects.filter(**of, state=Dispute.State.LOST, ended_at__gt=row.agreed_at)
    return refunds.exists() or lost.exists()


def _pauses(row: AutoTopUp, moment: datetime) -> bool:
    """It waits, and the people are told: the month's maximum leaves no more, or it bought too often just now."""
    used = used_in_month(row.account_id, moment)
    most = money.words(row.month_max_minor, row.currency)
    if used + row.price_minor > row.month_max_minor:
        again = limits.month_resets_at(moment.astimezone(UTC).date())
        spent = f"{money.words(used, row.currency)} of at most {most} was spent by auto top-up in {moment:%B} (UTC)."
        body = f"{spent} Nothing more is bought by itself until {again.day} {again:%B}, unless you raise the maximum."
        key = f"month:{moment:%Y-%m}:{row.month_max_minor}"
        _wait(row, again, Wait.MONTH)
        alerts.notify_all([_notice(row, key, "Auto top-up has reached its monthly maximum", body, "warning")])
        return True
    since = max(moment - timedelta(minutes=settings.TOP_UP_BURST_MINUTES), row.agreed_at)
    recent = Purchase.objects.filter(
        account=row.account_id, is_top_up=True, state__in=[*WAITING, State.PAID], created_at__gte=since
    )
    count = recent.count()
    if count < settings.TOP_UP_BURST_MAX:
        return False
    again = moment + timedelta(hours=settings.TOP_UP_PAUSE_HOURS)
    often = f"{count} packs within {settings.TOP_UP_BURST_MINUTES} minutes"
    body = (
        f"Auto top-up bought {often}, so it waits until {alerts.moment_words(again)}. Nothing more was bought. Look at "
        "what spends your credits. If all is as it should be, keep the settings again and it goes on at once."
    )
    _wait(row, again, Wait.BURST)
    alerts.notify_all([_notice(row, f"burst:{moment.isoformat()}", "Auto top-up bought often, and waits", body, "bad")])
    alerts.open_alert(
        "top_up_burst",
        key=str(row.account_id),
        sentence=f"Auto top-up of an account bought {often}, and waits.",
        facts={
            "spent_this_month": money.words(used, row.currency),
            "monthly_maximum": most,
            "waits_until_at": again.isoformat(),
        },
    )
    return True


def _wait(row: AutoTopUp, until: datetime | None, because: str) -> None:
    row.waits_until, row.waits_because = until, because
    row.save(update_fields=["waits_until", "waits_because"])


def _notice(row: AutoTopUp, key: str, title: str, body: str, level: str) -> Notice:
    return alerts.notice(row.account_id, f"top-up:{key}", title, body=body, link=PAGE, level=level)


# Asking Stripe


def ask_again(id: UUID) -> bool:
    """Stripe was asked about a top-up that nothing was heard of; False where another worker does that."""
    row = Purchase.objects.get(id=id)
    moment = now()
    pause = min(max(ASKED_AGAIN, (moment - row.created_at) / 4), ASKED_SELDOM)
    given_up = row.created_at + timedelta(hours=settings.TOP_UP_CONFIRM_HOURS)
    if moment < given_up < moment + pause:
        pause = max(ASKED_AGAIN, given_up - moment)
    mine = Purchase.objects.filter(id=id, state__in=WAITING, ask_at__lte=moment)
    if not mine.update(ask_at=moment + pause):
        return False
    pursue(id)
    return True


def pursue(id: UUID, *, is_new: bool = False) -> str:
    """The top-up is where Stripe says it is: asked for, if it was not; the purchase's state after that.

    One that is not new is looked for first, since an idempotency key is forgotten after a day. Where Stripe cannot be
    reached it waits.
    """
    row = Purchase.objects.select_related("pack").get(id=id)
    if row.state not in WAITING:
        return row.state
    try:
        intent = _at_stripe(row, is_new)
        if intent is not None:
            intent = _towards_an_end(row, intent)
            take_in(row, intent)
    except stripe.StripeError as error:
        log.warning("top_up_not_asked", purchase=str(id), error=str(error)[:300], request_id=error.request_id)
    except Mismatch as error:
        log.error("payment_mismatch", purchase=str(id), why=str(error))
        sentence = f"A top-up does not match our books: {error}. Nothing was granted."
        alerts.open_alert("payment_mismatch", key=error.key or str(id), sentence=sentence, facts={"sale": str(id)})
    row.refresh_from_db()
    return row.state


def _at_stripe(row: Purchase, is_new: bool) -> dict[str, Any] | None:
    """The top-up's intent as it is now, made if there is none; None where it is not to be made any more."""
    of = checkout.client().v1.payment_intents
    if row.stripe_intent:
        return dict(of.retrieve(row.stripe_intent).to_dict(for_json=True))
    customer = Customer.objects.get(account=row.account_id).stripe_customer or ""
    if not is_new:
        since = int(row.created_at.timestamp()) - 3600
        made = of.list({"customer": customer, "created": {"gte": since}, "limit": 100})
        for one in made.auto_paging_iter():
            said: dict[str, Any] = one.to_dict(for_json=True)
            if sales.uuid_in(said.get("metadata"), "purchase") == row.id:
                return said
        if not _is_still_wanted(row):
            _end(row, "It was not sent to Stripe in time, and is not wanted any more. Nothing was paid.")
            return None
    asked: Any = {
        "amount": row.amount_minor,
        "currency": row.currency,
        "customer": customer,
        "payment_method": row.payment_method,
        "confirm": True,
        "off_session": True,
        "return_url": row.success_url,
        "description": f"{credits.short(row.credits)} credits, by auto top-up",
        "metadata": {"purchase": str(row.id)},
    }
    try:
        return dict(of.create(asked, {"idempotency_key": str(row.id)}).to_dict(for_json=True))
    except stripe.CardError as error:
        return _declined_intent(error)
    except stripe.InvalidRequestError as error:
        _refused(row, error)
        return None


def _declined_intent(error: stripe.CardError) -> dict[str, Any]:
    """The intent that Stripe gives with its refusal; the refusal itself again where it gives none."""
    said = error.json_body.get("error") if isinstance(error.json_body, dict) else None
    intent = said.get("payment_intent") if isinstance(said, dict) else None
    if not isinstance(intent, dict):
        raise error
    return intent


def _refused(row: Purchase, error: stripe.InvalidRequestError) -> None:
    """Stripe will not take it, now or later: as a decline. A card that it does not have any more is forgotten."""
    log.error("top_up_refused", purchase=str(row.id), error=str(error)[:300], request_id=error.request_id)
    if error.param == "payment_method":
        kept = Customer.objects.filter(account=row.account_id, payment_method=row.payment_method)
        kept.update(payment_method="")
    _decline(row, "The kept card cannot be charged any more.")


def _is_still_wanted(row: Purchase) -> bool:
    """What was agreed when it was begun still is."""
    rule = AutoTopUp.objects.select_related("pack").filter(account=row.account_id, is_on=True).first()
    kept = Customer.objects.filter(account=row.account_id, payment_method=row.payment_method)
    account = Account.objects.get(id=row.account_id)
    return (
        rule is not None
        and now() - row.created_at < SENT_WITHIN
        and kept.exists()
        and not account.is_frozen
        and not account.debt
        and not _why_over(rule)[0]
    )


def _towards_an_end(row: Purchase, intent: dict[str, Any]) -> dict[str, Any]:
    """Where the bank asks for the cardholder, the way to confirm is asked for; what nobody confirms is given up."""
    of = checkout.client().v1.payment_intents
    name = sales.name_of(intent)
    if now() - row.created_at > timedelta(hours=settings.TOP_UP_CONFIRM_HOURS):
        if intent.get("status") in ("requires_action", "requires_confirmation", "requires_payment_method"):
            return dict(of.cancel(name, {"cancellation_reason": "abandoned"}).to_dict(for_json=True))
        return intent
    if not asks_for_cardholder(intent):
        return intent
    asked: Any = {"payment_method": row.payment_method, "return_url": row.success_url}
    try:
        return dict(of.confirm(name, asked, {"idempotency_key": f"{row.id}:confirm"}).to_dict(for_json=True))
    except stripe.CardError as error:
        return _declined_intent(error)
    except stripe.InvalidRequestError:  # confirmed meanwhile
        return dict(of.retrieve(name).to_dict(for_json=True))


# What Stripe says of it

Thing = Mapping[str, Any]


def take_in(purchase: Purchase, intent: Thing) -> str:
    """What Stripe says of the top-up's intent has its effect, as its event has."""
    payments.note_names(purchase, intent=sales.name_of(intent))
    Purchase.objects.filter(id=purchase.id, state=State.CREATED).update(state=State.OPEN)
    match intent.get("status"):
        case "succeeded":
            payments.compare(purchase, intent.get("amount_received"), intent.get("currency"))
            return "granted" if payments.paid(purchase.id, intent=sales.name_of(intent)) else "was granted before"
        case "requires_action":
            return told_to_confirm(purchase, intent)
        case "requires_payment_method":
            return told_of_decline(purchase, intent)
        case "canceled":
            return told_of_end(purchase, intent)
    return f"it is {intent.get('status')}"


def asks_for_cardholder(intent: Thing) -> bool:
    """The bank declined only because nobody was there to confirm."""
    error = intent.get("last_payment_error")
    is_open = intent.get("status") == "requires_payment_method"
    return is_open and isinstance(error, Mapping) and error.get("code") == NEEDS_CARDHOLDER


def told_of_decline(purchase: Purchase, intent: Thing) -> str:
    """The top-up has failed, and the account rests. Where the bank asks for the cardholder it has not: that is next."""
    row = payments.note_names(purchase, intent=sales.name_of(intent))
    if asks_for_cardholder(intent):
        waiting = Purchase.objects.filter(id=row.id, state__in=WAITING, checkout_url="")
        return "the cardholder is asked" if waiting.update(state=State.OPEN, ask_at=Now()) else "known"
    return _decline(row, payments.why_declined(intent) or "The card was declined.")


def told_of_end(purchase: Purchase, intent: Thing) -> str:
    """The intent was cancelled: by us, for nobody confirmed it, or at Stripe."""
    row = payments.note_names(purchase, intent=sales.name_of(intent))
    is_ours = intent.get("cancellation_reason") == "abandoned"
    return _decline(row, "It was not confirmed with the bank in time." if is_ours else "The payment was cancelled.")


def told_to_confirm(purchase: Purchase, intent: Thing) -> str:
    """The account's people have the link to their bank's page; the top-up waits, until it is given up."""
    row = payments.note_names(purchase, intent=sales.name_of(intent))
    url = _way_to_confirm(intent)
    words = "Your bank asks you to confirm this payment."
    waiting = Purchase.objects.filter(id=row.id, state__in=WAITING)
    if not url or not waiting.update(state=State.OPEN, checkout_url=url, error=words):
        return f"waits for the cardholder ({row.state})"
    price = money.words(row.amount_minor, row.currency)
    hours = settings.TOP_UP_CONFIRM_HOURS
    body = (
        f"{words} Open the link and confirm it within {hours} hours; after that it is given up, and nothing is paid. "
        "No credits come before it is confirmed."
    )
    page = f"/account/credits/purchases/{row.id}"
    title = f"Confirm your top-up of {price} with your bank"
    alerts.notify(row.account_id, f"top-up:confirm:{row.id}", title, body=body, link=page, level="warning")
    return "the cardholder has the link"


def _way_to_confirm(intent: Thing) -> str:
    step = intent.get("next_action")
    way = step.get("redirect_to_url") if isinstance(step, Mapping) else None
    url = way.get("url") if isinstance(way, Mapping) else None
    schemes = ("https://",) if settings.STRIPE_LIVE_MODE else ("https://", "http://")
    return url if isinstance(url, str) and url.startswith(schemes) else ""


def keep_card(purchase: Purchase, intent: Thing) -> bool:
    """The card that paid is the one that top-ups are charged to, where its person agreed to that before they paid."""
    method, customer = sales.name_of(intent.get("payment_method")), sales.name_of(intent.get("customer"))
    if not purchase.keeps_card or intent.get("setup_future_usage") != "off_session" or not method:
        return False
    newer = Purchase.objects.filter(account=purchase.account_id, keeps_card=True, state=State.PAID)
    if newer.filter(created_at__gt=purchase.created_at).exists():
        return False
    mine = Customer.objects.filter(account=purchase.account_id, stripe_customer=customer)
    return bool(mine.update(payment_method=method))


def _end(purchase: Purchase, why: str) -> bool:
    """A top-up that waits is over, and nobody is to blame; False where it had ended."""
    waiting = Purchase.objects.filter(id=purchase.id, state__in=WAITING)
    return bool(waiting.update(state=State.FAILED, error=why[:300], checkout_url="", ask_at=None))


def _decline(purchase: Purchase, why: str) -> str:
    """A top-up that waits has failed: nothing more for an hour, and nothing at all after three in a row."""
    with transaction.atomic():
        row = Purchase.objects.select_for_update().get(id=purchase.id)
        if row.state not in WAITING:
            return f"was not waiting any more ({row.state})"
        moment = now()
        row.state, row.error, row.checkout_url, row.declined_at, row.ask_at = State.FAILED, why[:300], "", moment, None
        row.save(update_fields=["state", "error", "checkout_url", "declined_at", "ask_at"])
        rule = AutoTopUp.objects.select_for_update().get(account=row.account_id)
        _wait(rule, moment + REST, Wait.DECLINED)
        price = money.words(row.amount_minor, row.currency)
        said = f"A top-up of {price} was tried, and nothing was paid. What was said: “{why}”"
        if rule.is_on and _declines_in_a_row(rule) >= DECLINES_MAX:
            rule.is_on, rule.off_because = False, Off.DECLINED
            rule.save(update_fields=["is_on", "off_because"])
            title = f"Auto top-up is off: {DECLINES_MAX} payments in a row did not go through"
            body = f"{said} Nothing more is tried. Buy a pack and keep the card that paid, then turn it on again."
            alerts.notify_all([_notice(rule, f"declined:{row.id}", title, body, "bad")])
        else:
            more = " It is tried again in an hour at the earliest." if rule.is_on else ""
            body = f"{said}{more} You can buy a pack yourself, with another card, at any time."
            alerts.notify_all([_notice(rule, f"declined:{row.id}", "A top-up did not go through", body, "warning")])
    log.info("top_up_declined", purchase=str(row.id), account=str(row.account_id), why=why)
    return str(State.FAILED)


def _declines_in_a_row(rule: AutoTopUp) -> int:
    """How many of the latest top-ups were declined, since the terms were agreed."""
    ended = Purchase.objects.filter(account=rule.account_id, is_top_up=True, created_at__gte=rule.agreed_at)
    ended = ended.filter(Q(state=State.PAID) | Q(declined_at__isnull=False)).order_by("-id")
    count = 0
    for state in ended.values_list("state", flat=True)[:DECLINES_MAX]:
        if state == State.PAID:
            break
        count += 1
    return count
