"""What every provider keeps to, run against each with its real process behind it."""

import io
from dataclasses import replace
from typing import Any

import pytest

from generations import outputs
from generations.providers.base import (
    Accepted,
    Answer,
    NotCancellable,
    OutputUnavailable,
    Provider,
    ProviderError,
    Refused,
    Unknown,
)
from tests.generations.providers.conftest import Asked, accepted, ended, new_job, until


@pytest.fixture(params=["local", "rehearsal"])
def provider(request: pytest.FixtureRequest) -> Provider:
    found: Asked = request.getfixturevalue(request.param)
    return found


def test_a_job_goes_from_accepted_to_a_playable_output(provider: Asked, tmp_path: Any) -> None:
    job = accepted(provider, new_job(seconds=2))
    answer = ended(provider, job)
    assert (answer.status, answer.progress, answer.code) == ("completed", 100, None)
    path = tmp_path / "output"
    with path.open("wb") as into:
        assert provider.fetch(job, answer, into, 10_000_000, 10) == "video/mp4"
    assert outputs.probe(path) == outputs.Probe("video/mp4", path.stat().st_size, 2.0, 640, 360)


def test_the_flags_say_what_the_methods_do(provider: Asked) -> None:
    assert provider.title
    assert provider.operations
    assert not provider.is_real
    assert not provider.has_callbacks
    assert provider.has_progress
    assert provider.has_lookup == (type(provider.provider).look_up is not Provider.look_up)
    assert provider.has_cancel == (type(provider.provider).cancel is not Provider.cancel)


def test_progress_only_grows_until_the_end(provider: Asked) -> None:
    job = accepted(provider, new_job("Slow [slow 1s]", seconds=4, size="1280x720", quality="high"))
    seen: list[Answer] = []

    def look() -> bool:
        seen.append(provider.poll(job))
        return seen[-1].is_terminal

    until(look)
    progress = [answer.progress or 0 for answer in seen]
    assert progress == sorted(progress)
    assert {answer.status for answer in seen} <= {"queued", "in_progress", "completed"}
    assert any(0 < percent < 100 for percent in progress)


def test_the_look_up_finds_what_was_submitted_and_nothing_else(provider: Asked) -> None:
    job = new_job()
    assert provider.look_up(job) is None
    first = provider.submit(job)
    found = provider.look_up(job)
    assert isinstance(found, Accepted)
    assert found.provider_job_id == first.provider_job_id


def test_a_running_job_is_cancelled_and_an_ended_one_is_not(provider: Asked) -> None:
    job = accepted(provider, new_job("Long [slow 30s]", seconds=20, size="1920x1080", quality="high"))
    provider.cancel(job)
    provider.cancel(job)
    assert ended(provider, job).status == "cancelled"
    with pytest.raises(OutputUnavailable):
        provider.fetch(job, Answer("completed"), io.BytesIO(), 10_000_000, 10)
    done = accepted(provider, new_job())
    assert ended(provider, done).status == "completed"
    with pytest.raises(NotCancellable):
        provider.cancel(done)


@pytest.mark.parametrize(
    "provider_job_id", ["reh_unknown", "no-such-job", "../../etc", "a/b", "x?y=1#z", "ü", " ", "x" * 300]
)
def test_a_job_that_the_provider_does_not_know_is_a_doubt(provider: Asked, provider_job_id: str) -> None:
    job = replace(new_job(), provider_job_id=provider_job_id)
    with pytest.raises(Unknown) as raised:
        provider.poll(job)
    assert raised.value.status == "404"
    with pytest.raises(ProviderError):
        provider.cancel(job)


@pytest.mark.parametrize(
    "inputs",
    [
        {"prompt": ""}, {"prompt": "x" * 2001}, {"prompt": None}, {"seconds": 0}, {"seconds": 21}, {"seconds": "4"},
        {"seconds": True}, {"size": "1x1"}, {"size": None}, {"quality": "best"},
    ],
)  # fmt: skip
def test_inputs_out_of_bounds_are_refused(provider: Asked, inputs: dict[str, Any]) -> None:
    job = new_job(**inputs)
    with pytest.raises(Refused) as raised:
        provider.submit(job)
    assert raised.value.status == "422"
    assert provider.look_up(job) is None


def test_an_output_above_the_limit_is_not_taken(provider: Asked) -> None:
    job = accepted(provider, new_job())
    answer = ended(provider, job)
    with pytest.raises(OutputUnavailable) as raised:
        provider.fetch(job, answer, io.BytesIO(), 1000, 10)
    assert raised.value.code == "output_too_large"


EVIL = [
    "nul \x00 and bell \x07",
    "lone surrogate \ud800 here",
    "emoji 😀👩‍👩‍👧‍👦 and flags 🇪🇺",
    "مرحبا بالعالم שלום עולם",
    "日本語のプロンプト",
    "%{pts} %{expr:1} $(reboot) `id` ; rm -rf / \\N '\"",
    "two\nlines\r\nand\ttabs\u2028\u2029",
    "W" * 2000,
    "word " * 400,
    "\u202e\u200b\u0301" * 100,
    " ",
    "é" * 1000 + "\u0301" * 1000,
]


@pytest.mark.parametrize("prompt", EVIL)
def test_any_prompt_is_carried_out(provider: Asked, prompt: str, tmp_path: Any) -> None:
    job = accepted(provider, new_job(prompt, size="720x1280"))
    answer = ended(provider, job)
    assert answer.status == "completed", answer
    with (tmp_path / "output").open("wb") as into:
        provider.fetch(job, answer, into, 10_000_000, 10)
    assert outputs.probe(tmp_path / "output").seconds == 1.0
