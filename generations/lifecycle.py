"""The trip of a credit through one job, read top to bottom: start, submit, poll, fetch, settle; then what else can
happen to it: cancel, expire, late capture, waiver.

Three rules hold everywhere. What we are about to do is committed before the provider is called, so that a pulled plug
leaves a state and not a guess. No call to the outside happens inside a transaction. Only the holder of a job's latest
`claim` writes an answer down, and only the first terminal word moves money.

Locks: the job (by id), then its account (by the ledger).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import Any, BinaryIO, TypeVar, cast
from uuid import UUID

import structlog
from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet
from django_q.tasks import async_task

from billing import alerts, clock, credits, errors, ledger, steps
from billing.models import Account, Hold, Lot, new_id
from tools_registry import pricing, registry
from tools_registry.models import ToolCost

from . import outputs, providers, routes, settlement
from .models import Attempt, Generation, Output, ProviderJob, SettlementRule
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
)

log = structlog.get_logger("holdfast.lifecycle")

State, Outcome = Generation.State, Generation.Outcome
OWNER = "job"
UNSUBMITTED = (State.QUEUED,)
UNDER_WAY = (State.QUEUED, State.SUBMITTING, State.RUNNING)

# A crash or a doubt that repeats is not tried for ever: after so many attempts without an end the job waits for its
# hold to expire, and staff are asked.
DOUBTS_MAX = 3
# For how long nobody else asks about a job that one worker is asking about.
LEASE_SECONDS = 60
POLLS_AT_ONCE = 16
# So many are asked within the lease even if none of them answers in time.
POLLS_MAX = 96
HEAR_SECONDS = 1.0
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
        id=hold_id,
        owner=OWNER,
        reference=str(job_id),
        label=f"{of.operation.title} · “{job.title}”",
        link=f"/generations/{job_id}",
        price_version=of.cost.id,
        expires_in_seconds=settings.HOLD_SECONDS,
    )

    def record(done: list[ledger.Outcome]) -> None:
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


def submit(job_id: UUID) -> None:
    """The job is submitted once, if it waits for that; how the provider answered is written down."""
    claimed = _claim_submission(job_id)
    if claimed is None:
        return
    job, attempt = claimed
    try:
        accepted = calls.run(_provider(job).submit(_as_job(job)))
    except TryLater as error:
        _put_back(job, attempt, error)
    except Refused as refused:
        _record_refusal(job, attempt, refused)
    except ProviderError as doubt:
        _end_attempt(attempt, Attempt.Result.DOUBT, _evidence(doubt))
        log.warning("submission_in_doubt", job=str(job.id), provider=job.provider, status=doubt.status)
    else:
        _record_acceptance(job, accepted, attempt)


@once_more
def _claim_submission(job_id: UUID) -> tuple[Generation, Attempt] | None:
    """QUEUED → SUBMITTING, an attempt recorded, an hour from now on the hold: one commit, before the call."""
    with transaction.atomic(durable=True):
        job = _lock_job(job_id, state=State.QUEUED)
        now = clock.now()
        if job is None or (job.next_poll_at and job.next_poll_at > now):
            return None
        if not _may_be_submitted(job, now):
            return None
        _renew(job, now, since=job.submitted_at or now)
        number = job.attempt_count + 1
        attempt = Attempt.objects.create(account_id=job.account_id, generation=job, number=number, started_at=now)
        _change(
            job,
            state=State.SUBMITTING,
            claim=job.claim + 1,
            attempt_count=number,
            submitted_at=job.submitted_at or now,
            # Who finds it still SUBMITTING then, finds a doubt: the call has ended (connecting, sending and the answer
            # have their time-out each) or its worker is gone.
            next_poll_at=now + timedelta(seconds=settings.PROVIDER_TIMEOUT_SECONDS * 4),
        )
        return job, attempt


def _may_be_submitted(job: Generation, now: datetime) -> bool:
    """Whether the hold is open and nothing under it is frozen; where not, the job is looked at again later."""
    head = ledger.lock([job.account_id])[job.account_id]
    hold = _hold(job)
    if hold.state != Hold.State.OPEN or hold.expires_at <= now:
        return False  # the sweep expires it
    doubts = Attempt.objects.filter(Q(result=None) | Q(result=Attempt.Result.DOUBT), generation=job)
    if doubts.count() >= DOUBTS_MAX:
        _ask_staff(job, "Several submissions had no clear answer; it is not submitted again.")
        _change(job, next_poll_at=hold.expires_at)
        return False
    of_receipt = Lot.objects.filter(account_id=job.account_id, id__in=hold.receipt_lots)
    if head.is_frozen or of_receipt.filter(is_frozen=True).exists():
        _change(job, next_poll_at=now + timedelta(minutes=1))
        return False
    return True


@once_more
def _record_acceptance(job: Generation, accepted: Accepted, attempt: Attempt | None) -> None:
    """SUBMITTING → RUNNING with the provider's own id. Written whoever holds the claim: an id must not be lost.

    From here on it is not submitted again, whatever another worker made of the silence before.
    """
    with transaction.atomic(durable=True):
        locked = _lock_job(job.id, wait=True)
        assert locked is not None
        known, _ = ProviderJob.objects.get_or_create(
            provider=job.provider,
            provider_job_id=accepted.provider_job_id,
            defaults={"account_id": job.account_id, "generation_id": job.id},
        )
        if known.generation_id != job.id:
            _ask_staff(locked, "The provider answered with the id of another job.")
            return
        if attempt is not None:
            _end_attempt(attempt, Attempt.Result.ACCEPTED, accepted.evidence)
        if locked.provider_job_id not in (None, accepted.provider_job_id):
            _ask_staff(locked, "The provider accepted it twice; what it accepted first is followed.")
        if locked.provider_job_id is not None or locked.is_ended:
            return
        now = clock.now()
        _change(
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
        locked = _lock_job(job.id, wait=True, state=State.SUBMITTING, claim=job.claim)
        if locked is None:
            return
        if attempt is not None:
            _end_attempt(attempt, Attempt.Result.LATER, _evidence(error) if error else {})
        pause = min(2.0**locked.attempt_count, 60.0)
        if error is not None and error.retry_after_seconds is not None:
            pause = error.retry_after_seconds
        _change(locked, state=State.QUEUED, next_poll_at=clock.now() + timedelta(seconds=pause))


def _record_refusal(job: Generation, attempt: Attempt, refused: Refused) -> None:
    """The provider surely did not accept it; the rules for submitting say what that means."""
    decision = _decide(job, "submit", refused.status, refused.code)
    _end_attempt(attempt, Attempt.Result.REFUSED, _evidence(refused))
    if decision.rule is None or not decision.is_final:
        _ask_staff(job, f"The provider refused with {refused.status}, for which there is no rule that settles.")
        return
    if decision.rule.alerts_staff:
        alerts.open_alert(
            "provider_refuses_us",
            key=job.provider,
            sentence=f"{job.provider} refuses our requests with {refused.status}.",
            facts={"generation": str(job.id), "code": refused.code},
        )
    code = refused.code or f"http_{refused.status}"
    if _record_verdict(job, refused.status, code, refused.message, refused.evidence, decision):
        settle([job.id])


def _resolve_doubts(jobs: Iterable[Generation]) -> None:
    """Submissions of which nobody knows the end: looked up, or submitted again where that is safe, or waited for."""
    jobs = list(jobs)
    with ThreadPoolExecutor(max_workers=POLLS_AT_ONCE) as pool:
        found = dict(zip((job.id for job in jobs), pool.map(_look_up, jobs), strict=True))
    _those(jobs, partial(_resolve_doubt, found))


def _look_up(job: Generation) -> Accepted | Answer | ProviderError | None:
    """What the provider knows of our reference; None: nothing, or it need not, or cannot be asked. No database here."""
    try:
        provider = _provider(job)
        is_asked = provider.has_lookup and not provider.has_idempotent_submit
        return calls.run(provider.look_up(_as_job(job))) if is_asked else None
    except ProviderError as error:
        return error


def _resolve_doubt(found_of: Mapping[UUID, Accepted | Answer | ProviderError | None], job: Generation) -> None:
    found = found_of[job.id]
    if isinstance(found, ProviderError):
        _postpone(job, _pause(job, found.retry_after_seconds))
    elif isinstance(found, Accepted):
        attempt = job.attempts.order_by("-number").first()
        _record_acceptance(job, found, attempt if attempt and attempt.result != Attempt.Result.ACCEPTED else None)
    elif isinstance(found, Answer):
        _hear(job, found)
    elif _provider(job).has_lookup or _provider(job).has_idempotent_submit:
        # Surely not there, or found again by its key: it may be submitted.
        _put_back(job, None, None)
    else:
        _postpone(job, timedelta(seconds=settings.POLL_SECONDS_MAX))


# Poll


def poll(jobs: Iterable[Generation]) -> None:
    """Each of the claimed jobs' providers is asked, several at once; what they say is written down and settled.

    One that keeps us waiting holds up what the others said for HEAR_SECONDS at most.
    """
    with ThreadPoolExecutor(max_workers=POLLS_AT_ONCE) as pool:
        asked = {pool.submit(_ask, job): job for job in jobs}
        waiting = set(asked)
        while waiting:
            said, waiting = wait(waiting, timeout=HEAR_SECONDS)
            answers = {job.id: one.result() for one, job in asked.items() if one in said}
            heard = [job for job in asked.values() if job.id in answers]
            settle(_those(heard, partial(_hear_of, answers)))


def _hear_of(answers: Mapping[UUID, Answer | ProviderError], job: Generation) -> bool:
    return _hear(job, answers[job.id])


def claim_due(limit: int = POLLS_MAX, only: UUID | None = None) -> list[Generation]:
    """Jobs at a provider that are due to be asked, claimed for this caller for LEASE_SECONDS."""
    with transaction.atomic():
        due = Generation.objects.filter(
            Q(state__in=(State.RUNNING, State.AWAITING_SETTLEMENT)),
            provider_job_id__isnull=False,
            verdict_at=None,
            next_poll_at__lte=clock.Now(),
        )
        if only is not None:
            due = due.filter(id=only)
        jobs = list(due.select_for_update(skip_locked=True, of=("self",)).order_by("next_poll_at")[:limit])
        now = clock.now()
        for job in jobs:
            job.claim += 1
            job.asked_at = now
            job.next_poll_at = now + timedelta(seconds=LEASE_SECONDS)
        Generation.objects.bulk_update(jobs, ["claim", "asked_at", "next_poll_at"])
    return jobs


def _ask_all(jobs: list[Generation]) -> list[Answer | ProviderError]:
    with ThreadPoolExecutor(max_workers=min(POLLS_AT_ONCE, len(jobs) or 1)) as pool:
        return list(pool.map(_ask, jobs))


def _ask(job: Generation) -> Answer | ProviderError:
    """What the provider says now. No database here: this runs in a thread."""
    try:
        return calls.run(_provider(job).poll(_as_job(job)))
    except ProviderError as error:
        return error


def _hear(job: Generation, answer: Answer | ProviderError) -> bool:
    """The answer is written down. Says whether the job can be settled now."""
    message = answer.message
    decision = _decide(job, "poll", answer.status, answer.code)
    pause = _pause(job, answer.retry_after_seconds)
    if decision.is_final and isinstance(answer, Answer):
        if not _record_verdict(job, answer.status, answer.code, message, answer.evidence, decision):
            return False
        return decision.outcome == settlement.RELEASE or fetch_output(job)
    changes: dict[str, Any] = {"next_poll_at": clock.now() + pause}
    if isinstance(answer, Answer):
        if answer.progress is not None:
            changes["progress"] = max(job.progress, min(answer.progress, 100))
        if decision.rule is not None:
            changes["answered_at"] = clock.now()
    if decision.rule is None:
        _ask_staff(job, f"The provider said “{answer.status}”, which no rule knows.")
    with transaction.atomic(durable=True):
        locked = _lock_job(job.id, wait=True, claim=job.claim)
        if locked is None:
            return False
        if "answered_at" in changes and locked.submitted_at is not None and locked.state == State.RUNNING:
            half = timedelta(seconds=settings.HOLD_SECONDS / 2)
            _renew(locked, clock.now(), locked.submitted_at, unless_left=half)
        _change(locked, **changes)
    return False


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
def _record_verdict(
    job: Generation,
    status: str,
    code: str | None,
    message: str | None,
    evidence: Mapping[str, Any],
    decision: settlement.Decision,
) -> bool:
    """The first terminal word stands, and the hold has an hour for its settlement. False: another was first."""
    with transaction.atomic(durable=True):
        locked = _lock_job(job.id, wait=True, claim=job.claim)
        if locked is None or locked.is_ended:
            return False
        if locked.verdict_at is not None:
            if (locked.verdict_status, locked.verdict_code) != (status, code):
                _alert_flip(locked, status, code)
            return False
        now = clock.now()
        if locked.state != State.AWAITING_SETTLEMENT:
            ledger.renew(locked.account_id, hold=locked.hold_id, owner=OWNER, expires_in_seconds=settings.HOLD_SECONDS)
        assert decision.rule is not None
        _change(
            locked,
            verdict_status=status,
            verdict_code=code,
            verdict_message=message,
            verdict_evidence=dict(evidence),
            verdict_at=now,
            verdict_rule_id=decision.rule.id,
            next_poll_at=now + timedelta(seconds=LEASE_SECONDS),
            **({"progress": 100} if decision.outcome == settlement.CAPTURE else {}),
        )
        return True


def _alert_flip(job: Generation, status: str, code: str | None) -> None:
    alerts.open_alert(
        "provider_changed_its_word",
        key=str(job.id),
        sentence=f"{job.provider} first said “{job.verdict_status}” and now says “{status}”. The first word stands.",
        facts={"generation": str(job.id), "first": job.verdict_status, "now": status, "code": code},
    )


# Fetch


def fetch_output(job: Generation) -> bool:
    """The output is stored, private, its size and length known. Says whether the job can be settled now."""
    job = Generation.objects.get(id=job.id)
    if job.delivered is not None:
        return True
    answer = Answer(status=job.verdict_status or "", evidence=job.verdict_evidence or {})
    with tempfile.NamedTemporaryFile(prefix="holdfast-output-") as file:
        into = cast(BinaryIO, file)
        try:
            seconds = settings.OUTPUT_SECONDS_MAX
            fetching = _provider(job).fetch(_as_job(job), answer, into, settings.OUTPUT_BYTES_MAX, seconds)
            calls.run(fetching, seconds * 1.5)
        except OutputUnavailable as error:
            return _output_unavailable(job, str(error))
        except ProviderError as error:
            _postpone(job, _pause(job, error.retry_after_seconds))
            return False
        file.flush()
        probe = outputs.probe(file.name)
        if probe.content_type not in registry.operation(job.operation).delivers:
            return _output_unavailable(job, "What the provider sent is not something that can be delivered.")
        name = f"outputs/{job.id}/{new_id()}.{outputs.ALLOWED[probe.content_type]}"
        file.seek(0)
        stored = default_storage.save(name, File(file.file))
    if not _record_output(job, stored, probe):
        default_storage.delete(stored)
    return True


def _output_unavailable(job: Generation, why: str) -> bool:
    """Nothing can be delivered, so nothing will be charged; staff are asked, for the provider may bill it."""
    _ask_staff(job, f"It was completed, but its output cannot be had: {why}")
    Generation.objects.filter(id=job.id, delivered__isnull=True).update(delivered={"unavailable": why[:500]})
    return True


def _is_ready(job: Generation) -> bool:
    """Whether the job with a verdict can be settled now; fetches the output where that is what is missing."""
    rule = job.verdict_rule
    return rule is not None and (rule.outcome == settlement.RELEASE or fetch_output(job))


@once_more
def _record_output(job: Generation, stored: str, probe: outputs.Probe) -> bool:
    """The stored file is the job's output; False where another worker's already is."""
    with transaction.atomic(durable=True):
        locked = _lock_job(job.id, wait=True)
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
        _change(locked, delivered={"seconds": seconds, "width": probe.width, "height": probe.height})
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
        _ask_staff(job, f"It cannot be priced: {type(error).__name__} {error}")
        _change(job, next_poll_at=now + timedelta(seconds=LEASE_SECONDS))
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
    undone = [] if is_expired else [steps.Release(**words)]
    return _Plan(job, ledger.Group(job.account_id, undone), False, error_code=code, error_message=message[:1000])


def _write_settled(plans: list[_Plan], now: datetime, by: str) -> None:
    """The jobs' rows say what the ledger has just done."""
    in_debt = set(
        Account.objects.filter(id__in={p.job.account_id for p in plans}, debt__gt=0).values_list("id", flat=True)
    )
    for plan in plans:
        job = plan.job
        job.credits_charged = plan.is_charged
        job.charged_at = job.ended_at = now
        job.settled_by = by
        job.loss = plan.loss
        job.error_code, job.error_message = plan.error_code, plan.error_message
        if plan.is_charged:
            job.state, job.outcome, job.charged_amount = State.SUCCEEDED, Outcome.CHARGED, plan.amount
        else:
            job.state = State.CANCELLED if job.verdict_status == "cancelled" else State.FAILED
            job.outcome = Outcome.REFUNDED
    Generation.objects.bulk_update(
        [plan.job for plan in plans],
        [
            "state",
            "outcome",
            "credits_charged",
            "charged_amount",
            "charged_at",
            "ended_at",
            "settled_by",
            "loss",
            "error_code",
            "error_message",
        ],
    )
    paid = [plan.job.id for plan in plans if plan.is_charged and plan.job.account_id not in in_debt]
    Output.objects.filter(generation_id__in=paid, released_at=None).update(released_at=now)
    for plan in plans:
        _tell(plan)


