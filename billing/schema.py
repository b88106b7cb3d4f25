"""What makes the OpenAPI document exact: every refusal with status and example, strict bodies, amounts as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    inline_serializer,
)
from rest_framework import serializers

from . import errors, refusals

AMOUNT = r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$"
AMOUNT_OUT = r"^-?(0|[1-9][0-9]*)(\.[0-9]{1,6})?$"
Refusals = Sequence[type[errors.BillingError]]

_optional = {"required": False}
Error = inline_serializer(
    "Error",
    {
        "error": serializers.CharField(help_text="A sentence for the person"),
        "code": serializers.CharField(help_text="For programs; never changes"),
        "reason": serializers.CharField(help_text="Why"),
        "action": serializers.CharField(help_text="What can be done now"),
        "request_id": serializers.CharField(),
        "jobs_at_once": serializers.IntegerField(required=False, help_text="429: jobs under way"),
        "jobs_at_once_max": serializers.IntegerField(required=False, help_text="429: how many may be"),
        "open_holds": serializers.IntegerField(required=False, help_text="429: open holds"),
        "open_holds_max": serializers.IntegerField(required=False, help_text="429: how many may be"),
        "fields": serializers.DictField(
            child=serializers.ListField(child=serializers.CharField()),
            required=False,
            help_text="422: each wrong field, and what is wrong with it",
        ),
        "sign_in_url": serializers.CharField(required=False, help_text="401"),
        "purchase_url": serializers.CharField(required=False, help_text="402"),
        "pack": inline_serializer(
            "SmallestPack",
            {"slug": serializers.CharField(), "credits": serializers.CharField(), "price": serializers.CharField()},
            required=False,
            help_text="402: the smallest pack that is enough, where credits can be bought",
        ),
        "required": serializers.CharField(required=False, help_text="402: what it costs"),
        "available": serializers.CharField(required=False, help_text="402: what can be spent"),
        "shortfall": serializers.CharField(required=False, help_text="402: what is missing"),
        "free": serializers.CharField(required=False, help_text="402: free credits, which cannot pay yet"),
        "debt": serializers.CharField(required=False, help_text="402: what is owed"),
        "limit": serializers.CharField(required=False, help_text="403 on a spend limit: the limit"),
        "used": serializers.CharField(required=False, help_text="403 on a spend limit: what of it is used"),
        "span": serializers.CharField(required=False, help_text="403 on a spend limit: run, day or month"),
        "source": serializers.CharField(required=False, help_text="403 and 429 on a limit: who set it"),
        "plan": serializers.CharField(required=False, help_text="Where the plan's limit says no: its name"),
        "upgrade_url": serializers.CharField(required=False, help_text="Where a larger plan can be chosen"),
        "settles_at": serializers.DateTimeField(
            required=False, allow_null=True, help_text="403 `payment_not_settled`: when the ceiling lifts, where known"
        ),
        "resets_at": serializers.DateTimeField(
            required=False, allow_null=True, help_text="403 on a spend limit: null for one run"
        ),
    },
)

# What an example shows beside the words.
_FACTS: dict[type[errors.BillingError], dict[str, Any]] = {
    refusals.InvalidFields: {"fields": {"amount": ["Credits have at most six decimals."]}},
    errors.InsufficientCredits: {"required": "10", "available": "1", "shortfall": "9"},
    errors.AccountInDebt: {"debt": "4"},
    errors.FreeCreditsNotAccepted: {"required": "10", "available": "0", "free": "300"},
    errors.TooManyJobsAtOnce: {"jobs_at_once": 5, "jobs_at_once_max": 5, "source": "plan"},
    errors.SpendLimitReached: {
        "limit": "30",
        "used": "28",
        "span": "day",
        "source": "person",
        "resets_at": "2026-05-02T00:00:00Z",
    },
    refusals.ScopeTooSmall: {"scope": "read"},
}
_ALWAYS: Refusals = (
    refusals.NotAcceptable,
    refusals.TooManyRequests,
    refusals.ServerError,
    errors.BillingUnavailable,
)
_SIGNED_IN: Refusals = (refusals.SignInRequired, refusals.InvalidToken)
_ACT: Refusals = (refusals.CsrfFailed, refusals.EmailUnverified, refusals.ScopeTooSmall)
_BODY: Refusals = (
    refusals.Malformed,
    refusals.BodyTooLarge,
    refusals.UnsupportedMediaType,
    refusals.InvalidFields,
)
_KEYED: Refusals = (errors.IdempotencyConflict, errors.RequestInProgress, refusals.InvalidFields)

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x20-\x7e]+$"},
    OpenApiParameter.HEADER,
    required=False,
    description="Any text of yours that stands for this one request. Sent again with the same body, it moves nothing: "
    "the answer is the first status and the thing as it is now, with `Idempotent-Replayed: true`.",
)


def describe(
    answer: Any,
    *,
    status: int = 200,
    body: Any = None,
    query: Any = None,
    refuses: Refusals = (),
    is_keyed: bool = False,
    takes: Any = None,
    takes_one_of: Mapping[str, Any] | None = None,
    gives: Any = None,
    **more: Any,
) -> Callable[[Any], Any]:
    """The method's place in the OpenAPI document: what it reads, what it answers, and each refusal beyond the common.

    `takes` (or several by their names, `takes_one_of`) and `gives` are the examples; `is_keyed` says that it honours
    Idempotency-Key.
    """
    parameters = ([query] if query else []) + ([IDEMPOTENCY_KEY] if is_keyed else []) + more.pop("parameters", [])
    sent = {"Sent": takes} if takes is not None else takes_one_of or {}
    examples = [OpenApiExample(name, value, request_only=True) for name, value in sent.items()]
    if gives is not None:
        examples.append(OpenApiExample("Answered", gives, response_only=True, status_codes=[str(status)]))

    def decorate(method: Any) -> Any:
        method.refuses = tuple(refuses) + (tuple(_KEYED) if is_keyed else ()) + (tuple(_BODY) if body else ())
        if query:
            method.refuses += (refusals.InvalidFields,)
        method.is_keyed = is_keyed
        responses = answer if isinstance(answer, dict) else {status: answer}
        return extend_schema(request=body, responses=responses, parameters=parameters, examples=examples, **more)(
            method
        )

    return decorate


class Schema(AutoSchema):
    """drf-spectacular's description of a view, with its refusals by status."""

    def _handler(self) -> Any:
        return getattr(self.view, self.method.lower(), None)

    def _refusals(self) -> dict[int, list[type[errors.BillingError]]]:
        """The refusals that the contract allows this operation, by status."""
        view = self.view
        kinds = [*_ALWAYS, *getattr(self._handler(), "refuses", ())]
        is_open = getattr(view, "is_open", False)
        kinds += [refusals.InvalidToken] if is_open else _SIGNED_IN
        if self.method not in ("GET", "HEAD") and getattr(view, "is_act", False):
            kinds += _ACT
        if "{" in self.path:
            kinds.append(refusals.NothingHere)
        by_status: dict[int, list[type[errors.BillingError]]] = {}
        for kind in dict.fromkeys(kinds):
            by_status.setdefault(kind.status, []).append(kind)
        return dict(sorted(by_status.items()))

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        found = super()._get_response_bodies(direction)
        if not hasattr(self._handler(), "refuses"):
            return found
        for status, kinds in self._refusals().items():
            examples = [
                OpenApiExample(kind.code, _example(kind), response_only=True, status_codes=[str(status)])
                for kind in kinds
            ]
            said = OpenApiResponse(Error, " · ".join(f"`{kind.code}`" for kind in kinds), examples)
            found[str(status)] = self._get_response_for_code(said, str(status), ["application/json"], direction)
        return found

    def get_override_parameters(self) -> list[Any]:
        said = super().get_override_parameters()
        if not hasattr(self._handler(), "refuses"):
            return said
        said = [*said, *_HEADERS]
        if self._handler().is_keyed:
            said.append(
                _header("Idempotent-Replayed", {"const": "true"}, [200, 201, 202], "This key was answered before")
            )
        return said

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        schema = super()._map_basic_serializer(serializer, direction)
        if direction == "request" and getattr(serializer, "is_strict", False):
            schema["additionalProperties"] = False
        return schema


