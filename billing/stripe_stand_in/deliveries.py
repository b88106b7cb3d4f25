"""Sends events to the webhook, signed, and again until it has taken them."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import threading
import time
from urllib.parse import urlsplit

from .book import Book, Thing, outward

PAUSES_SECONDS = (0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)
TRIES_MAX = 1000
FLUSH_PAUSE_SECONDS = 0.1
TIMEOUT_SECONDS = 15
SENDERS = 8


def signature(body: bytes, secrets: list[str], moment: int) -> str:
    """The Stripe-Signature header: one v1 signature by each secret, as while a secret is being replaced."""
    signed = str(moment).encode() + b"." + body
    each = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={moment}", *(f"v1={one}" for one in each)])


class Deliveries:
    """Takes what is due from the book and sends it, in threads of its own."""

    def __init__(self, book: Book, base_url: str, webhook_url: str, secrets: list[str], host: str = "") -> None:
        self.host = host
        self.book, self.base_url, self.webhook_url, self.secrets = book, base_url, webhook_url, secrets
        self.going: set[int] = set()

    def start(self) -> None:
        for _ in range(SENDERS):
            threading.Thread(target=self._run, daemon=True).start()

    def waiting(self) -> int:
        """How many have not been taken yet."""
        with self.book.lock:
            row = self.book.db.execute("SELECT count(*) FROM deliveries WHERE ended_at IS NULL").fetchone()
            return int(row[0])

    def flush(self, seconds: float) -> int:
        """How many are still waiting when none was, or the time was over. Their pauses are cut short."""
        until = time.monotonic() + seconds
        with self.book.news:
            while (left := self.waiting()) and time.monotonic() < until:
                soon = time.time() + FLUSH_PAUSE_SECONDS
                self.book.db.execute(
                    "UPDATE deliveries SET next_at = ? WHERE ended_at IS NULL AND next_at > ?", (soon, soon)
                )
                self.book.news.notify_all()
                self.book.news.wait(0.2)
            return left

    def forget(self) -> None:
        """Nothing is waiting or on its way, and nothing has ever happened."""
        with self.book.news:
            with self.book.change():
                self.book.forget()
            until = time.monotonic() + TIMEOUT_SECONDS
            while self.going and time.monotonic() < until:
                self.book.news.wait(0.2)

    def _run(self) -> None:
        while True:
            number, event, tries = self._take()
            status = self._send(event)
            self._note(number, tries + 1, status)

    def _take(self) -> tuple[int, Thing, int]:
        """The next that is due; waits for one."""
        with self.book.news:
            while True:
                controls = self.book.controls
                if self.webhook_url and controls["deliver"] and len(self.going) < int(controls["at_once"]):
                    order = "DESC" if controls["reorder"] else "ASC"
                    rows = self.book.db.execute(
                        "SELECT n, event, tries FROM deliveries WHERE ended_at IS NULL AND next_at <= ? "  # noqa: S608
                        f"ORDER BY n {order} LIMIT 40",
                        (time.time(),),
                    )
                    for row in rows:
                        if row["n"] not in self.going:
                            self.going.add(row["n"])
                            return row["n"], self.book.get("event", row["event"]), row["tries"]
                self.book.news.wait(0.25)

    def _send(self, event: Thing) -> int:
        """The webhook's status, 0 where nobody answered."""
        body = json.dumps(outward(event, self.base_url), indent=2).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (rehearsal)",
            "Stripe-Signature": signature(body, self.secrets, int(time.time())),
        }
        if self.host:
            headers["Host"] = self.host
        url = urlsplit(self.webhook_url)
        client = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=TIMEOUT_SECONDS)
        try:
            client.request("POST", url.path or "/", body, headers)
            answer = client.getresponse()
            answer.read(65_536)
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            client.close()

    def _note(self, number: int, tries: int, status: int) -> None:
        with self.book.change():
            self.going.discard(number)
            if 200 <= status < 300 or tries >= TRIES_MAX:
                ended, next_at = time.time(), 0.0
            else:
                pause = self.book.controls["retry_seconds"]
                if pause is None:
                    pause = PAUSES_SECONDS[min(tries, len(PAUSES_SECONDS)) - 1]
                ended, next_at = None, time.time() + pause
            self.book.db.execute(
                "UPDATE deliveries SET tries = ?, status = ?, ended_at = ?, next_at = ? WHERE n = ?",
                (tries, status, ended, next_at, number),
            )
