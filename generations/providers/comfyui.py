"""Runs graphs on ComfyUI servers of one's own, over HTTP: the least busy one is given the job, under our own id.

ComfyUI keeps its queue and its history in memory and refuses no second job with the same id. So a submission in doubt
is looked for on every server, and a job that a restarted server has forgotten is a doubt, not a failure. How far a
running job is, it tells over a web socket only, which is not used here.
"""

import asyncio
import base64
import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn
from urllib.parse import unquote, urlencode, urlsplit

import httpx
from django.conf import settings

from generations.providers import calls, graphs
from generations.providers.base import (
    REFUSING_STATUSES,
    REMOVED,
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
    clean_text,
    is_loopback,
    parse_retry_after,
)

JSON_BYTES_MAX = 4 * 1024 * 1024  # the queue's answer holds the whole graph of every job in it
CONNECT_SECONDS_MAX = 3.0
LOAD_SECONDS_MAX = 3.0  # how long a server may take to say how busy it is, before another is preferred
QUEUE_FRESH_SECONDS = 0.5  # so long an answer about a server's queue serves all who ask about a job in it
VERSION_KEPT_SECONDS = 600.0
# The first that takes the client's id for a job and interrupts one job by its id. An older one could be given a job
# twice, and would stop other people's.
VERSION_MIN = (0, 3, 57)

PROMPT_LENGTH_MAX = 2000
SECONDS_MAX = 20
SIZES = {
    "ai/video": frozenset({"1280x720", "720x1280", "854x480", "640x360", "1920x1080"}),
    "ai/image": frozenset({"1024x1024", "1536x1024", "1024x1536"}),
}
# What is taken of a graph's outputs, by the ending of the file's name.
ENDINGS = {"ai/video": (".mp4", ".webm"), "ai/image": (".png", ".jpg", ".jpeg", ".webp")}

# What a job's own record says of its end. ComfyUI's status word is not believed before these: it is carried over from
# the job before when a job had nothing left to do.
ENDS = {"execution_success": "completed", "execution_error": "failed", "execution_interrupted": "cancelled"}
STATUS_WORDS = {"success": "completed", "error": "failed"}

SECRET_LENGTH_MIN = 6  # a shorter one is not looked for in answers: it would be found in words

_PLACE = re.compile(r"([0-9a-f]{10})\.([0-9A-Za-z_-]{1,80})", re.ASCII)
_OUT_OF_MEMORY = re.compile(r"OutOfMemory|OOM|out of memory", re.IGNORECASE)
_PATH = re.compile(r"(?:\b[A-Za-z]:)?[\\/](?:[^\s\\/'\":]+[\\/])+[^\s\\/'\":]*")


