"""Profiles of programs, in five forms, as one: functions with their own and cumulative time, calls, and stacks.

cProfile's file is marshal, whose reader of Python's own must not be given foreign bytes; `unmarshal` here reads the
few plain kinds that such a file has, bounded, and refuses the rest.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

FUNCTIONS_MAX = 50_000
STACKS_MAX = 300_000
DEPTH_MAX = 400
DERIVED_MAX = 4_000  # stacks that are derived from a call graph


class Unreadable(ValueError):
    """A sentence for whoever sent it."""


@dataclass(slots=True)
class Function:
    """What one function took: seconds (or samples) by itself and with what it called."""

    name: str
    own: float = 0.0
    total: float = 0.0
    calls: int | None = None


@dataclass(slots=True)
class Profile:
    """A profile. `stacks` are outermost first; `edges` the weight that a caller spent in a callee."""

    form: str
    unit: str  # "s" or "samples"
    whole: float
    functions: dict[str, Function] = field(default_factory=dict)
    stacks: list[tuple[tuple[str, ...], float]] = field(default_factory=list)
    edges: dict[tuple[str, str], float] = field(default_factory=dict)
    is_derived: bool = False  # the stacks were derived from the call graph


def read(content: bytes, form: str) -> Profile:
    """The profile; raises Unreadable. `form`: pstats, cprofile, speedscope, pyinstrument or collapsed."""
    profile = {
        "pstats": from_pstats,
        "cprofile": from_text,
        "speedscope": from_speedscope,
        "pyinstrument": from_pyinstrument,
        "collapsed": from_collapsed,
    }[form](content)
    if profile.whole <= 0:
        raise Unreadable("Nothing in it took any time.")
    return profile


# Stacks


def from_stacks(form: str, unit: str, stacks: Sequence[tuple[tuple[str, ...], float]]) -> Profile:
    """A function's own weight is that of the stacks that end in it; its total that of those it is in, each once."""
    merged: dict[tuple[str, ...], float] = defaultdict(float)
    for names, weight in stacks:
        if names and weight > 0:
            merged[names[:DEPTH_MAX]] += weight
    if len(merged) > STACKS_MAX:
        raise Unreadable(f"It has more than {STACKS_MAX:,} different stacks.")
    profile = Profile(form, unit, math.fsum(merged.values()), stacks=sorted(merged.items()))
    for names, weight in profile.stacks:
        for name in set(names):
            profile.functions.setdefault(name, Function(name)).total += weight
        profile.functions[names[-1]].own += weight
        for edge in set(pairwise(names)):
            profile.edges[edge] = profile.edges.get(edge, 0.0) + weight
    return profile


