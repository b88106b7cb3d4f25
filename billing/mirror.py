"""dj-stripe's tables, filled from the events that are in the inbox: customers, products, prices, subscriptions and
invoices as Stripe has them, for staff to read. Nothing of ours reads them.

By the events alone. dj-stripe's own way asks Stripe for every relative inside one transaction, and writes the secret
key into the database; neither is needed for what is read here. Later than the effects, and never in their way: what
cannot be mirrored is noted in the log and left.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError, models, transaction
from djstripe.models import Customer, Invoice, Price, Product, Subscription

from .clock import Now
from .models import InboxEvent
from .sales import name_of

log = structlog.get_logger("holdfast.stripe")

BATCH = 100
SWEEP_SECONDS = 30
# When Stripe last spoke of it: an older word that comes later changes nothing.
TOLD_AT = "told_at"

MODELS: dict[str, type[models.Model]] = {
    "customer": Customer,
    "product": Product,
    "price": Price,
    "subscription": Subscription,
    "invoice": Invoice,
}


def sweep() -> None:
    """What came since the last time is mirrored: the worker's, every minute, apart from what moves money."""
    mirror_due(time.monotonic() + SWEEP_SECONDS)


def mirror_due(until: float | None = None) -> int:
    """What the applied events tell of stands in dj-stripe's tables; how many events were looked at."""
    done = 0
    while until is None or time.monotonic() < until:
        with transaction.atomic():
            due = InboxEvent.objects.filter(mirrored_at=None, state__in=["applied", "ignored"])
            events = list(due.select_for_update(skip_locked=True).order_by("received_at")[:BATCH])
            for event in events:
                _mirror(event)
            InboxEvent.objects.filter(id__in=[event.id for event in events]).update(mirrored_at=Now())
        done += len(events)
        if len(events) < BATCH:
            break
    return done


def _mirror(event: InboxEvent) -> None:
    thing = event.payload["data"]["object"]
    if thing.get("object") not in MODELS:
        return
    try:
        with transaction.atomic():
            _put(thing, event.payload["created"])
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.warning("not_mirrored", stripe_event=event.id, type=event.type, error=str(error)[:300])


def _put(thing: Mapping[str, Any], told_at: int) -> None:
    """The thing's row is as Stripe said at that time, unless it is known as of later."""
    model = MODELS[thing["object"]]
    row = model._default_manager.select_for_update().filter(id=thing["id"]).first()
    known = getattr(row, "stripe_data", {}).get(TOLD_AT, 0) if row is not None else 0
    if told_at < known:
        return
    columns = _columns(thing) | {"stripe_data": {**thing, TOLD_AT: told_at}}
    model._default_manager.update_or_create(id=thing["id"], defaults=columns)


def _columns(thing: Mapping[str, Any]) -> dict[str, Any]:
    """What dj-stripe keeps as columns; relatives that were not told of yet get an empty row of their own."""
    made = thing.get("created")
    columns: dict[str, Any] = {
        "livemode": thing.get("livemode"),
        "created": datetime.fromtimestamp(made, UTC) if isinstance(made, int) else None,
        "metadata": thing.get("metadata") or {},
    }
    match thing["object"]:
        case "customer":
            columns |= {"email": thing.get("email") or ""}
        case "product":
            columns |= {"name": thing.get("name") or "", "active": thing.get("active")}
        case "price":
            columns |= {
                "active": bool(thing.get("active")),
                "currency": thing.get("currency") or "",
                "nickname": thing.get("nickname") or "",
                "lookup_key": thing.get("lookup_key"),
                "product_id": _known(Product, thing.get("product")),
            }
        case "subscription":
            columns |= {"customer_id": _known(Customer, thing.get("customer"))}
        case "invoice":
            parent = thing.get("parent") or {}
            subscription = name_of((parent.get("subscription_details") or {}).get("subscription"))
            is_known = Subscription.objects.filter(id=subscription).exists()
            columns |= {
                "customer_id": _known(Customer, thing.get("customer")),
                "subscription_id": subscription if is_known else None,
            }
    return columns


def _known(model: type[models.Model], relative: Any) -> str:
    name = name_of(relative)
    model._default_manager.get_or_create(id=name, defaults={"stripe_data": {}})
    return name
