"""Stripe's events: received and stored first, without asking anybody; then applied, each to its own object, once.

`receive` believes only what is signed with our secret, and stores it as it came. `apply_due` is the worker's: find
what the event is about, decide, one verb. What a verb did once it does not do again, so events may come in any order,
several times and two at a time, and an event that cannot be applied yet is tried again.

No effect runs inside a transaction of ours: it makes its own, and may ask Stripe before it opens one. Lock order
there: the purchase or enrollment, then the account.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

import stripe
import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import QuerySet
from django_q.tasks import async_task

from . import alerts, checkout, errors, payments, refunds, sales, top_ups
from .clock import Now, now
from .models import Customer, InboxEvent, Purchase
from .sales import Mismatch, NotKnownYet, NotOurs, Sale

log = structlog.get_logger("holdfast.stripe")

BYTES_MAX = 256 * 1024
TOLERANCE_SECONDS = 300
AHEAD_SECONDS_MAX = 60
# A worker that died with an event in hand leaves it to the next after so long: longer than any effect takes.
LEASE = timedelta(seconds=120)
TRIES_MAX = 10
RETRY_SECONDS, RETRY_SECONDS_MAX = 15, 3600

Effect = Callable[[InboxEvent], str]
EFFECTS: dict[str, Effect] = {}
"""What each type of event does, where it is not about a pack: the plans put theirs here. Returns its outcome in words.

Called without a transaction. Raises NotKnownYet to be tried again, Mismatch where it must not move anything, NotOurs
where there is nothing to do.
"""


# Receiving


class EventRefused(errors.BillingError):
    code: ClassVar[str] = "event_refused"
    status: ClassVar[int] = 400
    sentence: ClassVar[str] = "This event was not taken."
    reason: ClassVar[str] = "It is not signed by Stripe for this installation, or not of a kind that is read here."
    action: ClassVar[str] = "Check the endpoint's signing secret, its mode and its payload style in Stripe."


class EventTooLarge(EventRefused):
    code: ClassVar[str] = "body_too_large"
    status: ClassVar[int] = 413
    sentence: ClassVar[str] = "The event is too large."
    reason: ClassVar[str] = "An event has at most 256 KiB."
    action: ClassVar[str] = "Send less at once."


def receive(body: bytes, signature: str) -> int:
    """200: the event is stored, now or when it came before. Anything wrong raises EventRefused and stores nothing.

    One statement, and for a new event a hint to the worker; nobody outside is asked.
    """
    if len(body) > BYTES_MAX:
        raise EventTooLarge
    _verify(body, signature)
    event = _read(body)
    if store(event, "webhook"):
        hint()
    return 200


def _verify(body: bytes, header: str) -> None:
    """The header holds a v1 signature of the body and of its time, by one of our secrets, and that time is now.

    https://docs.stripe.com/webhooks#verify-manually; stricter than Stripe's library: one time, as it was written.
    """
    parts = [part.partition("=")[::2] for part in header.split(",")]
    times = [value for name, value in parts if name == "t"]
    found = [value.encode("utf-8", "replace") for name, value in parts if name == "v1"]
    if len(times) != 1 or not re.fullmatch("[0-9]{1,12}", times[0], re.ASCII) or not found:
        raise EventRefused(reason="Its Stripe-Signature header cannot be read.")
    signed = times[0].encode() + b"." + body
    is_good = False
    for secret in settings.STRIPE_WEBHOOK_SECRETS:
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
        for signature in found:
            is_good |= hmac.compare_digest(expected, signature)
    if not is_good:
        raise EventRefused(reason="Its signature is not by a secret of this installation.")
    age = time.time() - int(times[0])
    if age > TOLERANCE_SECONDS:
        raise EventRefused(reason="It was signed too long ago.")
    if age < -AHEAD_SECONDS_MAX:
        raise EventRefused(reason="It was signed in the future.")


def _read(body: bytes) -> dict[str, Any]:
    """The event that the body is, if it is one of ours."""
    try:
        event = json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise EventRefused(reason="It is not JSON.") from error
    if not isinstance(event, dict) or event.get("object") != "event":
        raise EventRefused(reason="It is not a snapshot event. Set the endpoint's payload style to “snapshot”.")
    _refuse_foreign(event)
    return event


def _refuse_foreign(event: Mapping[str, Any]) -> None:
    """What an event must have to be stored, wherever it came from."""
    created, thing = event.get("created"), event.get("data")
    names = [(event.get("id"), 255), (event.get("type"), 100)]
    if not all(isinstance(name, str) and 0 < len(name) <= most and name.isascii() for name, most in names):
        raise EventRefused(reason="It has no id or no type.")
    if isinstance(created, bool) or not isinstance(created, int) or not 0 < created < 2**33:
        raise EventRefused(reason="It does not say when it happened.")
    if not isinstance(thing, dict) or not isinstance(thing.get("object"), dict):
        raise EventRefused(reason="It has no object.")
    if event.get("livemode") is not settings.STRIPE_LIVE_MODE:
        mode = "live" if settings.STRIPE_LIVE_MODE else "test"
        raise EventRefused(reason=f"This installation takes {mode} events only.")
    if event.get("account"):
        raise EventRefused(reason="It belongs to a connected account, and there are none here.")


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not a number")


_STORE = """
INSERT INTO billing_inboxevent
       (id, type, is_live, happened_at, payload, state, source, received_at, tries, next_try_at, outcome)
