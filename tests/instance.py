"""A real `manage.py up` with a data folder and port of its own, for tests that need everything running."""

import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOT_INHERITED = re.compile(
    r"^(HOLDFAST_|DJANGO_|PYTEST|DATABASE_URL|REDIS_URL|EMAIL_URL|OPENAI_|COMFYUI_|STRIPE_|SECRET_KEY)"
)
PATIENCE_SECONDS = 300.0  # for what comes within seconds, or never


_claims: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody listens on, and that no other process of the tests, nor the kernel, gives to anybody else."""
    for port in range(20_000 + os.getpid() % 5_000, 32_000):  # below those that the kernel chooses from
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0holdfast-tests-{port}")
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)  # until this process ends
        return port
    raise AssertionError("every port is taken")


def until(is_true: Callable[[], Any], seconds: float, what: str) -> Any:
    """What the function returned when it was first true; fails with `what` after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        found = is_true()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def _can_run(user: str, program: str) -> bool:
    done = subprocess.run(["/usr/sbin/runuser", "-u", user, "--", program, "-c", ""], capture_output=True, check=False)
    return done.returncode == 0


class Instance:
    """One `up`, its output, and all of its processes."""

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        user: str | None = None,
        root: Path = ROOT,
        **environment: str,
    ) -> None:
        self.data_dir = data_dir
        self.root = root
        self.port = port or free_port()
        self.user = user
        inherited = {name: value for name, value in os.environ.items() if not NOT_INHERITED.match(name)}
        self.environment = inherited | {"HOLDFAST_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"} | environment
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []
        self.errors: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """`up` itself lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def _python(self) -> str:
        """A Python that the user can run, with our packages: root's own may stand in root's home."""
        if self.user is None or _can_run(self.user, sys.executable):
            return sys.executable
        system = f"/usr/bin/python3.{sys.version_info.minor}"
        assert _can_run(self.user, system), f"{self.user} can run neither {sys.executable} nor {system}"
        self.environment["PYTHONPATH"] = sysconfig.get_path("purelib")
        return system

    def _as_user(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        row = pwd.getpwnam(self.user)
        return {"user": row.pw_uid, "group": row.pw_gid, "extra_groups": []}

    def start(self, *options: str) -> "Instance":
        """`up` has been started; it may not answer yet."""
        self.lines, self.errors = [], []
        self.process = subprocess.Popen(
            [self._python, "manage.py", "up", "--port", str(self.port), *options],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **self._as_user(),
        )
        pipes = ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        self._readers = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in pipes]
        for reader in self._readers:
            reader.start()
        return self

    @staticmethod
    def _read(pipe: Any, lines: list[str]) -> None:
        with pipe:
            for line in pipe:
                lines.append(line.rstrip("\n"))

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def ready(self, seconds: float = PATIENCE_SECONDS) -> "Instance":
        """It said that it is ready."""
        process = self.process
        assert process is not None

        def said_ready() -> bool:
            assert process.poll() is None, f"up ended ({process.returncode}):\n" + "\n".join(self.errors[-30:])
            return any(line.startswith("ready http://") for line in self.lines)

        until(said_ready, seconds, "ready. It said:\n" + "\n".join(self.errors[-30:]))
        return self

    def ended(self) -> int:
        """Its exit code, once it has ended by itself and everything that it said has been read."""
        assert self.process is not None
        code = self.process.wait(PATIENCE_SECONDS)
        for reader in self._readers:
            reader.join(PATIENCE_SECONDS)
        return code

    def kill(self) -> None:
        """`up` itself got no chance to do anything."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, signal_number: int = signal.SIGINT, seconds: float = PATIENCE_SECONDS) -> int:
        """It was asked to end and did; returns its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(seconds)

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Another command of manage.py on the same data folder has run."""
        done = subprocess.run(
            [self._python, "manage.py", *words],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
            **self._as_user(),
        )
        assert not check or done.returncode == 0, f"{words} → {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def get(self, path: str) -> tuple[int, Any]:
        """Status and body of an address; the body as JSON where it is."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=60) as answer:
                status, body, kind = answer.status, answer.read(), answer.headers.get_content_type()
        except urllib.error.HTTPError as error:
            status, body, kind = error.code, error.read(), error.headers.get_content_type()
        return status, json.loads(body) if kind == "application/json" else body.decode()

    def processes(self) -> dict[int, str]:
        """Every living process that belongs to this data folder, whoever is its parent now."""
        found = {}
        mine = bytes(self.data_dir)
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if folder.joinpath("stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX":
                    continue
                command = folder.joinpath("cmdline").read_bytes()
                place = os.readlink(folder / "cwd").encode()
                if mine in command or place.startswith(mine) or mine + b"\0" in folder.joinpath("environ").read_bytes():
                    found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace")[:120]
            except (OSError, IndexError):
                continue
        return found

    def children(self, word: str) -> list[int]:
        """The direct children of `up` whose command line has the word."""
        assert self.process is not None
        found = []
        for pid, command in self.processes().items():
            with suppress(OSError):
                parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent == self.process.pid and word in command:
                    found.append(pid)
        return found

    def nothing_left(self, seconds: float = 60) -> None:
        """None of its processes lives."""
        until(lambda: not self.processes(), seconds, f"no process left: {self.processes()}")
