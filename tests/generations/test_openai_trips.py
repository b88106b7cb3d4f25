"""Whole trips of jobs at the OpenAI stand-in: a text by its tokens, an image while one waits, a video of a compatible
server; and every end that only this provider has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.storage import default_storage

from billing.reconcile import reconcile
from generations import lifecycle, rounds, tasks
from generations.providers.openai import OpenAI
from generations.providers.stand_ins.openai import KEY
from generations.storage import Unreachable
from tests.billing.purse import Purse
from tests.conftest import Clock
from tests.generations.providers.openai_server import OpenAIServer
from tests.generations.trip import MICRO, Job, Trip

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

INPUTS: dict[str, dict[str, Any]] = {
    "ai/script": {},
    "ai/threads": {"audience": "sailors", "posts": 3},
    "ai/image": {"size": "1536x1024"},
    "ai/video": {"seconds": 4, "size": "1280x720"},
}
TYPES = {"ai/script": "text/plain", "ai/threads": "text/plain", "ai/image": "image/png", "ai/video": "video/mp4"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAIServer]:
    state = tmp_path_factory.mktemp("openai") / "state.json"
    running = OpenAIServer(state, "--seconds", "2", "--timeout-accept-seconds", "2")
    yield running
    running.kill()


@pytest.fixture
def trip(
    server: OpenAIServer, catalogue: None, clock: Clock, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Trip]:
    settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = KEY, server.base_url
    settings.OPENAI_TEXT_MODEL, settings.OPENAI_IMAGE_MODEL = "gpt-6.1-terra", "gpt-image-2.6-flare"
    settings.OPENAI_VIDEO_MODEL = "sora-2"
    monkeypatch.setattr(tasks, "_guard", lambda step, *args: step(*args))
    purse = Purse()
    purse.grant(10 * MICRO)
    yield Trip(server, clock, purse)
    assert reconcile().findings == []


def started(trip: Trip, operation: str, prompt: str = "A lighthouse", **inputs: Any) -> Job:
    quote = lifecycle.quote(operation, {"prompt": prompt} | INPUTS[operation] | inputs, "openai")
    job = lifecycle.start(trip.purse.id, quote, actor="user:1", user=trip.person.pk).generation
    rounds.submit(job.id)
    return Job(trip, job.id)


@pytest.mark.parametrize("operation", INPUTS)
def test_every_operation_is_delivered_and_charged_once(trip: Trip, operation: str) -> None:
    job = started(trip, operation).ended()
    assert job.stands == ("succeeded", "captured", "charged")
    assert job.output is not None
    assert job.output.content_type == TYPES[operation]
    assert job.has_file
    assert job.submits == {"received": 1, "accepted": 1}
    assert [kind for kind, _ in trip.lines] == ["hold", "capture"]
    trip.sweep(3)
    assert [kind for kind, _ in trip.lines] == ["hold", "capture"]


def test_an_image_is_there_when_its_submission_is(trip: Trip) -> None:
    job = started(trip, "ai/image")
    assert job.row.verdict_status == "completed"
    assert job.has_file
    assert str(job.row.provider_job_id).startswith(f"image-{job.id}")


def test_an_image_outlives_a_storage_that_is_away_when_it_comes(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can be asked for it again."""
    save, tries = default_storage.save, iter(range(100))

    def away(*args: Any) -> Any:
        if next(tries) < 2:
            raise Unreachable("away")
        return save(*args)

    monkeypatch.setattr(default_storage, "save", away)
    job = started(trip, "ai/image")
    assert job.stands == ("succeeded", "captured", "charged")
    assert job.has_file


def test_a_text_costs_what_was_counted_and_no_more(trip: Trip) -> None:
    job = started(trip, "ai/script").ended()
    told = trip.stand_in.get("state")["jobs"][-1]["id"]
    assert isinstance(trip.stand_in, OpenAIServer)
    usage = trip.stand_in.raw("GET", f"/v1/responses/{told}").json()["usage"]
    microcredits = max((usage["input_tokens"] * 100 + usage["output_tokens"] * 500), 100_000)
    assert job.row.charged_amount == microcredits
    assert microcredits < job.row.estimate_max
    assert (job.row.usage or {})["output_tokens"] == usage["output_tokens"]


def test_a_text_that_was_cut_off_costs_its_tokens(trip: Trip) -> None:
    job = started(trip, "ai/script", "[incomplete max_output_tokens]", length_max=1000).ended()
    assert job.stands == ("succeeded", "captured", "charged")
    assert (job.row.charged_amount or 0) >= 500_000
    assert job.has_file


@pytest.mark.parametrize(
    ("operation", "prompt", "code"),
    [
        ("ai/script", "[moderation_blocked]", "moderation_blocked"),
        ("ai/script", "[incomplete content_filter]", "content_filter"),
        ("ai/script", "[failed server_error]", "server_error"),
        ("ai/threads", "[invalid_request]", "invalid_request"),
        ("ai/image", "[moderation_blocked]", "moderation_blocked"),
        ("ai/image", "[submit 400]", "scripted"),
        ("ai/video", "[moderation_blocked]", "moderation_blocked"),
    ],
)
def test_what_failed_there_gives_the_credits_back_and_says_why(
    trip: Trip, operation: str, prompt: str, code: str
) -> None:
    job = started(trip, operation, prompt).ended()
    assert job.stands == ("failed", "released", "refunded")
    assert job.charge == (False, None, True)
    assert job.row.error_code == code
    assert job.output is None
    assert [kind for kind, _ in trip.lines] == ["hold", "release"]


@pytest.mark.parametrize("operation", ["ai/script", "ai/image"])
def test_an_answer_without_an_output_costs_nothing_and_staff_are_asked(trip: Trip, operation: str) -> None:
    job = started(trip, operation, "[no_output]").ended()
    assert job.stands == ("failed", "released", "refunded")
    assert job.row.review


def test_an_uncounted_text_is_not_charged_at_its_maximum(trip: Trip) -> None:
    job = started(trip, "ai/script", "[no_usage]")
    trip.sweep(6)
    assert job.charge[1] is None
    assert not job.row.is_ended
    assert job.row.review


@pytest.mark.parametrize("operation", ["ai/script", "ai/image", "ai/video"])
def test_a_submission_in_doubt_is_never_sent_again(
    trip: Trip, operation: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PROVIDER_TIMEOUT_SECONDS = 0.5
    monkeypatch.setattr(OpenAI, "submit_seconds_max", 0.5)
    job = started(trip, operation, "[timeout_after_accept]")
    assert job.attempts == ["doubt"]
    settings.PROVIDER_TIMEOUT_SECONDS = 10
    monkeypatch.setattr(OpenAI, "submit_seconds_max", 10)
    trip.sweep(6)
    assert job.submits == {"received": 1, "accepted": 1}
    trip.advance(hours=2)
    trip.sweep(2)
    assert job.hold_state == "expired"
    assert job.submits == {"received": 1, "accepted": 1}


def test_429_is_tried_again_when_the_provider_said(trip: Trip) -> None:
    job = started(trip, "ai/script", "[submit 429]").ended()
    assert job.stands == ("succeeded", "captured", "charged")
    assert job.submits == {"received": 3, "accepted": 1}
    assert job.attempts == ["later", "later", "accepted"]
