"""A person with credits, the rehearsal provider's server, and a job on its way between them, for tests of the trip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from allauth.account.models import EmailAddress
from django.contrib.auth.models import User
from django.core.files.storage import default_storage

from billing import credits
from billing.models import Alert, Membership, Notice
from generations import explain, lifecycle, rounds, tasks
from generations.models import Attempt, Generation, Output
from generations.providers import calls
from generations.providers.base import Answer, ProviderError
from tests.billing.purse import Purse
from tests.conftest import Clock
from tests.generations.providers.conftest import StandIn

MICRO = credits.MICRO
SHORT = {"seconds": 4, "size": "640x360", "quality": "draft"}  # costs 0.5, at least 0.125
SWEEP_SECONDS = 20.0


def new_person(name: str, purse: Purse, role: str = "owner") -> User:
    """A verified person who belongs to the purse's account."""
    person = User.objects.create_user(name, f"{name}@people.test")
    EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)
    Membership.objects.create(account_id=purse.id, user=person, role=role, is_own=role == "owner")
    return person


def asked(job: Generation) -> Answer | ProviderError:
    """What the provider of the claimed job says now."""
    try:
        return calls.run(lifecycle.asked(job))
    except ProviderError as error:
        return error


def heard(job: Generation, said: Any) -> bool:
    """The answer is written down. Says whether it was the job's verdict."""
    return bool(lifecycle.hear([(job, said)]))


def fetched(job: Generation) -> bool:
    """The output of a job with its verdict is brought here. Says whether the job can be settled now."""
    fresh = Generation.objects.get(id=job.id)
    return lifecycle.hear_output(fresh, calls.run(lifecycle.fetched(fresh), 60))


class Trip:
    """One person's jobs at the rehearsal provider. The ledger's clock and the stand-in's move together."""

    def __init__(self, stand_in: StandIn, clock: Clock, purse: Purse) -> None:
        self.stand_in, self.clock, self.purse = stand_in, clock, purse
        self.person = new_person("ada", purse)

    def start(self, prompt: str = "A lighthouse at dawn", **terms: Any) -> Job:
        """A job that waits to be submitted."""
        inputs = SHORT | {"prompt": prompt} | {name: terms.pop(name) for name in SHORT if name in terms}
        quote = lifecycle.quote("ai/video", inputs, "rehearsal")
        started = lifecycle.start(self.purse.id, quote, actor="user:1", user=self.person.pk, **terms)
        return Job(self, started.generation.id)

    def running(self, prompt: str = "[slow 9h]", **terms: Any) -> Job:
        """A job that its provider has accepted."""
        job = self.start(prompt, **terms)
        rounds.submit(job.id)
        assert job.row.state == "running"
        return job

    def advance(self, seconds: float = 0, **span: float) -> None:
        """Both clocks show this much more."""
        seconds += span.pop("minutes", 0) * 60 + span.pop("hours", 0) * 3600 + span.pop("days", 0) * 86_400
        assert not span
        self.clock.advance(seconds=seconds)
        self.stand_in.post("advance", seconds=seconds)

    def sweep(self, times: int = 1, *, seconds: float = SWEEP_SECONDS) -> None:
        """The worker's pass, so many times, with some seconds before each."""
        for _ in range(times):
            self.advance(seconds)
            tasks.sweep_once()

    def sweep_until(self, is_there: Callable[[], Any], times: int = 12) -> None:
        """Swept until it is there; fails when it is not after so many passes."""
        for _ in range(times):
            if is_there():
                return
            self.sweep()
        assert is_there()

    @property
    def alerts(self) -> list[str]:
        return list(Alert.objects.filter(cleared_at=None).order_by("id").values_list("name", flat=True))

    @property
    def notices(self) -> list[str]:
        return list(Notice.objects.filter(account=self.purse.id).order_by("id").values_list("title", flat=True))

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The statement after the first grant: kind and amount."""
        return [(line.kind, credits.format(line.amount)) for line in self.purse.lines][1:]

    @contextmanager
    def nothing_moves(self) -> Iterator[None]:
        before = self.purse.everything()
        yield
        assert self.purse.everything() == before


class Job:
    """One job's rows, read afresh each time."""

    def __init__(self, trip: Trip, id: UUID) -> None:
        self.trip, self.id = trip, id

    @property
    def row(self) -> Generation:
        return Generation.objects.select_related("hold", "verdict_rule").get(id=self.id)

    @property
    def hold_state(self) -> str:
        hold = self.row.hold
        assert hold is not None
        return hold.state

    @property
    def stands(self) -> tuple[str, str, str | None]:
        """The job's state, its hold's, its outcome."""
        row = self.row
        assert row.hold is not None
        return row.state, row.hold.state, row.outcome

    @property
    def charge(self) -> tuple[bool | None, str | None, bool]:
        """credits_charged, charged_amount, whether charged_at is there: the three columns of S2.3."""
        row = self.row
        amount = None if row.charged_amount is None else credits.format(row.charged_amount)
        return row.credits_charged, amount, row.charged_at is not None

    @property
    def output(self) -> Output | None:
        return Output.objects.filter(generation=self.id).first()

    @property
    def has_file(self) -> bool:
        output = self.output
        return output is not None and default_storage.exists(output.file)

    @property
    def attempts(self) -> list[str | None]:
        return list(Attempt.objects.filter(generation=self.id).order_by("number").values_list("result", flat=True))

    @property
    def spoken(self) -> explain.Spoken:
        return explain.spoken(self.row)

    @property
    def submits(self) -> dict[str, int]:
        """How many submissions the stand-in received and accepted."""
        return self.trip.stand_in.submits(str(self.id))

    def tell(self, status: str, **more: str) -> None:
        """From now on the provider says this of the job."""
        self.trip.stand_in.post(f"jobs/{self.id}", status=status, **more)

    def ended(self, times: int = 12) -> Job:
        """Itself, swept to its settlement."""
        self.trip.sweep_until(lambda: self.row.is_ended, times)
        return self
