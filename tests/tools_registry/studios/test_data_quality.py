"""A table with planted defects: each is found, in the rows where it was planted, and a clean one has none."""

import csv
import io
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry import runner, studio
from tools_registry.studio import BadInput
from tools_registry.studios.data.quality import EXAMPLE, TOOL

from .tabular import example, file, parquet, run


def clean(rows: int = 60) -> list[list[str]]:
    """People without a defect."""
    chance = random.Random(7)
    towns = ["London", "Paris", "Berlin", "Madrid"]
    return [
        [
            str(1000 + number),
            f"P-{number:04}",
            towns[number % 4],
            f"2025-{number % 12 + 1:02}-{number % 28 + 1:02}",
            f"{chance.uniform(90, 110):.2f}",
            f"person{number}@example.com",
            str(1000 + number // 3),
            "active" if number % 3 else "left",
        ]
        for number in range(rows)
    ]


HEADING = ["id", "code", "town", "joined", "amount", "email", "manager_id", "state"]


def written(rows: list[list[str]], heading: list[str] = HEADING) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([heading, *rows])
    return out.getvalue().encode()


def found(result) -> dict[tuple[str, str | None], list[int]]:
    return {(one["check"], one["column"]): one["rows"] for one in result.result["findings"]}


def test_a_clean_table_has_no_findings_and_all_points() -> None:
    result = run(TOOL, table=written(clean())).result
    assert result["findings"] == []
    assert result["score"] == 100
    assert result["keys"] == [["id"], ["code"], ["email"]]


def planted() -> bytes:
    rows = clean()
    rows[4][4] = "plenty"  # wrong type
    rows[5][2] = ""  # missing
    rows[6][2] = "N/A"
    rows[9] = list(rows[8])  # a row again
    rows[11][0] = rows[10][0]  # a key again
    rows[13][4] = "99999.00"  # outlier
    rows[15][3] = "15/03/2025"  # another format
    rows[17][3] = "2025-02-30"  # impossible
    rows[18][3] = "1875-01-01"  # unlikely
    rows[20][2] = "LONDON"  # case
    rows[21][2] = " Paris"  # space
    rows[23][1] = "P0023"  # the code's shape
    rows[25][6] = "555"  # a manager who is nobody
    rows[27][2] = "MÃ¼nchen"  # letters
    rows[29][5] = "person29 at example.com"
    rows[31] = rows[31][:6]  # ragged
    rows[32] = [*rows[32], "more"]
    for row in rows:
        row.insert(8, "EU")
    rows[31] = rows[31][:6]
    return written(rows, [*HEADING, "region"])


def test_each_planted_defect_is_reported_with_its_row() -> None:
    told = found(run(TOOL, table=planted()))
    assert told[("wrong_type", "amount")] == [5]
    assert told[("missing", "town")] == [6, 7]
    assert told[("duplicate_row", None)] == [10]
    assert told[("duplicate_key", "id")] == [12]
    assert told[("outlier", "amount")] == [14]
    assert told[("mixed_format", "joined")] == [16]
    assert told[("impossible_date", "joined")] == [18]
    assert told[("unlikely_date", "joined")] == [19]
    assert told[("letter_case", "town")] == [21]
    assert told[("whitespace", "town")] == [22]
    assert told[("mixed_format", "code")] == [24]
    # 555 is nobody; 1009 and 1011 lost their rows to the planted duplicates, so whom they manage lost them too
    assert told[("broken_reference", "manager_id")] == [26, 28, 29, 30, 34, 35, 36]
    assert told[("encoding", "town")] == [28]
    assert told[("wrong_type", "email")] == [30]
    assert told[("ragged_row", None)] == [32, 33]


def test_a_column_of_one_value_an_empty_one_and_a_file_that_is_no_utf_8() -> None:
    table = "id,town,region,note\n1,Köln,EU,\n2,Bonn,EU,\n3,Kiel,EU,\n".encode("cp1252")
    told = found(run(TOOL, table=table))
    assert told[("constant_column", "region")] == []
    assert told[("empty_column", "note")] == [1, 2, 3]
    assert told[("encoding", None)] == [1]


def test_the_score_by_hand() -> None:
    """3 rows × 2 columns, one cell empty: completeness 5 of 6, all else whole: 0.25 × 83.3333 + 75 = 95.83."""
    result = run(TOOL, table=b"id,town\n1,Rome\n2,Oslo\n3,\n").result
    by_name = {one["name"]: one for one in result["dimensions"]}
    assert by_name["completeness"]["affected"] == 1
    assert by_name["completeness"]["looked_at"] == 6
    assert by_name["completeness"]["score"] == pytest.approx(83.3333)
    assert result["score"] == 95.83
    assert sum(one["weight"] for one in result["dimensions"]) == pytest.approx(1)


def test_lines_are_those_of_the_file() -> None:
    result = run(TOOL, table=b'id,note\n1,"two\nlines"\n2,x\n3,y\n3,z\n').result
    (key,) = [one for one in result["findings"] if one["check"] == "duplicate_key"]
    assert (key["rows"], key["lines"]) == ([4], [6])


def test_days_and_months_that_changed_places() -> None:
    rows = "".join(f"{day},{day:02}/03/2025\n" for day in range(1, 29))
    told = found(run(TOOL, table=f"n,day\n{rows}29,03/28/2025\n30,31/02/2025\n".encode()))
    assert told[("mixed_format", "day")] == [29]
    assert told[("impossible_date", "day")] == [30]


def test_ids_that_lead_to_another_table() -> None:
    orders = b"order_id,customer_id\n1,7\n2,8\n3,9\n"
    told = found(run(TOOL, table=orders, other=b"id,name\n7,Ada\n9,Ben\n"))
    assert told[("broken_reference", "customer_id")] == [2]
    with pytest.raises(BadInput) as error:
        run(TOOL, table=b"name\nAda\n", other=b"id,name\n7,Ada\n")
    assert list(error.value.fields) == ["other"]


RULED = (
    b"n,price,low,state,day\n1,5,1,on,2025-01-01\n2,-1,2,off,2025-06-01\n3,12,20,maybe,2026-01-01\n4,,1,on,2025-01-02\n"
)


@pytest.mark.parametrize(
    ("column", "rule", "argument", "rows"),
    [
        ("price", "not_missing", "", [4]),
        ("state", "unique", "", [1, 4]),
        ("price", "type", "integer", []),
        ("state", "type", "boolean", [1, 2, 3, 4]),
        ("state", "one_of", "on|off", [3]),
        ("state", "matches", "o[nf]+", [3]),
        ("price", "min", "0", [2]),
        ("price", "max", "10", [3]),
        ("state", "length_max", "3", [3]),
        ("day", "not_before", "2025-01-02", [1]),
        ("day", "not_after", "2025-12-31", [3]),
        ("low", "not_above_column", "price", [2, 3]),
    ],
)
def test_rules_of_ones_own(column: str, rule: str, argument: str, rows: list[int]) -> None:
    rules = [{"column": column, "rule": rule, "argument": argument}]
    result = run(TOOL, {"expectations": rules}, table=RULED).result
    assert found_rows(result) == rows
    assert result["expectations"][0]["broken"] == len(rows)


def found_rows(result) -> list[int]:
    return next((one["rows"] for one in result["findings"] if one["check"] == "expectation"), [])


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"expectations": [{"column": "nobody", "rule": "unique"}]}, "expectations.0.column"),
        ({"expectations": [{"column": "n", "rule": "min", "argument": "low"}]}, "expectations.0.argument"),
        ({"expectations": [{"column": "n", "rule": "min"}]}, "expectations.0.argument"),
        ({"expectations": [{"column": "n", "rule": "matches", "argument": "("}]}, "expectations.0.argument"),
        ({"expectations": [{"column": "n", "rule": "type", "argument": "money"}]}, "expectations.0.argument"),
        ({"expectations": [{"column": "n", "rule": "not_after", "argument": "soon"}]}, "expectations.0.argument"),
        ({"expectations": [{"column": "n", "rule": "not_above_column", "argument": "day"}]}, "expectations.0.argument"),
        ({"keys": ["n", "nobody"]}, "keys.1"),
        ({"today": "tomorrow"}, "today"),
    ],
)
def test_what_is_wrong_is_named(inputs, field: str) -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, inputs, table=RULED)
    assert list(error.value.fields) == [field]


