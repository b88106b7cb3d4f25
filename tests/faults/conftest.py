"""A job's trip in-process, as in tests/generations, but with whatever breaks left to the product to deal with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from billing.reconcile import reconcile
from tests.billing.purse import Purse
from tests.conftest import Clock
from tests.generations.conftest import catalogue, rehearsal_server
from tests.generations.providers.conftest import StandIn
from tests.generations.trip import MICRO, Trip

__all__ = ["catalogue", "rehearsal_server"]


@pytest.fixture
def trip(rehearsal_server: StandIn, catalogue: None, clock: Clock, settings: Any) -> Iterator[Trip]:
    """A person with 10 credits; afterwards the books are reconciled."""
    settings.REHEARSAL_URL = rehearsal_server.url
    purse = Purse()
    purse.grant(10 * MICRO)
    trip = Trip(rehearsal_server, clock, purse)
    yield trip
    assert reconcile().findings == []
