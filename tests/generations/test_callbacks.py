"""Signed callbacks over real HTTP: the stand-in sends them, the job is asked about, and only the answer settles it."""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django_q.models import OrmQ

from billing import clock as database_clock
from billing.reconcile import reconcile
from generations import callbacks, lifecycle, rounds, tasks
from generations.models import Generation
from generations.providers.stand_ins.openai import KEY, signed
from tests.billing.purse import Purse
from tests.conftest import Clock
from tests.generations.providers.openai_server import OpenAIServer
from tests.generations.trip import MICRO, Job, Trip
from tests.live import served

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another one of thirty-two bytes.").decode()
PATH = "/webhooks/providers/openai"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAIServer]:
    running = OpenAIServer(tmp_path_factory.mktemp("openai") / "state.json", "--seconds", "60")
    yield running
    running.kill()


@pytest.fixture
def port(transactional_db: None) -> Iterator[int]:
    with served() as port:
        yield port


class Desk:
    """A person whose scripts are written at the OpenAI stand-in, and callbacks on their way to us."""

    def __init__(self, trip: Trip, server: OpenAIServer, port: int) -> None:
        self.trip, self.server, self.port = trip, server, port

    def running(self, prompt: str = "A lighthouse", **inputs: Any) -> Job:
        """A job that the provider has accepted and, but for [slow], ended; nobody would ask about it for an hour."""
        quote = lifecycle.quote("ai/script", {"prompt": prompt} | inputs, "openai")
        started = lifecycle.start(self.trip.purse.id, quote, actor="user:1", user=self.trip.person.pk)
        job = Job(self.trip, started.generation.id)
        rounds.submit(job.id)
        assert job.row.state == "running"
        later = database_clock.now() + timedelta(hours=1)
        Generation.objects.filter(id=job.id).update(next_poll_at=later)
        OrmQ.objects.all().delete()
        self.server.post("advance", seconds=61)
        return job

    def send(self, kind: str, job_id: str | None, **named: Any) -> tuple[int, Any]:
        """The stand-in sends an event; what we answered."""
        given = {"url": f"http://127.0.0.1:{self.port}{PATH}", "secret": SECRET, "type": kind, "id": job_id} | named
        said = self.server.post("webhooks", **given)
        return said["status"], json.loads(said["body"])

    def post(
        self, body: bytes, headers: dict[str, str] | None = None, path: str = PATH, method: str = "POST"
    ) -> tuple[int, Any]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            client.request(method, path, body, {"Content-Type": "application/json"} | (headers or {}))
            answer = client.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            client.close()

    def is_due(self, job: Job) -> bool:
        at = job.row.next_poll_at
        return at is not None and at <= database_clock.now()


@pytest.fixture
def desk(
    server: OpenAIServer,
    port: int,
    catalogue: None,
    clock: Clock,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Desk]:
    settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL, settings.OPENAI_WEBHOOK_SECRET = KEY, server.base_url, SECRET
    settings.OPENAI_TEXT_MODEL = "gpt-6.1-terra"
    monkeypatch.setattr(tasks, "_guard", lambda step, *args: step(*args))
    purse = Purse()
    purse.grant(10 * MICRO)
    yield Desk(Trip(server, clock, purse), server, port)
    assert reconcile().findings == []


def test_a_signed_callback_makes_the_job_due_and_the_next_poll_settles_it(desk: Desk) -> None:
    job = desk.running()
    tasks.sweep_once()
    assert job.stands == ("running", "open", None)  # without the callback nobody asks
    polls_before = polls(desk)
    assert desk.send("response.completed", job.row.provider_job_id) == (200, {"received": True})
    assert polls(desk) == polls_before, "the request itself asks no provider"
    assert desk.is_due(job)
    assert OrmQ.objects.count() == 1
    tasks.sweep_once()
    assert job.stands == ("succeeded", "captured", "charged")
    assert job.has_file


