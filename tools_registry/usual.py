"""What runs usually cost (N8): learned from the charges of runs of the same size, and how far that has drifted.

It shapes what is called typical and the range that is shown. It sets no hold and no price: the most that a run can cost
is the price at its hard limits, whatever was learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction

from billing import clock

from .models import Usual

SPAN = timedelta(days=90)
# The newest so many of a tool and size are counted: enough for a 95th percentile, and what is learned can change.
RUNS_MAX = 10_000
RECENT = timedelta(days=7)

# Charges by another price say nothing of today's: they are left out.
# percentile_disc gives a charge that was really made: of the runs counted at least 95 in 100 cost no more than p95.
_COUNT = """
INSERT INTO tools_registry_usual (tool, bucket, runs, p10, p50, p95, counted_at)
SELECT tool, bucket, count(*),
       percentile_disc(0.10) WITHIN GROUP (ORDER BY charged_amount),
       percentile_disc(0.50) WITHIN GROUP (ORDER BY charged_amount),
       percentile_disc(0.95) WITHIN GROUP (ORDER BY charged_amount),
       %(now)s
  FROM (SELECT run.tool, run.bucket, run.charged_amount,
               row_number() OVER (PARTITION BY run.tool, run.bucket ORDER BY run.ended_at DESC) AS place
          FROM tools_registry_toolrun run
          JOIN tools_registry_toolcost paid ON paid.id = run.tool_cost_id
          JOIN (SELECT DISTINCT ON (tool) tool, model, rates FROM tools_registry_toolcost
                 WHERE valid_from <= %(now)s ORDER BY tool, valid_from DESC) price
            ON (price.tool, price.model, price.rates) = (run.tool, paid.model, paid.rates)
         WHERE run.state = 'succeeded' AND run.ended_at > %(since)s) newest
 WHERE place <= %(most)s
 GROUP BY tool, bucket
    ON CONFLICT (tool, bucket) DO UPDATE
   SET runs = excluded.runs, p10 = excluded.p10, p50 = excluded.p50, p95 = excluded.p95,
       counted_at = excluded.counted_at
"""


def learn() -> int:
    """What runs usually cost is counted anew; how many tools and sizes. What nobody ran lately is gone."""
    now = clock.now()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_COUNT, {"now": now, "since": now - SPAN, "most": RUNS_MAX})
        counted = cursor.rowcount
        Usual.objects.exclude(counted_at=now).delete()
    return counted


@dataclass(frozen=True, slots=True)
class Drift:
    """A tool's median charge of the last week beside that of the weeks before, in microcredits."""

    recent_runs: int
    recent: int
    earlier_runs: int
    earlier: int

    @property
    def percent(self) -> float | None:
        """By how much the median has moved; None where either side has too few runs to say."""
        if min(self.recent_runs, self.earlier_runs) < DRIFT_RUNS_MIN or not self.earlier:
            return None
        return (self.recent - self.earlier) * 100 / self.earlier


DRIFT_RUNS_MIN = 20

_DRIFT = """
SELECT tool,
       count(*) FILTER (WHERE ended_at > %(recent)s),
       coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY charged_amount) FILTER (WHERE ended_at > %(recent)s), 0),
       count(*) FILTER (WHERE ended_at <= %(recent)s),
       coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY charged_amount) FILTER (WHERE ended_at <= %(recent)s), 0)
  FROM tools_registry_toolrun
 WHERE state = 'succeeded' AND ended_at > %(since)s
 GROUP BY tool
"""


def drifts(now: datetime) -> dict[str, Drift]:
    """Each tool's drift, by slug. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_DRIFT, {"recent": now - RECENT, "since": now - SPAN})
        return {tool: Drift(*numbers) for tool, *numbers in cursor.fetchall()}
