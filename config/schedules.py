"""The periodic jobs, as data. They are hints: every job finds by itself what is due, and may run twice."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone
from django_q.models import Schedule
from django_q.tasks import async_task


@dataclass(frozen=True)
class Periodic:
    """A function that the worker calls every so many minutes."""

    name: str
    path: str
    minutes: int


SCHEDULES = (
    Periodic("generations-sweep", "generations.tasks.sweep", 1),
    Periodic("outputs-orphans", "generations.keeping.sweep_orphans", 24 * 60),
    Periodic("generations-watch", "generations.monitoring.watch", 1),
    Periodic("tools-sweep", "tools_registry.tasks.sweep", 1),
    Periodic("tools-learn", "tools_registry.tasks.learn", 60),
    Periodic("billing-sweep", "billing.tasks.sweep", 1),
    Periodic("billing-mirror", "billing.mirror.sweep", 1),
    Periodic("billing-enroll-earlier", "billing.tasks.enroll_earlier", 60),
    Periodic("billing-clean", "billing.tasks.clean", 24 * 60),
    Periodic("billing-reconcile-stripe", "billing.tasks.reconcile_stripe", 24 * 60),
)


def install_schedules() -> None:
    """Exactly these schedules exist, each once; what an operator or an older version left behind is gone."""
    wanted = {periodic.name: periodic for periodic in SCHEDULES}
    kept: set[str] = set()
    for row in Schedule.objects.order_by("id"):
        periodic = wanted.get(row.name)
        if periodic is None or row.name in kept:
            row.delete()
            continue
        kept.add(row.name)
        Schedule.objects.filter(id=row.id).update(**_columns(periodic))
    Schedule.objects.bulk_create(
        Schedule(name=name, next_run=timezone.now(), **_columns(periodic))
        for name, periodic in wanted.items()
        if name not in kept
    )


def _columns(periodic: Periodic) -> dict[str, Any]:
    return {
        "func": periodic.path,
        "schedule_type": Schedule.MINUTES,
        "minutes": periodic.minutes,
        "repeats": -1,
    }


def begin_sweeps() -> None:
    """What runs every minute is in the queue now, and due again in a minute.

    For a worker that has just started: its scheduler looks for the first time after half a minute, and the worker
    before it may have died in the middle of a sweep.
    """
    every_minute = Schedule.objects.filter(schedule_type=Schedule.MINUTES, minutes=1)
    for row in every_minute:
        async_task(row.func, group=row.name)
    every_minute.update(next_run=timezone.now() + timedelta(minutes=1))
