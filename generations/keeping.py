"""Nothing is kept that belongs to no output: what a crash left between a file and its row is found and deleted."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from uuid import UUID

import structlog
from django.core.cache import cache
from django.utils import timezone

from .models import Generation, Output
from .storage import Stored, output_storage

log = structlog.get_logger("holdfast.keeping")

FOLDER = "outputs"
OURS = re.compile(rf"{FOLDER}/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})/[^/]+")
# A file may be on its way to its row for so long.
ORPHAN_AGE = timedelta(days=1)
SWEEP_SECONDS = 60.0  # of the three minutes that a task may take
BATCH = 500
# The name that the last pass came to, where its time was over before the end.
REACHED_KEY, REACHED_SECONDS = "outputs-swept-to", 7 * 24 * 3600


def sweep_orphans(seconds: float = SWEEP_SECONDS) -> int:
    """Files of our jobs that no kept output names are gone, when they are older than a day; says how many.

    Goes on where the last pass ended. Others' files in the same bucket are left alone, and so is what belongs to a job
    that is in no row of ours: after an older backup was brought back, that may be a newer job's output.
    """
    until = time.monotonic() + seconds
    storage = output_storage()
    listed = storage.listed(FOLDER, cache.get(REACHED_KEY, ""))
    deleted = 0
    while batch := list(islice(listed, BATCH)):
        for name in _orphans(batch):
            storage.delete(name)
            deleted += 1
            log.info("orphan_deleted", file=name)
        if time.monotonic() > until:
            cache.set(REACHED_KEY, batch[-1].name, REACHED_SECONDS)
            return deleted
    cache.delete(REACHED_KEY)
    return deleted


def _orphans(batch: Iterable[Stored]) -> Iterator[str]:
    """Two questions a batch, whatever is in it."""
    before = timezone.now() - ORPHAN_AGE  # the storage's times are the world's, not the ledger's
    old = {one.name: UUID(found[1]) for one in batch if one.stored_at < before and (found := OURS.fullmatch(one.name))}
    jobs = set(Generation.objects.filter(id__in=set(old.values())).values_list("id", flat=True))
    kept = set(Output.objects.filter(generation_id__in=jobs, deleted_at=None).values_list("file", flat=True))
    return (name for name, job in old.items() if job in jobs and name not in kept)
