"""Pieces of memory with a file's number, to be handed to another process. Nothing of them is ever on a disk (Linux)."""

import fcntl
import os
import sys
import tempfile


def filled(content: bytes) -> int:
    """A file with this content, to be read from its beginning."""
    file = _made("given")
    rest, at = memoryview(content), 0
    while rest:
        written = os.pwrite(file, rest, at)
        rest, at = rest[written:], at + written
    return file


def empty_room(size: int) -> int:
    """A file of that many zeros which nobody can make larger or smaller."""
    file = _made("answer")
    os.ftruncate(file, size)
    if sys.platform == "linux":
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return file


def _made(name: str) -> int:
    if sys.platform == "linux":
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
