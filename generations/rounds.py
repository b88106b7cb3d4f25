"""Asking the providers, many at once: whatever is due is claimed, asked, and what was said handed to the lifecycle.

Each kind of call has a lane of its own at each provider, so that a slow download delays no question, and a provider
that does not answer delays no other. Memory is bounded by the lanes' room, however much is due.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection

from billing import clock

from . import afterwards, circuits, lifecycle, providers, routes, safety_net, settlement
from .lifecycle import Stored
from .models import Attempt, Generation
from .providers.base import NotOffered, Provider
from .providers.calls import Calls

log = structlog.get_logger("holdfast.rounds")

# So much longer than a provider says that a submission of its may take, its end is waited for.
SUBMIT_MORE = 5.0
# So long answers are waited for before what else is due is looked at.
HEAR_SECONDS = 1.0
# What could not be written is tried again so often, a second apart: an acceptance has an id that must not be lost.
WRITES_MAX = 30
WRITE_AGAIN_SECONDS = 1.0
# So many claimed fetches of each provider wait for their turn at most.
FETCHES_WAITING_MAX = 64


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call under way: what it is for, and of which job."""

    what: str  # submit, look_up, poll, fetch, look_back
    job: Generation
    attempt: Attempt | None = None


@dataclass(slots=True)
class _Unwritten:
    asked: _Asked
    said: Any
    writes: int = 0
    next_at: float = field(default_factory=lambda: time.monotonic() + WRITE_AGAIN_SECONDS)


