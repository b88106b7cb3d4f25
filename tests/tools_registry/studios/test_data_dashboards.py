"""Figures worked out by hand, charts as pictures, and a page that needs nothing else and runs nothing."""

import csv
import io
import random
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pace import within_cpu
from tools_registry.studio import BadInput, InvalidInputs
from tools_registry.studios.data.dashboards import AGGREGATES, CHARTS, EXAMPLE, TOOL

from .tabular import example, file, parquet, run


def charted(*charts: dict, table: bytes = EXAMPLE, **inputs) -> list[dict]:
    return run(TOOL, {"charts": list(charts), **inputs}, table=table).result["charts"]


def figures(chart: dict) -> dict[str, dict]:
    return {one["name"]: dict(zip(chart["labels"], one["values"], strict=True)) for one in chart["series"]}


@pytest.mark.parametrize(
    ("aggregate", "value"),
    [
        ("count", 9),
        ("sum", 1412.4),  # 240.5 + 99.9 + 140 + 310.2 + 61.5 + 178 + 162.4 + 219.9
        ("mean", 176.55),
        ("median", 170.2),  # between 162.4 and 178
        ("min", 61.5),
        ("max", 310.2),
        ("distinct", 8),
    ],
)
def test_figures_by_hand(aggregate: str, value: float) -> None:
    (chart,) = charted({"kind": "figure", "aggregate": aggregate, "y": "revenue"})
    assert chart["series"][0]["values"] == [value]
    assert chart["rows_without_a_number"] == (0 if aggregate in ("count", "distinct") else 1)


def test_by_label_period_and_group() -> None:
    by_town, by_month, by_quarter, grouped = charted(
        {"kind": "bars", "x": "town", "aggregate": "sum", "y": "orders"},
        {"kind": "columns", "x": "day", "period": "month", "aggregate": "sum", "y": "orders"},
        {"kind": "table", "x": "day", "period": "quarter"},
        {"kind": "heat_map", "x": "town", "aggregate": "sum", "y": "orders", "group": "channel", "sort": "label"},
    )
    assert list(figures(by_town)["sum"].items()) == [("London", 42), ("Bristol", 20), ("Leeds", 14)]
    assert figures(by_month)["sum"] == {"2026-01": 24, "2026-02": 27, "2026-03": 25}
    assert figures(by_quarter)["count"] == {"2026 Q1": 9}
    assert figures(grouped) == {
        "web": {"Bristol": 20, "Leeds": 11, "London": 27},
        "shop": {"Bristol": None, "Leeds": 3, "London": 15},
    }


def test_a_histogram_by_hand() -> None:
    (chart,) = charted({"kind": "histogram", "x": "n"}, table=b"n\n0\n1\n9.9\n10\n100\nx\n")
    assert figures(chart)["count"] == {"0": 3} | {str(n * 10): (1 if n in (1, 9) else 0) for n in range(1, 10)}
    assert chart["rows_without_a_number"] == 1


@pytest.mark.parametrize(
    ("one", "rows"),
    [
        ({"column": "town", "test": "is", "value": "london"}, 4),
        ({"column": "town", "test": "is_not", "value": "London"}, 5),
        ({"column": "town", "test": "is_one_of", "value": "Leeds | Bristol"}, 5),
        ({"column": "town", "test": "contains", "value": "on"}, 4),
        ({"column": "orders", "test": "at_least", "value": "9"}, 4),
        ({"column": "orders", "test": "at_most", "value": "5"}, 2),
        ({"column": "day", "test": "at_least", "value": "2026-02-16"}, 4),
        ({"column": "revenue", "test": "is_empty"}, 1),
        ({"column": "revenue", "test": "is_not_empty"}, 8),
    ],
)
def test_filters(one: dict, rows: int) -> None:
    assert run(TOOL, {"charts": [{"kind": "figure"}], "filters": [one]}, table=EXAMPLE).result["rows_kept"] == rows


def test_the_rest_is_counted_where_there_are_too_many_labels() -> None:
    table = b"n\n" + b"".join(b"v%d\n" % n for n in range(70))
    (chart,) = charted({"kind": "bars", "x": "n", "limit": 10}, table=table)
    assert (len(chart["labels"]), chart["labels_left_out"]) == (10, 60)