@dataclass(frozen=True)
class Server:
    """One ComfyUI server. `key` stands for it in our rows and logs: its address is nobody else's business."""

    url: str = field(repr=False)
    key: str
    headers: dict[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False, default=())  # what it must not say back to us

    @classmethod
    def of(cls, url: str) -> "Server":
        """Raises ValueError where that is no server's address. A name and password in it become a header."""
        parts = urlsplit(url.rstrip("/"))
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("not the address of a server")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        place = f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
        try:
            httpx.URL(place)
        except httpx.InvalidURL as error:
            raise ValueError("not the address of a server") from error
        headers = {"Accept-Encoding": "identity", "User-Agent": "holdfast"}
        secrets: tuple[str, ...] = ()
        if parts.username:
            password = unquote(parts.password or "")
            credentials = base64.b64encode(f"{unquote(parts.username)}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {credentials}"
            secrets = tuple(secret for secret in (password, credentials) if len(secret) >= SECRET_LENGTH_MIN)
        return cls(place, hashlib.sha256(place.encode()).hexdigest()[:10], headers, secrets)


class NotConnected(Exception):
    """Nothing was sent: no connection came about."""


@dataclass(frozen=True)
class Queue:
    """What a server said of its queue at a moment: the ids of jobs, of ours also by the job's own id."""

    asked_at: float
    running: frozenset[str]
    pending: tuple[str, ...]  # the next one first
    ours: Mapping[str, str]  # our job's id → the id it has there


class ComfyUI(Provider):
    name = "comfyui"
    title = "ComfyUI"
    operations = frozenset({"ai/video", "ai/image"})
    has_graphs = True
    has_cancel = True
    has_lookup = True
    has_idempotent_submit = False
    has_progress = False
    has_callbacks = False

    def __init__(self, urls: list[str] | None = None, queue_fresh_seconds: float = QUEUE_FRESH_SECONDS) -> None:
        """Raises NotOffered where COMFYUI_URLS names no server."""
        self.queue_fresh_seconds = queue_fresh_seconds
        given = settings.COMFYUI_URLS if urls is None else urls
        if not given:
            raise NotOffered("COMFYUI_URLS names no ComfyUI server.")
        self.servers: dict[str, Server] = {}
        for number, url in enumerate(given, 1):
            try:
                server = Server.of(url)
            except ValueError:
                raise NotOffered(
                    f"Address {number} of COMFYUI_URLS is not one of a server (http://host:port)."
                ) from None
            self.servers.setdefault(server.key, server)
        self.is_real = not all(is_loopback(server.url) for server in self.servers.values())
        self.timeout_seconds = float(settings.PROVIDER_TIMEOUT_SECONDS)

    # Submission -------------------------------------------------------------------------------------------------------

    async def submit(self, job: Job) -> Accepted:
        if wrong := _wrong_inputs(job):
            raise Refused("422", "invalid_request", wrong)
        try:
            graph = graphs.fill(job.graph or graphs.shipped(job.operation), job.inputs, job.id)
        except ValueError as error:
            raise Refused("422", "invalid_graph", str(error)) from error
        body = {
            "prompt": graph,
            "prompt_id": job.id,
            "client_id": "holdfast",
            "extra_data": {"holdfast_job": job.id},
        }
        found = await self._least_busy_first(job)
        if isinstance(found, Accepted):
            return found
        for server in found:
            _count("sent")[server.key] += 1
            try:
                answered = await self._ask(server, "POST", "/prompt", body)
            except NotConnected:
                continue
            finally:
                _count("arrived")[server.key] += 1
            return self._accepted(server, answered)
        raise TryLater("network", "not_connected", "No ComfyUI server could be reached; nothing was sent.")

    def _accepted(self, server: Server, answered: "_Answered") -> Accepted:
        if answered.status in REFUSING_STATUSES:
            raise Refused(answered.status, *_refusal_in(answered), answered.evidence())
        if answered.status not in ("200", "201"):
            answered.raise_doubt()
        said = answered.read_object()
        given = said.get("prompt_id")
        if not isinstance(given, str) or not _PLACE.fullmatch(f"{server.key}.{given}"):
            raise Unknown("garbage", "no_id", "The answer names no job.", answered.evidence())
        return Accepted(f"{server.key}.{given}", answered.evidence())

    async def _least_busy_first(self, job: Job) -> list[Server] | Accepted:
        """The servers that answer and are new enough, that with the fewest jobs first; or where the job is already.

        Raises TryLater where no server can be used.
        """
        servers = list(self.servers.values())
        loads = await asyncio.gather(*(self._load(server, job) for server in servers))
        for load in loads:
            if isinstance(load, Accepted):
                return load
        # With what was sent to each while it was asked: jobs that come at once are spread.
        ready = sorted(
            (load + _count("sent")[servers[number].key], number)
            for number, load in enumerate(loads)
            if isinstance(load, int)
        )
        if not ready:
            said = {server.key: str(load) for server, load in zip(servers, loads, strict=True)}
            words = set(said.values())
            code = words.pop() if len(words) == 1 else "none_ready"
            raise TryLater("network", code, "No ComfyUI server can take a job now; nothing was sent.", said)
        return [servers[number] for _, number in ready]

    async def _load(self, server: Server, job: Job) -> int | str | Accepted:
        """How many jobs the server has, less those it was sent before; where it has this one; or why not to use it.

        That it is looked for first makes a second submission harmless, but for one that comes at the same moment.
        """
        arrived = _count("arrived")[server.key]
        try:
            async with asyncio.timeout(min(LOAD_SECONDS_MAX, self.timeout_seconds)):
                if not await self._is_new_enough(server):
                    return "too_old"
                answered, found = await asyncio.gather(
                    self._ask(server, "GET", "/prompt"), self._find(server, job.id, self.queue_fresh_seconds)
                )
        except NotConnected:
            return "not_connected"
        except TimeoutError:
            return "timeout"
        except ProviderError as error:
            return error.code if error.code == "not_connected" else error.status
        if found:
            return found
        info = answered.read.get("exec_info") if isinstance(answered.read, dict) else None
        remaining = info.get("queue_remaining") if isinstance(info, dict) else None
        if answered.status != "200" or type(remaining) is not int:
            return answered.status if answered.status != "200" else "garbage"
        return max(remaining, 0) - arrived

    async def _is_new_enough(self, server: Server) -> bool:
        """Whether the server is at least VERSION_MIN; one that does not say is taken to be."""
        kept: dict[str, tuple[float, bool]] = calls.keep("comfyui-versions", dict)
        looked_at, is_new = kept.get(server.key, (0.0, False))
        if is_new and time.monotonic() - looked_at < VERSION_KEPT_SECONDS:
            return True
        answered = await self._ask(server, "GET", "/system_stats")
        system = answered.read.get("system") if isinstance(answered.read, dict) else None
        version = system.get("comfyui_version") if isinstance(system, dict) else None
        found = re.match(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})", version) if isinstance(version, str) else None
        is_new = not found or tuple(int(part) for part in found.groups()) >= VERSION_MIN
        kept[server.key] = (time.monotonic(), is_new)
        return is_new

    async def look_up(self, job: Job) -> Accepted | None:
        """Every server is asked: only when all have answered and none knows the job did it surely not arrive."""
        asked = (self._find(server, job.id, 0.0) for server in self.servers.values())
        found = await asyncio.gather(*asked, return_exceptions=True)
        for one in found:
            if isinstance(one, Accepted):
                return one
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return None

    async def _find(self, server: Server, job_id: str, fresh_seconds: float) -> Accepted | None:
        # The queue before the history: a job goes from the one to the other, and so is in neither at no time.
        queue = await self._queue(server, time.monotonic() - fresh_seconds)
        if there := queue.ours.get(job_id):
            return Accepted(f"{server.key}.{there}", {"found_in": "queue"})
        if await self._history(server, job_id) is not None:
            return Accepted(f"{server.key}.{job_id}", {"found_in": "history"})
        return None

    # Questions --------------------------------------------------------------------------------------------------------

    async def poll(self, job: Job) -> Answer:
        server, prompt_id = self._place(job)
        asked_at = time.monotonic()
        queue = await self._queue(server, asked_at - self.queue_fresh_seconds)
        if answer := _waiting(queue, prompt_id):
            return answer
        entry = await self._history(server, prompt_id)
        if entry is None and queue.asked_at < asked_at:
            # It may have come into the queue after the answer that served us.
            queue = await self._queue(server, asked_at)
            if answer := _waiting(queue, prompt_id):
                return answer
            entry = await self._history(server, prompt_id)
        if entry is not None:
            return _end(entry, job.operation)
        if job.is_cancel_asked:
            # Taken out of the queue it leaves no trace; nor does it ever run again.
            return Answer("cancelled", message="Stopped before it began.", evidence={"found_in": "nothing"})
        raise Unknown("404", "not_there", "The server knows nothing of this job: it was restarted, or cleared.")

    async def cancel(self, job: Job) -> None:
        server, prompt_id = self._place(job)
        for _ in range(3):  # it may begin to run, or end, while we ask
            queue = await self._queue(server, time.monotonic())
            if prompt_id in queue.running:
                # Without the id ComfyUI would stop whatever is running.
                await self._tell(server, "/interrupt", {"prompt_id": prompt_id})
                return
            if prompt_id not in queue.pending:
                break
            await self._tell(server, "/queue", {"delete": [prompt_id]})
        entry = await self._history(server, prompt_id)
        if entry is not None and _end(entry, job.operation).status != "cancelled":
            raise NotCancellable("409", "not_cancellable", "The job has already ended.")

    async def _tell(self, server: Server, path: str, body: dict[str, Any]) -> None:
        answered = await self._ask_connected(server, "POST", path, body)
        if answered.status != "200":
            answered.raise_doubt()

    def _place(self, job: Job) -> tuple[Server, str]:
        """The server that the job went to, and its id there."""
        found = _PLACE.fullmatch(job.provider_job_id or "")
        if not found:
            raise Unknown("404", "no_such_id", "The job has no id of a ComfyUI server.")
        if found[1] not in self.servers:
            raise Unknown("404", "server_removed", "The job is on a server that COMFYUI_URLS does not name any more.")
        return self.servers[found[1]], found[2]

    async def _queue(self, server: Server, since: float) -> Queue:
        """The server's queue as it was at `since` or later: one question serves all who ask at the same time."""
        asking: dict[str, tuple[float, asyncio.Task[Queue]]] = calls.keep("comfyui-queues", dict)
        asked_at, task = asking.get(server.key, (0.0, None))
        if task is None or asked_at < since or (task.done() and (task.cancelled() or task.exception())):
            asked_at = time.monotonic()
            task = asyncio.get_running_loop().create_task(self._ask_queue(server, asked_at))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # asked for, whoever waits
            asking[server.key] = asked_at, task
        return await asyncio.shield(task)

    async def _ask_queue(self, server: Server, asked_at: float) -> Queue:
        answered = await self._ask_connected(server, "GET", "/queue")
        if answered.status != "200":
            answered.raise_doubt()
        said = answered.read_object()
        running, pending = _items(said.get("queue_running")), _items(said.get("queue_pending"))
        if running is None or pending is None:
            raise Unknown("garbage", "no_queue", "The answer has no queue.", answered.evidence())
        pending.sort(key=lambda item: (item[0], item[1]))
        ours: dict[str, str] = {}
        for item in running + pending:
            ours[item[1]] = item[1]
            if isinstance(item[3], dict) and isinstance(item[3].get("holdfast_job"), str):
                ours[item[3]["holdfast_job"]] = item[1]
        return Queue(asked_at, frozenset(item[1] for item in running), tuple(item[1] for item in pending), ours)

    async def _history(self, server: Server, prompt_id: str) -> dict[str, Any] | None:
        """What the server remembers of an ended job; None where it remembers none by that id."""
        answered = await self._ask_connected(server, "GET", f"/history/{prompt_id}")
        if answered.status != "200":
            answered.raise_doubt()
        said = answered.read_object()
        entry = said.get(prompt_id)
        if entry is None and not said:
            return None
        if not isinstance(entry, dict):
            raise Unknown("garbage", "no_entry", "The answer is about something else.", answered.evidence())
        return entry

    # Output -----------------------------------------------------------------------------------------------------------

    async def fetch(self, job: Job, answer: Answer, into: BinaryIO, bytes_max: int, seconds_max: float) -> str:
        server, prompt_id = self._place(job)
        file = _as_file(answer.evidence.get("output"), job.operation)
        if file is None:
            entry = await self._history(server, prompt_id)
            file = _output_in(entry, job.operation) if entry else None
        if file is None:
            raise OutputUnavailable("404", "output_missing", "The graph saved nothing that can be delivered.")
        url = f"{server.url}/view?{urlencode(file)}"
        try:
            async with (
                asyncio.timeout(seconds_max),
                _client().stream("GET", url, headers=server.headers, timeout=self.timeout_seconds) as response,
            ):
                if response.status_code != 200:
                    answered = _Answered(server, response, await _read(response))
                    if answered.status in ("400", "403", "404", "410"):
                        raise OutputUnavailable(
                            answered.status,
                            "output_missing",
                            "The server no longer has the output.",
                            answered.evidence(),
                        )
                    answered.raise_doubt()
                content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                if content_type in ("text/html", "application/json"):
                    raise Unknown("garbage", "not_a_file", "The answer is not a file.", {"content_type": content_type})
                await _copy(response, into, bytes_max)
                return str(content_type)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Unknown("timeout", "fetch_timeout", "The output did not arrive in time.") from error
        except httpx.HTTPError as error:
            raise Unknown("network", type(error).__name__, "The connection broke.") from error

    # HTTP -------------------------------------------------------------------------------------------------------------

    async def _ask_connected(
        self, server: Server, method: str, path: str, body: dict[str, Any] | None = None
    ) -> "_Answered":
        try:
            return await self._ask(server, method, path, body)
        except NotConnected as error:
            raise Unknown("network", "not_connected", "The ComfyUI server could not be reached.") from error

    async def _ask(self, server: Server, method: str, path: str, body: dict[str, Any] | None = None) -> "_Answered":
        """The answer, whatever its status. Raises Unknown for a broken or late one, and NotConnected."""
        headers, content, url = server.headers, None, server.url + path
        if body is not None:
            headers, content = headers | {"Content-Type": "application/json"}, json.dumps(body).encode()
        seconds = self.timeout_seconds
        timeout = httpx.Timeout(seconds, connect=min(seconds / 2, CONNECT_SECONDS_MAX))
        try:
            async with (
                asyncio.timeout(seconds),
                _client().stream(method, url, headers=headers, content=content, timeout=timeout) as response,
            ):
                return _Answered(server, response, await _read(response))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotConnected from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Unknown("timeout", "no_answer", "The ComfyUI server did not answer in time.") from error
        except httpx.HTTPError as error:
            raise Unknown("network", type(error).__name__, "The connection broke.") from error


