"""The queue's side of a job. A task is a hint: every one finds in the rows what is due, and may run twice or never."""

from __future__ import annotations

import time
from uuid import UUID

import structlog
from django.db import close_old_connections

from . import lifecycle
from .models import Generation

log = structlog.get_logger("holdfast.sweep")

FOLLOW_SECONDS = 45
SWEEP_SECONDS = 54
PAUSE_SECONDS = 0.5


def follow(job_id: str) -> None:
    """The job is submitted and asked about until it has ended, for at most FOLLOW_SECONDS; the sweep does the rest."""
    which = UUID(job_id)
    lifecycle.submit(which)
    until = time.monotonic() + FOLLOW_SECONDS
    while time.monotonic() < until:
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
    submissions = lifecycle.due_submissions()
    for job_id in submissions:
        _guard(lifecycle.submit, job_id)
    _guard(lifecycle.resolve_doubts)
    jobs = lifecycle.claim_due()
    if jobs:
        _guard(lifecycle.poll, jobs)
    _guard(lifecycle.settle_due)
    for job_id in lifecycle.due_expiries():
        _guard(lifecycle.expire, job_id)
    for chore in (
        lifecycle.settle_late,
        lifecycle.release_outputs_after_debt,
        lifecycle.look_back,
        lifecycle.end_waiting,
        lifecycle.delete_old_outputs,
    ):
        _guard(chore)
    return bool(submissions or jobs)


def _guard(step: object, *args: object) -> None:
    try:
        step(*args)  # type: ignore[operator]
    except Exception:
        log.exception("sweep_step_failed", step=getattr(step, "__name__", "?"), args=[str(a)[:100] for a in args])
