"""The contract between Holdfast and whoever executes a job: three records, five errors, one class.

A provider never touches our rows. It is handed a Job, and answers with what it was told or raises what went wrong; what
either means for the customer's credits is decided elsewhere, by rules (generations/settlement.py).
"""

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, BinaryIO, ClassVar
from urllib.parse import urlsplit

# Our vocabulary for what a provider says of a job. Any other word is passed through as it is, and counts as unknown.
STATUSES = frozenset({"queued", "in_progress", "completed", "failed", "cancelled", "incomplete"})
TERMINAL_STATUSES = frozenset({"completed", "failed", "cancelled", "incomplete"})

# The HTTP answers to a submit that mean: nothing was accepted, and asking again the same way will not help.
REFUSING_STATUSES = frozenset({"400", "401", "402", "403", "404", "413", "422"})

EVIDENCE_BYTES_MAX = 4096
EVIDENCE_TEXT_MAX = 500
EVIDENCE_ITEMS_MAX = 40
EVIDENCE_DEPTH_MAX = 5
RETRY_AFTER_SECONDS_MAX = 3600.0

_SECRET_NAME = re.compile(
    r"authorization|cookie|passw|passphrase|secret|credential|signature|api[-_ ]?key|apikey|private[-_ ]?key"
    r"|(^|[-_ ])(access|refresh|id|session|bearer|auth|csrf)?[-_ ]?token$",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"(?i:bearer|basic)\s+[\w.~+/=-]{6,}"
    r"|\b(?:sk|rk|pk|whsec|ghp|gho|xox[abp])[-_][\w-]{8,}"
    r"|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
    r"|(?<=[?&])(?i:[\w-]*(?:signature|token|key|secret|password|sig))=[^&\s\"']+"
)
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
REMOVED = "[removed]"


def clean_text(text: object, length_max: int = EVIDENCE_TEXT_MAX) -> str:
    """The text as it may be stored and shown: without secrets, no NUL or lone surrogates, cut to `length_max`."""
    whole = text if isinstance(text, str) else str(text)
    whole = _SECRET_TEXT.sub(REMOVED, _UNSTORABLE.sub("\ufffd", whole[: length_max * 4]))
    return whole if len(whole) <= length_max else whole[: length_max - 1] + "…"


def _clean(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else clean_text(f"{value:.6e}" if abs(value) < 10**300 else "huge")
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str | bytes):
        return clean_text(value if isinstance(value, str) else value[:EVIDENCE_BYTES_MAX].decode("utf-8", "replace"))
    if depth >= EVIDENCE_DEPTH_MAX:
        return "…"
    if isinstance(value, Mapping):
        cleaned = {}
        for name, part in list(value.items())[:EVIDENCE_ITEMS_MAX]:
            key = clean_text(name, 100)
            cleaned[key] = REMOVED if _SECRET_NAME.search(key) and part is not None else _clean(part, depth + 1)
        return cleaned
    if isinstance(value, Sequence):
        return [_clean(part, depth + 1) for part in value[:EVIDENCE_ITEMS_MAX]]
    return clean_text(value)


def clean_evidence(found: Mapping[str, Any]) -> dict[str, Any]:
    """What may be stored beside a settlement: JSON-able, without secrets, at most EVIDENCE_BYTES_MAX bytes as JSON.

    Where it is too much, the largest parts are left out first, and `left_out` names them.
    """
    cleaned: dict[str, Any] = _clean(found, 0)
    left_out: list[str] = []
    sizes = {name: len(json.dumps({name: value})) for name, value in cleaned.items()}
    while sum(sizes.values()) + 120 * bool(left_out) > EVIDENCE_BYTES_MAX - 120:
        largest = max(sizes, key=lambda name: sizes[name])
        del cleaned[largest], sizes[largest]
        left_out.append(largest)
    if left_out:
        cleaned["left_out"] = [name[:20] for name in left_out[:5]]
    return cleaned


def parse_retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """The seconds that a Retry-After header asks for, 0 to an hour; None where there is none or it cannot be read."""
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_SECONDS_MAX)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - (now or datetime.now(UTC))).total_seconds(), 0.0), RETRY_AFTER_SECONDS_MAX)


