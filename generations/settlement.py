"""Who pays, decided from rules: rows in, a decision out. Pure; `lifecycle.py` asks and acts.

Only what is written in a rule moves money. What no rule knows keeps the hold and asks staff to look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

ANY = "any"
CAPTURE, RELEASE, KEEP = "capture", "release", "keep"


class Rule(Protocol):
    """A row of the settlement rules."""

    id: UUID
    phase: str
    provider: str
    operation: str
    status: str
    code: str
    outcome: str
    provider_bills: str
    sentence: str
    alerts_staff: bool
    version: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What the customer pays (capture, release, or keep: nothing yet), by which rule; `rule` None: nobody knows."""

    outcome: str
    rule: Rule | None
    sentence: str
    provider_bills: str

    @property
    def is_final(self) -> bool:
        return self.outcome != KEEP


def decide(
    rules: Iterable[Rule], *, phase: str, provider: str, operation: str, status: str, code: str | None
) -> Decision:
    """The most specific matching rule's outcome; more exact columns win, then code before status before the rest."""
    best: tuple[tuple[int, ...], Rule] | None = None
    for rule in rules:
        exact = _exactness(rule, phase, provider, operation, status, code)
        if exact is not None and (best is None or exact > best[0]):
            best = (exact, rule)
    if best is None:
        return Decision(KEEP, None, "", "unknown")
    rule = best[1]
    return Decision(rule.outcome, rule, rule.sentence, rule.provider_bills)


def _exactness(
    rule: Rule, phase: str, provider: str, operation: str, status: str, code: str | None
) -> tuple[int, ...] | None:
    """How exactly a rule matches, None where it does not."""
    if rule.phase != phase:
        return None
    # A rule for "5xx" speaks for every server error that has no rule of its own.
    of_status = 2 if rule.status == status else 1 if rule.status == "5xx" and _is_server_error(status) else 0
    pairs = ((rule.code, code), (rule.operation, operation), (rule.provider, provider))
    if (of_status == 0 and rule.status != ANY) or any(word not in (ANY, asked) for word, asked in pairs):
        return None
    of_code, of_operation, of_provider = (int(word != ANY) for word, _ in pairs)
    exact = (of_status > 0) + of_code + of_operation + of_provider
    return (exact, of_code, of_status, of_operation, of_provider)


def _is_server_error(status: str) -> bool:
    return len(status) == 3 and status.startswith("5") and status.isascii() and status.isdigit()


def _rule(phase: str, status: str, outcome: str, sentence: str = "", **more: object) -> dict[str, object]:
    return {"phase": phase, "status": status, "outcome": outcome, "sentence": sentence, **more}


# The rules that Holdfast ships (S2.2 and the design's Settlement). Staff edit them as rows, in versions.
SHIPPED_RULES: list[dict[str, object]] = [
    _rule("poll", "completed", CAPTURE, "Completed work is charged.", provider_bills="yes"),
    _rule("poll", "failed", RELEASE, "The provider could not finish it."),
    _rule("poll", "failed", RELEASE, "Blocked by the provider’s moderation.", code="moderation_blocked"),
    _rule("poll", "failed", RELEASE, "The provider could not work with this request.", code="invalid_request"),
    _rule("poll", "cancelled", RELEASE, "It was cancelled before it was finished.", provider_bills="no"),
    _rule(
        "poll",
        "incomplete",
        CAPTURE,
        "It stopped at the length that was asked for; what was made is charged.",
        code="max_output_tokens",
        provider_bills="yes",
    ),
    _rule("poll", "incomplete", RELEASE, "Stopped by the provider’s content filter.", code="content_filter"),
    _rule("poll", "queued", KEEP, "Waiting at the provider."),
    _rule("poll", "in_progress", KEEP, "The provider is at work."),
    *(
        _rule("poll", status, KEEP, "The provider could not be asked.")
        for status in ("401", "403", "404", "429", "5xx", "timeout", "network", "garbage")
    ),
    *(
        _rule("submit", status, RELEASE, "The provider did not accept this request.", provider_bills="no")
        for status in ("400", "404", "413", "422")
    ),
    # Providers that look at a request before they take it.
    _rule("submit", "400", RELEASE, "Blocked by the provider’s moderation.", code="moderation_blocked"),
    *(
        _rule(
            "submit",
            status,
            RELEASE,
            "The provider does not accept our requests at the moment; staff have been told.",
            provider_bills="no",
            alerts_staff=True,
        )
        for status in ("401", "402", "403")
    ),
    _rule("submit", "429", KEEP, "The provider is busy; it will be asked again.", provider_bills="no"),
    *(
        _rule("submit", status, KEEP, "The provider has not confirmed that it has the request.")
        for status in ("5xx", "timeout", "network", "garbage")
    ),
]
