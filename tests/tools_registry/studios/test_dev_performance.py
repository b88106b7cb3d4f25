"""A recording gives percentiles that hold by hand and by the standard library; a profile its hot spots."""

# Tables of lines: one case stays one line.
# ruff: noqa: E501

import cProfile
import io
import json
import marshal
import pstats
import statistics
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry import runner, studio
from tools_registry.studio import BadInput, Result
from tools_registry.studios.dev.har import percentile, shape, site
from tools_registry.studios.dev.performance import TOOL
from tools_registry.studios.dev.profiles import Unreadable, unmarshal

from .tabular import example, file, run


def entry(start: float = 0, time: float = 100, url: str = "https://shop.example/", **more: Any) -> dict[str, Any]:
    """As a browser's network panel writes it."""
    body = more.get("body", 1000)
    return {
        "startedDateTime": f"2026-03-02T09:00:{start:06.3f}Z",
        "time": time,
        "request": {
            "method": more.get("method", "GET"),
            "url": url,
            "httpVersion": more.get("version", "h2"),
            "headers": [{"name": "Cookie", "value": more.get("cookie", "")}],
        },
        "response": {
            "status": more.get("status", 200),
            "headers": [{"name": name, "value": value} for name, value in more.get("headers", {}).items()],
            "content": {"size": more.get("size", body), "mimeType": more.get("mime", "application/json")},
            "headersSize": 0,
            "bodySize": body,
        },
        "timings": {"blocked": -1, "dns": -1, "connect": -1, "ssl": -1, "send": 0, "wait": time, "receive": 0}
        | more.get("timings", {}),
    }


def har(*entries: dict[str, Any], **inputs: Any) -> Result:
    return run(TOOL, inputs, recording=("a.har", json.dumps({"log": {"entries": entries}}).encode()))


def checks(result: Result) -> dict[str, dict[str, Any]]:
    return {one["check"]: one for one in result.result["findings"]}


# Percentiles


def test_percentiles_by_hand() -> None:
    """1 to 10: place = 9 × p. p50 → 4.5 → 5.5; p90 → 8.1 → 9.1; p95 → 8.55 → 9.55; p99 → 8.91 → 9.91."""
    result = har(*(entry(0, 100.0 * (number + 1)) for number in (4, 9, 1, 0, 8, 2, 7, 3, 6, 5)))
    assert {name: result.result["all"][name] for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")} == {
        "p50_ms": 550, "p90_ms": 910, "p95_ms": 955, "p99_ms": 991, "max_ms": 1000,
    }  # fmt: skip


