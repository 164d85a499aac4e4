"""A mapping from `train` to an answer: it travels with the version, and the model gets what was meant."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import pytest

from tests.stores import fresh_store
from tests.terminal import START_S
from tests.trainings import trained_in

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
LOANS = ROOT / "examples" / "loans"
LOAN = {"sum": 12.5, "duration": 4, "salary": 2900, "home": "tenant", "for": "kitchen", "born": 1984}
INSIDE = {
    "amount": 12500,
    "months": 48,
    "income": 34800,
    "age": 42,
    "housing": "rent",
    "employed": True,
    "purpose": "furniture",
    "channel": "branch",
}
SETTINGS = ("--target", "outcome", "--n-candidates", "1", "--registered-model-name", "loans")


def environment():
    own = ("MLFLOW_", "MAPPER_", "PROTO_MODEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


def train(folder, *flags):
    command = [sys.executable, "-m", "proto_model", "train", "--dataset", str(LOANS / "loans.csv"), *SETTINGS]
    return subprocess.run(
        [*command, *flags], cwd=folder, env=environment(), capture_output=True, text=True, timeout=900
    )


@contextmanager
def serving(folder, name, *command):
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, env=environment(), stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_S
        while " on http://" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield "http://" + log.read_text().split(" on http://")[1].split()[0]
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder with a store, in which the example was trained with its mapping."""
    folder = tmp_path_factory.mktemp("loans")
    (folder / "mapping.yaml").write_bytes((LOANS / "mapping.yaml").read_bytes())
    trained_in(folder, "--dataset", str(LOANS / "loans.csv"), *SETTINGS, "--mapping", "mapping.yaml")
    return folder


@pytest.fixture(scope="module")
def servers(store):
    """URLs of a model server, and of a mapper that has only the registry."""
    with serving(store, "server", "proto_model", "serve", "-m", "models:/loans@challenger", "-p", "0") as url:
        flags = ("--model", "models:/loans@challenger", "--model-server-url", url, "--port", "0")
        with serving(store, "mapper", "mapper", "serve", *flags) as mapper:
            yield url, mapper


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def test_every_variant_of_the_run_and_the_explainer_carry_the_mapping(store):
    mappings = list(store.glob("mlruns/**/artifacts/mapper/mapping.yaml"))

    assert len(mappings) == 4
    assert {path.read_bytes() for path in mappings} == {(LOANS / "mapping.yaml").read_bytes()}


def test_the_model_gets_what_the_application_means_to_the_last_bit(servers):
    server, mapper = servers
    [direct] = post(f"{server}/invocations", {"dataframe_records": [INSIDE]})["predictions"]

    answer = post(f"{mapper}/v1/predict", {"data": LOAN, "session": {"desk": 4}})

    [loan] = answer["predictions"]
    shares = {"repaid": direct["probability_repaid"], "late": direct["probability_late"]}
    assert loan == {
        "forecast": {"repaid": "on time", "late": "late"}[direct["prediction"]],
        "certainty": round(float(f"{direct['probability'] / (1 / 100):.12g}"), 1),
        "advice": "grant" if shares["repaid"] >= 0.75 else "ask a colleague",
        "policy": "2026-1",
    }
    assert answer["session"] == {"desk": 4}


def test_an_explanation_holds_in_the_applications_words(servers):
    _, mapper = servers
    explanation = post(f"{mapper}/v1/explain", {"data": LOAN})["predictions"][0]["explanation"]

    jsonschema.validate(explanation, json.loads((ROOT / "schemas" / "explanation.schema.json").read_text()))
    record = {**LOAN, "age": 42, "employed": True, "for": "kitchen"}
    for premise in explanation["rule"]["premises"]:
        value = record[premise["feature"]]
        if "in" in premise:
            assert value in premise["in"]
        else:
            assert premise.get("above", float("-inf")) < value <= premise.get("at_most", float("inf"))
    assert explanation["counterfactuals"]
    for found in explanation["counterfactuals"]:
        changed = {change["feature"]: change["to"] for change in found["changes"]}
        assert "channel" not in changed  # the mapping sets it
        if changed.keys() <= LOAN.keys():
            again = post(f"{mapper}/v1/explain", {"data": {**LOAN, **changed}})["predictions"][0]
            assert again["forecast"] == found["prediction"]


def test_a_fault_is_told_in_the_applications_words(servers):
    with pytest.raises(urllib.error.HTTPError, match="422") as caught:
        post(f"{servers[1]}/v1/predict", {"data": {**LOAN, "salary": "much", "home": "rent", "born": 1884}})

    errors = json.load(caught.value)["errors"]
    assert [fault["field"] for fault in errors] == ["salary", "home", "born"]


def test_in_front_of_the_explainer_the_mapper_speaks_the_same_words(store, servers):
    model = "models:/loans_explainer@challenger"
    with serving(store, "explainer", "proto_model", "serve", "-m", model, "-p", "0") as url:
        flags = ("--model", model, "--model-server-url", url, "--port", "0")
        with serving(store, "explainers_mapper", "mapper", "serve", *flags) as mapper:
            [predicted] = post(f"{mapper}/v1/predict", {"data": LOAN})["predictions"]
            [explained] = post(f"{mapper}/v1/explain", {"data": LOAN})["predictions"]
            with urllib.request.urlopen(f"{mapper}/readyz", timeout=60) as response:
                assert response.status == 200
    [loan] = post(f"{servers[1]}/v1/explain", {"data": LOAN})["predictions"]

    del loan["advice"]  # needs the probability of a class, which the explainer does not tell
    assert explained == loan
    assert predicted == {name: value for name, value in loan.items() if name != "explanation"}


def test_the_platform_is_told_the_applications_words(store):
    command = [sys.executable, "-m", "mapper", "tango", "model", "--model", "models:/loans@challenger"]
    done = subprocess.run(command, cwd=store, env=environment(), capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    payload = json.loads(done.stdout)
    takes = jsonschema.Draft202012Validator(payload["input_schema"])
    assert takes.is_valid({"data": LOAN})
    assert not takes.is_valid({"data": INSIDE})
    assert (
        payload["explainer"]["input_schema"]["$defs"]["Record"] == payload["input_schema"]["$defs"]["Record"]
    )


def test_a_mapping_that_does_not_fit_stops_the_run_before_it_trains(tmp_path):
    fresh_store(tmp_path)
    (tmp_path / "mapping.yaml").write_text("mapping: 1\nrequest: {sum: {feature: amonut}}\n")

    done = train(tmp_path, "--mapping", "mapping.yaml")

    assert done.returncode == 2
    assert "line 2, request.sum: the model has no feature 'amonut'. Did you mean 'amount'?" in done.stderr
    assert "tested and logged" not in done.stderr
    assert "Traceback" not in done.stderr
