"""How the desk does: figures counted from the rows, and the alerts that follow from them.

Figures (S2.7, N15) read and change nothing. An alert crosses when its condition begins, is told once, and clears when
it is over: `watch()` does that each minute, one caller at a time. Thresholds are settings; docs/monitoring.md says what
each means and what to do.

Moments are the ledger's clock. What is counted stands in rows that every process shares: web and worker are different
processes, so counters in their memory would each know a part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet, Sum, TextField
from django.db.models.functions import Cast, Coalesce, TruncHour

from billing import alerts, clock, credits
from billing.alerts import Crossing, Kind
from billing.models import Alert, Entry, Hold
from tools_registry import registry

from .models import Attempt, Circuit, Generation, SettlementFailure

log = structlog.get_logger("holdfast.monitoring")

State = Generation.State
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
# Codes that say: blocked for its content.
MODERATION_CODES = ("moderation_blocked", "content_filter", "content_policy_violation")
CODES_SHOWN = 12
# Of one alert that is told for each job, so many are opened a minute; the rest follow in the next.
OPENED_AT_ONCE = 100
# Whether a provider accepts again is read from so many of the newest attempts, whatever their number a day.
NEWEST_ATTEMPTS = 5000


# Figures: S2.7


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Jobs whose charge is not decided, and in microcredits what they may cost at most."""

    jobs: int = 0
    credits: int = 0
    by_state: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def unsettled() -> Unsettled:
    """Jobs with `credits_charged` null at this moment: how many, their estimates' maximum together, both by state.

    Those in `awaiting_settlement` hold nothing any more; the others hold that maximum. One query over the index
    `generation_unsettled`, as dear as there are such jobs.
    """
    rows = Generation.objects.filter(credits_charged=None).values_list("state")
    sums = rows.annotate(jobs=Count("id"), credits=Sum("estimate_max")).order_by("state")
    by_state = {state: (jobs, int(micro)) for state, jobs, micro in sums}
    return Unsettled(sum(jobs for jobs, _ in by_state.values()), sum(micro for _, micro in by_state.values()), by_state)


def failures_by_code(since: datetime) -> list[tuple[str, int]]:
    """Jobs that failed or expired since then, by error code, most first: the CODES_SHOWN most frequent codes.

    Cancelled jobs are not failures. One query over the index `generation_ended`, as dear as jobs ended since.
    """
    ended = Generation.objects.filter(ended_at__gte=since, state__in=(State.FAILED, State.EXPIRED))
    rows = ended.values_list("error_code").annotate(jobs=Count("id")).order_by("-jobs", "error_code")
    return [(code or "unknown", jobs) for code, jobs in rows[:CODES_SHOWN]]


def charged_since(moment: datetime) -> int:
    """Microcredits that captures, draws, late captures and charges took since then, less what was refunded since then.

    A refund counts at its own time, whenever the charge was; so the figure can be negative. Everybody's, the API's
    charges too. One query over the lines since then by their ids, which begin with their time.
    """
    lines = Entry.objects.filter(id__gte=first_id_of(moment - timedelta(minutes=5)), created_at__gte=moment)
    sums = lines.aggregate(
        charged=Sum("amount", filter=Q(kind__in=["capture", "draw", "late_capture", "charge"])),
        refunded=Sum("amount", filter=Q(kind="refund")),
    )
    return int(sums["charged"] or 0) - int(sums["refunded"] or 0)


def midnight(now: datetime) -> datetime:
    """When the UTC day began, to which "today" belongs."""
    return datetime.combine(now.astimezone(UTC).date(), datetime.min.time(), UTC)


