"""Three people at the counter for jobs, with the shipped prices and rules."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import call_command

from tests.people import member, nobody, owner, stranger

__all__ = ["member", "nobody", "owner", "stranger"]

GENERATE = "/api/generate"
VIDEO: dict[str, Any] = {"operation": "ai/video", "inputs": {"prompt": "A lighthouse at dawn"}}  # costs 2


@pytest.fixture(autouse=True)
def prices(db: None) -> None:
    call_command("install_catalogue", stdout=io.StringIO())
