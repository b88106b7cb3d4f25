"""Everything that can come over one account at once: payments, refunds, disputes, a plan's months, top-ups, spending.

Nothing waits for what waits for it, and in the end the books are in order, whatever came first.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from billing import errors, gifts, plans, stripe_inbox, tasks, top_ups
from billing.clock import Now
from billing.credits import MICRO
from billing.models import (
    Customer,
    Enrollment,
    GiftCode,
    InboxEvent,
    Membership,
    Plan,
    Purchase,
    new_id,
)
from billing.periods import Period, months_after
from billing.reconcile import reconcile
from tests.billing.purse import Purse
from tests.billing.stripe.told import SECRET, Sold, a_pack, event, receive
from tests.billing.test_free_plan import set_clock
from tests.conftest import Clock

pytestmark = pytest.mark.django_db(transaction=True)

START = datetime(2027, 1, 10, 8, tzinfo=UTC)
PACKS = 8
MONTHS = 5


class Storm:
    """An account with a plan, auto top-up and packs on their way; each part of the storm is a method."""

    def __init__(self) -> None:
        self.purse = Purse()
        self.person = User.objects.create(username="ada", email="ada@people.test")
        Membership.objects.create(account_id=self.purse.id, user=self.person, role="owner")
        Customer.objects.create(account_id=self.purse.id, stripe_customer="cus_1", payment_method="pm_1")
        self.sold = [Sold(self.purse) for _ in range(PACKS)]
        self.plan = Plan.objects.create(
            slug="keeper", title="Keeper", price_minor=4500, monthly_credits=1000 * MICRO, rollover_max=500 * MICRO
        )
        self.large = Plan.objects.create(slug="large", title="Large", price_minor=9000, monthly_credits=3000 * MICRO)
        self.row = Enrollment.objects.create(
            account_id=self.purse.id, plan=self.plan, state="pending", started_at=START, stripe_subscription="sub_1"
        )
        pack = a_pack(credits=100 * MICRO, price_minor=1000)
        top_ups.agree(
            self.purse.id, user=self.person, site="https://desk.test", is_on=True, below=90 * MICRO, pack=pack.slug,
            month_max_minor=99_000,
        )  # fmt: skip
        self.code = gifts.new_code()
        terms = gifts.Terms(20 * MICRO, 100, 12, None, "")
        maker = User.objects.create(username="stella", is_staff=True)
        kept = [(gifts.hash_of(self.code), gifts.hint_of(self.code))]
        gifts.make(terms, kept, batch=new_id(), made_by=maker, approved_by=None, at=START)
        self.broke: list[BaseException] = []
        self.refused: list[str] = []

    # Parts

    def pays(self) -> None:
        for sold in self.sold:
            self.tell("checkout.session.completed", sold.session())
            self.tell("payment_intent.succeeded", sold.intent())

    def refunds(self) -> None:
        for at, sold in enumerate(self.sold):
            self.tell("refund.created", sold.refund(f"re_{at}_a", 700, "pending"))
            self.tell("refund.updated", sold.refund(f"re_{at}_a", 700, "failed" if at % 2 else "succeeded"))
            self.tell("refund.created", sold.refund(f"re_{at}_b", 300))

    def disputes(self) -> None:
        for at, sold in enumerate(self.sold):
            end = ["won", "lost", "needs_response"][at % 3]
            self.tell("charge.dispute.created", sold.dispute(f"dp_{at}", 1500))
            self.tell("charge.dispute.closed", sold.dispute(f"dp_{at}", 1500, end))

    def months(self) -> None:
        for at in range(MONTHS):
            starts, ends = months_after(START, at), months_after(START, at + 1)
            self.tried(partial(set_clock, f"{starts:%Y-%m-%d %H:%M:%S}"))
            month = plans.Sold(f"in_{at}", 4500, "gbp", intent=f"pi_month_{at}")
            self.tried(partial(plans.allocate_month, self.row.id, self.plan, Period(starts, ends), month, "sub_1"))
            part, upgrade = (
                Period(starts.replace(day=20), ends),
                plans.Sold(f"in_{at}_up", 3000, "gbp", "", f"pi_up_{at}"),
            )
            act = partial(plans.allocate_upgrade, self.row.id, self.plan, self.large, part, upgrade, "sub_1")
            self.tried(act)
            for name, amount in ((f"pi_month_{at - 1}", 4500), (f"pi_up_{at}", 1000)):
                told = {"id": f"re_{name}", "object": "refund", "amount": amount, "currency": "gbp"}
                if at:
                    self.tell("refund.created", told | {"payment_intent": name, "status": "succeeded"})

    def tops_up(self) -> None:
        for at in range(8):
            self.tried(lambda: top_ups.begin(self.purse.id))
            row = Purchase.objects.filter(account=self.purse.id, is_top_up=True).order_by("-id").first()
            if row is None:
                continue
            intent: dict[str, Any] = {
                "id": f"pi_{row.id}", "object": "payment_intent", "status": "succeeded", "amount": 1000,
                "amount_received": 1000, "currency": "gbp", "customer": "cus_1", "metadata": {"purchase": str(row.id)},
            }  # fmt: skip
            declined = {"status": "requires_payment_method", "last_payment_error": {"code": "card_declined"}}
            if at % 3 == 2:
                self.tell("payment_intent.payment_failed", intent | declined)
            else:
                self.tell("payment_intent.succeeded", intent)
            self.tried(lambda: top_ups.agree(self.purse.id, user=self.person, site="https://desk.test", is_on=True))

    def spends(self) -> None:
        some = random.Random(7)
        for _ in range(25):
            amount = some.randrange(1, 120) * MICRO
            hold = self.tried(partial(self.purse.place, amount, owner="service:desk"))
            line = self.tried(partial(self.purse.capture, hold, amount // 2)) if hold else None
            if line is not None:
                self.tried(partial(self.purse.refund, line.id, MICRO // 2))

    def works(self) -> None:
        """The worker, and a gift."""
        for _ in range(10):
            self.tried(tasks.expire_lots)
            self.tried(plans.allocate_free)
            self.tried(lambda: gifts.redeem(self.purse.id, self.code, self.person, actor="user:1"))
            self.tried(stripe_inbox.apply_due)

    # How

    def tell(self, type: str, thing: dict[str, Any]) -> None:
        made = event(type, thing)
        for _ in range(2):
            self.tried(lambda: receive(made))
        self.tried(stripe_inbox.apply_due)

    def tried(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except errors.BillingError as refusal:
            self.refused.append(refusal.code)
        except Exception as error:
            if type(error).__name__ != "NotKnownYet":
                self.broke.append(error)
        return None

    def run(self, *parts: Callable[[], None]) -> None:
        gate = threading.Barrier(len(parts))

        def one(part: Callable[[], None]) -> None:
            try:
                gate.wait()
                part()
            except BaseException as error:
                self.broke.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=one, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.fixture
def storm(settings: Any, clock: Clock) -> Storm:
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_LIVE_MODE = False
    settings.STRIPE_IS_SET_UP = True
    settings.STRIPE_SECRET_KEY = "sk_test_nobody"
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    return Storm()


def test_a_storm_over_one_account_ends_in_order(storm: Storm) -> None:
    parts = [storm.pays, storm.refunds, storm.disputes, storm.months, storm.tops_up, storm.spends, storm.works]
    storm.run(*parts)
    assert storm.broke == []
    for _ in range(4):
        InboxEvent.objects.filter(next_try_at__gt=Now()).update(next_try_at=Now())
        stripe_inbox.apply_due(1000)
    left = InboxEvent.objects.exclude(state="applied").values_list("type", "state", "outcome")
    assert list(left) == []
    assert reconcile().findings == []
    assert {sold.row.state for sold in storm.sold} == {"paid"}
    assert storm.purse.kinds.count("grant") > PACKS + MONTHS
    assert GiftCode.objects.get().uses == 1
