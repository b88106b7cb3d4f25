"""Two workers, random faults, kills and duplicates: the short form of two_workers.py. And no call in a transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from generations import lifecycle, rounds
from generations.providers import calls
from tests.faults.points import wharf
from tests.faults.two_workers import IN_TRANSACTION, run
from tests.generations.trip import Trip


@pytest.mark.slow
def test_two_workers_settle_everything_once_whatever_breaks() -> None:
    with wharf(people=8) as port:
        found = run(port, seconds=10, jobs=50, seed=20)
    assert found["broken"] == []
    assert found["reconcile"]["clean"]
    assert found["accepted_twice"] == 0
    assert sum(found["killed"].values()) >= 2
    assert found["meddled"]


# No provider is called while a transaction is open: a lock would be held for as long as the provider takes.


def call_one() -> None:
    calls.run(_never())


def call_many() -> None:
    calls.Calls()


async def _never() -> None:
    raise AssertionError("it was called")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("call", [call_one, call_many])
def test_a_call_inside_a_transaction_is_refused_before_it_is_made(call: Callable[[], None]) -> None:
    with transaction.atomic(), pytest.raises(calls.InTransaction) as refused:
        call()
    assert IN_TRANSACTION.search(f"{type(refused.value).__name__}: {refused.value}"), "the campaign would see it"


@pytest.mark.django_db(transaction=True)
def test_answers_are_not_waited_for_inside_a_transaction() -> None:
    many: calls.Calls[str] = calls.Calls()
    with transaction.atomic(), pytest.raises(calls.InTransaction):
        many.take(0)


def test_no_verb_of_a_trip_calls_the_provider_in_its_callers_transaction(trip: Trip) -> None:
    waiting, running = trip.start(), trip.running("[slow 9h]")
    trip.advance(20)
    (claimed,) = lifecycle.claim_due(only=running.id)

    def cancel() -> Any:
        return lifecycle.cancel(trip.purse.id, running.id)

    for verb in (cancel, lambda: rounds.submit(waiting.id), lambda: rounds.poll([claimed])):
        before = (waiting.submits, trip.stand_in.get("requests")["requests"])
        with pytest.raises((calls.InTransaction, RuntimeError)), transaction.atomic():
            verb()
        assert (waiting.submits, trip.stand_in.get("requests")["requests"]) == before
    assert not connection.in_atomic_block
