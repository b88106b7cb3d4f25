"""Whole jobs at ComfyUI servers: what each end does to the credits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from billing.reconcile import reconcile
from generations import lifecycle, tasks
from generations.models import Route
from generations.providers import graphs
from tests.billing.purse import Purse
from tests.conftest import Clock
from tests.generations.providers.benches import NOWHERE, ComfyUIStandIn
from tests.generations.trip import MICRO, SHORT, Job, Trip


class ComfyUITrip(Trip):
    def start(self, prompt: str = "A lighthouse at dawn", **terms: Any) -> Job:
        quote = lifecycle.quote("ai/video", SHORT | {"prompt": prompt}, "comfyui")
        started = lifecycle.start(self.purse.id, quote, actor="user:1", user=self.person.pk, **terms)
        return Job(self, started.generation.id)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUIStandIn]:
    running = ComfyUIStandIn(tmp_path_factory.mktemp("comfyui"), "--seconds", "0", "--timeout-accept-seconds", "4")
    yield running
    running.kill()


@pytest.fixture
def trip(
    server: ComfyUIStandIn, catalogue: None, clock: Clock, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ComfyUITrip]:
    server.post("forget")
    settings.COMFYUI_URLS = [NOWHERE, server.url]
    settings.PROVIDER_TIMEOUT_SECONDS = 2.0
    monkeypatch.setattr(tasks, "_guard", lambda step, *args: step(*args))
    purse = Purse()
    purse.grant(10 * MICRO)
    yield ComfyUITrip(server, clock, purse)
    assert reconcile().findings == []


@pytest.fixture
def alone(trip: ComfyUITrip, server: ComfyUIStandIn, settings: Any) -> ComfyUITrip:
    """With no server that is down beside the one that there is."""
    settings.COMFYUI_URLS = [server.url]
    return trip


def test_a_film_is_made_charged_and_delivered(trip: ComfyUITrip) -> None:
    job = trip.start().ended()
    assert job.stands == ("succeeded", "captured", "charged")
    assert job.charge == (True, "0.5", True)
    assert job.has_file
    assert job.output is not None
    assert (job.output.content_type, job.output.seconds) == ("video/mp4", 4)
    assert job.submits == {"received": 1, "accepted": 1}


@pytest.mark.parametrize("word", ["timeout_after_accept", "cut_json", "html", "reset"])
def test_a_submission_in_doubt_is_found_and_made_once(alone: ComfyUITrip, word: str) -> None:
    job = alone.start(f"[{word}]").ended()
    assert job.stands == ("succeeded", "captured", "charged")
    assert job.submits == {"received": 1, "accepted": 1}


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("[invalid_request]", "invalid_request"), ("[out_of_memory]", "out_of_memory"),
        ("[failed their.Trouble]", "Trouble"), ("[no_output]", "output_unavailable"),
    ],
)  # fmt: skip
def test_a_failure_gives_the_credits_back_and_says_why(trip: ComfyUITrip, word: str, code: str) -> None:
    job = trip.start(word).ended()
    assert job.stands == ("failed", "released", "refunded")
    assert job.row.error_code == code
    assert job.row.error_message
    assert trip.purse.available == 10 * MICRO
    assert job.submits["received"] == 1


def test_a_missing_node_is_told_to_whoever_waits_for_it(trip: ComfyUITrip) -> None:
    graph = graphs.shipped("ai/video")
    graph["9"]["class_type"] = "TheirDecoder"
    Route.objects.filter(operation="ai/video", provider="comfyui").update(graph=graph)
    job = trip.start().ended()
    assert job.stands == ("failed", "released", "refunded")
    assert job.row.error_code == "invalid_request"
    assert job.submits["accepted"] == 0


def test_a_graph_of_the_staffs_own_makes_the_film(trip: ComfyUITrip) -> None:
    graph = graphs.shipped("ai/video")
    saver = {"images": ["11", 0], "filename_prefix": "{{file_name}}", "codec": "vp9", "fps": 24.0, "crf": 32.0}
    graph["13"] = {"class_type": "SaveWEBM", "inputs": saver}
    Route.objects.filter(operation="ai/video", provider="comfyui").update(graph=graph)
    job = trip.start().ended()
    assert job.stands == ("succeeded", "captured", "charged")
    assert job.output is not None
    assert job.output.content_type == "video/webm"


def test_a_job_that_waits_is_cancelled_and_one_that_runs_too(alone: ComfyUITrip) -> None:
    running = alone.running("[slow 9h]")
    waiting = alone.running()
    for job in (waiting, running):
        lifecycle.cancel(alone.purse.id, job.id)
        job.ended()
        assert job.stands == ("cancelled", "released", "refunded")
    assert alone.purse.available == 10 * MICRO


def test_what_a_restarted_server_has_forgotten_keeps_its_hold_until_that_expires(
    alone: ComfyUITrip, server: ComfyUIStandIn
) -> None:
    job = alone.running("[slow 9h]")
    server.post("forget")
    alone.sweep(3)
    assert job.stands == ("running", "open", None)
    alone.advance(minutes=61)
    alone.sweep(2)
    assert job.stands == ("awaiting_settlement", "expired", "expired")
    assert alone.purse.available == 10 * MICRO
    assert job.submits == {"received": 1, "accepted": 1}


def test_with_every_server_down_nothing_is_sent_and_the_job_waits(
    trip: ComfyUITrip, server: ComfyUIStandIn, settings: Any
) -> None:
    settings.COMFYUI_URLS = [NOWHERE]
    job = trip.start()
    trip.sweep(3)
    assert job.stands == ("queued", "open", None)
    settings.COMFYUI_URLS = [server.url]
    assert job.ended().stands == ("succeeded", "captured", "charged")
    assert job.submits == {"received": 1, "accepted": 1}
