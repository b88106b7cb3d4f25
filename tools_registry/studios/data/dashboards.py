"""A dashboard: figures and charts computed from a table, after filters, as pictures and as one page of HTML.

Means and medians are of the rows that have a number; a median of an even count is the mean of the two in the middle.
static/holdfast/studio/data/dashboards.js computes the same in the browser.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from tools_registry import studio
from tools_registry.fields import Choice, Document, Flag, Rows, Text, Whole
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios import drawing
from tools_registry.studios.sheets import csv_file

from . import kinds
from .reading import ENDINGS, Sheet, read

ROWS_MAX = 100_000
CHARTS = {
    "figure": "One figure",
    "bars": "Bars",
    "columns": "Columns",
    "lines": "Lines",
    "stacked": "Stacked bars, by group",
    "donut": "Shares of a whole",
    "scatter": "Dots by two numbers",
    "histogram": "How often: classes of a number",
    "heat_map": "Heat map, by group",
    "table": "Table",
}
AGGREGATES = {
    "count": "How many rows",
    "sum": "Sum",
    "mean": "Mean",
    "median": "Median",
    "min": "Least",
    "max": "Most",
    "distinct": "How many different",
}
PERIODS = {"as_is": "As it is", "day": "Day", "month": "Month", "quarter": "Quarter", "year": "Year"}
TESTS = {
    "is": "is",
    "is_not": "is not",
    "is_one_of": "is one of (parted by |)",
    "contains": "contains",
    "at_least": "is at least",
    "at_most": "is at most",
    "is_empty": "is empty",
    "is_not_empty": "is not empty",
}
GROUPED = ("lines", "stacked", "heat_map", "table")
SERIES_MAX = 8
OTHERS = "(empty)"
CLASSES = 10
POINTS_MAX = 1_000


@dataclass(slots=True)
class Column:
    """A column as charts see it: texts, and numbers or sortable days where it holds them."""

    kind: str
    texts: list[str]
    numbers: list[float | None]
    days: list[str]


@dataclass(slots=True)
class Chart:
    """A chart with its figures: a value by label and series; None where there is none."""

    title: str
    kind: str
    labels: list[str] = field(default_factory=list)
    series: dict[str, list[float | None]] = field(default_factory=dict)
    points: list[tuple[float, float]] = field(default_factory=list)
    left_out: int = 0  # rows without the number it needs
    labels_left_out: int = 0
    x_title: str = ""
    y_title: str = ""


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{title, rows, rows_kept, charts}: each chart with labels, series of values, and how many rows had no number."""
    sheet = read(files["table"], "table", has_heading=inputs["has_heading"], rows_max=ROWS_MAX)
    columns = _Columns(sheet)
    kept = _filtered(columns, inputs["filters"], sheet.row_count)
    charts = [_chart(columns, row, kept, at) for at, row in enumerate(inputs["charts"])]
    title = inputs["title"] or "Dashboard"
    result = {
        "title": title,
        "rows": sheet.row_count,
        "rows_kept": len(kept),
        "charts": [
            {
                "title": one.title,
                "kind": one.kind,
                "labels": one.labels,
                "series": [{"name": name, "values": values} for name, values in one.series.items()],
                "points": [list(point) for point in one.points],
                "rows_without_a_number": one.left_out,
                "labels_left_out": one.labels_left_out,
            }
            for one in charts
        ],
    }
    pictures = [(f"chart-{at}.svg", _drawn(one)) for at, one in enumerate(charts, start=1)]
    made = [File(name, "image/svg+xml", svg) for name, svg in pictures if svg]
    page = _page(result, inputs["filters"], charts, [svg for _, svg in pictures])
    made += [File("dashboard.html", "text/html", page.encode("utf-8", "replace")), _listed(charts)]
    return Result(result, _view(result, charts, pictures), made)


