"""What providers send us unasked: a signed word that a job has news. The job is then due to be asked about, no more.

Nothing that a callback says of a job is believed, or even read: the provider's answer to our own question decides. So
one that is lost costs seconds, one that is repeated costs nothing, and one that lies changes nothing.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.conf import settings
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from billing import errors, refusals, throttles

from . import lifecycle, providers
from .providers.base import CallbackRefused, NotOffered, Provider

log = structlog.get_logger("holdfast.callbacks")

BYTES_MAX = 256 * 1024


class CallbackNotBelieved(errors.BillingError):
    code = "callback_refused"
    status = 400
    sentence = "This callback was not believed."
    reason = "Its signature or its time is wrong, or no secret is set here to tell."
    action = "Check that the provider and this installation share the same signing secret, and that the clocks agree."


class CallbackThrottle(throttles.WriteThrottle):
    """So many callbacks a minute for each address. What is turned away here is learnt by asking, seconds later."""

    kind = "callback"

    def most(self, request: Any) -> int:
        return int(settings.API_WRITES_PER_MINUTE)

    def who(self, request: Any) -> str:
        return f"address:{self.get_ident(request)}"


@extend_schema(exclude=True)
class Callback(APIView):
    """POST /webhooks/providers/{provider}: 200 once its signature is good, whether or not the job is one of ours."""

    authentication_classes = []
    permission_classes = []
    throttle_classes = [CallbackThrottle]
    http_method_names = ["post"]

    def post(self, request: Any, provider: str) -> Response:
        sender = _sender(provider)
        body = _body(request)
        try:
            provider_job_id = sender.verify_callback(request.headers, body)
        except CallbackRefused as error:
            log.warning("callback_refused", provider=provider, why=str(error))
            raise CallbackNotBelieved from error
        if provider_job_id is not None:
            is_known = lifecycle.wake(provider, provider_job_id)
            log.info("callback_received", provider=provider, provider_job_id=provider_job_id, is_known=is_known)
        return Response({"received": True})


def _sender(name: str) -> Provider:
    try:
        sender = providers.get(name)
    except NotOffered as error:
        raise Http404 from error
    if not sender.has_callbacks:
        raise Http404
    return sender


def _body(request: Any) -> bytes:
    """The body as it was signed, byte by byte; one that is too large is not read."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not str(length).isdecimal() or int(length) > BYTES_MAX:
        raise refusals.BodyTooLarge(reason="A callback has at most 256 KiB.")
    return bytes(request.body)
