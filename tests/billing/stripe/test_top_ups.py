"""Auto top-up over the small Stripe: what it buys and when, what it never does, every end that a payment may have."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import stripe
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from billing import checkout, clock, ledger, refusals, stripe_inbox, tasks, top_up_words, top_ups
from billing.models import Alert, AutoTopUp, Customer, Membership, Notice, Pack, Purchase
from billing.reconcile import reconcile
from tests.concurrency.together import together
from tests.conftest import Clock

from ..purse import Purse
from .conftest import StandIn, new_client
from .desk import hear, outcomes
from .told import MICRO, a_pack

pytestmark = pytest.mark.django_db(transaction=True)

PRICE, CREDITS = 1000, 500 * MICRO


class Desk:
    """An account whose owner bought a £10 pack of 500 credits, kept the card, and spent down to 500."""

    def __init__(self, stand_in: StandIn, purse: Purse, clock: Clock) -> None:
        stand_in.settings(deliver=False)
        self.stand_in, self.purse, self.clock = stand_in, purse, clock
        self.stripe = new_client(stand_in.url)
        self.heard: set[str] = set()
        self.owner = User.objects.create(username=uuid4().hex, email=f"{uuid4().hex}@people.test")
        Membership.objects.create(account_id=purse.id, user=self.owner, role="owner")
        self.pack = a_pack(price_minor=PRICE, credits=CREDITS)

    def buys(self, *, keeps_card: bool = True, card: str = "works") -> Purchase:
        bought, _ = checkout.buy(
            self.purse.id, self.pack.slug, user=self.owner, site="https://desk.test", keeps_card=keeps_card
        )
        self.stand_in.pay(str(bought.stripe_session), card)
        self.hears()
        return Purchase.objects.get(id=bought.id)

    def agrees(self, **terms: Any) -> AutoTopUp:
        given = {"is_on": True, "below": 100 * MICRO, "pack": self.pack.slug, "month_max_minor": 100_000}
        return top_ups.agree(self.purse.id, user=self.owner, site="https://desk.test", **given | terms)

    def hears(self, *types: str) -> None:
        """What Stripe told, and was not heard yet, has come and was applied."""
        for event in self.stand_in.events(*types):
            if event["id"] not in self.heard:
                self.heard.add(event["id"])
                assert hear(event) == 200
        stripe_inbox.apply_due()
        assert not stripe_inbox.InboxEvent.objects.filter(state__in=["failed", "received"]).exists(), outcomes()

    def spends_to(self, left: int) -> None:
        """So many credits are left."""
        self.purse.charge(self.purse.available - left * MICRO)

    def card(self, kind: str) -> None:
        """The owner has another card in Stripe's portal."""
        self.stand_in.post(f"card/{self.customer}", card=kind)
        self.hears()

    def advance(self, **span: float) -> None:
        """It is that much later, here and at Stripe."""
        self.clock.advance(**span)
        self.stand_in.advance(**span)

    def goes_to(self, moment: datetime) -> None:
        self.clock.advance(seconds=(moment - clock.now()).total_seconds())

    @property
    def customer(self) -> str:
        return str(Customer.objects.get(account=self.purse.id).stripe_customer)

    @property
    def method(self) -> str:
        return Customer.objects.get(account=self.purse.id).payment_method

    @property
    def rule(self) -> AutoTopUp:
        return AutoTopUp.objects.get(account=self.purse.id)

    @property
    def top_ups(self) -> list[Purchase]:
        return list(Purchase.objects.filter(account=self.purse.id, is_top_up=True).order_by("id"))

    @property
    def states(self) -> list[str]:
        return [one.state for one in self.top_ups]

    @property
    def intents(self) -> list[Any]:
        """Every intent that Stripe made for a top-up, oldest first."""
        ids = {str(one.id) for one in self.top_ups}
        found = self.stripe.v1.payment_intents.list({"limit": 100}).data
        return [one for one in reversed(found) if (one.metadata or {}).get("purchase") in ids]

    @property
    def state(self) -> str:
        standing = top_up_words.standing(self.purse.id)
        assert standing is not None
        return str(standing["state"])

    def notices(self, prefix: str = "top-up:") -> list[str]:
        rows = Notice.objects.filter(account=self.purse.id, key__startswith=prefix).order_by("created_at")
        return list(rows.values_list("title", flat=True))


