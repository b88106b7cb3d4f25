"""The queue's side of a job. A task is a hint: every one finds in the rows what is due, and may run twice or never."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

import structlog
from django.db import close_old_connections
from django_q.brokers import get_broker

from billing import clock, top_ups

from . import afterwards, lifecycle, rounds, safety_net
from .models import Generation

log = structlog.get_logger("holdfast.sweep")

Result = TypeVar("Result")

FOLLOW_SECONDS = 20
SWEEP_SECONDS = 54
# A call that has begun is waited for, until the task is so old at most; the queue's own time-out is longer.
TASK_SECONDS = 172
CHORES_SECONDS = 1.0
PAUSE_SECONDS = 0.5


def follow(job_id: str) -> None:
    """The job is submitted, and asked about until it has ended: for FOLLOW_SECONDS, and only while no other task waits.

    The sweep does the rest. It asks about many jobs at once, where this occupies a process for one; so a submission
    that takes long is the sweep's altogether.
    """
    which = UUID(job_id)
    if rounds.takes_long(which):
        return
    ends_at = time.monotonic() + TASK_SECONDS
    rounds.submit(which, TASK_SECONDS)
    until = time.monotonic() + FOLLOW_SECONDS
    while time.monotonic() < until and not get_broker().queue_size():
        state = Generation.objects.filter(id=which, credits_charged=None).values_list("state", flat=True).first()
        if state != Generation.State.RUNNING or rounds.is_resting(which):
            return
        rounds.poll(lifecycle.claim_due(only=which), ends_at - time.monotonic())
        time.sleep(PAUSE_SECONDS)


def sweep(seconds: float = SWEEP_SECONDS) -> None:
    """Everything that is due was done, again and again for so many seconds; 0 makes one pass."""
    if not seconds:
        sweep_once()
        return
    until = time.monotonic() + seconds
    round = rounds.Round(max(TASK_SECONDS, seconds + TASK_SECONDS - SWEEP_SECONDS))
    chores_at = 0.0
    while time.monotonic() < until:
        if time.monotonic() >= chores_at:
            _chores(round)
            chores_at = time.monotonic() + CHORES_SECONDS
        begun = _guard(round.begin)
        heard = _guard(round.hear, PAUSE_SECONDS)
        if not begun and not heard and not len(round.calls):
            time.sleep(PAUSE_SECONDS)
        close_old_connections()
    _guard(round.finish)


def sweep_once() -> None:
    """One pass over what is due now. One broken job stops no other."""
    round = rounds.Round()
    before = clock.now()
    _guard(round.ask_last_questions)
    while _guard(round.begin, before) or len(round):
        _guard(round.hear)
    _chores(round)
    _guard(round.finish)


def _chores(round: rounds.Round) -> None:
    """What needs no provider, or not now."""
    _guard(round.ask_last_questions)
    _guard(lambda: safety_net.settle(lifecycle.due_settlements()))
    _guard(safety_net.rescue)
    for job_id in _guard(lifecycle.due_expiries) or []:
        _guard(lifecycle.expire, job_id)
    _guard(lambda: safety_net.settle(lifecycle.due_late()))
    for chore in (
        afterwards.release_outputs_after_debt,
        round.look_back,
        afterwards.end_waiting,
        afterwards.delete_old_outputs,
        top_ups.wake,
    ):
        _guard(chore)


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