def test_percentiles_by_host_kind_and_path() -> None:
    result = har(
        entry(0, 10, "https://shop.example/api/orders/1"),
        entry(0, 30, "https://shop.example/api/orders/2?token=hidden"),
        entry(0, 100, "https://shop.example/app.js", mime="text/javascript"),
        entry(0, 7, "https://cdn.other.example/x.woff2", mime="font/woff2"),
    ).result
    paths = {one["name"]: one for one in result["by_path"]}
    assert paths["shop.example/api/orders/{id}"]["p50_ms"] == 20
    assert paths["shop.example/api/orders/{id}"]["p90_ms"] == 28
    assert {one["name"]: one["p50_ms"] for one in result["by_host"]} == {"shop.example": 30, "cdn.other.example": 7}
    assert {one["name"]: one["requests"] for one in result["by_kind"]} == {"script": 1, "data": 2, "font": 1}


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=60))
def test_percentiles_are_those_of_the_standard_library(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    for percent in (50, 90, 95, 99):
        assert percentile(values, percent) == pytest.approx(cuts[percent - 1], rel=1e-9, abs=1e-9)


def test_what_stays_open_or_is_never_sent_is_in_no_percentile() -> None:
    """A WebSocket's time is how long somebody stayed, not how long a server took."""
    result = har(
        *(entry(0, 100.0 * number) for number in range(1, 5)),
        entry(0, 45_000, "wss://shop.example/live", status=101),
        entry(0, 60_000, "https://shop.example/events", mime="text/event-stream; charset=utf-8"),
        entry(0, 0, "data:image/png;base64,AAAA", mime="image/png"),
        entry(0, 0, "chrome-extension://abc/inject.js", mime="text/javascript"),
    ).result
    assert (result["requests"], result["kept_open"], result["not_sent"]) == (4, 2, 2)
    assert (result["all"]["p50_ms"], result["all"]["max_ms"]) == (250, 400)
    assert [one["name"] for one in result["by_host"]] == ["shop.example"]
    assert result["third_parties"] == []
    with pytest.raises(BadInput) as error:
        har(entry(0, 45_000, "wss://shop.example/live", status=101))
    assert "answered over HTTP" in error.value.fields["recording"][0]


def test_when_the_page_was_ready_is_told() -> None:
    pages = [
        {
            "id": "page_1",
            "title": "https://shop.example/?token=hidden",
            "pageTimings": {"onContentLoad": 800.5, "onLoad": 1500.25},
        },
        {"pageTimings": {"onLoad": -1}},
    ]
    recording = json.dumps({"log": {"pages": pages, "entries": [entry()]}}).encode()
    result = run(TOOL, {}, recording=("a.har", recording))
    assert result.result["pages"] == [{"content_loaded_ms": 800.5, "loaded_ms": 1500.25}]
    assert dict(result.view[0]["pairs"])["All loaded"] == "1,500 ms"
    assert b"hidden" not in studio.encode(result)


def test_one_value_is_every_percentile() -> None:
    assert [percentile([7], percent) for percent in (50, 99)] == [7, 7]


# What costs


def test_each_finding_with_its_evidence_and_gain() -> None:
    heavy = "c" * 1_200
    found = checks(
        har(
            entry(0.0, 1000, "https://shop.example/", mime="text/html", body=1000),
            entry(1.0, 50, "https://shop.example/old", status=301, mime="text/html", body=0),
            entry(1.1, 20, "https://shop.example/gone", status=404, body=10),
            entry(1.2, 30, "https://shop.example/app.js", mime="text/javascript", body=100_000, cookie=heavy),
            entry(1.3, 30, "https://shop.example/big.png", mime="image/png", body=700_000, headers={"ETag": "a"}),
            entry(1.4, 30, "https://shop.example/one", timings={"blocked": 250, "connect": 90, "dns": 40}),
            entry(1.5, 30, "https://shop.example/one"),
            entry(1.6, 30, "http://stats.other.example/x", body=4_000, headers={"Content-Encoding": "gzip"}),
        )
    )
    assert found["slow_server"]["gain_ms"] == 200
    assert found["redirects"]["gain_ms"] == 50
    assert found["failed"]["count"] == 1
    assert found["not_compressed"]["gain_bytes"] == 70_000
    assert [one["name"] for one in found["not_cached"]["requests"]] == ["shop.example/app.js"]
    assert found["large"]["gain_bytes"] == 200_000
    assert found["blocked"]["gain_ms"] == 250
    assert found["connections"]["gain_ms"] == 130
    assert (found["repeated"]["count"], found["repeated"]["gain_ms"]) == (1, 30)
    assert (found["third_parties"]["count"], found["third_parties"]["gain_bytes"]) == (1, 4_000)
    assert found["cookies"]["gain_bytes"] == 1_200
    assert found["plain_http"]["count"] == 1


def test_a_good_page_has_no_findings() -> None:
    kept = {"Cache-Control": "max-age=31536000", "Content-Encoding": "br"}
    result = har(
        entry(0, 90, mime="text/html", body=9_000, size=30_000, headers=kept),
        entry(0.1, 20, "https://shop.example/app.js", mime="text/javascript", body=9_000, size=30_000, headers=kept),
    )
    assert result.result["findings"] == []


def test_many_requests_over_the_old_protocol() -> None:
    found = checks(
        har(*(entry(number / 10, 9, f"https://a.example/{number}", version="HTTP/1.1") for number in range(7)))
    )
    assert found["old_protocol"]["count"] == 7


def test_another_own_site_changes_who_is_a_stranger() -> None:
    entries = (entry(0, 9, "https://a.example/"), entry(0, 9, "https://b.example/x"))
    first, second = har(*entries), har(*entries, own_site="b.example")
    assert checks(first)["third_parties"]["requests"][0]["name"] == "b.example/x"
    assert checks(second)["third_parties"]["requests"][0]["name"] == "a.example/"


def test_neither_query_nor_header_is_told() -> None:
    result = har(entry(0, 900, "https://shop.example/a?token=TOPSECRET", cookie="session=TOPSECRET", status=500))
    assert b"TOPSECRET" not in studio.encode(result)


def test_a_missing_time_is_the_sum_of_its_phases() -> None:
    one = entry(0, 5, timings={"blocked": 1, "dns": 2, "connect": 10, "ssl": 6, "send": 3, "wait": 20, "receive": 4})
    del one["time"]
    assert har(one).result["all"]["max_ms"] == 40  # ssl is inside connect


def test_shapes_and_sites() -> None:
    assert shape("/a/123/b/0b2f5c1e-7a53-4a8e-9d5b-0a6f3f1c2d3e") == "/a/{id}/b/{id}"
    assert [site(host) for host in ("www.a.example", "x.y.co.uk", "127.0.0.1")] == ["a.example", "y.co.uk", "127.0.0.1"]


# Profiles


def slow(count: int) -> int:
    """By far the hottest, with no other function in it to share its time."""
    total = 0
    for number in range(count):
        total += number * number
    return total


def work() -> None:
    for _ in range(3):
        slow(20_000)
    json.dumps(list(range(1000)))


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What python -m cProfile -o writes."""
    made = cProfile.Profile()
    made.runcall(work)
    path = tmp_path_factory.mktemp("profile") / "a.prof"
    made.dump_stats(path)
    return path


def test_a_profile_of_cprofile_says_what_pstats_says(profiled: Path) -> None:
    result = run(TOOL, recording=("a.prof", profiled.read_bytes())).result
    theirs = pstats.Stats(str(profiled), stream=io.StringIO())
    assert result["total"] == pytest.approx(theirs.total_tt)
    hottest = max(theirs.stats.items(), key=lambda pair: pair[1][2])
    first = result["hot_spots"][0]
    assert hottest[0][2].strip("<>") in first["name"]
    assert (first["self"], first["total"], first["calls"]) == pytest.approx(
        (hottest[1][2], hottest[1][3], hottest[1][1])
    )
    assert result["functions"] == len(theirs.stats)
    assert any("slow" in one["caller"] or "slow" in one["callee"] for one in result["edges"])


def test_the_printed_table_says_the_same(profiled: Path) -> None:
    out = io.StringIO()
    pstats.Stats(str(profiled), stream=out).sort_stats("tottime").print_stats()
    result = run(TOOL, {"recording": out.getvalue()}).result
    whole = run(TOOL, recording=("a.prof", profiled.read_bytes())).result
    assert result["form"] == "cprofile"
    assert result["hot_spots"][0]["name"] == whole["hot_spots"][0]["name"]
    assert result["hot_spots"][0]["self"] == pytest.approx(whole["hot_spots"][0]["self"], abs=0.001)


COLLAPSED = "main;load;parse 30\nmain;load 10\nmain;save 40\nmain;load;parse 15\nmain 5\n"


def test_collapsed_stacks_by_hand() -> None:
    """100 samples: save 40 by itself, parse 45, load 10 + 45 in all, main 5 and all of them."""
    result = run(TOOL, {"recording": COLLAPSED})
    told = {one["name"]: (one["self"], one["total"]) for one in result.result["hot_spots"]}
    assert told == {"parse": (45, 45), "save": (40, 40), "load": (10, 55), "main": (5, 100)}
    edges = {(one["caller"], one["callee"]): one["weight"] for one in result.result["edges"]}
    assert edges == {("main", "load"): 55, ("main", "save"): 40, ("load", "parse"): 45}
    assert result.result["findings"][0]["function"] == "parse"
    assert result.result["findings"][0]["gain_share"] == 0.225
    for name in ("flame.svg", "calls.svg"):
        ElementTree.fromstring(file(result, name))
    assert "parse: 45, 45%" in file(result, "flame.svg")
    again = run(TOOL, {"recording": file(result, "stacks.txt")})
    assert again.result == result.result


def test_recursion_counts_once_in_a_total() -> None:
    told = run(TOOL, {"recording": "a;a;a 3\na 1\n"}).result["hot_spots"]
    assert [(one["self"], one["total"]) for one in told] == [(4, 4)]


FRAMES = {"frames": [{"name": "main", "file": "/srv/app/main.py", "line": 3}, {"name": "load"}, {"name": "save"}]}


def test_speedscope_sampled_and_evented_are_one() -> None:
    sampled = {"type": "sampled", "unit": "milliseconds", "samples": [[0, 1], [0, 2], [0]], "weights": [30, 60, 10]}
    events = [("O", 0, 0), ("O", 1, 0), ("C", 1, 30), ("O", 2, 30), ("C", 2, 90), ("C", 0, 100)]
    evented = {
        "type": "evented",
        "unit": "milliseconds",
        "events": [{"type": kind, "frame": frame, "at": at} for kind, frame, at in events],
    }
    first, second = (
        run(TOOL, {"recording": json.dumps({"shared": FRAMES, "profiles": [one]})}).result for one in (sampled, evented)
    )
    assert first == second
    assert first["total"] == pytest.approx(0.1)
    assert first["hot_spots"][0] | {"self": 0.06} == {
        "name": "save", "self": 0.06, "self_share": 0.6, "total": 0.06, "total_share": 0.6, "calls": None,
    }  # fmt: skip
    assert {one["name"] for one in first["hot_spots"]} == {"main (app/main.py:3)", "load", "save"}


def test_pyinstrument() -> None:
    tree = {
        "function": "main", "file_path_short": "app/main.py", "line_no": 3, "time": 2.0,
        "children": [{"function": "load", "time": 1.5, "children": []}],
    }  # fmt: skip
    result = run(TOOL, {"recording": json.dumps({"root_frame": tree, "duration": 2.0})}).result
    assert [(one["name"], one["self"]) for one in result["hot_spots"]] == [("load", 1.5), ("main (app/main.py:3)", 0.5)]


# Foreign bytes


def test_marshal_is_read_without_making_code() -> None:
    value = {
        ("a.py", 1, "f"): (1, 2, 0.5, 1.5, {("é", 2, "g" * 300): (1, 1, 0.1, 0.2)}),
        ("x", 2**40, "h"): (1, -1, 0.0, 0.0, {}),
    }
    for version in range(5):
        assert unmarshal(marshal.dumps(value, version)) == value
    for bad in (compile("1", "", "eval"), {1: {2}}, b"bytes", 1j, ...):
        with pytest.raises(Unreadable):
            unmarshal(marshal.dumps(bad))


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xfb\xff\xff\xff\x7f", b"(\xff\xff\xff\x7f", b"{(" * 60, b"r\x00\x00\x00\x00", b"{[\x00\x00\x00\x00i\x00\x00\x00\x000", b"u\xff\xff\xff\x7f", b"\xa8\x01\x00\x00\x00r\x00\x00\x00\x00"],
)  # fmt: skip
def test_a_lie_in_marshal_is_refused(content: bytes) -> None:
    with pytest.raises(Unreadable):
        unmarshal(content)


@given(st.binary(max_size=200))
def test_any_marshal_is_read_or_refused(content: bytes) -> None:
    with suppress(Unreadable):
        unmarshal(content)


def test_a_reference_makes_no_bomb() -> None:
    """One tuple referred to many times stays one tuple, and is no profile."""
    with pytest.raises(BadInput):
        run(TOOL, {"form": "pstats"}, recording=("a.prof", b"\xfb" + b"(\x00\x00\x00\x00N" * 10 + b"0"))


@pytest.mark.parametrize(
    ("recording", "form", "said"),
    [
        ("{", "auto", "Line 1 is no JSON"),
        ('{"a": 1}', "auto", "neither log"),
        ("[" * 9000, "har", "no JSON|nested"),
        ('{"log": {"entries": []}}', "auto", "no requests"),
        ('{"log": {"entries": [1]}}', "auto", "Entry 1"),
        ('{"log": {"entries": [{"request": {}, "response": {}, "startedDateTime": "yesterday"}]}}', "auto", "ISO 8601"),
        ("main;load", "auto", "Line 1 is no stack"),
        ("main 0", "auto", "took any time"),
        ("ncalls  tottime  percall\nnothing\n", "auto", "Line 2 is no row"),
        ('{"shared": {"frames": []}, "profiles": [{"type": "sampled", "samples": [[0]], "weights": [1]}]}', "auto", "not there"),
        ('{"shared": 7}', "auto", "speedscope"),
        ('{"root_frame": {"function": "a"}}', "auto", "pyinstrument"),
        ('{"root_frame": {"function": "a", "time": 1e400}}', "auto", "no number"),
        ("x", "pstats", "."),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_by_name(recording: str, form: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        run(TOOL, {"recording": recording, "form": form})
    assert list(refused.value.fields) == ["recording"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["log", "entries", "request", "response", "url", "time", "timings", "wait", "startedDateTime", "headers", "content",
         "shared", "frames", "profiles", "type", "samples", "weights", "root_frame", "function", "children", "name"]
    ), inner, max_size=4),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(VALUES, st.sampled_from(["har", "speedscope", "pyinstrument", "auto"]))
def test_any_json_is_read_or_refused(value: Any, form: str) -> None:
    with suppress(BadInput):
        run(
            TOOL,
            {"form": form},
            recording=(
                "a.json",
                json.dumps({"log": {"entries": [value]}, "x": value} if form == "har" else value).encode(),
            ),
        )


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["time", "timings", "request", "response", "startedDateTime", "_resourceType"]), VALUES
    )
)
def test_any_entry_is_read_or_refused(odd: dict[str, Any]) -> None:
    with suppress(BadInput):
        har(entry(), entry() | odd)


# The whole


def test_the_example_works_twice_alike() -> None:
    first, second = example(TOOL), example(TOOL)
    assert studio.encode(first) == studio.encode(second)
    assert (first.result["requests"], first.result["failed"]) == (9, 1)
    assert {"slow_server", "not_compressed", "redirects"} <= set(checks(first))


def test_a_large_recording_stays_within_its_limits() -> None:
    """20,000 requests and their pictures, through the real runner."""
    assert TOOL.limits is not None
    small = {"startedDateTime": "2026-03-02T09:00:00Z", "time": 5, "response": {"status": 200}}
    entries = [small | {"request": {"url": f"https://a{number % 90}.example/{number}"}} for number in range(20_000)]
    recording = json.dumps({"log": {"entries": entries}}).encode()
    cleaned, files = TOOL.clean_with_files({}, {"recording": ("a.har", recording)})
    ran = runner.run(TOOL.path, cleaned, files, TOOL.limits)
    assert (ran.stopped, ran.error) == (None, "")
    assert studio.decode(ran.output).result["requests"] == 20_000


def test_a_profile_runs_under_its_limits(profiled: Path) -> None:
    assert TOOL.limits is not None
    cleaned, files = TOOL.clean_with_files({}, {"recording": ("a.prof", profiled.read_bytes())})
    ran = runner.run(TOOL.path, cleaned, files, TOOL.limits)
    assert (ran.stopped, ran.error) == (None, "")
    assert {one.name for one in studio.decode(ran.output).files} >= {"flame.svg", "calls.svg", "functions.csv"}
