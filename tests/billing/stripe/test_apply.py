"""What Stripe's events do to a purchase: one grant, whatever is told of it, how often, in which order, and by whom."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction

from billing import stripe_inbox, tasks
from billing.clock import Now, now
from billing.models import Alert, Customer, InboxEvent, Lot, Notice, Payment, Purchase
from billing.payments import months_after
from tests.conftest import Clock

from ..purse import Purse
from .told import MICRO, SECRET, Sold, event, receive, tell

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _secrets(settings: Any) -> Iterator[None]:
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_LIVE_MODE = False
    before = dict(stripe_inbox.EFFECTS)
    stripe_inbox.EFFECTS.clear()
    yield
    stripe_inbox.EFFECTS.clear()
    stripe_inbox.EFFECTS.update(before)


@pytest.fixture
def sold(purse: Purse) -> Sold:
    """A pack of 1,400 credits for £25, not paid yet."""
    return Sold(purse)


PAID = 1400 * MICRO


# Paid


@pytest.mark.parametrize(
    ("type", "thing"),
    [
        ("checkout.session.completed", "session"),
        ("checkout.session.async_payment_succeeded", "session"),
        ("payment_intent.succeeded", "intent"),
    ],
)
def test_each_of_the_paying_events_grants_the_pack(sold: Sold, purse: Purse, type: str, thing: str) -> None:
    row = tell(type, getattr(sold, thing)())
    assert (row.state, row.outcome, row.tries, row.next_try_at) == ("applied", "granted", 1, None)
    purchase = sold.row
    assert (purchase.state, purchase.payment_id) == ("paid", sold.payment)
    assert purchase.stripe_intent == sold.intent_name
    assert purse.values == (PAID, 0, 0, 0)
    lot = Lot.objects.get(account=purse.id)
    assert (lot.source, lot.is_promotional) == ("pack", False)
    assert lot.expires_at == months_after(purchase.paid_at, 12)
    assert purse.lines[0].actor == "stripe"


def test_every_order_of_the_paying_events_grants_once(new_purse: Callable[..., Purse]) -> None:
    told = ["checkout.session.completed", "payment_intent.succeeded", "checkout.session.async_payment_succeeded"]
    for order in itertools.permutations(told):
        purse = new_purse()
        sold = Sold(purse)
        for type in [*order, *order]:
            tell(type, sold.intent() if type.startswith("payment_intent") else sold.session())
        assert (purse.kinds, purse.values) == (["grant"], (PAID, 0, 0, 0))


def test_the_same_event_twice_is_applied_once(sold: Sold, purse: Purse) -> None:
    made = event("checkout.session.completed", sold.session())
    for _ in range(2):
        assert receive(made) == 200
        stripe_inbox.apply_due()
    assert InboxEvent.objects.get(id=made["id"]).tries == 1
    assert purse.kinds == ["grant"]


def test_a_payment_counts_although_our_commit_of_the_session_was_lost(purse: Purse) -> None:
    sold = Sold(purse, is_known=False)
    assert tell("checkout.session.completed", sold.session()).outcome == "granted"
    assert (sold.row.state, sold.row.stripe_session) == ("paid", sold.session_name)


def test_a_completed_session_that_is_not_paid_grants_nothing_until_the_bank_pays(sold: Sold, purse: Purse) -> None:
    row = tell("checkout.session.completed", sold.session(payment_status="unpaid"))
    assert (row.state, row.outcome) == ("applied", "not paid yet: unpaid")
    assert (sold.row.state, purse.kinds) == ("open", [])
    tell("checkout.session.async_payment_succeeded", sold.session())
    assert purse.kinds == ["grant"]


@pytest.mark.parametrize(
    ("type", "state"),
    [("checkout.session.async_payment_failed", "failed"), ("checkout.session.expired", "expired")],
)
def test_a_session_that_came_to_nothing_is_over_and_money_that_comes_after_all_counts(
    sold: Sold, purse: Purse, type: str, state: str
) -> None:
    assert tell(type, sold.session(payment_status="unpaid")).outcome == state
    assert (sold.row.state, purse.kinds) == (state, [])
    tell("payment_intent.succeeded", sold.intent())
    assert (sold.row.state, purse.kinds) == ("paid", ["grant"])
    tell(type, sold.session(payment_status="unpaid"))
    assert sold.row.state == "paid"


def test_a_declined_card_is_noted_and_another_may_be_tried(sold: Sold, purse: Purse) -> None:
    declined = sold.intent(status="requires_payment_method", last_payment_error={"message": "Your card was declined."})
    tell("payment_intent.payment_failed", declined)
    assert (sold.row.state, sold.row.error) == ("open", "Your card was declined.")
    tell("payment_intent.requires_action", sold.intent(status="requires_action"))
    assert "confirm" in sold.row.error
    tell("payment_intent.succeeded", sold.intent())
    tell("payment_intent.payment_failed", declined)
    assert (sold.row.state, sold.row.error, purse.kinds) == ("paid", "", ["grant"])


@pytest.mark.parametrize("type", ["invoice.paid", "invoice.payment_succeeded"])
def test_a_packs_invoice_is_its_receipt_and_grants_nothing(sold: Sold, purse: Purse, type: str) -> None:
    assert tell(type, sold.invoice()).outcome == "receipt noted"
    assert purse.kinds == []
    tell("payment_intent.succeeded", sold.intent())
    assert sold.row.receipt_url == f"https://invoice.stripe.com/i/{sold.invoice_name}"


def test_a_saved_payment_method_is_noted_with_a_customer_who_agreed(sold: Sold, purse: Purse) -> None:
    Customer.objects.create(account_id=purse.id, stripe_customer="cus_1")
    saved = {"id": "seti_1", "object": "setup_intent", "customer": "cus_1", "payment_method": "pm_1"}
    tell("payment_intent.succeeded", sold.intent())
    assert tell("setup_intent.succeeded", saved).outcome == "saved for something else than top-ups"
    assert Customer.objects.get(account=purse.id).payment_method == ""  # of a trial, or of the portal
    again = Sold(purse)
    agreed = again.row
    Purchase.objects.filter(id=again.id).delete()
    agreed.keeps_card = True
    agreed.save(force_insert=True)
    tell("payment_intent.succeeded", again.intent())
    assert tell("setup_intent.succeeded", saved).outcome == "payment method noted"
    assert Customer.objects.get(account=purse.id).payment_method == "pm_1"
    for stranger in ("cus_2", None):
        assert tell("setup_intent.succeeded", saved | {"customer": stranger}).state == "ignored"


# Not what was sold


@pytest.mark.parametrize(
    ("type", "thing", "changes"),
    [
        ("checkout.session.completed", "session", {"amount_total": 2499}),
        ("checkout.session.completed", "session", {"amount_total": 2501}),
        ("checkout.session.completed", "session", {"amount_total": None}),
        ("checkout.session.completed", "session", {"amount_total": "2500"}),
        ("checkout.session.completed", "session", {"currency": "usd"}),
        ("checkout.session.completed", "session", {"currency": "GBP"}),
        ("checkout.session.completed", "session", {"id": "cs_other"}),
        ("checkout.session.completed", "session", {"metadata": {"purchase": "01890000-0000-7000-8000-000000000000"}}),
        ("payment_intent.succeeded", "intent", {"amount_received": 0}),
        ("payment_intent.succeeded", "intent", {"amount_received": True}),
        ("payment_intent.succeeded", "intent", {"amount_received": 100, "amount": 2500}),
        ("payment_intent.succeeded", "intent", {"currency": "jpy"}),
    ],
)
def test_money_that_is_not_what_was_sold_grants_nothing_and_staff_are_told(
    sold: Sold, purse: Purse, type: str, thing: str, changes: dict[str, Any]
) -> None:
    row = tell(type, getattr(sold, thing)(**changes))
    assert (row.state, row.next_try_at) == ("failed", None)
    assert row.outcome.startswith("mismatch: ")
    assert purse.kinds == []
    assert sold.row.state == "open"
    alert = Alert.objects.get(name="payment_mismatch")
    assert "Nothing was granted" in alert.sentence
    assert stripe_inbox.apply_due() == 0


def test_a_second_payment_of_one_purchase_grants_nothing_and_staff_are_told(sold: Sold, purse: Purse) -> None:
    tell("payment_intent.succeeded", sold.intent())
    row = tell("payment_intent.succeeded", sold.intent(id="pi_second"))
    assert row.state == "failed"
    assert (purse.kinds, sold.row.stripe_intent) == (["grant"], sold.intent_name)
    assert Alert.objects.filter(name="payment_mismatch", key=str(sold.id)).exists()


def test_one_intent_pays_one_purchase(sold: Sold, purse: Purse) -> None:
    tell("payment_intent.succeeded", sold.intent())
    other = Sold(purse)
    assert tell("payment_intent.succeeded", other.intent(id=sold.intent_name)).state == "failed"
    assert purse.kinds == ["grant"]


@pytest.mark.parametrize(
    ("type", "thing"),
    [
        ("checkout.session.completed", {"id": "cs_9", "mode": "payment", "payment_status": "paid", "metadata": {}}),
        ("checkout.session.completed", {"id": "cs_9", "mode": "payment", "client_reference_id": "order 7"}),
        ("payment_intent.succeeded", {"id": "pi_9", "metadata": {}}),
        ("payment_intent.succeeded", {"id": "pi_9", "metadata": None}),
        ("payment_intent.succeeded", {"id": "pi_9", "metadata": {"purchase": "7"}}),
        ("payout.paid", {"id": "po_1"}),
    ],
)
def test_what_is_not_about_us_is_kept_and_ignored(type: str, thing: dict[str, Any]) -> None:
    row = tell(type, thing)
    assert (row.state, row.applied_at is None) == ("ignored", False)
    assert not Payment.objects.exists()


# Effects of others


def test_what_is_not_a_packs_goes_to_whoever_reads_events_of_that_type(sold: Sold) -> None:
    seen: list[str] = []

    def effect(of: InboxEvent) -> str:
        seen.append(of.payload["data"]["object"]["id"])
        return "a period granted"

    for type in ("invoice.paid", "checkout.session.completed", "customer.subscription.updated"):
        stripe_inbox.EFFECTS[type] = effect
    tell("invoice.paid", sold.invoice())
    tell("checkout.session.completed", sold.session())
    assert seen == []
    row = tell("invoice.paid", {"id": "in_9", "object": "invoice", "parent": {"type": "subscription_details"}})
    tell("checkout.session.completed", {"id": "cs_9", "mode": "subscription", "client_reference_id": str(sold.id)})
    tell("customer.subscription.updated", {"id": "sub_9"})
    assert seen == ["in_9", "cs_9", "sub_9"]
    assert (row.state, row.outcome) == ("applied", "a period granted")


# Tried again


def later(clock: Clock, row: InboxEvent) -> float:
    """The seconds until the event's next try; the clock is moved there."""
    row.refresh_from_db()
    wait = (row.next_try_at - now()).total_seconds()
    clock.advance(seconds=wait + 1)
    return wait


