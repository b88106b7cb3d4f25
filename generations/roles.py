"""Three kinds of staff, ready-made: who looks, who helps customers, who decides prices and rules. Staff change them."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Q

OURS = ("billing", "tools_registry", "generations")
# What else the desk shows, to look at.
SHOWN = {
    "auth": ("view_user", "view_group"),
    "djstripe": ("view_customer", "view_product", "view_price", "view_subscription", "view_invoice"),
}

# By role, what its people may do besides looking at everything.
ROLES: dict[str, tuple[str, ...]] = {
    "Auditor": (),
    "Desk": (
        "billing.refund_entry",
        "billing.refund_purchase",
        "billing.stop_top_up",
        "billing.replay_event",
        "billing.end_hold",
        "billing.clear_alert",
        "generations.settle_generation",
        "generations.waive_generation",
    ),
    "Treasurer": (
        "billing.decide_approval",
        "billing.add_pack",
        "billing.change_pack",
        "billing.add_plan",
        "billing.change_plan",
        "tools_registry.add_toolcost",
        "tools_registry.change_toolswitch",
        "generations.add_settlementrule",
        "generations.change_settlementrule",
        "generations.change_route",
    ),
}


def install() -> int:
    """The roles are there; one that exists stays as its staff made it. Says how many are new."""
    made = 0
    for name, acts in ROLES.items():
        with transaction.atomic():
            role, is_new = Group.objects.get_or_create(name=name)
            if is_new:
                role.permissions.set(_permissions(acts))
                made += 1
    return made


def _permissions(acts: tuple[str, ...]) -> list[Permission]:
    """Everything to look at, and these acts. Raises LookupError for an act that nobody knows."""
    wanted = Q(content_type__app_label__in=OURS, codename__startswith="view_")
    for app, names in SHOWN.items():
        wanted |= Q(content_type__app_label=app, codename__in=names)
    found = list(Permission.objects.filter(wanted))
    for act in acts:
        app, codename = act.split(".")
        named = Permission.objects.filter(content_type__app_label=app, codename=codename).first()
        if named is None:
            raise LookupError(f"There is no permission {act!r}.")
        found.append(named)
    return found
