"""`manage.py up`: one command starts everything, and nothing outlives it, however it ends."""

import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from config.embedded import SOCKET_PATH_BYTES_MAX, socket_folder
from tests.instance import PATIENCE_SECONDS, ROOT, Instance, until

Make = Callable[..., Instance]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that every user of the machine can pass."""
    with tempfile.TemporaryDirectory(prefix="holdfast-up-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module")
def make(folder: Path) -> Iterator[Make]:
    made: list[Instance] = []

    def make(name: str, **options: str | None) -> Instance:
        made.append(Instance(folder / name, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for instance in made:
        instance.stop()


@pytest.fixture(scope="module")
def first(make: Make) -> Instance:
    """The instance that most tests here share, with its database made."""
    return make("first").start().ready()


def grow_from(first: Instance, other: Instance) -> None:
    """The other instance has a copy of the first one's database, which spares it a first start."""
    other.data_dir.mkdir(parents=True)
    subprocess.run(["cp", "-a", str(first.data_dir / "postgres"), str(other.data_dir)], check=True)


@pytest.fixture
def running(first: Instance) -> Instance:
    if not first.is_running:
        first.start().ready()
    until(lambda: answers(first), PATIENCE_SECONDS, "it answers")
    return first


@pytest.fixture
def stopped(first: Instance) -> Instance:
    first.stop()
    return first


def test_it_says_ready_once_and_the_worker_answers(stopped: Instance) -> None:
    first = stopped.start().ready()
    assert [line for line in first.lines if line.startswith("ready ")] == [f"ready {first.url}"]
    assert first.get("/healthz") == (200, {"status": "alive"})
    status, body = until(lambda: (answer := first.get("/readyz"))[0] == 200 and answer, PATIENCE_SECONDS, "readyz")
    assert status == 200
    assert body["checks"] == dict.fromkeys(("database", "migrations", "worker", "storage", "tools"), "ok")


def test_a_second_up_on_the_same_folder_is_refused(running: Instance) -> None:
    second = Instance(running.data_dir).start()
    assert second.ended() == 1
    assert "already runs" in "\n".join(second.errors)


def test_a_port_in_use_is_named(make: Make) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        other = make("no-port", port=port).start()
        assert other.ended() == 1
    assert f"127.0.0.1:{port} cannot be used" in "\n".join(other.errors)
    other.nothing_left()


def test_buying_is_rehearsed_at_an_address_that_stays(stopped: Instance) -> None:
    found = []
    for _ in range(2):
        stopped.start().ready()
        found.append((stopped.data_dir / "run" / "stripe.url").read_text().strip())
        until(lambda: is_alive(found[-1]), PATIENCE_SECONDS, "the small Stripe answers")
        stopped.stop()
    assert found[0] == found[1]


def is_alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_commands_work_beside_it(running: Instance) -> None:
    assert running.command("migrate", "--check").returncode == 0


@pytest.mark.parametrize(
    "word", ["postgres", "gunicorn", "config.queue", "tools_registry.runner", "billing.stripe_stand_in"]
)
def test_what_is_killed_is_started_again(running: Instance, word: str) -> None:
    (old,) = running.children(word)
    os.kill(old, signal.SIGKILL)
    until(lambda: [pid for pid in running.children(word) if pid != old], PATIENCE_SECONDS, f"{word} is back")
    until(lambda: answers(running), PATIENCE_SECONDS, "everything answers again")


def answers(instance: Instance) -> bool:
    try:
        return instance.get("/readyz")[0] == 200
    except OSError:
        return False


def test_a_web_process_that_is_killed_takes_nothing_with_it(running: Instance) -> None:
    (arbiter,) = running.children("gunicorn")
    workers = [pid for pid, command in running.processes().items() if "gunicorn" in command and pid != arbiter]
    os.kill(workers[0], signal.SIGKILL)
    until(lambda: answers(running), PATIENCE_SECONDS, "it answers")
    assert running.children("gunicorn") == [arbiter]


def test_control_c_ends_everything_within_seconds(running: Instance) -> None:
    assert running.stop(signal.SIGINT, seconds=60) == 0  # its children, which sleep or serve, would stay for ever
    running.nothing_left()


def test_commands_work_without_it_and_leave_nothing(stopped: Instance) -> None:
    assert stopped.command("migrate", "--check").returncode == 0
    stopped.nothing_left()


