"""Purses whose books are reconciled at the end of every test that used one."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from billing import ledger
from billing.reconcile import checks, reconcile
from tests.conftest import Clock

from .purse import HOUR, Purse


@pytest.fixture(autouse=True)
def _without_checks_from_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """Billing stands alone here: a hold owned by "job" has no job above it."""
    monkeypatch.setattr("billing.reconcile.checks", type(checks)())


@pytest.fixture
def new_purse(db: None) -> Iterator[Callable[..., Purse]]:
    """Makes a purse with nothing in it. After the test every purse made is reconciled."""
    made: list[Purse] = []

    def new(**fields: Any) -> Purse:
        made.append(Purse(**fields))
        return made[-1]

    yield new
    assert reconcile([purse.id for purse in made]).findings == []


@pytest.fixture
def purse(new_purse: Callable[..., Purse]) -> Purse:
    """An empty purse, reconciled after the test."""
    return new_purse()


@pytest.fixture
def books(clock: Clock) -> Iterator[Purse]:
    """An account with every kind of row: lots of a payment, an envelope, holds in every state, refunds, claw-backs."""
    user = User.objects.create(username="ada").id
    purse = Purse()
    purse.grant(1000, payment="cs_1", description="A pack", reason="bought")
    purse.grant(100, source="plan", priority=1)
    envelope = purse.place(30, shares=(("a", 5), ("b", 6)), user=user)
    ledger.draw(purse.id, hold=envelope, reference="a", amount=4)
    captured = purse.capture(purse.place(90), 80)
    purse.refund(captured.id, 7)
    purse.refund(purse.charge(9, user=user).id, 2)
    purse.release(purse.place(3))
    expired = purse.place(20, expires_in_seconds=60)
    clock.advance(minutes=2)
    ledger.expire_hold(purse.id, hold=expired)
    ledger.capture_late(purse.id, hold=expired, amount=15)
    payment = purse.payment("cs_1")
    ledger.claw_back(purse.id, payment=payment, id=uuid4(), amount=50)
    back = uuid4()
    ledger.claw_back(purse.id, payment=payment, id=back, amount=60)
    ledger.restore(purse.id, claw_back=back)
    ledger.freeze(purse.id, payment=payment)
    ledger.thaw(purse.id, payment=payment)
    ledger.adjust(purse.id, amount=-5, reason="a slip")
    purse.place(40, expires_in_seconds=HOUR)
    assert reconcile([purse.id]).findings == []
    before = transaction.savepoint()
    yield purse
    # What a test broke is whole again before Django asks the deferred keys.
    transaction.savepoint_rollback(before)
