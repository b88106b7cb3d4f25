"""The queue's side of a job. A task is a hint: every one finds in the rows what is due, and may run twice or never."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

import structlog
from django.db import close_old_connections
from django_q.brokers import get_broker

from . import lifecycle
from .models import Generation

log = structlog.get_logger("holdfast.sweep")

Result = TypeVar("Result")

FOLLOW_SECONDS = 20
SWEEP_SECONDS = 54
SUBMIT_SECONDS = 10
PAUSE_SECONDS = 0.5


def follow(job_id: str) -> None:
    """The job is submitted, and asked about until it has ended: for FOLLOW_SECONDS, and only while no other task waits.

    The sweep does the rest. It asks about many jobs at once, where this occupies a process for one.
    """
    which = UUID(job_id)
    lifecycle.submit(which)
    until = time.monotonic() + FOLLOW_SECONDS
    while time.monotonic() < until and not get_broker().queue_size():
        state = Generation.objects.filter(id=which, credits_charged=None).values_list("state", flat=True).first()
        if state != Generation.State.RUNNING:
            return
        lifecycle.poll(lifecycle.claim_due(only=which))
        time.sleep(PAUSE_SECONDS)


def sweep(seconds: float = SWEEP_SECONDS) -> None:
    """Everything that is due was done, again and again for so many seconds; 0 makes one pass."""
    until = time.monotonic() + seconds
    while True:
        busy = sweep_once()
        if time.monotonic() >= until:
            return
        if not busy:
            time.sleep(PAUSE_SECONDS)
        close_old_connections()


def sweep_once() -> bool:
    """One pass over what is due. Says whether there was anything. One broken job stops no other."""
    submissions = _guard(lifecycle.due_submissions) or []
    until = time.monotonic() + SUBMIT_SECONDS
    for job_id in submissions:
        _guard(lifecycle.submit, job_id)
        if time.monotonic() > until:
            break  # a provider that takes its time does not keep the rest of the pass waiting; they stay due
    _guard(lifecycle.resolve_doubts)
    jobs = _guard(lifecycle.claim_due)
    if jobs:
        _guard(lifecycle.poll, jobs)
    _guard(lifecycle.settle_due)
    for job_id in _guard(lifecycle.due_expiries) or []:
        _guard(lifecycle.expire, job_id)
    for chore in (
        lifecycle.settle_expired,
        lifecycle.settle_late,
        lifecycle.release_outputs_after_debt,
        lifecycle.look_back,
        lifecycle.alert_long_holds,
        lifecycle.end_waiting,
        lifecycle.delete_old_outputs,
    ):
        _guard(chore)
    return bool(submissions or jobs)


def _guard(step: Callable[..., Result], *args: object) -> Result | None:
    """What the step returned, tried once more where the database gave it up; None, with a line in the log, if it broke.

    A step finds in the rows what is due, so that trying it again does nothing twice.
    """
    try:
        return lifecycle.once_more(step)(*args)
    except Exception:
        log.exception("sweep_step_failed", step=getattr(step, "__name__", "?"), args=[str(a)[:100] for a in args])
        close_old_connections()  # a broken one would break every step after this one
        return None