class Round:
    """The calls of one sweep, or of one task that follows a job. Not to be shared between threads.

    With `seconds` its answers are heard for so long at most: a submission that may take longer is not begun, for its
    provider's id would be lost.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.ends_at = None if seconds is None else time.monotonic() + seconds
        self.calls: Calls[_Asked] = Calls()
        self.to_fetch: deque[Generation] = deque()
        self.unwritten: list[_Unwritten] = []
        self.looked = circuits.Look()

    def __len__(self) -> int:
        """How much has been begun and not been written down yet."""
        return len(self.calls) + len(self.to_fetch) + len(self.unwritten)

    # Begin

    def begin(self, before: datetime | None = None) -> int:
        """Whatever is due (since before then) is claimed and asked, as far as there is room. Says how many were."""
        self.looked = circuits.look()
        begun = self._begin_submissions(before)
        begun += self._begin_look_ups(before)
        begun += self._begin_polls(before)
        return begun + self._begin_fetches(before)

    def _room(self, lane: str, provider: str) -> int:
        """How many calls may be added to the lane now; where a provider rests, none, or one to try it."""
        room = self.calls.room(lane)
        if room and (most := self.looked.may_ask(provider)) is not None:
            return min(room, most)
        return room

    def _full(self, lane: str) -> list[str]:
        """Providers whose lane for this has no room: nothing is claimed for them now, and they delay no other."""
        return [name for name in providers.PROVIDERS if not self.calls.room(f"{lane} {name}")]

    def _begin_submissions(self, before: datetime | None) -> int:
        begun = 0
        for name in providers.PROVIDERS:
            # A claimed submission must not wait for its turn: it would look like one that nobody knows the end of.
            lane = f"submit {name}"
            idle = self.calls.idle(lane)
            due = lifecycle.due_submissions(name, idle, before, but_not=self._too_long(name)) if idle else []
            room = min(len(due), self._room(lane, name)) if due else 0
            done = sum(self.submit(job_id) for job_id in due[:room])
            if room and not done:
                self.looked.give_back(name)
            begun += done
        return begun

    def _too_long(self, name: str) -> list[str]:
        """The provider's operations whose submission may take longer than this round."""
        provider = _provider(name)
        if provider is None or self.ends_at is None:
            return []
        left = self.ends_at - time.monotonic()
        longest = ((operation, provider.submit_seconds(operation)) for operation in provider.operations)
        return [operation for operation, seconds in longest if seconds is not None and seconds + SUBMIT_MORE > left]

    def submit(self, job_id: UUID) -> bool:
        """The job's submission is under way, if it waits for one."""
        claimed = lifecycle.claim_submission(job_id)
        if claimed is None:
            return False
        job, attempt = claimed
        provider = _provider(job.provider)
        graph = routes.graph(job.operation, job.provider) if provider is not None and provider.has_graphs else None
        longest = provider.submit_seconds(job.operation) if provider is not None else None
        seconds = longest + SUBMIT_MORE if longest is not None else None
        self._add(_Asked("submit", job, attempt), partial(lifecycle.submitted, job, graph), seconds)
        return True

    def _begin_look_ups(self, before: datetime | None) -> int:
        but_not = {*self._full("look_up"), *self.looked.resting}
        jobs = lifecycle.claim_doubts(settings.PROVIDER_CALLS_AT_ONCE, before, but_not=but_not)
        for job in jobs:
            self.look_up(job)
        return len(jobs)

    def look_up(self, job: Generation) -> None:
        """What became of the claimed job's submission is asked, where the provider can say."""
        if lifecycle.is_looked_up(job):
            self._add(_Asked("look_up", job), partial(lifecycle.looked_up, job))
        else:
            self._hear_one(_Asked("look_up", job), None)

    def _begin_polls(self, before: datetime | None) -> int:
        begun = 0
        for provider in providers.PROVIDERS:
            room = self._room(f"poll {provider}", provider)
            if not room:
                continue
            jobs = lifecycle.claim_due(room, provider=provider, before=before)
            if not jobs:
                self.looked.give_back(provider)
            begun += self.ask(jobs)
        return begun

    def ask(self, jobs: Sequence[Generation], lane: str = "poll") -> int:
        """The claimed jobs' providers are being asked."""
        for job in jobs:
            self._add(_Asked("poll", job), partial(lifecycle.asked, job), lane=lane)
        return len(jobs)

    def ask_last_questions(self) -> None:
        """Before a hold expires its provider is asked, even one that rests."""
        jobs = lifecycle.claim_last_questions(settings.PROVIDER_CALLS_AT_ONCE, but_not=self._full("last"))
        self.ask(jobs, "last")

    def look_back(self) -> None:
        """Providers of jobs settled a while ago are being asked once more."""
        but_not = {*self._full("look_back"), *self.looked.resting}
        for job in afterwards.claim_look_backs(settings.PROVIDER_CALLS_AT_ONCE, but_not=but_not):
            self._add(_Asked("look_back", job), partial(lifecycle.asked, job))

    def _begin_fetches(self, before: datetime | None) -> int:
        waiting = Counter(job.provider for job in self.to_fetch)
        full = [name for name, jobs in waiting.items() if jobs >= FETCHES_WAITING_MAX]
        due = lifecycle.due_fetches(FETCHES_WAITING_MAX, before, but_not=full)
        return sum(self._fetch(job) for job in due)

    def _fetch(self, job: Generation) -> bool:
        """The output's fetch is claimed, and begins when there is room for it."""
        waiting = sum(one.provider == job.provider for one in self.to_fetch)
        if waiting >= FETCHES_WAITING_MAX or not lifecycle.claim_fetch(job):
            return False
        if self._may_fetch(job):
            self._start_fetch(job)
        else:
            self.to_fetch.append(job)
        return True

    def _may_fetch(self, job: Generation) -> bool:
        return self.calls.waiting[f"fetch {job.provider}"] < settings.FETCHES_AT_ONCE

    def _start_fetch(self, job: Generation) -> None:
        seconds = settings.OUTPUT_SECONDS_MAX * 1.5 + 30
        self._add(_Asked("fetch", job), partial(lifecycle.fetched, job), seconds)

    def _start_fetches(self) -> None:
        """Claimed fetches whose lane has room are begun."""
        for _ in range(len(self.to_fetch)):
            job = self.to_fetch.popleft()
            if not self._may_fetch(job):
                self.to_fetch.append(job)
            elif lifecycle.claim_fetch(job):  # anew: a part of its time went by while it waited
                self._start_fetch(job)

    def _add(
        self, asked: _Asked, call: Callable[[], Awaitable[Any]], seconds: float | None = None, lane: str | None = None
    ) -> None:
        self.calls.add(f"{lane or asked.what} {asked.job.provider}", asked, call, seconds)

    # Hear

    def hear(self, seconds: float = HEAR_SECONDS) -> int:
        """What was answered by now is written down, and what can be settled is. Says how many answers there were."""
        said = self.calls.take(seconds) if len(self.calls) else []
        polls = [(asked.job, answer) for asked, answer in said if asked.what == "poll"]
        for asked, answer in said:  # first what may not be said again
            if asked.what != "poll":
                self._hear_one(asked, answer)
        self._write_again()
        try:
            if polls:
                self.go_on(lifecycle.hear(polls))
            self._count(said)
            self._start_fetches()
        except Exception:
            # They are due again when their claim has run out; what is under way besides is heard all the same.
            log.exception("answers_not_written", answers=len(polls))
            connection.close_if_unusable_or_obsolete()
        return len(said)

    def _hear_one(self, asked: _Asked, said: Any) -> None:
        """One answer that is no poll's. What it says of one job stops no other."""
        try:
            match asked.what:
                case "submit":
                    assert asked.attempt is not None
                    self.go_on(lifecycle.hear_submission(asked.job, asked.attempt, said))
                case "look_up":
                    self.go_on(lifecycle.hear_look_up(asked.job, said))
                case "look_back":
                    afterwards.hear_look_back(asked.job, said)
                case "fetch" if lifecycle.hear_output(asked.job, said):
                    safety_net.settle([asked.job.id])
        except Exception:
            log.exception("answer_not_written", what=asked.what, job=str(asked.job.id))
            connection.close_if_unusable_or_obsolete()
            if asked.what in ("submit", "look_up", "fetch"):
                self.unwritten.append(_Unwritten(asked, said))

    def _write_again(self) -> None:
        """What a provider said or gave only once, and could not be written down, is tried again each second."""
        waiting, self.unwritten = self.unwritten, []
        for one in waiting:
            if time.monotonic() < one.next_at:
                self.unwritten.append(one)
                continue
            before = len(self.unwritten)
            self._hear_one(one.asked, one.said)
            if len(self.unwritten) > before:
                again = self.unwritten.pop()
                if one.writes < WRITES_MAX:
                    self.unwritten.append(_Unwritten(again.asked, again.said, one.writes + 1))
        if self.unwritten and not len(self.calls):
            time.sleep(WRITE_AGAIN_SECONDS / 2)

    def go_on(self, heard: Sequence[Generation]) -> None:
        """Jobs whose verdict is in: settled, or first fetched."""
        ready = []
        for job in heard:
            rule = job.verdict_rule
            if rule is None or job.is_ended:
                continue
            if rule.outcome == settlement.RELEASE or job.delivered is not None:
                ready.append(job.id)
            elif not self._fetch(job):
                Generation.objects.filter(id=job.id, claim=job.claim).update(next_poll_at=clock.Now())
        if ready:
            safety_net.settle(ready)

    def _count(self, said: Sequence[tuple[_Asked, Any]]) -> None:
        """The circuits hear whether their provider is there at all."""
        of_provider: dict[str, list[tuple[UUID, Any]]] = defaultdict(list)
        for asked, answer in said:
            heard = None if isinstance(answer, Stored) else answer
            of_provider[asked.job.provider].append((asked.job.id, heard))
        for provider, outcomes in of_provider.items():
            circuits.hear(provider, outcomes)

    def finish(self) -> None:
        """Everything that was begun is written down, or the round's time is over."""
        while len(self) and (self.ends_at is None or time.monotonic() < self.ends_at):
            self.hear()


