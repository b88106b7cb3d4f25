"""How a request says who it is: a bearer token for programs, the session with its CSRF token for browsers."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, timedelta
from typing import Any

from allauth.account.models import EmailAddress
from django.contrib import auth
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import BigIntegerField, Case, F, Sum, When
from django.db.models.functions import Coalesce
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication, exceptions

from . import clock, credits, limits, people
from .errors import SpendLimitReached
from .models import Account, Hold, Membership, Token

PREFIX = "hf_"
USE_NOTED_EVERY = timedelta(minutes=10)


def hash_of(text: str) -> bytes:
    """What is kept of a token's text. The text has 256 random bits, so a plain SHA-256 cannot be guessed back."""
    return hashlib.sha256(text.encode()).digest()


def make(user: Any, account: Account, *, name: str, scope: str, **bounds: Any) -> tuple[Token, str]:
    """A new token, and its text, which is told here and never again.

    `bounds` are a service token's source, operations, amount_max and day_max.
    """
    text = PREFIX + secrets.token_urlsafe(32)
    token = Token.objects.create(
        user=user, account=account, name=name, scope=scope, hash=hash_of(text), hint=text[-4:], **bounds
    )
    return token, text


def revoke(token: Token) -> bool:
    """The token opens nothing any more; False where it was revoked before."""
    return bool(Token.objects.filter(id=token.id, revoked_at=None).update(revoked_at=timezone.now()))


def may_sign_in(user: Any) -> bool:
    """Says whether the sign-in rules still let the person in: active, and no demo person where there are none."""
    backends = [backend for backend in auth.get_backends() if hasattr(backend, "user_can_authenticate")]
    return all(backend.user_can_authenticate(user) for backend in backends)


# Services


def service_of(request: Any) -> Token | None:
    """The service's token that a request came with; None for people and their tokens."""
    token = people.token_of(request)
    return token if token is not None and token.scope == Token.Scope.SERVICE else None


def refuse_beyond(token: Token, amount: int, *, is_placed: bool) -> None:
    """Refuses a hold beyond the service's largest amount or its ceiling of the day; `is_placed`: it is among them now.

    Called with the account's lock taken. Locks the tokens of the same service, so that two holds on two accounts
    cannot both be the last. Committed: open holds of today whole, ended ones as far as they were charged.
    """
    limit = {"source": "service", "limit": token.amount_max, "used": 0, "span": "run", "resets_at": None}
    if amount > (token.amount_max or 0):
        raise _beyond(limit, "for one hold")
    list(
        Token.objects.select_for_update(of=("self",), no_key=True)
        .filter(scope=Token.Scope.SERVICE, source=token.source)
        .order_by("id")
        .values_list("id")
    )
    today = clock.now().astimezone(UTC).date()
    charged = F("captured") + Coalesce(F("captured_late"), 0)
    committed = Case(When(state=Hold.State.OPEN, then=F("amount")), default=charged, output_field=BigIntegerField())
    placed = Hold.objects.filter(owner=token.speaks_as, owner__startswith="service:", placed_on=today)
    used = int(placed.aggregate(sum=Sum(committed))["sum"] or 0) - (amount if is_placed else 0)
    if used + amount > (token.day_max or 0):
        resets_at = limits.day_resets_at(today)
        raise _beyond(limit | {"limit": token.day_max, "used": used, "span": "day", "resets_at": resets_at}, "a day")


def _beyond(limit: dict[str, Any], span: str) -> SpendLimitReached:
    most, used = limit["limit"] or 0, limit["used"]
    said = f"This goes over the service’s limit of {credits.display(most)} credits {span}. Nothing was charged."
    return SpendLimitReached(said, **limit | {"limit": credits.format(most), "used": credits.format(used)})


# Every request of a program asks this, so it is written out: through the ORM it cost ten times the query.
_TOKEN = [field.attname for field in Token._meta.concrete_fields]
_USER = [field.attname for field in User._meta.concrete_fields]
_FIND = f"""
SELECT {", ".join(f'token."{name}"' for name in _TOKEN)}, {", ".join(f'person."{name}"' for name in _USER)},
       EXISTS (SELECT FROM {EmailAddress._meta.db_table} address WHERE address.user_id = person.id AND address.verified)
  FROM {Token._meta.db_table} token JOIN {User._meta.db_table} person ON person.id = token.user_id
 WHERE token.hash = %s AND token.revoked_at IS NULL
   AND (token.scope = 'service' OR EXISTS (SELECT FROM {Membership._meta.db_table} place
        WHERE place.account_id = token.account_id AND place.user_id = token.user_id))
"""  # noqa: S608 (names of our own models)


def _find(hash: bytes) -> Token | None:
    """The token in force with this hash, with its person and whether an address of theirs is verified. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [hash])
        row = cursor.fetchone()
    if row is None:
        return None
    token = Token.from_db(connection.alias, _TOKEN, row[: len(_TOKEN)])
    token.user = User.from_db(connection.alias, _USER, row[len(_TOKEN) : -1])
    token.user._has_verified_email = row[-1]
    return token


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer <token>`. `request.auth` is the token, `request.user` its person. Costs one query.

    A token dies with its revocation, with its person's sign-in, and with their place in its account.
    """

    def authenticate(self, request: Any) -> tuple[Any, Token] | None:
        word, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if word.lower() != "bearer":
            return None
        token = _find(hash_of(text.strip()))
        if token is None or not may_sign_in(token.user):
            raise exceptions.AuthenticationFailed
        now = timezone.now()
        if token.last_used_at is None or now - token.last_used_at > USE_NOTED_EVERY:
            Token.objects.filter(id=token.id).update(last_used_at=now)
        return token.user, token

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"


class SessionAuthentication(authentication.SessionAuthentication):
    """The browser's session; what changes something needs the CSRF token. `request.auth` is None."""

    def enforce_csrf(self, request: Any) -> None:
        try:
            super().enforce_csrf(request)
        except exceptions.PermissionDenied as error:
            raise exceptions.PermissionDenied(code="csrf_failed") from error


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of /api/tokens: `read` sees, `spend` also acts, `service` acts for other accounts.",
        }


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = SessionAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "A browser's session; POST, PUT and DELETE also need the X-CSRFToken header.",
        }