def _example(kind: type[errors.BillingError]) -> dict[str, Any]:
    return refusals.body(kind(**_FACTS.get(kind, {})), None) | {"request_id": "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11"}


def _header(name: str, schema: dict[str, Any], statuses: list[int], description: str) -> OpenApiParameter:
    return OpenApiParameter(name, schema, OpenApiParameter.HEADER, response=statuses, description=description)


_HEADERS = [
    _header("X-Request-ID", {"type": "string"}, [200, 201, 202], "Names this request in every log line"),
    _header("Retry-After", {"type": "integer", "minimum": 1}, [429, 503], "Seconds"),
    _header("WWW-Authenticate", {"const": "Bearer"}, [401], "How to sign in"),
]


class AmountFieldSchema(OpenApiSerializerFieldExtension):
    target_class = "billing.rest.AmountField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        if direction == "response":
            return {"type": "string", "pattern": AMOUNT_OUT, "description": "Credits", "examples": ["12.5"]}
        text = {"type": "string", "pattern": AMOUNT, "examples": ["12.5"]}
        number = {"type": "number", "minimum": 0, "maximum": 1_000_000_000}
        return {"oneOf": [text, number], "description": "Credits, as text or number; at most six decimals"}


class MomentFieldSchema(OpenApiSerializerFieldExtension):
    target_class = "billing.rest.MomentField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}
