"""Children that end when their parent does, however it dies: the kernel is asked, once in each child."""

import ctypes
import os
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def ends_with_parent(parent: int, signal_number: int) -> Callable[[], None]:
    """A function for a fresh child: the kernel sends it this signal when its parent dies."""

    def ask_kernel() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return ask_kernel


def forks_end_with_us(signal_number: int) -> None:
    """Every process that this one and its descendants fork from now on ends with the process that forked it."""
    forking = [os.getpid()]

    def before() -> None:
        forking[0] = os.getpid()

    def in_child() -> None:
        ends_with_parent(forking[0], signal_number)()

    os.register_at_fork(before=before, after_in_child=in_child)
