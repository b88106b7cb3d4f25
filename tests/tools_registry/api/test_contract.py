"""The contract of the studio: what there is, and that every example runs over HTTP for what was said (S3.11)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing import clock, credits
from billing.models import Enrollment, Entry, Plan, SpendLimit
from billing.reconcile import reconcile
from tests.people import Caller, Person
from tests.tools_registry.api.conftest import multipart
from tools_registry import registry, runs
from tools_registry.models import ToolRun
from tools_registry.studio import Tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("prices")]

# slug: mode, risk, most credits, CPU seconds, seconds
THE_24 = {
    "dev-studio/projects": ("server", "low", 5, 5, 10),
    "dev-studio/api-designer": ("hybrid", "low", 5, 5, 10),
    "dev-studio/schema-designer": ("client", "low", 0, None, None),
    "dev-studio/cicd": ("hybrid", "low", 5, 5, 10),
    "dev-studio/deployment": ("server", "high", 100, 30, 60),
    "dev-studio/security": ("server", "high", 50, 20, 30),
    "dev-studio/performance": ("server", "medium", 25, 15, 20),
    "dev-studio/cost": ("client", "low", 0, None, None),
    "cyber-studio/threat-modeling": ("hybrid", "low", 5, 5, 10),
    "cyber-studio/risk-register": ("hybrid", "low", 5, 5, 10),
    "cyber-studio/compliance": ("server", "medium", 25, 10, 15),
    "cyber-studio/ir-playbook": ("hybrid", "low", 5, 5, 10),
    "cyber-studio/security-architecture": ("hybrid", "low", 5, 5, 10),
    "cyber-studio/vulnerability-scanner": ("server", "high", 50, 20, 30),
    "cyber-studio/metrics": ("hybrid", "low", 5, 5, 10),
    "cyber-studio/policy-generator": ("hybrid", "low", 5, 5, 10),
    "data-studio/pipelines": ("hybrid", "low", 5, 5, 10),
    "data-studio/quality": ("server", "medium", 25, 10, 15),
    "data-studio/catalog": ("hybrid", "low", 5, 5, 10),
    "data-studio/dashboards": ("hybrid", "low", 5, 5, 10),
    "data-studio/privacy": ("server", "medium", 25, 10, 15),
    "data-studio/lineage": ("server", "medium", 25, 15, 20),
    "data-studio/schema": ("client", "low", 0, None, None),
    "data-studio/governance": ("hybrid", "low", 5, 5, 10),
}
HERE = [tool for tool in registry.TOOLS.values() if tool.function is not None]


def test_the_table_has_24_of_which_21_run_here() -> None:
    assert len(THE_24) == 24
    assert sum(mode != "client" for mode, *_ in THE_24.values()) == 21


def test_the_tools_are_those_of_the_table() -> None:
    assert set(registry.TOOLS) == set(THE_24)


@pytest.mark.parametrize("slug", THE_24)
def test_a_tool_is_listed_as_the_table_has_it(nobody: Caller, slug: str) -> None:
    mode, risk, most, cpu_seconds, seconds = THE_24[slug]
    listed = {one["slug"]: one for one in nobody.get("/api/tools").json}
    assert list(listed) == list(registry.TOOLS)
    tool = listed[slug]
    assert (tool["mode"], tool["risk"]) == (mode, risk)
    assert tool["price"] == {"min": "3" if most else "0", "max": str(most)}
    limits = tool["limits"] or {"cpu_seconds": None, "seconds": None}
    assert (limits["cpu_seconds"], limits["seconds"]) == (cpu_seconds, seconds)
    assert tool["sign_in"] == (mode != "client")
    assert tool["availability"] == "available"
    assert nobody.get(f"/api/tools/{slug}").json == tool


def with_pro(person: Person) -> Person:
    """The person is on the Pro plan, with a month's credits of it."""
    plan = Plan.objects.get(slug="pro")
    terms = {"account_id": person.account, "plan": plan, "state": "active", "started_at": clock.now()}
    Enrollment.objects.create(user=person.user, **terms)
    SpendLimit.objects.create(account_id=person.account, source="plan", per_day=plan.per_day)
    person.grant(credits.format(plan.monthly_credits), source="plan")
    return person