class _Columns:
    """The columns by name, each worked out when it is first asked for."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.done: dict[str, Column] = {}

    def find(self, name: str, where: str) -> Column:
        if name not in self.sheet.columns:
            there = ", ".join(self.sheet.names[:12])
            raise BadInput({where: f"There is no column {name}; there are {there}."})
        if name not in self.done:
            self.done[name] = _column(self.sheet.columns[name])
        return self.done[name]


def _column(cells: list[str | None]) -> Column:
    seen = kinds.profile(cells)
    numbers: dict[str, float] = {}
    days: dict[str, str] = {}
    for value in seen.values:
        way = seen.ways[value]
        if kinds.KINDS[way] in ("integer", "decimal"):
            numbers[value] = kinds.number_of(value, way)
        elif kinds.KINDS[way] in ("date", "datetime"):
            day = kinds.date_of(value, way, is_day_first=seen.is_day_first)
            if day:
                days[value] = day.isoformat()
    texts = [cell.strip() if cell else "" for cell in cells]
    found = [numbers.get(text) for text in texts]
    finite = [one if one is not None and abs(one) < kinds.NUMBER_MAX else None for one in found]
    return Column(seen.kind, texts, finite, [days.get(text, "") for text in texts])


# Filters


def _filtered(columns: _Columns, filters: Sequence[Mapping[str, str]], rows: int) -> list[int]:
    kept = list(range(rows))
    for at, one in enumerate(filters):
        column = columns.find(one["column"], f"filters.{at}.column")
        test = _test(column, one["test"], one["value"].strip(), f"filters.{at}.value")
        kept = [row for row in kept if test(row)]
    return kept


def _test(column: Column, test: str, value: str, where: str) -> Callable[[int], bool]:
    texts = column.texts
    if test == "is_empty":
        return lambda row: not texts[row]
    if test == "is_not_empty":
        return lambda row: bool(texts[row])
    if not value:
        raise BadInput({where: "Write what to compare with."})
    if test in ("at_least", "at_most"):
        return _bound(column, value, where, is_least=test == "at_least")
    low = value.casefold()
    if test == "contains":
        return lambda row: low in texts[row].casefold()
    wanted = {one.strip().casefold() for one in value.split("|")} if test == "is_one_of" else {low}
    is_wanted = test != "is_not"
    return lambda row: (texts[row].casefold() in wanted) == is_wanted


def _bound(column: Column, value: str, where: str, *, is_least: bool) -> Callable[[int], bool]:
    """Numbers against a number, days against a day; a cell that is neither is left out."""
    way = kinds.way_of(value)
    if column.kind in ("date", "datetime"):
        day = kinds.date_of(value, way) if kinds.KINDS[way] in ("date", "datetime") else None
        if day is None:
            raise BadInput({where: "Write a date as YYYY-MM-DD."})
        edge, days = day.isoformat(), column.days
        return lambda row: bool(days[row]) and (days[row] >= edge if is_least else days[row] <= edge)
    if kinds.KINDS[way] not in ("integer", "decimal"):
        raise BadInput({where: "Write a number."})
    bound = kinds.number_of(value, way)
    numbers = column.numbers

    def is_inside(row: int) -> bool:
        number = numbers[row]
        return number is not None and (number >= bound if is_least else number <= bound)

    return is_inside


# Charts


def _chart(columns: _Columns, row: Mapping[str, Any], kept: list[int], at: int) -> Chart:
    kind, place = row["kind"], f"charts.{at}"
    named = AGGREGATES[row["aggregate"]].lower() + (
        f" of {row['y']}" if row["y"] and row["aggregate"] != "count" else ""
    )
    default = f"{named[:1].upper()}{named[1:]}" + (f" by {_along(row)}" if row["x"] and kind != "figure" else "")
    if kind in ("scatter", "histogram"):
        default = f"{row['y']} by {row['x']}" if kind == "scatter" else f"How often: {row['x']}"
    chart = Chart(row["title"] or default, kind, x_title=row["x"], y_title=row["y"] or named)
    if row["group"] and kind not in GROUPED:
        raise BadInput({f"{place}.group": f"Only these have groups: {', '.join(GROUPED)}."})
    if kind in ("stacked", "heat_map") and not row["group"]:
        raise BadInput({f"{place}.group": "Choose a column to group by."})
    if kind != "figure" and not row["x"]:
        raise BadInput({f"{place}.x": "Choose a column."})
    if kind == "scatter":
        return _scatter(columns, row, kept, chart, place)
    if kind == "histogram":
        return _histogram(columns, row, kept, chart, place)
    value = columns.find(row["y"], f"{place}.y") if row["y"] else None
    if row["aggregate"] != "count" and value is None:
        raise BadInput({f"{place}.y": "Choose the column that is counted up."})
    needs_numbers = row["aggregate"] not in ("count", "distinct")
    if value is not None and needs_numbers and not any(one is not None for one in value.numbers):
        raise BadInput({f"{place}.y": f"{row['y']} holds no numbers."})
    if kind == "figure":
        chart.series = {named: [_aggregate(row["aggregate"], value, kept, chart)]}
        chart.labels = ["All"]
        return chart
    return _by_label(columns, row, kept, chart, value, place)


def _along(row: Mapping[str, Any]) -> str:
    return str(row["x"] if row["period"] == "as_is" else row["period"])


def _by_label(
    columns: _Columns, row: Mapping[str, Any], kept: list[int], chart: Chart, value: Column | None, place: str
) -> Chart:
    across = columns.find(row["x"], f"{place}.x")
    group = columns.find(row["group"], f"{place}.group") if row["group"] else None
    labels = _labels(across, row["period"], f"{place}.period")
    cells: dict[str, dict[str, list[int]]] = {}
    sizes: dict[str, int] = {}
    for one in kept:
        name = (group.texts[one] or OTHERS) if group else row["aggregate"]
        cells.setdefault(labels[one] or OTHERS, {}).setdefault(name, []).append(one)
        sizes[name] = sizes.get(name, 0) + 1
    names = sorted(sizes, key=lambda name: (-sizes[name], name))[:SERIES_MAX]
    table = {
        label: {name: _aggregate(row["aggregate"], value, rows, chart) for name, rows in of.items() if name in names}
        for label, of in cells.items()
    }
    order = _order(table, across, row)
    chart.labels_left_out = max(0, len(order) - row["limit"])
    chart.labels = order[: row["limit"]]
    chart.series = {name: [table[label].get(name) for label in chart.labels] for name in names}
    return chart


def _labels(column: Column, period: str, where: str) -> list[str]:
    if period == "as_is":
        return column.texts
    if column.kind not in ("date", "datetime"):
        raise BadInput({where: "The column holds no dates."})
    cut = {"day": 10, "month": 7, "year": 4, "quarter": 7}[period]
    if period == "quarter":
        return [f"{day[:4]} Q{(int(day[5:7]) + 2) // 3}" if day else "" for day in column.days]
    return [day[:cut] for day in column.days]


def _order(table: Mapping[str, Mapping[str, float | None]], across: Column, row: Mapping[str, Any]) -> list[str]:
    """By the label where labels have an order of their own (days, numbers, lines), else the largest first."""
    is_ordered = across.kind in ("date", "datetime", "integer", "decimal") or row["kind"] == "lines"
    by_label = row["sort"] == "label" or (row["sort"] == "auto" and is_ordered)

    def key(label: str) -> tuple[int, float, str]:
        way = kinds.way_of(label)
        if by_label and kinds.KINDS[way] in ("integer", "decimal"):
            return 0, kinds.number_of(label, way), label
        if by_label and kinds.KINDS[way] in ("date", "datetime") and (day := kinds.date_of(label, way)):
            return 1, day.toordinal(), label
        if by_label:
            return 2, 0.0, label
        return 0, -sum(value or 0.0 for value in table[label].values()), label

    return sorted(table, key=key)


def _aggregate(name: str, column: Column | None, rows: Sequence[int], chart: Chart) -> float | None:
    if name == "count" or column is None:
        return len(rows)
    if name == "distinct":
        return len({column.texts[row] for row in rows if column.texts[row]})
    numbers = [number for row in rows if (number := column.numbers[row]) is not None]
    chart.left_out += len(rows) - len(numbers)
    if not numbers:
        return 0 if name == "sum" else None
    ways: dict[str, Callable[[Sequence[float]], float]] = {
        "sum": math.fsum,
        "mean": statistics.fmean,
        "median": statistics.median,
        "min": min,
        "max": max,
    }
    made = ways[name](numbers)
    return _plain(made)


def _plain(number: float) -> float | None:
    if not math.isfinite(number):
        return None
    return int(number) if float(number).is_integer() and abs(number) < 2**53 else float(f"{number:.12g}")


def _scatter(columns: _Columns, row: Mapping[str, Any], kept: list[int], chart: Chart, place: str) -> Chart:
    if not row["y"]:
        raise BadInput({f"{place}.y": "Choose the second number."})
    across, up = columns.find(row["x"], f"{place}.x"), columns.find(row["y"], f"{place}.y")
    for name, column in (("x", across), ("y", up)):
        if not any(one is not None for one in column.numbers):
            raise BadInput({f"{place}.{name}": f"{row[name]} holds no numbers."})
    for one in kept:
        a, b = across.numbers[one], up.numbers[one]
        if a is None or b is None:
            chart.left_out += 1
        elif len(chart.points) < POINTS_MAX:
            chart.points.append((a, b))
        else:
            chart.labels_left_out += 1
    return chart


def _histogram(columns: _Columns, row: Mapping[str, Any], kept: list[int], chart: Chart, place: str) -> Chart:
    """Ten classes of equal width; each counts from its lower end to below its upper, the last one with it."""
    column = columns.find(row["x"], f"{place}.x")
    numbers = [number for one in kept if (number := column.numbers[one]) is not None]
    chart.left_out = len(kept) - len(numbers)
    if not any(one is not None for one in column.numbers):
        raise BadInput({f"{place}.x": f"{row['x']} holds no numbers."})
    if not numbers:
        return chart
    low, high = min(numbers), max(numbers)
    width = (high - low) / CLASSES or 1.0
    counts = [0] * (CLASSES if high > low else 1)
    for number in numbers:
        counts[min(len(counts) - 1, int((number - low) / width))] += 1
    chart.labels = [f"{low + at * width:.6g}" for at in range(len(counts))]
    chart.series = {"count": list(counts)}
    chart.y_title = "rows"
    return chart


# Pictures, files, page


def _drawn(chart: Chart) -> bytes:
    """The picture; empty for figures and tables, which have none."""
    if chart.kind in ("figure", "table"):
        return b""
    first = next(iter(chart.series.values()), [])
    rows = [drawing.Bar(label, value) for label, value in zip(chart.labels, first, strict=False)]
    said = f"{chart.title}: {len(chart.labels) or len(chart.points)} of {chart.x_title}."
    if chart.kind == "bars":
        return drawing.bars(chart.title, rows, described=said)
    if chart.kind in ("columns", "histogram"):
        return drawing.columns(chart.title, rows, described=said)
    if chart.kind == "donut":
        return drawing.donut(chart.title, rows, described=said)
    if chart.kind == "lines":
        series = [drawing.Series(name, values) for name, values in chart.series.items()]
        return drawing.lines(chart.title, chart.labels, series, described=said)
    if chart.kind == "stacked":
        stacks = [
            drawing.Stack(label, [values[at] or 0.0 for values in chart.series.values()])
            for at, label in enumerate(chart.labels)
        ]
        return drawing.stacked(chart.title, list(chart.series), stacks, described=said)
    if chart.kind == "heat_map":
        grid = [[values[at] for values in chart.series.values()] for at in range(len(chart.labels))]
        return drawing.heat_map(chart.title, list(chart.series), chart.labels, grid, described=said)
    points = [drawing.Point(x, y) for x, y in chart.points]
    return drawing.scatter(chart.title, points, x_title=chart.x_title, y_title=chart.y_title, described=said)


def _listed(charts: Sequence[Chart]) -> File:
    rows: list[Sequence[Any]] = []
    for number, chart in enumerate(charts, start=1):
        for name, values in chart.series.items():
            rows += [
                (number, chart.title, name, label, value) for label, value in zip(chart.labels, values, strict=True)
            ]
        rows += [(number, chart.title, "", x, y) for x, y in chart.points]
    return csv_file("figures.csv", ("chart", "title", "series", "label", "value"), rows)


PAGE_STYLE = """
:root{color-scheme:light dark;--paper:#f6f3ec;--card:#fffdf8;--ink:#14232b;--quiet:#4a5a62;--line:#e2ddd0}
@media(prefers-color-scheme:dark){:root{--paper:#0e191e;--card:#132128;--ink:#edf2f0;--quiet:#b2c0c4;--line:#22353e}}
body{margin:0;padding:32px;background:var(--paper);color:var(--ink);font:16px/1.5 Inter,system-ui,sans-serif}
header,main{max-width:1360px;margin:0 auto}h1{margin:0 0 4px;font-size:30px}h2{margin:0 0 12px;font-size:18px}
p{margin:0 0 20px;color:var(--quiet)}
main{display:grid;gap:20px;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr))}
section{background:var(--card);border:1px solid var(--line);border-radius:16px;padding:20px;overflow-x:auto}
svg{width:100%;height:auto}.figure{font-size:44px;font-weight:650;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{padding:6px 10px;text-align:left;border-bottom:1px solid var(--line)}
td+td,th+th{text-align:right;font-variant-numeric:tabular-nums}details{margin-top:12px}summary{cursor:pointer;color:var(--quiet)}
"""


def _page(
    result: Mapping[str, Any], filters: Sequence[Mapping[str, str]], charts: Sequence[Chart], pictures: Sequence[bytes]
) -> str:
    """One file that needs nothing else: no script, nothing loaded from elsewhere."""
    said = "; ".join(f"{one['column']} {TESTS[one['test']].split(' (')[0]} {one['value']}".strip() for one in filters)
    sections = []
    for chart, svg in zip(charts, pictures, strict=True):
        inside = f"<h2>{escape(chart.title)}</h2>"
        if chart.kind == "figure":
            value = next(iter(chart.series.values()))[0]
            inside += f'<div class="figure">{_said(value)}</div>'
        elif chart.kind == "table":
            inside += _table(chart)
        else:
            inside += svg.decode()
            if chart.series:
                inside += f"<details><summary>The figures</summary>{_table(chart)}</details>"
        sections.append(f"<section>{inside}</section>")
    rows = f"{result['rows_kept']:,} of {result['rows']:,} rows" + (f": {said}" if said else "")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(result['title'])}</title><style>{PAGE_STYLE}</style></head><body>"
        f"<header><h1>{escape(result['title'])}</h1><p>{escape(rows)}</p></header><main>{''.join(sections)}</main>"
        "</body></html>\n"
    )


def _said(value: float | None) -> str:
    """The figure with all its decimals that matter: 1,350.9."""
    return "–" if value is None else f"{value:,.10g}".replace("-", "−")


def _table(chart: Chart) -> str:
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in (chart.x_title, *chart.series))
    rows = "".join(
        f"<tr><td>{escape(label)}</td>"
        + "".join(f"<td>{_said(values[at])}</td>" for values in chart.series.values())
        + "</tr>"
        for at, label in enumerate(chart.labels)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _view(
    result: Mapping[str, Any], charts: Sequence[Chart], pictures: Sequence[tuple[str, bytes]]
) -> list[studio.Block]:
    figures = [(one.title, next(iter(one.series.values()))[0]) for one in charts if one.kind == "figure"]
    kept = f"{result['rows_kept']:,} of {result['rows']:,}"
    view: list[studio.Block] = [studio.facts(result["title"], (*figures, ("Rows", kept), ("Charts", len(charts))))]
    for chart, (name, svg) in zip(charts, pictures, strict=True):
        note = f"{chart.left_out:,} rows have no number here. " if chart.left_out else ""
        note += f"{chart.labels_left_out:,} more are not shown." if chart.labels_left_out else ""
        if svg:
            said = "; ".join(
                f"{label}: {', '.join(drawing.number(values[at]) for values in chart.series.values())}"
                for at, label in enumerate(chart.labels[:20])
            )
            view.append(studio.picture(chart.title, name, described=said or f"{len(chart.points)} dots."))
        if chart.series and chart.kind != "figure":
            rows = [[label, *(values[at] for values in chart.series.values())] for at, label in enumerate(chart.labels)]
            view.append(
                studio.table(f"{chart.title}: the figures", [chart.x_title, *chart.series], rows, note=note.strip())
            )
    return view


EXAMPLE = b"""day,town,channel,orders,revenue
2026-01-05,London,web,12,240.50
2026-01-05,Leeds,web,5,99.90
2026-01-19,London,shop,7,140.00
2026-02-02,London,web,15,310.20
2026-02-02,Leeds,shop,3,61.50
2026-02-16,Bristol,web,9,178.00
2026-03-02,London,shop,8,162.40
2026-03-02,Leeds,web,6,
2026-03-16,Bristol,web,11,219.90
"""

TOOL = Tool(
    slug="data-studio/dashboards",
    title="Dashboards",
    noun="dashboard",
    summary="Turns a table into figures and charts, and into one page that you can send.",
    mode="hybrid",
    risk="low",
    credits_max=5,
    # Every chart is a picture, and all of them stand in the page once more.
    limits=Limits(cpu_seconds=5, seconds=10, output_bytes=8 * 1024 * 1024),
    icon="chart",
    fields=(
        Document(
            name="table",
            title="Table",
            help="CSV, JSON, JSON lines or Parquet, up to 100,000 rows.",
            file_name="table.csv",
            accepts=ENDINGS,
            is_required=True,
        ),
        Flag(name="has_heading", title="The first line names the columns", default=True),
        Text(name="title", title="Title", length_max=120, is_short=True, default=""),
        Rows(
            name="filters",
            title="Only rows where",
            noun="filter",
            count_max=20,
            fields=(
                Text(name="column", title="Column", length_max=200, is_short=True, is_required=True),
                Choice(name="test", title="Test", choices=TESTS, default="is"),
                Text(name="value", title="Value", length_max=500, is_short=True, default=""),
            ),
        ),
        Rows(
            name="charts",
            title="Charts",
            noun="chart",
            count_min=1,
            count_max=20,
            is_required=True,
            fields=(
                Text(name="title", title="Title", length_max=120, is_short=True, default=""),
                Choice(name="kind", title="Kind", choices=CHARTS, default="bars"),
                Text(
                    name="x",
                    title="Along",
                    help="The column that gives the labels.",
                    length_max=200,
                    is_short=True,
                    default="",
                ),
                Choice(name="period", title="By", help="Where that is a date.", choices=PERIODS, default="as_is"),
                Choice(name="aggregate", title="Figure", choices=AGGREGATES, default="count"),
                Text(
                    name="y",
                    title="Of",
                    help="The column that is counted up.",
                    length_max=200,
                    is_short=True,
                    default="",
                ),
                Text(name="group", title="Grouped by", length_max=200, is_short=True, default=""),
                Choice(
                    name="sort",
                    title="Order",
                    choices={"auto": "As fits", "label": "By label", "value": "Largest first"},
                    default="auto",
                ),
                Whole(name="limit", title="At most", unit="labels", min=1, max=60, default=20),
            ),
        ),
    ),
    function=run,
    example={
        "title": "Sales",
        "charts": [
            {"title": "Revenue", "kind": "figure", "aggregate": "sum", "y": "revenue"},
            {"title": "Orders", "kind": "figure", "aggregate": "sum", "y": "orders"},
            {"kind": "lines", "x": "day", "period": "month", "aggregate": "sum", "y": "revenue", "group": "channel"},
            {"kind": "bars", "x": "town", "aggregate": "sum", "y": "revenue"},
            {"kind": "stacked", "x": "town", "aggregate": "sum", "y": "orders", "group": "channel"},
            {"title": "Orders and revenue", "kind": "scatter", "x": "orders", "y": "revenue"},
        ],
    },
    example_files={"table": ("sales.csv", EXAMPLE)},
)
