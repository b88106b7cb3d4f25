"""Three planted errors are three findings; what is designed is valid; what breaks callers is named with its place."""

# Tables of lines: one case stays one line.
# ruff: noqa: E501

import json
from contextlib import suppress
from typing import Any

import openapi_spec_validator
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry import runner, studio
from tools_registry.studio import BadInput, Result
from tools_registry.studios.dev import openapi_text
from tools_registry.studios.dev.api_designer import TOOL
from tools_registry.studios.dev.openapi_checks import CHECKS
from tools_registry.studios.dev.openapi_design import pascal

from .tabular import example, file, run

SOUND = """\
openapi: 3.1.0
info:
  title: Shop
  version: 1.0.0
servers:
  - url: https://api.shop.example
security:
  - key: []
paths:
  /orders/{order_id}:
    get:
      operationId: getOrder
      parameters:
        - name: order_id
          in: path
          required: true
          schema: {type: string}
      responses:
        "200":
          description: The order
          content:
            application/json:
              schema:
                $ref: "#/components/schemas/Order"
              example: {id: a, total: 1.5}
        "404":
          description: None such
  /orders:
    get:
      operationId: listOrders
      parameters:
        - name: limit
          in: query
          schema: {type: integer, maximum: 100}
      responses:
        "200":
          description: The orders
          content:
            application/json:
              schema:
                type: array
                items:
                  $ref: "#/components/schemas/Order"
        "400":
          description: Not like that
    post:
      operationId: createOrder
      requestBody:
        content:
          application/json:
            schema:
              $ref: "#/components/schemas/Draft"
      responses:
        "201":
          description: Made
        "422":
          description: Not like that
components:
  schemas:
    Order:
      type: object
      required: [id]
      properties:
        id: {type: string}
        total: {type: number}
        state: {type: string, enum: [open, paid]}
    Draft:
      type: object
      properties:
        total: {type: number}
        state: {type: string, enum: [open, paid]}
        note: {type: string, maxLength: 100}
  securitySchemes:
    key: {type: apiKey, in: header, name: X-Key}
"""


def check(spec: str, older: str | None = None) -> Result:
    return run(TOOL, {"task": "check", "spec": spec} | ({"older": older} if older is not None else {}))


def found(result: Result) -> list[tuple[str, int]]:
    return [(one["check"], one["line"]) for one in result.result["findings"]]


def changed(spec: str, *pairs: tuple[str, str]) -> str:
    for before, after in pairs:
        assert before in spec, before
        spec = spec.replace(before, after)
    return spec


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.split("\n"), 1) if part in line)


# Checks


def test_a_sound_file_has_no_findings() -> None:
    result = check(SOUND)
    assert result.result["findings"] == []
    assert result.result["counts"] == {
        "paths": 2,
        "operations": 3,
        "schemas": 2,
        "errors": 0,
        "warnings": 0,
        "notes": 0,
    }
    openapi_spec_validator.validate(json.loads(file(result, "openapi.json")))


def test_three_planted_errors_are_three_findings() -> None:
    planted = changed(
        SOUND,
        ("operationId: listOrders", "operationId: getOrder"),
        ("/orders/{order_id}:", "/orders/{order}:"),
        (
            'items:\n                  $ref: "#/components/schemas/Order"',
            'items:\n                  $ref: "#/components/schemas/Odrer"',
        ),
    ).replace("name: order_id", "name: order")
    planted = changed(planted, ("example: {id: a, total: 1.5}", "example: {id: a, total: much}"))
    result = check(planted)
    assert found(result) == sorted(
        [
            ("operation_id", [n for n, one in enumerate(planted.split("\n"), 1) if "operationId: getOrder" in one][1]),
            ("reference", line_of(planted, "Odrer")),
            ("example", line_of(planted, "total: much")),
        ],
        key=lambda pair: pair[1],
    )
    assert [one["severity"] for one in result.result["findings"]] == ["high"] * 3


