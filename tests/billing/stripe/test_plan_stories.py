"""The stories of plan_stories.md, played at the small Stripe by its own clock: dates, invoices, credits, balances.

What happens there comes here by its events. Each story is told twice: in order, while Stripe's API cannot be asked, so
by what the events say alone; and each event twice, the last first, where the API can be asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from billing import money, plans, stripe_inbox, subscriptions, tasks
from billing.clock import now
from billing.credits import MICRO
from billing.errors import BillingError
from billing.models import Allocation, Dispute, Enrollment, Entry, InboxEvent, Lot, Plan, SpendLimit
from tests.conftest import Clock

from ..purse import Purse
from .conftest import KEY, SECRET, Sink, StandIn
from .told import signed

pytestmark = pytest.mark.django_db(transaction=True)

ORDERS = ["by events alone", "last first and twice"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def whole(micro: int) -> str:
    """Credits as the tables have them."""
    assert micro % MICRO == 0
    return f"{micro // MICRO:,}"


@dataclass
class Town:
    """An account, a person, and a Stripe of their own; the two clocks go together."""

    purse: Purse
    person: Any
    stand_in: StandIn
    settings: Any
    order: str
    heard: int = 0

    def go_to(self, moment: str) -> None:
        """It is then: what was due at Stripe has happened, was heard, and our worker did what is due."""
        self.stand_in.post("advance", to=int(at(moment).timestamp()))
        self.set_clock(moment)
        self.hear()
        self.work()

    def set_clock(self, moment: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute('UPDATE holdfast_clock SET "offset" = %s - clock_timestamp()', [at(moment)])

    def hear(self) -> None:
        """What happened since has come and was applied, whatever the order."""
        told = self.stand_in.events()
        new, self.heard = told[self.heard :], len(told)
        if "last first" in self.order:
            new = [event for event in reversed(new) for _ in range(2)]
        self.settings.STRIPE_IS_SET_UP = "alone" not in self.order
        for event in new:
            body = json.dumps(event).encode()
            assert stripe_inbox.receive(body, signed(body, secret=SECRET)) == 200
            stripe_inbox.apply_due()
        for _ in range(4):  # what could not be applied yet is tried again
            InboxEvent.objects.filter(next_try_at__gt=now()).update(next_try_at=now())
            stripe_inbox.apply_due()
        self.settings.STRIPE_IS_SET_UP = True
        # What can only be looked up waits until it can be: refunds, and what paid an invoice that granted nothing.
        waits = ["invoice_payment.paid", "charge.refunded"]
        left = InboxEvent.objects.filter(state__in=["received", "failed"]).exclude(type__in=waits)
        assert list(left.values_list("type", "outcome")) == []

    def work(self) -> None:
        tasks.expire_lots()
        plans.allocate_free()
        subscriptions.end_graces()

    # Acts

    def verify(self) -> None:
        plans.begin_free(self.purse.id, self.person.pk)

    def subscribe(self, slug: str) -> None:
        row, _ = subscriptions.subscribe(self.purse.id, slug, user=self.person, site="https://desk.test")
        assert row.state == "pending"
        assert row.checkout_url
        self.stand_in.pay(str(row.stripe_session))

    def change(self, slug: str) -> None:
        self.did(subscriptions.change(self.purse.id, slug))

    def cancel(self) -> None:
        self.did(subscriptions.cancel(self.purse.id))

    def keep(self) -> None:
        self.did(subscriptions.keep(self.purse.id))

    def go_on(self) -> None:
        self.did(subscriptions.go_on(self.purse.id))

    def settle(self) -> None:
        self.did(subscriptions.settle(self.purse.id))

    def did(self, made: subscriptions.Changed) -> None:
        change, repeat = made
        assert (change.state, repeat) == ("done", None)
        assert change.said

    def refused(self, code: str, act: str, *terms: str) -> None:
        """The act is refused with that code, and nothing happened at Stripe."""
        told = len(self.stand_in.events())
        with pytest.raises(BillingError) as refusal:
            getattr(self, act)(*terms)
        assert (refusal.value.code, len(self.stand_in.events())) == (code, told)

    def card(self, behaves: str) -> None:
        self.stand_in.post(f"card/{self.customer}", card=behaves)
        client = subscriptions.checkout.client()
        customer = client.v1.customers.retrieve(self.customer)
        method = customer.invoice_settings.default_payment_method  # type: ignore[union-attr]
        client.v1.subscriptions.update(self.subscription, {"default_payment_method": str(method)})

    def pause(self) -> None:
        self.stand_in.post(f"pause/{self.subscription}")

    def end_at_stripe(self) -> None:
        subscriptions.checkout.client().v1.subscriptions.cancel(self.subscription)

    def spend(self, credits: str) -> None:
        self.purse.charge(int(credits) * MICRO)

    def buy(self, credits: str) -> None:
        self.purse.grant(int(credits) * MICRO, source="pack")

    def refund(self, pounds: str) -> None:
        """Given back at Stripe, of what was paid last."""
        self.stand_in.post("refund", payment_intent=self.paid_by, amount=int(pounds.strip("£").replace(".", "")))

    def dispute(self) -> None:
        self.stand_in.post(f"dispute/{self.paid_by}")

    def win(self) -> None:
        name = Dispute.objects.get(account=self.purse.id).stripe_dispute
        self.stand_in.post(f"disputes/{name}", status="won")

    def nothing(self) -> None:
        pass

    @property
    def enrollment(self) -> Enrollment:
        mine = Enrollment.objects.filter(account=self.purse.id, plan__price_minor__gt=0)
        newest = mine.exclude(stripe_subscription=None).order_by("started_at").last()
        assert newest is not None
        return newest

    @property
    def subscription(self) -> str:
        return str(self.enrollment.stripe_subscription)

    @property
    def customer(self) -> str:
        return str(subscriptions.checkout.customer_of(self.purse.id, ""))

    @property
    def paid_by(self) -> str:
        paid = Allocation.objects.filter(account=self.purse.id).exclude(stripe_intent="")
        newest = paid.order_by("starts_at", "id").last()
        assert newest is not None
        return newest.stripe_intent

    @property
    def invoices(self) -> dict[str, int]:
        """What was paid at Stripe so far, as its own list of invoices has it, oldest first, in pence."""
        found = subscriptions.checkout.client().v1.invoices.list({"status": "paid", "limit": 100}).data
        return {str(invoice.id): invoice.total for invoice in reversed(found) if invoice.total}

    def moved_since(self, line: int) -> tuple[str, str]:
        """What the statement's lines after that one made available, and what they took of it."""
        later = Entry.objects.filter(account=self.purse.id, sequence__gt=line)
        moved = [entry.balance_delta - entry.held_delta - entry.frozen_delta for entry in later]
        came, went = sum(n for n in moved if n > 0), -sum(n for n in moved if n < 0)
        return whole(came) if came else "", whole(went) if went else ""

    @property
    def stands(self) -> str:
        row = plans.in_force(self.purse.id)
        if row is None:
            return "none"
        words = row.plan.slug if row.state == "active" else f"{row.plan.slug} {row.state}"
        if row.ends_with_period:
            words += ", ends"
        return words + (f", then {row.next_plan.slug}" if row.next_plan else "")


