"""A recording of a page's requests (HAR 1.2): times by host, kind and path, and what costs time or bytes.

Percentiles: linear between the closest ranks, type 7 of R. J. Hyndman and Y. Fan, "Sample Quantiles in Statistical
Packages" (1996), which is numpy's default and Excel's PERCENTILE.INC. Of an address only host and path are told, and no
header: recordings hold cookies and tokens.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from .profiles import Unreadable

ENTRIES_MAX = 20_000
PERCENTS = (50, 90, 95, 99)
PHASES = ("blocked", "dns", "connect", "ssl", "send", "wait", "receive")
# Figures that findings are held against
WAIT_MS = 800  # web.dev: a good time to first byte
TEXT_BYTES = 1_400  # smaller fits one packet
LARGE_BYTES = 500_000
TEXT_SAVED = 0.7  # what gzip or br usually saves of text
STATIC = ("script", "style", "image", "font")
TEXTS = ("page", "script", "style", "data", "text")
KINDS = {
    "page": "Pages",
    "script": "Scripts",
    "style": "Styles",
    "image": "Images",
    "font": "Fonts",
    "media": "Sound and film",
    "data": "Data (JSON, XML)",
    "text": "Other text",
    "other": "Other",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its times in milliseconds from the first one's start."""

    number: int
    method: str
    host: str
    path: str
    shape: str  # the path with ids as {id}
    kind: str
    status: int
    start: float
    time: float
    sent: int  # bytes over the wire
    size: int  # bytes unpacked
    phases: Mapping[str, float]
    protocol: str
    is_plain: bool  # http, not https
    is_packed: bool
    is_kept: bool  # it may be cached, or checked by an ETag or date
    is_from_cache: bool
    cookie_bytes: int
    key: str  # the whole address, to find repeats; never told

    @property
    def end(self) -> float:
        return self.start + self.time

    @property
    def name(self) -> str:
        return f"{self.host}{self.path}"[:120]


