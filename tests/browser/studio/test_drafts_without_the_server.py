"""Every half in the browser goes on when the server has stopped, and what it saves is what the server takes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.instance import Instance
from tools_registry import registry, shelf
from tools_registry.studio import Tool

pytestmark = pytest.mark.browser
HALVES = [tool for tool in registry.TOOLS.values() if tool.mode != "server"]


@pytest.fixture(scope="module")
def pages(browser: Browser) -> Iterator[dict[str, Page]]:
    """The page of each tool, opened by somebody who is not signed in; then the server was stopped."""
    with tempfile.TemporaryDirectory(prefix="holdfast-halves-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        running = Instance(Path(name) / "data")
        context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
        opened: dict[str, Page] = {}
        try:
            running.start().ready()
            for tool in HALVES:
                page = context.new_page()
                page.goto(f"{running.url}/studio/{tool.slug}")
                page.locator("html[data-studio=ready]").wait_for()
                opened[tool.slug] = page
        finally:
            running.stop()
        yield opened
        context.close()


def exported(page: Page) -> Any:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the draft").click()
    return json.loads(download.value.path().read_text())


def not_text(tool: Tool) -> dict[str, tuple[str, bytes]]:
    """The example's files that cannot be pasted, so that no draft has them."""
    names = {of.name for of in tool.documents if not of.is_text}
    return {name: file for name, file in tool.example_files.items() if name in names}


@pytest.mark.parametrize("tool", HALVES, ids=lambda tool: tool.slug)
def test_a_draft_is_drawn_judged_and_saved_without_the_server(pages: dict[str, Page], tool: Tool) -> None:
    page = pages[tool.slug]
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.bring_to_front()
    page.get_by_role("link", name="Load the example").click()
    expect(page.locator("#live .block").first).to_be_visible()
    expect(page.locator("#draft .error")).to_have_count(0)
    drawn = page.locator("#live").inner_text()
    assert len(drawn) > 50

    draft = exported(page)
    sent = not_text(tool)
    cleaned, files = tool.clean_with_files(draft, sent)
    assert (cleaned, files) == tool.clean_with_files(shelf.example_of(tool), sent), "the example as it is published"

    page.get_by_role("button", name="Start afresh").click()
    expect(page.locator("#kept")).to_contain_text("A fresh form.")
    page.locator("#import").set_input_files(
        {"name": "draft.json", "mimeType": "application/json", "buffer": json.dumps(draft).encode()}
    )
    expect(page.locator("#kept")).to_contain_text("Opened draft.json.")
    assert exported(page) == draft
    expect(page.locator("#live .block").first).to_be_visible()
    assert page.locator("#live").inner_text() == drawn
    assert errors == []


@pytest.mark.parametrize("tool", HALVES, ids=lambda tool: tool.slug)
def test_rows_come_and_go_and_the_draft_stays_whole(pages: dict[str, Page], tool: Tool) -> None:
    page = pages[tool.slug]
    page.bring_to_front()
    page.get_by_role("link", name="Load the example").click()
    draft = exported(page)
    for name, value in draft.items():
        if not isinstance(value, list) or len(value) < 2 or not isinstance(value[0], dict):
            continue
        rows = page.locator(f'[data-rows="{name}"]')
        rows.locator(":scope > .row-list > [data-row]").first.locator(":scope > [data-remove]").click()
        assert exported(page)[name] == value[1:], "the others moved up"
        rows.locator(":scope > div > [data-add]").click()
        assert exported(page)[name][:-1] == value[1:]


def test_a_draft_stays_in_the_browser(visit: Any) -> None:
    tool = next(tool for tool in HALVES if any(type(of).__name__ == "Rows" for of in tool.fields))
    page = visit(f"/studio/{tool.slug}")
    page.locator("html[data-studio=ready]").wait_for()
    page.get_by_role("link", name="Load the example").click()
    page.locator("#draft [data-add]").first.click()
    before = exported(page)
    page.reload()
    page.locator("html[data-studio=ready]").wait_for()
    expect(page.locator("#kept")).to_contain_text("the draft that you left here")
    assert exported(page) == before


def test_what_is_no_draft_is_told_so(visit: Any) -> None:
    page = visit(f"/studio/{HALVES[0].slug}")
    page.locator("html[data-studio=ready]").wait_for()
    for content in (b"not json", b"[1]", b"\xff\xfe"):
        page.locator("#import").set_input_files({"name": "x.json", "mimeType": "text/plain", "buffer": content})
        expect(page.locator("#kept")).to_contain_text("x.json is no draft")
    page.locator("#import").set_input_files({"name": "y.json", "mimeType": "text/plain", "buffer": b'{"odd": 1}'})
    expect(page.locator("#kept")).to_contain_text("no such inputs: odd")