def is_loopback(url: str) -> bool:
    """Whether the address can only be of this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Job:
    """What a provider is told of a generation. `id` is ours, and the idempotency key of its submission."""

    id: str
    operation: str
    inputs: dict[str, Any]
    provider_job_id: str | None = None
    # The graph that staff put in place of a provider's shipped one, for providers that run graphs.
    graph: dict[str, Any] | None = None
    # Whether `cancel` has been called for it and raised nothing: for a provider that then forgets the job.
    is_cancel_asked: bool = False


@dataclass(frozen=True)
class Accepted:
    """The provider has taken the job, under this id of its own.

    One that finishes while we wait says in `answer` how it ended, and gives what it made in `content`: it may not be
    able to tell either again.
    """

    provider_job_id: str
    evidence: dict[str, Any] = field(default_factory=dict)
    answer: "Answer | None" = None
    content: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "evidence", clean_evidence(self.evidence))


@dataclass(frozen=True)
class Answer:
    """What the provider says of a job, in our vocabulary where the word is known, else as it is."""

    status: str
    code: str | None = None
    message: str | None = None
    progress: int | None = None  # percent
    evidence: dict[str, Any] = field(default_factory=dict)
    retry_after_seconds: float | None = None
    # What the provider counted, of which a price by use is made: input_tokens, output_tokens.
    usage: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", clean_text(self.status, 50))
        object.__setattr__(self, "code", None if self.code is None else clean_text(self.code, 100))
        object.__setattr__(self, "message", None if self.message is None else clean_text(self.message))
        object.__setattr__(self, "progress", None if self.progress is None else min(max(int(self.progress), 0), 100))
        object.__setattr__(self, "evidence", clean_evidence(self.evidence))
        counted = {name: n for name, n in self.usage.items() if type(n) is int and 0 <= n < 2**53}
        object.__setattr__(self, "usage", counted)

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL_STATUSES

    @property
    def is_known(self) -> bool:
        return self.status in STATUSES


class ProviderError(Exception):
    """Something other than an answer. `status` is an HTTP status as text, or timeout, network, garbage, storage."""

    def __init__(
        self,
        status: str,
        code: str | None = None,
        message: str | None = None,
        evidence: Mapping[str, Any] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.status = clean_text(status, 60)
        self.code = None if code is None else clean_text(code, 100)
        self.message = None if message is None else clean_text(message)
        self.evidence = clean_evidence(evidence or {})
        self.retry_after_seconds = retry_after_seconds
        super().__init__(" ".join(part for part in (self.status, self.code, self.message) if part))


class Refused(ProviderError):
    """Definite: the job was not accepted, and the same request will not be."""


class TryLater(ProviderError):
    """Definite: nothing was accepted or answered now; asking again later is safe."""


class Unknown(ProviderError):
    """Doubt: what happened at the provider cannot be told from what we saw."""


class OutputUnavailable(ProviderError):
    """Definite: there is no output to be had, now or later, or none that we would deliver."""


class NotCancellable(ProviderError):
    """Definite: the provider will not stop this job; its terminal word still decides."""


class NotOffered(LookupError):
    """No provider of that name is set up here."""


class CallbackRefused(Exception):
    """A callback that the provider did not send, or not now: its signature, its time or its shape is wrong."""


class Provider(ABC):
    """One executor of jobs. Its flags say what it can do; its methods raise ProviderErrors and nothing else.

    Every method may be called at any time, by any process, more than once, for the same job. All run on the process's
    one event loop (calls.py), so none may block it; HTTP clients are kept there by `calls.keep`.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # for people
    operations: frozenset[str]
    is_real: bool  # an outside provider, whose bill is real money
    has_progress: ClassVar[bool] = False
    has_callbacks: ClassVar[bool] = False
    has_graphs: ClassVar[bool] = False  # runs a graph for each operation, which staff may edit
    has_cancel: bool = False
    has_lookup: bool = False  # can be asked by our id whether it accepted a job
    has_idempotent_submit: bool = False  # a second submit of one job never makes a second one there
    submit_seconds_max: float | None = None  # how long a submit may take; None: PROVIDER_TIMEOUT_SECONDS

    def submit_seconds(self, operation: str) -> float | None:
        """How long submitting a job of this operation may take; None: PROVIDER_TIMEOUT_SECONDS."""
        return self.submit_seconds_max

    @abstractmethod
    async def submit(self, job: Job) -> Accepted:
        """The job is accepted there. Raises Refused, TryLater (both: surely not accepted) or Unknown."""

    @abstractmethod
    async def poll(self, job: Job) -> Answer:
        """What the provider says of the job now. Raises TryLater or Unknown."""

    async def look_up(self, job: Job) -> Answer | Accepted | None:
        """What became of a submission in doubt, asked by our id: accepted, or None when it surely never arrived.

        Raises TryLater or Unknown where that cannot be told now.
        """
        raise Unknown("unsupported", "no_lookup", f"{self.title} cannot be asked by our reference.")

    async def cancel(self, job: Job) -> None:
        """The provider has been asked to stop; its next answers say whether it did. Raises NotCancellable."""
        raise NotCancellable("unsupported", "not_cancellable", f"{self.title} cannot stop a job once it has begun.")

    @abstractmethod
    async def fetch(self, job: Job, answer: Answer, into: BinaryIO, bytes_max: int, seconds_max: float) -> str:
        """The output of a completed job is written to `into`; returns its content type as the provider states it.

        Raises OutputUnavailable (nothing there, or too large), TryLater or Unknown (also when `seconds_max` passes);
        after an error `into` may hold a part of it.
        """

    def verify_callback(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """The provider's id of the job that a signed callback is about; None for one about something else.

        Raises CallbackRefused where the provider did not sign it. What the callback says of the job is never used.
        """
        raise CallbackRefused(f"{self.title} sends no callbacks.")
