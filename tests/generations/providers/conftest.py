"""The real servers that provider tests talk to: a stand-in and a renderer, each in its own process."""

import inspect
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from uuid_utils.compat import uuid7

from generations.providers import calls
from generations.providers.base import Answer, Job, Provider, ProviderError
from generations.providers.local import PROJECT, Local, renderer_command, renderer_environment
from generations.providers.rehearsal import Rehearsal, stand_in_command
from tests.instance import free_port


class Asked:
    """A provider whose calls are made on the process's own loop and waited for, as the lifecycle does."""

    provider: Provider

    def __init__(self, provider: Provider) -> None:
        self.__dict__["provider"] = provider

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.provider, name)
        if not inspect.iscoroutinefunction(found):
            return found
        return lambda *args: calls.run(found(*args), 60)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.provider, name, value)


class StandIn:
    """A running stand-in, and its control endpoints."""

    command = staticmethod(stand_in_command)

    def __init__(self, state: Path, *options: str, port: int = 0) -> None:
        self.state, self.options, self.port = state, options, port or free_port()
        self.start()

    def start(self) -> None:
        command = self.command(self.port, self.state)
        self.process = subprocess.Popen([*command, *self.options], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        line = self.process.stdout.readline().split()
        assert line[:1] == ["ready"], line
        self.url = line[1]
        self.port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def get(self, path: str, **query: str) -> Any:
        return self._said(httpx.get(f"{self.url}/_control/{path}", params=query, headers=self.headers, timeout=60))

    def post(self, path: str, **body: Any) -> Any:
        return self._said(httpx.post(f"{self.url}/_control/{path}", json=body, headers=self.headers, timeout=60))

    headers = {"Authorization": "Bearer rehearsal"}

    @staticmethod
    def _said(response: httpx.Response) -> Any:
        assert response.is_success, response.text
        return response.json()

    def submits(self, reference: str) -> dict[str, int]:
        return self.get("state")["submits"].get(reference, {"received": 0, "accepted": 0})


class Renderer:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*renderer_command(self.folder), "--jobs", "2"],
            env=renderer_environment(), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        assert self.process.stdout
        assert "ready" in self.process.stdout.readline()

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    running = StandIn(
        tmp_path_factory.mktemp("rehearsal") / "state.sqlite3", "--seconds", "0.4", "--timeout-accept-seconds", "60"
    )
    yield running
    running.kill()


@pytest.fixture
def rehearsal(stand_in: StandIn, settings: Any) -> Asked:
    settings.REHEARSAL_ENABLED = True
    settings.REHEARSAL_URL = stand_in.url
    settings.PROVIDER_TIMEOUT_SECONDS = 20
    return Asked(Rehearsal())


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renderer]:
    running = Renderer(tmp_path_factory.mktemp("local"))
    yield running
    running.kill(signal.SIGTERM)


@pytest.fixture
def local(renderer: Renderer, settings: Any) -> Asked:
    settings.LOCAL_DIR = renderer.folder
    return Asked(Local())


def new_job(prompt: str = "A lighthouse at dawn", **inputs: Any) -> Job:
    given = {"prompt": prompt, "seconds": 1, "size": "640x360", "quality": "draft"} | inputs
    return Job(id=str(uuid7()), operation="ai/video", inputs=given)


def accepted(provider: Asked, job: Job) -> Job:
    """The job after its submission, with the provider's id."""
    return Job(job.id, job.operation, job.inputs, provider.submit(job).provider_job_id)


def until(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    """What the condition answered when it first held; fails when it does not within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"It did not come true within {seconds} s.")


def ended(provider: Asked, job: Job, seconds: float = 90.0) -> Answer:
    """The provider's first terminal answer, polled for through whatever doubt comes before."""

    def ask() -> Answer | None:
        try:
            answer = provider.poll(job)
        except ProviderError:
            return None
        return answer if answer.is_terminal else None

    return until(ask, seconds)


def children_of(pid: int) -> set[int]:
    """The processes that descend from one."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found
