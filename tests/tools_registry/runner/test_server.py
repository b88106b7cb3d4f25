"""The server: many runs at once, none left behind, begun again when it was killed, gone with whoever started it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import site
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.instance import until
from tests.tools_registry.runner.conftest import ACTS, ORDINARY, ROOT, as_user
from tests.tools_registry.runner.somebody import ALSO
from tools_registry.runner import Runner, command, door, environment, protections
from tools_registry.runner.server import SCRATCH_PREFIX, slots
from tools_registry.studio import Limits, decode


@pytest.fixture
def fresh() -> Iterator[Runner]:
    """A runner of the test's own."""
    runner = Runner(ALSO, at_once=4)
    yield runner
    runner.close()


def server_of(runner: Runner) -> psutil.Process:
    runner.run(f"{ACTS}:double", {"number": 1}, {}, ORDINARY)
    assert runner._own is not None
    return psutil.Process(runner._own[0].pid)


def scratch_of(server: psutil.Process) -> list[str]:
    (folder,) = Path("/tmp").glob(f"{SCRATCH_PREFIX}{server.pid}-*")
    return os.listdir(folder)


def in_background(runner: Runner, act: str, limits: Limits = ORDINARY, **inputs: Any) -> Callable[[], Any]:
    """A run that goes on while the test does; call it for what came of it."""
    pool = ThreadPoolExecutor(1)
    return pool.submit(runner.run, f"{ACTS}:{act}", inputs, {}, limits).result


def test_files_and_inputs_arrive_and_come_back(runner: Runner) -> None:
    files = {"first": b"\x00" * 8_000_000, "second": b""}
    ran = runner.run(f"{ACTS}:double", {"number": 1.5, "text": "ä\ud83d\ude00 \x00"}, files, ORDINARY)
    result = decode(ran.output)
    assert result.result == {"twice": 3, "lengths": {"first": 8_000_000, "second": 0}}
    assert [(file.name, file.content) for file in result.files] == [("made.txt", b"made")]


@pytest.mark.parametrize(
    "function",
    [
        "os:system",
        "builtins:eval",
        "tools_registry.studio:encode",
        "tools_registry.studiosx.one:two",
        "tests.tools_registry.runner.somebody:main",
        "",
        ":",
        "tools_registry.studios",
    ],
)
def test_nothing_outside_the_studios_is_called(runner: Runner, function: str) -> None:
    with pytest.raises(ValueError, match="no tool's function"):
        runner.run(function, {}, {}, ORDINARY)


@pytest.mark.parametrize(
    "function",
    [
        f"{ACTS}:nothing",
        f"{ACTS}:not_a_function",
        f"{ACTS}:os.system",
        f"{ACTS}:Path",
        f"{ACTS}:Result",
        f"{ACTS}:",
        "tools_registry.studios.nowhere:function",
    ],
)
def test_only_functions_that_a_loaded_tool_defined_are_called(runner: Runner, function: str) -> None:
    ran = runner.run(function, {}, {}, ORDINARY)
    assert ran.stopped == "crash"
    assert str(ran.error).startswith(f"There is no function {function} below tools_registry.studios")


def test_our_own_runner_knows_no_functions_of_tests() -> None:
    with pytest.raises(ValueError, match="no tool's function"):
        Runner().run(f"{ACTS}:double", {"number": 1}, {}, ORDINARY)
    server = Runner()
    server.packages = (*server.packages, *ALSO)  # a client that would let it pass
    first = door()
    assert "--also" not in command(first[1].fileno())


def test_twenty_at_once_take_their_turns(fresh: Runner) -> None:
    server = server_of(fresh)
    most = [0]
    is_over = threading.Event()

    def count() -> None:
        while not is_over.wait(0.01):
            most[0] = max(most[0], len(server.children()))

    counter = threading.Thread(target=count)
    counter.start()
    with ThreadPoolExecutor(20) as pool:
        ran = list(pool.map(lambda number: fresh.run(f"{ACTS}:sleep", {"seconds": 0.1}, {}, ORDINARY), range(20)))
        answers = list(
            pool.map(lambda number: fresh.run(f"{ACTS}:double", {"number": number}, {}, ORDINARY), range(20))
        )
    is_over.set()
    counter.join()
    assert [one.stopped for one in ran] == [None] * 20
    assert [decode(one.output).result["twice"] for one in answers] == [2 * number for number in range(20)]
    assert 1 < most[0] <= 4
    assert server.children() == []


