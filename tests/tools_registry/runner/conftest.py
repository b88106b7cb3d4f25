"""Whoever runs tools: the user of the tests, and where that is root, an ordinary user too."""

from __future__ import annotations

import base64
import json
import os
import pwd
import site
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.instance import _can_run
from tests.tools_registry.runner.somebody import ALSO
from tools_registry.runner import Ran, Runner
from tools_registry.studio import Limits

ROOT = Path(__file__).resolve().parent.parent.parent.parent
ACTS = f"{ALSO[0]}.acts"
ORDINARY = Limits(cpu_seconds=5, seconds=10)


class Somebody(Protocol):
    """Who runs the functions of culprits/acts.py, by their names."""

    def __call__(self, act: str, limits: Limits = ORDINARY, **inputs: Any) -> Ran: ...


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    runner = Runner(ALSO, at_once=4)
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def ourselves(runner: Runner) -> Somebody:
    def run(act: str, limits: Limits = ORDINARY, **inputs: Any) -> Ran:
        return runner.run(f"{ACTS}:{act}", inputs, {}, limits)

    return run


def as_user(user: str | None) -> tuple[str, dict[str, Any]]:
    """A Python that this user may start, and what to start it with."""
    if user is None:
        return sys.executable, {}
    row = pwd.getpwnam(user)
    python = sys.executable if _can_run(user, sys.executable) else "/usr/bin/python3"
    return python, {"user": row.pw_uid, "group": row.pw_gid, "extra_groups": []}


@contextmanager
def another(user: str | None, *without: str, missing: Sequence[str] = ()) -> Iterator[Somebody]:
    """Another process that runs tools, as that user, on a kernel without these."""
    python, of_user = as_user(user)
    process = subprocess.Popen(
        [python, "-m", "tests.tools_registry.runner.somebody", *without],
        cwd=ROOT,
        env={"PYTHONPATH": os.pathsep.join(site.getsitepackages()), "SECRET_KEY": "a secret"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **of_user,
    )
    assert process.stdin
    assert process.stdout
    said = json.loads(process.stdout.readline())
    assert said == list(missing)

    def run(act: str, limits: Limits = ORDINARY, **inputs: Any) -> Ran:
        assert process.stdin
        assert process.stdout
        order = {"function": f"{ACTS}:{act}", "inputs": inputs, "limits": asdict(limits)}
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        said = json.loads(process.stdout.readline())
        seconds = {name: Decimal(said[name]) for name in ("cpu_seconds", "wall_seconds")}
        return Ran(**said | seconds | {"output": base64.b64decode(said["output"])})

    try:
        yield run
    finally:
        process.stdin.close()
        process.stdout.close()
        assert process.wait(10) == 0


@pytest.fixture(scope="session")
def nobody() -> Iterator[Somebody]:
    if os.geteuid() != 0:
        pytest.skip("only root can act as somebody else")
    with another("nobody") as run:
        yield run


@pytest.fixture(params=["ourselves", "nobody"])
def somebody(request: pytest.FixtureRequest) -> Somebody:
    """The user of the tests, then an ordinary user."""
    found: Somebody = request.getfixturevalue(request.param)
    return found
