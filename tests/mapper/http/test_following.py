"""A mapper that follows an alias: what registry and model server say, and what it makes of that."""

import asyncio
import gc
import json
import time
import weakref
from types import SimpleNamespace

import pytest

from mapper import ModelSchema
from mapper.application.service import Permission, application_of
from mapper.errors import RegistryError, SettingsError
from mapper.http.following import Following
from mapper.http.models import Models
from mapper.http.settings import MapperSettings
from mapper.registry import PublishedModel

WAIT_S = 20


class Registry:
    """The version behind the alias, and the schema of it."""

    def __init__(self, schema):
        self.number = "1"
        self.schemas = {"1": schema, "2": schema}
        self.asked = 0

    def version(self):
        self.asked += 1
        if isinstance(self.number, Exception):
            raise self.number
        return self.number

    def fetch(self, number):
        return PublishedModel(self.schemas[number], number)


def opened(published):
    return published, application_of(published.schema, {}, Permission(), published.version)


@pytest.fixture
def registry(schema):
    return Registry(schema)


@pytest.fixture
def models(registry, model_server):
    settings = MapperSettings(model_server_url=model_server.url)
    return Models(settings, {"penguins": opened(registry.fetch("1"))})


@pytest.fixture
def following(models, registry):
    return Following(models, {"penguins": registry}, opened, 10)


def ask(models, path, body=None, client=""):
    """Status and content of an answer of the mapper."""
    messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    connection = SimpleNamespace(transport=SimpleNamespace(is_closing=lambda: False))
    headers = [(b"content-type", b"application/json")]
    scope = {"method": "POST" if body else "GET", "path": path, "headers": headers, "connection": connection}
    scope["client_name"] = client

    async def run():
        await models(scope, receive, send)
        models.close()
        await asyncio.sleep(0)  # in which connections end

    asyncio.run(run())
    return sent[0]["status"], json.loads(sent[1]["body"])


def other(schema):
    content = schema.content | {"classes": ["Adelie", "Chinstrap"]}
    return ModelSchema.from_dict(content)


def check(following):
    following._followed["penguins"].check()


def test_a_version_of_the_same_schema_is_taken_over(models, following, registry):
    registry.number = "2"
    check(following)

    assert models.now("penguins").version == "2"
    assert 'mapper_swaps_total{model="penguins"} 1.0' in models.backends["penguins"].metrics.text().decode()
    assert ask(models, "/readyz")[1]["model"]["version"] == "2"


def test_nothing_is_left_of_a_version_after_a_swap(models, following, registry):
    service = weakref.ref(models.now("penguins"))
    gc.collect()
    gc.disable()  # it comes after so many objects that a hundred versions would be kept until then
    try:
        with following:
            registry.number = "2"
            following.ask()
            end = time.monotonic() + WAIT_S
            while service() is not None:
                assert time.monotonic() < end
                time.sleep(0.01)
    finally:
        gc.enable()

    assert models.now("penguins").version == "2"


def test_an_answer_names_the_version_that_the_model_server_names(models, model_server, record):
    model_server.answer_headers = {"X-Model-Version": "2"}

    status, answer = ask(models, "/v1/predict", {"data": record})

    assert (status, answer["model"]["version"]) == (200, "2")


def test_another_version_in_an_answer_has_the_registry_asked(models, following, model_server, record):
    followed = following._followed["penguins"]
    model_server.answer_headers = {"X-Model-Version": "1"}
    ask(models, "/v1/predict", {"data": record})
    assert not followed.is_asked

    model_server.answer_headers = {"X-Model-Version": "2"}
    ask(models, "/v1/predict", {"data": record})
    assert followed.is_asked