@dataclass(frozen=True, slots=True)
class Recording:
    """What a recording holds: the requests in their order of time, and what is told apart from them."""

    requests: Sequence[Request]
    # Connections that stay open (WebSocket, event streams): their time is how long somebody stayed.
    kept_open: int
    # What never went over the network: data:, blob:, a browser's extensions.
    not_sent: int
    # Of each page that says them: when its document was ready and when all was loaded, in milliseconds.
    pages: Sequence[tuple[float | None, float | None]]


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the closest ranks (type 7). Raises ValueError without values."""
    if not values:
        raise ValueError("No values.")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def read(loaded: Any) -> Recording:
    """What the recording holds; raises Unreadable."""
    log = loaded.get("log") if isinstance(loaded, Mapping) else None
    entries = log.get("entries") if isinstance(log, Mapping) else None
    if not isinstance(entries, list):
        raise Unreadable("It is no HAR: there is no log with entries.")
    if not entries:
        raise Unreadable("The recording has no requests.")
    if len(entries) > ENTRIES_MAX:
        raise Unreadable(f"It has {len(entries):,} requests; at most {ENTRIES_MAX:,}.")
    made = [(*_request(number, entry), entry) for number, entry in enumerate(entries, 1)]
    sent = [(fields, began, entry) for fields, began, entry in made if _scheme(entry) in ("http", "https", "ws", "wss")]
    counted = [(fields, began) for fields, began, entry in sent if not _stays_open(fields, entry)]
    if not counted:
        raise Unreadable("The recording has no requests that were answered over HTTP.")
    first = min(began for _, began in counted)
    placed = [Request(start=(began - first) * 1000, **fields) for fields, began in counted]
    placed.sort(key=lambda one: (one.start, one.number))
    return Recording(placed, len(sent) - len(counted), len(made) - len(sent), _pages(log))


def _scheme(entry: Mapping[str, Any]) -> str:
    return str(entry["request"].get("url", "")).partition(":")[0].lower()


def _stays_open(fields: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    content = entry["response"].get("content")
    kind = str(content.get("mimeType") or "") if isinstance(content, Mapping) else ""
    return (
        _scheme(entry) in ("ws", "wss")
        or fields["status"] == 101
        or entry.get("_resourceType") in ("websocket", "eventsource")
        or kind.lower().startswith("text/event-stream")
    )


def _pages(log: Any) -> list[tuple[float | None, float | None]]:
    pages = log.get("pages") if isinstance(log, Mapping) else None
    timings = [
        page.get("pageTimings") for page in (pages if isinstance(pages, list) else []) if isinstance(page, Mapping)
    ]
    found = [
        (_number(one.get("onContentLoad")), _number(one.get("onLoad"))) for one in timings if isinstance(one, Mapping)
    ]
    return [one for one in found if one != (None, None)][:50]


def _request(number: int, entry: Any) -> tuple[dict[str, Any], float]:
    """The request's fields, and when it began in seconds."""

    def wrong(said: str) -> Unreadable:
        return Unreadable(f"Entry {number}: {said}")

    if not isinstance(entry, Mapping):
        raise wrong("it is no object.")
    asked, answered = entry.get("request"), entry.get("response")
    if not isinstance(asked, Mapping) or not isinstance(answered, Mapping):
        raise wrong("it needs a request and a response.")
    try:
        began = datetime.fromisoformat(str(entry.get("startedDateTime")))
        began_at = (began if began.tzinfo else began.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise wrong("startedDateTime is no ISO 8601 time.") from error
    timings = entry.get("timings")
    timings = timings if isinstance(timings, Mapping) else {}
    phases = {name: took for name in PHASES if (took := _number(timings.get(name)))}
    took = _number(entry.get("time"))
    if took is None:
        # ssl is a part of connect (HAR 1.2)
        took = sum(value for name, value in phases.items() if name != "ssl")
    url = str(asked.get("url", ""))
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()[:100]
    except ValueError as error:
        raise wrong("its address is none.") from error
    if not host:
        host = f"({parts.scheme[:20] or 'no host'})"
    path = "/" if parts.scheme == "data" else (parts.path or "/")
    given, said = _headers(answered), _headers(asked)
    content = answered.get("content")
    content = content if isinstance(content, Mapping) else {}
    size = int(_number(content.get("size")) or 0)
    body = _number(answered.get("bodySize"))
    head = _number(answered.get("headersSize"))
    moved = _number(answered.get("_transferSize"))
    sent = moved if moved is not None else (body or 0) + (head or 0) if body is not None else size
    control = given.get("cache-control", "").lower()
    max_age = re.search(r"max-age\s*=\s*(\d{1,12})", control)
    is_kept = "no-store" not in control and (
        (max_age is not None and int(max_age[1]) > 0)
        or "etag" in given
        or "last-modified" in given
        or "expires" in given
    )
    status = int(_number(answered.get("status")) or 0)
    return {
        "number": number,
        "method": str(asked.get("method", "GET"))[:10],
        "host": host,
        "path": path[:400],
        "shape": shape(path),
        "kind": _kind(str(content.get("mimeType") or ""), path, entry.get("_resourceType")),
        "status": status,
        "time": took,
        "sent": int(sent),
        "size": size,
        "phases": phases,
        "protocol": str(answered.get("httpVersion") or asked.get("httpVersion") or "").lower()[:20],
        "is_plain": parts.scheme == "http",
        "is_packed": bool(given.get("content-encoding")),
        "is_kept": is_kept,
        "is_from_cache": status == 304 or entry.get("_fromCache") is not None,
        "cookie_bytes": len(said.get("cookie", "")),
        "key": f"{asked.get('method')} {url}",
    }, began_at


def _headers(message: Mapping[str, Any]) -> dict[str, str]:
    rows = message.get("headers")
    return {
        str(row.get("name", "")).lower(): str(row.get("value", ""))
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, Mapping)
    }


