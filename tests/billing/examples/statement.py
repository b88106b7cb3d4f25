"""A table in a docstring, read row by row while the acts are done: every number in it is compared with the ledger's.

Columns after "what": balance, held, frozen, debt, available; a day ("yesterday", "today") where the example sets one;
every other name is a lot, and its number what remains of it. The column "when" is for the reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

from billing import credits
from billing.models import Lot

from ..purse import Purse


class Statement:
    """The rows of a docstring's table, to be met one after another."""

    def __init__(self, purse: Purse, doc: str | None) -> None:
        lines = [line.strip() for line in (doc or "").splitlines() if "|" in line and "---" not in line]
        table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        self.names = table[0]
        self.rows: Iterator[list[str]] = iter(table[1:])
        self.purse = purse
        self.lots: dict[str, UUID] = {}
        self.more: dict[str, Callable[[], int]] = {}

    def row(self, what: str) -> None:
        """The act just done is the table's next row, with all its numbers."""
        row = dict(zip(self.names, next(self.rows), strict=True))
        assert row["what"] == what
        written = {name: cell for name, cell in row.items() if name not in ("when", "what")}
        assert {name: credits.format(self.value(name)) for name in written} == written, what

    def value(self, name: str) -> int:
        account = self.purse.account
        if name in self.more:
            return self.more[name]()
        if name in self.lots:
            return Lot.objects.get(id=self.lots[name]).remaining
        return 0 if name not in NUMBERS else int(getattr(account, name))

    def end(self) -> None:
        """The whole table was met."""
        assert next(self.rows, None) is None


NUMBERS = ("balance", "held", "frozen", "debt", "available")


def c(text: str) -> int:
    """Credits as microcredits."""
    return credits.parse(text)
