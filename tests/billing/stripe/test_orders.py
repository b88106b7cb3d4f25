"""Five of Stripe's events speak of one purchase. In each of their 120 orders, each five times, two at a time: one
grant, one claw-back, one final balance."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from django.db import connection

from billing import stripe_inbox
from billing.clock import Now
from billing.models import ClawBack, InboxEvent, Refunding

from ..purse import Purse
from .conftest import StandIn
from .desk import Bought, hear, outcomes

pytestmark = pytest.mark.django_db(transaction=True)

TYPES = (
    "checkout.session.completed",
    "payment_intent.succeeded",
    "invoice.paid",
    "invoice.payment_succeeded",
    "charge.refunded",
)
COPIES = 5
CREDITS = 1400 * 1_000_000
# £10 of £25 is refunded at Stripe.
LEFT = CREDITS - CREDITS * 1000 // 2500


def deliver(queue: SimpleQueue[dict[str, Any]]) -> None:
    """Takes event after event, hears it and applies what is due, beside another that does the same."""
    try:
        while True:
            hear(queue.get_nowait())
            stripe_inbox.apply_due()
    except Empty:
        pass
    finally:
        connection.close()


def in_pairs(events: list[dict[str, Any]]) -> None:
    queue: SimpleQueue[dict[str, Any]] = SimpleQueue()
    for event in events:
        queue.put(event)
    threads = [threading.Thread(target=deliver, args=(queue,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)


@pytest.mark.slow
@pytest.mark.parametrize("first", TYPES)
def test_every_order_and_every_copy_ends_in_one_grant_one_claw_back_and_one_balance(
    stand_in: StandIn, stripe_settings: Any, new_purse: Callable[..., Purse], first: str
) -> None:
    """The 24 orders that begin with `first`; a copy comes right after its event, or at the end, as the dice fall."""
    stand_in.settings(deliver=False)
    dice = random.Random(first)
    for order in [order for order in itertools.permutations(TYPES) if order[0] == first]:
        purse = new_purse()
        bought = Bought(stand_in, purse).pay().refund(1000)
        by_type = {event["type"]: event for event in bought.events(*TYPES)}
        assert set(by_type) == set(TYPES)
        queue = [by_type[type] for type in order for _ in range(dice.randint(1, COPIES - 1))]
        again = [event for event in by_type.values() for _ in range(COPIES - queue.count(event))]
        dice.shuffle(again)
        in_pairs(queue + again)
        # What came before its time waits; its time comes.
        InboxEvent.objects.filter(state="received").update(next_try_at=Now())
        stripe_inbox.apply_due()

        told = outcomes()
        assert not InboxEvent.objects.exclude(state__in=["applied", "ignored"]).exists(), told
        assert purse.values == (LEFT, 0, 0, 0), (order, told)
        assert purse.kinds == ["grant", "claw_back"], (order, told)
        refund = Refunding.objects.get(purchase=bought.purchase.id)
        assert ClawBack.objects.get(account=purse.id).id == refund.id
        assert (refund.state, refund.amount_minor, bought.row.state) == ("succeeded", 1000, "paid")
        assert bought.row.receipt_url


def test_the_same_with_the_refunds_own_events_among_them(
    stand_in: StandIn, stripe_settings: Any, new_purse: Callable[..., Purse]
) -> None:
    """Everything that Stripe tells of a purchase and its refund, backwards, in pairs, five times."""
    stand_in.settings(deliver=False)
    purse = new_purse()
    bought = Bought(stand_in, purse).pay().refund(400).refund(600)
    in_pairs([event for event in reversed(bought.events()) for _ in range(COPIES)])
    InboxEvent.objects.filter(state="received").update(next_try_at=Now())
    stripe_inbox.apply_due()
    assert purse.values == (LEFT, 0, 0, 0), outcomes()
    assert purse.kinds == ["grant", "claw_back", "claw_back"]
