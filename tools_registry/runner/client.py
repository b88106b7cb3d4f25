"""Hands a run over to the runner's server, waits for it, and reads its answer.

Under `up` and `worker` the supervisor keeps one server alive, and its children `join` its door. Elsewhere a process
starts a server of its own at its first run. Either way the door is an unnamed socket that only our processes hold:
there is no address to find, to guess, or to clean up.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tools_registry.studio import Limits

from .child import (
    ANSWERED,
    BAD_INPUT,
    CRASHED,
    HEAD_BYTES,
    OUT_OF_MEMORY,
    SENTENCE_LETTERS_MAX,
    TOO_LARGE,
    pack,
    room_bytes,
)
from .memory import empty_room, filled
from .server import MESSAGE_BYTES_MAX, STUDIOS

ROOT = Path(__file__).resolve().parent.parent.parent
QUEUE_SECONDS_MAX = 60.0  # how long a run waits for its turn
SENTENCES_MAX = 100
ENDING_SECONDS = 1.0  # between a server's last word and its end
TRIES = 2  # a function is pure: a run whose server died is begun once more


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run, and what the kernel says it used."""

    output: bytes  # the result as `studio.encode` made it; read it with `studio.decode`, which trusts nothing
    cpu_seconds: Decimal
    peak_memory_bytes: int  # above that of a run that does nothing
    wall_seconds: Decimal
    # The limit that ended it: cpu, time, memory or output; crash, where it failed by itself.
    stopped: str | None = None
    # A sentence; or, where the function found its inputs wrong, sentences by the field's name, and stopped is None.
    error: str | Mapping[str, list[str]] = ""


class ServerEnded(Exception):
    """The server ended before the run did."""


class Runner:
    """The way to a server: one that was joined, or one of this process's own, started when it is first needed."""

    def __init__(self, also: Sequence[str] = (), at_once: int | None = None) -> None:
        self.packages = (STUDIOS, *also)
        self.at_once = at_once
        self._joined: socket.socket | None = None
        self._own: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._lock = threading.Lock()
        self._over = False
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self._close_for_good)

    def run(self, function: str, inputs: dict[str, Any], files: dict[str, bytes], limits: Limits) -> Ran:
        """The function was called in a child of its own. Raises ValueError for a path outside the studios.

        Waits for its turn, then as long as its limits let it run.
        """
        module = function.partition(":")[0]
        if not any(module.startswith(f"{package}.") for package in self.packages):
            raise ValueError(f"{function} is no tool's function.")
        given = filled(pack(inputs, files))
        try:
            for _ in range(TRIES):
                room = empty_room(room_bytes(limits))
                try:
                    verdict = self._ask(function, limits, given, room)
                    return _ran(verdict, os.pread(room, room_bytes(limits), 0), limits)
                except TimeoutError:
                    return _nothing("time", f"No run could begin within {QUEUE_SECONDS_MAX:.0f} seconds.")
                except ServerEnded:
                    os.lseek(given, 0, os.SEEK_SET)
                    self._see_it_end()
                finally:
                    os.close(room)
        finally:
            os.close(given)
        return _nothing("crash", "The process that runs tools ended.")

    def _ask(self, function: str, limits: Limits, given: int, room: int) -> dict[str, Any]:
        """What the server says of the run when it is over. Leaving this function ends the run."""
        message = json.dumps({"function": function, "limits": asdict(limits)}).encode()
        assert len(message) <= MESSAGE_BYTES_MAX
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                try:
                    socket.send_fds(self._door(), [message], [given, room, theirs.fileno()])
                except TimeoutError:
                    raise
                except OSError as error:
                    raise ServerEnded from error
            ours.settimeout(QUEUE_SECONDS_MAX + limits.seconds)
            said = ours.recv(MESSAGE_BYTES_MAX)
        if not said:
            raise ServerEnded
        verdict: dict[str, Any] = json.loads(said)
        return verdict

    # The server

    def join(self, door: int) -> None:
        """Runs go through the server behind this door, which somebody else keeps alive."""
        with suppress(OSError):  # whose environment was handed on to a process that was not given the door
            found = socket.socket(fileno=os.dup(door))
            if (found.family, found.type) != (socket.AF_UNIX, socket.SOCK_DGRAM):
                found.close()
                return
            found.settimeout(QUEUE_SECONDS_MAX)
            self._joined = found

    def _door(self) -> socket.socket:
        if self._joined is not None:
            return self._joined
        with self._lock:
            if self._over:
                raise ServerEnded
            if self._own is None or self._own[0].poll() is not None:
                self._end_own()
                self._own = self._start()
            return self._own[1]

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = door()
        with theirs:
            process = subprocess.Popen(
                command(theirs.fileno(), self.packages[1:], self.at_once),
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        ours.settimeout(QUEUE_SECONDS_MAX)
        return process, ours

    def _see_it_end(self) -> None:
        """A server of our own that is ending has ended, so that the next try finds another. Its sockets close first."""
        with self._lock:
            process = self._own[0] if self._own is not None else None
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_SECONDS)

    def _end_own(self) -> None:
        if self._own is not None:
            process, door = self._own
            door.close()
            process.terminate()
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._own = None

    def close(self) -> None:
        """A server of this process's own has ended, and with it every run."""
        with self._lock:
            self._end_own()

    def _close_for_good(self) -> None:
        """As `close`, at this process's end: a run that a thread still waits for starts no server anew."""
        self._over = True
        self.close()

    def _forget(self) -> None:
        """In a forked process: the server that its parent started ends with its parent, so it is not ours."""
        self._lock = threading.Lock()
        if self._own is not None:
            process, door = self._own
            process.returncode = 0  # not ours to wait for
            door.close()
            self._own = None


