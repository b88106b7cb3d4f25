"""Pictures and texts at the local provider: done by the same renderer, counted, cut, cancelled, and done once."""

from __future__ import annotations

import io
import json
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from generations import outputs
from generations.providers.base import Answer, Job, NotCancellable, OutputUnavailable, Refused
from generations.providers.local import Local
from generations.providers.local_text import count_tokens
from tests.generations.providers.conftest import Asked, Renderer, accepted, ended, new_job, until
from tools_registry import pricing, registry

TEXTS = ["ai/script", "ai/threads"]
EVIL = [
    "nul \x00 and bell \x07",
    "lone surrogate \ud800 here",
    "\U0001f600" * 2000,
    "{it.__class__} %s ${x}",
    "two\nlines\r\nand\ttabs\u2028\u2029",
    "\u202e\u200b\u0301" * 600,
    "W" * 2000,
    " ",
]


def job_of(operation: str, **inputs: Any) -> Job:
    return Job(str(uuid7()), operation, {**registry.OPERATIONS[operation].example, **inputs})


def carried_out(local: Asked, job: Job) -> tuple[Answer, bytes, str]:
    job = accepted(local, job)
    answer = ended(local, job)
    into = io.BytesIO()
    content_type = local.fetch(job, answer, into, 20_000_000, 10)
    return answer, into.getvalue(), content_type


def test_every_operation_is_done_here() -> None:
    assert Local.operations == set(registry.OPERATIONS)


@pytest.mark.parametrize("quality", ["draft", "high"])
@pytest.mark.parametrize("size", ["1024x1024", "1024x1536"])
def test_a_picture_has_its_size_and_is_what_it_says(local: Asked, size: str, quality: str, tmp_path: Path) -> None:
    answer, content, content_type = carried_out(local, job_of("ai/image", size=size, quality=quality))
    assert (answer.status, answer.progress, answer.usage) == ("completed", 100, {})
    (tmp_path / "output").write_bytes(content)
    probe = outputs.probe(tmp_path / "output")
    assert probe.content_type == content_type == "image/png"
    assert f"{probe.width}x{probe.height}" == size


@pytest.mark.parametrize("operation", TEXTS)
def test_a_text_is_counted_as_it_is(local: Asked, operation: str, tmp_path: Path) -> None:
    job = job_of(operation)
    answer, content, content_type = carried_out(local, job)
    text = content.decode()
    assert (answer.status, answer.code, content_type) == ("completed", None, "text/plain")
    assert answer.usage["output_tokens"] == count_tokens(text) <= job.inputs["length_max"]
    assert 0 < answer.usage["input_tokens"] <= pricing.input_tokens_max(job.inputs)
    assert "without a language model" in text.splitlines()[0]
    (tmp_path / "output").write_bytes(content)
    assert outputs.probe(tmp_path / "output").content_type == "text/plain"


@pytest.mark.parametrize("operation", TEXTS)
def test_a_text_that_does_not_fit_is_incomplete_and_can_still_be_had(local: Asked, operation: str) -> None:
    answer, content, _ = carried_out(local, job_of(operation, length_max=100))
    assert (answer.status, answer.code) == ("incomplete", "max_output_tokens")
    assert answer.usage["output_tokens"] == count_tokens(content.decode()) == 100
    assert answer.is_terminal


