"""The operations: what each takes, what it refuses, and that its own example and its defaults can be run."""

from __future__ import annotations

from typing import Any

import pytest

from tools_registry import fields, registry

PROMPT = {"prompt": "A boat"}


@pytest.mark.parametrize("operation", registry.OPERATIONS.values(), ids=list(registry.OPERATIONS))
def test_an_example_is_clean_and_complete(operation: registry.Operation) -> None:
    assert operation.clean(operation.example) == dict(operation.example)
    assert list(operation.example) == [of.name for of in operation.fields]
    assert operation.summary.endswith(".")
    assert operation.schema()["required"] == ["prompt"]
    assert set(operation.takes) == set(operation.example)


@pytest.mark.parametrize(
    ("slug", "cleaned"),
    [
        ("ai/video", {"seconds": 4, "size": "1280x720", "quality": "standard"}),
        ("ai/image", {"size": "1024x1024", "quality": "standard"}),
        ("ai/script", {"kind": "advert", "tone": "plain", "seconds": 30, "length_max": 800}),
        ("ai/threads", {"audience": "everyone", "tone": "plain", "posts": 6, "length_max": 1000}),
    ],
)
def test_a_prompt_is_enough(slug: str, cleaned: dict[str, Any]) -> None:
    assert registry.operation(slug).clean(PROMPT) == PROMPT | cleaned


@pytest.mark.parametrize(
    ("slug", "inputs", "sentence"),
    [
        ("ai/image", {"prompt": "x" * 2_001}, "At most 2,000 characters"),
        ("ai/image", {"size": "1280x720"}, "Choose one of: 1024x1024"),
        ("ai/image", {"quality": "best"}, "Choose one of: draft"),
        ("ai/image", {"seconds": 4}, "There is no such input."),
        ("ai/script", {"prompt": " \n\t "}, "Write something here."),
        ("ai/script", {"prompt": "x" * 4_001}, "At most 4,000 characters"),
        ("ai/script", {"prompt": "nul \x00"}, "cannot be stored"),
        ("ai/script", {"prompt": "half \ud83d"}, "cannot be stored"),
        ("ai/script", {"kind": "poem"}, "Choose one of: advert"),
        ("ai/script", {"tone": "rude"}, "Choose one of: warm"),
        ("ai/script", {"seconds": 9}, "From 10 to 180."),
        ("ai/script", {"seconds": 181}, "From 10 to 180."),
        ("ai/script", {"length_max": 99}, "From 100 to 4000."),
        ("ai/script", {"length_max": 4_001}, "From 100 to 4000."),
        ("ai/script", {"length_max": 800.0}, "whole number"),
        ("ai/script", {"length_max": True}, "whole number"),
        ("ai/threads", {"audience": "x" * 201}, "At most 200 characters"),
        ("ai/threads", {"audience": None}, "Write text here."),
        ("ai/threads", {"posts": 2}, "From 3 to 20."),
        ("ai/threads", {"posts": 21}, "From 3 to 20."),
        ("ai/threads", {"posts": "6"}, "whole number"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(slug: str, inputs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(fields.InvalidInputs) as refused:
        registry.operation(slug).clean(PROMPT | inputs)
    named = refused.value.facts["fields"]
    assert list(named) == [f"inputs.{name}" for name in inputs]
    assert sentence in next(iter(named.values()))[0]


@pytest.mark.parametrize(
    ("slug", "inputs"),
    [
        ("ai/image", {"prompt": "\U0001f600" * 2_000}),
        ("ai/script", {"prompt": "\U0001f600" * 4_000, "seconds": 180, "length_max": 4_000}),
        ("ai/script", {"prompt": "x", "seconds": 10, "length_max": 100}),
        ("ai/threads", {"prompt": "\u202e\u200b", "audience": "\u00e9" * 200, "posts": 20}),
    ],
)
def test_the_largest_and_the_oddest_that_fit_are_taken_as_they_are(slug: str, inputs: dict[str, Any]) -> None:
    assert registry.operation(slug).clean(inputs).items() >= inputs.items()


@pytest.mark.parametrize("audience", ["", "   "])
def test_a_text_that_may_be_left_out_may_be_left_empty(audience: str) -> None:
    assert registry.THREADS.clean(PROMPT | {"audience": audience})["audience"] == "everyone"
    assert registry.THREADS.schema()["properties"]["audience"]["minLength"] == 0


def test_texts_are_read_and_the_rest_is_watched() -> None:
    assert {slug for slug, of in registry.OPERATIONS.items() if of.is_text} == {"ai/script", "ai/threads"}
