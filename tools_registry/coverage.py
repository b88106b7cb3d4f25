"""Does everything that can be run earn its credits (N4)? What was never charged, and where price and tool do not meet.

A run without its hold, or a success without its line, cannot be stored; the report counts them all the same, so that
it proves what it says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef

from billing import clock
from billing.models import Hold

from . import registry
from .models import ToolCost


@dataclass(frozen=True, slots=True)
class Coverage:
    """Slugs and counts; `is_whole` when nothing billable is without a price or a charge that belongs to it."""

    entries: int
    # In the catalogue, with a price, and never charged to anybody.
    never_charged: list[str]
    runs: int
    charged: int
    # Ended well, and no line says that they were paid.
    without_charge: int
    without_hold: int
    # There is a price and nothing that it is the price of.
    prices_without_tool: list[str]
    tools_without_price: list[str]

    @property
    def is_whole(self) -> bool:
        return not (self.without_charge or self.without_hold or self.prices_without_tool or self.tools_without_price)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_whole": self.is_whole}


# Whatever stood on a price and was captured, by tools and by the rooms above alike: a hold knows its price.
_CHARGED = """
SELECT DISTINCT cost.tool
  FROM tools_registry_toolcost cost
 WHERE EXISTS (SELECT FROM billing_hold hold
                WHERE hold.price_version = cost.id AND (hold.state = 'captured' OR hold.captured_late IS NOT NULL))
"""
_RUNS = """
SELECT count(*), count(*) FILTER (WHERE run.state = 'succeeded'),
       count(*) FILTER (WHERE run.state = 'succeeded' AND line.id IS NULL),
       count(*) FILTER (WHERE hold.id IS NULL)
  FROM tools_registry_toolrun run
  LEFT JOIN billing_hold hold ON hold.account_id = run.account_id AND hold.id = run.hold_id
  LEFT JOIN billing_entry line ON line.account_id = run.account_id AND line.id = run.entry_id AND line.kind = 'capture'
"""


def look() -> Coverage:
    """The report as of now; reads only. Goes over every run."""
    with connection.cursor() as cursor:
        cursor.execute(_CHARGED)
        charged = {tool for (tool,) in cursor.fetchall()}
        cursor.execute(_RUNS)
        runs, succeeded, without_charge, without_hold = cursor.fetchone()
    without_tool, without_price = unmatched()
    listed = set(registry.priced())
    return Coverage(
        entries=len(listed),
        never_charged=sorted(listed - charged),
        runs=runs,
        charged=succeeded,
        without_charge=without_charge,
        without_hold=without_hold,
        prices_without_tool=without_tool,
        tools_without_price=without_price,
    )


def unmatched() -> tuple[list[str], list[str]]:
    """Prices in force without a tool, and tools without a price in force. A query or two."""
    priced = set(ToolCost.objects.filter(valid_from__lte=clock.Now()).values_list("tool", flat=True))
    listed = set(registry.priced())
    odd = priced - listed
    if odd:
        # What was taken away keeps its prices, for what was run under them.
        used = Hold.objects.filter(price_version=OuterRef("id"))
        odd -= set(ToolCost.objects.filter(Exists(used), tool__in=odd).values_list("tool", flat=True))
    return sorted(odd), sorted(listed - priced)
