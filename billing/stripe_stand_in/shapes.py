"""What objects look like at the pinned API version.

A Charge and a PaymentIntent name no invoice, an Invoice no payment intent and no subscription of its own, a
Subscription no period: those stand on its items, its lines and in invoice payments.
"""

from typing import Any

from .book import BASE, Book, Thing

BRANDS = {"4242": "visa", "4444": "mastercard"}


def listed(url: str, things: list[Thing], has_more: bool = False) -> Thing:
    """A list inside an object, or an answer that is one."""
    return {"object": "list", "data": things, "has_more": has_more, "url": url}


def fresh(book: Book, kind: str, **fields: Any) -> Thing:
    """A new object with what all have."""
    return {"id": book.name(kind), "object": kind, "created": book.now(), "livemode": False, "metadata": {}} | fields


def customer(book: Book, **given: Any) -> Thing:
    shape: Thing = {
        "address": None, "balance": 0, "currency": None, "default_source": None, "delinquent": False,
        "description": None, "discount": None, "email": None,
        "invoice_settings": {
            "custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None
        },
        "name": None, "next_invoice_sequence": 1, "phone": None, "preferred_locales": [], "shipping": None,
        "tax_exempt": "none", "test_clock": None,
    }  # fmt: skip
    thing = fresh(book, "customer", **shape)
    return thing | {"invoice_prefix": thing["id"][-8:].upper()} | given


def product(book: Book, **given: Any) -> Thing:
    shape: Thing = {
        "active": True, "default_price": None, "description": None, "images": [], "marketing_features": [],
        "package_dimensions": None, "shippable": None, "statement_descriptor": None, "tax_code": None,
        "type": "service", "unit_label": None, "updated": book.now(), "url": None,
    }  # fmt: skip
    return fresh(book, "product", **shape) | given


def price(book: Book, *, unit_amount: int, recurring: Thing | None = None, **given: Any) -> Thing:
    shape: Thing = {
        "active": True, "billing_scheme": "per_unit", "custom_unit_amount": None, "lookup_key": None, "nickname": None,
        "recurring": None, "tax_behavior": "unspecified", "tiers_mode": None, "transform_quantity": None,
    }  # fmt: skip
    if recurring:
        recurring = {
            "interval": recurring["interval"], "interval_count": recurring.get("interval_count", 1), "meter": None,
            "trial_period_days": None, "usage_type": "licensed",
        }  # fmt: skip
    return (
        fresh(book, "price", **shape)
        | given
        | {
            "unit_amount": unit_amount,
            "unit_amount_decimal": str(unit_amount),
            "recurring": recurring,
            "type": "recurring" if recurring else "one_time",
        }
    )


def details_of(customer: Thing | None) -> Thing:
    """The person as a payment names them."""
    known = customer or {}
    return {
        "address": known.get("address"),
        "email": known.get("email"),
        "name": known.get("name"),
        "phone": None,
        "tax_id": None,
    }


def payment_method(book: Book, last4: str, customer: Thing | None) -> Thing:
    """A card, whose last four figures say how it behaves; or, ending in 6000, a bank debit that takes its time."""
    kind = "bacs_debit" if last4 == "6000" else "card"
    card = {
        "brand": BRANDS.get(last4, "visa"), "checks": None, "country": "GB", "display_brand": "visa", "exp_month": 12,
        "exp_year": 2034, "fingerprint": f"rehearsal{last4}", "funding": "credit", "generated_from": None,
        "last4": last4, "networks": {"available": ["visa"], "preferred": None}, "three_d_secure_usage":
        {"supported": True}, "wallet": None, "regulated_status": "unregulated",
    }  # fmt: skip
    debit = {"fingerprint": f"rehearsal{last4}", "last4": last4, "sort_code": "108800"}
    return fresh(
        book, "payment_method", type=kind, allow_redisplay="unspecified", billing_details=details_of(customer),
        customer=None, radar_options={}, **{kind: debit if kind == "bacs_debit" else card},
    )  # fmt: skip


