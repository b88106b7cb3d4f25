"""A run and its credits in plain words: how it ended, what it used, and how that came to its price.

Everything is read from the rows that were written when it happened; nothing is guessed afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing import credits
from billing.models import Entry

from . import pricing, registry, runs
from .models import ToolRun
from .studio import Tool

State, Stop = ToolRun.State, ToolRun.Stop


@dataclass(frozen=True, slots=True)
class Spoken:
    """How a run stands, for a person: a word with its kind of colour, a title, a sentence or two, and the credits."""

    word: str
    kind: str
    title: str
    words: str
    credits: str


def spoken(run: ToolRun) -> Spoken:
    """How it stands, what that means for the credits, and what can be done."""
    held = credits.display(run.estimate_max)
    back = f"Nothing was charged. Your {held} credits are back."
    if run.state == State.RUNNING:
        words = "You can leave this page; it goes on."
        return Spoken("Running", "wait", "It is running", words, f"{held} credits are held until it ends.")
    if run.state == State.SUCCEEDED:
        charged = f"{credits.display(run.charged_amount or 0)} of at most {held} credits were charged."
        if run.is_kept_back:
            return Spoken("Waiting", "wait", "Made, and kept back", KEPT_BACK, charged)
        return Spoken("Done", "ok", "Done", "", charged)
    if run.state == State.REFUSED:
        words = "Something in what was sent needs another value."
        return Spoken("Not run", "bad", "It could not be run with these inputs", words, back)
    limit = limit_of(run)
    if limit is not None:
        title = f"It was stopped at its limit of {limit.words}"
        return Spoken("Stopped", "bad", title, limit.action, back)
    if run.stopped_by == Stop.LOST:
        words = "The machine that it ran on did not answer any more. You can run it again."
        return Spoken("Lost", "bad", "It was lost on the way", words, back)
    words = "The tool failed at something in these inputs. That is our fault; it has been recorded."
    return Spoken("Failed", "bad", "It could not be finished", words, back)


KEPT_BACK = "Credits are owed on this account. The result is handed out by itself once nothing is owed."


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit that ended a run: its name in the API, its value, both in words, and what to do."""

    name: str
    value: int
    words: str
    action: str


LESS = "Send less at once, for example a part of the file, and run it again."


def limit_of(run: ToolRun) -> Limit | None:
    """The limit that stopped the run; None where none did."""
    tool = tool_of(run)
    limits = tool.limits if tool is not None else None
    if limits is None or run.state != State.STOPPED:
        return None
    match run.stopped_by:
        case Stop.CPU:
            return Limit("cpu_seconds", limits.cpu_seconds, f"{_spelt(limits.cpu_seconds)} of processor time", LESS)
        case Stop.TIME:
            return Limit("seconds", limits.seconds, _spelt(limits.seconds), LESS)
        case Stop.MEMORY:
            return Limit("memory_mb", limits.memory_mb, f"{limits.memory_mb} MB of memory", LESS)
        case Stop.OUTPUT:
            action = "Its result was larger than can be kept. Ask for less at once and run it again."
            return Limit("output_bytes", limits.output_bytes, f"{size(limits.output_bytes)} for its result", action)
    return None


def _spelt(seconds: int) -> str:
    return "1 second" if seconds == 1 else f"{seconds} seconds"


def tool_of(run: ToolRun) -> Tool | None:
    """The run's tool; None where it is offered no more."""
    return registry.TOOLS.get(run.tool)


def title_of(run: ToolRun) -> str:
    tool = tool_of(run)
    return tool.title if tool is not None else run.tool


def size(count: int) -> str:
    """Bytes for people: 840 KB, 1.2 MB."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count // 1000} KB" if count < 1_000_000 else f"{count / 1_000_000:.1f}".removesuffix(".0") + " MB"


def used(run: ToolRun) -> str:
    """What the kernel counted, in a line; empty where it counted nothing."""
    if run.cpu_seconds is None or run.wall_seconds is None or run.peak_memory_bytes is None:
        return ""
    memory = f"up to {size(run.peak_memory_bytes)} of memory, " if run.peak_memory_bytes else ""
    return f"{seconds(run.cpu_seconds)} of processor time, {memory}{seconds(run.wall_seconds)} in all"


def seconds(value: Decimal) -> str:
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s"


# The price, part by part


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a measured price: what was used × what it costs = credits."""

    title: str
    sum: str
    amount: Decimal


def parts_of(run: ToolRun) -> list[Part]:
    """What the charge is made of; empty for a run that is not charged, or not priced by what was counted."""
    if run.state != State.SUCCEEDED or run.tool_cost.model != pricing.Measured.name:
        return []
    rates = {name: Decimal(rate) for name, rate in run.tool_cost.rates.items()}
    delivered = runs.delivered(run)
    gb_seconds = Decimal(delivered["peak_memory_bytes"]) / 10**9 * delivered["seconds"]
    return [
        Part("The run itself", "", rates["base"]),
        Part(
            "Processor time",
            f"{_plain(delivered['cpu_seconds'])} s × {_plain(rates['per_cpu_second'])}",
            delivered["cpu_seconds"] * rates["per_cpu_second"],
        ),
        Part(
            "Memory",
            f"{_plain(Decimal(delivered['peak_memory_bytes']) / 10**9)} GB × {_plain(delivered['seconds'])} s × "
            f"{_plain(rates['per_gb_second'])}",
            gb_seconds * rates["per_gb_second"],
        ),
    ]


