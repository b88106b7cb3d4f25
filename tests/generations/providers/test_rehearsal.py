"""Every documented word, told by the real client talking to the real stand-in."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from generations.providers.base import (
    Accepted,
    Job,
    OutputUnavailable,
    ProviderError,
    Refused,
    TryLater,
    Unknown,
)
from generations.providers.rehearsal import Rehearsal
from generations.providers.rehearsal_words import WORDS, parse
from tests.generations.providers.conftest import Asked, StandIn, accepted, ended, new_job, until


@contextmanager
def in_a_hurry(rehearsal: Asked) -> Iterator[None]:
    """Inside, no call waits for long."""
    patient, rehearsal.timeout_seconds = rehearsal.timeout_seconds, 1.0
    try:
        yield
    finally:
        rehearsal.timeout_seconds = patient


def outcomes(provider: Asked, job: Job, count: int) -> list[str]:
    """What so many polls in a row came to: the status, or the error's kind and status."""
    found = []
    for _ in range(count):
        try:
            found.append(provider.poll(job).status)
        except ProviderError as error:
            found.append(f"{type(error).__name__} {error.status}")
    return found


@pytest.mark.parametrize(
    ("prompt", "status", "code"),
    [
        ("A calm sea", "completed", None),
        ("[moderation_blocked]", "failed", "moderation_blocked"),
        ("[invalid_request]", "failed", "invalid_request"),
        ("[failed model_overloaded]", "failed", "model_overloaded"),
        ("[failed]", "failed", "provider_error"),
        ("[FAILED Quota]", "failed", "Quota"),
        ("[no_output]", "completed", None),
        ("[an unknown thing] [poll abc] [late soon]", "completed", None),
    ],
)
def test_the_end_of_a_job(rehearsal: Asked, prompt: str, status: str, code: str | None) -> None:
    answer = ended(rehearsal, accepted(rehearsal, new_job(prompt)))
    assert (answer.status, answer.code) == (status, code)
    assert bool(answer.message) == bool(code)
    assert answer.evidence["said"]["status"] == status


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_submit_with_a_refusing_status_accepts_nothing(rehearsal: Asked, stand_in: StandIn, status: int) -> None:
    job = new_job(f"[submit {status}]")
    for _ in range(2):
        with pytest.raises(Refused) as raised:
            rehearsal.submit(job)
        assert (raised.value.status, raised.value.code) == (str(status), "rehearsed_refusal")
    assert stand_in.submits(job.id) == {"received": 2, "accepted": 0}
    assert rehearsal.look_up(job) is None


@pytest.mark.parametrize("status", [500, 502, 503, 504, 405, 409])
def test_submit_with_any_other_status_is_a_doubt_and_accepts_nothing(
    rehearsal: Asked, stand_in: StandIn, status: int
) -> None:
    job = new_job(f"[submit {status}]")
    with pytest.raises(Unknown) as raised:
        rehearsal.submit(job)
    assert raised.value.status == str(status)
    assert stand_in.submits(job.id)["accepted"] == 0
    assert rehearsal.look_up(job) is None


def test_submit_429_is_try_later_twice_and_then_accepted(rehearsal: Asked, stand_in: StandIn) -> None:
    job = new_job("[submit 429]")
    for _ in range(2):
        with pytest.raises(TryLater) as raised:
            rehearsal.submit(job)
        assert (raised.value.status, raised.value.retry_after_seconds) == ("429", 1.0)
    assert ended(rehearsal, accepted(rehearsal, job)).status == "completed"
    assert stand_in.submits(job.id) == {"received": 3, "accepted": 1}


def test_timeout_after_accept_is_a_doubt_that_the_look_up_ends(rehearsal: Asked, stand_in: StandIn) -> None:
    job = new_job("[timeout_after_accept]")
    began = time.monotonic()
    with in_a_hurry(rehearsal), pytest.raises(Unknown) as raised:
        rehearsal.submit(job)
    assert raised.value.status == "timeout"
    assert time.monotonic() - began < 30, "it was given up before it was said"
    found = rehearsal.look_up(job)
    assert isinstance(found, Accepted)
    assert ended(rehearsal, Job(job.id, job.operation, job.inputs, found.provider_job_id)).status == "completed"
    assert stand_in.submits(job.id) == {"received": 1, "accepted": 1}


@pytest.mark.parametrize(("status", "kind"), [(503, "Unknown"), (404, "Unknown"), (401, "Unknown"), (429, "TryLater")])
def test_poll_with_a_status_is_answered_so_three_times(rehearsal: Asked, status: int, kind: str) -> None:
    job = accepted(rehearsal, new_job(f"[poll {status}]"))
    assert outcomes(rehearsal, job, 3) == [f"{kind} {status}"] * 3
    assert ended(rehearsal, job).status == "completed"


