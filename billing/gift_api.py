"""Using a gift code: wrong ones are counted, so that nobody tries many."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.response import Response

from . import audit, credits, gifts, idempotency, ledger, people, throttles
from .models import GiftUse, new_id
from .periods import months_after
from .rest import AmountField, MomentField, Strict, TextField, View, read
from .schema import describe

Answer = serializers.Serializer[Any]

# Wrong codes a minute, for an account and for an address.
WRONG_MAX = 10


class RedeemCode(Strict):
    code = TextField(max_length=100, help_text="In any case, with or without its dashes")


class RedeemAnswer(Answer):
    id = serializers.UUIDField()
    credits = AmountField(source="code.credits")
    expires_at = MomentField(help_text="Until when its credits can be spent")
    entry_id = serializers.UUIDField(help_text="The statement's line")
    redeemed_at = MomentField(source="created_at")


class Redeem(View):
    """A gift code and its credits."""

    act = "redeem"

    @describe(
        RedeemAnswer,
        status=201,
        body=RedeemCode,
        is_keyed=True,
        refuses=(
            gifts.GiftCodeInvalid,
            gifts.GiftCodeUsedUp,
            gifts.GiftCodeAlreadyYours,
            gifts.GiftCodeOwn,
            gifts.RedeemingFrozen,
        ),
        takes={"code": "7KQX2M-9FJ3TW-0BHN5C-R8DVPA"},
        gives={
            "id": "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11",
            "credits": "50",
            "expires_at": "2027-05-01T12:00:00Z",
            "entry_id": "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c12",
            "redeemed_at": "2026-05-01T12:00:00Z",
        },
        summary="Uses a gift code: its credits are the account's, once",
    )
    def post(self, request: Any) -> Response:
        wanted = read(RedeemCode, request.data)
        key = idempotency.key_of(request, status=201, made=new_id())
        use, repeat = redeem(request, wanted["code"], key)
        use.expires_at = months_after(use.created_at, use.code.keep_months)  # type: ignore[attr-defined]
        return idempotency.answer_once(request, repeat, 201, RedeemAnswer(use).data)


def redeem(request: Any, text: str, key: ledger.Key | None = None) -> tuple[GiftUse, ledger.Repeat | None]:
    """The code's credits are the request's account's, and the audit trail says who used it; wrong codes are counted.

    Raises what gifts.redeem does, and TooManyRequests.
    """
    account = people.account_of(request)
    guess = throttles.begin_guess(request, "gift", WRONG_MAX)
    try:
        use, repeat = gifts.redeem(account, text, request.user, actor=people.actor_of(request), key=key)
    except gifts.GiftCodeInvalid:
        raise
    except BaseException:
        throttles.right_guess(guess)
        raise
    throttles.right_guess(guess)
    if repeat is None:
        audit.record(
            Redeem.act,
            account=account,
            actor=people.actor_of(request),
            subject=f"giftcode:{use.code_id}",
            facts={"credits": credits.format(use.code.credits), "code": f"…{use.code.hint}"},
            request_id=getattr(request, "request_id", ""),
        )
    return use, repeat
