"""The trip of a credit through one job, read top to bottom: start, submit, poll, fetch, settle; then what else can
happen to it: cancel, expire, late capture, waiver. rounds.py asks the providers, many at once, in between.

Three rules hold everywhere. What we are about to do is committed before the provider is called, so that a pulled plug
leaves a state and not a guess. No call to the outside happens inside a transaction. Only the holder of a job's latest
`claim` writes an answer down, and only the first terminal word moves money.

Locks: the job (by id), then its account (by the ledger).
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, BinaryIO, TypeVar, cast
from uuid import UUID

import structlog
from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django_q.tasks import async_task

from billing import alerts, book, clock, credits, errors, ledger, steps
from billing.models import Account, Hold, Lot, Notice, new_id
from tools_registry import pricing, registry
from tools_registry.models import ToolCost

from . import bounds, columns, explain, outputs, pacing, providers, reviews, routes, settlement
from .models import Attempt, Generation, Output, ProviderJob, SettlementFailure, SettlementRule
from .providers import calls
from .providers.base import (
    Accepted,
    Answer,
    Job,
    NotCancellable,
    NotOffered,
    OutputUnavailable,
    Provider,
    ProviderError,
    Refused,
    TryLater,
    Unknown,
    clean_text,
)

log = structlog.get_logger("holdfast.lifecycle")

State, Outcome = Generation.State, Generation.Outcome
OWNER = book.JOB
UNDER_WAY = (State.QUEUED, State.SUBMITTING, State.RUNNING)

# A crash or a doubt that repeats is not tried for ever: after so many attempts without an end the job waits for its
# hold to expire, and staff are asked.
DOUBTS_MAX = 3
# For how long nobody else asks about a job that one worker is asking about.
LEASE_SECONDS = 60
# So long after its settlement a job's provider is asked once more, to see whether it takes its word back.
LOOK_BACK_SECONDS = 30


class JobNotFound(errors.BillingError):
    code = "not_found"
    status = 404
    sentence = "There is no such generation."
    reason = "No generation of this account has that id."
    action = "Check the id."


class CannotCancel(errors.BillingError):
    code = "not_cancellable"
    status = 409
    sentence = "This cannot be cancelled any more."
    reason = "It has ended, or its provider cannot stop it."
    action = "Wait for its end: if it fails, its credits come back by themselves."


class ProviderNotOffered(errors.BillingError):
    code = "invalid_fields"
    status = 422
    sentence = "That provider is not offered for this operation."
    reason = "It is not set up here, or cannot run this operation."
    action = "Leave the provider out, or choose one that is offered."


class CannotSettle(errors.BillingError):
    code = "cannot_settle"
    status = 409
    sentence = "This job cannot be settled like that."
    reason = "Its state, or what its provider said, does not allow it."
    action = "Look at the job again: it may have been settled meanwhile."


Verb = TypeVar("Verb", bound=Callable[..., Any])

# What another try can put right: serialization failure, deadlock, a connection lost (08) or ended by the server (57P).
GIVEN_UP = ("40001", "40P01", "08", "57P")


def once_more(verb: Verb) -> Verb:
    """The verb, tried once more when the database gave up a transaction it could run again, or a connection broke."""

    @wraps(verb)
    def twice(*args: Any, **named: Any) -> Any:
        try:
            return verb(*args, **named)
        except OperationalError as error:
            state = getattr(error.__cause__, "sqlstate", None) or "08000"
            if connection.in_atomic_block or not state.startswith(GIVEN_UP):
                raise
            log.warning("tried_again", verb=getattr(verb, "__name__", "?"), sqlstate=state)
            connection.close_if_unusable_or_obsolete()
            return verb(*args, **named)

    return twice  # type: ignore[return-value]


# Estimate and start


@dataclass(frozen=True, slots=True)
class Quote:
    """What a job would cost, and all that starting it needs."""

    operation: registry.Operation
    inputs: dict[str, Any]
    cost: ToolCost
    estimate: pricing.Estimate
    provider: Provider

    @property
    def takes_free_credits(self) -> bool:
        """Whether plan and promotional credits pay it also before the account's first payment."""
        return not self.provider.is_real or self.cost.takes_free_credits


def quote(operation: Any, inputs: Any, provider: str | None = None) -> Quote:
    """The estimate of these inputs; raises InvalidInputs, UnknownOperation or ProviderNotOffered. Moves nothing."""
    known = registry.operation(operation)
    cleaned = known.clean(inputs)
    offered = routes.offered(known.slug)
    if provider is not None:
        offered = [one for one in offered if one.name == provider]
    if not offered:
        raise ProviderNotOffered(fields={"provider": ["This provider is not offered for this operation."]})
    cost = ToolCost.objects.in_force(known.slug, clock.Now())
    if cost is None:
        raise registry.UnknownOperation("This operation has no price yet, so it cannot be run.")
    estimate = pricing.estimate(cost.model, cost.rates, cleaned)
    return Quote(known, cleaned, cost, estimate, offered[0])


@dataclass(frozen=True, slots=True)
class Started:
    generation: Generation
    # The status of the first answer, when this request was answered before.
    repeated_status: int | None = None


def start(
    account: UUID,
    of: Quote,
    *,
    actor: str,
    user: int | None = None,
    key: ledger.Key | None = None,
    also: Callable[[Generation], None] | None = None,
) -> Started:
    """The hold is placed, the job recorded and its submission queued, all or nothing, with what `also` writes.

    Holds the estimate's maximum. `key.made` is the new job's id. Raises the ledger's refusals, in their order.
    """
    job_id = key.made if key is not None else new_id()
    hold_id = new_id()
    job = Generation(
        id=job_id,
        account_id=account,
        user_id=user,
        actor=actor,
        operation=of.operation.slug,
        inputs=of.inputs,
        provider=of.provider.name,
        hold_id=hold_id,
        tool_cost=of.cost,
        estimate_min=of.estimate.min,
        estimate_typical=of.estimate.typical,
        estimate_max=of.estimate.max,
        explanation=of.estimate.explanation,
    )
    place = steps.PlaceHold(
        actor=actor,
        user=user,
        amount=of.estimate.max,
        takes_free_credits=of.takes_free_credits,
        id=hold_id,
        owner=OWNER,
        reference=str(job_id),
        label=f"{of.operation.title} · “{job.title}”",
        link=f"/generations/{job_id}",
        price_version=of.cost.id,
        expires_in_seconds=settings.HOLD_SECONDS,
    )

    def record(done: list[ledger.Outcome]) -> None:
        if of.provider.is_real:
            bounds.refuse_costly(account, of.provider.name)
            bounds.refuse_unsettled(account, of.estimate.max)
        placed = done[0].line.created_at
        job.created_at = job.next_poll_at = placed
        job.save(force_insert=True)
        if also is not None:
            also(job)
        _enqueue("generations.tasks.follow", job_id)

    with transaction.atomic(durable=True):
        outcome = ledger.post_one(account, place, key=key, also=record)
    if outcome.repeat is not None:
        return Started(Generation.objects.get(account_id=account, id=outcome.repeat.made), outcome.repeat.status)
    return Started(job)


