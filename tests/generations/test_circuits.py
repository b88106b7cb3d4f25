"""Which outcomes are signs of life, when a provider is left alone and for how long; and what the rows do with that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from billing import clock as ledger_clock
from billing.models import Alert
from generations import circuits, pacing
from generations.models import Circuit
from generations.pacing import JOBS_MIN, Sign, Streak, next_pause_seconds, rest_seconds, sign_of
from generations.providers.base import (
    Accepted,
    Answer,
    NotCancellable,
    OutputUnavailable,
    ProviderError,
    Refused,
    TryLater,
    Unknown,
)
from tests.concurrency.together import together
from tests.conftest import Clock

NAME = "rehearsal"

# Pure: pacing.py

SIGNS: list[tuple[Any, Sign]] = [
    (Answer("completed"), Sign.LIFE),
    (Answer("failed", "moderation_blocked"), Sign.LIFE),
    (Answer("a word that nobody knows"), Sign.LIFE),
    (Accepted("1"), Sign.LIFE),
    (None, Sign.LIFE),  # a look-up that surely found nothing
    (Refused("422", "invalid_field"), Sign.LIFE),
    (Refused("401"), Sign.LIFE),
    (NotCancellable("409"), Sign.LIFE),
    (OutputUnavailable("410"), Sign.LIFE),
    (Unknown("404"), Sign.LIFE),
    (Unknown("403"), Sign.LIFE),
    (Unknown("garbage", "unreadable"), Sign.LIFE),
    (TryLater("429"), Sign.LIFE),
    (Unknown("500"), Sign.FAILURE),
    (Unknown("503"), Sign.FAILURE),
    (Unknown("599"), Sign.FAILURE),
    (TryLater("503"), Sign.FAILURE),
    (Unknown("timeout", "ReadTimeout"), Sign.FAILURE),
    (Unknown("network", "not_connected"), Sign.FAILURE),
    (TryLater("network", "not_connected"), Sign.FAILURE),
    (Unknown("broken", "KeyError"), Sign.FAILURE),
    (Unknown("storage"), Sign.NOTHING),
    (Unknown("not_offered"), Sign.NOTHING),
    (Unknown("unsupported", "no_lookup"), Sign.NOTHING),
    (NotCancellable("unsupported"), Sign.NOTHING),
]


@pytest.mark.parametrize(("said", "sign"), SIGNS, ids=lambda one: str(one) or type(one).__name__)
def test_what_an_outcome_says_of_its_provider(said: Any, sign: Sign) -> None:
    assert sign_of(said) is sign


# failures, jobs, seconds between the first and the last of them → long enough to leave the provider alone
STREAKS = [
    (20, 5, 5.0, True),
    (200, 5, 60.0, True),
    (20, 500, 5.0, True),
    (19, 5, 60.0, False),
    (20, 4, 60.0, False),
    (20, 5, 4.9, False),
    (10_000, 1, 3600.0, False),  # one job that its provider cannot answer rests nobody
    (32, 32, 0.0, False),  # all calls under way at one bad moment
]


@pytest.mark.parametrize(("failures", "jobs", "seconds", "is_long"), STREAKS)
def test_when_failures_are_enough(failures: int, jobs: int, seconds: float, is_long: bool) -> None:
    streak = Streak(100.0, 100.0)
    for number in range(failures):
        streak = streak.longer(number % jobs, 100.0 + seconds * number / (failures - 1))
    assert streak.is_long is is_long
    assert len(streak.jobs) <= JOBS_MIN, "memory does not grow with the jobs"


@pytest.mark.parametrize(
    ("openings", "longest"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (1000, 60), (2**31, 60)]
)
def test_how_long_a_provider_rests(openings: int, longest: float) -> None:
    assert rest_seconds(openings, lambda: 0.0) == longest
    assert rest_seconds(openings, lambda: 1.0) == pytest.approx(longest * 0.8)


# age of the job, Retry-After, chance → pause, where the bounds are 1 and 15 seconds
PAUSES = [
    (0, None, 0.5, 1.0),
    (0, None, 0.0, 0.8),
    (0, None, 1.0, 1.2),
    (100, None, 0.5, 10.0),
    (100, None, 0.0, 8.0),
    (36_000, None, 0.5, 15.0),
    (36_000, None, 1.0, 18.0),
    (0, 7.0, 0.0, 7.0),
    (0, 7.0, 1.0, 8.4),
    (0, 3600.0, 1.0, 3603.0),
    (36_000, 2.0, 0.0, 12.0),
    (36_000, 14.0, 0.0, 14.0),
    (-5, None, 0.5, 1.0),  # another machine's clock
    (0, 0.0, 0.5, 1.0),
]


@pytest.mark.parametrize(("age", "retry_after", "chance", "pause"), PAUSES)
def test_the_pause_before_a_jobs_next_question(
    age: float, retry_after: float | None, chance: float, pause: float
) -> None:
    assert next_pause_seconds(age, retry_after, lambda: chance, least=1, most=15) == pytest.approx(pause)


# Rows: circuits.py


@pytest.fixture
def no_memory() -> Iterator[Callable[[], None]]:
    """This process remembers nothing; called, it forgets again, as a process does that has just started."""

    def forget() -> None:
        for remembered in (circuits._streaks, circuits._open, circuits._trying):
            remembered.clear()

    forget()
    yield forget
    forget()


@pytest.fixture
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures need not last for seconds."""
    monkeypatch.setattr(pacing, "SECONDS_MIN", 0.0)