def first_id_of(moment: datetime) -> UUID:
    """The smallest id that can have been made at a moment: ids begin with their time, so they are an index of it."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


# Figures: N15


@dataclass(frozen=True, slots=True)
class InHolds:
    """Open holds, of jobs and of other backends, and what is still held in them, in microcredits."""

    holds: int = 0
    credits: int = 0
    of_jobs: int = 0
    oldest_at: datetime | None = None


def in_holds() -> InHolds:
    """Every open hold at this moment: how many, Σ amount − captured, the jobs' part of that, and the oldest's start.

    The oldest unresolved hold is the open one placed first, renewed or not. One query over the index `hold_due`, as
    dear as there are open holds.
    """
    left = F("amount") - F("captured")
    sums = Hold.objects.filter(state=Hold.State.OPEN).aggregate(
        holds=Count("id"), credits=Sum(left), of_jobs=Sum(left, filter=Q(owner="job")), oldest_at=Min("placed_at")
    )
    return InHolds(sums["holds"], int(sums["credits"] or 0), int(sums["of_jobs"] or 0), sums["oldest_at"])


def oldest_hold() -> Hold | None:
    """The open hold that was placed first. One query over the open holds."""
    return Hold.objects.filter(state=Hold.State.OPEN).order_by("placed_at", "id").first()


@dataclass(frozen=True, slots=True)
class Ended:
    """The jobs that ended in a window."""

    jobs: int = 0
    # Blocked by a provider's moderation.
    blocked: int = 0
    # Failed or expired without a success, by who gave the credits back: provider, emergency, expiry, staff, other.
    failures_by: Mapping[str, int] = field(default_factory=dict)
    # From the provider's verdict to the settlement; None where nothing with a verdict was settled.
    median_seconds: float | None = None
    p95_seconds: float | None = None

    @property
    def failures(self) -> int:
        return sum(self.failures_by.values())

    @property
    def refunded_by_itself_percent(self) -> float | None:
        """The share of failures whose credits came back on the provider's word, without staff or a safety net."""
        return 100 * self.failures_by.get("provider", 0) / self.failures if self.failures else None


REFUNDED_BY = ("provider", "emergency", "expiry", "staff", "other")
ENDED = """
SELECT count(*),
       count(*) FILTER (WHERE verdict_code = ANY(%(codes)s)),
       count(*) FILTER (WHERE is_failure AND refunded_by = 'provider'),
       count(*) FILTER (WHERE is_failure AND refunded_by = 'emergency'),
       count(*) FILTER (WHERE is_failure AND refunded_by = 'expiry'),
       count(*) FILTER (WHERE is_failure AND refunded_by = 'staff'),
       count(*) FILTER (WHERE is_failure AND refunded_by = 'other'),
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE seconds IS NOT NULL)
  FROM (SELECT verdict_code,
               state = 'failed' OR (state = 'expired' AND verdict_at IS NULL) AS is_failure,
               CASE WHEN is_emergency THEN 'emergency' WHEN settled_by = 'provider' THEN 'provider'
                    WHEN settled_by = 'expiry' THEN 'expiry' WHEN settled_by LIKE 'user:%%' THEN 'staff'
                    ELSE 'other' END AS refunded_by,
               extract(epoch FROM charged_at - verdict_at)::float8 AS seconds
          FROM generations_generation
         WHERE ended_at >= %(since)s) job
"""


def ended_since(since: datetime) -> Ended:
    """Jobs that ended since then, cancelled ones included: how many, how many moderation blocked, what became of those
    that failed, and median and 95th percentile of the seconds from the provider's verdict to the settlement.

    A failure is a job that failed, or expired without its provider's success; it was refunded by itself when the
    provider's own word settled it. Seconds are those of every job with a verdict, so a success that waited for credits
    counts with its waiting. One query over the index `generation_ended`, as dear as jobs ended since.
    """
    with connection.cursor() as cursor:
        cursor.execute(ENDED, {"since": since, "codes": list(MODERATION_CODES)})
        jobs, blocked, *by, seconds = cursor.fetchone()
    median, p95 = seconds or (None, None)
    return Ended(jobs, blocked, dict(zip(REFUNDED_BY, by, strict=True)), median, p95)


def ended_by_provider(since: datetime) -> list[tuple[str, str, int]]:
    """Jobs that ended since then by provider and outcome. One query over the index `generation_ended`."""
    rows = Generation.objects.filter(ended_at__gte=since).values_list("provider", "outcome")
    return list(rows.annotate(jobs=Count("id")).order_by("provider", "outcome"))


@dataclass(frozen=True, slots=True)
class Hour:
    starts_at: datetime
    succeeded: int = 0
    failed: int = 0


