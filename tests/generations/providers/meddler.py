"""A real HTTP server between a provider and its own: it passes everything on, and spoils what it is told to spoil."""

import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"})


@dataclass(frozen=True)
class Spoil:
    """What becomes of a request. `is_passed_on`: the provider's own server has done it, whatever the answer says."""

    is_passed_on: bool = True
    status: int | None = None  # None: as the server answered
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Callable[[bytes, dict[str, str]], bytes] | None = None  # a function is given body and request headers
    late_seconds: float = 0.0  # before a word is said
    drip_seconds: float = 0.0  # between one byte of the body and the next
    is_reset: bool = False
    is_cut: bool = False  # half of the promised body, and then the connection ends
    is_unsized: bool = False  # without saying how long the body is


def refusal(status: int, body: bytes = b"", **headers: str) -> Spoil:
    """The request never reached the provider's server; it is answered with this status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Spoil(is_passed_on=False, status=status, headers={"Content-Type": "application/json"} | named, body=body)


HTML = Spoil(
    status=200,
    headers={"Content-Type": "text/html; charset=utf-8"},
    body=b"<!doctype html><html><head><title>Bad gateway</title></head><body>Please try again.</body></html>",
)
CUT_JSON = Spoil(status=200, body=lambda body, _: body[: max(len(body) // 2, 1)])
NOT_AN_OBJECT = Spoil(status=200, body=b'[["status", "completed"]]')
NOTHING = Spoil(status=200, body=b"")
GARBAGE = {"html": HTML, "cut_json": CUT_JSON, "not_an_object": NOT_AN_OBJECT, "nothing": NOTHING}
RESET = Spoil(is_reset=True)
CUT_OFF = Spoil(is_cut=True)


class Meddler:
    """The server. `seen` are the requests that came, in order, as (method, path with its query)."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.seen: list[tuple[str, str]] = []
        self.spoils: list[tuple[str, re.Pattern[str], Spoil]] = []
        self.closing = threading.Event()
        self.server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"meddler": self}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def spoil(self, method: str, path: str, how: Spoil) -> None:
        """From now on every request of that method whose path, without query, matches, is spoilt so."""
        self.spoils.insert(0, (method, re.compile(path, re.ASCII), how))

    def clear(self) -> None:
        self.spoils.clear()
        self.seen.clear()

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: those that it spoils hang up."""


class _Handler(BaseHTTPRequestHandler):
    meddler: Meddler
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what was asked is in `seen`."""

    def do(self) -> None:
        body = self._read()
        self.meddler.seen.append((self.command, self.path))
        path = self.path.partition("?")[0]
        how = next(
            (how for method, place, how in self.meddler.spoils if method == self.command and place.search(path)), None
        )
        status, headers, said = 502, {"Content-Type": "text/plain"}, b"nobody asked"
        if how is None or how.is_passed_on:
            status, headers, said = self._pass_on(body)
        self._say(how or Spoil(), status, headers, said)

    do_GET = do_POST = do_DELETE = do_PUT = do

    def _read(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        read = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            read += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return read

    def _pass_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = self.meddler.upstream
        asked = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP | {"host"}}
            asked.request(self.command, upstream.path + self.path, body=body or None, headers=headers)
            answered = asked.getresponse()
            kept = {name: value for name, value in answered.getheaders() if name.lower() not in HOP}
            return answered.status, kept, answered.read()
        finally:
            asked.close()

    def _say(self, how: Spoil, status: int, headers: dict[str, str], said: bytes) -> None:
        if how.late_seconds and self.meddler.closing.wait(how.late_seconds):
            return
        if how.is_reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if callable(how.body):
            said = how.body(said, dict(self.headers.items()))
        elif how.body is not None:
            said = how.body
        self.send_response(how.status or status)
        for name, value in (headers | how.headers).items():
            self.send_header(name, value)
        if how.is_unsized:
            self.send_header("Transfer-Encoding", "chunked")
            said = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (said[:100], said[100:]) if p) + b"0\r\n\r\n"
        else:
            self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if how.is_cut:
            self.wfile.write(said[: len(said) // 2])
            self.close_connection = True
            return
        with suppress(OSError):
            if not how.drip_seconds:
                self.wfile.write(said)
                return
            for at in range(len(said)):
                self.wfile.write(said[at : at + 1])
                if self.meddler.closing.wait(how.drip_seconds):
                    return