# what is changed, which finding it makes
PLANTED = [
    ("name: order_id", "name: other", ["path_parameter", "path_parameter_unused"]),
    ("operationId: listOrders", "operationId: createOrder", ["operation_id"]),
    ("  - key: []", "  - other: []", ["security"]),
    ("  /orders:", "  orders:", ["path_slash"]),
    ("  /orders:", "  /orders/{id}:", ["path_repeated", "path_parameter", "path_parameter"]),
    ("schema: {type: integer, maximum: 100}", "schema: {type: integer, maximum: 100, default: 1.5}", ["default"]),
    ("schema: {type: integer, maximum: 100}", "schema: {type: integer, maximum: many}", ["validator"]),
    ("schema: {type: integer, maximum: 100}", "schema: {type: integer, maximum: 100}\n        - {name: limit, in: query, schema: {}}", ["parameter_repeated"]),
    ("  version: 1.0.0", "  version: 1.0.0\n  title: Twice", ["duplicate_key"]),
    ("  version: 1.0.0\n", "", ["structure"]),
    ("          description: The orders\n", "          summary: The orders\n", ["structure"]),
    ("https://api", "http://api", ["plain_server"]),
    ("in: header, name", "in: query, name", ["key_in_query"]),
    ("      operationId: listOrders\n", "", ["no_operation_id"]),
    ("operationId: listOrders", "operationId: list_orders", ["id_style"]),
    ('        "422":\n          description: Not like that\n', "", ["no_failure"]),
    ('        "201":\n          description: Made\n', "", ["no_success"]),
    ("  /orders:", "  /my_Orders:", ["path_name"]),
    ("    Draft:\n      type: object\n", "    Draft:\n      type: object\n      required: [owner]\n", ["required_unknown"]),
    ("    Draft:\n", "    Spare: {type: string}\n    Draft:\n", ["unused"]),
    ("  - key: []", "  - {}", []),
    ("    get:\n      operationId: listOrders", "    get:\n      requestBody: {content: {}}\n      operationId: listOrders", ["body_on_get"]),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "expected"), PLANTED, ids=lambda one: str(one)[:30])
def test_each_planted_defect_is_named(before: str, after: str, expected: list[str]) -> None:
    planted = changed(SOUND, (before, after))
    assert sorted(name for name, _ in found(check(planted))) == sorted(expected)


def test_no_answers_and_open_writes() -> None:
    spec = "openapi: 3.0.3\ninfo: {title: a, version: '1'}\npaths:\n  /a:\n    delete:\n      operationId: x\n      responses: {}\n"
    assert found(check(spec)) == [("responses", 5), ("open_write", 5)]


def test_an_example_in_3_0_may_be_null_where_it_says_so() -> None:
    head = "openapi: 3.0.3\ninfo: {title: a, version: '1'}\npaths: {}\ncomponents:\n  schemas:\n"
    nullable = "    A: {type: string, nullable: true, example: null}\n"
    assert "example" not in dict(found(check(head + nullable)))
    assert "example" in dict(found(check(head + nullable.replace("true", "false"))))


@pytest.mark.parametrize(
    ("path", "is_odd"),
    [
        ("/{shop}/{order_id}", False),
        ("/shops/{shop}/{order_id}/lines", False),
        ("/", False),
        ("/orders/{order_id}/", True),
        ("/orders//{order_id}", True),
        ("/Orders/{order_id}", True),
    ],
)
def test_paths_with_parameters_side_by_side_are_named_as_most_are(path: str, is_odd: bool) -> None:
    names = {name for name, _ in found(check(changed(SOUND, ("/orders/{order_id}:", f"{path}:"))))}
    assert ("path_name" in names) is is_odd


