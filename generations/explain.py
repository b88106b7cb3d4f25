"""A job and its credits in plain words: the trail, the state, and what became of the credits.

Everything is read from the rows that were written when it happened; nothing is guessed afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from billing import clock, credits
from billing.models import Entry, Lot
from tools_registry import fields, registry

from . import providers
from .models import Generation, SettlementRule
from .providers.base import NotOffered

State, Outcome = Generation.State, Generation.Outcome

# The words of a provider after which there may be something to deliver.
_MADE = ("completed", "incomplete")


@dataclass(frozen=True, slots=True)
class Spoken:
    """The job's state for a person: a word with its kind of colour, a title, a sentence or two, and the credits."""

    word: str
    kind: str
    title: str
    words: str
    credits: str


def spoken(job: Generation) -> Spoken:
    """What is going on, what it means for the credits, and what happens next."""
    held = credits.display(job.estimate_max)
    if job.state in (State.QUEUED, State.SUBMITTING, State.RUNNING):
        return _spoken_under_way(job, held)
    if job.outcome == Outcome.WITHHELD:
        return Spoken(
            "Waiting",
            "wait",
            "Ready, and waiting for credits",
            f"It was finished after its reservation had ended. It is delivered by itself once up to {held} credits "
            f"are available.{on_free_credits(job)}",
            f"Your {held} credits were given back; nothing is charged until it is delivered.",
        )
    if job.state == State.AWAITING_SETTLEMENT:
        return Spoken(
            "Overdue",
            "wait",
            "The provider has not said how it ended",
            "We keep asking. If it is finished after all, it is charged and delivered then.",
            f"Your {held} credits are back.",
        )
    if job.outcome == Outcome.CHARGED:
        charged = credits.display(job.charged_amount or 0)
        most = "" if job.charged_amount == job.estimate_max else f" of at most {held}"
        return Spoken("Ready", "ok", "Ready", f"Charged {charged}.", f"{charged}{most} credits were charged.")
    if job.outcome == Outcome.WAIVED:
        return Spoken("Ready", "ok", "Ready", "Delivered free of charge.", "Nothing was charged.")
    back = f"Your {held} credits are back."
    why = job.error_message or "It could not be made."
    if job.state == State.CANCELLED:
        return Spoken("Cancelled", "", "Cancelled", why, back)
    if job.state == State.EXPIRED:
        return Spoken("Expired", "bad", "Never finished", why, back)
    return Spoken("Not made", "bad", "It could not be made", why, back)


def on_free_credits(job: Generation) -> str:
    """What to know where free credits do not pay the job, also late, before a first payment; else nothing."""
    if job.hold is None or job.hold.takes_free_credits:
        return ""
    return " Free credits count from your first payment on."


def _spoken_under_way(job: Generation, held: str) -> Spoken:
    reserved = f"{held} credits are held. If it fails they come back by themselves."
    if job.verdict_at is not None:
        words = "It is made; the result is being fetched."
        if job.verdict_status not in _MADE:
            words = "The provider did not make it; your credits are on their way back."
        elif job.review:
            words = "It is made. People here are looking at what it costs."
        return Spoken("Finishing", "wait", "Finishing", words, reserved)
    if job.state == State.QUEUED:
        title, words = "Waiting for its turn", "It starts in a moment."
        if job.review:
            title = "The provider gave no clear answer"
            words = "People here are looking at it; it is not sent again unasked."
        elif job.attempt_count:
            title, words = "Waiting for the provider", "It could not take this yet; it is tried again by itself."
        return Spoken("Waiting", "wait", title, words, reserved)
    if job.state == State.SUBMITTING:
        title, words = "Starting", "It is being handed to the provider."
        if job.submitted_at and clock.now() - job.submitted_at > timedelta(seconds=settings.PROVIDER_TIMEOUT_SECONDS):
            title = "Not confirmed by the provider yet"
            words = "It is not made twice. If nothing is heard, your credits come back by themselves."
        return Spoken("Starting", "wait", title, words, reserved)
    if job.cancel_asked_at is not None:
        return Spoken("Stopping", "wait", "Stopping", "The provider was asked to stop.", reserved)
    if job.review:
        words = "People here are looking at it, and the provider is asked on."
        return Spoken("Running", "wait", "The provider’s answer is not clear", words, reserved)
    return Spoken("Running", "wait", "Being made", "You can leave this page; it goes on.", reserved)


def code_of(job: Generation) -> str:
    """The machine's word for why it was not made; empty where it was, or may still be."""
    return job.error_code or "" if job.state in (State.FAILED, State.EXPIRED) else ""


