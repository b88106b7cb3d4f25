"""Lineage against answers worked out by hand: where every column of a query comes from, whatever lies between."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry.studio import BadInput
from tools_registry.studios.data.lineage import TOOL

from .tabular import example, file, run

TABLES = b"""
CREATE TABLE orders (id INT, customer_id INT, amount NUMERIC, currency TEXT, day DATE);
CREATE TABLE rates (currency TEXT, rate NUMERIC);
CREATE TABLE customers (id INT, name TEXT, town TEXT, boss_id INT);
"""


def traced(sql: str, *, dialect: str = "standard", tables: bytes | None = TABLES):
    documents = {"sql": ("q.sql", sql.encode())} | ({"schema": ("s.sql", tables)} if tables else {})
    return run(TOOL, {"dialect": dialect}, **documents)


def edges(sql: str, **given) -> dict[str, set[str]]:
    """Of each column that is made, all that it is made of in any of the statements."""
    found: dict[str, set[str]] = {}
    for one in traced(sql, **given).result["edges"]:
        sources = found.setdefault(f"{one['target']['table']}.{one['target']['column']}", set())
        sources.update(f"{s['table']}.{s['column']}" for s in one["sources"])
    return found


KNOWN = {
    "an alias of a table and of a column": (
        "SELECT o.amount AS paid FROM orders AS o",
        {"result 1.paid": {"orders.amount"}},
    ),
    "a column without its table, told by the definitions": (
        "SELECT rate * amount AS gbp FROM orders JOIN rates ON orders.currency = rates.currency",
        {"result 1.gbp": {"orders.amount", "rates.rate"}},
    ),
    "one CTE on another": (
        """WITH a AS (SELECT customer_id AS c, amount AS x FROM orders),
                b AS (SELECT c, SUM(x) AS total FROM a GROUP BY c)
           SELECT n.name, b.total FROM b JOIN customers n ON n.id = b.c""",
        {"result 1.name": {"customers.name"}, "result 1.total": {"orders.amount"}},
    ),
    "a CTE that is called like a table": (
        "WITH orders AS (SELECT town AS amount FROM customers) SELECT amount FROM orders",
        {"result 1.amount": {"customers.town"}},
    ),
    "a star, a star of one table, and a star of a subquery": (
        "SELECT r.*, s.* FROM rates r JOIN (SELECT * FROM (SELECT id, day FROM orders) t) s ON TRUE",
        {
            "result 1.currency": {"rates.currency"},
            "result 1.rate": {"rates.rate"},
            "result 1.id": {"orders.id"},
            "result 1.day": {"orders.day"},
        },
    ),
    "a union by place, not by name": (
        "SELECT name AS who FROM customers UNION ALL SELECT currency FROM rates UNION SELECT town FROM customers",
        {"result 1.who": {"customers.name", "rates.currency", "customers.town"}},
    ),
    "brackets around the parts of a union": (
        "(SELECT id FROM orders) UNION (SELECT boss_id FROM customers)",
        {"result 1.id": {"orders.id", "customers.boss_id"}},
    ),
    "a window": (
        "SELECT SUM(amount) OVER (PARTITION BY customer_id ORDER BY day) AS so_far FROM orders",
        {"result 1.so_far": {"orders.amount", "orders.customer_id", "orders.day"}},
    ),
    "CASE, a constant, a count of rows": (
        "SELECT CASE WHEN currency = 'GBP' THEN amount ELSE 0 END AS gbp, 'x' AS k, COUNT(*) AS n FROM orders",
        {"result 1.gbp": {"orders.currency", "orders.amount"}, "result 1.k": set(), "result 1.n": set()},
    ),
    "a subquery as a value, that looks outside": (
        "SELECT c.name, (SELECT MAX(o.amount) FROM orders o WHERE o.customer_id = c.id) AS most FROM customers c",
        {"result 1.name": {"customers.name"}, "result 1.most": {"orders.amount"}},
    ),
    "a table joined with itself": (
        "SELECT a.name AS who, b.name AS boss FROM customers a LEFT JOIN customers b ON b.id = a.boss_id",
        {"result 1.who": {"customers.name"}, "result 1.boss": {"customers.name"}},
    ),
    "a recursive CTE": (
        """WITH RECURSIVE up AS (SELECT id, boss_id FROM customers
             UNION ALL SELECT up.id, c.boss_id FROM up JOIN customers c ON c.id = up.boss_id)
           SELECT id, boss_id FROM up""",
        {"result 1.id": {"customers.id"}, "result 1.boss_id": {"customers.boss_id"}},
    ),
    "what is made is known afterwards": (
        """CREATE TABLE t AS SELECT id AS a, amount + 1 AS b FROM orders;
           CREATE VIEW v AS SELECT * FROM t;
           INSERT INTO done (x, y) SELECT b, a FROM v;""",
        {
            "t.a": {"orders.id"},
            "t.b": {"orders.amount"},
            "v.a": {"t.a"},
            "v.b": {"t.b"},
            "done.x": {"v.b"},
            "done.y": {"v.a"},
        },
    ),
    "an INSERT without columns, into a table that is known": (
        "INSERT INTO rates SELECT town, boss_id FROM customers",
        {"rates.currency": {"customers.town"}, "rates.rate": {"customers.boss_id"}},
    ),
    "an INSERT whose query has a CTE": (
        "INSERT INTO out (n) WITH x AS (SELECT name FROM customers) SELECT UPPER(name) FROM x",
        {"out.n": {"customers.name"}},
    ),
    "an UPDATE from another table": (
        "UPDATE orders SET amount = orders.amount * r.rate FROM rates AS r WHERE r.currency = orders.currency",
        {"orders.amount": {"orders.amount", "rates.rate"}},
    ),
    "a MERGE": (
        """MERGE INTO customers AS t USING (SELECT customer_id, MAX(currency) AS cur FROM orders GROUP BY 1) AS s
           ON t.id = s.customer_id WHEN MATCHED THEN UPDATE SET town = s.cur
           WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.customer_id, 'new')""",
        {"customers.town": {"orders.currency"}, "customers.id": {"orders.customer_id"}, "customers.name": set()},
    ),
    "a window with a name": (
        "SELECT SUM(amount) OVER w AS s FROM orders WINDOW w AS (PARTITION BY customer_id)",
        {"result 1.s": {"orders.amount", "orders.customer_id"}},
    ),
    "columns of a CTE named beside it": (
        "WITH t(m, n) AS (SELECT name, town FROM customers) SELECT n, m || '!' AS mm FROM t",
        {"result 1.n": {"customers.town"}, "result 1.mm": {"customers.name"}},
    ),
    "a view with columns of its own, and what reads it": (
        "CREATE OR REPLACE VIEW v (p, q) AS SELECT id, amount + 1 FROM orders; SELECT q FROM v",
        {"v.p": {"orders.id"}, "v.q": {"orders.amount"}, "result 2.q": {"v.q"}},
    ),
    "a subquery beside that looks at its neighbour": (
        "SELECT l.m FROM orders CROSS JOIN LATERAL (SELECT orders.amount * r.rate AS m FROM rates r) l",
        {"result 1.m": {"orders.amount", "rates.rate"}},
    ),
    "a subquery beside with a limit, and what is made of its columns": (
        """SELECT c.name, x.amount AS latest, x.day FROM customers c LEFT JOIN LATERAL (
             SELECT o.amount, o.day FROM orders o WHERE o.customer_id = c.id ORDER BY o.day DESC LIMIT 1) x ON TRUE""",
        {
            "result 1.name": {"customers.name"},
            "result 1.latest": {"orders.amount"},
            "result 1.day": {"orders.day"},
        },
    ),
    "columns of a subquery beside named behind it": (
        "SELECT l.b, l.a FROM orders o CROSS JOIN LATERAL (SELECT r.rate, r.currency FROM rates r) AS l(a, b)",
        {"result 1.b": {"rates.currency"}, "result 1.a": {"rates.rate"}},
    ),
    "a row that is there already and takes what was offered": (
        """INSERT INTO customers AS c (id, name) SELECT customer_id, currency FROM orders
           ON CONFLICT (id) DO UPDATE SET name = c.name || EXCLUDED.name, town = EXCLUDED.name""",
        {
            "customers.id": {"orders.customer_id"},
            "customers.name": {"orders.currency", "customers.name"},
            "customers.town": {"orders.currency"},
        },
    ),
    "written rows, one of which looks something up": (
        "INSERT INTO customers (id, name) VALUES (1, 'a'), (2, (SELECT MAX(currency) FROM rates))",
        {"customers.id": set(), "customers.name": {"rates.currency"}},
    ),
    "an UPDATE of two columns at once": (
        "UPDATE customers SET (name, town) = (SELECT r.currency, r.rate FROM rates r WHERE r.rate = customers.id)",
        {"customers.name": {"rates.currency"}, "customers.town": {"rates.rate"}},
    ),
    "rows that are moved": (
        "WITH gone AS (DELETE FROM orders WHERE day < '2020-01-01' RETURNING id, amount) "
        "INSERT INTO old (id, sum) SELECT id, amount FROM gone",
        {"old.id": {"orders.id"}, "old.sum": {"orders.amount"}},
    ),
    "names with a schema": (
        "SELECT s.orders.amount FROM s.orders",
        {"result 1.amount": {"orders.amount"}},
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_worked_by_hand(name: str) -> None:
    sql, expected = KNOWN[name]
    assert edges(sql) == expected


@pytest.mark.parametrize(
    ("dialect", "sql", "expected"),
    [
        ("tsql", "SELECT TOP 5 [name] AS n INTO #top FROM customers", {"top.n": {"customers.name"}}),
        (
            "mysql",
            "SELECT IFNULL(`name`, `town`) n FROM customers",
            {"result 1.n": {"customers.name", "customers.town"}},
        ),
        ("bigquery", "SELECT * EXCEPT (rate) FROM rates", {"result 1.currency": {"rates.currency"}}),
        (
            "snowflake",
            "SELECT name FROM customers QUALIFY ROW_NUMBER() OVER (PARTITION BY town ORDER BY id) = 1",
            {"result 1.NAME": {"CUSTOMERS.NAME"}},
        ),
        (
            "tsql",
            "SELECT * FROM (SELECT id, rate, town FROM customers, rates) s PIVOT (SUM(rate) FOR town IN ([a])) p",
            {"result 1.id": {"customers.id"}, "result 1.a": {"rates.rate", "customers.town"}},
        ),
        ("bigquery", "SELECT one.sku FROM x.baskets, UNNEST(items) AS one", {"result 1.sku": {"x.baskets.items"}}),
        (
            "mysql",
            "CREATE TABLE t LIKE rates; INSERT INTO t SELECT * FROM rates",
            {
                "t.currency": {"rates.currency"},
                "t.rate": {"rates.rate"},
            },
        ),
        ("duckdb", "FROM rates SELECT rate + 1 AS r", {"result 1.r": {"rates.rate"}}),
        (
            "postgres",
            "SELECT name::text || town AS both FROM Customers",
            {"result 1.both": {"customers.name", "customers.town"}},
        ),
        (
            "spark",
            "SELECT id, x FROM orders LATERAL VIEW EXPLODE(SPLIT(currency, ',')) t AS x",
            {"result 1.id": {"orders.id"}, "result 1.x": {"orders.currency"}},
        ),
    ],
)
def test_dialects(dialect: str, sql: str, expected: dict[str, set[str]]) -> None:
    assert edges(sql, dialect=dialect) == expected


@pytest.mark.parametrize(
    ("dialect", "sql", "expected"),
    [
        (
            "tsql",
            "UPDATE o SET o.amount = r.rate FROM dbo.orders o JOIN dbo.rates r ON r.currency = o.currency",
            {"dbo.orders.amount": {"dbo.rates.rate"}},
        ),
        (
            "tsql",
            "WITH twice AS (SELECT id, day FROM dbo.orders) UPDATE twice SET day = id",
            {"dbo.orders.day": {"dbo.orders.id"}},
        ),
        (
            "mysql",
            "UPDATE orders o JOIN rates r ON r.currency = o.currency SET o.amount = r.rate, r.rate = o.id",
            {"orders.amount": {"rates.rate"}, "rates.rate": {"orders.id"}},
        ),
        (
            "mysql",
            "INSERT INTO t (a, b) SELECT x, y FROM s AS n ON DUPLICATE KEY UPDATE b = n.z, a = VALUES(a) + t.a",
            {"t.a": {"s.x", "t.a"}, "t.b": {"s.y", "s.z"}},
        ),
        (
            "databricks",
            "CREATE TABLE s (id INT, v INT); MERGE INTO t USING s ON t.id = s.id "
            "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
            {"t.id": {"s.id"}, "t.v": {"s.v"}},
        ),
        ("bigquery", "MERGE d.t USING d.s ON FALSE WHEN NOT MATCHED THEN INSERT ROW", {"d.t.*": {"d.s.*"}}),
        (
            "tsql",
            "SELECT id, x INTO #t FROM a; "
            "SELECT * FROM #t CROSS APPLY (SELECT TOP 1 paid FROM pay p WHERE p.of = #t.id) z",
            {
                "t.id": {"a.id"},
                "t.x": {"a.x"},
                "result 2.id": {"t.id"},
                "result 2.x": {"t.x"},
                "result 2.paid": {"pay.paid"},
            },
        ),
    ],
)
def test_targets_by_another_name_without_definitions(dialect: str, sql: str, expected: dict[str, set[str]]) -> None:
    assert edges(sql, dialect=dialect, tables=None) == expected


def test_what_decides_which_rows_are_deleted_or_merged() -> None:
    gone, merged = traced(
        "DELETE FROM orders WHERE customer_id IN (SELECT id FROM customers WHERE town = 'Ayr');"
        "MERGE INTO customers c USING rates r ON c.id = r.rate WHEN MATCHED AND r.currency = 'GBP' THEN DELETE"
    ).result["statements"]
    assert (gone["target"], {(one["table"], one["column"]) for one in gone["used"]}) == (
        "orders",
        {("orders", "customer_id"), ("customers", "id"), ("customers", "town")},
    )
    assert {(one["column"], one["for"]) for one in merged["used"]} == {
        ("id", "join"),
        ("rate", "join"),
        ("currency", "filter"),
    }


def test_columns_without_a_table_are_those_of_the_nearest_one() -> None:
    """Without definitions nothing is lost: a subquery over one table names that table's columns."""
    sql = "SELECT a FROM t WHERE b IN (SELECT c FROM u WHERE d > (SELECT MAX(e) FROM v))"
    (one,) = traced(sql, tables=None).result["statements"]
    assert one["notes"] == []
    assert {f"{each['table']}.{each['column']}" for each in one["used"]} == {"t.b", "u.c", "u.d", "v.e"}