VALUES (%s, %s, %s, to_timestamp(%s), %s::jsonb, 'received', %s, holdfast_now(), 0, holdfast_now(), '')
ON CONFLICT (id) DO NOTHING
"""


def store(event: Mapping[str, Any], source: str) -> bool:
    """The event is in the inbox; False where it was before. One statement.

    An event of another API version is stored as well: refused it would be lost, and what is read of it is compared
    with our own rows anyway. Staff are told when it is applied.
    """
    try:
        payload = json.dumps(_storable(event), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise EventRefused(reason="It holds a number that is none.") from error
    values = [event["id"], event["type"], event["livemode"], event["created"], payload, source]
    with connection.cursor() as cursor:
        cursor.execute(_STORE, values)
        is_new = cursor.rowcount == 1
    log.info("stripe_event_received", stripe_event=event["id"], type=event["type"], source=source, is_new=is_new)
    return is_new


def take(event: Mapping[str, Any]) -> bool:
    """An event of Stripe's own list, of which we were not told, is in the inbox; False where it was, or is not ours."""
    try:
        _refuse_foreign(event)
        return store(event, "list")
    except EventRefused as refusal:
        log.warning("stripe_event_refused", stripe_event=event.get("id"), why=refusal.facts.get("reason"))
        return False


def _storable(value: Any) -> Any:
    """The value without what PostgreSQL's JSON cannot hold: NUL and lone surrogates become U+FFFD, as in a bad name."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_storable(key): _storable(inner) for key, inner in value.items()}
    return [_storable(inner) for inner in value] if isinstance(value, list) else value


def hint() -> None:
    """A worker applies what is due soon; where it cannot be told, its sweep finds it within a minute."""
    try:
        async_task("billing.tasks.apply_events")
    except Exception as error:  # the event is stored: Stripe need not know of our queue
        log.warning("hint_not_queued", error=str(error))


# Applying


def apply_due(limit: int = 100, until: float | None = None) -> int:
    """What is due is applied, ignored, or put off; how many were. Several workers share what there is."""
    done = 0
    while done < limit and (until is None or time.monotonic() < until):
        event = _claim()
        if event is None:
            break
        _apply(event)
        done += 1
    return done


def replay(event_id: str) -> bool:
    """The event is due again, whatever became of it; False where there is none. Applied by the worker, soon.

    What it did already it does not do again.
    """
    found = InboxEvent.objects.filter(id=event_id).update(
        state=InboxEvent.State.RECEIVED, tries=0, next_try_at=Now(), applied_at=None
    )
    if found:
        hint()
    return bool(found)


def _claim() -> InboxEvent | None:
    """The event that is due longest, with this try counted, left alone by others until the lease ends."""
    due = InboxEvent.objects.filter(
        state__in=[InboxEvent.State.RECEIVED, InboxEvent.State.FAILED], next_try_at__lte=Now()
    )
    with transaction.atomic():
        event = due.select_for_update(skip_locked=True).order_by("next_try_at").first()
        if event is not None:
            event.tries += 1
            event.next_try_at = now() + LEASE
            event.save(update_fields=["tries", "next_try_at"])
    return event


def _apply(event: InboxEvent) -> None:
    try:
        outcome = _effect(event)
    except NotOurs as error:
        _end(event, InboxEvent.State.IGNORED, str(error))
    except Mismatch as error:
        _mismatched(event, error)
    except (OperationalError, InterfaceError) as error:
        if event.tries < TRIES_MAX:
            raise  # the database is away or stopped us: the lease ends, and the event is due again
        _put_off(event, error)  # it stops us every time: staff look at it, and others are not held up by it
    except Exception as error:
        _put_off(event, error)
    else:
        _end(event, InboxEvent.State.APPLIED, outcome)


def _effect(event: InboxEvent) -> str:
    """What the event did, in words. What is about a pack goes first; then whoever reads events of that type."""
    thing = event.payload["data"]["object"]
    of_packs = _OF_PACKS.get(event.type)
    outcome = of_packs(thing) if of_packs is not None else None
    if outcome is not None:
        return outcome
    effect = EFFECTS.get(event.type)
    if effect is None:
        raise NotOurs(_WHY_NOT.get(event.type, "nothing to do"))
    return effect(event)


def _end(event: InboxEvent, state: str, outcome: str) -> None:
    version = event.payload.get("api_version")
    if state == InboxEvent.State.APPLIED and version != settings.STRIPE_API_VERSION:
        outcome = f"{outcome} (API version {version})"
        alerts.open_alert(
            "stripe_version_differs",
            key=str(version),
            sentence=f"Stripe sends events of API version {version}; this installation is made for another.",
            facts={"expected": settings.STRIPE_API_VERSION, "event": event.id},
        )
    InboxEvent.objects.filter(id=event.id).update(
        state=state, outcome=outcome[:500], applied_at=Now(), next_try_at=None
    )
    if event.tries > 1:
        alerts.clear_alert("stripe_event_failed", key=event.id)
    log.info("stripe_event_applied", stripe_event=event.id, type=event.type, state=state, outcome=outcome)


def _mismatched(event: InboxEvent, error: Mismatch) -> None:
    """Not tried again: what Stripe said stays as it is. Staff look at it, and may replay it."""
    InboxEvent.objects.filter(id=event.id).update(
        state=InboxEvent.State.FAILED, outcome=f"mismatch: {error}"[:500], next_try_at=None
    )
    log.error("payment_mismatch", stripe_event=event.id, type=event.type, why=str(error))
    alerts.open_alert(
        "payment_mismatch",
        key=error.key or event.id,
        sentence=f"Stripe's {event.type} does not match our books: {error}. Nothing was granted or taken.",
        facts={"event": event.id, "sale": error.key},
    )


def _put_off(event: InboxEvent, error: Exception) -> None:
    """Tried again later, ever more seldom. After TRIES_MAX tries it has failed, with an alert; then once an hour."""
    seconds = min(RETRY_SECONDS * 2 ** (event.tries - 1), RETRY_SECONDS_MAX) * random.uniform(0.75, 1.25)  # noqa: S311
    is_failed = event.tries >= TRIES_MAX
    outcome = f"{type(error).__name__}: {error}"[:500]
    InboxEvent.objects.filter(id=event.id, tries=event.tries).update(
        state=InboxEvent.State.FAILED if is_failed else InboxEvent.State.RECEIVED,
        outcome=outcome,
        next_try_at=Now() + timedelta(seconds=seconds),
    )
    is_expected = isinstance(error, NotKnownYet | stripe.StripeError)
    log.warning(
        "stripe_event_put_off", stripe_event=event.id, type=event.type, tries=event.tries, why=outcome,
        exc_info=None if is_expected else error,
    )  # fmt: skip
    if is_failed:
        alerts.open_alert(
            "stripe_event_failed",
            key=event.id,
            sentence=f"An event of Stripe ({event.type}) could not be applied in {event.tries} tries.",
            facts={"event": event.id, "error": outcome},
        )


# What events do to packs. Each returns None where the thing is not about a pack of ours.

Thing = Mapping[str, Any]


def _session_completed(session: Thing) -> str | None:
    """Paid by now, or to be paid later, by a bank's debit for instance: then nothing is granted yet."""
    purchase = _purchase_of_session(session)
    if purchase is None:
        return None
    if session.get("payment_status") != "paid":
        _note_session(purchase, session)
        return f"not paid yet: {session.get('payment_status')}"
    payments.compare(purchase, session.get("amount_total"), session.get("currency"))
    return _grant(_note_session(purchase, session))