def in_short(job: Generation) -> str:
    """The job in a line: what was asked for; or, where it went another way, why."""
    if job.is_ended and job.state != State.SUCCEEDED:
        return spoken(job).words
    if job.state == State.AWAITING_SETTLEMENT:
        return f"{spoken(job).title}."
    operation = registry.OPERATIONS.get(job.operation)
    texts = {of.title for of in operation.fields if isinstance(of, fields.Text)} if operation else set()
    return " · ".join(row["words"] for row in asked(job) if row["title"] not in texts)


def tokens_written(job: Generation) -> str:
    """How long the text is that a provider wrote, as it counted; empty where it did not, or wrote none."""
    written = (job.usage or {}).get("output_tokens")
    return f"{written:,} tokens" if written is not None else ""


def _measured(job: Generation) -> list[dict[str, Any]]:
    """What the provider counted, against the most that was asked for."""
    counted = job.usage or {}
    if job.verdict_at is None or "output_tokens" not in counted:
        return []
    most = job.inputs.get("length_max")
    rest = f"tokens written out of at most {most:,}" if isinstance(most, int) else "tokens written"
    read = f"{counted['input_tokens']:,} were read: what was asked, and how." if "input_tokens" in counted else ""
    return [_step("Counted", job.verdict_at, amount=f"{counted['output_tokens']:,}", rest=rest, more=read)]


def provider_title(job: Generation) -> str:
    """The provider's name for people; its plain name where it is not set up any more."""
    try:
        return providers.get(job.provider).title
    except NotOffered:
        return job.provider


def _step(what: str, at: datetime | None, **more: Any) -> dict[str, Any]:
    return {"what": what, "amount": "", "code": "", "rest": "", "more": "", "kind": "", "at": at} | more


def trail(job: Generation) -> list[dict[str, Any]]:
    """Estimated → held → accepted → what the provider said → charged or back, each with its time and its reason."""
    entries = list(Entry.objects.filter(account_id=job.account_id, hold=job.hold).order_by("sequence"))
    steps = [_step("Estimated", job.created_at, amount=credits.display(job.estimate_typical), more=job.explanation)]
    for entry in entries:
        if entry.kind == Entry.Kind.HOLD:
            steps.append(_step("Held", entry.created_at, amount=credits.display(entry.amount), more=_from_lots(entry)))
    if job.accepted_at is not None:
        steps.append(
            _step(
                "Accepted",
                job.accepted_at,
                rest=f"by {provider_title(job)}",
                more=f"job {job.provider_job_id}" if job.provider_job_id else "",
            )
        )
    elif job.submitted_at is not None:
        steps.append(_step("Handed over", job.submitted_at, rest=f"to {provider_title(job)}"))
    steps += [*_said(job), *_measured(job)]
    steps += [_money_step(job, entry) for entry in entries if entry.kind != Entry.Kind.HOLD]
    steps += _refunds(job, entries)
    steps += _ended_without_money(job, entries)
    return sorted(steps, key=lambda step: step["at"] or job.created_at)


def _said(job: Generation) -> list[dict[str, Any]]:
    if job.verdict_at is None:
        return []
    word = job.verdict_code if job.verdict_status == "failed" and job.verdict_code else job.verdict_status
    kind = "" if job.verdict_status in _MADE else "bad"
    return [_step("Provider said", job.verdict_at, code=word or "", more=job.verdict_message or "", kind=kind)]


def _by_rule(rule: SettlementRule) -> str:
    return f"{rule.sentence.rstrip('.')} (rule {rule.status} · {rule.code}, version {rule.version})."


def _is_by(rule: SettlementRule, job: Generation) -> bool:
    """Whether the rule decided what became of the credits: a success without an output is charged by none."""
    return job.outcome != Outcome.REFUNDED or rule.outcome == SettlementRule.Outcome.RELEASE


def _money_step(job: Generation, entry: Entry) -> dict[str, Any]:
    amount = credits.display(entry.amount)
    before = entry.balance_after - entry.held_after - entry.frozen_after - _available_delta(entry)
    around = f"Available before {credits.display(before)}, after {credits.display(before + _available_delta(entry))}."
    if entry.kind == Entry.Kind.CAPTURE:  # what was held was not available before either
        before = entry.balance_after - entry.balance_delta
        around = f"Balance before {credits.display(before)}, after {credits.display(entry.balance_after)}."
    rule = job.verdict_rule
    why = _by_rule(rule) if rule else ""
    match entry.kind:
        case Entry.Kind.CAPTURE:
            rest = entry.balance_delta - entry.held_delta
            back = f"The other {credits.display(rest)} that were held are back." if rest else ""
            return _step("Charged", entry.created_at, amount=amount, more=" ".join(filter(None, (back, why, around))))
        case Entry.Kind.LATE_CAPTURE:
            return _step("Charged late", entry.created_at, amount=amount, more=around)
        case Entry.Kind.RELEASE:
            reason = why if rule is not None and _is_by(rule, job) else job.error_message or ""
            return _step("Back", entry.created_at, amount=amount, more=" ".join(filter(None, (reason, around))))
        case Entry.Kind.HOLD_EXPIRED:
            more = "The reservation ended before the provider had answered."
            return _step("Back", entry.created_at, amount=amount, more=f"{more} {around}", kind="wait")
    return _step("Drawn", entry.created_at, amount=amount, more=around)