def _enqueue(path: str, job_id: UUID) -> None:
    """A task that commits or vanishes with this transaction; with Redis it follows the commit, and may be lost.

    The queue is a hint: the sweep finds whatever is due without it.
    """
    if "orm" in settings.Q_CLUSTER:
        async_task(path, str(job_id))
    else:
        transaction.on_commit(lambda: async_task(path, str(job_id)), robust=True)


# Submit


@once_more
def claim_submission(job_id: UUID) -> tuple[Generation, Attempt] | None:
    """QUEUED → SUBMITTING, an attempt recorded, an hour from now on the hold: one commit, before the call."""
    with transaction.atomic(durable=True):
        job = lock_job(job_id, state=State.QUEUED)
        now = clock.now()
        if job is None or (job.next_poll_at and job.next_poll_at > now):
            return None
        if not _may_be_submitted(job, now):
            return None
        _renew(job, now, since=job.submitted_at or now)
        number = job.attempt_count + 1
        attempt = Attempt.objects.create(account_id=job.account_id, generation=job, number=number, started_at=now)
        change(
            job,
            state=State.SUBMITTING,
            claim=job.claim + 1,
            attempt_count=number,
            submitted_at=job.submitted_at or now,
            # Who finds it still SUBMITTING then, finds a doubt: the call has ended (connecting, sending and the answer
            # have their time-out each) or its worker is gone.
            next_poll_at=now + timedelta(seconds=_submit_seconds(job) * 4),
        )
        return job, attempt


def _submit_seconds(job: Generation) -> float:
    try:
        return _provider(job).submit_seconds(job.operation) or settings.PROVIDER_TIMEOUT_SECONDS
    except ProviderError:
        return float(settings.PROVIDER_TIMEOUT_SECONDS)


async def submitted(job: Generation, graph: dict[str, Any] | None) -> Accepted:
    """The call itself; no database here: it runs on the providers' loop."""
    try:
        provider = providers.get(job.provider)
    except NotOffered as error:
        raise TryLater("not_offered", message=str(error)) from error  # nobody was asked
    return await provider.submit(_as_job(job, graph))


def hear_submission(job: Generation, attempt: Attempt, said: Accepted | ProviderError) -> list[Generation]:
    """How the provider took the job is written down. Gives the job where its verdict is in already."""
    if isinstance(said, TryLater):
        _put_back(job, attempt, said)
    elif isinstance(said, Refused):
        return _record_refusal(job, attempt, said)
    elif isinstance(said, ProviderError):
        _end_attempt(attempt, Attempt.Result.DOUBT, _evidence(said))
        log.warning("submission_in_doubt", job=str(job.id), provider=job.provider, status=said.status)
    else:
        _record_acceptance(job, said, attempt)
        if said.answer is not None:
            return _hear_at_once(job, said.answer, said.content)
    return []


def _hear_at_once(job: Generation, answer: Answer, content: bytes | None) -> list[Generation]:
    """A provider that finished while we waited: its verdict and what it made are written down together.

    May be tried again: what it made may be had only now.
    """
    hear([(job, answer)])
    heard = Generation.objects.select_related("verdict_rule").get(id=job.id)
    if heard.verdict_rule is None or heard.claim != job.claim:
        return []
    if content is not None and heard.verdict_rule.outcome == settlement.CAPTURE and heard.delivered is None:
        with tempfile.NamedTemporaryFile(prefix="holdfast-output-") as file:
            file.write(content)
            file.flush()
            try:
                said: Stored | ProviderError = _store(heard, file.name)
            except OutputUnavailable as error:
                said = error
        hear_output(heard, said)
        heard.refresh_from_db()
    return [heard]


def _may_be_submitted(job: Generation, now: datetime) -> bool:
    """Whether the hold is open and nothing under it is frozen; where not, the job is looked at again later."""
    head = ledger.lock([job.account_id])[job.account_id]
    hold = _hold(job)
    if hold.state != Hold.State.OPEN or hold.expires_at <= now:
        return False  # the sweep expires it
    doubts = Attempt.objects.filter(Q(result=None) | Q(result=Attempt.Result.DOUBT), generation=job)
    if doubts.count() >= DOUBTS_MAX:
        ask_staff(job, "Several submissions had no clear answer; it is not submitted again.")
        change(job, next_poll_at=hold.expires_at)
        return False
    of_receipt = Lot.objects.filter(account_id=job.account_id, id__in=hold.receipt_lots)
    if head.is_frozen or of_receipt.filter(is_frozen=True).exists():
        change(job, next_poll_at=now + timedelta(minutes=1))
        return False
    return True


@once_more
def _record_acceptance(job: Generation, accepted: Accepted, attempt: Attempt | None) -> None:
    """SUBMITTING → RUNNING with the provider's own id. Written whoever holds the claim: an id must not be lost.

    From here on it is not submitted again, whatever another worker made of the silence before.
    """
    with transaction.atomic(durable=True):
        locked = lock_job(job.id, wait=True)
        assert locked is not None
        known, _ = ProviderJob.objects.get_or_create(
            provider=job.provider,
            provider_job_id=accepted.provider_job_id,
            defaults={"account_id": job.account_id, "generation_id": job.id},
        )
        if known.generation_id != job.id:
            ask_staff(locked, "The provider answered with the id of another job.")
            return
        if attempt is not None:
            _end_attempt(attempt, Attempt.Result.ACCEPTED, accepted.evidence)
        if locked.provider_job_id not in (None, accepted.provider_job_id):
            ask_staff(locked, "The provider accepted it twice; what it accepted first is followed.")
        if locked.provider_job_id is not None or locked.is_ended:
            return
        now = clock.now()
        change(
            locked,
            # From QUEUED where the answer came so late that a look-up had found nothing and it was put back.
            state=State.RUNNING if locked.state in (State.QUEUED, State.SUBMITTING) else locked.state,
            provider_job_id=accepted.provider_job_id,
            accepted_at=now,
            next_poll_at=now + timedelta(seconds=settings.POLL_SECONDS),
        )


