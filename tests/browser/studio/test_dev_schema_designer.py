"""The schema designer's SQL is executed: what the migration leaves is what the new version makes afresh."""

from __future__ import annotations

import copy
import json
import random
import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlglot
from django.db import connections
from playwright.sync_api import Browser

from tools_registry.studios.dev.schema_designer import TOOL

from .bench import Half, opened

pytestmark = pytest.mark.browser

Draft = dict[str, Any]


@pytest.fixture(scope="module")
def designer(browser: Browser) -> Iterator[Half]:
    with opened(browser, "dev/schema_designer") as half:
        yield half


@pytest.fixture(scope="module")
def postgres() -> Iterator[psycopg.Connection]:
    """A connection to a database of this test alone."""
    known = connections["default"].get_connection_params()
    known = {name: known[name] for name in ("host", "port", "user", "password") if known.get(name)}
    with psycopg.connect(**known, dbname="postgres", autocommit=True) as one:
        one.execute("DROP DATABASE IF EXISTS schema_designer")
        one.execute("CREATE DATABASE schema_designer")
        with psycopg.connect(**known, dbname="schema_designer", autocommit=True) as other:
            yield other
        one.execute("DROP DATABASE schema_designer WITH (FORCE)")


def column(name: str, kind: str = "integer", **more: Any) -> Draft:
    return {"name": name, "type": kind, **more}


def table(name: str, *columns: Draft, **more: Any) -> Draft:
    return {"name": name, "columns": list(columns), **more}


KEY = column("id", "bigint", is_key=True, is_numbered=True)


# What a database has, as it says it itself


def sqlite_has(connection: sqlite3.Connection) -> dict[str, Any]:
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_sequence' ORDER BY name"
    names = [row[0] for row in connection.execute(tables)]
    has: dict[str, Any] = {}
    for name in names:
        indexes = {}
        for row in connection.execute(f'PRAGMA index_list("{name}")').fetchall():
            parts = [part[2] for part in connection.execute(f'PRAGMA index_info("{row[1]}")')]
            indexes[row[1]] = (row[2], row[3], parts)
        points = sorted(row[2:] for row in connection.execute(f'PRAGMA foreign_key_list("{name}")'))
        has[name] = (connection.execute(f'PRAGMA table_info("{name}")').fetchall(), points, indexes)
    return has


