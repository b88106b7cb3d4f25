"""The halves of the data tools in the browser: what they say of a draft, and that no draft makes them fail."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from tools_registry import registry
from tools_registry.studios.data import kinds, reading

from .bench import bench

HALVES = [
    one for one in registry.TOOLS.values() if one.studio == "data-studio" and one.mode == "hybrid"
]  # the C tool has a test of its own
SHOW = """async ([script, inputs]) => {
  const half = await import("/" + script);
  const { draw } = await import("studio/blocks");
  const blocks = half.view(inputs);
  document.body.replaceChildren(draw(blocks));
  const said = block => [block.title, block.kind, block.pairs || block.rows || block.paragraphs || block.source || ""];
  return {wrong: half.problems ? half.problems(inputs) : {}, blocks: blocks.map(said), text: document.body.innerText,
          downloads: blocks.flatMap(block => block.downloads || [])};
}"""
ODD: tuple[Any, ...] = (None, {}, [], "x", 7)


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with bench() as address:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        opened = context.new_page()
        complaints: list[str] = []
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("console", lambda said: complaints.append(said.text) if _is_ours(said) else None)
        opened.goto(address)
        yield opened
        assert complaints == []
        context.close()


def _is_ours(said: ConsoleMessage) -> bool:
    return said.type == "error" and "favicon" not in str(said.location.get("url"))


def show(page: Page, name: str, inputs: Any) -> dict[str, Any]:
    shown: dict[str, Any] = page.evaluate(SHOW, [f"holdfast/studio/data/{name}.js", inputs])
    return shown


def drafted(tool) -> dict[str, Any]:
    """The example as the form has it: pasted."""
    return dict(tool.example) | {name: content.decode() for name, (_, content) in tool.example_files.items()}


@pytest.mark.parametrize("tool", HALVES, ids=lambda one: one.name)
def test_the_example_is_drawn_and_nothing_is_wrong_with_it(page: Page, tool) -> None:
    shown = show(page, tool.name, drafted(tool))
    assert shown["wrong"] == {}
    assert len(shown["blocks"]) > 1


@pytest.mark.parametrize("tool", HALVES, ids=lambda one: one.name)
def test_no_draft_makes_it_fail(page: Page, tool) -> None:
    whole = drafted(tool)
    drafts = [{}, None, dict.fromkeys(whole, "")]
    drafts += [whole | {name: odd} for name in (of.name for of in tool.fields) for odd in ODD]
    for name, value in whole.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            drafts += [whole | {name: [row | {key: odd} for row in value]} for key in value[0] for odd in ODD]
            drafts.append(whole | {name: [None, 7, {}, []]})
        if isinstance(value, str):
            drafts += [whole | {name: value[:cut]} for cut in range(0, len(value), max(1, len(value) // 10))]
    for draft in drafts:
        assert show(page, tool.name, draft)["blocks"]


def test_a_catalogue_is_drafted_as_inputs_that_the_server_takes(page: Page) -> None:
    tool = registry.TOOLS["data-studio/catalog"]
    shown = show(page, "catalog", drafted(tool))
    assert ["Columns", 9] in shown["blocks"][0][2]
    (file,) = shown["downloads"]
    draft = page.evaluate("text => JSON.parse(text)", file["content"])
    cleaned, _ = tool.clean_with_files(draft, {})
    suggested = {row["column"]: row["description"] for row in cleaned["columns"]}
    assert suggested["customer_id"] == "Identifies the customer."
    assert suggested["amount"] == "What the customer pays, in pounds, with VAT"
    wrong = show(page, "catalog", drafted(tool) | {"columns": [{"column": "nobody"}]})["wrong"]
    assert wrong == {"columns.0.column": "There is no column nobody."}


NUMBERS = ("integer", "decimal")
READ = """async text => {
  const {readTable, profile, numberOf, waysOf} = await import("studio/reading");
  const table = readTable(text);
  const numbers = table.columns.map((_, at) => {
    const ways = waysOf(table.rows.map(row => row[at] && row[at].trim()));
    return Object.fromEntries([...ways].map(([value, way]) => [value, numberOf(value, way)]));
  });
  return {columns: table.columns, rows: table.rows, kinds: profile(table).map(one => one.kind), numbers};
}"""


@pytest.mark.parametrize(
    "text",
    [
        'name,town\nZoë,Köln\n"Smith, J","a ""b"""\n',
        "\ufeffname;n\nZoë;1,5\nAda;2,5\n",
        'a\tb\n"one\ntwo"\t2026-01-01\n\n3\t2026-01-02\n',
        '[{"a": 1, "b": null}, {"a": 2.5, "c": {"d": [1]}}]',
        '{"a": true}\n{"a": false}\n',
        "only\nx@y.org\nz@y.org\n",
        "sep=|\na|b\n1|2\n",
        "euro;parts;price;share;wide;point;both\n1.234,50;0,250;€ 12,50;12,5 %;1 234,50;1.234;1,234\n"
        "1.000;1,500;5 €;3 %;2,5;2.5;1,234.50\n1.234.567;12,125;1.234,5 EUR;7 %;1\u00a0000,00;3;2,5\n",
    ],
)
def test_the_browser_reads_a_table_as_the_server_does(page: Page, text: str) -> None:
    from_server = reading.read(text.encode(), "table")
    found = page.evaluate(READ, text)
    assert found["columns"] == from_server.names
    assert found["rows"] == [list(row) for row in from_server.rows()]
    profiles = [kinds.profile(cells) for cells in from_server.columns.values()]
    assert found["kinds"] == [one.kind for one in profiles]
    for here, seen in zip(found["numbers"], profiles, strict=True):
        there = {value: kinds.number_of(value, way) for value, way in seen.ways.items() if kinds.KINDS[way] in NUMBERS}
        assert {value: number for value, number in here.items() if number is not None} == there