@once_more
def _put_back(job: Generation, attempt: Attempt | None, error: TryLater | None) -> None:
    """SUBMITTING → QUEUED: surely nothing was accepted, and it is tried again after a while."""
    with transaction.atomic(durable=True):
        locked = lock_job(job.id, wait=True, state=State.SUBMITTING, claim=job.claim)
        if locked is None:
            return
        if attempt is not None:
            _end_attempt(attempt, Attempt.Result.LATER, _evidence(error) if error else {})
        pause = pacing.next_pause_seconds(
            10 * 2.0 ** min(locked.attempt_count, 16),
            error.retry_after_seconds if error is not None else None,
            random.random,
            least=settings.POLL_SECONDS,
            most=60.0,
        )
        change(locked, state=State.QUEUED, next_poll_at=clock.now() + timedelta(seconds=pause))


def _record_refusal(job: Generation, attempt: Attempt, refused: Refused) -> list[Generation]:
    """The provider surely did not accept it; the rules for submitting say what that means."""
    decision = _decide(_rules("submit"), job, "submit", refused.status, refused.code)
    _end_attempt(attempt, Attempt.Result.REFUSED, _evidence(refused))
    if decision.rule is None or not decision.is_final:
        _ask_about_answer(job, "submit", refused, is_word=True)
        return []
    if decision.rule.alerts_staff:
        alerts.open_alert(
            "provider_refuses_us",
            key=job.provider,
            sentence=f"{job.provider} refuses our requests with {refused.status}.",
            facts={"generation": str(job.id), "code": refused.code},
        )
    code = refused.code or f"http_{refused.status}"
    answer = Answer(refused.status, code, refused.message, evidence=refused.evidence)
    return _record_verdicts([(job, answer, decision)])


def claim_doubts(
    limit: int, before: datetime | clock.Now | None = None, *, but_not: Collection[str] = ()
) -> list[Generation]:
    """Submissions whose end nobody knows and that are due to be looked up, claimed for LEASE_SECONDS."""
    with transaction.atomic():
        due = Generation.objects.filter(
            Q(state=State.SUBMITTING) | Q(state=State.AWAITING_SETTLEMENT, provider_job_id=None),
            verdict_at=None,
            next_poll_at__lte=before or clock.Now(),
        ).exclude(provider__in=but_not)
        jobs = list(due.select_for_update(skip_locked=True, of=("self",)).order_by("next_poll_at")[:limit])
        _claim(jobs, clock.now())
    return jobs


def is_looked_up(job: Generation) -> bool:
    """Whether the provider can say what became of a submission; it need not where submitting twice is safe."""
    try:
        provider = _provider(job)
    except ProviderError:
        return True  # the look-up will say so
    return provider.has_lookup and not provider.has_idempotent_submit


async def looked_up(job: Generation) -> Accepted | Answer | None:
    """What the provider knows of our reference; None: surely nothing. No database here."""
    return await _provider(job).look_up(_as_job(job))


def hear_look_up(job: Generation, said: Accepted | Answer | ProviderError | None) -> list[Generation]:
    """What became of a submission in doubt: followed, or submitted again where that is safe, or waited for."""
    if isinstance(said, ProviderError):
        _postpone(job, _pause(job, said.retry_after_seconds))
    elif isinstance(said, Accepted):
        attempt = job.attempts.order_by("-number").first()
        _record_acceptance(job, said, attempt if attempt and attempt.result != Attempt.Result.ACCEPTED else None)
    elif isinstance(said, Answer):
        return hear([(job, said)])
    elif _provider(job).has_lookup or _provider(job).has_idempotent_submit or _was_refused(job):
        # Surely not there, or found again by its key: it may be submitted.
        _put_back(job, None, None)
    else:
        _postpone(job, timedelta(seconds=settings.POLL_SECONDS_MAX))
    return []


def _was_refused(job: Generation) -> bool:
    """Whether the provider surely did not take it when it was last submitted, and no rule said what that means."""
    last = job.attempts.order_by("-number").first()
    return last is not None and last.result == Attempt.Result.REFUSED


# Poll


def claim_due(
    limit: int = 100,
    only: UUID | None = None,
    provider: str | None = None,
    before: datetime | clock.Now | None = None,
) -> list[Generation]:
    """Jobs at a provider that are due to be asked, claimed for this caller for LEASE_SECONDS."""
    with transaction.atomic():
        due = _at_provider().filter(next_poll_at__lte=before or clock.Now())
        if only is not None:
            due = due.filter(id=only)
        if provider is not None:
            due = due.filter(provider=provider)
        due = due.select_for_update(skip_locked=True, of=("self",)).select_related("hold").order_by("next_poll_at")
        jobs = list(due[:limit])
        _claim(jobs, clock.now(), is_asked=True)
    return jobs


def wake(provider: str, provider_job_id: str) -> bool:
    """The provider has news of this job: it is due to be asked now. Says whether such a job is known.

    However often it is said, it is asked once, until it has been.
    """
    known = ProviderJob.objects.filter(provider=provider, provider_job_id=provider_job_id)
    job_id = known.values_list("generation_id", flat=True).first()
    if job_id is None:
        return False
    with transaction.atomic(durable=True):
        if _at_provider().filter(id=job_id, next_poll_at__gt=clock.Now()).update(next_poll_at=clock.Now()):
            _enqueue("generations.tasks.follow", job_id)
    return True


def _at_provider() -> QuerySet[Generation]:
    """Jobs that a provider has accepted and not ended."""
    return Generation.objects.filter(
        state__in=(State.RUNNING, State.AWAITING_SETTLEMENT), provider_job_id__isnull=False, verdict_at=None
    )


def claim_last_questions(limit: int = 100, *, but_not: Collection[str] = ()) -> list[Generation]:
    """Running jobs whose hold is due and whose provider was not asked since: claimed, whenever they were due."""
    with transaction.atomic():
        due = _at_provider().filter(state=State.RUNNING, hold__state=Hold.State.OPEN, hold__expires_at__lte=clock.Now())
        due = due.filter(Q(asked_at=None) | Q(asked_at__lt=F("hold__expires_at"))).exclude(provider__in=but_not)
        jobs = list(due.select_for_update(skip_locked=True, of=("self",)).select_related("hold")[:limit])
        _claim(jobs, clock.now(), is_asked=True)
    return jobs


