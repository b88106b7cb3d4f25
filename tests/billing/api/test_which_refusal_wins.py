"""Which refusal wins, as a table: each row sets up every cause from its own on, and its own is told."""

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from uuid_utils.compat import uuid7

from billing import credits, ledger
from billing.models import Audit, Hold, Payment, SpendLimit
from tests.people import Answer, Caller, Person

# Causes in the order in which they are told. Each row of the test has its cause and all that stand below it.
ORDER = [
    ("requests", 429, "too_many_requests"),
    ("not there", 404, "not_found"),
    ("not signed in", 401, "sign_in_required"),
    ("unverified", 403, "email_unverified"),
    ("scope", 403, "scope_too_small"),
    ("field", 422, "invalid_fields"),
    ("frozen", 403, "account_frozen"),
    ("debt", 402, "account_in_debt"),
    ("open holds", 429, "too_many_open_holds"),
    ("run limit", 403, "spend_limit_reached"),
    ("day limit", 403, "spend_limit_reached"),
    ("month limit", 403, "spend_limit_reached"),
    ("credits", 402, "insufficient_credits"),
]
CAUSES = [cause for cause, _, _ in ORDER]


def set_up(person: Person, causes: list[str], settings: Any) -> None:
    """The account and the settings are such that each of these would refuse a hold of 100 credits."""
    micro = credits.MICRO
    person.grant("50", payment="pi_1")
    if "open holds" in causes:
        settings.OPEN_HOLDS_MAX = 1
        ledger.place_hold(person.account, amount=micro, reference="r", owner="job", expires_in_seconds=600)
    limits = {
        name: 60 * micro
        for name, cause in (("per_run", "run limit"), ("per_day", "day limit"), ("per_month", "month limit"))
        if cause in causes
    }
    if limits:
        SpendLimit.objects.create(account_id=person.account, source="staff", **limits)
    if "debt" in causes:
        take_back(person)
    if "frozen" in causes:
        ledger.set_account_frozen(person.account, True, "looked at")
    if "unverified" in causes:
        EmailAddress.objects.filter(user=person.user).update(verified=False)
    if "requests" in causes:
        settings.API_WRITES_PER_MINUTE = settings.API_ANONYMOUS_PER_MINUTE = 0


def take_back(person: Person) -> None:
    SpendLimit.objects.filter(account=person.account).update(source="plan")  # must not stop what brings about the debt
    free = person.purse.available
    ledger.adjust(person.account, amount=-free, reason="spent elsewhere")
    payment = Payment.objects.get(account=person.account)
    ledger.claw_back(person.account, payment=payment.id, id=uuid7(), amount=payment.granted)
    SpendLimit.objects.filter(account=person.account).update(source="staff")


@pytest.mark.parametrize(("cause", "status", "code"), ORDER, ids=CAUSES)
def test_which_refusal_wins(db: None, settings: Any, cause: str, status: int, code: str) -> None:
    person = Person("quinn@people.test")
    causes = CAUSES[CAUSES.index(cause) :]
    token = person.token("read" if "scope" in causes else "spend")
    set_up(person, causes, settings)
    holds = Hold.objects.count()
    caller = Caller(None if "not signed in" in causes else token)
    body: dict[str, Any] = {"amount": "-1" if "field" in causes else "100"}
    path = "/api/nothing" if cause == "not there" else "/api/holds"
    answer = caller.post(path, body)
    assert (answer.status, answer.code) == (status, code), answer
    spans = {"run limit": "run", "day limit": "day", "month limit": "month"}
    if cause in spans:
        assert (answer["span"], answer["limit"]) == (spans[cause], "60")
    assert_it_helps(answer)
    assert Hold.objects.count() == holds


def assert_it_helps(answer: Answer) -> None:
    if answer.status == 401:
        assert answer["sign_in_url"] == "/accounts/login/"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    if answer.status == 402:
        assert answer["purchase_url"] == "/account/credits"
    if answer.status == 429:
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    if answer.code == "insufficient_credits":
        assert (answer["required"], answer["available"], answer["shortfall"]) == ("100", "50", "50")


@pytest.mark.parametrize("path", ["capture", "release", "renew"])
def test_what_is_not_there_is_told_before_anything_about_the_person(db: None, path: str) -> None:
    person = Person("rita@people.test", is_verified=False)
    unknown = f"/api/holds/0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11/{path}"
    for scope in ("read", "spend"):
        assert person.calls(scope).post(unknown, {"wrong": 1}).status == 404


def test_a_wrong_token_is_told_so_after_it_was_counted(db: None, settings: Any) -> None:
    assert Caller("hf_wrong").get("/api/credits/balance").code == "invalid_token"
    settings.API_ANONYMOUS_PER_MINUTE = 0
    assert Caller("hf_wrong").get("/api/credits/balance").code == "too_many_requests"


@pytest.mark.parametrize(
    ("cause", "code"),
    [("frozen", "account_frozen"), ("open holds", "too_many_open_holds"), ("credits", "insufficient_credits")],
)
def test_refusals_are_on_the_audit_trail(db: None, settings: Any, cause: str, code: str) -> None:
    person = Person("quinn@people.test")
    set_up(person, [cause], settings)
    answer = person.calls().post("/api/holds", {"amount": "100"})
    row = Audit.objects.get(is_refusal=True)
    assert (row.act, row.code, row.account_id, row.request_id) == ("hold", code, person.account, answer["request_id"])
    shown = person.calls("read").get("/api/audit")["results"][0]
    assert (shown["code"], shown["is_refusal"]) == (code, True)
