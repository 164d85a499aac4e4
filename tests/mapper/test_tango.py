"""The payloads of the TANGO platform, and that what they name can be used as they say."""

import importlib
import json
from dataclasses import replace

import jsonschema
import pytest

from mapper import ModelServerProxy, TabularModel
from mapper.application.code import Code
from mapper.application.model import check_mapping
from mapper.cli.main import main
from mapper.errors import SettingsError
from mapper.mapping.answer import ModelAnswer
from mapper.registry import PublishedModel
from mapper.tango import ModelFacts, deployment_payload, model_payload
from tests.mapper.application.conftest import MAPPING
from tests.mapper.application.test_code import FILES

DEPLOYMENT_KEYS = [
    "deployment_key",
    "registry_connector_class",
    "registry_connector_init",
    "server_proxy_class",
    "server_proxy_init",
]
MODEL_KEYS = [
    *("model_code", "version", "name", "description", "workspace", "realtime_execution", "allow_download"),
    *("need_context", "input_schema", "output_schema", "explainer"),
]
FILE = {"input_url": "https://s/in", "output_url": "https://s/out"}


@pytest.fixture(autouse=True)
def no_registry(monkeypatch, tmp_path):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def made(class_name, init):
    """An instance as the platform makes it: the class by its name, the object as keywords."""
    module, _, name = class_name.rpartition(".")
    return getattr(importlib.import_module(module), name)(**init)


def test_the_deployment_has_the_keys_and_its_classes_take_its_keywords(capsys, model_server):
    urls = ["--registry-url", "http://mlflow:5000/base", "--model-server-url", model_server.url]

    assert main(["tango", "deployment", "--key", "staging", *urls]) == 0

    payload = json.loads(capsys.readouterr().out)
    assert list(payload) == DEPLOYMENT_KEYS
    assert payload["deployment_key"] == "staging"
    assert payload["registry_connector_init"] == {"model_registry_url": "http://mlflow:5000/base"}
    assert payload["server_proxy_init"] == {"server_proxy_url": model_server.url}
    connector = made(payload["registry_connector_class"], payload["registry_connector_init"])
    proxy = made(payload["server_proxy_class"], payload["server_proxy_init"])
    assert callable(connector.get_model)
    assert proxy.get_model_server_url() == model_server.url
    assert isinstance(proxy, ModelServerProxy)


def test_no_login_stands_in_a_payload(capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:geheim@mlflow")

    server = ["--model-server-url", "http://me:geheim@models:5001"]
    assert main(["tango", "deployment", "--key", "staging", *server]) == 0

    out, err = capsys.readouterr()
    assert "geheim" not in out + err
    assert json.loads(out)["registry_connector_init"] == {"model_registry_url": "https://mlflow"}
    assert "the registry's login is left out; set MLFLOW_TRACKING_USERNAME" in err
    assert "the model server's login is left out" in err


def test_a_deployment_needs_a_key_and_a_registry(capsys, tmp_path):
    assert main(["tango", "deployment", "--key", "x"]) == 2
    assert "MLFLOW_TRACKING_URI is not set" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="key of the deployment is empty"):
        deployment_payload(" ", "http://mlflow", "http://models")

    local = deployment_payload("x", "sqlite:///mlflow.db", "http://models:1")
    assert local["registry_connector_init"] == {"model_registry_url": f"sqlite:///{tmp_path}/mlflow.db"}
    made(local["registry_connector_class"], local["registry_connector_init"])