def test_openapi_spec_validator_has_the_last_word_on_what_is_fine() -> None:
    """An outside program agrees: what has no errors here is valid there."""
    for before, after, names in PLANTED:
        spec = changed(SOUND, (before, after))
        if not any(one["severity"] == "high" for one in check(spec).result["findings"]):
            openapi_spec_validator.validate(yaml.safe_load(spec))
        elif names and names[0] in ("structure", "operation_id", "path_slash"):
            with pytest.raises(Exception):  # noqa: B017, PT011
                openapi_spec_validator.validate(yaml.safe_load(spec))


def test_every_check_says_what_to_do() -> None:
    assert all(
        severity in ("high", "medium", "low", "info") and fix.endswith(".") for severity, _, fix in CHECKS.values()
    )


# Hostile files


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            changed(SOUND, ("#/components/schemas/Draft", "https://evil.example/a.yaml")),
            "leads to https://evil.example",
        ),
        (changed(SOUND, ("#/components/schemas/Draft", "file:///etc/passwd")), "leads to file:///etc/passwd"),
        (changed(SOUND, ("#/components/schemas/Draft", "other.yaml#/A")), "leads to other.yaml"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
            "Written out",
        ),
        ("a: &a [*a]", "not there yet"),
        ("[" * 5000, "nested more than"),
        ("a: b: c", "Line 1 is no YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "openapi must be"),
        ("? [a]\n: b", "a key must be a word"),
        ("a: 1\n---\nb: 2", "second document"),
        ("swagger: '2.0'", "Swagger 2.0"),
        ("openapi: 3.1", "openapi must be a text"),
        ("- a", "no OpenAPI file"),
        ("x", "no OpenAPI file"),
        ("\x01", "no YAML|character"),
        ("openapi: 4.0.0", "openapi must be"),
        ("openapi: 3.2.0", "3.2.0 is not read"),
    ],
    ids=lambda one: one[:16],
)
def test_what_harms_or_cannot_be_read_is_refused_by_name(spec: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        check(spec)
    assert list(refused.value.fields) == ["spec"]


def test_the_older_file_is_refused_by_its_own_name() -> None:
    with pytest.raises(BadInput) as refused:
        check(SOUND, "a: b: c")
    assert list(refused.value.fields) == ["older"]
    with pytest.raises(BadInput) as refused:
        run(TOOL, {"task": "check"})
    assert list(refused.value.fields) == ["spec"]


def test_a_schema_that_refers_to_itself_is_read() -> None:
    tree = "    Draft:\n      type: object\n      example: {child: {child: {}}}\n      properties:\n        child: {$ref: '#/components/schemas/Draft'}\n"
    assert check(changed(SOUND, ("    Draft:\n      type: object\n      properties:\n", tree))).result["findings"] == []
    for loop in ("{$ref: '#/components/schemas/Order'}", "{allOf: [{$ref: '#/components/schemas/Order'}]}"):
        spec = changed(
            SOUND, ("    Order:\n      type: object\n", f"    Order: {loop}\n    Other:\n      type: object\n")
        )
        assert check(spec, spec).result["changes"] == []


def test_yaml_is_read_as_1_2() -> None:
    written = openapi_text.read(b"on: yes\nno: 012\nx: 1.50\ny: 2026-03-02\nz: ~\nw: 1e400\nv: '1'\n")
    assert written.value == {"on": "yes", "no": 12, "x": 1.5, "y": "2026-03-02", "z": None, "w": "1e400", "v": "1"}
    assert written.line(("y",)) == 4
    merged = openapi_text.read(b"a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n")
    assert merged.value["b"] == {"y": 3, "x": 1}


def test_pages_are_escaped() -> None:
    result = check(
        changed(
            SOUND,
            ("title: Shop", "title: <script>alert(1)</script>"),
            ("description: The orders", "description: '<img src=x onerror=alert(1)> | x'"),
        )
    )
    page = file(result, "api.html")
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "\\<img" in file(result, "api.md")


# Changes: what is changed in the newer file, what it makes
CHANGES = [
    ("  /orders/{order_id}:\n", "  /other/{order_id}:\n", {"path_removed", "path_added"}),
    ("    post:\n", "    put:\n", {"operation_removed", "operation_added"}),
    ("        - name: limit\n          in: query\n          schema: {type: integer, maximum: 100}\n", "        - {name: size, in: query, required: true, schema: {type: integer}}\n", {"parameter_removed", "parameter_required"}),
    ("          in: query\n", "          in: query\n          required: true\n", {"parameter_required"}),
    ("{type: integer, maximum: 100}", "{type: integer, maximum: 50}", {"bound_tightened"}),
    ("{type: integer, maximum: 100}", "{type: number, maximum: 100}", set()),
    ("{type: integer, maximum: 100}", "{type: string}", {"type_changed"}),
    ("requestBody:\n", "requestBody:\n        required: true\n", {"body_required"}),
    ("            schema:\n              $ref: \"#/components/schemas/Draft\"", "            schema:\n              allOf: [{$ref: '#/components/schemas/Draft'}, {required: [total]}]", {"property_required"}),
    ("        note: {type: string, maxLength: 100}\n", "", {"property_removed"}),
    ("maxLength: 100}", "maxLength: 100}\n        more: {type: string}", {"property_added"}),
    ("note: {type: string, maxLength: 100}", "note: {type: string, maxLength: 10}", {"bound_tightened"}),
    ("        total: {type: number}\n        state: {type: string, enum: [open, paid]}\n        note", "        total: {type: number}\n        state: {type: string, enum: [open]}\n        note", {"enum_narrowed"}),
    ("        state: {type: string, enum: [open, paid]}\n    Draft", "        state: {type: string, enum: [open, paid, sent]}\n    Draft", {"enum_widened"}),
    ("        total: {type: number}\n        state: {type: string, enum: [open, paid]}\n    Draft", "        state: {type: string, enum: [open, paid]}\n    Draft", {"property_removed"}),
    ("      required: [id]\n", "", {"property_optional"}),
    ("        id: {type: string}", "        id: {type: integer}", {"type_changed"}),
    ("        id: {type: string}", "        id: {type: [string, 'null']}", {"null_added"}),
    ('        "200":\n          description: The orders', '        "202":\n          description: The orders', {"response_removed", "response_added"}),
    ("application/json:\n            schema:\n              $ref: \"#/components/schemas/Draft\"", "application/xml:\n            schema:\n              $ref: \"#/components/schemas/Draft\"", {"media_removed", "media_added"}),
    ("      operationId: listOrders\n", "      operationId: listOrders\n      security: [{key: []}, {}]\n", {"auth_removed"}),
    ("security:\n  - key: []\n", "security:\n  - new: []\n", {"auth_changed"}),
    ("in: header, name: X-Key", "in: header, name: X-Other", {"scheme_changed"}),
    ("https://api.shop", "https://api2.shop", {"server_removed"}),
    ("      operationId: listOrders\n", "      operationId: listOrders\n      deprecated: true\n", {"deprecated"}),
    ("  version: 1.0.0", "  version: 1.0.1", {"version"}),
    ("/orders/{order_id}:", "/orders/{order_id}:", set()),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "kinds"), CHANGES, ids=range(len(CHANGES)))  # a set's words change places
