import subprocess
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

import billing.tasks
import tools_registry.tasks
from generations import tasks
from generations.providers.local import renderer_command


class Command(BaseCommand):
    help = "One pass (or --seconds N of passes) of what the worker does: submit, poll, settle, expire."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seconds", type=float, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        # Beside a running worker this one finds the folder locked and ends at once.
        settings.LOCAL_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        renderer = subprocess.Popen(renderer_command(settings.LOCAL_DIR), stdout=sys.stderr)
        try:
            tasks.sweep(options["seconds"])
            tools_registry.tasks.sweep()
            billing.tasks.sweep()
        finally:
            renderer.terminate()
            renderer.wait(10)
        self.stdout.write("swept")
