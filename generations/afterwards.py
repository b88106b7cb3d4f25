"""What is left to do for a job after its trip: its provider asked once more, its waiting ended, its files deleted."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from time import monotonic

import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.db.models import Q, QuerySet

from billing import clock

from .lifecycle import LEASE_SECONDS, alert_flip, end_expired, lock_job
from .models import Generation, Output
from .providers.base import Answer, ProviderError
from .storage import Unreachable, output_storage

log = structlog.get_logger("holdfast.afterwards")

State, Outcome = Generation.State, Generation.Outcome

# A provider that cannot be asked is not asked for ever.
LOOK_BACK_GIVES_UP_HOURS = 1
# Deleting may go on for so long in one pass: answers wait meanwhile.
DELETE_SECONDS = 2.0
NOT_DELETED_KEY, NOT_DELETED_SECONDS = "outputs-not-deleted", 60


def claim_look_backs(limit: int = 100, *, but_not: Collection[str] = ()) -> list[Generation]:
    """Jobs settled a while ago (LOOK_BACK_SECONDS) whose provider was not asked since, claimed for LEASE_SECONDS."""
    now = clock.now()
    ended = Generation.objects.filter(is_looked_back=False, credits_charged__isnull=False, ended_at__lte=now)
    ended.filter(Q(provider_job_id=None) | Q(verdict_at=None)).update(is_looked_back=True)
    with transaction.atomic():
        due = (
            ended.filter(Q(next_poll_at=None) | Q(next_poll_at__lte=now))
            .exclude(provider__in=but_not)
            .order_by("ended_at")
        )
        jobs = list(due.select_for_update(skip_locked=True, of=("self",), no_key=True)[:limit])
        lease = now + timedelta(seconds=LEASE_SECONDS)
        Generation.objects.filter(id__in=[job.id for job in jobs]).update(next_poll_at=lease)
    return jobs


def hear_look_back(job: Generation, said: Answer | ProviderError) -> None:
    """A word taken back is reported, and nothing moves."""
    if isinstance(said, Answer):
        if said.is_terminal and said.status != job.verdict_status:
            alert_flip(job, said.status, said.code)
    elif job.ended_at is None or clock.now() - job.ended_at < timedelta(hours=LOOK_BACK_GIVES_UP_HOURS):
        return
    Generation.objects.filter(id=job.id).update(is_looked_back=True)


def release_outputs_after_debt() -> None:
    """Outputs captured while the account was in debt are delivered once nothing is owed."""
    Output.objects.filter(
        released_at=None,
        deleted_at=None,
        generation__outcome=Outcome.CHARGED,
        generation__account__debt=0,
    ).update(released_at=clock.Now())


def end_waiting() -> None:
    """Jobs whose provider was silent, or that stayed unpaid, for too long have ended; unpaid outputs are deleted."""
    now = clock.now()
    silent = Q(verdict_at=None, submitted_at__lte=now - timedelta(days=settings.SILENT_DAYS))
    unpaid = Q(verdict_at__lte=now - timedelta(days=settings.UNPAID_DAYS))
    waiting = Generation.objects.filter(silent | unpaid, state=State.AWAITING_SETTLEMENT)
    for job_id in waiting.values_list("id", flat=True)[:200]:
        with transaction.atomic(durable=True):
            job = lock_job(job_id, state=State.AWAITING_SETTLEMENT)
            if job is None:
                continue
            is_silent = job.verdict_at is None
            end_expired(
                job,
                now,
                "The provider never said how it ended." if is_silent else "It was never paid for, so it was deleted.",
            )
        delete_outputs(Output.objects.filter(generation_id=job_id))


def delete_old_outputs() -> None:
    """Delivered outputs are kept for OUTPUT_KEEP_DAYS; those of jobs that ended without delivery are not kept."""
    before = clock.now() - timedelta(days=settings.OUTPUT_KEEP_DAYS)
    delete_outputs(Output.objects.filter(stored_at__lte=before, released_at__lte=before))
    ended = (State.FAILED, State.CANCELLED, State.EXPIRED)
    delete_outputs(Output.objects.filter(released_at=None, generation__state__in=ended))


def delete_outputs(which: QuerySet[Output]) -> None:
    """The files are gone, then their rows say so: a crash between the two is finished by the next pass.

    A storage that does not answer is left alone for a minute; what takes longer than DELETE_SECONDS is left to later.
    """
    due = list(which.filter(deleted_at=None)[:500])
    if not due or cache.get(NOT_DELETED_KEY):
        return
    until = monotonic() + DELETE_SECONDS
    for output in due:
        try:
            output_storage().delete(output.file)
        except Unreachable as error:
            log.warning("outputs_not_deleted", why=str(error))
            cache.set(NOT_DELETED_KEY, 1, NOT_DELETED_SECONDS)
            return
        Output.objects.filter(id=output.id).update(deleted_at=clock.Now())
        if monotonic() > until:
            return
