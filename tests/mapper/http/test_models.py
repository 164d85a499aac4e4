"""Several models of one service, each below its name."""

import asyncio
import json
from urllib.parse import urljoin

import pytest

from mapper.application.model import tabular_model
from mapper.application.service import Application
from mapper.http.models import Models
from mapper.http.settings import MapperSettings
from mapper.registry import PublishedModel


@pytest.fixture
def get(schema):
    """Function that gives the JSON at a path of a service with two models."""
    opened = PublishedModel(schema, "7"), Application(tabular_model(schema, {}, "7", 100))

    def get(path):
        sent = []

        async def send(message):
            sent.append(message)

        async def ask():
            models = Models(MapperSettings(), {"penguins": opened, "birds-2": opened})
            scope = {"type": "http", "method": "GET", "path": path, "headers": []}
            await models(scope, None, send)
            models.close()

        asyncio.run(ask())
        return json.loads(sent[1]["body"])

    return get


@pytest.mark.parametrize(
    ("path", "at"),
    [("/models/penguins", "/models/penguins"), ("/models/birds-2", "/models/birds-2")],
)
@pytest.mark.parametrize("folder", ["", "/behind/a/proxy"])
def test_the_document_of_a_model_names_its_address(get, path, at, folder):
    [server] = get(f"{path}/openapi.json")["servers"]

    assert urljoin(f"http://host{folder}{at}/openapi.json", server["url"]) == f"http://host{folder}{at}"


def test_the_document_at_the_root_needs_no_address(get):
    assert "servers" not in get("/openapi.json")
