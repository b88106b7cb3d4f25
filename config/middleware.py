"""What every answer carries: a request id, and the content security policy of its part of the site."""

import re
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from uuid_utils.compat import uuid7

Answer = Callable[[HttpRequest], HttpResponse]
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

# People's pages: no inline script or style without this answer's nonce, no eval, nothing from elsewhere.
STRICT = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; "
    "font-src 'self'; media-src 'self'; connect-src 'self'; manifest-src 'self'; form-action {sends}; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# Unfold builds its interface with Alpine (eval) and inline styles; without them staff cannot even sign in.
ADMIN = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# Swagger's interface sets inline styles and draws its icons from data: addresses.
API_DOCS = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


# Where the forms that buy something send people on to; browsers hold the redirect against form-action as well.
STRIPE_PAGES = ("https://checkout.stripe.com", "https://billing.stripe.com")


def policy(path: str) -> str:
    """The policy for a path, still without its nonce."""
    if path == "/admin" or path.startswith("/admin/"):
        return ADMIN
    if path.startswith("/api/docs"):
        return API_DOCS
    return STRICT.replace("{sends}", " ".join(["'self'", *_stripe_pages()]))


def _stripe_pages() -> list[str]:
    """The origins of Stripe's own pages; of whatever stands in for it; none where nothing can be bought."""
    if not settings.STRIPE_IS_SET_UP:
        return []
    if not settings.STRIPE_API_BASE:
        return list(STRIPE_PAGES)
    base = urlsplit(settings.STRIPE_API_BASE)
    return [f"{base.scheme}://{base.netloc}"]


class ContentSecurityPolicyMiddleware:
    """`request.csp_nonce` is this answer's nonce, and the answer carries the policy of its path."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        nonce = secrets.token_urlsafe(16)
        request.csp_nonce = nonce  # type: ignore[attr-defined]
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", policy(request.path).format(nonce=nonce))
        response.headers.setdefault(
            "Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=()"
        )
        return response


class RequestIdMiddleware:
    """`request.request_id` names this request in every log line, in errors and in X-Request-ID."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if REQUEST_ID.fullmatch(given) else str(uuid7())
        request.request_id = request_id  # type: ignore[attr-defined]
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response = self.get_response(request)
        response.headers["X-Request-ID"] = request_id
        return response