def _claim(jobs: list[Generation], now: datetime, *, is_asked: bool = False, seconds: float | None = None) -> None:
    """The locked jobs are this caller's for a while: a later claim makes what it writes count for nothing."""
    changes: dict[str, Any] = {"next_poll_at": now + timedelta(seconds=seconds or LEASE_SECONDS)}
    if is_asked:
        changes["asked_at"] = now
    if jobs:
        Generation.objects.filter(id__in=[job.id for job in jobs]).update(claim=F("claim") + 1, **changes)
    for job in jobs:
        job.claim += 1
        for name, value in changes.items():
            setattr(job, name, value)


async def asked(job: Generation) -> Answer:
    """What the provider says now. No database here."""
    return await _provider(job).poll(_as_job(job))


def hear(said: Sequence[tuple[Generation, Answer | ProviderError]]) -> list[Generation]:
    """The answers are written down, in a few statements for all of them. Gives the jobs whose verdict is in now.

    An answer to a claim that is not the job's latest counts for nothing.
    """
    rules = _rules("poll")
    verdicts, others = [], []
    for job, answer in said:
        decision = _decide(rules, job, "poll", answer.status, answer.code)
        if decision.is_final and isinstance(answer, Answer):
            verdicts.append((job, answer, decision))
        else:
            others.append((job, answer, decision))
    _those_together(others, _record_under_way)
    return _those_together(verdicts, _record_verdicts)


_Heard = tuple[Generation, Answer, settlement.Decision]
_Said = tuple[Generation, Answer | ProviderError, settlement.Decision]

UNDER_WAY_SQL = """
UPDATE generations_generation job
   SET progress = greatest(job.progress, said.progress),
       answered_at = coalesce(said.answered_at, job.answered_at),
       next_poll_at = said.next_poll_at
  FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::smallint[], %s::timestamptz[], %s::timestamptz[])
       AS said (account_id, id, claim, progress, answered_at, next_poll_at)
 WHERE job.account_id = said.account_id AND job.id = said.id AND job.claim = said.claim AND job.credits_charged IS NULL
   AND job.verdict_at IS NULL
"""


@once_more
def _record_under_way(said: Sequence[_Said]) -> list[Generation]:
    """No end yet: progress, and when to ask again; "still running" keeps the hold alive."""
    now = clock.now()
    rows = []
    for job, answer, decision in said:
        is_answer = isinstance(answer, Answer)
        if decision.rule is None:
            _ask_about_answer(job, "poll", answer, is_word=is_answer)
        elif is_answer and job.unknown_answer is not None:
            reviews.answered(job.id)
        is_alive = is_answer and decision.rule is not None
        if is_alive and job.state == State.RUNNING and job.submitted_at is not None:
            _keep_alive(job, now, job.submitted_at)
        progress = answer.progress or 0 if isinstance(answer, Answer) else 0
        pause = _pause(job, answer.retry_after_seconds, now)
        rows.append((job.account_id, job.id, job.claim, progress, now if is_alive else None, now + pause))
    rows.sort(key=lambda row: row[1])
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(UNDER_WAY_SQL, [list(column) for column in zip(*rows, strict=True)])
    return []


def _keep_alive(job: Generation, now: datetime, since: datetime) -> None:
    """The hold is renewed where half its time is over: "still running" renews seldom, not at each poll."""
    half = timedelta(seconds=settings.HOLD_SECONDS / 2)
    if job.hold is not None and job.hold.expires_at - now > half:
        return
    with transaction.atomic(durable=True):
        locked = lock_job(job.id, wait=True, claim=job.claim)
        if locked is not None and locked.state == State.RUNNING:
            _renew(locked, now, since, unless_left=half)


def _renew(job: Generation, now: datetime, since: datetime, *, unless_left: timedelta | None = None) -> None:
    """The open hold has an hour from now, never past the bound after `since`, the first submission.

    Nothing is written while it has `unless_left` to go anyway: "still running" renews seldom, not at each poll.
    """
    hold = _hold(job)
    bound = since + timedelta(seconds=settings.HOLD_SECONDS_MAX)
    wanted = min(now + timedelta(seconds=settings.HOLD_SECONDS), bound)
    is_needed = unless_left is None or hold.expires_at - now <= unless_left
    if hold.state == Hold.State.OPEN and wanted > hold.expires_at and is_needed:
        left = int((wanted - now).total_seconds())
        ledger.renew(job.account_id, hold=hold.id, owner=OWNER, expires_in_seconds=left)


@once_more
def _record_verdicts(heard: Sequence[_Heard]) -> list[Generation]:
    """The first terminal word of each stands, and its hold has time for its settlement. Gives those that count."""
    with transaction.atomic(durable=True):
        locked = {row.id: row for row in _lock_jobs(Generation.objects.filter(id__in=[one[0].id for one in heard]))}
        now = clock.now()
        taken, renewed = [], []
        for job, answer, decision in heard:
            row = locked[job.id]
            if row.claim != job.claim or row.is_ended:
                continue
            if row.verdict_at is not None:
                if (row.verdict_status, row.verdict_code) != (answer.status, answer.code):
                    alert_flip(row, answer.status, answer.code)
                continue
            rule = cast(SettlementRule, decision.rule)
            if row.unknown_answer is not None:
                reviews.answered(row.id)
            if row.state != State.AWAITING_SETTLEMENT:
                renewed.append(ledger.Group(row.account_id, [_renewal(row, settings.HOLD_SECONDS)]))
            row.verdict_status, row.verdict_code = answer.status, answer.code
            row.verdict_message, row.verdict_evidence = answer.message, dict(answer.evidence)
            row.usage = dict(answer.usage) or None
            row.verdict_at, row.verdict_rule = now, rule
            row.next_poll_at = now + timedelta(seconds=LEASE_SECONDS)
            if decision.outcome == settlement.CAPTURE:
                row.progress = 100
            taken.append(row)
        for outcome in ledger.post(renewed) if renewed else []:
            outcome.unwrap()
        columns.write(taken, VERDICT_COLUMNS)
    return taken


VERDICT_COLUMNS = [
    "verdict_status",
    "verdict_code",
    "verdict_message",
    "verdict_evidence",
    "usage",
    "verdict_at",
    "verdict_rule",
    "next_poll_at",
    "progress",
]


def _renewal(job: Generation, seconds: float) -> steps.Renew:
    assert job.hold_id is not None
    return steps.Renew(actor=OWNER, hold=job.hold_id, owner=OWNER, expires_in_seconds=int(seconds))


def alert_flip(job: Generation, status: str, code: str | None) -> None:
    alerts.open_alert(
        "provider_changed_its_word",
        key=str(job.id),
        sentence=f"{job.provider} first said “{job.verdict_status}” and now says “{status}”. The first word stands.",
        facts={"generation": str(job.id), "first": job.verdict_status, "now": status, "code": code},
    )


