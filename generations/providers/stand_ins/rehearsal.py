"""The rehearsal provider's server: `python -m generations.providers.stand_ins.rehearsal --port N --state FILE`.

A video provider in small, over real HTTP on loopback, whose outcomes are chosen by words in the prompt
(rehearsal_words.py). It keeps what it accepted in one SQLite file, so that a restart forgets nothing. Without Django.

What a client uses, each with `Authorization: Bearer rehearsal`:
    POST /v1/videos                 {"reference", "prompt", "seconds", "size", "quality"} with an Idempotency-Key → 201
    GET  /v1/videos?reference=…     {"data": [{"id", "reference", "created_at"}]}: the jobs accepted for a reference
    GET  /v1/videos/{id}            {"id", "reference", "status", "progress", "error", …}
    POST /v1/videos/{id}/cancel     200, or 409 when it has ended
    GET  /v1/videos/{id}/content    the MP4

What a test or an operator uses (docs/providers.md): GET /_control/state, /_control/requests, /_control/gates;
POST /_control/advance, /_control/gates, /_control/release, /_control/jobs/{id or reference}, /_control/settings.
"""

import argparse
import contextlib
import http.client
import json
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from imageio_ffmpeg import get_ffmpeg_exe

from generations.providers.child import die_with_parent
from generations.providers.rehearsal_words import SPOILED_POLLS, parse

