"""The plan over the API: what it is, what a change would do, every act on it, and the way to Stripe's own pages."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok

from billing import ledger, plans
from billing.credits import MICRO
from billing.models import Audit, Customer, IdempotencyKey, Plan, PlanChange
from billing.reconcile import reconcile
from tests.billing.api.test_openapi import CONFIG, DOCUMENT, get_wsgi_application, patient
from tests.people import Caller, Person, member, nobody, owner, stranger

from .conftest import StandIn
from .test_buying_api import FOREIGN
from .test_plan_pages import hear, subscribed

__all__ = ["member", "nobody", "owner", "patient", "stranger"]
pytestmark = pytest.mark.django_db(transaction=True)
PLAN, PORTAL = "/api/payments/plan", "/api/payments/portal"
ACTS = ("change", "cancel", "keep", "resume", "settle")


@pytest.fixture(autouse=True)
def _plans(transactional_db: None) -> Any:
    plans.install()
    yield
    assert reconcile().findings == []


@pytest.fixture
def supporter(owner: Person, stand_in: StandIn, stripe_settings: Any) -> Person:
    """The owner's account is on the Supporter plan, since a moment ago."""
    subscribed(owner, stand_in, "supporter")
    return owner


def body_of(act: str) -> Any:
    return {"plan": "pro"} if act == "change" else {}


# What it is


def test_what_an_account_without_a_plan_is_told(owner: Person, stripe_settings: Any) -> None:
    said = owner.calls("read").get(PLAN)
    assert said.status == 200
    assert (said["plan"], said["state"], said["next_allocation"], said["can"]) == (None, None, None, ["subscribe"])
    stripe_settings.STRIPE_IS_SET_UP = False
    assert owner.calls("read").get(PLAN)["can"] == []


def test_the_plan_says_how_it_stands_and_what_can_be_done(supporter: Person) -> None:
    said = supporter.calls("read").get(PLAN)
    assert (said["plan"], said["state"], said["price"], said["monthly_credits"]) == (
        "supporter", "active", "£45.00", "3000",
    )  # fmt: skip
    assert said["next_allocation"] == {"at": said["period_end"], "amount": "3000"}
    assert (said["awaits"], said["can"]) == (None, ["change", "cancel"])


# Before a change


def test_a_preview_says_what_an_upgrade_costs_and_gives(supporter: Person) -> None:
    caller = supporter.calls("read")
    said = caller.get(f"{PLAN}/preview?plan=pro")
    assert (said.status, said["act"], said["credits_now"], said["amount_minor"], said["price_now"]) == (
        200, "upgrade", "9000", 11_500, "£115.00",
    )  # fmt: skip
    assert said["days_left"] == said["days"]
    assert said["words"] in supporter.browser().get("/account/plan").content.decode()
    assert not PlanChange.objects.exists()


def test_a_preview_for_who_pays_for_none(owner: Person, stripe_settings: Any) -> None:
    plans.begin_free(owner.account)
    Plan.objects.create(
        slug="taster", title="Taster", price_minor=1500, monthly_credits=1000 * MICRO, trial_days=14,
        trial_credits=50 * MICRO,
    )  # fmt: skip
    caller = owner.calls("read")
    said = caller.get(f"{PLAN}/preview?plan=supporter")
    assert (said["act"], said["credits_now"], said["amount_minor"], said["days"]) == ("subscribe", "3000", 4500, None)
    said = caller.get(f"{PLAN}/preview?plan=taster")
    assert (said["act"], said["credits_now"], said["amount_minor"]) == ("subscribe", "50", 0)
    assert "The first 14 days cost nothing" in said["words"]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 422, "invalid_fields"),
        ("?plan=gold", 422, "invalid_fields"),
        ("?plan=free", 422, "invalid_fields"),
        ("?plan=pro&plan=supporter", 422, "invalid_fields"),
        ("?plan=pro&price=1", 422, "invalid_fields"),
        ("?plan=supporter", 409, "plan_cannot_change"),
    ],
)
def test_a_preview_is_refused_as_the_change_would_be(query: str, status: int, code: str, supporter: Person) -> None:
    said = supporter.calls("read").get(f"{PLAN}/preview{query}")
    assert (said.status, said.code) == (status, code)


# Changing it


