"""A small OpenAI: `python -m generations.providers.stand_ins.openai --port N [--state FILE]`. Without Django.

Responses (in the background or not), images and videos over real HTTP on loopback, in the shapes of OpenAI's public
API description, with its errors: an unknown field, a missing key or a wrong content type is refused as it would be
there. Nothing is generated: a text says what it is, an image is a plain gradient, a video a plain film. With --state it
forgets nothing when it is restarted.

Words in square brackets in the prompt choose the outcome: those of rehearsal_words.py (of the ones that name an end,
each operation does what the real service does in that case), and these:
    [incomplete max_output_tokens], [incomplete content_filter]   a response ends so
    [cut_json], [html], [reset]   the first three questions are answered so; for images, the one request
    [no_usage]                    it is not said how many tokens were used

What a test or an operator uses, with the same key: GET /_control/state, /_control/requests; POST /_control/advance
{"seconds"}, /_control/jobs/{id or reference} {"status", "code", "message"}, /_control/webhooks {"url", "secret",
"type", "id"} which sends an event signed as OpenAI signs them (Standard Webhooks) and tells what it was answered.
"""

import argparse
import base64
import email.parser
import email.policy
import hashlib
import hmac
import http.client
import io
import json
import math
import re
import socket
import struct
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from PIL import Image

from generations.providers.child import die_with_parent
from generations.providers.rehearsal_words import SPOILED_POLLS, parse
from generations.providers.stand_ins.rehearsal import SILENCE, Answered, film, serve
from generations.providers.stand_ins.rehearsal import Handler as OneRequest

KEY = "sk-stand-in-0123456789abcdef"
BODY_BYTES_MAX = 4 * 1024 * 1024
SUBMIT_429_TIMES = 2
VIDEO_SECONDS = ("4", "8", "12")
VIDEO_SIZES = ("720x1280", "1280x720", "1024x1792", "1792x1024")
IMAGE_SIZES = ("auto", "1024x1024", "1536x1024", "1024x1536")
MODELS = ("gpt-6.1-terra", "gpt-6-luna", "gpt-4o", "gpt-image-2.6-flare", "gpt-image-2.6-sunburst", "sora-2")

RESPONSE_FIELDS = frozenset({
    "access_programs", "background", "background_options", "context_management", "conversation", "image", "include",
    "input", "instructions", "max_output_tokens", "max_tool_calls", "metadata", "model", "moderation",
    "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store", "stream", "stream_options",
    "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user",
})  # fmt: skip
IMAGE_FIELDS = frozenset({
    "background", "complexity", "frame_count", "frame_duration_ms", "model", "moderation", "n", "output_compression",
    "output_format", "partial_images", "prompt", "quality", "safety_identifier", "size", "stream", "svg", "user",
})  # fmt: skip
VIDEO_FIELDS = frozenset({"prompt", "model", "seconds", "size", "input_reference"})

# What the real service says where a word names an end: a response's code, an image's status and code, a video's code.
ENDS: dict[str, tuple[str, int, str, str]] = {
    "moderation_blocked": ("misalignment_policy_violation", 400, "moderation_blocked", "moderation_blocked"),
    "invalid_request": ("invalid_prompt", 400, "invalid_prompt", "invalid_request"),
}
MESSAGES = {
    "misalignment_policy_violation": "A safety policy does not allow this request.",
    "moderation_blocked": "The safety system has rejected this request.",
    "invalid_prompt": "The prompt is not valid.",
    "flipped": "It failed after it had completed.",
}
_INCOMPLETE = re.compile(r"\[incomplete (max_output_tokens|content_filter)\]")
_SPOILED = re.compile(r"\[(cut_json|html|reset)\]")
_NO_USAGE = "[no_usage]"
HTML = b"<!doctype html><title>Bad gateway</title><p>The server is having a moment."
RESET = Answered(-1)


