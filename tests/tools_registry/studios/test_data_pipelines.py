"""A pipeline's graph is checked step by step, its rows are those worked out by hand, and nothing but it can be run."""

import csv
import io

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pace import within_cpu
from tools_registry.studio import BadInput, InvalidInputs
from tools_registry.studios.data.pipelines import EXAMPLE_CUSTOMERS, EXAMPLE_ORDERS, TOOL
from tools_registry.studios.data.sql import expressions

from .tabular import example, file, run

PEOPLE = b"id,name,town,age,joined\n1,Ada,Rome,36,2026-01-05\n2,Ben,Oslo,,2026-02-01\n3,Cleo,Rome,51,2025-12-31\n"
SOURCE = {"name": "people", "kind": "source"}
SINK = {"name": "out", "kind": "sink"}


def through(*steps: dict, table: bytes = PEOPLE, **tables: bytes) -> list[list]:
    """The rows that come out of a pipeline of these steps."""
    result = run(TOOL, {"steps": [SOURCE, *steps, SINK]}, table=table, **tables)
    return list(result.result["steps"][-1]["preview"])


def step(kind: str, columns: str = "", expression: str = "", **more: str) -> dict[str, str]:
    return {"name": more.pop("name", "it"), "kind": kind, "columns": columns, "expression": expression, **more}


@pytest.mark.parametrize(
    ("one", "rows"),
    [
        (step("filter", expression="age > 40 or town = 'Oslo'"), [[2, "Ben"], [3, "Cleo"]]),
        (step("filter", expression="age is null"), [[2, "Ben"]]),
        (step("sort", "town, id desc"), [[2, "Ben"], [3, "Cleo"], [1, "Ada"]]),
        (step("sort", "age desc"), [[3, "Cleo"], [1, "Ada"], [2, "Ben"]]),
        (step("deduplicate", "town"), [[1, "Ada"], [2, "Ben"]]),
        (step("derive", expression="name = upper(name)\nid = id * 10"), [[10, "ADA"], [20, "BEN"], [30, "CLEO"]]),
    ],
)
def test_rows_by_hand(one: dict, rows: list) -> None:
    assert through(one, step("select", "id, name", name="few")) == rows


def test_select_rename_cast_derive() -> None:
    assert through(step("select", "town, id")) == [["Rome", 1], ["Oslo", 2], ["Rome", 3]]
    result = run(TOOL, {"steps": [SOURCE, step("rename", "id = number, town = place"), SINK]}, table=PEOPLE).result
    assert [one["column"] for one in result["steps"][-1]["schema"]] == ["number", "name", "place", "age", "joined"]
    made = step("derive", expression="older = age + 1\nyear = year(joined)\nsaid = name || ' of ' || town")
    assert through(made, step("select", "older, year, said", name="s"))[0] == [37, 2026, "Ada of Rome"]


def test_what_cannot_be_cast_is_counted() -> None:
    steps = [SOURCE, step("cast", "name = integer, age = text, joined = datetime"), SINK]
    cast = run(TOOL, {"steps": steps}, table=PEOPLE).result["steps"][1]
    assert cast["notes"] == ["3 values of name could not be cast and are empty now."]
    assert [one["type"] for one in cast["schema"]] == ["BIGINT", "BIGINT", "VARCHAR", "VARCHAR", "TIMESTAMP"]


def test_aggregates_by_hand() -> None:
    made = "n = count(*)\nages = sum(age)\nmean = avg(age)\nfirst = min(joined)\nkinds = count(distinct town)"
    assert through(step("aggregate", "town", made)) == [
        ["Oslo", 1, None, None, "2026-02-01", 1],
        ["Rome", 2, 87, 43.5, "2025-12-31", 1],
    ]
    assert through(step("aggregate", "", "n = count(age)")) == [[2]]


@pytest.mark.parametrize(
    ("how", "rows"),
    [
        ("inner", [[1, "Ada", "A"], [2, "Ben", "B"]]),
        ("left", [[1, "Ada", "A"], [2, "Ben", "B"], [3, "Cleo", None]]),
        ("right", [[1, "Ada", "A"], [2, "Ben", "B"], [9, None, "Z"]]),
        ("full", [[1, "Ada", "A"], [2, "Ben", "B"], [3, "Cleo", None], [9, None, "Z"]]),
    ],
)
def test_joins_by_hand(how: str, rows: list) -> None:
    other = {"name": "marks", "kind": "source", "columns": "table_2"}
    join = step("join", "id", inputs="people, marks", how=how)
    few = [step("select", "id, name, mark", name="few"), step("sort", "id", name="sorted")]
    assert through(other, join, *few, table_2=b"id,mark\n1,A\n2,B\n9,Z\n") == rows


