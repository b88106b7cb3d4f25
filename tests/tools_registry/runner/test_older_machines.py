"""Where the kernel lacks a protection, tools run, held by the rest, and it is said."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.tools_registry.runner.conftest import Somebody, another
from tools_registry.studio import Limits, decode

NO_LANDLOCK = "No Landlock here: a tool could read and change the files that this user can."
NO_STRANGERS = "Root here may not become another user: tools run as root, without its rights."
NO_SECCOMP = "No seccomp here: a tool could reach the network, the database and this user's other programs."
LOW = Limits(cpu_seconds=1, seconds=60, memory_mb=64)


MISSING = {"landlock": NO_LANDLOCK, "seccomp": NO_SECCOMP}
KERNELS = [
    pytest.param((user, without), id=f"{user or 'ourselves'}-without-{'-and-'.join(without)}")
    for user in (None, "nobody")
    for without in (("landlock",), ("seccomp",), ("seccomp", "landlock"))
]


@pytest.fixture(scope="module", params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> Iterator[tuple[Somebody, tuple[str, ...]]]:
    user, without = request.param
    if user and os.geteuid() != 0:
        pytest.skip("only root can act as somebody else")
    with another(user, *without, missing=[MISSING[one] for one in without]) as run:
        yield run, without


@pytest.fixture
def somebody(kernel: tuple[Somebody, tuple[str, ...]]) -> Somebody:
    return kernel[0]


def test_tools_run(somebody: Somebody) -> None:
    assert decode(somebody("double", number=4).output).result["twice"] == 8


@pytest.mark.parametrize(
    ("act", "stopped"), [("burn_cpu_deaf", "cpu"), ("take_memory", "memory"), ("make_one_large_file", "output")]
)
def test_the_limits_hold(somebody: Somebody, act: str, stopped: str) -> None:
    assert somebody(act, LOW).stopped == stopped


@pytest.mark.parametrize("act", ["fork", "start_a_program", "become_a_program"])
def test_no_second_process_and_no_answer_by_another_program(somebody: Somebody, act: str) -> None:
    """Without seccomp a program may take the run's place; it has nothing then but what the run had."""
    assert somebody(act).stopped == "crash"


def test_the_server_has_no_environment_worth_reading(somebody: Somebody) -> None:
    assert b"a secret" not in somebody("read_environment_of_parent").output


def test_what_is_left_holds(kernel: tuple[Somebody, tuple[str, ...]]) -> None:
    somebody, without = kernel
    reads = somebody("read", path="/etc/passwd").stopped is None
    assert reads == ("landlock" in without)
    connects = str(somebody("open_unix", path="/nowhere").error).startswith("It failed (FileNotFoundError")
    assert connects == ("seccomp" in without)
    if len(without) == 1:  # either of them keeps TCP and signals in
        assert str(somebody("open_inet", port=1).error).startswith("It tried what no tool may do")
        assert str(somebody("kill_parent").error).startswith("It tried what no tool may do")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to lose")
def test_root_that_may_not_end_another_users_process_gives_runs_no_other_user() -> None:
    with another(None, "kill", missing=[NO_STRANGERS]) as somebody:
        assert somebody("sleep", Limits(cpu_seconds=5, seconds=1)).stopped == "time"
        assert somebody("use_scratch").stopped is None
        assert somebody("use_scratch").stopped is None
