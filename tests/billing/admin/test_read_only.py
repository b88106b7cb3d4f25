"""The admin shows the books and edits none of them; what came from outside is shown as data."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import BooleanField, Model
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing import gifts, ledger, payments, refunds, stripe_inbox, tokens
from billing.admin.parts import ReadOnly
from billing.alerts import notify, open_alert
from billing.clock import now
from billing.models import (
    Account,
    Allocation,
    AutoTopUp,
    Dispute,
    Enrollment,
    Entry,
    GiftCode,
    GiftUse,
    Hold,
    InboxEvent,
    Lot,
    Membership,
    Plan,
    Purchase,
    Refunding,
    SpendLimit,
    new_id,
)
from tests.billing.purse import Purse
from tests.billing.stripe.told import Sold, event

from .colleague import Colleague, said

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
OURS = [model for model, one in admin.site._registry.items() if isinstance(one, ReadOnly)]
OF_BILLING = [model for model in OURS if model._meta.app_label == "billing"]


def name_of(model: type[Model]) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}"


@pytest.fixture
def full(staff: Colleague, filled: Purse) -> Purse:
    """A purse with a row in most tables."""
    filled.place(5_000_000, owner="service:renders", reference=HOSTILE, label=HOSTILE)
    filled.charge(1_000_000, description=HOSTILE)
    Account.objects.filter(id=filled.id).update(name=HOSTILE)
    olga = Colleague("olga", is_staff=False)
    Membership.objects.create(account_id=filled.id, user=olga.user, role="owner")
    give(filled, staff)
    ledger.set_account_frozen(filled.id, True, HOSTILE)
    notify(filled.id, "k", HOSTILE, body=HOSTILE)
    open_alert("x", sentence=HOSTILE, facts={"said": HOSTILE})
    staff.does(filled, "grant", amount="1500", source="gift", kind="paid", reason=HOSTILE)
    filled.grant(1_000_000, payment=HOSTILE)
    tokens.make(olga.user, Account(id=filled.id), name=HOSTILE, scope="spend")
    SpendLimit.objects.create(account_id=filled.id, source="member", user=olga.user, per_day=1)
    sell(filled)
    return filled


def give(purse: Purse, staff: Colleague) -> None:
    """A gift code that was used, made for hostile words."""
    text, terms = gifts.new_code(), gifts.Terms(1_000_000, 2, 12, None, HOSTILE)
    kept = [(gifts.hash_of(text), gifts.hint_of(text))]
    gifts.make(terms, kept, batch=new_id(), made_by=staff.user, approved_by=None, at=now())
    gifts.redeem(purse.id, text, None, actor="test")


def sell(purse: Purse, mark: str = "<b>") -> None:
    """A pack that was bought and paid, with a refund, a dispute, the event of it, and a plan; all in hostile words.

    `mark`: what tells these from others of their kind.
    """
    sold = Sold(purse, title=HOSTILE)
    payments.paid(sold.id, intent=sold.intent_name)
    refund = sold.refund(f"re_{mark}", 100, reason=HOSTILE)
    refunds.told_of_refund(refund)
    refunds.told_of_dispute(sold.dispute(f"dp_{mark}", 100, reason=HOSTILE))
    slug = f"hostile-{new_id()}"
    plan = Plan.objects.create(slug=slug, title=HOSTILE, price_minor=1, monthly_credits=1, features=[HOSTILE])
    row = Enrollment.objects.create(account_id=purse.id, plan=plan, state="active", started_at=now())
    Allocation.objects.create(
        account_id=purse.id, enrollment=row, plan=plan, period=f"month {HOSTILE}", starts_at=now(), ends_at=now(),
        credits=0, stripe_invoice=f"{HOSTILE}{mark}", stripe_intent=HOSTILE, invoice_url=HOSTILE, amount_minor=1,
        currency="gbp", created_at=now(),
    )  # fmt: skip
    AutoTopUp.objects.create(
        account_id=purse.id, is_on=True, below=1, pack=sold.row.pack, price_minor=1, currency="gbp", credits=1,
        month_max_minor=1, agreed_by=User.objects.latest("id"), agreed_at=now(), site=HOSTILE,
    )  # fmt: skip
    stripe_inbox.store(event(HOSTILE, refund | {"reason": HOSTILE}, id=f"{HOSTILE}{mark}"), "webhook")
    InboxEvent.objects.update(outcome=HOSTILE, state="failed")


@pytest.mark.parametrize("model", OURS, ids=name_of)
def test_every_list_opens_and_has_nothing_to_add_or_delete(staff: Colleague, full: Purse, model: type[Model]) -> None:
    answer = staff.get(reverse(f"admin:{name_of(model)}_changelist"))
    assert answer.status_code == 200
    assert "delete_selected" not in answer.content.decode()
    assert staff.get(reverse(f"admin:{name_of(model)}_add")).status_code == 403
    assert staff.client.post(reverse(f"admin:{name_of(model)}_add"), {}).status_code == 403


@pytest.mark.parametrize("model", OF_BILLING, ids=name_of)
def test_no_row_is_changed_or_deleted_through_its_page(staff: Colleague, full: Purse, model: type[Model]) -> None:
    row = model._default_manager.order_by("pk").first()
    assert row is not None
    page = reverse(f"admin:{name_of(model)}_change", args=[row.pk])
    assert staff.get(page).status_code == 200
    before = full.everything()
    for path in (page, reverse(f"admin:{name_of(model)}_delete", args=[row.pk])):
        assert staff.client.post(path, {"balance": "1", "amount": "1", "post": "yes"}).status_code == 403
    bulk = {"action": "delete_selected", "_selected_action": str(row.pk), "post": "yes"}
    staff.client.post(reverse(f"admin:{name_of(model)}_changelist"), bulk)
    assert full.everything() == before
    assert model._default_manager.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", OURS, ids=name_of)
def test_staff_who_may_not_see_a_list_are_refused(full: Purse, model: type[Model]) -> None:
    nora = Colleague("nora")
    assert nora.get(reverse(f"admin:{name_of(model)}_changelist")).status_code == 403


@pytest.mark.parametrize(
    "model", [Purchase, Allocation, Refunding, Dispute, AutoTopUp, GiftCode, GiftUse, InboxEvent], ids=name_of
)
def test_a_list_of_sales_costs_as_many_queries_with_many_rows_as_with_one(
    staff: Colleague, new_purse: Any, model: type[Model]
) -> None:
    counts = []
    for some in ((1,), (2, 3, 4)):
        for number in some:
            purse = new_purse(name=f"account {number}")
            give(purse, staff)
            sell(purse, f"{number}")
        with CaptureQueriesContext(connection) as seen:
            page = staff.get(reverse(f"admin:{name_of(model)}_changelist"))
        assert page.status_code == 200
        counts.append(len(seen))
    assert model._default_manager.count() == 4
    assert counts[0] == counts[1]


@pytest.mark.parametrize("model", OURS, ids=name_of)
def test_no_list_reads_every_row_to_offer_its_filters(rf: RequestFactory, model: type[Model]) -> None:
    desk = admin.site._registry[model]
    for one in desk.get_list_filter(rf.get("/")):
        field = model._meta.get_field(one) if isinstance(one, str) else None
        assert field is None or field.is_relation or field.choices or isinstance(field, BooleanField), one
    assert desk.show_facets is admin.ShowFacets.NEVER


def test_a_search_asks_each_column_by_itself_so_that_its_index_answers(staff: Colleague, full: Purse) -> None:
    for model in (Purchase, Allocation):
        with CaptureQueriesContext(connection) as seen:
            staff.get(reverse(f"admin:{name_of(model)}_changelist"), q="pi_nobodys")
        asked = [query["sql"] for query in seen.captured_queries if "pi_nobodys" in query["sql"]]
        assert asked
        assert all("UNION" in sql and " OR " not in sql for sql in asked)


@pytest.mark.parametrize("model", OF_BILLING, ids=name_of)
def test_words_from_outside_are_data(staff: Colleague, full: Purse, model: type[Model]) -> None:
    row = model._default_manager.order_by("pk").first()
    assert row is not None
    for answer in (
        staff.get(reverse(f"admin:{name_of(model)}_changelist")),
        staff.get(reverse(f"admin:{name_of(model)}_change", args=[row.pk])),
    ):
        text = answer.content.decode()
        assert "<script>alert" not in text
        assert "<img src=x" not in text


def test_the_first_page_and_an_act_show_hostile_words_as_data(staff: Colleague, full: Purse) -> None:
    for path in ("/admin/", f"/admin/billing/account/{full.id}/grant/"):
        text = staff.get(path).content.decode()
        assert "&lt;script&gt;alert(1)" in text
        assert "<script>alert" not in text


def test_staff_see_only_what_they_may_look_at(full: Purse) -> None:
    nobody = said(Colleague("nora").get("/admin/"))
    assert "Credits outstanding" not in nobody
    assert "Open alerts" not in nobody
    assert "alert(1)" not in nobody
    theo = Colleague("theo", "view_account", "view_lot")
    page = said(theo.get(f"/admin/billing/account/{full.id}/change/"))
    assert "Lots with credits" in page
    for title in ("Newest lines of the statement", "Audit trail", "Waiting for a second person", "Newest jobs"):
        assert title not in page
    assert "Credits outstanding" in said(theo.get("/admin/"))
    assert "Waiting for a second person" not in said(theo.get("/admin/"))


def test_accounts_are_found_by_person_and_id(staff: Colleague, full: Purse, new_purse: Any) -> None:
    other = new_purse(name="somebody else")
    found = {
        term: f"/admin/billing/account/{full.id}/change/"
        in staff.get("/admin/billing/account/", q=term).content.decode()
        for term in ("olga@", str(full.id), "OLGA@desk.test", str(other.id), "nobody@")
    }
    assert found == {"olga@": True, str(full.id): True, "OLGA@desk.test": True, str(other.id): False, "nobody@": False}


@pytest.mark.parametrize("model", [Lot, Hold, Entry], ids=name_of)
def test_rows_are_found_by_their_account_and_stay_apart(
    staff: Colleague, full: Purse, new_purse: Any, model: type[Model]
) -> None:
    other = new_purse(name="somebody else")
    other.grant(1_000_000)
    other.place(500_000)
    page = staff.get(reverse(f"admin:{name_of(model)}_changelist"), account__id__exact=other.id)
    assert page.status_code == 200
    assert "somebody else" in said(page)
    assert "alert(1)" not in said(page)


def test_a_search_that_is_no_id_finds_nothing_and_does_not_fail(staff: Colleague, full: Purse) -> None:
    for term in (
        "nonsense",
        "'; drop table billing_account; --",
        "x" * 500,
        "\u0667",
        "%",
        "00000000-0000-0000-0000-00000000000g",
    ):
        for model in OURS:
            answer = staff.get(reverse(f"admin:{name_of(model)}_changelist"), q=term)
            assert answer.status_code == 200, (model, term)


def test_the_first_page_has_the_day_s_figures(staff: Colleague, filled: Purse) -> None:
    filled.place(5_000_000, owner="service:renders", reference="a render")
    spent = filled.charge(3_000_000)
    filled.refund(spent.id, 1_000_000)
    open_alert("hold_open_long", sentence="A hold is open for long.")
    words = said(staff.get("/admin/"))
    assert "Credits outstanding 98.00 98.00 paid, 0.00 promotional" in words
    assert "Held 5.00 in 1 open hold" in words
    assert "Charged today 2.00" in words
    assert "A hold is open for long." in words
    assert "a render" in words
