"""Another user: lines of JSON in, what came of each run out. `python -m tests.tools_registry.runner.somebody`."""

import base64
import ctypes
import errno
import json
import os
import platform
import struct
import sys
from dataclasses import asdict

from tools_registry.runner import Ran, Runner, landlock, protections, seccomp
from tools_registry.runner.kernel import called, libc
from tools_registry.studio import Limits

ALSO = ["tests.tools_registry.runner.culprits"]


def written(ran: Ran) -> str:
    return json.dumps(asdict(ran) | {"output": base64.b64encode(ran.output).decode()}, default=str)


def be_older(calls: list[int]) -> None:
    """The kernel answers this process and its children as one that does not know these calls."""
    code = [(seccomp.LOAD, 0, 0, seccomp.CALL_AT)]
    for number in calls:
        code += [(seccomp.EQUAL, 0, 1, number), (seccomp.RETURN, 0, 0, seccomp.FAIL | errno.ENOSYS)]
    code.append((seccomp.RETURN, 0, 0, seccomp.ALLOW))
    filled = seccomp._Program(len(code), b"".join(struct.pack("=HBBI", *one) for one in code))
    called(libc.prctl(38, 1, 0, 0, 0), "no new privileges")
    called(libc.prctl(seccomp.PR_SET_SECCOMP, seccomp.SECCOMP_MODE_FILTER, ctypes.byref(filled), 0, 0), "seccomp")


def be_less_than_root() -> None:
    """Root, as some containers have it: it may become another user, and may not end what is that user's."""
    drop, kill = 24, 5  # PR_CAPBSET_DROP, CAP_KILL
    called(libc.prctl(drop, kill, 0, 0, 0), "drop a right")


WITHOUT = {"landlock": [landlock.CREATE], "seccomp": [seccomp.SECCOMP.get(platform.machine(), 0)]}


def main() -> None:
    if "kill" in sys.argv[1:]:
        be_less_than_root()
        os.execv(
            sys.executable, [sys.executable, "-m", "tests.tools_registry.runner.somebody"]
        )  # what a program begins with
    be_older([call for name in sys.argv[1:] for call in WITHOUT[name]])
    runner = Runner(ALSO, at_once=4)
    print(json.dumps(protections().missing), flush=True)
    for line in sys.stdin:
        said = json.loads(line)
        print(written(runner.run(said["function"], said["inputs"], {}, Limits(**said["limits"]))), flush=True)


if __name__ == "__main__":
    main()