def test_garbage_is_unreadable_three_times(rehearsal: Asked) -> None:
    job = accepted(rehearsal, new_job("[garbage]"))
    assert outcomes(rehearsal, job, 3) == ["Unknown garbage"] * 3
    assert ended(rehearsal, job).status == "completed"


def test_an_unknown_word_is_passed_through_until_the_stand_in_is_told(rehearsal: Asked, stand_in: StandIn) -> None:
    job = accepted(rehearsal, new_job("[unknown_word]"))
    assert outcomes(rehearsal, job, 4) == ["transmogrified"] * 4
    assert not rehearsal.poll(job).is_known
    stand_in.post(f"jobs/{job.id}", status="failed", code="told", message="As told.")
    answer = rehearsal.poll(job)
    assert (answer.status, answer.code, answer.message) == ("failed", "told", "As told.")


def test_silent_never_answers(rehearsal: Asked, stand_in: StandIn) -> None:
    job = accepted(rehearsal, new_job("[silent]"))
    assert outcomes(rehearsal, job, 3) == ["Unknown network"] * 3
    stand_in.post("advance", seconds=8 * 86_400)
    assert outcomes(rehearsal, job, 2) == ["Unknown network"] * 2
    assert isinstance(rehearsal.look_up(job), Accepted)


def test_late_is_silent_until_its_time_and_has_then_succeeded(rehearsal: Asked, stand_in: StandIn) -> None:
    job = accepted(rehearsal, new_job("[late 70m]"))
    assert outcomes(rehearsal, job, 2) == ["Unknown network"] * 2
    stand_in.post("advance", seconds=69 * 60)
    assert outcomes(rehearsal, job, 1) == ["Unknown network"]
    stand_in.post("advance", seconds=61)
    assert outcomes(rehearsal, job, 1) == ["completed"]


def test_slow_takes_its_time_with_progress(rehearsal: Asked, stand_in: StandIn) -> None:
    job = accepted(rehearsal, new_job("[slow 20s] [failed busy]"))
    assert rehearsal.poll(job).status in ("queued", "in_progress")
    stand_in.post("advance", seconds=10)
    answer = rehearsal.poll(job)
    assert answer.status == "in_progress"
    assert 50 <= (answer.progress or 0) < 90
    stand_in.post("advance", seconds=10)
    assert (rehearsal.poll(job).status, rehearsal.poll(job).code) == ("failed", "busy")


def test_flip_says_completed_first_and_failed_ever_after(rehearsal: Asked) -> None:
    job = accepted(rehearsal, new_job("[flip]"))
    first = ended(rehearsal, job)
    assert first.status == "completed"
    assert outcomes(rehearsal, job, 3) == ["failed"] * 3
    assert rehearsal.poll(job).code == "flipped"
    assert rehearsal.fetch(job, first, io.BytesIO(), 10_000_000, 10) == "video/mp4"


def test_no_output_completes_and_has_none(rehearsal: Asked) -> None:
    job = accepted(rehearsal, new_job("[no_output]"))
    answer = ended(rehearsal, job)
    with pytest.raises(OutputUnavailable) as raised:
        rehearsal.fetch(job, answer, io.BytesIO(), 10_000_000, 10)
    assert (raised.value.status, raised.value.code) == ("404", "output_missing")


def test_words_are_read_together_and_what_is_none_is_text() -> None:
    assert parse("[slow 20s] a [Late 2h] b [poll 503] [failed x-1]") == {
        "slow": 20, "late": 7200, "poll": 503, "failed": "x-1",
    }  # fmt: skip
    assert parse("[submit 200] [late -1s] [slow ٧s] [silent now] [poll 99] [[garbage]] [flip") == {"garbage": 1}
    assert parse("[submit 503] [submit 400]") == {"submit": 503}
    for word in WORDS:
        assert list(parse(f"text {word.example} text")) == [word.name]
        assert word.sentence.endswith(".")


def test_nothing_listening_is_surely_not_accepted_and_later_a_doubt(rehearsal: Asked) -> None:
    rehearsal.url = "http://127.0.0.1:1"
    with pytest.raises(TryLater) as raised:
        rehearsal.submit(new_job())
    assert raised.value.status == "network"
    job = Job("x", "ai/video", {}, "reh_x")
    for ask in (rehearsal.poll, rehearsal.look_up, rehearsal.cancel):
        with pytest.raises(Unknown):
            ask(job)
    with pytest.raises(Unknown):
        rehearsal.fetch(job, None, io.BytesIO(), 10, 1)  # type: ignore[arg-type]


