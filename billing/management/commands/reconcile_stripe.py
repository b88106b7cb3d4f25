"""`manage.py reconcile_stripe`: what Stripe told and we missed is applied; payments and grants stand side by side."""

from argparse import ArgumentParser
from typing import Any

import stripe
from django.core.management.base import BaseCommand, CommandError

from billing import credits, money
from billing.errors import BillingError
from billing.stripe_reconcile import HOURS, Line, Report, reconcile_stripe


class Command(BaseCommand):
    help = "Apply what Stripe told and we did not hear; compare each payment with its grant. Exit 1 where one differs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--hours", type=int, default=HOURS, help=f"how far back to look (default {HOURS})")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = reconcile_stripe(options["hours"])
        except stripe.StripeError as error:
            raise CommandError(f"Stripe could not be asked: {error}", returncode=1) from error
        except BillingError as refusal:
            raise CommandError(f"{refusal.message} {refusal.reason}", returncode=1) from refusal
        self.stdout.write(_as_text(report))
        if report.differing:
            raise CommandError(f"{len(report.differing)} of {len(report.lines)} payments differ", returncode=1)


HEADS = (
    *("payment at Stripe", "for", "paid there", "given back there", "sold here", "granted here", "taken back here"),
    *("stays", ""),
)


def _as_text(report: Report) -> str:
    table = [HEADS, *(_cells(line) for line in report.lines)]
    widths = [max(len(row[at]) for row in table) for at in range(len(HEADS))]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    events = f"{report.events} events of the last {report.hours} h, {report.missed} of them missed until now"
    waiting = f"; {report.waiting} wait to be applied" if report.waiting else ""
    total = f"{len(report.lines)} payments, {len(report.differing)} differ"
    return "\n".join([f"{events}{waiting}", *(rows if report.lines else []), *_sums(report.lines), total])


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.name,
        line.title,
        money.words(line.paid, line.currency),
        money.words(line.back, line.currency),
        money.words(line.sold, line.currency),
        credits.display(line.granted),
        credits.display(line.taken),
        credits.display(line.granted - line.taken),
        "equal" if line.is_equal else f"differs: {_expected(line)}",
    )


def _expected(line: Line) -> str:
    if line.granted_expected is None or line.taken_expected is None:
        return "money without a sale of ours"
    return f"{credits.display(line.granted_expected)} and {credits.display(line.taken_expected)} expected"


def _sums(lines: list[Line]) -> list[str]:
    """Payments are grants less claw-backs: each currency in one line."""
    said = []
    for currency in sorted({line.currency for line in lines}):
        mine = [line for line in lines if line.currency == currency]
        paid, back = sum(line.paid for line in mine), sum(line.back for line in mine)
        granted, taken = sum(line.granted for line in mine), sum(line.taken for line in mine)
        said.append(
            f"{money.words(paid, currency)} paid − {money.words(back, currency)} given back = "
            f"{money.words(paid - back, currency)}; {credits.display(granted)} granted − {credits.display(taken)} "
            f"taken back = {credits.display(granted - taken)} credits"
        )
    return said