@pytest.mark.parametrize("served", [None, "1", "2"])
def test_another_schema_waits_for_the_model_server(models, following, registry, schema, model_server, served):
    registry.number, registry.schemas["2"] = "2", other(schema)
    model_server.answer_headers = {"X-Model-Version": served} if served else {}
    check(following)

    classes = ask(models, "/v1/schema")[1]["classes"]
    _, openapi = ask(models, "/openapi.json")
    if served == "2":
        assert classes == ["Adelie", "Chinstrap"]
        assert "Chinstrap" in json.dumps(openapi)
    else:
        assert classes == ["Adelie", "Gentoo"]
        assert ask(models, "/readyz")[1]["following"]["problem"] == "schema"


def test_a_registry_that_is_away_is_told_once_and_asked_less_often(models, following, registry, caplog):
    registry.number = RegistryError("away")
    for _ in range(5):
        check(following)

    assert [record.message for record in caplog.records] == [
        "model: name=penguins stays at its version: away"
    ]
    assert ask(models, "/readyz")[1]["following"] == {"problem": "RegistryError", "detail": "away"}

    page = models.backends["penguins"].metrics.text().decode()
    assert 'mapper_follow_problem{model="penguins"} 1.0' in page

    registry.number = "1"
    check(following)
    assert "following" not in ask(models, "/readyz")[1]


def test_several_models_answer_under_their_names(registry, model_server, record):
    settings = MapperSettings(model_server_url=model_server.url)
    models = Models(
        settings, {name: opened(registry.fetch(number)) for name, number in (("a", "1"), ("b", "2"))}
    )

    for path, version in (("/models/a/readyz", "1"), ("/models/b/readyz", "2"), ("/readyz", "1")):
        assert ask(models, path)[1]["model"]["version"] == version
    assert ask(models, "/models/b/v1/predict", {"data": record})[0] == 200
    status, problem = ask(models, "/models/c/v1/predict", {"data": record})
    assert (status, problem["detail"]) == (404, "There is no model 'c' here. Send to /models/a or /models/b.")


def test_the_list_of_models_tells_which_take_the_same_records(registry, model_server, schema):
    registry.schemas["2"] = type(schema).from_dict(
        {**schema.content, "features": schema.content["features"][1:]}
    )
    settings = MapperSettings(model_server_url=model_server.url)
    numbers = (("champion", "1"), ("challenger", "1"), ("other", "2"))
    models = Models(settings, {name: opened(registry.fetch(number)) for name, number in numbers})

    status, listed = ask(models, "/models/challenger/v1/models")
    assert (status, listed["model"]) == (200, "challenger")
    assert [one["path"] for one in listed["models"]] == [f"/models/{name}" for name, _ in numbers]
    assert [one["version"] for one in listed["models"]] == ["1", "1", "2"]
    first, second, other = (one["record_digest"] for one in listed["models"])
    assert first == second != other
    assert ask(models, "/v1/models")[1]["model"] == "champion"


@pytest.mark.parametrize(("client", "names"), [("", ["a"]), ("anna", ["a", "b"])])
def test_without_a_token_the_list_names_no_other_model(registry, model_server, client, names):
    settings = MapperSettings(model_server_url=model_server.url, token_file="tokens")
    models = Models(settings, {name: opened(registry.fetch("1")) for name in ("a", "b")})

    _, listed = ask(models, "/v1/models", client=client)
    assert [one["name"] for one in listed["models"]] == names


@pytest.mark.parametrize(
    ("schema", "sources"),
    [
        ("models:/a@champion", {"": "models:/a@champion"}),
        ("build/a,b.json", {"": "build/a,b.json"}),
        ("a=models:/a@champion", {"a": "models:/a@champion"}),
        ("a=models:/a@champion,b-2=build/x=y.json", {"a": "models:/a@champion", "b-2": "build/x=y.json"}),
    ],
)
def test_models_have_names(schema, sources):
    assert MapperSettings(schema=schema).sources() == sources


def test_a_name_is_given_once():
    with pytest.raises(SettingsError, match="twice"):
        MapperSettings(schema="a=x,a=y").sources()