@pytest.fixture
def desk(stripe_settings: Any, stand_in: StandIn, purse: Purse, clock: Clock) -> Desk:
    desk = Desk(stand_in, purse, clock)
    desk.buys()
    assert purse.available == CREDITS
    return desk


# The card


def test_the_card_is_kept_only_where_the_person_agreed(
    stripe_settings: Any, stand_in: StandIn, purse: Purse, clock: Clock
) -> None:
    desk = Desk(stand_in, purse, clock)
    desk.buys(keeps_card=False)
    assert (desk.method, desk.stripe.v1.customers.payment_methods.list(desk.customer).data) == ("", [])
    desk.agrees()
    assert desk.state == "no_card"
    desk.spends_to(50)
    assert (top_ups.sweep(), desk.top_ups) == (0, [])
    kept = desk.buys()
    assert kept.keeps_card
    assert desk.method == desk.stripe.v1.customers.payment_methods.list(desk.customer).data[0].id
    assert desk.state == "on"


def test_another_card_of_the_portal_is_charged_and_one_that_is_gone_is_not(desk: Desk) -> None:
    desk.agrees()
    first = desk.method
    desk.card("works")
    assert desk.method not in ("", first)
    desk.spends_to(99)
    top_ups.sweep()
    assert desk.intents[0].payment_method == desk.method
    Customer.objects.filter(account=desk.purse.id).update(payment_method=first)
    desk.spends_to(99)
    top_ups.sweep()
    assert (desk.states, desk.method, desk.state) == (["paid", "failed"], "", "no_card")
    assert desk.top_ups[1].error == "The kept card cannot be charged any more."
    assert len(desk.intents) == 1


# What it buys


def test_too_few_credits_buy_one_pack_and_no_more(desk: Desk) -> None:
    desk.agrees()
    desk.spends_to(100)
    assert (top_ups.sweep(), desk.top_ups) == (0, [])
    desk.spends_to(99)
    assert top_ups.sweep() == 1
    assert desk.purse.available == 599 * MICRO
    (bought,) = desk.top_ups
    assert (bought.state, bought.amount_minor, bought.credits, bought.user) == ("paid", PRICE, CREDITS, desk.owner)
    (intent,) = desk.intents
    assert (intent.id, intent.amount, intent.status) == (bought.stripe_intent, PRICE, "succeeded")
    assert desk.purse.lines[-1].kind == "grant"
    assert top_ups.sweep() == 0
    desk.hears()
    assert (desk.purse.available, desk.states) == (599 * MICRO, ["paid"])


def test_what_is_held_is_not_available(desk: Desk) -> None:
    desk.agrees()
    desk.purse.place(401 * MICRO)
    top_ups.sweep()
    assert desk.purse.values == (1000 * MICRO, 401 * MICRO, 0, 0)


def test_it_does_nothing_while_it_is_off(desk: Desk) -> None:
    desk.agrees(is_on=False)
    desk.spends_to(1)
    assert (top_ups.sweep(), top_ups.top_up(desk.purse.id), desk.top_ups, desk.state) == (0, False, [], "off")
    desk.agrees()
    assert top_ups.stop(desk.purse.id, "staff")
    assert not top_ups.stop(desk.purse.id, "staff")
    assert (top_ups.sweep(), desk.top_ups, desk.rule.off_because) == (0, [], "staff")


def test_no_question_to_stripe_is_asked_inside_a_transaction(desk: Desk) -> None:
    desk.agrees()
    desk.spends_to(1)
    with pytest.raises(RuntimeError, match="while a transaction was open"), transaction.atomic():
        top_ups.top_up(desk.purse.id)
    assert (desk.top_ups, desk.intents) == ([], [])


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"below": 0}, "below"),
        ({"below": CREDITS + 1}, "below"),
        ({"month_max_minor": PRICE - 1}, "monthly_max_minor"),
        ({"month_max_minor": 100_000_000}, "monthly_max_minor"),
        ({"pack": "none"}, "pack"),
        ({"pack": None}, "pack"),
        ({"below": None}, "below"),
        ({"month_max_minor": None}, "monthly_max_minor"),
    ],
)
def test_terms_that_make_no_sense_are_refused(desk: Desk, terms: dict[str, Any], field: str) -> None:
    with pytest.raises(refusals.InvalidFields) as refused:
        desk.agrees(**terms)
    assert list(refused.value.facts["fields"]) == [field]
    assert not AutoTopUp.objects.exists()


