"""Keeps the database, the web server and the worker alive, and ends all of them together.

Each child is started in a session of its own and ends with this process, whatever kills it. One that ends by itself, or
that its watch finds stuck, is started again, later each time; five times within a minute and everything stops.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType

from config.embedded import EmbeddedError, Server
from config.parent_death import ends_with_parent

RESTARTS_MAX = 5
RESTARTS_WITHIN_SECONDS = 60.0
BACK_OFF_SECONDS = (0.1, 0.5, 1.0, 2.0, 4.0)
STOP_SECONDS = 1.0
TICK_SECONDS = 0.5


class GaveUp(Exception):
    """A child ended too often."""


class Told(Exception):
    """A signal asked this process to end."""


@dataclass
class Restarts:
    """When a child was started again lately, and when it may be next."""

    name: str
    at: list[float] = field(default_factory=list)
    next_at: float = 0.0

    def count(self) -> None:
        """One more; raises GaveUp when these were too many in too short a time."""
        now = time.monotonic()
        self.at = [at for at in self.at if now - at < RESTARTS_WITHIN_SECONDS] + [now]
        if len(self.at) >= RESTARTS_MAX:
            raise GaveUp(f"The {self.name} ended {RESTARTS_MAX} times within a minute; giving up.")
        self.next_at = now + BACK_OFF_SECONDS[len(self.at) - 1]


@dataclass
class Child:
    """A process that is kept alive. `stuck` says, from time to time, why it must be started again; None: it is well.

    One that `follows_database` starts afresh with it: the queue's reader sleeps ten seconds on a lost connection.
    It has no files of ours open but those that it `keeps`, under the numbers that they have here.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stuck: Callable[[], str | None] = lambda: None
    started: Callable[[], None] = lambda: None
    follows_database: bool = False
    keeps: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """The process runs, as the leader of its own session."""
        self.process = subprocess.Popen(
            list(self.command),
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # ours says `ready`, and nothing else may; they log to stderr
            start_new_session=True,
            pass_fds=self.keeps,
            preexec_fn=ends_with_parent(os.getpid(), signal.SIGKILL),
        )
        self.started()

    def kill(self) -> None:
        """The process and its group are gone."""
        self.end(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        self.process = None

    def end(self, signal_number: int) -> None:
        """The whole group of the process has been sent the signal."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal_number)


class Supervisor:
    """Runs a server of the database, perhaps, and children, until told to end. For the main thread only."""

    def __init__(self, children: Sequence[Child], server: Server | None, say: Callable[[str], None]) -> None:
        self.children = list(children)
        self.server = server
        self.say = say
        self.restarts = {name: Restarts(name) for name in ("database", *(child.name for child in self.children))}
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def start(self) -> None:
        """Every child has been started."""
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)  # wakes the wait below
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for child in self.children:
            child.start()

    def run(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Returns when it is over; ends by Told or GaveUp otherwise. What ended meanwhile was started again."""
        while not is_over():
            self._look_after_database()
            for child in self.children:
                self._look_after(child)
            select.select([self._wake_read], [], [], TICK_SECONDS)
            with suppress(BlockingIOError):
                os.read(self._wake_read, 4096)

    def _look_after_database(self) -> None:
        server, restarts = self.server, self.restarts["database"]
        if server is None or (server.process is not None and server.process.poll() is None):
            return
        if server.process is not None:
            self.say(f"The database ended ({server.process.returncode}); starting it again.")
            server.process = None
            restarts.count()
        if time.monotonic() >= restarts.next_at:
            try:
                server.start(wait_seconds=10)
            except EmbeddedError as error:
                self.say(str(error))
                restarts.count()
                return
            for child in self.children:
                if child.follows_database:
                    child.kill()

    def _look_after(self, child: Child) -> None:
        restarts = self.restarts[child.name]
        if child.process is None:
            if time.monotonic() >= restarts.next_at:
                child.start()
            return
        why = child.stuck() if child.process.poll() is None else f"ended ({child.process.returncode})"
        if why is None:
            return
        self.say(f"The {child.name} {why}; starting it again.")
        child.kill()
        restarts.count()

    def stop(self) -> None:
        """Nothing that was started here is left: asked first, then killed, the database last."""
        for child in self.children:
            child.end(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        for child in self.children:
            if child.process is not None:
                with suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.0, until - time.monotonic()))
        for child in self.children:
            child.kill()
        if self.server is not None:
            self.server.stop()


def end_when_told() -> None:
    """SIGINT, SIGTERM and SIGHUP raise Told, once; while everything is being ended they are not heard again."""

    def told(number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise Told(signal.Signals(number).name)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, told)
