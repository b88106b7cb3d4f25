"""A pipeline of named steps: its graph is checked, it is run on sample rows by DuckDB, and written as SQL and Python.

Steps take the rows of the steps they name, or of the step before them. Expressions are read into a list of what is
allowed (sql/expressions.py) and never run as they were written.
"""
# Names in the SQL are quoted, and everything else of it is written by us:
# ruff: noqa: S608

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tools_registry import studio
from tools_registry.fields import Choice, Document, Rows, Text
from tools_registry.lazily import lazy
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios import drawing
from tools_registry.studios.scratch import scratch_file
from tools_registry.studios.sheets import csv_file

from . import kinds
from .reading import ENDINGS, Sheet, connect, first_line, lock, quote, read

if TYPE_CHECKING:
    import duckdb

    from .sql import expressions
else:
    duckdb = lazy("duckdb")
    expressions = lazy("tools_registry.studios.data.sql.expressions")

TABLES = ("table", "table_2", "table_3")
ROWS_MAX = 100_000
MADE_MAX = 200_000  # rows of a step
SINK_ROWS_MAX = 5_000
SINK_BYTES_MAX = 2 * 1024 * 1024  # of all outputs together
PREVIEW_ROWS = 5
PREVIEW_COLUMNS = 40
KINDS = {
    "source": "Source: rows of a table",
    "filter": "Filter: rows for which the expression is true",
    "select": "Select: these columns only",
    "rename": "Rename: old = new",
    "cast": "Cast: column = type",
    "derive": "Derive: new column = expression, one a line",
    "join": "Join: two inputs by columns",
    "aggregate": "Aggregate: by columns; name = sum(…), one a line",
    "sort": "Sort: by columns, “desc” behind one for downwards",
    "deduplicate": "Deduplicate: the first row of each",
    "union": "Union: rows of all inputs, one below the other",
    "sink": "Sink: what comes out",
}
JOINS = {
    "inner": "Only rows that match",
    "left": "All of the first",
    "right": "All of the second",
    "full": "All of both",
}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}")


