"""The worker's sign of life."""

import time
from pathlib import Path

from django.conf import settings
from django.core.cache import cache

HEARTBEAT_KEY = "worker-heartbeat"


def heartbeat() -> None:
    """The worker has shown that it takes tasks: to its supervisor by a file, to everybody by the cache."""
    if settings.HEARTBEAT_FILE:
        Path(settings.HEARTBEAT_FILE).touch()
    cache.set(HEARTBEAT_KEY, time.time(), timeout=None)


def heartbeat_age_seconds() -> float | None:
    """Seconds since a worker last showed itself; None when none ever did."""
    seen = cache.get(HEARTBEAT_KEY)
    return None if seen is None else max(0.0, time.time() - float(seen))