def test_a_star_of_an_unknown_table_is_said_and_not_guessed() -> None:
    result = traced("CREATE TABLE t AS SELECT * FROM a.b; SELECT x FROM t", tables=None).result
    assert result["edges"][0]["sources"] == [{"table": "a.b", "column": "*"}]
    assert result["edges"][0]["kind"] == "unknown"
    assert "CREATE TABLE" in result["statements"][0]["notes"][0]
    assert result["edges"][1]["sources"] == [{"table": "t", "column": "x"}]


def test_columns_that_decide_about_rows_are_told_apart() -> None:
    (one,) = traced(
        "SELECT o.amount FROM orders o JOIN rates r ON r.currency = o.currency WHERE o.day > '2026-01-01'"
    ).result["statements"]
    assert {(each["table"], each["column"], each["for"]) for each in one["used"]} == {
        ("rates", "currency", "join"),
        ("orders", "currency", "join"),
        ("orders", "day", "filter"),
    }


def test_origins_go_all_the_way_back() -> None:
    found = {
        (one["table"], one["column"]): [f"{each['table']}.{each['column']}" for each in one["origins"]]
        for one in example(TOOL).result["origins"]
    }
    assert found["ranking", "place"] == ["customers.town", "orders.amount", "rates.rate", "till_sales.amount_gbp"]
    assert found["result 3", "last_at"] == ["orders.ordered_at", "till_sales.sold_at"]


