"""Whatever a function does, it is stopped by its limit, which is said, and the run after it works. By any user."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path

import pytest

from tests.tools_registry.runner.conftest import Somebody
from tools_registry.runner import seccomp
from tools_registry.studio import Limits, decode

LOW = Limits(cpu_seconds=1, seconds=60, memory_mb=64)
SHORT = Limits(cpu_seconds=5, seconds=1)
SMALL = Limits(cpu_seconds=5, seconds=60, memory_mb=16)


def works(somebody: Somebody) -> None:
    ran = somebody("double", number=21)
    assert ran.stopped is None
    assert decode(ran.output).result["twice"] == 42


@pytest.mark.parametrize(
    ("act", "inputs", "limits", "stopped", "sentence"),
    [
        ("burn_cpu", {}, LOW, "cpu", "It used more than 1 seconds of CPU time."),
        ("burn_cpu_deaf", {}, LOW, "cpu", "It used more than 1 seconds of CPU time."),
        ("burn_cpu_in_threads", {}, LOW, "cpu", "It used more than 1 seconds of CPU time."),
        ("sleep", {}, SHORT, "time", "It took longer than 1 seconds."),
        ("take_memory", {}, LOW, "memory", "It needed more than 64 MB of memory."),
        ("take_memory_at_once", {}, LOW, "memory", "It needed more than 64 MB of memory."),
        ("hide_memory_by_reading_only", {}, SMALL, "memory", "It needed more than 16 MB of memory."),
        ("hide_memory_in_the_stack", {}, SMALL, "memory", "It needed more than 16 MB of memory."),
        ("make_output", {"bytes": 2_000_000}, LOW, "output", "What it made is larger than 1,048,576 bytes."),
        ("fill_scratch", {}, LOW, "output", "What it made is larger than 1,048,576 bytes."),
        ("make_many_files", {}, LOW, "output", "What it made is larger than 1,048,576 bytes."),
        ("make_one_large_file", {}, LOW, "output", "What it made is larger than 1,048,576 bytes."),
        ("leave_hard", {}, LOW, "crash", "It ended without an answer; perhaps"),
        ("abort", {}, LOW, "crash", "It ended without an answer; perhaps"),
        ("fall", {}, LOW, "crash", "It ended without an answer; perhaps"),
        ("leave", {}, LOW, "crash", "It failed (SystemExit in acts.py, line "),
        ("fail", {}, LOW, "crash", "It failed (KeyError in acts.py, line "),
        ("fail_without_end", {}, LOW, "crash", "It failed (RecursionError in acts.py, line "),
        ("raise_a_limit", {}, LOW, "crash", "It failed (ValueError in acts.py, line "),
        ("give_what_is_no_json", {}, LOW, "crash", "It failed (ValueError in "),
        ("make_threads_without_end", {}, LOW, "crash", "It failed (RuntimeError in "),
    ],
)
def test_a_function_is_stopped_by_its_limit(
    somebody: Somebody, act: str, inputs: dict[str, int], limits: Limits, stopped: str, sentence: str
) -> None:
    ran = somebody(act, limits, **inputs)
    assert (ran.stopped, ran.output) == (stopped, b"")
    assert str(ran.error).startswith(sentence)
    works(somebody)


@pytest.mark.parametrize(
    ("act", "inputs"),
    [
        ("take_shared_memory", {}),
        ("take_uncounted_memory", {"flag": 0x100}),  # a stack
        ("take_uncounted_memory", {"flag": 0x40000}),  # large pages
        ("hide_memory_in_swap", {}),
        ("hide_a_file", {}),
        ("replace_a_file", {}),
        ("open_with", {"path": ".", "flags": os.O_TMPFILE | os.O_RDWR}),
        ("open_with", {"path": "mine", "flags": os.O_CREAT | os.O_SYNC | os.O_RDWR}),
        ("open_with", {"path": "mine", "flags": os.O_CREAT | os.O_TRUNC}),  # as Landlock's first versions allow
        ("open_with", {"path": "/dev/null", "flags": os.O_ACCMODE}),
        ("fork", {}),
        ("start_a_program", {}),
        ("become_a_program", {}),
        ("kill_parent", {}),
        ("kill_everybody", {}),
        ("signal_by_a_pipe", {}),
        ("outlive_the_server", {}),
        ("trace_parent", {}),
        ("leave_its_group", {}),
        ("open_inet", {"port": 80}),
        ("open_unix", {"path": "/nowhere"}),
        ("read", {"path": "/etc/passwd"}),
        ("read", {"path": "/proc/self/environ"}),
        ("read", {"path": "/proc/1/environ"}),
        ("read", {"path": "manage.py"}),
        ("read", {"path": "/etc/hostname"}),
        ("look_around", {"path": "/"}),
        ("look_around", {"path": "/tmp"}),
        ("look_around", {"path": ".."}),
        ("look_around", {"path": "/proc"}),
        ("look_around", {"path": "/sys/fs/cgroup"}),
        ("read_environment_of_parent", {}),
        ("write", {"path": "/tmp/left-over-of-a-tool"}),
        ("write", {"path": "/dev/shm/left-over-of-a-tool"}),
        ("write", {"path": "../left-over-of-a-tool"}),
        ("make_a_folder", {}),
        ("link_to", {"path": "/etc/passwd"}),
    ],
)
def test_what_no_tool_may_do_fails_and_is_said(somebody: Somebody, act: str, inputs: dict[str, object]) -> None:
    ran = somebody(act, **inputs)
    assert (ran.stopped, ran.output) == ("crash", b"")
    is_missing = act == "read" and inputs["path"] == "manage.py"  # it is not in its scratch folder
    assert str(ran.error).startswith("It failed (FileNotFound" if is_missing else "It tried what no tool may do (")
    works(somebody)


X32 = 0x40000000
# These two never reach a filter: they are the kernel's own, to come back from a probe, and elsewhere they end the run.
OF_PROBES = {335, 336}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="by their numbers")
def test_every_call_that_is_not_on_the_list_is_refused(somebody: Somebody) -> None:
    allowed = {int(line.split()[1]) for line in seccomp.ALLOWED.replace("\n", " ").split(",")}
    conditions = {condition.numbers[0] for condition in seccomp.CONDITIONS}
    pretended = {numbers[0] for numbers in seccomp.DONE}
    others = [number for number in range(600) if number not in allowed | conditions | pretended | OF_PROBES]
    numbers = [*others, *(number | X32 for number in range(600))]
    assert decode(somebody("try_calls", numbers=numbers).output).result == {f"{seccomp.CLONE3[0]}": "ENOSYS"}
    assert somebody("call_as_another_machine").stopped == "crash"


def test_threads_end_before_the_machine_does(somebody: Somebody) -> None:
    """As many as the machine has and some more; the memory for their stacks would be enough for ten thousand."""
    patient = Limits(cpu_seconds=30, seconds=60)
    made = decode(somebody("make_small_threads_without_end", patient, most=10_000).output).result["threads"]
    there_are = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    assert 32 <= made < there_are + 128 * (os.cpu_count() or 1) + 1000


def test_no_name_is_looked_up(somebody: Somebody) -> None:
    assert somebody("ask_a_name_server").stopped == "crash"


def test_wrong_inputs_come_back_by_their_fields(somebody: Somebody) -> None:
    ran = somebody("find_inputs_wrong")
    assert (ran.stopped, ran.output) == (None, b"")
    assert ran.error == {"spec": ["Line 3: a path begins with a slash."], "other": ["One.", "Two."]}


def test_what_is_printed_is_not_the_answer(somebody: Somebody) -> None:
    ran = somebody("print_garbage")
    assert decode(ran.output).result == {"printed": True}


def test_threads_are_left_behind_by_nobody(somebody: Somebody) -> None:
    ran = somebody("leave_threads")
    assert decode(ran.output).result == {"threads": 9}
    assert ran.wall_seconds < 5


def test_a_library_that_nobody_loaded_before_can_be_loaded(somebody: Somebody) -> None:
    assert decode(somebody("load_late").output).result == {"port": 143, "one": 1}


def test_scratch_can_be_written_and_is_gone_afterwards(somebody: Somebody) -> None:
    first = decode(somebody("use_scratch").output).result
    assert (first["read"], first["names"]) == ("written", 2)
    again = decode(somebody("use_scratch").output).result
    assert again["names"] == 2, "empty at the beginning"


def test_a_run_knows_nothing_of_ours(somebody: Somebody) -> None:
    seen = decode(somebody("say_what_it_sees").output).result
    assert set(seen["environment"]) <= {
        *("LC_ALL", "TZ", "PATH", "HOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"),
    }
    assert seen["open"] == [0, 1, 2, 4], "nothing, three times, and the room for its answer"
    assert seen["user"] != 0
    assert seen["in_folder"] == []
    assert not {"django", "psycopg", "config", "generations", "environ"} & set(seen["modules"])


def test_use_is_what_the_kernel_says(somebody: Somebody) -> None:
    began = time.perf_counter()
    idle = somebody("double", number=1)
    assert 0 < idle.cpu_seconds <= time.perf_counter() - began
    assert idle.peak_memory_bytes < 5_000_000
    used = somebody("use_memory", bytes=100_000_000)
    assert 95_000_000 < used.peak_memory_bytes < 110_000_000
    began = time.perf_counter()
    slept = somebody("sleep", seconds=0.5)
    took = time.perf_counter() - began
    assert 0.4 < slept.wall_seconds <= took
    assert slept.cpu_seconds <= took - 0.5, "sleep is no work"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x80\x04\x95",
        b"A" + (1 << 40).to_bytes(8) + b"x",
        b"A" + (5).to_bytes(8) + b"x",
        b"B" + (2).to_bytes(8) + b"[]",
        b"B" + (9).to_bytes(8) + b'{"a": "b"}',
        b"B" + (200_000).to_bytes(8) + b"[" * 200_000,
        b"C" + (4).to_bytes(8) + b"a\x00b\xff",
        b"Z" + (1).to_bytes(8) + b"x",
    ],
)
def test_a_forged_answer_is_a_crash_or_an_answer_that_does_not_decode(somebody: Somebody, answer: bytes) -> None:
    ran = somebody("forge", hex=answer.hex())
    if ran.stopped is None:
        with pytest.raises(ValueError, match=r"."):
            decode(ran.output)
    else:
        assert ran.stopped == "crash"
        assert str(ran.error).isprintable()
    works(somebody)


def test_what_a_child_says_of_fields_can_be_shown_and_stored(somebody: Somebody) -> None:
    said = json.dumps({"a\x00" + "b" * 1000: ["\ud800" + "c" * 1000] * 1000}).encode()
    ran = somebody("forge", hex=(b"B" + len(said).to_bytes(8) + said).hex())
    assert ran.error == {"a " + "b" * 298: [" " + "c" * 299] * 100}


def test_the_room_for_an_answer_does_not_grow(somebody: Somebody) -> None:
    assert decode(somebody("enlarge_the_room").output).result == {"grown": []}
