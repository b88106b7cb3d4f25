"""The packs on the shelf: what is offered now, the first ones of an installation, and which one would be enough."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from . import credits, money
from .models import Pack, new_id
from .price_list import PACKS


def install() -> int:
    """The shipped packs are there, where there was none of that name; how many were made. Staff's are left alone."""
    known = set(Pack.objects.values_list("slug", flat=True))
    new = [Pack(**pack) for pack in PACKS if pack["slug"] not in known]
    Pack.objects.bulk_create(new, ignore_conflicts=True)
    return len(new)


def offered() -> list[Pack]:
    """What can be bought now, in its order; nothing where no Stripe is set up. One query, or none."""
    return list(Pack.objects.filter(is_offered=True)) if settings.STRIPE_IS_SET_UP else []


def enough_for(missing: int, among: list[Pack]) -> Pack | None:
    """The smallest pack with at least so many microcredits; the largest where none has; None where there is none."""
    by_size = sorted(among, key=lambda pack: (pack.credits, pack.price_minor))
    return next((pack for pack in by_size if pack.credits >= missing), by_size[-1] if by_size else None)


def on_shelf(best: str = "") -> list[dict[str, Any]]:
    """What can be bought now, as pages show it, each with a key of its own. `best`: the slug to point at."""
    return [in_words(pack, is_best=pack.slug == best) for pack in offered()]


def in_words(pack: Pack, *, is_best: bool = False) -> dict[str, Any]:
    """A pack as pages show it, with a new key: one press buys one."""
    each = money.each(pack.price_minor, pack.credits, pack.currency)
    return {
        "slug": pack.slug,
        "title": pack.title,
        "credits": credits.short(pack.credits),
        "price": money.short(pack.price_minor, pack.currency),
        "each": f"{each} a credit" if each else "",
        "keep_months": pack.keep_months,
        "is_best": is_best,
        "key": str(new_id()),
    }


def url_of(slug: str) -> str:
    """The page of credits, where that pack is pointed at."""
    return f"/account/credits?pack={slug}#buy"
