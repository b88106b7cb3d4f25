"""Changing a plan, asked twice, at once, and with the plug pulled; and a second plan that is paid for by mistake.

`Town` is the account of the stories, with a Stripe of its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, InternalError, connection, transaction

from billing import errors, ledger, plans, stripe_inbox, subscriptions
from billing.checkout import StripeUnavailable
from billing.clock import now
from billing.credits import MICRO
from billing.idempotency import fingerprint
from billing.models import Alert, Enrollment, InboxEvent, Notice, Plan, PlanChange, Refunding, new_id
from billing.periods import Period
from billing.reconcile import reconcile

from ..purse import Purse
from .conftest import SECRET
from .test_plan_stories import Town, town
from .told import signed

__all__ = ["town"]
pytestmark = pytest.mark.django_db(transaction=True)
BY_EVENTS = "by events alone"
MayAsk = Callable[[str], Town]


@pytest.fixture(autouse=True)
def _in_order(transactional_db: None) -> Any:
    yield
    assert reconcile().findings == []


@pytest.fixture
def here(town: MayAsk) -> Town:
    """An account on the Supporter plan, half a month through it."""
    here = town(BY_EVENTS)
    here.go_to("2027-04-10 08:00")
    here.subscribe("supporter")
    here.hear()
    here.go_to("2027-04-25 08:05")  # its fifteenth last day has begun
    return here


def a_key(here: Town, key: str = "k", plan: str = "pro") -> ledger.Key:
    return ledger.Key(
        actor=f"user:{here.person.pk}",
        scope="POST /x",
        key=key,
        fingerprint=fingerprint(plan),
        status=200,
        made=new_id(),
    )


def paid_at_stripe(here: Town) -> list[int]:
    """What the account's invoices came to, oldest first."""
    listed = subscriptions.checkout.client().v1.invoices.list({"customer": here.customer, "limit": 50})
    return [one.total for one in reversed(listed.data) if one.status == "paid"]


# Asked twice


def test_a_repeat_of_the_key_changes_nothing_more(here: Town) -> None:
    first, repeat = subscriptions.change(here.purse.id, "pro", user=here.person, key=a_key(here))
    assert (first.act, first.state, repeat) == ("upgrade", "done", None)
    again, repeat = subscriptions.change(here.purse.id, "pro", user=here.person, key=a_key(here))
    assert (again.id, again.said, repeat is not None) == (first.id, first.said, True)
    with pytest.raises(errors.IdempotencyConflict):
        subscriptions.change(here.purse.id, "trial", user=here.person, key=a_key(here, plan="trial"))
    here.hear()
    assert here.purse.available == 7500 * MICRO
    assert paid_at_stripe(here) == [4500, 5750]


def test_a_refused_key_may_be_tried_again(here: Town) -> None:
    here.card("declines")
    for _ in range(2):
        with pytest.raises(subscriptions.UpgradeNotPaid):
            subscriptions.change(here.purse.id, "pro", user=here.person, key=a_key(here))
    assert paid_at_stripe(here) == [4500]
    here.card("works")
    made, repeat = subscriptions.change(here.purse.id, "pro", user=here.person, key=a_key(here))
    assert (made.state, made.tries, repeat) == ("done", 3, None)
    assert PlanChange.objects.count() == 1
    here.hear()
    assert here.purse.available == 7500 * MICRO
    assert paid_at_stripe(here) == [4500, 5750]


def test_two_upgrades_before_the_first_is_heard_of_are_one(here: Town) -> None:
    """Else the second would be granted from the smallest plan on, and paid for from the middle one."""
    Plan.objects.create(slug="max", title="Max", price_minor=30_000, monthly_credits=25_000 * MICRO)
    here.change("pro")
    for slug in ("max", "pro", "supporter"):
        here.refused("plan_change_in_progress", "change", slug)
    here.hear()
    here.change("max")
    here.hear()
    # 3,000 + (12,000 − 3,000) ÷ 2 + (25,000 − 12,000) ÷ 2, each paid for
    assert (here.purse.available, here.stands) == (14_000 * MICRO, "max")
    assert paid_at_stripe(here) == [4500, 5750, 7000]


