"""A whole shop: purchases opened at the small Stripe by our own checkout, paid there, and heard of here."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import User
from django.db import connection

from billing import checkout, plans, stripe_inbox, subscriptions
from billing.clock import Now
from billing.models import Allocation, Customer, Enrollment, InboxEvent, Purchase

from ..purse import Purse
from .conftest import SECRET, StandIn, new_client
from .told import a_pack, signed


def hear(event: dict[str, Any]) -> int:
    """The event is delivered once, signed."""
    body = json.dumps(event).encode()
    return stripe_inbox.receive(body, signed(body, secret=SECRET))


class Bought:
    """One purchase, opened at the small Stripe. Its events are read from there; a test delivers them as it likes."""

    def __init__(self, stand_in: StandIn, purse: Purse, **pack: Any) -> None:
        self.stand_in, self.purse = stand_in, purse
        person = User.objects.create(username=uuid4().hex, email=f"{uuid4().hex}@people.test")
        self.stripe = new_client(stand_in.url)
        newest = self.stripe.v1.events.list({"limit": 1}).data
        self.before = newest[0].id if newest else None
        sold = a_pack(**pack)
        self.purchase, _ = checkout.buy(purse.id, sold.slug, user=person, site="https://desk.test")
        self.customer = Customer.objects.get(account=purse.id).stripe_customer

    @property
    def row(self) -> Purchase:
        return Purchase.objects.get(id=self.purchase.id)

    @property
    def intent(self) -> str:
        return str(self.object("checkout.session.completed")["payment_intent"])

    def pay(self, card: str = "works") -> Bought:
        self.stand_in.pay(str(self.purchase.stripe_session), card)
        return self

    def refund(self, pence: int) -> Bought:
        """Given back in Stripe's own dashboard."""
        self.stand_in.post("refund", payment_intent=self.intent, amount=pence)
        return self

    def events(self, *types: str) -> list[dict[str, Any]]:
        """What happened to it, oldest first."""
        newest_first = self.stripe.v1.events.list({"limit": 100}).auto_paging_iter()
        since = itertools.takewhile(lambda event: event.id != self.before, newest_first)
        found = [event.to_dict(for_json=True) for event in since]
        things = [event["data"]["object"] for event in found]
        intents = {one["payment_intent"] for one in things if one.get("client_reference_id") == str(self.purchase.id)}
        intents.discard(None)
        return [
            event
            for event, thing in zip(reversed(found), reversed(things), strict=True)
            if (
                self.customer in (thing["id"], thing.get("customer")) or thing.get("payment_intent") in intents - {None}
            )
            and (not types or event["type"] in types)
        ]

    def object(self, type: str) -> dict[str, Any]:
        thing: dict[str, Any] = self.events(type)[-1]["data"]["object"]
        return thing

    def hear(self, *types: str) -> None:
        """Each event of these types has come and was applied."""
        for event in self.events(*types):
            assert hear(event) == 200
        stripe_inbox.apply_due()


def set_clocks(stand_in: StandIn, moment: str) -> None:
    """It is then: "2027-04-10 08:00", UTC."""
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    stand_in.post("advance", to=int(at.timestamp()))
    with connection.cursor() as cursor:
        cursor.execute('UPDATE holdfast_clock SET "offset" = %s - clock_timestamp()', [at])


class Subscribed:
    """One account on a paid plan, subscribed at the small Stripe by our own checkout; the two clocks go together."""

    def __init__(self, stand_in: StandIn, purse: Purse, slug: str = "supporter") -> None:
        plans.install()
        self.stand_in, self.purse, self.heard = stand_in, purse, len(stand_in.events())
        self.person = User.objects.create(username=uuid4().hex, email=f"{uuid4().hex}@people.test")
        row, _ = subscriptions.subscribe(purse.id, slug, user=self.person, site="https://desk.test")
        self.id = row.id
        stand_in.pay(str(row.stripe_session))

    def hear(self) -> None:
        """What happened since has come and was applied; what had to wait was tried again."""
        told = self.stand_in.events()
        new, self.heard = told[self.heard :], len(told)
        for event in new:
            assert hear(event) == 200
        for _ in range(3):
            InboxEvent.objects.filter(next_try_at__gt=Now()).update(next_try_at=Now())
            stripe_inbox.apply_due()

    def change(self, slug: str) -> None:
        subscriptions.change(self.purse.id, slug)
        self.hear()

    def go_to(self, moment: str) -> None:
        """It is then, at Stripe and here; what was due there has happened and was heard."""
        set_clocks(self.stand_in, moment)
        self.hear()

    @property
    def row(self) -> Enrollment:
        return Enrollment.objects.select_related("plan").get(id=self.id)

    @property
    def periods(self) -> list[Allocation]:
        """What was granted and paid for, oldest first."""
        return list(Allocation.objects.filter(enrollment=self.id, amount_minor__gt=0).order_by("id"))


def outcomes() -> dict[str, str]:
    """What each kind of event came to, for reading where a test fails."""
    return {f"{row.type} {row.id}": f"{row.state}: {row.outcome}" for row in InboxEvent.objects.all()}
