"""People at the staff's desk, and the shipped rules and prices."""

from __future__ import annotations

import pytest

from tests.billing.admin.colleague import Colleague


@pytest.fixture
def staff(catalogue: None) -> Colleague:
    """Stella, who may do everything."""
    return Colleague("stella", "*")


@pytest.fixture
def second(catalogue: None) -> Colleague:
    """Sebastian, who may do everything too."""
    return Colleague("sebastian", "*")