def from_collapsed(content: bytes) -> Profile:
    """Lines of "outer;inner;innermost weight", as stackcollapse, py-spy and perf write them."""
    stacks = []
    for number, line in enumerate(_text(content).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        names, _, weight = line.rstrip().rpartition(" ")
        found = re.fullmatch(r"\d{1,15}(?:\.\d{1,9})?", weight)
        if not names or not found:
            raise Unreadable(f"Line {number} is no stack with a weight at its end: {line[:60]}")
        stacks.append((tuple(one.strip() or "?" for one in names.split(";")), float(weight)))
        if len(stacks) > STACKS_MAX:
            raise Unreadable(f"It has more than {STACKS_MAX:,} lines.")
    return from_stacks("collapsed", "samples", stacks)


def from_speedscope(content: bytes) -> Profile:
    """speedscope's file format: shared frames, and profiles of samples or of events (www.speedscope.app)."""
    loaded = load_json(content)
    try:
        names = [
            _frame(str(one.get("name", "?")), one.get("file"), one.get("line")) for one in loaded["shared"]["frames"]
        ]
        profiles = loaded["profiles"]
        stacks: list[tuple[tuple[str, ...], float]] = []
        units = {str(one.get("unit", "none")) for one in profiles}
        scale = {"nanoseconds": 1e-9, "microseconds": 1e-6, "milliseconds": 1e-3, "seconds": 1.0}
        if len(units) > 1:
            raise Unreadable("Its profiles have different units; send them one by one.")
        factor = scale.get(next(iter(units), "none"), 0.0)
        for one in profiles:
            if one["type"] == "sampled":
                pairs = zip(one["samples"], one["weights"], strict=True)
                stacks += [(tuple(_at(names, place) for place in sample), _weight(weight)) for sample, weight in pairs]
            elif one["type"] == "evented":
                stacks += _from_events(one["events"], names)
            else:
                raise Unreadable(f"There is no kind of profile that is called {str(one['type'])[:40]}.")
            if len(stacks) > STACKS_MAX:
                raise Unreadable(f"It has more than {STACKS_MAX:,} samples.")
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("It is not as speedscope writes it: shared.frames and profiles are needed.") from error
    if factor:
        stacks = [(stack, weight * factor) for stack, weight in stacks]
    return from_stacks("speedscope", "s" if factor else "samples", stacks)


def _from_events(events: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[tuple[tuple[str, ...], float]]:
    stacks: list[tuple[tuple[str, ...], float]] = []
    open_frames: list[int] = []
    before = 0.0
    for event in events:
        at, frame = float(event["at"]), event["frame"]
        _at(names, frame)
        if not math.isfinite(at):
            raise Unreadable("An event has no time.")
        if open_frames and at > before:
            stacks.append((tuple(names[one] for one in open_frames[:DEPTH_MAX]), at - before))
        before = at
        if event["type"] == "O":
            open_frames.append(frame)
        elif not open_frames or open_frames.pop() != frame:
            raise Unreadable("An event closes a frame that is not the innermost open one.")
        if len(open_frames) > 10_000 or len(stacks) > STACKS_MAX:
            raise Unreadable("It has too many events, or calls too deep.")
    return stacks


def from_pyinstrument(content: bytes) -> Profile:
    """pyinstrument's JSON: a tree of frames with their times."""
    loaded = load_json(content)
    stacks: list[tuple[tuple[str, ...], float]] = []
    try:
        waiting: list[tuple[Mapping[str, Any], tuple[str, ...]]] = [(loaded["root_frame"], ())]
        while waiting:
            frame, above = waiting.pop()
            name = _frame(str(frame["function"]), frame.get("file_path_short"), frame.get("line_no"))
            stack = (*above, name)
            children = frame.get("children") or []
            inside = math.fsum(_weight(child["time"]) for child in children)
            stacks.append((stack, max(0.0, _weight(frame["time"]) - inside)))
            if len(stack) > DEPTH_MAX or len(stacks) > STACKS_MAX:
                raise Unreadable("It has too many frames, or calls too deep.")
            waiting += [(child, stack) for child in children]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("It is not as pyinstrument writes it: root_frame with function, time and children.") from error
    return from_stacks("pyinstrument", "s", stacks)


def _frame(name: str, file: Any, line: Any) -> str:
    if not isinstance(file, str) or not file or file.startswith("<"):
        return name[:200] or "?"
    short = "/".join(file.replace("\\", "/").split("/")[-2:])
    return f"{name[:120]} ({short[:80]}{f':{line}' if isinstance(line, int) and line > 0 else ''})"


def _at(names: Sequence[str], place: Any) -> str:
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(names):
        raise Unreadable("A sample names a frame that is not there.")
    return names[place]


def _weight(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise Unreadable("A time or weight is no number from 0 up.")
    return float(value)


# Call graphs


def from_pstats(content: bytes) -> Profile:
    """The file that `python -m cProfile -o` writes: {function: (calls, all calls, own, total, callers)}."""
    loaded = unmarshal(content)
    profile = Profile("pstats", "s", 0.0, is_derived=True)
    wrong = Unreadable("It is marshal, and yet no profile of cProfile.")
    if not isinstance(loaded, dict) or len(loaded) > FUNCTIONS_MAX:
        raise wrong
    names = {}
    for key in loaded:
        is_key = isinstance(key, tuple) and len(key) == 3 and isinstance(key[0], str) and isinstance(key[2], str)
        if not is_key:
            raise wrong
        names[key] = _called(key[0], key[1], key[2])
    for key, row in loaded.items():
        if not isinstance(row, tuple) or len(row) != 5 or not isinstance(row[4], dict) or not isinstance(row[1], int):
            raise wrong
        own, total = _weight(row[2]), _weight(row[3])
        function = profile.functions.setdefault(names[key], Function(names[key], calls=0))
        function.own += own
        function.total += total
        function.calls = (function.calls or 0) + row[1]
        profile.whole += own
        for caller, spent in row[4].items():
            if caller not in names or not isinstance(spent, tuple) or len(spent) != 4:
                raise wrong
            edge = (names[caller], names[key])
            profile.edges[edge] = profile.edges.get(edge, 0.0) + _weight(spent[3])
    profile.stacks = _derived(profile)
    return profile


ROW = re.compile(
    r"\s*(\d{1,15})(?:/(\d{1,15}))?\s+(\d{1,9}\.\d+)\s+(\d{1,9}\.\d+)\s+(\d{1,9}\.\d+)\s+(\d{1,9}\.\d+)\s+(\S.*?)\s*$"
)


def from_text(content: bytes) -> Profile:
    """What cProfile and pstats print: ncalls, tottime, percall, cumtime, percall, filename:lineno(function)."""
    profile = Profile("cprofile", "s", 0.0)
    lines = _text(content).splitlines()
    head = next((number for number, line in enumerate(lines) if re.match(r"\s*ncalls\s+tottime\s", line)), None)
    if head is None:
        raise Unreadable("There is no heading “ncalls tottime percall cumtime percall filename:lineno(function)”.")
    for number, line in enumerate(lines[head + 1 :], head + 2):
        if not line.strip():
            continue
        found = ROW.match(line[:1000])
        if not found:
            raise Unreadable(f"Line {number} is no row of the profile: {line.strip()[:60]}")
        place = re.fullmatch(r"(.*):(\d+)\((.*)\)", found[7])
        name = _called(place[1], int(place[2]), place[3]) if place else found[7].strip("{}")[:200]
        function = profile.functions.setdefault(name, Function(name, calls=0))
        function.calls = (function.calls or 0) + int(found[1])
        function.own += float(found[3])
        function.total += float(found[5])
        profile.whole += float(found[3])
        if len(profile.functions) > FUNCTIONS_MAX:
            raise Unreadable(f"It has more than {FUNCTIONS_MAX:,} functions.")
    said = re.search(r"function calls.{0,60}? in (\d{1,9}\.\d+) seconds", "\n".join(lines[:head]))
    if said:
        profile.whole = max(profile.whole, float(said[1]))
    return profile


def _called(file: str, line: Any, name: str) -> str:
    if file == "~" or not file:
        return name.strip("<>")[:200] or "?"
    return _frame(name, file, line)


def _derived(profile: Profile) -> list[tuple[tuple[str, ...], float]]:
    """Stacks from a call graph: what a function took is split among its callers as they spent time in it.

    A guess where a function is called from several places in different ways; recursion is drawn once.
    """
    below: dict[str, list[tuple[str, float]]] = defaultdict(list)
    called: dict[str, float] = defaultdict(float)
    for (caller, callee), spent in sorted(profile.edges.items()):
        if caller != callee and spent > 0:
            below[caller].append((callee, spent))
            called[callee] += spent
    roots = [one for one in profile.functions.values() if one.total > 0 and one.name not in called]
    if not roots:
        roots = sorted(profile.functions.values(), key=lambda one: (-one.total, one.name))[:1]
    stacks: list[tuple[tuple[str, ...], float]] = []
    waiting: list[tuple[tuple[str, ...], float]] = []
    waiting += [((one.name,), one.total) for one in sorted(roots, key=lambda one: (-one.total, one.name))]
    least = profile.whole / 2_000
    while waiting and len(stacks) < DERIVED_MAX:
        stack, weight = waiting.pop(0)
        function = profile.functions[stack[-1]]
        share = min(1.0, weight / function.total) if function.total else 0.0
        inside = 0.0
        for callee, spent in below[stack[-1]]:
            part = spent * share
            if callee in stack or part < least or len(stack) >= 60:
                continue
            inside += part
            waiting.append(((*stack, callee), part))
        rest = max(0.0, weight - inside)
        if rest > 0:
            stacks.append((stack, rest))
    return sorted(stacks)


# Plain marshal


def unmarshal(content: bytes) -> Any:
    """The value, of numbers, text, tuples, lists and dicts alone; raises Unreadable for code and all else."""
    values, end = _Marshal(content), len(content)
    value = values.one(0)
    if values.at != end:
        raise Unreadable("There is something behind its end.")
    return value


class _Marshal:
    """Reads versions 0 to 4 of the format (CPython, Python/marshal.c)."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0
        self.seen: list[Any] = []
        self.count = 0

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.content):
            raise Unreadable("It ends too early.")
        self.at += size
        return self.content[self.at - size : self.at]

    def whole(self) -> int:
        return int.from_bytes(self.take(4), "little", signed=True)

    def length(self, least: int) -> int:
        """How many there are; each needs at least so many bytes, so a lie is found before room is made for it."""
        size = self.whole()
        if size < 0 or size * least > len(self.content) - self.at:
            raise Unreadable("It names more than it has.")
        return size

    def one(self, depth: int) -> Any:
        self.count += 1
        if depth > 12 or self.count > 4_000_000:
            raise Unreadable("It is too deep or too large for a profile.")
        code = self.take(1)[0]
        kind, is_kept = chr(code & 0x7F), bool(code & 0x80)
        place = len(self.seen)
        if is_kept:
            self.seen.append(Unreadable)  # not to be referred to before it is whole
        value = self.value(kind, depth)
        if is_kept:
            self.seen[place] = value
        return value

    def value(self, kind: str, depth: int) -> Any:
        if kind == "i":
            return self.whole()
        if kind == "I":
            return int.from_bytes(self.take(8), "little", signed=True)
        if kind == "l":
            size = self.whole()
            digits = [int.from_bytes(self.take(2), "little") for _ in range(min(abs(size), 8))]
            if abs(size) > 8:
                raise Unreadable("It has a number that is too large.")
            return (1 if size > 0 else -1) * sum(digit << (15 * power) for power, digit in enumerate(digits))
        if kind == "g":
            return struct.unpack("<d", self.take(8))[0]
        if kind == "f":
            return _float(self.take(self.take(1)[0]))
        if kind in "utaA":
            return self.take(self.length(1)).decode("utf-8", "replace")
        if kind in "zZ":
            return self.take(self.take(1)[0]).decode("utf-8", "replace")
        if kind in "()[":
            size = self.take(1)[0] if kind == ")" else self.length(1)
            parts = [self.one(depth + 1) for _ in range(size)]
            return parts if kind == "[" else tuple(parts)
        if kind == "{":
            found: dict[Any, Any] = {}
            while self.content[self.at : self.at + 1] != b"0":
                key = self.one(depth + 1)
                try:
                    found[key] = self.one(depth + 1)
                except TypeError as error:
                    raise Unreadable("It has a key that is none.") from error
            self.take(1)
            return found
        if kind == "r":
            place = self.whole()
            if not 0 <= place < len(self.seen) or self.seen[place] is Unreadable:
                raise Unreadable("It refers to what is not there.")
            return self.seen[place]
        if kind in "NTF":
            return {"N": None, "T": True, "F": False}[kind]
        raise Unreadable("It is no profile of cProfile: it has more than numbers, text and tuples.")


def _float(written: bytes) -> float:
    try:
        return float(written)
    except ValueError as error:
        raise Unreadable("It has a number that is none.") from error


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"Byte {error.start} is not UTF-8.") from error


def load_json(content: bytes) -> Any:
    """The value; raises Unreadable with the line."""
    try:
        return json.loads(_text(content))
    except json.JSONDecodeError as error:
        raise Unreadable(f"Line {error.lineno} is no JSON: {error.msg}.") from error
    except RecursionError as error:
        raise Unreadable("It is nested too deeply.") from error
    except ValueError as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("It has a number that is too long.") from error
