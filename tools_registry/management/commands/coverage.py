"""`manage.py coverage`: does everything that can be run earn its credits? Exit 1 where price and tool do not meet."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tools_registry.coverage import Coverage, look


class Command(BaseCommand):
    help = "What can be run and was never charged, runs without a charge, prices without a tool, tools without a price."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one object")

    def handle(self, *args: Any, **options: Any) -> None:
        found = look()
        self.stdout.write(json.dumps(found.as_json()) if options["json"] else _as_text(found))
        if not found.is_whole:
            raise CommandError("something billable is without its price or its charge", returncode=1)


def _as_text(found: Coverage) -> str:
    return "\n".join(
        (
            f"in the catalogue       {found.entries}",
            f"never charged          {_listed(found.never_charged)}",
            f"runs of tools          {found.runs}, {found.charged} charged",
            f"runs without charge    {found.without_charge}",
            f"runs without hold      {found.without_hold}",
            f"prices without tool    {_listed(found.prices_without_tool)}",
            f"tools without price    {_listed(found.tools_without_price)}",
        )
    )


def _listed(slugs: list[str]) -> str:
    return f"{len(slugs)}: {', '.join(slugs)}" if slugs else "0"
