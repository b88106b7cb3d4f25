"""Every row of the settlement table (S2.2), through the rehearsal provider over real HTTP: what the provider said
against hold, charge, statement, output, and what the person reads."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from generations import explain
from tests.generations.trip import Trip

pytestmark = pytest.mark.django_db(transaction=True)

HELD, CAPTURED, RELEASED = ("hold", "0.5"), ("capture", "0.5"), ("release", "0.5")
BACK = "Your 0.50 credits are back."


@dataclass
class Row:
    """What is written in the prompt, and how it all stands once the job has ended."""

    words: str
    state: str
    hold: str
    lines: list[tuple[str, str]]
    outcome: str
    code: str | None = None
    reads: str = ""
    attempts: list[str] = field(default_factory=lambda: ["accepted"])
    alerts: list[str] = field(default_factory=list)


CHARGED = ("succeeded", "captured", [HELD, CAPTURED], "charged")
GIVEN_BACK = ("failed", "released", [HELD, RELEASED], "refunded")
NOT_ACCEPTED = "The provider did not accept this request."
REFUSES_US = "The provider does not accept our requests at the moment; staff have been told."

TABLE = [
    Row("", *CHARGED),
    Row("[moderation_blocked]", *GIVEN_BACK, "moderation_blocked", "Blocked by the provider’s moderation."),
    Row("[invalid_request]", *GIVEN_BACK, "invalid_request", "The provider could not work with this request."),
    Row("[failed model_overloaded]", *GIVEN_BACK, "model_overloaded", "The provider could not finish it."),
    *(
        Row(f"[submit {status}]", *GIVEN_BACK, "rehearsed_refusal", NOT_ACCEPTED, ["refused"])
        for status in (400, 404, 413, 422)
    ),
    *(
        Row(f"[submit {status}]", *GIVEN_BACK, "rehearsed_refusal", REFUSES_US, ["refused"], ["provider_refuses_us"])
        for status in (401, 402, 403)
    ),
    Row("[submit 429]", *CHARGED, attempts=["later", "later", "accepted"]),
    Row("[timeout_after_accept]", *CHARGED, attempts=["accepted"]),
    *(Row(f"[poll {status}]", *CHARGED) for status in (401, 403, 404, 429, 500, 503)),
    Row("[garbage]", *CHARGED),
    Row("[no_output]", *GIVEN_BACK, "output_unavailable", "could not be fetched", alerts=["job_needs_review"]),
    Row("[slow 40s] [moderation_blocked]", *GIVEN_BACK, "moderation_blocked", "Blocked by the provider’s moderation."),
    Row("[slow 3m]", *CHARGED),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.words or "success")
def test_what_the_provider_says_decides(trip: Trip, row: Row, request: pytest.FixtureRequest) -> None:
    if "timeout" in row.words:
        request.getfixturevalue("in_a_hurry")
    job = trip.start(f"A lighthouse {row.words}")
    assert job.stands == ("queued", "open", None)
    assert job.charge == (None, None, False)
    trip.sweep_until(lambda: job.row.is_ended, times=20)

    assert job.stands == (row.state, row.hold, row.outcome)
    assert trip.lines == row.lines
    assert job.attempts == row.attempts
    assert job.submits["accepted"] == (0 if row.attempts == ["refused"] else 1)
    assert trip.alerts == row.alerts
    if row.outcome == "charged":
        assert job.charge == (True, "0.5", True)
        assert trip.purse.available == 9_500_000
        assert job.output is not None
        assert job.output.released_at is not None
        assert job.has_file
        assert (job.output.content_type, job.output.width, job.output.height) == ("video/mp4", 640, 360)
        assert job.row.error_code is None
        assert job.spoken.credits == "0.50 credits were charged."
        assert trip.notices == []
    else:
        assert job.charge == (False, None, True)
        assert trip.purse.available == 10_000_000
        assert job.output is None
        assert job.row.error_code == row.code
        assert row.reads in (job.row.error_message or "")
        assert job.spoken.credits == BACK
        assert trip.notices == [f"“{job.row.title}” was not made. {BACK}"]
        assert row.reads.rstrip(".") in explain.trail(job.row)[-1]["more"]
    verdict = job.row
    assert verdict.verdict_rule is not None
    assert verdict.verdict_evidence is not None
    assert verdict.verdict_at is not None


@pytest.mark.parametrize(
    ("status", "code", "state", "reads"),
    [
        ("cancelled", None, "cancelled", "It was cancelled before it was finished."),
        ("incomplete", "content_filter", "failed", "Stopped by the provider’s content filter."),
        ("failed", None, "failed", "The provider could not finish it."),
    ],
)
def test_other_terminal_words_give_the_credits_back(
    trip: Trip, status: str, code: str | None, state: str, reads: str
) -> None:
    job = trip.running()
    job.tell(status, **({"code": code} if code else {}))
    job.ended()
    assert job.stands == (state, "released", "refunded")
    assert trip.lines == [HELD, RELEASED]
    assert (job.row.error_code, job.row.error_message) == (code or status, reads)
    assert job.spoken.credits == BACK


def test_a_provider_s_words_are_kept_as_they_are_and_cut_to_size(trip: Trip) -> None:
    job = trip.running()
    job.tell("failed", code="<b>", message="<script>alert(1)</script>" + "x" * 5000)
    job.ended()
    row = job.row
    assert row.error_code == "<b>"
    assert row.error_message is not None
    assert "<script>" in row.error_message, "it is escaped where it is shown, not where it is kept"
    assert len(row.error_message) <= 1000