# Fetch


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the storage, private, and what was found in it."""

    name: str
    probe: outputs.Probe


def claim_fetch(job: Generation) -> bool:
    """The fetch of the job's output is this caller's, for as long as it may take."""
    seconds = settings.OUTPUT_SECONDS_MAX * 2 + LEASE_SECONDS
    mine = Generation.objects.filter(id=job.id, claim=job.claim, delivered__isnull=True, credits_charged=None)
    now = clock.now()
    job.next_poll_at = now + timedelta(seconds=seconds)
    if not mine.update(claim=F("claim") + 1, next_poll_at=job.next_poll_at):
        return False
    job.claim += 1
    return True


async def fetched(job: Generation) -> Stored:
    """The output is stored, private, its size and length known. No database here."""
    answer = Answer(status=job.verdict_status or "", evidence=job.verdict_evidence or {})
    with tempfile.NamedTemporaryFile(prefix="holdfast-output-") as file:
        into, most = cast(BinaryIO, file), settings.OUTPUT_BYTES_MAX
        await _provider(job).fetch(_as_job(job), answer, into, most, settings.OUTPUT_SECONDS_MAX)
        file.flush()
        return await asyncio.to_thread(_store, job, file.name)


def _store(job: Generation, path: str) -> Stored:
    """What is in the file is in the storage; raises OutputUnavailable for what cannot be delivered, else Unknown."""
    probe = outputs.probe(path)
    if probe.content_type not in registry.operation(job.operation).delivers:
        sentence = "What the provider sent is not something that can be delivered."
        raise OutputUnavailable("garbage", "not_deliverable", sentence)
    name = f"outputs/{job.id}/{new_id()}.{outputs.ALLOWED[probe.content_type]}"
    try:
        with open(path, "rb") as file:
            return Stored(default_storage.save(name, File(file)), probe)
    except OSError as error:
        raise Unknown("storage", type(error).__name__, "The output could not be stored here.") from error


def hear_output(job: Generation, said: Stored | ProviderError) -> bool:
    """What came of fetching is written down. Says whether the job can be settled now."""
    if isinstance(said, OutputUnavailable):
        return _output_unavailable(job, str(said))
    if isinstance(said, ProviderError):
        _postpone(job, _pause(job, said.retry_after_seconds))
        return False
    if not _record_output(job, said.name, said.probe):
        default_storage.delete(said.name)
    return True


def _output_unavailable(job: Generation, why: str) -> bool:
    """Nothing can be delivered, so nothing will be charged; staff are asked, for the provider may bill it."""
    ask_staff(job, f"It was completed, but its output cannot be had: {why}")
    Generation.objects.filter(id=job.id, delivered__isnull=True).update(delivered={"unavailable": why[:500]})
    return True


@once_more
def _record_output(job: Generation, stored: str, probe: outputs.Probe) -> bool:
    """The stored file is the job's output; False where another worker's already is."""
    with transaction.atomic(durable=True):
        locked = lock_job(job.id, wait=True)
        if locked is None or locked.delivered is not None:
            # Also ours, where the first commit's answer was lost.
            return Output.objects.filter(generation_id=job.id, file=stored).exists()
        seconds = None if probe.seconds is None else f"{probe.seconds:.3f}"
        Output.objects.create(
            account_id=job.account_id,
            generation=locked,
            file=stored,
            content_type=probe.content_type,
            bytes=probe.bytes,
            seconds=seconds,
            width=probe.width,
            height=probe.height,
            stored_at=clock.now(),
        )
        found = {"seconds": seconds, "width": probe.width, "height": probe.height}
        lease = clock.now() + timedelta(seconds=LEASE_SECONDS)  # by then it is settled, or somebody else may
        change(locked, delivered=found | (locked.usage or {}), next_poll_at=lease)
        return True


# Settle


@once_more
def settle(job_ids: Iterable[UUID], by: str = "provider") -> None:
    """Every one of the jobs that has a verdict, and its output where it needs one, is settled, once.

    One transaction: capture, release or late capture, the job's state, its output's release. A job that cannot be
    paid late stays withheld. Already settled jobs are left alone.
    """
    ids = list(job_ids)
    if not ids:
        return
    with transaction.atomic(durable=not connection.in_atomic_block):
        jobs = _lock_jobs(Generation.objects.filter(id__in=ids, credits_charged=None, verdict_at__isnull=False))
        now = clock.now()
        plans = [plan for job in jobs if (plan := _plan_or_ask(job, now)) is not None]
        of_group = {id(plan.group): plan for plan in plans}

        def record(done: list[ledger.Outcome]) -> None:
            _write_settled([of_group[id(outcome.group)] for outcome in done], now, by)

        for outcome in ledger.post([plan.group for plan in plans], record):
            if outcome.refusal is not None:
                _withhold(of_group[id(outcome.group)].job, outcome.refusal)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one job will be settled."""

    job: Generation
    group: ledger.Group
    is_charged: bool
    amount: int = 0
    loss: int = 0
    error_code: str | None = None
    error_message: str | None = None


def _plan_or_ask(job: Generation, now: datetime) -> _Plan | None:
    """Its plan; None, and staff are asked, where none can be made of its rows: that stops no other job."""
    try:
        return _plan(job)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        log.exception("settlement_without_plan", job=str(job.id))
        note_failure(job, f"{type(error).__name__}: {error}")
        ask_staff(job, f"It cannot be priced: {type(error).__name__} {error}")
        return None


def _plan(job: Generation) -> _Plan | None:
    """What the verdict's rule asks for; None while the output of a completed job is not here yet."""
    rule = job.verdict_rule
    assert rule is not None
    assert job.hold_id is not None
    is_expired = job.state == State.AWAITING_SETTLEMENT
    words: dict[str, Any] = {"actor": OWNER, "user": job.user_id, "hold": job.hold_id, "owner": OWNER}
    if rule.outcome == settlement.CAPTURE and job.delivered is None:
        return None
    if rule.outcome == settlement.CAPTURE and "unavailable" not in (job.delivered or {}):
        price = pricing.price(job.tool_cost.model, job.tool_cost.rates, job.inputs, job.delivered or {})
        amount = min(price, job.estimate_max)
        step = (steps.CaptureLate if is_expired else steps.Capture)(amount=amount, **words)
        return _Plan(job, ledger.Group(job.account_id, [step]), True, amount, price - amount)
    code: str | None
    if rule.outcome == settlement.CAPTURE:
        code, message = "output_unavailable", "It was made, but could not be fetched from the provider."
    else:
        code = job.verdict_code or job.verdict_status
        message = " ".join(part for part in (rule.sentence, job.verdict_message) if part)
    message = message[:1000]
    undone = [] if is_expired else [steps.Release(reason=message, **words)]
    return _Plan(job, ledger.Group(job.account_id, undone), False, error_code=code, error_message=message)