@pytest.mark.parametrize(
    ("chart", "filters", "field"),
    [
        ({"kind": "bars"}, [], "charts.0.x"),
        ({"kind": "bars", "x": "nobody"}, [], "charts.0.x"),
        ({"kind": "bars", "x": "town", "aggregate": "sum"}, [], "charts.0.y"),
        ({"kind": "bars", "x": "town", "aggregate": "sum", "y": "channel"}, [], "charts.0.y"),
        ({"kind": "stacked", "x": "town"}, [], "charts.0.group"),
        ({"kind": "bars", "x": "town", "group": "channel"}, [], "charts.0.group"),
        ({"kind": "bars", "x": "town", "period": "month"}, [], "charts.0.period"),
        ({"kind": "scatter", "x": "orders"}, [], "charts.0.y"),
        ({"kind": "histogram", "x": "town"}, [], "charts.0.x"),
        ({"kind": "figure"}, [{"column": "nobody"}], "filters.0.column"),
        ({"kind": "figure"}, [{"column": "town"}], "filters.0.value"),
        ({"kind": "figure"}, [{"column": "orders", "test": "at_least", "value": "many"}], "filters.0.value"),
        ({"kind": "figure"}, [{"column": "day", "test": "at_most", "value": "soon"}], "filters.0.value"),
    ],
)
def test_what_is_wrong_is_named(chart: dict, filters: list, field: str) -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, {"charts": [chart], "filters": filters}, table=EXAMPLE)
    assert list(error.value.fields) == [field]


def test_every_kind_of_chart_is_drawn() -> None:
    charts = [
        {
            "kind": kind,
            "x": "orders" if kind in ("scatter", "histogram") else "town",
            "aggregate": "sum",
            "y": "revenue",
        }
        | ({"group": "channel"} if kind in ("stacked", "heat_map") else {})
        for kind in CHARTS
    ]
    result = run(TOOL, {"charts": charts}, table=EXAMPLE)
    pictures = [one for one in result.files if one.name.endswith(".svg")]
    assert len(pictures) == len(CHARTS) - 2
    for one in pictures:
        ElementTree.fromstring(one.content)


def test_the_page_is_one_file_and_runs_nothing() -> None:
    hostile = '<script>alert(1)</script>","</title><img src=x onerror=alert(1)>'
    table = f'town,n\n"{hostile.replace(chr(34), chr(34) * 2)}",3\n'.encode()
    charts = [{"kind": kind, "x": "town", "title": hostile[:100]} for kind in ("bars", "table", "donut")]
    page = file(run(TOOL, {"title": hostile[:100], "charts": charts}, table=table), "dashboard.html")
    assert "default-src 'none'" in page
    tags: list[tuple[str, list]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, attributes))
    parser.feed(page)
    assert {"svg", "table", "section"} <= {tag for tag, _ in tags}
    assert not {"script", "img", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in tags}
    names = {name for _, attributes in tags for name, _ in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("src", "href", "xlink:href")]


def test_the_figures_can_be_taken_along() -> None:
    rows = list(csv.DictReader(io.StringIO(file(example(TOOL), "figures.csv"))))
    assert {"title": "Sum of revenue by town", "label": "London", "value": "853.1"}.items() <= rows[8].items()


def test_other_files_and_two_runs_are_one(tmp_path) -> None:
    content = parquet("SELECT 'a' AS k, 1.5 AS v UNION ALL SELECT 'b', 2.5", tmp_path)
    charts = [{"kind": "figure", "aggregate": "sum", "y": "v"}]
    assert run(TOOL, {"charts": charts}, table=("t.parquet", content)).result["charts"][0]["series"][0]["values"] == [4]
    assert example(TOOL) == example(TOOL)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["", "1", "2,5", "x", "2026-01-01", "31/02/2026", "1e400", "-", "nan"]), max_size=8),
    st.sampled_from(list(CHARTS)),
    st.sampled_from(list(AGGREGATES)),
)
def test_any_column_is_charted_or_named(cells: list[str], kind: str, aggregate: str) -> None:
    chart = {"kind": kind, "x": "a", "y": "a", "aggregate": aggregate}
    said = []
    try:
        said = charted(chart | ({"group": "b"} if kind in ("stacked", "heat_map") else {}), table=_table(cells))
    except (BadInput, InvalidInputs) as error:
        said = [error]
    assert len(said) == 1


def _table(cells: list[str]) -> bytes:
    return b"a,b\n" + b"".join(f'"{cell}",z\n'.encode() for cell in cells)


def test_a_hundred_thousand_rows_stay_within_the_limits() -> None:
    chance = random.Random(3)
    rows = "".join(f"2026-{n % 12 + 1:02}-01,town {n % 50},{chance.random():.4f}\n" for n in range(100_000))
    with within_cpu(TOOL.limits.cpu_seconds / 2):
        charts = [dict(one) for one in TOOL.example["charts"][:1]] + [
            {"kind": "lines", "x": "day", "period": "month", "aggregate": "sum", "y": "v", "group": "town"},
            {"kind": "bars", "x": "town", "aggregate": "median", "y": "v"},
            {"kind": "scatter", "x": "v", "y": "v"},
        ]
        charts[0] |= {"y": "v"}
        run(TOOL, {"charts": charts}, table=f"day,town,v\n{rows}".encode())
