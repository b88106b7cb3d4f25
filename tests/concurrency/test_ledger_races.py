"""Threads with real connections on one account: one wins, the others are told which, and nothing is lost or made.

Each race is first shown with the lock off: the same threads then meet the database's laws instead of an answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from billing import book, errors, ledger, steps
from billing.models import Entry, Hold
from billing.reconcile import reconcile
from tests.billing.purse import HOUR, Purse
from tests.concurrency.together import kinds, together, waiting_for_a_lock
from tests.conftest import Clock
from tests.live import write_together

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def purse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Purse]:
    """100 granted; sound at the end, whatever raced."""
    monkeypatch.setattr("billing.reconcile.checks", [])
    purse = Purse()
    purse.grant(100)
    yield purse
    assert reconcile().findings == []


@pytest.fixture
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    without = ledger._LOCK.replace(b"FOR NO KEY UPDATE", b"")
    assert without != ledger._LOCK
    monkeypatch.setattr(ledger, "_LOCK", without)


TOLD = {
    "captured": errors.HoldAlreadyCaptured,
    "released": errors.HoldAlreadyReleased,
    "expired": errors.HoldAlreadyExpired,
}


def end_it_four_ways(purse: Purse) -> tuple[Hold, list[Any]]:
    """A due hold that two captures, a release and an expiry fall upon at once."""
    hold = purse.place(10, expires_in_seconds=0)
    results = together(
        lambda: purse.capture(hold, 4),
        lambda: purse.release(hold),
        lambda: ledger.expire_hold(purse.id, hold=hold),
        lambda: purse.capture(hold, 6),
    )
    return purse.hold(hold), results


def test_capture_release_and_expiry_without_the_lock_break_on_the_laws(purse: Purse, unlocked: None) -> None:
    for _ in range(50):
        _, results = end_it_four_ways(purse)
        if any(isinstance(result, IntegrityError) for result in results):
            return
    pytest.fail("fifty storms without the lock and no race: the test shows nothing")


def test_of_capture_release_and_expiry_one_wins_and_the_others_are_told_which(purse: Purse) -> None:
    winners = set()
    for _ in range(15):
        before = purse.account.entry_count
        hold, results = end_it_four_ways(purse)
        won = [result for result in results if isinstance(result, book.Line)]
        assert len(won) == 1, results
        lost = [result for result in results if result is not won[0]]
        assert [type(result) for result in lost] == [TOLD[hold.state]] * 3
        assert purse.account.entry_count == before + 2
        winners.add(won[0].kind)
    assert purse.account.held == 0


def test_refunds_of_one_capture_give_back_no_more_than_it_took(purse: Purse) -> None:
    for _ in range(5):
        capture = purse.capture(purse.place(10), 10)
        before = purse.account.balance
        results = together(*[lambda line=capture.id: purse.refund(line, 6)] * 4)
        assert sorted(kinds(results)) == ["Line", "RefundExceedsSpent", "RefundExceedsSpent", "RefundExceedsSpent"]
        assert purse.account.balance == before + 6


def test_refund_against_capture_of_another_hold_loses_nothing(purse: Purse) -> None:
    capture = purse.capture(purse.place(10), 10)
    hold = purse.place(20)
    before = purse.account.balance
    results = together(lambda: purse.refund(capture.id), lambda: purse.capture(hold, 15), lambda: purse.charge(3))
    assert kinds(results) == ["Line"] * 3
    assert purse.account.balance == before + 10 - 15 - 3


def test_a_late_capture_and_a_refund_and_an_expiry_of_lots_happen_once_each(purse: Purse) -> None:
    hold = purse.place(10, expires_in_seconds=0)
    ledger.expire_hold(purse.id, hold=hold)
    results = together(*[lambda: ledger.capture_late(purse.id, hold=hold, amount=10)] * 6)
    assert sorted(kinds(results)) == [*["HoldCapturedLate"] * 5, "Line"]
    assert purse.account.balance == 90


# Credit for one


def storm(purse: Purse) -> list[Any]:
    """Two hundred holds of all there is, from forty connections."""

    def place() -> Any:
        try:
            return purse.place(100)
        except Exception as error:
            return error

    def close(_: int) -> None:
        barrier.wait(60)
        connection.close()

    barrier = threading.Barrier(40)
    with ThreadPoolExecutor(40) as pool:
        results = [future.result() for future in [pool.submit(place) for _ in range(200)]]
        list(pool.map(close, range(40)))
    return results


def test_two_hundred_holds_with_credit_for_one_place_one(purse: Purse) -> None:
    results = storm(purse)
    assert sorted(set(kinds(results))) == ["InsufficientCredits", "UUID"]
    assert kinds(results).count("UUID") == 1
    assert purse.values == (100, 100, 0, 0)


def test_two_hundred_holds_without_the_lock_break_on_the_laws(purse: Purse, unlocked: None) -> None:
    with write_together(purse.id):
        results = storm(purse)
    assert any(isinstance(result, IntegrityError) for result in results)


# Two accounts


def test_two_accounts_locked_one_by_one_in_opposite_order_deadlock(purse: Purse) -> None:
    """What the order of the locks is for: without it one of the two is thrown out."""
    other = Purse()
    other.grant(100)
    met = threading.Barrier(2)

    def both(first: Purse, second: Purse) -> None:
        with transaction.atomic():
            first.charge(1)
            met.wait(60)
            second.charge(1)

    results = together(lambda: both(purse, other), lambda: both(other, purse))
    assert sorted(kinds(results)) == ["NoneType", "OperationalError"]


@pytest.mark.parametrize("per_statement", [1, 1000])
def test_batches_that_name_accounts_in_opposite_order_do_not_deadlock(
    purse: Purse, settings: Any, per_statement: int
) -> None:
    settings.LEDGER_ACCOUNTS_PER_STATEMENT = per_statement
    others = [purse, *(Purse() for _ in range(5))]
    for other in others[1:]:
        other.grant(100)
    groups = [ledger.Group(other.id, [steps.Charge(amount=1)]) for other in others]

    def many(order: int) -> None:
        for _ in range(8):
            ledger.post(groups[::order])

    results = together(*[lambda order=order: many(order) for order in (1, -1, 1, -1)])
    assert results == [None] * 4
    assert {other.available for other in others} == {100 - 4 * 8}


# One key


def place_with_key(purse: Purse) -> UUID:
    made = uuid4()
    step = steps.PlaceHold(id=made, amount=10, reference="r", owner="user:1", expires_in_seconds=HOUR)
    key = ledger.Key(actor="user:1", scope="POST /api/holds", key="k", fingerprint=bytes(32), status=201, made=made)
    outcome = ledger.post_one(purse.id, step, key=key)
    return outcome.repeat.made if outcome.repeat else made


def test_one_key_at_once_makes_one_thing(purse: Purse) -> None:
    results = together(*[lambda: place_with_key(purse)] * 20)
    assert set(kinds(results)) <= {"UUID", "RequestInProgress"}
    assert len({result for result in results if isinstance(result, UUID)}) == 1
    assert purse.account.held == 10


def test_one_key_at_once_makes_one_thing_even_when_nobody_is_turned_away(
    purse: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the claim each waits for the account's lock, and finds the key there."""
    monkeypatch.setattr(ledger, "_claim_keys", lambda outcomes: None)
    results = together(*[lambda: place_with_key(purse)] * 20)
    assert set(kinds(results)) == {"UUID"}
    assert len(set(results)) == 1
    assert purse.account.held == 10


