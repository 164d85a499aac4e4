"""Which version runs where, on a real registry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mlflow import MlflowClient

from proto_model.errors import RegistryError
from proto_model.registry.deployed import Chosen, record_deployed, resolved
from proto_model.registry.events import events_of, is_event
from tests.stores import fresh_store


@pytest.fixture
def client(tmp_path: Path) -> MlflowClient:
    client = MlflowClient(fresh_store(tmp_path))
    client.create_registered_model("people")
    for _ in range(3):
        client.create_model_version("people", str(tmp_path))
    client.set_registered_model_alias("people", "champion", "2")
    return client


def test_an_alias_and_a_number_name_a_version(client):
    assert resolved("models:/people@champion", client=client) == Chosen("people", "2")
    assert resolved("models:/people/3", client=client).uri == "models:/people/3"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("models:/people@nobody", "'people' has no alias 'nobody'. It has 'champion'."),
        ("models:/people/9", "There is no version 9 of 'people', which has versions up to 3."),
        ("models:/nobody@champion", "There is no registered model 'nobody'."),
        ("runs:/1/model", "runs:/1/model names no registered version"),
        ("people", "people names no registered version"),
    ],
)
def test_what_names_no_version_is_told(client, uri, words):
    with pytest.raises(RegistryError, match=re.escape(words)):
        resolved(uri, client=client)


def test_one_version_runs_in_an_environment(client):
    assert record_deployed(Chosen("people", "2"), "staging", "people@sha256:2", client=client) == []
    assert record_deployed(Chosen("people", "2"), "production", "people@sha256:2", client=client) == []
    assert record_deployed(Chosen("people", "3"), "staging", "people@sha256:3", client=client) == ["2"]
    assert record_deployed(Chosen("people", "3"), "staging", "people@sha256:3", client=client) == []

    versions = client.search_model_versions("name = 'people'")
    events = {str(one.version): [event.what for event in events_of(one.tags)] for one in versions}
    assert events["2"] == ["to staging: people@sha256:2", "to production: people@sha256:2"]
    tags = {
        str(one.version): {key: value for key, value in one.tags.items() if not is_event(key)}
        for one in versions
    }
    assert tags["1"] == {}
    assert tags["2"] == {"deployed_production": "people@sha256:2"}
    assert tags["3"] == {"deployed_staging": "people@sha256:3"}


def test_the_version_before_is_found_whatever_the_model_is_called(client):
    name = "o'brien's people"
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, "file:///nowhere")
    assert record_deployed(Chosen(name, "1"), "staging", "people@sha256:1", client=client) == []
    assert record_deployed(Chosen(name, "2"), "staging", "people@sha256:2", client=client) == ["1"]
