"""An OpenAPI file as it was written: its value, and the line of each of its places. Bounded, nothing is fetched.

Read from the parser's events, not by a loader: no recursion, no objects, no tags. An alias stays one object; what it
would be if it were written out is counted, so a bomb of aliases is refused before anybody walks through it. Plain
scalars are read as YAML 1.2's core schema has them, which is what the OpenAPI specification asks for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

NODES_MAX = 60_000
DEPTH_MAX = 80
Pointer = tuple[str, ...]


class Unreadable(ValueError):
    """A sentence for whoever sent it."""


@dataclass(slots=True)
class Written:
    """A document's value, its places' lines, and the keys that stand there twice."""

    value: Any
    lines: dict[Pointer, int] = field(default_factory=dict)
    repeated: list[tuple[Pointer, int]] = field(default_factory=list)

    def line(self, pointer: Pointer) -> int:
        """The line of the place, or of the nearest one around it."""
        while pointer and pointer not in self.lines:
            pointer = pointer[:-1]
        return self.lines.get(pointer, 1)


@dataclass(slots=True)
class _Open:
    value: Any
    pointer: Pointer
    anchor: str | None
    size: int = 1
    key: str | None = None
    key_line: int = 1
    merged: list[Any] = field(default_factory=list)


def read(content: bytes) -> Written:
    """The document; raises Unreadable with the line."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"Byte {error.start} is not UTF-8.") from error
    try:
        return _built(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(f"Line {mark.line + 1 if mark else 1} is no YAML or JSON: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise Unreadable("There is a character that YAML does not allow.") from error
    except (RecursionError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("It is nested too deeply, or has a number that is too long.") from error


def _built(text: str) -> Written:
    written = Written(None)
    anchors: dict[str, tuple[Any, int]] = {}
    stack: list[_Open] = []
    documents = 0
    whole = 0

    def put(value: Any, line: int, size: int) -> None:
        nonlocal whole
        whole += size
        if whole > NODES_MAX:
            raise Unreadable(f"Written out it has more than {NODES_MAX:,} values.")
        if not stack:
            written.value = value
            return
        above = stack[-1]
        above.size += size
        if isinstance(above.value, list):
            above.value.append(value)
        elif above.key is None:
            raise Unreadable(f"Line {line}: a key must be a word, not a list or an object.")
        else:
            if above.key == "<<" and isinstance(value, dict | list):
                above.merged += value if isinstance(value, list) else [value]
            else:
                if above.key in above.value:
                    written.repeated.append(((*above.pointer, above.key), above.key_line))
                above.value[above.key] = value
            above.key = None

    def place(line: int) -> Pointer:
        if not stack:
            return ()
        above = stack[-1]
        is_list = isinstance(above.value, list)
        pointer = (*above.pointer, str(len(above.value)) if is_list else above.key or "")
        written.lines[pointer] = line if is_list else above.key_line
        return pointer

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for event in yaml.parse(text, Loader=loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise Unreadable(f"Line {line}: a second document begins; send one.")
        elif isinstance(event, yaml.ScalarEvent):
            above = stack[-1] if stack else None
            if above is not None and isinstance(above.value, dict) and above.key is None:
                above.key, above.key_line = event.value, line
                continue
            value = scalar(event.value) if not event.style and event.implicit and event.implicit[0] else event.value
            place(line)
            put(value, line, 1)
            if event.anchor:
                anchors[event.anchor] = (value, 1)
        elif isinstance(event, yaml.AliasEvent):
            name = event.anchor or ""
            if name not in anchors:
                raise Unreadable(f"Line {line}: *{name[:40]} refers to what is not there yet.")
            value, size = anchors[name]
            if stack and isinstance(stack[-1].value, dict) and stack[-1].key is None:
                raise Unreadable(f"Line {line}: an alias cannot be a key here.")
            place(line)
            put(value, line, size)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            if len(stack) >= DEPTH_MAX:
                raise Unreadable(f"Line {line}: it is nested more than {DEPTH_MAX} deep.")
            if stack and isinstance(stack[-1].value, dict) and stack[-1].key is None:
                raise Unreadable(f"Line {line}: a key must be a word, not a list or an object.")
            is_list = isinstance(event, yaml.SequenceStartEvent)
            stack.append(_Open([] if is_list else {}, place(line), event.anchor))
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            done = stack.pop()
            for one in done.merged:
                for name, value in one.items() if isinstance(one, dict) else ():
                    done.value.setdefault(name, value)
            whole -= done.size - 1
            if done.anchor:
                anchors[done.anchor] = (done.value, done.size)
            put(done.value, line, done.size)
    return written


def scalar(word: str) -> Any:
    """What a plain word means in YAML 1.2's core schema."""
    if word in ("", "~", "null", "Null", "NULL"):
        return None
    if word in ("true", "True", "TRUE"):
        return True
    if word in ("false", "False", "FALSE"):
        return False
    if re.fullmatch(r"[-+]?[0-9]{1,300}", word):
        return int(word)
    if re.fullmatch(r"[-+]?(?:\.[0-9]{1,300}|[0-9]{1,300}(?:\.[0-9]{0,300})?)(?:[eE][-+]?[0-9]{1,4})?", word):
        found = float(word)
        return found if math.isfinite(found) else word
    return word


def walk(value: Any) -> Iterator[tuple[Pointer, Any]]:
    """Every place with its value, in the order of the text."""
    waiting: list[tuple[Pointer, Any]] = [((), value)]
    while waiting:
        pointer, one = waiting.pop()
        yield pointer, one
        below = one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ()
        waiting += reversed([((*pointer, str(name)), inner) for name, inner in below])


def said(pointer: Pointer) -> str:
    """The place as a JSON pointer (RFC 6901)."""
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in pointer)


def parsed(reference: str) -> Pointer:
    """The place that a local reference names."""
    parts = reference.removeprefix("#").split("/")[1:]
    plain = (re.sub("%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), part) for part in parts)
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in plain)


MISSING = object()


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is an object, an empty one where it is not."""
    return value if isinstance(value, dict) else {}


def at(value: Any, pointer: Pointer) -> Any:
    """What stands at the place; MISSING where nothing does."""
    for part in pointer:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def resolve(whole: Any, value: Any, pointer: Pointer) -> tuple[Any, Pointer]:
    """What a reference leads to in the end, and its place; {} where it leads nowhere or in a circle."""
    for _ in range(20):
        if not isinstance(value, dict) or not isinstance(value.get("$ref"), str):
            return value, pointer
        pointer = parsed(value["$ref"])
        value = at(whole, pointer)
        if value is MISSING:
            return {}, pointer
    return {}, pointer