# One at a time


def test_two_workers_at_once_make_one_purchase(desk: Desk) -> None:
    desk.agrees()
    desk.spends_to(5)
    made = together(*[lambda: top_ups.top_up(desk.purse.id)] * 4)
    assert sorted(made) == [False, False, False, True]
    assert (len(desk.top_ups), len(desk.intents), desk.purse.available) == (1, 1, 505 * MICRO)


def test_two_sweeps_at_once_send_what_waits_once(desk: Desk) -> None:
    desk.agrees()
    desk.spends_to(5)
    top_ups.begin(desk.purse.id)
    desk.advance(seconds=61)
    together(*[top_ups.sweep] * 3)
    assert (desk.states, len(desk.intents), desk.purse.available) == (["paid"], 1, 505 * MICRO)


def test_the_database_refuses_a_second_one_that_waits(desk: Desk) -> None:
    """The same without the account's lock: the law stands by itself."""
    desk.agrees()
    desk.spends_to(5)
    first = top_ups.begin(desk.purse.id)
    assert first is not None
    assert top_ups.begin(desk.purse.id) is None
    with pytest.raises(IntegrityError, match="purchase_one_top_up_waits"):
        copy(first)


@pytest.mark.parametrize(
    ("changes", "law"),
    [
        ({"month_max_minor": PRICE - 1}, "top_up_within_month"),
        ({"month_max_minor": None}, "purchase_top_up_has_its_terms"),
        ({"payment_method": ""}, "purchase_top_up_has_its_terms"),
        ({"keeps_card": True}, "purchase_top_up_keeps_no_card"),
        ({"is_top_up": False}, "purchase_top_up_has_its_terms"),
    ],
)
def test_the_database_refuses_a_top_up_without_its_terms(desk: Desk, changes: dict[str, Any], law: str) -> None:
    desk.agrees()
    desk.spends_to(5)
    first = top_ups.begin(desk.purse.id)
    assert first is not None
    Purchase.objects.filter(id=first.id).update(state="failed")
    with pytest.raises(IntegrityError, match=law):
        copy(first, **changes)


def test_what_a_top_up_was_held_against_stands(desk: Desk) -> None:
    desk.agrees()
    desk.spends_to(5)
    top_ups.sweep()
    for changes in (
        {"month_max_minor": 9},
        {"payment_method": "pm_other"},
        {"created_at": timezone.now()},
        {"is_top_up": False, "month_max_minor": None, "payment_method": ""},
    ):
        with pytest.raises(IntegrityError, match="top_up_keeps_its_terms"):
            Purchase.objects.filter(id=desk.top_ups[0].id).update(**changes)


def copy(purchase: Purchase, **changes: Any) -> None:
    purchase.pk, purchase._state.adding = uuid4(), True
    for name, value in ({"stripe_intent": None} | changes).items():
        setattr(purchase, name, value)
    with transaction.atomic():
        purchase.save(force_insert=True)


# A decline


def test_a_decline_rests_for_an_hour_and_three_in_a_row_turn_it_off(desk: Desk) -> None:
    desk.agrees()
    desk.card("insufficient_funds")
    desk.spends_to(20)
    for number in (1, 2, 3):
        assert top_ups.sweep() == 1
        assert desk.states == ["failed"] * number
        assert (desk.top_ups[-1].error, desk.purse.available) == ("Your card has insufficient funds.", 20 * MICRO)
        desk.hears()
        assert top_ups.sweep() == 0
        desk.advance(minutes=59)
        assert top_ups.sweep() == 0
        assert desk.state == ("off" if number == 3 else "resting")
        desk.advance(minutes=2)
    assert (top_ups.sweep(), desk.rule.is_on, desk.rule.off_because) == (0, False, "declined")
    assert desk.notices() == [
        "A top-up did not go through",
        "A top-up did not go through",
        "Auto top-up is off: 3 payments in a row did not go through",
    ]
    body = Notice.objects.filter(key__startswith="top-up:declined").latest("created_at").body
    assert "Your card has insufficient funds." in body
    assert "Buy a pack and keep the card that paid, then turn it on again." in body
    assert (len(desk.intents), desk.purse.available) == (3, 20 * MICRO)


