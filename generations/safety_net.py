"""What catches a job that the ordinary way dropped: a settlement that breaks, a wrong charge, however old.

Nothing here decides who pays. The provider's recorded word and its rule have decided that; here it is carried out when
carrying it out broke, or was never done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import OperationalError, connection, transaction
from django.db.models import Count, Q, QuerySet

from billing import alerts, clock, credits, errors, ledger
from billing.models import Entry

from . import lifecycle, settlement
from .lifecycle import OWNER, change, lock_job, note_failure, once_more
from .models import Generation

log = structlog.get_logger("holdfast.safety_net")

State, Outcome = Generation.State, Generation.Outcome

# So often the settlement of a provider's failure may break before its credits are given back without it.
FAILURES_MAX = 3
# What the database says when somebody kept a lock for too long, or a statement took too long.
KEPT_WAITING = ("55P03", "57014")


# Settlements that break


def settle(job_ids: Iterable[UUID], by: str = "provider") -> None:
    """What lifecycle.settle does; and where it breaks, for each job by itself, with the broken ones noted.

    Where it was kept waiting, for each account by itself: one that somebody keeps locked delays no other.
    """
    ids = list(job_ids)
    try:
        lifecycle.settle(ids, by)
    except OperationalError as error:
        of_accounts = _by_account(ids) if getattr(error.__cause__, "sqlstate", None) in KEPT_WAITING else []
        if len(of_accounts) < 2:
            raise  # the database's trouble is nobody's job in particular; they stay due
        log.warning("settlements_taken_apart", jobs=len(ids), accounts=len(of_accounts), error=str(error))
        for some in of_accounts:
            try:
                settle(some, by)
            except OperationalError:
                log.exception("settlements_left", jobs=len(some))
    except Exception as error:
        connection.close_if_unusable_or_obsolete()
        if len(ids) > 1:
            log.exception("settlements_taken_apart", jobs=len(ids))
            for one in ids:
                settle([one], by)
            return
        log.exception("settlement_broke", job=str(ids[0]))
        job = Generation.objects.get(id=ids[0])
        note_failure(job, f"{type(error).__name__}: {error}")


def _by_account(ids: list[UUID]) -> list[list[UUID]]:
    found: dict[UUID, list[UUID]] = defaultdict(list)
    for account, one in Generation.objects.filter(id__in=ids).order_by("id").values_list("account_id", "id"):
        found[account].append(one)
    return list(found.values())


def rescue(limit: int = 50) -> int:
    """Failures whose settlement broke FAILURES_MAX times have their credits back; says how many now."""
    broken = (
        Generation.objects.filter(credits_charged=None, verdict_rule__outcome=settlement.RELEASE)
        .annotate(failures=Count("settlement_failures"))
        .filter(failures__gte=FAILURES_MAX)
    )
    return sum(_rescued(job_id) for job_id in list(broken.values_list("id", flat=True)[:limit]))


def _rescued(job_id: UUID) -> bool:
    try:
        return emergency_release(job_id)
    except OperationalError:
        raise  # the database's trouble is nobody's job in particular; it stays broken, and is tried again
    except Exception as error:
        log.exception("emergency_release_broke", job=str(job_id))
        connection.close_if_unusable_or_obsolete()
        alerts.open_alert(
            "emergency_release_broke",
            key=str(job_id),
            sentence="Credits of a job that its provider failed cannot be given back, not even in an emergency.",
            facts={"generation": str(job_id), "error": f"{type(error).__name__}: {error}"[:300]},
        )
        return False


@once_more
def emergency_release(job_id: UUID, by: str = "emergency") -> bool:
    """The credits of a job that its provider has failed are back, by nothing but a release and the job's own row.

    Only with a recorded terminal failure whose settlement broke before: raises CannotSettle otherwise. False where the
    job has ended meanwhile. Staff are told (S2.5).
    """
    with transaction.atomic(durable=not connection.in_atomic_block):
        job = lock_job(job_id, wait=True)
        if job is None:
            raise lifecycle.JobNotFound
        if job.is_ended:
            return False
        rule = job.verdict_rule
        if rule is None or rule.outcome != settlement.RELEASE or not job.settlement_failures.exists():
            raise lifecycle.CannotSettle("Only a provider’s recorded failure, whose settlement broke, is released so.")
        # refusing ends

        now = clock.now()
        if job.state != State.AWAITING_SETTLEMENT:
            ledger.release(job.account_id, hold=job.hold_id, owner=OWNER, actor=by, reason="emergency release")
        change(
            job,
            state=State.CANCELLED if job.verdict_status == "cancelled" else State.FAILED,
            outcome=Outcome.REFUNDED,
            credits_charged=False,
            charged_at=now,
            ended_at=now,
            settled_by=by,
            is_emergency=True,
            error_code=job.verdict_code or job.verdict_status,
            error_message=(job.verdict_message or "The provider could not finish it.")[:1000],
            review="",
        )
    log.error("emergency_release", job=str(job_id), by=by)
    try:
        _tell_of_emergency(job, by)
    except Exception:  # telling may be what was broken; the credits are back all the same
        log.exception("emergency_release_not_told", job=str(job_id))
        connection.close_if_unusable_or_obsolete()
    return True


def _tell_of_emergency(job: Generation, by: str) -> None:
    back = credits.display(job.estimate_max)
    alerts.open_alert(
        "emergency_release",
        key=str(job.id),
        sentence=f"{back} credits were given back in an emergency: settling broke.",
        facts={"generation": str(job.id), "account": str(job.account_id), "by": by},
    )
    alerts.clear_alert("job_needs_review", key=str(job.id))
    alerts.notify(
        job.account_id,
        f"job:{job.id}:ended",
        f"“{job.title}” was not made. Your {back} credits are back.",
        body=job.error_message or "",
        link=f"/generations/{job.id}",
        level="warning",
    )


# Putting the past right


@dataclass(frozen=True, slots=True)
class Wrong:
    """A job whose provider has said that it failed, and whose credits are not back."""

    job: UUID
    what: str  # charged, or open
    amount: int
    entry: UUID | None = None


def find_wrong() -> Iterator[Wrong]:
    """Every job, of any age, that its provider failed and that was charged for it, or whose hold still stands."""
    failed = Q(verdict_rule__outcome=settlement.RELEASE) | Q(verdict_status__in=("failed", "cancelled"))
    charged = Generation.objects.filter(failed, credits_charged=True).order_by("id")
    for job in charged.iterator(500):
        for entry, left in _still_charged(job):
            yield Wrong(job.id, "charged", left, entry)
    stuck = Generation.objects.filter(verdict_at__isnull=False, credits_charged=None).order_by("id")
    for job in stuck.filter(verdict_rule__outcome=settlement.RELEASE).iterator(500):
        yield Wrong(job.id, "open", job.estimate_max)


def _still_charged(job: Generation) -> Iterator[tuple[UUID, int]]:
    """The lines that charged the job, each with what of it was not refunded yet."""
    spent = Entry.objects.filter(account_id=job.account_id, hold=job.hold_id, kind__in=("capture", "late_capture"))
    for entry in spent:
        back = Entry.objects.filter(account_id=job.account_id, refunds_id=entry.id, kind="refund")
        left = -entry.balance_delta - sum(back.values_list("balance_delta", flat=True))
        if left > 0:
            yield entry.id, left


def put_right(wrong: Wrong) -> bool:
    """The wrongly kept credits are back: refunded, or released by the settlement. False where somebody was first."""
    job = Generation.objects.get(id=wrong.job)
    if wrong.entry is not None:
        reason = f"The provider said that it {job.verdict_status}; nothing is charged for that."
        try:
            ledger.refund(job.account_id, entry=wrong.entry, actor="resettle", reason=reason)
        except (errors.RefundExceedsSpent, errors.NothingToRefund):
            return False
        back = credits.display(wrong.amount)
        alerts.notify(
            job.account_id,
            f"job:{job.id}:resettled",
            f"“{job.title}” had failed and was charged. Your {back} credits are back.",
            link=f"/generations/{job.id}",
            level="good",
        )
        return True
    settle([job.id], by="resettle")
    job.refresh_from_db()
    if not job.is_ended and job.settlement_failures.exists():
        emergency_release(job.id, by="resettle")
        job.refresh_from_db()
    return job.is_ended


def unheard(hours: float) -> QuerySet[Generation]:
    """Jobs submitted so long ago whose provider has given no verdict, or was not asked for one since."""
    before = clock.now() - timedelta(hours=hours)
    jobs = Generation.objects.filter(credits_charged=None, verdict_at=None, provider_job_id__isnull=False)
    return jobs.filter(submitted_at__lte=before).order_by("submitted_at")