def test_each_change_is_named_with_its_place(before: str, after: str, kinds: set[str]) -> None:
    newer = changed(SOUND, (before, after))
    changes = check(newer, SOUND).result["changes"]
    assert {one["kind"] for one in changes} == kinds
    lines = {"newer": newer.split("\n"), "older": SOUND.split("\n")}
    for one in changes:
        assert 1 <= one["line"] <= len(lines[one["file"]])


def test_a_removed_operation_names_its_line_in_the_older_file() -> None:
    newer = changed(SOUND, ("    post:\n", "    put:\n"))
    (gone,) = [one for one in check(newer, SOUND).result["changes"] if one["is_breaking"]]
    assert gone == {
        "kind": "operation_removed", "is_breaking": True, "title": "An operation is gone", "text": "POST /orders",
        "pointer": "/paths/~1orders/post", "line": line_of(SOUND, "    post:"), "file": "older",
    }  # fmt: skip


def test_another_name_of_a_path_parameter_breaks_nobody() -> None:
    newer = SOUND.replace("order_id", "id")
    assert check(newer, SOUND).result["changes"] == []


def test_looser_requests_and_stricter_answers_break_nobody() -> None:
    newer = changed(
        SOUND,
        ("note: {type: string, maxLength: 100}", "note: {type: [string, 'null'], maxLength: 200}"),
        ("required: [id]", "required: [id, total]"),
    )
    assert [one for one in check(newer, SOUND).result["changes"] if one["is_breaking"]] == []


