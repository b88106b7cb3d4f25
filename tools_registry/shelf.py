"""What is on offer in the studio now: each tool's price and whether it can be used, as API and pages both tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from billing import clock, credits

from . import pricing, registry
from .models import ToolCost, ToolSwitch
from .studio import Tool

AVAILABILITY = {"available": "Ready to use", "beta": "In beta", "disabled": "Switched off"}


@dataclass(frozen=True, slots=True)
class Shelf:
    """Staff's switches and the prices in force, by their tools."""

    switches: Mapping[str, ToolSwitch]
    costs: Mapping[str, ToolCost]

    @classmethod
    def now(cls) -> Shelf:
        """Two queries."""
        in_force = ToolCost.objects.filter(tool__in=registry.TOOLS, valid_from__lte=clock.Now())
        costs = {cost.tool: cost for cost in in_force.order_by("tool", "-valid_from").distinct("tool")}
        return cls({row.tool: row for row in ToolSwitch.objects.all()}, costs)

    def availability_of(self, tool: Tool) -> str:
        """One of AVAILABILITY."""
        switch = self.switches.get(tool.slug)
        has_price = tool.function is None or tool.slug in self.costs
        if not has_price or (switch is not None and not switch.is_enabled):
            return "disabled"
        return "beta" if switch is not None and switch.is_beta else "available"

    def price_of(self, tool: Tool) -> tuple[int, int] | None:
        """The least and the most that a run of the tool can cost, as its price says; None without a price."""
        if tool.function is None:
            return 0, 0
        cost = self.costs.get(tool.slug)
        if cost is None:
            return None
        estimate = pricing.estimate(cost.model, cost.rates, tool.bounds)
        most = credits.parse(cost.rates["maximum"]) if cost.model == pricing.Measured.name else estimate.max
        return estimate.min, most


def example_of(tool: Tool) -> dict[str, Any]:
    """The example as inputs, with those of its files that can be pasted."""
    pasted = {}
    for of in tool.documents:
        if of.is_text and of.name in tool.example_files:
            pasted[of.name] = tool.example_files[of.name][1].decode("utf-8", "replace")
    return dict(tool.example) | pasted


def file_url(run: UUID, name: str) -> str:
    """Where a run's file is."""
    return f"/api/tool-runs/{run}/files/{name}"
