"""Does everything that can be run earn its credits (N4)? The report, the command, and the system check."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from billing import clock as ledger_clock
from tests.billing.purse import Purse
from tools_registry import coverage, registry
from tools_registry.checks import every_price_has_its_tool
from tools_registry.models import ToolCost


def told() -> dict[str, Any]:
    out = io.StringIO()
    call_command("coverage", "--json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def ids() -> list[str | None]:
    return [message.id for message in every_price_has_its_tool(None, databases=["default"])]


def test_a_fresh_catalogue_is_whole_and_nothing_was_charged_yet(catalogue: None) -> None:
    found = told()
    assert found["is_whole"] is True
    assert found["entries"] == len(registry.priced())
    assert found["never_charged"] == sorted(registry.priced())
    assert ids() == []


def test_what_was_charged_is_not_listed(catalogue: None) -> None:
    purse = Purse()
    purse.grant(10_000_000)
    price = ToolCost.objects.get(tool="ai/video").id
    purse.capture(purse.place(2_000_000, price_version=price))
    purse.release(purse.place(1_000_000, price_version=ToolCost.objects.get(tool="ai/image").id))
    assert "ai/video" not in coverage.look().never_charged
    assert "ai/image" in coverage.look().never_charged


def test_a_price_without_a_tool_is_an_error(catalogue: None) -> None:
    ToolCost.objects.create(
        tool="dev-studio/forgotten", valid_from=ledger_clock.now(), model="fixed", rates={"price": "1"}
    )
    assert ids() == ["holdfast.E020"]
    with pytest.raises(CommandError):
        told()


def test_what_was_taken_away_keeps_its_price_for_what_was_run(catalogue: None) -> None:
    cost = ToolCost.objects.create(
        tool="dev-studio/retired", valid_from=ledger_clock.now(), model="fixed", rates={"price": "1"}
    )
    purse = Purse()
    purse.grant(10_000_000)
    purse.capture(purse.place(1_000_000, price_version=cost.id))
    assert ids() == []


def test_a_tool_without_a_price_is_an_error(catalogue: None) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM tools_registry_toolcost WHERE tool = 'ai/script'")
    assert ids() == ["holdfast.E021"]
    assert coverage.look().tools_without_price == ["ai/script"]
    with pytest.raises(CommandError):
        told()
