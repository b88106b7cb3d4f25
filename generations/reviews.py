"""Answers that no rule knew: kept with their job until somebody says what they mean. They move nothing.

Staff are asked once for each answer; what was decided to be kept is not asked again while the provider says the same.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from billing import alerts, clock

from .models import Generation

ALERT = "job_needs_review"


def answer(phase: str, status: str, code: str | None, message: str | None, *, is_word: bool) -> dict[str, Any]:
    """The answer as a job keeps it. `is_word`: it is the provider's own word on the job, not a question that failed."""
    return {
        "phase": phase,
        "status": status,
        "code": code,
        "message": message,
        "is_word": is_word,
        "said_at": clock.now().isoformat(),
    }


def is_asked_already(job: Generation, phase: str, status: str, code: str | None, *, is_word: bool) -> bool:
    """Whether staff have been asked about this answer; beside a word a question that failed says nothing new."""
    known = job.unknown_answer
    if known is None:
        return False
    return (known["is_word"] and not is_word) or (known["phase"], known["status"], known["code"]) == (
        phase,
        status,
        code,
    )


def in_words(unknown: dict[str, Any]) -> str:
    """The answer as a sentence: The provider said “failed · nsfw_content”, which no rule knows."""
    said = " · ".join(filter(None, (unknown["status"], unknown["code"])))
    if unknown["phase"] == "submit":
        return f"The provider refused it with “{said}”, and no rule settles that."
    start = "The provider said" if unknown["is_word"] else "The question to the provider ended with"
    return f"{start} “{said}”, which no rule knows."


def waiting() -> QuerySet[Generation]:
    """Undecided jobs whose last answer no rule knows, newest first."""
    return Generation.objects.filter(unknown_answer__isnull=False, credits_charged=None).order_by("-id")


def waiting_on_the_same(job: Generation) -> QuerySet[Generation]:
    """Those whose provider said the same, this one included: one rule is for all of them."""
    unknown = job.unknown_answer
    if unknown is None:
        return Generation.objects.none()
    return waiting().filter(
        provider=job.provider,
        operation=job.operation,
        unknown_answer__phase=unknown["phase"],
        unknown_answer__status=unknown["status"],
        unknown_answer__code=unknown["code"],
    )


def close(job_id: UUID) -> None:
    """Nobody is asked to look at the job any more, and its alert is cleared. What no rule knew stays noted."""
    Generation.objects.filter(id=job_id).exclude(review="").update(review="")
    alerts.clear_alert(ALERT, key=str(job_id))


def answered(job_id: UUID) -> None:
    """A rule knows what the provider says now: the question is gone, and so is the review that it opened."""
    Generation.objects.filter(id=job_id).update(unknown_answer=None)
    close(job_id)
