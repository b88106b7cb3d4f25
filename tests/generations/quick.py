"""A provider for tests of what is shown: it is done when it is asked, with the bytes and counts that a test chose."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest
from PIL import Image

from generations import lifecycle, providers, rounds, routes
from generations.models import Route
from generations.providers.base import Accepted, Answer, Job, OutputUnavailable, Provider
from tests.generations.trip import Job as Trail
from tests.generations.trip import Trip
from tools_registry import registry


class Quick(Provider):
    name = "quick"
    title = "The quick one"
    operations = frozenset(registry.OPERATIONS)
    is_real = False
    has_idempotent_submit = True
    said = Answer("completed")
    made = b""

    async def submit(self, job: Job) -> Accepted:
        return Accepted(f"quick-{job.id}", answer=type(self).said, content=type(self).made)

    async def poll(self, job: Job) -> Answer:
        return type(self).said

    async def fetch(self, job: Job, answer: Answer, into: BinaryIO, bytes_max: int, seconds_max: float) -> str:
        raise OutputUnavailable("404", "output_missing", "It was given when it was made.")


class Desk:
    """Jobs of any operation, ended at once."""

    def __init__(self, trip: Trip) -> None:
        self.trip = trip

    def end(self, slug: str, made: bytes | str = b"", /, said: Answer | None = None, **inputs: Any) -> Trail:
        """A job that has ended; else as `start`."""
        return self.start(slug, made, said, **inputs).ended()

    def start(self, slug: str, made: bytes | str = b"", /, said: Answer | None = None, **inputs: Any) -> Trail:
        """A job that was asked for with these inputs and its example's, and what the provider said and made of it."""
        Quick.made = made.encode() if isinstance(made, str) else made
        Quick.said = said or Answer("completed", usage={"input_tokens": 94, "output_tokens": 412})
        operation = registry.OPERATIONS[slug]
        quote = lifecycle.quote(slug, {**operation.example, **inputs}, "quick")
        started = lifecycle.start(self.trip.purse.id, quote, actor="user:1", user=self.trip.person.pk)
        rounds.submit(started.generation.id)
        return Trail(self.trip, started.generation.id)


def picture(width: int = 64, height: int = 48) -> bytes:
    """A PNG of that size."""
    into = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(into, "PNG")
    return into.getvalue()


def read(response: Any) -> bytes:
    """What was streamed, to its end."""
    found = b"".join(response.streaming_content)
    response.close()
    return found


def offer(slug: str, *names: str) -> None:
    """From now on these providers, and no others, make the operation."""
    Route.objects.filter(operation=slug).update(is_offered=False)
    for position, name in enumerate(names):
        values = {"position": position, "is_offered": True}
        Route.objects.update_or_create(operation=slug, provider=name, defaults=values)
    routes.forget()


@pytest.fixture
def desk(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Every operation is offered by the quick provider; videos by the rehearsal provider as well."""
    monkeypatch.setitem(providers.PROVIDERS, "quick", "tests.generations.quick.Quick")
    for slug in registry.OPERATIONS:
        offer(slug, "quick", *(["rehearsal"] if slug == "ai/video" else []))
    yield Desk(trip)
    routes.forget()
