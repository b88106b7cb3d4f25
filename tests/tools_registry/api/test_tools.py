"""The list of tools as programs read it, and what a run of one would cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from billing import clock, credits
from tests.people import Caller, Person
from tests.tools_registry.test_runs import PROBE
from tools_registry import registry, studio
from tools_registry.models import ToolRun, ToolSwitch, Usual

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("probe")]
ESTIMATE = "/api/billing/estimate"


def test_a_tool_says_all_that_running_it_needs(nobody: Caller) -> None:
    tool = nobody.get(f"/api/tools/{PROBE.slug}").json
    assert tool["limits"] == {"cpu_seconds": 1, "seconds": 8, "memory_mb": 512, "output_bytes": 1048576}
    assert tool["price"] == {"min": "3", "max": "5"}
    assert tool["input_schema"] == PROBE.schema()
    assert tool["example"] == {"how": "well"}
    assert (tool["page_url"], tool["run_url"]) == (f"/studio/{PROBE.slug}", f"/api/{PROBE.slug}/run")


@pytest.mark.parametrize("path", ["/api/tools/dev-studio/nothing", "/api/tools/nothing/probe", "/api/tools/x"])
def test_what_is_no_tool_is_not_there(nobody: Caller, path: str) -> None:
    assert (nobody.get(path).status, nobody.get(path).code) == (404, "not_found")


@pytest.mark.parametrize(
    ("switch", "availability", "plan"),
    [
        ({}, "available", None),
        ({"is_enabled": False}, "disabled", None),
        ({"is_beta": True}, "beta", None),
        ({"plan_least": "pro"}, "available", "pro"),
        ({"is_enabled": False, "is_beta": True}, "disabled", None),
    ],
)
def test_what_staff_decided_is_told(nobody: Caller, switch: Any, availability: str, plan: str | None) -> None:
    ToolSwitch.objects.create(tool=PROBE.slug, changed_at=clock.now(), **switch)
    tool = nobody.get(f"/api/tools/{PROBE.slug}").json
    assert (tool["availability"], tool["plan_least"]) == (availability, plan)


def test_a_tool_without_a_price_cannot_be_run(nobody: Caller, owner: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.TOOLS, "dev-studio/unpriced", replace(PROBE, slug="dev-studio/unpriced"))
    tool = nobody.get("/api/tools/dev-studio/unpriced").json
    assert (tool["price"], tool["availability"]) == (None, "disabled")


@pytest.mark.parametrize("path", [ESTIMATE, "/api/calculate-cost"])
def test_an_estimate_of_a_tool_needs_no_account(nobody: Caller, path: str) -> None:
    assert nobody.post(path, {"operation": PROBE.slug, "inputs": {}}).json == {
        "operation": PROBE.slug,
        "provider": None,
        "min": "3",
        "typical": "3",
        "max": "3.573742",
        "total_credits": "3.573742",
        "explanation": "2.00 for the run, 0.50 a second of processor time, 0.25 a second for each GB of memory; "
        "at least 3.00, at most 5.00",
        "usual": None,
        "available": None,
        "affordable": None,
        "free": None,
    }


def test_what_runs_really_cost_shapes_what_is_typical_and_moves_no_bound(owner: Person) -> None:
    bucket = studio.size_bucket(*PROBE.clean_with_files({}, {}))
    micro = credits.MICRO
    row = Usual.objects.create(
        tool=PROBE.slug,
        bucket=bucket,
        runs=19,
        p10=3 * micro,
        p50=3_200_000,
        p95=3_500_000,
        counted_at=clock.now(),
    )
    asked = {"operation": PROBE.slug, "inputs": {}}
    caller = owner.calls()
    before = caller.post(ESTIMATE, asked).json
    assert (before["usual"], before["typical"]) == (None, "3")
    Usual.objects.filter(id=row.id).update(runs=20)
    answer = caller.post(ESTIMATE, asked).json
    assert answer["usual"] == {"runs": 20, "p10": "3", "p50": "3.2", "p95": "3.5"}
    assert (answer["typical"], answer["min"], answer["max"]) == ("3.2", before["min"], before["max"])
    assert (answer["available"], answer["affordable"]) == ("100", True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"operation": PROBE.slug, "inputs": {"how": "badly"}}, "inputs.how"),
        ({"operation": PROBE.slug, "inputs": {"other": 1}}, "inputs.other"),
        ({"operation": PROBE.slug, "inputs": []}, "inputs"),
        ({"operation": "dev-studio/nothing", "inputs": {}}, "operation"),
    ],
)
def test_a_wrong_field_is_named(owner: Person, body: Any, field: str) -> None:
    answer = owner.calls().post(ESTIMATE, body)
    assert (answer.status, answer.code, list(answer["fields"])) == (422, "invalid_fields", [field])
    assert not ToolRun.objects.exists()