def by_hour(now: datetime, hours: int = 24) -> list[Hour]:
    """The last hours, the present one last: jobs that ended with a result, and that failed or expired.

    One query over the index `generation_ended`, as dear as jobs ended since.
    """
    first = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - HOUR * (hours - 1)
    rows = (
        Generation.objects.filter(ended_at__gte=first)
        .annotate(hour=TruncHour("ended_at", tzinfo=UTC))
        .values_list("hour")
        .annotate(
            succeeded=Count("id", filter=Q(state=State.SUCCEEDED)),
            failed=Count("id", filter=Q(state__in=(State.FAILED, State.EXPIRED))),
        )
        .order_by("hour")
    )
    counted = {hour: Hour(hour, succeeded, failed) for hour, succeeded, failed in rows}
    wanted = [first + HOUR * at for at in range(hours)]
    return [counted.get(hour, Hour(hour)) for hour in wanted]


SETTLEMENTS = """
WITH broken AS (SELECT DISTINCT account_id, generation_id FROM generations_settlementfailure
                 WHERE occurred_at >= %(since)s)
SELECT (SELECT count(*) FROM broken),
       (SELECT count(*) FROM generations_generation WHERE verdict_at >= %(since)s)
       + (SELECT count(*) FROM broken JOIN generations_generation job
            ON (job.account_id, job.id) = (broken.account_id, broken.generation_id)
         WHERE (job.verdict_at >= %(since)s) IS NOT TRUE)
"""


def settlements_since(since: datetime) -> tuple[int, int]:
    """Jobs whose settlement broke since then, and jobs that were due for settlement since then.

    A job broke when a try to settle it raised, once or often, also where a later try went well. Due are those whose
    provider's verdict came since then, and those that broke since then with an older verdict. One query over the
    indexes `settlement_failure_when` and `generation_verdicts`.
    """
    with connection.cursor() as cursor:
        cursor.execute(SETTLEMENTS, {"since": since})
        broken, due = cursor.fetchone()
    return broken, due


