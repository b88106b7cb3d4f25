"""Where the bill is real money: which credits pay before a first payment, and the ceiling until one has settled."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from billing import clock as ledger_clock
from billing import credits, plans, steps
from billing.models import Audit, Notice, Plan, SpendLimit
from billing.reconcile import reconcile
from generations import bounds, lifecycle, routes
from generations.models import Generation
from generations.providers.rehearsal import Rehearsal
from tests.billing.test_free_credits import buy, give_back
from tests.conftest import Clock
from tests.generations.trip import MICRO, SHORT, Trip
from tests.live import counted, post_at_once, served
from tests.people import Person
from tools_registry.models import ToolCost

pytestmark = pytest.mark.django_db(transaction=True)

VIDEO = {"operation": "ai/video", "inputs": SHORT | {"prompt": "A lighthouse"}, "provider": "rehearsal"}  # costs 0.5
LOCAL = VIDEO | {"provider": "local"}
TIMES = 200


@pytest.fixture
def real_provider(catalogue: None, clock: Clock, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """The rehearsal's bill is real money; what is sold can be bought."""
    monkeypatch.setattr(Rehearsal, "is_real", True)
    settings.REHEARSAL_URL = settings.REHEARSAL_URL or "http://127.0.0.1:9"
    routes.forget()


@pytest.fixture
def ada(real_provider: None) -> Person:
    """Has 300 free credits."""
    person = Person("ada@people.test")
    person.grant("300", source="plan")
    return person


@pytest.fixture
def stripe_is_set_up(settings: Any) -> None:
    settings.STRIPE_IS_SET_UP = True


# Free credits


def test_free_credits_pay_at_no_real_provider_before_a_first_payment(ada: Person) -> None:
    caller = ada.calls()
    answer = caller.post("/api/generate", VIDEO)
    assert (answer.status, answer["code"]) == (402, "free_credits_not_accepted")
    assert (answer["required"], answer["available"], answer["free"]) == ("0.5", "0", "300")
    assert "purchase_url" in answer.json
    assert answer["error"].endswith("Nothing was started and nothing was charged.")
    assert not Generation.objects.exists()
    assert Audit.objects.filter(is_refusal=True, code="free_credits_not_accepted").exists()
    assert caller.post("/api/generate", LOCAL).status == 202
    ada.grant("1", source="staff")
    assert caller.post("/api/generate", VIDEO).status == 202, "what is no free credit pays"
    assert caller.post("/api/generate", VIDEO).status == 202
    assert caller.post("/api/generate", VIDEO)["code"] == "free_credits_not_accepted"
    buy(ada.account)
    assert caller.post("/api/generate", VIDEO).status == 202
    assert reconcile().findings == []


def test_a_late_success_is_not_paid_with_them_either(trip: Trip, real_provider: None) -> None:
    purse = trip.purse
    job = trip.running("[late 70m]")
    trip.advance(minutes=61)
    trip.sweep()
    purse.post(steps.Adjust(amount=-purse.available, reason="Spent on something else"))
    purse.grant(300 * MICRO, source="plan")
    trip.advance(minutes=10)
    trip.sweep(2)
    assert job.stands == ("awaiting_settlement", "expired", "withheld")
    assert "Free credits count from your first payment on." in job.spoken.words
    assert "first payment" in Notice.objects.get(key=f"job:{job.id}:withheld").body
    assert lifecycle.due_late() == [], "it is not tried again for nothing, and stands in no other's way"
    buy(purse.id)
    trip.sweep()
    assert job.stands == ("succeeded", "expired", "charged")


def test_a_late_success_that_free_credits_cannot_pay_waits_behind_nobody(trip: Trip, real_provider: None) -> None:
    purse = trip.purse
    dear = trip.running("[late 70m]")
    take_free_credits()
    cheap = trip.running("[late 70m]")
    trip.advance(minutes=61)
    trip.sweep()
    purse.post(steps.Adjust(amount=-purse.available, reason="Spent on something else"))
    trip.advance(minutes=10)
    trip.sweep(2)
    purse.grant(300 * MICRO, source="plan")
    trip.sweep(2)
    assert (dear.row.outcome, cheap.row.outcome) == ("withheld", "charged")


def take_free_credits() -> None:
    """From now on the price of a video says that they pay it."""
    cost = ToolCost.objects.get(tool="ai/video")
    ToolCost.objects.create(
        tool=cost.tool, valid_from=ledger_clock.now(), model=cost.model, rates=cost.rates, takes_free_credits=True
    )


