"""When the books cannot be reached or do not answer in time, nothing runs: 503, and nothing has moved."""

import hashlib
from typing import Any

import psycopg
import pytest
from django.db import connection

from billing.models import Entry, Hold, IdempotencyKey
from tests.people import Answer, Person

pytestmark = pytest.mark.django_db(transaction=True)
HOLD = {"amount": "10", "reference": "r"}


@pytest.fixture
def olga() -> Person:
    person = Person("olga@people.test")
    person.grant("100")
    return person


def assert_closed(answer: Answer) -> None:
    assert (answer.status, answer.code) == (503, "billing_unavailable"), answer
    assert int(answer.headers["Retry-After"]) >= 1
    assert set(answer.json) == {"error", "code", "reason", "action", "request_id"}


def test_a_lock_that_does_not_come_in_time(olga: Person, raw_connection: psycopg.Connection[Any]) -> None:
    caller = olga.calls()
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '200ms'")
    try:
        with raw_connection.transaction():
            raw_connection.execute("SELECT FROM billing_account WHERE id = %s FOR UPDATE", [olga.account])
            assert_closed(caller.post("/api/holds", HOLD, idempotency_key="k"))
        assert (olga.values, Hold.objects.count(), IdempotencyKey.objects.count()) == (("100", "0", "0"), 0, 0)
        assert caller.post("/api/holds", HOLD, idempotency_key="k").status == 201
    finally:
        connection.close()


def test_a_statement_that_takes_too_long(olga: Person, raw_connection: psycopg.Connection[Any]) -> None:
    caller = olga.calls()
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '300ms'")
    try:
        with raw_connection.transaction():
            raw_connection.execute("LOCK TABLE billing_entry IN ACCESS EXCLUSIVE MODE")
            assert_closed(caller.post("/api/holds", HOLD))
            assert_closed(caller.get("/api/credits/entries"))
    finally:
        connection.close()
    assert olga.values == ("100", "0", "0")


def test_a_connection_that_was_cut(olga: Person, raw_connection: psycopg.Connection[Any]) -> None:
    caller = olga.calls()
    lines = Entry.objects.count()
    raw_connection.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])
    raw_connection.commit()
    assert_closed(caller.post("/api/holds", HOLD))
    connection.close()
    assert Entry.objects.count() == lines
    assert caller.post("/api/holds", HOLD).status == 201


def test_the_first_request_with_a_key_is_still_going(olga: Person, raw_connection: psycopg.Connection[Any]) -> None:
    of = (olga.account, f"user:{olga.user.pk}", "POST /api/holds", "k")
    number = int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:8], signed=True)
    caller = olga.calls()
    with raw_connection.transaction():
        raw_connection.execute("SELECT pg_advisory_xact_lock(%s)", [number])
        answer = caller.post("/api/holds", HOLD, idempotency_key="k")
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (409, "request_in_progress", "1")
        assert caller.post("/api/holds", HOLD, idempotency_key="other").status == 201
    assert caller.post("/api/holds", HOLD, idempotency_key="k").status == 201
    assert olga.values == ("100", "20", "0")
