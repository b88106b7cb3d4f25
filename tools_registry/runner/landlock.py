"""Which files a run may touch: those of Python and the tools to read, its own scratch folder to write. No others.

Landlock counts from the folders that a process names before it locks itself in; what is open already stays open. It
says nothing about looking at a file's size and dates.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from .kernel import called, libc

# linux/landlock.h; the three calls have these numbers on every machine
CREATE, ADD_RULE, RESTRICT = 444, 445, 446
CREATE_RULESET_VERSION, RULE_PATH_BENEATH = 1, 1
WRITE_FILE, READ_FILE, READ_DIR, MAKE_REG = 1 << 1, 1 << 2, 1 << 3, 1 << 8
TRUNCATE = 1 << 14
# How many rights over files each version knows, from the lowest bit on; later ones know as many as the last.
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
TCP_SINCE, TCP_BIND_AND_CONNECT = 4, 0b11
SCOPES_SINCE, ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11

READING = READ_FILE | READ_DIR
SCRATCH = READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | MAKE_REG  # flat, no links, and all of it can be seen

# Looking for the container's limits, DuckDB ends the process where these are there and cannot be read. Figures only:
# their folders cannot be listed.
CONTROL_GROUPS = (Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))


class _Rules(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


@cache
def version() -> int:
    """The version of Landlock that this kernel has; 0: none."""
    return max(0, libc.syscall(CREATE, None, 0, CREATE_RULESET_VERSION)) if sys.platform == "linux" else 0


def apply(readable: Iterable[Path], scratch: Path) -> None:
    """This thread, and every thread that it makes, reaches nothing else. Needs no_new_privs. Raises OSError."""
    known = version()
    rights = (1 << FILE_RIGHTS[min(known, max(FILE_RIGHTS))]) - 1
    rules = _Rules(
        rights,
        TCP_BIND_AND_CONNECT if known >= TCP_SINCE else 0,
        ABSTRACT_SOCKETS_AND_SIGNALS if known >= SCOPES_SINCE else 0,
    )
    size = 24 if known >= SCOPES_SINCE else 16 if known >= TCP_SINCE else 8
    ruleset = called(libc.syscall(CREATE, ctypes.byref(rules), size, 0), "landlock")
    try:
        for folder in readable:
            _allow(ruleset, folder, READING if folder.is_dir() else READ_FILE)
        _allow(ruleset, Path(os.devnull), READ_FILE | WRITE_FILE)
        for one in filter(Path.exists, CONTROL_GROUPS):
            _allow(ruleset, one, READ_FILE)
        _allow(ruleset, scratch, SCRATCH & rights)
        called(libc.syscall(RESTRICT, ruleset, 0), "landlock")
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _Beneath(rights, beneath)
        called(libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.byref(rule), 0), "landlock")
    finally:
        os.close(beneath)
