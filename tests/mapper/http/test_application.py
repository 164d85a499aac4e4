"""A service with an application's own mapping: a mapping.yaml, and a class that a version carries."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import schemathesis
from schemathesis.specs.openapi import checks

from mapper.application.code import Code
from mapper.cli.main import main
from tests.mapper.application.conftest import MAPPING
from tests.mapper.application.test_code import CODE
from tests.mapper.conftest import ROOT, SCHEMA
from tests.mapper.http.test_openapi import exercise
from tests.mapper.http.test_service import check, expect_problem

pytestmark = pytest.mark.system

GIVEN = {"weight": 4200, "site": "DR", "lost": 1}
OWN = Code("model:Penguins", {"model.py": CODE.encode(), "words.py": b'NAMES = {"Gentoo": "G"}\n'})


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """What a mapper fetches of a version with a mapping."""
    folder = tmp_path_factory.mktemp("version") / "mapper"
    folder.mkdir()
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    (folder / "mapping.yaml").write_text(MAPPING)
    return folder


@pytest.fixture(scope="module")
def mapped(start_service, _model_server, version):
    flags = ("--model-server-url", _model_server.url, "--schema", str(version.parent))
    with start_service(*flags) as service:
        yield service
    assert "Traceback" not in service.log.read_text()


@pytest.fixture
def service(mapped, model_server):
    return mapped


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """A version with code of its own."""
    folder = tmp_path_factory.mktemp("code") / "mapper"
    folder.mkdir()
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    for name, content in {"code.json": OWN.manifest(), **OWN.files}.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def own(start_service, _model_server, carried):
    flags = ("--model-server-url", _model_server.url, "--schema", str(carried), "--allow-mapper-code")
    with start_service(*flags, "--mapper-code-digest", OWN.digest) as service:
        yield service


def test_the_mapping_beside_the_schema_is_at_work_and_the_log_has_its_digest(service, model_server):
    status, answer, _ = service.call("/v1/predict", {"data": GIVEN, "session": 7})

    assert status == 200
    assert answer["predictions"][0]["species"] == "G"
    assert answer["session"] == 7
    assert model_server.requests[-1]["inputs"] == {
        "mass": [4.2],
        "eggs": [1],
        "ringed": [True],
        "island": ["Dream"],
    }
    digest = hashlib.sha256(MAPPING.encode()).hexdigest()
    assert f"mapping: mapping.yaml sha256={digest}" in service.log.read_text()
    assert service.call("/readyz")[0] == 200


def test_explanations_problems_and_documents_are_in_the_clients_words(service):
    status, answer, _ = service.call("/v1/explain", {"data": GIVEN})
    assert status == 200
    assert answer["predictions"][0]["explanation"]["rule"]["text"] == "IF weight > 4100 THEN G"

    problem = expect_problem(
        service.call("/v1/predict", {"data": {**GIVEN, "weight": "x", "lost": 1.5}}), 422, "invalid-request"
    )
    assert [fault["field"] for fault in problem["errors"]] == ["weight", "lost"]
    problem = expect_problem(
        service.call("/v1/predict", {"file": {"input_url": "https://a/b", "output_url": "https://a/c"}}),
        422,
        "invalid-request",
    )
    assert problem["errors"][0]["field"] == "file"
    outside = service.call("/v1/schema")[1]
    check("model-schema", outside)
    assert [feature["name"] for feature in outside["features"]] == ["weight", "site", "laid", "lost"]
    document = service.call("/openapi.json")[1]
    assert list(document["components"]["schemas"]["Record"]["properties"]) == [
        "weight",
        "site",
        "laid",
        "lost",
    ]
    page = service.call("/docs")[1]
    assert "on the scales" in page
    assert "mass" not in page.replace("mass production", "")


@pytest.mark.parametrize(
    ("mode", "accepted"),
    [
        (schemathesis.GenerationMode.POSITIVE, checks.positive_data_acceptance),
        (schemathesis.GenerationMode.NEGATIVE, checks.negative_data_rejection),
    ],
)
def test_the_openapi_document_says_what_the_service_takes(
    start_service, model_server, tmp_path, mode, accepted
):
    """Over fields that no expression reads, whose faults no JSON Schema can say."""
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "mapping.yaml").write_text(
        "mapping: 1\nunits: {g: {factor: 0.001}}\nrequest:\n  weight: {feature: mass, unit: g}\n"
        "  site: {feature: island, lookup: {BI: Biscoe, DR: Dream}}\n"
        "  bird: {feature: ringed, lookup: {ringed: true, free: false}, otherwise: false}\n"
    )
    with start_service("--model-server-url", model_server.url, "--schema", str(tmp_path)) as service:
        exercise(service, mode, accepted, 30)


def test_a_mapping_can_be_given_or_left_out(start_service, model_server, version, tmp_path):
    (tmp_path / "own.yaml").write_text("mapping: 1\nrequest: {tags: ringed}\n")
    flags = ("--model-server-url", model_server.url, "--schema", str(version))

    with start_service(*flags, "--mapping", "none") as service:
        record = {"mass": 4.2, "ringed": True}
        assert service.call("/v1/predict", {"data": record})[1]["predictions"][0]["prediction"] == "Gentoo"
    with start_service(*flags, MAPPER_MAPPING=str(tmp_path / "own.yaml")) as service:
        assert service.call("/v1/predict", {"data": {"mass": 4.2, "tags": True}})[0] == 200


def test_code_of_a_version_is_off_until_it_is_allowed(carried, capsys):
    flags = ["serve", "--schema", str(carried), "--port", "0"]

    done = serve(*flags)
    assert done.returncode == 2
    assert f"--mapper-code-digest {OWN.digest}" in done.stderr
    assert "Traceback" not in done.stderr
    done = serve(*flags, "--allow-mapper-code", "--mapper-code-digest", "0" * 64)
    assert done.returncode == 2
    assert f"that of model:Penguins is {OWN.digest}" in done.stderr
    done = serve(*flags, MAPPER_ALLOW_CODE="maybe")
    assert "MAPPER_ALLOW_CODE='maybe' given, true or false expected" in done.stderr


def serve(*flags, **environ):
    """A service that is to end at once."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAPPER_")}
    command = [sys.executable, "-m", "mapper", *flags]
    return subprocess.run(command, env=env | environ, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_an_allowed_class_maps_under_its_digest_with_a_form_of_its_own(own, model_server):
    status, answer, _ = own.call("/v1/predict", {"data": {"grams": 4200}})

    assert (status, answer) == (200, {"name": "G"})
    assert model_server.requests[-1] == {"inputs": {"mass": [4.2], "ringed": [True]}}
    assert own.call("/v1/explain", {"data": {"grams": 4200}})[0] == 200
    assert model_server.requests[-1]["params"] == {"explain": True}
    assert f"class model:Penguins (carried by the version) sha256={OWN.digest}" in own.log.read_text()
    outside = own.call("/v1/schema")[1]
    assert outside["record"]["properties"] == {"grams": {"type": "number"}}
    components = own.call("/openapi.json")[1]["components"]["schemas"]
    assert components["Record"] == outside["record"]
    assert "grams" in own.call("/docs")[1]


def test_an_installed_class_is_named_by_a_variable(start_service, model_server, schema_path, tmp_path):
    (tmp_path / "own_desk.py").write_text(CODE.replace("from . import words", "words = None"))
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path))

    with start_service(*flags, MAPPER_MODEL="own_desk:Penguins", PYTHONPATH=path) as service:
        assert service.call("/v1/predict", {"data": {"grams": 4200}})[0] == 500  # it has no words
        assert model_server.requests[-1] == {"inputs": {"mass": [4.2], "ringed": [True]}}
        assert "class own_desk:Penguins (installed here) sha256=" in service.log.read_text()
    done = serve("serve", "--schema", str(schema_path), MAPPER_MODEL="nosuch.module:Own")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "Cannot load nosuch.module:Own: ModuleNotFoundError" in done.stderr