def refused(
    status: int, message: str, code: str | None = None, param: str | None = None, kind: str = "invalid_request_error"
) -> Answered:
    """An error as OpenAI words one."""
    return Answered(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def words_in(prompt: str) -> dict[str, Any]:
    """What the prompt asks to happen."""
    words: dict[str, Any] = dict(parse(prompt))
    if found := _INCOMPLETE.search(prompt):
        words["incomplete"] = found[1]
    if found := _SPOILED.search(prompt):
        words["spoiled"] = found[1]
    if _NO_USAGE in prompt:
        words["no_usage"] = 1
    return words


def spoiled(how: str, answered: Answered) -> Answered:
    raw = json.dumps(answered.body).encode()
    if how == "reset":
        return RESET
    if how == "html":
        return Answered(200, HTML, {"Content-Type": "text/html"})
    return Answered(200, raw[: len(raw) // 2])


def tokens_in(text: str) -> int:
    """About as many as there would be: one for every four bytes."""
    return math.ceil(len(text.encode("utf-8", "replace")) / 4)


def signed(body: bytes, secret: str, event_id: str, timestamp: int) -> dict[str, str]:
    """The headers of an event, signed as Standard Webhooks says and OpenAI does."""
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    of = hmac.new(key, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": "v1," + base64.b64encode(of).decode(),
    }


class State:
    """What was accepted and asked. In memory, and after every change in the file, where there is one."""

    def __init__(self, path: Path | None, options: argparse.Namespace) -> None:
        self.path, self.options, self.lock = path, options, threading.RLock()
        self.kept = None if path else tempfile.TemporaryDirectory(prefix="openai-stand-in-")
        self.folder = path.with_suffix(".outputs") if path else Path(self.kept.name if self.kept else "")
        self.offset = 0.0
        self.jobs: dict[str, dict[str, Any]] = {}
        self.submits: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        if path and path.is_file():
            kept = json.loads(path.read_text())
            self.offset, self.jobs, self.submits = kept["offset"], kept["jobs"], kept["submits"]

    def save(self) -> None:
        if self.path:
            fresh = self.path.with_suffix(".unfinished")
            fresh.write_text(json.dumps({"offset": self.offset, "jobs": self.jobs, "submits": self.submits}))
            fresh.replace(self.path)

    def now(self) -> float:
        return time.time() + self.offset

    def job(self, name: str) -> dict[str, Any] | None:
        """The job by its id, or the latest of a reference."""
        with self.lock:
            found = self.jobs.get(name)
            return found or next((job for job in reversed(self.jobs.values()) if job["reference"] == name), None)

    def take(self, kind: str, reference: str, body: dict[str, Any], prompt: str) -> tuple[dict[str, Any], float]:
        """The job is accepted, or Answered is raised; and how many seconds to keep back the answer that says so."""
        words = words_in(prompt)
        with self.lock:
            before = [submit for submit in self.submits if submit["reference"] == reference]
            status = words.get("submit")
            if status == 429 and [submit["status"] for submit in before].count(429) >= SUBMIT_429_TIMES:
                status = None
            submit = {"reference": reference, "status": status or 200, "job": None}
            self.submits.append(submit)
            self.save()
            if status == 429:
                said = refused(429, "Too many requests.", "rate_limit_exceeded", kind="requests")
                raise Answered(429, said.body, {"Retry-After": "1"})
            if status:
                kind_said = "server_error" if status >= 500 else "invalid_request_error"
                raise refused(status, f"Scripted answer {status} to a submission.", "scripted", kind=kind_said)
            now = self.now()
            job_id = {"response": "resp_", "video": "video_", "image": "img_"}[kind] + uuid.uuid4().hex
            lasts = max(float(words.get("slow", self.options.seconds)), float(words.get("late", 0)))
            job = {
                "id": job_id, "kind": kind, "reference": reference, "body": body, "prompt": prompt, "words": words,
                "accepted_at": now, "ends_at": now + lasts, "polls": 0, "said_completed": False, "cancelled_at": None,
                "told": None, "is_deleted": False,
            }  # fmt: skip
            self.jobs[job_id], submit["job"] = job, job_id
            self.save()
            is_first = not any(submit["job"] for submit in before)
            is_late = "timeout_after_accept" in words and is_first
            return job, float(self.options.timeout_accept_seconds) if is_late else 0.0

    # What is said of a job ---------------------------------------------------------------------------------------

    def status_of(self, job: dict[str, Any]) -> tuple[str, str | None, str | None]:
        """The status, and the code and message of its error."""
        words, now = job["words"], self.now()
        if told := job["told"]:
            return told["status"], told.get("code"), told.get("message")
        if job["cancelled_at"] is not None:
            return "cancelled", None, None
        if "unknown_word" in words:
            return "transmogrified", None, None
        if now < job["ends_at"]:
            return ("queued" if self.progress_of(job) < 10 else "in_progress"), None, None
        is_text = job["kind"] == "response"
        named = (end[0] if is_text else end[3] for name, end in ENDS.items() if name in words)
        code: str | None = words.get("failed") or next(named, None)
        if "flip" in words:
            code = "flipped" if job["said_completed"] else None
        if code:
            return "failed", code, MESSAGES.get(code, f"Scripted failure “{code}”.")
        if "incomplete" in words and job["kind"] == "response":
            return "incomplete", words["incomplete"], None
        return "completed", None, None

    def progress_of(self, job: dict[str, Any]) -> int:
        part = (self.now() - job["accepted_at"]) / max(job["ends_at"] - job["accepted_at"], 0.001)
        return max(0, min(100, int(part * 100)))

    def describe(self, job: dict[str, Any]) -> dict[str, Any]:
        return self.response(job) if job["kind"] == "response" else self.video(job)

    def response(self, job: dict[str, Any]) -> dict[str, Any]:
        status, code, message = self.status_of(job)
        body, is_over = job["body"], status in ("completed", "incomplete", "failed")
        output: list[dict[str, Any]] = []
        if status in ("completed", "incomplete") and code != "content_filter":
            output = [self.message(job, status)]
        asked = tokens_in(job["prompt"] + str(body.get("instructions") or ""))
        made = sum(tokens_in(part.get("text", "")) for item in output for part in item["content"])
        if code == "max_output_tokens":
            made = body["max_output_tokens"]
        usage = {
            "input_tokens": asked,
            "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + made,
        }
        return {
            "id": job["id"],
            "object": "response",
            "created_at": int(job["accepted_at"]),
            "completed_at": int(job["ends_at"]) if status == "completed" else None,
            "status": status,
            "background": bool(body.get("background")),
            "error": {"code": code, "message": message} if status == "failed" else None,
            "incomplete_details": {"reason": code} if status == "incomplete" else None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "max_tool_calls": None,
            "metadata": body.get("metadata") or {},
            "model": body["model"],
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "prompt_cache_key": None,
            "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
            "safety_identifier": body.get("safety_identifier"),
            "service_tier": "default",
            "store": body.get("store", True) is not False,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": "auto",
            "tools": [],
            "top_logprobs": 0,
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": usage if is_over and "no_usage" not in job["words"] else None,
            "user": None,
        }

    @staticmethod
    def message(job: dict[str, Any], status: str) -> dict[str, Any]:
        said: dict[str, Any] = {"type": "refusal", "refusal": "I cannot help with that."}
        if "no_output" not in job["words"]:
            text = f"# A stand-in’s text\n\nNobody wrote this. It was asked for:\n\n> {job['prompt'][:600]}\n"
            cap = 4 * int(job["body"].get("max_output_tokens") or 10_000)
            said = {
                "type": "output_text",
                "text": text.encode("utf-8", "replace")[:cap].decode("utf-8", "ignore"),
                "annotations": [],
                "logprobs": [],
            }
        whole = "completed" if status == "completed" else "incomplete"
        return {
            "id": "msg_" + job["id"][5:],
            "type": "message",
            "status": whole,
            "role": "assistant",
            "content": [said],
        }

    def video(self, job: dict[str, Any]) -> dict[str, Any]:
        status, code, message = self.status_of(job)
        body, created = job["body"], int(job["accepted_at"])
        return {
            "id": job["id"],
            "object": "video",
            "created_at": created,
            "completed_at": int(job["ends_at"]) if status == "completed" else None,
            "expires_at": created + 3600 if status == "completed" else None,
            "status": status,
            "model": body.get("model", "sora-2"),
            "progress": 100 if status == "completed" else min(self.progress_of(job), 99),
            "seconds": body.get("seconds", "4"),
            "size": body.get("size", "720x1280"),
            "prompt": body["prompt"],
            "error": {"code": code, "message": message} if code else None,
            "remixed_from_video_id": None,
        }

    def poll(self, job: dict[str, Any]) -> Answered:
        with self.lock:
            job["polls"] += 1
            words, polls = job["words"], job["polls"]
            said = Answered(200, self.describe(job))
            if not job["told"]:
                if "silent" in words or self.now() < job["accepted_at"] + words.get("late", 0):
                    return SILENCE
                if polls <= SPOILED_POLLS:
                    if status := words.get("poll"):
                        kind = "server_error" if status >= 500 else "invalid_request_error"
                        wrong = refused(status, "Scripted answer to a question.", "scripted", kind=kind)
                        return Answered(status, wrong.body, {"Retry-After": "1"} if status == 429 else None)
                    if "garbage" in words:
                        return spoiled(("cut_json", "html", "cut_json")[polls - 1], said)
                    if how := words.get("spoiled"):
                        return spoiled(how, said)
            if said.body["status"] == "completed":
                job["said_completed"] = True
            self.save()
            return said

    def cancel(self, job: dict[str, Any]) -> Answered:
        with self.lock:
            status = self.status_of(job)[0]
            if not job["body"].get("background"):
                raise refused(400, "Only a response that was created in the background can be cancelled.")
            if status in ("completed", "failed", "incomplete"):
                raise refused(400, f"A response that has {status} cannot be cancelled.")
            if job["cancelled_at"] is None:
                job["cancelled_at"] = self.now()
                self.save()
            return Answered(200, self.describe(job))

    def content(self, job: dict[str, Any]) -> Answered:
        status = self.status_of(job)[0]
        if "no_output" in job["words"] or (status == "failed" and not job["said_completed"]):
            raise refused(404, "There is no content of this video.", "not_found")
        if status != "completed" and not job["said_completed"]:
            raise refused(400, "The video is not ready yet.", "video_not_ready")
        body = job["body"]
        made = film(self.folder, body.get("size", "720x1280"), int(body.get("seconds", "4")))
        return Answered(200, made, {"Content-Type": "video/mp4"})

    def summary(self) -> dict[str, Any]:
        with self.lock:
            counted: dict[str, dict[str, int]] = {}
            for submit in self.submits:
                one = counted.setdefault(submit["reference"], {"received": 0, "accepted": 0})
                one["received"] += 1
                one["accepted"] += submit["job"] is not None
            jobs = [{name: job[name] for name in ("id", "kind", "reference", "polls")} for job in self.jobs.values()]
            return {"now": self.now(), "submits": counted, "jobs": jobs}

    def log(self, method: str, path: str, reference: str | None, status: int) -> None:
        """Kept by the handler, with the headers."""


def picture(size: str) -> bytes:
    """A PNG of that size."""
    width, height = (int(part) for part in ("1024x1024" if size == "auto" else size).split("x"))
    grey = Image.linear_gradient("L").resize((width, height))
    into = io.BytesIO()
    Image.merge("RGB", (grey.point(lambda v: v // 6), grey.point(lambda v: v // 2), grey)).save(into, "PNG")
    return into.getvalue()


class Handler(OneRequest):
    state: ClassVar[Any]
    server_version = "openai-stand-in"

    def do_DELETE(self) -> None:
        self.answer("DELETE")

    def send(self, answered: Answered) -> None:
        if self.path.startswith("/v1/"):
            kept = {name.lower(): value for name, value in self.headers.items() if name.lower() != "authorization"}
            with self.state.lock:
                self.state.requests.append(
                    {"method": self.command, "path": self.path, "status": answered.status, "headers": kept}
                )
                del self.state.requests[:-2000]
        if answered.status == RESET.status:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if answered.status:
            answered.headers = {
                "x-request-id": "req_" + uuid.uuid4().hex,
                "openai-version": "2020-10-01",
                "openai-processing-ms": "1",
            } | answered.headers
        super().send(answered)

    def route(self, method: str, path: str, query: dict[str, str]) -> Answered:
        host = (self.headers.get("Host") or "").rpartition(":")[0] or self.headers.get("Host")
        if host not in ("127.0.0.1", "localhost"):
            raise refused(421, "Only this machine is answered.")
        if (method, path) == ("GET", "/healthz"):
            return Answered(200, {"status": "ok"})
        raw = self.read() if method == "POST" else b""
        self.check_key()
        if path.startswith("/_control/"):
            return self.act(method, path.removeprefix("/_control/"), json.loads(raw or b"{}"))
        routes: list[tuple[str, str, Callable[..., Answered]]] = [
            ("POST", "/v1/responses", lambda: self.create_response(self.read_object(raw))),
            ("POST", "/v1/images/generations", lambda: self.create_image(self.read_object(raw))),
            ("POST", "/v1/videos", lambda: self.create_video(self.read_form(raw))),
            ("GET", "/v1/videos", lambda: self.list_of([self.state.video(job) for job in self.videos()])),
            ("GET", "/v1/models", lambda: self.list_of([self.model(name) for name in self.models()])),
        ]
        for known_method, known_path, act in routes:
            if path == known_path and method == known_method:
                return act()
        if found := re.fullmatch(r"/v1/models/([\w.:-]+)", path, re.ASCII):
            if found[1] not in self.models():
                raise refused(404, f"The model '{found[1]}' does not exist.", "model_not_found", "model")
            return Answered(200, self.model(found[1]))
        if found := re.fullmatch(r"/v1/(responses|videos)/([\w-]+)(/cancel|/content)?", path, re.ASCII):
            return self.of_job(method, found[1], found[2], found[3])
        raise refused(404, f"Invalid URL ({method} {path})")

    def of_job(self, method: str, kind: str, job_id: str, act: str | None) -> Answered:
        job = self.state.jobs.get(job_id)
        if job is None or job["kind"] + "s" != kind or job["is_deleted"]:
            what = "Response" if kind == "responses" else "Video"
            raise refused(404, f"{what} with id '{job_id}' not found.")
        match method, kind, act:
            case "GET", _, None:
                return self.state.poll(job)
            case "POST", "responses", "/cancel":
                return self.state.cancel(job)
            case "GET", "videos", "/content":
                return self.state.content(job)
            case "DELETE", _, None:
                with self.state.lock:
                    job["is_deleted"] = True
                    self.state.save()
                return Answered(200, {"id": job_id, "object": f"{kind[:-1]}.deleted", "deleted": True})
        raise refused(405, f"Not allowed to {method} on this address.", "method_not_supported")

    # What is read of a request -----------------------------------------------------------------------------------

    def read(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            raise refused(413, "The body is too large, or does not say how large it is.")
        return self.rfile.read(int(length))

    def check_key(self) -> None:
        sent = self.headers.get("Authorization") or ""
        if not sent.startswith("Bearer "):
            raise refused(401, "No API key was provided in an Authorization header.")
        key = sent.removeprefix("Bearer ")
        if key != self.state.options.key:
            masked = f"{key[:3]}***{key[-4:]}" if len(key) > 12 else "***"
            raise refused(401, f"Incorrect API key provided: {masked}.", "invalid_api_key")

    def read_object(self, raw: bytes) -> dict[str, Any]:
        kind = (self.headers.get("Content-Type") or "").partition(";")[0].strip()
        if kind != "application/json":
            raise refused(
                400, f"Unsupported content type: '{kind}'. Only 'application/json' is.", "unsupported_content_type"
            )
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            raise refused(400, "The body of the request could not be parsed as JSON.") from None
        if not isinstance(body, dict):
            raise refused(400, "The body of the request is not an object.")
        return body

    def read_form(self, raw: bytes) -> dict[str, Any]:
        kind = self.headers.get("Content-Type") or ""
        if not kind.startswith("multipart/form-data"):
            return self.read_object(raw)
        parser = email.parser.BytesParser(policy=email.policy.HTTP)
        parts = parser.parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + raw)
        found: dict[str, Any] = {}
        for part in parts.iter_parts():
            name = part.get_param("name", header="content-disposition")
            payload = part.get_payload(decode=True)
            found[str(name)] = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
        return found

    def reference_of(self, body: dict[str, Any]) -> str:
        named = (body.get("metadata") or {}).get("holdfast_job") if isinstance(body.get("metadata"), dict) else None
        return self.headers.get("Idempotency-Key") or str(named or "")

    @staticmethod
    def check_fields(body: dict[str, Any], known: frozenset[str], *needed: str) -> None:
        for name in body:
            if name not in known:
                raise refused(400, f"Unknown parameter: '{name}'.", "unknown_parameter", name)
        for name in needed:
            if body.get(name) in (None, ""):
                raise refused(400, f"Missing required parameter: '{name}'.", "missing_required_parameter", name)
            if not isinstance(body[name], str):
                raise refused(400, f"Invalid type for '{name}': expected a string.", "invalid_type", name)

    def check_model(self, body: dict[str, Any]) -> None:
        if body.get("model") not in self.models():
            raise refused(400, f"The model '{body.get('model')}' does not exist.", "model_not_found", "model")

    @staticmethod
    def check_one_of(body: dict[str, Any], name: str, values: tuple[str, ...]) -> None:
        if body.get(name) not in (None, *values):
            raise refused(
                400, f"Invalid value: '{body[name]}'. Supported values are: {', '.join(values)}.", "invalid_value", name
            )

    # What is made ------------------------------------------------------------------------------------------------

    def create_response(self, body: dict[str, Any]) -> Answered:
        self.check_fields(body, RESPONSE_FIELDS, "model", "input")
        self.check_model(body)
        most = body.get("max_output_tokens")
        if most is not None and (type(most) is not int or most < 16):
            raise refused(
                400, "'max_output_tokens' must be a whole number of at least 16.", "integer_below_min_value",
                "max_output_tokens",
            )  # fmt: skip
        metadata = body.get("metadata") or {}
        if not isinstance(metadata, dict) or not all(
            isinstance(value, str) and len(value) <= 512 and len(name) <= 64 for name, value in metadata.items()
        ):
            raise refused(400, "'metadata' must be short texts by short names.", "invalid_type", "metadata")
        if body.get("background") and body.get("store") is False:
            raise refused(400, "'background' needs 'store' to be true.", None, "background")
        if body.get("reasoning") and not re.match(r"gpt-[5-9]|o\d", body["model"]):
            raise refused(
                400, "'reasoning' is not supported with this model.", "unsupported_parameter", "reasoning.effort"
            )
        job, late = self.state.take("response", self.reference_of(body), body, body["input"])
        if not body.get("background"):
            job["ends_at"] = job["accepted_at"]
        said = Answered(200, self.state.response(job))
        time.sleep(late)  # [timeout_after_accept]: accepted, and said too late
        return said

    def create_image(self, body: dict[str, Any]) -> Answered:
        self.check_fields(body, IMAGE_FIELDS, "model", "prompt")
        self.check_model(body)
        self.check_one_of(body, "size", IMAGE_SIZES)
        self.check_one_of(body, "quality", ("auto", "low", "medium", "high"))
        self.check_one_of(body, "output_format", ("png",))
        words = words_in(body["prompt"])
        for name, (_, status, code, _) in ENDS.items():
            if name in words:
                kind = "image_generation_user_error" if code == "moderation_blocked" else "invalid_request_error"
                raise refused(status, MESSAGES[code], code, kind=kind)
        if "failed" in words:
            raise refused(500, "The image could not be made.", str(words["failed"]), kind="server_error")
        job, late = self.state.take("image", self.reference_of(body), body, body["prompt"])
        time.sleep(max(late, float(words.get("slow", 0))))
        if "silent" in words:
            return SILENCE
        size, asked = body.get("size") or "auto", tokens_in(body["prompt"])
        made = {} if "no_output" in words else {"b64_json": base64.b64encode(picture(size)).decode()}
        said = Answered(
            200,
            {
                "created": int(job["accepted_at"]),
                "background": "opaque",
                "data": [made],
                "output_format": "png",
                "quality": body.get("quality") or "medium",
                "size": "1024x1024" if size == "auto" else size,
                "usage": {
                    "input_tokens": asked,
                    "input_tokens_details": {"image_tokens": 0, "text_tokens": asked},
                    "output_tokens": 1056,
                    "total_tokens": asked + 1056,
                },
            },
        )
        how = words.get("spoiled") or ("cut_json" if "garbage" in words else None)
        return spoiled(how, said) if how else said

    def create_video(self, body: dict[str, Any]) -> Answered:
        self.check_fields(body, VIDEO_FIELDS, "prompt")
        body = {"model": "sora-2", "seconds": "4", "size": "720x1280"} | body
        self.check_model(body)
        self.check_one_of(body, "seconds", VIDEO_SECONDS)
        self.check_one_of(body, "size", VIDEO_SIZES)
        job, late = self.state.take("video", self.reference_of(body), body, body["prompt"])
        said = Answered(200, self.state.video(job))
        time.sleep(late)
        return said

    def videos(self) -> list[dict[str, Any]]:
        return [job for job in self.state.jobs.values() if job["kind"] == "video" and not job["is_deleted"]]

    def models(self) -> list[str]:
        return list(self.state.options.models.split(","))

    @staticmethod
    def model(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 1_780_000_000, "owned_by": "stand-in"}

    @staticmethod
    def list_of(data: list[dict[str, Any]]) -> Answered:
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return Answered(200, {"object": "list", "data": data, "has_more": False} | ends)

    # For tests and operators -------------------------------------------------------------------------------------

    def act(self, method: str, path: str, given: dict[str, Any]) -> Answered:
        state = self.state
        match method, path.split("/"):
            case "GET", ["state"]:
                return Answered(200, state.summary())
            case "GET", ["requests"]:
                return Answered(200, {"requests": list(state.requests)})
            case "POST", ["advance"]:
                with state.lock:
                    state.offset += float(given["seconds"])
                    state.save()
                return Answered(200, {"now": state.now()})
            case "POST", ["jobs", name]:
                job = state.job(name)
                if job is None:
                    raise refused(404, "There is no such job.")
                with state.lock:
                    job["told"] = {key: given.get(key) for key in ("status", "code", "message")}
                    state.save()
                return Answered(200, state.describe(job))
            case "POST", ["webhooks"]:
                return self.send_event(given)
        raise refused(404, "There is nothing here.")

    def send_event(self, given: dict[str, Any]) -> Answered:
        """An event is sent to the address, signed, or with what `given` puts in a header's place."""
        timestamp = int(given.get("timestamp") or time.time())
        event_id = given.get("event_id") or "evt_" + uuid.uuid4().hex
        event = {
            "id": event_id,
            "object": "event",
            "created_at": timestamp,
            "type": given["type"],
            "data": {"id": given["id"]},
        }
        raw = json.dumps(event).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "OpenAI/1.0 (stand-in)"}
        headers |= signed(raw, given["secret"], event_id, timestamp) | given.get("headers", {})
        url = urlsplit(given["url"])
        asked = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
        try:
            asked.request("POST", url.path, body=raw, headers=headers)
            answered = asked.getresponse()
            said = answered.read(65_536).decode("utf-8", "replace")
            return Answered(200, {"status": answered.status, "body": said, "sent": raw.decode(), "headers": headers})
        finally:
            asked.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="openai", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, required=True, help="0 chooses a free one")
    parser.add_argument("--state", type=Path, help="a file, so that a restart forgets nothing")
    parser.add_argument("--key", default=KEY, help="the API key that opens it")
    parser.add_argument("--models", default=",".join(MODELS), help="the models that there are, with commas")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a job takes without words")
    parser.add_argument(
        "--timeout-accept-seconds", type=float, default=15.0, help="how late [timeout_after_accept] answers"
    )
    options = parser.parse_args()
    die_with_parent()
    Handler.state = State(options.state, options)
    serve(Handler, options.port)


if __name__ == "__main__":
    main()
