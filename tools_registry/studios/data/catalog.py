"""A data catalogue: what is in each table, what identifies a row, how tables lead to each other, as a dictionary.

Quantiles: linear between the two nearest values (type 7, as spreadsheets and NumPy have it). A candidate key has a
value in every row and no value twice. A relation: (nearly) all values of one column are values of another table's key.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from typing import Any

from tools_registry import studio
from tools_registry.fields import Document, Rows, Text, Whole
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios import drawing
from tools_registry.studios.sheets import markdown_cell, markdown_table

from . import kinds, personal
from .kinds import Profile
from .reading import ENDINGS, Sheet, read

TABLES = ("table", "table_2", "table_3", "table_4")
ROWS_MAX = 100_000
CELLS_MAX = 1_500_000
TOP = 5
CONTAINED = 0.95  # so much of a column must be in the other table's key
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(slots=True)
class Listed:
    """A table as it is catalogued."""

    name: str
    field: str
    sheet: Sheet
    profiles: dict[str, Profile]


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{title, owner, tables, relations}: each table with its keys and columns, each column with type and statistics."""
    tables = _read(inputs, files)
    drafts = _drafts(tables, inputs["columns"])
    result = {
        "title": inputs["title"] or "Data catalogue",
        "owner": inputs["owner"],
        "tables": [_table(one, inputs, drafts) for one in tables],
        "relations": _relations(tables),
    }
    made = [
        File("dictionary.md", "text/markdown", _written(result).encode("utf-8", "replace")),
        File("dictionary.json", "application/json", _json(result)),
        File("tables.svg", "image/svg+xml", _drawn(result)),
    ]
    return Result(result, _view(result), made)


def _read(inputs: Mapping[str, Any], files: Mapping[str, bytes]) -> list[Listed]:
    found: list[Listed] = []
    cells = 0
    for field in TABLES:
        if field not in files:
            continue
        sheet = read(files[field], field, rows_max=ROWS_MAX)
        cells += sheet.row_count * len(sheet.columns)
        if cells > CELLS_MAX:
            raise BadInput({field: f"At most {CELLS_MAX:,} cells in all tables together. Send fewer rows."})
        stem = re.sub(r"\.\w+$", "", str(inputs[field])).strip() or field
        name, again = stem, 2
        while any(one.name == name for one in found):
            name, again = f"{stem}_{again}", again + 1
        found.append(Listed(name, field, sheet, {one: kinds.profile(of) for one, of in sheet.columns.items()}))
    return found


def _drafts(tables: Sequence[Listed], rows: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], Mapping[str, str]]:
    """What was written about columns, by table and column."""
    found: dict[tuple[str, str], Mapping[str, str]] = {}
    for number, row in enumerate(rows):
        named = [one for one in tables if not row["table"] or one.name == row["table"]]
        if not named:
            there = ", ".join(one.name for one in tables)
            raise BadInput({f"columns.{number}.table": f"There is no table {row['table']}; there are {there}."})
        having = [one for one in named if row["column"] in one.sheet.columns]
        if not having:
            raise BadInput({f"columns.{number}.column": f"There is no column {row['column']}."})
        for one in having:
            if (one.name, row["column"]) in found:
                raise BadInput({f"columns.{number}.column": f"{row['column']} is described twice."})
            found[one.name, row["column"]] = row
    return found


# Tables


def _table(
    one: Listed, inputs: Mapping[str, Any], drafts: Mapping[tuple[str, str], Mapping[str, str]]
) -> dict[str, Any]:
    keys = _keys(one)
    single = {key[0] for key in keys if len(key) == 1}
    columns = []
    for number, (name, seen) in enumerate(one.profiles.items(), start=1):
        draft = drafts.get((one.name, name), {})
        columns.append(_column(one, number, name, seen, draft, inputs["samples"], is_key=name in single))
    return {
        "name": one.name,
        "rows": one.sheet.row_count,
        "read_as": one.sheet.told,
        "candidate_keys": keys,
        "columns": columns,
    }