def test_a_failing_class_gives_clean_problems(own):
    problem = expect_problem(own.call("/v1/predict", {"data": {"grams": -1}}), 422, "invalid-request")
    assert problem["errors"][0]["message"] == "grams has to be above 0"
    problem = expect_problem(own.call("/v1/predict", {"data": {"Zaphod 4711": 1}}), 500, "mapper-code")
    assert "KeyError" not in json.dumps(problem)
    log = own.log.read_text()
    assert "KeyError at <mapper code>/model.py:" in log
    assert "Zaphod" not in log  # the digits may be part of a request's id
    assert "Traceback" not in log


def test_a_model_for_files_is_not_served_with_a_mapping(version):
    done = serve("serve", "--schema", str(version), "--port", "0", "--signature", "file")

    assert done.returncode == 2
    assert "--mapping none" in done.stderr


def test_the_command_line_speaks_the_applications_words(mapped, own, version, model_server, capsys):
    given = ["weight=4200", "site=DR", "lost=1"]

    assert main(["predict", "--url", mapped.url, *given]) == 0
    assert "species" in capsys.readouterr().out
    assert main(["explain", "--url", mapped.url, *given]) == 0
    out = capsys.readouterr().out
    assert "row 0: species G, certainty 75.0, advice look again, app ringing" in out
    assert "IF weight > 4100 THEN G" in out
    flags = ["--schema", str(version), "--model-server-url", model_server.url]
    assert main(["predict", *flags, *given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"][0]["species"] == "G"
    assert main(["schema", "--schema", str(version)]) == 0
    assert "weight" in capsys.readouterr().out
    assert main(["schema", "--url", own.url]) == 0
    assert "grams" in capsys.readouterr().out
