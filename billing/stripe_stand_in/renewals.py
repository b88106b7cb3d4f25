"""What goes on over time: subscriptions with their invoices, tries and ends, and the clock that makes them due.

A renewal's invoice is finalised and tried as soon as it is made; Stripe lets about an hour pass in between.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from . import acts, shapes
from .book import Book, Thing
from .refusals import Refused, wrong

DAY = 86_400
TRIES_AFTER_DAYS = (3, 5, 7)  # how long after the first try a renewal's invoice is tried again
TRIAL_NOTICE_DAYS = 3
INCOMPLETE_HOURS = 23
ENDED = ("canceled", "incomplete_expired")


# Periods -------------------------------------------------------------------------------------------------------------


def after(anchor: int, recurring: Thing, moment: int) -> int:
    """The first boundary after a moment, counted from the anchor; a month that lacks its day ends on its last."""
    for n in range(1, 100_000):
        boundary = _boundary(anchor, recurring["interval"], n * recurring["interval_count"])
        if boundary > moment:
            return boundary
    raise wrong("This period lies too far away.")


def _boundary(anchor: int, interval: str, n: int) -> int:
    start = datetime.fromtimestamp(anchor, UTC)
    if interval in ("day", "week"):
        return int((start + timedelta(days=n * (7 if interval == "week" else 1))).timestamp())
    months = start.year * 12 + start.month - 1 + n * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def item_of(subscription: Thing) -> Thing:
    return dict(subscription["items"]["data"][0])


def with_item(subscription: Thing, **changes: Any) -> Thing:
    """The subscription's items with that one changed."""
    return subscription["items"] | {"data": [item_of(subscription) | changes]}


# Making one ----------------------------------------------------------------------------------------------------------


def begin(book: Book, customer: Thing, price: Thing, quantity: int, given: Thing) -> Thing:
    """A subscription is there, with its trial or its first period; nothing has been paid yet."""
    if price["type"] != "recurring":
        raise wrong("The price specified is set to `type=one_time` but this field only accepts recurring prices.")
    now = book.now()
    days, end = given.pop("trial_period_days", None), given.pop("trial_end", None)
    trial_end = end if isinstance(end, int) else now + days * DAY if days else None
    if trial_end is not None and trial_end <= now:
        raise wrong("Invalid timestamp: must be an integer Unix timestamp in the future", "trial_end")
    mode = given.pop("billing_mode", None)
    for name in ("proration_behavior", "billing_cycle_anchor"):
        given.pop(name, None)
    subscription = shapes.subscription(book, customer["id"], price, quantity, **given)
    if mode:
        subscription["billing_mode"] |= mode
    ends = trial_end or after(now, price["recurring"], now)
    subscription["items"] = with_item(subscription, current_period_start=now, current_period_end=ends)
    if trial_end:
        subscription |= {
            "status": "trialing",
            "trial_start": now,
            "trial_end": trial_end,
            "billing_cycle_anchor": trial_end,
        }
    book.put(subscription)
    book.tell("customer.subscription.created", subscription)
    return subscription


def first_invoice(book: Book, subscription: Thing) -> Thing:
    """What the first period costs; nothing while it is a trial."""
    item = item_of(subscription)
    is_trial = subscription["status"] == "trialing"
    return bill(book, subscription, [period_line(book, item, is_free=is_trial)], "subscription_create")


def period_line(book: Book, item: Thing, *, is_free: bool = False) -> Thing:
    """The line for the item's period."""
    price, product = item["price"], book.find(item["price"]["product"]) or {}
    each = f"{price['unit_amount'] / 100:.2f} {price['currency'].upper()} / {price['recurring']['interval']}"
    words = (
        f"Trial period for {product.get('name')}"
        if is_free
        else f"{item['quantity']} × {product.get('name')} (at {each})"
    )
    line = shapes.line(
        book, price, item["quantity"], item["current_period_start"], item["current_period_end"],
        description=words, parent=shapes.of_item(item, is_proration=False),
    )  # fmt: skip
    return line | ({"amount": 0, "subtotal": 0} if is_free else {})


