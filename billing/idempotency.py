"""A client's key: the same request sent again moves nothing and is answered as it was the first time.

The ledger looks the key up and keeps it, in the transaction that moves the money (`ledger.Key`); here is its way in
from a request, and the answer's way out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import transaction
from rest_framework.response import Response

from . import errors, ledger, people, refusals, throttles
from .models import IdempotencyKey, new_id

HEADER = "Idempotency-Key"


def key_of(request: Any, *, status: int, made: UUID, body: Any = None) -> ledger.Key | None:
    """The request's key, if it has one: by person or service, method and path, with the body's fingerprint.

    `body` stands for a body that is more than its JSON.
    Raises InvalidFields for anything but 1 to 255 printable ASCII characters.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not re.fullmatch(r"[\x20-\x7e]{1,255}", key):
        raise refusals.InvalidFields(fields={HEADER: ["Write 1 to 255 printable ASCII characters."]})
    return ledger.Key(
        actor=people.owner_of(request),
        scope=f"{request.method} {request.path}",
        key=key,
        fingerprint=fingerprint(request.data if body is None else body),
        status=status,
        made=made,
    )


def key_of_form(request: Any, page: str, key: str, wanted: Any, *, status: int = 200) -> ledger.Key:
    """The key that a page's form was drawn with stands for what is wanted: a second press of it does nothing more."""
    return ledger.Key(
        actor=people.owner_of(request),
        scope=f"POST {page}",
        key=key,
        fingerprint=fingerprint(wanted),
        status=status,
        made=new_id(),
    )


def fingerprint(body: Any) -> bytes:
    """SHA-256 of the body whatever the order of its fields and its white space."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).digest()


def once(account: UUID, key: ledger.Key | None, write: Callable[[], None]) -> ledger.Repeat | None:
    """What `write` writes is there, with the key, in one transaction; or the repeat that was found instead.

    For what moves no credits; the ledger keeps the keys of what does, in the same way. Locks the account. Raises
    AccountNotFound, IdempotencyConflict.
    """
    with transaction.atomic():
        if not ledger.lock([account]):
            raise errors.AccountNotFound
        if key is not None:
            known = repeat_of(account, key)
            if known is not None:
                return known
            IdempotencyKey.objects.create(
                **_names(account, key), fingerprint=key.fingerprint, status=key.status, made=key.made
            )
        write()
    return None


def repeat_of(account: UUID, key: ledger.Key | None) -> ledger.Repeat | None:
    """What the key made, where it was used before. Not the last word without the account's lock, which `once` takes.

    Raises IdempotencyConflict.
    """
    known = IdempotencyKey.objects.filter(**_names(account, key)).first() if key is not None else None
    if key is None or known is None:
        return None
    if bytes(known.fingerprint) != key.fingerprint:
        raise errors.IdempotencyConflict
    return ledger.Repeat(known.status, known.made)


def _names(account: UUID, key: ledger.Key) -> dict[str, Any]:
    return {"account_id": account, "actor": key.actor, "scope": key.scope, "key": key.key}


def answer(request: Any, outcome: ledger.Outcome, status: int, body: Any) -> Response:
    """The thing as it is now; for a repeat with the first status and the header that says so, and it cost nothing."""
    return answer_once(request, outcome.repeat, status, body)


def answer_once(request: Any, repeat: ledger.Repeat | None, status: int, body: Any) -> Response:
    """The same for what moves no credits."""
    if repeat is None:
        return Response(body, status=status)
    throttles.give_back(request)
    return Response(body, status=repeat.status, headers={"Idempotent-Replayed": "true"})
