"""Hands an output out, whole or in part: behind a signed link that grows old, to its account's people and programs.

What is handed out was made by a stranger's machine from a stranger's words. So the file's name and type are ours, the
browser is told to believe nothing else, and where the file is opened by itself it can run nothing.
"""

from __future__ import annotations

import re
from typing import Any

import structlog
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe
from rest_framework.exceptions import AuthenticationFailed

from billing import people
from billing.tokens import TokenAuthentication

from .links import linked_output
from .models import Output
from .outputs import ALLOWED, INLINE, UNKNOWN, safe_name
from .storage import Unreachable, output_storage

log = structlog.get_logger("holdfast.delivery")

RETRY_AFTER_SECONDS = 30
# No script, no form, nothing loaded but the file itself, and no origin. A film opened by itself keeps its origin:
# without it the browser's own player may not load the film.
POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; "
SANDBOX, SANDBOX_OF_MEDIA = "sandbox", "sandbox allow-same-origin"


@require_safe
def output(request: Any, signed: str) -> HttpResponseBase:
    """The file that a link names, whole or the part asked for; nothing at all to strangers and for old links."""
    _believe_token(request)
    found = linked_output(signed, people.account_of(request)) if request.user.is_authenticated else None
    if found is None:
        raise Http404
    try:
        response = _answer(request, found)
    except FileNotFoundError as error:
        log.error("output_missing", output=str(found.id), job=str(found.generation_id))
        raise Http404 from error
    except Unreachable as error:
        log.warning("output_storage_unreachable", output=str(found.id), why=str(error))
        words = "The storage of the outputs cannot be reached just now. Try again in a moment."
        return HttpResponse(words, "text/plain; charset=utf-8", 503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
    for header, value in _headers(request, found).items():
        response.headers[header] = value
    return response


def _headers(request: HttpRequest, of: Output) -> dict[str, str]:
    content_type = of.content_type if of.content_type in ALLOWED else UNKNOWN
    is_download = "download" in request.GET or of.content_type not in INLINE
    name = safe_name(of.generation.title, of.content_type)
    return {
        "Content-Type": f"{content_type}; charset=utf-8" if content_type.startswith("text/") else content_type,
        "Content-Disposition": f'{"attachment" if is_download else "inline"}; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
        # Not on this machine's disk either: whoever uses it next is somebody else.
        "Cache-Control": "private, no-store",
        "ETag": _etag(of),
        "Content-Security-Policy": POLICY + (SANDBOX_OF_MEDIA if of.content_type in INLINE else SANDBOX),
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }


def _believe_token(request: Any) -> None:
    """A program's token counts as well as a session."""
    try:
        found = TokenAuthentication().authenticate(request)
    except AuthenticationFailed as error:
        raise Http404 from error
    if found is not None:
        request.user, request.auth = found


def _etag(output: Output) -> str:
    return f'"{output.id.hex}"'


def _answer(request: HttpRequest, of: Output) -> HttpResponseBase:
    """What Range asks for, so that a film can be sought in; else all of it. The storage is asked for no more than that.

    One range an answer: of several 416. What cannot be read as a range counts as none.
    """
    first, last, status = 0, of.bytes - 1, 200
    asked = request.headers.get("Range", "")
    if asked and request.headers.get("If-Range", _etag(of)) == _etag(of):
        one = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", asked)
        if one is not None and any(one.groups()):
            status = 206
            first = int(one[1]) if one[1] else max(0, of.bytes - int(one[2]))
            last = min(int(one[2]), last) if one[1] and one[2] else last
        elif re.fullmatch(r"bytes=[0-9, \t-]*,[0-9, \t-]*", asked):
            first, status = of.bytes, 206
    if first > last:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{of.bytes}"})
    count = last - first + 1
    if request.method == "HEAD":
        if not output_storage().exists(of.file):
            raise FileNotFoundError(of.file)
        response: HttpResponseBase = HttpResponse(status=status)
    else:
        response = StreamingHttpResponse(output_storage().part(of.file, first, count), status=status)
    response.headers["Content-Length"] = str(count)
    if status == 206:
        response.headers["Content-Range"] = f"bytes {first}-{last}/{of.bytes}"
    return response