def _number(value: Any) -> float | None:
    """A figure from 0 up; HAR writes -1 where it has none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return float(value)


def _kind(mime: str, path: str, resource: Any) -> str:
    mime = mime.partition(";")[0].strip().lower()
    ending = path.rpartition("/")[2].rpartition(".")[2].lower()
    if mime == "text/html" or resource == "document":
        return "page"
    if "javascript" in mime or "ecmascript" in mime or (not mime and ending in ("js", "mjs")):
        return "script"
    if mime == "text/css" or (not mime and ending == "css"):
        return "style"
    if mime.startswith("image/"):
        return "image"
    if mime.startswith("font/") or "font" in mime or ending in ("woff", "woff2", "ttf", "otf"):
        return "font"
    if mime.startswith(("video/", "audio/")):
        return "media"
    if "json" in mime or mime.endswith("xml") or resource in ("xhr", "fetch"):
        return "data"
    return "text" if mime.startswith("text/") else "other"


def shape(path: str) -> str:
    """The path with what only names one thing as {id}: numbers, UUIDs, hashes."""
    parts = path[:400].split("/")
    is_id = re.compile(r"\d+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{16,64}")
    return "/".join("{id}" if is_id.fullmatch(part) else part for part in parts)


def site(host: str) -> str:
    """About the domain that was registered: two labels, three where the second is short (co.uk)."""
    labels = host.split(".")
    if len(labels) <= 2 or re.fullmatch(r"[\d.]+|.*:.*", host):
        return host
    is_short = len(labels[-1]) == 2 and labels[-2] in ("co", "com", "org", "net", "gov", "ac", "edu")
    return ".".join(labels[-3:] if is_short else labels[-2:])


def group(requests: Iterable[Request], of: Callable[[Request], str]) -> list[dict[str, Any]]:
    """Count, bytes and percentiles of the time by a name, the most time first."""
    by_name: dict[str, list[Request]] = defaultdict(list)
    for one in requests:
        by_name[of(one)].append(one)
    rows = [{"name": name} | figures(some) for name, some in by_name.items()]
    return sorted(rows, key=lambda row: (-row["total_ms"], row["name"]))


def figures(requests: Sequence[Request]) -> dict[str, Any]:
    times = [one.time for one in requests]
    return {
        "requests": len(requests),
        "bytes": sum(one.sent for one in requests),
        "total_ms": round(math.fsum(times), 3),
        **{f"p{percent}_ms": round(percentile(times, percent), 3) for percent in PERCENTS},
        "max_ms": round(max(times), 3),
    }


def _count(some: Collection[Any], noun: str) -> str:
    return f"{len(some)} {noun}{'' if len(some) == 1 else 's'}"


def findings(requests: Sequence[Request], own: str) -> list[dict[str, Any]]:
    """{check, severity, title, evidence, requests, count, gain_ms, gain_bytes, fix}: what each rests on and may gain.

    `own`: the site that is one's own. Gains are upper bounds of what each alone could save; they do not add up.
    """
    found: list[dict[str, Any]] = []

    def note(
        check: str,
        severity: str,
        title: str,
        some: Sequence[Request],
        said: str,
        fix: str,
        ms: float = 0,
        saved: float = 0,
    ) -> None:
        if some:
            worst = sorted(some, key=lambda one: (-one.time, one.number))
            found.append(
                {
                    "check": check,
                    "severity": severity,
                    "title": title,
                    "evidence": said,
                    "requests": [
                        {"number": one.number, "name": one.name, "ms": round(one.time, 1), "bytes": one.sent}
                        for one in worst[:10]
                    ],
                    "count": len(some),
                    "gain_ms": round(ms, 1),
                    "gain_bytes": round(saved),
                    "fix": fix,
                }
            )

    def most(some: Sequence[Request], phase: str) -> str:
        return f"{max((one.phases[phase] for one in some), default=0):,.0f}"

    network = [one for one in requests if not one.is_from_cache]
    slow = [one for one in network if one.phases.get("wait", 0) > WAIT_MS]
    spare = [one.phases["wait"] - WAIT_MS for one in slow]
    note(
        "slow_server",
        "high",
        "The server takes long to answer",
        slow,
        f"{len(slow)} of {len(network)} waited more than {WAIT_MS} ms for the first byte, "
        f"at most {most(slow, 'wait')} ms.",
        "Look at what the server does in this time: queries, calls to others, work that a cache could keep.",
        ms=max(spare, default=0),
    )
    plain = [
        one
        for one in network
        if one.kind in TEXTS
        and not one.is_packed
        and max(one.size, one.sent) > TEXT_BYTES
        and one.status == 200
        and (not one.size or one.sent >= 0.9 * one.size)
    ]
    bytes_plain = sum(max(one.size, one.sent) for one in plain)
    note(
        "not_compressed",
        "high" if bytes_plain > 200_000 else "medium",
        "Text is sent unpacked",
        plain,
        f"{_count(plain, 'answer')} without Content-Encoding: {bytes_plain:,} bytes of text.",
        "Turn on Brotli or gzip for text at the server or the CDN. The gain is reckoned with 70 %.",
        saved=bytes_plain * TEXT_SAVED,
    )
    unkept = [
        one for one in network if one.kind in STATIC and one.status == 200 and not one.is_kept and site(one.host) == own
    ]
    note(
        "not_cached",
        "medium",
        "Files that do not change are not kept",
        unkept,
        f"{_count(unkept, 'file')} of your own that the browser may not keep: scripts, styles, images or fonts.",
        "Give them Cache-Control: max-age=31536000, immutable, and a name that changes with what is in them.",
        saved=sum(one.sent for one in unkept),
    )
    moved = [one for one in requests if 300 <= one.status < 400 and one.status != 304]
    note(
        "redirects",
        "medium",
        "Answers that send elsewhere",
        moved,
        f"{_count(moved, 'redirect')} took {sum(one.time for one in moved):,.0f} ms.",
        "Link to where they lead.",
        ms=sum(one.time for one in moved),
    )
    failed = [one for one in requests if one.status >= 400 or one.status == 0]
    note(
        "failed",
        "high",
        "Requests that fail",
        failed,
        f"{_count(failed, 'request')} ended with "
        f"{', '.join(sorted({str(one.status or 'no answer') for one in failed}))}.",
        "Mend or remove them: each costs a round trip and is shown to nobody.",
        ms=sum(one.time for one in failed),
    )
    large = [one for one in network if max(one.sent, 0) > LARGE_BYTES]
    note(
        "large",
        "medium",
        "Large answers",
        large,
        f"{_count(large, 'answer')} of more than {LARGE_BYTES // 1000} kB, "
        f"{sum(one.sent for one in large):,} bytes together.",
        "Split scripts, send images in the size they are shown and as AVIF or WebP, page long lists.",
        saved=sum(one.sent - LARGE_BYTES for one in large),
    )
    queued = [one for one in network if one.phases.get("blocked", 0) > 100]
    note(
        "blocked",
        "medium",
        "Requests that wait for their turn",
        queued,
        f"{len(queued)} waited more than 100 ms before they were sent, at most {most(queued, 'blocked')} ms.",
        "Serve over HTTP/2 or HTTP/3, ask for less at once, and load what is not seen yet later.",
        ms=max((one.phases["blocked"] for one in queued), default=0),
    )
    old: list[Request] = []
    by_host: dict[str, list[Request]] = defaultdict(list)
    for one in network:
        by_host[one.host].append(one)
    for some in by_host.values():
        ones = [one for one in some if one.protocol in ("http/1.1", "http/1.0")]
        old += ones if len(ones) > 6 else []
    note(
        "old_protocol",
        "low",
        "Many requests over HTTP/1.1",
        old,
        f"{_count({one.host for one in old}, 'host')} with more than six requests over HTTP/1.1.",
        "Turn on HTTP/2 or HTTP/3.",
    )
    opened = [one for one in network if one.phases.get("connect", 0) + one.phases.get("dns", 0) > 100]
    note(
        "connections",
        "low",
        "Slow first connections",
        opened,
        f"{len(opened)} had to look up and reach their host for more than 100 ms.",
        "Use fewer hosts, or a preconnect hint for the ones that are needed early.",
        ms=max((one.phases.get("connect", 0) + one.phases.get("dns", 0) for one in opened), default=0),
    )
    foreign = [one for one in requests if site(one.host) != own and not one.host.startswith("(")]
    note(
        "third_parties",
        "low",
        "Others have a part in the page",
        foreign,
        f"{_count({site(one.host) for one in foreign}, 'other site')}: {len(foreign)} of {len(requests)} requests, "
        f"{sum(one.sent for one in foreign):,} bytes.",
        "Keep the ones that earn their time; load the rest after the page is usable.",
        ms=0,
        saved=sum(one.sent for one in foreign),
    )
    counts: dict[str, list[Request]] = defaultdict(list)
    for one in network:
        if one.method == "GET" and one.status == 200:
            counts[one.key].append(one)
    again = [one for some in counts.values() for one in some[1:]]
    note(
        "repeated",
        "medium",
        "The same is fetched again",
        again,
        f"{_count(again, 'request')} fetched what had just been fetched.",
        "Ask once and share the answer, or let the browser keep it.",
        ms=sum(one.time for one in again),
        saved=sum(one.sent for one in again),
    )
    heavy = [one for one in network if one.kind in STATIC and one.cookie_bytes > 1_000]
    note(
        "cookies",
        "low",
        "Cookies ride along with plain files",
        heavy,
        f"{_count(heavy, 'request')} for files with more than 1 kB of cookies.",
        "Serve files from a host without cookies, or narrow the cookies' path.",
        saved=sum(one.cookie_bytes for one in heavy),
    )
    clear = [one for one in requests if one.is_plain and one.host not in ("localhost", "127.0.0.1")]
    note(
        "plain_http",
        "high",
        "Sent without TLS",
        clear,
        f"{_count(clear, 'request')} over http.",
        "Use https everywhere.",
    )
    order = {"high": 0, "medium": 1, "low": 2}
    return sorted(found, key=lambda row: (order[row["severity"]], -row["gain_ms"], -row["gain_bytes"], row["check"]))
