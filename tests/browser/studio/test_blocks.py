"""A result looks the same whoever draws it: the server's template, or the script in the browser."""

from __future__ import annotations

import re

import pytest
from django.template.loader import render_to_string
from playwright.sync_api import Browser

from tools_registry import blocks, studio

from .bench import bench

pytestmark = pytest.mark.browser
VIEW = [
    studio.facts("At a glance", [("Rows", 12_345), ("Share", 0.33333), ("Open", True), ("No", None), ("Year", 2026)]),
    studio.table(
        "By score",
        ["Name", "Score", "Price", "Part"],
        [["<b>a</b>", -4, "£1,200.00", "12.5 %"], ["b", 1234.56789, "£3.50", ""], ["c", None, "£0.10", "3 %"]],
        note="Sorted by score.",
    ),
    studio.table("Long", ["Number"], [[number] for number in range(250)]),
    studio.table(
        "Points under points",
        ["Part", "Score", "Weight", "When", "Small"],
        [
            ["one-part-and-another", 97.619, 0.25, "2026-01-05", 1e-05],
            ["b c", -83.3333, 1, "2026-01-05 09:30", 0.5],
            ["c", 12_000, None, "at noon, or some time after it, as far as anybody who was there remembers it", 2],
        ],
    ),
    studio.table("Empty", ["Name"], []),
    studio.findings(
        "Found",
        [
            {"severity": "critical", "title": "One", "where": "a.py:3", "text": "Why.", "fix": "Do.", "link": "https://x.test"},
            {"severity": "odd", "title": "Two", "link": "javascript:alert(1)"},
        ],
    ),
    studio.findings("None", [], none="All is well."),
    studio.text("Words", ["One & two.", "<script>three</script>"]),
    studio.code("Source", "a: 1\n  b: <2>\n", language="yaml"),
]  # fmt: skip
PLAIN = "element => element.innerText.replace(/\\s+/g, ' ').trim()"
CLASSES = "element => [...element.querySelectorAll('*')].map(one => one.tagName + '.' + one.getAttribute('class'))"
DRAW = """async view => {
  const { draw } = await import("studio/blocks");
  document.documentElement.className = "js";
  document.body.replaceChildren(draw(view));
}"""


def test_both_draw_the_same(browser: Browser) -> None:
    shown = blocks.drawn(VIEW, {})
    html = render_to_string("tools_registry/_blocks.html", {"blocks": shown, "run": {"id": "r"}})
    with bench() as address:
        page = browser.new_page()
        page.goto(address)
        page.evaluate(DRAW, VIEW)
        body = page.locator("body")
        mine, my_parts = body.evaluate(PLAIN), body.evaluate(CLASSES)
        page.evaluate("html => { document.body.innerHTML = html }", html)
        theirs, their_parts = body.evaluate(PLAIN), body.evaluate(CLASSES)
        page.close()
    assert mine == theirs

    def of_interest(parts: list[str]) -> list[str]:
        return [
            re.sub(r"\.(null|)$", "", part) for part in parts if not re.match(r"(svg|use|button|BUTTON|SPAN)", part)
        ]

    assert of_interest(my_parts) == of_interest(their_parts)
