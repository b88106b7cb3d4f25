"""What is sold, changed by two people; Stripe's events, applied again; revenue, for who may see it."""

from __future__ import annotations

import csv
from io import StringIO
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.urls import reverse

from billing import payments, revenue, stripe_inbox
from billing.admin import earnings
from billing.admin.parts import address
from billing.models import Approval, Audit, InboxEvent, Pack, Plan
from tests.billing.purse import Purse
from tests.billing.stripe.told import MICRO, Sold, a_pack, event

from .colleague import Colleague, a_form, messages_of, said

PACK = {
    "title": "Starter",
    "price_minor": "10",
    "credits": "500",
    "keep_months": "12",
    "position": "1",
    "is_offered": "on",
}
PLAN = {
    "title": "Pro",
    "price_minor": "160",
    "monthly_credits": "12000",
    "per_day": "2000",
    "rollover_max": "",
    "trial_days": "14",
    "trial_credits": "50",
    "open_holds_max": "8",
    "jobs_at_once_max": "6",
    "features": "Priority\n\n Twice as much ",
    "position": "3",
    "is_offered": "on",
}


def act_at(model: str, act: str) -> str:
    return reverse(f"admin:billing_{model}_{act}")


@pytest.fixture
def pack(db: None) -> Pack:
    return a_pack(slug="starter", title="Starter", price_minor=1000, credits=500 * MICRO, position=1)


# Packs and plans


def test_a_new_pack_is_sold_once_two_people_want_it(staff: Colleague, second: Colleague) -> None:
    answer = staff.does_at(act_at("pack", "new_pack"), slug="mini", currency="gbp", **PACK)
    assert "a second person must approve" in messages_of(answer)[-1]
    assert not Pack.objects.filter(slug="mini").exists()
    waiting = Approval.objects.get()
    assert staff.does(waiting, "approve").status_code == 409
    assert second.does(waiting, "approve").status_code == 302
    made = Pack.objects.get(slug="mini")
    assert (made.price_minor, made.currency, made.credits, made.is_offered) == (1000, "gbp", 500 * MICRO, True)
    deed = Audit.objects.get(act="new_pack", is_refusal=False)
    assert (deed.actor, deed.facts["approved_by"], deed.subject) == (staff.actor, second.actor, f"pack:{made.id}")


def test_a_new_plan_has_all_its_terms(staff: Colleague, second: Colleague) -> None:
    staff.does_at(act_at("plan", "new_plan"), slug="pro-2", currency="eur", **PLAN)
    second.does(Approval.objects.get(), "approve")
    made = Plan.objects.get(slug="pro-2")
    assert (made.price_minor, made.monthly_credits, made.per_day) == (16_000, 12_000 * MICRO, 2000 * MICRO)
    assert (made.rollover_max, made.trial_days, made.trial_credits) == (None, 14, 50 * MICRO)
    assert made.jobs_at_once_max == 6
    assert (made.open_holds_max, made.features, made.currency) == (8, ["Priority", "Twice as much"], "eur")


def test_a_changed_pack_leaves_what_was_sold_as_it_was(
    staff: Colleague, second: Colleague, purse: Purse, new_purse: Any
) -> None:
    sold, waiting_to_pay = Sold(purse), Sold(new_purse())
    payments.paid(sold.id, intent="pi_a")
    pack = sold.row.pack
    page = said(staff.checks(pack, "change_pack", **PACK | {"price_minor": "30", "credits": "1500"}))
    assert "Price £25.00 £30.00" in page
    assert "Credits 1,400.00 1,500.00" in page
    staff.does(pack, "change_pack", **PACK | {"price_minor": "30", "credits": "1500"})
    pack.refresh_from_db()
    assert pack.price_minor == 2500
    assert "waits for a second person" in said(staff.get(f"/admin/billing/pack/{pack.id}/change/"))
    second.does(Approval.objects.get(), "approve")
    pack.refresh_from_db()
    assert (pack.price_minor, pack.credits) == (3000, 1500 * MICRO)
    row = sold.row
    assert (row.amount_minor, row.credits, purse.available) == (2500, 1400 * MICRO, 1400 * MICRO)
    payments.paid(waiting_to_pay.id, intent="pi_b")
    assert waiting_to_pay.purse.available == 1400 * MICRO


def test_the_second_of_two_changes_is_refused(staff: Colleague, second: Colleague, pack: Pack) -> None:
    for price in ("11", "12"):
        staff.does(pack, "change_pack", **PACK | {"price_minor": price})
    first, other = Approval.objects.order_by("id")
    assert second.does(first, "approve").status_code == 302
    answer = second.does(other, "approve")
    assert answer.status_code == 409
    assert "not what they were when this was asked for" in said(answer)
    pack.refresh_from_db()
    assert pack.price_minor == 1100