def payment_intent(book: Book, *, amount: int, currency: str, customer: str | None, **given: Any) -> Thing:
    shape: Thing = {
        "amount_capturable": 0, "amount_details": {"tip": {}}, "amount_received": 0, "application": None,
        "application_fee_amount": None, "automatic_payment_methods": None, "canceled_at": None,
        "cancellation_reason": None, "capture_method": "automatic_async", "confirmation_method": "automatic",
        "description": None, "last_payment_error": None, "latest_charge": None, "next_action": None,
        "on_behalf_of": None, "payment_method": None, "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}}, "payment_method_types": ["card"],
        "processing": None, "receipt_email": None, "review": None, "setup_future_usage": None, "shipping": None,
        "source": None, "statement_descriptor": None, "statement_descriptor_suffix": None,
        "status": "requires_payment_method", "transfer_data": None, "transfer_group": None,
    }  # fmt: skip
    thing = fresh(book, "payment_intent", amount=amount, currency=currency, customer=customer, **shape)
    return thing | {"client_secret": f"{thing['id']}_secret_rehearsal"} | given


def setup_intent(book: Book, *, customer: str | None, payment_method: str, **given: Any) -> Thing:
    shape: Thing = {
        "application": None, "automatic_payment_methods": None, "cancellation_reason": None, "description": None,
        "flow_directions": None, "last_setup_error": None, "latest_attempt": None, "mandate": None,
        "next_action": None, "on_behalf_of": None, "payment_method_options": {}, "payment_method_types": ["card"],
        "single_use_mandate": None, "status": "succeeded", "usage": "off_session",
    }  # fmt: skip
    thing = fresh(book, "setup_intent", customer=customer, payment_method=payment_method, **shape)
    return thing | {"client_secret": f"{thing['id']}_secret_rehearsal"} | given


def charge(book: Book, intent: Thing, method: Thing, **given: Any) -> Thing:
    shape: Thing = {
        "amount_captured": 0, "amount_refunded": 0, "application": None, "application_fee": None,
        "application_fee_amount": None, "balance_transaction": None, "calculated_statement_descriptor": "HOLDFAST",
        "captured": False, "disputed": False, "failure_balance_transaction": None, "failure_code": None,
        "failure_message": None, "fraud_details": {}, "on_behalf_of": None, "outcome": None, "paid": False,
        "radar_options": {}, "receipt_email": None, "receipt_number": None, "receipt_url": None, "refunded": False,
        "review": None, "shipping": None, "source": None, "source_transfer": None, "statement_descriptor": None,
        "statement_descriptor_suffix": None, "status": "pending", "transfer_data": None, "transfer_group": None,
    }  # fmt: skip
    kind = method["type"]
    return (
        fresh(book, "charge", **shape)
        | {
            "amount": intent["amount"],
            "billing_details": method["billing_details"],
            "currency": intent["currency"],
            "customer": intent["customer"],
            "description": intent["description"],
            "metadata": intent["metadata"],
            "payment_intent": intent["id"],
            "payment_method": method["id"],
            "payment_method_details": {"type": kind, kind: method[kind]},
        }
        | given
    )


def balance_transaction(book: Book, *, amount: int, currency: str, source: str, kind: str) -> Thing:
    return {
        "id": book.name("balance_transaction"), "object": "balance_transaction", "amount": amount,
        "available_on": book.now(), "balance_type": "payments", "created": book.now(), "currency": currency,
        "description": None, "exchange_rate": None, "fee": 0, "fee_details": [], "net": amount,
        "reporting_category": {"payment": "charge"}.get(kind, kind), "source": source, "status": "available",
        "type": kind,
    }  # fmt: skip


