"""The OpenAPI document of the lean server: valid, complete, and true of what the server answers."""

import asyncio
import json

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from proto_model.serving.http.app import App
from proto_model.serving.http.hosting import Hosted, Hosting, Source
from proto_model.serving.http.metrics import Metrics
from proto_model.serving.http.settings import ServerSettings

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def app(served):
    hosted = Hosted(Hosting([Source(served, "a"), Source(served, "b")], ServerSettings()))
    yield App(hosted, Metrics())
    hosted.models.close()


@pytest.fixture(scope="module")
def document(app, ask):
    return asyncio.run(ask(app, "GET", "/openapi.json")).json


def checked(document, schema, content):
    jsonschema.validate(content, {**schema, "components": document["components"]})


def test_it_is_valid(document):
    schemathesis.openapi.from_dict(document).validate()


def test_all_pages_are_in_it_and_answer_as_it_says(app, ask, document):
    assert set(app._pages) - {"/health"} <= set(document["paths"])
    for path, methods in document["paths"].items():
        if "get" in methods:
            reply = asyncio.run(ask(app, "GET", path))
            assert reply.status == 200, path
            (kind,) = methods["get"]["responses"]["200"]["content"]
            assert reply.headers["content-type"].startswith(kind)


@pytest.mark.parametrize("path", ["/invocations", "/models/b/invocations", "/v2/models/a/infer"])
def test_answers_and_refusals_are_as_it_says(app, ask, document, path):
    described = document["paths"][path]["post"]
    operation = schemathesis.openapi.from_dict(document)[path]["post"]
    statuses = set()

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def send(case):
        if case.media_type != "application/json":
            return
        reply = asyncio.run(ask(app, "POST", path, json.dumps(case.body).encode(), JSON))
        statuses.add(reply.status)
        assert reply.status != 500
        answer = described["responses"][str(reply.status)]
        checked(document, answer["content"]["application/json"]["schema"], reply.json)

    send()
    assert statuses


def test_a_right_answer_is_as_it_says(app, ask, document):
    body = (
        b'{"dataframe_records": [{"age": 40, "income": 2e4, "job": "nurse", "owner": true, "children": 1}]}'
    )
    reply = asyncio.run(ask(app, "POST", "/models/a/invocations", body, JSON))

    assert reply.status == 200
    answer = document["paths"]["/models/a/invocations"]["post"]["responses"]["200"]
    checked(document, answer["content"]["application/json"]["schema"], reply.json)
