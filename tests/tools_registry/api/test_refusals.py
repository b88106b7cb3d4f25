"""Which refusal of a run wins, as a table; and that a tool of the browser is refused to everybody alike."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import Permission
from uuid_utils.compat import uuid7

from billing import clock, credits, ledger
from billing.models import Audit, Payment, SpendLimit
from tests.billing.api.test_amounts import is_in_shape
from tests.people import Caller, Person
from tests.tools_registry.api.conftest import RUN, written
from tests.tools_registry.test_runs import PROBE
from tools_registry import registry, runs
from tools_registry.models import ToolRun, ToolSwitch

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("probe")]
MICRO = credits.MICRO

# Causes in the order in which they are told. Each row of the test has its cause and all that stand below it.
ORDER = [
    ("requests", 429, "too_many_requests"),
    ("no such tool", 404, "not_found"),
    ("not signed in", 401, "sign_in_required"),
    ("unverified", 403, "email_unverified"),
    ("scope", 403, "scope_too_small"),
    ("disabled", 403, "tool_disabled"),
    ("beta", 403, "tool_in_beta"),
    ("plan", 403, "plan_too_low"),
    ("field", 422, "invalid_fields"),
    ("running", 409, "tool_already_running"),
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
    """The account is such that each of these would refuse a run that holds 3.573742 credits."""
    person.grant("50", payment="pi_1")
    if "running" in causes:
        runs.start(person.account, runs.quote(PROBE, {}), actor="t", owner=f"user:{person.user.pk}")
    if "open holds" in causes:
        settings.OPEN_HOLDS_MAX = 1
        if "running" not in causes:
            ledger.place_hold(person.account, amount=MICRO, reference="r", owner="job", expires_in_seconds=600)
    ledger.adjust(person.account, amount=-(person.purse.balance - person.purse.held - 2 * MICRO), reason="spent")
    if "debt" in causes:
        payment = Payment.objects.get(account=person.account)
        ledger.claw_back(person.account, payment=payment.id, id=uuid7(), amount=payment.granted)
    limits = {
        name: 3 * MICRO
        for name, cause in (("per_run", "run limit"), ("per_day", "day limit"), ("per_month", "month limit"))
        if cause in causes
    }
    if limits:
        SpendLimit.objects.create(account_id=person.account, source="staff", **limits)
    if "frozen" in causes:
        ledger.set_account_frozen(person.account, True, "looked at")
    ToolSwitch.objects.create(
        tool=PROBE.slug,
        is_enabled="disabled" not in causes,
        is_beta="beta" in causes,
        plan_least="pro" if "plan" in causes else "",
        changed_at=clock.now(),
    )
    if "unverified" in causes:
        EmailAddress.objects.filter(user=person.user).update(verified=False)
    if "requests" in causes:
        settings.API_WRITES_PER_MINUTE = settings.API_ANONYMOUS_PER_MINUTE = 0


@pytest.mark.parametrize(("cause", "status", "code"), ORDER, ids=CAUSES)
def test_which_refusal_wins(settings: Any, cause: str, status: int, code: str) -> None:
    person = Person("quinn@people.test")
    causes = CAUSES[CAUSES.index(cause) :]
    token = person.token("read" if "scope" in causes else "spend")
    set_up(person, causes, settings)
    before = written()
    caller = Caller(None if "not signed in" in causes else token)
    # An address that is no view's is answered before anything is counted, so the first row asks for the tool.
    path = "/api/dev-studio/nothing/run" if cause == "no such tool" else RUN
    answer = caller.post(path, {"how": "badly" if "field" in causes else "well"})
    assert (answer.status, answer.code) == (status, code), answer
    assert is_in_shape(answer)
    spans = {"run limit": "run", "day limit": "day", "month limit": "month"}
    if cause in spans:
        assert (answer["span"], answer["limit"]) == (spans[cause], "3")
    if cause == "plan":
        assert (answer["plan_least"], answer["upgrade_url"]) == ("pro", "/account/plan")
    if cause == "credits":
        assert (answer["required"], answer["available"], answer["shortfall"]) == ("3.573742", "2", "1.573742")
    if status == 402:
        assert answer["purchase_url"].startswith("/account/credits")
    if status == 401:
        assert answer["sign_in_url"] == "/accounts/login/"
    assert written() == before
    is_kept = status in (402, 403) or code == "too_many_open_holds"
    assert Audit.objects.filter(act="run_tool", is_refusal=True, code=code).exists() == is_kept


def test_who_may_use_what_is_in_beta_runs_it(owner: Person) -> None:
    ToolSwitch.objects.create(tool=PROBE.slug, is_beta=True, changed_at=clock.now())
    assert owner.calls().post(RUN, {}).code == "tool_in_beta"
    owner.user.user_permissions.add(Permission.objects.get(codename="use_beta_tools"))
    assert owner.calls().post(RUN, {}).status == 200


def test_after_too_many_stops_one_waits(owner: Person, settings: Any) -> None:
    settings.TOOL_STOPS_AN_HOUR_MAX = 1
    caller = owner.calls()
    assert caller.post(RUN, {"how": "burn"}).code == "tool_stopped"
    answer = caller.post(RUN, {})
    assert (answer.status, answer.code) == (429, "too_many_stops")
    assert int(answer.headers["Retry-After"]) > 3000
    assert ToolRun.objects.count() == 1


def test_what_was_run_is_answered_again_even_when_the_tool_was_switched_off(owner: Person) -> None:
    caller = owner.calls()
    first = caller.post(RUN, {}, idempotency_key="k").json
    ToolSwitch.objects.create(tool=PROBE.slug, is_enabled=False, changed_at=clock.now())
    assert caller.post(RUN, {}, idempotency_key="k").json == first
    assert caller.post(RUN, {}).code == "tool_disabled"


HERE = [tool for tool in registry.TOOLS.values() if tool.function is not None]
IN_BROWSER = [tool for tool in registry.TOOLS.values() if tool.function is None]


@pytest.mark.parametrize("tool", HERE, ids=lambda tool: tool.slug)
def test_whoever_is_not_signed_in_runs_nothing_here(nobody: Caller, tool: Any) -> None:
    answer = nobody.post(f"/api/{tool.slug}/run", dict(tool.example))
    assert (answer.status, answer.code) == (401, "sign_in_required")
    assert ToolRun.objects.count() == 0


@pytest.mark.parametrize("tool", IN_BROWSER, ids=lambda tool: tool.slug)
@pytest.mark.parametrize("body", [b"{}", b"{", b"", b"x" * 2_000_000])
def test_a_tool_of_the_browser_names_its_page_to_everybody(
    nobody: Caller, owner: Person, tool: Any, body: bytes
) -> None:
    before = written()
    for caller in (nobody, owner.calls()):
        answer = caller.send("POST", f"/api/{tool.slug}/run", body)
        assert (answer.status, answer.code) == (409, "runs_in_browser")
        assert answer["page_url"] == f"/studio/{tool.slug}"
        assert is_in_shape(answer)
    assert written() == before
    assert owner.values == ("100", "0", "0")