def test_kinds_and_steps() -> None:
    by_name = {one["target"]["column"]: one for one in traced(KNOWN["one CTE on another"][0]).result["edges"]}
    assert by_name["name"]["kind"] == "copied"
    assert by_name["total"]["kind"] == "aggregated"
    assert by_name["total"]["steps"] == ["b.total = SUM(a.x)", "a.x = orders.amount"]


def test_the_files_say_the_same_as_the_answer() -> None:
    result = example(TOOL)
    rows = list(csv.DictReader(io.StringIO(file(result, "lineage.csv"))))
    assert {"target_table": "ranking", "source_column": "paid_gbp"}.items() <= rows[-4].items()
    assert json.loads(file(result, "lineage.json"))["edges"] == result.result["edges"]
    assert "orders" in file(result, "lineage.svg")


@pytest.mark.parametrize(
    ("sql", "field", "says"),
    [
        ("SELECT 1;\nSELECT FROM WHERE (", "sql", "Line 2"),
        ("SELECT 'abc", "sql", "no SQL"),
        ("-- nothing", "sql", "no statement"),
        ("SELECT 1;" * 201, "sql", "At most 200"),
        ("SELECT " + "(" * 3000 + "1" + ")" * 3000, "sql", "deep"),
    ],
)
def test_what_is_wrong_is_named(sql: str, field: str, says: str) -> None:
    with pytest.raises(BadInput) as error:
        traced(sql)
    assert says in error.value.fields[field][0]


