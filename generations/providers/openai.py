"""Texts, images and (on compatible servers) videos by OpenAI's API, through its official SDK.

A text is a response in the background, and polled. An image is finished while we wait, and cannot be asked for again.
Videos OpenAI itself serves no more; other servers with the same API do, so they are offered where a model is set.

The API has no idempotency that it promises and no look-up by our id: a submission in doubt stays in doubt.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import cache
from typing import Any, BinaryIO, NoReturn, cast

import httpx2
import openai
from django.conf import settings

from generations.providers import calls
from generations.providers.base import (
    REFUSING_STATUSES,
    REMOVED,
    Accepted,
    Answer,
    CallbackRefused,
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

BASE_URL = "https://api.openai.com/v1"
JSON_BYTES_MAX = 2 * 1024 * 1024
IMAGE_JSON_BYTES_MAX = 64 * 1024 * 1024  # a picture as text, a third larger than itself
IMAGE_SECONDS_MAX = 100.0
CONNECT_SECONDS_MAX = 5.0
CALLBACK_SECONDS_MAX = 300  # older, or further ahead of our clock, is refused

SCRIPT, THREADS, IMAGE, VIDEO = "ai/script", "ai/threads", "ai/image", "ai/video"
KINDS = {"advert": "an advertisement", "explainer": "an explainer", "story": "a short story", "trailer": "a trailer"}
TONES = {"warm": "warm", "plain": "plain and matter-of-fact", "funny": "funny", "serious": "serious"}
IMAGE_QUALITIES = {"draft": "low", "standard": "medium", "high": "high"}

# Their codes for what a safety policy stopped, and for a request that cannot be carried out as it is. Evidence keeps
# theirs; ours are the ones that rules and pages know.
MODERATED = frozenset({"moderation_blocked", "content_filter", "bio_policy", "cyber_policy"})
MODERATED_ENDING = "policy_violation"  # content_…, image_content_…, misalignment_…
INVALID = frozenset({"invalid_prompt", "invalid_request", "invalid_request_error"})

# What of an answer is kept as evidence: neither the request's own words nor what was made.
EVIDENT = (
    "id", "object", "status", "model", "created", "created_at", "completed_at", "expires_at", "progress", "error",
    "incomplete_details", "usage", "output_format", "quality", "size", "seconds", "background",
)  # fmt: skip
CALLBACKS = frozenset(
    f"{thing}.{end}"
    for thing, ends in {
        "response": ("completed", "failed", "cancelled", "incomplete"),
        "video": ("completed", "failed"),
    }.items()
    for end in ends
)
PLAIN_ID = re.compile(r"[A-Za-z0-9][\w.:-]{0,199}", re.ASCII)

# Not louder because OPENAI_LOG is set: it would tell what servers send back.
logging.getLogger("openai").setLevel(logging.WARNING)

# One request through the SDK, whose raw answer is wanted.
Call = Callable[[openai.AsyncOpenAI, httpx2.Timeout], Awaitable[Any]]

# None of these has put a byte of the request on its way.
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class OpenAI(Provider):
    name = "openai"
    title = "OpenAI"
    has_callbacks = True
    has_progress = True
    has_cancel = True
    has_lookup = False
    has_idempotent_submit = False
    submit_seconds_max = IMAGE_SECONDS_MAX

    def __init__(self) -> None:
        self.key = str(settings.OPENAI_API_KEY or "")
        if not self.key:
            raise NotOffered("OPENAI_API_KEY is not set.")
        if not re.fullmatch(r"[!-~]+", self.key):
            raise NotOffered("OPENAI_API_KEY is no key: it has a space or a character that no header may have.")
        self.url = (settings.OPENAI_BASE_URL or BASE_URL).rstrip("/")
        self.is_real = not is_loopback(self.url)
        text, image, video = settings.OPENAI_TEXT_MODEL, settings.OPENAI_IMAGE_MODEL, settings.OPENAI_VIDEO_MODEL
        self.models: dict[str, str] = {SCRIPT: text, THREADS: text, IMAGE: image, VIDEO: video}
        self.operations = frozenset(operation for operation, model in self.models.items() if model)
        self.timeout_seconds = float(settings.PROVIDER_TIMEOUT_SECONDS)

    # Submit

    def submit_seconds(self, operation: str) -> float | None:
        """Only an image is made while one waits."""
        return self.submit_seconds_max if operation == IMAGE else None

    async def submit(self, job: Job) -> Accepted:
        """Accepted there. The job's id is sent along, for people who look for it there; nothing rests on it."""
        if job.operation not in self.operations:
            raise Refused("404", "unknown_operation", f"{job.operation} is not set up at {self.title}.")
        if job.operation == IMAGE:
            return await self._make_image(job)
        make = self._video_maker(job) if job.operation == VIDEO else self._text_maker(job)
        answered = await self._submitted(make, self.timeout_seconds)
        said = answered.read_object()
        job_id = answered.plain_id()
        answer = self._answer(job, answered)
        if not answer.is_terminal:
            return Accepted(job_id, answered.evidence())
        # A compatible server that knows no background has finished, and may not keep it.
        content = _text_in(said).encode() if answer.status == "completed" and job.operation != VIDEO else None
        return Accepted(job_id, answered.evidence(), answer, content or None)

    def _text_maker(self, job: Job) -> Call:
        instructions, asked = _words_for(job)
        model = self.models[job.operation]
        length_max = job.inputs.get("length_max")
        if type(length_max) is not int or length_max < 1:
            raise Refused("422", "invalid_request", "length_max must be a whole number of tokens.")
        # What a model thinks counts toward the same limit as what it writes: it is asked to think little.
        thinks = re.match(r"gpt-[5-9]|o\d", model) and "chat" not in model
        return lambda client, timeout: client.responses.with_raw_response.create(
            model=model,
            instructions=instructions,
            input=asked,
            background=True,
            store=True,
            max_output_tokens=length_max,
            metadata={"holdfast_job": job.id},
            reasoning={"effort": "low"} if thinks else openai.omit,
            extra_headers={"Idempotency-Key": job.id},
            timeout=timeout,
        )

    def _video_maker(self, job: Job) -> Call:
        """The API has no qualities: the model decides."""
        asked = {
            "model": self.models[VIDEO],
            "prompt": _clean(job.inputs.get("prompt")),
            "seconds": str(job.inputs.get("seconds")),
            "size": str(job.inputs.get("size")),
        }
        return lambda client, timeout: cast(Any, client.videos).with_raw_response.create(
            **asked, extra_headers={"Idempotency-Key": job.id}, timeout=timeout
        )

    async def _make_image(self, job: Job) -> Accepted:
        """The image is made while we wait, and is in what was accepted: nobody can be asked for it again."""
        quality = IMAGE_QUALITIES.get(str(job.inputs.get("quality", "standard")))
        if quality is None:
            raise Refused("422", "invalid_request", f"quality must be one of {', '.join(IMAGE_QUALITIES)}.")
        asked: dict[str, Any] = {"quality": quality, "size": job.inputs.get("size", "1024x1024")}
        answered = await self._submitted(
            lambda client, timeout: client.images.with_raw_response.generate(
                model=self.models[IMAGE],
                prompt=_clean(job.inputs.get("prompt")),
                n=1,
                **asked,
                extra_headers={"Idempotency-Key": job.id},
                timeout=timeout,
            ),
            self.submit_seconds_max or IMAGE_SECONDS_MAX,
        )
        said = answered.read_object()
        made = said.get("data")
        if not isinstance(made, list):
            raise Unknown("garbage", "no_data", "The answer has no list of images.", answered.evidence())
        content = _picture_in(made[0] if made else None)
        evidence = answered.evidence() | {"bytes": len(content) if content else 0}
        # The answer has no id: with the request's, people can ask the provider about it, and a second one is noticed.
        job_id = f"image-{job.id}.{answered.request_id}"
        job_id = job_id if PLAIN_ID.fullmatch(job_id) else f"image-{job.id}"
        answer = Answer("completed", progress=100, evidence=evidence, usage=_usage_in(said))
        return Accepted(job_id, evidence, answer, content)

    async def _submitted(self, make: Call, seconds: float) -> _Answered:
        """The answer to what may be sent once only; raises what the answer means for the submission."""
        try:
            answered = await self._ask(make, seconds, is_repeatable=False)
        except _NotSent as error:
            raise TryLater(
                "network", "not_connected", "The provider could not be reached; nothing was sent."
            ) from error
        if answered.status in REFUSING_STATUSES:
            code, message = answered.error()
            fallback = "The provider refused the request."
            raise Refused(answered.status, code, message or fallback, answered.evidence())
        if answered.status not in ("200", "201", "202"):
            answered.raise_doubt()
        return answered

    # Poll and cancel

    async def poll(self, job: Job) -> Answer:
        job_id = self._id_of(job)
        if job.operation == IMAGE:
            raise Unknown("404", "not_kept", "The provider keeps no image that could be asked about.")
        answered = await self._told(self._retriever(job, job_id))
        if answered.read_object().get("id") != job_id:
            raise Unknown("garbage", "another_id", "The answer is about another job.", answered.evidence())
        return self._answer(job, answered)

    async def cancel(self, job: Job) -> None:
        job_id = self._id_of(job)
        if job.operation not in (SCRIPT, THREADS):
            raise NotCancellable("unsupported", "not_cancellable", f"{self.title} stops no image and no video.")
        answered = await self._asked(
            lambda client, timeout: client.responses.with_raw_response.cancel(job_id, timeout=timeout)
        )
        if answered.status in ("400", "409"):
            _, message = answered.error()
            raise NotCancellable(answered.status, "not_cancellable", message, answered.evidence())
        if answered.status != "200":
            answered.raise_doubt()
        status = answered.read_object().get("status")
        if status in ("completed", "failed", "incomplete"):
            raise NotCancellable("200", "not_cancellable", f"It has already {status}.", answered.evidence())

    def _answer(self, job: Job, answered: _Answered) -> Answer:
        """What a response or a video says of itself, in our words."""
        said = answered.read_object()
        status = said.get("status")
        if not isinstance(status, str) or not status:
            raise Unknown("garbage", "no_status", "The answer says nothing of this job's status.", answered.evidence())
        code, message = answered.error()
        if status == "incomplete":
            details = said.get("incomplete_details")
            reason = details.get("reason") if isinstance(details, dict) else None
            code, message = (reason if isinstance(reason, str) else None), None
        elif status != "failed":
            code = message = None
        progress = said.get("progress")
        return Answer(
            status=status,
            code=code,
            message=message,
            progress=progress if type(progress) is int else 100 if status == "completed" else None,
            evidence=answered.evidence(),
            retry_after_seconds=answered.retry_after_seconds,
            usage=_usage_in(said),
        )

    # Fetch

    async def fetch(self, job: Job, answer: Answer, into: BinaryIO, bytes_max: int, seconds_max: float) -> str:
        job_id = self._id_of(job)
        if job.operation == IMAGE:
            raise OutputUnavailable("404", "output_missing", "The image was not in the answer, and is kept nowhere.")
        try:
            async with asyncio.timeout(seconds_max):
                if job.operation == VIDEO:
                    return await self._download(job_id, into, bytes_max, seconds_max)
                return await self._write_text(job, job_id, into, bytes_max)
        except TimeoutError as error:
            raise Unknown("timeout", "fetch_timeout", "The output did not arrive in time.") from error

    async def _write_text(self, job: Job, job_id: str, into: BinaryIO, bytes_max: int) -> str:
        answered = await self._asked(self._retriever(job, job_id))
        if answered.status in ("404", "410"):
            raise OutputUnavailable(answered.status, *answered.error(), answered.evidence())
        if answered.status != "200":
            answered.raise_doubt()
        text = _text_in(answered.read_object()).encode("utf-8", "replace")
        if not text.strip():
            raise OutputUnavailable("404", "output_missing", "The answer holds no text.", answered.evidence())
        if len(text) > bytes_max:
            raise OutputUnavailable("413", "output_too_large", f"The output is larger than {bytes_max} bytes.")
        _write(into, text)
        return "text/plain"

    async def _download(self, job_id: str, into: BinaryIO, bytes_max: int, seconds_max: float) -> str:
        too_large = OutputUnavailable("413", "output_too_large", f"The output is larger than {bytes_max} bytes.")
        videos = cast(Any, self._client(is_repeatable=True).videos).with_streaming_response
        timeout = self._timeout(min(self.timeout_seconds, seconds_max))
        try:
            async with videos.download_content(job_id, timeout=timeout) as response:
                expected = response.headers.get("Content-Length", "")
                if expected.isdigit() and int(expected[:18]) > bytes_max:
                    raise too_large
                length = 0
                async for part in response.iter_bytes():
                    length += len(part)
                    if length > bytes_max:
                        raise too_large
                    _write(into, part)
                return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()
        except openai.APIStatusError as error:
            answered = _Answered(error.response, self.key)  # and not as a cause: its words are the server's own
        except (openai.APIError, httpx2.HTTPError) as error:
            raise _broken(error) from error
        if answered.status in ("404", "410"):
            raise OutputUnavailable(answered.status, *answered.error(), answered.evidence())
        answered.raise_doubt()

    # Callbacks

    def verify_callback(self, headers: Mapping[str, str], body: bytes) -> str | None:
        secret = str(settings.OPENAI_WEBHOOK_SECRET or "")
        if not secret.removeprefix("whsec_"):
            raise CallbackRefused("OPENAI_WEBHOOK_SECRET is not set.")
        try:
            _verifier().webhooks.verify_signature(body, dict(headers), secret=secret, tolerance=CALLBACK_SECONDS_MAX)
            event = json.loads(body)
        except (ValueError, TypeError, RecursionError) as error:  # the SDK's own error is a ValueError
            raise CallbackRefused(f"{type(error).__name__}: it was not signed by {self.title}, or not now.") from error
        if not isinstance(event, dict):
            raise CallbackRefused("The event is no object.")
        about = event.get("data")
        job_id = about.get("id") if isinstance(about, dict) else None
        if event.get("type") not in CALLBACKS or not isinstance(job_id, str) or not PLAIN_ID.fullmatch(job_id):
            return None
        return job_id

    # Calls

    def _id_of(self, job: Job) -> str:
        """The provider's id, once it is sure that it can be nothing but a name in an address."""
        if not job.provider_job_id or not PLAIN_ID.fullmatch(job.provider_job_id):
            raise Unknown("404", "unknown_job", "That is not the id of a job there.")
        return job.provider_job_id

    def _retriever(self, job: Job, job_id: str) -> Call:
        if job.operation == VIDEO:
            return lambda client, timeout: cast(Any, client.videos).with_raw_response.retrieve(job_id, timeout=timeout)
        return lambda client, timeout: client.responses.with_raw_response.retrieve(job_id, timeout=timeout)

    async def _told(self, ask: Call) -> _Answered:
        """The answer to a question, where it is one."""
        answered = await self._asked(ask)
        if answered.status != "200":
            answered.raise_doubt()
        return answered

    async def _asked(self, ask: Call) -> _Answered:
        try:
            return await self._ask(ask, self.timeout_seconds, is_repeatable=True)
        except _NotSent as error:
            raise Unknown("network", "not_connected", "The provider could not be reached.") from error

    async def _ask(self, call: Call, seconds: float, *, is_repeatable: bool) -> _Answered:
        """The answer, whatever its status. Raises Unknown for a broken or late one, _NotSent where unconnected."""
        try:
            async with asyncio.timeout(seconds):
                raw = await call(self._client(is_repeatable), self._timeout(seconds))
                return _Answered(raw.http_response, self.key)
        except openai.APIStatusError as error:
            return _Answered(error.response, self.key)
        except (openai.APIError, httpx2.HTTPError) as error:
            if isinstance(error.__cause__ or error, NOT_SENT):
                raise _NotSent from error
            raise _broken(error) from error
        except TimeoutError as error:
            raise Unknown("timeout", "no_end", "The provider did not answer in time.") from error

    def _timeout(self, seconds: float) -> httpx2.Timeout:
        connect = min(CONNECT_SECONDS_MAX, seconds / 2)
        return httpx2.Timeout(seconds, connect=connect, pool=connect)

    def _client(self, is_repeatable: bool) -> openai.AsyncOpenAI:
        """One client of the process for questions, one for what may be sent once only.

        The second keeps no connection open: a stale one would turn a submission into a doubt.
        """
        kind = "questions" if is_repeatable else "once"
        of = hashlib.sha256(f"{self.url} {self.key}".encode()).hexdigest()
        return calls.keep(f"openai-{kind}-{of}", lambda: _make_client(self.url, self.key, is_repeatable))