def _keys(one: Listed) -> list[list[str]]:
    """Columns that identify a row alone; where there is none, pairs that do."""
    rows = one.sheet.row_count
    if rows < 2:
        return []
    complete = [name for name, seen in one.profiles.items() if not seen.missing]
    single = [name for name in complete if len(one.profiles[name].values) == rows]
    # Ids first, sums and dates last: what is unique by chance is no key one would choose
    order = {"integer": 1, "text": 1, "uuid": 0, "email": 2, "url": 2}
    single.sort(
        key=lambda name: (
            not re.search(r"(^|[_\s])(id|key|uuid|code|no|number)$|Id$", name, re.I),
            order.get(one.profiles[name].kind, 3),
        )
    )
    single = [name for name in single if one.profiles[name].kind not in ("decimal", "datetime", "date")] or single
    if single:
        return [[name] for name in single]
    found = []
    for left, right in combinations(complete[:12], 2):
        if len(one.profiles[left].values) * len(one.profiles[right].values) < rows:
            continue
        pairs = zip(one.sheet.columns[left], one.sheet.columns[right], strict=True)
        if len(set(pairs)) == rows:
            found.append([left, right])
        if len(found) == 3:
            break
    return found


def _column(
    one: Listed,
    number: int,
    name: str,
    seen: Profile,
    draft: Mapping[str, str],
    samples: int,
    *,
    is_key: bool,
) -> dict[str, Any]:
    total = seen.values.total()
    top = sorted(seen.values.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP]
    is_private = _is_private(name)
    tags = [tag.strip() for tag in draft.get("tags", "").split(",") if tag.strip()]
    lengths = [len(value) for value in seen.values]
    return {
        "position": number,
        "name": name,
        "type": seen.kind,
        "declared_type": one.sheet.declared.get(name),
        "description": draft.get("description", "") or suggest(name, seen.kind),
        "is_suggested": not draft.get("description"),
        "owner": draft.get("owner", ""),
        "tags": tags or _tags(name, seen, is_key=is_key, is_private=is_private),
        "missing": seen.missing,
        "missing_share": round(seen.missing / one.sheet.row_count, 4) if one.sheet.row_count else 0.0,
        "distinct": len(seen.values),
        "is_unique": is_key,
        "length_min": min(lengths, default=None),
        "length_max": max(lengths, default=None),
        **_statistics(seen),
        "top_values": []
        if is_private or is_key
        else [{"value": value[:100], "count": count, "share": round(count / total, 4)} for value, count in top],
        "samples": ["hidden: it looks personal"] * bool(samples)
        if is_private
        else [value[:100] for value in list(seen.values)[:samples]],
    }


def _is_private(name: str) -> bool:
    """Whether the column's name says that it holds what people would not print: no values of it are shown."""
    return any(
        personal.NAMED[kind.name].search(name)
        for kind in personal.KINDS
        if kind.named
        and kind.category in ("contact", "identity", "financial", "secret", "special")
        and kind.name != "name"
    )


def _statistics(seen: Profile) -> dict[str, Any]:
    if seen.kind in ("integer", "decimal"):
        numbers: list[float] = []
        for value, count in seen.values.items():
            number = kinds.number_of(value, seen.ways[value])
            if seen.kind_of(value) == seen.kind and abs(number) < kinds.NUMBER_MAX:
                numbers += [number] * count
        numbers.sort()
        if not numbers:
            return {}
        return {
            "min": _plain(numbers[0]),
            "max": _plain(numbers[-1]),
            "sum": _plain(sum(numbers)),
            "mean": _plain(statistics.fmean(numbers)),
            "deviation": _plain(statistics.stdev(numbers)) if len(numbers) > 1 else 0,
            "quantiles": {f"p{round(100 * share)}": _plain(quantile(numbers, share)) for share in QUANTILES},
        }
    if seen.kind in ("date", "datetime"):
        days = [day for day in _days(seen) if day]
        return {"min": min(days).isoformat(), "max": max(days).isoformat()} if days else {}
    return {}


def _days(seen: Profile) -> Iterator[date | None]:
    for value, way in seen.ways.items():
        if value in seen.values and kinds.KINDS[way] in ("date", "datetime"):
            yield kinds.date_of(value, way, is_day_first=seen.is_day_first)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which that share lies; linear between its neighbours."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _plain(number: float) -> int | float:
    return int(number) if float(number).is_integer() and abs(number) < 2**53 else float(f"{number:.10g}")


