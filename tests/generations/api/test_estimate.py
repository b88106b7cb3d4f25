"""What a job would cost, asked at either address, by anybody; nothing is written down."""

from __future__ import annotations

from typing import Any

import pytest

from billing.models import Audit, Entry, Hold
from generations.models import Generation
from tests.generations.api.conftest import VIDEO
from tests.people import Caller, Person

PATHS = ("/api/billing/estimate", "/api/calculate-cost")


@pytest.mark.parametrize("path", PATHS)
def test_an_estimate_says_min_typical_max_and_why(owner: Person, path: str) -> None:
    answer = owner.calls("read").post(path, VIDEO)
    assert answer.status == 200
    assert answer.json == {
        "operation": "ai/video",
        "provider": "local",
        "min": "0.5",
        "typical": "2",
        "max": "2",
        "total_credits": "2",
        "explanation": "4 s × 0.50 a second, standard, 1280 × 720",
        "usual": None,
        "available": "100",
        "affordable": True,
        "free": "0",
    }


@pytest.mark.parametrize("path", PATHS)
def test_whoever_is_not_signed_in_is_told_the_price_alone(nobody: Caller, path: str) -> None:
    answer = nobody.post(path, VIDEO)
    assert answer.status == 200
    assert (answer["max"], answer["available"], answer["affordable"]) == ("2", None, None)


@pytest.mark.parametrize(
    ("inputs", "least", "most"),
    [
        ({"seconds": 1}, "0.5", "0.5"),
        ({"seconds": 20, "quality": "high", "size": "1920x1080"}, "2", "40"),
        ({"seconds": 7, "quality": "draft", "size": "854x480"}, "0.1875", "1.3125"),
        ({"seconds": 3, "size": "640x360", "quality": "draft"}, "0.125", "0.375"),
    ],
)
def test_the_estimate_follows_the_price_list(owner: Person, inputs: Any, least: str, most: str) -> None:
    answer = owner.calls().post(PATHS[0], {"operation": "ai/video", "inputs": {"prompt": "x"} | inputs})
    assert (answer["min"], answer["typical"], answer["max"], answer["total_credits"]) == (least, most, most, most)


def test_affordable_means_that_the_maximum_is_available(stranger: Person) -> None:
    caller = stranger.calls()
    dear = {"operation": "ai/video", "inputs": {"prompt": "x", "seconds": 20, "quality": "high", "size": "1920x1080"}}
    assert caller.post(PATHS[0], dear)["affordable"] is True
    assert caller.post("/api/holds", {"amount": "60.000001"}).status == 201
    answer = caller.post(PATHS[0], dear)
    assert (answer["available"], answer["affordable"]) == ("39.999999", False)


def test_an_estimate_writes_nothing(owner: Person) -> None:
    lines = Entry.objects.count()
    caller = owner.calls()
    caller.post(PATHS[0], VIDEO)
    caller.post(PATHS[0], {"operation": "ai/video", "inputs": {}})
    assert (Entry.objects.count(), Hold.objects.count(), Generation.objects.count()) == (lines, 0, 0)
    assert not Audit.objects.exists()


def test_an_unverified_person_may_ask_what_it_costs(db: None) -> None:
    person = Person("una@people.test", is_verified=False)
    assert person.calls().post(PATHS[0], VIDEO).status == 200


def test_a_wrong_token_is_refused_even_where_nobody_need_sign_in() -> None:
    answer = Caller("hf_wrong").post(PATHS[0], VIDEO)
    assert (answer.status, answer.code) == (401, "invalid_token")


def test_a_browser_needs_its_csrf_token(owner: Person) -> None:
    browser = owner.browser(enforce_csrf_checks=True)
    response = browser.post(PATHS[0], VIDEO, content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (403, "csrf_failed")


@pytest.mark.usefixtures("one_minute")
def test_people_who_are_not_signed_in_are_counted_by_address(nobody: Caller, settings: Any) -> None:
    settings.API_ANONYMOUS_PER_MINUTE = 2
    statuses = [nobody.post(path, VIDEO).status for path in (*PATHS, *PATHS)]
    assert statuses == [200, 200, 429, 429]
    assert nobody.post(PATHS[0], VIDEO).headers["Retry-After"]
