"""The embedded database as one file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.backup import BackupError, back_up


class Command(BaseCommand):
    help = "Writes the embedded database to a file, also while `up` runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DATABASE_IS_EMBEDDED:
            raise CommandError("DATABASE_URL is set: back that server up with its own pg_dump.")
        try:
            back_up(settings.DATA_DIR, options["file"])
        except BackupError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{options['file']}: {options['file'].stat().st_size:,} bytes")
