"""The named points of a job's trip at which everything can be made to wait, and what can be killed there.

Nothing in the product knows of it. A job waits because its provider's stand-in keeps the answer back at a gate, or
because this process holds a row's lock. Leases end early because the instance's database gets a movable clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from config.embedded import DATABASE, socket_folder
from tests.generations.providers.conftest import StandIn
from tests.instance import Instance, until

PATIENCE_SECONDS = 300.0
SHORT = {"seconds": 1, "size": "640x360", "quality": "draft"}
# How long a worker may hold a job for itself before others take it as given up; longest while it fetches an output
# (lifecycle.claim_fetch).
LEASE_SECONDS = 185

MOVABLE_CLOCK = """
CREATE TABLE holdfast_clock ("offset" interval NOT NULL);
INSERT INTO holdfast_clock VALUES ('0');
CREATE OR REPLACE FUNCTION holdfast_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
  AS 'SELECT clock_timestamp() + (SELECT "offset" FROM holdfast_clock)';
"""

# So long a worker waits for its provider (PROVIDER_TIMEOUT_SECONDS), less a little; then it has left the gate.
GATE_SECONDS = 9.0

# Where the job's row, or its account's, is locked by us while the worker comes from the gate to that lock.
JOB = "SELECT 1 FROM generations_generation WHERE id = %(job)s FOR NO KEY UPDATE"
ACCOUNT = "SELECT 1 FROM billing_account WHERE id = %(account)s FOR NO KEY UPDATE"


@dataclass(frozen=True)
class Point:
    """Where a job waits: at a gate of its provider; or, the gate passed, before a row that we have locked."""

    name: str
    gate: str = ""
    lock: str = ""
    needs_success: bool = False


POINTS = (
    Point("starting", lock=ACCOUNT),
    Point("before submit", "before_accept"),
    Point("after accept", "after_accept"),
    Point("accepted, before its commit", "after_accept", JOB),
    Point("before the answer to a poll", "before_poll_answer"),
    Point("answered, before the verdict's commit", "before_poll_answer", JOB),
    Point("after the verdict", "before_output", needs_success=True),
    Point("after the fetch", "before_output", JOB, needs_success=True),
    Point("inside capture", "before_output", ACCOUNT, needs_success=True),
)
OF_NAME = {point.name: point for point in POINTS}
VICTIMS = ("worker", "web", "database", "backend", "up")
# By what the command line of a child of `up` is known.
WORDS = {"worker": "config.queue", "web": "gunicorn", "database": "bin/postgres"}
SUCCESS, FAILURE = "A lighthouse at dawn", "A lighthouse at dawn [moderation_blocked]"


class Missed(AssertionError):
    """The machine was too slow: a worker had left its gate before everybody was there."""


@dataclass(frozen=True)
class Person:
    account: uuid.UUID
    token: str


@dataclass
class Waiting:
    """A job on its way, and what keeps it at its point."""

    point: Point
    person: Person
    prompt: str
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    job: str = ""
    gate: str = ""
    gate_at: float = 0.0
    locked: psycopg.Connection[Any] | None = None
    asked: Future[tuple[int, Any]] | None = None
    # Whether the gate or the lock opens while the victim is still away, or only when it is back.
    opens_early: bool = False
    jobs_before: int = 0

    @property
    def pays(self) -> bool:
        return self.prompt == SUCCESS


class Wharf:
    """A running instance with a provider's stand-in of its own, people with credits, and an eye on its database."""

    def __init__(self, folder: Path, people: int) -> None:
        folder.chmod(0o711)
        self.stand_in = StandIn(folder / "provider.sqlite3", "--seconds", "0.3")
        self.instance = Instance(folder / "data", HOLDFAST_REHEARSAL_URL=self.stand_in.url)
        self.threads = ThreadPoolExecutor(16)
        try:
            self.instance.start().ready()
            self.ask(MOVABLE_CLOCK)
            self.people = self._make_people(people)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Nothing that was started here is left."""
        try:
            self.instance.stop()
            self.instance.nothing_left()
        finally:
            for pid in self.instance.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.stand_in.kill()
            self.threads.shutdown(wait=False, cancel_futures=True)

    def _make_people(self, number: int) -> list[Person]:
        made = self.instance.command("shell", "--no-imports", "-c", MAKE_PEOPLE % {"number": number})
        return [Person(uuid.UUID(account), token) for account, token in json.loads(made.stdout.splitlines()[-1])]

    # What is seen and told from outside

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(socket_folder(self.instance.data_dir)),
            user=DATABASE,
            dbname=DATABASE,
            connect_timeout=5,
            **options,
        )

    def ask(self, sql: str, **facts: Any) -> list[dict[str, Any]]:
        """The rows of a statement, over a connection that is not the instance's."""
        with self.connect(autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(sql, facts or None)
            return cursor.fetchall() if cursor.description else []

    def advance(self, seconds: float) -> None:
        """The ledger's clock shows so much more: leases end."""
        self.ask('UPDATE holdfast_clock SET "offset" = "offset" + make_interval(secs => %(seconds)s)', seconds=seconds)

    def http(self, person: Person, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        """Status and body of an answer; status 0 where the connection broke."""
        headers = {"Authorization": f"Bearer {person.token}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        data = None if body is None else json.dumps(body).encode()
        address = path if path.startswith("http") else self.instance.url + path
        asked = urllib.request.Request(address, data, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                status, raw, kind = answer.status, answer.read(), answer.headers.get_content_type()
        except urllib.error.HTTPError as error:
            status, raw, kind = error.code, error.read(), error.headers.get_content_type()
        except OSError:
            return 0, None
        return status, json.loads(raw) if kind == "application/json" else raw

    def generate(self, waiting: Waiting) -> tuple[int, Any]:
        body = {"operation": "ai/video", "provider": "rehearsal", "inputs": SHORT | {"prompt": waiting.prompt}}
        return self.http(waiting.person, "POST", "/api/generate", body, waiting.key)

    # To a point and away from it

    def bring(self, *wanted: tuple[Point, Person, str]) -> list[Waiting]:
        """A job of each person waits at each point: first all of them at their gates, then those with locks at these.

        At most three that need a worker: the worker has four processes, and one sweeps.
        """
        for _ in range(3):
            all_waiting = [Waiting(*one) for one in wanted]
            list(self.threads.map(self._to_gate, all_waiting))
            try:
                list(self.threads.map(self._to_lock, all_waiting))
                if all(waiting.locked or self._is_at_gate(waiting) for waiting in all_waiting):
                    return all_waiting
            except Missed:
                pass
            for waiting in all_waiting:
                self.let_go(waiting)
            for waiting in all_waiting:
                self.check(waiting)
        raise Missed("three times")

    def _to_gate(self, waiting: Waiting) -> None:
        counted = self.ask(
            "SELECT count(*) FROM generations_generation WHERE account_id = %(account)s", account=waiting.person.account
        )
        waiting.jobs_before = counted[0]["count"]
        if not waiting.point.gate:
            return
        # The job's id is not known before it is on its way: first everybody's gate is closed, then its own.
        everybody = self.stand_in.post("gates", point=waiting.point.gate)["id"]
        try:
            status, said = self.generate(waiting)
            assert status == 202, (status, said)
            waiting.job = said["id"]
            waiting.gate = self.stand_in.post("gates", point=waiting.point.gate, reference=waiting.job)["id"]
        finally:
            self.stand_in.post("release", id=everybody)
        until(lambda: self._is_at_gate(waiting), PATIENCE_SECONDS, f"{waiting.point.name}: at its gate")
        waiting.gate_at = time.monotonic()
        status, said = self.http(waiting.person, "GET", f"/api/status/{waiting.job}")
        assert (status, said["output"], said["credits"]["outcome"]) == (200, [], None), (status, said)

    def _is_at_gate(self, waiting: Waiting) -> bool:
        here = {"point": waiting.point.gate, "reference": waiting.job}
        if waiting.gate_at and time.monotonic() - waiting.gate_at > GATE_SECONDS:
            return False
        return here in self.stand_in.get("gates")["waiting"]

    def _to_lock(self, waiting: Waiting) -> None:
        if not waiting.point.lock:
            return
        waiting.locked = self.connect()
        waiting.locked.execute(waiting.point.lock, {"job": waiting.job or None, "account": waiting.person.account})
        if waiting.gate:
            self.stand_in.post("release", id=waiting.gate)
        else:
            waiting.asked = self.threads.submit(self.generate, waiting)
        try:
            until(lambda: self.waiting_for(waiting), GATE_SECONDS, f"{waiting.point.name}: at the lock")
        except AssertionError as error:
            raise Missed(str(error)) from None

    def waiting_for(self, waiting: Waiting) -> list[int]:
        """The server's processes that wait for the row which we hold for this job."""
        assert waiting.locked is not None
        rows = self.ask(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'holdfast-%%'"
            " AND %(us)s = ANY(pg_blocking_pids(pid))",
            us=waiting.locked.info.backend_pid,
        )
        return [row["pid"] for row in rows]

    def open(self, waiting: Waiting) -> None:
        """Nothing keeps the job back any more."""
        if waiting.locked is not None:
            with contextlib.suppress(psycopg.Error):
                waiting.locked.close()
        if waiting.gate:
            self.stand_in.post("release", id=waiting.gate)

    def let_go(self, waiting: Waiting) -> None:
        """The job goes on. A request whose answer was lost is sent again with the same key."""
        self.open(waiting)
        if waiting.asked is None:
            return
        answers = [waiting.asked.result(PATIENCE_SECONDS)]

        def accepted() -> bool:
            status, said = answers[-1]
            if status == 202:
                waiting.job = said["id"]
            else:
                assert status in (0, 409, 500, 502, 503), answers
                answers.append(self.generate(waiting))
            return bool(waiting.job)

        until(accepted, PATIENCE_SECONDS, f"the same request is answered: {answers}")

    # Kill and come back

    def kill(self, victim: str, all_waiting: Sequence[Waiting] = ()) -> None:
        """The victim has been killed with -9 and everything answers again; the leases of dead workers have ended."""
        instance, word, pids = self.instance, WORDS.get(victim, ""), []
        if victim == "up":
            instance.kill()
        elif victim == "backend":
            pids = [pid for one in all_waiting if one.locked for pid in self.waiting_for(one)] or self._backends()
            os.kill(pids[0], signal.SIGKILL)
        else:
            pids = instance.children(word)
            (os.kill if victim == "database" else os.killpg)(pids[0], signal.SIGKILL)
        for one in all_waiting:
            if one.opens_early:
                self.open(one)
        if victim == "up":
            instance.nothing_left()
            instance.start().ready()
        elif word:
            until(lambda: set(instance.children(word)) - set(pids), PATIENCE_SECONDS, f"a new {victim}")
        until(self.answers, PATIENCE_SECONDS, "the database and the web server answer")
        if victim not in ("web", "backend"):  # else nobody with a lease has died
            self.advance(LEASE_SECONDS)

    def _backends(self) -> list[int]:
        rows = self.ask("SELECT pid FROM pg_stat_activity WHERE application_name = 'holdfast-worker'")
        return [row["pid"] for row in rows]

    def answers(self) -> bool:
        assert self.instance.is_running, "up gave up:\n" + "\n".join(self.instance.errors[-20:])
        try:
            self.ask("SELECT 1")
            return self.instance.get("/healthz")[0] == 200
        except (psycopg.Error, OSError):
            return False

    # What must be true in the end

    def ended(self, waiting: Waiting) -> dict[str, Any]:
        """The job's row, once it has been settled."""

        def is_ended() -> bool:
            assert self.instance.is_running, "up gave up:\n" + "\n".join(self.instance.errors[-20:])
            with contextlib.suppress(psycopg.Error):
                (row,) = self.ask("SELECT * FROM generations_generation WHERE id = %(job)s", job=waiting.job)
                rows.append(row)
                return row["ended_at"] is not None
            return False

        rows: list[dict[str, Any]] = []
        try:
            until(is_ended, PATIENCE_SECONDS, f"{waiting.point.name}: settled")
        except AssertionError as error:
            raise AssertionError(f"{error}; the job stood so: {rows[-1:]}") from None
        return rows[-1]

    def check(self, waiting: Waiting) -> None:
        """Accepted once, held once, settled once, and delivered exactly when paid."""
        row = self.ended(waiting)
        job, account = waiting.job, waiting.person.account
        at = waiting.point.name
        submits = self.stand_in.submits(job)
        assert submits["accepted"] == 1, f"{at}: accepted {submits}"
        jobs = self.ask("SELECT count(*) FROM generations_generation WHERE account_id = %(account)s", account=account)
        assert jobs[0]["count"] == waiting.jobs_before + 1, f"{at}: one job, and no other"
        (hold,) = self.ask("SELECT * FROM billing_hold WHERE id = %(hold)s", hold=row["hold_id"])
        lines = self.ask(
            "SELECT kind, amount FROM billing_entry WHERE hold_id = %(hold)s ORDER BY sequence", hold=hold["id"]
        )
        kinds = [line["kind"] for line in lines]
        outputs = self.ask("SELECT * FROM generations_output WHERE generation_id = %(job)s", job=job)
        status, said = self.http(waiting.person, "GET", f"/api/status/{job}")
        assert status == 200, (status, said)
        if waiting.pays:
            assert kinds == ["hold", "capture"], f"{at}: {kinds}"
            assert (row["state"], row["outcome"], hold["state"]) == ("succeeded", "charged", "captured"), f"{at}: {row}"
            assert hold["captured"] == row["charged_amount"] > 0
            assert [output["released_at"] is not None for output in outputs] == [True], f"{at}: {outputs}"
            (link,) = said["output"]
            status, file = self.http(waiting.person, "GET", link["url"])
            assert (status, len(file)) == (200, link["bytes"]), f"{at}: the output can be had"
        else:
            assert kinds == ["hold", "release"], f"{at}: {kinds}"
            assert (row["state"], row["outcome"], hold["state"]) == ("failed", "refunded", "released"), f"{at}: {row}"
            assert outputs == []
            assert said["output"] == []

    def reconcile(self) -> dict[str, Any]:
        done = self.instance.command("reconcile", "--json", check=False)
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["clean"], report
        return report


MAKE_PEOPLE = """
import json
from allauth.account.models import EmailAddress
from django.contrib.auth.models import User
from billing import credits, ledger, tokens
from billing.people import open_account
made = []
for number in range(%(number)d):
    name = f"person-{number}@faults.example"
    user = User.objects.create_user(name, name, "a long password")
    EmailAddress.objects.create(user=user, email=name, verified=True, primary=True)
    account = open_account(user)
    ledger.grant(account.id, amount=100 * credits.MICRO, source="pack")
    made.append((str(account.id), tokens.make(user, account, name="faults", scope="spend")[1]))
print(json.dumps(made))
"""


@contextlib.contextmanager
def wharf(people: int) -> Iterator[Wharf]:
    with tempfile.TemporaryDirectory(prefix="holdfast-faults-", ignore_cleanup_errors=True) as name:
        made = Wharf(Path(name), people)
        try:
            yield made
        finally:
            made.close()