def _session_failed(session: Thing) -> str | None:
    return _give_up(session, Purchase.State.FAILED, "The bank did not pay.")


def _session_expired(session: Thing) -> str | None:
    return _give_up(session, Purchase.State.EXPIRED, "")


def _give_up(session: Thing, state: str, error: str) -> str | None:
    purchase = _purchase_of_session(session)
    if purchase is None:
        return None
    purchase = _note_session(purchase, session)
    return _close(purchase, state, error)


def _intent_succeeded(intent: Thing) -> str | None:
    purchase = _purchase_named_by(intent)
    if purchase is None:
        return None
    payments.compare(purchase, intent.get("amount_received"), intent.get("currency"))
    outcome = _grant(payments.note_names(purchase, intent=sales.name_of(intent.get("id"))))
    return f"{outcome}, card kept" if top_ups.keep_card(purchase, intent) else outcome


def _intent_failed(intent: Thing) -> str | None:
    """Noted. In a checkout another card may be tried; a top-up, made without the person, has failed."""
    purchase = _purchase_named_by(intent)
    if purchase is None:
        return None
    if purchase.is_top_up:
        return top_ups.told_of_decline(purchase, intent)
    waiting = Purchase.objects.filter(account=purchase.account_id, id=purchase.id, state__in=_WAITING)
    is_noted = waiting.update(error=payments.why_declined(intent)[:300])
    return "declined, noted" if is_noted else f"purchase is {purchase.state}"


