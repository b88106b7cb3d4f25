"""Gift codes: made by staff, shown once, kept as hashes; whoever has one may have its credits, once an account.

Lock order: the code, then the account (ledger).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet

from . import book, clock, credits, errors, ledger, people, steps
from .models import GiftCode, GiftUse, new_id
from .periods import months_after

# Letters and digits that cannot be taken for one another: https://www.crockford.com/base32.html
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 24  # 120 bits, of which staff see the last 20
GROUP = 6
HINT = 4
READ_AS = str.maketrans("OIL", "011")


class GiftCodeInvalid(errors.BillingError):
    """Mistyped, unknown, revoked and expired look alike: nobody learns which codes there are."""

    code = "gift_code_invalid"
    status = 422
    sentence = "This code gives nothing."
    reason = "It is mistyped, has expired, or was never given out."
    action = "Compare it letter by letter with what you were given."


class GiftCodeUsedUp(errors.BillingError):
    code = "gift_code_used_up"
    status = 422
    sentence = "This code is used up."
    reason = "As many accounts as it was made for have used it."
    action = "Ask whoever gave it to you for another."


class GiftCodeAlreadyYours(errors.BillingError):
    code = "gift_code_already_yours"
    status = 422
    sentence = "This account has used this code already."
    reason = "A code gives its credits to an account once."
    action = "Its credits stand on the statement; nothing is left to do."


class GiftCodeOwn(errors.BillingError):
    code = "gift_code_own"
    status = 422
    sentence = "Whoever makes a code cannot use it."
    reason = "Staff never give credits to an account of their own."
    action = "Ask a colleague who does not belong to this account."


class RedeemingFrozen(errors.AccountFrozen):
    sentence = "This account is frozen. No code was used."


class CodesMadeBefore(errors.BillingError):
    code = "codes_made_before"
    sentence = "These codes were made before. They were shown then, and are shown only once."
    reason = "The same form was sent twice."
    action = "Look for them in what you copied; if they are lost, revoke them and make new ones."


# The code itself


def new_code() -> str:
    """A code as people read it, which nobody can guess."""
    text = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return "-".join(text[at : at + GROUP] for at in range(0, LENGTH, GROUP))


def normal(text: str) -> str:
    """The code as it is hashed, however it was typed; empty for what cannot be one."""
    typed = re.sub(r"[\s\-\u2010-\u2015_.]+", "", text[:200]).upper().translate(READ_AS)
    return typed if len(typed) == LENGTH and set(typed) <= set(ALPHABET) else ""


def hash_of(text: str) -> bytes:
    """What is kept of a code."""
    return hashlib.sha256(normal(text).encode()).digest()


def hint_of(text: str) -> str:
    return normal(text)[-HINT:]


# Making


@dataclass(frozen=True, slots=True)
class Terms:
    credits: int
    uses_max: int
    keep_months: int
    expires_at: datetime | None
    note: str


def make(
    terms: Terms, kept: Sequence[tuple[bytes, str]], *, batch: UUID, made_by: Any, approved_by: Any, at: datetime
) -> None:
    """A code stands for each hash and hint, on the same terms. Raises CodesMadeBefore where the batch is there."""
    if GiftCode.objects.filter(batch=batch).exists():
        raise CodesMadeBefore
    GiftCode.objects.bulk_create(
        GiftCode(
            batch=batch,
            hash=hash,
            hint=hint,
            credits=terms.credits,
            uses_max=terms.uses_max,
            keep_months=terms.keep_months,
            expires_at=terms.expires_at,
            note=terms.note,
            made_by=made_by,
            approved_by=approved_by,
            made_at=at,
        )
        for hash, hint in kept
    )


def revoke(code: UUID, at: datetime) -> bool:
    """Nobody can use the code any more; what it gave stays. False where it was revoked before."""
    return GiftCode.objects.filter(id=code, revoked_at=None).update(revoked_at=at) == 1


# Using


def _locked() -> QuerySet[GiftCode]:
    return GiftCode.objects.select_for_update(no_key=True, of=("self",))


def redeem(
    account: UUID, text: str, user: Any, *, actor: str, key: ledger.Key | None = None
) -> tuple[GiftUse, ledger.Repeat | None]:
    """The code's credits are the account's: a promotional lot; returns the use, and the repeat where `key` was known.

    Locks the code, then the account; what the account owes is settled by it first. Raises GiftCodeInvalid,
    GiftCodeUsedUp, GiftCodeAlreadyYours, GiftCodeOwn, RedeemingFrozen, IdempotencyConflict.
    """
    with transaction.atomic():
        code = _locked().filter(hash=hash_of(text)).first()
        if code is None:
            raise GiftCodeInvalid
        head = ledger.lock([account]).get(account)
        if head is None:
            raise errors.AccountNotFound
        moment = clock.now()
        mine = GiftUse.objects.filter(code=code, account=account).first()
        if mine is None:
            _refuse(code, account, head, moment)
        elif key is None:
            raise _already(code, mine)
        # refusing ends, but for a key that names another request

        use = mine or GiftUse(id=key.made if key else new_id(), account_id=account, user=user, code=code)

        def write(done: list[ledger.Outcome]) -> None:
            if mine is not None:
                raise _already(code, mine)
            use.entry_id, use.created_at = done[0].line.id, moment
            use.save(force_insert=True)
            GiftCode.objects.filter(id=code.id).update(uses=F("uses") + 1)

        outcome = ledger.post_one(account, _grant(code, use, actor, moment), key=key, also=write)
        if outcome.repeat is not None:
            use = GiftUse.objects.get(account=account, id=outcome.repeat.made)
    return use, outcome.repeat


def _refuse(code: GiftCode, account: UUID, head: book.Head, moment: datetime) -> None:
    is_over = code.expires_at is not None and code.expires_at <= moment
    if code.revoked_at is not None or is_over:
        raise GiftCodeInvalid
    staff = [person for person in (code.made_by_id, code.approved_by_id) if person is not None]
    if any(people.may(person, account) for person in staff):
        raise GiftCodeOwn
    if code.uses >= code.uses_max:
        raise GiftCodeUsedUp
    if head.is_frozen:
        raise RedeemingFrozen


def _already(code: GiftCode, mine: GiftUse) -> GiftCodeAlreadyYours:
    return GiftCodeAlreadyYours(credits=credits.format(code.credits), redeemed_at=mine.created_at)


def _grant(code: GiftCode, use: GiftUse, actor: str, moment: datetime) -> steps.Grant:
    return steps.Grant(
        actor=actor,
        user=use.user_id,
        amount=code.credits,
        source="gift",
        is_promotional=True,
        expires_at=months_after(moment, code.keep_months),
        description=f"{credits.short(code.credits)} credits of a gift code",
        reason=f"Code ending in {code.hint}",
        occurred_at=moment,
    )
