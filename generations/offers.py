"""What can be made here now: each operation that has a price and somebody to make it, with both."""

from __future__ import annotations

from dataclasses import dataclass

from billing import clock
from tools_registry import registry
from tools_registry.models import ToolCost

from . import routes
from .providers.base import Provider


@dataclass(frozen=True, slots=True)
class Offer:
    """An operation on offer: its price in force, and who may be asked to make it, the default one first."""

    operation: registry.Operation
    cost: ToolCost
    providers: list[Provider]


def on_offer() -> list[Offer]:
    """Every operation that can be asked for now, in the catalogue's order. One query, and those of the routes."""
    in_force = ToolCost.objects.filter(tool__in=registry.OPERATIONS, valid_from__lte=clock.Now())
    costs = {cost.tool: cost for cost in in_force.order_by("tool", "-valid_from").distinct("tool")}
    found = []
    for slug, operation in registry.OPERATIONS.items():
        makers = routes.offered(slug) if slug in costs else []
        if makers:
            found.append(Offer(operation, costs[slug], makers))
    return found


def kind_of(operation: registry.Operation) -> str:
    """The operation's short name in addresses: ai/image is image."""
    return operation.slug.rpartition("/")[2]


def form_url(operation: registry.Operation) -> str:
    """Where the operation's form is."""
    return "/generate" if operation == registry.VIDEO else f"/generate/{kind_of(operation)}"