def bill(book: Book, subscription: Thing, lines: list[Thing], reason: str) -> Thing:
    """An invoice of a subscription stands as a draft: what was put off comes with it, a credit pays first."""
    customer = book.get("customer", subscription["customer"])
    lines = [*subscription["_pending"], *lines]
    invoice = shapes.invoice(
        book, customer, lines, currency=subscription["currency"], reason=reason,
        parent=shapes.of_subscription(subscription), default_payment_method=None,
    )  # fmt: skip
    before = customer["balance"]
    owed = invoice["total"] + before
    if before or owed < 0:
        after_it = min(owed, 0)
        due = max(owed, 0)
        invoice |= {
            "starting_balance": before,
            "ending_balance": after_it,
            "amount_due": due,
            "amount_remaining": due,
        }
        book.alter(customer, "customer.updated", balance=after_it)
    book.put(invoice)
    book.alter(subscription, latest_invoice=invoice["id"], _pending=[])
    book.tell("invoice.created", invoice)
    return invoice


# Paying --------------------------------------------------------------------------------------------------------------


def collect(book: Book, invoice: Thing, method: Thing | None, *, is_off_session: bool = True) -> str:
    """The invoice has been finalised and tried once: paid, declined, needs_action or processing."""
    if invoice["status"] == "draft":
        acts.finalize(book, invoice)
    if not invoice["amount_due"]:
        acts.settled(book, invoice, None)
        return "paid"
    intent = _intent_of(book, invoice)
    if method is None:
        book.alter(invoice, attempted=True, attempt_count=invoice["attempt_count"] + 1)
        book.tell("invoice.payment_failed", invoice)
        return "declined"
    status = acts.attempt(book, intent, method, is_off_session=is_off_session)
    if status == "succeeded":
        acts.settled(book, invoice, intent)
        return "paid"
    if status == "processing":
        return "processing"
    book.alter(invoice, attempted=True, attempt_count=invoice["attempt_count"] + 1)
    book.tell("invoice.payment_failed", invoice)
    if status == "requires_action":
        book.tell("invoice.payment_action_required", invoice)
        return "needs_action"
    return "declined"


def _intent_of(book: Book, invoice: Thing) -> Thing:
    """The one payment intent of an invoice, made at the first try."""
    known = book.where("invoice_payment", lambda one: one["invoice"] == invoice["id"])
    if known and (intent := book.find(known[0]["payment"]["payment_intent"])):
        return intent
    words = "Subscription creation" if invoice["billing_reason"] == "subscription_create" else "Subscription update"
    intent = shapes.payment_intent(
        book, amount=invoice["amount_due"], currency=invoice["currency"], customer=invoice["customer"],
        description=words, setup_future_usage="off_session",
    )  # fmt: skip
    book.put(intent)
    book.put(shapes.invoice_payment(book, invoice, intent["id"]))
    book.tell("payment_intent.created", intent)
    return intent


def conclude(book: Book, intent: Thing, *, is_paid: bool) -> Thing:
    """What was processing, or waited for the person, has ended; so has what depends on it."""
    acts.conclude(book, intent, is_paid=is_paid)
    for payment in book.where("invoice_payment", lambda one: one["payment"]["payment_intent"] == intent["id"]):
        invoice = book.get("invoice", payment["invoice"])
        if invoice["status"] != "open":
            continue
        if is_paid:
            acts.settled(book, invoice, intent)
        else:
            book.alter(invoice, attempted=True, attempt_count=invoice["attempt_count"] + 1)
            book.tell("invoice.payment_failed", invoice)
        follow(book, invoice, "paid" if is_paid else "declined")
    return intent


def follow(book: Book, invoice: Thing, outcome: str) -> None:
    """The subscription stands as its invoice's try says."""
    subscription = book.find(subscription_of(invoice))
    if subscription is None or subscription["status"] in ENDED:
        return
    status = subscription["status"]
    if outcome == "paid":
        open_ones = book.where(
            "invoice", lambda one: one["status"] == "open" and subscription_of(one) == subscription["id"]
        )
        if status in ("incomplete", "past_due", "unpaid") and not open_ones:
            book.alter(subscription, "customer.subscription.updated", status="active")
    elif outcome in ("declined", "needs_action") and invoice["billing_reason"] != "subscription_create":
        if status in ("active", "trialing"):
            book.alter(subscription, "customer.subscription.updated", status="past_due")
        _next_try(book, invoice, subscription)