def _count(of: str) -> Counter[str]:
    """By a server's key, in this process: the jobs "sent" there, and those that had "arrived" when an answer came."""
    return calls.keep(f"comfyui-{of}", Counter)


def _client() -> httpx.AsyncClient:
    """One client for the process. It keeps no connection open: a stale one would turn a submission into a doubt."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return calls.keep("comfyui", lambda: httpx.AsyncClient(follow_redirects=False, trust_env=False, limits=limits))


async def _read(response: httpx.Response) -> bytes:
    """The body as far as JSON_BYTES_MAX; a longer one is garbage."""
    read = bytearray()
    async for part in response.aiter_raw(64 * 1024):
        read += part
        if len(read) > JSON_BYTES_MAX:
            status = response.status_code
            raise Unknown("garbage", "too_long", "The answer is too long to be read.", {"http_status": status})
    return bytes(read)


async def _copy(response: httpx.Response, into: BinaryIO, bytes_max: int) -> None:
    length, expected = 0, response.headers.get("Content-Length", "")
    if expected.isdigit() and int(expected[:18]) > bytes_max:
        raise OutputUnavailable("413", "output_too_large", f"The output is larger than {bytes_max} bytes.")
    async for part in response.aiter_raw(64 * 1024):
        length += len(part)
        if length > bytes_max:
            raise OutputUnavailable("413", "output_too_large", f"The output is larger than {bytes_max} bytes.")
        try:
            into.write(part)
        except OSError as error:
            raise Unknown("storage", None, "The output could not be written here.") from error


class _Answered:
    """One HTTP answer, read to its end."""

    def __init__(self, server: Server, response: httpx.Response, body: bytes) -> None:
        for secret in server.secrets:
            body = body.replace(secret.encode(), REMOVED.encode())
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

    def evidence(self) -> dict[str, Any]:
        said = self.read if self.read is not None else self.body[:500].decode("utf-8", "replace")
        return {"http_status": int(self.status), "content_type": self.content_type, "said": said}

    def raise_doubt(self) -> NoReturn:
        kind: type[ProviderError] = TryLater if self.status == "429" else Unknown
        raise kind(self.status, None, None, self.evidence(), self.retry_after_seconds)


# What ComfyUI's answers mean ------------------------------------------------------------------------------------------


def _wrong_inputs(job: Job) -> str | None:
    """What is wrong with the inputs, in words; None when a graph can be filled with them."""
    if job.operation not in SIZES:
        return f"{job.operation} is not an operation of ComfyUI here"
    prompt, seconds = job.inputs.get("prompt"), job.inputs.get("seconds")
    if not isinstance(prompt, str) or not 1 <= len(prompt) <= PROMPT_LENGTH_MAX:
        return f"prompt must be a text of 1 to {PROMPT_LENGTH_MAX} characters"
    if job.operation == "ai/video" and (type(seconds) is not int or not 1 <= seconds <= SECONDS_MAX):
        return f"seconds must be a whole number from 1 to {SECONDS_MAX}"
    if job.inputs.get("size") not in SIZES[job.operation]:
        return f"size must be one of {', '.join(sorted(SIZES[job.operation]))}"
    if job.inputs.get("quality") not in graphs.STEPS:
        return f"quality must be one of {', '.join(graphs.STEPS)}"
    return None


def _refusal_in(answered: "_Answered") -> tuple[str, str]:
    """Code and sentence of a refusal: which input of which node was wrong, where the server says so."""
    said = answered.read if isinstance(answered.read, dict) else {}
    code = "invalid_request" if answered.status == "400" else f"http_{answered.status}"
    nodes = said.get("node_errors")
    for node_id, node in nodes.items() if isinstance(nodes, dict) else ():
        errors = node.get("errors") if isinstance(node, dict) else None
        for wrong in errors if isinstance(errors, list) else ():
            if isinstance(wrong, dict):
                kind = clean_text(node.get("class_type") or "Node", 60)
                return code, f"{kind} (node {clean_text(node_id, 20)}): {_sentence(wrong)}"
    error = said.get("error")
    if isinstance(error, dict):
        return code, _sentence(error)
    return code, clean_text(error) if isinstance(error, str) and error else "The ComfyUI server refused the job."


def _sentence(wrong: Mapping[str, Any]) -> str:
    message = clean_text(wrong.get("message") or "It is not valid", 200).rstrip(".")
    details, more = clean_text(wrong.get("details") or "", 200), wrong.get("extra_info")
    if wrong.get("type") == "value_not_in_list" and isinstance(more, dict) and more.get("input_name"):
        details = clean_text(more["input_name"], 60)  # the details list every model on the server
    return _without_paths(f"{message}: {details}." if details else f"{message}.")


def _without_paths(text: str) -> str:
    """The text without the places of files on the server."""
    return _PATH.sub("…", text)


def _items(found: Any) -> list[list[Any]] | None:
    """The jobs of a queue, each its number, its id, its graph, its extra data, …; None where this is no queue."""
    if not isinstance(found, list):
        return None
    shaped = (item for item in found if isinstance(item, list) and len(item) >= 4)
    return [item for item in shaped if isinstance(item[0], int | float) and isinstance(item[1], str)]


def _waiting(queue: Queue, prompt_id: str) -> Answer | None:
    if prompt_id in queue.running:
        return Answer("in_progress", evidence={"found_in": "queue_running"})
    if prompt_id in queue.pending:
        before = len(queue.running) + queue.pending.index(prompt_id)
        return Answer("queued", progress=0, evidence={"found_in": "queue_pending", "jobs_before": before})
    return None


def _messages(status: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    found = status.get("messages")
    for message in found if isinstance(found, list) else ():
        if isinstance(message, list) and len(message) == 2 and isinstance(message[0], str):
            yield message[0], message[1] if isinstance(message[1], dict) else {}


def _end(entry: Mapping[str, Any], operation: str) -> Answer:
    """What became of a job, by its entry in the history."""
    status = entry.get("status")
    if not isinstance(status, dict) or not isinstance(status.get("status_str"), str):
        raise Unknown("garbage", "no_status", "The history says nothing of this job's end.", {"said": status})
    said: str = status["status_str"]
    event, facts = "", dict[str, Any]()
    for name, about in _messages(status):
        if name in ENDS:
            event, facts = name, about
    told = ("node_id", "node_type", "exception_type", "exception_message", "timestamp")
    evidence = {"found_in": "history", "status_str": said, "event": event or None}
    evidence |= {name: facts[name] for name in told if name in facts}
    word = ENDS[event] if event else STATUS_WORDS.get(said, said)
    if word == "completed":
        return Answer(word, progress=100, evidence=evidence | {"output": _output_in(entry, operation)})
    if word == "cancelled":
        return Answer(word, message="Stopped while it ran.", evidence=evidence)
    if word == "failed":
        return Answer(word, *_failure(facts), evidence=evidence)
    return Answer(word, evidence=evidence)


def _failure(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Code and sentence of a failure: the kind of the exception, and the node that raised it."""
    kind, message = clean_text(facts.get("exception_type") or "", 200), clean_text(facts.get("exception_message") or "")
    at = f"{clean_text(facts.get('node_type') or 'A node', 60)} (node {clean_text(facts.get('node_id') or '?', 20)})"
    if _OUT_OF_MEMORY.search(f"{kind} {message}"):
        return "out_of_memory", f"The ComfyUI server ran out of memory in {at}."
    code = kind.rpartition(".")[2] or "execution_error"
    first = _without_paths(message.strip().partition("\n")[0])
    return code, f"{at} failed: {first or code}"