def session(book: Book, *, mode: str, **given: Any) -> Thing:
    shape: Thing = {
        "adaptive_pricing": None, "after_expiration": None, "allow_promotion_codes": None, "amount_subtotal": None,
        "amount_total": None, "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None, "cancel_url": None, "client_reference_id": None, "client_secret": None,
        "collected_information": None, "consent": None, "consent_collection": None, "currency": None,
        "currency_conversion": None, "custom_fields": [], "customer": None, "customer_creation": None,
        "custom_text": {
            "after_submit": None, "shipping_address": None, "submit": None, "terms_of_service_acceptance": None
        },
        "customer_details": None, "customer_email": None, "discounts": None, "invoice": None,
        "invoice_creation": None, "locale": None, "origin_context": None, "payment_intent": None,
        "payment_link": None, "payment_method_collection": "always" if mode == "subscription" else "if_required",
        "payment_method_configuration_details": None, "payment_method_options": {}, "payment_method_types": ["card"],
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid", "permissions": None,
        "phone_number_collection": {"enabled": False}, "recovered_from": None, "saved_payment_method_options": None,
        "setup_intent": None, "shipping_address_collection": None, "shipping_cost": None, "shipping_options": [],
        "status": "open", "submit_type": None, "subscription": None, "success_url": None, "total_details": None,
        "ui_mode": "hosted_page", "wallet_options": None,
    }  # fmt: skip
    thing = fresh(book, "checkout.session", mode=mode, **shape)
    thing |= {"expires_at": book.now() + 86_400, "url": f"{BASE}/checkout/{thing['id']}"}
    return thing | given


def item(book: Book, price: Thing, quantity: int, description: str | None) -> Thing:
    """A line of a Checkout Session."""
    total = price["unit_amount"] * quantity
    return {
        "id": book.name("item"), "object": "item", "adjustable_quantity": None, "amount_discount": 0,
        "amount_subtotal": total, "amount_tax": 0, "amount_total": total, "currency": price["currency"],
        "description": description, "metadata": {}, "price": price, "quantity": quantity,
    }  # fmt: skip


def line(book: Book, price: Thing, quantity: int, start: int, end: int, **given: Any) -> Thing:
    """A line of an invoice."""
    total = price["unit_amount"] * quantity
    return {
        "id": book.name("line_item"), "object": "line_item", "amount": total, "currency": price["currency"],
        "description": None, "discount_amounts": [], "discountable": True, "discounts": [], "invoice": None,
        "livemode": False, "metadata": {}, "parent": None, "period": {"start": start, "end": end},
        "pretax_credit_amounts": [], "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]}, "type": "price_details",
            "unit_amount_decimal": str(price["unit_amount"]),
        },
        "quantity": quantity, "quantity_decimal": str(quantity), "subscription": None, "subtotal": total, "taxes": [],
    } | given  # fmt: skip


