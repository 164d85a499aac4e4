"""Schemathesis over the OpenAPI document of a running service: hundreds of odd requests, no surprise."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis.specs.openapi import checks

from mapper.mapping.values import LARGEST

pytestmark = pytest.mark.system

ALWAYS = [
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.status_code_conformance,
    schemathesis.checks.not_a_server_error,
]


@pytest.fixture
def service(start_service, model_server, schema_path):
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path), "--signature", "rows")
    with start_service(*flags) as service:
        yield service
        assert "Traceback" not in service.log.read_text()


def is_rounded_down(body):
    """Whether it has a number above the limit that, once it is a float, is the limit."""
    if isinstance(body, dict | list):
        return any(map(is_rounded_down, body.values() if isinstance(body, dict) else body))
    return isinstance(body, int) and LARGEST < abs(body) < 1e39 and float(abs(body)) == LARGEST


def exercise(service, mode, check, n_examples):
    """Send what schemathesis thinks of for every operation."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.path for operation in operations} >= {"/v1/predict", "/v1/explain", "/readyz", "/"}
    for operation in operations:
        is_post = operation.method == "post"
        if not is_post and mode == schemathesis.GenerationMode.NEGATIVE:
            continue

        @settings(
            max_examples=n_examples if is_post else 2,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case):
            options = case.body.get("parameters") if isinstance(case.body, dict) else None
            options = options if isinstance(options, dict) else {}
            both = [options.get(name) for name in ("increase_only", "decrease_only")]
            both = [names if isinstance(names, list) else [] for names in both]
            assume(not any(name in both[1] for name in both[0]))  # refused, which JSON Schema cannot say
            assume(not is_rounded_down(case.body))
            case.call_and_validate(checks=[*ALWAYS, check])

        send()


def test_a_request_that_fits_the_document_is_accepted(service):
    exercise(service, schemathesis.GenerationMode.POSITIVE, checks.positive_data_acceptance, 60)


def test_a_request_that_does_not_fit_the_document_is_refused(service):
    exercise(service, schemathesis.GenerationMode.NEGATIVE, checks.negative_data_rejection, 60)
