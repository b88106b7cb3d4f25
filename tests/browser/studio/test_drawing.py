"""Both halves of the drawing draw the same: the browser's in Chromium, under the site's own policy."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.tools_registry.studios.drawing_cases import CASES, draw

from .bench import bench

pytestmark = pytest.mark.browser

DRAW = """async ([name, title, positional, named]) => {
  const drawing = await import("studio/drawing");
  const picture = drawing[name](title, ...positional, named);
  document.body.replaceChildren(picture);
  const kinds = [...picture.querySelectorAll("g[class]")].map((one) => one.getAttribute("class"));
  return {text: drawing.svgText(picture), kinds, tag: picture.tagName};
}"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    complaints: list[str] = []
    with bench() as address:
        context = browser.new_context()
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        yield page
        context.close()
    assert [one for one in complaints if "favicon" not in one and "404" not in one] == []


@pytest.mark.parametrize("name", CASES)
def test_both_draw_the_same(page: Page, name: str) -> None:
    function, positional, named = CASES[name]
    ours = draw(function, name, *positional, **named)
    theirs = page.evaluate(DRAW, [function, name, positional, named])
    assert theirs["tag"] == "svg"
    kinds = [group.get("class") for group in ET.fromstring(ours).iter("{http://www.w3.org/2000/svg}g")]
    assert Counter(theirs["kinds"]) == Counter(one for one in kinds if one)
    assert theirs["text"] == ours.decode()


def test_a_picture_follows_the_pages_theme(page: Page) -> None:
    colours = []
    for theme in ("light", "dark"):
        page.evaluate("(theme) => { document.documentElement.dataset.theme = theme }", theme)
        function, positional, named = CASES["bars"]
        page.evaluate(DRAW, [function, "bars", positional, named])
        colours.append(page.evaluate("() => getComputedStyle(document.querySelector('svg text')).fill"))
    assert colours == ["rgb(20, 35, 43)", "rgb(237, 242, 240)"]