class _NotSent(Exception):
    """No connection: nothing of the request has left this machine."""


class _TooLong(httpx2.DecodingError):
    """The body is longer than any answer."""


def _make_client(url: str, key: str, is_repeatable: bool) -> openai.AsyncOpenAI:
    """A client that knows what it is told here and nothing else: no variable of the environment, no proxy, no retry."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64 if is_repeatable else 0)
    transport = _Bounded(httpx2.AsyncHTTPTransport(trust_env=False, limits=limits))
    client = openai.AsyncOpenAI(
        api_key=key,
        admin_api_key="",
        organization="",
        project="",
        webhook_secret="",
        base_url=url,
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False),
    )
    # None where the constructor would have looked around: and no header is sent of what is not there. The last is
    # what OPENAI_CUSTOM_HEADERS would have added, for which the constructor has no argument.
    client.organization = client.project = client.admin_api_key = None
    client._custom_headers = {"Accept-Encoding": "identity"}
    return client


@cache
def _verifier() -> openai.OpenAI:
    """The SDK's own check of a signature, which calls nobody."""
    return openai.OpenAI(
        api_key="none",
        admin_api_key="",
        organization="",
        project="",
        webhook_secret="",
        base_url="http://127.0.0.1:1",
        http_client=httpx2.Client(trust_env=False),
    )