def test_the_hour_is_not_cut_short_by_turning_it_off_and_on(desk: Desk) -> None:
    desk.agrees()
    desk.card("declines")
    desk.spends_to(20)
    top_ups.sweep()
    desk.agrees(is_on=False)
    desk.agrees()
    desk.card("works")
    assert (top_ups.sweep(), desk.states) == (0, ["failed"])
    desk.advance(minutes=61)
    assert (top_ups.sweep(), desk.states, desk.purse.available) == (1, ["failed", "paid"], 520 * MICRO)


def test_a_payment_between_declines_begins_the_row_anew(desk: Desk) -> None:
    desk.agrees()
    for card in ("declines", "declines", "works", "declines", "declines"):
        desk.card(card)
        desk.spends_to(20)
        top_ups.sweep()
        desk.advance(minutes=61)
    assert (desk.states, desk.rule.is_on) == (["failed", "failed", "paid", "failed", "failed"], True)
    top_ups.sweep()
    assert (desk.rule.is_on, desk.rule.off_because) == (False, "declined")
    desk.agrees()
    desk.advance(minutes=61)
    top_ups.sweep()
    assert desk.rule.is_on, "agreed anew, it is the first"


def test_the_events_of_a_decline_alone_say_the_same_and_copies_count_once(desk: Desk) -> None:
    """Our process died before it read the answer; the events come three times."""
    desk.agrees()
    desk.card("declines")
    desk.spends_to(20)
    purchase = top_ups.begin(desk.purse.id)
    assert purchase is not None
    with pytest.raises(stripe.CardError):
        ask_as_we_do(desk, purchase)
    for _ in range(3):
        desk.hears()
        desk.heard -= {event["id"] for event in desk.stand_in.events("payment_intent.payment_failed")}
    assert (desk.states, desk.state, desk.notices()) == (["failed"], "resting", ["A top-up did not go through"])
    desk.advance(seconds=70)
    assert (top_ups.sweep(), len(desk.intents)) == (0, 1)


# A burst


def test_a_burst_pauses_and_the_person_and_staff_are_told(desk: Desk) -> None:
    desk.agrees()
    for _ in range(5):
        desk.spends_to(10)
        top_ups.sweep()
        desk.advance(minutes=5)
    assert desk.states == ["paid"] * 3
    assert (desk.purse.available, desk.state) == (10 * MICRO, "paused")
    assert desk.notices() == ["Auto top-up bought often, and waits"]
    alert = Alert.objects.get(name="top_up_burst")
    assert (alert.key, alert.facts["spent_this_month"]) == (str(desk.purse.id), "£30.00")
    desk.advance(hours=23)
    assert top_ups.sweep() == 0
    desk.advance(hours=1)
    assert (top_ups.sweep(), desk.purse.available, desk.state) == (1, 510 * MICRO, "on")


def test_the_person_ends_the_pause_by_keeping_the_settings_again(desk: Desk) -> None:
    desk.agrees()
    for _ in range(4):
        desk.spends_to(10)
        top_ups.sweep()
    assert desk.state == "paused"
    desk.agrees()
    assert (top_ups.sweep(), len(desk.top_ups), desk.purse.available) == (1, 4, 510 * MICRO)


# A pending one, and the month


def test_a_pending_one_counts_and_stops_another_until_stripe_says_how_it_ended(desk: Desk) -> None:
    desk.agrees(month_max_minor=2 * PRICE)
    desk.card("slow")
    desk.spends_to(30)
    for _ in range(3):
        top_ups.sweep()
        desk.hears()
        desk.advance(hours=2)
    assert (desk.states, desk.state, desk.purse.available) == (["open"], "buying", 30 * MICRO)
    assert top_ups.used_in_month(desk.purse.id, clock.now()) == PRICE
    line = top_up_words.line(desk.purse.id)
    assert line is not None
    assert line["words"] == "A top-up is under way: 500 credits for £10.00."
    desk.stand_in.post(f"conclude/{desk.intents[0].id}", paid=True)
    desk.hears()
    assert (desk.states, desk.purse.available, len(desk.intents)) == (["paid"], 530 * MICRO, 1)
    desk.spends_to(30)
    top_ups.sweep()
    desk.stand_in.post(f"conclude/{desk.intents[1].id}", paid=False)
    desk.hears()
    assert (desk.states, desk.state, desk.purse.available) == (["paid", "failed"], "resting", 30 * MICRO)
    assert top_ups.used_in_month(desk.purse.id, clock.now()) == PRICE