@dataclass(frozen=True)
class Line:
    """A line of a story: when, what was done, what was paid for it, the credits that came and went, how it stands."""

    when: str
    what: str
    paid: str
    came: str
    went: str
    available: str
    plan: str


def read_stories() -> dict[str, list[Line]]:
    """The tables of plan_stories.md, each by its heading."""
    stories: dict[str, list[Line]] = {}
    for row in (Path(__file__).parent / "plan_stories.md").read_text().splitlines():
        if row.startswith("## "):
            stories[row[3:]] = []
        elif row.startswith("| 20"):
            cells = [cell.strip() for cell in row.strip("| ").split("|")]
            stories[list(stories)[-1]].append(Line(*cells[:7]))
    return stories


STORIES = read_stories()


@pytest.fixture
def town(
    request: pytest.FixtureRequest, purse: Purse, clock: Clock, sink: Sink, settings: Any, tmp_path: Path
) -> Iterator[Callable[[str], Town]]:
    stand_in = StandIn(tmp_path / "stripe.sqlite3", sink.url)
    stand_in.settings(deliver=False)
    settings.STRIPE_SECRET_KEY = KEY
    settings.STRIPE_API_BASE = stand_in.url
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_LIVE_MODE = False
    settings.STRIPE_IS_SET_UP = True
    plans.install()
    Plan.objects.create(
        slug="trial", title="Trial", price_minor=1500, monthly_credits=1000 * MICRO, trial_days=14,
        trial_credits=50 * MICRO,
    )  # fmt: skip
    person = User.objects.create_user("ada", "ada@people.test")
    yield lambda order: Town(purse, person, stand_in, settings, order)
    stand_in.kill()


