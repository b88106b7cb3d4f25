"""What every JSON view has in common: the order of its refusals, strict fields, pages."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from rest_framework import exceptions, serializers
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.views import APIView

from . import credits, people, refusals
from .models import Token

SAFE = ("GET", "HEAD", "OPTIONS")


class View(APIView):
    """A JSON view that refuses in the order of the contract: too many requests, not there, not signed in,
    e-mail not verified, scope too small; then its own body, and last the books.

    What a person may not see is not there, so `find` runs with their account and before anything is said about them.
    """

    metadata_class = None
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]
    format_kwarg = None
    # What the audit trail calls it.
    act = "look"
    # Open to people who are not signed in.
    is_open = False
    # Its POST, PUT and DELETE act for the account, so they need a verified person and more than a read token.
    is_act = True
    # Services may use it, for accounts that are not their own.
    is_for_services = False

    found: Any
    _named_account: UUID | None = None

    def get_permissions(self) -> list[Any]:
        return [AllowAny()] if self.is_open else [IsAuthenticated()]

    @property
    def account(self) -> UUID:
        """The account that this request is about."""
        return self._named_account or people.account_of(self.request)

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        if request.method == "OPTIONS" or not hasattr(self, request.method.lower()):
            raise exceptions.MethodNotAllowed(request.method)
        if "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH"):
            raise refusals.Malformed(reason="The body has no Content-Length.")
        failure = self._identify(request)
        self.check_throttles(request)
        if failure is not None:
            raise failure
        if not request.user.is_authenticated and not self.is_open:
            raise exceptions.NotAuthenticated
        request._is_known = request.user.is_authenticated
        self.found = self.find(request, **kwargs)
        if self.is_act and request.method not in SAFE:
            self.allow(request)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")  # what an account has is nobody else's
        return response

    @staticmethod
    def _identify(request: Any) -> Exception | None:
        """Why the credential is refused, if it is: told only after the request was counted."""
        try:
            request.user  # noqa: B018
        except exceptions.APIException as error:
            return error
        return None

    def find(self, request: Any, **kwargs: Any) -> Any:
        """What the address names, for this person; raises Http404 for anything else."""

    def allow(self, request: Any) -> None:
        """Refuses who may not act."""
        if not people.has_verified_email(request.user):
            raise refusals.EmailUnverified
        token = people.token_of(request)
        if token is None:
            return
        if token.scope == Token.Scope.READ or (token.scope == Token.Scope.SERVICE and not self.is_for_services):
            raise refusals.ScopeTooSmall(scope=token.scope)


# Fields: what the JSON type does not say exactly is refused


class Strict(serializers.Serializer[Any]):
    """Reads an object whose every field is known; never saves."""

    is_strict = True

    def to_internal_value(self, data: Any) -> Any:
        unknown = [key for key in data if key not in self.fields] if isinstance(data, Mapping) else []
        wrong: dict[str, Any] = {key: ["This field is not known."] for key in unknown}
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            if isinstance(error.detail, dict):
                wrong |= error.detail
            raise serializers.ValidationError(wrong or error.detail) from error
        if wrong:
            raise serializers.ValidationError(wrong)
        return value


def read(kind: type[Strict], data: Any) -> dict[str, Any]:
    """The body's fields as values; raises ValidationError."""
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def read_query(kind: type[Strict], request: Any) -> dict[str, Any]:
    """The address's parameters as values: each known, each given once."""
    twice = {key: ["Give this once."] for key, values in request.query_params.lists() if len(values) > 1}
    if twice:
        raise serializers.ValidationError(twice)
    return read(kind, request.query_params.dict())


