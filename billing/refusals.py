"""One shape for every error of the JSON API, whatever layer it comes from; and the refusals that are not the books'.

`{"error": sentence, "code": …, "reason": …, "action": …, "request_id": …}` and beside them what helps.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import structlog
from django.core import signals
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, InternalError, OperationalError
from django.http import Http404
from redis.exceptions import RedisError
from rest_framework import exceptions
from rest_framework.response import Response

from . import audit, credits, money, packs, people, plans
from .errors import (
    ApprovalNeeded,
    BillingError,
    BillingUnavailable,
    HoldNotFound,
    RequestInProgress,
    TooManyJobsAtOnce,
    TooManyOpenHolds,
)
from .models import Token

log = structlog.get_logger("holdfast.api")

PURCHASE_URL = "/account/credits"


# Refusals of the counter, before the books are opened


class Malformed(BillingError):
    code = "malformed"
    status = 400
    sentence = "This request could not be read."
    reason = "Its body is not strict JSON."
    action = "Correct the body and send it again."


class SignInRequired(BillingError):
    code = "sign_in_required"
    status = 401
    sentence = "Sign in first."
    reason = "This is open only to people who are signed in, and to programs with a token."
    action = "Sign in, or send a token in the Authorization header."


class InvalidToken(SignInRequired):
    code = "invalid_token"
    sentence = "This token opens nothing."
    reason = "It is unknown, was revoked, or its person may not sign in."
    action = "Make a new token, or sign in."


class NotAllowed(BillingError):
    code = "not_allowed"
    status = 403
    sentence = "You may not do this."
    reason = "Your sign-in does not allow it."
    action = "Sign in as someone who may."


class CsrfFailed(NotAllowed):
    code = "csrf_failed"
    sentence = "The request does not show that it came from our page."
    reason = "The CSRF token is missing or wrong."
    action = "Load the page again and repeat."


class EmailUnverified(NotAllowed):
    code = "email_unverified"
    sentence = "Your e-mail address is not verified yet."
    reason = "Credits are spent only by people whose address is known."
    action = "Open the link in the mail that we sent you."


class ScopeTooSmall(NotAllowed):
    code = "scope_too_small"
    sentence = "This token may not do that."
    reason = "Its scope is too small."
    action = "Use a token with a larger scope."


class OperationNotAllowed(NotAllowed):
    code = "operation_not_allowed"
    sentence = "This service may not do that."
    reason = "The operation is not among those of the service's token."
    action = "Ask staff for a token that includes it."


class OwnersOnly(NotAllowed):
    code = "owners_only"
    sentence = "Only an owner of the account may do this."
    reason = "You are a member of the account, not an owner."
    action = "Ask an owner of the account."


class NothingHere(HoldNotFound):
    sentence = "There is nothing here."
    reason = "The address is wrong, or it is not yours to see."
    action = "Check the address."


class MethodNotAllowed(BillingError):
    code = "method_not_allowed"
    status = 405
    sentence = "This address does not take that method."
    reason = "The method is not offered here."
    action = "Use one of the methods in the Allow header."


class NotAcceptable(BillingError):
    code = "not_acceptable"
    status = 406
    sentence = "The answer cannot be given in that format."
    reason = "The Accept header names nothing that is offered here."
    action = "Accept application/json."


class BodyTooLarge(BillingError):
    code = "body_too_large"
    status = 413
    sentence = "The request is too large."
    reason = "A JSON body may have at most 1 MiB."
    action = "Send less at once."


class UnsupportedMediaType(BillingError):
    code = "unsupported_media_type"
    status = 415
    sentence = "The body is not in a format that is read here."
    reason = "Bodies are JSON."
    action = "Send application/json."


class InvalidFields(BillingError):
    code = "invalid_fields"
    status = 422
    sentence = "Something in the request is not valid."
    reason = "`fields` names each field and what is wrong with it."
    action = "Correct it and send it again."


class TooManyRequests(BillingError):
    code = "too_many_requests"
    status = 429
    sentence = "Too many requests. Nothing was started and nothing was charged."
    reason = "There is a limit to how many requests are taken in a minute."
    action = "Wait as long as Retry-After says, then try again."
    can_retry = True


class ServerError(BillingError):
    code = "server_error"
    status = 500
    sentence = "Something failed on our side."
    reason = "It has been recorded."
    action = "Try again in a moment."
    can_retry = True


# From an exception to an answer

# Refusals that the audit trail keeps: money that was wanted and not given, and acts that were not allowed.
_AUDITED_STATUSES = {402, 403}
_AUDITED_CODES = {TooManyOpenHolds.code, TooManyJobsAtOnce.code}

RETRY_SECONDS = {
    RequestInProgress.code: 1,
    BillingUnavailable.code: 2,
    TooManyOpenHolds.code: 5,
    TooManyJobsAtOnce.code: 5,
}


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Any exception of a view as an answer in the one shape. Runs after every transaction of the view has ended."""
    request, view = context.get("request"), context.get("view")
    refusal = as_refusal(error)
    if isinstance(refusal, ServerError):
        log.error("request_failed", exc_info=error, path=getattr(request, "path", ""))
        signals.got_request_exception.send(sender=type(view), request=getattr(request, "_request", None))
    if isinstance(refusal, BillingUnavailable):
        log.warning("billing_unavailable", error=str(error), path=getattr(request, "path", ""))
    _record(refusal, request, view)
    return answer(refusal, request)