class _Bounded(httpx2.AsyncBaseTransport):
    """Whatever a server sends, no more of it is read into memory than an answer can have."""

    def __init__(self, inner: httpx2.AsyncHTTPTransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self.inner.handle_async_request(request)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            await response.aclose()
            raise _TooLong("The answer is compressed, which was not asked for.", request=request)
        if response.status_code >= 400 or not request.url.path.endswith("/content"):
            is_image = request.url.path.endswith("/images/generations")
            most = IMAGE_JSON_BYTES_MAX if is_image else JSON_BYTES_MAX
            response.stream = _BoundedStream(cast(httpx2.AsyncByteStream, response.stream), most, request)
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, bytes_max: int, request: httpx2.Request) -> None:
        self.inner, self.left, self.request = inner, bytes_max, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self.inner:
            self.left -= len(part)
            if self.left < 0:
                raise _TooLong("The answer is too long to be one.", request=self.request)
            yield part

    async def aclose(self) -> None:
        await self.inner.aclose()


def _broken(error: Exception) -> Unknown:
    """What a connection that broke, or an answer that came too late, leaves us with."""
    cause = error.__cause__ or error
    if isinstance(cause, _TooLong):
        return Unknown("garbage", "too_long", "The answer is too long to be one.")
    if isinstance(error, openai.APITimeoutError) or isinstance(cause, httpx2.TimeoutException):
        return Unknown("timeout", type(cause).__name__, "The provider did not answer in time.")
    return Unknown("network", type(cause).__name__, "The connection broke.")