BODY_BYTES_MAX = 64 * 1024
SUBMIT_429_TIMES = 2
GATE_SECONDS_MAX = 600
POINTS = ("before_accept", "after_accept", "before_poll_answer", "before_output")
SIZES = ("1280x720", "720x1280", "854x480", "640x360", "1920x1080")
QUALITIES = ("draft", "standard", "high")
MESSAGES = {
    "moderation_blocked": "The content was blocked by moderation.",
    "invalid_request": "The request cannot be carried out as it is.",
    "flipped": "The job failed after it had completed.",
}
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, reference TEXT NOT NULL, body TEXT NOT NULL, words TEXT NOT NULL,
    accepted_at REAL NOT NULL, ends_at REAL NOT NULL, polls INTEGER NOT NULL DEFAULT 0,
    said_completed INTEGER NOT NULL DEFAULT 0, cancelled_at REAL, told TEXT
);
CREATE INDEX IF NOT EXISTS jobs_reference ON jobs (reference);
CREATE TABLE IF NOT EXISTS submits (n INTEGER PRIMARY KEY, reference TEXT NOT NULL, status INTEGER NOT NULL, job TEXT);
CREATE INDEX IF NOT EXISTS submits_reference ON submits (reference);
CREATE TABLE IF NOT EXISTS requests (
    n INTEGER PRIMARY KEY, at REAL NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, reference TEXT,
    status INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Answered(Exception):
    """What to answer, from wherever it became clear."""

    def __init__(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers or {}


def error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Answered:
    return Answered(status, {"error": {"code": code, "message": message}}, headers)


SILENCE = Answered(0)  # the connection is closed without a word


_filming = threading.Lock()


def film(folder: Path, size: str, seconds: int) -> bytes:
    """A real MP4 of that size and length: slowly turning colours, made once and kept in the folder."""
    path = folder / f"{size}-{seconds}.mp4"
    with _filming:
        if not path.exists():
            folder.mkdir(exist_ok=True)
            fresh = path.with_suffix(".unfinished")
            colours = f"gradients=s={size}:r=6:d={seconds}:n=3:c0=0x06252c:c1=0x2f8279:c2=0xe9c46a:speed=0.03:seed=11"
            subprocess.run(
                [get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-f", "lavfi",
                 "-i", colours, "-frames:v", str(6 * seconds), "-c:v", "libx264",
                 "-preset", "ultrafast", "-crf", "30", "-pix_fmt",
                 "yuv420p", "-threads", "1", "-movflags", "+faststart", "-f", "mp4", str(fresh)],
                check=True, timeout=120, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            fresh.replace(path)
        return path.read_bytes()


class Gates:
    """Named points at which requests wait until they are let through. Kept in memory: they belong to live requests."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.closed: dict[str, tuple[str, str | None]] = {}
        self.waiting: list[dict[str, Any]] = []

    def close(self, point: str, reference: str | None) -> str:
        with self.changed:
            name = uuid.uuid4().hex
            self.closed[name] = (point, reference)
            return name

    def release(self, name: str | None, point: str | None, reference: str | None) -> int:
        with self.changed:
            opened = [
                one
                for one, (at, who) in self.closed.items()
                if name in (None, one) and point in (None, at) and reference in (None, who)
            ]
            for one in opened:
                del self.closed[one]
            self.changed.notify_all()
            return len(opened)

    def is_closed(self, point: str, reference: str) -> bool:
        return any(at == point and who in (None, reference) for at, who in self.closed.values())

    def summary(self) -> dict[str, Any]:
        with self.changed:
            closed = [{"id": name, "point": at, "reference": who} for name, (at, who) in self.closed.items()]
            return {"closed": closed, "waiting": [here for here in self.waiting if self.is_closed(**here)]}

    def wait(self, point: str, reference: str) -> None:
        """Returns when no gate is closed at the point for this reference."""
        with self.changed:
            here = {"point": point, "reference": reference}
            deadline = time.monotonic() + GATE_SECONDS_MAX
            self.waiting.append(here)
            try:
                while self.is_closed(point, reference):
                    if not self.changed.wait(max(0.0, deadline - time.monotonic())):
                        return
            finally:
                self.waiting.remove(here)


class State:
    """What the stand-in has accepted and been asked, in one SQLite file."""

    def __init__(self, path: Path, defaults: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.lock, self.gates = path, threading.RLock(), Gates()
        self.db = sqlite3.connect(path, check_same_thread=False, timeout=10)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.executescript(SCHEMA)
        self.settings: dict[str, Any] = {"offset_seconds": 0.0} | defaults
        self.settings |= {row["name"]: json.loads(row["value"]) for row in self.db.execute("SELECT * FROM settings")}

    def now(self) -> float:
        return time.time() + float(self.settings["offset_seconds"])

    def set(self, **values: Any) -> None:
        with self.lock, self.db:
            for name, value in values.items():
                self.settings[name] = value
                self.db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def job(self, name: str) -> dict[str, Any]:
        """The job by its id, or the latest of a reference."""
        with self.lock:
            row = self.db.execute(
                "SELECT * FROM jobs WHERE id = ? OR reference = ? ORDER BY accepted_at DESC LIMIT 1", (name, name)
            ).fetchone()
        if not row:
            raise error(404, "unknown_job", "There is no such job.")
        return dict(row) | {"words": json.loads(row["words"]), "told": json.loads(row["told"] or "null")}

    def jobs_of(self, reference: str) -> list[dict[str, Any]]:
        with self.lock:
            rows = self.db.execute(
                "SELECT * FROM jobs WHERE reference = ? ORDER BY accepted_at", (reference,)
            ).fetchall()
        return [{"id": row["id"], "reference": reference, "created_at": round(row["accepted_at"], 3)} for row in rows]

    def logged(self, reference: str | None) -> list[dict[str, Any]]:
        with self.lock:
            rows = [dict(row) for row in self.db.execute("SELECT * FROM requests ORDER BY n").fetchall()]
        return [row for row in rows if reference in (None, row["reference"])]

    def log(self, method: str, path: str, reference: str | None, status: int) -> None:
        with self.lock, self.db:
            self.db.execute(
                "INSERT INTO requests (at, method, path, reference, status) VALUES (?, ?, ?, ?, ?)",
                (self.now(), method, path[:300], reference, status),
            )
            self.db.execute("DELETE FROM requests WHERE n < (SELECT max(n) FROM requests) - 20000")

    # What a submission becomes -----------------------------------------------------------------------------------

    def submit(self, reference: str, body: dict[str, Any]) -> tuple[Answered, float]:
        """What to answer to a submission, and how many seconds to keep that answer back."""
        words = parse(body["prompt"])
        with self.lock, self.db:
            before = self.db.execute("SELECT status, job FROM submits WHERE reference = ?", (reference,)).fetchall()
            answer = self._refusal(words, [row["status"] for row in before])
            job_id = None
            if answer is None:
                accepted = [row["job"] for row in before if row["job"]]
                if accepted and self.settings["idempotent"]:
                    job = self.job(accepted[0])
                    if json.loads(job["body"]) != body:
                        raise error(409, "idempotency_conflict", "This key was used with another request.")
                    return Answered(200, self.describe(job)), 0.0
                job_id = f"reh_{uuid.uuid4().hex}"
                now, late = self.now(), float(words.get("late", 0))
                lasts = float(words.get("slow", self.settings["seconds"]))
                self.db.execute(
                    "INSERT INTO jobs (id, reference, body, words, accepted_at, ends_at) VALUES (?, ?, ?, ?, ?, ?)",
                    (job_id, reference, json.dumps(body), json.dumps(words), now, now + max(lasts, late)),
                )
                answer = Answered(201, self.describe(self.job(job_id)))
            self.db.execute(
                "INSERT INTO submits (reference, status, job) VALUES (?, ?, ?)", (reference, answer.status, job_id)
            )
            is_first = not any(row["job"] for row in before)
            is_late = "timeout_after_accept" in words and job_id and is_first
            return answer, float(self.settings["timeout_accept_seconds"]) if is_late else 0.0

    @staticmethod
    def _refusal(words: dict[str, Any], statuses_before: list[int]) -> Answered | None:
        status = words.get("submit")
        if not status or (status == 429 and statuses_before.count(429) >= SUBMIT_429_TIMES):
            return None
        retry = {"Retry-After": "1"} if status == 429 else None
        return error(status, "rehearsed_refusal", f"Rehearsed answer {status} to a submission.", retry)

    # What is said of a job ---------------------------------------------------------------------------------------

    def poll(self, job_id: str) -> Answered:
        with self.lock, self.db:
            self.db.execute("UPDATE jobs SET polls = polls + 1 WHERE id = ?", (job_id,))
            job = self.job(job_id)
            words, polls = job["words"], job["polls"]
            if not job["told"]:
                if "silent" in words or self.now() < job["accepted_at"] + words.get("late", 0):
                    return SILENCE
                if "poll" in words and polls <= SPOILED_POLLS:
                    retry = {"Retry-After": "1"} if words["poll"] == 429 else None
                    return error(words["poll"], "rehearsed_trouble", "Rehearsed answer to a question.", retry)
                if "garbage" in words and polls <= SPOILED_POLLS:
                    return (
                        Answered(200, b'{"id": "' + job_id.encode() + b'", "status": "comp'),
                        Answered(200, b"<!doctype html><title>Bad gateway</title>", {"Content-Type": "text/html"}),
                        Answered(200, b'[["status", "completed"]]'),
                    )[polls - 1]
            said = self.describe(job)
            if said["status"] == "completed":
                self.db.execute("UPDATE jobs SET said_completed = 1 WHERE id = ?", (job_id,))
            return Answered(200, said)

    def describe(self, job: dict[str, Any]) -> dict[str, Any]:
        status, progress, code, message = self._status(job)
        return {
            "id": job["id"],
            "object": "video",
            "reference": job["reference"],
            "status": status,
            "progress": progress,
            "created_at": round(job["accepted_at"], 3),
            "error": {"code": code, "message": message} if code else None,
        }

    def _status(self, job: dict[str, Any]) -> tuple[str, int, str | None, str | None]:
        words, now = job["words"], self.now()
        if told := job["told"]:
            return told["status"], 100 if told["status"] == "completed" else 50, told.get("code"), told.get("message")
        if job["cancelled_at"] is not None:
            return "cancelled", 0, None, None
        if "unknown_word" in words:
            return "transmogrified", 50, None, None
        if now < job["ends_at"]:
            part = (now - job["accepted_at"]) / max(job["ends_at"] - job["accepted_at"], 0.001)
            if part < 0.1:
                return "queued", 0, None, None
            return "in_progress", max(1, min(99, int(part * 100))), None, None
        named = [name for name in ("moderation_blocked", "invalid_request") if name in words]
        code = words.get("failed") or (named[0] if named else None)
        if "flip" in words and job["said_completed"]:
            code = "flipped"
        elif "flip" in words:
            code = None
        if code:
            return "failed", 100, str(code), MESSAGES.get(str(code), f"Rehearsed failure “{code}”.")
        return "completed", 100, None, None

    def cancel(self, job_id: str) -> Answered:
        with self.lock, self.db:
            job = self.job(job_id)
            if self._status(job)[0] in ("completed", "failed", "incomplete"):
                raise error(409, "not_cancellable", "The job has already ended.")
            if job["cancelled_at"] is None:
                self.db.execute("UPDATE jobs SET cancelled_at = ? WHERE id = ?", (self.now(), job_id))
            return Answered(200, self.describe(self.job(job_id)))

    def tell(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        """From now on the job says this and nothing else."""
        with self.lock, self.db:
            job = self.job(name)
            self.db.execute("UPDATE jobs SET told = ? WHERE id = ?", (json.dumps(told), job["id"]))
            return self.describe(self.job(job["id"]))

    def content(self, job_id: str) -> bytes:
        job = self.job(job_id)
        status = self._status(job)[0]
        if "no_output" in job["words"] or (status in ("failed", "cancelled") and not job["said_completed"]):
            raise error(404, "output_missing", "There is no output of this job.")
        if status != "completed" and not job["said_completed"]:
            raise error(409, "not_ready", "The job has not completed.")
        body = json.loads(job["body"])
        return film(self.path.with_suffix(".outputs"), body["size"], body["seconds"])

    def summary(self) -> dict[str, Any]:
        with self.lock:
            submits: dict[str, dict[str, int]] = {}
            for row in self.db.execute(
                "SELECT reference, count(*) AS n, count(job) AS accepted FROM submits GROUP BY reference"
            ):
                submits[row["reference"]] = {"received": row["n"], "accepted": row["accepted"]}
            jobs = [
                {"id": row["id"], "reference": row["reference"], "polls": row["polls"]}
                for row in self.db.execute("SELECT id, reference, polls FROM jobs ORDER BY accepted_at")
            ]
            return {"now": self.now(), "settings": self.settings, "submits": submits, "jobs": jobs}


class Handler(BaseHTTPRequestHandler):
    state: ClassVar[State]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "rehearsal", ""
    timeout = 30
    reference: str | None = None

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what was asked is in /_control/requests."""

    def do_GET(self) -> None:
        self.answer("GET")

    def do_POST(self) -> None:
        self.answer("POST")

    def answer(self, method: str) -> None:
        self.reference = None
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        try:
            answered = self.route(method, unquote(url.path), query)
        except Answered as raised:
            answered = raised
        except (subprocess.SubprocessError, sqlite3.Error, OSError) as broken:
            answered = error(500, "stand_in_broken", f"{type(broken).__name__}: {broken}")
        if url.path.startswith("/v1/"):
            self.state.log(method, self.path, self.reference, answered.status)
        with contextlib.suppress(OSError):
            self.send(answered)

    def send(self, answered: Answered) -> None:
        if answered.status == 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        raw = answered.body if isinstance(answered.body, bytes) else json.dumps(answered.body).encode()
        self.send_response(answered.status)
        for name, value in ({"Content-Type": "application/json"} | answered.headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def route(self, method: str, path: str, query: dict[str, str]) -> Answered:
        host = (self.headers.get("Host") or "").rpartition(":")[0] or self.headers.get("Host")
        if host not in ("127.0.0.1", "localhost"):
            raise error(421, "wrong_host", "Only this machine is answered.")
        if (method, path) == ("GET", "/healthz"):
            return Answered(200, {"status": "ok"})
        if self.headers.get("Authorization") != "Bearer rehearsal":
            self.close_connection = True
            raise error(401, "unauthorized", "The Authorization header is missing or wrong.")
        body = self.read_json() if method == "POST" else {}
        if path.startswith("/_control/"):
            return self.control(method, path.removeprefix("/_control/"), query, body)
        if (method, path) == ("POST", "/v1/videos"):
            return self.submit(body)
        if (method, path) == ("GET", "/v1/videos"):
            return self.look_up(query)
        if found := re.fullmatch(r"/v1/videos/([\w-]+)(/cancel|/content)?", path, re.ASCII):
            job = self.state.job(found[1])
            if job["id"] != found[1]:
                raise error(404, "unknown_job", "There is no such job.")
            self.reference = job["reference"]
            if (method, found[2]) == ("GET", None):
                self.state.gates.wait("before_poll_answer", job["reference"])
                return self.state.poll(job["id"])
            if (method, found[2]) == ("POST", "/cancel"):
                return self.state.cancel(job["id"])
            if (method, found[2]) == ("GET", "/content"):
                self.state.gates.wait("before_output", job["reference"])
                return Answered(200, self.state.content(job["id"]), {"Content-Type": "video/mp4"})
        raise error(404, "not_found", "There is nothing here.")

    def read_json(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self.close_connection = True
            raise error(411, "length_required", "The Content-Length header is missing.")
        if int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            raise error(413, "too_large", f"A body is at most {BODY_BYTES_MAX} bytes.")
        raw = self.rfile.read(int(length))
        if (self.headers.get("Content-Type") or "").partition(";")[0].strip() != "application/json":
            raise error(400, "wrong_content_type", "The Content-Type header must be application/json.")
        try:
            body = json.loads(raw or b"{}")
        except (ValueError, RecursionError):
            raise error(400, "unreadable", "The body is not JSON.") from None
        if not isinstance(body, dict):
            raise error(400, "unreadable", "The body is not an object.")
        return body

    def submit(self, body: dict[str, Any]) -> Answered:
        key = self.headers.get("Idempotency-Key")
        if not key:
            raise error(400, "missing_header", "The Idempotency-Key header is missing.")
        self.reference = key
        if wrong := self.wrong_field(body):
            raise error(422, "invalid_field", wrong)
        if body["reference"] != key:
            raise error(422, "invalid_field", "reference and Idempotency-Key differ")
        self.state.gates.wait("before_accept", key)
        if self.is_client_gone():
            return SILENCE  # so that “not found” to a look-up stays true: what was given up is not accepted later
        answered, delay = self.state.submit(key, body)
        if answered.status in (200, 201):
            self.state.gates.wait("after_accept", key)
        time.sleep(delay)  # the documented [timeout_after_accept]: accepted, and said too late
        return answered

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

    @staticmethod
    def wrong_field(body: dict[str, Any]) -> str | None:
        fields = {"reference", "prompt", "seconds", "size", "quality"}
        if unknown := body.keys() - fields:
            return f"unknown fields: {', '.join(sorted(unknown))}"
        if missing := fields - body.keys():
            return f"missing fields: {', '.join(sorted(missing))}"
        if not isinstance(body["reference"], str) or not 1 <= len(body["reference"]) <= 200:
            return "reference must be a text of 1 to 200 characters"
        if not isinstance(body["prompt"], str) or not 1 <= len(body["prompt"]) <= 2000:
            return "prompt must be a text of 1 to 2000 characters"
        if type(body["seconds"]) is not int or not 1 <= body["seconds"] <= 20:
            return "seconds must be a whole number from 1 to 20"
        if body["size"] not in SIZES:
            return f"size must be one of {', '.join(SIZES)}"
        return None if body["quality"] in QUALITIES else f"quality must be one of {', '.join(QUALITIES)}"

    def look_up(self, query: dict[str, str]) -> Answered:
        if not query.get("reference"):
            raise error(400, "missing_parameter", "Name a reference.")
        self.reference = query["reference"]
        return Answered(200, {"data": self.state.jobs_of(self.reference)})

    def control(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answered:
        state, gates = self.state, self.state.gates
        reference = body.get("reference")
        match method, path.split("/"):
            case "GET", ["state"]:
                return Answered(200, state.summary())
            case "GET", ["requests"]:
                return Answered(200, {"requests": state.logged(query.get("reference"))})
            case "GET", ["gates"]:
                return Answered(200, gates.summary())
            case "POST", ["gates"]:
                if body.get("point") not in POINTS:
                    raise error(422, "invalid_field", f"point must be one of {', '.join(POINTS)}")
                return Answered(201, {"id": gates.close(body["point"], reference)})
            case "POST", ["release"]:
                return Answered(200, {"released": gates.release(body.get("id"), body.get("point"), reference)})
            case "POST", ["advance"]:
                if isinstance(body.get("seconds"), bool) or not isinstance(body.get("seconds"), int | float):
                    raise error(422, "invalid_field", "seconds must be a number")
                state.set(offset_seconds=float(state.settings["offset_seconds"]) + body["seconds"])
                return Answered(200, {"now": state.now()})
            case "POST", ["jobs", name]:
                if not isinstance(body.get("status"), str):
                    raise error(422, "invalid_field", "status must be a text")
                return Answered(200, state.tell(name, {key: body.get(key) for key in ("status", "code", "message")}))
            case "POST", ["settings"]:
                if unknown := body.keys() - {"idempotent", "seconds", "timeout_accept_seconds"}:
                    raise error(422, "invalid_field", f"unknown settings: {', '.join(sorted(unknown))}")
                state.set(**body)
                return Answered(200, {"settings": state.settings})
        raise error(404, "not_found", "There is nothing here.")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError | http.client.HTTPException):
            super().handle_error(request, client_address)


def serve(handler: type[BaseHTTPRequestHandler], port: int) -> None:
    """Answers on loopback until it is told to stop, once it has said on which port."""
    server = Server(("127.0.0.1", port), handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"ready http://127.0.0.1:{server.server_address[1]}", flush=True)  # noqa: T201
    server.serve_forever(poll_interval=0.1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="rehearsal", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, required=True, help="0 chooses a free one")
    parser.add_argument("--state", type=Path, required=True, help="the SQLite file")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a job takes without words")
    parser.add_argument(
        "--timeout-accept-seconds", type=float, default=15.0, help="how late [timeout_after_accept] answers"
    )
    parser.add_argument("--idempotent", action="store_true", help="a second submit with the same key is the same job")
    options = parser.parse_args()
    die_with_parent()
    defaults = {
        "seconds": options.seconds,
        "timeout_accept_seconds": options.timeout_accept_seconds,
        "idempotent": options.idempotent,
    }
    Handler.state = State(options.state, defaults)
    serve(Handler, options.port)


if __name__ == "__main__":
    main()