def test_an_event_that_comes_before_its_purchase_is_tried_again_and_not_lost(purse: Purse, clock: Clock) -> None:
    sold = Sold(purse)
    row_as_it_was = sold.row
    Purchase.objects.filter(id=sold.id).delete()
    row = tell("checkout.session.completed", sold.session())
    assert (row.state, row.tries) == ("received", 1)
    assert "is not known here" in row.outcome
    row_as_it_was.save(force_insert=True)
    assert stripe_inbox.apply_due() == 0
    assert 10 < later(clock, row) < 20
    assert stripe_inbox.apply_due() == 1
    row.refresh_from_db()
    assert (row.state, row.tries, purse.kinds) == ("applied", 2, ["grant"])


def test_tries_grow_apart_and_after_ten_staff_are_told_and_it_is_tried_on(clock: Clock) -> None:
    failing = True

    def effect(_: InboxEvent) -> str:
        if failing:
            raise RuntimeError("the handler broke")
        return "done"

    stripe_inbox.EFFECTS["setup_intent.succeeded"] = effect
    row = tell("setup_intent.succeeded", {"id": "seti_1"})
    waits = []
    for tries in range(2, 11):
        waits.append(later(clock, row))
        assert not Alert.objects.filter(name="stripe_event_failed").exists()
        assert stripe_inbox.apply_due() == 1
        row.refresh_from_db()
        assert (row.tries, row.outcome) == (tries, "RuntimeError: the handler broke")
    assert row.state == "failed"
    assert [round(wait / 15 / 2**at) for at, wait in enumerate(waits[:7])] == [1] * 7
    alert = Alert.objects.get(name="stripe_event_failed", key=row.id, cleared_at=None)
    assert "10 tries" in alert.sentence
    assert 2600 < later(clock, row) < 4600
    failing = False
    assert stripe_inbox.apply_due() == 1
    row.refresh_from_db()
    assert (row.state, row.outcome) == ("applied", "done")
    assert not Alert.objects.filter(name="stripe_event_failed", cleared_at=None).exists()


