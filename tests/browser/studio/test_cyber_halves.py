"""The halves of the security tools in the browser: the same figures as the server's, and no draft makes them fail."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tools_registry import registry
from tools_registry.studio import Tool

from .bench import VIEW, View, bench

HALVES = [one for one in registry.TOOLS.values() if one.studio == "cyber-studio" and one.mode == "hybrid"]
ODD: tuple[Any, ...] = (None, {}, [], "x", 7, [None], ["constructor"])


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    complaints: list[str] = []
    with bench() as address:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        opened = context.new_page()
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        opened.goto(address)
        yield opened
        context.close()
    assert [one for one in complaints if "404" not in one] == []


def show(page: Page, tool: Tool, inputs: Any) -> View:
    answer = page.evaluate(VIEW, [tool.script.removeprefix("holdfast/studio/").removesuffix(".js"), inputs])
    return View(answer["blocks"], answer["problems"])


def example(slug: str) -> tuple[Tool, dict[str, Any]]:
    tool = registry.TOOLS[f"cyber-studio/{slug}"]
    return tool, copy.deepcopy(dict(tool.example))


def served(tool: Tool, inputs: Any) -> View:
    """The server's view of the same inputs."""
    assert tool.function is not None
    cleaned, files = tool.clean_with_files(inputs, {})
    return View([dict(one) for one in tool.function(cleaned, files).view], {})


@pytest.mark.parametrize("tool", HALVES, ids=lambda one: one.name)
def test_the_example_is_drawn_and_nothing_is_wrong_with_it(page: Page, tool: Tool) -> None:
    shown = show(page, tool, dict(tool.example))
    assert shown.problems == {}
    assert len(shown.blocks) > 1


@pytest.mark.parametrize("tool", HALVES, ids=lambda one: one.name)
def test_no_draft_makes_it_fail(page: Page, tool: Tool) -> None:
    whole = dict(tool.example)
    drafts: list[Any] = [{}, None, [], dict.fromkeys(whole, "")]
    drafts += [whole | {name: odd} for name in (of.name for of in tool.fields) for odd in ODD]
    for name, value in whole.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            drafts += [whole | {name: [row | {key: odd} for row in value]} for key in value[0] for odd in ODD]
            drafts += [whole | {name: [{**row, key: odd} for row in value[:1]]} for key in value[0] for odd in ODD]
            drafts.append(whole | {name: [None, 7, {}, []]})
    for draft in drafts:
        assert show(page, tool, draft).blocks


def test_a_threat_model_counts_what_the_server_counts(page: Page) -> None:
    tool, inputs = example("threat-modeling")
    here, there = show(page, tool, inputs), served(tool, inputs)
    assert here.fact("Threats to look at") == there.fact("Threats") == 43
    assert (here.fact("Across a boundary"), here.fact("Of these in plain text")) == (6, 2)
    applies = {row[0]: [cell == "yes" for cell in row[2:]] for row in here.block("Which threats apply")["rows"]}
    scored = {row[0]: [cell is not None for cell in row[2:]] for row in there.block("The same as a table")["rows"]}
    assert applies == scored
    inputs["flows"][0]["from"] = "Nobody"
    inputs["elements"][1]["zone"] = "Nowhere"
    wrong = show(page, tool, inputs).problems
    assert list(wrong) == ["elements.1.zone", "flows.0.from"]
    assert wrong["flows.0.from"].startswith("There is no element called Nobody. There are: Customer, ")


def test_a_risk_register_counts_what_the_server_counts(page: Page) -> None:
    tool, inputs = example("risk-register")
    here, there = show(page, tool, inputs), served(tool, inputs)
    assert here.block("So far")["pairs"] == there.block("At a glance")["pairs"]
    assert here.block("Ranking")["rows"] == there.block("Ranking")["rows"]
    mine, theirs = ([(row["severity"], row["title"]) for row in one.block("Checks")["rows"]] for one in (here, there))
    assert mine == theirs
    inputs["risks"][1]["due"] = "2026-02-30"
    assert show(page, tool, inputs).problems == {"risks.1.due": "Write a day as 2026-11-30; 2026-02-30 is none."}


def test_an_architecture_has_the_same_ways_here_and_there(page: Page) -> None:
    tool, inputs = example("security-architecture")
    title = "Ways from the internet"
    for authentication in ("password", "none"):
        inputs["entry_points"][2]["authentication"] = authentication
        inputs["components"][7] |= {"data": "special"}
        here, there = show(page, tool, inputs), served(tool, inputs)
        assert here.block(title)["rows"] == there.block(title)["rows"]
        assert len(here.block(title)["rows"]) == 2
        for fact in ("Components", "Connections across a boundary", "Of these in plain text"):
            assert here.fact(fact) == there.fact(fact)
        assert here.fact("Fewest barriers to sensitive data") == there.fact("Fewest barriers to sensitive data")
    inputs["connections"][0]["to"] = "Nobody"
    inputs["entry_points"][0]["component"] = "Nobody"
    assert list(show(page, tool, inputs).problems) == ["connections.0.to", "entry_points.0.component"]


def test_a_playbook_has_the_same_deadlines_here_and_there(page: Page) -> None:
    tool, inputs = example("ir-playbook")
    laws = next(of for of in tool.fields if of.name == "regulations").schema()["items"]["enum"]
    for people in (0, 499, 500, 501):
        for is_processor in (False, True):
            changed = inputs | {"regulations": laws, "people": people, "is_processor": is_processor}
            here = show(page, tool, changed).block("Who must be told")["rows"]
            there = served(tool, changed).block("Who must be told")["rows"]
            assert here == [[law, article, to, by, at] for law, article, to, _, by, at, _ in there]
    here, there = show(page, tool, inputs), served(tool, inputs)
    for fact in ("Notices that can be due", "First deadline", "Roles without a name"):
        assert here.fact(fact) == there.fact(fact)
    assert show(page, tool, inputs | {"detected_at": "2026-02-30T10:00"}).problems == {
        "detected_at": "Write day and time as 2026-11-21T08:30; 2026-02-30T10:00 is none."
    }
