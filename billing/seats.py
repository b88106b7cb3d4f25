"""Requests that take long: only so many at once in one process, so that its other threads answer the short ones.

Sign-in, payments' webhooks and /readyz are short. A run of a tool is not, nor an answer that was asked to wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

_lock = threading.Lock()
_taken = 0


@contextmanager
def one() -> Iterator[bool]:
    """Whether there was a seat; if so it is taken inside, and free again afterwards. Nobody waits for one."""
    global _taken
    with _lock:
        has_seat = _taken < settings.LONG_REQUESTS_AT_ONCE
        _taken += has_seat
    try:
        yield has_seat
    finally:
        with _lock:
            _taken -= has_seat
