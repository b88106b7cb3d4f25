"""Data survives a step back and forward of our migrations, and a backup brings the books back as they were."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db.migrations.loader import MigrationLoader

from config.embedded import Server, socket_folder
from tests.instance import Instance

APPS = ("config", "generations", "tools_registry", "billing")
FIGURES = """
SELECT (SELECT count(*) FROM billing_account),
       (SELECT count(*) FROM billing_entry),
       (SELECT sum(balance)::bigint FROM billing_account),
       (SELECT sum(held)::bigint FROM billing_account),
       (SELECT string_agg(encode(digest, 'hex'), ',' ORDER BY id) FROM billing_account)
"""
A_LITTLE_HISTORY = """
from django.contrib.auth.models import User
from billing import ledger
from billing.models import Hold
from billing.people import open_account
from generations import lifecycle

account = open_account(User.objects.create_user("NAME", "NAME@example.org")).id
ledger.grant(account, amount=100_000_000, source="staff", reason="a test")
for reference in ("captured", "open"):
    ledger.place_hold(account, amount=4_000_000, reference=reference, owner="user:1", expires_in_seconds=3600)
ledger.capture(account, hold=Hold.objects.get(account=account, reference="captured").id, amount=3_000_000)
video = lifecycle.quote("ai/video", {"prompt": "a harbour"}, "local")
lifecycle.start(account, video, actor="user:1")
lifecycle.cancel(account, lifecycle.start(account, video, actor="user:1").generation.id)
"""

# Four commands in one process: each takes seconds to start.
BACK_AND_FORTH = """
from django.core.management import call_command
call_command("migrate", "%(app)s", "%(name)s", verbosity=0)
try:
    call_command("migrate", "--check", verbosity=0)
except SystemExit as refused:
    print("It is not what this version needs:", refused.code)
call_command("migrate", verbosity=0)
call_command("reconcile")
"""


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """A data folder with a little history; no `up` runs."""
    with tempfile.TemporaryDirectory(prefix="holdfast-upgrade-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        instance = Instance(Path(name) / "data")
        instance.command("shell", "-v", "0", "-c", A_LITTLE_HISTORY.replace("NAME", "first"))
        yield instance


@contextmanager
def database(instance: Instance) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """The embedded server runs for a while, so that each command need not start it."""
    server = Server(instance.data_dir)
    assert server.start()
    try:
        with psycopg.connect(
            host=str(socket_folder(instance.data_dir)), user="holdfast", dbname="holdfast", autocommit=True
        ) as connection:
            yield connection
    finally:
        server.stop()


def figures(connection: psycopg.Connection[tuple[object, ...]]) -> tuple[object, ...]:
    row = connection.execute(FIGURES).fetchone()
    assert row is not None
    return row


@pytest.mark.parametrize("app", APPS)
def test_the_last_migration_of_each_app_can_be_taken_back_and_made_again(instance: Instance, app: str) -> None:
    names = sorted(name for label, name in MigrationLoader(None).disk_migrations if label == app)
    with database(instance) as connection:
        before = figures(connection)
        assert before[1:4] == (7, 97_000_000, 6_000_000)
        earlier = names[-2] if len(names) > 1 else "zero"
        said = instance.command("shell", "-v", "0", "-c", BACK_AND_FORTH % {"app": app, "name": earlier}).stdout
        assert "It is not what this version needs: 1" in said
        assert figures(connection) == before


def test_a_backup_brings_the_books_back_as_they_were(instance: Instance) -> None:
    file = instance.data_dir / "holdfast.backup"
    with database(instance) as connection:
        before = figures(connection)
        instance.command("backup", str(file))
        assert file.stat().st_mode & 0o777 == 0o600
        instance.command("shell", "-v", "0", "-c", A_LITTLE_HISTORY.replace("NAME", "second"))
        assert figures(connection) != before
        refused = instance.command("restore", str(file), check=False)
        assert refused.returncode != 0
        assert "in use" in refused.stderr
    instance.command("restore", str(file))
    with database(instance) as connection:
        assert figures(connection) == before
        assert instance.command("migrate", "--check").returncode == 0
        assert instance.command("reconcile").returncode == 0
        instance.command("backup", str(file))
    instance.nothing_left()


def test_what_is_no_backup_replaces_nothing(instance: Instance, tmp_path: Path) -> None:
    with database(instance) as connection:
        before = figures(connection)
    (tmp_path / "file").write_text("nothing")
    for name, says in (("file", "pg_restore failed"), ("absent", "is not there")):
        done = instance.command("restore", str(tmp_path / name), check=False)
        assert done.returncode != 0
        assert says in done.stderr
    with database(instance) as connection:
        assert figures(connection) == before