def _next_try(book: Book, invoice: Thing, subscription: Thing) -> None:
    """The next try has its time; after the last one the subscription ends, or stays as the controls say."""
    first = invoice["status_transitions"]["finalized_at"]
    later = [first + days * DAY for days in TRIES_AFTER_DAYS]
    coming = [moment for moment in later[invoice["attempt_count"] - 1 :] if moment > book.now()]
    if coming:
        book.alter(invoice, "invoice.updated", next_payment_attempt=coming[0])
        return
    book.alter(invoice, "invoice.updated", next_payment_attempt=None, auto_advance=False)
    ending = book.controls["dunning_ends"]
    if ending == "canceled":
        end(book, subscription, "payment_failed")
    elif ending == "unpaid":
        book.alter(subscription, "customer.subscription.updated", status="unpaid")


def subscription_of(invoice: Thing) -> str | None:
    parent = invoice["parent"] or {}
    found = (parent.get("subscription_details") or {}).get("subscription")
    return str(found) if found else None


def method_for(book: Book, subscription: Thing) -> Thing | None:
    return acts.default_method(book, subscription["customer"], subscription["default_payment_method"])


# Checkout ------------------------------------------------------------------------------------------------------------


def pay_session(book: Book, session: Thing, last4: str) -> str:
    """The person has paid on the hosted page, or tried to: complete, declined, or needs_action."""
    if session["status"] == "open" and session["mode"] == "subscription":
        return _subscribe(book, session, last4)
    if session["status"] == "open" and session["mode"] == "setup":
        return _save_card(book, session, last4)
    return acts.pay_session(book, session, last4)


def _try_card(book: Book, session: Thing, customer: Thing, last4: str) -> bool:
    """A card that is declined on the page leaves nothing behind but the failed try."""
    if last4 not in acts.DECLINES:
        return True
    amount = session["amount_total"] or 0
    if amount:
        intent = shapes.payment_intent(
            book, amount=amount, currency=session["currency"], customer=customer["id"],
            description="Subscription creation",
        )  # fmt: skip
        book.put(intent)
        book.tell("payment_intent.created", intent)
        acts.attempt(book, intent, book.put(shapes.payment_method(book, last4, customer)))
    return False


def _subscribe(book: Book, session: Thing, last4: str) -> str:
    customer = acts.buyer(book, session)
    if not _try_card(book, session, customer, last4):
        return "declined"
    method = acts.attach(book, book.put(shapes.payment_method(book, last4, customer)), customer["id"])
    line = session["_items"][0]
    asked = dict(session["_subscription_data"] or {})
    subscription = begin(
        book, customer, line["price"], line["quantity"], asked | {"default_payment_method": method["id"]}
    )
    invoice = first_invoice(book, subscription)
    outcome = collect(book, invoice, method, is_off_session=False)
    follow(book, invoice, outcome)
    is_owed = bool(invoice["amount_due"])
    book.alter(
        session, status="complete", subscription=subscription["id"], invoice=invoice["id"], url=None,
        payment_status="no_payment_required" if not is_owed else "paid" if outcome == "paid" else "unpaid",
        customer_details=acts.session_details(session, customer),
    )  # fmt: skip
    book.tell("checkout.session.completed", session)
    return "complete"


def _save_card(book: Book, session: Thing, last4: str) -> str:
    customer = acts.buyer(book, session)
    if last4 in acts.DECLINES and last4 != "0341":
        return "declined"
    method = acts.attach(book, book.put(shapes.payment_method(book, last4, customer)), customer["id"])
    asked = session["_setup_intent_data"] or {}
    intent = book.put(shapes.setup_intent(book, customer=customer["id"], payment_method=method["id"], **asked))
    book.tell("setup_intent.created", intent)
    book.tell("setup_intent.succeeded", intent)
    book.alter(
        session, status="complete", setup_intent=intent["id"], url=None,
        customer_details=acts.session_details(session, customer),
    )  # fmt: skip
    book.tell("checkout.session.completed", session)
    return "complete"


# Changing ------------------------------------------------------------------------------------------------------------


