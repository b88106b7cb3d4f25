"""What a child gives up before it runs a tool's function, in the order in which it can still give it up.

Limits of the system (rlimits) come first, then root's rights, then files (Landlock), then calls of the kernel
(seccomp). What this machine does not have is left out and said so by `protections`; what it has and refuses ends the
child.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import resource
import signal
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools_registry.studio import Limits

from . import landlock, seccomp
from .kernel import called, libc

SCRATCH_BYTES_MAX = 64 * 1024 * 1024
OPEN_FILES_MAX = 64
THREADS_MAX = 64
# Run by root, each run at a time gets a user of its own out of these, whom no file and no other process belongs to.
# Debian keeps the range free; not `nobody`, who may be the database's user.
FIRST_STRANGER, STRANGERS = 65_000, 500

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS = 1, 4, 8, 38
CAPABILITY_VERSION = 0x20080522
CAP_DAC_READ_SEARCH = 1 << 2
# Root gives a run a user of its own with the first three, and with the others it ends it and clears up after it.
CAP_CHOWN, CAP_SETGID, CAP_SETUID, CAP_DAC_OVERRIDE, CAP_KILL = 1 << 0, 1 << 6, 1 << 7, 1 << 1, 1 << 5
TO_HAVE_STRANGERS = CAP_CHOWN | CAP_SETGID | CAP_SETUID | CAP_DAC_OVERRIDE | CAP_KILL


# What there is


@dataclass(frozen=True, slots=True)
class Protections:
    """What holds a run on this machine, besides the limits on CPU time, time, memory and output, which always do."""

    calls: bool  # seccomp: no network, no second process, no other program
    files: bool  # Landlock: no files but the tools' libraries and its scratch folder
    own_user: bool  # it does not run as root

    @property
    def missing(self) -> list[str]:
        """The missing ones, as sentences; none where everything is as it should be."""
        sentences = {
            "No seccomp here: a tool could reach the network, the database and this user's other programs.": self.calls,
            "No Landlock here: a tool could read and change the files that this user can.": self.files,
            "Root here may not become another user: tools run as root, without its rights.": self.own_user,
        }
        return [sentence for sentence, is_there in sentences.items() if not is_there]


@cache
def protections() -> Protections:
    """What this machine and this user have to hold a run."""
    return Protections(
        calls=seccomp.is_available(),
        files=landlock.version() > 0,
        own_user=os.geteuid() != 0 or _can_change_user(),
    )


def _can_change_user() -> bool:
    if sys.platform != "linux" or _capabilities() & TO_HAVE_STRANGERS != TO_HAVE_STRANGERS:
        return False
    spans = [list(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(first <= FIRST_STRANGER and first + count >= FIRST_STRANGER + STRANGERS for first, _, count in spans)


@cache
def libraries(*packages: Path) -> tuple[Path, ...]:
    """Python's library, its packages, the system's shared libraries, time zones and fonts; the tools, and these."""
    paths = sysconfig.get_paths()
    system = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/usr/share/fonts")
    found: tuple[str | Path, ...] = (
        *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *(folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")),
        *(f"{prefix}/lib" for prefix in (sys.prefix, sys.base_prefix)),
        *system,
        Path(__file__).resolve().parent.parent,
        *packages,
        "/dev/urandom",
    )
    return tuple(dict.fromkeys(path for one in found if (path := Path(one).resolve()).exists()))


# What is given up


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run happens: its scratch folder, its number among those at a time, what it may read, and its parent."""

    scratch: Path
    slot: int
    readable: tuple[Path, ...]
    parent: int


