"""Scripted outcomes over real HTTP: a client of the stand-in, chosen by words in the prompt (rehearsal_words.WORDS).

It exists only where nothing real is within reach: it refuses to be made when settings.REHEARSAL_ENABLED is off, and
talks to this machine only.
"""

import json
import re
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from urllib.parse import quote

import httpx
from django.conf import settings

from generations.providers import calls
from generations.providers.base import (
    REFUSING_STATUSES,
    Accepted,
    Answer,
    Job,
    NotCancellable,
    NotOffered,
    OutputUnavailable,
    Provider,
    ProviderError,
    Refused,
    TryLater,
    Unknown,
    is_loopback,
    parse_retry_after,
)
from generations.providers.rehearsal_words import DEFAULT_SENTENCE, WORDS

__all__ = ["DEFAULT_SENTENCE", "WORDS", "Rehearsal", "stand_in_command"]

JSON_BYTES_MAX = 64 * 1024
CREDENTIAL = "rehearsal"


def stand_in_command(port: int, state: Path | str) -> list[str]:
    """What starts the stand-in; it prints `ready http://127.0.0.1:PORT`. Port 0 chooses a free one."""
    return [
        sys.executable,
        "-m",
        "generations.providers.stand_ins.rehearsal",
        "--port",
        str(port),
        "--state",
        str(state),
    ]


def _client(is_repeatable: bool) -> httpx.AsyncClient:
    """One of the process's clients for questions, or the one for what may be sent once only.

    That one keeps no connection open: a stale one would turn a submission into a doubt.
    """
    if not is_repeatable:
        return calls.keep("rehearsal-once", partial(_new_client, 0))
    return calls.keep("rehearsal-questions", partial(_new_client, 8), of=8)


def _new_client(kept_open: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=kept_open)
    return httpx.AsyncClient(follow_redirects=False, trust_env=False, limits=limits)


class Rehearsal(Provider):
    name = "rehearsal"
    title = "Rehearsal"
    operations = frozenset({"ai/video"})
    is_real = False
    has_idempotent_submit = False
    has_lookup = True
    has_cancel = True
    has_progress = True
    has_callbacks = False

    def __init__(self, url: str | None = None, has_idempotent_submit: bool | None = None) -> None:
        """`has_idempotent_submit` says whether the stand-in was told to be (its --idempotent)."""
        if not settings.REHEARSAL_ENABLED:
            raise NotOffered("The rehearsal provider is switched off here (REHEARSAL_ENABLED).")
        self.url = (url or settings.REHEARSAL_URL or "").rstrip("/")
        if not is_loopback(self.url):
            raise NotOffered("REHEARSAL_URL does not name the rehearsal server on this machine.")
        self.timeout_seconds = float(settings.PROVIDER_TIMEOUT_SECONDS)
        if has_idempotent_submit is not None:
            self.has_idempotent_submit = has_idempotent_submit

    async def submit(self, job: Job) -> Accepted:
        body = {"reference": job.id} | {name: job.inputs.get(name) for name in ("prompt", "seconds", "size", "quality")}
        try:
            answered = await self._ask("POST", "/v1/videos", body, {"Idempotency-Key": job.id})
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TryLater(
                "network", "not_connected", "The provider could not be reached; nothing was sent."
            ) from error
        if answered.status in REFUSING_STATUSES:
            raise Refused(answered.status, *answered.error(), answered.evidence())
        if answered.status not in ("200", "201"):
            answered.raise_doubt()
        return Accepted(self._job_id_in(answered, answered.read_object()), answered.evidence())

    async def look_up(self, job: Job) -> Accepted | None:
        answered = await self._ask_connected("GET", f"/v1/videos?reference={quote(job.id, safe='')}")
        if answered.status != "200":
            answered.raise_doubt()
        found = answered.read_object().get("data")
        if not isinstance(found, list):
            raise Unknown("garbage", "no_data", "The answer has no list of jobs.", answered.evidence())
        if not found:
            return None
        first = found[0] if isinstance(found[0], dict) else {}
        return Accepted(self._job_id_in(answered, first), answered.evidence() | {"jobs_found": len(found)})

    async def poll(self, job: Job) -> Answer:
        answered = await self._ask_connected("GET", self._path_of(job))
        if answered.status != "200":
            answered.raise_doubt()
        said = answered.read_object()
        if not isinstance(said.get("status"), str) or not said["status"] or said.get("id") != job.provider_job_id:
            raise Unknown("garbage", "no_status", "The answer says nothing of this job's status.", answered.evidence())
        code, message = answered.error()
        progress = said.get("progress")
        return Answer(
            status=said["status"],
            code=code,
            message=message,
            progress=progress if type(progress) is int else None,
            evidence=answered.evidence(),
            retry_after_seconds=answered.retry_after_seconds,
        )

    async def cancel(self, job: Job) -> None:
        answered = await self._ask_connected("POST", f"{self._path_of(job)}/cancel", {})
        if answered.status == "409":
            raise NotCancellable(answered.status, *answered.error(), answered.evidence())
        if answered.status != "200":
            answered.raise_doubt()

    async def fetch(self, job: Job, answer: Answer, into: BinaryIO, bytes_max: int, seconds_max: float) -> str:
        deadline = time.monotonic() + seconds_max
        try:
            url, timeout = f"{self.url}{self._path_of(job)}/content", min(self.timeout_seconds, seconds_max)
            async with _client(True).stream("GET", url, headers=self._headers(), timeout=timeout) as response:
                if response.status_code != 200:
                    answered = _Answered(response, await _read(response, deadline))
                    if answered.status in ("404", "410"):
                        raise OutputUnavailable(answered.status, *answered.error(), answered.evidence())
                    answered.raise_doubt()
                await _copy(response, into, bytes_max, deadline)
                return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        except httpx.TimeoutException as error:
            raise Unknown("timeout", type(error).__name__, "The output did not arrive in time.") from error
        except httpx.HTTPError as error:
            raise Unknown("network", type(error).__name__, "The connection broke.") from error

    def _path_of(self, job: Job) -> str:
        if not re.fullmatch(r"[\w-]{1,200}", job.provider_job_id or "", re.ASCII):
            raise Unknown("404", "unknown_job", "That is not the id of a job there.")
        return f"/v1/videos/{job.provider_job_id}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {CREDENTIAL}", "Accept-Encoding": "identity", "User-Agent": "holdfast"}

    async def _ask_connected(self, method: str, path: str, body: dict[str, Any] | None = None) -> "_Answered":
        try:
            return await self._ask(method, path, body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unknown("network", "not_connected", "The provider could not be reached.") from error

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, more: dict[str, str] | None = None
    ) -> "_Answered":
        """The answer, whatever its status. Raises Unknown for a broken or late one, httpx's own where unconnected."""
        headers = self._headers() | (more or {})
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        deadline = time.monotonic() + self.timeout_seconds
        try:
            url, timeout = self.url + path, self.timeout_seconds
            client = _client(method == "GET")
            async with client.stream(method, url, headers=headers, content=content, timeout=timeout) as response:
                return _Answered(response, await _read(response, deadline))
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise
        except httpx.TimeoutException as error:
            raise Unknown("timeout", type(error).__name__, "The provider did not answer in time.") from error
        except httpx.HTTPError as error:
            raise Unknown("network", type(error).__name__, "The connection broke.") from error

    @staticmethod
    def _job_id_in(answered: "_Answered", said: dict[str, Any]) -> str:
        found = said.get("id")
        if not isinstance(found, str) or not 1 <= len(found) <= 200 or not found.isprintable():
            raise Unknown("garbage", "no_id", "The answer names no job.", answered.evidence())
        return found


