"""Purses whose books are reconciled at the end of every test that used one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from billing.reconcile import checks, reconcile

from .purse import Purse


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
