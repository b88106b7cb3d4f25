"""Which calls a run may make of the kernel. Everything else fails with EPERM, and goes on failing in its threads.

What is allowed reads and writes files that are open or that Landlock lets it open, asks for private memory, makes
threads (DuckDB and Polars need them), and looks at the clock. No sockets, no second process, no other program, no
signal to anybody else, no shared memory, nothing that looks into another process, nothing that this list forgot.

Nothing is deleted or renamed over either: a file without a name takes room on the disk that the server does not see.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from dataclasses import dataclass
from functools import cache

from .kernel import called, libc

# name, its number on x86-64, its number on arm64 (the kernel's asm/unistd_64.h and asm-generic/unistd.h)
ALLOWED = """
brk 12 214, munmap 11 215, mremap 25 216, mprotect 10 226, mincore 27 232, membarrier 324 283,

read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69, pwritev 296 70,
lseek 8 62, close 3 57, close_range 436 436, stat 4 -, fstat 5 80, lstat 6 -,
newfstatat 262 79, statx 332 291, statfs 137 43, fstatfs 138 44, access 21 -, faccessat 269 48, faccessat2 439 439,
readlink 89 -, readlinkat 267 78, getdents64 217 61, getcwd 79 17, chdir 80 49, ftruncate 77 46, fadvise64 221 223,
copy_file_range 326 285, sendfile 40 71, umask 95 166, dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59,
poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -,
epoll_pwait 281 22, eventfd2 290 19,

futex 202 98, set_robust_list 273 99, get_robust_list 274 100, rseq 334 293, sched_yield 24 124,
sched_getaffinity 204 123, sched_getparam 143 121, sched_getscheduler 145 120, sched_get_priority_max 146 125,
sched_get_priority_min 147 126, getcpu 309 168, gettid 186 178, exit 60 93, exit_group 231 94,
restart_syscall 219 128, clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, nanosleep 35 101,
gettimeofday 96 169, time 201 -, times 100 153,

rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigtimedwait 128 137, sigaltstack 131 132,

getpid 39 172, getppid 110 173, getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getpgrp 111 -,
getpgid 121 155, getresuid 118 148, getresgid 120 150, getgroups 115 158, getrusage 98 165, getrlimit 97 163,
uname 63 160, sysinfo 99 179, getrandom 318 278
"""


@dataclass(frozen=True, slots=True)
class Condition:
    """A call that is allowed only with a certain argument: one of these values, or one of these bits; or where, for no
    (bits, value) of those that it may not have, these of its bits are that value.
    """

    numbers: tuple[int | None, int | None]
    argument: int
    is_one_of: tuple[int, ...] = ()
    has: int = 0
    has_not: tuple[tuple[int, int], ...] = ()


CLONE_THREAD = 0x10000
MAP_SHARED_ANONYMOUS, MAP_GROWSDOWN, MAP_HUGETLB = 0x01 | 0x20, 0x100, 0x40000
OPEN_MODE, O_TRUNC, O_DSYNC, O_SYNC_TOO, O_TMPFILE_TOO = 0b11, 0x200, 0x1000, 0x100000, 0x400000
NOT_OPENED_WITH = (
    (OPEN_MODE, OPEN_MODE),  # neither to read nor to write: Landlock asks nothing of it
    (OPEN_MODE | O_TRUNC, O_TRUNC),  # emptied, opened to read: before its third version Landlock asks nothing of that
    (O_TMPFILE_TOO, O_TMPFILE_TOO),  # a file without a name
    *((bit, bit) for bit in (O_DSYNC, O_SYNC_TOO)),  # every write waits for the disk, and the database with it
)
# Not: COLD and PAGEOUT, which hide memory in swap, MERGEABLE, and what is for root.
MEMORY_ADVICE = (*range(5), 8, 10, 11, *range(14, 20), 22, 23, 102, 103)
PR_SET_NAME = 15
TCGETS, FIONCLEX, FIOCLEX = 0x5401, 0x5450, 0x5451
# F_DUPFD … F_SETLKW, the same for open file descriptions, F_DUPFD_CLOEXEC. Not F_SETOWN and F_SETSIG: with these the
# kernel sends a signal of one's choice to a process of one's choice.
FILE_CONTROLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030)


CONDITIONS = (
    # mmap: these escape RLIMIT_DATA, or what the kernel says was used
    Condition((9, 222), 3, has_not=tuple((b, b) for b in (MAP_SHARED_ANONYMOUS, MAP_GROWSDOWN, MAP_HUGETLB))),
    Condition((28, 233), 2, is_one_of=MEMORY_ADVICE),  # madvise
    Condition((257, 56), 2, has_not=NOT_OPENED_WITH),  # openat
    Condition((2, None), 1, has_not=NOT_OPENED_WITH),  # open
    Condition((56, 220), 0, has=CLONE_THREAD),  # clone
    Condition((157, 167), 0, is_one_of=(PR_SET_NAME,)),  # prctl: threads name themselves
    Condition((16, 29), 1, is_one_of=(TCGETS, FIONCLEX, FIOCLEX)),  # ioctl: what open() asks
    Condition((72, 25), 1, is_one_of=FILE_CONTROLS),  # fcntl
    Condition((302, 261), 0, is_one_of=(0,)),  # prlimit64: its own limits, which only go down
)


# Its flags lie in memory, out of a filter's sight. Told that there is no such call, the C library uses clone.
CLONE3 = (435, 435)
# fsync, fdatasync: done, as far as a run can tell. What it writes is gone with it, and the disk is not only its own.
DONE = ((74, 82), (75, 83))

# The machine that the filter is a program of: linux/bpf_common.h, linux/seccomp.h, linux/audit.h
LOAD, EQUAL, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x45, 0x54, 0x06
ALLOW, FAIL, KILL = 0x7FFF0000, 0x00050000, 0x80000000
CALL_AT, MACHINE_AT, ARGUMENTS_AT = 0, 4, 16
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SECCOMP = {"x86_64": 317, "aarch64": 277}
SECCOMP_GET_ACTION_AVAIL = 2


def is_available() -> bool:
    """Says whether this kernel filters calls, and we know its calls' numbers."""
    machine = platform.machine()
    if sys.platform != "linux" or sys.byteorder != "little" or machine not in MACHINES:
        return False
    action = ctypes.c_uint32(FAIL)
    return libc.syscall(SECCOMP[machine], SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(action)) == 0


