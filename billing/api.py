"""The counter for programs and browsers: balance, statement, lots, limits, tokens, holds, audit, members.

A view validates, calls one verb, answers. What it reads and answers stands above it; each refusal in its `describe`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import Http404, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.response import Response

from . import (
    audit,
    checkout,
    clock,
    credits,
    errors,
    idempotency,
    ledger,
    money,
    people,
    plans,
    refusals,
    statement,
    steps,
    tokens,
    top_up_words,
    top_ups,
)
from .models import Account, Audit, AutoTopUp, Entry, Hold, Lot, Membership, Notice, SpendLimit, Token, new_id
from .rest import (
    AmountField,
    FlagField,
    IdField,
    MomentField,
    PageQuery,
    Strict,
    TextField,
    View,
    WholeField,
    page,
    read,
    read_query,
)
from .schema import describe
from .statement import explainers

__all__ = ["explainers"]

Answer = serializers.Serializer[Any]

# Balance


class BalanceQuery(Strict):
    at = MomentField(required=False, help_text="A moment in the past: the values after the last line written by then")


class PlanAnswer(Answer):
    tier = serializers.CharField(allow_null=True, help_text="Null without a plan")
    monthly_credits = AmountField()


class UseAnswer(Answer):
    used = AmountField(help_text="Committed: held, charged, less what was refunded")
    limit = AmountField(allow_null=True, help_text="The limit that leaves least; null where there is none")
    source = serializers.CharField(allow_null=True, help_text="Whose limit: plan, staff, person or member")
    resets_at = MomentField()


class UsageAnswer(Answer):
    day = UseAnswer()
    month = UseAnswer()


class AlertAnswer(Answer):
    level = serializers.CharField(help_text="info, good, warning or bad")
    title = serializers.CharField()
    body = serializers.CharField()
    link = serializers.CharField()
    at = MomentField(source="created_at")


class ExpiryAnswer(Answer):
    at = MomentField()
    amount = AmountField()


class BalanceAnswer(Answer):
    available = AmountField(help_text="What can be spent: balance − held − frozen")
    balance = AmountField()
    held = AmountField()
    frozen = AmountField()
    debt = AmountField()
    credits_balance = AmountField(source="available", help_text="The same as available")
    at = MomentField()
    plan = PlanAnswer(allow_null=True, help_text="Null for the past, as are the next four")
    tier = serializers.CharField(allow_null=True)
    tier_credits = AmountField(allow_null=True)
    usage = UsageAnswer(allow_null=True)
    alerts = AlertAnswer(many=True)
    next_expiry = ExpiryAnswer(allow_null=True)
    next_allocation = ExpiryAnswer(allow_null=True)


class Balance(View):
    """What the account has, now or at a moment in the past."""

    @describe(BalanceAnswer, query=BalanceQuery, summary="Balance, use against limits, what expires next")
    def get(self, request: Any) -> Response:
        asked = read_query(BalanceQuery, request)
        answer = _balance_then(self.account, asked["at"]) if "at" in asked else _balance_now(self.account, request.user)
        return Response(BalanceAnswer(answer).data)


def _values(values: statement.Values) -> dict[str, int]:
    return {name: getattr(values, name) for name in ("available", "balance", "held", "frozen", "debt")}


def _balance_now(account: UUID, user: Any) -> dict[str, Any]:
    values, lots, now = statement.values_now(account)
    expiry = statement.next_expiry(lots)
    enrollment = plans.in_force(account)
    allocation = plans.next_allocation(enrollment)
    tier = enrollment.plan.slug if enrollment is not None else None
    monthly = enrollment.plan.monthly_credits if enrollment is not None else 0
    return {
        **_values(values),
        "at": now,
        "plan": {"tier": tier, "monthly_credits": monthly},
        "tier": tier,
        "tier_credits": monthly,
        "usage": statement.use_of(account, user.pk, now),
        "alerts": list(Notice.objects.filter(account=account, seen_at=None).order_by("-id")[:20]),
        "next_expiry": {"at": expiry[0], "amount": expiry[1]} if expiry else None,
        "next_allocation": {"at": allocation[0], "amount": allocation[1]} if allocation else None,
    }


def _balance_then(account: UUID, at: datetime) -> dict[str, Any]:
    if at > clock.now():
        raise refusals.InvalidFields(fields={"at": ["This moment has not come yet."]})
    nothing: dict[str, Any] = {"plan": None, "tier": None, "tier_credits": None, "usage": None, "alerts": []}
    return {
        **_values(statement.values_at(account, at)),
        "at": at,
        **nothing,
        "next_expiry": None,
        "next_allocation": None,
    }


# Statement


class EntryAnswer(Answer):
    id = serializers.UUIDField()
    sequence = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=[kind.value for kind in Entry.Kind])
    amount = AmountField(help_text="The line's size, never negative")
    balance_delta = AmountField()
    held_delta = AmountField()
    frozen_delta = AmountField()
    debt_delta = AmountField()
    balance_after = AmountField()
    held_after = AmountField()
    frozen_after = AmountField()
    debt_after = AmountField()
    description = serializers.CharField()
    hold = serializers.UUIDField(source="hold_id", allow_null=True)
    refunds = serializers.UUIDField(source="refunds_id", allow_null=True, help_text="The line that it refunds")
    actor = serializers.CharField()
    occurred_at = MomentField()
    created_at = MomentField()


class StepAnswer(Answer):
    at = MomentField()
    title = serializers.CharField()
    detail = serializers.CharField()


class LotMoveAnswer(Answer):
    lot = serializers.UUIDField()
    remaining_delta = AmountField()
    held_delta = AmountField()


class ExplainedAnswer(EntryAnswer):
    reason = serializers.CharField()
    link = serializers.CharField(help_text="Where the work can be seen; may be empty")
    lots = LotMoveAnswer(many=True, help_text="The credits that it moved")
    digest = serializers.CharField(help_text="The line's place in the chain of digests, in hexadecimal")
    trail = StepAnswer(many=True, help_text="The whole story in plain sentences")


class EntriesAnswer(Answer):
    results = EntryAnswer(many=True)
    next = serializers.URLField(allow_null=True, help_text="The next page, older lines; null at the end")


class EntriesQuery(PageQuery):
    kind = serializers.ChoiceField(required=False, choices=[kind.value for kind in Entry.Kind])
    hold = IdField(required=False)


class Entries(View):
    """The statement, newest line first."""

    @describe(
        EntriesAnswer,
        query=EntriesQuery,
        operation_id="credits_entries_list",
        summary="The statement, newest line first",
    )
    def get(self, request: Any) -> Response:
        asked = read_query(EntriesQuery, request)
        rows = statement.lines_of(self.account)
        rows = rows.filter(**{name: asked[name] for name in ("kind", "hold") if name in asked})
        return Response(page(request, rows, asked, show_entries, key="sequence"))


def show_entries(lines: Iterable[Entry]) -> list[Any]:
    """Lines as the API answers them."""
    shown = []
    for line in lines:
        line.description = statement.describe(line)  # type: ignore[attr-defined]
        shown.append(EntryAnswer(line).data)
    return shown


class OneEntry(View):
    """One line, explained."""

    def find(self, request: Any, id: UUID, **kwargs: Any) -> Entry:
        line = statement.lines_of(self.account).filter(id=id).first()
        if line is None:
            raise Http404
        return line

    @describe(ExplainedAnswer, summary="One line, explained in plain sentences")
    def get(self, request: Any, id: UUID) -> Response:
        line = self.found
        text = getattr(line, "text", None)
        moves = zip(line.lots, line.remaining_deltas, line.held_deltas, strict=True)
        explained = {
            "reason": text.reason if text is not None else "",
            "link": line.hold.link if line.hold is not None else "",
            "lots": [{"lot": lot, "remaining_delta": a, "held_delta": b} for lot, a, b in moves],
            "digest": bytes(line.digest).hex(),
            "trail": statement.explain(line),
        }
        (shown,) = show_entries([line])
        rest = {name: field for name, field in ExplainedAnswer().fields.items() if name in explained}
        return Response({**shown, **{name: _shown(field, explained[name]) for name, field in rest.items()}})


def _shown(field: Any, value: Any) -> Any:
    return field.to_representation(value)


CSV_COLUMNS = (
    "sequence",
    "occurred_at",
    "kind",
    "description",
    "amount",
    "balance_delta",
    "held_delta",
    "frozen_delta",
    "debt_delta",
    "balance_after",
    "held_after",
    "frozen_after",
    "debt_after",
    "reason",
    "actor",
    "hold",
    "id",
    "digest",
)


class CSVRenderer(BaseRenderer):
    """Lets `Accept: text/csv` in; the view writes the lines itself."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        return JSONRenderer().render(data)


