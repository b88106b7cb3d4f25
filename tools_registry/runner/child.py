"""In the child: limits itself, reads what it was given, calls the function, answers, ends.

The answer lies in a room of its own size: one byte that says what it is, eight for its length, and that many of it.
What is written there is read by a process that trusts none of it: JSON and bytes, never pickle.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, NoReturn

from tools_registry.studio import BadInput, Limits, Result, encode

from .confinement import Place, confine

ANSWERED, BAD_INPUT, CRASHED, OUT_OF_MEMORY, TOO_LARGE = b"A", b"B", b"C", b"M", b"O"
HEAD_BYTES = 9
SENTENCE_LETTERS_MAX = 300
GIVEN, ROOM = 3, 4  # where the child has its two files
SERVER_FILES_MAX = 1024  # the server has no open file above


IDLE = f"{__name__}:idle"


def idle(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """Nothing. What it uses is what every run uses before it does something."""
    return Result({})


class NoSuchFunction(Exception):
    """Not a function that a run may call."""


def room_bytes(limits: Limits) -> int:
    """How large the room for an answer is: as large as the answer may be, or a sentence instead of it."""
    return HEAD_BYTES + max(limits.output_bytes, 4096)


def pack(inputs: dict[str, Any], files: dict[str, bytes]) -> bytes:
    """What a run is given, as bytes."""
    head = json.dumps({"inputs": inputs, "files": [[name, len(content)] for name, content in files.items()]}).encode()
    return b"".join((len(head).to_bytes(8), head, *files.values()))


def unpack(packed: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What `pack` made bytes of."""
    at = 8 + int.from_bytes(packed[:8])
    head = json.loads(packed[8:at])
    files = {}
    for name, length in head["files"]:
        files[name] = packed[at : at + length]
        at += length
    return head["inputs"], files


def find(path: str, packages: Sequence[str]) -> Callable[..., Any]:
    """The function of that path, which must have been defined in a loaded module below one of the packages."""
    module_name, _, name = path.partition(":")
    function = getattr(sys.modules.get(module_name), name, None)
    is_below = any(module_name.startswith(f"{package}.") for package in packages)
    if not is_below or not isinstance(function, FunctionType) or function.__module__ != module_name:
        raise NoSuchFunction(f"There is no function {path} below {', '.join(packages)}.")
    return function


def become_run(path: str, packages: Sequence[str], limits: Limits, place: Place, given: int, room: int) -> NoReturn:
    """This process, forked a moment ago, is the run, and ends with it."""
    try:
        _let_go_of_the_server(given, room)
        kind, body = _limited(path, packages, limits, place)
        if (len(body) > limits.output_bytes and kind == ANSWERED) or len(body) > room_bytes(limits) - HEAD_BYTES:
            kind, body = TOO_LARGE, b""
        _write(kind, body)
        os._exit(0)
    finally:
        os._exit(1)


def _let_go_of_the_server(given: int, room: int) -> None:
    """A group of its own, its own two files and no others, and signals as they were at the beginning."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(each, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    # First out of the way of where they go
    given, room, nothing = (fcntl.fcntl(one, fcntl.F_DUPFD, ROOM + 1) for one in (given, room, nothing))
    for number, one in enumerate((nothing, nothing, nothing, given, room)):
        os.dup2(one, number)
    os.closerange(ROOM + 1, SERVER_FILES_MAX)


def _limited(path: str, packages: Sequence[str], limits: Limits, place: Place) -> tuple[bytes, bytes]:
    """What came of it in the run's own folder, under its limits."""
    try:
        os.mkdir(place.scratch, 0o700)
        os.chdir(place.scratch)
        tempfile.tempdir = str(place.scratch)
        confine(limits, place)
    except OSError as error:
        return CRASHED, f"The run could not be limited ({error.strerror}).".encode()
    return _carry_out(path, packages)


def _carry_out(path: str, packages: Sequence[str]) -> tuple[bytes, bytes]:
    """What came of it, and its bytes."""
    try:
        function = find(path, packages)
        with open(GIVEN, "rb") as file:
            inputs, files = unpack(file.read())
        return ANSWERED, encode(function(inputs, files))
    except BadInput as error:
        return BAD_INPUT, json.dumps(error.fields).encode()
    except BaseException as error:  # SystemExit too: a function answers or fails, it does not end the process
        if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:  # as DuckDB calls it
            return OUT_OF_MEMORY, b""
        return CRASHED, _sentence(error).encode("utf-8", "replace")


def _sentence(error: BaseException) -> str:
    """What failed and where, without what it was given."""
    if isinstance(error, NoSuchFunction):
        return str(error)
    steps = traceback.extract_tb(error.__traceback__)
    ours = [step for step in steps if "site-packages" not in step.filename] or steps
    where = f" in {Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else ""
    kind = "It tried what no tool may do" if isinstance(error, PermissionError) else "It failed"
    return f"{kind} ({type(error).__name__}{where})."[:SENTENCE_LETTERS_MAX]


def _write(kind: bytes, body: bytes) -> None:
    os.lseek(ROOM, 0, os.SEEK_SET)
    for part in (kind + len(body).to_bytes(8), body):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(ROOM, rest) :]
