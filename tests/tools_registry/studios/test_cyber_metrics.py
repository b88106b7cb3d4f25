"""Figures worked out by hand, statuses at their edges, wrong lines by their number."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pace import within_cpu
from tools_registry.studio import BadInput
from tools_registry.studios.cyber import metrics
from tools_registry.studios.cyber.metrics import MEASURES, TOOL, moment, percentile, status_of

from .tabular import example, file, run


def of(result) -> dict[str, tuple[float | None, str]]:
    return {one["measure"]: (one["value"], one["status"]) for one in result.result["measures"]}


def test_the_example_by_hand() -> None:
    told = of(example(TOOL))
    assert told["mttd_hours"] == (16.6, "amber")  # (10 + 6 + 54 + 1 + 12) ÷ 5; green to 8, red beyond 24
    assert told["mttc_hours"] == (8.0, "green")  # (4 + 3 + 24 + 1 + 8) ÷ 5
    assert told["mttr_hours"] == (61.5, "green")  # (24 + 48 + 168 + 6) ÷ 4
    assert told["incidents_open"] == (1.0, "amber")
    assert told["fixed_in_target_percent"] == (66.7, "red")  # 4 in time of 5 fixed and 1 overdue
    assert told["overdue_open"] == (1.0, "amber")  # V-4, 79 days of 30
    assert told["backlog_age_days"] == (43.7, "amber")  # (79 + 12 + 40) ÷ 3
    assert told["phish_click_percent"] == (13.0, "amber")  # 80 of 615
    assert told["phish_report_percent"] == (31.7, "amber")  # 195 of 615
    assert told["reviews_on_time_percent"] == (None, "none")


def test_months_and_severities_by_hand() -> None:
    result = example(TOOL).result
    assert [(one["month"], one["mttr_hours"], one["backlog"]) for one in result["months"]] == [
        ("2026-01", 36.0, 4),  # found 5, fixed 1
        ("2026-02", 168.0, 4),  # found 7, fixed 3
        ("2026-03", 6.0, 3),  # found 8, fixed 5
    ]
    critical = result["vulnerabilities"][0]
    assert (critical["mean_days"], critical["p90_days"], critical["in_target_percent"]) == (17.0, 22.6, 50.0)
    assert result["incidents"][2]["p90_hours"] == 132.0  # 48 + 0.7 × (168 − 48)


def test_patches_and_reviews_by_hand() -> None:
    patches = "released,installed\n2026-01-01,2026-01-20\n2026-01-01,2026-03-01\n2026-01-01,\n2026-03-20,\n"
    reviews = "due,done\n2026-01-31,2026-01-31 17:00\n2026-01-31,2026-02-01\n2026-02-28,\n2026-02-28,2026-02-01\n"
    told = of(run(TOOL, {"patches": patches, "reviews": reviews, "as_of": "2026-03-31"}))
    assert told["patched_in_target_percent"] == (33.3, "red")  # 1 in time of 2 installed and 1 missing too long
    assert told["reviews_on_time_percent"] == (50.0, "red")


def test_a_day_before_leaves_out_what_came_after() -> None:
    inputs = dict(TOOL.example) | {"as_of": "2026-01-31"}
    result = run(TOOL, inputs)
    assert of(result)["mttd_hours"][0] == 8.0
    assert of(result)["incidents_open"][0] == 0.0
    assert result.result["records"] == {"incidents": 2, "vulnerabilities": 5, "phishing": 1}
    assert result.result["remarks"] == ["8 records begin after 2026-01-31 and are left out."]


def test_without_a_day_it_is_that_of_the_latest_record() -> None:
    result = run(TOOL, {"incidents": "detected,resolved\n2026-01-05,2026-01-09 10:00\n"}).result
    assert result["as_of"] == "2026-01-09"


@pytest.mark.parametrize(
    ("value", "is_less_better", "status"),
    [
        (5, True, "green"),
        (5.1, True, "amber"),
        (15, True, "amber"),
        (15.1, True, "red"),
        (15, False, "green"),
        (14.9, False, "amber"),
        (5, False, "amber"),
        (4.9, False, "red"),
        (None, True, "none"),
    ],
)
def test_the_edges_of_green_amber_and_red(value, is_less_better: bool, status: str) -> None:
    green, red = (5, 15) if is_less_better else (15, 5)
    assert status_of(value, green, red, is_less_better) == status


def test_percentiles_as_numpy_has_them() -> None:
    assert percentile([1, 2, 3, 4], 0.5) == 2.5
    assert percentile([15, 20, 35, 40, 50], 0.4) == 29.0
    assert percentile([7], 0.9) == 7.0
    assert percentile([], 0.9) is None


def test_times_with_and_without_a_zone() -> None:
    assert moment("2026-03-01") == moment("2026-03-01T00:00:00Z")
    assert moment("2026-03-01 14:30:00+02:00") == moment("2026-03-01 12:30")
    assert moment("2026-03-01T14:30:15.5-0530") == moment("2026-03-01 20:00:15")


@pytest.mark.parametrize(
    ("inputs", "field", "sentence"),
    [
        ({}, "incidents", "Send at least one kind of record."),
        ({"incidents": "id\n1\n"}, "incidents", "A column detected is needed; there are: id."),
        ({"incidents": "detected\n2026-02-30\n"}, "incidents", "Line 2, detected: “2026-02-30” does not exist."),
        ({"incidents": "detected\nsoon\n"}, "incidents", "Line 2, detected: “soon” is no time."),
        ({"incidents": "detected\n0001-01-01\n"}, "incidents", "is of no year that records have"),
        (
            {"incidents": "detected,resolved\n2026-01-02,2026-01-03\n2026-01-05,2026-01-04\n"},
            "incidents",
            "Line 3: resolved is before detected.",
        ),
        ({"vulnerabilities": "found,severity\n2026-01-01,awful\n"}, "vulnerabilities", "“awful” is none of critical"),
        ({"phishing": "date,sent,clicked\n2026-01-01,5,6\n"}, "phishing", "Line 2: clicked is more than sent."),
        ({"phishing": "date,sent,clicked\n2026-01-01,-5,6\n"}, "phishing", "“-5” is no whole number."),
        ({"incidents": "detected\n2026-01-01\n", "as_of": "today"}, "as_of", "“today” is no time."),
        (
            {"incidents": "detected\n2026-01-01\n", "thresholds": [{"measure": "mttr_hours", "green": 9, "red": 3}]},
            "thresholds.0.red",
            "Here less is better, so green 9 and red 3 cross.",
        ),
        (
            {
                "incidents": "detected\n2026-01-01\n",
                "thresholds": [{"measure": "mttr_hours", "green": 1, "red": 3}] * 2,
            },
            "thresholds.1.measure",
            "Mean time to resolve stands there twice.",
        ),
    ],
)
def test_what_is_wrong_is_named(inputs, field: str, sentence: str) -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, inputs)
    assert list(error.value.fields) == [field]
    assert sentence in error.value.fields[field][0]


def test_many_wrong_lines_are_told_up_to_ten() -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, {"incidents": "detected\n" + "x\n" * 25})
    said = error.value.fields["incidents"]
    assert (len(said), said[10]) == (11, "15 more lines are wrong.")


def test_other_headings_and_spellings_are_understood() -> None:
    told = of(run(TOOL, {"vulnerabilities": "First Seen;Risk;Closed\n2026-01-01;Moderate;2026-01-11\n"}))
    assert told["fixed_in_target_percent"] == (100.0, "green")


def test_the_files() -> None:
    made = example(TOOL)
    assert [one.name for one in made.files] == [
        "incidents.svg",
        "fixing.svg",
        "backlog.svg",
        "phishing.svg",
        "measures.csv",
        "months.csv",
        "report.md",
    ]
    assert "# Security figures of Harbour Goods" in file(made, "report.md")
    assert len(file(made, "measures.csv").splitlines()) == len(MEASURES) + 1


def test_a_name_is_no_markup_in_the_report() -> None:
    made = run(TOOL, {"organisation": "<script>[x](javascript:1)"}, incidents=b"detected\n2026-01-01\n")
    assert r"of \<script\>\[x\](javascript:1)" in file(made, "report.md")


def test_two_runs_are_one_and_other_records_give_another_answer() -> None:
    assert example(TOOL) == example(TOOL)
    other = run(TOOL, dict(TOOL.example) | {"incidents": "detected,resolved\n2026-03-01,2026-03-02\n"})
    assert of(other)["mttr_hours"] == (24.0, "green")
    assert other.files[0].content != example(TOOL).files[0].content


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(sorted(metrics.KINDS)),
    st.lists(
        st.lists(st.sampled_from(["2026-01-01", "2026-02-29", "", "9", "high", "=1", "é"]), max_size=4), max_size=5
    ),
)
def test_any_record_is_counted_or_named(kind: str, rows: list[list[str]]) -> None:
    heading = ",".join(metrics.KINDS[kind])
    try:
        result = run(TOOL, {kind: "\n".join([heading, *(",".join(row) for row in rows)])})
    except BadInput:
        return
    assert len(result.result["measures"]) == len(MEASURES)


def test_twenty_thousand_records_stay_within_the_limits() -> None:
    rows = [
        f"20{n % 40 + 20:02}-0{n % 9 + 1}-1{n % 10},high,20{n % 40 + 20:02}-0{n % 9 + 1}-2{n % 9}"
        for n in range(20_000)
    ]
    with within_cpu(TOOL.limits.cpu_seconds / 2):
        result = run(TOOL, {"vulnerabilities": "found,severity,fixed\n" + "\n".join(rows)})
    assert len(result.result["months"]) == 60
    with pytest.raises(BadInput):
        run(TOOL, {"vulnerabilities": "found,severity,fixed\n" + "\n".join([*rows, "2026-01-01,high,"])})