def change_item(
    book: Book, subscription: Thing, price: Thing, quantity: int, given: Thing, more: Thing | None = None
) -> None:
    """Another price, or another number: the difference is billed now, put off to the next invoice, or let be.

    `more` changes with it. Nothing does where the difference cannot be paid and the caller asked for all or nothing.
    """
    behaviour = given.get("proration_behavior") or "create_prorations"
    moment = given.get("proration_date") or book.now()
    old, is_trial = item_of(subscription), subscription["status"] == "trialing"
    is_new_cycle = given.get("billing_cycle_anchor") == "now" or _cycle(old["price"]) != _cycle(price)
    start, ends = old["current_period_start"], old["current_period_end"]
    if not start <= moment <= ends:
        raise wrong("Cannot specify proration_date outside of the current period.", "proration_date")
    lines = []
    if behaviour != "none" and not is_trial:
        whole, left = ends - start, max(0, ends - moment)
        before = _part(old["price"]["unit_amount"] * old["quantity"], left, whole)
        lines.append(_proration(book, old, moment, ends, -before, "Unused time on"))
        if not is_new_cycle:
            now_costs = _part(price["unit_amount"] * quantity, left, whole)
            lines.append(
                _proration(
                    book, old | {"price": price, "quantity": quantity}, moment, ends, now_costs, "Remaining time on"
                )
            )
    changes = {"price": price, "plan": shapes.plan(price), "quantity": quantity}
    if is_new_cycle and not is_trial:
        now = book.now()
        changes |= {"current_period_start": now, "current_period_end": after(now, price["recurring"], now)}
        subscription["billing_cycle_anchor"] = now
    items = with_item(subscription, **changes)
    book.alter(subscription, "customer.subscription.updated", items=items, **(more or {}))
    if is_new_cycle and not is_trial:
        lines.append(period_line(book, item_of(subscription)))
    if lines and (behaviour == "always_invoice" or is_new_cycle):
        invoice = bill(book, subscription, lines, "subscription_update")
        outcome = collect(book, invoice, method_for(book, subscription))
        if given.get("payment_behavior") == "error_if_incomplete" and outcome in ("declined", "needs_action"):
            raise Refused(402, "card_error", "Your card was declined.", code="card_declined")
        follow(book, invoice, outcome)
    elif lines:
        book.alter(subscription, _pending=[*subscription["_pending"], *lines])


def _cycle(price: Thing) -> tuple[str, int]:
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def _part(amount: int, left: int, whole: int) -> int:
    """What of the amount is for the time that is left, to the nearest, as the page of the plan says beforehand."""
    return (2 * amount * left + whole) // (2 * whole)


def _proration(book: Book, item: Thing, start: int, ends: int, amount: int, words: str) -> Thing:
    product = book.find(item["price"]["product"]) or {}
    line = shapes.line(
        book, item["price"], item["quantity"], start, ends, description=f"{words} {product.get('name')}",
        parent=shapes.of_item(item, is_proration=True), discountable=False,
    )  # fmt: skip
    return line | {"amount": amount, "subtotal": amount}


def wanted(book: Book, subscription: Thing, given: Thing) -> Thing:
    """What an update asks for, besides prices: when it ends, whether it collects, what it is paid with."""
    if subscription["status"] in ENDED and given.keys() - {"metadata", "cancellation_details"}:
        raise wrong("A canceled subscription can only update its cancellation_details and metadata.")
    changes = dict(given)
    if "cancel_at_period_end" in given:
        is_ending = given["cancel_at_period_end"]
        changes |= {
            "cancel_at": item_of(subscription)["current_period_end"] if is_ending else None,
            "canceled_at": book.now() if is_ending else None,
            "cancellation_details": subscription["cancellation_details"]
            | {"reason": "cancellation_requested" if is_ending else None},
        }
    elif "cancel_at" in given:
        changes["canceled_at"] = book.now() if given["cancel_at"] else None
        changes["cancel_at_period_end"] = False
    if changes.get("pause_collection"):
        changes["pause_collection"] = {"resumes_at": None} | changes["pause_collection"]
    return changes


def change(book: Book, subscription: Thing, given: Thing) -> Thing:
    """What an update of anything but its price asks for."""
    trial_end = given.pop("trial_end", None)
    changes = wanted(book, subscription, given)
    if isinstance(trial_end, int):
        changes |= {
            "trial_end": trial_end, "billing_cycle_anchor": trial_end, "status": "trialing",
            "items": with_item(subscription, current_period_end=trial_end),
        }  # fmt: skip
    if changes:
        book.alter(subscription, "customer.subscription.updated", **changes)
    if trial_end == "now" and subscription["status"] == "trialing":
        book.alter(subscription, trial_end=book.now())
        renew(book, subscription)
    return subscription