def door() -> tuple[socket.socket, socket.socket]:
    """The two sides of a new door: the clients', and the server's. A message passes it whole."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)


def command(door: int, also: Sequence[str] = (), at_once: int | None = None, whose: str = "") -> list[str]:
    """How this process starts the server behind that door, with `environment` and nothing else."""
    return [
        *(sys.executable, "-m", "tools_registry.runner", "--door", f"{door}", "--parent", f"{os.getpid()}"),
        *(part for package in also for part in ("--also", package)),
        *(("--at-once", f"{at_once}") if at_once else ()),
        *(("--of", whose) if whose else ()),
    ]


def environment() -> dict[str, str]:
    """All that the server and its children know as their environment: nothing of ours but where Python's packages are.

    One thread a library, as far as they ask: a run is counted in CPU seconds.
    """
    return {
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PATH": os.defpath,
        "HOME": "/nonexistent",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys((str(ROOT), *filter(None, sys.path)))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
    }


# What came of it


def _ran(verdict: Mapping[str, Any], room: bytes, limits: Limits) -> Ran:
    kind, length = room[:1], int.from_bytes(room[1:HEAD_BYTES])
    body = room[HEAD_BYTES : HEAD_BYTES + length]
    stopped: str | None = verdict["stopped"]
    output = b""
    error: str | Mapping[str, list[str]] = ""
    if stopped is None and kind == ANSWERED and len(body) == length <= limits.output_bytes:
        output = body
    elif stopped is None and kind == BAD_INPUT and (wrong := _fields(body)):
        error = wrong
    elif stopped is None:
        stopped = {OUT_OF_MEMORY: "memory", TOO_LARGE: "output"}.get(kind, "crash")
        error = _line(body.decode("utf-8", "replace")) if kind == CRASHED else ""
    return Ran(
        output,
        _seconds(verdict["cpu_microseconds"]),
        verdict["peak_memory_bytes"],
        _seconds(verdict["wall_microseconds"]),
        stopped,
        error or (_sentence(stopped, limits) if stopped else ""),
    )


def _nothing(stopped: str, error: str) -> Ran:
    return Ran(b"", Decimal(0), 0, Decimal(0), stopped, error)


def _seconds(microseconds: int) -> Decimal:
    return Decimal(microseconds).scaleb(-6)


def _sentence(stopped: str, limits: Limits) -> str:
    """What to say of a run that its limits ended."""
    return {
        "cpu": f"It used more than {limits.cpu_seconds} seconds of CPU time.",
        "time": f"It took longer than {limits.seconds} seconds.",
        "memory": f"It needed more than {limits.memory_mb} MB of memory.",
        "output": f"What it made is larger than {limits.output_bytes:,} bytes.",
        "crash": f"It ended without an answer; perhaps it needed more than {limits.memory_mb} MB of memory.",
    }[stopped]


def _fields(body: bytes) -> dict[str, list[str]] | None:
    """Sentences by the field's name; None where these bytes say something else."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not all(
        isinstance(sentences, list) and all(isinstance(one, str) for one in sentences) for sentences in said.values()
    ):
        return None
    return {
        _line(name): [_line(one) for one in sentences[:SENTENCES_MAX]]
        for name, sentences in list(said.items())[:SENTENCES_MAX]
    }


def _line(said: str) -> str:
    """What a child said, as something that can be shown and stored."""
    return "".join(letter if letter.isprintable() else " " for letter in said[:SENTENCE_LETTERS_MAX])


_runner = Runner()
run, join = _runner.run, _runner.join