def answer(refusal: BillingError, request: Any) -> Response:
    """The refusal as a response, with its headers."""
    response = Response(body(refusal, request), status=refusal.status, content_type="application/json")
    seconds = refusal.facts.get("retry_after_seconds", RETRY_SECONDS.get(refusal.code))
    if seconds is not None:
        response["Retry-After"] = str(max(1, math.ceil(seconds)))
    if refusal.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def body(refusal: BillingError, request: Any) -> dict[str, Any]:
    """The refusal in the one shape, with the links that help. A fact may say more exactly what the class says."""
    content: dict[str, Any] = {
        "error": refusal.message,
        "code": refusal.code,
        "reason": refusal.reason,
        "action": refusal.action,
        **refusal.facts,
    }
    if refusal.status == 401:
        content["sign_in_url"] = people.sign_in_url()
    if refusal.status == 402:
        content |= _way_to_buy(refusal) if request is not None else {"purchase_url": PURCHASE_URL}
    if refusal.facts.get("source") == "plan" and request is not None:
        content |= _way_up(request)
    content["request_id"] = getattr(request, "request_id", "")
    return content


def _way_to_buy(refusal: BillingError) -> dict[str, Any]:
    """Where credits are bought, and the smallest pack that is enough; the books may be closed for that question."""
    missing = refusal.facts.get("shortfall") or refusal.facts.get("debt") or "0"
    try:
        pack = packs.enough_for(credits.parse(missing), packs.offered())
    except (OperationalError, InterfaceError, InternalError):
        pack = None
    if pack is None:
        return {"purchase_url": PURCHASE_URL}
    price = money.words(pack.price_minor, pack.currency)
    return {
        "purchase_url": packs.url_of(pack.slug),
        "pack": {"slug": pack.slug, "credits": credits.format(pack.credits), "price": price},
    }


def _way_up(request: Any) -> dict[str, str]:
    """The plan whose limit it is, and where a larger one is; nothing to a service, whose account it may not be."""
    token = people.token_of(request)
    if token is not None and token.scope == Token.Scope.SERVICE:
        return {}
    with suppress(OperationalError, InterfaceError, InternalError):
        return plans.way_up(people.account_of(request))
    return {}


def as_refusal(error: Exception) -> BillingError:
    """The refusal that an exception stands for; ServerError for what nobody foresaw."""
    match error:
        case BillingError():
            return error
        case exceptions.ValidationError():
            return InvalidFields(fields=_fields(error.detail))
        case exceptions.AuthenticationFailed():
            return InvalidToken()
        case exceptions.NotAuthenticated():
            return SignInRequired()
        case exceptions.PermissionDenied() if error.get_codes() == "csrf_failed":
            return CsrfFailed()
        case exceptions.Throttled():
            return TooManyRequests(retry_after_seconds=math.ceil(getattr(error, "wait", None) or 1))
        case OperationalError() | InterfaceError() | InternalError() | RedisError():
            # Gone, cut off, or too slow: lock and statement time-outs, deadlocks, shut-downs, a cache that is away.
            return BillingUnavailable()
        case RequestDataTooBig():
            return BodyTooLarge()
        case SuspiciousOperation():
            return Malformed(reason="Something in the request is malformed.")
    for kind, refusal in _PLAIN.items():
        if isinstance(error, kind):
            return refusal()
    return ServerError()


_PLAIN: dict[type[Exception], type[BillingError]] = {
    Http404: NothingHere,
    exceptions.NotFound: NothingHere,
    PermissionDenied: NotAllowed,
    exceptions.PermissionDenied: NotAllowed,
    exceptions.MethodNotAllowed: MethodNotAllowed,
    exceptions.NotAcceptable: NotAcceptable,
    exceptions.UnsupportedMediaType: UnsupportedMediaType,
    exceptions.ParseError: Malformed,
}


def _fields(detail: Any, place: str = "") -> dict[str, list[str]]:
    """Field by field what is wrong; a nested field as "inputs.seconds", the whole body as "body"."""
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for key, value in detail.items():
            name = place if key == "non_field_errors" else f"{place}.{key}" if place else str(key)
            found |= _fields(value, name)
        return found
    if isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        found = {}
        for at, item in enumerate(detail):
            found |= _fields(item, f"{place}.{at}" if place else str(at))
        return found
    return {place or "body": [str(item) for item in (detail if isinstance(detail, list) else [detail])]}


def _record(refusal: BillingError, request: Any, view: Any) -> None:
    """The audit trail has the refusal, where it is of a kind that is kept. Never stands in the answer's way."""
    if refusal.status not in _AUDITED_STATUSES and refusal.code not in _AUDITED_CODES:
        return
    if isinstance(refusal, ApprovalNeeded | CsrfFailed) or not getattr(request, "_is_known", False):
        return
    try:
        audit.record(
            getattr(view, "act", request.method.lower()),
            account=getattr(view, "account", None) or people.account_of(request),
            actor=people.actor_of(request),
            is_refusal=True,
            code=refusal.code,
            facts=refusal.facts,
            request_id=getattr(request, "request_id", ""),
        )
    except Exception as error:  # the refusal itself must reach the person
        log.error("refusal_not_recorded", code=refusal.code, error=str(error))