def test_of_many_changes_at_once_one_is_made(here: Town) -> None:
    barrier, codes = threading.Barrier(6), []
    here.settings.STRIPE_IS_SET_UP = True

    def press() -> None:
        try:
            barrier.wait()
            subscriptions.change(here.purse.id, "pro")
            codes.append("done")
        except errors.BillingError as refusal:
            codes.append(refusal.code)
        finally:
            connection.close()

    presses = [threading.Thread(target=press) for _ in range(6)]
    for one in presses:
        one.start()
    for one in presses:
        one.join()
    assert sorted(codes) == ["done", *["plan_change_in_progress"] * 5]
    here.hear()
    assert here.purse.available == 7500 * MICRO
    assert paid_at_stripe(here) == [4500, 5750]


# The plug is pulled


@pytest.mark.parametrize("is_taken", [True, False], ids=["after Stripe took it", "before"])
def test_a_change_that_a_crash_left_behind_is_finished_once(
    here: Town, is_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = subscriptions._ask

    def pulled(change: PlanChange) -> bool:
        if is_taken:
            ask(change)
        raise KeyboardInterrupt

    monkeypatch.setattr(subscriptions, "_ask", pulled)
    with pytest.raises(KeyboardInterrupt):
        subscriptions.change(here.purse.id, "pro", key=a_key(here))
    monkeypatch.undo()
    left = PlanChange.objects.get()
    assert left.state == "asked"
    with pytest.raises(errors.RequestInProgress):  # the first request may still be going
        subscriptions.change(here.purse.id, "pro", key=a_key(here))
    assert subscriptions.send_waiting() == 0
    here.set_clock("2027-04-25 08:07")
    assert subscriptions.send_waiting() == 1
    left.refresh_from_db()
    assert left.state == "done"
    _, repeat = subscriptions.change(here.purse.id, "pro", key=a_key(here))
    assert repeat is not None
    here.hear()
    assert (here.purse.available, here.stands) == (7500 * MICRO, "pro")
    assert paid_at_stripe(here) == [4500, 5750]


def test_while_stripe_is_down_nothing_is_noted(here: Town) -> None:
    here.stand_in.settings(down=True)
    for act in (lambda: here.change("pro"), here.cancel):
        with pytest.raises(StripeUnavailable):
            act()
    here.stand_in.settings(down=False)
    assert PlanChange.objects.filter(state="asked").count() == 1  # the end needed no look: it is asked for again
    here.set_clock("2027-04-25 08:07")
    assert subscriptions.send_waiting() == 1
    assert here.stands == "supporter, ends"


def test_what_could_not_be_asked_for_an_hour_is_given_up(here: Town) -> None:
    here.stand_in.settings(down=True)
    with pytest.raises(subscriptions.PlanChangeOnItsWay):
        here.cancel()
    here.set_clock("2027-04-25 09:10")
    subscriptions.send_waiting()
    here.stand_in.settings(down=False)
    assert PlanChange.objects.get().state == "refused"
    here.cancel()
    assert here.stands == "supporter, ends"


def test_a_month_that_began_unheard_is_waited_for(here: Town) -> None:
    here.change("pro")
    here.hear()
    here.change("supporter")
    here.hear()
    here.stand_in.post("advance", seconds=15 * 86_400 + 60)  # the smaller month has begun there, and is paid
    here.refused("plan_change_in_progress", "keep")
    here.refused("plan_change_in_progress", "change", "pro")


# The rows' laws


@pytest.mark.parametrize(
    "breaks",
    [
        "UPDATE billing_planchange SET state = 'asked', ended_at = NULL",
        "UPDATE billing_planchange SET said = 'x'",
        "UPDATE billing_planchange SET ended_at = NULL",
        "DELETE FROM billing_planchange",
        "UPDATE billing_enrollment SET is_second = true WHERE state <> 'ended'",
        "UPDATE billing_enrollment SET undone_at = now()",
    ],
)
def test_the_database_refuses_to_rewrite_a_change(breaks: str, here: Town) -> None:
    here.change("pro")
    with pytest.raises((IntegrityError, InternalError)), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(breaks)
    here.hear()


def test_the_database_keeps_one_change_at_a_time(here: Town) -> None:
    row = here.enrollment
    of = {"account_id": row.account_id, "enrollment_id": row.id, "stripe_name": "sub", "created_at": row.started_at}
    PlanChange.objects.create(act="cancel", **of)
    with pytest.raises(IntegrityError), transaction.atomic():
        PlanChange.objects.create(act="keep", **of)


# Two pages


def both_pages(here: Town, monkeypatch: pytest.MonkeyPatch) -> tuple[Enrollment, Enrollment]:
    """Two pages that can both be paid on, as when the first was paid on before it could be closed."""
    monkeypatch.setattr(subscriptions, "_give_up_earlier", lambda row: None)
    made = [
        subscriptions.subscribe(here.purse.id, slug, user=here.person, site="https://desk.test")[0]
        for slug in ("supporter", "pro")
    ]
    monkeypatch.undo()
    return made[0], made[1]


@pytest.mark.parametrize("order", [BY_EVENTS, "last first and twice"])
def test_a_second_plan_that_was_paid_for_is_ended_and_given_back(
    order: str, town: MayAsk, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = town(order)
    here.go_to("2027-04-10 08:00")
    first, second = both_pages(here, monkeypatch)
    here.stand_in.pay(str(first.stripe_session))
    here.hear()
    here.stand_in.pay(str(second.stripe_session))
    here.hear()
    here.work()
    subscriptions.undo_seconds()
    here.hear()
    assert (here.purse.available, here.purse.account.debt, here.stands) == (3000 * MICRO, 0, "supporter")
    second.refresh_from_db()
    assert (second.state, second.is_second, second.undone_at is not None) == ("ended", True, True)
    refund = Refunding.objects.get(account=here.purse.id)
    assert (refund.amount_minor, refund.state, refund.is_clawed_back) == (16_000, "succeeded", True)
    found = subscriptions.checkout.client().v1.subscriptions.retrieve(str(second.stripe_subscription))
    assert found.status == "canceled"
    assert Alert.objects.filter(name="second_plan", key=str(second.id)).exists()
    assert Notice.objects.filter(account=here.purse.id, title="You paid for a second plan").count() == 1
    here.go_to("2027-05-10 08:01")
    assert (here.purse.available, here.stands) == (3000 * MICRO, "supporter")
    assert Refunding.objects.count() == 1
    assert subscriptions.undo_seconds() == 0


def test_a_second_trial_is_ended_and_gives_nothing(town: MayAsk, monkeypatch: pytest.MonkeyPatch) -> None:
    here = town("last first and twice")
    here.go_to("2027-04-10 08:00")
    monkeypatch.setattr(subscriptions, "_give_up_earlier", lambda row: None)
    pages = [
        subscriptions.subscribe(here.purse.id, "trial", user=here.person, site="https://desk.test")[0] for _ in range(2)
    ]
    for page in pages:
        here.stand_in.pay(str(page.stripe_session))
        here.hear()
    subscriptions.undo_seconds()
    assert (here.purse.available, here.stands) == (50 * MICRO, "trial trial")
    here.go_to("2027-04-24 08:01")
    assert (here.purse.available, here.stands) == (1000 * MICRO, "trial")
    assert paid_at_stripe(here) == [0, 0, 1500]


def test_what_cannot_be_undone_at_once_is_undone_later(town: MayAsk, monkeypatch: pytest.MonkeyPatch) -> None:
    here = town("last first and twice")
    here.go_to("2027-04-10 08:00")
    first, second = both_pages(here, monkeypatch)
    here.stand_in.pay(str(first.stripe_session))
    here.hear()
    here.stand_in.pay(str(second.stripe_session))
    here.order = BY_EVENTS  # Stripe cannot be asked while this is heard
    here.hear()
    assert here.purse.available == 15_000 * MICRO
    here.stand_in.settings(down=True)
    assert subscriptions.undo_seconds() == 0
    here.stand_in.settings(down=False)
    assert subscriptions.undo_seconds() == 1
    assert here.purse.available == 3000 * MICRO
    here.hear()


def test_of_pages_opened_at_once_one_can_be_paid(town: MayAsk) -> None:
    here = town(BY_EVENTS)
    here.go_to("2027-04-10 08:00")
    barrier, opened = threading.Barrier(5), []

    def open_one(slug: str) -> None:
        try:
            person = User.objects.get(pk=here.person.pk)
            barrier.wait()
            row, _ = subscriptions.subscribe(here.purse.id, slug, user=person, site="https://desk.test")
            opened.append(row)
        except subscriptions.PlanChangeInProgress:
            pass
        finally:
            connection.close()

    pages = [threading.Thread(target=open_one, args=[slug]) for slug in ["supporter", "pro"] * 2 + ["trial"]]
    for one in pages:
        one.start()
    for one in pages:
        one.join()
    of = subscriptions.checkout.client().v1.checkout.sessions
    still = [one.id for one in of.list({"limit": 50}).data if one.status == "open"]
    newest = Enrollment.objects.filter(account=here.purse.id).order_by("started_at").last()
    assert newest is not None
    assert still == [newest.stripe_session]
    assert Enrollment.objects.filter(state="pending").count() == 1


def test_a_repeat_opens_no_page_beside_the_plan_that_was_paid_for_meanwhile(town: MayAsk) -> None:
    """Else whoever kept its key would pay for a second plan, and spend its credits until its money is back."""
    here = town(BY_EVENTS)
    here.go_to("2027-04-10 08:00")
    here.subscribe("supporter")
    for is_heard in (False, True):
        if is_heard:
            here.hear()
        with pytest.raises(subscriptions.AlreadySubscribed):
            subscriptions.subscribe(here.purse.id, "pro", user=here.person, site="https://desk.test", key=a_key(here))
    sessions = subscriptions.checkout.client().v1.checkout.sessions.list({"limit": 50}).data
    assert [one.status for one in sessions] == ["complete"]
    opened = Enrollment.objects.filter(account=here.purse.id).exclude(checkout_url="")
    assert [one.state for one in opened] == ["active"]


# What else is tried for credits


def test_two_months_that_begin_on_one_day_are_two(town: MayAsk) -> None:
    """Renewed in the morning, paused by staff at Stripe, gone on with in the evening: paid twice, granted twice."""
    here = town("last first and twice")
    here.go_to("2027-04-10 08:00")
    here.subscribe("supporter")
    here.hear()
    here.go_to("2027-05-10 08:01")
    here.pause()
    here.hear()
    here.go_to("2027-05-10 19:00")
    here.go_on()
    here.hear()
    assert paid_at_stripe(here) == [4500, 4500, 4500]
    assert (here.purse.available, here.stands) == (6000 * MICRO, "supporter")


def test_a_page_that_was_given_up_grants_no_second_trial(town: MayAsk) -> None:
    here = town(BY_EVENTS)
    here.go_to("2027-04-10 08:00")
    here.subscribe("trial")
    here.hear()
    here.end_at_stripe()
    here.hear()
    row, _ = subscriptions.subscribe(here.purse.id, "trial", user=here.person, site="https://desk.test")
    session = subscriptions.checkout.client().v1.checkout.sessions.retrieve(str(row.stripe_session))
    assert session.amount_total == 1500
    here.stand_in.pay(str(row.stripe_session))
    here.hear()
    assert (here.purse.available, here.stands) == (1350 * MICRO, "trial")


def test_a_plan_that_is_refunded_and_ends_with_an_open_hold(here: Town) -> None:
    hold = here.purse.place(250 * MICRO)
    here.refund("4500")
    here.hear()
    here.end_at_stripe()
    here.hear()
    # Of 3,000 taken back 2,750 were free; the 250 that are held are owed. The Free plan's 300 settle 250 of it.
    assert (here.stands, *here.purse.values) == ("free", 300 * MICRO, 250 * MICRO, 0, 0)
    here.purse.capture(hold, 40 * MICRO)
    assert (here.stands, *here.purse.values) == ("free", 260 * MICRO, 0, 0, 0)


def test_events_of_a_change_that_was_not_made_here_do_not_break_the_plan(here: Town) -> None:
    """Staff changed the item at Stripe, by hand."""
    of = subscriptions.checkout.client().v1.subscriptions
    of.update(here.subscription, {"metadata": {"plan": "nothing-of-ours"}})
    for event in here.stand_in.events("customer.subscription.updated"):
        body = json.dumps(event).encode()
        stripe_inbox.receive(body, signed(body, secret=SECRET))
    stripe_inbox.apply_due()
    assert here.stands == "supporter"
    here.refused("plan_change_in_progress", "change", "pro")
    here.cancel()  # ending it is always possible
    assert here.stands == "supporter, ends"


# What an invoice was made for, whatever its metadata says by the time that it is finalised


def paid_otherwise(here: Town, alter: Callable[[dict[str, Any]], None], **changes: Any) -> None:
    """The newest paid invoice comes as Stripe would tell of it, and its own telling never does."""
    told = here.stand_in.events()
    for event in told[here.heard :]:
        if event["type"] in ("invoice.paid", "invoice.payment_succeeded"):
            alter(event["data"]["object"])
            event |= changes
        body = json.dumps(event).encode()
        stripe_inbox.receive(body, signed(body, secret=SECRET))
    here.heard = len(told)
    for _ in range(3):
        InboxEvent.objects.filter(next_try_at__gt=now()).update(next_try_at=now())
        stripe_inbox.apply_due()


def names_pro(invoice: dict[str, Any]) -> None:
    invoice["parent"]["subscription_details"]["metadata"] |= {"plan": "pro", "from_plan": "supporter"}


def test_a_month_at_the_smaller_price_gives_the_smaller_plan(here: Town) -> None:
    """Whoever cancels before a renewal’s invoice is finalised changes its metadata, and not its price."""
    here.go_to("2027-05-10 07:50")
    here.stand_in.post("advance", to=int(datetime(2027, 5, 10, 8, 1, tzinfo=UTC).timestamp()))
    here.set_clock("2027-05-10 08:01")
    paid_otherwise(here, names_pro)
    assert (here.purse.available, here.stands) == (3000 * MICRO, "supporter")


def test_an_earlier_price_of_a_plan_is_asked_about(here: Town) -> None:
    here.go_to("2027-05-10 07:50")
    Plan.objects.filter(slug="supporter").update(stripe_price="", price_minor=9000)
    here.stand_in.post("advance", to=int(datetime(2027, 5, 10, 8, 1, tzinfo=UTC).timestamp()))
    here.set_clock("2027-05-10 08:01")
    paid_otherwise(here, names_pro)
    assert (here.purse.available, here.stands) == (3000 * MICRO, "supporter")


def test_two_of_a_plan_made_at_stripe_are_no_upgrade(here: Town) -> None:
    here.change("pro")
    here.hear()
    before = here.purse.available
    of = subscriptions.checkout.client().v1.subscriptions
    item = of.retrieve(here.subscription).to_dict()["items"]["data"][0]["id"]
    of.update(here.subscription, {"items": [{"id": item, "quantity": 2}], "proration_behavior": "always_invoice"})
    here.hear()
    assert (here.purse.available, here.stands) == (before, "pro")


def test_going_on_is_a_month_by_whatever_name(here: Town) -> None:
    here.pause()
    here.hear()
    here.go_to("2027-05-20 08:00")
    subscriptions.go_on(here.purse.id)
    paid_otherwise(here, lambda invoice: invoice.update(billing_reason="subscription_update"))
    assert (here.purse.available, here.stands) == (3000 * MICRO, "supporter")


def test_an_invoice_of_another_api_version_is_read_anew(here: Town) -> None:
    """Before 2025 an invoice named its subscription elsewhere: its month would be nobody's."""

    def is_old(invoice: dict[str, Any]) -> None:
        invoice["subscription"] = invoice.pop("parent")["subscription_details"]["subscription"]
        for line in invoice["lines"]["data"]:
            del line["parent"], line["pricing"]

    here.go_to("2027-05-10 07:50")
    here.stand_in.post("advance", to=int(datetime(2027, 5, 10, 8, 1, tzinfo=UTC).timestamp()))
    here.set_clock("2027-05-10 08:01")
    paid_otherwise(here, is_old, api_version="2024-06-20")
    assert (here.purse.available, here.stands) == (3000 * MICRO, "supporter")
    assert Alert.objects.filter(name="stripe_version_differs", cleared_at=None).exists()


def test_who_pays_while_others_graces_end_keeps_the_plan(
    here: Town, new_purse: Callable[..., Purse], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is ended at Stripe first, which takes its time."""
    plan = Plan.objects.get(slug="supporter")
    late = {"plan": plan, "state": "grace", "started_at": now(), "grace_until": now()}
    for name in ("sub_a", "sub_b"):
        Enrollment.objects.create(account_id=new_purse().id, stripe_subscription=name, **late)
    asked: list[str] = []

    def pays_meanwhile(name: str) -> None:
        asked.append(name)
        Enrollment.objects.filter(state="grace").exclude(stripe_subscription=name).update(
            state="active", grace_until=None
        )

    monkeypatch.setattr(subscriptions, "_cancel_at_stripe", pays_meanwhile)
    assert subscriptions.end_graces() == 1
    assert len(asked) == 1
    assert Enrollment.objects.exclude(stripe_subscription=asked[0]).filter(state="active", plan=plan).count() == 2


def test_what_was_read_before_another_was_heard_is_no_news(here: Town) -> None:
    """Two workers: the one that read “paused” at Stripe is slower than the one that read “active” after it."""
    row = here.enrollment
    assert row.told_at is not None
    month = Period(row.period_start or now(), row.period_end or now())
    same: dict[str, Any] = {
        "subscription": here.subscription, "period": month, "is_ending": False, "next_plan": row.plan,
        "is_fresh": True, "heard": row.told_at,
    }  # fmt: skip
    assert plans.told(row.id, "active", at=row.told_at + timedelta(seconds=2), **same) == "active"
    assert plans.told(row.id, "paused", at=row.told_at + timedelta(seconds=1), **same) == "old news"
    assert here.stands == "supporter"
