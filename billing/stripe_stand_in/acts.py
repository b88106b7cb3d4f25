"""What happens to payments, sessions and receipts, and which events tell of it, in the order Stripe tells."""

from __future__ import annotations

from . import shapes
from .book import BASE, Book, Thing
from .refusals import Refused, wrong

# How a card behaves, by its last four figures: Stripe's own test cards. 6000 is a bank debit that takes its time.
DECLINES = {
    "0002": ("card_declined", "generic_decline", "Your card was declined."),
    "0341": ("card_declined", "generic_decline", "Your card was declined."),
    "9995": ("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    "0069": ("expired_card", "expired_card", "Your card has expired."),
}
NEEDS_ACTION, SLOW = "3184", "6000"
CARDS = {
    "works": "4242", "declines": "0002", "insufficient_funds": "9995", "expired": "0069", "needs_action": NEEDS_ACTION,
    "slow": SLOW,
}  # fmt: skip
TOKENS = {
    "pm_card_visa": "4242", "pm_card_mastercard": "4444", "pm_card_chargeDeclined": "0002",
    "pm_card_visa_chargeDeclined": "0002", "pm_card_chargeDeclinedInsufficientFunds": "9995",
    "pm_card_chargeDeclinedExpiredCard": "0069", "pm_card_chargeCustomerFail": "0341",
    "pm_card_authenticationRequired": NEEDS_ACTION, "pm_bacsDebit_success": SLOW,
}  # fmt: skip


# Cards ---------------------------------------------------------------------------------------------------------------


def last4_of(method: Thing) -> str:
    return str(method[method["type"]]["last4"])


def method_named(book: Book, name: str, customer: str | None) -> Thing:
    """The payment method by its id, or a new one by the name of a test card."""
    if last4 := TOKENS.get(name):
        return book.put(shapes.payment_method(book, last4, book.find(customer)))
    method = book.get("payment_method", name, "payment_method", 400)
    if method["customer"] and method["customer"] != customer:
        raise wrong(f"The payment method {name} belongs to another customer.", "payment_method")
    return method


def attach(book: Book, method: Thing, customer: str, *, is_default: bool = False) -> Thing:
    """The customer keeps the card; as the one that invoices are paid with, where asked."""
    if method["customer"] != customer:
        method["customer"] = customer
        book.put(method)
        book.tell("payment_method.attached", method)
    if is_default:
        owner = book.get("customer", customer)
        book.alter(
            owner,
            "customer.updated",
            invoice_settings=owner["invoice_settings"] | {"default_payment_method": method["id"]},
        )
    return method


def give_card(book: Book, customer: str, last4: str) -> Thing:
    """From now on the customer's payments are tried with this card alone."""
    owner = book.get("customer", customer)
    for method in book.where("payment_method", lambda one: one["customer"] == customer):
        book.alter(method, "payment_method.detached", customer=None)
    return attach(book, book.put(shapes.payment_method(book, last4, owner)), customer, is_default=True)


def default_method(book: Book, customer: str, *others: str | None) -> Thing | None:
    """The card that is charged when nobody is there: the first named one, else the customer's own."""
    chosen = book.get("customer", customer)["invoice_settings"]["default_payment_method"]
    found = (book.find(name) for name in (*others, chosen) if name)
    return next((method for method in found if method and method["customer"] == customer), None)


# Payment intents -----------------------------------------------------------------------------------------------------


def declined(book: Book, intent: Thing, method: Thing, code: str, decline_code: str, message: str) -> None:
    """The card was tried, and declined."""
    charge = shapes.charge(
        book, intent, method, status="failed", failure_code=code, failure_message=message,
        outcome={
            "network_status": "declined_by_network", "reason": decline_code, "risk_level": "normal",
            "seller_message": message, "type": "issuer_declined",
        },
    )  # fmt: skip
    book.put(charge)
    error = {
        "charge": charge["id"],
        "code": code,
        "decline_code": decline_code,
        "message": message,
        "payment_method": method,
        "type": "card_error",
    }
    book.alter(
        intent, status="requires_payment_method", last_payment_error=error, latest_charge=charge["id"],
        payment_method=None, next_action=None,
    )  # fmt: skip
    book.tell("charge.failed", charge)
    book.tell("payment_intent.payment_failed", intent)


def received(book: Book, intent: Thing, method: Thing) -> None:
    """The money is there."""
    before = book.find(intent["latest_charge"])
    charge = before if before and before["status"] == "pending" else shapes.charge(book, intent, method)
    money = shapes.balance_transaction(
        book, amount=intent["amount"], currency=intent["currency"], source=charge["id"], kind="payment"
    )
    book.put(money)
    book.alter(
        charge, status="succeeded", paid=True, captured=True, amount_captured=intent["amount"],
        balance_transaction=money["id"], receipt_url=f"{BASE}/receipts/{charge['id']}", outcome={
            "network_status": "approved_by_network", "reason": None, "risk_level": "normal",
            "seller_message": "Payment complete.", "type": "authorized",
        },
    )  # fmt: skip
    book.alter(
        intent, status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"],
        payment_method=method["id"], last_payment_error=None, next_action=None, processing=None,
    )  # fmt: skip
    if intent["setup_future_usage"] and intent["customer"]:
        attach(book, method, intent["customer"])
    book.tell("charge.succeeded", charge)
    book.tell("payment_intent.succeeded", intent)


def attempt(book: Book, intent: Thing, method: Thing, *, is_off_session: bool = False) -> str:
    """The card has been tried once; the intent's status afterwards."""
    last4 = last4_of(method)
    if refusal := DECLINES.get(last4):
        declined(book, intent, method, *refusal)
    elif last4 == NEEDS_ACTION and is_off_session:
        declined(
            book, intent, method, "authentication_required", "authentication_required",
            "Your card was declined. This transaction requires authentication.",
        )  # fmt: skip
    elif last4 == NEEDS_ACTION:
        step = {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": intent.get("_return_url"), "url": f"{BASE}/authenticate/{intent['id']}"},
        }
        book.alter(intent, status="requires_action", next_action=step, payment_method=method["id"])
        book.tell("payment_intent.requires_action", intent)
    elif last4 == SLOW:
        charge = book.put(shapes.charge(book, intent, method))
        book.alter(intent, status="processing", latest_charge=charge["id"], payment_method=method["id"])
        book.tell("charge.pending", charge)
        book.tell("payment_intent.processing", intent)
    else:
        received(book, intent, method)
    return str(intent["status"])


def confirm(book: Book, intent: Thing, method_name: str | None, *, is_off_session: bool) -> Thing:
    """The intent has been tried with a card. A decline is refused as Stripe does, and stands all the same."""
    if intent["status"] not in ("requires_payment_method", "requires_confirmation"):
        raise wrong(
            f"You cannot confirm this PaymentIntent because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    name = method_name or intent["payment_method"]
    if not name:
        raise wrong(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
        )
    method = method_named(book, name, intent["customer"])
    if is_off_session and not method["customer"] and name not in TOKENS:
        raise wrong("The payment method is not attached to the customer.", "payment_method")
    if attempt(book, intent, method, is_off_session=is_off_session) == "requires_payment_method":
        raise decline_of(intent)
    return intent


def decline_of(intent: Thing) -> Refused:
    said = intent["last_payment_error"]
    return Refused(
        402, "card_error", said["message"], is_kept=True, code=said["code"], decline_code=said["decline_code"],
        charge=said["charge"], payment_intent=intent,
    )  # fmt: skip


def conclude(book: Book, intent: Thing, *, is_paid: bool) -> Thing:
    """What was processing, or waited for the person, has ended one way or the other."""
    if intent["status"] not in ("processing", "requires_action"):
        raise wrong(f"This PaymentIntent is {intent['status']}.", code="payment_intent_unexpected_state")
    method = book.get("payment_method", intent["payment_method"])
    if is_paid:
        received(book, intent, method)
    else:
        charge = book.find(intent["latest_charge"])
        if charge and charge["status"] == "pending":
            book.alter(charge, status="failed", failure_code="charge_failed", failure_message="The payment failed.")
        declined(
            book, intent, method, "payment_intent_authentication_failure", "generic_decline", "The payment failed."
        )
    for session in book.where("checkout.session", lambda one: one["payment_intent"] == intent["id"]):
        if is_paid:
            book.alter(session, payment_status="paid")
            give_receipt(book, session, intent)
            book.tell("checkout.session.async_payment_succeeded", session)
        else:
            book.tell("checkout.session.async_payment_failed", session)
    return intent


# Invoices ------------------------------------------------------------------------------------------------------------


def finalize(book: Book, invoice: Thing, *, is_told: bool = True) -> Thing:
    """A draft has its number and its page, and is owed."""
    made = int(book.controls["invoices_made"]) + 1
    book.set(invoices_made=made)
    customer = book.get("customer", invoice["customer"])
    now = book.now()
    book.alter(
        invoice, status="open", number=f"{customer['invoice_prefix']}-{made:04}", effective_at=now,
        hosted_invoice_url=f"{BASE}/invoices/{invoice['id']}",
        status_transitions=invoice["status_transitions"] | {"finalized_at": now},
    )  # fmt: skip
    if is_told:
        book.tell("invoice.finalized", invoice)
    return invoice


def settled(book: Book, invoice: Thing, intent: Thing | None) -> Thing:
    """The invoice is paid: by the intent, or because nothing is owed."""
    now = book.now()
    payment = None
    if intent is not None:
        known = book.where(
            "invoice_payment",
            lambda one: one["invoice"] == invoice["id"] and one["payment"]["payment_intent"] == intent["id"],
        )
        payment = known[0] if known else shapes.invoice_payment(book, invoice, intent["id"])
        payment |= {
            "status": "paid",
            "amount_paid": invoice["amount_due"],
            "status_transitions": {"canceled_at": None, "paid_at": now},
        }
        book.put(payment)
    book.alter(
        invoice, status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, attempted=True,
        attempt_count=invoice["attempt_count"] + (intent is not None), next_payment_attempt=None, auto_advance=False,
        status_transitions=invoice["status_transitions"] | {"paid_at": now},
    )  # fmt: skip
    book.tell("invoice.paid", invoice)
    book.tell("invoice.payment_succeeded", invoice)
    if payment is not None:
        book.tell("invoice_payment.paid", payment)
    return invoice


def give_receipt(book: Book, session: Thing, intent: Thing) -> None:
    """Where the session asked for it, a paid invoice stands as the receipt."""
    creation = session["invoice_creation"]
    if not creation or not creation["enabled"] or session["invoice"]:
        return
    customer = book.get("customer", session["customer"])
    now = book.now()
    lines = [
        shapes.line(book, one["price"], one["quantity"], now, now, description=one["description"])
        for one in session["_items"]
    ]
    asked = creation["invoice_data"]
    invoice = shapes.invoice(
        book, customer, lines, currency=session["currency"], reason="manual",
        metadata=asked["metadata"], description=asked["description"], footer=asked["footer"],
    )  # fmt: skip
    book.put(invoice)
    book.tell("invoice.created", invoice)
    finalize(book, invoice)
    settled(book, invoice, intent)
    book.alter(session, invoice=invoice["id"])


# Checkout Sessions ---------------------------------------------------------------------------------------------------


def buyer(book: Book, session: Thing) -> Thing:
    """The session's customer; a new one where a session without one needs it."""
    if session["customer"]:
        return book.get("customer", session["customer"])
    customer = book.put(shapes.customer(book, email=session["customer_email"] or "buyer@example.test"))
    book.tell("customer.created", customer)
    session["customer"] = customer["id"]
    book.put(session)
    return customer


def pay_session(book: Book, session: Thing, last4: str) -> str:
    """The person has paid on the hosted page, or tried to: complete, declined, or needs_action."""
    if session["status"] != "open":
        raise wrong(f"This Checkout Session is {session['status']}.", code="checkout_session_not_open")
    is_kept = (session["_payment_intent_data"] or {}).get("setup_future_usage")
    needs_customer = is_kept or session["customer_creation"] == "always" or bool(session["invoice_creation"])
    customer = buyer(book, session) if session["customer"] or needs_customer else None
    intent = book.find(session.get("_intent"))
    if intent is None:
        asked = session["_payment_intent_data"] or {}
        intent = shapes.payment_intent(
            book, amount=session["amount_total"], currency=session["currency"],
            customer=customer["id"] if customer else None, **asked,
        )  # fmt: skip
        book.put(intent)
        book.tell("payment_intent.created", intent)
        book.alter(session, _intent=intent["id"])
    method = book.put(shapes.payment_method(book, last4, customer))
    status = attempt(book, intent, method)
    if status == "requires_payment_method":
        return "declined"
    if status == "requires_action":
        return "needs_action"
    complete_session(book, session, intent, customer)
    return "complete"


def complete_session(book: Book, session: Thing, intent: Thing, customer: Thing | None) -> None:
    """A session of one payment is complete, paid already or not yet."""
    is_paid = intent["status"] == "succeeded"
    book.alter(
        session, status="complete", payment_intent=intent["id"], payment_status="paid" if is_paid else "unpaid",
        url=None, customer_details=session_details(session, customer),
    )  # fmt: skip
    if is_paid:
        give_receipt(book, session, intent)
    book.tell("checkout.session.completed", session)


def session_details(session: Thing, customer: Thing | None) -> Thing:
    known = shapes.details_of(customer)
    return {
        "address": known["address"], "business_name": None, "email": known["email"] or session["customer_email"],
        "individual_name": None, "name": known["name"], "phone": None, "tax_exempt": "none", "tax_ids": [],
    }  # fmt: skip


def expire_session(book: Book, session: Thing) -> Thing:
    """Nobody can pay it any more."""
    if session["status"] != "open":
        raise wrong(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This one is {session["status"]}.'
        )
    book.alter(session, status="expired", url=None)
    book.tell("checkout.session.expired", session)
    return session