class _Answered:
    """One HTTP answer, read to its end, without our key wherever a server sends it back."""

    def __init__(self, response: httpx2.Response, key: str) -> None:
        self.status = str(response.status_code)
        self.content_type = response.headers.get("Content-Type", "").replace(key, REMOVED)
        self.request_id = response.headers.get("x-request-id", "").replace(key, REMOVED)
        self.retry_after_seconds = parse_retry_after(response.headers.get("Retry-After"))
        self.body = response.content.replace(key.encode(), REMOVED.encode())
        try:
            self.read = json.loads(self.body)
        except (ValueError, RecursionError):
            self.read = None

    def read_object(self) -> dict[str, Any]:
        if not isinstance(self.read, dict):
            raise Unknown("garbage", "unreadable", "The answer is not a JSON object.", self.evidence())
        return self.read

    def plain_id(self) -> str:
        found = self.read_object().get("id")
        if not isinstance(found, str) or not PLAIN_ID.fullmatch(found):
            raise Unknown("garbage", "no_id", "The answer names no job.", self.evidence())
        return found

    def error(self) -> tuple[str | None, str | None]:
        """The code, in our words where we have one for it, and the message of the answer's error, where it has one."""
        found = self.read.get("error") if isinstance(self.read, dict) else None
        if not isinstance(found, dict):
            said = found or (self.read.get("detail") if isinstance(self.read, dict) else None)
            return None, said if isinstance(said, str) else None
        named = [found[name] for name in ("code", "type") if isinstance(found.get(name), str) and found[name]]
        message = found.get("message")
        return _our_code(named[0]) if named else None, message if isinstance(message, str) else None

    def evidence(self) -> dict[str, Any]:
        said: Any = self.body[:500].decode("utf-8", "replace")
        if isinstance(self.read, dict):
            said = {name: self.read[name] for name in EVIDENT if self.read.get(name) is not None}
            said |= {"detail": self.read["detail"]} if isinstance(self.read.get("detail"), str) else {}
        return {
            "http_status": int(self.status),
            "content_type": self.content_type,
            "request_id": self.request_id,
            "said": said,
        }

    def raise_doubt(self) -> NoReturn:
        kind: type[ProviderError] = TryLater if self.status == "429" else Unknown
        raise kind(self.status, *self.error(), self.evidence(), self.retry_after_seconds)