def _available_delta(entry: Entry) -> int:
    return entry.balance_delta - entry.held_delta - entry.frozen_delta


def _refunds(job: Generation, entries: list[Entry]) -> list[dict[str, Any]]:
    spent = [entry.id for entry in entries]
    refunds = Entry.objects.filter(account_id=job.account_id, refunds_id__in=spent).order_by("sequence")
    return [_step("Refunded", entry.created_at, amount=credits.display(entry.amount)) for entry in refunds]


def _ended_without_money(job: Generation, entries: list[Entry]) -> list[dict[str, Any]]:
    """Ends that moved nothing, because the credits were back already."""
    has_expired = any(entry.kind == Entry.Kind.HOLD_EXPIRED for entry in entries)
    if not has_expired or job.ended_at is None or job.outcome == Outcome.CHARGED:
        return []
    if job.outcome == Outcome.WAIVED:
        return [_step("Delivered", job.ended_at, rest="free of charge, by staff")]
    return [_step("Ended", job.ended_at, rest="nothing more was charged", more=job.error_message or "", kind="bad")]


_SOURCES = {
    "plan": "monthly credits",
    "pack": "bought credits",
    "promotion": "promotional credits",
    "gift": "gift credits",
    "staff": "credits given by staff",
    "goodwill": "goodwill credits",
}


def _from_lots(entry: Entry) -> str:
    """Which credits were taken, and until when they would have lasted."""
    lots = {lot.id: lot for lot in Lot.objects.filter(account_id=entry.account_id, id__in=entry.lots)}
    parts = []
    for lot_id, held in zip(entry.lots, entry.held_deltas, strict=True):
        lot = lots.get(lot_id)
        if lot is None:
            continue
        amount = f"{credits.display(held)} " if len(entry.lots) > 1 else ""
        until = f" that expire on {lot.expires_at:%-d %b %Y}" if lot.expires_at else ""
        parts.append(f"{amount}from {_SOURCES.get(lot.source, lot.source)}{until}")
    return ", ".join(parts)


def entry_trail(entry: Entry) -> list[dict[str, Any]]:
    """The trail of the job that a line of the statement belongs to; empty for a line without a job."""
    job = job_of(entry)
    return trail(job) if job is not None else []


def job_of(entry: Entry) -> Generation | None:
    """The job that a line of the statement, or the line that it refunds, belongs to."""
    hold_id = entry.hold_id
    if entry.refunds_id is not None:
        refunded = Entry.objects.filter(account_id=entry.account_id, id=entry.refunds_id)
        hold_id = refunded.values_list("hold_id", flat=True)[0]
    if hold_id is None:
        return None
    return Generation.objects.filter(account_id=entry.account_id, hold_id=hold_id).first()


def told(entry: Entry) -> list[dict[str, Any]]:
    """What the job itself adds to a line's story in the API: estimate, acceptance, the provider's word and its rule."""
    job = job_of(entry)
    if job is None:
        return []
    steps = [step for step in trail(job) if step["what"] in _NOT_MONEY]
    rule = job.verdict_rule
    for step in steps:
        if step["what"] == "Provider said" and rule is not None and _is_by(rule, job):
            step["more"] += f" {_by_rule(rule)}"
    return [
        {
            "at": step["at"],
            "title": step["what"],
            "detail": " · ".join(
                filter(None, (f"{step['amount']} {step['rest']}".strip(), step["code"], step["more"].strip()))
            ),
        }
        for step in steps
    ]


# The steps of a trail that the statement does not tell by itself.
_NOT_MONEY = ("Estimated", "Accepted", "Handed over", "Provider said", "Counted", "Delivered", "Ended")


def asked(job: Generation) -> list[dict[str, str]]:
    """The inputs but for the prompt, as titles and words."""
    operation = registry.OPERATIONS.get(job.operation)
    rows = []
    for of in operation.fields if operation else ():
        value = job.inputs.get(of.name)
        if of.name == "prompt" or value is None:
            continue
        if isinstance(of, fields.Choice):
            words = of.choices.get(value, str(value))
        else:
            words = f"{value:,} {of.unit}".strip() if isinstance(of, fields.Whole) else str(value)
        rows.append({"title": of.title, "words": words})
    return rows