def _write_settled(plans: list[_Plan], now: datetime, by: str) -> None:
    """The jobs' rows say what the ledger has just done."""
    in_debt = set(
        Account.objects.filter(id__in={p.job.account_id for p in plans}, debt__gt=0).values_list("id", flat=True)
    )
    for plan in plans:
        job = plan.job
        job.credits_charged = plan.is_charged
        job.charged_at = job.ended_at = now
        job.next_poll_at = now + timedelta(seconds=LOOK_BACK_SECONDS)
        job.settled_by = by
        job.loss = plan.loss
        job.error_code, job.error_message = plan.error_code, plan.error_message
        if plan.is_charged:
            job.state, job.outcome, job.charged_amount = State.SUCCEEDED, Outcome.CHARGED, plan.amount
        else:
            job.state = State.CANCELLED if job.verdict_status == "cancelled" else State.FAILED
            job.outcome = Outcome.REFUNDED
    columns.write(
        [plan.job for plan in plans],
        [
            "state",
            "outcome",
            "credits_charged",
            "charged_amount",
            "charged_at",
            "ended_at",
            "next_poll_at",
            "settled_by",
            "loss",
            "error_code",
            "error_message",
        ],
    )
    paid = [plan.job.id for plan in plans if plan.is_charged and plan.job.account_id not in in_debt]
    Output.objects.filter(generation_id__in=paid, released_at=None).update(released_at=now)
    alerts.notify_all([notice for plan in plans if (notice := _tell(plan)) is not None])


def _tell(plan: _Plan) -> Notice | None:
    """One line in the log for each settlement; a notice where a person must know."""
    job, rule = plan.job, plan.job.verdict_rule
    held = credits.display(job.estimate_max)
    log.info(
        "settled",
        job=str(job.id),
        account=str(job.account_id),
        operation=job.operation,
        provider=job.provider,
        status=job.verdict_status,
        code=job.verdict_code,
        rule=str(rule.id) if rule else None,
        rule_version=rule.version if rule else None,
        outcome=job.outcome,
        charged=credits.format(plan.amount),
        loss=credits.format(plan.loss),
        by=job.settled_by,
    )
    if plan.is_charged or job.state != State.FAILED:
        return None
    return alerts.notice(
        job.account_id,
        f"job:{job.id}:ended",
        f"“{job.title}” was not made. Your {held} credits are back.",
        body=f"{plan.error_message or 'It could not be made.'} ({plan.error_code})",
        link=f"/generations/{job.id}",
        level="warning",
    )


def _withhold(job: Generation, refusal: errors.BillingError) -> None:
    """A success that cannot be paid now: its output is kept back until it can."""
    late = (errors.InsufficientCredits, errors.FreeCreditsNotAccepted, errors.AccountInDebt, errors.AccountFrozen)
    if job.state == State.AWAITING_SETTLEMENT and isinstance(refusal, late):
        if job.outcome != Outcome.WITHHELD:
            change(job, outcome=Outcome.WITHHELD)
            alerts.notify(
                job.account_id,
                f"job:{job.id}:withheld",
                f"“{job.title}” is ready and waits for {credits.display(job.estimate_max)} credits.",
                body="It came after its reservation had ended. It is delivered once there are enough credits."
                f"{explain.on_free_credits(job)}",
                link=f"/generations/{job.id}",
                level="warning",
            )
        return
    log.error("settlement_refused", job=str(job.id), code=refusal.code)
    note_failure(job, f"{refusal.code}: {refusal.message}")
    ask_staff(job, f"Its settlement was refused: {refusal.message}"[:300])


def note_failure(job: Generation, error: object) -> None:
    """A try to settle the job broke: kept for the safety net and the figures, and tried again after LEASE_SECONDS."""
    now = clock.now()
    SettlementFailure.objects.create(
        account_id=job.account_id, generation=job, occurred_at=now, error=clean_text(error)
    )
    Generation.objects.filter(id=job.id).update(next_poll_at=now + timedelta(seconds=LEASE_SECONDS))


# Cancel


def cancel(account: UUID, job_id: UUID) -> Generation:
    """Before its submission the job is cancelled and its credits are back; after it the provider is asked to stop.

    The provider's first terminal word still decides. Raises JobNotFound, CannotCancel.
    """
    job = _cancel_unsubmitted(account, job_id)
    if job.is_ended:
        return job
    try:
        provider = _provider(job)
        if not provider.has_cancel or job.provider_job_id is None:
            raise CannotCancel
        calls.run(provider.cancel(_as_job(job)))
    except NotCancellable as error:
        raise CannotCancel from error
    except ProviderError as error:
        raise CannotCancel(
            "The provider could not be reached, so it was not asked to stop.", status=error.status
        ) from error
    Generation.objects.filter(id=job.id, credits_charged=None).update(
        cancel_asked_at=clock.Now(), next_poll_at=clock.Now()
    )
    job.refresh_from_db()
    return job


@once_more
def _cancel_unsubmitted(account: UUID, job_id: UUID) -> Generation:
    with transaction.atomic(durable=True):
        job = lock_job(job_id, wait=True, account_id=account)
        if job is None:
            raise JobNotFound
        if job.state == State.SUBMITTING:
            raise CannotCancel("It is just being handed to its provider. Try again in a moment.", state=job.state)
        if not job.is_cancellable:
            raise CannotCancel(state=job.state)
        # refusing ends

        if job.state == State.QUEUED:
            now = clock.now()
            ledger.release(account, hold=job.hold_id, owner=OWNER, actor=OWNER, user=job.user_id)
            change(
                job,
                state=State.CANCELLED,
                outcome=Outcome.REFUNDED,
                credits_charged=False,
                charged_at=now,
                ended_at=now,
                settled_by="cancel",
                is_looked_back=True,
                error_code="cancelled",
                error_message="It was cancelled before it was started.",
            )
        return job


# Expire


