"""What tools do, well and badly: one function each."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tools_registry.studio import BadInput, File, Result

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
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("written")
        file.seek(0)
        return Result({"read": file.read(), "names": len(os.listdir(".")), "folder": str(Path.cwd())})


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


def give_what_is_no_json(inputs: Inputs, files: Files) -> Result:
    return Result({"what": object()})