def test_a_price_may_take_them(ada: Person) -> None:
    take_free_credits()
    assert ada.calls().post("/api/generate", VIDEO).status == 202


def test_the_estimate_is_honest_about_them(ada: Person) -> None:
    caller = ada.calls("read")
    answer = caller.post("/api/billing/estimate", VIDEO)
    assert (answer["available"], answer["affordable"], answer["free"]) == ("0", False, "300")
    answer = caller.post("/api/billing/estimate", LOCAL)
    assert (answer["available"], answer["affordable"], answer["free"]) == ("300", True, "0")
    buy(ada.account)
    answer = caller.post("/api/billing/estimate", VIDEO)
    assert (answer["available"], answer["affordable"], answer["free"]) == ("800", True, "0")


def test_the_page_says_so_before_and_after_the_button_is_pressed(ada: Person, stripe_is_set_up: None) -> None:
    browser = Client()
    browser.force_login(ada.user, backend="config.sign_in.EmailBackend")
    form = SHORT | {"prompt": "A lighthouse", "key": "k"}
    shown = browser.post("/generate/video/estimate", form | {"provider": "rehearsal"}).content.decode()
    assert "Free credits cannot pay for this yet" in shown
    assert "300.00" in shown
    assert "Buy any pack" in shown
    assert "This machine makes it for free credits now." in shown
    shown = browser.post("/generate/video/estimate", form | {"provider": "local"}).content.decode()
    assert "Free credits" not in shown
    answer = browser.post("/generate", form | {"provider": "rehearsal"})
    page = answer.content.decode()
    assert answer.status_code == 402
    assert "Free credits cannot pay for this" in page
    assert "Until your first payment" in page
    assert "Free credits cannot pay for this yet" in page, "the price beside the form says it too"


# The ceiling


@pytest.fixture
def ceiling(settings: Any) -> None:
    settings.UNSETTLED_RUN_CREDITS, settings.UNSETTLED_DAY_CREDITS, settings.SETTLED_DAYS = "1", "2", 7


@pytest.mark.usefixtures("ceiling")
def test_a_run_has_a_ceiling_until_a_payment_has_settled(ada: Person, clock: Clock) -> None:
    bought = buy(ada.account)
    caller = ada.calls()
    dear = VIDEO | {"inputs": SHORT | {"prompt": "x", "seconds": 12}}  # 1.5
    answer = caller.post("/api/generate", dear)
    assert (answer.status, answer["code"], answer["span"]) == (403, "payment_not_settled", "run")
    assert (answer["limit"], answer["resets_at"], answer["source"]) == ("1", None, "payment")
    assert bought.paid_at is not None
    assert datetime.fromisoformat(answer["settles_at"]) == bought.paid_at + timedelta(days=7)
    assert answer["error"].startswith("Runs at outside providers come to at most 1.00 credits each until your first")
    assert caller.post("/api/generate", dear | {"provider": "local"}).status == 202
    clock.advance(days=7)
    assert caller.post("/api/generate", dear).status == 202


@pytest.mark.usefixtures("ceiling")
def test_a_day_has_a_ceiling_and_starts_again(ada: Person, clock: Clock) -> None:
    buy(ada.account)
    caller = ada.calls()
    statuses = [caller.post("/api/generate", VIDEO).status for _ in range(5)]
    assert statuses == [202] * 4 + [403]
    answer = caller.post("/api/generate", VIDEO)
    assert (answer["span"], answer["limit"], answer["used"]) == ("day", "2", "2")
    assert answer["resets_at"].endswith("00:00:00Z")
    assert ada.values[1] == "2", "nothing is held for what was refused"
    clock.advance(days=1)
    assert caller.post("/api/generate", VIDEO).status == 202


@pytest.mark.usefixtures("ceiling")
def test_what_came_to_nothing_does_not_count(trip: Trip, real_provider: None) -> None:
    settled = [trip.start(prompt) for prompt in ("A lighthouse", "[failed x]", "[failed x]", "A lighthouse")]
    trip.sweep(3)
    assert [job.row.outcome for job in settled] == ["charged", "refunded", "refunded", "charged"]
    trip.start("A lighthouse")
    trip.start("A lighthouse")
    with pytest.raises(bounds.NotSettled):
        trip.start("A lighthouse")


@pytest.mark.usefixtures("ceiling")
def test_a_payment_that_was_touched_settles_nothing(ada: Person, clock: Clock) -> None:
    give_back(buy(ada.account), 1)
    clock.advance(days=30)
    dear = VIDEO | {"inputs": SHORT | {"prompt": "x", "seconds": 12}}
    answer = ada.calls().post("/api/generate", dear)
    assert (answer["code"], answer["settles_at"]) == ("payment_not_settled", None)
    assert "until 7 days after your first payment" in answer["error"]


