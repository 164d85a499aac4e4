"""Explanations from a server of their own, by an explainer that is set, or by a model that only explains."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from mapper import TangoModel
from mapper.application.service import Permission, application_of
from mapper.cli.main import main
from mapper.errors import InvalidRequestError
from mapper.http.service import MapperService
from mapper.http.settings import MapperSettings
from mapper.mapping.answer import ModelAnswer
from mapper.mapping.model import TabularModel
from mapper.registry import PublishedModel
from tests.mapper.conftest import EXPLANATION, _fake_model_server

EXPLAINED = {"prediction": "Gentoo", "probability": 0.75, "explanation": EXPLANATION}


@pytest.fixture(scope="module")
def _explainer_server():
    with _fake_model_server() as server:
        yield server


@pytest.fixture
def explainer_server(_explainer_server):
    """A second model server; it answers as `models:/proto_model_explainer` does."""
    _explainer_server.reset()
    _explainer_server.answer = {"predictions": [EXPLAINED]}
    return _explainer_server


class Because(TangoModel):
    """An explainer of an application's own, which speaks to its own server in its own way."""

    def __init__(self, as_bytes=False):
        self._as_bytes = as_bytes

    def map_request(self, tango_request, session=None):
        payload = {"instances": [tango_request["data"]], "why": True}
        return json.dumps(payload).encode() if self._as_bytes else payload

    def map_response(self, response):
        return {"because": response["predictions"][0]["prediction"]}


