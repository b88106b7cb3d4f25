"""Bounds on CPU time that mean the same on any machine: beside them stands how fast the one was that they are of."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

THERE_SECONDS = 0.022  # what `_work` takes there, with nothing beside it


def _work() -> None:
    """A little of what Python programs do."""
    rows = [{"id": number, "text": f"row {number} of many"} for number in range(12_000)]
    for row in json.loads(json.dumps(rows)):
        re.sub(r"\d+", "#", row["text"])


def slowness() -> float:
    """How many times slower than there; 1 where it is as fast or faster."""
    before = time.process_time()
    _work()
    return max(1.0, (time.process_time() - before) / THERE_SECONDS)


@contextmanager
def within_cpu(seconds: float) -> Iterator[None]:
    """What is done inside takes this process no more CPU time than this there; other programs' is not counted."""
    before = time.process_time()
    yield
    took = time.process_time() - before
    if took >= seconds:
        slow = max(slowness() for _ in range(3))
        assert took < seconds * slow, f"{took:.2f} s of CPU time, on a machine {slow:.1f} times slower"
