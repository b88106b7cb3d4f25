"""A risk register against scores worked out by hand; what does not fit together is named, and nothing else."""

import csv
import io
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry.studio import BadInput, InvalidInputs
from tools_registry.studios.cyber.risk_register import TOOL, left, level, rounded

from .tabular import example, file, run


def register(*risks: dict[str, Any], **more: Any) -> dict[str, Any]:
    whole = {"title": "R", "owner": "Ada", "plan": "Do it", "due": "2026-12-01"}
    return {"title": "Register", "risks": [whole | one for one in risks]} | more


@pytest.mark.parametrize(
    ("likelihood", "impact", "effectiveness", "lowers", "rest"),
    [
        (4, 5, 0, "both", (4, 5)),
        (4, 5, 50, "likelihood", (2, 5)),
        (4, 5, 40, "impact", (4, 3)),
        (4, 4, 75, "both", (2, 2)),  # √0.25 of each: a quarter of 16 is 4
        (2, 3, 90, "likelihood", (1, 3)),  # never below 1
        (5, 5, 100, "both", (1, 1)),
    ],
)
def test_what_controls_leave(likelihood: int, impact: int, effectiveness: int, lowers: str, rest: Any) -> None:
    assert left(likelihood, impact, effectiveness, lowers) == rest


def test_levels_at_their_edges() -> None:
    assert [level(score) for score in (1, 4.9, 5, 9.9, 10, 16.9, 17, 25)] == [
        "low",
        "low",
        "medium",
        "medium",
        "high",
        "high",
        "critical",
        "critical",
    ]
    assert [rounded(value) for value in (0.04, 0.05, 2.449, 12.25)] == [0, 0.1, 2.4, 12.3]


def test_the_example_by_hand() -> None:
    """R01 4×5=20, impact ×0.6: 4×3=12. R02 3×4=12, ÷2 = 6. R03 9. R04 8. R05 3. R06 16, likelihood ×0.8: 3.2×4=12.8."""
    found = example(TOOL).result
    assert [(one["id"], one["inherent"], one["residual"], one["residual_level"]) for one in found["risks"]] == [
        ("R06", 16, 12.8, "high"),
        ("R01", 20, 12.0, "high"),
        ("R03", 9, 9.0, "medium"),
        ("R04", 8, 8.0, "medium"),
        ("R02", 12, 6.0, "medium"),
        ("R05", 3, 3.0, "low"),
    ]
    counts = found["counts"]
    assert (counts["inherent"], counts["residual"]) == (20 + 12 + 9 + 8 + 3 + 16, 50.8)
    assert counts["lowered_percent"] == rounded(100 * (1 - 50.8 / 68)) == 25.3
    assert (counts["above_appetite"], counts["overdue"], counts["without_owner"]) == (4, 1, 1)
    # From likelihood 5 down, impact from 1: R01 at 4, 3 and R06 at 3, 4 with controls
    assert found["heat_maps"]["inherent"] == [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 1, 1],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 1, 0, 0],
    ]
    assert found["heat_maps"]["residual"] == [
        [0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 0, 0],
    ]
    assert {row["name"]: (row["risks"], row["residual"]) for row in found["by_owner"]} == {
        "Dana Okafor": (2, 20.0),
        "Mei Lin": (1, 12.8),
        "Ravi Shah": (2, 9.0),
        "nobody": (1, 9.0),
    }
    assert {row["name"]: row["risks"] for row in found["by_treatment"]} == {
        "mitigate": 2,
        "accept": 2,
        "avoid": 1,
        "transfer": 1,
    }


def checks(*risks: dict[str, Any], **more: Any) -> set[str]:
    return {one["check"] for one in run(TOOL, register(*risks, **more)).result["checks"]}


LOW = {"likelihood": 1, "impact": 2}
HIGH = {"likelihood": 4, "impact": 4}


@pytest.mark.parametrize(
    ("risk", "more", "names"),
    [
        (LOW, {}, set()),
        (LOW | {"owner": ""}, {}, {"no-owner"}),
        (LOW | {"plan": ""}, {}, {"no-plan"}),
        (LOW | {"due": ""}, {}, {"no-due"}),
        (LOW | {"treatment": "accept", "plan": "", "due": ""}, {}, {"no-reason"}),
        (HIGH | {"treatment": "accept"}, {}, {"accepted-above-appetite"}),
        (HIGH | {"treatment": "accept"}, {"appetite": 16}, set()),
        (HIGH, {}, {"above-appetite"}),
        (HIGH, {"day": "2026-12-02"}, {"above-appetite", "overdue"}),
        (LOW, {"day": "2026-12-01"}, set()),  # on the day itself it is not overdue
        (LOW | {"status": "done", "effectiveness": 30}, {"day": "2027-01-01"}, set()),
        (LOW | {"status": "done"}, {}, {"done-without-effect"}),
        (LOW | {"effectiveness": 100}, {}, {"perfect-control"}),
    ],
)
def test_checks(risk: dict[str, Any], more: dict[str, Any], names: set[str]) -> None:
    assert checks(risk, **more) == names