def test_two_commands_share_one_server_until_the_last_has_ended(stopped: Instance) -> None:
    waits = "import sys, time; from django.db import connection as c; c.cursor().execute('SELECT 1'); "
    both = [
        subprocess.Popen(
            [
                sys.executable,
                "manage.py",
                "shell",
                "-v",
                "0",
                "-c",
                waits + f"time.sleep({seconds}); c.cursor().execute('SELECT 1')",
            ],
            cwd=ROOT,
            env=stopped.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seconds in (0.5, 3)
    ]
    for process in both:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, errors
    stopped.nothing_left()


def test_the_worker_runs_alone_too_and_leaves_nothing(stopped: Instance) -> None:
    for signal_number in (signal.SIGINT, signal.SIGKILL):
        began = time.time()
        process = subprocess.Popen(
            [sys.executable, "manage.py", "worker"],
            cwd=ROOT,
            env=stopped.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        until(
            lambda began=began: any(file.stat().st_mtime > began for file in (stopped.data_dir / "run").glob("*.beat")),
            PATIENCE_SECONDS,
            "it answers",
        )
        process.send_signal(signal_number)
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert "The worker runs" in said
        stopped.nothing_left()


def test_kill_9_leaves_nothing_and_a_restart_at_once_is_ready(stopped: Instance) -> None:
    stopped.start().ready()
    stopped.kill()
    stopped.start().ready()
    stopped.kill()
    stopped.nothing_left()


def test_a_pid_file_that_names_a_stranger_or_is_cut_off_stops_nothing(stopped: Instance) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        for content in (f"{bystander.pid}\n{stopped.data_dir}/postgres\n", "", "12"):
            (stopped.data_dir / "postgres" / "postmaster.pid").write_text(content)
            assert stopped.command("migrate", "--check").returncode == 0
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_child_that_ends_again_and_again_makes_it_give_up(stopped: Instance) -> None:
    broken = Instance(stopped.data_dir, port=stopped.port, GUNICORN_CMD_ARGS="--no-such-option").start()
    assert broken.ended() == 1
    assert "The web server ended 5 times within a minute; giving up." in "\n".join(broken.errors)
    broken.nothing_left()


def test_it_starts_from_a_path_of_150_characters_beside_another(make: Make, stopped: Instance) -> None:
    name = "deep/" + "x" * (145 - len(str(stopped.data_dir.parent)))
    deep = make(name)
    assert len(str(deep.data_dir)) >= 150 > SOCKET_PATH_BYTES_MAX
    grow_from(stopped, deep)
    deep.start()
    stopped.start().ready()
    deep.ready()
    status = socket_folder(deep.data_dir).stat()
    assert status.st_mode & 0o777 == 0o700
    deep.kill()
    deep.start().ready()
    assert stopped.get("/healthz")[0] == deep.get("/healthz")[0] == 200
    assert deep.stop() == stopped.stop() == 0
    deep.nothing_left()
    stopped.nothing_left()
    socket_folder(deep.data_dir).rmdir()


@pytest.mark.parametrize(
    ("environment", "options", "names"),
    [
        ({"OPENAI_API_KEY": "sk-real"}, [], ["OPENAI_API_KEY", "HOLDFAST_DEMO=false"]),
        ({"COMFYUI_URLS": "https://comfy.example.org"}, [], ["COMFYUI_URLS"]),
        ({"STRIPE_SECRET_KEY": "sk_test_1"}, [], ["STRIPE_SECRET_KEY"]),
        ({"DATABASE_URL": "postgres://u@db.example.org/x", "HOLDFAST_DEMO": "true"}, [], ["DATABASE_URL"]),
        ({}, ["--host", "0.0.0.0"], ["--host", "HOLDFAST_DEMO=false"]),
        ({"DATABASE_URL": "postgres://u@127.0.0.1:1/x"}, [], ["does not answer", "DATABASE_URL"]),
    ],
)
def test_an_unsafe_mix_is_refused_by_the_name_of_the_setting(
    folder: Path, environment: dict[str, str], options: list[str], names: list[str]
) -> None:
    refused = Instance(folder / "refused", **environment).start(*options)
    assert refused.ended() != 0
    said = "\n".join(refused.errors)
    for name in names:
        assert name in said, said
    assert not refused.lines


def test_a_server_that_may_lose_what_it_acknowledged_is_refused(stopped: Instance) -> None:
    configuration = stopped.data_dir / "postgres" / "postgresql.auto.conf"
    before = configuration.read_text()
    configuration.write_text(before + "synchronous_commit = off\n")
    try:
        stopped.start()
        assert stopped.ended() != 0
        assert "synchronous_commit is off" in "\n".join(stopped.errors)
    finally:
        configuration.write_text(before)
    stopped.nothing_left()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")


@needs_root
def test_an_ordinary_user_runs_it_too(make: Make, folder: Path) -> None:
    home = folder / "of-nobody"
    home.mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    instance = make("of-nobody/data", user="nobody", HOME=str(home)).start().ready()
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in instance.processes()}
    assert owners == {nobody.pw_uid}
    with psycopg.connect(host=str(socket_folder(instance.data_dir)), user="holdfast", dbname="holdfast") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert instance.stop() == 0
    instance.nothing_left()


@needs_root
def test_a_folder_of_someone_else_is_named_with_its_owner(first: Instance) -> None:
    stranger = Instance(first.data_dir, user="nobody", SECRET_KEY="k" * 60).start()
    assert stranger.ended() == 1
    assert f"{first.data_dir} belongs to root" in "\n".join(stranger.errors)


@needs_root
def test_a_folder_that_the_database_cannot_pass_is_opened_for_passing_only(
    make: Make, stopped: Instance, folder: Path
) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    instance = make("closed/data")
    grow_from(stopped, instance)
    instance.start().ready()
    until(lambda: f"Adding o+x to {closed}" in "\n".join(instance.errors), 60, "it is said")
    assert closed.stat().st_mode & 0o777 == 0o701
    assert instance.stop() == 0