@cache
def program(machine: str) -> bytes:
    """The filter: a list of tests, each of which ends it or goes on to the next."""
    column = list(MACHINES).index(machine)
    code: list[tuple[int, int, int, int]] = [
        (LOAD, 0, 0, MACHINE_AT),
        (EQUAL, 1, 0, MACHINES[machine]),
        (RETURN, 0, 0, KILL),  # calls of another machine's numbering
        (LOAD, 0, 0, CALL_AT),
    ]
    for line in ALLOWED.replace("\n", " ").split(","):
        number = line.split()[1 + column]
        if number != "-":
            code += [(EQUAL, 0, 1, int(number)), (RETURN, 0, 0, ALLOW)]
    code += [(EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, FAIL | errno.ENOSYS)]
    for numbers in DONE:
        code += [(EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, FAIL | 0)]
    for condition in CONDITIONS:
        tests, condition_number = _tests(condition), condition.numbers[column]
        if condition_number is not None:
            code += [(EQUAL, 0, len(tests), condition_number), *tests]
    code.append((RETURN, 0, 0, FAIL | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _tests(condition: Condition) -> list[tuple[int, int, int, int]]:
    """Ends the filter either way. The lower half of the argument decides: all of these are 32 bits or flags in them."""
    load = (LOAD, 0, 0, ARGUMENTS_AT + 8 * condition.argument)
    allow, refuse = (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, FAIL | errno.EPERM)
    if condition.has:
        return [load, (ANY_BIT, 0, 1, condition.has), allow, refuse]
    if condition.has_not:
        refused = ([load, (AND, 0, 0, bits), (EQUAL, 0, 1, value), refuse] for bits, value in condition.has_not)
        return [*(part for one in refused for part in one), allow]
    return [load, *(part for value in condition.is_one_of for part in ((EQUAL, 0, 1, value), allow)), refuse]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def apply() -> None:
    """This thread, and every thread that it makes, is under the filter for good. Needs no_new_privs. Raises OSError."""
    code = program(platform.machine())
    filled = _Program(len(code) // 8, code)
    called(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filled), 0, 0), "seccomp")
