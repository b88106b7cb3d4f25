"""What is sold on a fresh installation. Only where there is none of that name yet: afterwards staff decide."""

from __future__ import annotations

from typing import Any

from .credits import MICRO

# The plan of everybody who has shown that an address is theirs, and who pays for none.
FREE = "free"

PLANS: list[dict[str, Any]] = [
    {
        "slug": FREE,
        "title": "Free",
        "price_minor": 0,
        "monthly_credits": 300 * MICRO,
        "per_day": 30 * MICRO,
        "open_holds_max": 10,
        "jobs_at_once_max": 5,
        "features": ["Up to 30 of them a day", "Bought credits have no daily cap"],
        "position": 10,
    },
    {
        "slug": "supporter",
        "title": "Supporter",
        "price_minor": 4500,
        "monthly_credits": 3000 * MICRO,
        "per_day": 300 * MICRO,
        "open_holds_max": 30,
        "jobs_at_once_max": 15,
        "features": ["Up to 300 of them a day", "Bought credits have no daily cap"],
        "position": 20,
    },
    {
        "slug": "pro",
        "title": "Pro",
        "price_minor": 16_000,
        "monthly_credits": 12_000 * MICRO,
        "per_day": 2000 * MICRO,
        "open_holds_max": 50,
        "jobs_at_once_max": 40,
        "features": ["Up to 2,000 of them a day", "Bought credits have no daily cap"],
        "position": 30,
    },
]

PACKS: list[dict[str, Any]] = [
    {"slug": "starter", "title": "Starter", "price_minor": 1000, "credits": 500 * MICRO, "position": 10},
    {"slug": "standard", "title": "Standard", "price_minor": 2500, "credits": 1400 * MICRO, "position": 20},
    {"slug": "studio", "title": "Studio", "price_minor": 5000, "credits": 3000 * MICRO, "position": 30},
]
