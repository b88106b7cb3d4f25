"""The front page, the error pages, health, and the development mailbox. Fills the base template's context."""

import email
import email.policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.crypto import constant_time_compare
from django.utils.functional import SimpleLazyObject
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_prometheus.exports import ExportToDjangoView
from prometheus_client import generate_latest

from billing import credits, people
from billing.pages import accounts_of, notices_of, purse_of
from config.tasks import heartbeat_age_seconds
from generations import gauges, offers
from generations.storage import Unreachable, output_storage
from tools_registry import pricing, registry, runner
from tools_registry.studio import STUDIOS

ALL_APPLIED_KEY = "migrations-applied"
STORAGE_KEY, STORAGE_ASKED_SECONDS = "output-storage-answers", 30

ERRORS = {
    400: (
        "bad_request",
        "This request could not be read.",
        "Something in it is malformed.",
        "Check it and send it again.",
    ),
    403: (
        "not_allowed",
        "You may not do this.",
        "Your sign-in does not allow it.",
        "Go back, or sign in as someone who may.",
    ),
    404: (
        "not_found",
        "There is nothing here.",
        "The address is wrong, or it is not yours to see.",
        "Check the address.",
    ),
    500: ("server_error", "Something failed on our side.", "It has been recorded.", "Try again in a moment."),
}