@once_more
def expire(job_id: UUID) -> None:
    """A hold that is due, after a question to the provider asked when it was, and its answer: the credits are back.

    The job then waits in AWAITING_SETTLEMENT, still asked, or has EXPIRED where it was never submitted.
    """
    with transaction.atomic(durable=True):
        job = lock_job(job_id, state__in=UNDER_WAY)
        if job is None:
            return
        hold = _hold(job)
        now = clock.now()
        was_asked = job.asked_at is not None and job.asked_at >= hold.expires_at and not _is_being_asked(job, now)
        if hold.expires_at > now or (job.state == State.RUNNING and job.verdict_at is None and not was_asked):
            return
        ledger.expire_hold(job.account_id, hold=hold.id, owner=OWNER, actor=OWNER, user=job.user_id)
        if job.state == State.QUEUED:
            end_expired(job, now, "It was never started, and its reservation ended.")
            return
        is_success = job.verdict_rule is not None and job.verdict_rule.outcome == settlement.CAPTURE
        change(
            job,
            state=State.AWAITING_SETTLEMENT,
            outcome=Outcome.WITHHELD if is_success else Outcome.EXPIRED,
            next_poll_at=now + timedelta(seconds=settings.POLL_SECONDS_MAX),
        )
        alerts.notify(
            job.account_id,
            f"job:{job.id}:expired",
            f"“{job.title}” is still not finished. Your {credits.display(job.estimate_max)} credits are back.",
            body="The provider is still asked. If it finishes after all, it is charged and delivered then.",
            link=f"/generations/{job.id}",
            level="warning",
        )


def _is_being_asked(job: Generation, now: datetime) -> bool:
    """Whether the answer to the last question is still out: once it is written down the job is due at another time."""
    lease = timedelta(seconds=LEASE_SECONDS)
    return job.asked_at is not None and job.next_poll_at == job.asked_at + lease and job.next_poll_at > now


def end_expired(job: Generation, now: datetime, sentence: str) -> None:
    change(
        job,
        state=State.EXPIRED,
        outcome=Outcome.EXPIRED,
        credits_charged=False,
        charged_at=now,
        ended_at=now,
        settled_by="expiry",
        is_looked_back=True,
        error_code="expired",
        error_message=sentence,
    )


# Staff


@once_more
def waive(job_id: UUID, *, staff: int, reason: str) -> Generation:
    """The withheld output is delivered without payment; who and why is on the job. Raises CannotSettle."""
    with transaction.atomic(durable=not connection.in_atomic_block):
        job = lock_job(job_id, wait=True)
        if job is None or job.state != State.AWAITING_SETTLEMENT or job.outcome != Outcome.WITHHELD:
            raise CannotSettle("Only an output that is withheld can be delivered unpaid.")
        if job.delivered is None:
            raise CannotSettle("Its output is not here yet.")
        # refusing ends

        now = clock.now()
        change(
            job,
            state=State.SUCCEEDED,
            outcome=Outcome.WAIVED,
            credits_charged=False,
            charged_at=now,
            ended_at=now,
            waived_by_id=staff,
            waiver_reason=reason,
            settled_by=f"user:{staff}",
            review="",
        )
        Output.objects.filter(generation=job, released_at=None).update(released_at=now)
        alerts.notify(
            job.account_id,
            f"job:{job.id}:waived",
            f"“{job.title}” is yours, free of charge.",
            link=f"/generations/{job.id}",
            level="good",
        )
        return job


@once_more
def settle_by_hand(job_id: UUID, *, outcome: str, staff: int, reason: str) -> Generation:
    """Staff end an undecided job: `release` gives its credits back; `capture` charges what a stored verdict delivered.

    Raises CannotSettle where the job has ended, or a capture has no provider's success to stand on.
    """
    by = f"user:{staff}"
    with transaction.atomic(durable=not connection.in_atomic_block):
        job = lock_job(job_id, wait=True)
        if job is None or job.is_ended:
            raise CannotSettle
        is_success = job.verdict_rule is not None and job.verdict_rule.outcome == settlement.CAPTURE
        if outcome == settlement.CAPTURE and not (is_success and job.delivered is not None):
            raise CannotSettle("Without the provider’s success and its output there is nothing to charge for.")
        # refusing ends

        if outcome == settlement.RELEASE:
            now = clock.now()
            if job.state != State.AWAITING_SETTLEMENT:
                ledger.release(job.account_id, hold=job.hold_id, owner=OWNER, actor=by, reason=reason)
            change(
                job,
                state=State.FAILED,
                outcome=Outcome.REFUNDED,
                credits_charged=False,
                charged_at=now,
                ended_at=now,
                settled_by=by,
                error_code="released_by_staff",
                error_message="Staff ended it and gave the credits back.",
                review="",
            )
            alerts.notify(
                job.account_id,
                f"job:{job.id}:ended",
                f"“{job.title}” was ended by staff. Your {credits.display(job.estimate_max)} credits are back.",
                link=f"/generations/{job.id}",
            )
    if outcome == settlement.CAPTURE:
        settle([job_id], by=by)
    job.refresh_from_db()
    return job


# What is due: the sweep's passes find it by the rows alone


def due_submissions(
    provider: str, limit: int, before: datetime | clock.Now | None = None, *, but_not: Collection[str] = ()
) -> list[UUID]:
    """Jobs that wait to be submitted to the provider, but not those of some operations."""
    due = Generation.objects.filter(state=State.QUEUED, provider=provider, next_poll_at__lte=before or clock.Now())
    return _due(due.exclude(operation__in=but_not), limit)


def due_settlements(limit: int = 500) -> list[UUID]:
    """Jobs with a verdict, and the output that it needs, that somebody should have settled by now, and did not."""
    due = Generation.objects.filter(verdict_at__isnull=False, credits_charged=None, next_poll_at__lte=clock.Now())
    failed = Q(verdict_rule__outcome=settlement.RELEASE, state__in=(*UNDER_WAY, State.AWAITING_SETTLEMENT))
    return _due(due.filter(failed | Q(delivered__isnull=False, state__in=UNDER_WAY)), limit)


def due_fetches(
    limit: int, before: datetime | clock.Now | None = None, *, but_not: Collection[str] = ()
) -> list[Generation]:
    """Jobs that succeeded and whose output is not here yet, but not those of some providers."""
    due = Generation.objects.filter(
        verdict_at__isnull=False,
        delivered__isnull=True,
        credits_charged=None,
        verdict_rule__outcome=settlement.CAPTURE,
        next_poll_at__lte=before or clock.Now(),
    )
    return list(due.exclude(provider__in=but_not).order_by("next_poll_at")[:limit])


def due_expiries(limit: int = 100) -> list[UUID]:
    """Jobs whose hold is due, but not those whose provider must be asked first."""
    due = Generation.objects.filter(state__in=UNDER_WAY, hold__state=Hold.State.OPEN, hold__expires_at__lte=clock.Now())
    unasked = Q(asked_at=None) | Q(asked_at__lt=F("hold__expires_at"))
    return _due(due.exclude(unasked, state=State.RUNNING, verdict_at=None), limit)


