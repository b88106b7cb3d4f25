"""A small S3 over real HTTP, as far as outputs need it: objects in one bucket, named by paths, listed in pages.

It believes nobody who does not sign by header with the right key, whose body is not what was signed, who signs the
address itself, or who asks for an access rule. What it was asked is kept, for tests to look at.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

KEY, SECRET, BUCKET, REGION = "AKIDOFTESTS", "wJalr/Secret+of=Tests", "films", "eu-west-1"
SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/\d{8}/([\w-]+)/s3/aws4_request, SignedHeaders=([\w;-]+), Signature=[0-9a-f]{64}"
)


@dataclass
class Kept:
    content: bytes
    content_type: str
    changed_at: datetime


@dataclass
class Asked:
    method: str
    name: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class ObjectStore:
    """The bucket behind the server. `breaks`: what the next requests meet instead of an answer."""

    port: int = 0
    page: int = 1000
    objects: dict[str, Kept] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    sent_bytes: int = 0
    breaks: str = ""

    @property
    def url(self) -> str:
        """What HOLDFAST_STORAGE_URL says for this store."""
        return f"s3://{KEY}:{quote(SECRET, safe='')}@127.0.0.1:{self.port}/{BUCKET}?region={REGION}&tls=false"

    def put(self, name: str, content: bytes = b"left", days: float = 0) -> None:
        """An object that is there since so many days."""
        self.objects[name] = Kept(content, "video/mp4", datetime.now(UTC) - timedelta(days=days))

    def methods(self) -> list[str]:
        return [one.method for one in self.asked]


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ObjectStore

    def log_message(self, *_: Any) -> None:
        pass

    def _say(self, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.store.sent_bytes += len(body)

    def _refuse(self, status: int, code: str) -> None:
        # As real ones do, the key is repeated.
        words = f"<Error><Code>{code}</Code><Message>No.</Message><AWSAccessKeyId>{KEY}</AWSAccessKeyId></Error>"
        self._say(status, words.encode(), Content_Type="application/xml")

    def _read(self) -> tuple[Asked, bytes] | None:
        """The request, believed; None where it was refused."""
        url = urlsplit(self.path)
        bucket, _, name = unquote(url.path).lstrip("/").partition("/")
        asked = Asked(self.command, name, dict(parse_qsl(url.query, keep_blank_values=True)), dict(self.headers))
        self.store.asked.append(asked)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        signed = SIGNED.fullmatch(self.headers.get("Authorization", ""))
        if self.store.breaks == "503":
            self._refuse(503, "SlowDown")
        elif signed is None or any(name.lower().startswith("x-amz-") for name in asked.query):
            self._refuse(403, "AccessDenied")
        elif signed[1] != KEY or signed[2] != REGION:
            self._refuse(403, "InvalidAccessKeyId")
        elif not {"host", "x-amz-content-sha256", "x-amz-date"} <= set(signed[3].split(";")):
            self._refuse(403, "SignatureDoesNotMatch")
        elif self.headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
            self._refuse(400, "XAmzContentSHA256Mismatch")
        elif bucket != BUCKET:
            self._refuse(404, "NoSuchBucket")
        elif any(name.lower().startswith(("x-amz-acl", "x-amz-grant")) for name in asked.headers):
            self._refuse(400, "AccessControlListNotSupported")
        else:
            return asked, body
        return None

    def do_PUT(self) -> None:
        if (found := self._read()) is not None:
            asked, body = found
            self.store.objects[asked.name] = Kept(body, self.headers["Content-Type"], datetime.now(UTC))
            self._say(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def do_DELETE(self) -> None:
        if (found := self._read()) is not None:
            self.store.objects.pop(found[0].name, None)
            self._say(204)

    def do_HEAD(self) -> None:
        if (found := self._read()) is not None:
            kept = self.store.objects.get(found[0].name)
            if found[0].name and kept is None:
                self._say(404)
            else:
                self._say(200, length=len(kept.content) if kept else 0)

    def do_GET(self) -> None:
        if (found := self._read()) is None:
            return
        asked, _ = found
        if not asked.name:
            self._list(asked.query)
            return
        kept = self.store.objects.get(asked.name)
        if kept is None:
            self._refuse(404, "NoSuchKey")
            return
        content, status, more = kept.content, 200, {}
        if part := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            first, last = int(part[1]), min(int(part[2]), len(content) - 1)
            if first > last:
                self._refuse(416, "InvalidRange")
                return
            more = {"Content_Range": f"bytes {first}-{last}/{len(content)}"}
            content, status = content[first : last + 1], 206
        changed = format_datetime(kept.changed_at, usegmt=True)
        if self.store.breaks == "cut":
            self._say(status, content[: len(content) // 2], len(content), Last_Modified=changed, **more)
            self.close_connection = True
            return
        self._say(status, content, Last_Modified=changed, Content_Type=kept.content_type, **more)

    def _list(self, query: dict[str, str]) -> None:
        if query.get("list-type") != "2":
            self._refuse(400, "NotImplemented")
            return
        after = query.get("continuation-token") or query.get("start-after", "")
        names = sorted(name for name in self.store.objects if name.startswith(query.get("prefix", "")) and name > after)
        shown, is_cut = names[: self.store.page], len(names) > self.store.page
        rows = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(self.store.objects[name].content)}</Size>"
            f"<LastModified>{self.store.objects[name].changed_at.strftime('%Y-%m-%dT%H:%M:%S.000Z')}</LastModified>"
            "</Contents>"
            for name in shown
        )
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if is_cut else ""
        body = f"<ListBucketResult><IsTruncated>{str(is_cut).lower()}</IsTruncated>{token}{rows}</ListBucketResult>"
        self._say(200, body.encode(), Content_Type="application/xml")


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A running store, empty."""
    store = ObjectStore()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"store": store}))
    server.daemon_threads = True
    store.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
