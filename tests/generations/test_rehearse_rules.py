"""A draft rule tried on yesterday's answers, as a table: what would have changed, and what it would settle now."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from generations.rehearse_rules import LISTED_MAX, Case, Rehearsal, Said, rehearse
from generations.settlement import SHIPPED_RULES
from tests.generations.test_settlement import Rule

SHIPPED = [Rule(**rule) for rule in SHIPPED_RULES]  # type: ignore[arg-type]
BLOCKED = Said("poll", "dear", "ai/video", "failed", "moderation_blocked")
DONE = Said("poll", "dear", "ai/video", "completed", None)
CUT = Said("poll", "dear", "ai/script", "incomplete", "content_filter")
NEW_WORD = Said("poll", "dear", "ai/video", "transmogrified", None)


def settled(said: Said, charged: int | None = None) -> Case:
    return Case(uuid4(), said, charged, 500)


def waiting(said: Said, *, is_word: bool = True) -> Case:
    return Case(uuid4(), said, None, 500, is_undecided=True, is_word=is_word)


def tried(draft: Rule, *cases: Case, instead_of: Rule | None = None) -> Rehearsal:
    then = [rule for rule in SHIPPED if rule is not instead_of] + [draft]
    return rehearse(cases, SHIPPED, then)


def shipped(status: str, code: str = "any") -> Rule:
    return next(rule for rule in SHIPPED if (rule.phase, rule.status, rule.code) == ("poll", status, code))


def counts(found: Rehearsal) -> dict[str, int]:
    names = (
        "settled_jobs", "other_outcome", "other_bills", "other_sentence", "back", "charged_at_most", "undecided",
        "settles_now", "known_now",
    )  # fmt: skip
    return {name: getattr(found, name) for name in names if getattr(found, name)}


BILLED = Rule(
    "poll", "failed", "moderation_blocked", "release", provider="dear", provider_bills="yes",
    sentence="Blocked by the provider’s moderation.",
)  # fmt: skip


def test_moderated_but_billed_changes_what_the_provider_bills_and_nothing_for_the_customer() -> None:
    other = settled(replace(BLOCKED, provider="another"))
    found = tried(BILLED, settled(BLOCKED), settled(DONE, 400), settled(BLOCKED), other)
    assert counts(found) == {"settled_jobs": 4, "other_bills": 2}
    assert [one.case.said.provider for one in found.differences] == ["dear", "dear"]


def test_what_would_not_have_been_charged_is_summed_at_what_was_charged() -> None:
    draft = Rule("poll", "completed", outcome="release", provider_bills="yes", sentence="Completed work is charged.")
    cases = settled(DONE, 400), settled(DONE, 250), settled(DONE), settled(BLOCKED)
    found = tried(draft, *cases, instead_of=shipped("completed"))
    assert counts(found) == {"settled_jobs": 4, "other_outcome": 3, "back": 650}
    assert [one.back for one in found.differences] == [400, 250, 0]


def test_what_would_have_been_charged_is_at_most_what_was_held() -> None:
    draft = Rule(
        "poll", "incomplete", "content_filter", "capture", sentence="Stopped by the provider’s content filter."
    )
    found = tried(draft, settled(CUT), settled(CUT), instead_of=shipped("incomplete", "content_filter"))
    assert counts(found) == {"settled_jobs": 2, "other_outcome": 2, "charged_at_most": 1000}


def test_another_sentence_alone_is_counted_as_that() -> None:
    draft = Rule("poll", "failed", "moderation_blocked", "release", sentence="No.")
    found = tried(draft, settled(BLOCKED), instead_of=shipped("failed", "moderation_blocked"))
    assert counts(found) == {"settled_jobs": 1, "other_sentence": 1}


def test_a_less_exact_draft_changes_nothing() -> None:
    draft = Rule("poll", "any", outcome="release", sentence="Never mind.")
    found = tried(draft, settled(BLOCKED), settled(DONE, 400))
    assert found.changes_nothing
    assert found.differences == []


@pytest.mark.parametrize(
    ("outcome", "is_word", "expected"),
    [
        ("release", True, {"undecided": 2, "settles_now": 2}),
        ("keep", True, {"undecided": 2, "known_now": 2}),
        # A question that failed settles nothing, whatever a rule says of it.
        ("release", False, {"undecided": 2, "known_now": 2}),
    ],
)
def test_jobs_that_wait_on_an_unknown_answer(outcome: str, is_word: bool, expected: dict[str, int]) -> None:
    draft = Rule("poll", "transmogrified", outcome=outcome)
    found = tried(draft, waiting(NEW_WORD, is_word=is_word), waiting(NEW_WORD, is_word=is_word))
    assert counts(found) == expected


def test_others_go_on_waiting() -> None:
    draft = Rule("poll", "transmogrified", outcome="release", provider="another")
    assert counts(tried(draft, waiting(NEW_WORD))) == {"undecided": 1}


def test_many_are_counted_and_the_first_are_listed() -> None:
    found = tried(BILLED, *(settled(BLOCKED) for _ in range(500)))
    assert found.other_bills == 500
    assert len(found.differences) == LISTED_MAX
    assert isinstance(found.differences[0].case.job, UUID)
