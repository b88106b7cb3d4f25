"""The embedded database from a file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.migrations.loader import MigrationLoader

from config.backup import BackupError, bring_back
from config.embedded import EmbeddedError, Server


class Command(BaseCommand):
    help = "Replaces the embedded database by what a backup holds. `up` must not run; its next start migrates."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DATABASE_IS_EMBEDDED:
            raise CommandError("DATABASE_URL is set: restore that server with its own pg_restore.")
        server = Server(settings.DATA_DIR)
        try:
            if not server.start(say=self.stderr.write):
                raise CommandError(
                    "The database is in use: end `up` and every other command on this data folder first."
                )
            bring_back(settings.DATA_DIR, options["file"], set(MigrationLoader(None).disk_migrations))
        except (BackupError, EmbeddedError) as error:
            raise CommandError(str(error)) from error
        finally:
            server.stop()
        self.stdout.write("Restored. The database before it is kept as holdfast_replaced until the next restore.")
