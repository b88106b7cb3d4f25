from collections import Counter
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from billing import credits
from generations import rounds, safety_net

ASKED_AT_ONCE = 100


class Command(BaseCommand):
    help = (
        "Finds jobs of any age that their provider has failed and whose credits are still charged or held, and gives "
        "the credits back, once. Jobs that nobody has heard of for an hour are asked about first. --dry-run only shows."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Show what is wrong and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        is_dry = options["dry_run"]
        self._ask_about_the_unheard(is_dry)
        done: Counter[str] = Counter()
        amount = 0
        for wrong in list(safety_net.find_wrong()):
            if not is_dry and not safety_net.put_right(wrong):
                done["left"] += 1
                self.stdout.write(f"left     {wrong.job} {wrong.what}: it could not be put right, see the log")
                continue
            done[wrong.what] += 1
            amount += wrong.amount
            word = "would be " if is_dry else ""
            act = "refunded" if wrong.what == "charged" else "released"
            self.stdout.write(f"{word}{act} {wrong.job} {credits.format(wrong.amount)}")
        verb = "would be put right" if is_dry else "put right"
        self.stdout.write(
            f"{done['charged']} charged and {done['open']} open {verb}, {credits.format(amount)} credits in all"
        )
        if done["left"]:
            raise SystemExit(1)

    def _ask_about_the_unheard(self, is_dry: bool) -> None:
        """The verdicts that a stopped worker never fetched are in, and settled as ever."""
        ids = iter(list(safety_net.unheard(hours=1).values_list("id", flat=True)))
        asked = 0
        while some := list(islice(ids, ASKED_AT_ONCE)):
            if not is_dry:
                rounds.ask_now(some)
            asked += len(some)
        if asked:
            self.stdout.write(f"{asked} without an answer for an hour {'would be' if is_dry else 'were'} asked about")
