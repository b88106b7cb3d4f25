"""The story of one run of a studio tool, read top to bottom: quote, start, run, settle; then the sweep of the lost.

The hold and the run are there before the child starts, in one commit; the child runs outside any transaction; its
result, the capture and the line that charged it are written in one more. Nothing but a success is charged: bad
inputs, a limit, a crash and a pulled plug all give the credits back.

Locks: the run (by id), then its account (by the ledger).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, DataError, transaction
from django.db.models import Q

from billing import clock, errors, ledger, seats, steps
from billing.models import Account, Enrollment, IdempotencyKey, Plan, new_id

from . import pricing, registry, runner, studio
from .models import ToolCost, ToolFile, ToolRun, ToolSwitch, Usual
from .studio import Tool

log = structlog.get_logger("holdfast.runs")

State, Stop = ToolRun.State, ToolRun.Stop
OWNER = "tool"
# What a run may take beside the seconds of its tool, which may be begun twice: waiting for its turns, and settling.
GRACE_SECONDS = 180
PLAN_PAGE = "/account/plan"
# Inputs that are found wrong within so much work and time are an honest slip; what takes longer counts as a stop.
REFUSED_CPU_SECONDS_FREE, REFUSED_SECONDS_FREE = 1, 5
# So many runs are counted before it is said what a run usually costs.
USUAL_RUNS_MIN = 20


class RunsInBrowser(errors.BillingError):
    code = "runs_in_browser"
    status = 409
    sentence = "This tool runs in the browser. Nothing was started and nothing was charged."
    reason = "It needs no server, costs nothing and needs no account."
    action = "Open its page and use it there."


class ToolDisabled(errors.BillingError):
    code = "tool_disabled"
    status = 403
    sentence = "This tool is switched off at the moment. Nothing was started and nothing was charged."
    reason = "Staff have switched it off."
    action = "Try again later, or use another tool."
    can_retry = True


class ToolInBeta(errors.BillingError):
    code = "tool_in_beta"
    status = 403
    sentence = "This tool is being tried out by a few people first. Nothing was started and nothing was charged."
    reason = "It is in beta, and you are not among those who may try it."
    action = "Ask support to be let in, or use another tool."


class PlanTooLow(errors.BillingError):
    code = "plan_too_low"
    status = 403
    sentence = "This tool comes with a larger plan. Nothing was started and nothing was charged."
    reason = "Your plan does not include it."
    action = "Choose a plan that includes it."


class ToolAlreadyRunning(errors.BillingError):
    code = "tool_already_running"
    status = 409
    sentence = "Another tool of yours is still running. Nothing was started and nothing was charged."
    reason = "Each person runs one tool at a time."
    action = "Wait for it to end, then try again."
    can_retry = True


class TooManyStops(errors.BillingError):
    code = "too_many_stops"
    status = 429
    sentence = "Too many of your runs were stopped lately. Nothing was started and nothing was charged."
    reason = "Each of them kept this machine busy and cost nothing, so they are counted."
    action = "Wait as long as Retry-After says, and try with something smaller."
    can_retry = True


class StudioBusy(errors.BillingError):
    code = "studio_busy"
    status = 503
    sentence = "The studio is busy at the moment. Nothing was started and nothing was charged."
    reason = "As many tools are running as this machine can look after at once."
    action = "Wait as long as Retry-After says, then try again."
    can_retry = True


BUSY_SECONDS = 5

NO_SUCH_PLAN = "The plan that this tool comes with is not there any more, so nobody can run it."
NO_SUCH_PLAN_REASON = "Staff tied it to a plan that does not exist."


# Quote


@dataclass(frozen=True, slots=True)
class Quote:
    """What a run would cost, and all that starting it needs."""

    tool: Tool
    inputs: dict[str, Any]
    files: dict[str, bytes]
    cost: ToolCost
    estimate: pricing.Estimate
    # What runs of this size really cost, once there are enough of them.
    usual: Usual | None


def allow(tool: Tool, account: UUID | None, user: Any) -> None:
    """Refuses a tool that is switched off, in beta, or not in the account's plan; without an account what binds all.

    One to three queries.
    """
    switch = ToolSwitch.objects.filter(tool=tool.slug).first()
    if switch is None:
        return
    if not switch.is_enabled:
        raise ToolDisabled(tool=tool.slug)
    if switch.is_beta and not (user is not None and user.has_perm("tools_registry.use_beta_tools")):
        raise ToolInBeta(tool=tool.slug)
    if switch.plan_least and account is not None:
        _refuse_small_plan(tool.slug, switch.plan_least, account)


def _refuse_small_plan(tool: str, least: str, account: UUID) -> None:
    smallest = Plan.objects.filter(slug=least).first()
    if smallest is None:
        # The database asks for the plan; where it is gone all the same nobody is let in, rather than everybody.
        raise ToolDisabled(NO_SUCH_PLAN, tool=tool, reason=NO_SUCH_PLAN_REASON)
    on = Enrollment.objects.filter(account_id=account, state__in=["trial", "active", "grace"]).select_related("plan")
    row = on.first()
    if row is None or row.plan.price_minor < smallest.price_minor:
        plan = row.plan.slug if row is not None else None
        said = f"This tool comes with {smallest.title} and larger plans. Nothing was started and nothing was charged."
        raise PlanTooLow(said, plan=plan, plan_least=least, upgrade_url=PLAN_PAGE)


def quote(tool: Tool, inputs: Any, sent: Mapping[str, tuple[str, bytes]] | None = None, *, under: str = "") -> Quote:
    """The estimate of these inputs; raises InvalidInputs, RunsInBrowser, ToolDisabled without a price.

    `sent`: the uploaded files as (name, bytes) by their fields. `under` stands before the names of wrong fields.
    """
    if tool.function is None:
        raise RunsInBrowser(page_url=page_of(tool))
    cleaned, files = tool.clean_with_files(inputs, sent or {}, under)
    cost, estimate, usual = expect(tool, studio.size_bucket(cleaned, files))
    return Quote(tool, cleaned, files, cost, estimate, usual)


def expect(tool: Tool, bucket: int) -> tuple[ToolCost, pricing.Estimate, Usual | None]:
    """The price in force, what a run with inputs of this size may cost, and what such runs really cost so far.

    Raises ToolDisabled without a price.
    """
    cost = ToolCost.objects.in_force(tool.slug, clock.Now())
    if cost is None:
        raise ToolDisabled("This tool has no price yet, so it cannot be run.", tool=tool.slug)
    estimate = pricing.estimate(cost.model, cost.rates, tool.bounds)
    if not estimate.max:
        raise ToolDisabled("This tool has a price of nothing, which no run can stand on.", tool=tool.slug)
    # What was counted before this price was in force was counted by another.
    known = Usual.objects.filter(tool=tool.slug, bucket=bucket, counted_at__gte=cost.valid_from).first()
    usual = known if known is not None and known.runs >= USUAL_RUNS_MIN else None
    return cost, _shaped(estimate, usual), usual


def _shaped(estimate: pricing.Estimate, usual: Usual | None) -> pricing.Estimate:
    """The estimate with what is typical as it was learned; its bounds never move (N8)."""
    if usual is None:
        return estimate
    typical = min(max(usual.p50, estimate.min), estimate.max)
    return pricing.Estimate(estimate.min, typical, estimate.max, estimate.explanation)


def page_of(tool: Tool) -> str:
    return f"/studio/{tool.slug}"


# Start


@dataclass(frozen=True, slots=True)
class Started:
    run: ToolRun
    # The status of the first answer, when this request was answered before.
    repeated_status: int | None = None


def complete(account: UUID, of: Quote, **terms: Any) -> Started:
    """`start` and `carry_out` in one of this process's seats for what takes long; what was run before is not run again.

    Raises what `start` raises.
    """
    with seats.one() as has_seat:
        started = start(account, of, **terms, has_seat=has_seat)
        return started if started.repeated_status is not None else Started(carry_out(started.run, of))


def start(
    account: UUID,
    of: Quote,
    *,
    actor: str,
    owner: str,
    user: int | None = None,
    key: ledger.Key | None = None,
    has_seat: bool = True,
) -> Started:
    """The hold is placed and the run recorded, both or neither, in one commit. `key.made` is the run's id.

    Holds the price at the hard limits. Raises ToolAlreadyRunning, then TooManyStops, then the ledger's refusals, then
    StudioBusy.
    """
    run_id = key.made if key is not None else new_id()
    if key is None or not _is_known(account, key):
        _refuse_second(account, owner)
        _refuse_after_stops(account)
    hold_id = new_id()
    assert of.tool.limits is not None
    lifetime = of.tool.limits.seconds * 2 + GRACE_SECONDS
    run = ToolRun(
        id=run_id,
        account_id=account,
        user_id=user,
        actor=actor,
        owner=owner,
        tool=of.tool.slug,
        inputs=of.inputs | {name: {"file": of.inputs[name], "bytes": len(of.files[name])} for name in of.files},
        bucket=studio.size_bucket(of.inputs, of.files),
        hold_id=hold_id,
        tool_cost=of.cost,
        estimate_min=of.estimate.min,
        estimate_typical=of.estimate.typical,
        estimate_max=of.estimate.max,
    )
    place = steps.PlaceHold(
        actor=actor,
        user=user,
        amount=of.estimate.max,
        id=hold_id,
        owner=OWNER,
        reference=str(run_id),
        label=of.tool.title,
        link=f"/studio/runs/{run_id}",
        price_version=of.cost.id,
        # Longer than the run may last, so that nothing but its own sweep ends it.
        expires_in_seconds=lifetime + settings.HOLD_SECONDS,
    )

    def record(done: list[ledger.Outcome]) -> None:
        run.created_at = done[0].line.created_at
        run.lost_at = run.created_at + timedelta(seconds=lifetime)
        # Two that set out together have both passed the first look; the account's lock lets the second see the first.
        _refuse_second(account, owner)
        if not has_seat:
            raise StudioBusy(retry_after_seconds=BUSY_SECONDS)
        run.save(force_insert=True)

    with transaction.atomic(durable=True):
        outcome = ledger.post_one(account, place, key=key, also=record)
    if outcome.repeat is not None:
        return Started(ToolRun.objects.get(account_id=account, id=outcome.repeat.made), outcome.repeat.status)
    return Started(run)


def _is_known(account: UUID, key: ledger.Key) -> bool:
    """Whether the key was used before: then it is a repeat, whatever runs meanwhile. The ledger has the last word."""
    of = {"actor": key.actor, "scope": key.scope, "key": key.key}
    return IdempotencyKey.objects.filter(account_id=account, **of).exists()


def _refuse_second(account: UUID, owner: str) -> None:
    running = ToolRun.objects.filter(account_id=account, owner=owner, state=State.RUNNING)
    first = running.values_list("id", "tool").first()
    if first is not None:
        raise ToolAlreadyRunning(run=str(first[0]), tool=first[1])


def _refuse_after_stops(account: UUID) -> None:
    """A run that was stopped cost us its limits and the account nothing: only so many of them in an hour. So did one
    whose inputs were found wrong only after much work, or long waiting.
    """
    now = clock.now()
    hour = timedelta(hours=1)
    unpaid = Q(state=State.STOPPED) & ~Q(stopped_by=Stop.LOST)
    unpaid |= Q(state=State.REFUSED, cpu_seconds__gte=REFUSED_CPU_SECONDS_FREE)
    unpaid |= Q(state=State.REFUSED, wall_seconds__gte=REFUSED_SECONDS_FREE)
    of_account = ToolRun.objects.filter(unpaid, account_id=account, ended_at__gt=now - hour)
    latest = of_account.order_by("-ended_at").values_list("ended_at", flat=True)
    times = list(latest[: settings.TOOL_STOPS_AN_HOUR_MAX])
    if len(times) >= settings.TOOL_STOPS_AN_HOUR_MAX and times[-1] is not None:
        left = (times[-1] + hour - now).total_seconds()
        raise TooManyStops(stops_max=settings.TOOL_STOPS_AN_HOUR_MAX, retry_after_seconds=left)


# Run and settle


def carry_out(run: ToolRun, of: Quote) -> ToolRun:
    """The run has ended: charged with its result, or given back with why. Called once, by whoever started it.

    Takes as long as the tool may; holds no transaction and no lock meanwhile. A pulled plug leaves it RUNNING, and the
    sweep gives it back.
    """
    tool = of.tool
    assert tool.limits is not None
    try:
        ran = runner.run(tool.path, of.inputs, of.files, tool.limits)
    except Exception:
        # Whatever it is, whoever waits for the answer is told that nothing was charged.
        log.exception("tool_lost", run=str(run.id), tool=tool.slug)
        return give_back(run.id, stopped_by=Stop.LOST) or _now(run)
    if isinstance(ran.error, Mapping):
        return give_back(run.id, wrong=ran.error, ran=ran) or _now(run)
    if ran.stopped is not None:
        log.warning("tool_stopped", run=str(run.id), tool=tool.slug, by=ran.stopped, error=ran.error)
        # What never began was not stopped by anything that it did.
        stopped_by = Stop(ran.stopped) if ran.wall_seconds else Stop.LOST
        return give_back(run.id, stopped_by=stopped_by, ran=ran) or _now(run)
    try:
        return settle(run.id, studio.decode(ran.output), ran) or _now(run)
    except (ValueError, KeyError, TypeError, RecursionError, DataError) as error:
        log.error("tool_answer_unreadable", run=str(run.id), tool=tool.slug, error=str(error))
        stopped_by = Stop.CRASH
    except (errors.BillingError, DatabaseError):
        log.exception("tool_not_settled", run=str(run.id), tool=tool.slug)
        stopped_by = Stop.LOST
    return give_back(run.id, stopped_by=stopped_by, ran=ran) or _now(run)


def settle(run_id: UUID, result: studio.Result, ran: runner.Ran) -> ToolRun | None:
    """The measured price is captured, and the result is there: one commit. None where the run had ended already.

    Where credits are owed then, the result is kept back until nothing is: `release_after_debt`.
    """
    with transaction.atomic(durable=True):
        run = _locked(run_id)
        if run is None:
            return None
        tool = registry.tool(run.tool)
        price = pricing.price(run.tool_cost.model, run.tool_cost.rates, tool.bounds, delivered(ran))
        # refusing ends
        run.state = State.SUCCEEDED
        run.charged_amount = min(price, run.estimate_max)
        run.result, run.view = dict(result.result), list(result.view)
        _count(run, ran)
        capture = steps.Capture(
            actor="tool", user=run.user_id, hold=run.hold_id, owner=OWNER, amount=run.charged_amount
        )

        def record(done: list[ledger.Outcome]) -> None:
            run.entry_id = done[0].line.id
            run.ended_at = done[0].line.created_at
            # Nobody takes a result with them while credits are owed: a payment may have been taken back meanwhile.
            if not Account.objects.filter(id=run.account_id, debt__gt=0).exists():
                run.released_at = run.ended_at
            written = ("state", "entry", "charged_amount", "result", "view", "ended_at", "released_at")
            run.save(update_fields=[*_COUNTED, *written])
            ToolFile.objects.bulk_create(
                ToolFile(
                    account_id=run.account_id,
                    run=run,
                    name=one.name,
                    content_type=one.content_type,
                    bytes=len(one.content),
                    content=one.content,
                )
                for one in result.files
            )

        ledger.post_one(run.account_id, capture, also=record)
    return run


def give_back(
    run_id: UUID,
    *,
    stopped_by: ToolRun.Stop | None = None,
    wrong: Mapping[str, list[str]] | None = None,
    ran: runner.Ran | None = None,
) -> ToolRun | None:
    """The hold is released and the run has ended without a charge. None where it had ended already."""
    with transaction.atomic(durable=True):
        run = _locked(run_id)
        if run is None:
            return None
        run.state = State.REFUSED if wrong is not None else State.STOPPED
        run.stopped_by = stopped_by
        run.wrong = None if wrong is None else {name: list(said) for name, said in wrong.items()}
        if ran is not None:
            _count(run, ran)
        release = steps.Release(actor="tool", user=run.user_id, hold=run.hold_id, owner=OWNER)

        def record(done: list[ledger.Outcome]) -> None:
            run.ended_at = done[0].line.created_at
            run.save(update_fields=[*_COUNTED, "state", "stopped_by", "wrong", "ended_at"])

        try:
            ledger.post_one(run.account_id, release, also=record)
        except (errors.HoldAlreadyExpired, errors.HoldAlreadyReleased):
            # The credits are back already: no worker ran for longer than the hold lasts.
            run.ended_at = clock.now()
            run.save(update_fields=[*_COUNTED, "state", "stopped_by", "wrong", "ended_at"])
    return run


_COUNTED = ("cpu_seconds", "wall_seconds", "peak_memory_bytes")


def _count(run: ToolRun, ran: runner.Ran) -> None:
    run.cpu_seconds = ran.cpu_seconds
    run.wall_seconds = ran.wall_seconds
    run.peak_memory_bytes = ran.peak_memory_bytes


def delivered(of: Any) -> dict[str, Any]:
    """What the kernel counted, as a price reads it; of what the runner says or of a run that is kept."""
    return {"cpu_seconds": of.cpu_seconds, "seconds": of.wall_seconds, "peak_memory_bytes": of.peak_memory_bytes}


def _locked(run_id: UUID) -> ToolRun | None:
    """The run, locked, while it is RUNNING."""
    runs = ToolRun.objects.select_for_update(no_key=True, of=("self",)).select_related("tool_cost")
    return runs.filter(id=run_id, state=State.RUNNING).first()


def _now(run: ToolRun) -> ToolRun:
    return ToolRun.objects.get(account_id=run.account_id, id=run.id)


# The sweep


def sweep() -> int:
    """Runs whose machine is gone are given back; how many. Called by every worker; finds in the rows what is due."""
    lost = ToolRun.objects.filter(state=State.RUNNING, lost_at__lt=clock.Now()).order_by("lost_at")
    ended = 0
    for run_id in list(lost.values_list("id", flat=True)[:200]):
        try:
            ended += give_back(run_id, stopped_by=Stop.LOST) is not None
        except Exception:
            # Whatever is wrong with one, the others are not kept waiting.
            log.exception("tool_run_not_given_back", run=str(run_id))
    return ended


def release_after_debt() -> int:
    """Results that were made while credits were owed are handed out once nothing is; how many."""
    kept_back = ToolRun.objects.filter(state=State.SUCCEEDED, released_at=None, account__debt=0)
    return kept_back.update(released_at=clock.Now())


def forget_old() -> int:
    """Results handed out more than TOOL_RESULT_DAYS ago are deleted, with their files; runs and charges stay.

    How many.
    """
    before = clock.now() - timedelta(days=settings.TOOL_RESULT_DAYS)
    old = ToolRun.objects.filter(state=State.SUCCEEDED, result__isnull=False, released_at__lt=before)
    ids = list(old.values_list("id", flat=True)[:1000])
    with transaction.atomic():
        ToolFile.objects.filter(run_id__in=ids).delete()
        ToolRun.objects.filter(id__in=ids).update(result=None, view=None, inputs={})
    return len(ids)


# What people see of them


def of_account(account: UUID) -> Any:
    """The account's runs, newest first, without their results."""
    return ToolRun.objects.filter(account_id=account).defer("result", "view").order_by("-id")


def files_of(runs: Iterable[ToolRun]) -> dict[UUID, list[ToolFile]]:
    """Each run's files without their contents, by run; none of what is kept back. One query."""
    found: dict[UUID, list[ToolFile]] = {}
    ids = [run.id for run in runs if not run.is_kept_back]
    for one in ToolFile.objects.filter(Q(run_id__in=ids)).defer("content").order_by("name"):
        found.setdefault(one.run_id, []).append(one)
    return found


def seconds_shown(value: Decimal | None) -> str:
    """Seconds as people read them: "0.42 s"."""
    return "" if value is None else f"{value:.2f} s"