def failures(number: int = pacing.FAILURES_MIN, jobs: int = JOBS_MIN) -> list[tuple[int, ProviderError]]:
    return [(at % jobs, Unknown("503", "down", "Nobody is here")) for at in range(number)]


def row() -> Circuit:
    return Circuit.objects.get(provider=NAME)


def open_alerts() -> list[tuple[str, str]]:
    return list(Alert.objects.filter(cleared_at=None).values_list("name", "key"))


rows = pytest.mark.usefixtures("clock", "no_memory", "in_no_time")


@pytest.mark.django_db
@rows
def test_a_provider_that_fails_for_many_jobs_is_left_alone_and_staff_are_told() -> None:
    circuits.hear(NAME, failures())

    assert circuits.resting() == {NAME}
    assert circuits.look().may_ask(NAME) == 0
    assert circuits.look().may_ask("another") is None
    assert (row().openings, row().last_error) == (1, "503 down Nobody is here")
    assert open_alerts() == [("provider_unreachable", NAME)]
    alert = Alert.objects.get()
    assert NAME in alert.sentence
    assert alert.facts["failures_in_a_row"] == pacing.FAILURES_MIN
    rest = row().retry_at - row().opened_at  # type: ignore[operator]
    assert timedelta(seconds=3.9) < rest <= timedelta(seconds=5.1)


@pytest.mark.django_db
@rows
@pytest.mark.parametrize(
    "life", [Answer("in_progress"), Unknown("404"), TryLater("429"), Unknown("garbage"), Refused("422"), None]
)
def test_one_sign_of_life_begins_the_count_anew(life: Any) -> None:
    circuits.hear(NAME, failures(19))
    circuits.hear(NAME, [("a", life), *failures(19)])
    assert circuits.look().may_ask(NAME) is None

    circuits.hear(NAME, failures(1))
    assert circuits.look().may_ask(NAME) == 0


@pytest.mark.django_db
@rows
def test_one_jobs_trouble_and_our_own_rest_nobody() -> None:
    circuits.hear(NAME, failures(1000, jobs=1))
    circuits.hear(NAME, [(at, Unknown("storage")) for at in range(1000)])
    circuits.hear(NAME, [])
    assert circuits.look().may_ask(NAME) is None
    assert not Circuit.objects.exists()


@pytest.mark.django_db
@pytest.mark.usefixtures("clock", "no_memory")
def test_a_bad_moment_rests_nobody() -> None:
    circuits.hear(NAME, failures(64, jobs=64))
    circuits.hear(NAME, failures(64, jobs=64))
    assert circuits.look().may_ask(NAME) is None


@pytest.mark.django_db
@rows
def test_after_its_rest_it_is_tried_with_one_call_and_a_failure_doubles_the_rest(clock: Clock) -> None:
    circuits.hear(NAME, failures())
    for openings, longest in ((2, 10), (3, 20), (4, 40), (5, 60), (6, 60)):
        clock.advance(seconds=61)
        state = circuits.look()
        assert state.resting == set()
        assert [state.may_ask(NAME) for _ in range(3)] == [1, 0, 0]
        assert circuits.look().may_ask(NAME) == 0, "it is being tried"

        circuits.hear(NAME, failures(1))

        assert row().openings == openings
        rest = (row().retry_at - ledger_clock.now()).total_seconds()  # type: ignore[operator]
        assert longest * 0.8 - 1 < rest <= longest
        assert circuits.look().may_ask(NAME) == 0
    assert Alert.objects.count() == 1


@pytest.mark.django_db
@rows
@pytest.mark.parametrize("life", [Answer("completed"), Unknown("404"), TryLater("429"), None])
def test_a_sign_of_life_closes_it_at_once_and_the_next_time_begins_with_a_short_rest(clock: Clock, life: Any) -> None:
    circuits.hear(NAME, failures())
    clock.advance(seconds=6)
    assert circuits.look().may_ask(NAME) == 1
    circuits.hear(NAME, failures(1))
    clock.advance(seconds=11)
    assert circuits.look().may_ask(NAME) == 1

    circuits.hear(NAME, [("a", life)])

    assert circuits.look().may_ask(NAME) is None
    assert (row().opened_at, row().retry_at, row().openings) == (None, None, 0)
    assert open_alerts() == []

    circuits.hear(NAME, failures())
    assert row().openings == 1
    assert open_alerts() == [("provider_unreachable", NAME)]
    assert Alert.objects.count() == 2