def test_a_program_takes_a_plan_through_its_life(supporter: Person, stand_in: StandIn) -> None:
    caller = supporter.calls()
    said = caller.post(f"{PLAN}/change", {"plan": "pro"}, idempotency_key="up")
    assert (said.status, said["plan"]["awaits"], said["plan"]["can"]) == (200, "upgrade", [])
    assert "9,000 credits come as soon as the payment is confirmed." in said["said"]
    refused = caller.post(f"{PLAN}/change", {"plan": "pro"})
    assert (refused.status, refused.code) == (409, "plan_change_in_progress")
    hear(stand_in, supporter)
    again = caller.post(f"{PLAN}/change", {"plan": "pro"}, idempotency_key="up")
    assert (again.status, again.headers["Idempotent-Replayed"], again["plan"]["plan"]) == (200, "true", "pro")
    assert again["said"] == said["said"]
    other = caller.post(f"{PLAN}/change", {"plan": "supporter"}, idempotency_key="up")
    assert (other.status, other.code) == (409, "idempotency_conflict")
    assert supporter.purse.available == 12_100 * MICRO

    down = caller.post(f"{PLAN}/change", {"plan": "supporter"})["plan"]
    assert (down["plan"], down["next_plan"], down["can"]) == ("pro", "supporter", ["keep", "cancel"])
    refused = caller.post(f"{PLAN}/change", {"plan": "supporter"})
    assert (refused.status, refused.code) == (409, "plan_change_planned")
    assert "plan/keep" in refused["action"]
    kept = caller.post(f"{PLAN}/keep")["plan"]
    assert (kept["next_plan"], kept["can"]) == (None, ["change", "cancel"])

    ended = caller.post(f"{PLAN}/cancel", {}, idempotency_key="end")["plan"]
    assert (ended["ends_with_period"], ended["can"]) == (True, ["keep"])
    assert caller.post(f"{PLAN}/cancel").code == "plan_cannot_change"
    assert caller.post(f"{PLAN}/cancel", {}, idempotency_key="end").headers["Idempotent-Replayed"] == "true"
    caller.post(f"{PLAN}/keep")
    hear(stand_in, supporter)
    assert (supporter.purse.available, caller.get(PLAN)["can"]) == (12_100 * MICRO, ["change", "cancel"])
    assert caller.post(f"{PLAN}/settle").code == "plan_cannot_change"
    assert caller.post(f"{PLAN}/resume").code == "plan_cannot_change"
    trail = set(Audit.objects.filter(account=supporter.account, is_refusal=False).values_list("act", flat=True))
    assert {"plan_change", "plan_keep", "plan_cancel"} <= trail


def test_a_declined_upgrade_is_402_and_changes_nothing(supporter: Person, stand_in: StandIn) -> None:
    customer = Customer.objects.get(account=supporter.account).stripe_customer
    stand_in.post(f"card/{customer}", card="declines")
    row = plans.in_force(supporter.account)
    assert row is not None
    caller = supporter.calls()
    from_stripe = stand_in.events("customer.subscription.updated")
    said = caller.post(f"{PLAN}/change", {"plan": "pro"}, idempotency_key="k")
    if said.status == 200:  # the card of the subscription itself goes first
        pytest.fail("The stand-in charged a card that declines.")
    assert (said.status, said.code) == (402, "payment_declined")
    assert stand_in.events("customer.subscription.updated") == from_stripe
    assert (caller.get(PLAN)["plan"], caller.get(PLAN)["can"]) == ("supporter", ["change", "cancel"])


def test_while_stripe_is_down_the_api_says_so(supporter: Person, stand_in: StandIn) -> None:
    caller = supporter.calls()
    stand_in.settings(down=True)
    said = caller.post(f"{PLAN}/change", {"plan": "pro"}, idempotency_key="k")
    assert (said.status, said.code) == (503, "payments_unavailable")
    assert "Nothing was changed and nothing was paid" in said["error"]
    assert not IdempotencyKey.objects.filter(key="k").exists()
    said = caller.post(f"{PLAN}/cancel", {}, idempotency_key="k")
    assert (said.status, said.code) == (503, "payments_unavailable")
    assert "is noted" in said["error"]
    stand_in.settings(down=False)
    said = caller.post(f"{PLAN}/cancel", {}, idempotency_key="k")
    assert (said.status, said.code) == (409, "request_in_progress")
    PlanChange.objects.get()


@pytest.mark.parametrize("act", ACTS)
def test_who_may_not_change_a_plan(
    act: str, supporter: Person, member: Person, stranger: Person, nobody: Caller
) -> None:
    path, body = f"{PLAN}/{act}", body_of(act)
    assert nobody.post(path, body).status == 401
    assert supporter.calls("read").post(path, body).code == "scope_too_small"
    assert supporter.calls("service").post(path, body).code == "scope_too_small"
    said = member.calls().post(path, body)
    assert (said.status, said.code) == (403, "owners_only")
    said = stranger.calls().post(path, body)
    assert (said.status, said.code) == (409, "no_paid_plan")
    late = Person("late@people.test", is_verified=False)
    assert late.calls().post(path, body).code == "email_unverified"
    assert not PlanChange.objects.exists()