def test_a_union_goes_by_names() -> None:
    other = {"name": "more", "kind": "source", "columns": "table_2"}
    both = step("union", inputs="people, more")
    assert through(other, both, step("select", "id, name", name="few"), table_2=b"name,id\nDan,4\n")[-1] == [4, "Dan"]


def test_the_example_by_hand() -> None:
    """Paid in pounds, once each: 19.90, 24.50, 22.10; with a fifth more 23.88, 29.40, 26.52; GB 50.40, FR 29.40."""
    result = example(TOOL)
    assert file(result, "revenue.csv").splitlines() == ["country,orders,revenue", "GB,2,50.4", "FR,1,29.4"]
    assert [(one["name"], one["rows_out"]) for one in result.result["steps"]][2:4] == [("once", 5), ("paid", 3)]


def test_the_exported_sql_and_python_do_the_same(tmp_path) -> None:
    result = example(TOOL)
    (tmp_path / "table.csv").write_bytes(EXAMPLE_ORDERS)
    (tmp_path / "table_2.csv").write_bytes(EXAMPLE_CUSTOMERS)
    made: dict = {"__name__": "exported"}
    exec(file(result, "pipeline.py.txt"), made)
    assert made["run"](str(tmp_path)) == {"revenue": [("GB", 2, 50.4), ("FR", 1, 29.4)]}
    assert list(csv.reader(io.StringIO((tmp_path / "revenue.csv").read_text())))[1] == ["GB", "2", "50.4"]
    with duckdb.connect() as database:
        *statements, last = [one for one in file(result, "pipeline.sql").split(";\n") if one.strip()]
        for one in statements:
            database.execute(one)
        assert database.execute(last).fetchall() == []  # its tables are empty


@pytest.mark.parametrize(
    ("steps", "field", "says"),
    [
        ([SINK | {"inputs": "a"}, step("filter", expression="1=1", name="a", inputs="out")], "steps", "source"),
        ([SOURCE, step("filter", expression="id > 1")], "steps", "sink"),
        ([SOURCE, SINK | {"inputs": "nobody"}], "steps.1.inputs", "no step nobody"),
        ([SOURCE, step("join", "id"), SINK], "steps.1.inputs", "two inputs"),
        ([SOURCE, SOURCE, SINK], "steps.1.name", "already"),
        ([SOURCE, step("filter", expression="x", name="not a name"), SINK], "steps.1.name", "letters"),
        (
            [
                SOURCE,
                step("filter", expression="1=1", name="a", inputs="b"),
                step("filter", expression="1=1", name="b", inputs="a"),
                SINK,
            ],
            "steps.1.inputs",
            "a → b → a",
        ),
        ([SOURCE, step("select", "id, nobody"), SINK], "steps.1.columns", "no column nobody"),
        ([SOURCE, step("select"), SINK], "steps.1.columns", "Write the columns"),
        ([SOURCE, step("rename", "id"), SINK], "steps.1.columns", "“=”"),
        ([SOURCE, step("rename", "id = town"), SINK], "steps.1.columns", "same name"),
        ([SOURCE, step("cast", "id = money"), SINK], "steps.1.columns", "no type"),
        ([SOURCE, step("filter", expression="nme = 'a'"), SINK], "steps.1.expression", "Did you mean name"),
        ([SOURCE, step("filter", expression="id +"), SINK], "steps.1.expression", "no expression"),
        ([SOURCE, step("derive", expression="x = name + joined"), SINK], "steps.1.expression", "Step it"),
        ([SOURCE, step("aggregate", "town", "x = age"), SINK], "steps.1.expression", "aggregate"),
        ([SOURCE, step("aggregate", "town", "x = sum(name)"), SINK], "steps.1.expression", "Step it"),
        ([SOURCE | {"columns": "table_3"}, SINK], "steps.0.columns", "no table table_3"),
    ],
)
def test_what_is_wrong_is_named_by_its_step(steps, field: str, says: str) -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, {"steps": steps}, table=PEOPLE)
    assert says in error.value.fields[field][0]