def invoice(book: Book, customer: Thing, lines: list[Thing], *, currency: str, reason: str, **given: Any) -> Thing:
    """A draft."""
    total, now = sum(one["amount"] for one in lines), book.now()
    due = max(total, 0)
    shape: Thing = {
        "account_country": "GB", "account_name": "Holdfast rehearsal", "account_tax_ids": None, "amount_due": due,
        "amount_overpaid": 0, "amount_paid": 0, "amount_remaining": due, "amount_shipping": 0, "application": None,
        "attempt_count": 0, "attempted": False, "auto_advance": True,
        "automatic_tax":
            {"disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None},
        "automatically_finalizes_at": None, "billing_reason": reason, "collection_method": "charge_automatically",
        "currency": currency, "custom_fields": None, "customer": customer["id"], "customer_address": None,
        "customer_email": customer["email"], "customer_name": customer["name"], "customer_phone": None,
        "customer_shipping": None, "customer_tax_exempt": "none", "customer_tax_ids": [],
        "default_payment_method": None, "default_source": None, "default_tax_rates": [], "description": None,
        "discounts": [], "due_date": None, "effective_at": None, "ending_balance": None, "footer": None,
        "from_invoice": None, "hosted_invoice_url": None, "invoice_pdf": None, "issuer": {"type": "self"},
        "last_finalization_error": None, "latest_revision": None, "next_payment_attempt": None, "number": None,
        "on_behalf_of": None, "parent": None,
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": now, "period_start": now, "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0, "receipt_number": None, "rendering": None, "shipping_cost": None,
        "shipping_details": None, "starting_balance": 0, "statement_descriptor": None, "status": "draft",
        "status_transitions": {
            "finalized_at": None, "marked_uncollectible_at": None, "paid_at": None, "voided_at": None
        },
        "subtotal": total, "subtotal_excluding_tax": total, "test_clock": None, "total": total,
        "total_discount_amounts": [], "total_excluding_tax": total, "total_pretax_credit_amounts": [],
        "total_taxes": [], "webhooks_delivered_at": None,
    }  # fmt: skip
    thing = fresh(book, "invoice", **shape)
    for one in lines:
        one["invoice"] = thing["id"]
    thing["lines"] = listed(f"/v1/invoices/{thing['id']}/lines", lines) | {"total_count": len(lines)}
    return thing | given


def invoice_payment(book: Book, invoice: Thing, intent: str) -> Thing:
    return {
        "id": book.name("invoice_payment"), "object": "invoice_payment", "amount_paid": None,
        "amount_requested": invoice["amount_due"], "created": book.now(), "currency": invoice["currency"],
        "invoice": invoice["id"], "is_default": True, "livemode": False,
        "payment": {"payment_intent": intent, "type": "payment_intent"}, "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }  # fmt: skip


def refund(book: Book, charge: Thing, amount: int, *, status: str, reason: str | None, metadata: Thing) -> Thing:
    return {
        "id": book.name("refund"), "object": "refund", "amount": amount, "balance_transaction": None,
        "charge": charge["id"], "created": book.now(), "currency": charge["currency"], "description": None,
        "destination_details": {"card": {"type": "refund", "reference_status": "pending"}, "type": "card"},
        "failure_balance_transaction": None, "failure_reason": None, "instructions_email": None,
        "metadata": metadata, "next_action": None, "payment_intent": charge["payment_intent"],
        "pending_reason": "processing" if status == "pending" else None, "reason": reason, "receipt_number": None,
        "source_transfer_reversal": None, "status": status, "transfer_reversal": None,
    }  # fmt: skip


def dispute(
    book: Book, charge: Thing, amount: int, *, status: str, reason: str, due: int, is_refundable: bool
) -> Thing:  # fmt: skip
    evidence: Thing = dict.fromkeys(
        ("access_activity_log", "billing_address", "customer_communication", "customer_name", "receipt",
         "refund_policy", "service_documentation", "uncategorized_text")
    )  # fmt: skip
    return fresh(
        book, "dispute", amount=amount, balance_transactions=[], charge=charge["id"], currency=charge["currency"],
        enhanced_eligibility_types=[], evidence=evidence, evidence_details={
            "due_by": due, "enhanced_eligibility": {}, "has_evidence": False, "past_due": False,
            "submission_count": 0,
        },
        is_charge_refundable=is_refundable, network_reason_code="10.4", payment_intent=charge["payment_intent"],
        payment_method_details={"card": {"brand": "visa", "case_type": "chargeback", "network_reason_code": "10.4"},
                                "type": "card"},
        reason=reason, status=status,
    )  # fmt: skip


def subscription(book: Book, customer: str, price: Thing, quantity: int, **given: Any) -> Thing:
    """Of one item, which has the period."""
    shape: Thing = {
        "application": None, "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": book.now(), "billing_cycle_anchor_config": None,
        "billing_mode": {"type": "flexible", "flexible": {"proration_discounts": "included"}, "updated_at": book.now()},
        "billing_schedules": [], "billing_thresholds": None, "cancel_at": None, "cancel_at_period_end": False,
        "canceled_at": None, "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically", "currency": price["currency"], "customer": customer,
        "days_until_due": None, "default_payment_method": None, "default_source": None, "default_tax_rates": [],
        "description": None, "discounts": [], "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}}, "latest_invoice": None,
        "next_pending_invoice_item_invoice": None, "on_behalf_of": None, "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off"
        },
        "pending_invoice_item_interval": None, "pending_setup_intent": None, "pending_update": None, "schedule": None,
        "start_date": book.now(), "status": "incomplete", "test_clock": None, "transfer_data": None,
        "trial_end": None, "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None, "_pending": [],
    }  # fmt: skip
    thing = fresh(book, "subscription", **shape) | given
    item: Thing = {
        "id": book.name("subscription_item"), "object": "subscription_item", "billing_thresholds": None,
        "created": book.now(), "current_period_end": None, "current_period_start": None, "discounts": [],
        "metadata": {}, "plan": plan(price), "price": price, "quantity": quantity, "subscription": thing["id"],
        "tax_rates": [],
    }  # fmt: skip
    items = listed(f"/v1/subscription_items?subscription={thing['id']}", [item]) | {"total_count": 1}
    return thing | {"items": items}


def plan(price: Thing) -> Thing:
    """A recurring price in its older shape, which still stands beside it."""
    recurring = price["recurring"]
    return {
        "id": price["id"], "object": "plan", "active": price["active"], "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"], "billing_scheme": "per_unit", "created": price["created"],
        "currency": price["currency"], "interval": recurring["interval"],
        "interval_count": recurring["interval_count"], "livemode": False, "metadata": {}, "meter": None,
        "nickname": price["nickname"], "product": price["product"], "tiers_mode": None, "transform_usage": None,
        "trial_period_days": None, "usage_type": "licensed",
    }  # fmt: skip


