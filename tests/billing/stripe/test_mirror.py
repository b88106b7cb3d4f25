"""Staff read in dj-stripe's tables what Stripe told last, whatever the order; nobody is asked, and no key is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from djstripe import models as mirrored

from billing import mirror, stripe_inbox
from billing.models import InboxEvent
from config.schedules import SCHEDULES

from ..purse import Purse
from .conftest import StandIn
from .desk import Bought
from .told import SECRET, event, receive


@pytest.fixture
def _secrets(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_LIVE_MODE = False


def told(type: str, thing: dict[str, Any], created: int = 1_800_000_000) -> InboxEvent:
    made = event(type, thing | {"created": 1_700_000_000, "livemode": False}, created=created)
    receive(made)
    InboxEvent.objects.filter(id=made["id"]).update(state="ignored")
    mirror.mirror_due()
    return InboxEvent.objects.get(id=made["id"])


def a_customer(email: str) -> dict[str, Any]:
    return {"id": "cus_1", "object": "customer", "email": email, "metadata": {"account": "a"}}


@pytest.mark.django_db
@pytest.mark.usefixtures("_secrets")
def test_the_last_word_stands_whatever_the_order() -> None:
    told("customer.updated", a_customer("new@people.test"), created=1_800_000_002)
    told("customer.created", a_customer("old@people.test"), created=1_800_000_001)
    row = mirrored.Customer.objects.get(id="cus_1")
    assert (row.email, row.livemode, row.metadata) == ("new@people.test", False, {"account": "a"})
    told("customer.updated", a_customer("newest@people.test"), created=1_800_000_003)
    row.refresh_from_db()
    assert row.email == "newest@people.test"


@pytest.mark.django_db
@pytest.mark.usefixtures("_secrets")
def test_what_belongs_together_is_tied_though_its_relatives_come_later() -> None:
    parent = {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}}
    price = {
        "id": "price_1",
        "object": "price",
        "active": True,
        "currency": "gbp",
        "product": "prod_1",
        "nickname": None,
    }
    told("customer.subscription.created", {"id": "sub_1", "object": "subscription", "customer": "cus_1"})
    told("invoice.paid", {"id": "in_1", "object": "invoice", "customer": "cus_1", "parent": parent})
    told("price.created", price)
    told("product.created", {"id": "prod_1", "object": "product", "name": "Supporter", "active": True})
    told("customer.created", a_customer("ada@people.test"))
    invoice = mirrored.Invoice.objects.get(id="in_1")
    assert (invoice.customer.email, invoice.subscription_id) == ("ada@people.test", "sub_1")
    assert mirrored.Price.objects.get(id="price_1").product.name == "Supporter"
    assert mirrored.Subscription.objects.get(id="sub_1").customer_id == "cus_1"


@pytest.mark.django_db
@pytest.mark.usefixtures("_secrets")
def test_what_cannot_be_mirrored_is_left_and_holds_nothing_up() -> None:
    broken = told("customer.created", {"object": "customer", "id": "x" * 300})
    other = told("payout.paid", {"id": "po_1", "object": "payout"})
    assert None not in (broken.mirrored_at, other.mirrored_at)
    assert not mirrored.Customer.objects.exists()


@pytest.mark.django_db
@pytest.mark.usefixtures("_secrets")
def test_it_comes_after_the_effect_and_never_before() -> None:
    receive(event("customer.created", a_customer("ada@people.test")))
    assert mirror.mirror_due() == 0
    stripe_inbox.apply_due()
    assert mirror.mirror_due() == 1
    assert [one.minutes for one in SCHEDULES if one.path == "billing.mirror.sweep"] == [1]


@pytest.mark.django_db(transaction=True)
def test_what_the_small_stripe_tells_is_there_to_read_and_no_key_is_kept(
    stand_in: StandIn, stripe_settings: Any, new_purse: Callable[..., Purse]
) -> None:
    stand_in.settings(deliver=False)
    one = Bought(stand_in, new_purse()).pay()
    asked = len(stand_in.get("requests")["requests"])
    one.hear()
    mirror.sweep()
    customer = mirrored.Customer.objects.get(id=one.customer)
    assert customer.email
    assert mirrored.Invoice.objects.get(customer=customer).stripe_data["status"] == "paid"
    assert len(stand_in.get("requests")["requests"]) == asked + 1  # the events, read by this test
    assert not mirrored.APIKey.objects.exists()