def test_after_two_hundred_runs_nothing_is_left(fresh: Runner) -> None:
    server = server_of(fresh)
    open_there, open_here = server.num_fds(), psutil.Process().num_fds()
    for number in range(200):
        act = ("double", "fail", "leave_hard", "leave_threads", "use_scratch")[number % 5]
        fresh.run(f"{ACTS}:{act}", {"number": number}, {}, ORDINARY)
    assert server.children() == []
    assert psutil.Process().num_fds() <= open_here  # fewer, where something of an earlier test was let go meanwhile
    until(lambda: server.num_fds() <= open_there, 60, "no more open files than before")
    assert scratch_of(server) == []


def test_a_run_ends_when_whoever_asked_for_it_is_gone(runner: Runner) -> None:
    ours, theirs = door()
    with theirs:
        process = subprocess.Popen(
            command(theirs.fileno(), ALSO), env=environment(), pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
        )
    script = f"""
        import sys
        from tools_registry.runner import Runner
        from tools_registry.studio import Limits
        runner = Runner({ALSO!r})
        runner.join({ours.fileno()})
        runner.run("{ACTS}:sleep", {{"seconds": 1000}}, {{}}, Limits(cpu_seconds=5, seconds=1000))
    """
    client = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, env={"PATH": ""}, pass_fds=(ours.fileno(),)
    )
    try:
        server = psutil.Process(process.pid)
        asleep = until(server.children, 60, "a run")
        os.kill(client.pid, signal.SIGKILL)
        client.wait()
        until(lambda: not server.children(), 60, "the run ended")
        assert not asleep[0].is_running()
    finally:
        client.kill()
        client.wait()
        process.terminate()
        process.wait(5)
        ours.close()


def test_a_killed_server_is_started_again_and_the_run_begun_again(fresh: Runner) -> None:
    server = server_of(fresh)
    answer = in_background(fresh, "sleep", seconds=1)
    child = until(server.children, 60, "a run")[0]
    server.kill()
    ran = answer()
    assert decode(ran.output).result == {"slept": True}
    until(lambda: not child.is_running(), 60, "its child ended with it")
    assert server_of(fresh).pid != server.pid


def test_a_server_behind_a_joined_door_may_be_replaced(fresh: Runner) -> None:
    """As under the supervisor, which keeps both sides of the door."""
    ours, theirs = door()
    start = lambda: subprocess.Popen(  # noqa: E731
        command(theirs.fileno(), ALSO), env=environment(), pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
    )
    fresh.join(ours.fileno())
    answer = in_background(fresh, "double", number=4)
    first = start()
    try:
        assert decode(answer().output).result["twice"] == 8
        first.kill()
        first.wait()
        answer = in_background(fresh, "double", number=5)  # asked before there is a server
        first = start()
        assert decode(answer().output).result["twice"] == 10
        assert fresh._own is None
    finally:
        first.kill()
        first.wait()
        ours.close()
        theirs.close()


def test_no_stranger_is_taken_for_a_door(fresh: Runner) -> None:
    """A process may have inherited our environment and not our open files."""
    stream, other = socket.socketpair()
    with stream, other, Path("/dev/null").open() as file:
        for number in (stream.fileno(), file.fileno(), 900):
            fresh.join(number)
    assert decode(fresh.run(f"{ACTS}:double", {"number": 1}, {}, ORDINARY).output).result["twice"] == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_its_owner(number: signal.Signals) -> None:
    script = f"""
        import signal, threading, time
        from tools_registry.runner import Runner
        from tools_registry.studio import Limits
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
        runner = Runner({ALSO!r})
        limits = Limits(cpu_seconds=5, seconds=1000)
        for _ in range(2):
            threading.Thread(target=runner.run, args=("{ACTS}:sleep", {{}}, {{}}, limits), daemon=True).start()
        time.sleep(1000)
    """
    owner = psutil.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, stderr=subprocess.DEVNULL)
    started = until(lambda: len(found := owner.children(recursive=True)) >= 3 and found, 60, "server and two runs")
    owner.send_signal(number)
    owner.wait(20)
    until(lambda: not any(one.is_running() for one in started), 60, "none of them is left")
    # A thread that tries again at the end would leave a server that nobody closes.
    assert not [one for one in psutil.process_iter(["cmdline"]) if f"{owner.pid}" in after(one, "--parent")]


def after(process: psutil.Process, word: str) -> list[str]:
    """What follows this word in the process's command."""
    said = process.info["cmdline"] or []
    return [following for one, following in itertools.pairwise(said) if one == word]