def test_a_second_submit_is_a_second_job_unless_the_stand_in_is_idempotent(rehearsal: Asked, stand_in: StandIn) -> None:
    job = new_job()
    assert rehearsal.submit(job).provider_job_id != rehearsal.submit(job).provider_job_id
    assert stand_in.submits(job.id) == {"received": 2, "accepted": 2}
    stand_in.post("settings", idempotent=True)
    try:
        idempotent, other = Asked(Rehearsal(has_idempotent_submit=True)), new_job()
        assert idempotent.has_idempotent_submit
        assert idempotent.submit(other).provider_job_id == idempotent.submit(other).provider_job_id
        with pytest.raises(Unknown) as raised:
            idempotent.submit(Job(other.id, other.operation, other.inputs | {"seconds": 9}))
        assert raised.value.code == "idempotency_conflict"
        assert stand_in.submits(other.id)["accepted"] == 1
    finally:
        stand_in.post("settings", idempotent=False)


def test_a_restart_of_the_stand_in_forgets_nothing(rehearsal: Asked, tmp_path: Path) -> None:
    other = StandIn(tmp_path / "state.sqlite3", "--seconds", "0.2")
    rehearsal.url = other.url
    flipped, late = (accepted(rehearsal, new_job(prompt)) for prompt in ("[flip]", "[late 70m]"))
    assert ended(rehearsal, flipped).status == "completed"
    other.post("advance", seconds=70 * 60)
    other.kill()
    with pytest.raises(Unknown):
        rehearsal.poll(late)
    other.start()
    assert rehearsal.poll(flipped).status == "failed"
    assert rehearsal.poll(late).status == "completed"
    assert other.submits(late.id) == {"received": 1, "accepted": 1}
    other.kill()


@pytest.mark.parametrize("point", ["before_accept", "after_accept", "before_poll_answer", "before_output"])
def test_a_gate_holds_a_request_at_its_point_until_released(rehearsal: Asked, stand_in: StandIn, point: str) -> None:
    job = new_job()
    if point.startswith("before_") and point != "before_accept":
        job = accepted(rehearsal, job)
        ended(rehearsal, job)
    rehearsal.timeout_seconds = 20
    acts = {
        "before_poll_answer": lambda: rehearsal.poll(job),
        "before_output": lambda: rehearsal.fetch(job, rehearsal.poll(job), io.BytesIO(), 10_000_000, 20),
    }
    act = acts.get(point, lambda: rehearsal.submit(job))
    stand_in.post("gates", point=point, reference=job.id)
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(act()))
    thread.start()
    until(lambda: stand_in.get("gates")["waiting"] == [{"point": point, "reference": job.id}])
    other = new_job()
    assert ended(rehearsal, accepted(rehearsal, other)).status == "completed"  # others pass
    assert results == []
    assert stand_in.submits(job.id)["accepted"] == (0 if point == "before_accept" else 1)
    assert stand_in.post("release", point=point, reference=job.id) == {"released": 1}
    thread.join(60)
    assert len(results) == 1
    assert stand_in.get("gates") == {"closed": [], "waiting": []}


def test_a_submission_that_its_client_gave_up_is_not_accepted_later(rehearsal: Asked, stand_in: StandIn) -> None:
    job = new_job()
    stand_in.post("gates", point="before_accept", reference=job.id)
    with in_a_hurry(rehearsal), pytest.raises(Unknown) as raised:
        rehearsal.submit(job)
    assert raised.value.status == "timeout"
    assert rehearsal.look_up(job) is None
    stand_in.post("release", reference=job.id)
    until(lambda: [row["status"] for row in stand_in.get("requests", reference=job.id)["requests"]] == [200, 0])
    assert stand_in.submits(job.id)["accepted"] == 0


def test_requests_are_logged_by_reference(rehearsal: Asked, stand_in: StandIn) -> None:
    job = accepted(rehearsal, new_job("[silent]"))
    outcomes(rehearsal, job, 2)
    rows = until(lambda: len(found := stand_in.get("requests", reference=job.id)["requests"]) == 3 and found)
    assert [(row["method"], row["status"]) for row in rows] == [("POST", 201), ("GET", 0), ("GET", 0)]


GOOD_HEADERS = {"Authorization": "Bearer rehearsal", "Content-Type": "application/json", "Idempotency-Key": "k"}
GOOD_BODY = {"reference": "k", "prompt": "p", "seconds": 1, "size": "640x360", "quality": "draft"}


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Authorization": ""}, {}, 401),
        ({"Authorization": "Bearer wrong"}, {}, 401),
        ({"Content-Type": "text/plain"}, {}, 400),
        ({"Idempotency-Key": ""}, {}, 400),
        ({"Idempotency-Key": "other"}, {}, 422),
        ({"Host": "provider.example"}, {}, 421),
        ({}, {"extra": 1}, 422),
        ({}, {"prompt": 7}, 422),
        ({}, {"seconds": True}, 422),
    ],
)
def test_the_stand_in_is_strict(stand_in: StandIn, headers: dict[str, str], body: dict[str, Any], status: int) -> None:
    response = httpx.post(f"{stand_in.url}/v1/videos", json=GOOD_BODY | body, headers=GOOD_HEADERS | headers)
    assert response.status_code == status
    assert response.json()["error"]["code"]
    assert stand_in.submits("k")["accepted"] == 0
