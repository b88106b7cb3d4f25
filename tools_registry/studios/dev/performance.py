"""Performance: what a recording of a page's requests (HAR) or a profile of a program says about where time goes.

`har` has the percentiles' method and the figures that findings are held against; `profiles` the forms that are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tools_registry import studio
from tools_registry.fields import Choice, Document, Text, Whole
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios import drawing
from tools_registry.studios.drawing import Bar, Span, Tone
from tools_registry.studios.sheets import csv_file, markdown_table

from . import har, profiles
from .har import Recording, Request
from .profiles import Function, Profile, Unreadable

FORMS = {
    "auto": "Find out",
    "har": "Requests of a page (HAR)",
    "pstats": "cProfile’s file (.prof, .pstats)",
    "cprofile": "cProfile’s printed table",
    "speedscope": "speedscope JSON (py-spy, pprof)",
    "pyinstrument": "pyinstrument JSON",
    "collapsed": "Collapsed stacks (flame graph)",
}
METHOD = "linear between the closest ranks (Hyndman and Fan, type 7)"
DRAWN_MAX = 60
HOT_SHARE = 0.05
EDGES_SHOWN = 30


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{kind: "har", …} or {kind: "profile", …}; see `_of_requests` and `_of_profile`."""
    content = files["recording"]
    form = form_of(content) if inputs["form"] == "auto" else inputs["form"]
    try:
        if form == "har":
            return _of_requests(har.read(profiles.load_json(content)), inputs["own_site"], inputs["top"])
        return _of_profile(profiles.read(content, form), inputs["top"])
    except Unreadable as error:
        raise BadInput({"recording": str(error)}) from error


def form_of(content: bytes) -> str:
    """Which of FORMS it is; raises BadInput where it is none."""
    start = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start == b"{":
        try:
            loaded = profiles.load_json(content)
        except Unreadable as error:
            raise BadInput({"recording": str(error)}) from error
        for name, form in (("log", "har"), ("shared", "speedscope"), ("root_frame", "pyinstrument")):
            if name in loaded:
                return form
        raise BadInput({"recording": "It has neither log (HAR), shared (speedscope) nor root_frame (pyinstrument)."})
    if content[:1] in (b"\xfb", b"{"):
        return "pstats"
    if b"ncalls" in content[:20_000] and b"tottime" in content[:20_000]:
        return "cprofile"
    if b"\x00" in content[:2_000]:
        return "pstats"
    return "collapsed"


# Requests


def _of_requests(recording: Recording, own_site: str, top: int) -> Result:
    """{kind, method, own_site, requests, kept_open, not_sent, pages, failed, bytes, unpacked_bytes, span_ms, all,
    by_host, by_kind, by_path, by_phase, third_parties, findings, slowest}: times in milliseconds, each group with
    p50_ms to p99_ms.

    Connections that stay open, and what never went over the network, are counted and are in no figure.
    """
    requests = recording.requests
    own = har.site(own_site.lower().strip(". ")) if own_site else next(
        (har.site(one.host) for one in requests if one.kind == "page"), har.site(requests[0].host)
    )  # fmt: skip
    span = max(one.end for one in requests)
    foreign = [one for one in requests if har.site(one.host) != own]
    phases = []
    for name in har.PHASES:
        times = [one.phases[name] for one in requests if name in one.phases]
        if times:
            phases.append(
                {"name": name, "requests": len(times), "total_ms": round(math.fsum(times), 3)}
                | {f"p{percent}_ms": round(har.percentile(times, percent), 3) for percent in har.PERCENTS}
            )
    found = har.findings(requests, own)
    slowest = sorted(requests, key=lambda one: (-one.time, one.number))[:top]
    result: dict[str, Any] = {
        "kind": "har",
        "method": METHOD,
        "own_site": own,
        "requests": len(requests),
        "kept_open": recording.kept_open,
        "not_sent": recording.not_sent,
        "pages": [
            {"content_loaded_ms": ready and round(ready, 3), "loaded_ms": loaded and round(loaded, 3)}
            for ready, loaded in recording.pages
        ],
        "failed": sum(one.status >= 400 or one.status == 0 for one in requests),
        "bytes": sum(one.sent for one in requests),
        "unpacked_bytes": sum(one.size for one in requests),
        "span_ms": round(span, 3),
        "all": har.figures(requests),
        "by_host": har.group(requests, lambda one: one.host)[:100],
        "by_kind": har.group(requests, lambda one: one.kind),
        "by_path": har.group(requests, lambda one: f"{one.host}{one.shape}"[:200])[:200],
        "by_phase": phases,
        "third_parties": har.group(foreign, lambda one: har.site(one.host))[:50],
        "findings": found,
        "slowest": [_line(one) for one in slowest],
    }
    drawn = requests[:DRAWN_MAX]
    tones: dict[str, Tone] = {"page": "sea", "script": "brass", "data": "sea", "image": "quiet", "style": "brass"}
    waterfall = drawing.timeline(
        "Waterfall",
        [
            Span(
                one.name,
                round(one.start, 1),
                round(one.end, 1),
                "coral" if one.status >= 400 or one.status == 0 else tones.get(one.kind, "plain"),
                f"{one.kind}, {drawing.number(round(one.time, 1), 'ms')}",
            )
            for one in drawn
        ],
        unit="ms",
        described=f"The first {len(drawn)} of {len(requests)} requests, over {drawing.number(span, 'ms')}.",
    )
    weights = drawing.bars(
        "Bytes by kind",
        [
            Bar(har.KINDS[row["name"]], row["bytes"] / 1000, "sea", f"{row['requests']} requests")
            for row in sorted(result["by_kind"], key=lambda row: -row["bytes"])
        ],
        unit="kB",
    )
    made = [
        File("waterfall.svg", "image/svg+xml", waterfall),
        File("kinds.svg", "image/svg+xml", weights),
        csv_file("requests.csv", REQUEST_COLUMNS, (_cells(one) for one in requests)),
        csv_file("percentiles.csv", GROUP_COLUMNS, _groups(result)),
        File("performance.md", "text/markdown", _told_requests(result).encode("utf-8", "replace")),
    ]
    return Result(result, _view_requests(result, len(drawn)), made)