def test_an_event_at_which_the_database_stops_us_every_time_is_told_to_staff(
    clock: Clock, sold: Sold, purse: Purse
) -> None:
    """A statement that takes too long, or a deadlock that comes back: not the database's absence."""

    def effect(_: InboxEvent) -> str:
        raise OperationalError("canceling statement due to statement timeout")

    stripe_inbox.EFFECTS["setup_intent.succeeded"] = effect
    told = event("setup_intent.succeeded", {"id": "seti_1"})
    receive(told)
    for _ in range(stripe_inbox.TRIES_MAX - 1):
        with pytest.raises(OperationalError):
            stripe_inbox.apply_due()
        clock.advance(seconds=121)
    receive(event("checkout.session.completed", sold.session()))
    assert stripe_inbox.apply_due() == 2
    row = InboxEvent.objects.get(id=told["id"])
    assert (row.state, row.tries, purse.kinds) == ("failed", stripe_inbox.TRIES_MAX, ["grant"])
    assert Alert.objects.filter(name="stripe_event_failed", key=row.id, cleared_at=None).exists()


def test_a_replayed_event_does_not_do_again_what_it_did(sold: Sold, purse: Purse) -> None:
    row = tell("checkout.session.completed", sold.session())
    assert stripe_inbox.replay(row.id)
    tasks.apply_events()
    row.refresh_from_db()
    assert (row.state, row.outcome, row.tries) == ("applied", "was granted before", 1)
    assert purse.kinds == ["grant"]
    assert not stripe_inbox.replay("evt_nowhere")