# What must be in the result of each example, by its path: counted or reckoned by hand from the example's own inputs.
CHECKED: dict[str, dict[str, Any]] = {
    "dev-studio/projects": {"name": "harbour-notes", "package": "harbour_notes", "archive": "harbour-notes.zip"},
    "dev-studio/api-designer": {"openapi": "3.1.0", "counts.operations": 6, "counts.errors": 0, "is_compared": True},
    "dev-studio/cicd": {"is_valid": True, "breaches": [], "stages.0": ["lint", "test", "scan"], "stages.3": ["deploy"]},
    "dev-studio/deployment": {"target": "kubernetes", "is_valid": True, "archive": "harbour-office-kubernetes.zip"},
    "dev-studio/security": {"findings.2.file": "app/main.py", "findings.2.line": 15, "findings.2.cwe": "CWE-78"},
    "dev-studio/performance": {"requests": 9, "failed": 1, "all.p50_ms": 140.0, "all.p95_ms": 716.0, "all.max_ms": 960},
    "cyber-studio/threat-modeling": {"counts.elements": 7, "counts.flows": 6},
    "cyber-studio/risk-register": {"counts.risks": 6, "counts.above_appetite": 4, "counts.overdue": 1},
    "cyber-studio/compliance": {"summary.statements": 6, "summary.controls": 106},  # NIST CSF 2.0 has 106 subcategories
    # 72 hours after 18:10 on the 20th
    "cyber-studio/ir-playbook": {"deadlines.1.article": "Art. 33(1)", "deadlines.1.at": "2026-11-23T18:10"},
    "cyber-studio/security-architecture": {"counts.zones": 5, "counts.components": 8, "counts.connections": 7},
    "cyber-studio/vulnerability-scanner": {"summary.packages": 7, "verdict.passed": False, "not_covered": []},
    "cyber-studio/metrics": {"records.incidents": 5, "measures.4.value": 66.7},  # two of three in their time
    "cyber-studio/policy-generator": {"effective": "2026-12-01", "next_review": "2027-12-01"},
    # six orders, one of them twice, one of nothing and one in euros: three in two countries
    "data-studio/pipelines": {"steps.3.rows_out": 3, "outputs.0.rows": 2, "outputs.0.file": "revenue.csv"},
    "data-studio/quality": {"rows": 12, "columns": 7},
    "data-studio/catalog": {"tables.0.rows": 5, "tables.1.rows": 4, "tables.0.candidate_keys": [["order_id"]]},
    "data-studio/dashboards": {"rows": 9, "charts.0.title": "Revenue"},
    "data-studio/privacy": {"kind": "table", "assessment.is_assessment_needed": True},
    "data-studio/lineage": {
        "edges.0.target": {"table": "paid", "column": "customer_id"},
        "edges.0.sources.0": {"table": "orders", "column": "customer_id"},
    },
    "data-studio/governance": {"assets": 3, "frameworks.0.id": "DAMA-DMBOK2"},
}


def at(result: Any, path: str) -> Any:
    """What stands at the path; numbers are places in a list."""
    for part in path.split("."):
        result = result[int(part)] if part.isdigit() else result[part]
    return result


def run_example(caller: Caller, tool: Tool) -> Any:
    """The example was sent as it is published, with its files where it has any."""
    path = f"/api/{tool.slug}/run"
    if tool.example_files:
        return multipart(caller, path, dict(tool.example), tool.example_files)
    return caller.post(path, dict(tool.example))


@pytest.mark.parametrize("tool", HERE, ids=lambda tool: tool.slug)
def test_an_example_runs_for_what_was_said(tool: Tool) -> None:
    person = with_pro(Person("pro@people.test"))
    caller = person.calls()
    before = person.purse.balance
    published = caller.get(f"/api/tools/{tool.slug}")["example"]
    said = caller.post("/api/billing/estimate", {"operation": tool.slug, "inputs": published})
    assert said.status == 200, said

    answer = run_example(caller, tool)
    assert answer.status == 200, answer
    checked = CHECKED[tool.slug]
    assert {path: at(answer["result"], path) for path in checked} == checked
    charged = Decimal(answer["credits"]["charged"])
    assert Decimal(said["min"]) <= charged <= Decimal(said["max"]) <= tool.credits_max
    assert answer["estimate"]["max"] == answer["credits"]["held"] == said["max"]
    run = ToolRun.objects.get()
    assert run.view, "something to see"
    assert before - person.purse.balance == run.charged_amount == credits.parse(answer["credits"]["charged"])

    entry = caller.get(f"/api/credits/entries/{answer['credits']['entry']}").json
    titles = [step["title"] for step in entry["trail"]]
    assert {"Estimated", "Used"} <= set(titles)
    assert entry["kind"] == "capture"
    for file in answer["files"]:
        found = caller.client.get(file["url"], headers=caller.headers)
        assert (found.status_code, len(found.content)) == (200, file["bytes"])
    assert reconcile().is_clean


@pytest.mark.parametrize("tool", HERE, ids=lambda tool: tool.slug)
def test_the_published_example_runs_as_it_stands(tool: Tool) -> None:
    """As JSON, its files pasted: what the documentation shows is what a program sends."""
    caller = with_pro(Person("reader@people.test")).calls()
    answer = caller.post(f"/api/{tool.slug}/run", caller.get(f"/api/tools/{tool.slug}")["example"])
    assert answer.status == 200, answer
    assert answer["result"]


def test_nothing_of_a_browsers_tool_is_held_or_charged(owner: Person) -> None:
    for tool in registry.TOOLS.values():
        if tool.function is None:
            said = owner.calls().post("/api/calculate-cost", {"operation": tool.slug, "inputs": dict(tool.example)})
            assert (said["min"], said["typical"], said["max"], said["affordable"]) == ("0", "0", "0", True)
    assert runs.of_account(owner.account).count() == 0
    assert Entry.objects.filter(account=owner.account, kind="hold").count() == 0