def test_the_model_has_the_keys_and_every_flag_is_heard(capsys, schema_path):
    model = ["tango", "model", "--schema", str(schema_path), "--version", "7"]

    assert main(model) == 0
    payload = json.loads(capsys.readouterr().out)
    assert list(payload) == MODEL_KEYS
    assert {key: payload[key] for key in MODEL_KEYS if not key.endswith("_schema")} == {
        "model_code": "penguins",
        "version": "7",
        "name": "penguins",
        "description": "Predicts species: one of Adelie, Gentoo.",
        "workspace": "default_workspace",
        "realtime_execution": True,
        "allow_download": False,
        "need_context": False,
        "explainer": None,
    }

    flags = ["--model-code", "p", "--name", "P", "--description", "d", "--workspace", "w", "--need-context"]
    more = ["--no-realtime-execution", "--allow-download", "--explainer", str(schema_path)]
    assert main([*model, *flags, *more]) == 2  # the explainer has no number
    assert "no version number" in capsys.readouterr().err
    assert main([*model, *flags, *more[:2]]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert list(payload.values())[:8] == ["p", "7", "P", "d", "w", False, True, True]

    assert main(["tango", "model", "--schema", str(schema_path)]) == 2
    assert "Give --version" in capsys.readouterr().err


def published(schema, **facts):
    return PublishedModel(schema, **{"version": "7", **facts})


def schemas_of(payload):
    """Both schemas as validators; what they refer to stands within them."""
    found = []
    for key in ("input_schema", "output_schema"):
        document = json.loads(json.dumps(payload[key]))
        assert "#/components" not in json.dumps(document)
        jsonschema.Draft202012Validator.check_schema(document)
        found.append(jsonschema.Draft202012Validator(document))
    return found


@pytest.mark.parametrize("explains", [False, True])
def test_the_schemas_fit_what_the_model_takes_and_gives(schema, record, model_server, explains):
    payload = model_payload(published(schema, signature="rows", explains=explains), ModelFacts())
    takes, gives = schemas_of(payload)
    model = TabularModel(schema, "7")
    tango = model.get_explainer() if explains else model

    for data in (
        record,
        [record, schema.typical_record],
        {"columns": [*record], "rows": [[*record.values()]]},
    ):
        request = {"data": data, "session": 3}
        assert takes.is_valid(request)
        mapped = tango.map_request(request)
        answer = tango.map_response(ModelAnswer(model_server.answer_to(mapped), mapped))
        assert gives.is_valid(json.loads(json.dumps(answer)))
    assert takes.is_valid({"data": record, "parameters": {"effort": "fast"}}) is explains
    for wrong in ({}, {"data": {}}, {"data": {**record, "mass": "heavy"}}, {"file": FILE}, []):
        assert not takes.is_valid(wrong)
    assert not gives.is_valid({"predictions": []})


def test_a_model_for_files_takes_files_and_takes_its_time(schema):
    payload = model_payload(published(schema, signature="file"), ModelFacts())
    takes, _ = schemas_of(payload)

    assert takes.is_valid({"file": FILE})
    assert not takes.is_valid({"data": schema.typical_record})
    assert payload["realtime_execution"] is False


def test_an_explainer_is_described_as_a_model(schema):
    explainer = model_payload(
        published(schema, name="penguins_explainer", version="3", explains=True), ModelFacts()
    )
    payload = model_payload(published(schema), ModelFacts(), explainer)

    assert list(payload["explainer"]) == MODEL_KEYS
    assert payload["explainer"]["model_code"] == "penguins_explainer"
    assert payload["explainer"]["description"].startswith("Explains predictions of species")
    assert payload["explainer"]["explainer"] is None
    with pytest.raises(SettingsError, match="no version number"):
        model_payload(replace(published(schema), version=None), ModelFacts())


@pytest.mark.parametrize("explains", [False, True])
def test_a_version_with_a_mapping_is_described_in_its_words(schema, model_server, explains):
    files = {"mapping.yaml": MAPPING.encode()}
    payload = model_payload(published(schema, files=files, explains=explains), ModelFacts())
    takes, gives = schemas_of(payload)
    model = check_mapping(files["mapping.yaml"], schema)
    tango = model.get_explainer() if explains else model

    assert payload["description"] == "Which penguin was ringed"
    assert takes.is_valid({"data": model.schema.typical_record})
    for wrong in ({"data": schema.typical_record}, {"file": FILE}):
        assert not takes.is_valid(wrong)
    mapped = tango.map_request({"data": model.schema.typical_record})
    answer = tango.map_response(ModelAnswer(model_server.answer_to(mapped), mapped))
    assert gives.is_valid(json.loads(json.dumps(answer)))
    assert "app" in json.dumps(payload["output_schema"])


@pytest.fixture
def carries_code(tmp_path, schema_path):
    """Arguments for a version that carries a class, and the digest of the class."""
    code = Code("model:Penguins", FILES)
    for name, content in {
        "schema.json": schema_path.read_bytes(),
        "code.json": code.manifest(),
        **FILES,
    }.items():
        (tmp_path / name).write_bytes(content)
    return ["tango", "model", "--schema", str(tmp_path / "schema.json"), "--version", "7"], code.digest


def test_a_version_with_a_class_is_described_by_its_form_if_it_may_run(capsys, carries_code, monkeypatch):
    command, digest = carries_code

    assert main(command) == 2
    assert f"--allow-mapper-code --mapper-code-digest {digest}" in capsys.readouterr().err
    assert main([*command, "--allow-mapper-code", "--mapper-code-digest", digest]) == 0
    payload = json.loads(capsys.readouterr().out)
    takes, _ = schemas_of(payload)
    assert takes.is_valid({"data": {"grams": 1}})
    assert not takes.is_valid({"data": {"grams": "many"}})
    assert not takes.is_valid({"file": FILE})

    monkeypatch.setenv("MAPPER_ALLOW_CODE", "true")
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == payload
    assert main([*command, "--mapping", "none", "--mapper-code-digest", digest]) == 2
    assert "there is no code" in capsys.readouterr().err


def test_a_mapping_may_be_given_or_left_out(capsys, carries_code, tmp_path, schema, record):
    command, _ = carries_code
    (tmp_path / "own.yaml").write_text(MAPPING)

    assert main([*command, "--mapping", str(tmp_path / "own.yaml"), "--explainer", "none"]) == 0
    takes, _ = schemas_of(json.loads(capsys.readouterr().out))
    assert not takes.is_valid({"data": record})
    assert main([*command, "--mapping", "none"]) == 0
    takes, _ = schemas_of(json.loads(capsys.readouterr().out))
    assert takes.is_valid({"data": record})
