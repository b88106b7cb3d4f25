"""How each tool does, for staff: runs, people, what was charged, what failed. Amounts are microcredits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

SPAN = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Fared:
    """A tool's last 30 days."""

    runs: int = 0
    people: int = 0
    charged: int = 0
    succeeded: int = 0
    refused: int = 0
    stopped: int = 0
    median_seconds: float | None = None

    @property
    def failed_percent(self) -> float | None:
        """Of the runs that ended, those stopped by a limit or a fault; wrong inputs are no failure of the tool."""
        ended = self.succeeded + self.stopped
        return self.stopped * 100 / ended if ended else None


_FARED = """
SELECT tool, count(*), count(DISTINCT owner), coalesce(sum(charged_amount), 0)::bigint,
       count(*) FILTER (WHERE state = 'succeeded'), count(*) FILTER (WHERE state = 'refused'),
       count(*) FILTER (WHERE state = 'stopped'),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY wall_seconds::double precision) FILTER (WHERE state = 'succeeded')
  FROM tools_registry_toolrun
 WHERE created_at > %(since)s
 GROUP BY tool
"""


def by_tool(now: datetime) -> dict[str, Fared]:
    """Each tool's last 30 days, by slug. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_FARED, {"since": now - SPAN})
        return {tool: Fared(*counts) for tool, *counts in cursor.fetchall()}