def _intent_needs_action(intent: Thing) -> str | None:
    purchase = _purchase_named_by(intent)
    if purchase is None:
        return None
    if purchase.is_top_up:
        return top_ups.told_to_confirm(purchase, intent)
    waiting = Purchase.objects.filter(account=purchase.account_id, id=purchase.id, state__in=_WAITING)
    waiting.update(error="The bank asks the cardholder to confirm the payment.")
    return "waits for the cardholder"


def _intent_cancelled(intent: Thing) -> str | None:
    purchase = _purchase_named_by(intent)
    if purchase is None:
        return None
    if purchase.is_top_up:
        return top_ups.told_of_end(purchase, intent)
    return _close(purchase, Purchase.State.FAILED, "The payment was cancelled.")


def _method_saved(setup: Thing) -> str | None:
    """What the customer may be charged with when nobody is there: of who agreed to that, and of nobody else.

    A trial, and a card added in Stripe's portal, save one for what they are about.
    """
    method, customer = sales.name_of(setup.get("payment_method")), sales.name_of(setup.get("customer"))
    mine = Customer.objects.filter(stripe_customer=customer)
    if not method or not mine.exists():
        return None
    kept = mine.filter(account__in=_agreed()).update(payment_method=method)
    return "payment method noted" if kept else "saved for something else than top-ups"


def _method_removed(method: Thing) -> str | None:
    """In Stripe's portal, for instance: nothing is charged to it any more."""
    kept = Customer.objects.filter(payment_method=sales.name_of(method.get("id"))).exclude(payment_method="")
    return "the kept card is gone" if kept.update(payment_method="") else None


def _customer_changed(customer: Thing) -> str | None:
    """Who let us keep a card, and chose another in Stripe's portal, pays with that one from now on."""
    chosen = customer.get("invoice_settings")
    method = sales.name_of(chosen.get("default_payment_method")) if isinstance(chosen, Mapping) else ""
    mine = Customer.objects.filter(stripe_customer=sales.name_of(customer.get("id")), account__in=_agreed())
    if not method or not mine.exclude(payment_method=method).update(payment_method=method):
        return None
    return "another card is kept"


def _agreed() -> QuerySet[Purchase, UUID]:
    """The accounts whose people agreed, before they paid, that a card is kept for auto top-up."""
    return Purchase.objects.filter(keeps_card=True, state=Purchase.State.PAID).values_list("account", flat=True)


def _invoice_of_pack(invoice: Thing) -> str | None:
    """The receipt of a pack is its invoice's page. Nothing is granted by it: the purchase's payment does that."""
    purchase = _purchase_named_by(invoice)
    if purchase is None:
        return None
    url = invoice.get("hosted_invoice_url")
    schemes = ("https://",) if settings.STRIPE_LIVE_MODE else ("https://", "http://")
    if not isinstance(url, str) or not url.startswith(schemes):
        return "no receipt"
    Purchase.objects.filter(account=purchase.account_id, id=purchase.id).update(receipt_url=url)
    return "receipt noted"


def _charge_refunded(charge: Thing) -> str | None:
    """Only a reason to look: the refunds themselves are read from Stripe, outside any transaction."""
    intent = sales.name_of(charge.get("payment_intent"))
    sale = sales.paid_by(intent) or sales.named_in(charge.get("metadata")) or _look_up(intent)
    if sale is None:
        raise NotKnownYet("the refunded payment is not known here", intent)
    found = checkout.client().v1.refunds.list({"payment_intent": intent, "limit": 100})
    outcomes = [refunds.told_of_refund(refund.to_dict(), sale) for refund in found.auto_paging_iter()]
    return "; ".join(outcomes) or "no refunds"


