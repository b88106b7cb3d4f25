"""Column lineage: for each column that SQL makes, the columns it is made of, through every statement, CTE and star.

The SQL is read by sqlglot in the dialect that is chosen; nothing of it is run.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tools_registry import studio
from tools_registry.fields import Choice, Document
from tools_registry.lazily import lazy
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios import drawing
from tools_registry.studios.sheets import csv_file

from .reading import decode

if TYPE_CHECKING:
    from .sql import tracing
else:
    tracing = lazy("tools_registry.studios.data.sql.tracing")

DIALECTS = {
    "standard": "Standard SQL",
    "postgres": "PostgreSQL",
    "mysql": "MySQL",
    "sqlite": "SQLite",
    "tsql": "SQL Server",
    "oracle": "Oracle",
    "bigquery": "BigQuery",
    "snowflake": "Snowflake",
    "redshift": "Redshift",
    "databricks": "Databricks",
    "spark": "Spark",
    "hive": "Hive",
    "duckdb": "DuckDB",
    "clickhouse": "ClickHouse",
    "trino": "Trino",
    "presto": "Presto",
    "teradata": "Teradata",
}
SQL_BYTES_MAX = 256 * 1024
STATEMENTS_MAX = 200
EDGES_MAX = 2_000
KINDS = {
    "copied": "as it is",
    "computed": "computed",
    "aggregated": "aggregated",
    "windowed": "over a window",
    "constant": "a constant",
    "unknown": "not known",
}


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{dialect, statements, edges, origins, tables, notes}.

    An edge is one target column: {statement, target: {table, column}, sources: [{table, column}], expression, kind,
    steps}. `origins` follows the edges back to columns that no statement here makes. A source column "*" is a table
    whose columns are not known. Lineage is of values; columns that only decide about rows are each statement's `used`.
    """
    dialect = "" if inputs["dialect"] == "standard" else inputs["dialect"]
    statements = _parsed(files["sql"], "sql", dialect)
    definitions = _parsed(files["schema"], "schema", dialect) if "schema" in files else []
    try:
        traced = tracing.trace(statements, definitions, dialect)
    except RecursionError:
        raise BadInput({"sql": "The SQL is nested too deeply."}) from None
    if len(traced.edges) > EDGES_MAX:
        raise BadInput({"sql": f"At most {EDGES_MAX:,} columns are followed; these make {len(traced.edges):,}."})
    edges = [
        {
            "statement": one.statement,
            "target": {"table": one.target, "column": one.column},
            "sources": [{"table": table, "column": column} for table, column in one.sources],
            "expression": one.expression,
            "kind": one.kind,
            "steps": one.steps,
        }
        for one in traced.edges
    ]
    result = {
        "dialect": inputs["dialect"],
        "statements": [
            {
                "number": one.number,
                "kind": one.kind,
                "target": one.target,
                "sql": one.text,
                "used": [{"table": source[0], "column": source[1], "for": why} for source, why in one.used[:200]],
                "notes": list(dict.fromkeys(one.notes)),
            }
            for one in traced.statements
        ],
        "edges": edges,
        "origins": _origins(traced.edges),
        "tables": {name: list(columns) for name, columns in sorted(traced.tables.items())},
    }
    made = [_listed(result), _written(result), File("lineage.svg", "image/svg+xml", _drawn(traced.edges))]
    return Result(result, _view(result, traced.edges), made)


def _parsed(content: bytes, name: str, dialect: str) -> list[Any]:
    text, _, _ = decode(content, name)
    try:
        found = tracing.parse(text, dialect, STATEMENTS_MAX)
    except tracing.NotSQL as error:
        raise BadInput({name: str(error)}) from None
    if not found:
        raise BadInput({name: "There is no statement in it."})
    return found


def _origins(edges: list[Any]) -> list[dict[str, Any]]:
    """For each column that is made: where its values begin, through all statements that lie between."""
    made: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for one in edges:
        made[one.target, one.column].update(one.sources)
    found = []
    for (table, column), first in made.items():
        ends: set[tuple[str, str]] = set()
        seen: set[tuple[str, str]] = {(table, column)}
        waiting = list(first)
        while waiting:
            source = waiting.pop()
            if source in made and source not in seen:
                waiting += made[source]
            elif source not in made:
                ends.add(source)
            seen.add(source)
        found.append(
            {
                "table": table,
                "column": column,
                "origins": [{"table": one[0], "column": one[1]} for one in sorted(ends)],
            }
        )
    return found


def _listed(result: Mapping[str, Any]) -> File:
    rows = []
    for one in result["edges"]:
        for source in one["sources"] or [{"table": "", "column": ""}]:
            rows.append(
                (
                    one["statement"],
                    one["target"]["table"],
                    one["target"]["column"],
                    source["table"],
                    source["column"],
                    one["kind"],
                    one["expression"],
                )
            )
    names = ("statement", "target_table", "target_column", "source_table", "source_column", "kind", "expression")
    return csv_file("lineage.csv", names, rows[:4_000])


def _written(result: Mapping[str, Any]) -> File:
    content = json.dumps({"edges": result["edges"], "origins": result["origins"]}, ensure_ascii=False, indent=1)
    return File("lineage.json", "application/json", content.encode("utf-8", "replace"))


