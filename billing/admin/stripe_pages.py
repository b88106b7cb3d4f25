"""Where the same thing stands at Stripe: a link into Stripe's own pages, made of its id."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.utils.html import format_html

from .parts import NOTHING, code

_NAME = re.compile(r"[A-Za-z0-9_]{1,255}", re.ASCII)


def at_stripe(folder: str, name: str | None) -> Any:
    """Stripe's id, with a link to its page there; the id alone in a rehearsal, which has no such pages."""
    if not name:
        return NOTHING
    if settings.STRIPE_REHEARSAL or not _NAME.fullmatch(name):
        return code(name)
    mode = "" if settings.STRIPE_LIVE_MODE else "test/"
    page = f"https://dashboard.stripe.com/{mode}{folder}/{name}"
    return format_html('<code>{}</code> <a class="row-link" rel="noreferrer" href="{}">at Stripe</a>', name, page)