REQUEST_COLUMNS = (
    "Number", "Start ms", "Time ms", "Method", "Host", "Path", "Kind", "Status", "Bytes", "Unpacked bytes", "Wait ms"
)  # fmt: skip
GROUP_COLUMNS = ("Group", "Name", "Requests", "Bytes", "Total ms", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "Most ms")
FIGURES = ("requests", "bytes", "total_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")


def _line(one: Request) -> dict[str, Any]:
    return {
        "number": one.number,
        "method": one.method,
        "host": one.host,
        "path": one.path,
        "kind": one.kind,
        "status": one.status,
        "start_ms": round(one.start, 3),
        "time_ms": round(one.time, 3),
        "bytes": one.sent,
        "phases": {name: round(took, 3) for name, took in one.phases.items()},
    }


def _cells(one: Request) -> tuple[Any, ...]:
    wait = one.phases.get("wait")
    return (
        one.number, round(one.start, 3), round(one.time, 3), one.method, one.host, one.path, one.kind, one.status,
        one.sent, one.size, None if wait is None else round(wait, 3),
    )  # fmt: skip


def _groups(result: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    rows = [("all", "", *(result["all"][name] for name in FIGURES))]
    for group in ("by_host", "by_kind", "by_path"):
        rows += [(group.removeprefix("by_"), row["name"], *(row[name] for name in FIGURES)) for row in result[group]]
    return rows


def _gain(row: Mapping[str, Any]) -> str:
    parts = []
    if row["gain_ms"]:
        parts.append(drawing.number(row["gain_ms"], "ms"))
    if row["gain_bytes"]:
        parts.append(drawing.number(row["gain_bytes"] / 1000, "kB"))
    return f"At most {' and '.join(parts)} to gain." if parts else "No figure for what it gains."


def _where(row: Mapping[str, Any]) -> str:
    first, *others = row["requests"]
    more = row["count"] - 1
    return f"{first['name']} and {more} more" if others else str(first["name"])


def _told_requests(result: Mapping[str, Any]) -> str:
    names = ("Name", "Requests", "p50 ms", "p90 ms", "p95 ms", "p99 ms")
    columns = ("name", "requests", "p50_ms", "p90_ms", "p95_ms", "p99_ms")
    parts = [
        "# Performance of a page",
        f"{result['requests']} requests in {result['span_ms']:,.0f} ms, {result['bytes']:,} bytes. "
        f"Percentiles: {result['method']}.",
        "## What costs time or bytes",
        markdown_table(
            ("Severity", "What", "Evidence", "Estimate", "What to do"),
            [(row["severity"], row["title"], row["evidence"], _gain(row), row["fix"]) for row in result["findings"]],
        )
        if result["findings"]
        else "Nothing stands out.",
    ]
    for title, group in (("By host", "by_host"), ("By kind", "by_kind"), ("By path", "by_path")):
        rows = [[row[name] for name in columns] for row in result[group][:50]]
        parts += [f"## {title}", markdown_table(names, rows)]
    return "\n\n".join(parts) + "\n"


def _loaded(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """When pages were ready, and what is in no figure."""
    pairs: list[tuple[str, Any]] = []
    for number, page in enumerate(result["pages"][:5], 1):
        of = f" {number}" if len(result["pages"]) > 1 else ""
        for title, key in (("Document ready", "content_loaded_ms"), ("All loaded", "loaded_ms")):
            if page[key] is not None:
                pairs.append((f"{title}{of}", drawing.number(page[key], "ms")))
    if result["kept_open"]:
        pairs.append(("Kept open, in no figure", result["kept_open"]))
    if result["not_sent"]:
        pairs.append(("Never sent, in no figure", result["not_sent"]))
    return pairs


def _view_requests(result: Mapping[str, Any], drawn: int) -> list[studio.Block]:
    whole = result["all"]
    heading = ("Name", "Requests", "kB", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "Most ms")

    def grouped(title: str, rows: Sequence[Mapping[str, Any]], note: str = "") -> studio.Block:
        cells = [
            (
                har.KINDS.get(row["name"], row["name"]) if title == "By kind" else row["name"],
                row["requests"],
                round(row["bytes"] / 1000, 1),
                *(round(row[name], 1) for name in FIGURES[3:]),
            )
            for row in rows[:40]
        ]
        return studio.table(title, heading, cells, note=note)

    view: list[studio.Block] = [
        studio.facts(
            "At a glance",
            (
                ("Requests", result["requests"]),
                ("From first to last", drawing.number(result["span_ms"], "ms")),
                ("Over the wire", drawing.number(result["bytes"] / 1000, "kB")),
                ("Median", drawing.number(whole["p50_ms"], "ms")),
                ("p90", drawing.number(whole["p90_ms"], "ms")),
                ("p95", drawing.number(whole["p95_ms"], "ms")),
                ("p99", drawing.number(whole["p99_ms"], "ms")),
                ("Failed", result["failed"]),
                ("Your site", result["own_site"]),
                *_loaded(result),
            ),
        ),
        studio.findings(
            "What costs time or bytes",
            [
                {
                    "severity": row["severity"],
                    "title": row["title"],
                    "where": _where(row),
                    "text": f"{row['evidence']} {_gain(row)}",
                    "fix": row["fix"],
                }
                for row in result["findings"]
            ],
            none="Nothing stands out.",
        ),
        studio.picture(
            "Waterfall",
            "waterfall.svg",
            described=f"The first {drawn} of {result['requests']} requests in the order in which they began.",
        ),
        grouped("By host", result["by_host"], f"Percentiles: {result['method']}."),
        grouped("By kind", result["by_kind"]),
        studio.picture("Bytes by kind", "kinds.svg", described="The table above has the figures."),
        grouped("By path", result["by_path"], "Numbers and ids in paths are {id}. Queries are not told."),
        studio.table(
            "By phase",
            ("Phase", "Requests", "Total ms", "p50 ms", "p90 ms", "p95 ms", "p99 ms"),
            [
                (row["name"], row["requests"], *(round(row[name], 1) for name in ("total_ms", *FIGURES[3:7])))
                for row in result["by_phase"]
            ],
            note="wait is the time to the first byte; ssl is a part of connect.",
        ),
        studio.table(
            "The slowest",
            ("Number", "Address", "Kind", "Status", "Start ms", "Time ms", "kB"),
            [
                (
                    row["number"], f"{row['host']}{row['path']}"[:120], row["kind"], row["status"],
                    round(row["start_ms"], 1), round(row["time_ms"], 1), round(row["bytes"] / 1000, 1),
                )
                for row in result["slowest"]
            ],
        ),
    ]  # fmt: skip
    if result["third_parties"]:
        view.append(grouped("Other sites", result["third_parties"]))
    return view


# Profiles


def _of_profile(profile: Profile, top: int) -> Result:
    """{kind, form, unit, total, functions, hot_spots, by_total, edges, findings, is_derived}: weights in `unit`.

    A hot spot: {name, self, self_share, total, total_share, calls}; an edge: {caller, callee, weight, share}.
    """
    whole = profile.whole
    functions = sorted(profile.functions.values(), key=lambda one: (-one.own, -one.total, one.name))
    hot = functions[:top]
    by_total = sorted(functions, key=lambda one: (-one.total, one.name))[:top]
    edges = sorted(profile.edges.items(), key=lambda pair: (-pair[1], pair[0]))
    found = _hot_findings(profile, functions)
    result: dict[str, Any] = {
        "kind": "profile",
        "form": profile.form,
        "unit": profile.unit,
        "total": _round(whole),
        "functions": len(functions),
        "hot_spots": [_spot(one, whole) for one in hot],
        "by_total": [_spot(one, whole) for one in by_total],
        "edges": [
            {"caller": caller, "callee": callee, "weight": _round(weight), "share": round(weight / whole, 4)}
            for (caller, callee), weight in edges[:200]
        ],
        "findings": found,
        "is_derived": profile.is_derived,
    }
    made = [
        csv_file(
            "functions.csv",
            ("Function", "Calls", f"Self {profile.unit}", f"Total {profile.unit}", "Self share", "Total share"),
            (
                (
                    one.name, one.calls, _round(one.own), _round(one.total),
                    round(one.own / whole, 4), round(one.total / whole, 4),
                )
                for one in functions[:5_000]
            ),
        ),
        File("performance.md", "text/markdown", _told_profile(result).encode("utf-8", "replace")),
    ]  # fmt: skip
    has_flame, has_graph = bool(profile.stacks), bool(edges)
    unit = "" if profile.unit == "samples" else profile.unit
    if has_flame:
        flame = drawing.flame("Flame graph", profile.stacks, unit=unit, described=_described(profile))
        made.append(File("flame.svg", "image/svg+xml", flame))
        lines = [f"{';'.join(names)} {max(1, round(weight * 1e6))}" for names, weight in profile.stacks[:20_000]]
        if profile.unit == "samples":
            lines = [f"{';'.join(names)} {_round(weight):g}" for names, weight in profile.stacks[:20_000]]
        made.append(File("stacks.txt", "text/plain", ("\n".join(lines) + "\n").encode("utf-8", "replace")))
    if has_graph:
        made.append(File("calls.svg", "image/svg+xml", _graph(profile, edges)))
    return Result(result, _view_profile(result, has_flame=has_flame, has_graph=has_graph), made)


def _round(weight: float) -> float:
    return float(f"{weight:.9g}")


def _spot(one: Function, whole: float) -> dict[str, Any]:
    return {
        "name": one.name,
        "self": _round(one.own),
        "self_share": round(one.own / whole, 4),
        "total": _round(one.total),
        "total_share": round(one.total / whole, 4),
        "calls": one.calls,
    }


def _hot_findings(profile: Profile, functions: Sequence[Function]) -> list[dict[str, Any]]:
    """What is worth a look. The gain is what halving a function's own time would save of the whole (Amdahl's law)."""
    found = []
    for one in functions[:10]:
        share = one.own / profile.whole
        if share < HOT_SHARE:
            break
        calls = f", {one.calls:,} calls of {one.own / one.calls * 1e6:,.1f} µs" if one.calls else ""
        found.append(
            {
                "check": "hot_spot",
                "severity": "high" if share >= 0.25 else "medium",
                "title": f"{share:.0%} of the time is spent in it by itself",
                "function": one.name,
                "evidence": f"{drawing.number(_round(one.own), '' if profile.unit == 'samples' else 's')} of "
                f"{drawing.number(_round(profile.whole), profile.unit)}{calls}.",
                "gain_share": round(share / 2, 4),
                "fix": _advice(one),
            }
        )
    for one in sorted(functions, key=lambda one: (-(one.calls or 0), one.name))[:3]:
        calls_many = one.calls or 0
        if calls_many >= 100_000 and one.own / profile.whole < HOT_SHARE:
            found.append(
                {
                    "check": "many_calls",
                    "severity": "low",
                    "title": f"Called {calls_many:,} times",
                    "function": one.name,
                    "evidence": f"{one.own / profile.whole:.1%} of the time by itself.",
                    "gain_share": round(one.own / profile.whole, 4),
                    "fix": "Call it less often: take it out of the loop, or do many at once.",
                }
            )
    return found


WAITS = ("sleep", "select.", "poll", "acquire", "recv", "read' of '_ssl", "wait")
ADVICE = (
    (WAITS, "It waits. Look at what for; do other work meanwhile, or ask for less."),
    (("_compile", "sre_compile", "sre_parse"), "Patterns are compiled again and again; compile them once, at the top."),
    (("deepcopy",), "Copy only what changes, or build the new value from parts."),
    (("json", "loads", "dumps", "decoder", "encoder"), "Read and write less JSON, or once instead of each time."),
    (("execute", "fetch", "cursor"), "Ask the database once for many rows; look for a query in a loop."),
    (("importlib", "exec_module", "_find_spec", "import"), "Import later what is not always needed."),
    (("isinstance", "len", "append", "getattr"), "A builtin is called very often; look at the loop around it."),
)


def _advice(one: Function) -> str:
    name = one.name.lower()
    for words, said in ADVICE:
        if any(word in name for word in words):
            return said
    if one.total > 2 * one.own > 0:
        return "Look at its loop, and at what it calls."
    return "Look at its own loop: a better data structure or algorithm, or a result that is kept."


def _graph(profile: Profile, edges: Sequence[tuple[tuple[str, str], float]]) -> bytes:
    shown = edges[:EDGES_SHOWN]
    names = list(dict.fromkeys(name for pair, _ in shown for name in pair))
    nodes = []
    for name in names:
        one = profile.functions[name]
        share = one.own / profile.whole
        tone: Tone = "coral" if share >= 0.25 else "brass" if share >= HOT_SHARE else "plain"
        plain, _, place = name.partition(" (")
        lines = [place.rstrip(")")] if place else []
        lines.append(f"{share:.1%} self, {one.total / profile.whole:.1%} in all")
        nodes.append(drawing.Node(name, plain, tone=tone, lines=lines))
    drawn = [drawing.Edge(*pair, f"{weight / profile.whole:.0%}") for pair, weight in shown]
    return drawing.diagram("Who calls whom", nodes, drawn, direction="down")


def _described(profile: Profile) -> str:
    hottest = sorted(profile.functions.values(), key=lambda one: (-one.own, one.name))[:3]
    said = ", ".join(f"{one.name} {one.own / profile.whole:.0%}" for one in hottest)
    guess = " Derived from the call graph, since the file has no stacks." if profile.is_derived else ""
    return f"Wider is more. By themselves: {said}.{guess}"


def _told_profile(result: Mapping[str, Any]) -> str:
    heading = ("Function", "Calls", f"Self {result['unit']}", "Self share", f"Total {result['unit']}", "Total share")
    columns = ("name", "calls", "self", "self_share", "total", "total_share")
    parts = [
        "# Profile",
        f"{drawing.number(result['total'], result['unit'])} in {result['functions']} functions ({result['form']}).",
        "## Hot spots",
        markdown_table(heading, [[row[name] for name in columns] for row in result["hot_spots"]]),
        "## By what they took in all",
        markdown_table(heading, [[row[name] for name in columns] for row in result["by_total"]]),
    ]
    if result["findings"]:
        rows = [(row["function"], row["title"], row["evidence"], row["fix"]) for row in result["findings"]]
        parts += ["## Worth a look", markdown_table(("Function", "What", "Evidence", "What to do"), rows)]
    return "\n\n".join(parts) + "\n"


def _view_profile(result: Mapping[str, Any], *, has_flame: bool, has_graph: bool) -> list[studio.Block]:
    unit = result["unit"]
    hottest = result["hot_spots"][0]
    heading = ("Function", "Calls", f"Self {unit}", "Self %", f"Total {unit}", "Total %")

    def listed(title: str, rows: Sequence[Mapping[str, Any]], note: str) -> studio.Block:
        cells = [
            (
                row["name"],
                row["calls"],
                _round(row["self"]),
                round(100 * row["self_share"], 1),
                _round(row["total"]),
                round(100 * row["total_share"], 1),
            )
            for row in rows
        ]
        return studio.table(title, heading, cells, note=note)

    view: list[studio.Block] = [
        studio.facts(
            "At a glance",
            (
                ("In all", drawing.number(result["total"], unit)),
                ("Functions", result["functions"]),
                ("Hottest", hottest["name"]),
                ("Its own share", drawing.number(round(100 * hottest["self_share"], 1), "%")),
                ("Read as", FORMS[result["form"]]),
            ),
        ),
        studio.findings(
            "Worth a look",
            [
                {
                    "severity": row["severity"],
                    "title": row["title"],
                    "where": row["function"],
                    "text": f"{row['evidence']} Halved, the whole would take {row['gain_share']:.0%} less."
                    if row["check"] == "hot_spot"
                    else row["evidence"],
                    "fix": row["fix"],
                }
                for row in result["findings"]
            ],
            none="No function stands out: the time is spread over many.",
        ),
    ]
    if has_flame:
        said = "Wider is more; what is below was called by what is above."
        if result["is_derived"]:
            said += " Derived from the call graph: the file has no whole stacks, so the split among callers is a guess."
        view.append(studio.picture("Flame graph", "flame.svg", described=said))
    view.append(listed("Hot spots", result["hot_spots"], "Self: in the function itself. Total: with what it called."))
    view.append(listed("By what they took in all", result["by_total"], ""))
    if has_graph:
        said = f"The {min(EDGES_SHOWN, len(result['edges']))} heaviest calls; the table below has them."
        view.append(studio.picture("Who calls whom", "calls.svg", described=said))
        rows = [
            (row["caller"], row["callee"], row["weight"], round(100 * row["share"], 1))
            for row in result["edges"][:EDGES_SHOWN]
        ]
        view.append(studio.table("The heaviest calls", ("Caller", "Callee", f"Weight {unit}", "%"), rows))
    return view


def _example_entry(second: float, path: str, mime: str, wait: float, size: int, **more: Any) -> dict[str, Any]:
    host = more.get("host", "shop.example")
    headers = [{"name": name, "value": value} for name, value in more.get("headers", {}).items()]
    return {
        "startedDateTime": f"2026-03-02T09:00:{second:06.3f}Z",
        "time": wait + 20,
        "request": {"method": "GET", "url": f"https://{host}{path}", "httpVersion": "h2", "headers": []},
        "response": {
            "status": more.get("status", 200),
            "httpVersion": "h2",
            "headers": headers,
            "content": {"size": size, "mimeType": mime},
            "headersSize": 300,
            "bodySize": more.get("sent", size),
        },
        "timings": {"blocked": 2, "dns": -1, "connect": -1, "ssl": -1, "send": 1, "wait": wait, "receive": 17},
    }


KEPT = {"Cache-Control": "max-age=31536000"}
PACKED = {"Content-Encoding": "br"}
SCRIPT, DATA = "application/javascript", "application/json"
TRACKER = {"host": "cdn.tracker.example", "sent": 29_000, "headers": PACKED | KEPT}
EXAMPLE = {
    "log": {
        "version": "1.2",
        "creator": {"name": "example", "version": "1"},
        "entries": [
            _example_entry(0.0, "/", "text/html", 60, 0, status=301),
            _example_entry(0.09, "/shop", "text/html", 940, 42_000),
            _example_entry(1.06, "/app.js", SCRIPT, 120, 310_000),
            _example_entry(1.07, "/app.css", "text/css", 45, 61_000, sent=9_800, headers=PACKED | KEPT),
            _example_entry(1.08, "/hero.jpg", "image/jpeg", 80, 1_240_000, headers=KEPT),
            _example_entry(1.25, "/api/orders/1001", DATA, 210, 5_400, sent=1_500, headers=PACKED),
            _example_entry(1.25, "/api/orders/1002", DATA, 260, 5_900, sent=1_600, headers=PACKED),
            _example_entry(1.3, "/tag.js", SCRIPT, 330, 88_000, **TRACKER),
            _example_entry(1.4, "/logo.svg", "image/svg+xml", 30, 900, status=404),
        ],
    }
}

TOOL = Tool(
    slug="dev-studio/performance",
    title="Performance analysis",
    noun="analysis",
    summary="Reads a HAR file or a profile: percentiles, hot spots, a waterfall or a flame graph.",
    mode="server",
    risk="medium",
    credits_max=25,
    # The pictures, and a table of every request or function.
    limits=Limits(cpu_seconds=15, seconds=20, output_bytes=4 * 1024 * 1024),
    icon="gauge",
    fields=(
        Document(
            name="recording",
            title="Recording",
            help="A HAR file from the browser's network panel, cProfile's file or table, speedscope or pyinstrument "
            "JSON, or collapsed stacks.",
            file_name="recording.har",
            accepts=(".har", ".json", ".prof", ".pstats", ".txt", ".folded", ".collapsed", ".cprof"),
            is_required=True,
        ),
        Choice(name="form", title="What it is", choices=FORMS, default="auto"),
        Text(
            name="own_site",
            title="Your own site",
            help="For a HAR: what is not of this domain counts as others'. Empty: the first page's.",
            length_max=100,
            is_short=True,
            default="",
        ),
        Whole(name="top", title="How many to list", min=5, max=100, default=20),
    ),
    function=run,
    example={},
    example_files={"recording": ("shop.har", json.dumps(EXAMPLE, indent=1).encode())},
)