def end(book: Book, subscription: Thing, reason: str | None = "cancellation_requested") -> Thing:
    """It has ended, now."""
    if subscription["status"] in ENDED:
        raise Refused(
            404, "invalid_request_error", f"No such subscription: '{subscription['id']}'", code="resource_missing"
        )
    now = book.now()
    details = subscription["cancellation_details"] | {
        "reason": subscription["cancellation_details"]["reason"] or reason
    }
    book.alter(
        subscription, status="canceled", ended_at=now, canceled_at=subscription["canceled_at"] or now,
        cancellation_details=details, _pending=[],
    )  # fmt: skip
    for invoice in book.where("invoice", lambda one: subscription_of(one) == subscription["id"]):
        if invoice["next_payment_attempt"]:
            book.alter(invoice, next_payment_attempt=None, auto_advance=False)
    book.tell("customer.subscription.deleted", subscription)
    return subscription


def pause(book: Book, subscription: Thing) -> Thing:
    """It makes no invoices until it is resumed, as after a trial without a card."""
    book.alter(subscription, status="paused")
    book.tell("customer.subscription.paused", subscription)
    return subscription


def resume(book: Book, subscription: Thing) -> Thing:
    """A paused one begins a new period, and is paid for."""
    if subscription["status"] != "paused":
        raise wrong("You can only resume a subscription with a status of `paused`.")
    _new_period(book, subscription, book.now())
    invoice = bill(book, subscription, [period_line(book, item_of(subscription))], "subscription_cycle")
    outcome = collect(book, invoice, method_for(book, subscription))
    book.alter(subscription, status="active" if outcome == "paid" else "past_due")
    book.tell("customer.subscription.resumed", subscription)
    return subscription


def _new_period(book: Book, subscription: Thing, start: int, kind: str | None = None, **changes: Any) -> None:
    """The item's period begins there; a start that is no boundary becomes the new anchor."""
    item = item_of(subscription)
    if start != item["current_period_end"]:
        changes["billing_cycle_anchor"] = start
    anchor: int = changes.get("billing_cycle_anchor") or subscription["billing_cycle_anchor"]
    period = {
        "current_period_start": start,
        "current_period_end": after(anchor, item["price"]["recurring"], start),
    }
    book.alter(subscription, kind, items=with_item(subscription, **period), **changes)


def renew(book: Book, subscription: Thing) -> None:
    """A period, or a trial, has ended: the next begins and is paid for, unless this was the last."""
    item, was_trial = item_of(subscription), subscription["status"] == "trialing"
    if subscription["cancel_at_period_end"]:
        end(book, subscription)
        return
    method = method_for(book, subscription)
    missing = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if was_trial and method is None and missing != "create_invoice":
        (end if missing == "cancel" else pause)(book, subscription)
        return
    start = min(subscription["trial_end"], item["current_period_end"]) if was_trial else item["current_period_end"]
    status = {"status": "active"} if was_trial else {}
    _new_period(book, subscription, start, "customer.subscription.updated", **status)
    invoice = bill(book, subscription, [period_line(book, item_of(subscription))], "subscription_cycle")
    book.alter(invoice, period_start=item["current_period_start"], period_end=item["current_period_end"])
    paused = subscription["pause_collection"]
    if paused:
        _let_be(book, invoice, paused["behavior"])
    elif subscription["status"] == "unpaid":
        book.alter(invoice, auto_advance=False)
    else:
        follow(book, invoice, collect(book, invoice, method))


def _let_be(book: Book, invoice: Thing, behaviour: str) -> None:
    """An invoice made while collection is paused."""
    if behaviour == "keep_as_draft":
        book.alter(invoice, auto_advance=False)
        return
    acts.finalize(book, invoice)
    void(book, invoice) if behaviour == "void" else write_off(book, invoice)


def void(book: Book, invoice: Thing) -> Thing:
    if invoice["status"] not in ("open", "uncollectible"):
        raise wrong(f"This invoice is {invoice['status']} and cannot be voided.")
    transitions = invoice["status_transitions"] | {"voided_at": book.now()}
    book.alter(invoice, status="void", status_transitions=transitions, next_payment_attempt=None)
    book.tell("invoice.voided", invoice)
    return invoice