def due_late(limit: int = 200) -> list[UUID]:
    """Jobs that succeeded after their hold had expired and can be paid now: the oldest of each account.

    One an account and pass, so that the next sees what the one before it left. What free credits do not pay yet holds
    up nothing that they pay.
    """
    of_late = Generation.objects.filter(state=State.AWAITING_SETTLEMENT, verdict_at__isnull=False)
    wary = set(of_late.filter(hold__takes_free_credits=False).values_list("account_id", flat=True))
    unpaid = wary - ledger.have_paid(wary) if wary else wary
    bought = Lot.objects.filter(account=OuterRef("account_id"), is_frozen=False, is_promotional=False)
    accepted = bought.exclude(source="plan").values("account").values(sum=Sum(F("remaining") - F("held")))
    is_too_dear = Q(account__in=unpaid, hold__takes_free_credits=False, accepted__lt=F("estimate_min"))
    can_pay = Q(account__is_frozen=False, account__debt=0, available__gte=F("estimate_min"))
    payable = (
        of_late.filter(delivered__isnull=False)
        .annotate(available=F("account__balance") - F("account__held") - F("account__frozen"))
        .annotate(accepted=Coalesce(Subquery(accepted), 0))
        .filter((can_pay & ~is_too_dear) | Q(outcome=Outcome.EXPIRED))
        .exclude(next_poll_at__gt=clock.Now(), settlement_failures__isnull=False)
    )
    oldest = payable.order_by("account_id", "id").distinct("account_id").values_list("id", flat=True)
    return list(oldest[:limit])


def _due(rows: QuerySet[Generation], limit: int) -> list[UUID]:
    return list(rows.order_by("next_poll_at").values_list("id", flat=True)[:limit])


# Parts


Of = TypeVar("Of", bound=tuple[Any, ...])


def _those_together(of_jobs: Sequence[Of], verb: Callable[[Sequence[Of]], list[Generation]]) -> list[Generation]:
    """What the verb gave for all of them at once; where it broke, for each by itself, so that none stops another.

    The one that broke it is in the log, and is looked at again after LEASE_SECONDS.
    """
    if not of_jobs:
        return []
    try:
        return verb(of_jobs)
    except Exception:
        if len(of_jobs) > 1:
            log.exception("batch_taken_apart", jobs=len(of_jobs))
            connection.close_if_unusable_or_obsolete()
            return [job for one in of_jobs for job in _those_together([one], verb)]
        job: Generation = of_jobs[0][0]
        log.exception("job_set_aside", job=str(job.id), state=job.state)
        connection.close_if_unusable_or_obsolete()
        with suppress(DatabaseError):
            _postpone(job, timedelta(seconds=LEASE_SECONDS))
        return []


def lock_job(job_id: UUID, *, wait: bool = False, **of: Any) -> Generation | None:
    """The job's row, locked before its account's; None where it is not as asked, or another worker has it."""
    rows = Generation.objects.select_for_update(skip_locked=not wait, of=("self",), no_key=True)
    return rows.filter(id=job_id, **of).select_related("verdict_rule", "tool_cost").first()


def _hold(job: Generation) -> Hold:
    """The hold that the job stands on."""
    assert job.hold_id is not None
    return Hold.objects.get(account_id=job.account_id, id=job.hold_id)


def _lock_jobs(rows: QuerySet[Generation]) -> list[Generation]:
    locked = rows.select_for_update(of=("self",), no_key=True).select_related("verdict_rule", "tool_cost")
    return list(locked.order_by("id"))


def change(job: Generation, **changes: Any) -> None:
    """These columns, and no others, are written; the row is locked by the caller."""
    for name, value in changes.items():
        setattr(job, name, value)
    job.save(update_fields=list(changes))


def _postpone(job: Generation, pause: timedelta) -> None:
    Generation.objects.filter(id=job.id, claim=job.claim).update(next_poll_at=clock.now() + pause)


def _pause(job: Generation, retry_after_seconds: float | None, now: datetime | None = None) -> timedelta:
    """Until the next question: a tenth of the job's age, between the two settings; later where the provider asks."""
    since = job.accepted_at or job.submitted_at or job.created_at
    age = ((now or clock.now()) - since).total_seconds()
    least, most = settings.POLL_SECONDS, settings.POLL_SECONDS_MAX
    seconds = pacing.next_pause_seconds(age, retry_after_seconds, random.random, least=least, most=most)
    return timedelta(seconds=seconds)


def _end_attempt(attempt: Attempt, result: Attempt.Result, evidence: Mapping[str, Any]) -> None:
    Attempt.objects.filter(id=attempt.id).update(result=result, ended_at=clock.Now(), evidence=dict(evidence))


def _evidence(error: ProviderError) -> dict[str, Any]:
    return {"status": error.status, "code": error.code, "message": error.message, **error.evidence}


def ask_staff(job: Generation, why: str) -> None:
    """The job is on the staff's list with the reason, and an alert is open."""
    Generation.objects.filter(id=job.id).update(review=why[:300])
    alerts.open_alert("job_needs_review", key=str(job.id), sentence=why[:300], facts={"generation": str(job.id)})


def _ask_about_answer(job: Generation, phase: str, answer: Answer | ProviderError, *, is_word: bool) -> None:
    """Staff are asked what an answer means that no rule knows; once, for as long as it stays the same."""
    if reviews.is_asked_already(job, phase, answer.status, answer.code, is_word=is_word):
        return
    unknown = reviews.answer(phase, answer.status, answer.code, answer.message, is_word=is_word)
    Generation.objects.filter(id=job.id).update(unknown_answer=unknown)
    ask_staff(job, reviews.in_words(unknown))


def _rules(phase: str) -> list[SettlementRule]:
    return list(SettlementRule.objects.filter(phase=phase, superseded_at=None))


def _decide(
    rules: list[SettlementRule], job: Generation, phase: str, status: str, code: str | None
) -> settlement.Decision:
    return settlement.decide(
        rules, phase=phase, provider=job.provider, operation=job.operation, status=status, code=code
    )


def _provider(job: Generation) -> Provider:
    """The job's provider; one that is not set up any more is in doubt, never a failure of the job."""
    try:
        return providers.get(job.provider)
    except NotOffered as error:
        raise Unknown("not_offered", message=str(error)) from error


def _as_job(job: Generation, graph: dict[str, Any] | None = None) -> Job:
    return Job(
        str(job.id),
        job.operation,
        job.inputs,
        job.provider_job_id,
        graph=graph,
        is_cancel_asked=job.cancel_asked_at is not None,
    )