def _drawn(edges: list[Any]) -> bytes:
    made: dict[str, list[str]] = defaultdict(list)
    between: Counter[tuple[str, str]] = Counter()
    for one in edges:
        if one.column not in made[one.target]:
            made[one.target].append(one.column)
        for table in sorted({table for table, _ in one.sources}):
            if table != one.target:
                between[table, one.target] += 1
    read: dict[str, set[str]] = defaultdict(set)
    for one in edges:
        for table, column in one.sources:
            if table not in made:
                read[table].add(column)
    nodes = [_node(name, sorted(columns), "source", "plain") for name, columns in sorted(read.items())]
    for name, columns in made.items():
        is_result = name.startswith("result ")
        nodes.append(_node(name, columns, "query" if is_result else "made here", "brass" if is_result else "sea"))
    arrows = [
        drawing.Edge(source, target, f"{count} {'column' if count == 1 else 'columns'}")
        for (source, target), count in sorted(between.items())
    ]
    described = "; ".join(f"{one.target} takes {one.label} from {one.source}" for one in arrows[:40])
    return drawing.diagram("Where the columns come from", nodes, arrows, described=described or "No arrows.")


def _node(name: str, columns: list[str], kind: str, tone: drawing.Tone) -> drawing.Node:
    shown = [*columns[:8], *([f"and {len(columns) - 8} more"] if len(columns) > 8 else [])]
    return drawing.Node(name, name, kind=kind, shape="table", tone=tone, lines=shown)


def _view(result: Mapping[str, Any], edges: list[Any]) -> list[studio.Block]:
    sources = {source for one in edges for source in one.sources} - {(one.target, one.column) for one in edges}
    notes = [
        {"severity": "low", "title": note, "where": f"Statement {one['number']}", "text": one["sql"]}
        for one in result["statements"]
        for note in one["notes"]
    ]
    counted = Counter(one["kind"] for one in result["edges"])
    origins = {(one["table"], one["column"]): one["origins"] for one in result["origins"]}
    rows = [
        (
            f"{one['target']['table']}.{one['target']['column']}",
            _names(one["sources"]) or "–",
            KINDS[one["kind"]],
            one["expression"],
            _names(origins[one["target"]["table"], one["target"]["column"]]) or "–",
        )
        for one in result["edges"][:500]
    ]
    used = [
        (one["number"], f"{each['table']}.{each['column']}", each["for"])
        for one in result["statements"]
        for each in one["used"]
    ]
    said = ", ".join(f"{count} {KINDS[kind]}" for kind, count in counted.most_common()) or "none"
    view = [
        studio.facts(
            "At a glance",
            (
                ("Statements", len(result["statements"])),
                ("Columns made", len(edges)),
                ("They are", said),
                ("Columns they begin with", len(sources)),
                ("Tables read", len({table for table, _ in sources})),
                ("Dialect", DIALECTS[result["dialect"]]),
            ),
        ),
        studio.picture(
            "Where the columns come from",
            "lineage.svg",
            described="An arrow from each table to those that take columns from it; the table below says which.",
        ),
        studio.table(
            "Column by column",
            ("Column", "Made of", "How", "Expression", "Begins in"),
            rows,
            note="“Made of” is one statement back, “begins in” all the way.",
        ),
    ]
    if used:
        view.append(
            studio.table(
                "Columns that decide about rows",
                ("Statement", "Column", "Used to"),
                used[:300],
                note="Their values do not arrive anywhere, yet a change of them changes the result.",
            )
        )
    if notes:
        view.append(studio.findings("What to know", notes))
    return view


def _names(columns: list[dict[str, str]]) -> str:
    return ", ".join(f"{one['table']}.{one['column']}" for one in columns)


EXAMPLE = b"""-- What each customer paid this year, and how they rank
CREATE TABLE paid AS
WITH whole AS (
    SELECT o.customer_id, o.amount * r.rate AS amount_gbp, o.ordered_at
    FROM orders AS o
    JOIN rates AS r ON r.currency = o.currency
    UNION ALL
    SELECT customer_id, amount_gbp, sold_at FROM till_sales
)
SELECT customer_id, SUM(amount_gbp) AS paid_gbp, MAX(ordered_at) AS last_at
FROM whole
GROUP BY customer_id;

INSERT INTO ranking (customer, town, place)
SELECT c.name, c.town, RANK() OVER (PARTITION BY c.town ORDER BY p.paid_gbp DESC)
FROM paid AS p JOIN customers AS c ON c.id = p.customer_id;

SELECT * FROM paid;
"""
EXAMPLE_SCHEMA = b"""CREATE TABLE orders (id INT, customer_id INT, amount NUMERIC, currency TEXT, ordered_at TIMESTAMP);
CREATE TABLE rates (currency TEXT, rate NUMERIC);
CREATE TABLE till_sales (customer_id INT, amount_gbp NUMERIC, sold_at TIMESTAMP);
CREATE TABLE customers (id INT, name TEXT, town TEXT);
"""

TOOL = Tool(
    slug="data-studio/lineage",
    title="Column lineage",
    noun="trace",
    summary="Follows every column of your SQL back to the columns it is made of.",
    mode="server",
    risk="medium",
    credits_max=25,
    # 2,000 columns are told in the answer, on the page, and in two files.
    limits=Limits(cpu_seconds=15, seconds=20, output_bytes=4 * 1024 * 1024),
    icon="graph",
    fields=(
        Document(
            name="sql",
            title="SQL",
            help="One statement or many, in the order in which they run; up to 200. It is read, never run.",
            file_name="queries.sql",
            accepts=(".sql", ".txt", ".ddl"),
            bytes_max=SQL_BYTES_MAX,
            is_required=True,
        ),
        Choice(name="dialect", title="Dialect", choices=DIALECTS, default="standard"),
        Document(
            name="schema",
            title="CREATE TABLE statements of the tables that are read",
            help="So that SELECT * and columns without a table are known.",
            file_name="schema.sql",
            accepts=(".sql", ".txt", ".ddl"),
            bytes_max=SQL_BYTES_MAX,
        ),
    ),
    function=run,
    example={"dialect": "postgres"},
    example_files={"sql": ("queries.sql", EXAMPLE), "schema": ("schema.sql", EXAMPLE_SCHEMA)},
)