def confine(limits: Limits, place: Place) -> None:
    """This process can do what a tool may do, and nothing else, until it ends. It ends with its parent."""
    has = protections()
    if sys.platform == "linux":
        with suppress(OSError):  # the first to go where the machine runs out of memory
            Path("/proc/self/oom_score_adj").write_text("1000")
    _limit(limits, has)
    if sys.platform != "linux":
        return
    if os.geteuid() == 0:
        _become_stranger(place, has)
    called(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")
    called(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "end with parent")
    if os.getppid() != place.parent:  # it died before the kernel was asked
        os._exit(1)
    called(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    if has.files:
        landlock.apply(place.readable, place.scratch)
    if has.calls:
        seccomp.apply()


def find_out(readable: tuple[Path, ...]) -> None:
    """What is the same for every run is known, and no child need find it out again."""
    if protections().calls:
        seccomp.program(platform.machine())
    _are_open_to_all(readable)


def _limit(limits: Limits, has: Protections) -> None:
    values = {
        # Hard and soft are one: at a soft limit comes a signal that can be caught. Above the run's own limit, which the
        # server watches: the kernel counts for this one in clock ticks, a quarter more or less than what it then tells.
        resource.RLIMIT_CPU: math.ceil(limits.cpu_seconds * 1.5) + 1,
        # Not RLIMIT_AS, which counts what libraries only reserve. What was inherited is not the run's.
        resource.RLIMIT_DATA: data_bytes() + limits.memory_mb * 1024 * 1024,
        resource.RLIMIT_FSIZE: max(SCRATCH_BYTES_MAX, limits.output_bytes),
        resource.RLIMIT_NOFILE: OPEN_FILES_MAX,
        resource.RLIMIT_CORE: 0,
    }
    # It counts every thread of the user, so it can be exact only for a user of the run's own. For another, the filter
    # refuses processes, and threads are as many as there are now and all runs may need. Without a filter: no more.
    if not has.calls:
        values[resource.RLIMIT_NPROC] = 0
    elif os.geteuid() == 0 and has.own_user:
        values[resource.RLIMIT_NPROC] = THREADS_MAX
    elif threads := _threads_of_all():
        values[resource.RLIMIT_NPROC] = threads + THREADS_MAX * 2 * (os.cpu_count() or 1)
    for name, value in values.items():
        _, highest = resource.getrlimit(name)
        most = value if highest == resource.RLIM_INFINITY else min(value, highest)
        resource.setrlimit(name, (most, most))


def data_bytes() -> int:
    """How much of what RLIMIT_DATA counts this process has already."""
    if sys.platform != "linux":
        return 0
    pages = int(Path("/proc/self/statm").read_bytes().split()[5])
    return pages * resource.getpagesize()


def _threads_of_all() -> int:
    """How many threads there are on this machine, which are no fewer than this user's; 0 where nobody knows."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return 0


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    # The lower 32, then the upper ones, each: effective, permitted, inheritable.
    _fields_ = (("sets", ctypes.c_uint32 * 6),)


def _capabilities() -> int:
    """The lower 32 of the capabilities in force."""
    sets = _Sets()
    called(libc.capget(ctypes.byref(_Header(CAPABILITY_VERSION, 0)), ctypes.byref(sets)), "capget")
    return int(sets.sets[0])


def _keep_only(capabilities: int) -> None:
    sets = _Sets((capabilities, capabilities, 0, 0, 0, 0))
    called(libc.capset(ctypes.byref(_Header(CAPABILITY_VERSION, 0)), ctypes.byref(sets)), "capset")


def _become_stranger(place: Place, has: Protections) -> None:
    """Root's rights are gone, and so is root where this machine lets it.

    A Python that lies in root's own folder stays readable: one capability is kept for that, where Landlock says which
    files it may be used on.
    """
    kept = 0
    if has.files and not _are_open_to_all(place.readable):
        kept = CAP_DAC_READ_SEARCH & _capabilities()
    if has.own_user:
        stranger = FIRST_STRANGER + place.slot
        os.chown(place.scratch, stranger, stranger)
        called(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
        os.setgroups([])
        os.setresgid(stranger, stranger, stranger)
        os.setresuid(stranger, stranger, stranger)
    _keep_only(kept)


@cache
def _are_open_to_all(folders: tuple[Path, ...]) -> bool:
    """Says whether any user can come to these folders and read them."""
    return all(
        path.stat().st_mode & 0o004 and all(step.stat().st_mode & 0o001 for step in path.parents) for path in folders
    )
