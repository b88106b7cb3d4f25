"""The supervised queue worker alone."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from config.children import ToolDoor, queue_worker, tool_runner
from config.supervisor import GaveUp, Supervisor, Told, end_when_told


class Command(BaseCommand):
    help = "Runs the queue worker and the sweeps, and starts them again when they stop answering. Any number may run."
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--quiet", action="store_true", help="say nothing when starting")

    def handle(self, *args: Any, **options: Any) -> None:
        door = ToolDoor.made()
        supervisor = Supervisor([tool_runner(door), queue_worker(door)], None, self.stderr.write)
        end_when_told()
        try:
            supervisor.start()
            if not options["quiet"]:
                self.stdout.write("The worker runs. Ctrl-C ends it.")
            supervisor.run()
        except Told:
            pass
        except GaveUp as error:
            self.stderr.write(str(error))
            sys.exit(1)
        finally:
            supervisor.stop()
