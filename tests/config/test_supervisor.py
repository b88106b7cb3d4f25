"""The supervisor notices a worker that looks alive and does nothing, and a dead child's group goes with it."""

import os
import sys
import time
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


@pytest.fixture
def watch(tmp_path: Path, settings: Any, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Watch:
    settings.HEARTBEAT_SECONDS, settings.HEARTBEAT_LATE_SECONDS = 0.2, 0.6
    monkeypatch.setattr(heartbeat_file, "KNOCK_FAST_SECONDS", 0.1)
    return Watch(tmp_path / "beat")


def test_a_worker_that_takes_nothing_from_the_queue_is_found_stuck(watch: Watch) -> None:
    assert watch.stuck() is None
    assert OrmQ.objects.count() == 1
    assert "has not answered" in until(watch.stuck, 3, "found stuck")
    watch.started()
    assert watch.stuck() is None


def test_a_worker_that_answers_is_left_alone(watch: Watch, settings: Any) -> None:
    settings.HEARTBEAT_FILE = str(watch.file)
    for _ in range(5):
        heartbeat()
        os.utime(watch.file, (time.time(), time.time()))
        assert watch.stuck() is None
        before = time.monotonic()
        until(lambda before=before: time.monotonic() - before > 0.25, 1, "a quarter of a second")
    age = heartbeat_age_seconds()
    assert age is not None
    assert age < 5


def test_a_worker_is_not_blamed_for_a_database_that_is_away(watch: Watch) -> None:
    host = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = "/nowhere"
    try:
        began = time.monotonic()
        while time.monotonic() - began < 1.0:
            assert watch.stuck() is None
    finally:
        connection.close()
        connection.settings_dict["HOST"] = host


def test_five_restarts_within_a_minute_are_too_many() -> None:
    restarts = Restarts("thing")
    waits = []
    for _ in range(RESTARTS_MAX - 1):
        restarts.count()
        waits.append(restarts.next_at - time.monotonic())
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
    until(lambda: len(members_of(group)) == 2, 5, "both run")
    supervisor.stop()
    until(lambda: not members_of(group), 3, "both are gone")


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