@pytest.mark.django_db
@rows
def test_a_call_from_before_that_comes_back_well_closes_it_too() -> None:
    circuits.hear(NAME, failures())
    assert circuits.look().may_ask(NAME) == 0
    circuits.hear(NAME, [("slow", Answer("in_progress"))])
    assert circuits.look().may_ask(NAME) is None


@pytest.mark.django_db
@rows
def test_failures_from_before_do_not_prolong_the_rest() -> None:
    circuits.hear(NAME, failures())
    circuits.look()
    before = row()
    circuits.hear(NAME, failures(200, jobs=50))
    assert (row().retry_at, row().openings) == (before.retry_at, 1)


@pytest.mark.django_db
@rows
def test_a_try_whose_process_died_is_made_by_another_after_a_while(
    clock: Clock, no_memory: Callable[[], None], settings: Any
) -> None:
    circuits.hear(NAME, failures())
    clock.advance(seconds=6)
    assert circuits.look().may_ask(NAME) == 1
    no_memory()
    assert circuits.look().may_ask(NAME) == 0

    clock.advance(seconds=settings.PROVIDER_TIMEOUT_SECONDS * 2 + 6)
    assert circuits.look().may_ask(NAME) == 1


@pytest.mark.django_db
@rows
def test_a_try_that_was_not_made_is_given_back(clock: Clock) -> None:
    circuits.hear(NAME, failures())
    clock.advance(seconds=6)
    state = circuits.look()
    state.give_back(NAME)  # never taken: nothing happens
    assert state.may_ask(NAME) == 1
    state.give_back(NAME)
    circuits.look().give_back(NAME)
    assert circuits.look().may_ask(NAME) == 1


@pytest.mark.django_db
@rows
def test_what_failed_before_another_process_heard_it_live_is_not_counted_again() -> None:
    circuits.hear(NAME, failures())
    circuits.look()
    Circuit.objects.update(opened_at=None, retry_at=None, openings=0)  # another process heard it
    circuits.look()
    circuits.hear(NAME, failures(19))
    assert circuits.look().may_ask(NAME) is None


@pytest.mark.django_db
@rows
def test_while_all_is_well_a_look_is_one_query_and_hearing_none(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        state = circuits.look()
        assert [state.may_ask(name) for name in ("a", "b", "c")] == [None] * 3
    with django_assert_num_queries(0):
        circuits.hear(NAME, [(at, Answer("in_progress")) for at in range(1000)])
        circuits.hear(NAME, failures(19))


# Many at once


@pytest.mark.django_db(transaction=True)
@rows
def test_of_many_that_look_at_once_one_may_try(clock: Clock) -> None:
    circuits.hear(NAME, failures())
    clock.advance(seconds=6)
    assert sorted(together(*[lambda: circuits.look().may_ask(NAME)] * 16)) == [0] * 15 + [1]


@pytest.mark.django_db(transaction=True)
@rows
def test_without_the_guard_all_of_them_would_try(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    circuits.hear(NAME, failures())
    clock.advance(seconds=6)
    states = [circuits.look() for _ in range(4)]
    monkeypatch.setattr(circuits, "_same", lambda provider, one: _Unguarded(Circuit.objects.filter(provider=provider)))
    assert together(*[lambda state=state: state.may_ask(NAME) for state in states]) == [1] * 4


class _Unguarded:
    """The update of a row, whatever became of it since it was read."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def filter(self, **guard: Any) -> Any:
        return self.rows


@pytest.mark.django_db(transaction=True)
@rows
def test_many_that_find_it_broken_at_once_open_it_once() -> None:
    streak = Streak(0.0, 9.0, 20, frozenset(range(5)))
    assert together(*[lambda: circuits._rest(NAME, streak, "503")] * 8) == [None] * 8
    assert row().openings == 1
    assert Alert.objects.count() == 1


ANOTHER = """
import sys, django
from django.conf import settings
settings.DATABASES["default"] |= {"NAME": sys.argv[1]}
django.setup()
from generations import circuits
print("ready", flush=True)
sys.stdin.readline()
print(circuits.look().may_ask("rehearsal"))
"""


@pytest.mark.django_db(transaction=True)
@rows
def test_of_two_processes_one_may_try(clock: Clock) -> None:
    circuits.hear(NAME, failures())
    clock.advance(seconds=6)
    command = [sys.executable, "-c", ANOTHER, connection.settings_dict["NAME"]]
    others = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(2)
    ]
    for one in others:
        assert one.stdout
        assert one.stdout.readline() == "ready\n"
    for one in others:
        assert one.stdin
        one.stdin.write("go\n")
    told = [one.communicate(timeout=300)[0].strip() for one in others]
    assert sorted(told) == ["0", "1"]
