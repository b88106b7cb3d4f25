"""However much waits in the queue, a worker that works is left alone, and no job waits for another's."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage

from config import queue
from config.schedules import begin_sweeps, install_schedules
from generations import tasks
from tests.generations.trip import Trip


def test_following_a_job_ends_when_other_tasks_wait(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = trip.start("[slow 9h]"), trip.start("[slow 9h]")
    assert OrmQ.objects.count() == 2

    monkeypatch.setattr(tasks, "FOLLOW_SECONDS", 600)
    began = time.monotonic()
    tasks.follow(str(first.id))

    assert time.monotonic() - began < 300
    assert (first.row.state, second.row.state) == ("running", "queued")


def test_a_job_is_followed_to_its_end_where_nothing_waits(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    job = trip.start()
    OrmQ.objects.all().delete()

    tasks.follow(str(job.id))

    assert job.stands == ("succeeded", "captured", "charged")


def test_taking_any_task_is_a_sign_of_life(settings: Any, tmp_path: Path, transactional_db: None) -> None:
    settings.HEARTBEAT_FILE = str(tmp_path / "beat")
    queue.show_life(sender="django_q", func=print, task={})
    assert (tmp_path / "beat").exists()


def test_a_sign_that_cannot_be_given_stops_no_task(settings: Any, tmp_path: Path, transactional_db: None) -> None:
    settings.HEARTBEAT_FILE = str(tmp_path / "nowhere" / "beat")
    queue.show_life(sender="django_q", func=print, task={})


def test_a_worker_that_starts_sweeps_at_once(transactional_db: None) -> None:
    install_schedules()
    OrmQ.objects.all().delete()

    begin_sweeps()

    waiting = {SignedPackage.loads(row.payload)["func"] for row in OrmQ.objects.all()}
    every_minute = Schedule.objects.filter(minutes=1)
    assert waiting == {row.func for row in every_minute} >= {"generations.tasks.sweep", "billing.tasks.sweep"}
    assert all(row.next_run > timezone.now() for row in every_minute)