def _refund(refund: Thing) -> str | None:
    return _tell(refunds.told_of_refund, refund)


def _dispute(dispute: Thing) -> str | None:
    return _tell(refunds.told_of_dispute, dispute)


def _tell(told: Callable[..., str], thing: Thing) -> str:
    """Told; where the payment is not known here Stripe is asked whose it is, and told again."""
    try:
        return told(thing)
    except NotKnownYet as unknown:
        sale = _look_up(unknown.intent)
        if sale is None:
            raise
        return told(thing, sale)


def _look_up(intent: str) -> Sale | None:
    """The sale that Stripe's intent names. NotOurs where its customer is none of ours."""
    if not intent:
        return None
    found = checkout.client().v1.payment_intents.retrieve(intent).to_dict()
    sale = sales.named_in(found.get("metadata"))
    customer = sales.name_of(found.get("customer"))
    if sale is None and not Customer.objects.filter(stripe_customer=customer).exists():
        raise NotOurs("a payment of somebody who is not a customer here")
    return sale


_OF_PACKS: dict[str, Callable[[Thing], str | None]] = {
    "checkout.session.completed": _session_completed,
    "checkout.session.async_payment_succeeded": _session_completed,
    "checkout.session.async_payment_failed": _session_failed,
    "checkout.session.expired": _session_expired,
    "payment_intent.succeeded": _intent_succeeded,
    "payment_intent.payment_failed": _intent_failed,
    "payment_intent.requires_action": _intent_needs_action,
    "payment_intent.canceled": _intent_cancelled,
    "setup_intent.succeeded": _method_saved,
    "payment_method.detached": _method_removed,
    "customer.updated": _customer_changed,
    "invoice.paid": _invoice_of_pack,
    "invoice.payment_succeeded": _invoice_of_pack,
    "charge.refunded": _charge_refunded,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
    "charge.refund.updated": _refund,
    "charge.dispute.created": _dispute,
    "charge.dispute.updated": _dispute,
    "charge.dispute.closed": _dispute,
    "charge.dispute.funds_withdrawn": _dispute,
    "charge.dispute.funds_reinstated": _dispute,
}

_OF_NO_PACK = "of no pack: a plan's credits come by its paid invoices"
# Why nothing is done where an event that is read is about no pack, and the plans do not read it.
_WHY_NOT = {
    "checkout.session.async_payment_failed": "of no pack: the subscription itself tells that it was not paid",
    "payment_intent.succeeded": _OF_NO_PACK,
    "payment_intent.payment_failed": "of no pack: the plan's invoice tells that it was not paid",
    "payment_intent.requires_action": "of no pack: the plan's invoice tells whether it was paid",
    "payment_intent.canceled": _OF_NO_PACK,
    "setup_intent.succeeded": "saved by nobody who is a customer here",
}

# Finding the purchase, and comparing

_WAITING = [Purchase.State.CREATED, Purchase.State.OPEN]


def _purchase_of_session(session: Thing) -> Purchase | None:
    if session.get("mode") != "payment":
        return None
    named = {"purchase": session.get("client_reference_id")}
    in_metadata = sales.uuid_in(session.get("metadata"), "purchase")
    if in_metadata is not None and in_metadata != sales.uuid_in(named, "purchase"):
        raise Mismatch(f"{session.get('id')} names two purchases", str(in_metadata))
    return _purchase_named_by({"metadata": named})


def _purchase_named_by(thing: Thing) -> Purchase | None:
    """The purchase that its metadata names. One that is named and not there is not there yet."""
    id = sales.uuid_in(thing.get("metadata"), "purchase")
    if id is None:
        return None
    purchase = Purchase.objects.filter(id=id).first()
    if purchase is None:
        raise NotKnownYet(f"purchase {id} is not known here")
    return purchase


def _note_session(purchase: Purchase, session: Thing) -> Purchase:
    names = {"session": sales.name_of(session.get("id")), "intent": sales.name_of(session.get("payment_intent"))}
    return payments.note_names(purchase, **names)


def _grant(purchase: Purchase) -> str:
    return "granted" if payments.paid(purchase.id, intent=purchase.stripe_intent) else "was granted before"


def _close(purchase: Purchase, state: str, error: str) -> str:
    """A purchase that still waits is over; one that was paid stays paid."""
    waiting = Purchase.objects.filter(account=purchase.account_id, id=purchase.id, state__in=_WAITING)
    if not waiting.update(state=state, error=error[:300]):
        return f"was not waiting any more ({purchase.state})"
    return str(state)
