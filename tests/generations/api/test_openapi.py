"""The OpenAPI document is true for jobs as well: generated requests, right and wrong, are answered as it says."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok

from tests.billing.api.test_openapi import CONFIG, DOCUMENT, get_wsgi_application, patient
from tests.people import Person
from tools_registry import registry

__all__ = ["patient"]

OURS = r"^/api/(billing/estimate|calculate-cost|generate$|generations|status)"
api = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig.from_dict(CONFIG)).include(path_regex=OURS)
api.app = get_wsgi_application()
OPERATIONS = [found.ok() for found in api.get_all_operations() if isinstance(found, Ok)]


def test_all_of_them_are_asked() -> None:
    assert len(OPERATIONS) == 7


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_requests_are_answered_as_described(
    owner: Person, patient: None, operation: Any, mode: schemathesis.GenerationMode
) -> None:
    headers = {"Authorization": f"Bearer {owner.token()}"}

    @settings(max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        case.headers.pop("Prefer", None)  # who asks to wait would wait
        case.call_and_validate(headers=headers)

    answered()


def test_every_operation_names_its_errors() -> None:
    for operation in OPERATIONS:
        said = DOCUMENT["paths"][operation.path][operation.method]["responses"]
        expected = {"406", "429", "500", "503", "401"}
        if operation.method == "post":
            expected |= {"400", "403", "413", "415", "422"}
        if operation.path == "/api/generate":
            expected |= {"202", "402", "409"}
        if "{id}" in operation.path:
            expected |= {"404"}
        if operation.path.endswith("/cancel"):
            expected |= {"409"}
        assert expected <= set(said), operation.label


WANTED = DOCUMENT["components"]["schemas"]["WantedRequest"]["oneOf"]


def test_each_operation_s_inputs_are_described_as_they_are_read() -> None:
    described = {one["properties"]["operation"]["const"]: one for one in WANTED}
    assert list(described) == list(registry.OPERATIONS)
    for slug, one in described.items():
        inputs = one["properties"]["inputs"]
        assert (one["additionalProperties"], inputs["additionalProperties"]) == (False, False)
        assert (one["required"], inputs["required"]) == (["inputs", "operation"], ["prompt"])
        assert list(inputs["properties"]) == [of.name for of in registry.OPERATIONS[slug].fields]
    seconds = described["ai/video"]["properties"]["inputs"]["properties"]["seconds"]
    assert seconds == {"type": "integer", "minimum": 1, "maximum": 20, "default": 4, "title": "Length"}
    posts = described["ai/threads"]["properties"]["inputs"]["properties"]["posts"]
    assert (posts["minimum"], posts["maximum"], posts["default"]) == (3, 20, 6)


@pytest.mark.parametrize("path", ["/api/generate", "/api/billing/estimate", "/api/calculate-cost"])
def test_every_operation_has_an_example_that_is_accepted(owner: Person, path: str) -> None:
    examples = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
    sent = [example["value"] for example in examples.values()]
    tools = [] if path == "/api/generate" else list(registry.TOOLS)
    assert [one["operation"] for one in sent] == [*registry.OPERATIONS, *tools]
    for one in sent:
        if one["operation"] in registry.OPERATIONS:
            assert registry.operation(one["operation"]).clean(one["inputs"]) == one["inputs"]
        assert owner.calls().post(path, one).status == (202 if path == "/api/generate" else 200)


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/api/generate", "post", "202"), ("/api/status/{id}", "get", "200")]
)
def test_the_jobs_of_the_examples_cost_what_they_say(owner: Person, path: str, method: str, status: str) -> None:
    said = DOCUMENT["paths"][path][method]["responses"][status]["content"]["application/json"]["examples"]
    for example in (one["value"] for one in said.values()):
        asked = {"operation": example["operation"], "inputs": example["inputs"]}
        found = owner.calls().post("/api/billing/estimate", asked).json
        assert example["estimate"] == {name: found[name] for name in example["estimate"]}