@pytest.mark.parametrize("kind", ["response.failed", "response.cancelled", "response.incomplete", "video.completed"])
def test_what_the_callback_says_changes_nothing(desk: Desk, kind: str) -> None:
    """It lies: the poll says that the response was completed."""
    job = desk.running()
    assert desk.send(kind, job.row.provider_job_id)[0] == 200
    tasks.sweep_once()
    assert job.stands == ("succeeded", "captured", "charged")


def test_a_callback_that_says_completed_delivers_nothing_that_the_poll_calls_failed(desk: Desk) -> None:
    job = desk.running("[moderation_blocked]")
    assert desk.send("response.completed", job.row.provider_job_id)[0] == 200
    tasks.sweep_once()
    assert job.stands == ("failed", "released", "refunded")
    assert job.charge == (False, None, True)
    assert job.output is None
    assert job.row.error_code == "moderation_blocked"


def test_a_callback_about_a_running_job_only_has_it_asked(desk: Desk) -> None:
    job = desk.running("[slow 1h]")
    for _ in range(3):
        assert desk.send("response.completed", job.row.provider_job_id)[0] == 200
    assert OrmQ.objects.count() == 1, "woken once until it was asked"
    tasks.sweep_once()
    assert job.stands == ("running", "open", None)


def test_a_replayed_callback_of_an_ended_job_changes_nothing(desk: Desk) -> None:
    job = desk.running()
    assert desk.send("response.completed", job.row.provider_job_id, event_id="evt_same")[0] == 200
    tasks.sweep_once()
    before = job.row
    with desk.trip.nothing_moves():
        for _ in range(3):
            assert desk.send("response.completed", before.provider_job_id, event_id="evt_same")[0] == 200
        tasks.sweep_once()
    assert (job.row.next_poll_at, job.row.charged_at) == (before.next_poll_at, before.charged_at)


def test_an_unknown_job_is_received_and_nothing_else(desk: Desk) -> None:
    assert desk.send("response.completed", "resp_of_somebody_else") == (200, {"received": True})
    assert OrmQ.objects.count() == 0


@pytest.mark.parametrize("kind", ["batch.completed", "response.created", "a.kind.of.tomorrow", ""])
def test_an_event_about_something_else_wakes_nothing(desk: Desk, kind: str) -> None:
    job = desk.running()
    assert desk.send(kind, job.row.provider_job_id)[0] == 200
    assert not desk.is_due(job)


def refused(desk: Desk, job: Job, status: int, answer: Any) -> None:
    assert status == 400
    assert answer["code"] == "callback_refused"
    assert set(answer) == {"error", "code", "reason", "action", "request_id"}
    assert not desk.is_due(job)
    assert OrmQ.objects.count() == 0


@pytest.mark.parametrize(
    "named",
    [
        {"secret": OTHER_SECRET},
        {"secret": "not base64 and no prefix"},
        {"timestamp": 1_700_000_000},
        {"timestamp": 4_000_000_000},
        {"headers": {"webhook-signature": "v1,AAAA"}},
        {"headers": {"webhook-signature": ""}},
        {"headers": {"webhook-signature": "v1,ÿ"}},
        {"headers": {"webhook-timestamp": "soon"}},
        {"headers": {"webhook-timestamp": "1" * 5000}},
        {"headers": {"webhook-id": "evt_another"}},
    ],
    ids=[
        "another_secret", "a_secret_in_another_form", "long_ago", "far_ahead", "another_signature", "no_signature",
        "a_signature_of_odd_characters", "no_time", "an_endless_time", "another_id",
    ],
)  # fmt: skip
def test_a_callback_that_the_provider_did_not_sign_now_is_refused(desk: Desk, named: dict[str, Any]) -> None:
    job = desk.running()
    refused(desk, job, *desk.send("response.completed", job.row.provider_job_id, **named))


def test_one_that_is_five_minutes_old_is_too_old(desk: Desk) -> None:
    job, now = desk.running(), int(time.time())
    refused(desk, job, *desk.send("response.completed", job.row.provider_job_id, timestamp=now - 310))
    assert desk.send("response.completed", job.row.provider_job_id, timestamp=now - 200)[0] == 200