def test_a_new_price_forgets_stripe_s_price_of_the_old(staff: Colleague, second: Colleague) -> None:
    plan = Plan.objects.create(
        slug="pro-3", title="Pro", price_minor=16_000, monthly_credits=12_000 * MICRO, stripe_price="price_1"
    )
    for price, kept in (("160", "price_1"), ("170", "")):
        staff.does(plan, "change_plan", **PLAN | {"price_minor": price})
        second.does(Approval.objects.filter(state="waiting").get(), "approve")
        plan.refresh_from_db()
        assert plan.stripe_price == kept


@pytest.mark.parametrize(("price", "then"), [(16_000, "0"), (0, "160")])
def test_a_plan_stays_free_or_paid(staff: Colleague, price: int, then: str) -> None:
    """Whoever is on it would have no month of it, or two, and could not end it."""
    plan = Plan.objects.create(slug="pro-3", title="Pro", price_minor=price, monthly_credits=12_000 * MICRO)
    answer = staff.does(plan, "change_plan", **PLAN | {"price_minor": then})
    assert "stays so" in str(answer.context["form"].errors["price_minor"])
    with pytest.raises(IntegrityError, match="plan_stays_free_or_paid"), transaction.atomic():
        Plan.objects.filter(id=plan.id).update(price_minor=int(then))


@pytest.mark.parametrize("of", ["pack", "plan"])
def test_what_is_not_offered_any_more_stays(staff: Colleague, second: Colleague, pack: Pack, of: str) -> None:
    row: Any = pack if of == "pack" else Plan.objects.create(slug="p", title="P", price_minor=0, monthly_credits=1)
    assert "Offered yes no" in said(staff.checks(row, f"stop_{of}"))
    staff.does(row, f"stop_{of}")
    row.refresh_from_db()
    assert row.is_offered is True
    second.does(Approval.objects.get(), "approve")
    row.refresh_from_db()
    assert row.is_offered is False
    page = staff.get(f"/admin/billing/{of}/{row.id}/change/").content.decode()
    assert f"stop_{of}/" not in page
    assert f"change_{of}/" in page


def test_a_name_that_is_taken_is_refused_at_once_and_at_the_approval(
    staff: Colleague, second: Colleague, pack: Pack
) -> None:
    answer = staff.client.post(
        act_at("pack", "new_pack"),
        {**PACK, "slug": "starter", "currency": "gbp", "reason": "x", "once": str(a_form()), "step": "check"},
    )
    assert answer.status_code == 409
    assert "There is one of that name already." in said(answer)
    staff.does_at(act_at("pack", "new_pack"), slug="mini", currency="gbp", **PACK)
    a_pack(slug="mini")
    assert second.does(Approval.objects.get(), "approve").status_code == 409


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price_minor", "0"),
        ("price_minor", "1.999"),
        ("price_minor", "-5"),
        ("price_minor", "1000000"),
        ("price_minor", "１０"),
        ("credits", "0"),
        ("credits", "NaN"),
        ("keep_months", "0"),
        ("keep_months", "1.5"),
        ("title", ""),
    ],
)
def test_terms_that_are_none_are_named(staff: Colleague, pack: Pack, field: str, value: str) -> None:
    answer = staff.does(pack, "change_pack", **PACK | {field: value})
    assert answer.context["form"].errors[field]
    assert not Approval.objects.exists()


def test_the_form_begins_with_the_terms_as_they_are(staff: Colleague, pack: Pack) -> None:
    form = staff.opens(pack, "change_pack").context["form"]
    assert {name: str(form[name].value()) for name in ("title", "price_minor", "credits", "keep_months")} == {
        "title": "Starter",
        "price_minor": "10.00",
        "credits": "500",
        "keep_months": "12",
    }


@pytest.mark.parametrize(("act", "permission"), [("change_pack", "change_pack"), ("stop_pack", "change_pack")])
def test_each_change_needs_its_permission(pack: Pack, act: str, permission: str) -> None:
    others = {"add_pack", "add_plan", "change_plan", "refund_purchase", "change_pack"} - {permission}
    nora = Colleague("nora", "view_pack", *others)
    assert nora.does(pack, act, **PACK).status_code == 403
    assert Colleague("noel", "view_pack", "change_pack").client.get(act_at("pack", "new_pack")).status_code == 403
    assert not Approval.objects.exists()


# The inbox


@pytest.fixture
def inbox(db: None) -> InboxEvent:
    thing = {"id": "cus_1", "object": "customer", "name": "<b>Ada</b>"}
    stripe_inbox.store(event("customer.created", thing, id="evt_3Bda"), "webhook")
    InboxEvent.objects.update(state="failed", tries=10, next_try_at=None, outcome="NotKnownYet: nobody")
    return InboxEvent.objects.get()


