"""What a process that serves another one does first. Knows nothing of Django."""

import ctypes
import os
import signal
import sys


def die_with_parent() -> None:
    """This process is killed when the one that started it ends (Linux)."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)  # 1 is PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
