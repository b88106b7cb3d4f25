"""Credentials: shown once, kept as a hash, revocable, no wider than who made them. And a person's own limits."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission

from billing import tokens
from billing.models import Audit, Membership, SpendLimit, Token
from tests.people import Caller, Person


def browse(client: Any, method: str, path: str, body: Any = None, **headers: str) -> Any:
    return client.generic(
        method, path, body or "", "application/json", headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def test_a_token_is_shown_once_and_kept_as_a_hash(owner: Person) -> None:
    made = owner.calls().post("/api/tokens", {"name": "build server", "scope": "read"})
    assert made.status == 201
    row = Token.objects.get(name="build server")
    assert bytes(row.hash) == tokens.hash_of(made["token"])
    assert made["token"].endswith(row.hint)
    listed = owner.calls("read").get("/api/tokens")["results"]
    assert all("token" not in one for one in listed)
    assert Caller(made["token"]).get("/api/credits/balance").status == 200
    assert Audit.objects.get(act="make_token").subject == f"token:{row.id}"


def test_a_revoked_token_opens_nothing(owner: Person) -> None:
    made = owner.calls().post("/api/tokens", {"name": "x", "scope": "spend"})
    for _ in range(2):
        revoked = owner.calls().delete(f"/api/tokens/{made['id']}")
        assert (revoked.status, revoked["revoked_at"] is not None) == (200, True)
    assert Caller(made["token"]).get("/api/credits/balance").code == "invalid_token"
    assert Audit.objects.filter(act="revoke_token").count() == 1


def test_others_tokens_are_not_there(owner: Person, member: Person, stranger: Person) -> None:
    made = owner.calls().post("/api/tokens", {"name": "x"})
    for other in (member, stranger):
        assert other.calls().delete(f"/api/tokens/{made['id']}").status == 404
    assert Token.objects.get(id=made["id"]).revoked_at is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/holds"),
        ("POST", "/api/tokens"),
        ("PUT", "/api/credits/limits"),
    ],
)
def test_a_read_token_changes_nothing(owner: Person, method: str, path: str) -> None:
    answer = owner.calls("read").send(method, path, {})
    assert (answer.status, answer.code, answer["scope"]) == (403, "scope_too_small", "read")


def test_a_token_dies_with_its_place_in_the_account_and_its_person(owner: Person, member: Person) -> None:
    caller = member.calls("read")
    assert caller.get("/api/credits/balance").status == 200
    Membership.objects.filter(user=member.user, account=owner.account).delete()
    assert caller.get("/api/credits/balance").status == 401
    caller = owner.calls("read")
    owner.user.is_active = False
    owner.user.save()
    assert caller.get("/api/credits/balance").status == 401


def test_a_demo_persons_token_opens_nothing_where_anything_is_real(db: None, settings: Any) -> None:
    caller = Person("demo@holdfast.example").calls("read")
    assert caller.get("/api/credits/balance").status == 401
    settings.IS_DEMO = True
    assert caller.get("/api/credits/balance").status == 200


SERVICE = (
    '{"name": "s", "scope": "service", "source": "renders", "operations": ["hold"], "amount_max": "5", "day_max": "9"}'
)


def test_only_staff_with_the_permission_make_a_services_token_signed_in(owner: Person) -> None:
    def ask() -> int:
        return int(browse(owner.browser(), "POST", "/api/tokens", SERVICE).status_code)

    assert ask() == 403
    owner.user.is_staff = True
    owner.user.save()
    assert ask() == 403
    owner.user.user_permissions.add(Permission.objects.get(codename="make_service_token"))
    assert ask() == 201
    assert owner.calls().send("POST", "/api/tokens", SERVICE.encode()).status == 403
    assert Token.objects.get(scope="service", name="s").day_max == 9_000_000


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"scope": "read"}, ["name"]),
        ({"name": ""}, ["name"]),
        ({"name": "x", "scope": "root"}, ["scope"]),
        ({"name": "x", "day_max": "1"}, ["day_max"]),
        ({"name": "x", "scope": "service"}, ["amount_max", "day_max", "operations", "source"]),
    ],
)
def test_what_is_no_token(owner: Person, body: Any, fields: list[str]) -> None:
    answer = owner.calls().post("/api/tokens", body)
    assert (answer.status, sorted(answer["fields"])) == (422, fields)


# Sessions


def test_a_browser_needs_its_csrf_token_to_change_anything(owner: Person) -> None:
    client = owner.browser(enforce_csrf_checks=True)
    assert browse(client, "GET", "/api/credits/balance").status_code == 200
    refused = browse(client, "POST", "/api/holds", '{"amount": "1"}')
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf_failed")
    client.cookies["csrftoken"] = "a" * 32
    assert browse(client, "POST", "/api/holds", '{"amount": "1"}', X_CSRFToken="a" * 32).status_code == 201
    assert owner.values == ("100", "1", "0")


def test_a_session_speaks_for_the_account_that_was_chosen(owner: Person, member: Person) -> None:
    member.account = member.own
    member.grant("7")
    client = member.browser()
    assert browse(client, "GET", "/api/credits/balance").json()["available"] == "7"
    session = client.session
    session["account"] = str(owner.account)
    session.save()
    assert browse(client, "GET", "/api/credits/balance").json()["available"] == "100"
    Membership.objects.filter(user=member.user, account=owner.account).delete()
    assert browse(client, "GET", "/api/credits/balance").json()["available"] == "7"


def test_a_session_cannot_choose_a_strangers_account(owner: Person, stranger: Person) -> None:
    owner.grant("1")
    client = stranger.browser()
    session = client.session
    session["account"] = str(owner.account)
    session.save()
    assert browse(client, "GET", "/api/credits/balance").json()["available"] == "100"
    assert browse(client, "POST", "/api/holds", '{"amount": "1"}').json()["account"] == str(stranger.account)


# Limits


def test_a_persons_own_limits_bind_at_once(owner: Person) -> None:
    caller = owner.calls()
    answer = caller.put("/api/credits/limits", {"per_run": "5", "per_day": "8"})
    assert (answer.status, answer["per_run"], answer["per_day"], answer["per_month"]) == (200, "5", "8", None)
    assert caller.post("/api/holds", {"amount": "5.5"})["span"] == "run"
    assert caller.post("/api/holds", {"amount": "5"}).status == 201
    refused = caller.post("/api/holds", {"amount": "5"})
    assert (refused.status, refused.code, refused["source"], refused["span"]) == (
        403,
        "spend_limit_reached",
        "person",
        "day",
    )
    assert (refused["limit"], refused["used"]) == ("8", "5")
    assert refused["resets_at"].endswith("T00:00:00Z")
    shown = caller.get("/api/credits/limits")
    assert (shown["usage"]["day"]["used"], shown["usage"]["day"]["limit"]) == ("5", "8")
    assert [limit["source"] for limit in shown["in_force"]] == ["person"]


def test_null_takes_a_limit_away_and_what_is_left_out_stays(owner: Person) -> None:
    caller = owner.calls()
    caller.put("/api/credits/limits", {"per_run": "5", "per_day": 0})
    answer = caller.put("/api/credits/limits", {"per_run": None})
    assert (answer["per_run"], answer["per_day"]) == (None, "0")
    assert caller.send("PUT", "/api/credits/limits", None)["per_day"] == "0"
    assert SpendLimit.objects.count() == 1
    assert Audit.objects.filter(act="set_limits").count() == 3


def test_a_member_does_not_set_the_accounts_limits(owner: Person, member: Person) -> None:
    answer = member.calls().put("/api/credits/limits", {"per_run": "5"})
    assert (answer.status, answer.code) == (403, "owners_only")
    assert not SpendLimit.objects.exists()


@pytest.mark.parametrize("body", [{"per_run": "-1"}, {"per_week": "1"}, {"per_run": True}, {"per_run": "1e3"}])
def test_what_is_no_limit(owner: Person, body: Any) -> None:
    assert owner.calls().put("/api/credits/limits", body).status == 422
    assert not SpendLimit.objects.exists()
