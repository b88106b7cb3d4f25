"""What tools do, well and badly: one function each."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools_registry.studio import BadInput, File, Result
from tools_registry.studios.scratch import scratch_file

Inputs = dict[str, Any]
Files = dict[str, bytes]

not_a_function = Result({})


def double(inputs: Inputs, files: Files) -> Result:
    lengths = {name: len(content) for name, content in files.items()}
    return Result({"twice": inputs["number"] * 2, "lengths": lengths}, files=[File("made.txt", "text/plain", b"made")])


# Limits


def burn_cpu(inputs: Inputs, files: Files) -> Result:
    while True:
        pass


def burn_cpu_deaf(inputs: Inputs, files: Files) -> Result:
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_IGN)
    return burn_cpu(inputs, files)


def burn_cpu_in_threads(inputs: Inputs, files: Files) -> Result:
    threads = [threading.Thread(target=burn_cpu, args=(inputs, files)) for _ in range(4)]
    for thread in threads:
        thread.start()
    threads[0].join()
    return Result({})


def sleep(inputs: Inputs, files: Files) -> Result:
    time.sleep(inputs.get("seconds", 1000))
    return Result({"slept": True})


def wait_for_a_file(inputs: Inputs, files: Files) -> Result:
    """Somebody puts it into its scratch folder."""
    Path("waiting").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return Result({"waited": True})


def take_memory(inputs: Inputs, files: Files) -> Result:
    taken = []
    while True:
        taken.append(bytearray(4 * 1024 * 1024))


def take_memory_at_once(inputs: Inputs, files: Files) -> Result:
    return Result({"length": len(bytearray(10**12))})


def take_shared_memory(inputs: Inputs, files: Files) -> Result:
    taken = []
    for _ in range(1000):
        taken.append(mmap.mmap(-1, 4 * 1024 * 1024))
        taken[-1].write(b"x" * (4 * 1024 * 1024))
    return Result({})


def _mapped(size: int, flags: int = 0x22) -> int:
    """Private memory without a file, filled; what the kernel says of it otherwise."""
    at = int(_libc().mmap(None, size, 3, flags, -1, 0))
    if at == -1:
        raise OSError(ctypes.get_errno(), "mmap")
    ctypes.memset(at, 1, size)
    return at


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = libc.mremap.restype = ctypes.c_ssize_t
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    libc.mremap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
    libc.mprotect.argtypes = libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return libc


def hide_memory_by_reading_only(inputs: Inputs, files: Files) -> Result:
    """What cannot be written to is not counted by RLIMIT_DATA."""
    for _ in range(10):
        _libc().mprotect(_mapped(8 << 20), 8 << 20, 1)
    return sleep(inputs, files)


def hide_memory_in_the_stack(inputs: Inputs, files: Files) -> Result:
    """Nor is a stack, and a page of it may be moved to where there is room for more."""
    page = (ctypes.c_void_p.in_dll(_libc(), "environ").value or 0) // 4096 * 4096 - 4 * 4096
    at = int(_libc().mremap(page, 4096, 80 << 20, 1))
    ctypes.memset(at, 1, 80 << 20)
    return sleep(inputs, files)


def take_uncounted_memory(inputs: Inputs, files: Files) -> Result:
    _mapped(2 << 20, 0x22 | inputs["flag"])
    return Result({})


def hide_memory_in_swap(inputs: Inputs, files: Files) -> Result:
    if _libc().madvise(_mapped(2 << 20), 2 << 20, 21):
        raise OSError(ctypes.get_errno(), "madvise")
    return Result({})


def use_memory(inputs: Inputs, files: Files) -> Result:
    taken = b"x" * inputs["bytes"]
    return Result({"length": len(taken)})


def make_output(inputs: Inputs, files: Files) -> Result:
    return Result({"text": "x" * inputs["bytes"]})


def fill_scratch(inputs: Inputs, files: Files) -> Result:
    for number in range(1000):
        Path(f"{number}").write_bytes(bytes(8 * 1024 * 1024))
        time.sleep(0.02)
    return Result({})


def make_many_files(inputs: Inputs, files: Files) -> Result:
    for number in range(1_000_000):
        Path(f"{number}").touch()
    return Result({})


def hide_a_file(inputs: Inputs, files: Files) -> Result:
    """It takes room on the disk for as long as it is open or mapped, and has no name to be found by."""
    with Path("hidden").open("wb") as file:
        Path("hidden").unlink()
        file.write(b"x")
    return Result({})


def replace_a_file(inputs: Inputs, files: Files) -> Result:
    for name in ("one", "two"):
        Path(name).touch()
    Path("one").replace("two")
    return Result({})


def open_with(inputs: Inputs, files: Files) -> Result:
    os.close(os.open(inputs["path"], inputs["flags"], 0o600))
    return Result({})


def make_one_large_file(inputs: Inputs, files: Files) -> Result:
    with Path("large").open("wb") as file:
        while True:
            file.write(bytes(1024 * 1024))


def raise_a_limit(inputs: Inputs, files: Files) -> Result:
    for name in (resource.RLIMIT_CPU, resource.RLIMIT_DATA, resource.RLIMIT_NPROC):
        resource.setrlimit(name, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return Result({})


# Other processes


def fork(inputs: Inputs, files: Files) -> Result:
    os.fork()
    return Result({})


def start_a_program(inputs: Inputs, files: Files) -> Result:
    subprocess.run(["/bin/true"], check=True)
    return Result({})


def become_a_program(inputs: Inputs, files: Files) -> Result:
    os.execv("/bin/true", ["true"])


def kill_parent(inputs: Inputs, files: Files) -> Result:
    os.kill(os.getppid(), signal.SIGKILL)
    return Result({})


def kill_everybody(inputs: Inputs, files: Files) -> Result:
    os.kill(-1, signal.SIGKILL)
    return Result({})


def signal_by_a_pipe(inputs: Inputs, files: Files) -> Result:
    """The kernel sends the signal, to whom one likes, when there is something to read."""
    import fcntl

    reading, _ = os.pipe()
    fcntl.fcntl(reading, 8, os.getppid())  # F_SETOWN
    return Result({})


def try_calls(inputs: Inputs, files: Files) -> Result:
    """What the kernel says to these calls, where it is not EPERM."""
    libc = ctypes.CDLL(None, use_errno=True)
    said = {}
    for number in inputs["numbers"]:
        answer = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6)
        if answer != -1 or ctypes.get_errno() != errno.EPERM:
            said[str(number)] = errno.errorcode.get(ctypes.get_errno(), str(answer))
    return Result(said)


def call_as_another_machine(inputs: Inputs, files: Files) -> Result:
    """getpid() by the door of 32-bit programs, whose numbers mean other calls."""
    code = mmap.mmap(-1, 4096, flags=0x22, prot=7)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    return Result({"pid": ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()})


def outlive_the_server(inputs: Inputs, files: Files) -> Result:
    if ctypes.CDLL(None, use_errno=True).prctl(1, 0, 0, 0, 0):  # PR_SET_PDEATHSIG
        raise PermissionError
    return Result({})


def trace_parent(inputs: Inputs, files: Files) -> Result:
    if ctypes.CDLL(None, use_errno=True).ptrace(16, os.getppid(), 0, 0):
        raise PermissionError
    return Result({})


def leave_its_group(inputs: Inputs, files: Files) -> Result:
    os.setsid()
    return Result({})


# The network


def open_inet(inputs: Inputs, files: Files) -> Result:
    socket.socket().connect(("127.0.0.1", inputs["port"]))
    return Result({})


def open_unix(inputs: Inputs, files: Files) -> Result:
    socket.socket(socket.AF_UNIX).connect(inputs["path"])
    return Result({})


def ask_a_name_server(inputs: Inputs, files: Files) -> Result:
    socket.getaddrinfo("example.com", 80)
    return Result({})


# Files and secrets


def read(inputs: Inputs, files: Files) -> Result:
    return Result({"text": Path(inputs["path"]).read_text(errors="replace")})


def look_around(inputs: Inputs, files: Files) -> Result:
    return Result({"names": os.listdir(inputs["path"])})


def write(inputs: Inputs, files: Files) -> Result:
    Path(inputs["path"]).write_text("x")
    return Result({})


def make_a_folder(inputs: Inputs, files: Files) -> Result:
    Path("folder").mkdir()
    return Result({})


def link_to(inputs: Inputs, files: Files) -> Result:
    Path("link").symlink_to(inputs["path"])
    return Result({"text": Path("link").read_text()})


def read_environment_of_parent(inputs: Inputs, files: Files) -> Result:
    return Result({"text": Path(f"/proc/{os.getppid()}/environ").read_text()})


def say_what_it_sees(inputs: Inputs, files: Files) -> Result:
    open_files = []
    for number in range(256):
        try:
            os.fstat(number)
        except OSError:
            continue
        open_files.append(number)
    return Result(
        {
            "environment": dict(os.environ),
            "open": open_files,
            "user": os.getuid(),
            "groups": os.getgroups(),
            "modules": sorted({name.partition(".")[0] for name in sys.modules}),
            "folder": str(Path.cwd()),
            "in_folder": os.listdir("."),
            "at": os.getpid(),
        }
    )


def use_scratch(inputs: Inputs, files: Files) -> Result:
    Path("kept").write_text("mine")
    with scratch_file(".txt") as file:
        file.write_text("written")
        return Result({"read": file.read_text(), "names": len(os.listdir(".")), "folder": str(Path.cwd())})


def load_late(inputs: Inputs, files: Files) -> Result:
    import imaplib  # nobody has loaded it before
    import sqlite3

    with sqlite3.connect(":memory:") as connection:
        return Result({"port": imaplib.IMAP4_PORT, "one": connection.execute("SELECT 1").fetchone()[0]})


# Answers


def find_inputs_wrong(inputs: Inputs, files: Files) -> Result:
    raise BadInput({"spec": "Line 3: a path begins with a slash.", "other": ["One.", "Two."]})


def fail(inputs: Inputs, files: Files) -> Result:
    raise KeyError(f"what was given: {inputs}")


def fail_without_end(inputs: Inputs, files: Files) -> Result:
    return fail_without_end(inputs, files)


def leave(inputs: Inputs, files: Files) -> Result:
    sys.exit(0)


def leave_hard(inputs: Inputs, files: Files) -> Result:
    os._exit(0)


def abort(inputs: Inputs, files: Files) -> Result:
    os.abort()


def fall(inputs: Inputs, files: Files) -> Result:
    ctypes.string_at(0)
    return Result({})


def print_garbage(inputs: Inputs, files: Files) -> Result:
    for number in (1, 2):
        os.write(number, b"\x00garbage" * 100_000)
    print('{"stopped": null}')
    print("garbage", file=sys.stderr)
    return Result({"printed": True})


def forge(inputs: Inputs, files: Files) -> Result:
    """Writes what it likes wherever it can, and leaves."""
    for number in range(64):
        try:
            os.lseek(number, 0, os.SEEK_SET)
            os.write(number, bytes.fromhex(inputs["hex"]))
        except OSError:
            continue
    os._exit(0)


def enlarge_the_room(inputs: Inputs, files: Files) -> Result:
    grown = []
    for number in range(3, 64):
        try:
            os.ftruncate(number, 1 << 22)
            grown.append(number)
        except OSError:
            continue
    return Result({"grown": grown})


def leave_threads(inputs: Inputs, files: Files) -> Result:
    for _ in range(8):
        threading.Thread(target=time.sleep, args=(1000,)).start()
    return Result({"threads": threading.active_count()})


def make_threads_without_end(inputs: Inputs, files: Files) -> Result:
    count = 0
    while True:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        count += 1


def make_small_threads_without_end(inputs: Inputs, files: Files) -> Result:
    """So small that their stacks are no bound."""
    threading.stack_size(32768)
    count = 0
    with suppress(RuntimeError):
        while count < inputs["most"]:
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
            count += 1
    return Result({"threads": count})


def give_what_is_no_json(inputs: Inputs, files: Files) -> Result:
    return Result({"what": object()})