def test_one_key_at_once_without_claim_and_lock_breaks_on_the_law(
    purse: Purse, unlocked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_claim_keys", lambda outcomes: None)
    for _ in range(10):
        of = Purse()  # the key is new to each account
        of.grant(100)
        results = together(*[partial(place_with_key, of)] * 20)
        if any(isinstance(result, IntegrityError) for result in results):
            return
    pytest.fail("ten storms without claim and lock and no race")


def test_one_payment_granted_at_once_is_granted_once_and_to_one_account(purse: Purse) -> None:
    other = Purse()

    def grant(to: Purse) -> Any:
        return ledger.grant(to.id, amount=7, source="pack", payment="cs_1")

    results = together(*[lambda to=to: grant(to) for to in (purse, other) * 4])
    assert set(kinds(results)) == {"UUID", "PaymentAlreadyGranted"}
    assert len({result for result in results if isinstance(result, UUID)}) == 1
    assert purse.account.balance + other.account.balance == 107


# Who waits


@pytest.fixture
def held_row(purse: Purse, raw_connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """A connection that holds the account's lock until it commits."""
    raw_connection.execute("SELECT FROM billing_account WHERE id = %s FOR NO KEY UPDATE", [purse.id])
    return raw_connection


@pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout"])
def test_a_lock_that_does_not_come_is_an_operational_error_and_moves_nothing(
    purse: Purse, held_row: psycopg.Connection[Any], setting: str
) -> None:
    """Alone, in a batch and beside a savepoint; the connection is sound afterwards."""

    def waits() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(f"SET {setting} = '100ms'")
        errors_met = []
        group = ledger.Group(purse.id, [steps.Charge(amount=1)])
        for act in (lambda: purse.charge(1), lambda: ledger.post([group, group]), lambda: place_with_key(purse)):
            try:
                with transaction.atomic():
                    act()  # type: ignore[no-untyped-call]
            except OperationalError as error:
                errors_met.append(type(error).__name__)
        held_row.commit()
        purse.charge(1)
        return errors_met

    (met,) = together(waits)
    assert met == ["OperationalError"] * 3
    assert [line.kind for line in purse.lines] == ["grant", "charge"]


def test_who_waited_for_the_lock_reads_the_clock_and_the_rows_afterwards(
    purse: Purse, clock: Clock, raw_connection: psycopg.Connection[Any]
) -> None:
    """A lot comes to its end while a hold waits: it is not lent, though it was there when the wait began."""
    purse.charge(100)
    purse.grant(50, expires_at=purse.account.moved_at + timedelta(days=1))  # type: ignore[operator]
    raw_connection.execute("SELECT FROM billing_account WHERE id = %s FOR NO KEY UPDATE", [purse.id])
    with waiting_for_a_lock(lambda: purse.place(10)) as result:
        clock.advance(days=2)
        raw_connection.commit()
    assert kinds(result) == ["InsufficientCredits"]


def test_who_waited_sees_what_the_one_before_left(purse: Purse) -> None:
    first = ExitStack()
    first.enter_context(transaction.atomic())
    purse.charge(60)
    with waiting_for_a_lock(lambda: purse.charge(60)) as result:
        first.close()
    assert kinds(result) == ["InsufficientCredits"]
    assert Entry.objects.filter(account=purse.id, kind="charge").count() == 1


def test_reconcile_is_clean_while_others_write(purse: Purse) -> None:
    """One snapshot: never half of a verb, however many are under way."""
    stop = threading.Event()

    def write() -> int:
        count = 0
        while not stop.is_set():
            hold = purse.place(1)
            purse.capture(hold, 0)
            count += 1
        return count

    def check() -> list[Any]:
        found = [finding for _ in range(8) for finding in reconcile().findings]
        stop.set()
        return found

    written, *_, found = together(write, write, check)
    assert found == []
    assert written > 0