def test_the_month_never_goes_over_its_maximum_and_begins_anew(desk: Desk) -> None:
    """£25 a month: two of £10, and not a third; told once; a new month, or a higher maximum, and it goes on."""
    start = next_month(clock.now())
    desk.goes_to(start)
    desk.agrees(month_max_minor=2500)
    for _ in range(3):
        desk.spends_to(10)
        top_ups.sweep()
        desk.clock.advance(hours=2)
    top_ups.sweep()
    assert (desk.states, desk.purse.available, desk.state) == (["paid", "paid"], 10 * MICRO, "month_used")
    assert desk.notices() == ["Auto top-up has reached its monthly maximum"]
    desk.agrees(month_max_minor=3000)
    assert (top_ups.sweep(), desk.purse.available) == (1, 510 * MICRO)
    desk.spends_to(10)
    assert (top_ups.sweep(), desk.state, desk.rule.waits_until) == (0, "month_used", next_month(start))
    desk.goes_to(next_month(start) + timedelta(seconds=1))
    assert (top_ups.sweep(), desk.purse.available, desk.state) == (1, 510 * MICRO, "on")
    assert top_ups.used_in_month(desk.purse.id, clock.now()) == PRICE


@pytest.mark.parametrize(("seconds", "of_next_month"), [(-2, 0), (1, PRICE)])
def test_the_last_second_of_a_month_counts_for_it_also_when_it_is_paid_in_the_next(
    desk: Desk, seconds: int, of_next_month: int
) -> None:
    desk.agrees(month_max_minor=PRICE)
    desk.card("slow")
    border = next_month(clock.now())
    desk.spends_to(10)
    desk.goes_to(border + timedelta(seconds=seconds))
    top_ups.sweep()
    desk.goes_to(border + timedelta(minutes=1))
    assert top_ups.used_in_month(desk.purse.id, border - timedelta(seconds=1)) == PRICE - of_next_month
    assert top_ups.used_in_month(desk.purse.id, clock.now()) == of_next_month
    desk.stand_in.post(f"conclude/{desk.intents[0].id}", paid=True)
    desk.hears()
    desk.spends_to(10)
    desk.card("works")
    assert top_ups.sweep() == (1 if not of_next_month else 0)
    assert desk.states == (["paid", "paid"] if not of_next_month else ["paid"])


def test_reconcile_finds_a_top_up_that_went_over_the_month(desk: Desk) -> None:
    desk.agrees(month_max_minor=2 * PRICE)
    for _ in range(2):
        desk.spends_to(10)
        top_ups.sweep()
    assert reconcile([desk.purse.id]).findings == []
    with connection.cursor() as cursor:
        lower = "UPDATE billing_purchase SET month_max_minor = %s WHERE is_top_up"
        for most in (2 * PRICE - 1, 2 * PRICE):
            with transaction.atomic():
                cursor.execute("SET LOCAL session_replication_role = replica")
                cursor.execute(lower, [most])
            found = reconcile([desk.purse.id]).findings
            over = [("top_up_within_its_month", (f"purchase:{desk.top_ups[1].id}",))]
            assert [(one.law, one.rows) for one in found] == (over if most < 2 * PRICE else [])


def next_month(moment: datetime) -> datetime:
    first = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)


# The bank asks for the cardholder


def test_the_person_has_the_link_confirms_and_the_credits_come_once(desk: Desk) -> None:
    desk.agrees()
    desk.card("needs_action")
    desk.spends_to(40)
    top_ups.sweep()
    desk.hears()
    (bought,) = desk.top_ups
    assert (bought.state, desk.state, desk.purse.available) == ("open", "confirm", 40 * MICRO)
    assert desk.notices() == ["Confirm your top-up of £10.00 with your bank"]
    assert desk.rule.waits_until is None, "nobody declined anything"
    answer = desk.stand_in.press(bought.checkout_url, "confirm")
    assert answer.headers["Location"] == f"https://desk.test/account/credits/purchases/{bought.id}?back=paid"
    desk.hears()
    assert (desk.states, desk.purse.available, len(desk.intents)) == (["paid"], 540 * MICRO, 1)
    assert desk.rule.is_on