@dataclass(slots=True)
class Step:
    """A step as it was written, and what came of it."""

    at: int
    name: str
    kind: str
    inputs: list[str]
    columns: str
    expression: str
    how: str
    sql: str = ""
    schema: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    preview: list[list[Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def wrong(self, part: str, sentence: str) -> BadInput:
        return BadInput({f"steps.{self.at}.{part}": sentence})


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{order, steps, outputs}: each step in the order it ran, with rows in and out, schema, preview, SQL, notes."""
    steps = _steps(inputs["steps"])
    ordered = _ordered(steps)
    sheets = {name: read(files[name], name, rows_max=ROWS_MAX) for name in TABLES if name in files}
    with connect() as database:
        for name, sheet in sheets.items():
            try:
                _load(database, name, sheet)
            except duckdb.Error as error:
                raise BadInput({name: f"The rows cannot be read ({first_line(error)})."}) from None
        lock(database)
        done: dict[str, Step] = {}
        for step in ordered:
            _carry_out(database, step, done, sheets)
            done[step.name] = step
        sinks = [step for step in ordered if step.kind == "sink"]
        outputs = [_output(database, step, SINK_BYTES_MAX // len(sinks)) for step in sinks]
    result = {
        "order": [step.name for step in ordered],
        "steps": [
            {
                "name": step.name,
                "kind": step.kind,
                "inputs": step.inputs,
                "rows_in": sum(done[one].rows for one in step.inputs),
                "rows_out": step.rows,
                "schema": [{"column": name, "type": type_} for name, type_ in step.schema.items()],
                "preview": step.preview,
                "sql": step.sql,
                "notes": step.notes,
            }
            for step in ordered
        ],
        "outputs": [
            {"step": step.name, "rows": step.rows, "file": file.name, "rows_in_file": kept}
            for step, kept, file in outputs
        ],
    }
    script = _script(ordered, sheets)
    made: list[File] = [file for _, _, file in outputs]
    made += [
        File("pipeline.sql", "text/plain", script.encode("utf-8", "replace")),
        File("pipeline.py.txt", "text/plain", _python(ordered, sheets).encode("utf-8", "replace")),
        File("pipeline.svg", "image/svg+xml", _drawn(ordered)),
    ]
    return Result(result, _view(result, script), made)


# The graph


def _steps(rows: Sequence[Mapping[str, str]]) -> list[Step]:
    steps: list[Step] = []
    wrong: dict[str, str] = {}
    taken: dict[str, int] = {}
    for at, row in enumerate(rows):
        name = row["name"]
        if not NAME.fullmatch(name):
            wrong[f"steps.{at}.name"] = "Write a name of letters, digits and underscores that begins with a letter."
        elif name.casefold() in taken:
            wrong[f"steps.{at}.name"] = f"Step {taken[name.casefold()] + 1} is called {name} already."
        taken.setdefault(name.casefold(), at)
        inputs = [one.strip() for one in row["inputs"].split(",") if one.strip()]
        if not inputs and row["kind"] != "source" and at:
            inputs = [rows[at - 1]["name"]]
        steps.append(Step(at, name, row["kind"], inputs, row["columns"], row["expression"], row["how"]))
    by_name = {step.name.casefold(): step.name for step in steps}
    for step in steps:
        least, most = {"source": (0, 0), "join": (2, 2), "union": (2, 10)}.get(step.kind, (1, 1))
        if unknown := [one for one in step.inputs if one.casefold() not in by_name]:
            wrong[f"steps.{step.at}.inputs"] = f"There is no step {unknown[0]}."
        elif not least <= len(step.inputs) <= most:
            takes = {0: "no input", 1: "one input"}.get(most, "two inputs" if most == 2 else "two inputs or more")
            there = len(step.inputs)
            wrong[f"steps.{step.at}.inputs"] = f"{step.kind.capitalize()} takes {takes}; it has {there}."
        step.inputs = [by_name.get(one.casefold(), one) for one in step.inputs]
    if not any(step.kind == "source" for step in steps):
        wrong.setdefault("steps", "Begin with a source.")
    if wrong:
        raise BadInput(wrong)
    if not any(step.kind == "sink" for step in steps):
        raise BadInput({"steps": "End with a sink: nothing comes out yet."})
    return steps


def _ordered(steps: Sequence[Step]) -> list[Step]:
    """Every step after those it takes rows from; raises BadInput naming a circle."""
    done: list[Step] = []
    names: set[str] = set()
    waiting = list(steps)
    while waiting:
        ready = next((step for step in waiting if set(step.inputs) <= names), None)
        if ready is None:
            circle = _circle(waiting)
            raise circle[0].wrong(
                "inputs", f"These steps wait for each other: {' → '.join(one.name for one in circle)}."
            )
        waiting.remove(ready)
        done.append(ready)
        names.add(ready.name)
    return done


def _circle(waiting: Sequence[Step]) -> list[Step]:
    by_name = {step.name: step for step in waiting}
    walked = [waiting[0]]
    while True:
        before = by_name[next(one for one in walked[-1].inputs if one in by_name)]
        if before in walked:
            return [*walked[walked.index(before) :], before]
        walked.append(before)


# Rows in


def _load(database: duckdb.DuckDBPyConnection, name: str, sheet: Sheet) -> None:
    """A table, typed by what is in it. DuckDB reads files fastest, so it lies in the scratch folder meanwhile."""
    if len({one.casefold() for one in sheet.names}) < len(sheet.names):
        raise BadInput({name: "Two of its columns differ only in capital letters."})
    types, columns = [], []
    for cells in sheet.columns.values():
        type_, typed = _typed(cells)
        types.append(type_)
        columns.append(typed)
    with scratch_file(".csv") as path:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerows(zip(range(sheet.row_count), *columns, strict=True))
        numbered = ", ".join(f"'c{at}': 'VARCHAR'" for at in range(len(types) + 1))
        casts = ", ".join(
            f"CAST(NULLIF(c{at}, '') AS {type_}) AS {quote(column)}"
            for at, (column, type_) in enumerate(zip(sheet.names, types, strict=True), start=1)
        )
        database.execute(
            f"CREATE TABLE {quote('read ' + name)} AS SELECT {casts} FROM read_csv(?, columns={{{numbered}}}, "
            "header=false, delim=',', quote='\"', escape='\"', auto_detect=false, strict_mode=false, "
            "max_line_size=9000000, null_padding=false, parallel=false) ORDER BY CAST(c0 AS BIGINT)",
            [str(path)],
        )


def _typed(cells: list[str | None]) -> tuple[str, list[str]]:
    """The column's type, and its cells written as DuckDB reads that type."""
    seen = kinds.profile(cells)
    is_whole = seen.share == 1.0 and all(seen.kind_of(value) == seen.kind for value in seen.values)
    type_ = expressions.TYPES.get(seen.kind, "VARCHAR") if is_whole and seen.values else "VARCHAR"
    if type_ == "VARCHAR":
        return type_, [cell or "" for cell in cells]
    written: dict[str, str] = {}
    for value in seen.values:
        way = seen.ways[value]
        if seen.kind in ("date", "datetime"):
            day = kinds.date_of(value, way, is_day_first=seen.is_day_first)
            if day is None:
                return "VARCHAR", [cell or "" for cell in cells]
            clock = _clock(value) if seen.kind == "datetime" else ""
            if clock is None:
                return "VARCHAR", [cell or "" for cell in cells]
            written[value] = f"{day.isoformat()} {clock}".strip()
        elif seen.kind == "boolean":
            written[value] = "true" if value.casefold() in ("true", "yes", "1") else "false"
        elif seen.kind == "integer":
            if abs(int(value)) >= 2**63:
                return "VARCHAR", [cell or "" for cell in cells]
            written[value] = str(int(value))
        else:
            written[value] = repr(kinds.number_of(value, way))
    return type_, [written.get(cell.strip(), "") if cell else "" for cell in cells]


CLOCK = re.compile(
    r"[T ](\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d{1,6})?)\d*)?(?: ?([ap])m)?(?: ?(?:Z|UTC|[+-]00:?00))?", re.I
)


def _clock(value: str) -> str | None:
    """The time of day, of 24 hours; empty without one, None for one that no clock shows or that is of another zone."""
    at = re.search(r"[T ]", value)
    if at is None:
        return ""
    found = CLOCK.fullmatch(value[at.start() :])
    if found is None:
        return None
    hour, minute, second = int(found[1]), int(found[2]), found[3] or "00"
    if found[4]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found[4].lower() == "p" else 0)
    is_right = hour < 24 and minute < 60 and float(second) < 60
    return f"{hour:02}:{minute:02}:{second}" if is_right else None


# Steps


def _carry_out(
    database: duckdb.DuckDBPyConnection, step: Step, done: Mapping[str, Step], sheets: Mapping[str, Sheet]
) -> None:
    """The step's rows are a table of its name; raises BadInput naming the step's part that is wrong."""
    step.sql = _select(step, done, sheets)
    name = quote(step.name)
    try:
        database.execute(f"CREATE TABLE {name} AS SELECT * FROM ({step.sql}) LIMIT {MADE_MAX + 1}")
    except duckdb.OutOfMemoryException:
        raise step.wrong("kind", "This step needs more memory than a run has. Send fewer rows.") from None
    except duckdb.Error as error:
        part = "expression" if step.expression else "columns"
        raise step.wrong(part, f"Step {step.name}: {_said(error)}.") from None
    told = database.execute(f"DESCRIBE {name}").fetchall()
    step.schema = {row[0]: row[1] for row in told}
    ((step.rows,),) = database.execute(f"SELECT count(*) FROM {name}").fetchall()
    if step.rows > MADE_MAX:
        raise step.wrong("kind", f"This step makes more than {MADE_MAX:,} rows. Is a column of the join missing?")
    rows = database.execute(f"SELECT {_texts(step)} FROM {name} LIMIT {PREVIEW_ROWS}").fetchall()
    step.preview = [
        [cell[:100] if isinstance(cell, str) else _shown(cell) for cell in row[:PREVIEW_COLUMNS]] for row in rows
    ]
    if step.kind == "cast":
        _count_lost(database, step)


def _said(error: Exception) -> str:
    said = first_line(error).removeprefix("Binder Error: ").removeprefix("Conversion Error: ")
    return said.split(" Candidate")[0].split(" You might need")[0]


def _texts(step: Step) -> str:
    """Columns as JSON can hold them: numbers, yes and no as they are, all else as text."""
    plain = ("BIGINT", "DOUBLE", "BOOLEAN", "INTEGER", "HUGEINT")
    return ", ".join(
        quote(one) if type_ in plain else f"CAST({quote(one)} AS VARCHAR)" for one, type_ in step.schema.items()
    )


def _shown(cell: Any) -> Any:
    """Sums of binary fractions without their dust: 0.3, not 0.30000000000000004."""
    if isinstance(cell, float):
        return float(f"{cell:.12g}") if abs(cell) < float("inf") else None
    return cell


def _count_lost(database: duckdb.DuckDBPyConnection, step: Step) -> None:
    """Says how many values did not become the new type: they are empty now."""
    for name, _ in _pairs(step, "columns"):
        column = next(one for one in step.schema if one.casefold() == name.casefold())
        before, after = (
            database.execute(f"SELECT count({quote(column)}) FROM {quote(table)}").fetchall()[0][0]
            for table in (step.inputs[0], step.name)
        )
        if before > after:
            step.notes.append(f"{before - after:,} values of {column} could not be cast and are empty now.")


def _select(step: Step, done: Mapping[str, Step], sheets: Mapping[str, Sheet]) -> str:
    """The step as SQL, over tables called as its inputs are."""
    if step.kind == "source":
        table = step.columns.strip() or "table"
        if table not in sheets:
            there = ", ".join(sheets)
            raise step.wrong(
                "columns", f"There is no table {table}; there {'is' if len(sheets) == 1 else 'are'} {there}."
            )
        return f"SELECT * FROM {quote('read ' + table)}"
    if step.kind == "join":
        return _join(step, done[step.inputs[0]], done[step.inputs[1]])
    if step.kind == "union":
        return " UNION ALL BY NAME ".join(f"SELECT * FROM {quote(one)}" for one in step.inputs)
    before = done[step.inputs[0]]
    return SELECTS[step.kind](step, before, f"FROM {quote(before.name)}")


def _filter(step: Step, before: Step, from_: str) -> str:
    return f"SELECT * {from_} WHERE {_expression(step, step.expression, before)}"


def _chosen(step: Step, before: Step, from_: str) -> str:
    names = [_column(step, one, before) for one in _listed(step)]
    if len(set(names)) < len(names):
        raise step.wrong("columns", "One of the columns is named twice.")
    return f"SELECT {', '.join(map(quote, names))} {from_}"


def _rename(step: Step, before: Step, from_: str) -> str:
    new = {_column(step, old, before): name for old, name in _pairs(step, "columns")}
    names = [new.get(one, one) for one in before.schema]
    if len({one.casefold() for one in names}) < len(names):
        raise step.wrong("columns", "Two columns would have the same name.")
    parts = [
        f"{quote(old)} AS {quote(name)}" if old != name else quote(old)
        for old, name in zip(before.schema, names, strict=True)
    ]
    return f"SELECT {', '.join(parts)} {from_}"


def _cast(step: Step, before: Step, from_: str) -> str:
    casts = []
    for name, type_ in _pairs(step, "columns"):
        column = _column(step, name, before)
        if type_.lower() not in expressions.TYPES:
            raise step.wrong("columns", f"{type_} is no type; write one of {', '.join(expressions.TYPES)}.")
        casts.append(f"TRY_CAST({quote(column)} AS {expressions.TYPES[type_.lower()]}) AS {quote(column)}")
    return f"SELECT * REPLACE ({', '.join(casts)}) {from_}"


def _derive(step: Step, before: Step, from_: str) -> str:
    parts: list[str] = []
    known = {one.casefold(): one for one in before.schema}
    replaced: list[str] = []
    for name, written in _pairs(step, "expression"):
        made = f"({_expression(step, written, before)}) AS {quote(known.get(name.casefold(), name))}"
        (replaced if name.casefold() in known else parts).append(made)
    star = f"* REPLACE ({', '.join(replaced)})" if replaced else "*"
    return f"SELECT {', '.join([star, *parts])} {from_}"


def _aggregate(step: Step, before: Step, from_: str) -> str:
    by = [quote(_column(step, one, before)) for one in _listed(step, needed=False)]
    made = [
        f"{_expression(step, written, before, is_aggregate=True)} AS {quote(name)}"
        for name, written in _pairs(step, "expression")
    ]
    group = f" GROUP BY {', '.join(by)} ORDER BY {', '.join(by)}" if by else ""
    return f"SELECT {', '.join([*by, *made])} {from_}{group}"


def _sort(step: Step, before: Step, from_: str) -> str:
    by = []
    for one in _listed(step):
        name, is_down = (one[:-5].strip(), True) if one.lower().endswith(" desc") else (one, False)
        by.append(f"{quote(_column(step, name, before))} {'DESC' if is_down else 'ASC'} NULLS LAST")
    return f"SELECT * {from_} ORDER BY {', '.join(by)}"


def _deduplicate(step: Step, before: Step, from_: str) -> str:
    names = [_column(step, one, before) for one in _listed(step, needed=False)] or list(before.schema)
    by = ", ".join(map(quote, names))
    numbered = f"SELECT *, row_number() OVER () AS {quote('#row')} {from_}"
    turns = f'SELECT *, row_number() OVER (PARTITION BY {by} ORDER BY "#row") AS "#turn" FROM ({numbered})'
    return f'SELECT * EXCLUDE ("#row", "#turn") FROM ({turns}) WHERE "#turn" = 1 ORDER BY "#row"'


def _sink(step: Step, before: Step, from_: str) -> str:
    return f"SELECT * {from_}"


SELECTS: dict[str, Callable[[Step, Step, str], str]] = {
    "filter": _filter,
    "select": _chosen,
    "rename": _rename,
    "cast": _cast,
    "derive": _derive,
    "aggregate": _aggregate,
    "sort": _sort,
    "deduplicate": _deduplicate,
    "sink": _sink,
}


def _join(step: Step, left: Step, right: Step) -> str:
    """Columns of the second that the first has too are called after their step; the keys stand there once."""
    conditions, keys = [], set()
    for one in _listed(step):
        first, _, second = (part.strip() for part in one.partition("="))
        a, b = _column(step, first, left), _column(step, second or first, right)
        conditions.append(f"l.{quote(a)} = r.{quote(b)}")
        if a.casefold() == b.casefold():
            keys.add(a)
    full = step.how in ("right", "full")
    parts = [
        f"COALESCE(l.{quote(one)}, r.{quote(one)}) AS {quote(one)}" if full and one in keys else f"l.{quote(one)}"
        for one in left.schema
    ]
    taken = {one.casefold() for one in left.schema}
    for one in right.schema:
        if one.casefold() in {key.casefold() for key in keys}:
            continue
        name = f"{right.name}_{one}" if one.casefold() in taken else one
        taken.add(name.casefold())
        parts.append(f"r.{quote(one)} AS {quote(name)}" if name != one else f"r.{quote(one)}")
    return (
        f"SELECT {', '.join(parts)} FROM {quote(left.name)} AS l {step.how.upper()} JOIN {quote(right.name)} AS r "
        f"ON {' AND '.join(conditions)}"
    )


def _listed(step: Step, *, needed: bool = True) -> list[str]:
    found = [one.strip() for one in step.columns.split(",") if one.strip()]
    if needed and not found:
        raise step.wrong("columns", "Write the columns, parted by commas.")
    return found


def _pairs(step: Step, part: str) -> list[tuple[str, str]]:
    """Names and what stands behind their “=”: parted by commas in columns, by lines in expressions."""
    written = step.columns if part == "columns" else step.expression
    rows = written.split(",") if part == "columns" else re.split(r"[\n;]", written)
    found = []
    for row in rows:
        if not row.strip():
            continue
        name, mark, rest = row.partition("=")
        if not mark or not name.strip() or not rest.strip():
            raise step.wrong(part, f"Write a name, “=”, and what it is: {row.strip()[:60]}")
        if len(name.strip()) > 60:
            raise step.wrong(part, "A name has at most 60 letters.")
        found.append((name.strip().strip('"'), rest.strip()))
    if not found:
        raise step.wrong(part, "Write a name, “=”, and what it is.")
    names = [name.casefold() for name, _ in found]
    if len(set(names)) < len(names):
        raise step.wrong(part, "A name stands there twice.")
    return found


def _column(step: Step, name: str, before: Step) -> str:
    for one in before.schema:
        if one.casefold() == name.strip('"').casefold():
            return one
    there = ", ".join(list(before.schema)[:12])
    raise step.wrong("columns", f"{before.name} has no column {name[:80]}; it has {there}.")


def _expression(step: Step, written: str, before: Step, *, is_aggregate: bool = False) -> str:
    if not written.strip():
        raise step.wrong("expression", "Write an expression, for example amount > 0.")
    try:
        return expressions.checked(written, list(before.schema), is_aggregate=is_aggregate)
    except ValueError as error:
        raise step.wrong("expression", str(error)) from None


# What comes out


def _output(database: duckdb.DuckDBPyConnection, step: Step, bytes_max: int) -> tuple[Step, int, File]:
    """The rows as a file, as many as fit; and how many these are."""
    query = f"SELECT {_texts(step)} FROM {quote(step.name)} LIMIT {SINK_ROWS_MAX}"
    kept: list[list[Any]] = []
    size = 0
    for row in database.execute(query).fetchall():
        size += sum(len(cell.encode()) if isinstance(cell, str) else 12 for cell in row) + len(row)
        if size > bytes_max:
            break
        kept.append([_shown(cell) for cell in row])
    return step, len(kept), csv_file(f"{step.name}.csv", list(step.schema), kept)


def _named(step: Step, sheets: Mapping[str, Sheet]) -> str:
    return re.sub(r'"read (table(?:_\d)?)"', r"\1_rows", step.sql) if step.kind == "source" else step.sql


def _script(steps: Sequence[Step], sheets: Mapping[str, Sheet]) -> str:
    """One SQL script for DuckDB: the tables as they were read, then each step as a view of its name."""
    lines = ["-- A pipeline, step by step. Written for DuckDB.", ""]
    for name in sheets:
        source = next(
            (step for step in steps if step.kind == "source" and (step.columns.strip() or "table") == name), None
        )
        if source is not None:
            columns = ",\n".join(f"    {quote(column)} {type_}" for column, type_ in source.schema.items())
            lines += [f"CREATE TABLE {name}_rows (\n{columns}\n);", ""]
    for step in steps:
        # A deduplication goes by the order of rows, which a view does not keep
        lines += [f"-- {step.name}: {step.kind}", f"CREATE TABLE {quote(step.name)} AS\n{_named(step, sheets)};", ""]
    lines += [f"SELECT * FROM {quote(step.name)};" for step in steps if step.kind == "sink"]
    return "\n".join(lines) + "\n"


def _python(steps: Sequence[Step], sheets: Mapping[str, Sheet]) -> str:
    """A Python script that does the same with files: needs only duckdb."""
    tables, columns = {}, {}
    for name in sheets:
        source = next(
            (step for step in steps if step.kind == "source" and (step.columns.strip() or "table") == name), None
        )
        if source is not None:
            tables[f"{name}_rows"] = f"{name}.csv"
            columns[f"{name}_rows"] = dict(source.schema)
    listed = "\n".join(f"    ({step.name!r}, {_named(step, sheets)!r})," for step in steps)
    sinks = [step.name for step in steps if step.kind == "sink"]
    return f'''"""A pipeline, step by step. Needs: pip install duckdb. Run it in the folder of its tables."""

import duckdb

TABLES = {tables!r}
COLUMNS = {columns!r}
STEPS = [
{listed}
]
SINKS = {sinks!r}


def run(folder="."):
    database = duckdb.connect()
    for name, file in TABLES.items():
        made = ", ".join('"' + one.replace('"', '""') + '" ' + kind for one, kind in COLUMNS[name].items())
        database.execute(f"CREATE TABLE {{name}} ({{made}})")
        database.execute(f"INSERT INTO {{name}} SELECT * FROM read_csv(?, header = true, columns = ?)",
                         [f"{{folder}}/{{file}}", COLUMNS[name]])
    for name, query in STEPS:
        database.execute(f'CREATE TABLE "{{name}}" AS {{query}}')
        print(name, database.execute(f'SELECT count(*) FROM "{{name}}"').fetchall()[0][0], "rows")
    for name in SINKS:
        database.execute(f"COPY \\"{{name}}\\" TO '{{folder}}/{{name}}.csv' (HEADER)")
    return {{name: database.execute(f'SELECT * FROM "{{name}}"').fetchall() for name in SINKS}}


if __name__ == "__main__":
    run()
'''


def _drawn(steps: Sequence[Step]) -> bytes:
    tones: dict[str, drawing.Tone] = {"source": "sea", "sink": "brass"}
    nodes = [
        drawing.Node(
            step.name,
            step.name,
            kind=step.kind,
            shape="store" if step.kind in ("source", "sink") else "box",
            tone=tones.get(step.kind, "plain"),
            lines=[f"{step.rows:,} rows, {len(step.schema)} columns"],
        )
        for step in steps
    ]
    rows = {step.name: step.rows for step in steps}
    edges = [drawing.Edge(one, step.name, f"{rows[one]:,} rows") for step in steps for one in step.inputs]
    said = ", then ".join(f"{step.name} ({step.kind}, {step.rows:,} rows)" for step in steps[:40])
    return drawing.diagram("The pipeline", nodes, edges, direction="down", described=said)


def _view(result: Mapping[str, Any], script: str) -> list[studio.Block]:
    steps = result["steps"]
    notes = [
        {"severity": "medium", "title": note, "where": f"Step {step['name']}"}
        for step in steps
        for note in step["notes"]
    ]
    notes += [
        {
            "severity": "low",
            "title": f"The file has the first {one['rows_in_file']:,} of {one['rows']:,} rows.",
            "where": f"Step {one['step']}",
        }
        for one in result["outputs"]
        if one["rows_in_file"] < one["rows"]
    ]
    empty = [
        {"severity": "low", "title": "No row is left after this step.", "where": f"Step {step['name']}"}
        for step in steps
        if not step["rows_out"] and step["rows_in"]
    ]
    rows = [
        (
            step["name"],
            step["kind"],
            ", ".join(step["inputs"]) or "–",
            step["rows_in"] if step["inputs"] else None,
            step["rows_out"],
            ", ".join(f"{one['column']} {one['type']}" for one in step["schema"][:PREVIEW_COLUMNS]),
        )
        for step in steps
    ]
    view: list[studio.Block] = [
        studio.facts(
            "At a glance",
            (
                ("Steps", len(steps)),
                ("Rows in", sum(step["rows_out"] for step in steps if step["kind"] == "source")),
                ("Rows out", sum(one["rows"] for one in result["outputs"])),
                ("Outputs", ", ".join(one["step"] for one in result["outputs"])),
            ),
        ),
        studio.picture(
            "The pipeline",
            "pipeline.svg",
            described="An arrow from each step to those that take its rows; table below.",
        ),
        studio.table("Step by step", ("Step", "Kind", "Takes", "Rows in", "Rows out", "Columns"), rows),
    ]
    if notes or empty:
        view.append(studio.findings("What to know", [*notes, *empty]))
    for step in steps:
        if step["kind"] == "sink":
            names = [one["column"] for one in step["schema"][:PREVIEW_COLUMNS]]
            note = f"The first {len(step['preview'])} of {step['rows_out']:,} rows."
            view.append(studio.table(f"Out of {step['name']}", names, step["preview"], note=note))
    for step in steps:
        if step["kind"] != "sink":
            names = [one["column"] for one in step["schema"][:PREVIEW_COLUMNS]]
            view.append(
                studio.table(f"After {step['name']}", names, step["preview"], note=f"{step['rows_out']:,} rows.")
            )
    view.append(studio.code("As SQL", script, language="sql", file="pipeline.sql"))
    return view


EXAMPLE_ORDERS = b"""id,customer_id,amount,currency,ordered
1,11,19.90,GBP,2026-01-05
2,12,24.50,GBP,2026-01-06
3,11,18.00,EUR,2026-01-07
4,13,22.10,GBP,2026-01-08
4,13,22.10,GBP,2026-01-08
5,12,0.00,GBP,2026-01-09
"""
EXAMPLE_CUSTOMERS = b"""id,name,country
11,Ada,GB
12,Ben,FR
13,Clara,GB
"""


def _document(number: int) -> Document:
    return Document(
        name=TABLES[number],
        title=f"Sample rows: {TABLES[number]}",
        help="" if number else "CSV, JSON, JSON lines or Parquet, up to 100,000 rows. A source names it: table.",
        file_name=f"{TABLES[number]}.csv",
        accepts=ENDINGS,
        is_required=number == 0,
    )


TOOL = Tool(
    slug="data-studio/pipelines",
    title="Pipelines",
    noun="run",
    summary="Checks a pipeline, runs it on your sample rows, and writes it as SQL and Python.",
    mode="hybrid",
    risk="low",
    credits_max=5,
    # Up to 60 steps are told with their columns, rows and SQL; every output is a file.
    limits=Limits(cpu_seconds=5, seconds=10, output_bytes=8 * 1024 * 1024),
    icon="flow",
    fields=(
        *(_document(number) for number in range(len(TABLES))),
        Rows(
            name="steps",
            title="Steps",
            noun="step",
            count_min=2,
            count_max=60,
            is_required=True,
            fields=(
                Text(name="name", title="Name", length_max=60, is_short=True, is_required=True),
                Choice(name="kind", title="What it does", choices=KINDS, default="filter", is_required=True),
                Text(
                    name="inputs",
                    title="Takes rows from",
                    help="Names of steps, parted by commas. Empty: the step before.",
                    length_max=300,
                    is_short=True,
                    default="",
                ),
                Text(
                    name="columns",
                    title="Columns",
                    help="Parted by commas. Source: table, table_2 … Join: customer_id = id. Rename: old = new. "
                    "Cast: amount = decimal. Sort: amount desc.",
                    length_max=2000,
                    is_short=True,
                    default="",
                ),
                Text(
                    name="expression",
                    title="Expression",
                    help="Filter: amount > 0. Derive and aggregate: gross = amount * 1.2, one a line.",
                    length_max=2000,
                    is_code=True,
                    default="",
                ),
                Choice(name="how", title="Join keeps", choices=JOINS, default="inner"),
            ),
        ),
    ),
    function=run,
    example={
        "steps": [
            {"name": "orders", "kind": "source", "columns": "table"},
            {"name": "customers", "kind": "source", "columns": "table_2"},
            {"name": "once", "kind": "deduplicate", "inputs": "orders", "columns": "id"},
            {"name": "paid", "kind": "filter", "expression": "amount > 0 AND currency = 'GBP'"},
            {"name": "with_tax", "kind": "derive", "expression": "gross = round(amount * 1.2, 2)"},
            {
                "name": "joined",
                "kind": "join",
                "inputs": "with_tax, customers",
                "columns": "customer_id = id",
                "how": "left",
            },
            {
                "name": "by_country",
                "kind": "aggregate",
                "columns": "country",
                "expression": "orders = count(*)\nrevenue = sum(gross)",
            },
            {"name": "largest_first", "kind": "sort", "columns": "revenue desc"},
            {"name": "revenue", "kind": "sink"},
        ]
    },
    example_files={"table": ("orders.csv", EXAMPLE_ORDERS), "table_2": ("customers.csv", EXAMPLE_CUSTOMERS)},
)