# Drafts where nothing was written: static/holdfast/studio/data/catalog.js suggests the same


def words(name: str) -> str:
    """orderDate → order date."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return " ".join(re.sub(r"[_\-.]+", " ", parted).split()).lower()


def suggest(name: str, kind: str) -> str:
    """A first sentence about a column, from its name and type; people know better."""
    said = words(name)
    for pattern, sentence in SUGGESTIONS:
        if found := re.fullmatch(pattern, said):
            rest = next((one for one in found.groups() if one), "").strip()
            if not rest and ":" in sentence:
                return f"{sentence.partition(':')[0]}."
            return sentence.replace("{}", rest or "row")
    if kind in ("date", "datetime"):
        return f"When: {said}."
    if kind == "boolean":
        return f"Whether: {said}."
    return f"{said[:1].upper()}{said[1:]}."


SUGGESTIONS = (
    (r"id|key|uuid", "Identifies the row."),
    (r"(.+) (?:id|key|uuid)", "Identifies the {}."),
    (r"(?:is|has) (.+)", "Whether it is or has {}."),
    (r"(.+) at|(.+) (?:date|time|on)|date of (.+)", "When: {}."),
    (r"(?:number|count) of (.+)|(.+) (?:count|quantity|qty)", "How many: {}."),
    (r"quantity|qty|count", "How many."),
    (r"amount|total|price|cost|(.+) (?:amount|total|price|cost)", "An amount of money: {}."),
    (r"status|state|(.+) (?:status|state)", "Where the {} stands."),
    (r"e ?mail|(.+) e ?mail", "An e-mail address."),
    (r"country|(.+) country", "The country."),
)


def _tags(name: str, seen: Profile, *, is_key: bool, is_private: bool) -> list[str]:
    found = ["key"] if is_key else []
    if is_private:
        found.append("personal")
    if re.search(r"amount|total|price|cost|salary|revenue", name, re.I):
        found.append("money")
    if seen.kind in ("date", "datetime"):
        found.append("time")
    if seen.missing:
        found.append("optional")
    return found


# Relations


def _relations(tables: Sequence[Listed]) -> list[dict[str, Any]]:
    found = []
    for to in tables:
        keys = [key[0] for key in _keys(to) if len(key) == 1]
        for key in keys:
            there = to.profiles[key]
            for one in tables:
                for name, seen in one.profiles.items():
                    if one is to or seen.kind != there.kind or seen.kind in ("decimal", "date", "datetime", "boolean"):
                        continue
                    if relation := _relation(one, name, seen, to, key, there):
                        found.append(relation)
    found.sort(key=lambda one: (-one["confidence"], one["from_table"], one["from_column"]))
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for relation in found:
        kept.setdefault((relation["from_table"], relation["from_column"]), relation)
    return [one for one in kept.values() if not _is_mirrored(one, kept)]


def _relation(one: Listed, name: str, seen: Profile, to: Listed, key: str, there: Profile) -> dict[str, Any] | None:
    """The relation, if it is one: nearly all values are there, and the names say so, or the values cannot be chance."""
    if not seen.values:
        return None
    inside = sum(count for value, count in seen.values.items() if value in there.values)
    share = inside / seen.values.total()
    alike = _is_called(name, to.name, key)
    by_chance = seen.kind == "integer" or len(seen.values) < 3
    if share < CONTAINED or (by_chance and not alike):
        return None
    return {
        "from_table": one.name,
        "from_column": name,
        "to_table": to.name,
        "to_column": key,
        "share": round(share, 4),
        "orphans": seen.values.total() - inside,
        "kind": "one to one" if len(seen.values) == seen.values.total() else "many to one",
        "confidence": round(share * (1.0 if alike else 0.7), 2),
    }


def _is_called(name: str, table: str, key: str) -> bool:
    plain, of_key, of_table = (re.sub(r"[^a-z0-9]", "", one.lower()) for one in (name, key, table))
    singular = re.sub(r"(?<=..)(ies|es|s)$", lambda found: "y" if found[0] == "ies" else "", of_table)
    if plain == of_key:
        return plain not in ("id", "key", "code", "name")
    return plain.endswith(
        (f"{singular}{of_key}", f"{of_table}{of_key}", f"{singular}id", f"{of_table}id")
    ) or plain in (
        singular,
        of_table,
    )


def _is_mirrored(one: Mapping[str, Any], kept: Mapping[tuple[str, str], Mapping[str, Any]]) -> bool:
    """Whether it is the other way round of a relation that is kept: two keys with the same values lead one way."""
    other = kept.get((one["to_table"], one["to_column"]))
    if other is None or (other["to_table"], other["to_column"]) != (one["from_table"], one["from_column"]):
        return False
    return (one["from_table"], one["from_column"]) > (other["from_table"], other["from_column"])


# Files and page


def _json(result: Mapping[str, Any]) -> bytes:
    return json.dumps(result, ensure_ascii=False, indent=1).encode("utf-8", "replace")


def _written(result: Mapping[str, Any]) -> str:
    parts = [f"# {markdown_cell(result['title'])}"]
    if result["owner"]:
        parts.append(f"Owner: {markdown_cell(result['owner'])}")
    for table in result["tables"]:
        keys = "; ".join(" + ".join(key) for key in table["candidate_keys"]) or "none found"
        rows = [
            (
                column["name"],
                column["declared_type"] or column["type"],
                column["description"] + (" (suggested)" if column["is_suggested"] else ""),
                column["owner"],
                ", ".join(column["tags"]),
                f"{100 * column['missing_share']:.1f} %",
                column["distinct"],
                _range(column),
                ", ".join(column["samples"]),
            )
            for column in table["columns"]
        ]
        names = ("Column", "Type", "Description", "Owner", "Tags", "Missing", "Different", "Range", "Samples")
        parts += [
            f"## {markdown_cell(table['name'])}",
            f"{table['rows']:,} rows. Candidate keys: {markdown_cell(keys)}.",
            markdown_table(names, rows),
        ]
    if result["relations"]:
        rows_ = [
            (
                f"{one['from_table']}.{one['from_column']}",
                f"{one['to_table']}.{one['to_column']}",
                one["kind"],
                one["orphans"],
            )
            for one in result["relations"]
        ]
        parts += ["## Relations", markdown_table(("From", "To", "Kind", "Rows that lead nowhere"), rows_)]
    return "\n\n".join(parts) + "\n"


def _range(column: Mapping[str, Any]) -> str:
    return f"{column['min']} to {column['max']}" if "min" in column else ""


def _spread(column: Mapping[str, Any]) -> str:
    if "min" not in column:
        return "–"
    middle = column.get("quantiles", {}).get("p50")
    return " – ".join(str(one) for one in (column["min"], middle, column["max"]) if one is not None)


def _drawn(result: Mapping[str, Any]) -> bytes:
    nodes = []
    for table in result["tables"]:
        keys = {name for key in table["candidate_keys"][:1] for name in key}
        lines = [f"{'● ' if one['name'] in keys else ''}{one['name']} · {one['type']}" for one in table["columns"][:14]]
        if len(table["columns"]) > 14:
            lines.append(f"and {len(table['columns']) - 14} more")
        kind = f"{table['rows']:,} rows"
        nodes.append(drawing.Node(table["name"], table["name"], kind=kind, shape="table", tone="sea", lines=lines))
    edges = [
        drawing.Edge(one["from_table"], one["to_table"], f"{one['from_column']} → {one['to_column']}")
        for one in result["relations"]
    ]
    return drawing.diagram("Tables and how they lead to each other", nodes, edges)


def _view(result: Mapping[str, Any]) -> list[studio.Block]:
    tables = result["tables"]
    columns = [column for table in tables for column in table["columns"]]
    view: list[studio.Block] = [
        studio.facts(
            "At a glance",
            (
                ("Tables", len(tables)),
                ("Columns", len(columns)),
                ("Rows", sum(table["rows"] for table in tables)),
                ("Described by you", f"{sum(not one['is_suggested'] for one in columns)} of {len(columns)} columns"),
                ("Relations", len(result["relations"])),
                ("Personal by their names", sum("personal" in one["tags"] for one in columns)),
            ),
        ),
        studio.picture(
            "Tables and how they lead to each other",
            "tables.svg",
            described="; ".join(
                f"{one['from_table']}.{one['from_column']} leads to {one['to_table']}.{one['to_column']}"
                for one in result["relations"]
            )
            or "No table leads to another one.",
        ),
    ]
    for table in tables:
        keys = "; ".join(" + ".join(key) for key in table["candidate_keys"][:5]) or "none found"
        rows = [
            (
                column["name"],
                column["declared_type"] or column["type"],
                column["description"],
                ", ".join(column["tags"]),
                column["missing"],
                column["distinct"],
                _spread(column),
                ", ".join(f"{one['value']} ({one['count']:,})" for one in column["top_values"][:3])
                or ", ".join(column["samples"]),
            )
            for column in table["columns"]
        ]
        names = (
            "Column",
            "Type",
            "Description",
            "Tags",
            "Missing",
            "Different",
            "From – median – to",
            "Commonest",
        )
        view.append(
            studio.table(table["name"], names, rows, note=f"{table['rows']:,} rows. Keys: {keys}. {table['read_as']}.")
        )
    if result["relations"]:
        rows_ = [
            (
                f"{one['from_table']}.{one['from_column']}",
                f"{one['to_table']}.{one['to_column']}",
                one["kind"],
                one["share"],
                one["orphans"],
                one["confidence"],
            )
            for one in result["relations"]
        ]
        heading = ("From", "To", "Kind", "Found there", "Rows that lead nowhere", "Confidence")
        view.append(studio.table("Relations", heading, rows_))
    return view


def _document(number: int) -> Document:
    return Document(
        name=TABLES[number],
        title=f"Table {number + 1}" if number else "Table",
        help="" if number else "CSV, JSON, JSON lines or Parquet, up to 100,000 rows. It is called as its file is.",
        file_name=f"{TABLES[number]}.csv",
        accepts=ENDINGS,
        is_required=number == 0,
    )


EXAMPLE_ORDERS = b"""order_id,customer_id,ordered_at,amount,state
1,11,2026-01-05,19.90,paid
2,12,2026-01-06,24.50,paid
3,11,2026-01-07,18.00,open
4,13,2026-01-08,22.10,paid
5,12,2026-01-09,,open
"""
EXAMPLE_CUSTOMERS = b"""id,name,email,country
11,Ada,ada@example.com,GB
12,Ben,ben@example.com,FR
13,Clara,clara@example.com,GB
14,Dan,dan@example.com,DE
"""

TOOL = Tool(
    slug="data-studio/catalog",
    title="Data catalogue",
    noun="catalogue",
    summary="Makes a data dictionary of your tables: types, statistics, keys, relations.",
    mode="hybrid",
    risk="low",
    credits_max=5,
    # The dictionary is told in the answer, on the page and in two files.
    limits=Limits(cpu_seconds=5, seconds=10, output_bytes=4 * 1024 * 1024),
    icon="table",
    fields=(
        Text(name="title", title="Title", length_max=200, is_short=True, default=""),
        Text(
            name="owner", title="Owner", help="Who answers for these tables.", length_max=200, is_short=True, default=""
        ),
        *(_document(number) for number in range(len(TABLES))),
        Rows(
            name="columns",
            title="What columns mean",
            help="What is not written here is suggested from the name.",
            noun="column",
            count_max=500,
            fields=(
                Text(
                    name="table",
                    title="Table",
                    help="Needed where two have it.",
                    length_max=200,
                    is_short=True,
                    default="",
                ),
                Text(name="column", title="Column", length_max=200, is_short=True, is_required=True),
                Text(name="description", title="Meaning", length_max=1000, is_short=True, default=""),
                Text(name="owner", title="Owner", length_max=200, is_short=True, default=""),
                Text(name="tags", title="Tags", help="Parted by commas.", length_max=200, is_short=True, default=""),
            ),
        ),
        Whole(name="samples", title="Sample values a column", min=0, max=10, default=3),
    ),
    function=run,
    example={
        "title": "Shop",
        "owner": "Sales operations",
        "columns": [
            {
                "table": "",
                "column": "amount",
                "description": "What the customer pays, in pounds, with VAT",
                "owner": "Finance",
                "tags": "money, audited",
            }
        ],
    },
    example_files={"table": ("orders.csv", EXAMPLE_ORDERS), "table_2": ("customers.csv", EXAMPLE_CUSTOMERS)},
)