def test_forged_bodies_and_missing_headers_are_refused(desk: Desk) -> None:
    job = desk.running()
    body = json.dumps({"type": "response.completed", "data": {"id": job.row.provider_job_id}}).encode()
    good = signed(body, SECRET, "evt_1", int(time.time()))
    refused(desk, job, *desk.post(body))
    refused(desk, job, *desk.post(body + b" ", good))
    refused(desk, job, *desk.post(b"", good))
    for missing in good:
        refused(desk, job, *desk.post(body, {name: value for name, value in good.items() if name != missing}))
    for unreadable in (b"\xff\xfe", b"[", b"[" * 100_000, b"7", b'"text"', b"null"):
        headers = signed(unreadable, SECRET, "evt_2", int(time.time()))
        refused(desk, job, *desk.post(unreadable, headers))
    assert desk.post(body, good) == (200, {"received": True})


@pytest.mark.parametrize("data", [None, 7, [], {}, {"id": 7}, {"id": "../../x"}, {"id": "a" * 300}])
def test_an_event_without_a_plain_id_is_received_and_wakes_nothing(desk: Desk, data: Any) -> None:
    body = json.dumps({"type": "response.completed", "data": data}).encode()
    assert desk.post(body, signed(body, SECRET, "evt_1", int(time.time()))) == (200, {"received": True})
    assert OrmQ.objects.count() == 0


@pytest.mark.parametrize("secret", ["", "whsec_"])
def test_without_a_secret_nothing_is_believed(desk: Desk, settings: Any, secret: str) -> None:
    job = desk.running()
    settings.OPENAI_WEBHOOK_SECRET = secret
    body = json.dumps({"type": "response.completed", "data": {"id": job.row.provider_job_id}}).encode()
    refused(desk, job, *desk.post(body, signed(body, secret or "whsec_", "evt_1", int(time.time()))))


def test_too_large_a_body_is_not_read(desk: Desk) -> None:
    fitting = json.dumps({"type": "x", "pad": "x" * (callbacks.BYTES_MAX - 100)}).encode()
    assert desk.post(fitting, signed(fitting, SECRET, "evt_1", int(time.time())))[0] == 200
    status, answer = desk.post(b"x" * (callbacks.BYTES_MAX + 1))
    assert (status, answer["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("provider", ["local", "rehearsal", "nobody", "OPENAI", "..", "openai%20"])
def test_who_sends_no_callbacks_has_no_address_for_them(desk: Desk, provider: str) -> None:
    status, answer = desk.post(b"{}", path=f"/webhooks/providers/{provider}")
    assert (status, answer["code"]) == (404, "not_found")


def test_a_provider_without_its_key_has_no_address_either(desk: Desk, settings: Any) -> None:
    settings.OPENAI_API_KEY = ""
    assert desk.post(b"{}")[0] == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_only_post_is_taken(desk: Desk, method: str) -> None:
    status, answer = desk.post(b"{}", method=method)
    assert (status, answer["code"]) == (405, "method_not_allowed")


@pytest.mark.usefixtures("one_minute")
def test_callbacks_are_taken_at_a_bounded_pace_and_what_is_turned_away_is_polled(desk: Desk, settings: Any) -> None:
    settings.API_WRITES_PER_MINUTE = 2
    job = desk.running()
    answers = [desk.send("response.completed", "resp_other") for _ in range(2)]
    assert [status for status, _ in answers] == [200, 200]
    status, answer = desk.send("response.completed", job.row.provider_job_id)
    assert (status, answer["code"]) == (429, "too_many_requests")
    assert job.stands == ("running", "open", None)
    desk.trip.advance(hours=1)
    tasks.sweep_once()
    assert job.row.state == "succeeded"


def polls(desk: Desk) -> int:
    return sum(one["polls"] for one in desk.server.get("state")["jobs"])