class AmountField(serializers.Field[int, Any, str, Any]):
    """Credits: a plain decimal string or number in, microcredits inside, the exact decimal string out."""

    default_error_messages = {
        "type": 'Write credits as a plain decimal, for example "12.5".',
        "zero": "The amount must be more than zero.",
    }

    def __init__(self, *, is_zero_allowed: bool = False, **options: Any) -> None:
        self.is_zero_allowed = is_zero_allowed
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, str | int | Decimal):
            self.fail("type")
        try:
            micro = credits.parse(_plain(data))
        except credits.InvalidAmount as error:
            raise serializers.ValidationError(str(error)) from error
        if not micro and not self.is_zero_allowed:
            self.fail("zero")
        return micro

    def to_representation(self, value: int) -> str:
        return credits.format(value)


def _plain(data: str | int | Decimal) -> str:
    """The number as written without an exponent; what had a positive one stays as it is, and is refused."""
    if isinstance(data, Decimal):
        return f"{data:f}" if -100 < int(data.as_tuple().exponent) <= 0 else str(data)
    if isinstance(data, int) and abs(data) > 10**20:
        return "1" * 20  # too much, whatever it is; never written out
    return str(data)


class TextField(serializers.CharField):
    """A JSON string: no number, no true."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WholeField(serializers.IntegerField):
    """A JSON whole number: no string, no true."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, Decimal) and -100 < int(data.as_tuple().exponent) <= 0 and data == data.to_integral_value():
            data = int(data)
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class QueryWholeField(serializers.IntegerField):
    """A whole number in an address: ASCII digits alone."""

    def to_internal_value(self, data: Any) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", str(data), re.ASCII):
            self.fail("invalid")
        return int(data)


class FlagField(serializers.BooleanField):
    """JSON's true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class IdField(serializers.UUIDField):
    """An id as it is written here, with its hyphens."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str) or not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", data):
            self.fail("invalid", value=data)
        return UUID(data)


class MomentField(serializers.DateTimeField):
    """A time of RFC 3339, with its offset."""

    default_error_messages = {
        "rfc3339": 'Write the time like "2026-05-01T12:00:00Z" (in an address, + is written %2B).',
    }
    _FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str) or not self._FORM.fullmatch(value):
            self.fail("rfc3339")
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("rfc3339")


# Pages


class PageQuery(Strict):
    cursor = TextField(required=False, max_length=200, help_text="Where the page begins: out of `next`")
    limit = QueryWholeField(required=False, default=50, min_value=1, max_value=200, help_text="Lines a page")


def page(
    request: Any, rows: QuerySet[Any], asked: Mapping[str, Any], show: Callable[[list[Any]], list[Any]], key: str = "id"
) -> dict[str, Any]:
    """A page of `rows`, newest first by `key` (id, sequence, or created_at and then id), and the next one's address."""
    if asked.get("cursor"):
        rows = rows.filter(_before(asked["cursor"], key))
    order = ("-created_at", "-id") if key == "created_at" else (f"-{key}",)
    found = list(rows.order_by(*order)[: asked["limit"] + 1])
    onward = None
    if len(found) > asked["limit"]:
        found.pop()
        query = request.query_params.copy()
        query["cursor"] = _cursor(found[-1], key)
        onward = request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
    return {"results": show(found), "next": onward}


def _cursor(row: Any, key: str) -> str:
    place = f"{row.created_at.isoformat()} {row.id}" if key == "created_at" else str(getattr(row, key))
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _before(cursor: str, key: str) -> Q:
    """The rows that come after the cursor's, which are older; raises ValidationError for what we did not make."""
    try:
        place = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        if key == "created_at":
            moment, _, row = place.partition(" ")
            at = datetime.fromisoformat(moment).astimezone(UTC)
            return Q(created_at__lt=at) | Q(created_at=at, id__lt=UUID(row))
        if key == "sequence":
            if not re.fullmatch(r"[0-9]{1,18}", place):
                raise ValueError(place)
            return Q(sequence__lt=int(place))
        return Q(id__lt=UUID(place))
    except (ValueError, OverflowError) as error:
        raise serializers.ValidationError({"cursor": ["This is no cursor of ours; take it out of `next`."]}) from error
