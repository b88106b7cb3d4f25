"""The data schema's files are held against outside readers: jsonschema, PostgreSQL, and Avro's own rules."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import psycopg
import pytest
from django.db import connections
from playwright.sync_api import Browser

from tools_registry.studios.data.schema import TOOL

from .bench import Half, View, opened

pytestmark = pytest.mark.browser

Draft = dict[str, Any]


@pytest.fixture(scope="module")
def designer(browser: Browser) -> Iterator[Half]:
    with opened(browser, "data/schema") as half:
        yield half


@pytest.fixture(scope="module")
def postgres() -> Iterator[psycopg.Connection]:
    known = connections["default"].get_connection_params()
    known = {name: known[name] for name in ("host", "port", "user", "password") if known.get(name)}
    with psycopg.connect(**known, dbname="postgres", autocommit=True) as one:
        one.execute("DROP DATABASE IF EXISTS data_schema")
        one.execute("CREATE DATABASE data_schema")
        with psycopg.connect(**known, dbname="data_schema", autocommit=True) as other:
            yield other
        one.execute("DROP DATABASE data_schema WITH (FORCE)")


def field(name: str, kind: str = "string", **more: Any) -> Draft:
    return {"name": name, "type": kind, **more}


def errors(view: View) -> list[tuple[str, str, str]]:
    rows = list(csv.reader(io.StringIO(view.files["errors.csv"])))
    return [(line, name, said) for line, name, _, said in rows[1:]]


SAMPLE = TOOL.example_files["sample"][1].decode()
EARLIER = TOOL.example_files["previous"][1].decode()


def test_every_planted_error_is_told_with_its_line_and_field(designer: Half) -> None:
    view = designer.view({**TOOL.example, "sample": SAMPLE})
    assert view.problems == {}
    assert errors(view) == [
        ("3", "ordered_on", "It must be a day of the calendar, as 2026-01-31."),
        ("4", "customer_email", "It must match ^[^@ ]+@[^@ ]+$."),
        ("4", "total", "At most 2 digits behind the point."),
        ("5", "status", "It must be one of open, paid, sent."),
        ("5", "total", "It must be at least 0."),
        ("5", "coupon", "It must match ^[A-Z0-9]+$."),
        ("5", "order_id", "The same is in line 4."),
        ("6", "order_id", "It has no value and must have one."),
        ("6", "is_gift", "It must be true or false."),
    ]
    assert [view.fact(name) for name in ("Rows checked", "Rows without error", "Errors")] == [5, 1, 9]
    assert view.files["errors-by-field.svg"].count('class="bar"') == 7


RIGHT: Draft = {
    "id": 1,
    "email": "a@b",
    "score": 0.5,
    "price": 9.75,
    "is_new": True,
    "day": "2024-02-29",
    "at": "2026-01-31T09:30:00Z",
    "ref": "9b2f7c52-6d1e-4d0c-9b1a-0c3a5a1b2c3d",
    "kind": "a b",
}
FIELDS = [
    field("id", "integer", is_key=True, least=1),
    field("email", length_max=5, pattern="@"),
    field("score", "number", least=0, most=1),
    field("price", "decimal", size="5,2", most=500),
    field("is_new", "boolean"),
    field("day", "date"),
    field("at", "timestamp", is_required=False),
    field("ref", "uuid"),
    field("kind", values="a b | c", is_required=False),
]
WRONG: list[tuple[str, Any]] = [
    ("id", 0),
    ("id", 1.5),
    ("id", "1"),
    ("id", None),
    ("email", "none"),
    ("email", "too@long"),
    ("score", 1.01),
    ("score", True),
    ("price", 500.5),
    ("is_new", "true"),
    ("day", "2023-02-29"),
    ("day", 20230228),
    ("ref", "9b2f7c52"),
    ("kind", "b"),
    ("unknown", 1),
]


def test_json_rows_are_judged_as_jsonschema_judges_them_by_the_file(designer: Half) -> None:
    rows = [RIGHT] + [RIGHT | {"id": number} | {name: value} for number, (name, value) in enumerate(WRONG, start=2)]
    rows += [
        {name: value for name, value in RIGHT.items() if name != "kind"} | {"id": 99},
        RIGHT | {"id": 98, "at": None},
    ]
    view = designer.view({"fields": FIELDS, "sample": json.dumps(rows)})
    written = json.loads(view.files["schema.json"])
    jsonschema.Draft202012Validator.check_schema(written)
    judge = jsonschema.Draft202012Validator(written, format_checker=jsonschema.FormatChecker())
    ours = {int(line) - 1 for line, _, _ in errors(view)}
    assert ours == {number for number, row in enumerate(rows) if not judge.is_valid(row)}
    assert ours == set(range(1, len(WRONG) + 1))
    assert [(name, int(line)) for line, name, _ in errors(view)] == [
        (name, number) for number, (name, _) in enumerate(WRONG, start=2)
    ]


def test_the_table_keeps_out_what_the_checks_name(designer: Half, postgres: psycopg.Connection) -> None:
    view = designer.view({"name": "thing", "fields": FIELDS})
    postgres.execute("DROP TABLE IF EXISTS thing")
    postgres.execute(view.files["schema.sql"])  # type: ignore[call-overload]
    names = list(RIGHT)
    insert = f"INSERT INTO thing ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
    postgres.execute(insert, list(RIGHT.values()))  # type: ignore[call-overload]
    for name, value in [
        ("id", 0),
        ("id", None),
        ("email", "none"),
        ("email", "too@long"),
        ("score", 1.01),
        ("kind", "b"),
    ]:
        with pytest.raises(psycopg.Error):
            postgres.execute(insert, list((RIGHT | {"id": 7} | {name: value}).values()))  # type: ignore[call-overload]
    with pytest.raises(psycopg.errors.UniqueViolation):
        postgres.execute(insert, list(RIGHT.values()))  # type: ignore[call-overload]


def test_avro_and_parquet_are_known_answers(designer: Half) -> None:
    view = designer.view(
        {
            "name": "thing",
            "fields": [
                field("id", "integer", note="Its number"),
                field("name", was="title", is_required=False),
                field("price", "decimal", size="12,2"),
                field("state", values="open | shut", default="open"),
                field("at", "timestamp", is_required=False),
                field("day", "date"),
                field("ref", "uuid"),
                field("share", "number", default="0.5"),
            ],
        }
    )
    assert json.loads(view.files["schema.avsc"]) == {
        "type": "record",
        "name": "thing",
        "fields": [
            {"name": "id", "type": "long", "doc": "Its number"},
            {"name": "name", "type": ["null", "string"], "default": None, "aliases": ["title"]},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
            {
                "name": "state",
                "type": {"type": "enum", "name": "thing_state", "symbols": ["open", "shut"]},
                "default": "open",
            },
            {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": None},
            {"name": "day", "type": {"type": "int", "logicalType": "date"}},
            {"name": "ref", "type": {"type": "string", "logicalType": "uuid"}},
            {"name": "share", "type": "double", "default": 0.5},
        ],
    }
    assert view.files["schema-parquet.txt"] == (
        "message thing {\n"
        "  required int64 id (INTEGER(64,true));\n"
        "  optional binary name (STRING);\n"
        "  required int64 price (DECIMAL(12,2));\n"
        "  required binary state (ENUM);\n"
        "  optional int64 at (TIMESTAMP(MICROS,true));\n"
        "  required int32 day (DATE);\n"
        "  required fixed_len_byte_array(16) ref (UUID);\n"
        "  required double share;\n"
        "}\n"
    )


# The verdicts of Avro's schema resolution, where it has one
CHANGES: dict[str, tuple[list[Draft], list[Draft], str, str]] = {
    "nothing": ([field("a")], [field("a")], "", ""),
    "a new field that may be missing": ([field("a")], [field("a"), field("b", is_required=False)], "Yes", "Yes, if"),
    "a new field with a value": ([field("a")], [field("a"), field("b", default="x")], "Yes", "Yes, if"),
    "a new field without a value": ([field("a")], [field("a"), field("b")], "No", "Yes, if"),
    "a field that was always there is gone": ([field("a"), field("b")], [field("a")], "Yes, if", "No"),
    "a field with a value is gone": ([field("a"), field("b", default="x")], [field("a")], "Yes, if", "Yes"),
    "a whole number becomes a number": ([field("a", "integer")], [field("a", "number")], "Yes", "No"),
    "a number becomes a whole number": ([field("a", "number")], [field("a", "integer")], "No", "Yes"),
    "text becomes a number": ([field("a")], [field("a", "number")], "No", "No"),
    "it may be missing now": ([field("a")], [field("a", is_required=False)], "Yes", "No"),
    "it is always filled now": ([field("a", is_required=False)], [field("a")], "No", "Yes"),
    "another value": ([field("a", values="x")], [field("a", values="x | y")], "Yes", "No"),
    "one value less": ([field("a", values="x | y")], [field("a", values="x")], "No", "Yes"),
    "narrower bounds": ([field("a", "integer", most=9)], [field("a", "integer", most=8)], "No", "Yes"),
    "longer texts": ([field("a", length_max=9)], [field("a", length_max=10)], "Yes", "No"),
    "another pattern": ([field("a", pattern="x")], [field("a", pattern="y")], "No", "No"),
    "more digits": ([field("a", "decimal", size="9,2")], [field("a", "decimal", size="10,3")], "Yes", "No"),
    "another name": ([field("a")], [field("b", was="a")], "Yes", "No"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_judged_both_ways(designer: Half, name: str) -> None:
    before, after, backward, forward = CHANGES[name]
    earlier = designer.view({"fields": before}).files["schema-draft.json"]
    view = designer.view({"fields": after, "previous": earlier, "compatibility": "full"})
    rows = view.block("What changed")["rows"]
    if not backward:
        assert rows == []
        assert view.fact("Against the earlier version") == "Compatible"
        return
    assert len(rows) == 1
    for verdict, expected in zip(rows[0][2:], (backward, forward), strict=True):
        assert verdict.startswith(expected) if expected != "Yes" else verdict == "Yes"
    is_broken = "No" in (backward, forward)
    assert view.fact("Against the earlier version") == ("Breaks in one place" if is_broken else "Compatible")


def test_what_a_version_must_be_is_the_persons_choice(designer: Half) -> None:
    drafts = {"fields": [field("a", "number")], "previous": json.dumps({"fields": [field("a", "integer")]})}
    verdicts = {
        one: designer.view({**drafts, "compatibility": one}).fact("Against the earlier version")
        for one in ("backward", "forward", "full", "none")
    }
    assert verdicts == {
        "backward": "Compatible",
        "forward": "Breaks in one place",
        "full": "Breaks in one place",
        "none": "1 changes",
    }


def test_the_example_breaks_where_it_is_meant_to(designer: Half) -> None:
    view = designer.view({**TOOL.example, "sample": SAMPLE, "previous": EARLIER})
    broken = [title for severity, title, _ in view.found("Compatibility") if severity == "high"]
    assert [title.split()[0] for title in broken] == ["order_id", "customer_email", "status", "total"]
    assert TOOL.clean_with_files(dict(TOOL.example), dict(TOOL.example_files))[1]["sample"] == SAMPLE.encode()


@pytest.mark.parametrize(
    ("sample", "found"),
    [
        ("id;name\r\n1;a\r\nx;b\r\n", [("3", "id")]),
        ('id\tname\n1\t"two\nlines"\nx\tb\n', [("4", "id")]),
        ('id,name\n1,"a ""quoted"", one"\n2\n', [("3", "(row)"), ("3", "name")]),
        ('{"id": 1, "name": "a"}\n\n{"id": "2", "name": "b"}\n', [("3", "id")]),
        ('[{"id": 1, "name": "a"}, 7]', [("2", "(row)"), ("2", "id"), ("2", "name")]),
        ('{"id": 1}', [("1", "name")]),
        ("\ufeffid,name\n1,a\n", []),
        ("id,name\n9223372036854775807,a\n9223372036854775808,b\n", [("3", "id")]),
    ],
)
def test_samples_are_read_as_they_come(designer: Half, sample: str, found: list[tuple[str, str]]) -> None:
    view = designer.view({"fields": [field("id", "integer"), field("name")], "sample": sample})
    assert [(line, name) for line, name, _ in errors(view)] == found


@pytest.mark.parametrize(
    ("draft", "place"),
    [
        ({"fields": [field("a b")]}, "fields.0.name"),
        ({"fields": [field("a"), field("A")]}, "fields.1.name"),
        ({"fields": [field("a", pattern="(")]}, "fields.0.pattern"),
        ({"fields": [field("a", "integer", least=2, most=1)]}, "fields.0.most"),
        ({"fields": [field("a", "decimal", size="2,3")]}, "fields.0.size"),
        ({"fields": [field("a", "date", default="soon")]}, "fields.0.default"),
        ({"fields": [field("a", "date", pattern="x")]}, "fields.0.pattern"),
        ({"fields": [field("a")], "name": "9"}, "name"),
        ({"fields": [field("a")], "previous": "[]"}, "previous"),
        ({"fields": [field("a")], "sample": "[1"}, "sample"),
        ({"fields": [field("a")], "sample": "a,a\n1,2\n"}, "sample"),
    ],
)
def test_what_is_wrong_is_named(designer: Half, draft: Draft, place: str) -> None:
    view = designer.view(draft)
    assert list(view.problems) == [place]
    assert view.blocks


def test_names_are_held_against_the_agreed_style(designer: Half) -> None:
    view = designer.view({"fields": [field("customerID"), field("user", is_key=True)], "naming": "snake"})
    assert view.found("Fields and names") == [
        ("medium", "Not snake_case", "customerID"),
        ("low", "A word of SQL", "user"),
    ]
    assert view.block("Fields and names")["rows"][0]["fix"] == "Call it customer_id."


def test_the_errors_file_holds_no_formula(designer: Half) -> None:
    view = designer.view({"fields": [field("a", "integer")], "sample": "a\n=1+1\n"})
    assert "'=1+1" in view.files["errors.csv"]


def test_ten_thousand_rows_are_checked_in_a_moment(designer: Half) -> None:
    sample = "id,name\n" + "".join(f"{number},n{number}\n" for number in range(10_000)) + "x,y\n" * 1500
    view = designer.view({"fields": [field("id", "integer", is_key=True), field("name")], "sample": sample})
    assert view.fact("Rows without error") == 10_000
    assert len(errors(view)) == 1000
    assert "1,000 of" in view.block("Not everything")["paragraphs"][0]


@pytest.mark.parametrize(
    "draft", [None, {}, {"fields": 3}, {"fields": [None, {"name": 5}, field("a", "?")], "sample": 4}]
)
def test_any_draft_gives_something(designer: Half, draft: Any) -> None:
    assert designer.view(draft).blocks
