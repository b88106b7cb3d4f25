"""`manage.py reconcile`: every invariant of the ledger checked on a live system; exit 1, naming rows, if one broke."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from billing.reconcile import Report, reconcile


class Command(BaseCommand):
    help = "Check every invariant of the ledger on a live system, changing nothing. Exit 1 where one is broken."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one object")
        parser.add_argument("--account", type=UUID, action="append", help="only this account; may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        report = reconcile(options["account"])
        self.stdout.write(_as_json(report) if options["json"] else _as_text(report))
        if not report.is_clean:
            raise CommandError(f"{len(report.findings)} findings", returncode=1)


def _as_json(report: Report) -> str:
    return json.dumps(
        {
            "clean": report.is_clean,
            "accounts": report.accounts,
            "entries": report.entries,
            "findings": [asdict(finding) for finding in report.findings],
        },
        default=str,
    )


def _as_text(report: Report) -> str:
    if report.is_clean:
        return f"clean: {report.accounts} accounts, {report.entries} entries"
    return "\n".join(
        f"{finding.law}: {f'account {finding.account}: ' if finding.account else ''}{' '.join(finding.rows)}: "
        f"{finding.sentence}"
        for finding in report.findings
    )