@pytest.mark.parametrize(
    "written",
    [
        "(select 1)",
        "id in (select 1)",
        "read_csv('/etc/passwd') = 1",
        "read_text('/etc/passwd')",
        "getenv('HOME')",
        "current_setting('threads')",
        "pg_sleep(5)",
        "repeat('x', 1000000000)",
        "rpad('x', 1000000000, 'y')",
        "range(1000000000)",
        "list_transform([1], x -> x)",
        "people.id > 1",
        "id > 1; drop table people",
        "id = 1 -- x\n union select 1",
        "cast(id as blob)",
        "sum(id) over ()",
        "count(*) > 1",
        "exists (select 1)",
        "*",
        "columns('x')",
        "nextval('x')",
        "random() < 1",
        "now() > joined",
        "'a'::json",
        "struct_pack(a := 1)",
    ],
)
def test_nothing_but_the_list_is_run(written: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        expressions.checked(written, ["id", "joined"])


@pytest.mark.parametrize(
    ("written", "sql"),
    [
        ("ID > 1", '"id" > 1'),
        ("case when id = 1 then 'a' else 'b' end", "CASE WHEN \"id\" = 1 THEN 'a' ELSE 'b' END"),
        ("coalesce(id, 0) between 1 and 2", 'COALESCE("id", 0) BETWEEN 1 AND 2'),
        ("id = 'it''s'", "\"id\" = 'it''s'"),
        ("date_trunc('month', joined)", "DATE_TRUNC('MONTH', \"joined\")"),
    ],
)
def test_expressions_are_written_again(written: str, sql: str) -> None:
    assert expressions.checked(written, ["id", "joined"]) == sql


def test_columns_with_odd_names_and_dates_of_other_ways() -> None:
    table = 'the "id";Größe;Tag\n1;1,5;31.01.2026\n2;2,5;01.02.2026\n'.encode("utf-16")
    rows = through(step("filter", expression='"Größe" > 2 and "Tag" > date \'2026-01-31\''), table=table)
    assert rows == [[2, 2.5, "2026-02-01"]]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2026-01-05 10:30", "2026-01-05 10:30:00"),
        ("2026-01-05T10:30:15Z", "2026-01-05 10:30:15"),
        ("5/1/2026 1:30 pm", "2026-01-05 13:30:00"),
        ("5/1/2026 12:05 AM", "2026-01-05 00:05:00"),
        ("2026-01-05 25:61", "2026-01-05 25:61"),  # no clock shows it: it stays a text
        ("2026-01-05 10:30+02:00", "2026-01-05 10:30+02:00"),  # nor is it moved to another zone
    ],
)
def test_times_of_day(written: str, kept: str) -> None:
    assert through(table=f"at\n{written}\n".encode()) == [[kept]]


def test_cells_with_quotes_lines_and_leading_zeros_arrive_whole() -> None:
    table = b'code,said\n007,"a ""b"",\nc"\n042,\n'
    assert through(table=table) == [["007", 'a "b",\nc'], ["042", None]]


def test_a_join_that_explodes_is_stopped_and_named() -> None:
    table = b"a\n" + b"1\n" * 1000
    steps = [SOURCE, SOURCE | {"name": "two"}, step("join", "a", inputs="people, two"), SINK]
    with pytest.raises(BadInput) as error:
        run(TOOL, {"steps": steps}, table=table)
    assert "more than 200,000 rows" in error.value.fields["steps.2.kind"][0]


def test_two_runs_are_one() -> None:
    assert example(TOOL) == example(TOOL)


TOKENS = """id name > 1 'a' and or not ( ) sum count * , case when then end || :: date -- ; select from in null"""


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(TOKENS.split()), min_size=1, max_size=12),
    st.sampled_from(["filter", "derive", "aggregate"]),
)
def test_any_expression_runs_or_is_named(words: list[str], kind: str) -> None:
    written = " ".join(words) if kind == "filter" else f"x = {' '.join(words)}"
    said = "ran"
    try:
        through(step(kind, "", written))
    except (BadInput, InvalidInputs) as error:
        said = str(error)
    assert said


def test_a_hundred_thousand_rows_stay_within_the_limits() -> None:
    rows = "".join(f"{n},{n % 977},{n * 0.37:.2f},2026-{n % 12 + 1:02}-01,town {n % 50}\n" for n in range(100_000))
    steps = [dict(one) for one in TOOL.example["steps"]]
    with within_cpu(TOOL.limits.cpu_seconds / 2):
        run(
            TOOL,
            {"steps": [one if one["name"] != "paid" else one | {"expression": "amount > 0"} for one in steps]},
            table=f"id,customer_id,amount,day,town\n{rows}".encode(),
            table_2=b"id,country\n" + b"".join(b"%d,GB\n" % n for n in range(977)),
        )


def test_wide_and_long_outputs_are_cut_and_it_is_said() -> None:
    table = ",".join(f"c{n}" for n in range(300)) + "\n" + (",".join(["a word"] * 300) + "\n") * 3000
    result = run(TOOL, {"steps": [SOURCE, SINK]}, table=table.encode()).result
    (one,) = result["outputs"]
    assert 500 < one["rows_in_file"] < one["rows"] == 3000