@pytest.mark.usefixtures("ceiling")
def test_staffs_own_limits_lift_the_ceiling_where_they_say_so(ada: Person) -> None:
    buy(ada.account)
    limit = SpendLimit.objects.create(account_id=ada.account, source="staff", per_run=credits.parse("1.5"))
    caller = ada.calls()
    answer = caller.post("/api/generate", VIDEO | {"inputs": SHORT | {"prompt": "x", "seconds": 12}})
    assert (answer["code"], answer["span"]) == ("payment_not_settled", "run"), "one that does not say so lifts nothing"
    limit.lifts_ceiling = True
    limit.save()
    assert caller.post("/api/generate", VIDEO | {"inputs": SHORT | {"prompt": "x", "seconds": 12}}).status == 202
    answer = caller.post("/api/generate", VIDEO | {"inputs": SHORT | {"prompt": "x", "seconds": 13}})
    assert (answer["code"], answer["source"]) == ("spend_limit_reached", "staff")


@pytest.mark.usefixtures("ceiling")
def test_the_page_names_the_ceiling_and_its_end(ada: Person) -> None:
    buy(ada.account)
    browser = Client()
    browser.force_login(ada.user, backend="config.sign_in.EmailBackend")
    form = SHORT | {"prompt": "A lighthouse", "provider": "rehearsal", "key": "k", "seconds": 12}
    answer = browser.post("/generate", form)
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "at most 1.00 credits each until your first payment has settled" in page


# Races


def storm(person: Person, wanted: Any) -> dict[int, int]:
    token = person.token()
    with served() as port:
        return dict(counted(post_at_once(port, "/api/generate", token, wanted, TIMES)))


@pytest.mark.usefixtures("ceiling")
def test_of_two_hundred_parallel_starts_no_more_than_the_ceiling_get_through(ada: Person) -> None:
    buy(ada.account)
    assert storm(ada, VIDEO) == {202: 4, 403: TIMES - 4}
    assert ada.values[1] == "2"
    assert Generation.objects.count() == 4
    assert reconcile().findings == []


def test_of_two_hundred_parallel_starts_free_credits_pay_none(ada: Person) -> None:
    ada.grant("1", source="staff")
    assert storm(ada, VIDEO) == {202: 2, 402: TIMES - 2}
    assert ada.values[1] == "1"
    assert reconcile().findings == []


def test_of_two_hundred_parallel_starts_a_plan_runs_so_many_at_once(ada: Person) -> None:
    SpendLimit.objects.create(account_id=ada.account, source="plan", jobs_at_once_max=5)
    assert storm(ada, LOCAL) == {202: 5, 429: TIMES - 5}
    assert Generation.objects.count() == 5
    assert reconcile().findings == []


# The plan's limit at the counter


def test_the_refusal_names_the_plan_and_leads_to_a_larger_one(ada: Person, stripe_is_set_up: None) -> None:
    plans.install()
    Plan.objects.filter(slug="free").update(jobs_at_once_max=1)
    plans.begin_free(ada.account)
    caller = ada.calls()
    assert caller.post("/api/generate", LOCAL).status == 202
    answer = caller.post("/api/generate", LOCAL)
    assert (answer.status, answer["code"]) == (429, "too_many_jobs_at_once")
    assert (answer["plan"], answer["upgrade_url"], answer["jobs_at_once_max"]) == ("Free", "/account/plan", 1)
    assert answer.headers["Retry-After"] == "5"
    assert caller.post("/api/holds", {"amount": "1", "reference": "x", "expires_in_seconds": 60}).status == 201
    browser = Client()
    browser.force_login(ada.user, backend="config.sign_in.EmailBackend")
    page = browser.post("/generate", SHORT | {"prompt": "x", "provider": "local", "key": "k"})
    assert page.status_code == 429
    assert "Your plan runs up to 1 job at once, and 1 is under way" in page.content.decode()
    assert "see larger plans" in page.content.decode()


def test_the_ceiling_costs_one_question_once_a_payment_has_settled(
    ada: Person, clock: Clock, django_assert_num_queries: Any
) -> None:
    buy(ada.account)
    with django_assert_num_queries(4):  # the clock, the payments, staff's limits, today's runs
        bounds.refuse_unsettled(ada.account, MICRO)
    clock.advance(days=8)
    with django_assert_num_queries(2):
        bounds.refuse_unsettled(ada.account, MICRO)
