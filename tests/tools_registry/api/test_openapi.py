"""The OpenAPI document is true for the studio as well."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok

from tests.billing.api.test_openapi import CONFIG, DOCUMENT, get_wsgi_application, patient
from tests.people import Person
from tools_registry import registry, shelf

__all__ = ["patient"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("prices")]
OURS = r"^/api/(tools|tool-runs)"
api = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig.from_dict(CONFIG)).include(path_regex=OURS)
api.app = get_wsgi_application()
OPERATIONS = [found.ok() for found in api.get_all_operations() if isinstance(found, Ok)]


def test_all_of_them_are_asked() -> None:
    assert len(OPERATIONS) == 5


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_requests_are_answered_as_described(
    owner: Person, patient: None, operation: Any, mode: schemathesis.GenerationMode
) -> None:
    if mode is schemathesis.GenerationMode.NEGATIVE and "/api/tools" in operation.path:
        return  # it reads nothing that could be wrong
    headers = {"Authorization": f"Bearer {owner.token()}"}

    @settings(max_examples=10, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        case.call_and_validate(headers=headers)

    answered()


RUN = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig.from_dict(CONFIG)).include(
    path_regex=r"^/api/(data-studio/quality|dev-studio/cost)/run$"
)
RUN.app = get_wsgi_application()
RUNS = [found.ok() for found in RUN.get_all_operations() if isinstance(found, Ok)]


@pytest.mark.parametrize("operation", RUNS, ids=lambda operation: operation.label)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_runs_are_answered_as_described(
    owner: Person, patient: None, operation: Any, mode: schemathesis.GenerationMode
) -> None:
    if mode is schemathesis.GenerationMode.NEGATIVE and "cost" in operation.path:
        return  # it reads nothing that could be wrong
    owner.grant("10000")
    headers = {"Authorization": f"Bearer {owner.token()}"}

    @settings(max_examples=8, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        case.call_and_validate(headers=headers)

    answered()


@pytest.mark.parametrize("tool", registry.TOOLS.values(), ids=lambda tool: tool.slug)
def test_every_run_is_described_with_its_own_inputs_and_refusals(tool: Any) -> None:
    described = DOCUMENT["paths"][f"/api/{tool.slug}/run"]["post"]
    codes = {
        code
        for answer in described["responses"].values()
        for one in answer.get("content", {}).values()
        for example in one.get("examples", {}).values()
        if (code := example["value"].get("code"))
    }
    if tool.function is None:
        assert "runs_in_browser" in codes
        assert "requestBody" not in described
        return
    content = described["requestBody"]["content"]
    assert content["application/json"]["schema"]["properties"] == tool.schema()["properties"]
    assert ("multipart/form-data" in content) == bool(tool.documents)
    (example,) = content["application/json"]["examples"].values()
    assert example["value"] == shelf.example_of(tool)
    assert codes >= {
        "sign_in_required",
        "email_unverified",
        "tool_disabled",
        "tool_in_beta",
        "plan_too_low",
        "invalid_fields",
        "tool_stopped",
        "tool_failed",
        "tool_already_running",
        "too_many_stops",
        "account_frozen",
        "spend_limit_reached",
        "insufficient_credits",
        "idempotency_conflict",
        "request_in_progress",
        "body_too_large",
        "malformed",
    }