def context(request: HttpRequest) -> dict[str, Any]:
    """What base.html needs on every page. Purse and notices are looked up where a template shows them."""
    of_person = {}
    if getattr(request, "user", None) is not None and request.user.is_authenticated:
        of_person = {
            "purse": SimpleLazyObject(lambda: purse_of(people.account_of(request))),
            "accounts": SimpleLazyObject(lambda: accounts_of(request)),
            "notices": SimpleLazyObject(lambda: notices_of(people.account_of(request))),
        }
    return of_person | {
        "csp_nonce": getattr(request, "csp_nonce", ""),
        "request_id": getattr(request, "request_id", ""),
        "is_demo": settings.IS_DEMO,
        "has_dev_mail": settings.HAS_DEV_MAIL,
        "is_selling": settings.STRIPE_IS_SET_UP,
    }


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The front page: what can be run, with its price."""
    context = {"operations": [_shown(offer) for offer in offers.on_offer()], "studios": _studios()}
    return render(request, "config/home.html", context)


def _studios() -> list[dict[str, Any]]:
    """Each studio with its tools, and how many of them are free."""
    found = []
    for slug, title in STUDIOS.items():
        tools = [tool for tool in registry.TOOLS.values() if tool.studio == slug]
        if tools:
            free = sum(tool.function is None for tool in tools)
            names = [tool.title for tool in tools]
            url = f"/studio?studio={slug}"
            found.append({"title": title, "url": url, "icon": tools[0].icon, "names": names, "free": free})
    return found


def _shown(offer: offers.Offer) -> dict[str, str]:
    """The operation with its least price and that of its example."""
    operation, cost = offer.operation, offer.cost
    estimate = pricing.estimate(cost.model, cost.rates, dict(operation.example))
    most = credits.display(estimate.max)
    example = f"{estimate.explanation}: {most}"
    if estimate.typical < estimate.max:
        example = f"Usually about {credits.display(estimate.typical)}, at most {most}"
    return {
        "title": operation.title,
        "sentence": operation.summary,
        "icon": operation.icon,
        "price": credits.display(estimate.min),
        "unit": pricing.MODELS[cost.model].unit,
        "example": example,
        "url": offers.form_url(operation),
    }


# Errors


def _error(request: HttpRequest, status: int) -> HttpResponse:
    code, error, reason, action = ERRORS[status]
    request_id = getattr(request, "request_id", "")
    if request.path.startswith(("/api/", "/webhooks/")):
        body = {"error": error, "code": code, "reason": reason, "action": action, "request_id": request_id}
        return JsonResponse(body, status=status)
    return render(request, f"{status}.html", {"request_id": request_id}, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answers what Django itself could not read."""
    return _error(request, 400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answers what is not allowed."""
    return _error(request, 403)


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answers a form without its CSRF token."""
    if request.path.startswith(("/api/", "/webhooks/")):
        return _error(request, 403)
    return render(request, "403_csrf.html", status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answers what is not there, or is someone else's."""
    return _error(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answers what broke; says nothing of what it was."""
    return _error(request, 500)


# Health


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers."""
    return JsonResponse({"status": "alive"})


def _migrations_waiting() -> int:
    """How many migrations are not applied. That there are none is remembered for a while: reading them all is dear."""
    if cache.get(ALL_APPLIED_KEY):
        return 0
    executor = MigrationExecutor(connection)
    waiting = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if not waiting:
        cache.set(ALL_APPLIED_KEY, 1, timeout=30)
    return waiting


def _storage_answers() -> str:
    """`ok`, or why outputs cannot be stored now. Asked at most once in STORAGE_ASKED_SECONDS, for all processes."""
    said = cache.get(STORAGE_KEY)
    if said is None:
        try:
            output_storage().ping()
            said = "ok"
        except Unreachable as error:
            said = str(error)
        cache.set(STORAGE_KEY, said, timeout=STORAGE_ASKED_SECONDS)
    return str(said)


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """The database answers, every migration is applied, and a worker has shown itself lately.

    Whether the storage of outputs answers is said too. Without it jobs wait for it, nothing is lost, the rest works.
    So is what of this machine does not hold tools as it should: they run, held by the rest; and how many cannot be
    loaded: the others run.
    """
    checks: dict[str, str] = {}
    storage = ""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        checks["database"] = "ok"
        waiting = _migrations_waiting()
        checks["migrations"] = f"{waiting} not applied" if waiting else "ok"
        age = heartbeat_age_seconds()
        is_beating = age is not None and age <= settings.HEARTBEAT_LATE_SECONDS
        checks["worker"] = "ok" if is_beating else "never seen" if age is None else f"last seen {age:.0f} s ago"
        storage = _storage_answers()
    except Exception as error:  # whatever it is, this process is not ready
        checks["database"] = type(error).__name__
    is_ready = all(value == "ok" for value in checks.values())
    return JsonResponse(
        {
            "status": "ready" if is_ready else "not ready",
            "checks": checks | ({"storage": storage} if storage else {}) | {"tools": _tools_are_held()},
        },
        status=200 if is_ready else 503,
    )


def _tools_are_held() -> str:
    left_out = [f"{len(registry.BROKEN)} could not be loaded."] if registry.BROKEN else []
    return " ".join([*left_out, *runner.protections().missing]) or "ok"


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus figures, to this machine or to the holder of the metrics token: this server's, then the desk's."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    has_token = bool(settings.METRICS_TOKEN) and constant_time_compare(given, settings.METRICS_TOKEN)
    is_local = request.META.get("REMOTE_ADDR") in ("127.0.0.1", "::1") and "HTTP_X_FORWARDED_FOR" not in request.META
    if not (has_token or is_local):
        raise Http404
    answer = ExportToDjangoView(request)
    answer.write(generate_latest(gauges.registry))
    return answer


# The development mailbox


def _mails() -> list[tuple[Path, EmailMessage]]:
    """The mails in the data folder, newest first. Django's file backend writes one file a connection."""
    mails = []
    for path in sorted(Path(settings.MAIL_DIR).glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)[
        :200
    ]:
        for part in path.read_bytes().split(b"\n" + b"-" * 79 + b"\n"):
            if part.strip():
                message = email.message_from_bytes(part.lstrip(), policy=email.policy.default)
                assert isinstance(message, EmailMessage)
                mails.append((path, message))
    return mails


@never_cache
@require_safe
def dev_mail(request: HttpRequest) -> HttpResponse:
    """The mails that would have been sent. Only where HAS_DEV_MAIL: development without a mail server, on loopback."""
    if not settings.HAS_DEV_MAIL:
        raise Http404
    mails = []
    for _, message in _mails():
        body = message.get_body(preferencelist=("plain", "html"))
        mails.append(
            {
                "to": message["To"],
                "subject": message["Subject"],
                "date": message["Date"],
                "text": body.get_content() if body is not None else "",
            }
        )
    return render(request, "config/dev_mail.html", {"mails": mails})
