"""Calls to providers: many at once, on one event loop in a thread of its own, while the database stays on this side.

Nothing is called while a transaction is open here: `run` and `Calls` refuse it. A call never hangs, and raises
ProviderErrors only: whatever else breaks in a provider is doubt.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

import structlog
from django.conf import settings
from django.db import connection

from generations.providers.base import ProviderError, Unknown

log = structlog.get_logger("holdfast.calls")

Said = TypeVar("Said")
Kept = TypeVar("Kept")
Tag = TypeVar("Tag")


class InTransaction(RuntimeError):
    """A provider would have been called while a transaction was open: a lock would be held for as long as it takes."""


class _Loop:
    """The process's event loop, in a thread that ends with the process; a forked child makes its own."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.kept: dict[tuple[str, int], Any] = {}
        self.turns = itertools.count()
        self.thread = threading.Thread(target=self.loop.run_forever, name="provider-calls", daemon=True)
        self.thread.start()


_starting = threading.Lock()
_loop: _Loop | None = None


def _here() -> _Loop:
    global _loop
    with _starting:
        if _loop is None or _loop.pid != os.getpid() or not _loop.thread.is_alive():
            _loop = _Loop()
        return _loop


def keep(name: str, make: Callable[[], Kept], *, of: int = 1) -> Kept:
    """What `make` made when it was first asked for by that name: HTTP clients, which belong to the process's loop.

    With `of`, one of so many in turn: httpx looks at all connections of a client for each request, so that many clients
    with few connections each cost a fraction of one with all of them.
    """
    here = _here()
    which = (name, next(here.turns) % of)
    if which not in here.kept:
        here.kept[which] = make()
    made: Kept = here.kept[which]
    return made


def run(call: Coroutine[Any, Any, Said], seconds: float | None = None) -> Said:
    """What the call returned; raises ProviderErrors only, and InTransaction. Waits at most `seconds`.

    Without `seconds`: twice PROVIDER_TIMEOUT_SECONDS, in which a provider's own time-outs have come long before.
    """
    try:
        _refuse_in_transaction()
    except InTransaction:
        call.close()
        raise
    return asyncio.run_coroutine_threadsafe(_within(call, seconds), _here().loop).result()


def _refuse_in_transaction() -> None:
    if connection.in_atomic_block:
        raise InTransaction("A provider was to be called while a transaction was open.")


async def _within(call: Awaitable[Said], seconds: float | None) -> Said:
    try:
        async with asyncio.timeout(seconds or settings.PROVIDER_TIMEOUT_SECONDS * 2):
            return await call
    except ProviderError:
        raise
    except TimeoutError as error:
        raise Unknown("timeout", "no_end", "The provider did not answer in time.") from error
    # Whatever it is, it must not end the loop that everybody's calls run on. Also a call that was cancelled from within
    # (from here nobody does that): its answer is waited for.
    except BaseException as error:
        log.exception("provider_broke")
        raise Unknown("broken", type(error).__name__, "The answer could not be worked with.") from error


class Calls(Generic[Tag]):
    """Calls under way, at most `at_once` of each lane at a time, whose answers are taken as they come.

    Memory is bounded by whoever adds no more than there is `room` for.
    """

    def __init__(self, at_once: int | None = None) -> None:
        _refuse_in_transaction()
        self.at_once = at_once or settings.PROVIDER_CALLS_AT_ONCE
        self.waiting: Counter[str] = Counter()
        self._limits: dict[str, asyncio.Semaphore] = {}
        self._answered: queue.SimpleQueue[tuple[str, Tag, Any]] = queue.SimpleQueue()

    def __len__(self) -> int:
        """How many calls have not been taken yet."""
        return self.waiting.total()

    def room(self, lane: str) -> int:
        """How many more calls keep the lane busy without piling up."""
        return max(2 * self.at_once - self.waiting[lane], 0)

    def idle(self, lane: str) -> int:
        """How many more calls would be made at once."""
        return max(self.at_once - self.waiting[lane], 0)

    def add(self, lane: str, tag: Tag, call: Callable[[], Awaitable[Any]], seconds: float | None = None) -> None:
        """The call is made when its turn comes; `take` will give its answer, or ProviderError, with the tag."""
        _refuse_in_transaction()
        self.waiting[lane] += 1
        limit = self._limits.setdefault(lane, asyncio.Semaphore(self.at_once))

        async def ask() -> None:
            async with limit:
                try:
                    said: Any = await _within(call(), seconds)
                except ProviderError as error:
                    said = error
            self._answered.put((lane, tag, said))

        asyncio.run_coroutine_threadsafe(ask(), _here().loop)

    def take(self, seconds: float, most: int = 500) -> list[tuple[Tag, Any]]:
        """What has been answered by now; waits up to `seconds` for the first, and a moment for those that follow it."""
        _refuse_in_transaction()
        found: list[tuple[Tag, Any]] = []
        until = time.monotonic() + seconds
        with suppress(queue.Empty):
            while len(found) < min(most, len(self) + len(found)):
                lane, tag, said = self._answered.get(timeout=max(until - time.monotonic(), 0))
                if not found:
                    until = min(until, time.monotonic() + TAKE_TOGETHER_SECONDS)
                self.waiting[lane] -= 1
                found.append((tag, said))
        return found


# So long the first answer waits for others, to be written down with them.
TAKE_TOGETHER_SECONDS = 0.05
