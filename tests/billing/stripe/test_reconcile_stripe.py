"""What Stripe told and we did not hear is found in its list; then payments and grants stand side by side and agree."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import stripe
from django.core.management import CommandError, call_command
from django.db import transaction

from billing import alerts, stripe_inbox, stripe_reconcile, subscriptions, tasks
from billing.clock import Now
from billing.models import Alert, Allocation, Customer, InboxEvent, Lot, Payment, Purchase
from billing.reconcile import reconcile
from config.schedules import SCHEDULES
from tests.conftest import Clock
from tests.live import served

from ..purse import Purse
from .conftest import SECRET, StandIn, until
from .desk import Bought, Subscribed, hear, outcomes, set_clocks
from .told import event

pytestmark = pytest.mark.django_db(transaction=True)
MICRO = 1_000_000


@pytest.fixture
def port(transactional_db: None) -> Iterator[int]:
    with served() as port:
        yield port


@pytest.fixture
def delivering(stand_in: StandIn, stripe_settings: Any, port: int, sink: Any) -> Iterator[StandIn]:
    """The small Stripe delivers to our own webhook, over HTTP."""
    stand_in.post("webhook", url=f"http://127.0.0.1:{port}/webhooks/stripe", secrets=[SECRET])
    yield stand_in
    stand_in.flush()
    stand_in.post("webhook", url=sink.url)


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("reconcile_stripe", *words, stdout=out)
    return out.getvalue()


def lines_of(report: stripe_reconcile.Report, *bought: Bought) -> dict[str, stripe_reconcile.Line]:
    mine = {str(one.purchase.id) for one in bought}
    return {line.sale: line for line in report.lines if line.sale in mine}


def test_after_every_fifth_event_was_forgotten_the_pass_makes_the_books_equal(
    delivering: StandIn, new_purse: Callable[..., Purse]
) -> None:
    """Ten packs bought, three refunded in part, one disputed and lost: a fifth of it never reached us."""
    delivering.settings(forget_every=5)
    bought = [Bought(delivering, new_purse()).pay() for _ in range(10)]
    for one in bought[:3]:
        one.refund(1000)
    dispute = delivering.post(f"dispute/{bought[3].intent}")
    delivering.post(f"disputes/{dispute['id']}", status="lost")
    delivering.flush()
    while stripe_inbox.apply_due():
        pass
    told = {event["id"] for one in bought for event in one.events()}
    heard = set(InboxEvent.objects.filter(id__in=told).values_list("id", flat=True))
    assert 0 < len(heard) < len(told)

    report = stripe_reconcile.reconcile_stripe()
    assert report.missed >= len(told - heard)
    assert set(InboxEvent.objects.filter(id__in=told - heard).values_list("source", flat=True)) == {"list"}
    InboxEvent.objects.filter(state="received").update(next_try_at=Now())
    report = stripe_reconcile.reconcile_stripe()
    lines = lines_of(report, *bought)
    assert len(lines) == 10
    assert all(line.is_equal for line in lines.values()), outcomes()
    for at, one in enumerate(bought):
        line = lines[str(one.purchase.id)]
        assert (line.paid, line.granted) == (2500, 1400 * MICRO)
        assert (line.back, line.taken) == {0: (1000, 560 * MICRO), 3: (2500, 1400 * MICRO)}.get(
            0 if at < 3 else at, (0, 0)
        )
    # Payments are grants less claw-backs, to the microcredit.
    left = sum(lot.remaining for lot in Lot.objects.filter(account__in=[one.purse.id for one in bought]))
    assert left == sum((line.paid - line.back) * 1400 * MICRO // 2500 for line in lines.values())
    again = stripe_reconcile.reconcile_stripe()
    assert (again.missed, lines_of(again, *bought)) == (0, lines)


def test_the_command_prints_payments_and_grants_side_by_side(
    stand_in: StandIn, stripe_settings: Any, new_purse: Callable[..., Purse]
) -> None:
    stand_in.settings(deliver=False)
    one = Bought(stand_in, new_purse()).pay().refund(1000)
    printed = run("--hours", "1")
    row = next(line for line in printed.splitlines() if line.startswith(one.intent))
    figures = ["£25.00", "£10.00", "£25.00", "1,400.00", "560.00", "840.00"]
    assert row.split() == [one.intent, "Studio", *figures, "equal"]
    assert "missed until now" in printed.splitlines()[0]
    assert "£25.00 paid − £10.00 given back = £15.00; 1,400.00 granted − 560.00 taken back = 840.00 credits" in printed


def test_a_grant_that_is_not_what_was_paid_is_said_with_exit_1_and_an_alert_that_clears(
    stand_in: StandIn, stripe_settings: Any, new_purse: Callable[..., Purse]
) -> None:
    stand_in.settings(deliver=False)
    purse = new_purse()
    one = Bought(stand_in, purse).pay()
    told = one.object("payment_intent.succeeded")
    # Heard, and by some fault never applied.
    for event_ in one.events():
        hear(event_)
    InboxEvent.objects.update(state="ignored", next_try_at=None)
    with pytest.raises(CommandError, match="differ") as failed:
        run()
    assert failed.value.returncode == 1
    tasks.reconcile_stripe()
    alert = Alert.objects.get(name="stripe_differs", key=str(one.purchase.id), cleared_at=None)
    assert (alert.facts["payment"], alert.facts["expected_credits"]) == (told["id"], "1400")
    for row in InboxEvent.objects.all():
        stripe_inbox.replay(row.id)
    tasks.reconcile_stripe()
    assert not Alert.objects.filter(name="stripe_differs", key=str(one.purchase.id), cleared_at=None).exists()
    assert purse.values == (1400 * MICRO, 0, 0, 0)


def test_what_is_not_paid_is_not_granted_and_not_missed(
    stand_in: StandIn, stripe_settings: Any, new_purse: Callable[..., Purse]
) -> None:
    stand_in.settings(deliver=False)
    declined, unpaid = Bought(stand_in, new_purse()).pay("declines"), Bought(stand_in, new_purse())
    report = stripe_reconcile.reconcile_stripe()
    assert lines_of(report, declined, unpaid) == {}
    assert {declined.row.state, unpaid.row.state} == {"open"}
    assert declined.purse.kinds == []
    assert not Payment.objects.filter(account__in=[declined.purse.id, unpaid.purse.id]).exists()


# Plans


@pytest.fixture
def subscribed(stand_in: StandIn, stripe_settings: Any, purse: Purse, clock: Clock) -> Subscribed:
    """A month of Supporter, paid at the small Stripe on the 10th of April; nothing of it was heard."""
    stand_in.settings(deliver=False)
    set_clocks(stand_in, "2027-04-10 08:00")
    return Subscribed(stand_in, purse)


def test_plans_of_which_every_fifth_event_was_forgotten_are_made_equal_too(
    delivering: StandIn, new_purse: Callable[..., Purse]
) -> None:
    """Six subscribe, two ask half their money back, one disputes and loses. With `-s` the table is printed."""
    delivering.settings(forget_every=5)
    every = [Subscribed(delivering, new_purse()) for _ in range(6)]
    delivering.flush()
    settle(72)
    paid = [one.periods[0] for one in every]
    for period in paid[:2]:
        delivering.post("refund", payment_intent=period.stripe_intent, amount=2250)
    dispute = delivering.post(f"dispute/{paid[2].stripe_intent}")
    delivering.post(f"disputes/{dispute['id']}", status="lost")
    delivering.flush()
    settle(72)
    assert InboxEvent.objects.filter(source="list").count() > 0
    printed = run()
    print(printed)
    names = {period.stripe_invoice for period in paid}
    rows = [line for line in printed.splitlines() if line.split()[0] in names]
    assert (len(rows), all(row.endswith("equal") for row in rows)) == (6, True)
    assert [one.purse.available for one in every] == [1500 * MICRO] * 2 + [0] + [3000 * MICRO] * 3
    assert reconcile([one.purse.id for one in every]).findings == []
    assert "£270.00 paid − £90.00 given back = £180.00; 18,000.00 granted − 6,000.00 taken back" in printed


def line_of(report: stripe_reconcile.Report, invoice: str) -> stripe_reconcile.Line:
    (line,) = [line for line in report.lines if line.name == invoice]
    return line


def invoices_at_stripe(one: Subscribed) -> list[Any]:
    """The paid invoices of the subscription, oldest first."""
    listed = stripe_reconcile.checkout.client().v1.invoices.list({"status": "paid", "limit": 100})
    return [invoice for invoice in reversed(listed.data) if invoice.parent is not None]


def test_months_and_an_upgrade_of_which_nothing_was_heard_are_found_and_printed_side_by_side(
    subscribed: Subscribed, stand_in: StandIn, purse: Purse
) -> None:
    """Supporter on the 10th, renewed on the 10th of May, Pro on the 25th; half of the second month given back.

    Only the list tells of it: three invoices, £45 + £45 + £55.64 for 16 of 31 days; £22.50 back.
    """
    report = stripe_reconcile.reconcile_stripe(20_000)
    assert report.missed == report.events > 0
    assert set(InboxEvent.objects.values_list("source", flat=True)) == {"list"}
    subscribed.heard = len(stand_in.events())
    set_clocks(stand_in, "2027-05-10 08:05")
    assert purse.available == 3000 * MICRO
    settle(20_000)
    set_clocks(stand_in, "2027-05-25 08:05")
    subscriptions.change(purse.id, "pro")
    month, upgrade = settle(20_000)[-2:]
    stand_in.post("refund", payment_intent=month.stripe_intent, amount=2250)
    settle(20_000)

    printed = run("--hours", "20000")
    table = {line.split()[0]: line for line in printed.splitlines() if line.startswith("in_")}
    names = [invoice.id for invoice in invoices_at_stripe(subscribed)]
    assert sorted(table) == sorted(names)
    assert len(names) == 3
    cells = [" ".join(table[name].split()[1:]) for name in names]
    assert cells[0] == "Supporter £45.00 £0.00 £45.00 3,000.00 0.00 3,000.00 equal"
    assert cells[1] == "Supporter £45.00 £22.50 £45.00 3,000.00 1,500.00 1,500.00 equal"
    paid, gives = f"£{upgrade.amount_minor / 100:.2f}", f"{9000 * 16 // 31:,}.00"
    assert cells[2] == f"Pro {paid} £0.00 {paid} {gives} 0.00 {gives} equal"
    assert "3 payments, 0 differ" in printed


def settle(hours: int) -> list[Allocation]:
    """The pass, and what had to wait once more; the periods that were paid for, oldest first."""
    for _ in range(3):
        stripe_reconcile.reconcile_stripe(hours)
        InboxEvent.objects.filter(next_try_at__gt=Now()).update(next_try_at=Now())
    return list(Allocation.objects.filter(amount_minor__gt=0).order_by("id"))


def test_a_paid_invoice_that_granted_nothing_differs_until_it_does(subscribed: Subscribed, purse: Purse) -> None:
    """Heard of, and by some fault never applied; nor do we know what paid it. Then the events are replayed."""
    for told in subscribed.stand_in.events():
        hear(told)
    InboxEvent.objects.update(state="ignored", next_try_at=None)
    report = stripe_reconcile.reconcile_nightly()
    (invoice,) = invoices_at_stripe(subscribed)
    line = line_of(report, invoice.id)
    assert (line.sale, line.title, line.paid, line.sold) == ("", "a period of Supporter", 4500, 0)
    assert (line.granted, line.granted_expected, line.is_equal) == (0, 3000 * MICRO, False)
    alert = Alert.objects.get(name="stripe_differs", key=invoice.id, cleared_at=None)
    assert (alert.facts["paid"], alert.facts["expected_credits"]) == ("£45.00", "3000")
    for row in InboxEvent.objects.all():
        stripe_inbox.replay(row.id)
    settle(72)
    report = stripe_reconcile.reconcile_nightly()
    assert line_of(report, invoice.id).is_equal
    assert purse.available == 3000 * MICRO


def test_a_period_is_compared_by_its_invoice_where_nobody_told_what_paid_it(
    subscribed: Subscribed, purse: Purse
) -> None:
    subscribed.hear()
    Allocation.objects.filter(account=purse.id).update(stripe_intent="")
    (month,) = subscribed.periods
    assert line_of(stripe_reconcile.reconcile_stripe(), month.stripe_invoice).is_equal
    Allocation.objects.filter(id=month.id).update(amount_minor=4400)
    line = line_of(stripe_reconcile.reconcile_stripe(), month.stripe_invoice)
    assert (line.paid, line.sold, line.is_equal) == (4500, 4400, False)


def test_a_line_that_differed_is_looked_at_until_it_is_equal_however_old_it_is(
    subscribed: Subscribed, purse: Purse, clock: Clock
) -> None:
    subscribed.hear()
    (month,) = subscribed.periods
    Allocation.objects.filter(id=month.id).update(amount_minor=4400)
    stripe_reconcile.reconcile_nightly()
    assert alerts.open_keys("stripe_differs") == [str(month.id)]
    Allocation.objects.filter(id=month.id).update(amount_minor=4500)
    clock.advance(days=400)
    report = stripe_reconcile.reconcile_stripe(0, alerts.open_keys("stripe_differs"))
    assert line_of(report, month.stripe_invoice).is_equal
    stripe_reconcile.reconcile_nightly()
    assert alerts.open_keys("stripe_differs") == []


def test_money_of_a_customer_of_ours_for_nothing_of_ours_differs_until_it_goes_back(
    subscribed: Subscribed, purse: Purse
) -> None:
    """Staff charged the card in Stripe's dashboard; a stranger's payment there is none of ours."""
    subscribed.hear()
    client = stripe_reconcile.checkout.client()
    customer = Customer.objects.get(account=purse.id).stripe_customer
    intents = []
    for one in (str(customer), client.v1.customers.create({"email": "other@shop.test"}).id):
        asked: Any = {"amount": 700, "currency": "gbp", "customer": one, "payment_method": "pm_card_visa"}
        intents.append(client.v1.payment_intents.create(asked | {"confirm": True, "off_session": True}).id)
    report = stripe_reconcile.reconcile_stripe()
    assert {line.name for line in report.differing} == {intents[0]}
    with pytest.raises(CommandError):
        run()
    client.v1.refunds.create({"payment_intent": intents[0]})
    assert stripe_reconcile.reconcile_stripe().differing == []


# Stripe is away


def test_the_webhook_answers_at_once_while_stripe_hangs_and_the_effect_comes_when_it_can(
    stand_in: StandIn, stripe_settings: Any, port: int, purse: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The grant needs nobody; a refund made at Stripe has to be looked up there, and waits."""
    stand_in.settings(deliver=False)
    one = Bought(stand_in, purse).pay().refund(1000)
    told = one.events("checkout.session.completed", "charge.refunded")
    stand_in.settings(hang_seconds=3)
    with monkeypatch.context() as hurried:
        hurried.setattr(socket.socket, "connect", no_network)
        for event_ in told:
            assert hear(event_) == 200
    with monkeypatch.context() as hurried:
        hurried.setattr("billing.checkout.TIMEOUT_SECONDS", 0.3)
        hurried.setattr("billing.checkout._client", _impatient)
        stripe_inbox.apply_due()
    assert purse.values == (1400 * MICRO, 0, 0, 0)
    waiting = InboxEvent.objects.get(type="charge.refunded")
    assert (waiting.state, waiting.tries) == ("received", 1)
    assert "APIConnectionError" in waiting.outcome or "Timeout" in waiting.outcome
    stand_in.settings(hang_seconds=0)
    InboxEvent.objects.filter(state="received").update(next_try_at=Now())
    until(lambda: stripe_inbox.apply_due() or purse.kinds[-1] == "claw_back")
    assert purse.values == (840 * MICRO, 0, 0, 0)