def test_a_wrong_definition_is_named() -> None:
    with pytest.raises(BadInput) as error:
        traced("SELECT 1", tables=b"CREATE TABLE (")
    assert list(error.value.fields) == ["schema"]


def test_two_runs_are_one_and_other_sql_is_another_answer() -> None:
    assert example(TOOL) == example(TOOL)
    assert traced("SELECT id FROM orders").result != traced("SELECT day FROM orders").result


def test_statements_without_columns_are_named() -> None:
    found = traced("DROP TABLE x; GRANT SELECT ON x TO y; DELETE FROM orders; SELECT id FROM orders").result
    assert [one["target"]["column"] for one in found["edges"]] == ["id"]
    assert all(one["notes"] for one in found["statements"][:3])


WORDS = """SELECT FROM WHERE WITH AS UNION ALL JOIN ON ( ) , * = 1 'a' orders customers id name o c . INSERT INTO CREATE
TABLE GROUP BY ORDER SUM OVER PARTITION LATERAL VALUES UPDATE SET MERGE USING ; CASE WHEN THEN END PIVOT UNNEST"""


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=25))
def test_any_words_are_lineage_or_a_sentence(words: list[str]) -> None:
    try:
        result = traced(" ".join(["SELECT id", *words])).result
    except BadInput as error:
        result = {"said": error.fields["sql"][0]}
    assert result
