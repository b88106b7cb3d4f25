"""One embedded PostgreSQL for the whole test run, one template database for all workers, a clock that tests can move.

With DATABASE_URL set the tests run on that server instead; its user must be a superuser (the TRUNCATE trigger).
"""

import fcntl
import gc
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import django
import hypothesis
import psycopg
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connections
from xdist.scheduler import LoadFileScheduling

from config.embedded import Server

TEMPLATE = "holdfast_template"
IS_CONTROLLER = "PYTEST_XDIST_WORKER" not in os.environ
_server: Server | None = None

if IS_CONTROLLER:
    # Before Django reads its settings: their own data folder, and nothing from the person's own environment.
    _folder = Path(tempfile.mkdtemp(prefix="holdfast-tests-"))
    _folder.chmod(0o711)
    for _name in (
        "OPENAI_API_KEY",
        "STRIPE_SECRET_KEY",
        "COMFYUI_URLS",
        "REDIS_URL",
        "EMAIL_URL",
        "HOLDFAST_DEMO",
        "HOLDFAST_STORAGE_URL",
    ):
        os.environ.pop(_name, None)
    os.environ |= {
        "HOLDFAST_ENV": "test",
        "HOLDFAST_ROLE": "web",
        "HOLDFAST_DATA_DIR": str(_folder),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    if "DATABASE_URL" not in os.environ:
        # Not safe against a loss of power, and twice as fast: this cluster is thrown away.
        _server = Server(_folder, {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB"}.items())
        _server.start()
DATA_DIR = Path(os.environ["HOLDFAST_DATA_DIR"])

# The same examples each time, and no time-outs: a change is judged by what it changed. New ones are tried with
# `--hypothesis-profile explore`.
_IN_ANY_CASE = {"deadline": None, "database": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("same", derandomize=True, **_IN_ANY_CASE)
hypothesis.settings.register_profile("explore", derandomize=False, print_blob=True, **_IN_ANY_CASE)
hypothesis.settings.load_profile("same")
django.setup()
# A statement that waits for a busy machine is not one that hangs. What these time-outs are, test_settings.py says.
_options = connections.settings["default"]["OPTIONS"]
_options["options"] = re.sub(r"_timeout=\d+", "_timeout=60000", _options["options"])
# The passwords of tests need not be dear to guess: the same way of hashing, once.
PBKDF2PasswordHasher.iterations = 1


def pytest_unconfigure() -> None:
    if IS_CONTROLLER:
        if _server is not None:
            _server.stop()
        shutil.rmtree(DATA_DIR, ignore_errors=True)


MIDNIGHT_SECONDS = 60


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """No test begins on one day, or in one month, and ends in the next; it waits for the next to begin."""
    left = 86_400 - time.time() % 86_400
    if left < MIDNIGHT_SECONDS:
        time.sleep(left)


# Which tests come first

# By what they took, roughly, in seconds: what takes long is begun first, so that no process is left with it at the end.
LONG = {
    "tests/browser": 240,
    "tests/config": 120,
    "tests/faults": 90,
    "tests/benchmarks": 60,
    "tests/tools_registry/runner": 60,
    "tests/concurrency": 40,
    "tests/generations/providers": 30,
}


def _part(nodeid: str) -> str:
    """What one process does on its own: a file's tests; all of the browser's, which share one running instance."""
    file = nodeid.partition("::")[0]
    return "tests/browser" if file.startswith("tests/browser/") else file


def _seconds(part: str) -> int:
    return max((seconds for folder, seconds in LONG.items() if f"{part}/".startswith(f"{folder}/")), default=0)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After the shuffling: long files first, and in each, tests of an instance that runs before those that stop it."""
    at = {part: number for number, part in enumerate(dict.fromkeys(_part(item.nodeid) for item in items))}

    def place(item: pytest.Item) -> tuple[int, int, bool]:
        part = _part(item.nodeid)
        return -_seconds(part), at[part], "stopped" in getattr(item, "fixturenames", ())

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What was collected stays to the end: from now on no collection of garbage looks through it."""
    gc.collect()
    gc.freeze()


class LongestFirst(LoadFileScheduling):
    """`--dist loadfile`, with the parts in the order of the tests."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return _part(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongestFirst | None:
    return LongestFirst(config, log) if config.getvalue("dist") == "loadfile" else None


# The database


@contextmanager
def _one_worker_at_a_time() -> Iterator[None]:
    with (DATA_DIR / "template.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _patient_cursor() -> Iterator[Any]:
    """A cursor on no test's database: making and dropping one may take longer than a request may."""
    from django.db import connection

    with connection._nodb_cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        yield cursor


def _make_template() -> None:
    """The template database stands: every migration, and the clock with an offset. Made once, by the first worker."""
    from django.db import connection

    from config.preparation import prepare_database

    made = DATA_DIR / "template.made"
    with _one_worker_at_a_time():
        if made.exists():
            return
        with _patient_cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {TEMPLATE}")
            cursor.execute(f"CREATE DATABASE {TEMPLATE}")
        ours = dict(connection.settings_dict)
        # Without the time-outs of the web, which would cut migrations off on a busy machine; a command has none either.
        connection.settings_dict |= {"NAME": TEMPLATE, "OPTIONS": ours["OPTIONS"] | {"options": ""}}
        try:
            prepare_database()
            with connection.cursor() as cursor:
                cursor.execute(MOVABLE_CLOCK)
                cursor.execute(KEEP_FIRST_ROWS)
        finally:
            connection.close()
            connection.settings_dict |= ours
        made.touch()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None, django_db_blocker: Any) -> None:
    from django.db import connection

    with django_db_blocker.unblock():
        _make_template()
    connection.settings_dict["TEST"]["TEMPLATE"] = TEMPLATE


@pytest.fixture(scope="session")
def django_db_setup(django_db_modify_db_settings: None, django_db_blocker: Any) -> Iterator[None]:
    """A copy of the template is this worker's database."""
    from django.db import connection

    with django_db_blocker.unblock():
        original = connection.settings_dict["NAME"]
        name = connection.creation._get_test_db_name()
        with _one_worker_at_a_time(), _patient_cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE}')
        connection.close()
        connection.settings_dict["NAME"] = name
    yield
    with django_db_blocker.unblock():
        connection.close()
        connection.settings_dict["NAME"] = original
        with _patient_cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


KEEP_FIRST_ROWS = """
CREATE SCHEMA first_rows;
DO $$ DECLARE name text; is_filled boolean; BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
      AND tablename NOT IN ('django_migrations', 'holdfast_clock') LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', name) INTO is_filled;
    IF is_filled THEN EXECUTE format('CREATE TABLE first_rows.%I AS TABLE public.%I', name, name); END IF;
  END LOOP;
END $$;
"""
# Deleting what a test wrote takes a hundredth of the time of truncating every table.
DELETE_OTHER_ROWS = """
DO $$ DECLARE name text; is_filled boolean; BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
      AND tablename NOT IN ('django_migrations', 'holdfast_clock') LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', name) INTO is_filled;
    IF is_filled AND to_regclass(format('first_rows.%I', name)) IS NULL THEN
      EXECUTE format('DELETE FROM public.%I', name);
    ELSIF is_filled THEN
      EXECUTE format('DELETE FROM public.%I one WHERE one::text NOT IN (SELECT first::text FROM first_rows.%I first)',
                     name, name);
    END IF;
  END LOOP;
END $$;
"""
RESTORE_FIRST_ROWS = """
DO $$ DECLARE name text; columns text; BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'first_rows' LOOP
    SELECT string_agg(quote_ident(attname), ', ') INTO columns FROM pg_attribute
      WHERE attrelid = format('public.%I', name)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
    EXECUTE format('INSERT INTO public.%I (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM first_rows.%I '
                   'ON CONFLICT DO NOTHING',
                   name, columns, columns, name);
  END LOOP;
END $$;
"""


@pytest.fixture(autouse=True, scope="session")
def _flush_as_a_replica() -> Iterator[None]:
    """After a transactional test the tables are empty but for the rows that migrations made.

    Entries refuse to be deleted; a replica's session is not asked. Tests of that law go without this.
    """
    from django.core.management.commands import flush

    original = flush.sql_flush

    def sql_flush(style: Any, connection: Any, **options: Any) -> list[str]:
        assert connection.settings_dict["NAME"].startswith("test_")
        return ["SET LOCAL session_replication_role = replica", DELETE_OTHER_ROWS, RESTORE_FIRST_ROWS]

    flush.sql_flush = sql_flush
    yield
    flush.sql_flush = original


@pytest.fixture(autouse=True)
def _routes_are_read_afresh() -> None:
    """What another test made of the routes is not remembered."""
    from generations import routes

    routes.forget()


# The clock

MOVABLE_CLOCK = """
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_proc WHERE proname = 'holdfast_now') THEN
    CREATE TABLE holdfast_clock ("offset" interval NOT NULL);
    INSERT INTO holdfast_clock VALUES ('0');
    CREATE OR REPLACE FUNCTION holdfast_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
      AS 'SELECT clock_timestamp() + (SELECT "offset" FROM holdfast_clock)';
  END IF;
END $$;
"""


class Clock:
    """The ledger's clock in the test database."""

    def advance(self, **span: float) -> None:
        """The ledger's clock shows this much more: `clock.advance(hours=1)`. Also backwards, with negative numbers."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute('UPDATE holdfast_clock SET "offset" = "offset" + %s', [timedelta(**span)])

    def to_mid_month(self) -> None:
        """The ledger's clock shows noon of the 15th of this month: a month from there lies in the next, on any day."""
        noon = datetime.now(UTC).replace(day=15, hour=12, minute=0, second=0, microsecond=0)
        self.reset()
        self.advance(seconds=noon.timestamp() - time.time())

    def reset(self) -> None:
        """The ledger's clock shows the real time."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("UPDATE holdfast_clock SET \"offset\" = '0'")


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> Iterator[Clock]:
    is_transactional = "transactional_db" in request.fixturenames or any(
        marker.kwargs.get("transaction") for marker in request.node.iter_markers("django_db")
    )
    request.getfixturevalue("transactional_db" if is_transactional else "db")
    clock = Clock()
    clock.reset()
    yield clock
    if is_transactional:
        clock.reset()


@pytest.fixture
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock that counts requests stands still: no minute ends between two of them."""
    now = time.time()
    monkeypatch.setattr("billing.throttles.time", SimpleNamespace(time=lambda: now))


@pytest.fixture
def raw_connection(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    """A connection of its own to the test database, outside Django: for races and for laws tried by raw SQL."""
    from django.db import connection

    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}) as raw:  # type: ignore[arg-type]
        yield raw
