"""The audit trail: who did, or was refused, what. Rows are added and never changed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework.utils.encoders import JSONEncoder

from .models import Audit


def record(
    act: str,
    *,
    account: UUID | None = None,
    actor: str,
    is_refusal: bool = False,
    code: str = "",
    amount: int = 0,
    subject: str = "",
    facts: dict[str, Any] | None = None,
    request_id: str = "",
) -> Audit:
    """The trail has one row more, in the caller's transaction: an act vanishes with what it did.

    A refusal is recorded after its transaction was rolled back. `amount` counts toward what a member of staff may do
    alone. One insert, no lock.
    """
    return Audit.objects.create(
        act=act,
        account_id=account,
        actor=actor,
        is_refusal=is_refusal,
        code=code,
        amount=amount,
        subject=subject,
        facts=_plain(facts or {}),
        request_id=request_id,
    )


def _plain(value: Any) -> Any:
    """`value` as JSON knows it: times, ids and decimals as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | bool):
        return value
    try:
        return _plain(JSONEncoder().default(value))
    except TypeError:
        return str(value)
