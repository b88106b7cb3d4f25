"""What Python has no words for and asks the C library: a call, and what came of it."""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def called(answer: int, name: str) -> int:
    """The answer of a call of the C library; raises OSError where it failed."""
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return answer