TOLD = [(story, order) for story in STORIES for order in ORDERS]
TOLD += [("smaller, and kept after all", "last first, alone"), ("ended, and kept after all", "last first, alone")]


@pytest.mark.parametrize(("story", "order"), TOLD)
def test_a_story_ends_with_the_same_balance_in_any_order(story: str, order: str, town: Callable[[str], Town]) -> None:
    here = town(order)
    for line in STORIES[story]:
        invoices, lines = here.invoices, here.purse.account.entry_count
        here.go_to(line.when)
        act, *terms = line.what.split()
        getattr(here, act)(*terms)
        here.hear()
        paid = " + ".join(money.words(total, "gbp") for id, total in here.invoices.items() if id not in invoices)
        came, went = here.moved_since(lines)
        now = Line(line.when, line.what, paid, came, went, whole(here.purse.available), here.stands)
        assert now == line
        # The caps are those of the plan in force.
        row = plans.in_force(here.purse.id)
        assert row is not None
        assert SpendLimit.objects.get(account=here.purse.id, source="plan").per_day == row.plan.per_day


def test_a_month_is_granted_once_and_knows_what_paid_it(town: Callable[[str], Town]) -> None:
    here = town("last first and twice")
    here.go_to("2027-04-10 08:00")
    here.subscribe("supporter")
    here.hear()
    here.go_to("2027-05-10 08:01")
    months = list(Allocation.objects.filter(account=here.purse.id).order_by("starts_at"))
    assert [f"{month.starts_at:%d %b}" for month in months] == ["10 Apr", "10 May"]
    assert {month.amount_minor for month in months} == {4500}
    assert len({month.stripe_invoice for month in months}) == len({month.stripe_intent for month in months}) == 2
    assert all(month.invoice_url for month in months)
    assert here.purse.kinds == ["grant", "lot_expired", "grant"]
    lots = Lot.objects.filter(account=here.purse.id, remaining__gt=0)
    assert [lot.expires_at for lot in lots] == [months[1].ends_at]


def test_what_a_trial_gives_is_promotional_and_given_once(town: Callable[[str], Town]) -> None:
    here = town("by events alone")
    here.go_to("2027-04-10 08:00")
    here.subscribe("trial")
    here.hear()
    assert [(lot.is_promotional, lot.amount) for lot in Lot.objects.filter(account=here.purse.id)] == [
        (True, 50 * MICRO)
    ]
    here.end_at_stripe()
    here.hear()
    assert not plans.may_try(here.purse.id, Plan.objects.get(slug="trial"))


# Refusals


def test_a_second_plan_is_not_begun_beside_a_paid_one(town: Callable[[str], Town]) -> None:
    here = town("by events alone")
    here.go_to("2027-04-10 08:00")
    here.subscribe("supporter")
    here.hear()
    with pytest.raises(subscriptions.AlreadySubscribed):
        subscriptions.subscribe(here.purse.id, "pro", user=here.person, site="https://desk.test")
    with pytest.raises(subscriptions.PlanCannotChange):
        subscriptions.change(here.purse.id, "supporter")
    with pytest.raises(subscriptions.PlanCannotChange):
        subscriptions.keep(here.purse.id)


