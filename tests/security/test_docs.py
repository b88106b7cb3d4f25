"""docs/security.md has a heading for every attack, and names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")

HEADINGS = [
    # The exploits of the platforms that came before
    "Early release for a free video",
    "Faked network errors",
    "Double charge by repeated status checks",
    "Letting holds expire",
    "Bypassing constraints",
    # Known attacks
    "Strangers' ids",
    "Unknown fields",
    "Prices, accounts and states set by the client",
    "Requests made by the server (SSRF)",
    "Uploads",
    "Script in words of people and providers (XSS), the admin included",
    "Content security policy",
    "Guessing and flooding (throttling)",
    "Secrets in logs, errors and stored headers",
    "Many holds at once",
    "Sign-up farming",
    "Stolen cards",
    "Moderation bait",
    "Slow jobs left to expire",
    "Output links passed on",
    "Formulas in CSV cells",
    "Guessing gift codes",
    # Tools
    "A tool taken over by what it reads",
    # What is delivered, and by whom
    "Hostile files",
    "Callbacks that nobody signed",
    "Files that belong to nobody",
    "Staff",
]


def sections() -> dict[str, str]:
    """What stands under each heading of an attack."""
    parts = re.split(r"(?m)^### (.+)$", PAGE)[1:]
    return {title: text.split("\n## ")[0] for title, text in zip(parts[::2], parts[1::2], strict=True)}


def names_of_tests(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_attack_has_its_heading() -> None:
    assert [title for title in HEADINGS if title not in sections()] == []


@pytest.mark.parametrize("title", sections())
def test_every_heading_names_tests_that_exist(title: str) -> None:
    named = NAMED.findall(sections()[title])
    assert named, "no test shows it"
    missing = [f"{path}::{name}" for path, name in named if name not in names_of_tests(ROOT / path)]
    assert missing == []


def test_everything_that_looks_like_a_test_is_named_so_that_it_is_checked() -> None:
    assert len(re.findall(r"::test_", PAGE)) == len(NAMED.findall(PAGE))


def test_every_test_of_this_folder_is_named() -> None:
    named = {name for _, name in NAMED.findall(PAGE)}
    here = [path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    assert {name for path in here for name in names_of_tests(path)} - named == set()


def test_the_five_exploits_are_tests_of_their_names() -> None:
    names = names_of_tests(ROOT / "tests" / "security" / "test_exploits.py")
    for title in HEADINGS[:5]:
        assert f"test_{re.sub('[^a-z]+', '_', title.lower())}" in names