def test_a_replayed_mismatch_is_judged_again(sold: Sold, purse: Purse) -> None:
    tell("payment_intent.succeeded", sold.intent(id="pi_other"))
    again = tell("checkout.session.completed", sold.session())
    assert stripe_inbox.replay(again.id)
    assert stripe_inbox.apply_due() == 1
    again.refresh_from_db()
    assert (again.state, purse.kinds) == ("failed", ["grant"])


def test_an_event_in_hand_is_left_alone_until_its_lease_ends(sold: Sold, purse: Purse, clock: Clock) -> None:
    """A worker took it and died."""
    receive(event("checkout.session.completed", sold.session()))
    assert stripe_inbox._claim() is not None
    assert stripe_inbox.apply_due() == 0
    clock.advance(seconds=121)
    assert stripe_inbox.apply_due() == 1
    assert purse.kinds == ["grant"]


def test_an_event_of_another_api_version_is_applied_and_staff_are_told(sold: Sold, purse: Purse) -> None:
    row = tell("checkout.session.completed", sold.session(), api_version="2024-06-20")
    assert row.outcome == "granted (API version 2024-06-20)"
    assert purse.kinds == ["grant"]
    assert Alert.objects.filter(name="stripe_version_differs", key="2024-06-20").exists()


def test_the_sweep_applies_what_no_hint_told_of(sold: Sold, purse: Purse) -> None:
    receive(event("checkout.session.completed", sold.session()))
    tasks.sweep()
    assert purse.kinds == ["grant"]


def test_one_broken_event_holds_up_no_other(sold: Sold, purse: Purse) -> None:
    receive(event("checkout.session.completed", {"id": 5, "mode": "payment"}))
    InboxEvent.objects.update(next_try_at=Now() - timedelta(days=1))
    receive(event("refund.created", {"id": None}))
    receive(event("checkout.session.completed", sold.session()))
    assert stripe_inbox.apply_due() == 3
    assert purse.kinds == ["grant"]


def test_a_grant_that_fails_midway_leaves_nothing(sold: Sold, purse: Purse, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Purchase) -> str:
        raise RuntimeError("the plug was pulled")

    with transaction.atomic():
        monkeypatch.setattr("billing.refunds.apply_known", broken)
        row = tell("checkout.session.completed", sold.session())
    assert (row.state, sold.row.state, purse.kinds) == ("received", "open", [])
    assert not Notice.objects.filter(account=purse.id).exists()