# Design


def designed(**inputs: Any) -> Result:
    return run(TOOL, {"resources": [{"name": "orders", "fields": "total: number required"}]} | inputs)


@pytest.mark.parametrize("auth", ["bearer", "api_key", "oauth2", "none"])
@pytest.mark.parametrize("pagination", ["cursor", "page", "none"])
def test_what_is_designed_is_valid(auth: str, pagination: str) -> None:
    rows = [
        {"name": "order-lines", "pagination": pagination, "fields": "product: Product required\ncount: integer\ntags: string[]\nstate: enum(a, b)  # why",
         "operations": ["list", "create", "read", "replace", "update", "delete"]},
        {"name": "products", "pagination": pagination, "is_public": True, "fields": "id: integer\nmail: email", "operations": ["list", "read"]},
    ]  # fmt: skip
    result = designed(auth=auth, resources=rows, errors="simple" if pagination == "page" else "problem")
    made = json.loads(file(result, "openapi.json"))
    openapi_spec_validator.validate(made)
    assert yaml.safe_load(file(result, "openapi.yaml")) == made
    assert result.result["counts"]["errors"] == 0
    assert result.result["counts"]["operations"] == 8
    assert made["paths"]["/order-lines/{id}"]["delete"]["operationId"] == "deleteOrderLine"
    assert made["components"]["schemas"]["OrderLine"]["properties"]["state"] == {
        "type": "string",
        "enum": ["a", "b"],
        "description": "why",
    }
    assert ("security" in made) == (auth != "none")


def test_a_change_says_what_may_be_changed() -> None:
    """A merge patch: nothing that only the server writes, nothing needed, and null for what need not be there."""
    fields = "id: uuid read-only\ntitle: string required\nstate: enum(open, paid)\nowner: Other\ntags: string[]\nat: datetime read-only"
    rows = [{"name": "orders", "fields": fields}, {"name": "others", "fields": "n: integer"}]
    document = json.loads(file(run(TOOL, {"task": "design", "resources": rows}), "openapi.json"))
    content = document["paths"]["/orders/{id}"]["patch"]["requestBody"]["content"]
    assert content["application/merge-patch+json"]["schema"] == {
        "type": "object",
        "minProperties": 1,
        "properties": {
            "title": {"type": "string", "maxLength": 255},
            "state": {"type": ["string", "null"], "enum": ["open", "paid", None]},
            "owner": {"anyOf": [{"$ref": "#/components/schemas/Other"}, {"type": "null"}]},
            "tags": {"type": ["array", "null"], "items": {"type": "string", "maxLength": 255}},
        },
    }


def test_two_inputs_give_two_apis() -> None:
    one = designed().result["operations"]
    other = designed(resources=[{"name": "boats", "operations": ["read"]}]).result["operations"]
    assert [row["path"] for row in one] == ["/orders", "/orders", "/orders/{id}", "/orders/{id}", "/orders/{id}"]
    assert [row["path"] for row in other] == ["/boats/{id}"]