def test_a_forked_process_has_a_server_of_its_own(fresh: Runner) -> None:
    first = server_of(fresh)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            server = server_of(fresh)
            os.write(writing, json.dumps([server.pid, server.ppid()]).encode())
            fresh.close()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    second, parent = json.loads(os.read(reading, 100))
    os.close(reading)
    os.close(writing)
    assert (second != first.pid, parent) == (True, pid)
    assert server_of(fresh).pid == first.pid


def test_the_server_has_no_file_of_ours_and_no_word_of_our_environment(fresh: Runner) -> None:
    os.environ["A_SECRET_OF_OURS"] = "a secret"
    try:
        with Path("/etc/hostname").open() as file:
            os.set_inheritable(file.fileno(), True)
            server = server_of(fresh)
    finally:
        del os.environ["A_SECRET_OF_OURS"]
    assert set(server.environ()) <= {*environment(), "LC_CTYPE"}
    targets = {os.readlink(f"/proc/{server.pid}/fd/{name}") for name in os.listdir(f"/proc/{server.pid}/fd")}
    kinds = {target.partition(":")[0] for target in targets}
    assert "/etc/hostname" not in targets
    assert kinds <= {"/dev/null", "socket", "pipe", "anon_inode", os.readlink("/proc/self/fd/2")}
    loaded = Path(f"/proc/{server.pid}/maps").read_text()
    assert "psycopg" not in loaded


def test_one_run_finds_nothing_of_another_where_it_may_look(fresh: Runner) -> None:
    server = server_of(fresh)
    answer = in_background(fresh, "sleep", seconds=1)
    first = until(server.children, 60, "a run")[0]
    for path in (str(next(Path("/tmp").glob(f"{SCRATCH_PREFIX}{server.pid}-*"))), f"/proc/{first.pid}/fd"):
        assert fresh.run(f"{ACTS}:look_around", {"path": path}, {}, ORDINARY).stopped == "crash"
    assert decode(answer().output).result == {"slept": True}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into its memory")
def test_no_run_has_in_its_memory_what_another_was_given(fresh: Runner) -> None:
    """A child is a copy of the server, so the server must never have had it."""
    server = server_of(fresh)
    secrets = [f"a secret of run {number}: {os.urandom(8).hex()}" for number in range(3)]
    runs: list[psutil.Process] = []
    answers = []
    for secret in secrets:
        answers.append(in_background(fresh, "wait_for_a_file", Limits(cpu_seconds=60, seconds=60), note=secret))
        runs.append(until(lambda: [one for one in server.children() if one not in runs], 60, "a run")[0])
    (folder,) = Path("/tmp").glob(f"{SCRATCH_PREFIX}{server.pid}-*")
    until(lambda: len(list(folder.glob("*/waiting"))) == 3, 60, "all of them have read what they were given")
    found = [[secret.encode() in memory for secret in secrets] for memory in map(memory_of, [*runs, server])]
    assert found == [[True, False, False], [False, True, False], [False, False, True], [False, False, False]]
    for scratch in folder.iterdir():
        (scratch / "go").touch()
    for answer in answers:
        assert decode(answer().output).result == {"waited": True}