# Alerts


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an alert stands now: against its threshold, and against what staff have been told."""

    value: str
    threshold: str
    is_crossed: bool
    # Not told yet.
    new: tuple[Crossing, ...] = ()
    # Keys of open alerts whose crossing is over.
    over: frozenset[str] = frozenset()


Told = Mapping[str, datetime]
"""The open alerts of one name: key → since when."""


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"


def _of_jobs(part: int, whole: int) -> str:
    return f"{part} of {whole} {'job' if whole == 1 else 'jobs'}" + (f", {_share(part, whole)}" if whole else "")


def settlement_failing(now: datetime, told: Told) -> Standing:
    """Of the jobs that were due for settlement in the last hour, more than 5 % broke."""
    broken, due = settlements_since(now - HOUR)
    percent, least = settings.ALERT_SETTLEMENT_PERCENT, settings.ALERT_SETTLEMENT_JOBS_MIN
    is_crossed = due >= least and 100 * broken > percent * due
    new = []
    if is_crossed and not told:
        errors = SettlementFailure.objects.filter(occurred_at__gte=now - HOUR).values_list("error")
        commonest = errors.annotate(tries=Count("id")).order_by("-tries", "error")[:3]
        facts = {
            "broken_percent": f"{100 * broken / due:.1f}",
            "threshold_percent": percent,
            "commonest_errors": [f"{error[:150]} ({tries} ×)" for error, tries in commonest],
        }
        new.append(
            Crossing(f"Settling broke for {broken} of the {due} jobs that were due in the last hour.", "", facts)
        )
    return Standing(
        _of_jobs(broken, due),
        f"over {percent} % of at least {least} jobs in an hour",
        is_crossed,
        tuple(new),
        frozenset() if is_crossed else frozenset(told),
    )


def moderation_blocks_often(now: datetime, told: Told) -> Standing:
    """Of the jobs that ended in the last 24 hours, more than 20 % were blocked by moderation."""
    ended = ended_since(now - DAY)
    percent, least = settings.ALERT_MODERATION_PERCENT, settings.ALERT_MODERATION_JOBS_MIN
    is_crossed = ended.jobs >= least and 100 * ended.blocked > percent * ended.jobs
    new = []
    if is_crossed and not told:
        blocked = Generation.objects.filter(ended_at__gte=now - DAY, verdict_code__in=MODERATION_CODES)
        by = blocked.values_list("provider", "operation").annotate(jobs=Count("id")).order_by("-jobs")[:3]
        facts = {
            "blocked_percent": f"{100 * ended.blocked / ended.jobs:.1f}",
            "threshold_percent": percent,
            "accounts": blocked.aggregate(accounts=Count("account", distinct=True))["accounts"],
            "most_of_them": [f"{operation} at {provider} ({jobs} ×)" for provider, operation, jobs in by],
        }
        says = f"Moderation blocked {ended.blocked} of the {ended.jobs} jobs that ended in the last 24 hours."
        new.append(Crossing(says, "", facts))
    return Standing(
        _of_jobs(ended.blocked, ended.jobs),
        f"over {percent} % of at least {least} jobs in 24 hours",
        is_crossed,
        tuple(new),
        frozenset() if is_crossed else frozenset(told),
    )


def _ids(told: Told) -> dict[UUID, str]:
    """The keys that are ids."""
    found = {}
    for key in told:
        try:
            found[UUID(key)] = key
        except ValueError:
            continue
    return found


def _each_job(value: str, threshold: str, rows: QuerySet[Generation], told: Told, tell: Any, count: int) -> Standing:
    """An alert for each of the jobs: new ones told, OPENED_AT_ONCE at a time; those no more among them are over."""
    known = _ids(told)
    new = tuple(tell(job) for job in rows.exclude(id__in=list(known)).order_by("id")[:OPENED_AT_ONCE])
    still = {known[id] for id in rows.filter(id__in=list(known)).values_list("id", flat=True)}
    return Standing(value, threshold, count > 0, new, frozenset(told.keys() - still))


def hold_open_long(now: datetime, told: Told) -> Standing:
    """A job has kept credits in an open hold for longer than HOLD_ALERT_SECONDS. An alert for each."""
    rows = (
        Generation.objects.filter(credits_charged=None, state__in=(State.QUEUED, State.SUBMITTING, State.RUNNING))
        .annotate(
            held_since=Coalesce("hold__placed_at", "share__hold__placed_at"),
            of_hold=Coalesce("hold__state", "share__hold__state"),
        )
        .filter(of_hold=Hold.State.OPEN, held_since__lte=now - timedelta(seconds=settings.HOLD_ALERT_SECONDS))
    )
    hours = f"{settings.HOLD_ALERT_SECONDS / 3600:g} hours"

    def tell(job: Any) -> Crossing:
        return Crossing(
            f"A job at {job.provider} has held {credits.display(job.estimate_max)} credits for more than {hours}.",
            str(job.id),
            {
                "generation": str(job.id),
                "operation": job.operation,
                "provider": job.provider,
                "state": job.state.replace("_", " "),
                "held_credits": credits.format(job.estimate_max),
                "held_since_at": job.held_since.isoformat(),
            },
        )

    count = rows.count()
    return _each_job(f"{count} {'job' if count == 1 else 'jobs'}", f"a hold open over {hours}", rows, told, tell, count)


def job_needs_review(now: datetime, told: Told) -> Standing:
    """A job has a reason on it for which staff should look at it. An alert for each."""
    rows = Generation.objects.exclude(review="")

    def tell(job: Generation) -> Crossing:
        return Crossing(
            job.review,
            str(job.id),
            {"generation": str(job.id), "provider": job.provider, "held_credits": credits.format(job.estimate_max)},
        )

    count = rows.count()
    return _each_job(f"{count} {'job' if count == 1 else 'jobs'}", "any job with a question", rows, told, tell, count)


def emergency_release(now: datetime, told: Told) -> Standing:
    """The safety net gave a job's credits back. An alert for each, until staff close it or a day has gone by."""
    since = now - timedelta(seconds=settings.ALERT_EMERGENCY_SECONDS)
    recent = Generation.objects.filter(is_emergency=True, ended_at__gte=since)
    was_told = Alert.objects.filter(name="emergency_release", key=Cast(OuterRef("id"), TextField()))
    new = tuple(
        Crossing(
            f"Settling a job that {job.provider} had failed broke again and again, so the safety net gave its "
            f"{credits.display(job.estimate_max)} credits back.",
            str(job.id),
            {
                "generation": str(job.id),
                "provider": job.provider,
                "operation": job.operation,
                "given_back_credits": credits.format(job.estimate_max),
                "given_back_at": job.ended_at.isoformat() if job.ended_at else None,
            },
        )
        for job in recent.exclude(Exists(was_told)).order_by("ended_at")[:OPENED_AT_ONCE]
    )
    known = _ids(told)
    still = {known[id] for id in recent.filter(id__in=list(known)).values_list("id", flat=True)}
    count = recent.count()
    value = f"{count} {'release' if count == 1 else 'releases'} in 24 hours"
    return Standing(value, "any", count > 0, new, frozenset(told.keys() - still))


