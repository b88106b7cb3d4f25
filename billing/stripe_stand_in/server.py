"""The server: who may ask, what was asked before with the same key, the pages, and the controls of tests."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import select
import socket
import sqlite3
import sys
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from . import acts, endpoints, forms, hosted, renewals, returns
from .book import CONTROLS, Book, Thing, outward
from .deliveries import Deliveries
from .refusals import Refused, missing, wrong

BODY_BYTES_MAX = 256 * 1024
REQUESTS_KEPT = 20_000
NOT_SET_BY_HAND = {"events_made", "invoices_made", "offset_seconds"}


@dataclass
class Answer:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Handler(BaseHTTPRequestHandler):
    book: ClassVar[Book]
    deliveries: ClassVar[Deliveries]
    key: ClassVar[str]
    base_url: ClassVar[str]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "rehearsal", ""
    timeout = 30
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what was asked is in /_control/requests."""

    def do_GET(self) -> None:
        self.answer("GET")

    def do_POST(self) -> None:
        self.answer("POST")

    def do_DELETE(self) -> None:
        self.answer("DELETE")

    def answer(self, method: str) -> None:
        request = self.book.name("request")
        try:
            said = self.route(method, request)
        except Refused as refused:
            said = Answer(refused.status, refused.body)
        except (sqlite3.Error, OSError) as broken:
            said = Answer(500, {"error": {"type": "api_error", "message": f"{type(broken).__name__}: {broken}"}})
        path = urlsplit(self.path).path
        if path.startswith("/v1/"):
            said.headers |= {"Request-Id": request, "Stripe-Version": self.book.api_version}
            self.note(method, path, said.status)
        with contextlib.suppress(OSError):
            self.send(said)

    def send(self, said: Answer) -> None:
        if said.status == 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        is_raw = isinstance(said.body, bytes)
        raw = said.body if is_raw else json.dumps(outward(said.body, self.base_url), indent=2).encode()
        self.send_response(said.status)
        for name, value in ({"Content-Type": "application/json"} | said.headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def note(self, method: str, path: str, status: int) -> None:
        with self.book.change():
            self.book.db.execute(
                "INSERT INTO requests (at, method, path, key, status) VALUES (?, ?, ?, ?, ?)",
                (time.time(), method, path, self.headers.get("Idempotency-Key"), status),
            )
            self.book.db.execute("DELETE FROM requests WHERE n < (SELECT max(n) FROM requests) - ?", (REQUESTS_KEPT,))

    def route(self, method: str, request: str) -> Answer:
        host = (self.headers.get("Host") or "").rpartition(":")[0] or self.headers.get("Host")
        if host not in ("127.0.0.1", "localhost"):
            raise Refused(421, "invalid_request_error", "Only this machine is answered.")
        url, body = urlsplit(self.path), self.read_body()
        if (method, url.path) == ("GET", "/healthz"):
            return Answer(200, {"status": "ok"})
        if not url.path.startswith(("/v1/", "/_control/")):
            return self.page(method, url.path, body)
        if self.headers.get("Authorization") != f"Bearer {self.key}":
            raise Refused(401, "invalid_request_error", "Invalid API Key provided, or none.")
        if url.path.startswith("/_control/"):
            return self.control(method, url.path.removeprefix("/_control/"), url.query, body)
        return self.api_late(method, url.path, url.query if method != "POST" else body, request)

    def read_body(self) -> str:
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            raise Refused(413, "invalid_request_error", f"A body has a length, of at most {BODY_BYTES_MAX} bytes.")
        try:
            return self.rfile.read(int(length)).decode()
        except UnicodeDecodeError:
            raise wrong("The body is not UTF-8.") from None

    # The API ---------------------------------------------------------------------------------------------------------

    def api(self, method: str, path: str, query: str, request: str) -> Answer:
        controls = self.book.controls
        if controls["hang_seconds"]:
            time.sleep(float(controls["hang_seconds"]))  # the control that was asked for
            if self.is_client_gone():
                return Answer(0)
        if controls["down"]:
            return Answer(503, b"<html><body>Service unavailable</body></html>", {"Content-Type": "text/html"})
        if self.headers.get("Stripe-Version") != self.book.api_version:
            raise wrong(f"Invalid Stripe API version: this stand-in speaks {self.book.api_version} and no other.")
        if self.headers.get("Stripe-Account"):
            raise Refused(403, "invalid_request_error", "There are no connected accounts here.")
        if method == "POST" and query and "x-www-form-urlencoded" not in (self.headers.get("Content-Type") or ""):
            raise wrong("The Content-Type header must be application/x-www-form-urlencoded.")
        try:
            given = forms.read(query)
        except ValueError:
            raise wrong("The parameters cannot be read.") from None
        key = self.headers.get("Idempotency-Key") if method == "POST" else None
        if key is not None and not 0 < len(key) <= 255:
            raise wrong("Idempotency keys are 1 to 255 characters long.")
        with self.book.change():
            if key and (before := self.answered(key, path, query)):
                return before
            self.book.request = {"id": request, "idempotency_key": key}
            try:
                said = Answer(200, endpoints.answer(self.book, method, path, given))
            except Refused as refused:
                if key and refused.is_kept:
                    self.keep(key, path, query, Answer(refused.status, refused.body), request)
                raise
            finally:
                self.book.request = {"id": None, "idempotency_key": None}
            if key:
                self.keep(key, path, query, said, request)
            return said

    def api_late(self, method: str, path: str, query: str, request: str) -> Answer:
        """What the API says, kept back for as long as the controls ask: done, and said too late."""
        try:
            return self.api(method, path, query, request)
        finally:
            time.sleep(float(self.book.controls["late_seconds"]))

    def answered(self, key: str, path: str, query: str) -> Answer | None:
        """What was answered to the same key; another request with it is refused."""
        row = self.book.db.execute("SELECT * FROM answers WHERE key = ?", (key,)).fetchone()
        if not row:
            return None
        if row["fingerprint"] != fingerprint(path, query):
            raise Refused(
                400, "idempotency_error",
                "Keys for idempotent requests can only be used with the same endpoint and the same parameters they "
                f"were first used with. Try using a key other than '{key}'.",
            )  # fmt: skip
        repeated = {"Idempotent-Replayed": "true", "Original-Request": row["request"]}
        return Answer(row["status"], json.loads(row["body"]), repeated)

    def keep(self, key: str, path: str, query: str, said: Answer, request: str) -> None:
        self.book.db.execute(
            "INSERT INTO answers (key, fingerprint, status, body, request) VALUES (?, ?, ?, ?, ?)",
            (key, fingerprint(path, query), said.status, json.dumps(said.body), request),
        )

    def is_client_gone(self) -> bool:
        """Whether the other side has closed the connection while it waited."""
        asked = select.poll()
        asked.register(self.connection, select.POLLIN)
        if not asked.poll(0):
            return False
        try:
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    # The pages -------------------------------------------------------------------------------------------------------

    def page(self, method: str, path: str, body: str) -> Answer:
        found = re.fullmatch(r"/(checkout|invoices|receipts|portal|authenticate)/([A-Za-z0-9_]+)", path)
        if not found:
            raise missing("page", path)
        book, name = self.book, found[2]
        with book.change():
            match method, found[1]:
                case "GET", "invoices":
                    return Answer(200, hosted.invoice(book.get("invoice", name)), hosted.headers())
                case "GET", "receipts":
                    return Answer(200, hosted.charge(book.get("charge", name)), hosted.headers())
                case "GET", "portal":
                    session = book.get("billing_portal.session", name)
                    return Answer(200, hosted.portal(book, session), hosted.headers(session["return_url"]))
                case "POST", "portal":
                    session = book.get("billing_portal.session", name)
                    hosted.press_portal(book, session, parse_qs(body).get("act", [""])[0])
                    return Answer(303, b"", {"Location": path})
                case "GET", "authenticate":
                    intent = book.get("payment_intent", name)
                    return Answer(200, hosted.authenticate(intent), hosted.headers(intent.get("_return_url")))
                case "POST", "authenticate":
                    intent = book.get("payment_intent", name)
                    hosted.press_authenticate(book, intent, parse_qs(body).get("act", [""])[0])
                    return Answer(303, b"", {"Location": intent.get("_return_url") or path})
                case "GET", "checkout":
                    return self.checkout(book.get("checkout.session", name))
                case "POST", "checkout":
                    session = book.get("checkout.session", name)
                    target, trouble = hosted.press(book, session, parse_qs(body).get("act", [""])[0])
                    if target:
                        return Answer(303, b"", {"Location": target})
                    return self.checkout(session, trouble)
        raise missing("page", path)

    def checkout(self, session: Thing, trouble: str = "") -> Answer:
        headers = hosted.headers(session["success_url"], session["cancel_url"])
        return Answer(402 if trouble else 200, hosted.checkout(self.book, session, trouble), headers)

    # The controls ----------------------------------------------------------------------------------------------------

    def control(self, method: str, path: str, query: str, body: str) -> Answer:
        try:
            given = json.loads(body or "{}")
        except ValueError:
            raise wrong("A control takes JSON.") from None
        if not isinstance(given, dict):
            raise wrong("A control takes an object.")
        if (method, path) == ("POST", "flush"):
            return Answer(200, {"waiting": self.deliveries.flush(float(given.get("seconds", 30)))})
        if (method, path) == ("POST", "forget"):
            self.deliveries.forget()
            return Answer(200, dict(self.book.controls))
        with self.book.change():
            if method == "GET":
                asked = {name: values[0] for name, values in parse_qs(query).items()}
                return Answer(200, self.look(path, asked))
            return Answer(200, self.act(path.split("/"), given))

    def look(self, path: str, asked: dict[str, str]) -> Thing:
        book = self.book
        match path:
            case "state":
                return {"now": book.now(), "controls": book.controls, "waiting": self.deliveries.waiting()}
            case "events":
                return {"events": list(book.each("event"))[::-1]}
            case "deliveries":
                rows = book.db.execute("SELECT * FROM deliveries ORDER BY n").fetchall()
                return {"deliveries": [dict(row) for row in rows]}
            case "requests":
                rows = book.db.execute("SELECT * FROM requests ORDER BY n").fetchall()
                return {"requests": [dict(row) for row in rows if asked.get("path") in (None, row["path"])]}
        raise missing("control", path)

    def act(self, path: list[str], given: Thing) -> Thing:
        book = self.book
        match path:
            case ["settings"]:
                if unknown := given.keys() - (CONTROLS.keys() - NOT_SET_BY_HAND):
                    raise wrong(f"Unknown settings: {', '.join(sorted(unknown))}")
                book.set(**given)
                return dict(book.controls)
            case ["webhook"]:
                self.deliveries.webhook_url = given.get("url", self.deliveries.webhook_url)
                self.deliveries.secrets = given.get("secrets", self.deliveries.secrets)
                return {"url": self.deliveries.webhook_url}
            case ["advance"]:
                until = given["to"] if "to" in given else book.now() + given["seconds"]
                renewals.advance(book, int(until))
                return {"now": book.now()}
            case ["pay", name]:
                session = book.get("checkout.session", name)
                outcome = renewals.pay_session(book, session, acts.CARDS[given.get("card", "works")])
                return {"outcome": outcome, "session": session}
            case ["conclude", name]:
                return renewals.conclude(book, book.get("payment_intent", name), is_paid=given.get("paid", True))
            case ["card", name]:
                return acts.give_card(book, name, acts.CARDS[given["card"]])
            case ["pause", name]:
                return renewals.pause(book, book.get("subscription", name))
            case ["refund"]:
                charge = returns.charge_of(book, given.get("payment_intent"), given.get("charge"))
                return returns.refund(book, charge, given.get("amount"), reason=None, metadata={})
            case ["refunds", name]:
                return returns.end_refund(book, book.get("refund", name), given["status"])
            case ["dispute", name]:
                charge = returns.charge_of(book, name, None)
                return returns.dispute(
                    book, charge, given.get("amount"), reason=given.get("reason", "fraudulent"),
                    is_inquiry=given.get("inquiry", False),
                )  # fmt: skip
            case ["disputes", name]:
                return returns.end_dispute(book, book.get("dispute", name), given["status"])
            case ["redeliver", name]:
                book.send(book.get("event", name)["id"], given.get("copies", 1))
                return {"event": name}
            case ["event"]:
                return book.tell(given["type"], given["object"])
        raise missing("control", "/".join(path))


def fingerprint(path: str, query: str) -> str:
    return hashlib.sha256(f"{path}\n{query}".encode()).hexdigest()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError | http.client.HTTPException):
            super().handle_error(request, client_address)