def memory_of(process: psutil.Process) -> bytes:
    """All that a process could read of itself."""
    found = []
    with Path(f"/proc/{process.pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            begin, end = (int(part, 16) for part in span.split("-"))
            if rights.startswith("rw"):
                memory.seek(begin)
                found.append(memory.read(end - begin))
    return b"".join(found)


def test_what_is_no_order_is_left_at_the_door(fresh: Runner) -> None:
    before = server_of(fresh).num_fds()
    assert fresh._own is not None
    _, at_door = fresh._own
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for message in (b"", b"{", b"[]", b'{"function": "x"}', b'{"function": "x", "limits": {"a": 1}}', b"x" * 9000):
            at_door.send(message)
            socket.send_fds(at_door, [message], [theirs.fileno()])
            socket.send_fds(at_door, [message], [theirs.fileno()] * 3)
    server = server_of(fresh)
    until(lambda: server.num_fds() <= before, 60, "nothing is kept of them")


def test_a_run_that_waits_too_long_for_its_turn_is_given_up(fresh: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools_registry.runner.client.QUEUE_SECONDS_MAX", 0.2)
    single = Runner(ALSO, at_once=1)
    try:
        single.run(f"{ACTS}:double", {"number": 1}, {}, Limits(cpu_seconds=1, seconds=20))
        going_on = in_background(single, "sleep", seconds=3)
        assert single._own is not None
        until(psutil.Process(single._own[0].pid).children, 60, "the one run")
        ran = single.run(f"{ACTS}:double", {"number": 1}, {}, Limits(cpu_seconds=1, seconds=1))
        assert (ran.stopped, ran.error) == ("time", "No run could begin within 0 seconds.")
        assert going_on().stopped in (None, "time")
    finally:
        single.close()


def test_this_machine_has_everything() -> None:
    assert protections().missing == []


def test_left_overs_of_a_killed_server_are_removed_by_the_next(fresh: Runner) -> None:
    server = server_of(fresh)
    (folder,) = Path("/tmp").glob(f"{SCRATCH_PREFIX}{server.pid}-*")
    server.kill()
    until(lambda: server_of(fresh).pid != server.pid, 60, "another server")
    assert not folder.exists()


def test_servers_side_by_side_share_no_user() -> None:
    taken = [number for pid in range(31_000, 31_100) for number in slots(pid, 4)]
    assert len(set(taken)) == len(taken) == 400
    assert {0 <= number < 500 for number in slots(4_194_304, 500)} == {True}


def test_a_folder_that_was_swept_away_is_made_again(fresh: Runner) -> None:
    """As systemd does in /tmp with what nobody has used for ten days."""
    server = server_of(fresh)
    (folder,) = Path("/tmp").glob(f"{SCRATCH_PREFIX}{server.pid}-*")
    folder.rmdir()
    assert fresh.run(f"{ACTS}:use_scratch", {}, {}, ORDINARY).stopped is None
    assert server_of(fresh).pid == server.pid


@pytest.mark.skipif(sys.platform != "linux", reason="by another process's limits")
def test_a_run_waits_while_the_machine_has_no_process_more() -> None:
    """A server that ended each time would take everything with it: the supervisor gives up after five."""
    script = f"""
        import json, resource, time
        from concurrent.futures import ThreadPoolExecutor
        from tools_registry.runner import Runner
        from tools_registry.studio import Limits, decode
        runner = Runner({ALSO!r}, at_once=2)
        run = lambda number: runner.run("{ACTS}:double", {{"number": number}}, {{}}, Limits(cpu_seconds=5, seconds=10))
        run(1)
        server = runner._own[0].pid
        _, most = resource.prlimit(server, resource.RLIMIT_NPROC)
        resource.prlimit(server, resource.RLIMIT_NPROC, (0, most))
        answer = ThreadPoolExecutor(1).submit(run, 2)
        time.sleep(0.5)
        is_waiting = not answer.done()
        resource.prlimit(server, resource.RLIMIT_NPROC, (most, most))
        print(json.dumps([is_waiting, decode(answer.result().output).result["twice"], runner._own[0].pid == server]))
    """
    python, of_user = as_user("nobody" if os.geteuid() == 0 else None)  # of root, processes are not counted
    said = subprocess.run(
        [python, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        env={"PYTHONPATH": os.pathsep.join(site.getsitepackages())},
        check=True,
        capture_output=True,
        **of_user,
    )
    assert json.loads(said.stdout) == [True, 4, True]
    assert said.stderr.count(b"no run can begin") == 1


def test_what_the_server_has_by_now_is_no_use_of_a_run() -> None:
    script = f"""
        import os, socket
        from tests.tools_registry.runner.culprits import acts
        from tools_registry.runner import server
        from tools_registry.runner.child import pack, room_bytes
        from tools_registry.runner.memory import empty_room, filled
        from tools_registry.studio import Limits
        door, line = socket.socketpair()
        one = server.Server(door, os.getppid(), ("tools_registry.studios", {ALSO[0]!r}), 2)
        one.measure_idle()
        grown = b"x" * 50_000_000
        limits = Limits(cpu_seconds=5, seconds=10)
        files = filled(pack({{"number": 1}}, {{}})), empty_room(room_bytes(limits))
        ours, theirs = socket.socketpair()
        one.begin(server.Order("{ACTS}:double", limits, *files, theirs))
        while one.runs:
            one.bury()
        one.folder.rmdir()
        print(ours.recv(4096).decode())
    """
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    verdict = json.loads(said.stdout)
    assert verdict["stopped"] is None
    assert verdict["peak_memory_bytes"] < 5_000_000


def test_a_small_run_is_warm(runner: Runner) -> None:
    """It pays for none of what its server did at its start. The figure itself is the benchmark's."""
    began = server_of(runner).cpu_times()
    took = [runner.run(f"{ACTS}:double", {"number": 1}, {}, ORDINARY).cpu_seconds for _ in range(20)]
    assert sorted(took)[10] < (began.user + began.system) / 10