# One job


def is_resting(job_id: UUID) -> bool:
    """Whether the job's provider is to be left alone now."""
    resting = circuits.resting()
    return bool(resting) and Generation.objects.filter(id=job_id, provider__in=resting).exists()


def takes_long(job_id: UUID) -> bool:
    """Whether submitting the job may take longer than a call usually may: what it makes is made while one waits."""
    for name, operation in Generation.objects.filter(id=job_id).values_list("provider", "operation"):
        provider = _provider(name)
        return provider is not None and provider.submit_seconds(operation) is not None
    return False


def submit(job_id: UUID, seconds: float | None = None) -> None:
    """The job is submitted once, if it waits for that; how the provider answered is written down, and settled.

    One whose provider is left alone now waits for the sweep.
    """
    alone = Round(seconds)
    if not is_resting(job_id) and alone.submit(job_id):
        alone.finish()


def poll(jobs: Sequence[Generation], seconds: float | None = None) -> None:
    """The claimed jobs' providers were asked; what they said (within the seconds) is written down and settled."""
    alone = Round(seconds)
    alone.ask(jobs)
    alone.finish()


def ask_now(job_ids: Sequence[UUID]) -> None:
    """The jobs' providers were asked, whenever they were to be asked next; what they said is settled."""
    Generation.objects.filter(id__in=job_ids, verdict_at=None).update(next_poll_at=clock.Now())
    poll([job for job_id in job_ids for job in lifecycle.claim_due(only=job_id)])


def _provider(name: str) -> Provider | None:
    try:
        return providers.get(name)
    except NotOffered:
        return None
