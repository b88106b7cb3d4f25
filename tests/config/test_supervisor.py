"""The supervisor notices a worker that looks alive and does nothing, and a dead child's group goes with it."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django_q.models import OrmQ, Schedule

from config import heartbeat as heartbeat_file
from config.heartbeat import Watch
from config.schedules import SCHEDULES, install_schedules
from config.supervisor import RESTARTS_MAX, Child, GaveUp, Restarts, Supervisor
from config.tasks import heartbeat, heartbeat_age_seconds
from tests.instance import until


class Passing:
    """The watch's clock: time passes when the test says so."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Passing:
    passing = Passing()
    monkeypatch.setattr(heartbeat_file, "time", passing)
    return passing


@pytest.fixture
def watch(tmp_path: Path, passing: Passing, transactional_db: None) -> Watch:
    return Watch(tmp_path / "beat")


def test_a_worker_that_takes_nothing_from_the_queue_is_found_stuck(
    watch: Watch, passing: Passing, settings: Any
) -> None:
    assert watch.stuck() is None
    assert OrmQ.objects.count() == 1
    passing.now += settings.HEARTBEAT_LATE_SECONDS
    assert watch.stuck() is None
    assert OrmQ.objects.count() == 2
    passing.now += 1
    assert watch.stuck() == f"has not answered for {settings.HEARTBEAT_LATE_SECONDS + 1:.0f} s"
    watch.started()
    assert watch.stuck() is None


def test_a_worker_that_answers_is_left_alone(watch: Watch, passing: Passing, settings: Any) -> None:
    settings.HEARTBEAT_FILE = str(watch.file)
    for at in range(5):
        heartbeat()
        os.utime(watch.file, (at, at))
        assert watch.stuck() is None
        passing.now += settings.HEARTBEAT_LATE_SECONDS - 1
        assert watch.stuck() is None
    age = heartbeat_age_seconds()
    assert age is not None
    assert age < 60


def test_a_worker_is_not_blamed_for_a_database_that_is_away(watch: Watch, passing: Passing, settings: Any) -> None:
    host = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = "/nowhere"
    try:
        for _ in range(5):
            assert watch.stuck() is None
            passing.now += settings.HEARTBEAT_LATE_SECONDS - 1
    finally:
        connection.close()
        connection.settings_dict["HOST"] = host


def test_five_restarts_within_a_minute_are_too_many() -> None:
    restarts = Restarts("thing")
    waits = []
    for _ in range(RESTARTS_MAX - 1):
        restarts.count()
        waits.append(round(restarts.next_at - restarts.at[-1], 3))
    assert waits == sorted(waits)
    with pytest.raises(GaveUp, match="The thing ended 5 times within a minute"):
        restarts.count()


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    script = "import subprocess, sys, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"
    child = Child("parent of a sleeper", [sys.executable, "-c", script], {"PATH": os.defpath})
    supervisor = Supervisor([child], None, lambda _sentence: None)
    for each in supervisor.children:
        each.start()
    yield supervisor
    supervisor.stop()


def members_of(group: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, its_group = folder.joinpath("stat").read_text().rsplit(")", 1)[1].split()[:3]
        except (OSError, ValueError):
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(int(folder.name))
    return found


def test_a_child_that_is_ended_takes_its_own_children_with_it(supervisor: Supervisor) -> None:
    (child,) = supervisor.children
    assert child.process is not None
    group = child.process.pid
    until(lambda: len(members_of(group)) == 2, 60, "both run")
    supervisor.stop()
    until(lambda: not members_of(group), 60, "both are gone")


@pytest.mark.django_db
def test_schedules_are_installed_once_and_what_is_strange_is_removed() -> None:
    for _ in range(2):
        Schedule.objects.create(name="left over", func="os.system", schedule_type=Schedule.ONCE)
        Schedule.objects.create(name=SCHEDULES[0].name, func="wrong.path", schedule_type=Schedule.DAILY)
    for _ in range(2):
        install_schedules()
        found = list(
            Schedule.objects.order_by("name").values_list("name", "func", "schedule_type", "minutes", "repeats")
        )
        assert found == sorted((each.name, each.path, "I", each.minutes, -1) for each in SCHEDULES)
