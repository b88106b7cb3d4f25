"""When a provider is asked again: pure decisions, from what was heard and how old a job is. circuits.py keeps the rows.

Chance comes in as a function that returns a number from 0 to 1, as random.random does: many that were sent away at one
moment must not come back at one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum

from .providers.base import Accepted, Answer, ProviderError, TryLater, Unknown

# A provider is left alone after so many failures in a row, of so many jobs, for so long, without a sign of life.
FAILURES_MIN = 20
JOBS_MIN = 5
SECONDS_MIN = 5.0

REST_SECONDS = 5.0
REST_SECONDS_MAX = 60.0
JITTER = 0.2

FAILING = frozenset({"timeout", "network", "broken"})
# Nobody was asked, or what went wrong is ours: it says nothing of the provider.
OURS = frozenset({"storage", "unsupported", "not_offered"})

Said = Answer | Accepted | ProviderError | None
Chance = Callable[[], float]


class Sign(Enum):
    """What an outcome says of its provider, whatever it says of the job."""

    LIFE = "life"
    FAILURE = "failure"
    NOTHING = "nothing"


def sign_of(said: Said) -> Sign:
    """An answer, a refusal and a 404 come from somebody who is there; a 5xx, silence or a broken connection do not."""
    if not isinstance(said, ProviderError):
        return Sign.LIFE
    if said.status in OURS:
        return Sign.NOTHING
    is_5xx = len(said.status) == 3 and said.status.startswith("5") and said.status.isdigit()
    if isinstance(said, Unknown | TryLater) and (is_5xx or said.status in FAILING):
        return Sign.FAILURE
    return Sign.LIFE


@dataclass(frozen=True, slots=True)
class Streak:
    """Failures of one provider with no sign of life in between, on the clock of whoever counts them."""

    began_at: float
    latest_at: float
    failures: int = 0
    jobs: frozenset[Hashable] = frozenset()

    def longer(self, job: Hashable, now: float) -> Streak:
        """With one more failure. Of its jobs only as many are kept as matter."""
        jobs = self.jobs if len(self.jobs) >= JOBS_MIN else self.jobs | {job}
        return Streak(self.began_at, now, self.failures + 1, jobs)

    @property
    def is_long(self) -> bool:
        """Whether the provider is to be left alone: one job's trouble, or one bad moment, is never enough."""
        return (
            self.failures >= FAILURES_MIN
            and len(self.jobs) >= JOBS_MIN
            and self.latest_at - self.began_at >= SECONDS_MIN
        )


def rest_seconds(openings: int, chance: Chance) -> float:
    """How long a provider is left alone that was found broken so often in a row: doubling, never above the most."""
    longest = min(REST_SECONDS * 2.0 ** min(max(openings - 1, 0), 16), REST_SECONDS_MAX)
    return longest * (1 - JITTER * chance())


def next_pause_seconds(
    age_seconds: float, retry_after_seconds: float | None, chance: Chance, *, least: float, most: float
) -> float:
    """Until a job's next question: a tenth of its age between the two bounds, give or take a fifth.

    Never earlier than the provider asked for, and a little later than that, so that not all of them come at once.
    """
    pause = min(max(age_seconds / 10, least), most) * (1 + JITTER * (2 * chance() - 1))
    if retry_after_seconds is None:
        return pause
    return max(pause, retry_after_seconds + JITTER * min(retry_after_seconds, most) * chance())