class EntriesCSV(View):
    """The whole statement as a table, oldest line first."""

    renderer_classes = [CSVRenderer, JSONRenderer]

    @describe({(200, "text/csv"): OpenApiTypes.STR}, summary="The whole statement as CSV, oldest line first")
    def get(self, request: Any) -> StreamingHttpResponse:
        response = StreamingHttpResponse(_csv(self.account), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="statement.csv"'
        return response


class _Echo:
    def write(self, line: str) -> str:
        return line


def _csv(account: UUID) -> Iterator[str]:
    """The statement's lines as CSV, read a thousand at a time; lines never change, so the pages fit together."""
    writer = csv.writer(_Echo())
    yield writer.writerow(CSV_COLUMNS)
    last = 0
    while lines := list(statement.lines_of(account).filter(sequence__gt=last).order_by("sequence")[:1000]):
        for line in lines:
            shown = show_entries([line])[0]
            text = getattr(line, "text", None)
            shown |= {"reason": text.reason if text is not None else "", "digest": bytes(line.digest).hex()}
            words = {name: defused(shown[name]) for name in ("description", "reason", "actor")}
            yield writer.writerow([(shown | words)[name] for name in CSV_COLUMNS])
        last = lines[-1].sequence


def defused(text: str) -> str:
    """The text so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else text


# Lots


class LotAnswer(Answer):
    id = serializers.UUIDField()
    source = serializers.CharField(help_text="plan, pack, promotion, gift, staff, goodwill …")
    is_promotional = serializers.BooleanField()
    amount = AmountField(help_text="What was granted")
    remaining = AmountField()
    held = AmountField()
    granted_at = MomentField()
    expires_at = MomentField(allow_null=True)
    spendable_until = MomentField(allow_null=True, help_text="After expires_at where credits came back to it")
    is_frozen = serializers.BooleanField(help_text="Its payment is disputed")


class LotsAnswer(Answer):
    results = LotAnswer(many=True)
    next = serializers.URLField(allow_null=True)


class Lots(View):
    """The credits there are: where from, and until when."""

    @describe(
        LotsAnswer,
        query=PageQuery,
        operation_id="credits_lots_list",
        summary="The credits there are: where from, and until when",
    )
    def get(self, request: Any) -> Response:
        rows = Lot.objects.filter(account=self.account, remaining__gt=0)
        asked = read_query(PageQuery, request)
        return Response(page(request, rows, asked, lambda found: list(LotAnswer(found, many=True).data)))


# Limits


class LimitsAnswer(Answer):
    per_run = AmountField(allow_null=True, help_text="The account's own; null for none")
    per_day = AmountField(allow_null=True)
    per_month = AmountField(allow_null=True)


class BoundAnswer(LimitsAnswer):
    source = serializers.CharField(help_text="plan, staff, person (the account's own) or member")


TOP_UP_STATES = (
    "never_set", "off", "on", "buying", "confirm", "no_card", "resting", "month_used", "paused", "debt", "frozen",
)  # fmt: skip


class AutoTopUpAnswer(Answer):
    """The rest is there once it has been set; until then null."""

    state = serializers.ChoiceField(
        choices=TOP_UP_STATES,
        help_text="buying: one is under way · confirm: the bank asks the cardholder (`confirm_url`) · no_card: buy a "
        "pack once with `keep_card` · resting: an hour after a decline · month_used · paused: after a burst · "
        "debt, frozen: on, and buys nothing meanwhile",
    )
    words = serializers.CharField(help_text="The same in a sentence, with what can be done")
    is_on = serializers.BooleanField()
    has_card = serializers.BooleanField(help_text="A card is kept that may be charged")
    below = AmountField(allow_null=True, help_text="It buys when fewer credits are available")
    pack = serializers.CharField(allow_null=True)
    price = serializers.CharField(allow_null=True, help_text="What one costs, as agreed")
    monthly_max_minor = serializers.IntegerField(
        allow_null=True, help_text="Money, in the currency's smallest unit: the most of a UTC month"
    )
    monthly_max = serializers.CharField(allow_null=True, help_text="The same as people read it")
    used_minor = serializers.IntegerField(allow_null=True, help_text="Of it, this month: paid, or waiting to be paid")
    used = serializers.CharField(allow_null=True)
    currency = serializers.CharField(allow_null=True)
    resets_at = MomentField(allow_null=True)
    waits_until = MomentField(allow_null=True, help_text="It buys nothing before")
    purchase = serializers.UUIDField(allow_null=True, help_text="The one that is under way")
    confirm_url = serializers.CharField(allow_null=True, help_text="Where the person confirms it")


class AllLimitsAnswer(LimitsAnswer):
    in_force = BoundAnswer(many=True, help_text="Every limit that binds you; the tightest wins")
    usage = UsageAnswer()
    auto_top_up = AutoTopUpAnswer(allow_null=True, help_text="Null where nothing can be bought")


class NewAutoTopUp(Strict):
    is_on = FlagField(required=False, help_text="True: the person agrees that the kept card is charged for it")
    below = AmountField(required=False, help_text="At most what the pack brings")
    pack = TextField(max_length=50, required=False, help_text="A pack's slug")
    monthly_max_minor = WholeField(
        required=False,
        min_value=1,
        max_value=money.MINOR_MAX,
        help_text="Money, in the currency's smallest unit: the most of a UTC month, at least the pack's price",
    )


class NewLimits(Strict):
    per_run = AmountField(is_zero_allowed=True, allow_null=True, required=False)
    per_day = AmountField(is_zero_allowed=True, allow_null=True, required=False)
    per_month = AmountField(is_zero_allowed=True, allow_null=True, required=False)
    auto_top_up = NewAutoTopUp(required=False, help_text="What is left out stays; the first time says all but is_on")


SET_AUTO_TOP_UP = "set_auto_top_up"


class Limits(View):
    """The account's own spend limits, what binds it beside them, and its auto top-up."""

    act = "set_limits"

    @describe(AllLimitsAnswer, summary="The account's spend limits, and their use")
    def get(self, request: Any) -> Response:
        return self._show(request)

    @describe(
        AllLimitsAnswer,
        body=NewLimits,
        refuses=(refusals.OwnersOnly, checkout.BuyingFrozen, top_ups.TopUpNotPossible),
        takes_one_of={
            "Limits": {"per_run": "20", "per_day": "100", "per_month": None},
            "Auto top-up": {
                "auto_top_up": {"is_on": True, "below": "50", "pack": "standard", "monthly_max_minor": 10000}
            },
        },
        summary="Sets the account's own limits and auto top-up: null takes a limit away, what is left out stays",
    )
    def put(self, request: Any) -> Response:
        if people.role_in(request.user, self.account) != "owner":
            raise refusals.OwnersOnly
        wanted = read(NewLimits, request.data)
        top_up = wanted.pop("auto_top_up", None)
        with transaction.atomic():
            ledger.lock([self.account])
            if wanted or top_up is None:
                SpendLimit.objects.update_or_create(
                    account_id=self.account, source=SpendLimit.Source.PERSON, user=None, defaults=wanted
                )
                facts = {name: None if micro is None else credits.format(micro) for name, micro in wanted.items()}
                _record(self, facts=facts)
            if top_up is not None:
                set_top_up(request, self.account, top_up)
        return self._show(request)

    def _show(self, request: Any) -> Response:
        rows = statement.limits_of(self.account, request.user.pk)
        own = next((row for row in rows if row.source == SpendLimit.Source.PERSON), SpendLimit())
        bound = [
            row
            for row in rows
            if row.source != SpendLimit.Source.PLAN or not any(r.source == SpendLimit.Source.STAFF for r in rows)
        ]
        usage = statement.use_of(self.account, request.user.pk, clock.now(), rows)
        shown = {name: getattr(own, name) for name in ("per_run", "per_day", "per_month")}
        shown |= {"in_force": bound, "usage": usage, "auto_top_up": top_up_words.standing(self.account)}
        return Response(AllLimitsAnswer(shown).data)


def set_top_up(request: Any, account: UUID, wanted: dict[str, Any]) -> AutoTopUp:
    """The account's auto top-up is as wanted, and the trail has who agreed to what, in the caller's transaction."""
    row = top_ups.agree(
        account,
        user=request.user,
        site=request.build_absolute_uri("/"),
        is_on=wanted.get("is_on"),
        below=wanted.get("below"),
        pack=wanted.get("pack"),
        month_max_minor=wanted.get("monthly_max_minor"),
    )
    facts = {
        "is_on": row.is_on,
        "below": credits.format(row.below),
        "pack": row.pack.slug,
        "price": money.words(row.price_minor, row.currency),
        "monthly_max": money.words(row.month_max_minor, row.currency),
    }
    audit.record(
        SET_AUTO_TOP_UP,
        account=account,
        actor=people.actor_of(request),
        facts=facts,
        request_id=getattr(request, "request_id", ""),
    )
    return row


def _record(view: View, *, subject: str = "", facts: dict[str, Any] | None = None) -> None:
    """The audit trail has the view's act, in the caller's transaction."""
    request = view.request
    audit.record(
        view.act,
        account=view.account,
        actor=people.actor_of(request),
        subject=subject,
        facts=facts,
        request_id=getattr(request, "request_id", ""),
    )


# Tokens


class TokenAnswer(Answer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    scope = serializers.ChoiceField(choices=[scope.value for scope in Token.Scope])
    hint = serializers.CharField(help_text="Its last four characters")
    source = serializers.CharField()
    operations = serializers.ListField(child=serializers.CharField())
    amount_max = AmountField(allow_null=True)
    day_max = AmountField(allow_null=True)
    created_at = MomentField()
    last_used_at = MomentField(allow_null=True, help_text="Noted every ten minutes")
    revoked_at = MomentField(allow_null=True)


class NewTokenAnswer(TokenAnswer):
    token = serializers.CharField(help_text="The token itself: shown now and never again")


class TokensAnswer(Answer):
    results = TokenAnswer(many=True)
    next = serializers.URLField(allow_null=True)


class NewToken(Strict):
    name = TextField(max_length=100)
    scope = serializers.ChoiceField(choices=[scope.value for scope in Token.Scope], default="read")
    source = TextField(required=False, max_length=80, help_text="service: the name it acts under")
    operations = serializers.ListField(
        child=serializers.ChoiceField(choices=["hold"]), required=False, allow_empty=False, max_length=20
    )
    amount_max = AmountField(required=False, help_text="service: the largest hold")
    day_max = AmountField(required=False, help_text="service: the most it may commit in a UTC day")

    _BOUNDS = ("source", "operations", "amount_max", "day_max")

    def validate(self, fields: Any) -> Any:
        is_service = fields["scope"] == Token.Scope.SERVICE
        wrong = {name for name in self._BOUNDS if (name in fields) != is_service}
        said = "A service's token needs this." if is_service else "Only a service's token has this."
        if wrong:
            raise serializers.ValidationError({name: [said] for name in sorted(wrong)})
        return fields


class Tokens(View):
    """Your tokens for this account."""

    act = "make_token"

    @describe(
        TokensAnswer, query=PageQuery, operation_id="tokens_list", summary="Your tokens for this account, newest first"
    )
    def get(self, request: Any) -> Response:
        rows = Token.objects.filter(account=self.account, user=request.user)
        asked = read_query(PageQuery, request)
        return Response(page(request, rows, asked, lambda found: list(TokenAnswer(found, many=True).data)))

    @describe(
        NewTokenAnswer,
        status=201,
        body=NewToken,
        refuses=(refusals.NotAllowed,),
        takes={"name": "Our build server", "scope": "spend"},
        summary="Makes a token and shows it, once",
    )
    def post(self, request: Any) -> Response:
        wanted = read(NewToken, request.data)
        if wanted["scope"] == Token.Scope.SERVICE and not _may_make_service_token(request):
            raise refusals.NotAllowed(reason="Tokens of services are made by staff with a permission, signed in.")
        with transaction.atomic():
            token, text = tokens.make(request.user, Account(id=self.account), **wanted)
            _record(self, subject=f"token:{token.id}", facts={"name": token.name, "scope": token.scope})
        token.token = text  # type: ignore[attr-defined]
        return Response(NewTokenAnswer(token).data, status=201)


def _may_make_service_token(request: Any) -> bool:
    is_signed_in = people.token_of(request) is None
    return is_signed_in and request.user.is_staff and request.user.has_perm("billing.make_service_token")


class OneToken(View):
    """One of your tokens."""

    act = "revoke_token"

    def find(self, request: Any, id: UUID, **kwargs: Any) -> Token:
        token = Token.objects.filter(account=self.account, user=request.user, id=id).first()
        if token is None:
            raise Http404
        return token

    @describe(TokenAnswer, summary="Revokes the token; it opens nothing any more")
    def delete(self, request: Any, id: UUID) -> Response:
        with transaction.atomic():
            if tokens.revoke(self.found):
                _record(self, subject=f"token:{self.found.id}")
        self.found.refresh_from_db()
        return Response(TokenAnswer(self.found).data)


# Holds


class HoldAnswer(Answer):
    id = serializers.UUIDField()
    account = serializers.UUIDField()
    state = serializers.ChoiceField(choices=[state.value for state in Hold.State])
    amount = AmountField()
    captured = AmountField(help_text="What was charged, a late capture included")
    released = AmountField(help_text="What was given back")
    reference = serializers.CharField()
    description = serializers.CharField()
    placed_at = MomentField()
    expires_at = MomentField()
    ended_at = MomentField(allow_null=True)


def show_hold(hold: Any) -> Any:
    """A hold as the API answers it: the row, or the ledger's own of this moment."""
    charged = hold.captured + (hold.captured_late or 0)
    shown = {name: getattr(hold, name) for name in ("id", "state", "amount", "reference", "placed_at", "expires_at")}
    shown |= {
        "account": hold.account_id if isinstance(hold, Hold) else hold.account,
        "captured": charged,
        "released": 0 if hold.state == Hold.State.OPEN else hold.amount - charged,
        "description": hold.label,
        "ended_at": hold.ended_at,
    }
    return HoldAnswer(shown).data


class NewHold(Strict):
    amount = AmountField()
    reference = TextField(
        max_length=200, required=False, default="", allow_blank=True, help_text="Your own name for it"
    )
    description = TextField(max_length=300, required=False, default="", allow_blank=True, help_text="What people read")
    expires_in_seconds = WholeField(
        min_value=1,
        max_value=settings.HOLD_SECONDS_MAX,
        default=min(settings.HOLD_SECONDS, settings.HOLD_SECONDS_MAX),
    )
    account = IdField(required=False, help_text="Only with a service's token: whose credits")


_HELD = {
    "id": "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11",
    "account": "0197a0f2-0000-7c6e-9a41-2f0e6d1b7c11",
    "state": "open",
    "amount": "10",
    "captured": "0",
    "released": "0",
    "reference": "job-1",
    "description": "",
    "placed_at": "2026-05-01T12:00:00Z",
    "expires_at": "2026-05-01T13:00:00Z",
    "ended_at": None,
}
_CAPTURED = _HELD | {"state": "captured", "captured": "8", "released": "2", "ended_at": "2026-05-01T12:05:00Z"}
_RELEASED = _HELD | {"state": "released", "released": "10", "ended_at": "2026-05-01T12:05:00Z"}
_ENDED = (errors.HoldAlreadyCaptured, errors.HoldAlreadyReleased, errors.HoldAlreadyExpired)
_REFUSED_SPENDING = (
    errors.AccountFrozen,
    errors.AccountInDebt,
    errors.TooManyOpenHolds,
    errors.SpendLimitReached,
    errors.InsufficientCredits,
)


class Holds(View):
    """Credits set aside for work that does not run here."""

    act = "hold"
    is_for_services = True

    @describe(
        HoldAnswer,
        status=201,
        body=NewHold,
        is_keyed=True,
        refuses=(*_REFUSED_SPENDING, refusals.OperationNotAllowed, errors.AccountNotFound),
        takes={"amount": "10", "reference": "job-1", "expires_in_seconds": 3600},
        gives=_HELD,
        summary="Sets credits aside",
    )
    def post(self, request: Any) -> Response:
        wanted = read(NewHold, request.data)
        self._name_account(wanted.pop("account", None))
        service = tokens.service_of(request)
        amount, label = wanted["amount"], wanted.pop("description")
        step = steps.PlaceHold(id=new_id(), label=label, owner=people.owner_of(request), **wanted, **_speaker(request))
        key = idempotency.key_of(request, status=201, made=step.id or new_id())

        def also(done: list[ledger.Outcome]) -> None:
            if service is not None:
                tokens.refuse_beyond(service, amount, is_placed=True)
            _record(self, subject=f"hold:{step.id}", facts={"amount": credits.format(amount)})

        try:
            with transaction.atomic():
                outcome = ledger.post_one(self.account, step, key=key, also=also)
        except errors.InsufficientCredits:
            if service is not None:  # a limit is told before what is missing
                tokens.refuse_beyond(service, amount, is_placed=False)
            raise
        return idempotency.answer(request, outcome, 201, show_hold(_hold_after(outcome, self.account)))

    def _name_account(self, named: UUID | None) -> None:
        service = tokens.service_of(self.request)
        if service is not None:
            if "hold" not in service.operations:
                raise refusals.OperationNotAllowed(operation="hold")
            self._named_account = named
        elif named is not None and named != self.account:
            raise refusals.ScopeTooSmall(reason="Only a service's token may name another account.")


def _speaker(request: Any) -> dict[str, Any]:
    """Who acts, and the member that it counts for; a service is no member."""
    user = None if tokens.service_of(request) is not None else request.user.pk
    return {"actor": people.actor_of(request), "user": user}


def _hold_after(outcome: ledger.Outcome, account: UUID) -> Any:
    """The hold as it is now: what the ledger has just decided, or for a repeat the row."""
    if outcome.repeat is not None:
        return Hold.objects.get(account=account, id=outcome.repeat.made)
    return getattr(outcome.results[-1], "of_hold", None) or outcome.results[-1]


class OwnHold(View):
    """A hold that the same person or service placed here; anyone else's is not there."""

    is_for_services = True

    def find(self, request: Any, id: UUID, **kwargs: Any) -> Hold:
        own = Hold.objects.filter(id=id, owner=people.owner_of(request))
        hold = (own if tokens.service_of(request) is not None else own.filter(account=self.account)).first()
        if hold is None:
            raise Http404
        self._named_account = hold.account_id
        return hold

    def move(self, step: type[steps.OfHold], **terms: Any) -> Response:
        """One verb on the hold, once for a key."""
        request, hold = self.request, self.found
        key = idempotency.key_of(request, status=200, made=hold.id)
        asked = step(hold=hold.id, owner=hold.owner, **_speaker(request) | {"user": hold.user_id}, **terms)
        facts = {"amount": credits.format(terms["amount"])} if terms.get("amount") is not None else None
        outcome = ledger.post_one(
            hold.account_id, asked, key=key, also=lambda done: _record(self, subject=f"hold:{hold.id}", facts=facts)
        )
        return idempotency.answer(request, outcome, 200, show_hold(_hold_after(outcome, hold.account_id)))


class OneHold(OwnHold):
    @describe(HoldAnswer, gives=_HELD, summary="A hold of yours")
    def get(self, request: Any, id: UUID) -> Response:
        return Response(show_hold(self.found))


class NewCapture(Strict):
    amount = AmountField(is_zero_allowed=True, required=False, help_text="Left out: all that is left")
    late = FlagField(default=False, help_text="Pays an expired hold after all, from what is available now")


class CaptureHold(OwnHold):
    act = "capture"

    @describe(
        HoldAnswer,
        body=NewCapture,
        is_keyed=True,
        refuses=(
            *_ENDED,
            errors.CaptureExceedsHold,
            errors.SharesStillOpen,
            errors.HoldNotExpired,
            errors.HoldCapturedLate,
            errors.AccountFrozen,
            errors.InsufficientCredits,
        ),
        takes={"amount": "8"},
        gives=_CAPTURED,
        summary="Charges the hold, in part or whole, and gives back the rest",
    )
    def post(self, request: Any, id: UUID) -> Response:
        wanted = read(NewCapture, request.data)
        return self.move(steps.CaptureLate if wanted["late"] else steps.Capture, amount=wanted.get("amount"))


class NewRelease(Strict):
    reason = TextField(max_length=1000, required=False, default="", allow_blank=True)


class ReleaseHold(OwnHold):
    act = "release"

    @describe(
        HoldAnswer,
        body=NewRelease,
        is_keyed=True,
        refuses=(*_ENDED, errors.SharesStillOpen),
        takes={"reason": "The job failed"},
        gives=_RELEASED,
        summary="Gives all of the hold back",
    )
    def post(self, request: Any, id: UUID) -> Response:
        return self.move(steps.Release, reason=read(NewRelease, request.data)["reason"])


class NewRenewal(Strict):
    expires_in_seconds = WholeField(
        min_value=1,
        max_value=settings.HOLD_SECONDS_MAX,
        default=min(settings.HOLD_SECONDS, settings.HOLD_SECONDS_MAX),
    )


class RenewHold(OwnHold):
    act = "renew"

    @describe(
        HoldAnswer,
        body=NewRenewal,
        is_keyed=True,
        refuses=_ENDED,
        takes={"expires_in_seconds": 3600},
        gives=_HELD,
        summary=f"Moves the hold's end, to at most {settings.HOLD_SECONDS_MAX} seconds after it was placed",
    )
    def post(self, request: Any, id: UUID) -> Response:
        wanted = read(NewRenewal, request.data)["expires_in_seconds"]
        most = self.found.placed_at + timedelta(seconds=settings.HOLD_SECONDS_MAX) - clock.now()
        return self.move(steps.Renew, expires_in_seconds=max(0, min(wanted, int(most.total_seconds()))))


# Audit and members


class AuditAnswer(Answer):
    id = serializers.UUIDField()
    at = MomentField(source="created_at")
    act = serializers.CharField()
    actor = serializers.CharField()
    is_refusal = serializers.BooleanField()
    code = serializers.CharField(help_text="A refusal's code")
    subject = serializers.CharField(help_text="What it was done to, as kind:id")
    facts = serializers.DictField(help_text="A refusal's facts")
    request_id = serializers.CharField()


class AuditsAnswer(Answer):
    results = AuditAnswer(many=True)
    next = serializers.URLField(allow_null=True)


class AuditTrail(View):
    """What was done, and refused, on the account."""

    @describe(
        AuditsAnswer,
        query=PageQuery,
        operation_id="audit_list",
        summary="What was done and refused on the account, newest first",
    )
    def get(self, request: Any) -> Response:
        asked = read_query(PageQuery, request)
        return Response(
            page(request, Audit.objects.filter(account=self.account), asked, _show_audits, key="created_at")
        )


def _show_audits(rows: list[Audit]) -> list[Any]:
    for row in rows:
        if not row.is_refusal:  # what staff noted with an act is theirs
            row.facts = {}
    return list(AuditAnswer(rows, many=True).data)


class MemberAnswer(Answer):
    id = serializers.UUIDField()
    email = serializers.CharField(source="user.email")
    role = serializers.ChoiceField(choices=["owner", "member"])
    is_you = serializers.BooleanField()
    joined_at = MomentField(source="created_at")


class MembersAnswer(Answer):
    results = MemberAnswer(many=True)
    next = serializers.URLField(allow_null=True)


class Members(View):
    """The people of the account."""

    @describe(MembersAnswer, query=PageQuery, operation_id="members_list", summary="The people of the account")
    def get(self, request: Any) -> Response:
        def show(rows: list[Membership]) -> list[Any]:
            for row in rows:
                row.is_you = row.user_id == request.user.pk  # type: ignore[attr-defined]
            return list(MemberAnswer(rows, many=True).data)

        rows = Membership.objects.filter(account=self.account).select_related("user")
        return Response(page(request, rows, read_query(PageQuery, request), show))
