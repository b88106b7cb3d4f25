"""What the small Stripe knows, in one SQLite file: objects, events, deliveries, answers given, its clock, its controls.

Everything one request changes is written together or not at all, the events it makes included.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import string
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from .refusals import missing, wrong

Thing = dict[str, Any]
PREFIXES = {
    "customer": "cus_", "product": "prod_", "price": "price_", "checkout.session": "cs_test_", "payment_intent": "pi_",
    "setup_intent": "seti_", "payment_method": "pm_1", "charge": "ch_", "refund": "re_", "dispute": "du_",
    "invoice": "in_1", "invoiceitem": "ii_", "line_item": "il_", "item": "li_", "invoice_payment": "inpay_",
    "subscription": "sub_1", "subscription_item": "si_", "billing_portal.session": "bps_",
    "billing_portal.configuration": "bpc_", "balance_transaction": "txn_", "event": "evt_1", "request": "req_",
}  # fmt: skip
SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_of_kind ON objects (kind, n);
CREATE TABLE IF NOT EXISTS deliveries (
    n INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL,
    ended_at REAL, status INTEGER
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (next_at) WHERE ended_at IS NULL;
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL, request TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS requests (
    n INTEGER PRIMARY KEY, at REAL NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, key TEXT, status INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
# What tests and operators may set. Nothing here is Stripe's.
CONTROLS: dict[str, Any] = {
    "offset_seconds": 0.0,  # how far this clock is ahead
    "deliver": True,  # false: events wait
    "forget_every": 0,  # every n-th event is never delivered; it stands in the list
    "copies": 1,  # how often each event is delivered
    "at_once": 1,  # how many deliveries may be on their way together
    "reorder": False,  # the newest event first
    "retry_seconds": None,  # a fixed pause between tries; None: growing ones
    "hang_seconds": 0.0,  # how long the API waits before it does anything
    "late_seconds": 0.0,  # how long it waits after it has done it, before it says so
    "down": False,  # the API answers 503
    "events_made": 0,
    "invoices_made": 0,
    "dunning_ends": "canceled",  # what a subscription is after the last failed try: or "unpaid", or "past_due"
    "refunds_become": "succeeded",  # or "pending", until a control says how they end
}


BASE = "@base"  # stands for this server's own address in what is kept: after a restart it may listen elsewhere


def outward(thing: Any, base_url: str) -> Any:
    """The thing as others see it: without what begins with an underscore, with addresses that lead here."""
    if isinstance(thing, dict):
        return {name: outward(value, base_url) for name, value in thing.items() if not name.startswith("_")}
    if isinstance(thing, list):
        return [outward(value, base_url) for value in thing]
    if isinstance(thing, str) and thing.startswith(BASE):
        return base_url + thing.removeprefix(BASE)
    return thing


class Book:
    """The file, one request at a time."""

    def __init__(self, path: Path, *, api_version: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self.api_version = api_version
        self.lock = threading.RLock()
        self.news = threading.Condition(self.lock)
        self.request: Thing = {"id": None, "idempotency_key": None}
        self.db = sqlite3.connect(path, check_same_thread=False, timeout=10, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.executescript(SCHEMA)
        self.controls = CONTROLS | self._stored()

    def _stored(self) -> Thing:
        return {row["name"]: json.loads(row["value"]) for row in self.db.execute("SELECT * FROM settings")}

    @contextmanager
    def change(self) -> Iterator[None]:
        """What is written inside stands together; a refusal that is to be kept does not undo it."""
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException as error:
                if not getattr(error, "is_kept", False):
                    self.db.execute("ROLLBACK")
                    self.controls = CONTROLS | self._stored()
                    raise
                self.db.execute("COMMIT")
                self.news.notify_all()
                raise
            self.db.execute("COMMIT")
            self.news.notify_all()

    def forget(self) -> None:
        """Nothing has ever happened; the clock is right."""
        for table in ("objects", "deliveries", "answers", "requests", "settings"):
            self.db.execute(f"DELETE FROM {table}")  # noqa: S608 (our own names)
        self.controls = dict(CONTROLS)

    def set(self, **values: Any) -> None:
        for name, value in values.items():
            self.controls[name] = value
            self.db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def now(self) -> int:
        return int(time.time() + float(self.controls["offset_seconds"]))

    # Objects ---------------------------------------------------------------------------------------------------------

    @staticmethod
    def name(kind: str) -> str:
        """A new id, as Stripe's look."""
        return PREFIXES[kind] + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(24))

    def put(self, thing: Thing) -> Thing:
        """The object as it stands now is written."""
        kind = thing.get("object") or "event"
        self.db.execute(
            "INSERT INTO objects (id, kind, body) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (thing["id"], kind, json.dumps(thing)),
        )
        return thing

    def find(self, name: str | None) -> Thing | None:
        row = self.db.execute("SELECT body FROM objects WHERE id = ?", (name,)).fetchone()
        return json.loads(row["body"]) if row else None

    def get(self, kind: str, name: str | None, param: str = "id", status: int = 404) -> Thing:
        """The object of that kind; refused where there is none."""
        row = self.db.execute("SELECT body FROM objects WHERE id = ? AND kind = ?", (name, kind)).fetchone()
        if not row:
            raise missing(kind.replace(".", " ").replace("payment_method", "PaymentMethod"), str(name), param, status)
        return dict(json.loads(row["body"]))

    def each(self, kind: str, *, before: str | None = None, after: str | None = None) -> Iterator[Thing]:
        """Objects of a kind, newest first; or, `after` one, the next newer first."""
        bound, order, value = "", "DESC", 0
        for cursor, sign in ((before, "<"), (after, ">")):
            if cursor:
                row = self.db.execute("SELECT n FROM objects WHERE id = ? AND kind = ?", (cursor, kind)).fetchone()
                if not row:
                    param = "starting_after" if sign == "<" else "ending_before"
                    raise wrong(f"No such {kind}: '{cursor}'", param, "resource_missing")
                bound, value = f"AND n {sign} ?", row["n"]
                order = "DESC" if sign == "<" else "ASC"
        query = f"SELECT body FROM objects WHERE kind = ? {bound} ORDER BY n {order}"  # noqa: S608 (our own words)
        for row in self.db.execute(query, (kind, value) if bound else (kind,)):
            yield json.loads(row["body"])

    def where(self, kind: str, fits: Callable[[Thing], bool]) -> list[Thing]:
        return [thing for thing in self.each(kind) if fits(thing)]

    # Events ----------------------------------------------------------------------------------------------------------

    def tell(self, kind: str, thing: Thing, previous: Thing | None = None) -> Thing:
        """An event says what the object is now; it is in the list, and due at the webhook unless it is forgotten."""
        body: Thing = {"object": deepcopy(thing)}
        if previous is not None:
            body["previous_attributes"] = previous
        event: Thing = {
            "id": self.name("event"),
            "object": "event",
            "api_version": self.api_version,
            "created": self.now(),
            "data": body,
            "livemode": False,
            "pending_webhooks": 1,
            "request": dict(self.request),
            "type": kind,
        }
        self.put(event)
        made = int(self.controls["events_made"]) + 1
        self.set(events_made=made)
        every = int(self.controls["forget_every"])
        if not every or made % every:
            self.send(event["id"], int(self.controls["copies"]))
        return event

    def send(self, event: str, copies: int = 1) -> None:
        """The event is due at the webhook, once more for each copy."""
        for _ in range(copies):
            self.db.execute("INSERT INTO deliveries (event, next_at) VALUES (?, ?)", (event, time.time()))

    def alter(self, thing: Thing, kind: str | None = None, **changes: Any) -> Thing:
        """The object has these values now; where an event's type is given, the event names the values before."""
        previous = {name: thing.get(name) for name, value in changes.items() if thing.get(name) != value}
        thing.update(changes)
        self.put(thing)
        if kind:
            self.tell(kind, thing, previous)
        return thing
