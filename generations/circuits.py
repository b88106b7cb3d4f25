"""A provider that answers nobody is left alone for a while, by every process: their shared memory is the Circuit rows.

What decides is pure and stands in pacing.py. Here it meets the rows: failures are counted in this process, and a row is
written only when a provider is opened (left alone), tried again, or closed (alive). No function here may be called
inside a transaction that goes on: others must see at once what was written.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from billing import alerts, clock

from . import pacing
from .models import Circuit
from .pacing import Said, Sign, Streak

log = structlog.get_logger("holdfast.circuits")

ALERT = "provider_unreachable"


@dataclass(frozen=True, slots=True)
class _Open:
    """An open circuit, as its row stood when it was read. A try that fails changes `openings`, so each counts once."""

    opened_at: datetime
    retry_at: datetime
    openings: int
    is_due: bool


# What this process remembers. A forked child begins with a copy, which is as good as none.
_lock = threading.Lock()
_streaks: dict[str, Streak] = {}
_open: dict[str, _Open] = {}
_trying: dict[str, _Open] = {}


@dataclass(frozen=True, slots=True)
class Look:
    """Who may be asked, as the rows stood a moment ago. Good for one pass, not for keeping."""

    open: dict[str, _Open] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    @property
    def resting(self) -> set[str]:
        """Providers to be left alone now."""
        return {name for name, one in self.open.items() if not one.is_due}

    def may_ask(self, provider: str) -> int | None:
        """How many calls may be made: None for no bound, 0 for none now, 1 for one try.

        One process alone is told 1, once; it should then ask, or `give_back`. Nobody else may until a while after that.
        """
        one = self.open.get(provider)
        if one is None:
            return None
        if not one.is_due or provider in self._taken:
            return 0
        self._taken.add(provider)
        lease = timedelta(seconds=settings.PROVIDER_TIMEOUT_SECONDS * 2 + pacing.REST_SECONDS)
        if not _same(provider, one).filter(retry_at=one.retry_at).update(retry_at=clock.Now() + lease):
            return 0
        with _lock:
            _trying[provider] = one
        return 1

    def give_back(self, provider: str) -> None:
        """The one try was not made, for want of something to ask: whoever has something may try at once."""
        with _lock:
            one = _trying.pop(provider, None)
        if one is not None and provider in self._taken:
            _same(provider, one).update(retry_at=one.retry_at)


def look() -> Look:
    """One small query; nearly always it finds no row."""
    rows = Circuit.objects.filter(opened_at__isnull=False).annotate(is_due=Q(retry_at__lte=clock.Now()))
    found = {
        name: _Open(opened_at, retry_at, openings, is_due)
        for name, opened_at, retry_at, openings, is_due in rows.values_list(
            "provider", "opened_at", "retry_at", "openings", "is_due"
        )
        if opened_at is not None and retry_at is not None
    }
    with _lock:
        for name in _open.keys() - found.keys():  # another process heard it: what failed before that is past
            _streaks.pop(name, None)
            _trying.pop(name, None)
        _open.clear()
        _open.update(found)
    return Look(found)


def resting() -> set[str]:
    """Providers that are to be left alone now."""
    return look().resting


def hear(provider: str, outcomes: Sequence[tuple[Hashable, Said]]) -> None:
    """What came of calls to the provider, in their order, each with its job: counted, and acted on where it matters."""
    now, last, lived, failed = time.monotonic(), "", False, False
    with _lock:
        streak = _streaks.get(provider)
        for job, said in outcomes:
            sign = pacing.sign_of(said)
            if sign is Sign.LIFE:
                lived, streak = True, None
            elif sign is Sign.FAILURE:
                failed, last = True, str(said)
                streak = (streak or Streak(now, now)).longer(job, now)
        is_open, tried = provider in _open, _trying.get(provider)
        opens = streak is not None and streak.is_long and not is_open
        if is_open or opens or streak is None:
            _streaks.pop(provider, None)
        else:
            _streaks[provider] = streak
    if is_open and lived:
        _close(provider)
    elif is_open and failed and tried is not None:
        _rest_longer(provider, tried, last)
    elif opens and streak is not None:
        _rest(provider, streak, last)


# Rows


def _same(provider: str, one: _Open) -> QuerySet[Circuit]:
    """The row, if nothing has happened to its circuit since it was read."""
    return Circuit.objects.filter(provider=provider, opened_at=one.opened_at, openings=one.openings)


@transaction.atomic
def _rest(provider: str, streak: Streak, error: str) -> None:
    """Closed → open, once whoever comes first; staff are told."""
    Circuit.objects.bulk_create([Circuit(provider=provider)], ignore_conflicts=True)
    rest = timedelta(seconds=pacing.rest_seconds(1, random.random))
    if not Circuit.objects.filter(provider=provider, opened_at=None).update(
        opened_at=clock.Now(), retry_at=clock.Now() + rest, openings=1, last_error=error[:500]
    ):
        return
    log.error("circuit_opened", provider=provider, failures=streak.failures, error=error)
    alerts.open_alert(
        ALERT,
        key=provider,
        sentence=f"The provider {provider} cannot be reached. Its jobs wait, and it is tried again every minute or so.",
        facts={"provider": provider, "failures_in_a_row": streak.failures, "last_error": error[:500]},
    )


def _rest_longer(provider: str, tried: _Open, error: str) -> None:
    """It was tried and is still broken: left alone for longer than before."""
    with _lock:
        _trying.pop(provider, None)
    rest = timedelta(seconds=pacing.rest_seconds(tried.openings + 1, random.random))
    _same(provider, tried).update(openings=F("openings") + 1, retry_at=clock.Now() + rest, last_error=error[:500])


@transaction.atomic
def _close(provider: str) -> None:
    """Open → closed: it lives, and calls flow again at once."""
    with _lock:
        _open.pop(provider, None)
        _trying.pop(provider, None)
    if Circuit.objects.filter(provider=provider, opened_at__isnull=False).update(
        opened_at=None, retry_at=None, openings=0
    ):
        log.warning("circuit_closed", provider=provider)
        alerts.clear_alert(ALERT, key=provider)