def test_who_says_that_it_was_not_them_has_bought_nothing(desk: Desk) -> None:
    desk.agrees()
    desk.card("needs_action")
    desk.spends_to(40)
    top_ups.sweep()
    desk.stand_in.press(desk.top_ups[0].checkout_url, "refuse")
    desk.hears()
    assert (desk.states, desk.state, desk.purse.available) == (["failed"], "resting", 40 * MICRO)
    assert desk.top_ups[0].checkout_url == ""


def test_what_nobody_confirms_is_given_up(desk: Desk) -> None:
    desk.agrees()
    desk.card("needs_action")
    desk.spends_to(40)
    top_ups.sweep()
    for _ in range(30):
        desk.advance(hours=1)
        top_ups.sweep()
        if desk.states != ["open"]:
            break
    assert desk.states == ["failed"]
    assert desk.top_ups[0].created_at + timedelta(hours=25, minutes=1) > clock.now()
    assert desk.top_ups[0].error == "It was not confirmed with the bank in time."
    assert (desk.intents[0].status, desk.purse.available) == ("canceled", 40 * MICRO)
    desk.hears()
    assert desk.notices()[-1] == "A top-up did not go through"


def test_in_every_order_of_its_events_a_confirmed_one_is_paid_once(desk: Desk) -> None:
    desk.agrees()
    desk.card("needs_action")
    desk.spends_to(40)
    top_ups.sweep()
    desk.stand_in.press(desk.top_ups[0].checkout_url, "confirm")
    told = [event for event in desk.stand_in.events() if event["data"]["object"]["id"] == desk.intents[0].id]
    assert {event["type"] for event in told} >= {
        "payment_intent.payment_failed", "payment_intent.requires_action", "payment_intent.succeeded"
    }  # fmt: skip
    dice = random.Random(4)
    for order in itertools.islice(itertools.permutations(told), 0, 24, 5):
        for event in [*order, dice.choice(order)]:
            hear(event)
        stripe_inbox.apply_due()
        assert (desk.states, desk.purse.available) == (["paid"], 540 * MICRO), outcomes()
    assert desk.purse.kinds.count("grant") == 2


# Crashes and losses


def ask_as_we_do(desk: Desk, purchase: Purchase) -> stripe.PaymentIntent:
    """Exactly what our process sent to Stripe before it died."""
    return desk.stripe.v1.payment_intents.create(
        {
            "amount": purchase.amount_minor, "currency": purchase.currency, "customer": desk.customer,
            "payment_method": purchase.payment_method, "confirm": True, "off_session": True,
            "return_url": purchase.success_url, "description": "500 credits, by auto top-up",
            "metadata": {"purchase": str(purchase.id)},
        },
        {"idempotency_key": str(purchase.id)},
    )  # fmt: skip


def test_a_crash_between_stripes_create_and_our_commit_gives_the_same_intent(desk: Desk) -> None:
    desk.agrees()
    desk.spends_to(40)
    purchase = top_ups.begin(desk.purse.id)
    assert purchase is not None
    made = ask_as_we_do(desk, purchase)
    assert top_ups.sweep() == 0, "it is left to its own task for a minute"
    desk.advance(seconds=61)
    assert top_ups.sweep() == 1
    assert [one.stripe_intent for one in desk.top_ups] == [made.id]
    assert (len(desk.intents), desk.purse.available) == (1, 540 * MICRO)
    desk.hears()
    assert desk.purse.available == 540 * MICRO


def test_the_same_key_gives_the_same_intent_within_the_minute_too(desk: Desk) -> None:
    desk.agrees()
    desk.spends_to(40)
    purchase = top_ups.begin(desk.purse.id)
    assert purchase is not None
    made = ask_as_we_do(desk, purchase)
    assert top_ups.pursue(purchase.id, is_new=True) == "paid"
    assert ([one.id for one in desk.intents], desk.purse.available) == ([made.id], 540 * MICRO)


