"""A provider's text in parts: what is understood of its marks, and that every other letter stays as it was written."""

from __future__ import annotations

import pytest

from generations import prose
from tests.pace import within_cpu

MARKS = {(True, False): "«{}»", (False, True): "‹{}›", (False, False): "{}"}
Shown = tuple[str, int, list[str]]


def shown(text: str) -> list[Shown]:
    """Each block's kind, its level or first number, and its lines, bold between «», slanted between ‹›."""
    return [
        (
            block.kind,
            block.level if block.kind == "heading" else block.start,
            ["".join(MARKS[run.is_bold, run.is_slanted].format(run.text) for run in line) for line in block.lines],
        )
        for block in prose.blocks(text)
    ]


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("", []),
        (" \n\n\t\n", []),
        ("One\nTwo\n\nThree", [("paragraph", 1, ["One", "Two"]), ("paragraph", 1, ["Three"])]),
        ("# Title", [("heading", 1, ["Title"])]),
        ("### Scene 1 ##", [("heading", 3, ["Scene 1"])]),
        ("#hashtag stays", [("paragraph", 1, ["#hashtag stays"])]),
        ("####### seven", [("paragraph", 1, ["####### seven"])]),
        ("# A\ntext", [("heading", 1, ["A"]), ("paragraph", 1, ["text"])]),
        ("- a\n\n- b", [("bullets", 1, ["a", "b"])]),
        ("1. a\n2. b\n\nc\n3. d", [("numbers", 1, ["a", "b"]), ("paragraph", 1, ["c"]), ("numbers", 3, ["d"])]),
        ("3/6 is no list", [("paragraph", 1, ["3/6 is no list"])]),
        ("---", [("across", 1, [])]),
        ("* * *", [("across", 1, [])]),
        ("-5 °C outside", [("paragraph", 1, ["-5 °C outside"])]),
        ("**HOST:** Hello, **you**.", [("paragraph", 1, ["«HOST:» Hello, «you»."])]),
        ("2 ** 3 ** 4, ****, **open", [("paragraph", 1, ["2 ** 3 ** 4, ****, **open"])]),
        ("*A note.*", [("paragraph", 1, ["‹A note.›"])]),
        ("5*3 and 4*2, a * b * c, *open", [("paragraph", 1, ["5*3 and 4*2, a * b * c, *open"])]),
        ("***", [("across", 1, [])]),
        ("***both***", [("paragraph", 1, ["***both***"])]),
        ("- **Hook** first", [("bullets", 1, ["«Hook» first"])]),
        ("<b>x</b> [a](javascript:1)", [("paragraph", 1, ["<b>x</b> [a](javascript:1)"])]),
        ("![x](https://evil.test/p.png)", [("paragraph", 1, ["![x](https://evil.test/p.png)"])]),
        ("a\r\nb\u2028c", [("paragraph", 1, ["a", "b", "c"])]),
    ],
)
def test_a_text_and_its_parts(text: str, blocks: list[Shown]) -> None:
    assert shown(text) == blocks


@pytest.mark.parametrize(
    "piece", ["#", "# a ", "- ", "1. ", "* ", "**", "**a", "*a", " *a", "- - ", "_ _ ", "\n# ", "a#", " #\t"]
)
def test_no_text_keeps_the_page_waiting(piece: str) -> None:
    with within_cpu(2):
        prose.blocks(piece * (100_000 // len(piece)))
