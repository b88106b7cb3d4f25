"""What Stripe sends us: events, to be stored and answered at once. What they do is the worker's (stripe_inbox.py)."""

from __future__ import annotations

from typing import Any

import structlog
from drf_spectacular.utils import extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from . import stripe_inbox

log = structlog.get_logger("holdfast.stripe")


@extend_schema(exclude=True)
class StripeEvents(APIView):
    """POST /webhooks/stripe: 200 once the event is in the inbox. What is not believed is refused and not stored.

    Not throttled: a signature is judged faster than a throttle looks up an address, and a burst of Stripe's is money.
    """

    authentication_classes = []
    permission_classes = []
    throttle_classes = []
    http_method_names = ["post"]

    def post(self, request: Any) -> Response:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not str(length).isdecimal() or int(length) > stripe_inbox.BYTES_MAX:
            raise stripe_inbox.EventTooLarge
        try:
            stripe_inbox.receive(bytes(request.body), request.headers.get("Stripe-Signature", ""))
        except stripe_inbox.EventRefused as refusal:
            log.warning("stripe_event_refused", why=refusal.reason if not refusal.facts else refusal.facts["reason"])
            raise
        return Response({"received": True})
