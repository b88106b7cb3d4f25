"""The process that the runs are forked from: `python -m tools_registry.runner --door FD --parent PID`.

It has every studio's libraries loaded, so a run begins a few milliseconds after it was asked for. One message at the
door is one run: its function, its limits, and three open files: what it is given, the room for its answer, and a line
to whoever asked. The server reads the line only to see it end, and says there, once, how the run ended and what it
used.

One thread, which never waits for anything but all of it: forks, ends children at their limits, notes their deaths. It
ends when its parent does, and its children end with it.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import pkgutil
import resource
import selectors
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools_registry import lazily
from tools_registry.studio import Limits

from .child import ANSWERED, HEAD_BYTES, IDLE, SERVER_FILES_MAX, become_run, pack, room_bytes
from .confinement import SCRATCH_BYTES_MAX, STRANGERS, Place, data_bytes, find_out, libraries
from .memory import empty_room, filled

STUDIOS = "tools_registry.studios"
MESSAGE_BYTES_MAX = 4096
LOOK_SECONDS = 0.1  # how often it looks at scratch folders while runs are on
IDLE_SECONDS = 1.0  # and at its parent
SCRATCH_FILES_MAX = 1000
SCRATCH_PREFIX = "holdfast-runs-"
# What a run may have beside what RLIMIT_DATA counts: its stack, its page tables, what a library sets right when loaded
BESIDE_DATA_BYTES = 32 * 1024 * 1024


@dataclass(slots=True)
class Order:
    """A run as it was asked for."""

    function: str
    limits: Limits
    given: int
    room: int
    line: socket.socket

    def close(self) -> None:
        os.close(self.given)
        os.close(self.room)
        self.line.close()


@dataclass(slots=True)
class Run:
    """A run that is on."""

    pid: int
    limits: Limits
    line: socket.socket
    place: Place
    # What a run has that does nothing, and the most that this one may have.
    idle_bytes: int
    memory_bytes_max: int
    began: float = field(default_factory=time.monotonic)
    stopped: str | None = None

    @property
    def is_late(self) -> bool:
        return time.monotonic() - self.began > self.limits.seconds

    @property
    def is_at_work_too_long(self) -> bool:
        """By the exact clock of each process (linux/posix-timers.h: CPUCLOCK_SCHED); rusage adds up to the same."""
        if sys.platform != "linux":
            return False  # there RLIMIT_CPU alone ends it
        try:
            return time.clock_gettime((~self.pid << 3) | 2) > self.limits.cpu_seconds
        except OSError:
            return False  # it has ended

    @property
    def has_too_much_memory(self) -> bool:
        """RLIMIT_DATA counts what can be written to: what was filled and is read-only now escapes it, and so does a
        stack that was moved.
        """
        return _memory_bytes(self.pid) > self.memory_bytes_max

    def kill(self, why: str | None) -> None:
        """Its whole group is told to end, by a signal that cannot be refused."""
        self.stopped = self.stopped or why
        for target in (-self.pid, self.pid):  # itself too, if it had no time to make a group
            with suppress(ProcessLookupError, PermissionError):
                os.kill(target, signal.SIGKILL)


class Server:
    def __init__(self, door: socket.socket, parent: int, packages: Sequence[str], at_once: int) -> None:
        self.door, self.parent, self.packages = door, parent, packages
        door.setblocking(False)
        self.free_slots = slots(os.getpid(), min(at_once, STRANGERS))
        self.waiting: deque[Order] = deque()
        self.runs: dict[int, Run] = {}
        self.idle_bytes = self.own_bytes_then = 0
        self.is_short = False  # of processes, or of room on the disk
        self.folder = _made_folder()
        self.readable = libraries(*(Path(next(iter(sys.modules[name].__path__))) for name in packages[1:]))
        self.selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Runs are carried out until this process is told to end, or its parent has ended."""
        wake, asleep = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(asleep, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(wake, selectors.EVENT_READ)
        self.selector.register(self.door, selectors.EVENT_READ)
        try:
            find_out(self.readable)
            self.measure_idle()
            while os.getppid() == self.parent:
                for key, _ in self.selector.select(self.rest_seconds()):
                    if key.fileobj is self.door:
                        self.take_orders()
                    elif key.fileobj == wake:
                        with suppress(BlockingIOError):
                            os.read(wake, 4096)
                    else:
                        self.let_go(key.fileobj)
                self.bury()
                self.watch()
                self.begin_waiting()
        finally:
            for run in self.runs.values():
                run.kill(None)
            for pid in self.runs:
                os.waitpid(pid, 0)
            shutil.rmtree(self.folder, ignore_errors=True)

    def rest_seconds(self) -> float:
        """How long there is nothing to look at."""
        if not self.runs:
            return LOOK_SECONDS if self.waiting else IDLE_SECONDS
        next_end = min(run.began + run.limits.seconds for run in self.runs.values()) - time.monotonic()
        return max(0.0, min(next_end, LOOK_SECONDS))

    # Orders

    def take_orders(self) -> None:
        """What stands at the door is waiting for its turn. What is no order is closed again."""
        while True:
            try:
                message, files, _, _ = socket.recv_fds(self.door, MESSAGE_BYTES_MAX, 3)
            except (BlockingIOError, ConnectionError):
                return
            try:
                given, room, line = files
                said = json.loads(message)
                limits = Limits(**{name: _number(value) for name, value in said["limits"].items()})
                order = Order(str(said["function"]), limits, given, room, socket.socket(fileno=line))
            except (ValueError, KeyError, TypeError, AttributeError, OSError):
                for one in files:
                    os.close(one)
                continue
            self.waiting.append(order)
            self.selector.register(order.line, selectors.EVENT_READ)

    def let_go(self, line: Any) -> None:
        """Whoever asked has gone: what they asked for ends."""
        self.selector.unregister(line)
        for order in [order for order in self.waiting if order.line is line]:
            self.waiting.remove(order)
            order.close()
        for run in self.runs.values():
            if run.line is line:
                run.kill("gone")

    def begin_waiting(self) -> None:
        """The oldest orders are runs, as many as there is room for."""
        while self.waiting and self.free_slots:
            try:
                self.begin(self.waiting[0])
            except OSError as error:  # no process or folder more for the moment; whoever asked may give up meanwhile
                if not self.is_short:
                    print(f"tool runner: no run can begin ({error}).", file=sys.stderr, flush=True)  # noqa: T201
                self.is_short = True
                return
            self.is_short = False
            self.waiting.popleft()

    def begin(self, order: Order) -> None:
        if not _is_ours(self.folder):  # what sweeps old files out of /tmp has swept it
            self.folder = _made_folder()
        slot = self.free_slots[-1]
        place = Place(self.folder / f"{slot}", slot, self.readable, os.getpid())
        # What this process has by now, a run has too, and it is not the run's.
        idle_bytes = self.idle_bytes + _memory_bytes(os.getpid()) - self.own_bytes_then
        memory_bytes_max = data_bytes() + order.limits.memory_mb * 1024 * 1024 + BESIDE_DATA_BYTES
        pid = os.fork()
        if pid == 0:
            become_run(order.function, self.packages, order.limits, place, order.given, order.room)
        with suppress(OSError):
            os.setpgid(pid, pid)
        self.free_slots.remove(slot)
        self.runs[pid] = Run(pid, order.limits, order.line, place, idle_bytes, memory_bytes_max)
        os.close(order.given)
        os.close(order.room)

    # Ends

    def watch(self) -> None:
        """Runs whose time is over, or who fill the memory or the disk, are ended."""
        for run in self.runs.values():
            if run.is_at_work_too_long:
                run.kill("cpu")
            elif run.is_late:
                run.kill("time")
            elif run.has_too_much_memory:
                run.kill("memory")
            elif _is_overfull(run.place.scratch):
                run.kill("output")

    def bury(self) -> None:
        """Every child that ended is gone, its folder too, and whoever asked has been told."""
        for pid in list(self.runs):
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                run = self.runs.pop(pid)
                wall_seconds = time.monotonic() - run.began  # clearing up is not its time
                shutil.rmtree(run.place.scratch, ignore_errors=True)
                self.free_slots.append(run.place.slot)
                self.tell(run, status, usage, wall_seconds)

    def tell(self, run: Run, status: int, usage: resource.struct_rusage, wall_seconds: float) -> None:
        """Whoever asked knows. What ended well is within its limits, memory too: pages of libraries are not its own."""
        cpu_seconds = usage.ru_utime + usage.ru_stime
        memory_bytes = min(max(0, _peak_bytes(usage) - run.idle_bytes), run.limits.memory_mb * 1024 * 1024)
        stopped = run.stopped or _stopped_by(status, cpu_seconds, memory_bytes, run.limits)
        if stopped is None and cpu_seconds > run.limits.cpu_seconds:
            stopped = "cpu"
        if stopped is None and wall_seconds > run.limits.seconds:
            stopped = "time"
        verdict = {
            "stopped": stopped,
            "cpu_microseconds": round(cpu_seconds * 1_000_000),
            "peak_memory_bytes": memory_bytes,
            "wall_microseconds": round(wall_seconds * 1_000_000),
        }
        with suppress(KeyError):
            self.selector.unregister(run.line)
        with suppress(OSError):  # nobody is there any more
            run.line.send(json.dumps(verdict).encode())
        run.line.close()

    def measure_idle(self) -> None:
        """What a run uses that does nothing is known, and runs work here. Raises RuntimeError where they do not."""
        limits = Limits(cpu_seconds=5, seconds=10)
        place = Place(self.folder / "idle", self.free_slots[0], self.readable, os.getpid())
        given, room = filled(pack({}, {})), empty_room(room_bytes(limits))
        self.own_bytes_then = _memory_bytes(os.getpid())
        pid = os.fork()
        if pid == 0:
            become_run(IDLE, [__package__ or ""], limits, place, given, room)
        _, _, usage = os.wait4(pid, 0)
        said = os.pread(room, room_bytes(limits), 0)
        for one in (given, room):
            os.close(one)
        shutil.rmtree(place.scratch, ignore_errors=True)
        if not said.startswith(ANSWERED):
            sentence = said[HEAD_BYTES:].rstrip(b"\0").decode(errors="replace")
            raise RuntimeError(f"No run can begin here. {sentence}")
        self.idle_bytes = _peak_bytes(usage)


def slots(pid: int, at_once: int) -> list[int]:
    """The numbers of runs at a time, and of their users. Servers that began near each other have none in common: the
    kernel counts threads by user, and no run uses up another's.
    """
    return [(pid * at_once + number) % STRANGERS for number in range(at_once)]


def _number(value: Any) -> int:
    if not isinstance(value, int) or value <= 0:
        raise ValueError(f"{value} is no limit.")
    return value


def _peak_bytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _memory_bytes(pid: int) -> int:
    """What a process has of memory, its page tables too and what is swapped out, but no pages of files; 0: unknown."""
    try:
        lines = Path(f"/proc/{pid}/status").read_bytes().splitlines()
    except OSError:
        return 0  # it has ended, or this is no Linux
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(MEMORY_LINES))