def _tell(plan: _Plan) -> None:
    """One line in the log for each settlement, and a notice where a person must know."""
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
    if not plan.is_charged and job.state == State.FAILED:
        alerts.notify(
            job.account_id,
            f"job:{job.id}:ended",
            f"“{job.title}” was not made. Your {held} credits are back.",
            body=plan.error_message or "",
            link=f"/generations/{job.id}",
            level="warning",
        )


def _withhold(job: Generation, refusal: errors.BillingError) -> None:
    """A success that cannot be paid now: its output is kept back until it can."""
    late = (errors.InsufficientCredits, errors.AccountInDebt, errors.AccountFrozen)
    if job.state == State.AWAITING_SETTLEMENT and isinstance(refusal, late):
        if job.outcome != Outcome.WITHHELD:
            _change(job, outcome=Outcome.WITHHELD)
            alerts.notify(
                job.account_id,
                f"job:{job.id}:withheld",
                f"“{job.title}” is ready and waits for {credits.display(job.estimate_max)} credits.",
                body="It came after its reservation had ended. It is delivered once there are enough credits.",
                link=f"/generations/{job.id}",
                level="warning",
            )
        return
    log.error("settlement_refused", job=str(job.id), code=refusal.code)
    _ask_staff(job, f"Its settlement was refused: {refusal.message}"[:300])


