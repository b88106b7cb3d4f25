"""The owner of an account as an attacker: a token, real HTTP, and a real job at the rehearsal provider's server."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from billing import tokens
from billing.models import Account, Hold
from billing.reconcile import reconcile
from tests.generations.conftest import catalogue, in_a_hurry, provider_calls, rehearsal_server, trip
from tests.generations.trip import SHORT, Job, Trip
from tests.live import served

__all__ = ["catalogue", "in_a_hurry", "provider_calls", "rehearsal_server", "trip"]


class Attacker:
    """Ada, who owns the account, with all that her own token lets her do."""

    def __init__(self, trip: Trip, port: int, scope: str = "spend") -> None:
        self.trip, self.port = trip, port
        _, self.token = tokens.make(trip.person, Account(id=trip.purse.id), name="attack", scope=scope)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status, and the answer: JSON as what it says, anything else as bytes."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        client.request(method, path, None if body is None else json.dumps(body), sent)
        answer = client.getresponse()
        said = answer.read()
        client.close()
        is_json = (answer.getheader("Content-Type") or "").startswith("application/json")
        return answer.status, json.loads(said) if is_json and said else said

    def get(self, path: str) -> tuple[int, Any]:
        return self.call("GET", path)

    def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        return self.call("POST", path, body, **headers)

    def order(self, prompt: str, **headers: str) -> tuple[int, Any]:
        """A video is asked for; it costs 0.5."""
        inputs = SHORT | {"prompt": prompt}
        wanted = {"operation": "ai/video", "inputs": inputs, "provider": "rehearsal"}
        return self.post("/api/generate", wanted, **headers)

    def start(self, prompt: str = "A lighthouse at dawn") -> Job:
        status, answer = self.order(prompt)
        assert status == 202, answer
        return Job(self.trip, UUID(answer["id"]))

    def status(self, job: Job) -> Any:
        code, answer = self.get(f"/api/status/{job.id}")
        assert code == 200
        return answer

    def hold_of(self, job: Job) -> str:
        """The hold's id, which no answer about the job tells, as the statement has it."""
        _, lines = self.get("/api/credits/entries")
        found = [line["hold"] for line in lines["results"] if line["kind"] == "hold"]
        hold = Hold.objects.get(reference=str(job.id))
        assert str(hold.id) in found
        return str(hold.id)

    @property
    def balance(self) -> tuple[str, str]:
        """Available and held, as the API says."""
        _, answer = self.get("/api/credits/balance")
        return answer["available"], answer["held"]


@pytest.fixture
def port(trip: Trip) -> Iterator[int]:
    with served() as port:
        yield port


@pytest.fixture
def attacker(trip: Trip, port: int) -> Iterator[Attacker]:
    """Has 10 credits. Whatever was tried, the books are right afterwards."""
    yield Attacker(trip, port)
    assert reconcile().findings == []