def of_item(item: Thing, *, is_proration: bool) -> Thing:
    """What a line of an invoice says of the subscription it is for."""
    details = {
        "invoice_item": None, "proration": is_proration, "proration_details": {"credited_items": None},
        "subscription": item["subscription"], "subscription_item": item["id"],
    }  # fmt: skip
    return {
        "invoice_item_details": None,
        "subscription_item_details": details,
        "type": "subscription_item_details",
    }


def of_subscription(subscription: Thing) -> Thing:
    """What an invoice says of the subscription it is for."""
    details = {"metadata": subscription["metadata"], "subscription": subscription["id"]}
    return {"quote_details": None, "subscription_details": details, "type": "subscription_details"}


def portal_session(book: Book, customer: str, configuration: str, return_url: str | None) -> Thing:
    thing = fresh(
        book, "billing_portal.session", configuration=configuration, customer=customer, flow=None, locale=None,
        on_behalf_of=None, return_url=return_url,
    )  # fmt: skip
    thing.pop("metadata")
    return thing | {"url": f"{BASE}/portal/{thing['id']}"}


def portal_configuration(book: Book, features: Thing, **given: Any) -> Thing:
    shape: Thing = {
        "customer_update": {"allowed_updates": [], "enabled": False}, "invoice_history": {"enabled": False},
        "payment_method_update": {"enabled": False, "payment_method_configuration": None},
        "subscription_cancel": {
            "cancellation_reason": {"enabled": False, "options": []}, "enabled": False, "mode": "at_period_end",
            "proration_behavior": "none",
        },
        "subscription_update": {
            "billing_cycle_anchor": None, "default_allowed_updates": [], "enabled": False,
            "proration_behavior": "none", "schedule_at_period_end": {"conditions": []},
            "trial_update_behavior": "end_trial",
        },
    }  # fmt: skip
    said: Thing = {
        "active": True, "application": None, "default_return_url": None,
        "business_profile": {"headline": None, "privacy_policy_url": None, "terms_of_service_url": None},
        "is_default": False, "login_page": {"enabled": False, "url": None}, "name": None, "updated": book.now(),
    }  # fmt: skip
    arranged = {name: value | (features.get(name) or {}) for name, value in shape.items()}
    return fresh(book, "billing_portal.configuration", **said | given, features=arranged)