def test_one_that_stripe_never_took_is_sent_by_the_sweep_once_it_can(desk: Desk) -> None:
    desk.agrees()
    desk.spends_to(40)
    desk.stand_in.settings(down=True)
    for _ in range(3):
        top_ups.sweep()
        desk.clock.advance(minutes=3)
    assert (desk.states, desk.state, desk.purse.available) == (["created"], "buying", 40 * MICRO)
    desk.stand_in.settings(down=False)
    assert (top_ups.sweep(), desk.states, desk.purse.available) == (1, ["paid"], 540 * MICRO)
    assert len(desk.intents) == 1


@pytest.mark.parametrize("change", ["off", "frozen", "card", "late"])
def test_one_that_stripe_never_took_is_not_sent_where_it_is_not_wanted_any_more(desk: Desk, change: str) -> None:
    desk.agrees()
    desk.spends_to(40)
    top_ups.begin(desk.purse.id)
    match change:
        case "off":
            desk.agrees(is_on=False)
        case "frozen":
            ledger.set_account_frozen(desk.purse.id, True, "looked at")
        case "card":
            desk.card("works")
        case "late":
            desk.clock.advance(hours=20)
    desk.clock.advance(seconds=61)
    top_ups.sweep()
    first = desk.top_ups[0]
    assert (first.state, first.declined_at, first.stripe_intent) == ("failed", None, None)
    assert "Nothing was paid." in first.error
    assert desk.rule.waits_because == ""


def test_an_end_that_we_were_not_told_of_is_found_by_asking(desk: Desk) -> None:
    desk.agrees()
    desk.card("slow")
    desk.spends_to(40)
    top_ups.sweep()
    desk.stand_in.post(f"conclude/{desk.intents[0].id}", paid=True)
    assert desk.states == ["open"]
    desk.advance(seconds=61)
    assert (top_ups.sweep(), desk.states, desk.purse.available) == (1, ["paid"], 540 * MICRO)
    desk.hears()
    assert desk.purse.available == 540 * MICRO


def test_a_slow_one_is_asked_about_ever_more_seldom(desk: Desk) -> None:
    desk.agrees()
    desk.card("slow")
    desk.spends_to(40)
    top_ups.sweep()
    asked = 0
    for _ in range(72):
        desk.clock.advance(hours=1)
        asked += top_ups.sweep()
    assert 8 <= asked <= 24


# Who is not topped up


def test_debtors_and_frozen_accounts_are_not_charged(desk: Desk) -> None:
    desk.spends_to(40)
    first = Purchase.objects.get(account=desk.purse.id)
    desk.stand_in.post("refund", payment_intent=first.stripe_intent, amount=PRICE)
    desk.hears()
    desk.agrees()
    assert desk.purse.values == (0, 0, 0, 460 * MICRO)
    assert (top_ups.sweep(), top_ups.top_up(desk.purse.id), desk.state) == (0, False, "debt")
    desk.buys()
    assert desk.purse.values == (40 * MICRO, 0, 0, 0)
    ledger.set_account_frozen(desk.purse.id, True, "looked at")
    assert (top_ups.sweep(), top_ups.top_up(desk.purse.id), desk.state) == (0, False, "frozen")
    with pytest.raises(checkout.BuyingFrozen):
        desk.agrees()
    ledger.set_account_frozen(desk.purse.id, False, "all is well")
    assert (top_ups.sweep(), desk.purse.available) == (1, 540 * MICRO)


def test_a_refund_does_not_buy_what_it_took_back(desk: Desk) -> None:
    """The refund takes credits, fewer are available than agreed: without care the card would be charged at once."""
    desk.agrees()
    desk.spends_to(40)
    top_ups.sweep()
    desk.stand_in.post("refund", payment_intent=desk.intents[0].id, amount=PRICE)
    desk.hears()
    assert desk.purse.available == 40 * MICRO
    assert (top_ups.sweep(), len(desk.top_ups), desk.state) == (0, 1, "off")
    assert desk.rule.off_because == "returned"
    assert desk.notices() == ["Auto top-up is off: a payment went back"]
    desk.agrees()
    assert (top_ups.sweep(), desk.purse.available) == (1, 540 * MICRO)