def made_in_sqlite(*scripts: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    for script in scripts:
        connection.executescript(script)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    return connection


def made_in_postgres(postgres: psycopg.Connection, *scripts: str) -> dict[str, Any]:
    postgres.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    for script in scripts:
        if script:
            postgres.execute(script)  # type: ignore[call-overload]
    return postgres_has(postgres)


def postgres_has(postgres: psycopg.Connection) -> dict[str, Any]:
    columns = postgres.execute(
        "SELECT table_name, column_name, data_type, character_maximum_length, numeric_precision, numeric_scale,"
        " is_nullable, column_default, is_identity FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, 2"
    ).fetchall()
    constraints = postgres.execute(
        "SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2"
    ).fetchall()
    indexes = postgres.execute(
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"
    ).fetchall()
    return {"columns": columns, "constraints": constraints, "indexes": indexes}


def check(designer: Half, postgres: psycopg.Connection, before: Draft, after: Draft) -> dict[str, str]:
    """Both versions can be made, and the migration leads from one to the other."""
    old = designer.view(before).files
    view = designer.view({**after, "previous": old["schema.json"]})
    new = view.files
    lite = "migration-sqlite.sql"
    assert sqlite_has(made_in_sqlite(old["schema-sqlite.sql"], new.get(lite, ""))) == sqlite_has(
        made_in_sqlite(new["schema-sqlite.sql"])
    )
    migrated = made_in_postgres(postgres, old["schema-postgresql.sql"], new.get("migration-postgresql.sql", ""))
    assert migrated == made_in_postgres(postgres, new["schema-postgresql.sql"])
    for name in ("schema-mysql.sql", "migration-mysql.sql"):
        sqlglot.parse(new.get(name, ""), read="mysql", error_level=sqlglot.ErrorLevel.RAISE)
    return new


# Known answers


def test_the_example_is_drawn_and_written(designer: Half) -> None:
    view = designer.view(dict(TOOL.example))
    assert view.problems == {}
    assert [view.fact(name) for name in ("Tables", "Columns", "Relations", "Indexes beyond keys", "To correct")] == [
        *(4, 19, 3, 2, 0)
    ]
    picture = view.files["schema.svg"]
    assert picture.count('class="node"') == 4
    assert picture.count('class="edge"') == 3
    assert set(view.files) == {
        "schema.json",
        "schema.svg",
        "schema-postgresql.sql",
        "schema-mysql.sql",
        "schema-sqlite.sql",
    }
    assert view.files["schema-postgresql.sql"].startswith(
        'CREATE TABLE "customer" (\n'
        '    "id" bigint GENERATED BY DEFAULT AS IDENTITY NOT NULL,\n'
        '    "email" varchar(254) NOT NULL,\n'
        '    "name" varchar(120) NOT NULL,\n'
        '    "joined_at" timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,\n'
        '    CONSTRAINT "customer_pkey" PRIMARY KEY ("id"),\n'
        '    CONSTRAINT "customer_email_key" UNIQUE ("email")\n'
        ");\n"
    )
    assert "`id` BIGINT NOT NULL AUTO_INCREMENT" in view.files["schema-mysql.sql"]
    assert '"id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT' in view.files["schema-sqlite.sql"]


def test_the_example_migrates_and_keeps_its_rows(designer: Half, postgres: psycopg.Connection) -> None:
    earlier = TOOL.example_files["previous"][1].decode()
    old = designer.view(json.loads(earlier)).files
    view = designer.view({**TOOL.example, "previous": earlier})
    rows = "INSERT INTO client (email, phone) VALUES ('ada@example.org', '1'), ('grace@example.org', NULL);"
    connection = made_in_sqlite(old["schema-sqlite.sql"], rows)
    with pytest.raises(sqlite3.IntegrityError):  # as the warning says: name is new, always filled, and has no value
        connection.executescript(view.files["migration-sqlite.sql"])
    assert ("medium", "customer.name") in [(one[0], one[2]) for one in view.found("Before you migrate")]
    assert ("high", "client.phone") in [(one[0], one[2]) for one in view.found("Before you migrate")]

    mended = copy.deepcopy(dict(TOOL.example))
    mended["tables"][0]["columns"][2]["default"] = "unknown"
    new = designer.view({**mended, "previous": earlier}).files
    connection = made_in_sqlite(old["schema-sqlite.sql"], rows, new["migration-sqlite.sql"])
    assert connection.execute("SELECT id, email, name FROM customer ORDER BY id").fetchall() == [
        (1, "ada@example.org", "unknown"),
        (2, "grace@example.org", "unknown"),
    ]
    made_in_postgres(postgres, old["schema-postgresql.sql"], rows, new["migration-postgresql.sql"])
    assert postgres.execute("SELECT id, email, name FROM customer ORDER BY id").fetchall() == [
        (1, "ada@example.org", "unknown"),
        (2, "grace@example.org", "unknown"),
    ]
    postgres.execute("INSERT INTO customer (email, name) VALUES ('x@example.org', 'X')")


CHANGES: dict[str, tuple[Draft, Draft]] = {
    "nothing": ({"tables": [table("a", KEY)]}, {"tables": [table("a", KEY)]}),
    "the example": (json.loads(TOOL.example_files["previous"][1]), dict(TOOL.example)),
    "and back": (dict(TOOL.example), json.loads(TOOL.example_files["previous"][1])),
    "a renamed column with what hangs on it": (
        {
            "tables": [
                table("a", KEY, column("code", "varchar", size="9", is_unique=True)),
                table("b", KEY, column("a_code", "varchar", size="9", references="a.code")),
            ],
            "indexes": [{"table": "b", "columns": "a_code"}],
        },
        {
            "tables": [
                table("a", KEY, column("sign", "varchar", size="12", is_unique=True, was="code")),
                table("b", KEY, column("a_sign", "varchar", size="12", references="a.sign", was="a_code")),
            ],
            "indexes": [{"table": "b", "columns": "a_sign", "is_unique": True}],
        },
    ),
    "a renamed table that others point to": (
        {"tables": [table("a", KEY), table("b", KEY, column("a_id", "bigint", references="a.id"))]},
        {"tables": [table("z", KEY, was="a"), table("b", KEY, column("a_id", "bigint", references="z.id"))]},
    ),
    "a circle of tables": (
        {"tables": [table("a", KEY)]},
        {
            "tables": [
                table("a", KEY, column("b_id", "bigint", references="b.id", is_required=False, on_delete="set_null")),
                table(
                    "b", KEY, column("a_id", "bigint", references="a.id"), column("b_id", "bigint", references="b.id")
                ),
            ]
        },
    ),
    "another key": (
        {"tables": [table("a", column("x", is_key=True), column("y")), table("b", column("x", references="a.x"))]},
        {
            "tables": [
                table("a", column("x", is_unique=True), column("y", is_key=True)),
                table("b", column("x", references="a.x")),
            ]
        },
    ),
    "a key of two": (
        {"tables": [table("a", column("x", is_key=True), column("y"))]},
        {"tables": [table("a", column("x", is_key=True), column("y", is_key=True, was=""))]},
    ),
    "types": (
        {
            "tables": [
                table(
                    "a",
                    column("k", is_key=True),
                    *(
                        column(f"c{at}", kind, size=size, default=value)
                        for at, (kind, size, value) in enumerate(
                            [
                                ("integer", "", "1"),
                                ("text", "", "2"),
                                ("boolean", "", "true"),
                                ("timestamp", "", "now"),
                                ("uuid", "", "random"),
                                ("json", "", "{}"),
                                ("bytes", "", "00ff"),
                                ("decimal", "10,2", "1.5"),
                                ("date", "", "now"),
                                ("varchar", "20", "it's"),
                            ]
                        )
                    ),
                )
            ]
        },
        {
            "tables": [
                table(
                    "a",
                    column("k", "bigint", is_key=True),
                    *(
                        column(f"c{at}", kind, size=size, default=value, is_required=at % 2 == 0)
                        for at, (kind, size, value) in enumerate(
                            [
                                ("varchar", "12", "one"),
                                ("integer", "", "2"),
                                ("smallint", "", "1"),
                                ("date", "", "now"),
                                ("text", "", "x"),
                                ("text", "", "y"),
                                ("json", "", "[]"),
                                ("float", "", "1.5"),
                                ("timestamptz", "", "2026-01-31 09:30"),
                                ("bytes", "", ""),
                            ]
                        )
                    ),
                )
            ]
        },
    ),
    "numbers itself, and no more": (
        {"tables": [table("a", column("id", is_key=True)), table("b", KEY)]},
        {
            "tables": [
                table("a", column("id", is_key=True, is_numbered=True)),
                table("b", column("id", "bigint", is_key=True)),
            ]
        },
    ),
    "names that need quotes": (
        {"tables": [table('or"der', column("se`lect", is_key=True), column("a b", "text", default="it's \\ 'x'"))]},
        {"tables": [table("Group", column("se`lect", is_key=True), column("user", "text", was="a b"), was='or"der')]},
    ),
    "long names": (
        {"tables": [table("t" * 60, KEY)]},
        {
            "tables": [
                table(
                    "t" * 60,
                    KEY,
                    column("c" * 60, is_unique=True),
                    column("d" * 60, references=f"{'t' * 60}.{'c' * 60}"),
                )
            ],
            "indexes": [{"table": "t" * 60, "columns": f"{'c' * 60}, {'d' * 60}"}],
        },
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_migration_leaves_what_the_new_version_makes(designer: Half, postgres: psycopg.Connection, name: str) -> None:
    before, after = CHANGES[name]
    check(designer, postgres, before, after)


def test_two_versions_that_are_the_same_need_no_migration(designer: Half) -> None:
    view = designer.view({**TOOL.example, "previous": designer.view(dict(TOOL.example)).files["schema.json"]})
    assert view.block("Migration")["none"] == "Both versions are the same; there is nothing to migrate."
    assert "migration-postgresql.sql" not in view.files


KINDS = [
    "smallint",
    "integer",
    "bigint",
    "decimal",
    "float",
    "boolean",
    "varchar",
    "text",
    "date",
    "timestamptz",
    "uuid",
]


def some_schema(chance: random.Random, earlier: Draft | None = None) -> Draft:
    """A schema of few names, so that a later one has much in common with an earlier."""
    tables = []
    for name in chance.sample("abcd", chance.randint(1, 4)):
        columns = [column("id", chance.choice(["integer", "bigint"]), is_key=True, is_numbered=chance.random() < 0.7)]
        for other in chance.sample("pqrstu", chance.randint(0, 5)):
            more = column(
                other, chance.choice(KINDS), is_required=chance.random() < 0.6, is_unique=chance.random() < 0.2
            )
            if chance.random() < 0.3:
                more["was"] = chance.choice("pqrstu")
            if more["type"] in ("smallint", "integer", "bigint") and chance.random() < 0.3:
                more["default"] = str(chance.randint(0, 9))
            columns.append(more)
        if chance.random() < 0.3 and len(columns) > 1:
            columns[0]["is_numbered"] = False
            columns[1]["is_key"] = True
        tables.append(table(name, *columns, was=chance.choice("abcd") if chance.random() < 0.4 else ""))
    for one in tables:
        for more in one["columns"][1:]:
            target = chance.choice(tables)
            if more["type"] in ("integer", "bigint") and chance.random() < 0.6:
                more["references"] = f"{target['name']}.id"
                more["on_delete"] = chance.choice(["restrict", "cascade", "set_null"])
    indexes = [
        {
            "table": one["name"],
            "columns": ", ".join(chance.sample([each["name"] for each in one["columns"]], min(2, len(one["columns"])))),
            "is_unique": chance.random() < 0.3,
        }
        for one in tables
        if chance.random() < 0.5
    ]
    return {"tables": tables, "indexes": indexes}


@pytest.mark.parametrize("seed", range(40))
def test_any_version_migrates_to_any_other(designer: Half, postgres: psycopg.Connection, seed: int) -> None:
    chance = random.Random(seed)
    check(designer, postgres, some_schema(chance), some_schema(chance))


# What is wrong with a draft


@pytest.mark.parametrize(
    ("draft", "place", "words"),
    [
        ({"tables": [table("a", KEY), table("A", KEY)]}, "tables.1.name", "There is a table A already"),
        ({"tables": [table("", KEY)]}, "tables.0.name", "Give the table a name"),
        ({"tables": [table("a")]}, "tables.0.columns", "at least one column"),
        ({"tables": [table("a", KEY, column("id"))]}, "tables.0.columns.1.name", "There is a column id already"),
        ({"tables": [table("a", column("x", "varchar", size="many"))]}, "tables.0.columns.0.size", "how many letters"),
        ({"tables": [table("a", column("x", "decimal", size="2,4"))]}, "tables.0.columns.0.size", "digits in all"),
        ({"tables": [table("a", column("x", "date", default="soon"))]}, "tables.0.columns.0.default", "2026-01-31"),
        ({"tables": [table("a", column("x", references="b.id"))]}, "tables.0.columns.0.references", "no table b"),
        ({"tables": [table("a", column("x", references="a"))]}, "tables.0.columns.0.references", "table.column"),
        (
            {"tables": [table("a", KEY, column("x")), table("b", column("y", references="a.x"))]},
            "tables.1.columns.0.references",
            "may be there twice",
        ),
        (
            {"tables": [table("a", KEY), table("b", column("y", "uuid", references="a.id"))]},
            "tables.1.columns.0.references",
            "both must be the same",
        ),
        (
            {"tables": [table("a", KEY, column("x", "bigint", references="a.id", on_delete="set_null"))]},
            "tables.0.columns.1.on_delete",
            "cannot be emptied",
        ),
        ({"tables": [table("a", column("x", is_numbered=True))]}, "tables.0.columns.0.is_numbered", "Only the one key"),
        (
            {"tables": [table("a", KEY)], "indexes": [{"table": "a", "columns": "x"}]},
            "indexes.0.columns",
            "no column x",
        ),
        ({"tables": [table("a", KEY)], "previous": "{"}, "previous", "This is no JSON"),
    ],
)
def test_what_is_wrong_is_named_and_left_out(
    designer: Half, postgres: psycopg.Connection, draft: Draft, place: str, words: str
) -> None:
    view = designer.view(draft)
    assert words in view.problems[place]
    if view.has("Made afresh"):
        made_in_postgres(postgres, view.files["schema-postgresql.sql"])
        made_in_sqlite(view.files["schema-sqlite.sql"])


@pytest.mark.parametrize(
    "draft",
    [
        {},
        None,
        {"tables": None, "indexes": 3},
        {"tables": [None, 1, {"columns": [None, {"name": 3}]}]},
        {"tables": [{"name": "a", "columns": [{"name": "x", "type": "?", "references": "....", "size": 4}]}]},
        {"tables": [table("a", KEY)], "previous": '{"tables": [null, {"name": "b", "columns": [{}]}]}'},
    ],
)
def test_any_draft_gives_something(designer: Half, draft: Any) -> None:
    assert designer.view(draft).blocks


def test_money_in_rounded_numbers_and_tables_without_key_are_told(designer: Half) -> None:
    view = designer.view({"tables": [table("bill", column("total", "float"), column("at", "timestamp"))]})
    assert {(severity, where) for severity, _, where in view.found("Design")} == {
        ("medium", "bill"),
        ("medium", "bill.total"),
        ("info", "bill.at"),
    }


def test_mysql_keeps_no_index_of_a_key_that_is_gone(designer: Half) -> None:
    """What MySQL does by itself: an index of a foreign key's name, where no other begins with its column."""
    parent, key = table("a", KEY), column("a_id", "bigint", references="a.id")
    before = {"tables": [parent, table("b", KEY, key)]}
    after = {"tables": [parent, table("b", KEY, column("a_id", "bigint"))]}
    view = designer.view({**after, "previous": designer.view(before).files["schema.json"]})
    assert view.files["migration-mysql.sql"] == (
        "ALTER TABLE `b` DROP FOREIGN KEY `b_a_id_fkey`;\n\nALTER TABLE `b` DROP INDEX `b_a_id_fkey`;\n"
    )


def test_mysql_lets_no_index_go_that_a_key_needs(designer: Half) -> None:
    tables = [table("a", KEY), table("b", KEY, column("a_id", "bigint", references="a.id"))]
    before = {"tables": tables, "indexes": [{"table": "b", "columns": "a_id"}]}
    view = designer.view({"tables": tables, "previous": designer.view(before).files["schema.json"]})
    assert view.files["migration-mysql.sql"].split(";\n\n") == [
        "ALTER TABLE `b` DROP FOREIGN KEY `b_a_id_fkey`",
        "ALTER TABLE `b`\n    DROP INDEX `b_a_id_idx`",
        "ALTER TABLE `b` ADD CONSTRAINT `b_a_id_fkey` FOREIGN KEY (`a_id`) REFERENCES `a` (`id`) ON DELETE RESTRICT;\n",
    ]


def test_a_text_without_a_limit_points_to_nothing_in_mysql(designer: Half) -> None:
    parent = table("a", column("code", "text", is_key=True))
    view = designer.view({"tables": [parent, table("b", KEY, column("code", "text", references="a.code"))]})
    assert "FOREIGN KEY" in view.files["schema-postgresql.sql"]
    assert "FOREIGN KEY" not in view.files["schema-mysql.sql"]
    assert ("medium", "MySQL cannot point with it", "b.code") in view.found("Design")