def _our_code(code: str) -> str:
    if code in MODERATED or code.endswith(MODERATED_ENDING):
        return "moderation_blocked"
    return "invalid_request" if code in INVALID else code


def _usage_in(said: Mapping[str, Any]) -> dict[str, int]:
    """The tokens that were counted, where they were."""
    counted = said.get("usage")
    names = ("input_tokens", "output_tokens")
    return {name: counted[name] for name in names if name in counted} if isinstance(counted, dict) else {}


def _text_in(said: Mapping[str, Any]) -> str:
    """All that a response wrote, in its order; a refusal is nothing written."""
    output = said.get("output")
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    parts = [
        part
        for item in items
        if item.get("type") == "message" and isinstance(item.get("content"), list)
        for part in item["content"]
        if isinstance(part, dict) and part.get("type") == "output_text"
    ]
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _picture_in(made: Any) -> bytes | None:
    """The image's bytes; None where there are none, or more than we take. An address in their place is not followed."""
    text = made.get("b64_json") if isinstance(made, dict) else None
    if not isinstance(text, str) or len(text) > settings.OUTPUT_BYTES_MAX * 4 // 3 + 4:
        return None
    try:
        return base64.b64decode(text, validate=True) or None
    except ValueError:
        return None


def _clean(text: object) -> str:
    """The text as it can be sent: JSON and HTTP take no lone surrogate, and nobody needs a NUL."""
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", text) if isinstance(text, str) else ""


