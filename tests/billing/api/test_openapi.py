"""The OpenAPI document is true: generated requests, right and wrong, are answered as it says."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from hypothesis import HealthCheck, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok

from tests.people import Person

OURS = r"^/api/(credits|holds|tokens|audit|members)"
CONFIG = {
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "402", "403", "404", "409", "422", "429"]},
        "negative_data_rejection": {
            "expected-statuses": ["400", "402", "403", "404", "405", "409", "413", "415", "422", "429"]
        },
    },
}


def document() -> dict[str, Any]:
    """The document as it is served."""
    return dict(json.loads(OpenApiJsonRenderer().render(SchemaGenerator().get_schema(request=None, public=True))))


DOCUMENT = document()
api = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig.from_dict(CONFIG)).include(path_regex=OURS)
api.app = get_wsgi_application()
OPERATIONS = [found.ok() for found in api.get_all_operations() if isinstance(found, Ok)]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_requests_are_answered_as_described(
    owner: Person, patient: None, operation: Any, mode: schemathesis.GenerationMode
) -> None:
    headers = {"Authorization": f"Bearer {owner.token()}"}

    @settings(max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        case.call_and_validate(headers=headers)

    answered()


@pytest.fixture
def patient(settings: Any) -> Iterator[None]:
    """Requests are not counted away, and each leaves the test's own connection and transaction open."""
    settings.API_READS_PER_MINUTE = settings.API_WRITES_PER_MINUTE = settings.API_ANONYMOUS_PER_MINUTE = 10**6
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_the_document_is_made_without_a_warning(tmp_path: Any) -> None:
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "openapi.yml"))


def test_every_operation_names_its_errors() -> None:
    for path, methods in DOCUMENT["paths"].items():
        if not path.startswith(("/api/credits", "/api/holds", "/api/tokens", "/api/audit", "/api/members")):
            continue
        for method, said in methods.items():
            expected = {"401", "406", "429", "500", "503"}
            if method in ("post", "put"):
                expected |= {"400", "403", "413", "415", "422"}
            if "{id}" in path:
                expected |= {"404"}
            assert expected <= set(said["responses"]), (method, path)
            for status, response in said["responses"].items():
                if status >= "400":
                    (schema,) = {media["schema"]["$ref"] for media in response["content"].values()}
                    assert schema == "#/components/schemas/Error"
                    assert list(response["content"]) == ["application/json"]
                    assert all("examples" in media for media in response["content"].values())


def test_the_document_is_served(nobody: Any) -> None:
    answer = nobody.client.get("/api/schema", headers={"Accept": "application/json"})
    assert answer.status_code == 200
    assert answer.json()["openapi"].startswith("3.1")
