"""Jobs as they stand in the rows after hours of work, with moments that a test chooses.

Written past the triggers, as rows copied from another database would be: what is tried here only reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction

from billing import clock, credits
from billing.models import Hold, new_id
from generations.models import Attempt, Generation, SettlementFailure, SettlementRule
from tests.billing.purse import Purse
from tools_registry.models import ToolCost

MICRO = credits.MICRO
OUTCOMES = {"succeeded": "charged", "failed": "refunded", "cancelled": "refunded", "expired": "expired"}
HOLDS = {"charged": "captured", "refunded": "released", "expired": "expired"}


@contextmanager
def past_the_triggers() -> Iterator[None]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield


class History:
    """What happened, told in seconds before now. Needs the catalogue."""

    def __init__(self, purse: Purse) -> None:
        self.purse = purse
        self.cost = ToolCost.objects.filter(tool="ai/video").first()
        self.rule = SettlementRule.objects.filter(phase="poll", status="failed", code="any").first()

    @staticmethod
    def ago(seconds: float) -> datetime:
        return clock.now() - timedelta(seconds=seconds)

    def job(
        self,
        state: str = "succeeded",
        *,
        ended: float = 60,
        took: float | None = 1,
        held_since: float = 120,
        cost: str = "1",
        code: str | None = None,
        by: str = "provider",
        **columns: Any,
    ) -> Generation:
        """A job that ended so many seconds ago, `took` seconds after its verdict; None: it had no verdict."""
        is_ended = state in OUTCOMES
        outcome = OUTCOMES.get(state, "expired" if state == "awaiting_settlement" else None)
        ended_at = self.ago(ended) if is_ended else None
        has_verdict = is_ended and took is not None
        micro = credits.parse(cost)
        with past_the_triggers():
            hold = Hold.objects.create(
                account_id=self.purse.id,
                owner="job",
                reference="history",
                amount=micro,
                captured=micro if outcome == "charged" else 0,
                state=HOLDS.get(outcome or "", "open"),
                receipt_lots=[new_id()],
                receipt_amounts=[micro],
                placed_at=self.ago(held_since),
                placed_on=self.ago(held_since).date(),
                expires_at=self.ago(held_since - 3600),
                ended_at=(ended_at or self.ago(0)) if outcome else None,
                moved_by=1,
            )
            return Generation.objects.create(
                **{
                    "account_id": self.purse.id,
                    "actor": "user:1",
                    "operation": "ai/video",
                    "inputs": {"prompt": "A lighthouse"},
                    "provider": "rehearsal",
                    "state": state,
                    "hold": hold,
                    "tool_cost": self.cost,
                    "estimate_min": 0,
                    "estimate_typical": micro,
                    "estimate_max": micro,
                    "explanation": "",
                    "verdict_at": ended_at - timedelta(seconds=took or 0) if has_verdict and ended_at else None,
                    "verdict_status": ("completed" if state == "succeeded" else "failed") if has_verdict else None,
                    "verdict_code": code if has_verdict else None,
                    "verdict_rule": self.rule if has_verdict else None,
                    "credits_charged": state == "succeeded" if is_ended else None,
                    "charged_amount": micro if state == "succeeded" else None,
                    "charged_at": ended_at,
                    "outcome": outcome,
                    "ended_at": ended_at,
                    "settled_by": by if is_ended else "",
                    "error_code": code,
                    "created_at": self.ago(held_since),
                }
                | columns
            )

    def jobs(self, count: int, *terms: Any, **more: Any) -> list[Generation]:
        return [self.job(*terms, **more) for _ in range(count)]

    def change(self, job: Generation, **columns: Any) -> None:
        with past_the_triggers():
            Generation.objects.filter(id=job.id).update(**columns)

    def ends(self, job: Generation) -> None:
        """An undecided job is settled now: failed and refunded."""
        now = clock.now()
        with past_the_triggers():
            Hold.objects.filter(id=job.hold_id).update(state="released", ended_at=now)
            Generation.objects.filter(id=job.id).update(
                state="failed", outcome="refunded", credits_charged=False, charged_at=now, ended_at=now,
                settled_by="provider",
            )  # fmt: skip

    def breaks(self, job: Generation, *, seconds_ago: float = 30, times: int = 1) -> None:
        """Settling the job raised, so often."""
        for _ in range(times):
            SettlementFailure.objects.create(
                account_id=self.purse.id, generation=job, occurred_at=self.ago(seconds_ago), error="ValueError: odd"
            )

    def accepts(self, provider: str) -> None:
        """The provider accepts a job now."""
        job = self.job("running", provider=provider)
        with past_the_triggers():
            Attempt.objects.create(
                account_id=self.purse.id, generation=job, number=1, started_at=clock.now(), ended_at=clock.now(),
                result="accepted",
            )  # fmt: skip

    def many(self, like: Generation, count: int, *, ended_days_ago: int) -> None:
        """As many copies of the job, each ended a day or more before the window: what a year leaves in the table."""
        columns = [
            field.column
            for field in Generation._meta.concrete_fields
            if field.column not in ("id", "hold_id", "ended_at", "verdict_at", "charged_at")
        ]
        names = ", ".join(columns)
        with past_the_triggers(), connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO generations_generation (id, hold_id, ended_at, verdict_at, charged_at, {names}) "
                f"SELECT gen_random_uuid(), gen_random_uuid(), at, at, at, {names} FROM generations_generation, "
                "  LATERAL (SELECT now() - make_interval(days => %s, secs => number) AS at "
                "             FROM generate_series(1, %s) number) moments WHERE id = %s",
                [ended_days_ago, count, like.id],
            )


def a_member_of_staff(purse: Purse) -> User:
    """Somebody who has the mail of alerts."""
    return User.objects.create_superuser(f"staff-{new_id()}", "staff@desk.test", "x")