def _output_in(entry: Mapping[str, Any], operation: str) -> dict[str, str] | None:
    """The first file that a node saved and that the operation can deliver, in the order of the graph's nodes."""
    outputs, prompt = entry.get("outputs"), entry.get("prompt")
    if not isinstance(outputs, dict):
        return None
    given = prompt[2] if isinstance(prompt, list) and len(prompt) > 2 else None
    graph: dict[str, Any] = given if isinstance(given, dict) else {}
    for node_id in [*(node_id for node_id in graph if node_id in outputs), *(n for n in outputs if n not in graph)]:
        node = outputs[node_id]
        for kind in ("videos", "gifs", "images") if isinstance(node, dict) else ():
            for item in node[kind] if isinstance(node.get(kind), list) else ():
                if file := _as_file(item, operation):
                    return file
    return None


def _as_file(item: Any, operation: str) -> dict[str, str] | None:
    """What is asked of /view for an output; None for what is no output of ours to deliver. No name reaches our disk."""
    if not isinstance(item, Mapping) or item.get("type") != "output":
        return None
    name, folder = item.get("filename"), item.get("subfolder") or ""
    if not isinstance(name, str) or not isinstance(folder, str) or not 0 < len(name) <= 255 or len(folder) > 255:
        return None
    if not name.lower().endswith(ENDINGS.get(operation, ())):
        return None
    try:
        (name + folder).encode()
    except UnicodeEncodeError:
        return None
    return {"filename": name, "subfolder": folder, "type": "output"}
