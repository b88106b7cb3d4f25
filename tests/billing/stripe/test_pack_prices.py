"""A pack is sold at its price at Stripe, which says what is sold; once asked for, a session is asked for the same."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from billing import checkout
from billing.clock import now
from billing.credits import MICRO
from billing.models import Pack, Purchase, new_id

from ..purse import Purse
from .told import a_pack

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("stripe_settings")]

SITE = "https://desk.test"


@pytest.fixture
def ada() -> Any:
    return User.objects.create(username="ada", email="ada@people.test")


def buy(purse: Purse, ada: Any) -> Purchase:
    """The pack, at a session that is open."""
    return checkout.buy(purse.id, Pack.objects.get().slug, user=ada, site=SITE)[0]


def store(purse: Purse, ada: Any, **known: Any) -> Purchase:
    """The pack, as it is stored before its session is asked for."""
    pack = Pack.objects.get()
    return Purchase.objects.create(
        **{"id": new_id()} | known, account_id=purse.id, user=ada, pack=pack, amount_minor=pack.price_minor,
        currency=pack.currency, credits=pack.credits, keep_months=12, created_at=now(),
    )  # fmt: skip


def prices(client: stripe.StripeClient) -> list[dict[str, Any]]:
    """Oldest first."""
    return [one.to_dict() for one in reversed(client.v1.prices.list({"limit": 100}).data)]


def line(client: stripe.StripeClient, bought: Purchase) -> dict[str, Any]:
    found = client.v1.checkout.sessions.line_items.list(str(bought.stripe_session)).data
    assert len(found) == 1
    return dict(found[0].to_dict())


def test_every_purchase_of_a_pack_is_at_one_price(purse: Purse, ada: Any, stripe_client: stripe.StripeClient) -> None:
    pack = a_pack()
    first, again = buy(purse, ada), buy(purse, ada)
    (price,) = prices(stripe_client)
    pack.refresh_from_db()
    assert price["id"] == pack.stripe_price == first.stripe_price == again.stripe_price
    assert (price["unit_amount"], price["currency"], price["recurring"]) == (2500, "gbp", None)
    assert price["metadata"] == {"pack": pack.slug, "credits": "1400"}
    for bought in (first, again):
        sold = line(stripe_client, bought)
        assert (sold["price"]["id"], sold["description"]) == (price["id"], "1,400 credits")


@pytest.mark.parametrize(
    "changes", [{"price_minor": 2600}, {"credits": 1500 * MICRO}, {"currency": "eur"}], ids=["price", "credits", "eur"]
)
def test_other_terms_are_another_price(
    purse: Purse, ada: Any, stripe_client: stripe.StripeClient, changes: dict[str, Any]
) -> None:
    a_pack()
    buy(purse, ada)
    Pack.objects.update(**changes)
    again = buy(purse, ada)
    old, new = prices(stripe_client)
    assert again.stripe_price == Pack.objects.get().stripe_price == new["id"] != old["id"]
    assert (new["unit_amount"], new["currency"]) == (again.amount_minor, again.currency)


def test_one_that_staff_ended_at_stripe_is_made_anew(
    purse: Purse, ada: Any, stripe_client: stripe.StripeClient
) -> None:
    a_pack()
    old = buy(purse, ada).stripe_price
    stripe_client.v1.prices.update(str(old), {"active": False})
    assert buy(purse, ada).stripe_price not in (old, "", None)


def test_what_was_about_to_be_paid_keeps_its_terms(purse: Purse, ada: Any, stripe_client: stripe.StripeClient) -> None:
    """The pack is dearer by the time its session is asked for: it is sold at a price of its own."""
    a_pack()
    stored = store(purse, ada)
    Pack.objects.update(price_minor=9900)
    opened = checkout.open_session(Purchase.objects.get(id=stored.id), ada.email, SITE)
    session = stripe_client.v1.checkout.sessions.retrieve(str(opened.stripe_session))
    assert (session.amount_total, opened.stripe_price) == (2500, "")
    assert line(stripe_client, opened)["description"] == "1,400 credits"


def test_asked_for_again_after_a_crash_it_is_the_same_session(purse: Purse, ada: Any) -> None:
    """Also where the pack changed in between: Stripe refuses a key that comes with anything else."""
    a_pack()
    bought = buy(purse, ada)
    Purchase.objects.filter(id=bought.id).delete()  # what came after the question was not committed
    stored = store(purse, ada, id=bought.id, stripe_price=bought.stripe_price)
    Pack.objects.update(price_minor=9900, stripe_price="")
    again = checkout.open_session(Purchase.objects.get(id=stored.id), ada.email, SITE)
    assert (again.stripe_session, again.stripe_price) == (bought.stripe_session, bought.stripe_price)


def test_what_stripe_was_asked_for_is_not_changed(purse: Purse, ada: Any) -> None:
    a_pack()
    bought = buy(purse, ada)
    with pytest.raises(IntegrityError, match="purchase_keeps_its_terms"), transaction.atomic():
        Purchase.objects.filter(id=bought.id).update(stripe_price="price_other")
