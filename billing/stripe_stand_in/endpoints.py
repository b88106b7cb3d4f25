"""The API: which request does what. Each endpoint names every parameter it takes; any other is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import acts, renewals, returns, shapes
from .book import Book, Thing
from .forms import (
    Fields,
    address,
    amount,
    between,
    count,
    currency,
    fits,
    flag,
    group,
    metadata,
    one_of,
    required,
    several,
    take,
    text,
    whole,
)  # fmt: skip
from .refusals import Refused, missing, wrong

Act = Callable[[Book, Thing, list[str]], Thing]
ANYTHING: Fields = {"expand": several(text)}
PAGE: Fields = {"limit": count, "starting_after": text, "ending_before": text, "created": between} | dict(ANYTHING)
# What can be asked for and is not here: lists without anything in them, and what an object does not have.
ALWAYS_EMPTY = {("customer", "sources"), ("customer", "tax_ids")}
NEVER_THERE = {("customer", "tax"), ("customer", "cash_balance"), ("price", "currency_options"), ("price", "tiers")}


@dataclass(frozen=True)
class Endpoint:
    method: str
    path: re.Pattern[str]
    fields: Fields
    act: Act


ENDPOINTS: list[Endpoint] = []


def endpoint(method: str, path: str, **fields: Any) -> Callable[[Act], Act]:
    """The function answers this path: `{}` stands for an id."""
    pattern = re.compile("/v1/" + path.replace("{}", r"([A-Za-z0-9_\-]+)"))

    def register(act: Act) -> Act:
        ENDPOINTS.append(Endpoint(method, pattern, dict(ANYTHING) | fields, act))
        return act

    return register


def answer(book: Book, method: str, path: str, given: Thing) -> Thing:
    """What the API says, the parameters having been taken and what was asked expanded."""
    for one in ENDPOINTS:
        found = one.path.fullmatch(path)
        if found and one.method == method:
            taken = take(one.fields, given)
            expand = taken.pop("expand", [])
            result = one.act(book, taken, list(found.groups()))
            for name in expand:
                open_up(book, result, name.split("."), name)
            return result
    raise Refused(
        404, "invalid_request_error", f"Unrecognized request URL ({method}: {path}).", code="resource_missing"
    )


def open_up(book: Book, thing: Any, names: list[str], whole_name: str) -> None:
    """An id has become the object it names, along the path of names."""
    if not names or thing is None:
        return
    if isinstance(thing, list):
        for one in thing:
            open_up(book, one, names, whole_name)
        return
    name, *rest = names
    kind = thing.get("object")
    if (kind, name) == ("checkout.session", "line_items"):
        url = f"/v1/checkout/sessions/{thing['id']}/line_items"
        thing.setdefault(name, shapes.listed(url, thing["_items"]))
    elif (kind, name) == ("invoice", "payments"):
        payments = book.where("invoice_payment", lambda one: one["invoice"] == thing["id"])
        thing.setdefault(name, shapes.listed(f"/v1/invoice_payments?invoice={thing['id']}", payments))
    elif (kind, name) == ("charge", "refunds"):
        refunds = book.where("refund", lambda one: one["charge"] == thing["id"])
        thing.setdefault(name, shapes.listed(f"/v1/charges/{thing['id']}/refunds", refunds))
    elif (kind, name) == ("customer", "subscriptions"):
        ours = book.where("subscription", lambda one: one["customer"] == thing["id"] and one["status"] != "canceled")
        thing.setdefault(name, shapes.listed(f"/v1/customers/{thing['id']}/subscriptions", ours))
    elif (kind, name) in ALWAYS_EMPTY:
        thing.setdefault(name, shapes.listed(f"/v1/customers/{thing['id']}/{name}", []))
    elif (kind, name) in NEVER_THERE:
        return
    elif name not in thing:
        raise wrong(f"This property cannot be expanded ({whole_name}).", "expand")
    if isinstance(thing[name], str):
        found = book.find(thing[name])
        if found is None:
            raise wrong(f"This property cannot be expanded ({whole_name}).", "expand")
        thing[name] = found
    open_up(book, thing[name], rest, whole_name)


def page(book: Book, kind: str, given: Thing, url: str, is_wanted: Callable[[Thing], bool] = lambda _: True) -> Thing:
    """One page of the objects of a kind, newest first."""
    limit = given.get("limit", 10)
    if limit > 100:
        raise wrong("Limit must be between 1 and 100.", "limit")
    bounds, ending = given.get("created") or {}, given.get("ending_before")
    if ending and given.get("starting_after"):
        raise wrong("You cannot parameterize both starting_after and ending_before.", "ending_before")
    found: list[Thing] = []
    for thing in book.each(kind, before=given.get("starting_after"), after=ending):
        if fits(bounds, thing["created"]) and is_wanted(thing):
            found.append(thing)
        if len(found) > limit:
            break
    has_more, found = len(found) > limit, found[:limit]
    return shapes.listed(url, found[::-1] if ending else found, has_more)


def same(given: Thing, *names: str) -> Callable[[Thing], bool]:
    """Says whether an object has the values asked for."""
    asked = {name: given[name] for name in names if given.get(name) is not None}
    return lambda thing: all(thing.get(name) == value for name, value in asked.items())


def merged(thing: Thing, given: Thing) -> Thing:
    """The changes, metadata added to what there was; an empty text takes a name away."""
    if "metadata" not in given:
        return given
    whole_set = thing["metadata"] | given["metadata"] if given["metadata"] else {}
    return given | {"metadata": {name: value for name, value in whole_set.items() if value}}


def retrievable(path: str, kind: str) -> None:
    """Objects of the kind can be read one by one."""
    endpoint("GET", f"{path}/{{}}")(lambda book, _given, ids: book.get(kind, ids[0]))


for _path, _kind in (
    ("products", "product"), ("prices", "price"), ("checkout/sessions", "checkout.session"),
    ("payment_intents", "payment_intent"), ("setup_intents", "setup_intent"), ("payment_methods", "payment_method"),
    ("charges", "charge"), ("refunds", "refund"), ("disputes", "dispute"), ("invoices", "invoice"),
    ("invoice_payments", "invoice_payment"), ("balance_transactions", "balance_transaction"), ("events", "event"),
):  # fmt: skip
    retrievable(_path, _kind)


@endpoint("GET", "account")
def own_account(book: Book, given: Thing, ids: list[str]) -> Thing:
    return {
        "id": "acct_rehearsal", "object": "account", "business_type": "company", "charges_enabled": True,
        "country": "GB", "default_currency": "gbp", "details_submitted": True, "email": None, "metadata": {},
        "payouts_enabled": True, "settings": {"dashboard": {"display_name": "Holdfast rehearsal", "timezone": "UTC"}},
        "type": "standard",
    }  # fmt: skip


# Customers, products, prices -----------------------------------------------------------------------------------------

PLACE = group(line1=text, line2=text, city=text, state=text, postal_code=text, country=text)
CUSTOMER = {
    "name": text, "email": text, "phone": text, "description": text, "metadata": metadata, "address": PLACE,
    "preferred_locales": several(text), "invoice_settings": group(default_payment_method=text, footer=text),
}  # fmt: skip


@endpoint("POST", "customers", payment_method=text, **CUSTOMER)
def make_customer(book: Book, given: Thing, ids: list[str]) -> Thing:
    card, chosen = given.pop("payment_method", None), given.pop("invoice_settings", None) or {}
    customer = shapes.customer(book, **given)
    customer["invoice_settings"] |= chosen
    book.put(customer)
    book.tell("customer.created", customer)
    if card:
        acts.attach(book, acts.method_named(book, card, customer["id"]), customer["id"])
    return customer


@endpoint("GET", "customers/{}")
def read_customer(book: Book, given: Thing, ids: list[str]) -> Thing:
    customer = book.get("customer", ids[0])
    return {"id": customer["id"], "object": "customer", "deleted": True} if customer.get("_gone") else customer


@endpoint("POST", "customers/{}", **CUSTOMER)
def change_customer(book: Book, given: Thing, ids: list[str]) -> Thing:
    customer = living(book, ids[0])
    if chosen := given.get("invoice_settings"):
        if name := chosen.get("default_payment_method"):
            method = acts.method_named(book, name, customer["id"])
            if method["customer"] != customer["id"]:
                raise wrong("The payment method is not attached to the customer.", "invoice_settings")
        given["invoice_settings"] = customer["invoice_settings"] | chosen
    return book.alter(customer, "customer.updated", **merged(customer, given))


@endpoint("DELETE", "customers/{}")
def delete_customer(book: Book, given: Thing, ids: list[str]) -> Thing:
    customer = living(book, ids[0])
    book.alter(customer, _gone=True)
    book.tell("customer.deleted", customer)
    return {"id": customer["id"], "object": "customer", "deleted": True}


@endpoint("GET", "customers", email=text, **PAGE)
def list_customers(book: Book, given: Thing, ids: list[str]) -> Thing:
    is_same = same(given, "email")
    return page(book, "customer", given, "/v1/customers", lambda one: not one.get("_gone") and is_same(one))


def living(book: Book, name: str | None, param: str = "id", status: int = 404) -> Thing:
    """The customer, who has not been deleted."""
    customer = book.get("customer", name, param, status)
    if customer.get("_gone"):
        raise missing("customer", str(name), param, status)
    return customer


PRODUCT = {
    "name": text, "description": text, "active": flag, "metadata": metadata, "images": several(text),
    "statement_descriptor": text, "tax_code": text, "unit_label": text, "url": text, "shippable": flag,
    "marketing_features": several(group(name=required(text))),
}  # fmt: skip
RECURRING = group(interval=required(one_of("day", "week", "month", "year")), interval_count=count)
PRICE_CHANGES = {
    "active": flag, "metadata": metadata, "nickname": text, "lookup_key": text,
    "tax_behavior": one_of("exclusive", "inclusive", "unspecified"), "transfer_lookup_key": flag,
}  # fmt: skip


@endpoint("POST", "products", id=text, **PRODUCT | {"name": required(text)})
def make_product(book: Book, given: Thing, ids: list[str]) -> Thing:
    if given.get("id") and book.find(given["id"]):
        raise wrong("Product already exists.", "id", "resource_already_exists")
    product = book.put(shapes.product(book, **given))
    book.tell("product.created", product)
    return product


@endpoint("POST", "products/{}", default_price=text, **PRODUCT)
def change_product(book: Book, given: Thing, ids: list[str]) -> Thing:
    product = book.get("product", ids[0])
    return book.alter(product, "product.updated", **merged(product, given), updated=book.now())


@endpoint("GET", "products", active=flag, ids=several(text), **PAGE)
def list_products(book: Book, given: Thing, ids: list[str]) -> Thing:
    is_same, names = same(given, "active"), given.get("ids")
    return page(book, "product", given, "/v1/products", lambda one: is_same(one) and (not names or one["id"] in names))


@endpoint(
    "POST", "prices", currency=required(currency), unit_amount=required(amount), product=text, recurring=RECURRING,
    product_data=group(name=required(text), metadata=metadata, active=flag, id=text, unit_label=text), **PRICE_CHANGES,
)  # fmt: skip
def make_price(book: Book, given: Thing, ids: list[str]) -> Thing:
    given.pop("transfer_lookup_key", None)
    price = new_price(book, given)
    book.tell("price.created", price)
    return price


def new_price(book: Book, given: Thing, **more: Any) -> Thing:
    """A price of a product that is there, or that is made with it."""
    if bool(given.get("product")) == bool(given.get("product_data")):
        raise wrong("You must specify one of product and product_data.", "product", "parameter_missing")
    made = given.pop("product_data", None)
    if made:
        product = book.put(shapes.product(book, **made | {"active": made.get("active", True)}))
        book.tell("product.created", product)
        given["product"] = product["id"]
    book.get("product", given["product"], "product", 400)
    return book.put(shapes.price(book, **given, **more))


@endpoint("POST", "prices/{}", **PRICE_CHANGES)
def change_price(book: Book, given: Thing, ids: list[str]) -> Thing:
    price = book.get("price", ids[0])
    given.pop("transfer_lookup_key", None)
    return book.alter(price, "price.updated", **merged(price, given))


@endpoint(
    "GET", "prices", active=flag, product=text, currency=text, lookup_keys=several(text),
    type=one_of("one_time", "recurring"), **PAGE,
)  # fmt: skip
def list_prices(book: Book, given: Thing, ids: list[str]) -> Thing:
    is_same, keys = same(given, "active", "product", "currency", "type"), given.get("lookup_keys")
    return page(
        book, "price", given, "/v1/prices", lambda one: is_same(one) and (not keys or one["lookup_key"] in keys)
    )


# Checkout ------------------------------------------------------------------------------------------------------------

PRICE_DATA = group(
    currency=required(currency), unit_amount=required(amount), product=text, recurring=RECURRING,
    product_data=group(
        name=required(text), description=text, metadata=metadata, images=several(text), tax_code=text, unit_label=text
    ),
    tax_behavior=one_of("exclusive", "inclusive", "unspecified"),
)  # fmt: skip
LINE = group(price=text, price_data=PRICE_DATA, quantity=count, metadata=metadata)
INVOICE_DATA = group(
    description=text, metadata=metadata, footer=text, custom_fields=several(group(name=text, value=text))
)
INTENT_DATA = group(
    metadata=metadata, description=text, receipt_email=text, setup_future_usage=one_of("off_session", "on_session"),
    statement_descriptor=text, statement_descriptor_suffix=text,
    capture_method=one_of("automatic", "automatic_async"),
)  # fmt: skip
SUBSCRIPTION_DATA = group(
    metadata=metadata, description=text, trial_period_days=count, trial_end=whole, billing_cycle_anchor=whole,
    proration_behavior=one_of("create_prorations", "none"), billing_mode=group(type=one_of("classic", "flexible")),
    trial_settings=group(
        end_behavior=group(missing_payment_method=required(one_of("cancel", "create_invoice", "pause")))
    ),
)  # fmt: skip
SAVED = one_of("always", "limited", "unspecified")
SESSION = {
    "mode": required(one_of("payment", "setup", "subscription")), "customer": text, "customer_email": text,
    "client_reference_id": text, "metadata": metadata, "line_items": several(LINE), "success_url": address,
    "cancel_url": address, "expires_at": whole, "locale": text, "currency": currency,
    "customer_creation": one_of("always", "if_required"),
    "customer_update": group(address=one_of("auto", "never"), name=one_of("auto", "never")),
    "invoice_creation": group(enabled=required(flag), invoice_data=INVOICE_DATA), "payment_intent_data": INTENT_DATA,
    "subscription_data": SUBSCRIPTION_DATA, "setup_intent_data": group(metadata=metadata, description=text),
    "payment_method_types": several(one_of("card", "bacs_debit", "link")),
    "payment_method_collection": one_of("always", "if_required"),
    "saved_payment_method_options": group(
        payment_method_save=one_of("enabled", "disabled"), payment_method_remove=one_of("enabled", "disabled"),
        allow_redisplay_filters=several(SAVED),
    ),
    "submit_type": one_of("auto", "book", "donate", "pay", "subscribe"), "allow_promotion_codes": flag,
    "billing_address_collection": one_of("auto", "required"), "ui_mode": one_of("hosted_page"),
    "automatic_tax": group(enabled=required(flag)), "adaptive_pricing": group(enabled=flag),
    "phone_number_collection": group(enabled=required(flag)), "tax_id_collection": group(enabled=required(flag)),
    "custom_text": group(submit=group(message=required(text)), after_submit=group(message=required(text))),
    "consent_collection": group(terms_of_service=one_of("none", "required"), promotions=one_of("auto", "none")),
    "branding_settings": group(display_name=text, background_color=text, button_color=text),
    "origin_context": one_of("mobile_app", "web"),
}  # fmt: skip
NOT_SHOWN = (
    "line_items", "invoice_creation", "payment_intent_data", "subscription_data", "setup_intent_data",
    "customer_update", "branding_settings", "tax_id_collection", "automatic_tax", "adaptive_pricing", "custom_text",
)  # fmt: skip


@endpoint("POST", "checkout/sessions", **SESSION)
def make_session(book: Book, given: Thing, ids: list[str]) -> Thing:
    mode = given["mode"]
    refuse_session(book, given)
    items = [session_item(book, one, mode, n) for n, one in enumerate(given.get("line_items") or [])]
    if mode != "setup" and len({one["currency"] for one in items}) != 1:
        raise wrong("All line items must have the same currency.", "line_items")
    shown = {name: value for name, value in given.items() if name not in NOT_SHOWN}
    session = shapes.session(book, **shown)
    session |= {
        "_items": items, "_payment_intent_data": given.get("payment_intent_data"),
        "_subscription_data": given.get("subscription_data"), "_setup_intent_data": given.get("setup_intent_data"),
    }  # fmt: skip
    if mode != "setup":
        total = sum(one["amount_total"] for one in items)
        if mode == "payment" and total < 30:
            raise wrong("The total amount must convert to at least 30 pence.", code="amount_too_small")
        session |= {
            "amount_subtotal": total, "amount_total": total, "currency": items[0]["currency"],
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        }  # fmt: skip
    if mode == "payment":
        asked = given.get("invoice_creation") or {"enabled": False}
        shape: Thing = {
            "account_tax_ids": None, "custom_fields": None, "description": None, "footer": None, "issuer": None,
            "metadata": {}, "rendering_options": None,
        }  # fmt: skip
        session["invoice_creation"] = {
            "enabled": asked["enabled"],
            "invoice_data": shape | (asked.get("invoice_data") or {}),
        }
        session["customer_creation"] = None if session["customer"] else given.get("customer_creation", "if_required")
    return book.put(session)


def refuse_session(book: Book, given: Thing) -> None:
    mode = given["mode"]
    if not given.get("success_url"):
        raise wrong("You must provide `success_url` for a hosted page.", "success_url", "parameter_missing")
    if given.get("customer"):
        living(book, given["customer"], "customer", 400)
        if given.get("customer_email"):
            raise wrong("You may only specify one of these parameters: customer, customer_email.", "customer_email")
    if mode != "setup" and not given.get("line_items"):
        raise wrong("You must provide `line_items` in this mode.", "line_items", "parameter_missing")
    if mode == "setup" and given.get("line_items"):
        raise wrong("`line_items` cannot be used in `setup` mode.", "line_items")
    for name, only in (
        ("payment_intent_data", "payment"), ("invoice_creation", "payment"), ("customer_creation", "payment"),
        ("subscription_data", "subscription"), ("setup_intent_data", "setup"), ("submit_type", "payment"),
    ):  # fmt: skip
        if given.get(name) is not None and mode != only:
            raise wrong(f"You can not pass `{name}` in `{mode}` mode.", name)
    now = book.now()
    if (ends := given.get("expires_at")) and not now + 1800 <= ends <= now + 86_460:
        raise wrong("The `expires_at` timestamp must be 30 minutes to 24 hours from now.", "expires_at")


def session_item(book: Book, given: Thing, mode: str, n: int) -> Thing:
    """A line: of a price that is there, or of one made for this session alone."""
    where = f"line_items[{n}]"
    if bool(given.get("price")) == bool(given.get("price_data")):
        raise wrong(f"You must specify one of {where}[price] and {where}[price_data].", where, "parameter_missing")
    if not given.get("quantity"):
        raise wrong(f"Quantity is required. Add `quantity` to `{where}`.", where, "parameter_missing")
    if given.get("price"):
        price = book.get("price", given["price"], f"{where}[price]", 400)
        if not price["active"]:
            raise wrong(f"The price specified is inactive: {price['id']}.", f"{where}[price]")
    else:
        asked = given["price_data"]
        if asked.get("product_data"):
            asked["product_data"].pop("tax_code", None)
        price = new_price(book, asked, active=False)
    if (price["type"] == "recurring") != (mode == "subscription"):
        raise wrong(f"The price specified is set to `type={price['type']}`, which `{mode}` mode does not take.", where)
    name = (book.find(price["product"]) or {}).get("name")
    return shapes.item(book, price, given["quantity"], name)


@endpoint(
    "GET", "checkout/sessions", customer=text, payment_intent=text, subscription=text,
    status=one_of("complete", "expired", "open"), customer_details=group(email=required(text)), **PAGE,
)  # fmt: skip
def list_sessions(book: Book, given: Thing, ids: list[str]) -> Thing:
    is_same = same(given, "customer", "payment_intent", "subscription", "status")
    return page(book, "checkout.session", given, "/v1/checkout/sessions", is_same)


@endpoint("POST", "checkout/sessions/{}", metadata=metadata)
def change_session(book: Book, given: Thing, ids: list[str]) -> Thing:
    session = book.get("checkout.session", ids[0])
    return book.alter(session, **merged(session, given))


@endpoint("POST", "checkout/sessions/{}/expire")
def expire_session(book: Book, given: Thing, ids: list[str]) -> Thing:
    return acts.expire_session(book, book.get("checkout.session", ids[0]))


@endpoint("GET", "checkout/sessions/{}/line_items", **PAGE)
def list_session_items(book: Book, given: Thing, ids: list[str]) -> Thing:
    session = book.get("checkout.session", ids[0])
    return shapes.listed(f"/v1/checkout/sessions/{ids[0]}/line_items", session["_items"])


# Payments ------------------------------------------------------------------------------------------------------------

INTENT_CHANGES = {
    "metadata": metadata, "description": text, "receipt_email": text, "statement_descriptor": text,
    "statement_descriptor_suffix": text, "setup_future_usage": one_of("off_session", "on_session"),
}  # fmt: skip
CONFIRM = {
    "payment_method": text, "off_session": flag, "error_on_requires_action": flag, "return_url": address,
    "receipt_email": text, "setup_future_usage": one_of("off_session", "on_session"),
}  # fmt: skip


@endpoint(
    "POST", "payment_intents", amount=required(amount), currency=required(currency), customer=text, confirm=flag,
    payment_method_types=several(one_of("card", "bacs_debit", "link")), confirmation_method=one_of("automatic"),
    automatic_payment_methods=group(enabled=required(flag), allow_redirects=one_of("always", "never")),
    **INTENT_CHANGES | CONFIRM,
)  # fmt: skip
def make_intent(book: Book, given: Thing, ids: list[str]) -> Thing:
    if given["amount"] < 30:
        raise wrong("Amount must convert to at least 30 pence.", "amount", "amount_too_small")
    if given.get("customer"):
        living(book, given["customer"], "customer", 400)
    is_confirmed = given.pop("confirm", False)
    off_session, strict = given.pop("off_session", False), given.pop("error_on_requires_action", False)
    back = given.pop("return_url", None)
    if off_session and not is_confirmed:
        raise wrong("`off_session` can only be given with `confirm=true`.", "off_session")
    method = given.pop("payment_method", None)
    if method:
        acts.method_named(book, method, given.get("customer"))
    intent = shapes.payment_intent(book, customer=given.pop("customer", None), **given) | {"_return_url": back}
    if method and not is_confirmed:
        intent |= {"payment_method": method, "status": "requires_confirmation"}
    book.put(intent)
    book.tell("payment_intent.created", intent)
    return confirmed(book, intent, method, off_session, strict) if is_confirmed else intent


def confirmed(book: Book, intent: Thing, method: str | None, off_session: bool, strict: bool) -> Thing:
    acts.confirm(book, intent, method, is_off_session=off_session or strict)
    return intent


@endpoint("GET", "payment_intents", customer=text, **PAGE)
def list_intents(book: Book, given: Thing, ids: list[str]) -> Thing:
    return page(book, "payment_intent", given, "/v1/payment_intents", same(given, "customer"))


@endpoint("POST", "payment_intents/{}", **INTENT_CHANGES)
def change_intent(book: Book, given: Thing, ids: list[str]) -> Thing:
    intent = book.get("payment_intent", ids[0])
    return book.alter(intent, **merged(intent, given))


@endpoint("POST", "payment_intents/{}/confirm", **CONFIRM)
def confirm_intent(book: Book, given: Thing, ids: list[str]) -> Thing:
    intent = book.get("payment_intent", ids[0]) | {"_return_url": given.get("return_url")}
    return confirmed(
        book, intent, given.get("payment_method"), given.get("off_session", False),
        given.get("error_on_requires_action", False),
    )  # fmt: skip


@endpoint(
    "POST", "payment_intents/{}/cancel",
    cancellation_reason=one_of("abandoned", "duplicate", "fraudulent", "requested_by_customer"),
)  # fmt: skip
def cancel_intent(book: Book, given: Thing, ids: list[str]) -> Thing:
    intent = book.get("payment_intent", ids[0])
    if intent["status"] in ("succeeded", "canceled", "processing"):
        raise wrong(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    book.alter(intent, status="canceled", canceled_at=book.now(), **given)
    book.tell("payment_intent.canceled", intent)
    return intent


@endpoint("GET", "charges", customer=text, payment_intent=text, **PAGE)
def list_charges(book: Book, given: Thing, ids: list[str]) -> Thing:
    return page(book, "charge", given, "/v1/charges", same(given, "customer", "payment_intent"))


@endpoint("GET", "customers/{}/payment_methods", type=text, allow_redisplay=SAVED, **PAGE)
def list_methods_of(book: Book, given: Thing, ids: list[str]) -> Thing:
    living(book, ids[0])
    is_same = same(given | {"customer": ids[0]}, "type", "customer")
    return page(book, "payment_method", given, f"/v1/customers/{ids[0]}/payment_methods", is_same)


@endpoint("GET", "payment_methods", customer=text, type=text, **PAGE)
def list_methods(book: Book, given: Thing, ids: list[str]) -> Thing:
    return page(book, "payment_method", given, "/v1/payment_methods", same(given, "type", "customer"))


@endpoint("POST", "payment_methods/{}/attach", customer=required(text))
def attach_method(book: Book, given: Thing, ids: list[str]) -> Thing:
    living(book, given["customer"], "customer", 400)
    return acts.attach(book, acts.method_named(book, ids[0], given["customer"]), given["customer"])


@endpoint("POST", "payment_methods/{}/detach")
def detach_method(book: Book, given: Thing, ids: list[str]) -> Thing:
    method = book.get("payment_method", ids[0])
    owner = book.find(method["customer"])
    if owner is None:
        raise wrong("The payment method you provided is not attached to a customer.")
    book.alter(method, "payment_method.detached", customer=None)
    chosen = owner["invoice_settings"]
    if chosen["default_payment_method"] == method["id"]:
        book.alter(owner, "customer.updated", invoice_settings=chosen | {"default_payment_method": None})
    return method


@endpoint("GET", "balance_transactions", source=text, type=text, currency=text, **PAGE)
def list_money(book: Book, given: Thing, ids: list[str]) -> Thing:
    is_same = same(given, "source", "type", "currency")
    return page(book, "balance_transaction", given, "/v1/balance_transactions", is_same)


# Refunds and disputes -----------------------------------------------------------------------------------------------


@endpoint(
    "POST", "refunds", payment_intent=text, charge=text, amount=amount, metadata=metadata,
    reason=one_of("duplicate", "fraudulent", "requested_by_customer"),
)  # fmt: skip
def make_refund(book: Book, given: Thing, ids: list[str]) -> Thing:
    charge = returns.charge_of(book, given.get("payment_intent"), given.get("charge"))
    return returns.refund(
        book, charge, given.get("amount"), reason=given.get("reason"), metadata=given.get("metadata") or {}
    )


@endpoint("GET", "refunds", payment_intent=text, charge=text, **PAGE)
def list_refunds(book: Book, given: Thing, ids: list[str]) -> Thing:
    return page(book, "refund", given, "/v1/refunds", same(given, "payment_intent", "charge"))


@endpoint("POST", "refunds/{}", metadata=metadata)
def change_refund(book: Book, given: Thing, ids: list[str]) -> Thing:
    refund = book.get("refund", ids[0])
    return book.alter(refund, "refund.updated", **merged(refund, given))


@endpoint("POST", "refunds/{}/cancel")
def cancel_refund(book: Book, given: Thing, ids: list[str]) -> Thing:
    return returns.end_refund(book, book.get("refund", ids[0]), "canceled")


@endpoint("GET", "disputes", payment_intent=text, charge=text, **PAGE)
def list_disputes(book: Book, given: Thing, ids: list[str]) -> Thing:
    return page(book, "dispute", given, "/v1/disputes", same(given, "payment_intent", "charge"))


@endpoint("POST", "disputes/{}", metadata=metadata, submit=flag, evidence=group(uncategorized_text=text, receipt=text))
def change_dispute(book: Book, given: Thing, ids: list[str]) -> Thing:
    dispute = book.get("dispute", ids[0])
    if evidence := given.pop("evidence", None):
        given["evidence"] = dispute["evidence"] | evidence
    is_submitted = given.pop("submit", False)
    book.alter(dispute, None if is_submitted else "charge.dispute.updated", **merged(dispute, given))
    if is_submitted:
        status = "warning_under_review" if dispute["status"].startswith("warning") else "under_review"
        returns.end_dispute(book, dispute, status)
    return dispute


@endpoint("POST", "disputes/{}/close")
def close_dispute(book: Book, given: Thing, ids: list[str]) -> Thing:
    return returns.end_dispute(book, book.get("dispute", ids[0]), "lost")


# Invoices ------------------------------------------------------------------------------------------------------------


@endpoint(
    "GET", "invoices", customer=text, subscription=text,
    status=one_of("draft", "open", "paid", "uncollectible", "void"),
    collection_method=one_of("charge_automatically", "send_invoice"), **PAGE,
)  # fmt: skip
def list_invoices(book: Book, given: Thing, ids: list[str]) -> Thing:
    is_same, wanted = same(given, "customer", "status", "collection_method"), given.get("subscription")
    return page(
        book,
        "invoice",
        given,
        "/v1/invoices",
        lambda one: is_same(one) and wanted in (None, renewals.subscription_of(one)),
    )


@endpoint("GET", "invoices/{}/lines", **PAGE)
def list_lines(book: Book, given: Thing, ids: list[str]) -> Thing:
    return dict(book.get("invoice", ids[0])["lines"])


@endpoint("POST", "invoices/{}", metadata=metadata, description=text, auto_advance=flag)
def change_invoice(book: Book, given: Thing, ids: list[str]) -> Thing:
    invoice = book.get("invoice", ids[0])
    return book.alter(invoice, "invoice.updated", **merged(invoice, given))


@endpoint(
    "GET", "invoice_payments", invoice=text, status=one_of("canceled", "open", "paid"),
    payment=group(type=required(one_of("charge", "payment_intent")), payment_intent=text, charge=text), **PAGE,
)  # fmt: skip
def list_invoice_payments(book: Book, given: Thing, ids: list[str]) -> Thing:
    is_same, asked = same(given, "invoice", "status"), (given.get("payment") or {}).get("payment_intent")

    def is_wanted(one: Thing) -> bool:
        return is_same(one) and asked in (None, one["payment"]["payment_intent"])

    return page(book, "invoice_payment", given, "/v1/invoice_payments", is_wanted)


@endpoint("POST", "invoices/{}/pay", payment_method=text, off_session=flag)
def pay_invoice(book: Book, given: Thing, ids: list[str]) -> Thing:
    invoice = book.get("invoice", ids[0])
    is_off_session = given.get("off_session", True)
    return renewals.pay_invoice(book, invoice, given.get("payment_method"), is_off_session=is_off_session)


@endpoint("POST", "invoices/{}/finalize", auto_advance=flag)
def finalize_invoice(book: Book, given: Thing, ids: list[str]) -> Thing:
    invoice = book.get("invoice", ids[0])
    if invoice["status"] != "draft":
        raise wrong("This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    return acts.finalize(book, invoice)


@endpoint("POST", "invoices/{}/void")
def void_invoice(book: Book, given: Thing, ids: list[str]) -> Thing:
    return renewals.void(book, book.get("invoice", ids[0]))


@endpoint("POST", "invoices/{}/mark_uncollectible")
def write_off_invoice(book: Book, given: Thing, ids: list[str]) -> Thing:
    return renewals.write_off(book, book.get("invoice", ids[0]))


# Subscriptions -------------------------------------------------------------------------------------------------------

RECURRING_DATA = group(
    currency=required(currency), unit_amount=required(amount), product=required(text), recurring=required(RECURRING),
    tax_behavior=one_of("exclusive", "inclusive", "unspecified"),
)  # fmt: skip
ITEM = group(id=text, price=text, price_data=RECURRING_DATA, quantity=count, metadata=metadata, deleted=flag)
PRORATIONS = one_of("always_invoice", "create_prorations", "none")
SUBSCRIPTION = {
    "items": several(ITEM), "metadata": metadata, "description": text, "default_payment_method": text,
    "cancel_at": whole, "cancel_at_period_end": flag, "proration_behavior": PRORATIONS, "off_session": flag,
    "payment_behavior": one_of(
        "allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"
    ),
    "collection_method": one_of("charge_automatically"),
    "trial_settings": group(
        end_behavior=group(missing_payment_method=required(one_of("cancel", "create_invoice", "pause")))
    ),
    "payment_settings": group(save_default_payment_method=one_of("off", "on_subscription")),
}  # fmt: skip


def recurring_price(book: Book, given: Thing, where: str) -> Thing:
    """The price an item names, or one made for it."""
    if given.get("price"):
        price = book.get("price", given["price"], f"{where}[price]", 400)
    else:
        price = new_price(book, given["price_data"], active=False)
    if price["type"] != "recurring":
        raise wrong("The price specified is not recurring.", f"{where}[price]")
    return price


def one_item(given: Thing) -> Thing:
    items = given.pop("items", None) or []
    if len(items) != 1:
        raise wrong("This stand-in has subscriptions of one item.", "items")
    if items[0].get("price") and items[0].get("price_data"):
        raise wrong("You may only specify one of these parameters: price, price_data.", "items[0]")
    return dict(items[0])


@endpoint(
    "POST", "subscriptions", customer=required(text), trial_period_days=count, trial_end=whole,
    **SUBSCRIPTION | {"items": required(several(ITEM))},
)  # fmt: skip
def make_subscription(book: Book, given: Thing, ids: list[str]) -> Thing:
    customer = living(book, given.pop("customer"), "customer", 400)
    item, behaviour = one_item(given), given.pop("payment_behavior", None) or "allow_incomplete"
    if not item.get("price") and not item.get("price_data"):
        raise wrong("Missing required param: items[0][price].", "items[0][price]", "parameter_missing")
    for name in ("off_session", "cancel_at_period_end", "cancel_at", "collection_method"):
        given.pop(name, None)
    for name in ("trial_settings", "payment_settings"):
        if given.get(name) is None:
            given.pop(name, None)
    price = recurring_price(book, item, "items[0]")
    subscription = renewals.begin(book, customer, price, item.get("quantity", 1), given)
    invoice = renewals.first_invoice(book, subscription)
    if behaviour == "default_incomplete" and invoice["amount_due"]:
        acts.finalize(book, invoice)
        return subscription
    method = renewals.method_for(book, subscription)
    outcome = renewals.collect(book, invoice, method)
    renewals.follow(book, invoice, outcome)
    if outcome != "paid" and behaviour == "error_if_incomplete":
        raise Refused(402, "card_error", "Your card was declined.", code="card_declined")
    return book.get("subscription", subscription["id"])


retrievable("subscriptions", "subscription")


@endpoint(
    "GET", "subscriptions", customer=text, price=text,
    status=one_of(
        "active", "all", "canceled", "ended", "incomplete", "incomplete_expired", "past_due", "paused", "trialing",
        "unpaid",
    ),
    **PAGE,
)  # fmt: skip
def list_subscriptions(book: Book, given: Thing, ids: list[str]) -> Thing:
    status, is_same = given.get("status"), same(given, "customer")

    def is_wanted(one: Thing) -> bool:
        has_ended = one["status"] in renewals.ENDED
        fits_status = {None: one["status"] != "canceled", "all": True, "ended": has_ended}
        price = given.get("price") in (None, renewals.item_of(one)["price"]["id"])
        return is_same(one) and price and fits_status.get(status, one["status"] == status)

    return page(book, "subscription", given, "/v1/subscriptions", is_wanted)


@endpoint(
    "POST", "subscriptions/{}", proration_date=whole, billing_cycle_anchor=one_of("now", "unchanged"),
    pause_collection=group(behavior=required(one_of("keep_as_draft", "mark_uncollectible", "void")), resumes_at=whole),
    trial_end=lambda value, where: "now" if value == "now" else whole(value, where),
    cancellation_details=group(comment=text, feedback=text), **SUBSCRIPTION,
)  # fmt: skip
def change_subscription(book: Book, given: Thing, ids: list[str]) -> Thing:
    subscription = book.get("subscription", ids[0])
    given = merged(subscription, given)
    how = {
        name: given.pop(name, None)
        for name in ("proration_behavior", "proration_date", "billing_cycle_anchor", "payment_behavior", "off_session")
    }
    for name in ("trial_settings", "payment_settings", "cancellation_details"):
        if given.get(name):
            given[name] = subscription[name] | given[name]
    if given.get("default_payment_method"):
        method = acts.method_named(book, given["default_payment_method"], subscription["customer"])
        given["default_payment_method"] = acts.attach(book, method, subscription["customer"])["id"]
    old = renewals.item_of(subscription)
    if not given.get("items") and how["billing_cycle_anchor"] != "now":
        renewals.change(book, subscription, given)
        return book.get("subscription", ids[0])
    item = one_item(given) if given.get("items") else {"id": old["id"]}
    given.pop("items", None)
    if subscription["status"] in renewals.ENDED:
        raise wrong("A canceled subscription can only update its cancellation_details and metadata.")
    if given.get("trial_end"):
        raise wrong("This stand-in changes a price and a trial one after the other.", "trial_end")
    if item.get("id") != old["id"]:
        raise wrong("Name the item to change: this stand-in has subscriptions of one item.", "items[0][id]")
    has_price = item.get("price") or item.get("price_data")
    price = recurring_price(book, item, "items[0]") if has_price else old["price"]
    more = renewals.wanted(book, subscription, given)
    renewals.change_item(book, subscription, price, item.get("quantity") or old["quantity"], how, more)
    return book.get("subscription", ids[0])


@endpoint(
    "DELETE", "subscriptions/{}", invoice_now=flag, prorate=flag,
    cancellation_details=group(comment=text, feedback=text),
)  # fmt: skip
def end_subscription(book: Book, given: Thing, ids: list[str]) -> Thing:
    subscription = book.get("subscription", ids[0])
    if said := given.get("cancellation_details"):
        subscription["cancellation_details"] |= said
    return renewals.end(book, subscription)


@endpoint(
    "POST", "subscriptions/{}/resume", billing_cycle_anchor=one_of("now", "unchanged"), proration_behavior=PRORATIONS
)
def resume_subscription(book: Book, given: Thing, ids: list[str]) -> Thing:
    return renewals.resume(book, book.get("subscription", ids[0]))


@endpoint("GET", "subscription_items", subscription=required(text), **PAGE)
def list_subscription_items(book: Book, given: Thing, ids: list[str]) -> Thing:
    return dict(book.get("subscription", given["subscription"], "subscription", 400)["items"])


# The portal ----------------------------------------------------------------------------------------------------------

FEATURES = group(
    customer_update=group(enabled=required(flag), allowed_updates=several(text)),
    invoice_history=group(enabled=required(flag)), payment_method_update=group(enabled=required(flag)),
    subscription_cancel=group(
        enabled=required(flag), mode=one_of("at_period_end", "immediately"), proration_behavior=PRORATIONS,
        cancellation_reason=group(enabled=required(flag), options=several(text)),
    ),
    subscription_update=group(
        enabled=required(flag), default_allowed_updates=several(text), proration_behavior=PRORATIONS,
        products=several(group(product=required(text), prices=several(text))),
    ),
)  # fmt: skip
ARRANGEMENT = {
    "default_return_url": address, "metadata": metadata, "name": text, "login_page": group(enabled=required(flag)),
    "business_profile": group(headline=text, privacy_policy_url=address, terms_of_service_url=address),
}  # fmt: skip


@endpoint("POST", "billing_portal/configurations", features=required(FEATURES), **ARRANGEMENT)
def make_arrangement(book: Book, given: Thing, ids: list[str]) -> Thing:
    return book.put(shapes.portal_configuration(book, **given))


@endpoint("POST", "billing_portal/configurations/{}", features=FEATURES, active=flag, **ARRANGEMENT)
def change_arrangement(book: Book, given: Thing, ids: list[str]) -> Thing:
    arrangement = book.get("billing_portal.configuration", ids[0])
    if asked := given.pop("features", None):
        given["features"] = {name: was | (asked.get(name) or {}) for name, was in arrangement["features"].items()}
    return book.alter(arrangement, **merged(arrangement, given), updated=book.now())


retrievable("billing_portal/configurations", "billing_portal.configuration")


@endpoint("GET", "billing_portal/configurations", active=flag, is_default=flag, **PAGE)
def list_arrangements(book: Book, given: Thing, ids: list[str]) -> Thing:
    kind, url = "billing_portal.configuration", "/v1/billing_portal/configurations"
    return page(book, kind, given, url, same(given, "active", "is_default"))


@endpoint(
    "POST", "billing_portal/sessions", customer=required(text), configuration=text, return_url=address, locale=text
)
def make_portal_session(book: Book, given: Thing, ids: list[str]) -> Thing:
    customer = living(book, given["customer"], "customer", 400)
    kind, name = "billing_portal.configuration", given.get("configuration")
    if name:
        arrangement = book.get(kind, name, "configuration", 400)
    else:
        known = next((one for one in book.each(kind) if one["active"]), None)
        if known is None:
            raise wrong("You can’t create a portal session until the portal has a configuration.", "configuration")
        arrangement = known
    session = shapes.portal_session(book, customer["id"], arrangement["id"], given.get("return_url"))
    return book.put(session)


# Events --------------------------------------------------------------------------------------------------------------


@endpoint("GET", "events", type=text, types=several(text), delivery_success=flag, **PAGE)
def list_events(book: Book, given: Thing, ids: list[str]) -> Thing:
    if given.get("type") and given.get("types"):
        raise wrong("You may only specify one of these parameters: type, types.", "types")
    names = [given["type"]] if given.get("type") else given.get("types")
    oldest = book.now() - 30 * 86_400  # Stripe's list reaches back thirty days

    def is_wanted(one: Thing) -> bool:
        return one["created"] >= oldest and (not names or any(is_type(one["type"], name) for name in names))

    return page(book, "event", given, "/v1/events", is_wanted)


def is_type(kind: str, name: str) -> bool:
    """`customer.*` stands for every type that begins so."""
    return kind == name or (name.endswith("*") and kind.startswith(name[:-1]))