def test_the_same_title_twice() -> None:
    assert checks(LOW | {"title": "Fire"}, LOW | {"title": "fire"}) == {"twice"}


def test_overdue_is_counted_in_days_against_the_given_day() -> None:
    (one,) = run(TOOL, register(LOW | {"due": "2026-02-27"}, day="2026-03-02")).result["risks"]
    assert one["days_overdue"] == 3
    (one,) = run(TOOL, register(LOW | {"due": "2020-01-01"})).result["risks"]
    assert one["days_overdue"] == 0


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        (register(LOW, day="21/11/2026"), "day"),
        (register(LOW, day="20261121"), "day"),
        (register(LOW, LOW | {"due": "2026-02-30"}), "risks.1.due"),
    ],
)
def test_what_is_wrong_is_named(inputs: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, inputs)
    assert list(error.value.fields) == [field]


def test_a_score_outside_the_scale_is_refused() -> None:
    with pytest.raises(InvalidInputs) as error:
        run(TOOL, register(LOW | {"impact": 6}))
    assert list(error.value.facts["fields"]) == ["risks.0.impact"]


def test_the_files_say_the_same() -> None:
    result = example(TOOL)
    rows = list(csv.DictReader(io.StringIO(file(result, "register.csv"))))
    assert [row["Id"] for row in rows] == [one["id"] for one in result.result["risks"]]
    assert json.loads(file(result, "register.json"))["risks"] == result.result["risks"]
    assert "| 1 | R06 | The shop runs on a framework out of support | 16 | 12.8 | high |" in file(result, "register.md")
    assert "R01 R06" not in file(result, "inherent.svg")
    assert ">R06<" in file(result, "inherent.svg")


def test_cells_that_a_spreadsheet_would_work_out_are_defused() -> None:
    assert "'=cmd" in file(run(TOOL, register(LOW | {"title": "=cmd"})), "register.csv")


def test_two_runs_are_one_and_two_registers_are_two() -> None:
    assert example(TOOL) == example(TOOL)
    others: list[dict[str, Any]] = [
        LOW | {"title": "Fire", "owner": "Bo"},
        HIGH | {"title": "Theft", "status": "doing"},
        HIGH,
        LOW,
    ]
    one, other = (file(result, "register.md").splitlines() for result in (example(TOOL), run(TOOL, register(*others))))
    plain = {"", *(line for line in other if line.startswith(("#", "| ---")))}  # what every register has
    assert len((set(one) & set(other)) - plain) < 0.5 * len(set(other) - plain)


def test_the_largest_register_fits_the_limits() -> None:
    long = {"description": "d" * 600, "plan": "p" * 600, "owner": "o" * 60}
    risks = [HIGH | long | {"title": f"{number} {'t' * 90}"} for number in range(100)]
    assert len(run(TOOL, register(*risks)).result["risks"]) == 100


RISKS = st.fixed_dictionaries(
    {
        "title": st.text(min_size=1, max_size=20),
        "likelihood": st.integers(1, 5),
        "impact": st.integers(1, 5),
        "treatment": st.sampled_from(["mitigate", "accept", "transfer", "avoid"]),
        "effectiveness": st.integers(0, 100),
        "lowers": st.sampled_from(["both", "likelihood", "impact"]),
        "due": st.sampled_from(["", "2026-01-01", "0001-01-01", "9999-12-31", "x"]),
        "owner": st.text(max_size=10),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(RISKS, max_size=8), st.sampled_from(["", "2026-06-01", "nonsense"]))
def test_any_register_has_an_answer_or_is_told_what_is_wrong(risks: list[Any], day: str) -> None:
    try:
        found = run(TOOL, {"title": "t", "day": day, "risks": risks}).result["risks"]
    except (BadInput, InvalidInputs):
        found = []
    for one in found:
        assert 1 <= one["residual"] <= one["inherent"] + 0.05
        assert math.isfinite(one["residual"])