def test_a_design_is_compared_with_an_older_file() -> None:
    result = designed(older=SOUND)
    kinds = {one["kind"] for one in result.result["changes"]}
    assert {"property_required", "auth_changed"} <= kinds
    assert "| What | Where |" in file(result, "changes.md")


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        ({"name": "Orders"}, "name", "Small letters"),
        ({"name": "errors"}, "name", "Another resource"),
        ({"name": "a", "operations": []}, "operations", "at least one"),
        ({"name": "a", "fields": "ok: string\nbroken"}, "fields", "Line 2"),
        ({"name": "a", "fields": "x: Nothing"}, "fields", "no type"),
        ({"name": "a", "fields": "x: string\nx: text"}, "fields", "there already"),
        ({"name": "a", "fields": "x: enum( , )"}, "fields", "at least one value"),
    ],
)
def test_a_wrong_resource_is_refused_by_name(row: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        designed(resources=[{"name": "fine"}, row])
    assert list(refused.value.fields) == [f"resources.1.{field}"]
    with pytest.raises(BadInput) as refused:
        run(TOOL, {"server": "nowhere", "resources": []})
    assert list(refused.value.fields) == ["resources"]


def test_singulars() -> None:
    assert [pascal(name) for name in ("orders", "order-lines", "categories", "boxes", "addresses", "status")] == [
        "Order", "OrderLine", "Category", "Box", "Address", "Status",
    ]  # fmt: skip


def test_the_example_works_twice_alike() -> None:
    first, second = example(TOOL), example(TOOL)
    assert studio.encode(first) == studio.encode(second)
    assert first.result["counts"]["errors"] == first.result["counts"]["warnings"] == 0
    assert first.result["breaking"] == 2


def ran(inputs: dict[str, Any]) -> Result:
    assert TOOL.limits is not None
    cleaned, files = TOOL.clean_with_files(inputs, {})
    answer = runner.run(TOOL.path, cleaned, files, TOOL.limits)
    assert (answer.stopped, answer.error) == (None, "")
    return studio.decode(answer.output)


def test_it_runs_under_its_limits() -> None:
    assert ran({"task": "check", "spec": SOUND, "older": SOUND}).result["findings"] == []
    assert ran(dict(TOOL.example)).result["counts"]["operations"] == 6


def test_a_large_file_stays_within_its_limits() -> None:
    """200 paths: read, checked, compared, told."""
    body = SOUND.partition("  /orders/{order_id}:")[2].partition("  /orders:\n")[0]
    paths = "".join(
        f"  /orders{number}/{{order_id}}:{body.replace('getOrder', f'getOrder{number}')}" for number in range(200)
    )
    large = changed(SOUND, ("paths:\n", f"paths:\n{paths}"))
    assert ran({"task": "check", "spec": large, "older": SOUND}).result["counts"]["operations"] == 203


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab/{}#$", max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["paths", "/a/{b}", "get", "post", "parameters", "name", "in", "schema", "type", "properties", "required", "responses", "200",
             "content", "application/json", "$ref", "example", "enum", "allOf", "items", "security", "components", "schemas", "securitySchemes"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=30,
)  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(PARTS, PARTS, st.sampled_from(["3.0.3", "3.1.0"]))
def test_any_document_is_checked_and_compared_or_refused(paths: Any, components: Any, version: str) -> None:
    spec = json.dumps(
        {"openapi": version, "info": {"title": "a", "version": "1"}, "paths": paths, "components": components}
    )
    older = json.dumps(
        {"openapi": version, "info": {"title": "a", "version": "1"}, "paths": components, "components": paths}
    )
    with suppress(BadInput):
        check(spec, older)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80) | st.text("abc:-[]{}&*#|>'\"!? \n", max_size=60))
def test_any_text_is_read_or_refused(spec: str) -> None:
    with suppress(openapi_text.Unreadable):
        openapi_text.read(spec.encode("utf-8", "replace"))
