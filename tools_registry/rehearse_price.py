"""What the last 30 days would have cost under a draft price (N12): every charge priced again. Nothing moves.

A room that charges by these prices adds how its charges are found to `PASTS`: tools their runs here, the rooms above
what is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from . import pricing, registry
from .models import ToolRun

SPAN = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Past:
    """One charge: what its price was made of, and what it came to in microcredits."""

    inputs: Mapping[str, Any]
    delivered: Mapping[str, Any]
    charged: int


PASTS: list[Callable[[str, datetime], Iterable[Past]]] = []


@dataclass(slots=True)
class Rehearsal:
    """The charges of a span under two prices, in microcredits."""

    charges: int = 0
    before: int = 0
    after: int = 0
    dearer: int = 0
    cheaper: int = 0
    # Its quantities say nothing under the draft.
    unpriceable: int = 0
    rise_max: int = 0


def rehearse(model: str, rates: Mapping[str, Any], pasts: Iterable[Past]) -> Rehearsal:
    """Every charge beside what the draft asks for it. One pass, in flat memory."""
    found = Rehearsal()
    for past in pasts:
        found.charges += 1
        try:
            # No charge is above what was held, and the draft would have held its own maximum.
            held = pricing.estimate(model, rates, past.inputs).max
            price = min(pricing.price(model, rates, past.inputs, past.delivered), held)
        except (pricing.InvalidRates, LookupError, ValueError, TypeError):
            found.unpriceable += 1
            continue
        found.before += past.charged
        found.after += price
        found.dearer += price > past.charged
        found.cheaper += price < past.charged
        found.rise_max = max(found.rise_max, price - past.charged)
    return found


def of_last_month(slug: str, model: str, rates: Mapping[str, Any], now: datetime) -> Rehearsal:
    """The last 30 days of a tool or operation under a draft price. Reads every charge of them."""
    return rehearse(model, rates, (past for find in PASTS for past in find(slug, now - SPAN)))


def runs_since(slug: str, since: datetime) -> Iterator[Past]:
    """The charged runs of a tool."""
    tool = registry.TOOLS.get(slug)
    if tool is None or tool.function is None:
        return
    runs = ToolRun.objects.filter(tool=slug, state=ToolRun.State.SUCCEEDED, ended_at__gt=since)
    columns = ("cpu_seconds", "wall_seconds", "peak_memory_bytes", "charged_amount")
    for cpu, wall, memory, charged in runs.values_list(*columns).iterator(chunk_size=2000):
        used = {"cpu_seconds": cpu, "seconds": wall, "peak_memory_bytes": memory}
        yield Past(tool.bounds, used, charged or 0)


PASTS.append(runs_since)