def test_a_member_sees_the_plan_and_subscribes_to_none(member: Person, stripe_settings: Any) -> None:
    assert member.calls().get(PLAN).status == 200
    said = member.calls().post("/api/payments/subscribe", {"plan": "pro"})
    assert (said.status, said.code) == (403, "owners_only")


@pytest.mark.parametrize("act", ACTS)
def test_an_act_takes_no_field_that_is_not_its_own(act: str, supporter: Person) -> None:
    said = supporter.calls().post(f"{PLAN}/{act}", body_of(act) | {"price": 1})
    assert (said.status, list(said["fields"])) == (422, ["price"])


def test_where_no_stripe_is_set_up_nothing_is_changed(owner: Person, settings: Any) -> None:
    settings.STRIPE_IS_SET_UP = False
    caller = owner.calls()
    for act in ACTS:
        said = caller.post(f"{PLAN}/{act}", body_of(act))
        assert (said.status, said.code) == (503, "buying_not_set_up"), act
    assert caller.post(PORTAL, {}).code == "buying_not_set_up"
    assert caller.get(f"{PLAN}/preview?plan=pro").code == "buying_not_set_up"


# The portal


def test_the_portal_is_reached_by_owners_who_have_bought_something(
    owner: Person, member: Person, stranger: Person, nobody: Caller, stand_in: StandIn, stripe_settings: Any
) -> None:
    said = owner.calls().post(PORTAL, {})
    assert (said.status, said.code) == (409, "no_customer")
    assert "Buy a pack or subscribe" in said["action"]
    assert not Customer.objects.exists()
    subscribed(owner, stand_in, "supporter")
    said = owner.calls().post(PORTAL, {"return_url": "http://testserver/account/credits"})
    assert said.status == 200
    assert said["portal_url"].startswith(stand_in.url)
    assert owner.calls().post(PORTAL).status == 200  # back to the page of the plan
    assert member.calls().post(PORTAL, {}).code == "owners_only"
    assert stranger.calls().post(PORTAL, {}).code == "no_customer"
    assert owner.calls("read").post(PORTAL, {}).code == "scope_too_small"
    assert nobody.post(PORTAL, {}).status == 401


def test_the_portal_leads_back_to_nobody_else(supporter: Person) -> None:
    caller = supporter.calls()
    for address in FOREIGN:
        said = caller.post(PORTAL, {"return_url": address})
        assert (said.status, list(said["fields"])) == (422, ["return_url"]), address


def test_a_frozen_account_still_ends_its_plan(supporter: Person) -> None:
    ledger.set_account_frozen(supporter.account, True, "A question about a card")
    assert supporter.calls().post(f"{PLAN}/cancel").status == 200


# The document is true

api = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig.from_dict(CONFIG))
api = api.include(path_regex=r"^/api/(plans|payments/(plan|portal|subscribe))")
api.app = get_wsgi_application()
MODES = list(schemathesis.GenerationMode)
OPERATIONS = [found.ok() for found in api.get_all_operations() if isinstance(found, Ok)]
# Of these nothing can be asked in a wrong way.
NEVER_WRONG = ("GET /api/plans", "GET /api/payments/plan")


@pytest.mark.parametrize(
    ("operation", "mode"),
    [(one, mode) for one in OPERATIONS for mode in MODES if one.label not in NEVER_WRONG or mode.value == "positive"],
    ids=lambda one: getattr(one, "label", None) or one.value,
)
def test_requests_are_answered_as_described(
    supporter: Person, patient: None, settings: Any, operation: Any, mode: schemathesis.GenerationMode
) -> None:
    headers = {"Authorization": f"Bearer {supporter.token()}"}

    @trying(max_examples=10, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        case.call_and_validate(headers=headers)

    answered()


def test_every_operation_is_described() -> None:
    assert {operation.label for operation in OPERATIONS} == {
        "GET /api/plans",
        "GET /api/payments/plan",
        "GET /api/payments/plan/preview",
        *(f"POST /api/payments/plan/{act}" for act in ACTS),
        "POST /api/payments/portal",
        "POST /api/payments/subscribe",
    }
    for act in ACTS:
        said = DOCUMENT["paths"][f"{PLAN}/{act}"]["post"]["responses"]
        expected = {"200", "400", "401", "402", "403", "406", "409", "413", "415", "422", "429", "500", "503"}
        assert expected == set(said), act
        codes = {
            example["value"]["code"] for example in said["409"]["content"]["application/json"]["examples"].values()
        }
        assert {"plan_unpaid", "plan_paused", "plan_change_planned", "plan_change_in_progress", "no_paid_plan"} <= codes