MEMORY_LINES = (b"RssAnon:", b"RssShmem:", b"VmSwap:", b"VmPTE:")


def _stopped_by(status: int, cpu_seconds: float, memory_bytes: int, limits: Limits) -> str | None:
    """The limit that ended a child by itself; None where it ended well."""
    if os.WIFEXITED(status):
        return None if os.WEXITSTATUS(status) == 0 else "crash"
    by = os.WTERMSIG(status)
    if by in (signal.SIGKILL, signal.SIGXCPU) and cpu_seconds >= limits.cpu_seconds / 2:
        return "cpu"
    if by == signal.SIGXFSZ:
        return "output"
    # The kernel kills when memory runs out everywhere; a library that gets no more aborts.
    is_full = memory_bytes >= limits.memory_mb * 1024 * 1024 * 3 // 4
    return "memory" if by == signal.SIGKILL or is_full else "crash"


def _is_overfull(scratch: Path) -> bool:
    """Says whether there is too much in a scratch folder, which has no folders in it."""
    size = 0
    with suppress(OSError), os.scandir(scratch) as entries:
        for number, entry in enumerate(entries, 1):
            size += entry.stat(follow_symlinks=False).st_size
            if size > SCRATCH_BYTES_MAX or number > SCRATCH_FILES_MAX:
                return True
    return False


