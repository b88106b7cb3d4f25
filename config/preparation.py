"""Brings a database, empty or old, to what this version needs."""

from collections.abc import Callable

from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from config.schedules import install_schedules


def quiet(_sentence: str) -> None:
    """Says nothing."""


def prepare_database(say: Callable[[str], None] = quiet) -> None:
    """Every migration is applied and the schedules are there. Safe to repeat, and to go on after an interruption."""
    if not _is_migrated():
        if not _has_tables_of("djstripe"):
            say("First start: making the tables (about ten seconds) …")
            _migrate_all_but("djstripe")  # while its models are not there to be rendered: half of the time
            _make_tables_from_models("djstripe")
        say("Applying migrations …")
        call_command("migrate", verbosity=0, interactive=False)
    install_schedules()


def is_prepared() -> bool:
    """Says whether the database has our tables at all."""
    return "django_migrations" in connection.introspection.table_names()


def _is_migrated() -> bool:
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def _has_tables_of(label: str) -> bool:
    applied = MigrationRecorder(connection).applied_migrations()
    return any(app == label for app, _ in applied)


def _migrate_all_but(label: str) -> None:
    executor = MigrationExecutor(connection)
    executor.recorder.ensure_schema()
    executor.migrate([key for key in executor.loader.graph.leaf_nodes() if key[0] != label])


def _make_tables_from_models(label: str) -> None:
    """The app's tables stand as its models say and its migrations count as applied; all of it or nothing.

    Running them one by one renders every model some five hundred times: 34 s of a processor instead of one.
    """
    migrations = [key for key in MigrationLoader(connection).disk_migrations if key[0] == label]
    recorder = MigrationRecorder(connection)
    recorder.ensure_schema()
    with connection.schema_editor() as editor:
        for model in apps.get_app_config(label).get_models():
            editor.create_model(model)
        for app, name in sorted(migrations):
            recorder.record_applied(app, name)
