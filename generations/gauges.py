"""The desk's figures for Prometheus: read from the rows when they are asked for, so that every process says the same.

There are no counters here. Web and worker are different processes on any number of machines, each with its own
registry, and a counter would know only what its own process settled; the rows know all of it. The figures of a day are
gauges over the last 24 hours.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

import structlog
from django.db import Error as DatabaseTrouble
from django.db import connection
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from billing import alerts, clock, credits

from . import monitoring
from .models import Circuit, Generation

log = structlog.get_logger("holdfast.gauges")

KEPT_SECONDS = 15.0


def _gauge(name: str, says: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"holdfast_{name}", says, labels=labels)


def _credits(micro: int) -> float:
    """Credits as Prometheus takes numbers: a float, for curves and not for books."""
    return float(credits.format(micro))


def read() -> list[Metric]:
    """Every figure, now: nine small queries, whatever there is to count. Raises the database's own errors."""
    now = clock.now()
    unsettled, held = monitoring.unsettled(), monitoring.in_holds()
    ended = monitoring.ended_since(now - monitoring.DAY)

    jobs = _gauge("unsettled_jobs", "Jobs whose charge is not decided, by state.", "state")
    maximum = _gauge("unsettled_credits", "What unsettled jobs may cost at most, by state.", "state")
    for state in Generation.State.values:
        count, micro = unsettled.by_state.get(state, (0, 0))
        if count or state in ("queued", "submitting", "running", "awaiting_settlement"):
            jobs.add_metric([state], count)
            maximum.add_metric([state], _credits(micro))

    holds = _gauge("open_holds", "Open holds, of jobs and of other backends.")
    holds.add_metric([], held.holds)
    in_holds = _gauge("held_credits", "Credits that sit in open holds, by owner.", "owner")
    in_holds.add_metric(["job"], _credits(held.of_jobs))
    in_holds.add_metric(["other"], _credits(held.credits - held.of_jobs))
    oldest = _gauge("oldest_hold_seconds", "Age of the open hold that was placed first; 0 when nothing is held.")
    oldest.add_metric([], max((now - held.oldest_at).total_seconds(), 0) if held.oldest_at else 0)

    charged = _gauge("charged_today_credits", "Credits charged since midnight UTC, less what was refunded since then.")
    charged.add_metric([], _credits(monitoring.charged_since(monitoring.midnight(now))))

    failures = _gauge("failed_jobs_24h", "Jobs that failed or expired in the last 24 hours, by error code.", "code")
    for code, count in monitoring.failures_by_code(now - monitoring.DAY):
        failures.add_metric([code], count)
    by_provider = _gauge("ended_jobs_24h", "Jobs that ended in the last 24 hours.", "provider", "outcome")
    for provider, outcome, count in monitoring.ended_by_provider(now - monitoring.DAY):
        by_provider.add_metric([provider, outcome or ""], count)
    blocked = _gauge("moderation_blocked_jobs_24h", "Jobs that moderation blocked in the last 24 hours.")
    blocked.add_metric([], ended.blocked)
    refunded = _gauge("refunded_jobs_24h", "Failures of the last 24 hours, by who gave the credits back.", "by")
    for by, count in ended.failures_by.items():
        refunded.add_metric([by], count)
    to_settlement = _gauge(
        "verdict_to_settlement_seconds", "From the verdict to the settlement, over the last 24 hours.", "quantile"
    )
    for quantile, seconds in (("0.5", ended.median_seconds), ("0.95", ended.p95_seconds)):
        if seconds is not None:
            to_settlement.add_metric([quantile], seconds)
    broken, due = monitoring.settlements_since(now - monitoring.HOUR)
    settlements = _gauge("settlements_1h", "Jobs due for settlement in the last hour, and those that broke.", "which")
    settlements.add_metric(["due"], due)
    settlements.add_metric(["broken"], broken)

    opened = alerts.count_open()
    alerts_open = _gauge("alerts_open", "Open alerts, by name.", "name")
    for name in sorted(alerts.KINDS.keys() | opened.keys()):
        alerts_open.add_metric([name], opened.get(name, 0))
    circuits = _gauge("circuits_open", "Providers that are left alone because they answer nobody.")
    circuits.add_metric([], Circuit.objects.filter(opened_at__isnull=False).count())
    return [
        *(jobs, maximum, holds, in_holds, oldest, charged, failures, by_provider, blocked, refunded),
        *(to_settlement, settlements, alerts_open, circuits),
    ]


class Figures(Collector):
    """What `read` says, kept for KEPT_SECONDS in this process, so that many scrapes are one look.

    Without a database there is one figure, `holdfast_figures_up` 0, and the rest of /metrics is as always. That too
    is kept, so that a database that is away is not asked at every scrape.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[Metric] = []
        self._until = 0.0

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if time.monotonic() >= self._until:
                self._kept = list(self._look())
                self._until = time.monotonic() + KEPT_SECONDS
            yield from self._kept

    def describe(self) -> Iterable[Metric]:
        """Nothing: that it is registered asks no database."""
        return []

    def forget(self) -> None:
        """The next scrape looks anew."""
        self._until = 0.0

    def _look(self) -> Iterator[Metric]:
        up = _gauge("figures_up", "1 when the figures could be read from the database, else 0 and they are missing.")
        try:
            found = read()
        except DatabaseTrouble as error:
            log.warning("figures_unreadable", error=type(error).__name__)
            connection.close_if_unusable_or_obsolete()
            found = []
        up.add_metric([], 1 if found else 0)
        yield from (up, *found)


figures = Figures()
registry = CollectorRegistry()
registry.register(figures)