def settle_late(limit: int = 200) -> None:
    """Jobs that succeeded after their hold had expired are paid and delivered, oldest first, where credits allow."""
    can_pay = Q(account__is_frozen=False, account__debt=0, available__gte=F("estimate_min"))
    payable = (
        Generation.objects.filter(state=State.AWAITING_SETTLEMENT, verdict_at__isnull=False, delivered__isnull=False)
        .annotate(available=F("account__balance") - F("account__held") - F("account__frozen"))
        .filter(can_pay | Q(outcome=Outcome.EXPIRED))
    )
    # One job an account and pass: the next sees what the one before it left.
    oldest = payable.order_by("account_id", "id").distinct("account_id").values_list("id", flat=True)
    settle(list(oldest[:limit]))


def release_outputs_after_debt() -> None:
    """Outputs captured while the account was in debt are delivered once nothing is owed."""
    Output.objects.filter(
        released_at=None,
        deleted_at=None,
        generation__outcome=Outcome.CHARGED,
        generation__account__debt=0,
    ).update(released_at=clock.Now())


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
        job = _lock_job(job_id, wait=True, account_id=account)
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
            _change(
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


def expire(job_id: UUID) -> None:
    """A hold that is due: the provider is asked once more; unless that settles or renews it, the credits are back.

    The job then waits in AWAITING_SETTLEMENT, still asked, or has EXPIRED where it was never submitted.
    """
    job = Generation.objects.filter(id=job_id, credits_charged=None).first()
    if job is None:
        return
    if job.verdict_at is not None:
        settle(_those([job], _is_ready))
    elif job.state == State.RUNNING:
        poll(_claim_now(job))
    elif job.state == State.SUBMITTING:
        _resolve_doubts([job])
    _expire_if_due(job_id)


def _claim_now(job: Generation) -> list[Generation]:
    """The job, claimed whenever it was to be asked next."""
    Generation.objects.filter(id=job.id, verdict_at=None).update(next_poll_at=clock.Now())
    return claim_due(only=job.id)


@once_more
def _expire_if_due(job_id: UUID) -> None:
    with transaction.atomic(durable=True):
        job = _lock_job(job_id, state__in=UNDER_WAY)
        if job is None:
            return
        hold = _hold(job)
        now = clock.now()
        was_asked = job.asked_at is not None and job.asked_at >= hold.expires_at
        if hold.expires_at > now or (job.state == State.RUNNING and job.verdict_at is None and not was_asked):
            return
        ledger.expire_hold(job.account_id, hold=hold.id, owner=OWNER, actor=OWNER, user=job.user_id)
        if job.state == State.QUEUED:
            _end_expired(job, now, "It was never started, and its reservation ended.")
            return
        is_success = job.verdict_at is not None
        _change(
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


def _end_expired(job: Generation, now: datetime, sentence: str) -> None:
    _change(
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


def alert_long_holds() -> None:
    """Staff are told of jobs that have kept credits in a hold for HOLD_ALERT_SECONDS, once each."""
    before = clock.now() - timedelta(seconds=settings.HOLD_ALERT_SECONDS)
    told = alerts.open_keys("hold_open_long")
    long = Generation.objects.filter(state__in=UNDER_WAY, hold__state=Hold.State.OPEN, hold__placed_at__lte=before)
    for job in long.exclude(id__in=told)[:100]:
        alerts.open_alert(
            "hold_open_long",
            key=str(job.id),
            sentence=f"A job at {job.provider} has held {credits.display(job.estimate_max)} credits for hours.",
            facts={"generation": str(job.id), "state": job.state},
        )


def end_waiting() -> None:
    """Jobs whose provider was silent, or that stayed unpaid, for too long have ended; unpaid outputs are deleted."""
    now = clock.now()
    silent = Q(verdict_at=None, submitted_at__lte=now - timedelta(days=settings.SILENT_DAYS))
    unpaid = Q(verdict_at__lte=now - timedelta(days=settings.UNPAID_DAYS))
    waiting = Generation.objects.filter(silent | unpaid, state=State.AWAITING_SETTLEMENT)
    for job_id in waiting.values_list("id", flat=True)[:200]:
        with transaction.atomic(durable=True):
            job = _lock_job(job_id, state=State.AWAITING_SETTLEMENT)
            if job is None:
                continue
            is_silent = job.verdict_at is None
            _end_expired(
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
    """The files are gone, then their rows say so: a crash between the two is finished by the next pass."""
    for output in which.filter(deleted_at=None)[:500]:
        default_storage.delete(output.file)
        Output.objects.filter(id=output.id).update(deleted_at=clock.Now())


# Staff


@once_more
def waive(job_id: UUID, *, staff: int, reason: str) -> Generation:
    """The withheld output is delivered without payment; who and why is on the job. Raises CannotSettle."""
    with transaction.atomic(durable=not connection.in_atomic_block):
        job = _lock_job(job_id, wait=True)
        if job is None or job.state != State.AWAITING_SETTLEMENT or job.outcome != Outcome.WITHHELD:
            raise CannotSettle("Only an output that is withheld can be delivered unpaid.")
        if job.delivered is None:
            raise CannotSettle("Its output is not here yet.")
        # refusing ends

        now = clock.now()
        _change(
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
        job = _lock_job(job_id, wait=True)
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
            _change(
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


# Look back


def look_back(limit: int = 100) -> None:
    """Settled jobs' providers are asked once more: whoever takes a word back is reported, and nothing moves."""
    now = clock.now()
    ended = Generation.objects.filter(
        is_looked_back=False,
        credits_charged__isnull=False,
        ended_at__lte=now - timedelta(seconds=LOOK_BACK_SECONDS),
    )
    recent = list(ended.order_by("ended_at")[:limit])
    asked = [job for job in recent if job.provider_job_id is not None and job.verdict_at is not None]
    done = {job.id for job in recent} - {job.id for job in asked}
    for job, answer in zip(asked, _ask_all(asked), strict=True):
        if isinstance(answer, Answer) and answer.is_terminal and answer.status != job.verdict_status:
            _alert_flip(job, answer.status, answer.code)
        if isinstance(answer, Answer) or (job.ended_at is not None and job.ended_at <= now - timedelta(hours=1)):
            done.add(job.id)
    Generation.objects.filter(id__in=done).update(is_looked_back=True)


# What is due: the sweep's passes find it by the rows alone


def due_submissions(limit: int = 100) -> list[UUID]:
    return _due(Generation.objects.filter(state=State.QUEUED, next_poll_at__lte=clock.Now()), limit)


def resolve_doubts(limit: int = POLLS_MAX) -> None:
    """Submissions whose end nobody knows are looked up, each by one worker at a time."""
    with transaction.atomic():
        jobs = list(
            Generation.objects.filter(
                Q(state=State.SUBMITTING) | Q(state=State.AWAITING_SETTLEMENT, provider_job_id=None),
                verdict_at=None,
                next_poll_at__lte=clock.Now(),
            ).select_for_update(skip_locked=True, of=("self",))[:limit]
        )
        for job in jobs:
            _change(job, claim=job.claim + 1, next_poll_at=clock.now() + timedelta(seconds=LEASE_SECONDS))
    _resolve_doubts(jobs)


def due_settlements(limit: int = 500) -> list[UUID]:
    """Jobs with a verdict that somebody should have settled by now, and did not."""
    return _due(
        Generation.objects.filter(
            verdict_at__isnull=False, credits_charged=None, next_poll_at__lte=clock.Now(), state__in=UNDER_WAY
        ),
        limit,
    )


def due_expiries(limit: int = 100) -> list[UUID]:
    return _due(
        Generation.objects.filter(state__in=UNDER_WAY, hold__state=Hold.State.OPEN, hold__expires_at__lte=clock.Now()),
        limit,
    )


def settle_due() -> None:
    """What has a verdict is settled, its output fetched first where that is missing."""
    due = Generation.objects.filter(id__in=due_settlements()).select_related("verdict_rule")
    settle(_those(due, _is_ready))


def settle_expired() -> None:
    """After the hold's end: a success's output is fetched, to be paid for late; a failure is settled."""
    waiting = Generation.objects.filter(state=State.AWAITING_SETTLEMENT)
    failed = waiting.filter(verdict_rule__outcome=settlement.RELEASE)
    settle(list(failed.values_list("id", flat=True)[:200]))
    succeeded = waiting.filter(
        verdict_at__isnull=False,
        delivered__isnull=True,
        verdict_rule__outcome=settlement.CAPTURE,
        next_poll_at__lte=clock.Now(),
    )[:50]
    for job in succeeded:
        _postpone(job, timedelta(seconds=LEASE_SECONDS))
        _those([job], fetch_output)


def _due(rows: QuerySet[Generation], limit: int) -> list[UUID]:
    return list(rows.order_by("next_poll_at").values_list("id", flat=True)[:limit])


# Parts


def _those(jobs: Iterable[Generation], verb: Callable[[Generation], object]) -> list[UUID]:
    """The ids of the jobs to which the verb said yes.

    One that broke stops no other: it is in the log, and is looked at again after LEASE_SECONDS.
    """
    found = []
    for job in jobs:
        try:
            if once_more(verb)(job):
                found.append(job.id)
        except Exception:
            log.exception("job_set_aside", job=str(job.id), state=job.state)
            connection.close_if_unusable_or_obsolete()
            with suppress(DatabaseError):
                _postpone(job, timedelta(seconds=LEASE_SECONDS))
    return found


def _lock_job(job_id: UUID, *, wait: bool = False, **of: Any) -> Generation | None:
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


def _change(job: Generation, **changes: Any) -> None:
    """These columns, and no others, are written; the row is locked by the caller."""
    for name, value in changes.items():
        setattr(job, name, value)
    job.save(update_fields=list(changes))


def _postpone(job: Generation, pause: timedelta) -> None:
    Generation.objects.filter(id=job.id, claim=job.claim).update(next_poll_at=clock.now() + pause)


def _pause(job: Generation, retry_after_seconds: float | None) -> timedelta:
    """Until the next question: a tenth of the job's age, between the two settings; later where the provider asks."""
    since = job.accepted_at or job.submitted_at or job.created_at
    age = (clock.now() - since).total_seconds()
    seconds = min(max(age / 10, settings.POLL_SECONDS), settings.POLL_SECONDS_MAX)
    return timedelta(seconds=max(seconds, retry_after_seconds or 0))


def _end_attempt(attempt: Attempt, result: Attempt.Result, evidence: Mapping[str, Any]) -> None:
    Attempt.objects.filter(id=attempt.id).update(result=result, ended_at=clock.Now(), evidence=dict(evidence))


def _evidence(error: ProviderError) -> dict[str, Any]:
    return {"status": error.status, "code": error.code, "message": error.message, **error.evidence}


def _ask_staff(job: Generation, why: str) -> None:
    """The job is on the staff's list with the reason, and an alert is open."""
    Generation.objects.filter(id=job.id).update(review=why[:300])
    alerts.open_alert("job_needs_review", key=str(job.id), sentence=why[:300], facts={"generation": str(job.id)})


def _decide(job: Generation, phase: str, status: str, code: str | None) -> settlement.Decision:
    rules = SettlementRule.objects.filter(phase=phase, superseded_at=None)
    return settlement.decide(
        rules, phase=phase, provider=job.provider, operation=job.operation, status=status, code=code
    )


def _provider(job: Generation) -> Provider:
    """The job's provider; one that is not set up any more is in doubt, never a failure of the job."""
    try:
        return providers.get(job.provider)
    except NotOffered as error:
        raise Unknown("not_offered", message=str(error)) from error


def _as_job(job: Generation) -> Job:
    return Job(
        str(job.id),
        job.operation,
        job.inputs,
        job.provider_job_id,
        is_cancel_asked=job.cancel_asked_at is not None,
    )