def no_network(*_: Any) -> None:
    raise AssertionError("a connection was made")


def _impatient(key: str, api_base: str, version: str) -> stripe.StripeClient:
    client = stripe.RequestsClient(timeout=0.3)
    return stripe.StripeClient(
        key, stripe_version=version, base_addresses={"api": api_base}, max_network_retries=0, http_client=client
    )


def test_with_stripe_down_packs_are_granted_all_the_same(stand_in: StandIn, stripe_settings: Any, purse: Purse) -> None:
    stand_in.settings(deliver=False)
    one = Bought(stand_in, purse).pay()
    told = one.events()
    stand_in.settings(down=True)
    for event_ in told:
        assert hear(event_) == 200
    stripe_inbox.apply_due()
    assert (purse.kinds, one.row.state) == (["grant"], "paid")
    with pytest.raises(CommandError, match="Stripe could not be asked"):
        run()


def test_a_dispute_over_a_payment_that_we_have_not_heard_of_is_looked_up(
    stand_in: StandIn, stripe_settings: Any, purse: Purse
) -> None:
    stand_in.settings(deliver=False)
    one = Bought(stand_in, purse).pay()
    stand_in.post(f"dispute/{one.intent}")
    one.hear("charge.dispute.created")
    assert Purchase.objects.get(id=one.purchase.id).state == "open"
    one.hear("checkout.session.completed")
    assert purse.values == (1400 * MICRO, 0, 1400 * MICRO, 0)
    assert purse.kinds == ["grant", "freeze"]


