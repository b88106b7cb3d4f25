"""The cost calculator against sums worked by hand."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tools_registry.studios.dev.cost import KINDS, RATES, RATES_DATE, TOOL

from .bench import Half, View, opened

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def cost(browser: Browser) -> Iterator[Half]:
    with opened(browser, "dev/cost") as half:
        yield half


def line(rate: str, count: float, **more: Any) -> dict[str, Any]:
    return {"name": more.pop("name", rate), "kind": "compute", "rate": rate, "count": count, **more}


def rows(view: View, name: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(view.files[name])))


# 3 × 730 h × $0.096 = 210.24; 500 GB × $0.023 = 11.50; (1,100 − 100) GB × $0.09 = 90.00; (12 − 1) × $0.20 = 2.20;
# 10 % of 313.94 is 31.39, but at least 100. Together 413.94 a month, 4,967.28 a year.
STEADY = {
    "lines": [
        line("m6i.large", 3),
        line("s3", 500, kind="storage"),
        line("transfer", 1100, free=100, kind="transfer"),
        line("lambda", 12, free=1, kind="requests"),
        line("own", 1, name="Support", kind="support", price=10, unit="percent", least=100),
    ],
    "months": 12,
}


def test_a_year_without_growth(cost: Half) -> None:
    view = cost.view(STEADY)
    assert view.fact("First month") == "$413.94"
    assert view.fact("The year") == "$4,967.28"
    assert [row[4] for row in view.block("By line")["rows"]] == [
        *("$210.24", "$11.50", "$90.00", "$2.20", "$100.00", "$413.94")
    ]
    table = rows(view, "cost-months.csv")
    assert len(table) == 13
    for row in table[1:]:
        assert round(sum(map(float, row[1:6])), 2) == float(row[6]) == 413.94
    assert table[12][8] == table[12][9] == "4967.28"


def test_what_is_used_by_percent_is_of_all_other_lines(cost: Half) -> None:
    lines = [line("own", 1, price=2000, unit="month"), line("own", 1, price=7, unit="percent", least=100)]
    assert cost.view({"lines": lines}).fact("First month") == "$2,140.00"


def test_growth_compounds_and_servers_come_whole(cost: Half) -> None:
    # Month 2: 3 × 1.1 = 3.3, so 4 servers: 4 × 70.08 = 280.32; month 3: 3.63, still 4. 100 GB → 110 → 121 at $1.
    lines = [line("m6i.large", 3), line("own", 100, price=1, unit="gb"), line("own", 1, price=5, grows=False)]
    view = cost.view({"lines": lines, "growth": 10, "months": 3})
    assert [row[1:4] for row in rows(view, "cost-months.csv")[1:]] == [
        ["210.24", "100.00", "5.00"],
        ["280.32", "110.00", "5.00"],
        ["280.32", "121.00", "5.00"],
    ]
    assert view.fact("All 3 months") == "$1,116.88"
    assert view.fact("Month 3") == "$406.32"


def test_a_reservation_paid_at_once_pays_off_in_its_ninth_month(cost: Half) -> None:
    # Reserved: 3 × 730 × 0.096 × 0.7 = 147.168 a month; 147.17 × 12 = 1,766.04 at once, against 210.24 a month.
    # After 8 months on demand came to 1,681.92, after 9 to 1,892.16.
    view = cost.view(
        {"lines": [line("m6i.large", 3, reserved=100)], "discount": 30, "term": "12", "upfront": 100, "months": 12}
    )
    assert view.fact("Has paid off by") == "Month 9"
    assert view.fact("Reserving saves") == "$756.84"
    table = rows(view, "cost-months.csv")
    assert [table[1][-2], table[12][-2], table[12][-1]] == ["1766.04", "1766.04", "2522.88"]
    assert "from 511 hours a month on" in view.block("Is it worth")["note"]
    assert view.block("Is it worth")["rows"][0][-1] == "reserve what always runs"


def test_a_reservation_of_what_seldom_runs_never_pays_off(cost: Half) -> None:
    view = cost.view({"lines": [line("c5.large", 2, hours=120, reserved=100)], "months": 24})
    # On demand 2 × 120 × 0.085 = 20.40; reserved 2 × 730 × 0.085 × 0.7 = 86.87.
    assert view.fact("Has paid off by") == "Not within 24 months"
    assert view.fact("Reserving saves") == "−$1,595.28"
    assert view.block("Is it worth")["rows"][0][-1] == "stay on demand"


def test_a_second_term_is_paid_at_its_beginning(cost: Half) -> None:
    lines = [line("own", 1, price=1, unit="hour", reserved=100)]
    view = cost.view({"lines": lines, "discount": 50, "upfront": 50, "months": 24})
    # 365 a month, of which half ahead: 2,190 in months 1 and 13, 182.50 each month.
    paid = [float(row[-2]) for row in rows(view, "cost-months.csv")[1:]]
    assert [paid[0], paid[11], paid[12], paid[23]] == [2372.5, 4380.0, 6752.5, 8760.0]


def test_the_budget_says_the_month_in_which_it_is_passed(cost: Half) -> None:
    lines = [line("own", 100, price=1, unit="gb")]
    view = cost.view({"lines": lines, "growth": 10, "months": 12, "budget": 120})
    assert view.fact("Budget a month") == "$120.00, passed in month 3"
    assert cost.view({"lines": lines, "budget": 120}).fact("Budget a month") == "$120.00, kept"


def test_what_moves_the_sum_is_told_largest_first(cost: Half) -> None:
    lines = [
        line("own", 10, price=10, unit="gb", name="Much"),
        line("own", 10, price=1, unit="gb", free=5, name="Little"),
    ]
    moves = cost.view({"lines": lines, "months": 10}).block("What moves the sum, in figures")["rows"]
    assert moves == [
        ["Much: how many", "+$200.00", "−$200.00"],
        ["Much: price", "+$200.00", "−$200.00"],
        ["Little: how many", "+$20.00", "−$20.00"],
        ["Little: price", "+$10.00", "−$10.00"],
    ]


def test_another_currency_turns_the_example_prices_alone(cost: Half) -> None:
    lines = [line("s3", 1000), line("own", 1, price=10)]
    assert cost.view({"lines": lines, "currency": "£", "dollar": 0.8}).fact("First month") == "£28.40"


def test_the_rates_are_those_of_the_form_with_their_source_and_date(cost: Half) -> None:
    shipped = cost.page.evaluate("async () => (await import('/holdfast/studio/dev/cost.js')).RATES")
    assert list(shipped["rows"]) == list(RATES)
    assert shipped["date"] == RATES_DATE
    said = {"hour": "an hour", "gb": "a GB", "million": "a million"}
    for name, (_, unit, price) in shipped["rows"].items():
        found = re.search(r": \$([\d.]+) (.+)$", RATES[name])
        assert found
        assert float(found[1]) == price
        assert found[2].startswith(said[unit])
    told = " ".join(cost.view(STEADY).block("Where the prices are from")["paragraphs"])
    assert RATES_DATE in told
    assert "aws.amazon.com/pricing" in told


def test_the_example_is_whole_and_accepted(cost: Half) -> None:
    view = cost.view(dict(TOOL.example))
    assert view.problems == {}
    assert TOOL.clean(TOOL.example)["months"] == 24
    assert {"cost-lines.csv", "cost-months.csv", "cost-by-month.svg", "cost-reserved.svg"} <= set(view.files)
    assert view.files["cost-by-kind.svg"].count('class="slice"') == len(KINDS)
    years = view.block("By year")["rows"]
    assert len(years) == 2
    assert len(view.block("By month")["rows"]) == 24


def test_no_cell_is_a_formula(cost: Half) -> None:
    view = cost.view({"lines": [line("own", 1, name='=HYPERLINK("x")', price=1)]})
    assert rows(view, "cost-lines.csv")[1][0] == '\'=HYPERLINK("x")'
    assert rows(view, "cost-months.csv")[0][1] == '\'=HYPERLINK("x")'


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ([line("own", 1)], "lines.0.price"),
        ([line("own", 1, price=101, unit="percent")], "lines.0.price"),
        ([line("s3", 1, reserved=10)], "lines.0.reserved"),
    ],
)
def test_what_is_wrong_is_named(cost: Half, lines: list[dict[str, Any]], place: str) -> None:
    view = cost.view({"lines": lines})
    assert list(view.problems) == [place]
    assert view.blocks


@pytest.mark.parametrize(
    "draft",
    [None, {}, {"lines": None}, {"lines": [None, 3, {}]}, {"lines": [line("own", "many", price="x")], "months": "y"}],
)
def test_any_draft_gives_something(cost: Half, draft: Any) -> None:
    assert cost.view(draft).blocks