def provider_unreachable(now: datetime, told: Told) -> Standing:
    """A provider's circuit is open: it is left alone for a while. An alert for each provider."""
    rows = {row.provider: row for row in Circuit.objects.filter(opened_at__isnull=False)}
    new = tuple(
        Crossing(
            f"The provider {name} cannot be reached. Its jobs wait, and it is tried again every minute or so.",
            name,
            {
                "provider": name,
                "last_error": row.last_error,
                "unreachable_since_at": row.opened_at.isoformat() if row.opened_at else None,
            },
        )
        for name, row in sorted(rows.items())
        if name not in told
    )
    value = ", ".join(sorted(rows)) or "every provider answers"
    return Standing(value, "a provider that answers nobody", bool(rows), new, frozenset(told.keys() - rows.keys()))


def provider_refuses_us(now: datetime, told: Told) -> Standing:
    """A provider refuses our key or our bill. Opened by the refusal; over when it has accepted a job after that.

    No query while none is open; else one over the newest attempts.
    """
    over: set[str] = set()
    if told:
        newest = Attempt.objects.order_by("-id").values("id")[:NEWEST_ATTEMPTS]
        accepted = Attempt.objects.filter(
            id__in=newest, result=Attempt.Result.ACCEPTED, generation__provider__in=list(told)
        )
        last = accepted.values_list("generation__provider").annotate(at=Max("ended_at"))
        over = {provider for provider, at in last if at is not None and at > told[provider]}
    still = sorted(told.keys() - over)
    value = ", ".join(still) or "none refuses us"
    return Standing(value, "a refusal of our key or bill", bool(still), (), frozenset(over))


def provider_changed_its_word(now: datetime, told: Told) -> Standing:
    """A provider said something else after its verdict. Opened by that; staff close it."""
    value = f"{len(told)} not closed" if told else "none"
    return Standing(value, "any", bool(told))


def tool_left_out(now: datetime, told: Told) -> Standing:
    """A module of the studio that cannot be loaded, as this process found it when it started. No query."""
    new = tuple(
        Crossing(f"{module} cannot be loaded. {why}", module, {"why": why})
        for module, why in sorted(registry.BROKEN.items())
        if module not in told
    )
    value = ", ".join(sorted(registry.BROKEN)) or "every tool is there"
    over = frozenset(told.keys() - registry.BROKEN.keys())
    return Standing(value, "a module that cannot be loaded", bool(registry.BROKEN), new, over)


WATCHED: dict[str, Callable[[datetime, Told], Standing]] = {
    function.__name__: function
    for function in (
        settlement_failing,
        emergency_release,
        hold_open_long,
        moderation_blocks_often,
        provider_unreachable,
        provider_refuses_us,
        provider_changed_its_word,
        job_needs_review,
        tool_left_out,
    )
}