@pytest.mark.parametrize("prompt", EVIL, ids=range(len(EVIL)))
@pytest.mark.parametrize("operation", ["ai/image", *TEXTS])
def test_any_prompt_is_carried_out(local: Asked, operation: str, prompt: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {"quality": "draft"} if operation == "ai/image" else {"length_max": 4000}
    _, content, content_type = carried_out(local, job_of(operation, prompt=prompt, **more))
    (tmp_path / "output").write_bytes(content)
    assert outputs.probe(tmp_path / "output").content_type == content_type


def test_a_text_does_not_wait_for_videos(local: Asked) -> None:
    films = [new_job("Long", seconds=20, size="1920x1080", quality="high") for _ in range(4)]
    for film in films:
        local.submit(film)
    until(lambda: sum(local.poll(film).status == "in_progress" for film in films) == 2)
    assert ended(local, accepted(local, job_of("ai/script"))).status == "completed"
    assert sorted(local.poll(film).status for film in films) == ["in_progress"] * 2 + ["queued"] * 2
    for film in films:
        local.cancel(film)
        assert ended(local, film).status == "cancelled"


@pytest.mark.parametrize("operation", ["ai/image", *TEXTS])
def test_what_waits_can_be_cancelled_and_what_is_done_cannot(tmp_path: Path, operation: str) -> None:
    local, job, other = Asked(Local(tmp_path)), job_of(operation), job_of(operation)
    for one in (job, other):
        assert local.look_up(one) is None
        assert local.submit(one).provider_job_id == local.submit(one).provider_job_id == one.id
        assert local.look_up(one)
    local.cancel(job)
    renderer = Renderer(tmp_path)
    assert ended(local, job).status == "cancelled"
    with pytest.raises(OutputUnavailable):
        local.fetch(job, Answer("completed"), io.BytesIO(), 1_000_000, 1)
    answer = ended(local, other)
    assert answer.status == "completed"
    assert local.submit(other).provider_job_id == other.id
    assert local.poll(other) == answer
    assert answer.evidence["starts"] == 1
    with pytest.raises(NotCancellable):
        local.cancel(other)
    renderer.kill(signal.SIGTERM)


@pytest.mark.parametrize("operation", ["ai/image", *TEXTS])
def test_a_killed_renderer_loses_no_picture_and_no_text(tmp_path: Path, operation: str) -> None:
    more = {"quality": "draft"} if operation == "ai/image" else {}
    local, jobs = Asked(Local(tmp_path)), [job_of(operation, prompt=f"Boat {number}", **more) for number in range(4)]
    renderer = Renderer(tmp_path)
    renderer.wait_until_ready()
    for job in jobs:
        local.submit(job)
    until(lambda: any(local.poll(job).status != "queued" for job in jobs))
    renderer.kill(signal.SIGKILL)
    renderer.start()
    assert {ended(local, job).status for job in jobs} == {"completed"}
    renderer.kill(signal.SIGTERM)


@pytest.mark.parametrize("inputs", [{}, None, [], {"prompt": 3, "size": "x", "quality": "draft"}, {"prompt": "x"}])
@pytest.mark.parametrize("operation", ["ai/video", "ai/image", "ai/script", "ai/nothing"])
def test_a_damaged_job_fails_and_takes_nothing_with_it(
    local: Asked, renderer: Renderer, operation: str, inputs: Any
) -> None:
    job = job_of("ai/script")
    folder = renderer.folder / "jobs" / job.id
    fresh = renderer.folder / "tmp" / job.id
    fresh.mkdir(parents=True)
    asked = {"id": job.id, "operation": operation, "inputs": inputs, "submitted_at": time.time()}
    (fresh / "job.json").write_text(json.dumps(asked))
    folder.parent.mkdir(exist_ok=True)  # the renderer may be starting still
    fresh.rename(folder)
    answer = ended(local, job)
    assert (answer.status, answer.code) == ("failed", "render_failed")
    assert ended(local, accepted(local, job_of("ai/script"))).status == "completed"


def test_a_video_from_before_there_was_more_than_videos_is_made(local: Asked, renderer: Renderer) -> None:
    job = new_job()
    fresh = renderer.folder / "tmp" / job.id
    fresh.mkdir(parents=True)
    (fresh / "job.json").write_text(json.dumps({"id": job.id, "inputs": job.inputs, "submitted_at": time.time()}))
    (renderer.folder / "jobs").mkdir(exist_ok=True)
    fresh.rename(renderer.folder / "jobs" / job.id)
    assert ended(local, job).status == "completed"


@pytest.mark.parametrize(
    ("operation", "inputs"),
    [
        ("ai/image", {"quality": ["draft"]}),
        ("ai/image", {"prompt": "x" * 2001}),
        ("ai/script", {"seconds": True}),
        ("ai/script", {"length_max": 99}),
        ("ai/threads", {"audience": ""}),
        ("ai/threads", {"posts": 21}),
    ],
)
def test_inputs_out_of_bounds_are_refused(local: Asked, operation: str, inputs: dict[str, Any]) -> None:
    job = job_of(operation, **inputs)
    with pytest.raises(Refused) as raised:
        local.submit(job)
    assert raised.value.status == "422"
    assert next(iter(inputs)) in (raised.value.message or "").casefold()
    assert local.look_up(job) is None


def test_an_operation_that_is_not_there_is_refused(local: Asked) -> None:
    job = replace(new_job(), operation="ai/music")
    with pytest.raises(Refused):
        local.submit(job)
    with pytest.raises(OutputUnavailable):
        local.fetch(job, Answer("completed"), io.BytesIO(), 1000, 1)
