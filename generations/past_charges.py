"""The charged jobs of an operation, for the rehearsal of a draft price (N12)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tools_registry.rehearse_price import Past

from .models import Generation


def jobs_since(operation: str, since: datetime) -> Iterator[Past]:
    """What was asked, what was delivered and what it cost. Reads only, in flat memory."""
    jobs = Generation.objects.filter(operation=operation, outcome=Generation.Outcome.CHARGED, charged_at__gt=since)
    for inputs, delivered, charged in jobs.values_list("inputs", "delivered", "charged_amount").iterator(2000):
        yield Past(inputs, delivered or {}, charged or 0)