def test_nothing_is_bought_while_a_payment_is_disputed(desk: Desk) -> None:
    desk.agrees()
    desk.spends_to(140)
    first = Purchase.objects.get(account=desk.purse.id)
    desk.stand_in.post(f"dispute/{first.stripe_intent}")
    desk.hears()
    assert desk.purse.available == 0
    assert (top_ups.sweep(), desk.top_ups, desk.rule.off_because) == (0, [], "returned")
    with pytest.raises(top_ups.TopUpNotPossible):
        desk.agrees()
    desk.agrees(is_on=False)


def test_a_card_whose_holder_won_a_dispute_is_not_charged_until_it_is_kept_anew(desk: Desk) -> None:
    desk.agrees()
    first = Purchase.objects.get(account=desk.purse.id)
    dispute = desk.stand_in.post(f"dispute/{first.stripe_intent}")
    desk.stand_in.post(f"disputes/{dispute['id']}", status="lost")
    desk.hears()
    assert desk.purse.values == (0, 0, 0, 0)
    assert (top_ups.sweep(), desk.rule.off_because) == (0, "returned")
    desk.agrees()
    assert (desk.method, desk.state) == ("", "no_card")
    assert (top_ups.sweep(), desk.top_ups) == (0, [])
    desk.buys()
    desk.agrees()
    desk.spends_to(40)
    assert (top_ups.sweep(), desk.purse.available) == (1, 540 * MICRO)


def test_a_worker_is_woken_once_where_credits_are_too_few(desk: Desk) -> None:
    desk.agrees()
    cache.delete("top-up-hint")
    OrmQ.objects.all().delete()
    top_ups.wake()
    assert not OrmQ.objects.exists()
    desk.spends_to(40)
    for _ in range(3):
        top_ups.wake()
    (queued,) = OrmQ.objects.all()
    assert queued.func() == "billing.tasks.top_up"
    tasks.top_up()
    assert desk.purse.available == 540 * MICRO


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"is_offered": False}, "Auto top-up is off: its pack is not sold any more"),
        ({"price_minor": PRICE + 1}, "Auto top-up is off: its pack has changed"),
        ({"credits": CREDITS - 1}, "Auto top-up is off: its pack has changed"),
    ],
)
def test_a_pack_that_is_not_as_agreed_is_not_bought(desk: Desk, changes: dict[str, Any], title: str) -> None:
    desk.agrees()
    Pack.objects.filter(id=desk.pack.id).update(**changes)
    desk.spends_to(40)
    assert (top_ups.sweep(), desk.top_ups, desk.notices()) == (0, [], [title])
    assert (desk.rule.is_on, desk.rule.off_because) == (False, "pack")
    if "is_offered" in changes:
        with pytest.raises(refusals.InvalidFields):
            desk.agrees()


def test_who_agreed_must_still_be_an_owner(desk: Desk) -> None:
    desk.agrees()
    Membership.objects.filter(user=desk.owner).update(role="member")
    desk.spends_to(40)
    assert (top_ups.sweep(), desk.top_ups, desk.rule.off_because) == (0, [], "gone")


def test_another_account_is_not_touched(
    desk: Desk, new_purse: Callable[..., Purse], stand_in: StandIn, clock: Clock
) -> None:
    other = Desk(stand_in, new_purse(), clock)
    other.heard = desk.heard
    other.buys()
    desk.agrees()
    other.agrees()
    desk.spends_to(40)
    top_ups.sweep()
    assert (desk.purse.available, other.purse.available, other.top_ups) == (540 * MICRO, CREDITS, [])
    other.card("declines")
    desk.spends_to(40)
    other.spends_to(40)
    assert top_ups.sweep() == 2
    assert (desk.states, other.states) == (["paid", "paid"], ["failed"])
    assert (desk.rule.waits_until, other.rule.waits_because) == (None, "declined")


def test_nothing_happens_where_no_stripe_is_set_up(desk: Desk, settings: Any) -> None:
    desk.agrees()
    desk.spends_to(40)
    settings.STRIPE_IS_SET_UP = False
    assert (top_ups.sweep(), desk.top_ups, top_up_words.standing(desk.purse.id)) == (0, [], None)
    with pytest.raises(top_ups.TopUpNotPossible):
        desk.agrees()