about_a_job = partial(Kind, page_of_key="admin:generations_generation_change", about="The job")
KINDS = (
    Kind(
        "settlement_failing",
        "Settlements break",
        "Look for “settlement” in the worker’s log: the same error is on each job’s page. Nothing is lost meanwhile: "
        "a job that broke is tried again, and one that its provider failed is given back by the safety net. After the "
        "cause is put right, `manage.py resettle` settles what is left.",
        is_closed_by_staff=False,
    ),
    about_a_job(
        "emergency_release",
        "An emergency release",
        "The customer has the credits back. Find out why settling broke (the job’s page has the errors), then close "
        "this alert. It closes by itself a day after the release.",
    ),
    about_a_job(
        "emergency_release_broke",
        "An emergency release broke",
        "The customer’s credits are still held although the provider failed the job. Run `manage.py reconcile` and see "
        "the error in the worker’s log; end the job by hand on its page, then close this alert.",
    ),
    about_a_job(
        "hold_open_long",
        "A job holds credits for too long",
        "See on the job’s page what its provider last said. If the provider lost it, end it there and give the credits "
        "back; if it is at work, nothing need be done: the hold ends by itself in the end.",
        is_closed_by_staff=False,
    ),
    Kind(
        "moderation_blocks_often",
        "Moderation blocks many jobs",
        "See under Generations which operation and provider it is, and what was asked for. One account that tries to "
        "get around moderation can be frozen; a provider that has become stricter can be taken off under Providers.",
        is_closed_by_staff=False,
    ),
    Kind(
        "provider_unreachable",
        "A provider cannot be reached",
        "Its jobs wait and lose nothing: the credits of those whose hold ends come back. See the provider’s own status "
        "page, its key and its address; while it is away it can be taken off under Providers.",
        is_closed_by_staff=False,
    ),
    Kind(
        "provider_refuses_us",
        "A provider refuses us",
        "The key is wrong or used up, or a bill is open. Put it right with the provider; every job sent to it fails at "
        "once and is given back until then. It clears when the provider accepts a job again.",
    ),
    about_a_job(
        "provider_changed_its_word",
        "A provider changed its word",
        "The first word stands and nothing was moved. See both words on the job’s page, ask the provider whether it "
        "bills us for it, and close the alert.",
    ),
    about_a_job(
        "job_needs_review",
        "A job needs a decision",
        "Open the review: it says what is unclear. Say what the provider’s answer means, or settle it by hand.",
        is_closed_by_staff=False,
        page_of_key="admin:generations_generation_review",
        about="The review",
    ),
    Kind(
        "tool_left_out",
        "A tool cannot be loaded",
        "It is not in the studio; everything else runs, and what was run of it stays on its accounts. Its module or a "
        "library of it is broken: put it back to what worked, and restart.",
        is_closed_by_staff=False,
    ),
)


def standings(now: datetime) -> dict[str, Standing]:
    """Where each alert stands, by its name; reads only. As many queries with many rows as with few."""
    told = _told()
    return {name: look(now, told.get(name, {})) for name, look in WATCHED.items()}


def _told() -> dict[str, dict[str, datetime]]:
    told: dict[str, dict[str, datetime]] = {}
    opened = Alert.objects.filter(name__in=list(WATCHED), cleared_at=None)
    for name, key, opened_at in opened.values_list("name", "key", "opened_at"):
        told.setdefault(name, {})[key] = opened_at
    return told


WATCHER = 0x486F6C64_57617463  # "HoldWatc": the advisory lock of whoever watches


def watch() -> bool:
    """Every condition was looked at: what crossed has an open alert, what is over is cleared. False: another watched.

    One watcher at a time, by an advisory lock, so that nobody opens by what was true before another cleared it. One
    that breaks holds up no other; its error is raised at the end. Safe to repeat.
    """
    broken: Exception | None = None
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [WATCHER])
            if not cursor.fetchone()[0]:
                return False
        now, told = clock.now(), _told()
        for name, look in WATCHED.items():
            try:
                with transaction.atomic():
                    standing = look(now, told.get(name, {}))
                    alerts.open_all(name, standing.new)
                    if standing.over:
                        alerts.clear_all(name, standing.over)
            except Exception as error:
                log.exception("watch_failed", alert=name)
                broken = error
            else:
                if standing.new or standing.over:
                    log.warning("alerts_changed", alert=name, opened=len(standing.new), cleared=len(standing.over))
    if broken is not None:
        raise broken
    return True


def failures_of_settlement(since: datetime) -> list[SettlementFailure]:
    """The newest tries to settle that broke since then, for a page. One query over `settlement_failure_when`."""
    rows = SettlementFailure.objects.filter(occurred_at__gte=since).select_related("generation")
    return list(rows.order_by("-occurred_at")[:10])