def test_a_pipeline_is_judged_by_its_graph(page: Page) -> None:
    tool = registry.TOOLS["data-studio/pipelines"]
    whole = drafted(tool)
    shown = show(page, "pipelines", whole)
    columns = next(rows for title, _, rows in shown["blocks"] if title == "Columns of each step")
    assert columns[5][3] == "id, customer_id, amount, currency, ordered, gross, customers_id, name, country"
    cases = [
        ({"name": "joined", "inputs": "with_tax, nobody"}, "steps.5.inputs", "There is no step nobody."),
        ({"name": "customers"}, "steps.5.name", "Step 2 is called customers already."),
        (
            {"columns": "customer_id = nobody"},
            "steps.5.columns",
            "customers has no column nobody; it has id, name, country.",
        ),
        (
            {"inputs": "by_country, customers"},
            "steps.5.inputs",
            "These steps wait for each other: joined → by_country → joined.",
        ),
    ]
    for change, place, sentence in cases:
        steps = [step | (change if step["name"] == "joined" else {}) for step in whole["steps"]]
        assert show(page, "pipelines", whole | {"steps": steps})["wrong"].get(place) == sentence


def test_a_dashboard_has_the_same_figures_here_and_there(page: Page) -> None:
    tool = registry.TOOLS["data-studio/dashboards"]
    whole = drafted(tool)
    towns = {
        "kind": "heat_map",
        "x": "town",
        "aggregate": "median",
        "y": "revenue",
        "group": "channel",
        "sort": "label",
    }
    charts = [
        *whole["charts"],
        {"kind": "histogram", "x": "revenue"},
        {"kind": "table", "x": "day", "period": "quarter"},
        towns,
    ]
    whole |= {"charts": charts, "filters": [{"column": "orders", "test": "at_least", "value": "4"}]}
    cleaned, files = tool.clean_with_files(whole, {})
    there = {
        block["title"]: block for block in tool.function(cleaned, files).view if block["kind"] in ("table", "facts")
    }
    tables = {title: rows for title, kind, rows in show(page, "dashboards", whole)["blocks"] if kind == "table"}
    assert len(tables) == 6
    assert ["Revenue", 1350.9] in show(page, "dashboards", whole)["blocks"][0][2]
    for title, rows in tables.items():
        assert rows == (there.get(title) or there[f"{title}: the figures"])["rows"], title


def test_governance_counts_the_same_here_and_there(page: Page) -> None:
    tool = registry.TOOLS["data-studio/governance"]
    file = "name,owner,classification,personal,retention_months\nPayroll,Ada,restricted,yes,80\nLogs,,public,no,\n"
    whole = drafted(tool) | {"inventory_file": file}
    cleaned, files = tool.clean_with_files(whole, {})
    result = tool.function(cleaned, files).result
    blocks = {title: rows for title, kind, rows in show(page, "governance", whole)["blocks"] if kind != "picture"}
    there = [
        [one[name] for name in ("title", "id", "answered", "evidence", "current", "target", "gap")]
        for one in result["maturity"]
    ]
    assert blocks["Maturity"] == there
    failed = {one["id"]: (one["severity"], one["failed"], one["checked"]) for one in result["checks"] if one["failed"]}
    found = {
        row["where"]: (row["severity"], *map(int, row["title"].split()[:3:2]))
        for row in blocks["What the inventory shows"]
    }
    assert found == failed
