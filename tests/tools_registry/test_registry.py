"""The operations: what each takes, what it refuses, and that its own example and its defaults can be run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from billing import clock as ledger_clock
from billing.models import Alert
from generations import monitoring
from tools_registry import checks, fields, registry
from tools_registry.studios.dev import cost

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


# A module that cannot be loaded


WHOLE = "from dataclasses import replace\nfrom tools_registry.studios.dev.cost import TOOL as cost\n"
BROKEN = {
    "no_such": "import no_such_library_at_all\n",
    "odd": "def run(:\n",
    "unsure": "raise ValueError('The\\ntable is empty.')\n",
    "wilful": "import sys\nsys.exit(3)\n",
    "wrong": WHOLE + "TOOL = replace(cost, slug='nowhere/wrong')\n",
    "twin": WHOLE + "TOOL = replace(cost, slug='dev-studio/whole')\n",
}


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A studio with one whole tool, a module without any, and several that cannot be loaded."""
    for floor in ("rooms_of_test", "rooms_of_test/attic", "rooms_of_test/cellar"):
        (tmp_path / floor).mkdir()
        (tmp_path / floor / "__init__.py").touch()
    (tmp_path / "rooms_of_test" / "cellar" / "__init__.py").write_text("raise OSError('flooded')\n")
    (tmp_path / "rooms_of_test" / "attic" / "a_whole.py").write_text(
        WHOLE + "TOOL = replace(cost, slug='dev-studio/whole')\n"
    )
    (tmp_path / "rooms_of_test" / "attic" / "plain.py").touch()
    for name, source in BROKEN.items():
        (tmp_path / "rooms_of_test" / "attic" / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("rooms_of_test")
    for name in [name for name in sys.modules if name.partition(".")[0] == "rooms_of_test"]:
        del sys.modules[name]


def test_a_module_that_cannot_be_loaded_keeps_no_other_out_and_says_why(studio: ModuleType) -> None:
    tools, broken = registry.find(studio)
    assert list(tools) == ["dev-studio/whole"]
    attic = "rooms_of_test.attic"
    assert set(broken) == {f"{attic}.{name}" for name in BROKEN} | {"rooms_of_test.cellar"}
    assert broken[f"{attic}.no_such"].startswith("ModuleNotFoundError: No module named 'no_such_library_at_all' (")
    assert broken[f"{attic}.unsure"] == "ValueError: The table is empty. (unsure.py, line 1)"
    assert broken[f"{attic}.wilful"].startswith("SystemExit: 3")
    assert broken[f"{attic}.odd"].startswith("SyntaxError")
    assert broken[f"{attic}.twin"] == f"It declares dev-studio/whole, as {attic}.a_whole does."
    assert broken["rooms_of_test.cellar"].startswith("OSError: flooded")


def test_every_shipped_module_is_loaded() -> None:
    assert registry.BROKEN == {}
    assert checks.every_tool_is_loaded(None) == checks.no_tool_is_left_out(None) == []
    assert cost.TOOL is registry.TOOLS[cost.TOOL.slug]


@pytest.mark.django_db(transaction=True)
def test_staff_are_told_of_what_was_left_out(monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    monkeypatch.setitem(registry.BROKEN, "studios.dev.security", "ImportError: no bandit")
    (warning,), (error,) = checks.every_tool_is_loaded(None), checks.no_tool_is_left_out(None)
    assert (warning.is_serious(), error.is_serious()) == (False, True), "the desk starts all the same"
    assert warning.msg == error.msg == "studios.dev.security cannot be loaded. ImportError: no bandit"
    assert "1 could not be loaded." in client.get("/readyz").json()["checks"]["tools"]
    monitoring.watch()
    alert = Alert.objects.get(name="tool_left_out")
    assert (alert.key, alert.cleared_at) == ("studios.dev.security", None)
    monkeypatch.delitem(registry.BROKEN, "studios.dev.security")
    monitoring.watch()
    alert.refresh_from_db()
    assert alert.cleared_at is not None
    assert alert.cleared_at <= ledger_clock.now()
