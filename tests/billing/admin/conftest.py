"""People at the staff's desk."""

from __future__ import annotations

import pytest

from billing import credits, ledger
from billing.models import Entry, new_id
from tests.billing.purse import Purse

from .colleague import Colleague

MICRO = credits.MICRO


@pytest.fixture
def staff(db: None) -> Colleague:
    """Stella, who may do everything."""
    return Colleague("stella", "*")


@pytest.fixture
def second(db: None) -> Colleague:
    """Sebastian, who may do everything too."""
    return Colleague("sebastian", "*")


@pytest.fixture
def filled(purse: Purse) -> Purse:
    """A purse with 100 credits."""
    purse.grant(100 * MICRO)
    return purse


@pytest.fixture
def debtor(purse: Purse) -> Purse:
    """A purse that owes 40 credits: a payment was taken back after they were spent."""
    purse.grant(50 * MICRO, payment="cs_1")
    purse.charge(40 * MICRO)
    ledger.claw_back(purse.id, payment=purse.payment("cs_1"), id=new_id(), amount=50 * MICRO)
    assert purse.values == (0, 0, 0, 40 * MICRO)
    return purse


@pytest.fixture
def spent(filled: Purse) -> Entry:
    """A line that charged 8 of 100 credits."""
    line = filled.charge(8 * MICRO, actor="service:renders")
    return Entry.objects.get(id=line.id)