def test_the_list_of_findings_names_every_row() -> None:
    rows = list(csv.DictReader(io.StringIO(file(run(TOOL, table=planted()), "findings.csv"))))
    assert {"severity": "high", "check": "wrong_type", "column": "amount", "row": "5", "line": "6"}.items() <= next(
        row for row in rows if row["check"] == "wrong_type"
    ).items()


def test_a_parquet_file(tmp_path) -> None:
    content = parquet("SELECT range AS id, CASE WHEN range = 3 THEN NULL ELSE 'x' END AS v FROM range(9)", tmp_path)
    result = run(TOOL, table=("t.parquet", content))
    assert found(result)[("missing", "v")] == [4]


def test_the_example_runs_and_two_runs_are_one() -> None:
    assert example(TOOL) == example(TOOL)
    told = found(example(TOOL))
    assert told[("duplicate_row", None)] == [11]
    assert told[("impossible_date", "ordered")] == [4]
    assert EXAMPLE.count(b"\n") == 13


@pytest.mark.parametrize("table", [b"a\n", b"a,b\n", b"a\n1\n", b'a\n"\n', b"a,b\n,\n", b";;;\n", b"\xff\n"])
def test_little_tables(table: bytes) -> None:
    assert 0 <= run(TOOL, table=table).result["score"] <= 100


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.text(max_size=12), min_size=1, max_size=5), min_size=1, max_size=12))
def test_any_table_gets_a_score(rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    try:
        result = run(TOOL, table=b"id" + out.getvalue().replace("\x00", "").encode("utf-8", "replace"))
    except BadInput:
        return
    assert 0 <= result.result["score"] <= 100


def test_a_hundred_thousand_rows_stay_within_the_limits() -> None:
    cleaned, files = TOOL.clean_with_files({}, {"table": ("table.csv", written(clean(100_000)))})
    # How long it takes by the clock is the machine's and its other work's; what it may use is held.
    ran = runner.run(TOOL.path, cleaned, files, replace(TOOL.limits, seconds=300))
    assert (ran.stopped, ran.error) == (None, "")
    assert ran.cpu_seconds < TOOL.limits.cpu_seconds / 2
    assert ran.peak_memory_bytes < 1024 * 1024 * 1024
    assert studio.decode(ran.output).result["rows"] == 100_000