def write_off(book: Book, invoice: Thing) -> Thing:
    if invoice["status"] != "open":
        raise wrong(f"This invoice is {invoice['status']} and cannot be marked uncollectible.")
    transitions = invoice["status_transitions"] | {"marked_uncollectible_at": book.now()}
    book.alter(invoice, status="uncollectible", status_transitions=transitions, next_payment_attempt=None)
    book.tell("invoice.marked_uncollectible", invoice)
    return invoice


def pay_invoice(book: Book, invoice: Thing, method_name: str | None, *, is_off_session: bool) -> Thing:
    """The invoice has been tried again, because somebody asked."""
    if invoice["status"] == "paid":
        raise wrong("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] not in ("draft", "open", "uncollectible"):
        raise wrong(f"This invoice is {invoice['status']} and cannot be paid.")
    subscription = book.find(subscription_of(invoice))
    named = subscription["default_payment_method"] if subscription else None
    method = (
        acts.method_named(book, method_name, invoice["customer"])
        if method_name
        else acts.default_method(book, invoice["customer"], named)
    )
    outcome = collect(book, invoice, method, is_off_session=is_off_session)
    follow(book, invoice, outcome)
    if outcome == "declined":
        if method is None:
            raise wrong("There is no `default_payment_method` set on this Customer or Invoice.")
        refused = acts.decline_of(_intent_of(book, invoice))
        refused.body["error"].pop("payment_intent")
        raise refused
    return invoice


# Time ----------------------------------------------------------------------------------------------------------------


def advance(book: Book, until: int) -> None:
    """The clock stands at that moment, and everything due up to then has happened at its own moment."""
    while True:
        due = min(_due(book), key=lambda one: one[0], default=None)
        if due is None or due[0] > until:
            break
        moment, act, thing = due
        if moment > book.now():
            _move_clock(book, moment)
        act(book, thing)
    if until > book.now():
        _move_clock(book, until)


def _move_clock(book: Book, moment: int) -> None:
    book.set(offset_seconds=float(book.controls["offset_seconds"]) + (moment - book.now()))


Due = tuple[int, Callable[[Book, Thing], Any], Thing]


def _due(book: Book) -> list[Due]:
    """Everything that will happen by itself, with its moment."""
    found: list[Due] = [
        (session["expires_at"], acts.expire_session, session)
        for session in book.each("checkout.session")
        if session["status"] == "open"
    ]
    for subscription in book.each("subscription"):
        found += _due_of(subscription)
    found += [
        (invoice["next_payment_attempt"], _try_again, invoice)
        for invoice in book.each("invoice")
        if invoice["status"] == "open" and invoice["next_payment_attempt"]
    ]
    return found


def _due_of(subscription: Thing) -> list[Due]:
    status, item = subscription["status"], item_of(subscription)
    found: list[Due] = []
    if status in ("trialing", "active", "past_due", "unpaid"):
        found.append((item["current_period_end"], renew, subscription))
        if subscription["cancel_at"]:
            found.append((subscription["cancel_at"], end, subscription))
    if status == "trialing" and not subscription.get("_was_noticed"):
        notice = max(subscription["trial_start"], subscription["trial_end"] - TRIAL_NOTICE_DAYS * DAY)
        found.append((notice, _notice_trial, subscription))
    if status == "incomplete":
        found.append((subscription["created"] + INCOMPLETE_HOURS * 3600, _give_up, subscription))
    paused = subscription["pause_collection"]
    if status not in ENDED and paused and paused["resumes_at"]:
        found.append((paused["resumes_at"], _collect_again, subscription))
    return found


def _notice_trial(book: Book, subscription: Thing) -> None:
    book.alter(subscription, _was_noticed=True)
    book.tell("customer.subscription.trial_will_end", subscription)


def _give_up(book: Book, subscription: Thing) -> None:
    book.alter(subscription, "customer.subscription.updated", status="incomplete_expired", ended_at=book.now())


def _collect_again(book: Book, subscription: Thing) -> None:
    book.alter(subscription, "customer.subscription.updated", pause_collection=None)


def _try_again(book: Book, invoice: Thing) -> None:
    subscription = book.find(subscription_of(invoice))
    method = method_for(book, subscription) if subscription else acts.default_method(book, invoice["customer"])
    follow(book, invoice, collect(book, invoice, method))
