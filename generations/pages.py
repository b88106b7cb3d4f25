"""Pages of the workshop: making a video, the list of generations, one of them as it goes, and its output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe
from rest_framework.exceptions import AuthenticationFailed

from billing import people
from billing.tokens import TokenAuthentication

from .links import linked_output
from .models import Output
from .outputs import INLINE, safe_name

# Outputs

CHUNK_BYTES = 64 * 1024


@require_safe
def output(request: Any, signed: str) -> HttpResponseBase:
    """The file that a link names, whole or the part asked for; nothing at all to strangers and for old links."""
    _believe_token(request)
    found = linked_output(signed, people.account_of(request)) if request.user.is_authenticated else None
    if found is None:
        raise Http404
    try:
        file = default_storage.open(found.file, "rb")
    except OSError as error:
        raise Http404 from error
    response = _part(request, file, found)
    is_download = "download" in request.GET or found.content_type not in INLINE
    name = safe_name(found.generation.title, found.content_type)
    headers = {
        "Content-Type": found.content_type,
        "Content-Disposition": f'{"attachment" if is_download else "inline"}; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "ETag": _etag(found),
        "Content-Security-Policy": "default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    for header, value in headers.items():
        response.headers[header] = value
    return response


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


def _part(request: HttpRequest, file: BinaryIO, of: Output) -> HttpResponseBase:
    """The part of the file that Range asks for, so that a film can be sought in; else all of it."""
    size = of.bytes
    asked = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", request.headers.get("Range", ""))
    if asked is None or not any(asked.groups()) or request.headers.get("If-Range", _etag(of)) != _etag(of):
        return FileResponse(file)
    first, last = asked.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start > end:
        file.close()
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    response = StreamingHttpResponse(_read(file, start, end), status=206)
    response.headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    response.headers["Content-Length"] = str(end - start + 1)
    return response


def _read(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start <= end:
            data = file.read(min(CHUNK_BYTES, end - start + 1))
            if not data:
                return
            start += len(data)
            yield data