async def _read(response: httpx.Response, deadline: float) -> bytes:
    """The body as far as JSON_BYTES_MAX; a longer one is garbage."""
    read = bytearray()
    async for part in response.aiter_raw():
        read += part
        if len(read) > JSON_BYTES_MAX:
            raise Unknown(
                "garbage", "too_long", "The answer is too long to be one.", {"http_status": response.status_code}
            )
        if time.monotonic() > deadline:
            raise Unknown("timeout", "slow_body", "The answer did not arrive in time.")
    return bytes(read)


async def _copy(response: httpx.Response, into: BinaryIO, bytes_max: int, deadline: float) -> None:
    length, expected = 0, response.headers.get("Content-Length", "")
    if expected.isdigit() and int(expected[:18]) > bytes_max:
        raise OutputUnavailable("413", "output_too_large", f"The output is larger than {bytes_max} bytes.")
    async for part in response.aiter_raw():
        length += len(part)
        if length > bytes_max:
            raise OutputUnavailable("413", "output_too_large", f"The output is larger than {bytes_max} bytes.")
        if time.monotonic() > deadline:
            raise Unknown("timeout", "fetch_timeout", "The output did not arrive in time.")
        try:
            into.write(part)
        except OSError as error:
            raise Unknown("storage", None, "The output could not be written here.") from error


class _Answered:
    """One HTTP answer, read to its end."""

    def __init__(self, response: httpx.Response, body: bytes) -> None:
        self.status = str(response.status_code)
        self.body = body
        self.content_type = response.headers.get("Content-Type", "")
        self.retry_after_seconds = parse_retry_after(response.headers.get("Retry-After"))
        try:
            self.read = json.loads(body)
        except (ValueError, RecursionError):
            self.read = None

    def read_object(self) -> dict[str, Any]:
        if not isinstance(self.read, dict):
            raise Unknown("garbage", "unreadable", "The answer is not a JSON object.", self.evidence())
        return self.read

    def error(self) -> tuple[str | None, str | None]:
        """The code and message of the answer's error, where it has one in the usual shape."""
        found = self.read.get("error") if isinstance(self.read, dict) else None
        if not isinstance(found, dict):
            return None, None
        code, message = found.get("code"), found.get("message")
        return code if isinstance(code, str) else None, message if isinstance(message, str) else None

    def evidence(self) -> dict[str, Any]:
        said = self.read if self.read is not None else self.body[:500].decode("utf-8", "replace")
        return {"http_status": int(self.status), "content_type": self.content_type, "said": said}

    def raise_doubt(self) -> NoReturn:
        kind: type[ProviderError] = TryLater if self.status == "429" else Unknown
        raise kind(self.status, *self.error(), self.evidence(), self.retry_after_seconds)