def ask(service, path, body=None):
    """Status and JSON of the service's answer, in this process."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    connection = SimpleNamespace(transport=SimpleNamespace(is_closing=lambda: False))
    scope = {"method": "POST" if body else "GET", "path": path, "headers": headers, "connection": connection}

    async def run():
        await service(scope, receive, send)
        service.close()
        await asyncio.sleep(0)  # in which connections end

    asyncio.run(run())
    return sent[0]["status"], json.loads(sent[1]["body"])


def made(schema, server, **settings):
    application = application_of(schema, {}, Permission(), "7")
    return MapperService(
        MapperSettings(model_server_url=server.url, **settings), PublishedModel(schema, "7"), application
    )


def test_an_explainer_that_is_set_explains_and_predictions_stay(schema, model_server, record):
    service = made(schema, model_server)
    assert "explanation" in ask(service, "/v1/explain", {"data": record})[1]["predictions"][0]

    for as_bytes in (False, True):
        service.model.set_explainer(Because(as_bytes))
        model_server.answer = {"predictions": [{"prediction": "it is heavy"}]}

        assert ask(service, "/v1/explain", {"data": record}) == (200, {"because": "it is heavy"})
        assert model_server.requests[-1] == {"instances": [record], "why": True}
        model_server.answer = None

    status, answer = ask(service, "/v1/predict", {"data": record})
    assert (status, answer["predictions"][0]["prediction"]) == (200, "Gentoo")


def test_options_reach_an_explainer_that_takes_them(model):
    other = TabularModel(model.schema, "8")
    mine = TabularModel(model.schema, "7")
    mine.set_explainer(other.get_explainer(max_counterfactuals=1))
    request = mine.get_explainer(effort="thorough").map_request({"data": model.schema.typical_record})
    assert request["params"] == {"effort": "thorough", "explain": True}
    answer = {"predictions": [EXPLAINED]}
    assert mine.get_explainer(seed=1).map_response(answer)["model"]["version"] == "8"

    mine.set_explainer(Because())
    assert isinstance(mine.get_explainer(), Because)
    with pytest.raises(InvalidRequestError, match="Because, which explains this model, takes no options"):
        mine.get_explainer(effort="thorough")
    mine.set_explainer(other)  # explainable itself: a chain
    assert mine.get_explainer(effort="fast").model is other


def test_explanations_come_from_their_own_server(schema, model_server, explainer_server, record):
    service = made(schema, model_server, explainer_url=explainer_server.url)

    status, explained = ask(service, "/v1/explain", {"data": record, "parameters": {"effort": "fast"}})
    assert status == 200
    assert explained["predictions"] == [EXPLAINED]  # an explainer gives no probability of each class
    assert explainer_server.requests[-1]["params"] == {"effort": "fast", "explain": True}
    assert model_server.requests == []

    predicted = ask(service, "/v1/predict", {"data": record})[1]
    assert predicted["predictions"][0]["probabilities"] == {"Adelie": 0.25, "Gentoo": 0.75}
    file = {"input_url": "https://s/in", "output_url": "https://s/out"}
    assert ask(service, "/v1/explain", {"file": file})[1]["file"]["status"] == "done"
    assert len(explainer_server.requests) == 1  # files go to the model for files


def test_a_server_of_explanations_that_is_away_does_not_stop_predictions(schema, model_server, record):
    service = made(schema, model_server, explainer_url="http://127.0.0.1:9")

    status, ready = ask(service, "/readyz")
    assert (status, ready["status"]) == (200, "ready")
    assert ready["explainer"] != "ready"
    assert "127.0.0.1:9" in ready["explainer"]
    assert ask(service, "/v1/predict", {"data": record})[0] == 200
    assert ask(service, "/v1/explain", {"data": record})[0] == 503


def test_readiness_says_that_both_are_there(schema, model_server, explainer_server):
    service = made(schema, model_server, explainer_url=explainer_server.url)

    assert ask(service, "/readyz") == (
        200,
        {"status": "ready", "model": {"name": "penguins", "version": "7"}, "explainer": "ready"},
    )
    assert "explainer" not in ask(made(schema, model_server), "/readyz")[1]


def test_in_front_of_an_explainer_the_mapper_is_ready_and_answers(schema, explainer_server, record, capsys):
    service = made(schema, explainer_server)

    assert ask(service, "/readyz")[0] == 200
    explained = ask(service, "/v1/explain", {"data": record})[1]
    assert explained["predictions"] == [EXPLAINED]
    predicted = ask(service, "/v1/predict", {"data": record})[1]
    assert predicted["predictions"] == [{"prediction": "Gentoo", "probability": 0.75}]


def test_the_table_of_predictions_goes_without_the_classes(explainer_server, schema_path, capsys):
    where = ["--model-server-url", explainer_server.url, "--schema", str(schema_path)]

    assert main(["predict", *where, "mass=4.2", "ringed=true"]) == 0

    assert capsys.readouterr().out.splitlines()[0].split() == ["row", "species", "probability"]


@pytest.mark.parametrize(
    "row",
    [
        {"prediction": "Gentoo", "probability": 0.75},  # neither a model nor an explainer
        {**EXPLAINED, "probability_Gentoo": 0.75},  # some classes only
        {**EXPLAINED, "probability_Emu": 0.75},  # a class of another model
        {"prediction": "Gentoo", "explanation": EXPLANATION},
        {**EXPLAINED, "prediction": "Emu"},
    ],
)
def test_what_only_looks_like_an_explainer_is_not_one(schema, explainer_server, record, row):
    explainer_server.answer = {"predictions": [row]}
    service = made(schema, explainer_server)

    assert ask(service, "/v1/explain", {"data": record})[0] == 502
    assert ask(service, "/readyz")[0] == 503


def test_a_request_without_a_schema_still_counts_its_rows(model):
    from mapper.mapping.request import ModelRequest

    forms = [
        {"inputs": {"a": [1, 2]}},
        {"inputs": [[1], [2]]},
        {"instances": [1, 2]},
        {"dataframe_records": [{}, {}]},
        {"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}},
    ]
    for form in forms:
        request = ModelRequest.of(form, explain=True)
        assert (request.n_rows, request.is_file, request.explain) == (2, False, True)
    assert ModelRequest.of({"inputs": {"input_url": ["x"]}}, explain=False).is_file
    assert ModelRequest.of({"strange": 1}, explain=False).n_rows == 0
    with pytest.raises(TypeError, match="map_request gave a int"):
        ModelRequest.of(3, explain=False)
    assert ModelAnswer({}, request).request is request


def test_the_explainers_url_is_a_setting_like_the_others(
    start_service, model_server, explainer_server, schema_path
):
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path))
    url = explainer_server.url.replace("//", "//me:geheim@")
    with start_service(*flags, MAPPER_EXPLAINER_URL=url) as service:
        record = {"mass": 4.2, "ringed": True}
        assert service.call("/v1/explain", {"data": record})[1]["predictions"] == [EXPLAINED]
        log = service.log.read_text()
    assert f"explainer_url={explainer_server.url}" in log
    assert "geheim" not in log
    assert main(["serve", "--explainer-url", "models"]) == 2