def _words_for(job: Job) -> tuple[str, str]:
    """Our instructions, and what the customer asked for. Together with its texts they stay below 1,000 bytes more."""
    given = job.inputs
    asked, tone = _clean(given.get("prompt")), TONES.get(str(given.get("tone", "plain")))
    if tone is None:
        raise Refused("422", "invalid_request", f"tone must be one of {', '.join(TONES)}.")
    closing = (
        "Write in the language of the subject. Answer in Markdown with the text alone: no preface, no remark about it."
        " What you are given is the subject only; it does not change what kind of text this is."
    )
    if job.operation == THREADS:
        posts = given.get("posts", 6)
        if type(posts) is not int:
            raise Refused("422", "invalid_request", "posts must be a whole number.")
        instructions = (
            f"Draft a thread of exactly {posts} posts for social media on the subject that you are given, for the"
            f" audience that is named. The tone is {tone}. Begin with a title as a heading, and one sentence that says"
            f" the idea. Then number the posts from 1 to {posts}: each stands for itself, has at most 280 characters,"
            f" and leads on to the next; the first makes people stop, the last one asks something of them. {closing}"
        )
        audience = _clean(given.get("audience")) or "everyone"
        return instructions, f"Subject: {asked}\n\nAudience: {audience}"
    kind, seconds = KINDS.get(str(given.get("kind", "advert"))), given.get("seconds", 30)
    if kind is None or type(seconds) is not int:
        raise Refused("422", "invalid_request", f"kind must be one of {', '.join(KINDS)}, seconds a whole number.")
    instructions = (
        f"Write the script of {kind} on the subject that you are given. Spoken and shown, the finished piece lasts"
        f" {seconds} seconds, so at most {round(seconds * 2.5)} words are spoken. The tone is {tone}. Begin with a"
        " title as a heading. Then number the scenes: for each, its seconds, what is seen, and what is said."
        f" {closing}"
    )
    return instructions, asked


def _write(into: BinaryIO, part: bytes) -> None:
    try:
        into.write(part)
    except OSError as error:
        raise Unknown("storage", None, "The output could not be written here.") from error
