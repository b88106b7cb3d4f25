"""Pictures, scripts and threads over the API: bounds of every input, prices, what is held, what a finished one says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from billing import tokens
from billing.models import Account, Entry, Hold
from generations import providers, routes
from generations.models import Generation
from generations.providers.base import Answer
from tests.billing.api.test_amounts import is_in_shape
from tests.generations.api.conftest import GENERATE
from tests.generations.quick import Desk, desk, offer, picture, read
from tests.people import Caller, Person
from tools_registry import registry

__all__ = ["desk"]

ESTIMATE = "/api/billing/estimate"
SLUGS = list(registry.OPERATIONS)


@pytest.fixture
def offered(db: None, prices: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every operation is offered, by the quick provider."""
    monkeypatch.setitem(providers.PROVIDERS, "quick", "tests.generations.quick.Quick")
    for slug in SLUGS:
        offer(slug, "quick")
    yield
    routes.forget()


def wanted(slug: str, **inputs: Any) -> dict[str, Any]:
    return {"operation": slug, "inputs": {"prompt": "x"} | inputs}


@pytest.mark.parametrize(
    ("slug", "inputs", "least", "typical", "most"),
    [
        ("ai/image", {}, "1", "1", "1"),
        ("ai/image", {"quality": "draft"}, "0.5", "0.5", "0.5"),
        ("ai/image", {"quality": "high", "size": "1024x1536"}, "3", "3", "3"),
        # 1,000 tokens for our instructions and a byte a token of the words: x, advert, plain; 0.1 and 0.5 a thousand
        ("ai/script", {}, "0.1", "0.2738", "0.5012"),
        ("ai/script", {"length_max": 100}, "0.1", "0.1", "0.1512"),
        ("ai/script", {"prompt": "é" * 4000, "length_max": 4000}, "0.1", "1.5004", "2.9011"),
        ("ai/threads", {"length_max": 4000}, "0.1", "1.2338", "2.1014"),
        ("ai/threads", {"audience": ""}, "0.1", "0.3338", "0.6014"),
    ],
)
def test_the_estimate_is_the_price_list_s(
    owner: Person, offered: None, slug: str, inputs: Any, least: str, typical: str, most: str
) -> None:
    for path in (ESTIMATE, "/api/calculate-cost"):
        answer = owner.calls().post(path, wanted(slug, **inputs))
        assert answer.status == 200, answer
        found = (answer["min"], answer["typical"], answer["max"], answer["total_credits"])
        assert found == (least, typical, most, most)
        assert (answer["operation"], answer["provider"]) == (slug, "quick")


@pytest.mark.parametrize("slug", SLUGS)
def test_each_starts_with_its_defaults_and_holds_its_maximum(owner: Person, offered: None, slug: str) -> None:
    caller = owner.calls()
    most = caller.post(ESTIMATE, wanted(slug))["max"]
    answer = caller.post(GENERATE, wanted(slug))
    assert (answer.status, answer["operation"], answer["provider"]) == (202, slug, "quick")
    defaults = {of.name: of.default for of in registry.OPERATIONS[slug].fields}
    assert answer["inputs"] == defaults | {"prompt": "x"}
    assert (answer["estimate"]["max"], answer["credits"]["held"], answer["usage"]) == (most, most, None)
    assert owner.values == ("100", most, "0")
    assert caller.get(answer["status_url"])["inputs"] == answer["inputs"]


BAD_NUMBERS = (-1, 0, 2**63, 4.5, "30", "٧", True, None, [30], {"a": 1})
WRONG: list[tuple[str, dict[str, Any], str]] = [
    *((slug, {"prompt": wrong}, "prompt") for slug in SLUGS for wrong in ("", "  ", 7, None, ["x"], "a\0b")),
    ("ai/image", {"prompt": "x" * 2001}, "prompt"),
    ("ai/script", {"prompt": "x" * 4001}, "prompt"),
    ("ai/threads", {"prompt": "x" * 4001}, "prompt"),
    ("ai/threads", {"audience": "x" * 201}, "audience"),
    ("ai/threads", {"audience": None}, "audience"),
    ("ai/image", {"size": "1280x720"}, "size"),
    ("ai/image", {"quality": "HIGH"}, "quality"),
    ("ai/script", {"kind": "opera"}, "kind"),
    ("ai/script", {"tone": ["warm"]}, "tone"),
    ("ai/threads", {"tone": ""}, "tone"),
    *(("ai/script", {"seconds": wrong}, "seconds") for wrong in (*BAD_NUMBERS, 9, 181)),
    *(("ai/script", {"length_max": wrong}, "length_max") for wrong in (*BAD_NUMBERS, 99, 4001)),
    *(("ai/threads", {"posts": wrong}, "posts") for wrong in (*BAD_NUMBERS, 2, 21)),
    *(("ai/threads", {"length_max": wrong}, "length_max") for wrong in (99, 4001)),
    # What belongs to another operation is unknown to this one.
    ("ai/image", {"seconds": 4}, "seconds"),
    ("ai/image", {"length_max": 800}, "length_max"),
    ("ai/script", {"posts": 6}, "posts"),
    ("ai/script", {"quality": "high"}, "quality"),
    ("ai/threads", {"seconds": 30}, "seconds"),
    ("ai/video", {"tone": "warm"}, "tone"),
]