def test_an_event_is_shown_with_its_words_as_data(staff: Colleague, inbox: InboxEvent) -> None:
    answer = staff.get(address(inbox))
    assert "&lt;b&gt;Ada&lt;/b&gt;" in answer.content.decode()
    assert "It could not be applied: NotKnownYet: nobody. It is not tried again by itself." in said(answer)
    for state, is_there in (("failed", True), ("applied", False)):
        page = staff.get("/admin/billing/inboxevent/", state__exact=state).content.decode()
        assert ("evt_3Bda" in page) is is_there
    assert "evt_3Bda" in staff.get("/admin/billing/inboxevent/", q="customer.created").content.decode()


def test_a_replay_makes_it_due_once_and_says_who_did_it(staff: Colleague, inbox: InboxEvent) -> None:
    once = a_form()
    assert "State failed received" in said(staff.checks(inbox, "replay"))
    assert messages_of(staff.does(inbox, "replay", once=once)) == ["The event is due again."]
    inbox.refresh_from_db()
    assert (inbox.state, inbox.tries) == ("received", 0)
    stripe_inbox.apply_due()
    inbox.refresh_from_db()
    assert inbox.state == "ignored"
    assert "This was done before" in messages_of(staff.does(inbox, "replay", once=once))[-1]
    inbox.refresh_from_db()
    assert inbox.state == "ignored"
    deed = Audit.objects.get(act="replay")
    assert (deed.actor, deed.subject, deed.facts["was"]) == (staff.actor, "inboxevent:evt_3Bda", "failed")


def test_a_replay_of_what_was_applied_moves_nothing(staff: Colleague, purse: Purse, settings: Any) -> None:
    sold = Sold(purse)
    stripe_inbox.store(event("checkout.session.completed", sold.session()), "webhook")
    stripe_inbox.apply_due()
    row = InboxEvent.objects.get()
    assert "Studio, bought" in said(staff.get(address(row)))
    staff.does(row, "replay")
    stripe_inbox.apply_due()
    row.refresh_from_db()
    assert (row.state, row.outcome, purse.kinds) == ("applied", "was granted before", ["grant"])


def test_a_replay_needs_its_permission(inbox: InboxEvent) -> None:
    nora = Colleague("nora", "view_inboxevent", "refund_purchase")
    assert nora.does(inbox, "replay").status_code == 403
    inbox.refresh_from_db()
    assert inbox.state == "failed"


# Revenue


def test_revenue_is_a_page_and_a_table_for_who_may_see_it(purse: Purse) -> None:
    earnings.cache.delete("admin-revenue")
    sold = Sold(purse)
    payments.paid(sold.id, intent="pi_a")
    purse.charge(400 * MICRO)
    nora, theo = Colleague("nora", "view_purchase"), Colleague("theo", "view_revenue")
    for path in ("/admin/revenue/", "/admin/revenue.csv"):
        assert nora.get(path).status_code == 403
    page = said(theo.get("/admin/revenue/"))
    assert "Owed in credits, GBP £17.86" in page
    assert "Earned this month, GBP £7.14 sold £25.00" in page
    assert "Paid credits outstanding 1,000.00" in page
    answer = theo.get("/admin/revenue.csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(StringIO(answer.content.decode())))
    assert len(rows) == 12
    assert {name: rows[0][name] for name in earnings.COLUMNS[1:]} == {
        "currency": "gbp",
        "opening_liability": "0.00",
        "sold": "25.00",
        "given_back": "0.00",
        "recognised_revenue": "7.14",
        "closing_liability": "17.86",
        "expired_paid_credits": "0",
    }
    earnings.cache.delete("admin-revenue")


def test_a_currency_that_is_a_formula_is_defused(purse: Purse) -> None:
    earnings.cache.delete("admin-revenue")
    payments.paid(Sold(purse, currency="=1+").id, intent="pi_a")
    text = Colleague("theo", "view_revenue").get("/admin/revenue.csv").content.decode()
    assert ",'=1+," in text
    earnings.cache.delete("admin-revenue")


def test_figures_that_the_database_cuts_off_are_not_guessed(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    earnings.cache.delete("admin-revenue")
    monkeypatch.setattr(revenue, "_CREDITS", "SELECT pg_sleep(20)")
    theo = Colleague("theo", "view_revenue")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '1s'")
    for path in ("/admin/revenue/", "/admin/revenue.csv"):
        answer = theo.get(path)
        assert (answer.status_code, "too many lines" in said(answer)) == (503, True)
    assert earnings.cache.get("admin-revenue") is None
