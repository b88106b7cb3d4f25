"""Describes the fields of a data set, and checks rows and later versions against them. All of it happens in the
browser: static/holdfast/studio/data/schema.js."""

from __future__ import annotations

from tools_registry.fields import Choice, Document, Flag, Number, Rows, Text, Whole
from tools_registry.studio import Tool

TYPES = {
    "string": "Text",
    "integer": "Whole number",
    "number": "Number, rounded",
    "decimal": "Decimal, exact",
    "boolean": "Yes or no",
    "date": "Date",
    "timestamp": "Moment (with zone)",
    "uuid": "UUID",
}


def _field(name: str, kind: str, **more: object) -> dict[str, object]:
    plain: dict[str, object] = {"name": name, "type": kind, "is_required": True, "is_key": False}
    texts = dict.fromkeys(("size", "values", "pattern", "default", "was", "note"), "")
    return plain | texts | more


TOOL = Tool(
    slug="data-studio/schema",
    title="Data schema",
    noun="schema",
    summary="Describe fields once: JSON Schema, Avro, SQL and Parquet, sample rows checked, versions compared.",
    mode="client",
    icon="layers",
    fields=(
        Text(name="name", title="Name of a record", length_max=60, is_short=True, default="record"),
        Choice(
            name="naming",
            title="How names are written",
            choices={"snake": "snake_case", "camel": "camelCase", "any": "as they come"},
            default="snake",
        ),
        Rows(
            name="fields",
            title="Fields",
            noun="field",
            count_max=200,
            fields=(
                Text(name="name", title="Name", length_max=60, is_short=True, is_required=True),
                Choice(name="type", title="Type", choices=TYPES, default="string"),
                Flag(name="is_required", title="Always filled", default=True),
                Flag(name="is_key", title="Identifies the row"),
                Number(name="least", title="At least", min=-1e15, max=1e15),
                Number(name="most", title="At most", min=-1e15, max=1e15),
                Whole(name="length_max", title="Longest", unit="letters", min=1, max=1_000_000),
                Text(name="size", title="Digits", help="12,2", length_max=6, is_short=True, default=""),
                Text(name="values", title="One of", help="a | b | c", length_max=2000, is_short=True, default=""),
                Text(
                    name="pattern",
                    title="Pattern",
                    help="A regular expression.",
                    length_max=300,
                    is_short=True,
                    default="",
                ),
                Text(name="default", title="If missing", length_max=200, is_short=True, default=""),
                Text(name="was", title="Was called", length_max=60, is_short=True, default=""),
                Text(name="note", title="What it means", length_max=300, is_short=True, default=""),
            ),
        ),
        Flag(name="is_open", title="Records may have further fields", default=False),
        Document(
            name="sample",
            title="Sample rows",
            help="CSV with a heading, a JSON list, or JSON lines. They stay in your browser.",
            file_name="sample.csv",
            accepts=(".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson"),
        ),
        Document(
            name="previous",
            title="The earlier version",
            help="The schema-draft.json of the version before.",
            file_name="schema-draft.json",
            accepts=(".json",),
        ),
        Choice(
            name="compatibility",
            title="A new version must be",
            choices={
                "backward": "able to read what was written before",
                "forward": "readable by those who know the earlier one",
                "full": "both",
                "none": "nothing of the kind",
            },
            default="backward",
        ),
    ),
    example={
        "name": "order",
        "naming": "snake",
        "fields": [
            _field("order_id", "integer", is_key=True, least=1.0, note="The shop's own number"),
            _field("customer_email", "string", length_max=254, pattern="^[^@ ]+@[^@ ]+$"),
            _field("ordered_on", "date"),
            _field("status", "string", values="open | paid | sent", default="open"),
            _field("total", "decimal", size="12,2", least=0.0),
            _field("is_gift", "boolean", is_required=False),
            _field("coupon", "string", is_required=False, length_max=12, pattern="^[A-Z0-9]+$"),
        ],
        "is_open": False,
        "compatibility": "backward",
    },
    example_files={
        "sample": (
            "orders.csv",
            b"""order_id,customer_email,ordered_on,status,total,is_gift,coupon
1001,ada@example.org,2026-01-05,open,19.90,false,
1002,grace@example.org,2026-02-30,paid,5.00,true,SPRING
1003,nobody,2026-01-07,paid,12.345,false,
1003,alan@example.org,2026-01-08,lost,-1.00,,spring
,edsger@example.org,2026-01-09,sent,7.50,maybe,
""",
        ),
        "previous": (
            "schema-draft.json",
            b"""{
  "name": "order",
  "fields": [
    {"name": "order_id", "type": "integer", "is_required": true, "is_key": true},
    {"name": "email", "type": "string", "is_required": true, "length_max": 254},
    {"name": "ordered_on", "type": "date", "is_required": true},
    {"name": "status", "type": "string", "is_required": true, "values": "open | paid | sent | lost"},
    {"name": "total", "type": "number", "is_required": true}
  ]
}
""",
        ),
    },
)
