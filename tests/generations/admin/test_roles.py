"""Three roles are there to begin with; and nobody gives themselves rights, nor signs in as a colleague who has them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.urls import reverse

from billing.admin.parts import ReadOnly
from generations import roles
from generations.models import SettlementRule
from tests.billing.admin.colleague import Colleague
from tests.generations.trip import Trip

pytestmark = pytest.mark.django_db(transaction=True)
NEW_RULE = "/admin/generations/settlementrule/act/new_rule/"


def of_role(name: str) -> Colleague:
    colleague = Colleague(name.lower())
    colleague.user.groups.add(Group.objects.get(name=name))
    return colleague


def people_page(user: User) -> str:
    return reverse("admin:auth_user_change", args=[user.pk])


def manager(*more: str) -> Colleague:
    """May change people, and nothing else."""
    colleague = Colleague("nora")
    names = ("view_user", "change_user", "add_user", "view_group", "change_group", "add_group", "delete_group", *more)
    colleague.user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return colleague


def written(user: User, **changes: Any) -> dict[str, Any]:
    """The form of a person, as their page would send it."""
    joined = {"date_joined_0": f"{user.date_joined:%Y-%m-%d}", "date_joined_1": f"{user.date_joined:%H:%M:%S}"}
    return {"username": user.username, "email": user.email, "is_active": "on"} | joined | changes


@pytest.mark.parametrize("name", list(roles.ROLES))
def test_every_role_sees_every_list(catalogue: None, name: str) -> None:
    colleague = of_role(name)
    for model, one in admin.site._registry.items():
        if isinstance(one, ReadOnly):
            path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
            assert colleague.get(path).status_code == 200, path
    assert colleague.get("/admin/auth/user/").status_code == 200
    assert colleague.get("/admin/").status_code == 200


def test_what_each_role_may_do(trip: Trip) -> None:
    job = trip.running()
    rule = SettlementRule.objects.get(phase="poll", status="failed", code="any")
    may = {
        name: (
            colleague.opens(job.row, "release_job").status_code,
            colleague.opens(rule, "rule").status_code,
            colleague.get(NEW_RULE).status_code,
            colleague.opens(trip.purse, "grant").status_code,
        )
        for name in roles.ROLES
        if (colleague := of_role(name))
    }
    assert may == {
        "Auditor": (403, 403, 403, 403),
        "Desk": (200, 403, 403, 403),
        "Treasurer": (403, 200, 200, 403),
    }


def test_a_role_that_staff_changed_stays(catalogue: None) -> None:
    desk = Group.objects.get(name="Desk")
    desk.permissions.clear()
    Group.objects.get(name="Auditor").delete()
    call_command("install_catalogue", stdout=io.StringIO())
    assert not desk.permissions.exists()
    assert Group.objects.filter(name="Auditor").exists()


@pytest.mark.parametrize("what", ["is_superuser", "groups", "user_permissions", "is_staff"])
def test_nobody_gives_rights_to_a_person_but_a_superuser(catalogue: None, staff: Colleague, what: str) -> None:
    person = User.objects.create_user("ada", "ada@people.test")
    right = {
        "groups": str(Group.objects.get(name="Treasurer").pk),
        "user_permissions": str(Permission.objects.get(codename="grant_credits").pk),
    }.get(what, "on")

    def has_it() -> bool:
        row = User.objects.get(pk=person.pk)
        return {
            "is_superuser": row.is_superuser,
            "is_staff": row.is_staff,
            "groups": row.groups.exists(),
            "user_permissions": row.user_permissions.exists(),
        }[what]

    answer = manager().client.post(people_page(person), written(person, first_name="Ada", **{what: right}))
    assert answer.status_code == 302
    person.refresh_from_db()
    assert person.first_name == "Ada", "what they may change is changed"
    assert not has_it()
    staff.client.post(people_page(person), written(person, **{what: right}))
    assert has_it()


def test_nobody_raises_themselves_or_touches_a_colleague(catalogue: None) -> None:
    nora, boss = manager(), Colleague("boss", "*")
    before = list(User.objects.order_by("pk").values())
    for one in (nora.user, boss.user):
        assert (
            nora.client.post(people_page(one), written(one, is_superuser="on", email="mine@x.test")).status_code == 403
        )
        password = reverse("admin:auth_user_password_change", args=[one.pk])
        assert nora.client.post(password, {"password1": "sea-green-7", "password2": "sea-green-7"}).status_code == 403
        assert nora.get(people_page(one)).status_code == 200
    assert list(User.objects.order_by("pk").values()) == before
    assert not nora.user.groups.exists()


def test_a_new_person_has_no_rights(catalogue: None) -> None:
    form = {"username": "eve", "password1": "sea-green-7", "password2": "sea-green-7", "usable_password": "true"}
    answer = manager().client.post("/admin/auth/user/add/", form | {"is_staff": "on", "is_superuser": "on"})
    assert answer.status_code == 302
    eve = User.objects.get(username="eve")
    assert (eve.is_staff, eve.is_superuser) == (False, False)


def test_nobody_changes_what_a_role_may_do_but_a_superuser(catalogue: None, staff: Colleague) -> None:
    role = Group.objects.get(name="Auditor")
    page = reverse("admin:auth_group_change", args=[role.pk])
    grant = str(Permission.objects.get(codename="grant_credits").pk)
    nora = manager()
    assert nora.client.post(page, {"name": "Auditor", "permissions": grant}).status_code == 403
    assert nora.client.post("/admin/auth/group/add/", {"name": "Mine", "permissions": grant}).status_code == 403
    assert nora.client.post(f"/admin/auth/group/{role.pk}/delete/", {"post": "yes"}).status_code == 403
    assert not role.permissions.filter(codename="grant_credits").exists()
    assert staff.client.post(page, {"name": "Auditor", "permissions": grant}).status_code == 302
    assert role.permissions.filter(codename="grant_credits").exists()
