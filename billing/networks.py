"""How many new accounts one address and one network may bring on a UTC day, counted in the shared cache.

An address is one IPv4 or a /64 of IPv6, which is one household's; a network is an IPv4 /24 or an IPv6 /48. Both are
those of the connection, or of the last X-Forwarded-For where one proxy stands in front (HOLDFAST_BEHIND_PROXY): what a
client writes there itself is never believed.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings
from rest_framework.throttling import BaseThrottle

from . import alerts, clock, counters

DAY = timedelta(days=1)
# So many days ahead a first day is looked for on which there is room for one more Free plan.
DAYS_AHEAD_MAX = 90


def of(request: Any) -> tuple[str, str]:
    """The address and the network that a request comes from, as blocks: "192.0.2.7/32" and "192.0.2.0/24"."""
    told = BaseThrottle().get_ident(request) or ""
    try:
        address = ip_address(told.strip().strip("[]").partition("%")[0])
    except ValueError:
        return told, told  # nothing that can be read: all of these are one network
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(ip_network((address, 64), strict=False)), str(ip_network((address, 48), strict=False))
        address = address.ipv4_mapped
    return f"{address}/32", str(ip_network((address, 24), strict=False))


def may_sign_up(request: Any) -> bool:
    """One more new account is counted; False, with an alert for staff, where its address or network had its most."""
    address, network = of(request)
    today = _midnight(clock.now())
    bounds = (
        ("address", address, settings.SIGN_UPS_OF_ADDRESS_MAX),
        ("network", network, settings.SIGN_UPS_OF_NETWORK_MAX),
    )
    for kind, place, most in bounds:
        if _count(f"sign-ups:{kind}:{place}", today) > most:
            alerts.open_alert(
                "sign_ups_bounded",
                key=network,
                sentence=f"Sign-ups from {place} reached {most} on one day; more of them are refused until tomorrow.",
                facts={kind: place, "day": f"{today:%Y-%m-%d}"},
            )
            return False
    return True


def free_plan_waits_until(request: Any) -> datetime | None:
    """When a new account's Free plan gives its first credits: None for now, else the first day with room for it.

    Whoever comes from a network that had its most for today takes a place of a later day.
    """
    _, network = of(request)
    today = _midnight(clock.now())
    most = settings.FREE_PLANS_OF_NETWORK_MAX
    days = (today + DAY * ahead for ahead in range(DAYS_AHEAD_MAX))
    day = next(
        (day for day in days if _count(f"free-plans:{network}", day, today) <= most), today + DAY * DAYS_AHEAD_MAX
    )
    if day == today:
        return None
    alerts.open_alert(
        "free_plans_wait",
        key=network,
        sentence=f"More than {most} new accounts from {network} on one day; the rest get their free credits later.",
        facts={"network": network, "day": f"{today:%Y-%m-%d}"},
    )
    return day


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def _count(name: str, day: datetime, today: datetime | None = None) -> int:
    """One more on that day. The counter outlives the day by an hour."""
    seconds = int((day - (today or day) + DAY + timedelta(hours=1)).total_seconds())
    return counters.add_one(f"{name}:{day:%Y-%m-%d}", seconds)
