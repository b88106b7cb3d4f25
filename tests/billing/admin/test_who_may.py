"""Each act asks for a permission of its own, and a page that is opened or checked changes nothing."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from billing.admin.acts import WithActs
from billing.models import Entry, new_id
from tests.billing.purse import Purse

from .colleague import Colleague, url_of

ON_ACCOUNT = {
    "grant": ("grant_credits", {"amount": "5", "source": "goodwill", "kind": "paid"}),
    "adjust": ("adjust_credits", {"amount": "5", "direction": "take"}),
    "forgive": ("forgive_debt", {"amount": "5"}),
    "limit": ("limit_account", {"mode": "set", "per_day": "10"}),
    "freeze": ("freeze_account", {}),
    "lift_freeze": ("freeze_account", {}),
}


@pytest.mark.parametrize("act", ON_ACCOUNT)
def test_who_is_not_signed_in_is_sent_to_sign_in(filled: Purse, act: str) -> None:
    before = filled.everything()
    for answer in (Client().get(url_of(filled, act)), Client().post(url_of(filled, act), {"step": "do"})):
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")
    assert filled.everything() == before


@pytest.mark.parametrize("act", ON_ACCOUNT)
def test_people_who_are_not_staff_are_sent_to_sign_in(filled: Purse, act: str) -> None:
    olga = Colleague("olga", "*", is_staff=False)
    before = filled.everything()
    answer = olga.does(filled, act, **ON_ACCOUNT[act][1])
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")
    assert filled.everything() == before


@pytest.mark.parametrize("act", ON_ACCOUNT)
def test_staff_without_the_permission_are_refused(filled: Purse, act: str) -> None:
    """All the other permissions do not help."""
    needed, fields = ON_ACCOUNT[act]
    others = {permission for permission, _ in ON_ACCOUNT.values()} - {needed}
    nora = Colleague("nora", "view_account", *others)
    before = filled.everything()
    assert nora.opens(filled, act).status_code == 403
    assert nora.does(filled, act, **fields).status_code == 403
    assert filled.everything() == before
    assert (
        reverse(f"admin:billing_account_{act}", args=[filled.id])
        not in nora.get(f"/admin/billing/account/{filled.id}/change/").content.decode()
    )


@pytest.mark.parametrize("act", ON_ACCOUNT)
def test_opening_and_checking_change_nothing(filled: Purse, act: str) -> None:
    needed, fields = ON_ACCOUNT[act]
    nora = Colleague("nora", "view_account", needed)
    before = filled.everything()
    assert nora.opens(filled, act).status_code == 200
    assert nora.checks(filled, act, **fields).status_code in (200, 409)
    assert filled.everything() == before


def test_every_act_in_the_admin_has_a_permission() -> None:
    acts = [
        act for one in admin.site._registry.values() if isinstance(one, WithActs) for act in (*one.acts, *one.list_acts)
    ]
    assert len(acts) > 15
    assert all("." in act.permission for act in acts)


def test_an_act_wants_its_csrf_token(filled: Purse) -> None:
    nora = Colleague("nora", "grant_credits", enforce_csrf_checks=True)
    with_all = {"amount": "5", "source": "goodwill", "kind": "paid"}
    assert nora.does(filled, "grant", **with_all).status_code == 403
    assert filled.available == 100_000_000


def test_an_account_that_is_not_there_is_not_found(staff: Colleague) -> None:
    assert staff.get(reverse("admin:billing_account_grant", args=[new_id()])).status_code == 404
    assert staff.get(reverse("admin:billing_account_grant", args=["nonsense"])).status_code == 404


def test_refunding_needs_its_own_permission(spent: Entry) -> None:
    nora = Colleague("nora", "view_entry", *(permission for permission, _ in ON_ACCOUNT.values()))
    assert nora.does(spent, "refund", amount="1").status_code == 403
    assert not Entry.objects.filter(kind="refund").exists()