def test_a_refund_of_somebody_who_is_no_customer_here_is_ignored(stand_in: StandIn, stripe_settings: Any) -> None:
    stand_in.settings(deliver=False)
    client = stripe.StripeClient(
        stripe_settings.STRIPE_SECRET_KEY,
        stripe_version=stripe_settings.STRIPE_API_VERSION,
        base_addresses={"api": stand_in.url},
    )
    stranger = client.v1.customers.create({"email": "other@shop.test"})
    intent = client.v1.payment_intents.create(
        {"amount": 500, "currency": "gbp", "customer": stranger.id, "payment_method": "pm_card_visa", "confirm": True,
         "off_session": True}
    )  # fmt: skip
    refund = client.v1.refunds.create({"payment_intent": intent.id})
    hear(event("refund.created", refund.to_dict(for_json=True)))
    stripe_inbox.apply_due()
    row = InboxEvent.objects.get()
    assert (row.state, row.outcome) == ("ignored", "a payment of somebody who is not a customer here")


def test_nobody_asks_stripe_inside_a_transaction(stand_in: StandIn, stripe_settings: Any) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="while a transaction was open"):
        stripe_reconcile.reconcile_stripe()


def test_it_runs_every_night_and_not_where_nothing_is_sold(settings: Any) -> None:
    (nightly,) = [one for one in SCHEDULES if one.path == "billing.tasks.reconcile_stripe"]
    assert nightly.minutes == 24 * 60
    settings.STRIPE_IS_SET_UP = False
    tasks.reconcile_stripe()
    with pytest.raises(CommandError, match="no Stripe key"):
        run()


def test_an_event_of_the_list_that_is_not_for_us_is_not_taken(stripe_settings: Any) -> None:
    assert not stripe_inbox.take(event("a", {"id": "x"}, livemode=True))
    assert not InboxEvent.objects.exists()
    mine = event("payout.paid", {"id": "po_1"})
    assert stripe_inbox.take(mine)
    assert not stripe_inbox.take(mine)