def _made_folder() -> Path:
    """A new folder for the runs' scratch folders."""
    folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH_PREFIX}{os.getpid()}-"))
    folder.chmod(0o711)  # a run passes through on its way to its own
    return folder


def _is_ours(folder: Path) -> bool:
    """Says whether it is there, and nobody else's: the name of one that is gone is anybody's to take."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


# The process


def load(packages: Sequence[str]) -> None:
    """Every module below the packages is loaded, and what they load lazily. One that cannot be is said and left out."""

    def complain(name: str) -> None:
        print(f"tool runner: {name} was left out.\n{traceback.format_exc()}", file=sys.stderr, flush=True)  # noqa: T201

    for package in packages:
        root = importlib.import_module(package)
        for found in pkgutil.walk_packages(root.__path__, f"{package}.", onerror=complain):
            try:
                importlib.import_module(found.name)
            except Exception:  # whatever is wrong with one tool, the others go on
                complain(found.name)
    try:
        lazily.load_all()
    except Exception:
        complain("a library")


def remove_left_overs() -> None:
    """Scratch folders of servers that were killed are gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}*-*"):
        pid = folder.name.removeprefix(SCRATCH_PREFIX).partition("-")[0]
        with suppress(OSError, ValueError):
            if folder.lstat().st_uid == os.geteuid():
                try:
                    os.kill(int(pid), 0)
                except ProcessLookupError:
                    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tool runner", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--door", type=int, required=True, help="the open socket at which runs are asked for")
    parser.add_argument("--parent", type=int, required=True, help="the process with which this one ends")
    parser.add_argument("--at-once", type=int, default=2 * (os.cpu_count() or 1), help="how many runs at a time")
    parser.add_argument("--also", action="append", default=[], help="another package with functions, for tests")
    parser.add_argument("--of", default="", help="whose it is, for people who look at the list of processes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends this one
    door = os.dup2(options.door, 3)
    os.closerange(4, SERVER_FILES_MAX)
    _, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    files_max = SERVER_FILES_MAX if highest == resource.RLIM_INFINITY else min(SERVER_FILES_MAX, highest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    os.chdir("/")
    os.umask(0o077)
    packages = (STUDIOS, *options.also)
    load(packages)
    remove_left_overs()
    gc.collect()
    gc.freeze()  # a child's collector would copy what it walks
    Server(socket.socket(fileno=door), options.parent, packages, max(1, options.at_once)).serve()
