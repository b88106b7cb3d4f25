"""Which provider runs an operation: the staff's routes, in their order; where there are none, the settings' own."""

from __future__ import annotations

import time

from django.conf import settings

from . import providers
from .models import Route
from .providers.base import NotOffered, Provider

# For how long a process goes on with the routes that it has read: a change counts within seconds, everywhere.
KEPT_SECONDS = 3.0


class _Kept:
    """The routes that are offered, as they were read last."""

    def __init__(self) -> None:
        self.read_at = -KEPT_SECONDS
        self.names: dict[str, list[str]] = {}
        self.known: set[str] = set()


_kept = _Kept()


def forget() -> None:
    """The next question reads the routes again."""
    _kept.read_at = -KEPT_SECONDS


def _names(operation: str) -> list[str]:
    if time.monotonic() - _kept.read_at >= KEPT_SECONDS:
        found: dict[str, list[str]] = {}
        rows = list(Route.objects.order_by("position", "provider"))
        for route in rows:
            if route.is_offered:
                found.setdefault(route.operation, []).append(route.provider)
        _kept.names, _kept.known, _kept.read_at = found, {route.operation for route in rows}, time.monotonic()
    if operation in _kept.known:
        return _kept.names.get(operation, [])
    return list(settings.DEFAULT_PROVIDERS.get(operation, []))


def offered(operation: str) -> list[Provider]:
    """The providers that may be chosen for an operation, the default one first; those not set up here are left out."""
    found = []
    for name in _names(operation):
        try:
            provider = providers.get(name)
        except NotOffered:
            if name not in providers.PROVIDERS and operation not in _kept.known:
                raise  # a setting that names nothing is a mistake to be heard
            continue
        if operation in provider.operations:
            found.append(provider)
    return found


def graph(operation: str, provider: str) -> dict[str, object] | None:
    """The graph that staff put in place of the provider's own for this operation; None where they did not."""
    found = Route.objects.filter(operation=operation, provider=provider).values_list("graph", flat=True).first()
    return found if isinstance(found, dict) else None


def install() -> int:
    """Every route of the settings' DEFAULT_PROVIDERS is there, as staff left it; says how many are new."""
    known = {(route.operation, route.provider) for route in Route.objects.all()}
    new = [
        Route(operation=operation, provider=name, position=10 * (1 + place))
        for operation, names in settings.DEFAULT_PROVIDERS.items()
        for place, name in enumerate(names)
        if (operation, name) not in known
    ]
    Route.objects.bulk_create(new, ignore_conflicts=True)
    forget()
    return len(new)
