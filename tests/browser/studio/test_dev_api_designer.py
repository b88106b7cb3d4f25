"""The API designer's half in the browser: it draws the very document that the server makes, and fails at no draft."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tools_registry.studios.dev.api_designer import TOOL

from .bench import Half, View, bench

pytestmark = pytest.mark.browser
ODD: tuple[Any, ...] = (None, {}, [], "x", 7)
ROWS = [
    {
        "name": "order-lines",
        "description": "What was bought",
        "fields": "product: Product required\ncount: integer\ntags: string[]\nstate: enum(a, b, a) read-only  # why",
        "operations": ["list", "create", "read", "replace", "update", "delete"],
        "pagination": "none",
        "is_public": False,
    },
    {
        "name": "products",
        "fields": "id: integer required read-only # number\nmail: email required",
        "operations": ["list", "read"],
        "pagination": "page",
        "is_public": True,
    },
    {"name": "boxes"},
]


@pytest.fixture(scope="module")
def half(browser: Browser) -> Iterator[Half]:
    with bench() as address:
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        yield Half(page, "dev/api_designer")
        assert errors == []
        page.close()


def document(view: View) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(view.block("openapi.json")["downloads"][0]["content"])
    return made


def of_server(inputs: dict[str, Any]) -> dict[str, Any]:
    assert TOOL.function is not None
    cleaned, files = TOOL.clean_with_files(inputs, {})
    made: dict[str, Any] = json.loads(
        next(one for one in TOOL.function(cleaned, files).files if one.name == "openapi.json").content
    )
    return made


@pytest.mark.parametrize("auth", ["bearer", "api_key", "oauth2", "none"])
@pytest.mark.parametrize("errors", ["problem", "simple"])
def test_it_draws_what_the_server_makes(half: Half, auth: str, errors: str) -> None:
    for inputs in (
        dict(TOOL.example),
        {"resources": ROWS},
        {"resources": ROWS[::-1], "server": "/v1", "description": "x"},
    ):
        draft = inputs | {"auth": auth, "errors": errors}
        view = half.view(draft)
        assert view.problems == {}
        assert json.dumps(document(view)) == json.dumps(of_server(draft))


def test_what_is_wrong_is_named_as_the_server_names_it(half: Half) -> None:
    rows = [
        {"name": "Orders"},
        {"name": "a", "fields": "x: string\nbroken"},
        {"name": "b", "operations": []},
        {"name": "a"},
    ]
    assert half.view({"resources": rows}).problems == {
        "resources.0.name": "Small letters, digits and dashes, in the plural: order-lines.",
        "resources.1.fields": "Line 2: write “name: type”, then required or read-only: broken",
        "resources.2.operations": "Choose at least one.",
        "resources.3.name": "Another resource has this name, or one too like it.",
    }


SPEC = """openapi: "3.1.0"
info: {title: a, version: "1"}
paths:
  /orders:
    get:
      responses: {}
    post: {}
  "/orders/{id}":
    delete: {}
"""


def test_a_pasted_file_shows_its_operations(half: Half) -> None:
    view = half.view({"task": "check", "spec": SPEC})
    assert view.problems == {}
    assert view.block("Operations")["rows"] == [["GET", "/orders"], ["POST", "/orders"], ["DELETE", "/orders/{id}"]]
    same = half.view({"task": "check", "spec": json.dumps(document(half.view(dict(TOOL.example))))})
    assert len(same.block("Operations")["rows"]) == 6


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("swagger: '2.0'\n", "openapi: 3.1.0 is missing."),
        ("{", "no JSON yet"),
        ("openapi: 4.0.0\n", "info is missing."),
    ],
)
def test_what_a_pasted_file_lacks(half: Half, spec: str, said: str) -> None:
    assert said in half.view({"task": "check", "spec": spec}).problems["spec"]


def test_no_draft_makes_it_fail(half: Half) -> None:
    whole = dict(TOOL.example)
    drafts: list[Any] = [None, {}, [], "x", {"task": "check"}]
    drafts += [whole | {of.name: odd} for of in TOOL.fields for odd in ODD]
    drafts += [
        whole | {"resources": [row | {key: odd} for row in whole["resources"]]} for key in ROWS[0] for odd in ODD
    ]
    drafts += [
        whole | {"resources": [None, 7, {}, [], {"name": "constructors", "fields": "a: constructor\nb: toString"}]}
    ]
    drafts += [{"task": "check", "spec": SPEC[:cut]} for cut in range(0, len(SPEC), 9)]
    for draft in drafts:
        assert half.view(draft).blocks
