"""What a draft of a settlement rule would have changed: yesterday's answers, decided again. Pure; nothing moves.

Only what was written down can be decided again: final words, refused submissions, and answers that no rule knew.
What a provider said while its job went on is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from generations import settlement
from generations.settlement import CAPTURE, Decision, Rule

LISTED_MAX = 20


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of a provider, as the rules see it."""

    phase: str
    provider: str
    operation: str
    status: str
    code: str | None


@dataclass(frozen=True, slots=True)
class Case:
    """A job with the answer that decided it, or that no rule knew. Amounts are microcredits."""

    job: UUID
    said: Said
    # What was charged for it; None where nothing was.
    charged: int | None
    # The most that it could have cost.
    estimate_max: int
    # Waits on an answer that no rule knew.
    is_undecided: bool = False
    # The provider's own word on the job. A failed question (an HTTP status, a time-out) never settles one.
    is_word: bool = True


@dataclass(frozen=True, slots=True)
class Difference:
    """A job that would have been settled otherwise: `back` would not be charged, `charged_at_most` would be."""

    case: Case
    before: Decision
    after: Decision
    back: int = 0
    charged_at_most: int = 0


@dataclass(slots=True)
class Rehearsal:
    """What the draft would have changed, counted over every case, with the newest differences themselves."""

    cases: int = 0
    settled_jobs: int = 0
    other_outcome: int = 0
    other_bills: int = 0
    other_sentence: int = 0
    back: int = 0
    charged_at_most: int = 0
    undecided: int = 0
    settles_now: int = 0
    # They become known, and go on being kept.
    known_now: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def changes_nothing(self) -> bool:
        return not (self.other_outcome or self.other_bills or self.other_sentence or self.settles_now or self.known_now)


def rehearse(cases: Iterable[Case], now: Sequence[Rule], then: Sequence[Rule]) -> Rehearsal:
    """Every case decided by the rules in force `now` and by those in force `then`. One pass, in flat memory.

    Capture instead of release is counted at the job's maximum: what was never delivered has no price.
    """
    found = Rehearsal()
    known: dict[Said, tuple[Decision, Decision]] = {}
    for case in cases:
        found.cases += 1
        if case.said not in known:
            known[case.said] = (_decide(now, case.said), _decide(then, case.said))
        before, after = known[case.said]
        difference = _count_undecided if case.is_undecided else _count_settled
        made = difference(found, case, before, after)
        if made is not None and len(found.differences) < LISTED_MAX:
            found.differences.append(made)
    return found


def _decide(rules: Sequence[Rule], said: Said) -> Decision:
    return settlement.decide(
        rules,
        phase=said.phase,
        provider=said.provider,
        operation=said.operation,
        status=said.status,
        code=said.code,
    )


def _count_settled(found: Rehearsal, case: Case, before: Decision, after: Decision) -> Difference | None:
    found.settled_jobs += 1
    is_other_outcome = before.outcome != after.outcome
    is_other_bills = before.provider_bills != after.provider_bills
    is_other_sentence = before.sentence != after.sentence
    found.other_outcome += is_other_outcome
    found.other_bills += is_other_bills
    found.other_sentence += is_other_sentence
    back = (case.charged or 0) if before.outcome == CAPTURE and is_other_outcome else 0
    charged_at_most = case.estimate_max if after.outcome == CAPTURE and is_other_outcome else 0
    found.back += back
    found.charged_at_most += charged_at_most
    if not (is_other_outcome or is_other_bills or is_other_sentence):
        return None
    return Difference(case, before, after, back, charged_at_most)


def _count_undecided(found: Rehearsal, case: Case, before: Decision, after: Decision) -> Difference | None:
    """What waits is settled when its provider says the same again."""
    found.undecided += 1
    if before.rule is not None or after.rule is None:
        return None
    is_settled = after.is_final and case.is_word
    found.settles_now += is_settled
    found.known_now += not is_settled
    return Difference(case, before, after, 0, case.estimate_max if after.outcome == CAPTURE and is_settled else 0)