def sum_of(run: ToolRun) -> str:
    """How the charge came about, in a sentence, to the microcredit; empty where it is not made of parts."""
    parts = parts_of(run)
    if not parts:
        return ""
    whole = sum((part.amount for part in parts), Decimal(0))
    said = " + ".join(f"{_plain(part.amount)} ({part.sum or 'the run itself'})" for part in parts)
    rates = run.tool_cost.rates
    charged = Decimal(run.charged_amount or 0) / credits.MICRO
    why = ""
    if whole < charged:
        why = f"; a run costs at least {_plain(Decimal(rates['minimum']))}"
        if charged - whole < Decimal("0.000001"):
            why = "; rounded up to the sixth decimal"
    elif whole > charged:
        why = f"; a run costs at most {_plain(charged)}"
    return f"{said} = {_plain(whole)}{why}."


def _plain(value: Decimal) -> str:
    """The number whole, to nine decimals, without zeros at its end."""
    shown = f"{value:,.9f}"
    return shown.rstrip("0").rstrip(".")


# The trail


def _step(what: str, at: datetime | None, **more: Any) -> dict[str, Any]:
    return {"what": what, "amount": "", "code": "", "rest": "", "more": "", "kind": "", "at": at} | more


def trail(run: ToolRun) -> list[dict[str, Any]]:
    """Estimated → held → used → charged or back, each with its time and its reason."""
    entries = list(Entry.objects.filter(account_id=run.account_id, hold=run.hold_id).order_by("sequence"))
    steps = [_estimated(run)]
    for entry in entries:
        if entry.kind == Entry.Kind.HOLD:
            more = "The price at the tool’s hard limits: it can never cost more."
            steps.append(_step("Held", entry.created_at, amount=credits.display(entry.amount), more=more))
    if used(run):
        steps.append(_step("Used", run.ended_at, rest=used(run)))
    steps += [_money_step(run, entry) for entry in entries if entry.kind != Entry.Kind.HOLD]
    spent = [entry.id for entry in entries]
    refunds = Entry.objects.filter(account_id=run.account_id, refunds_id__in=spent).order_by("sequence")
    steps += [_step("Refunded", entry.created_at, amount=credits.display(entry.amount)) for entry in refunds]
    return steps


def _estimated(run: ToolRun) -> dict[str, Any]:
    least, most = credits.display(run.estimate_min), credits.display(run.estimate_max)
    tool = tool_of(run)
    why = ""
    if tool is not None and tool.limits is not None:
        why = pricing.estimate(run.tool_cost.model, run.tool_cost.rates, tool.bounds).explanation
    return _step(
        "Estimated",
        run.created_at,
        amount=credits.about(run.estimate_typical),
        rest=f"as a rule, from {least} to {most}",
        more=f"{why}." if why else "",
    )


def _money_step(run: ToolRun, entry: Entry) -> dict[str, Any]:
    amount = credits.display(entry.amount)
    if entry.kind == Entry.Kind.CAPTURE:
        rest = entry.balance_delta - entry.held_delta
        back = f"The other {credits.display(rest)} that were held are back." if rest else ""
        before = credits.display(entry.balance_after - entry.balance_delta)
        around = f"Balance before {before}, after {credits.display(entry.balance_after)}."
        return _step(
            "Charged", entry.created_at, amount=amount, more=" ".join(filter(None, (sum_of(run), back, around)))
        )
    said = spoken(run)
    why = f"{said.title}." if run.state in (State.REFUSED, State.STOPPED) else ""
    kind = "bad" if run.state == State.STOPPED else ""
    return _step("Back", entry.created_at, amount=amount, more=f"{why} Nothing was charged.".strip(), kind=kind)


def run_of(entry: Entry) -> ToolRun | None:
    """The run that a line of the statement, or the line that it refunds, belongs to."""
    hold_id = entry.hold_id
    if entry.refunds_id is not None:
        refunded = Entry.objects.filter(account_id=entry.account_id, id=entry.refunds_id)
        hold_id = refunded.values_list("hold_id", flat=True)[0]
    if hold_id is None:
        return None
    found = ToolRun.objects.filter(account_id=entry.account_id, hold_id=hold_id).select_related("tool_cost")
    return found.defer("result", "view", "inputs").first()


def entry_trail(entry: Entry) -> list[dict[str, Any]]:
    """The trail of the run that a line of the statement belongs to; empty for a line without one."""
    run = run_of(entry)
    return trail(run) if run is not None else []


def told(entry: Entry) -> list[dict[str, Any]]:
    """What the run itself adds to a line's story in the API: its estimate, what it used, and how that was priced."""
    run = run_of(entry)
    if run is None:
        return []
    steps = [_estimated(run)]
    if used(run):
        steps.append(_step("Used", run.ended_at, rest=used(run), more=sum_of(run)))
    said = spoken(run)
    if run.state in (State.REFUSED, State.STOPPED):
        steps.append(_step(said.word, run.ended_at, rest=f"{said.title}.", more=said.words))
    return [
        {
            "at": step["at"],
            "title": step["what"],
            "detail": " · ".join(filter(None, (f"{step['amount']} {step['rest']}".strip(), step["more"]))),
        }
        for step in steps
    ]
