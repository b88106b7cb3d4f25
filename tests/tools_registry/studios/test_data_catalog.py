"""A catalogue against figures worked out by hand: types, quantiles, keys, relations, and the dictionary."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pace import within_cpu
from tools_registry.studio import BadInput
from tools_registry.studios.data.catalog import TOOL, quantile, suggest

from .tabular import example, file, parquet, run


def columns(result, table: int = 0) -> dict[str, dict]:
    return {one["name"]: one for one in result.result["tables"][table]["columns"]}


def test_types_statistics_and_quantiles_by_hand() -> None:
    """1, 2, 3, 4, 10: mean 4, sample deviation √12.5, quartiles 2, 3, 4; p95 = 4 + 0.8 × 6 = 8.8."""
    table = b"""n,day,town,on
1,2026-01-03,Rome,yes
2,2026-01-01,Rome,no
3,,Oslo,yes
4,2025-12-31,Rome,yes
10,2026-02-01,,no
"""
    found = columns(run(TOOL, table=table))
    assert [one["type"] for one in found.values()] == ["integer", "date", "text", "boolean"]
    n = found["n"]
    assert (n["min"], n["max"], n["sum"], n["mean"]) == (1, 10, 20, 4)
    assert n["deviation"] == pytest.approx(12.5**0.5)
    assert n["quantiles"] == {"p5": 1.2, "p25": 2, "p50": 3, "p75": 4, "p95": 8.8}
    assert (found["day"]["min"], found["day"]["max"], found["day"]["missing"]) == ("2025-12-31", "2026-02-01", 1)
    assert found["town"]["top_values"] == [
        {"value": "Rome", "count": 3, "share": 0.75},
        {"value": "Oslo", "count": 1, "share": 0.25},
    ]


def test_quantile() -> None:
    assert [quantile([10, 20], share) for share in (0, 0.5, 1)] == [10, 15, 20]


def test_keys_alone_and_in_pairs() -> None:
    alone = run(TOOL, table=b"id,v\n1,a\n2,a\n3,b\n").result["tables"][0]
    assert alone["candidate_keys"] == [["id"]]
    pair = run(TOOL, table=b"shop,day,v\n1,1,a\n1,2,a\n2,1,a\n2,2,a\n").result["tables"][0]
    assert pair["candidate_keys"] == [["shop", "day"]]
    none = run(TOOL, table=b"a,b\n1,1\n1,1\n").result["tables"][0]
    assert none["candidate_keys"] == []


def test_relations_and_their_orphans() -> None:
    (found,) = example(TOOL).result["relations"]
    assert (found["from_table"], found["from_column"], found["to_table"], found["to_column"]) == (
        "orders",
        "customer_id",
        "customers",
        "id",
    )
    assert (found["kind"], found["orphans"], found["share"]) == ("many to one", 0, 1.0)
    # Whole numbers that only happen to be in each other's range are no relation
    chance = run(TOOL, table=b"id,size\n1,1\n2,2\n3,3\n", table_2=b"id,name\n1,a\n2,b\n3,c\n").result
    assert chance["relations"] == []


def test_what_was_written_stands_and_the_rest_is_suggested() -> None:
    found = columns(example(TOOL))
    assert found["amount"]["description"] == "What the customer pays, in pounds, with VAT"
    assert found["amount"]["tags"] == ["money", "audited"]
    assert not found["amount"]["is_suggested"]
    assert found["customer_id"]["description"] == "Identifies the customer."


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("id", "integer", "Identifies the row."),
        ("customerId", "integer", "Identifies the customer."),
        ("created_at", "datetime", "When: created."),
        ("amount", "decimal", "An amount of money."),
        ("order_total", "decimal", "An amount of money: order."),
        ("is_active", "boolean", "Whether it is or has active."),
        ("Colour", "text", "Colour."),
    ],
)
def test_suggestions(name: str, kind: str, said: str) -> None:
    assert suggest(name, kind) == said


def test_values_of_columns_that_look_personal_are_not_shown() -> None:
    result = run(TOOL, table=b"id,email\n1,ada@example.com\n2,ben@example.com\n")
    assert b"ada@example.com" not in json.dumps(result.result).encode()
    assert "ada@example.com" not in file(result, "dictionary.md")
    assert columns(result)["email"]["tags"] == ["key", "personal"]


def test_the_dictionary() -> None:
    result = example(TOOL)
    assert "| order\\_id | integer | Identifies the order. (suggested)" in file(result, "dictionary.md")
    assert json.loads(file(result, "dictionary.json")) == result.result


def test_parquet_says_its_own_types(tmp_path) -> None:
    content = parquet("SELECT range::BIGINT AS id, DATE '2026-01-01' AS day FROM range(3)", tmp_path)
    found = columns(run(TOOL, table=("t.parquet", content)))
    assert (found["id"]["declared_type"], found["day"]["declared_type"]) == ("BIGINT", "DATE")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"column": "nobody"}, "columns.0.column"),
        ({"column": "id", "table": "nobody"}, "columns.0.table"),
    ],
)
def test_what_is_wrong_is_named(row, field: str) -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, {"columns": [row]}, table=b"id\n1\n")
    assert list(error.value.fields) == [field]


def test_a_second_table_that_cannot_be_read_is_named() -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, table=b"id\n1\n", table_3=b"PK\x03\x04")
    assert list(error.value.fields) == ["table_3"]


def test_two_runs_are_one() -> None:
    assert example(TOOL) == example(TOOL)


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=120))
def test_any_table_has_a_catalogue(written: str) -> None:
    try:
        tables = run(TOOL, table=("id" + written).replace("\x00", "").encode("utf-8", "replace")).result["tables"]
    except BadInput as error:
        tables = error.fields["table"]
    assert len(tables) == 1


def test_a_hundred_thousand_rows_stay_within_the_limits() -> None:
    rows = "".join(f"{n},{n % 977},{n * 0.37:.2f},2026-{n % 12 + 1:02}-01,town {n % 50}\n" for n in range(100_000))
    with within_cpu(TOOL.limits.cpu_seconds / 2):
        run(TOOL, table=f"id,customer_id,amount,day,town\n{rows}".encode())