def test_of_two_pages_begun_only_the_last_can_be_paid(town: Callable[[str], Town]) -> None:
    here = town("by events alone")
    here.go_to("2027-04-10 08:00")
    first, _ = subscriptions.subscribe(here.purse.id, "supporter", user=here.person, site="https://desk.test")
    second, _ = subscriptions.subscribe(here.purse.id, "pro", user=here.person, site="https://desk.test")
    session = subscriptions.checkout.client().v1.checkout.sessions.retrieve(str(first.stripe_session))
    assert session.status == "expired"
    here.stand_in.pay(str(second.stripe_session))
    with pytest.raises(subscriptions.AlreadySubscribed):  # paid, and not heard of yet
        subscriptions.subscribe(here.purse.id, "pro", user=here.person, site="https://desk.test")
    here.hear()
    assert here.stands == "pro"
    first.refresh_from_db()
    assert first.state == "ended"


def test_a_page_that_nobody_paid_gives_nothing(town: Callable[[str], Town]) -> None:
    here = town("by events alone")
    here.go_to("2027-04-10 08:00")
    here.verify()
    subscriptions.subscribe(here.purse.id, "supporter", user=here.person, site="https://desk.test")
    here.go_to("2027-04-12 08:00")
    assert (here.purse.available, here.stands) == (300 * MICRO, "free")
    assert Enrollment.objects.filter(account=here.purse.id, state="ended").count() == 1


@pytest.mark.parametrize("slug", ["free", "gold", ""])
def test_what_is_not_sold_cannot_be_subscribed_to(slug: str, town: Callable[[str], Town]) -> None:
    here = town("by events alone")
    with pytest.raises(subscriptions.PlanNotOffered):
        subscriptions.subscribe(here.purse.id, slug, user=here.person, site="https://desk.test")
    assert not Enrollment.objects.exists()


@pytest.mark.parametrize("card", ["declines", "needs_action"])
def test_an_upgrade_that_the_card_declines_changes_nothing(card: str, town: Callable[[str], Town]) -> None:
    here = town("last first and twice")
    here.go_to("2027-04-10 08:00")
    here.subscribe("supporter")
    here.hear()
    here.card(card)
    with pytest.raises(subscriptions.UpgradeNotPaid):
        here.change("pro")
    here.hear()
    assert (here.purse.available, here.stands) == (3000 * MICRO, "supporter")
    here.card("works")
    here.go_to("2027-05-10 08:01")
    assert (here.purse.available, here.stands) == (3000 * MICRO, "supporter")


def test_money_that_comes_after_the_end_still_brings_its_credits(town: Callable[[str], Town]) -> None:
    here = town("by events alone")
    here.go_to("2027-04-10 08:00")
    here.subscribe("supporter")
    told = here.stand_in.events()
    name = next(event["data"]["object"]["id"] for event in told if event["type"] == "customer.subscription.created")
    subscriptions.checkout.client().v1.subscriptions.cancel(name)
    late = [event for event in here.stand_in.events() if event not in told]
    for event in [*late, *told]:  # the end is heard of first
        body = json.dumps(event).encode()
        assert stripe_inbox.receive(body, signed(body, secret=SECRET)) == 200
        stripe_inbox.apply_due()
    assert (here.purse.available, here.stands) == (3000 * MICRO, "none")


def test_a_plan_ends_with_work_still_held(town: Callable[[str], Town]) -> None:
    here = town("by events alone")
    here.go_to("2027-04-10 08:00")
    here.subscribe("supporter")
    here.hear()
    hold = here.purse.place(100 * MICRO)
    here.end_at_stripe()
    here.hear()
    assert here.stands == "free"
    with here.purse.moves(balance=-40 * MICRO, held=-100 * MICRO):
        here.purse.capture(hold, 40 * MICRO)


def test_a_month_paid_in_another_currency_grants_nothing(town: Callable[[str], Town]) -> None:
    here = town("by events alone")
    here.go_to("2027-04-10 08:00")
    here.subscribe("supporter")
    Plan.objects.filter(slug="supporter").update(currency="eur")
    for event in here.stand_in.events():
        body = json.dumps(event).encode()
        stripe_inbox.receive(body, signed(body, secret=SECRET))
    stripe_inbox.apply_due()
    assert here.purse.available == 0
    outcome = InboxEvent.objects.get(type="invoice.paid")
    assert outcome.state == "failed"
    assert "was paid in gbp, the plan costs eur" in outcome.outcome
