"""Draws a database schema and writes its SQL and its migration. All of it happens in the browser:
static/holdfast/studio/dev/schema_designer.js."""

from __future__ import annotations

from tools_registry.fields import Choice, Document, Flag, Rows, Text
from tools_registry.studio import Tool

DATABASES = {"postgresql": "PostgreSQL", "mysql": "MySQL", "sqlite": "SQLite"}
TYPES = {
    "smallint": "Whole number, small",
    "integer": "Whole number",
    "bigint": "Whole number, large",
    "decimal": "Decimal, exact",
    "float": "Decimal, rounded",
    "boolean": "Yes or no",
    "varchar": "Text with a limit",
    "text": "Text",
    "date": "Date",
    "time": "Time",
    "timestamp": "Date and time",
    "timestamptz": "Moment (with zone)",
    "uuid": "UUID",
    "json": "JSON",
    "bytes": "Bytes",
}
DELETIONS = {
    "restrict": "is refused",
    "cascade": "deletes this row too",
    "set_null": "empties this field",
}


def _column(name: str, kind: str, **more: object) -> dict[str, object]:
    plain = {
        "name": name,
        "type": kind,
        "size": "",
        "is_key": False,
        "is_required": True,
        "is_unique": False,
        "is_numbered": False,
        "default": "",
        "references": "",
        "on_delete": "restrict",
        "was": "",
    }
    return plain | more


TOOL = Tool(
    slug="dev-studio/schema-designer",
    title="Schema designer",
    noun="schema",
    summary="Draw a database schema and get its diagram, its SQL for three databases, and the migration from before.",
    mode="client",
    icon="database",
    fields=(
        Choice(name="database", title="Database", choices=DATABASES, default="postgresql"),
        Rows(
            name="tables",
            title="Tables",
            noun="table",
            count_max=60,
            fields=(
                Text(name="name", title="Name", length_max=63, is_short=True, is_required=True),
                Text(
                    name="was",
                    title="Was called",
                    help="Only if you rename it: the name in the earlier version.",
                    length_max=63,
                    is_short=True,
                    default="",
                ),
                Rows(
                    name="columns",
                    title="Columns",
                    noun="column",
                    count_max=80,
                    fields=(
                        Text(name="name", title="Name", length_max=63, is_short=True, is_required=True),
                        Choice(name="type", title="Type", choices=TYPES, default="varchar"),
                        Text(
                            name="size",
                            title="Size",
                            help="Letters, or digits in all and behind the point: 12,2",
                            length_max=10,
                            is_short=True,
                            default="",
                        ),
                        Flag(name="is_key", title="Key"),
                        Flag(name="is_required", title="Always filled", default=True),
                        Flag(name="is_unique", title="Never twice"),
                        Flag(name="is_numbered", title="Numbers itself"),
                        Text(
                            name="default",
                            title="If nothing is given",
                            help="A value; “now” for times; “random” for a UUID.",
                            length_max=200,
                            is_short=True,
                            default="",
                        ),
                        Text(
                            name="references",
                            title="Points to",
                            help="table.column",
                            length_max=130,
                            is_short=True,
                            default="",
                        ),
                        Choice(
                            name="on_delete",
                            title="Deleting what it points to",
                            choices=DELETIONS,
                            default="restrict",
                        ),
                        Text(name="was", title="Was called", length_max=63, is_short=True, default=""),
                    ),
                ),
            ),
        ),
        Rows(
            name="indexes",
            title="Indexes",
            help="Beyond those that keys and “never twice” bring.",
            noun="index",
            count_max=100,
            fields=(
                Text(name="table", title="Table", length_max=63, is_short=True, is_required=True),
                Text(
                    name="columns",
                    title="Columns",
                    help="In their order, with commas.",
                    length_max=400,
                    is_short=True,
                    is_required=True,
                ),
                Flag(name="is_unique", title="Never twice"),
            ),
        ),
        Document(
            name="previous",
            title="The earlier version",
            help="The schema.json of what your database has now. Then the migration is written too.",
            file_name="schema.json",
            accepts=(".json",),
        ),
    ),
    example={
        "database": "postgresql",
        "tables": [
            {
                "name": "customer",
                "was": "client",
                "columns": [
                    _column("id", "bigint", is_key=True, is_numbered=True),
                    _column("email", "varchar", size="254", is_unique=True),
                    _column("name", "varchar", size="120"),
                    _column("joined_at", "timestamptz", default="now"),
                ],
            },
            {
                "name": "product",
                "was": "",
                "columns": [
                    _column("id", "bigint", is_key=True, is_numbered=True),
                    _column("sku", "varchar", size="40", is_unique=True),
                    _column("title", "varchar", size="200"),
                    _column("price", "decimal", size="12,2", default="0"),
                    _column("is_sold", "boolean", default="true"),
                ],
            },
            {
                "name": "purchase",
                "was": "",
                "columns": [
                    _column("id", "bigint", is_key=True, is_numbered=True),
                    _column("customer_id", "bigint", references="customer.id"),
                    _column("state", "varchar", size="20", default="open"),
                    _column("placed_at", "timestamptz", default="now"),
                    _column("note", "text", is_required=False),
                ],
            },
            {
                "name": "purchase_line",
                "was": "",
                "columns": [
                    _column("purchase_id", "bigint", is_key=True, references="purchase.id", on_delete="cascade"),
                    _column("line", "smallint", is_key=True),
                    _column("product_id", "bigint", references="product.id"),
                    _column("count", "integer", default="1"),
                    _column("price", "decimal", size="12,2"),
                ],
            },
        ],
        "indexes": [
            {"table": "purchase", "columns": "customer_id, placed_at", "is_unique": False},
            {"table": "purchase_line", "columns": "product_id", "is_unique": False},
        ],
    },
    example_files={
        "previous": (
            "schema.json",
            b"""{
  "tables": [
    {"name": "client", "columns": [
      {"name": "id", "type": "bigint", "is_key": true, "is_required": true, "is_numbered": true},
      {"name": "email", "type": "varchar", "size": "254", "is_required": true, "is_unique": true},
      {"name": "phone", "type": "varchar", "size": "40", "is_required": false}
    ]},
    {"name": "product", "columns": [
      {"name": "id", "type": "bigint", "is_key": true, "is_required": true, "is_numbered": true},
      {"name": "sku", "type": "varchar", "size": "60", "is_required": true, "is_unique": true},
      {"name": "title", "type": "varchar", "size": "200", "is_required": true},
      {"name": "price", "type": "decimal", "size": "12,2", "is_required": true}
    ]}
  ],
  "indexes": []
}
""",
        )
    },
)
