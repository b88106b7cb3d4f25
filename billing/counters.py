"""Counting in the cache that all processes share."""

from __future__ import annotations

from django.core.cache import cache


def add_one(key: str, seconds: int) -> int:
    """The counter after this one; it is forgotten `seconds` after its first.

    Several processes may count at once: each step is one statement of the cache.
    """
    try:
        return cache.incr(key)
    except ValueError:
        return 1 if cache.add(key, 1, seconds) else cache.incr(key)
