from typing import Any

from django.core.management.base import BaseCommand

from billing import clock, packs
from generations import roles, routes
from generations.models import SettlementRule
from generations.settlement import SHIPPED_RULES
from tools_registry.catalogue import SHIPPED_COSTS
from tools_registry.models import ToolCost, ToolSwitch
from tools_registry.registry import TOOLS


class Command(BaseCommand):
    help = (
        "Puts the shipped prices, rules, routes, roles and packs where there are none yet; never touches what "
        "staff have made."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        priced = set(ToolCost.objects.values_list("tool", flat=True))
        costs = [ToolCost(valid_from=now, **cost) for cost in SHIPPED_COSTS if cost["tool"] not in priced]
        ToolCost.objects.bulk_create(costs, ignore_conflicts=True)
        columns = ("phase", "provider", "operation", "status", "code")
        known = set(SettlementRule.objects.values_list(*columns))
        rules = [SettlementRule(**rule) for rule in SHIPPED_RULES]
        new = [rule for rule in rules if tuple(getattr(rule, column) for column in columns) not in known]
        SettlementRule.objects.bulk_create(new, ignore_conflicts=True)
        routes_made = routes.install()
        roles_made = roles.install()
        packs_made = packs.install()
        switches = [ToolSwitch(tool=slug, changed_at=now) for slug in TOOLS]
        ToolSwitch.objects.bulk_create(switches, ignore_conflicts=True)
        self.stdout.write(
            f"{len(costs)} prices, {len(new)} settlement rules, {routes_made} routes, {roles_made} roles and "
            f"{packs_made} packs installed, {len(TOOLS)} tools listed"
        )