@pytest.mark.parametrize("path", [GENERATE, ESTIMATE])
def test_a_wrong_input_is_named_and_nothing_is_written(owner: Person, offered: None, path: str) -> None:
    before = [model.objects.count() for model in (Entry, Hold, Generation)]
    caller = owner.calls()
    for slug, inputs, field in WRONG:
        answer = caller.post(path, wanted(slug, **inputs))
        assert (answer.status, answer.code) == (422, "invalid_fields"), (slug, inputs, answer)
        assert list(answer["fields"]) == [f"inputs.{field}"], (slug, inputs)
        assert is_in_shape(answer)
    assert [model.objects.count() for model in (Entry, Hold, Generation)] == before


def test_an_operation_that_nobody_makes_is_refused_by_its_provider_s_name(owner: Person, offered: None) -> None:
    offer("ai/image")
    for body in (wanted("ai/image"), wanted("ai/image") | {"provider": "quick"}):
        answer = owner.calls().post(GENERATE, body)
        assert (answer.status, answer.code, list(answer["fields"])) == (422, "invalid_fields", ["provider"])
    answer = owner.calls().post(GENERATE, wanted("ai/script") | {"provider": "local"})
    assert (answer.status, list(answer["fields"])) == (422, ["provider"])


@pytest.mark.parametrize("slug", SLUGS)
def test_too_few_credits_start_nothing(owner: Person, offered: None, slug: str) -> None:
    caller = owner.calls()
    most = caller.post(ESTIMATE, wanted(slug))["max"]
    assert caller.post("/api/holds", {"amount": "99.95"}).status == 201
    answer = caller.post(GENERATE, wanted(slug))
    assert (answer.status, answer.code) == (402, "insufficient_credits")
    assert (answer["required"], answer["available"]) == (most, "0.05")
    assert not Generation.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestEnded:
    """Finished jobs, by a provider that is done at once."""

    @pytest.fixture
    def caller(self, trip: Any, desk: Desk) -> Caller:
        _, text = tokens.make(trip.person, Account(id=trip.purse.id), name="test", scope="spend")
        return Caller(text)

    def test_a_picture_has_its_size_and_no_length(self, desk: Desk, caller: Caller) -> None:
        job = desk.end("ai/image", picture(64, 48), said=Answer("completed"))
        answer = caller.get(f"/api/status/{job.id}")
        (output,) = answer["output"]
        url = output.pop("url")
        assert output == {
            "content_type": "image/png",
            "bytes": len(picture(64, 48)),
            "seconds": None,
            "width": 64,
            "height": 48,
        }
        assert (answer["usage"], answer["credits"]["charged"]) == (None, "1")
        served = caller.client.get(url, headers=caller.headers)
        assert (served.headers["Content-Type"], read(served)) == ("image/png", picture(64, 48))

    def test_a_text_says_what_was_counted_and_costs_that(self, trip: Any, desk: Desk, caller: Caller) -> None:
        job = desk.end("ai/script", "# A script\n")
        answer = caller.get(f"/api/status/{job.id}")
        assert answer["usage"] == {"input_tokens": 94, "output_tokens": 412}
        assert answer["credits"] == {
            "held": "0",
            "charged": "0.2154",
            "outcome": "charged",
            "message": "0.2154 of at most 0.5056 credits were charged.",
        }
        (output,) = answer["output"]
        assert (output["content_type"], output["bytes"]) == ("text/plain", 11)
        assert (output["seconds"], output["width"], output["height"]) == (None, None, None)
        served = caller.client.get(output["url"], headers=caller.headers)
        assert served.headers["Content-Type"].startswith("text/plain")
        assert served.headers["Content-Disposition"].startswith("attachment; ")
        assert read(served) == b"# A script\n"
        assert caller.get("/api/generations")["results"][0] == answer.json | {
            "output": [output | {"url": caller.get("/api/generations")["results"][0]["output"][0]["url"]}]
        }
        lines = caller.get("/api/credits/entries")["results"][:2]
        assert [(line["kind"], line["amount"]) for line in lines] == [("capture", "0.2154"), ("hold", "0.5056")]
        told = caller.get(f"/api/credits/entries/{lines[0]['id']}")["trail"]
        counted = next(step for step in told if step["title"] == "Counted")
        assert counted["detail"].startswith("412 tokens written out of at most 800 · 94 were read")

    def test_what_was_not_counted_is_not_guessed(self, trip: Any, desk: Desk, caller: Caller) -> None:
        job = desk.start("ai/script", "# A script\n", said=Answer("completed"))
        trip.sweep(2)
        answer = caller.get(f"/api/status/{job.id}")
        assert (answer["state"], answer["output"], answer["usage"]) == ("running", [], None)
        assert answer["credits"]["held"] == "0.5056"
        assert job.row.review

    @pytest.mark.parametrize("slug", SLUGS)
    def test_a_failure_has_its_code_its_sentence_and_the_credits(self, desk: Desk, caller: Caller, slug: str) -> None:
        blocked = Answer("failed", "moderation_blocked", "The content was blocked by moderation.")
        job = desk.end(slug, said=blocked)
        answer = caller.get(f"/api/status/{job.id}")
        assert answer["error"]["code"] == "moderation_blocked"
        assert answer["error"]["message"].startswith("Blocked by the provider’s moderation.")
        assert answer["credits"]["message"].endswith("credits are back.")
        assert (answer["credits"]["outcome"], answer["status"]) == ("refunded", "FAILURE")
        news = caller.get("/api/credits/balance")["alerts"][0]
        assert "credits are back." in news["title"]
