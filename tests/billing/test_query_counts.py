"""What a single verb costs: two round trips, and so many statements however long the account's history is."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from billing import ledger, steps

from .purse import Purse


@pytest.fixture
def hold(purse: Purse) -> Any:
    purse.grant(100)
    purse.grant(100, source="plan")
    return purse.place(10)


VERBS: dict[str, tuple[int, Callable[[Purse, Any], object]]] = {
    # verb: (statements, the verb); the savepoint of a batch is not among them
    "grant": (3, lambda purse, hold: ledger.grant(purse.id, amount=5, source="pack")),
    "grant of a payment": (5, lambda purse, hold: ledger.grant(purse.id, amount=5, source="pack", payment="cs_1")),
    "place_hold": (4, lambda purse, hold: purse.place(5)),
    "place_hold of what takes no free credits": (5, lambda purse, hold: purse.place(5, takes_free_credits=False)),
    "capture": (4, lambda purse, hold: purse.capture(hold, 5)),
    "release": (4, lambda purse, hold: purse.release(hold)),
    "charge": (4, lambda purse, hold: purse.charge(5)),
    "charge with a key": (6, lambda purse, hold: charge_with_key(purse)),
    "adjust": (3, lambda purse, hold: ledger.adjust(purse.id, amount=5, reason="counted twice")),
}


def charge_with_key(purse: Purse) -> None:
    key = ledger.Key(actor="user:1", scope="POST /x", key="k", fingerprint=bytes(32), status=201, made=uuid4())
    ledger.post_one(purse.id, steps.Charge(amount=5), key=key)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_costs_so_many_statements(
    verb: str, purse: Purse, hold: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    count, post = VERBS[verb]
    with django_assert_num_queries(count):
        post(purse, hold)


@pytest.mark.parametrize("size", [2, 20])
def test_a_batch_of_any_size_costs_as_many_statements_as_one_verb_and_its_savepoint(
    size: int, new_purse: Callable[..., Purse]
) -> None:
    purses = [new_purse() for _ in range(size)]
    groups = [ledger.Group(purse.id, [steps.Grant(amount=5, source="pack")]) for purse in purses]
    with CaptureQueriesContext(connection) as seen:
        ledger.post(groups)
    savepoints = [query for query in seen.captured_queries if "SAVEPOINT" in (query["sql"] or "")]
    assert (len(seen) - len(savepoints), len(savepoints)) == (3, 2)


@pytest.mark.django_db(transaction=True)
def test_a_wait_for_the_lock_that_runs_out_leaves_the_connection_as_good_as_before(
    raw_connection: psycopg.Connection[Any], new_purse: Callable[..., Purse]
) -> None:
    """What was sent behind the lock did not run; none of it may count as prepared."""
    purse = new_purse()
    connection.close()  # nothing is prepared
    with raw_connection.transaction():
        raw_connection.execute("SELECT FROM billing_account WHERE id = %s FOR UPDATE", [purse.id])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 50")
        with pytest.raises(OperationalError, match="lock timeout"):
            purse.grant(5)
    purse.grant(5)
    purse.charge(5)
    assert purse.kinds == ["grant", "charge"]
