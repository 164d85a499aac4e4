import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from numpy.testing import assert_array_equal

from proto_model.registry.logged_model import DISTRIBUTIONS

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(logged, tmp_path_factory):
    return Path(
        mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(tmp_path_factory.mktemp("model")))
    )


@pytest.fixture(scope="module")
def model(logged, folder):  # the folder first: to load a model leaves bytecode in a local store
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        return mlflow.pyfunc.load_model(logged.model_uri)


def test_the_run_and_the_model_name_the_same_artifact(logged):
    assert mlflow.models.get_model_info(f"runs:/{logged.run_id}/model").model_id in logged.model_uri


def test_files_of_the_current_folder_do_not_go_along(folder):
    assert Path("uv.lock").exists()  # MLflow would take it
    assert not {path.name for path in folder.iterdir()} & {"uv.lock", "pyproject.toml"}


def test_a_logged_model_predicts_as_the_pipeline(model, mixed_pipeline, mixed_data):
    answer = model.predict(mixed_data.X_test)

    assert list(answer) == ["prediction", "probability", "probability_no", "probability_yes"]
    assert answer["prediction"].dtype == object
    assert_array_equal(answer["prediction"].to_numpy(), mixed_pipeline.predict(mixed_data.X_test))
    assert_array_equal(
        answer[["probability_no", "probability_yes"]].to_numpy(),
        mixed_pipeline.predict_proba(mixed_data.X_test),
    )


def test_explanations_follow_their_json_schema(model, logged, mixed_data):
    schema = json.loads((ROOT / "schemas" / "explanation.schema.json").read_text(encoding="utf-8"))
    rows = mixed_data.X_test.head(2)

    wrapped = model.predict(rows, params={"explain": True, "max_counterfactuals": 1})
    explained = mlflow.pyfunc.load_model(logged.explainer_uri).predict(
        rows, params={"max_counterfactuals": 1}
    )

    assert list(explained) == ["prediction", "probability", "explanation"]
    assert explained["explanation"].tolist() == wrapped["explanation"].tolist()
    for explanation, prediction in zip(wrapped["explanation"], wrapped["prediction"], strict=True):
        jsonschema.validate(explanation, schema)
        assert explanation["prediction"] == prediction


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"engine": "magic"}, "one of lore, lore_sa expected"),
        ({"immutable_features": ["height"]}, "no feature 'height'; the model has 'age'"),
        ({"effort": "none"}, "one of fast, thorough expected"),
        ({"max_counterfactuals": -1}, "from 0 to 20 expected"),
    ],
)
def test_wrong_parameters_are_refused_with_what_is_accepted(model, mixed_data, params, words):
    with pytest.raises(MlflowException, match=words) as caught:
        model.predict(mixed_data.X_test.head(1), params={"explain": True, **params})

    assert caught.value.get_http_status_code() == 400


def test_wrong_rows_are_refused_in_our_own_words_only(model):
    with pytest.raises(MlflowException) as caught:
        model.predict(pd.DataFrame([{"age": "old", "income": None, "owner": 1, "children": 2}]))

    error = caught.value
    error.message = f"Failed to predict data. {error.message}"
    assert error.get_http_status_code() == 400
    assert json.loads(error.serialize_as_json())["message"].startswith("2 faults in the request")


def test_the_folder_holds_what_a_server_and_a_mapper_need(folder, mixed_data):
    written = json.loads((folder / "mapper" / "schema.json").read_text())
    more = {key: written.pop(key) for key in ("samples", "threshold", "schema_version")}
    assert written.items() <= mixed_data.schema.to_dict().items()
    assert more["threshold"] == 0.5
    assert len(more["samples"]) == 6
    assert (folder / "mapper" / "requirements.txt").read_text() == (
        ROOT / "mapper" / "requirements.txt"
    ).read_text()
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert [line.split("==")[0] for line in requirements] == list(DISTRIBUTIONS)
    assert all("==" in line for line in requirements)
    assert not list(folder.rglob("*.pkl")) + list(folder.rglob("__pycache__"))
    described = mlflow.models.Model.load(str(folder)).metadata["features"]
    assert described == {feature.name: feature.type for feature in mixed_data.schema.features}


def test_no_file_of_a_version_names_a_folder_of_the_machine_that_made_it(folder, logged):
    places = [
        str(place).encode() for place in (ROOT, Path.home(), Path(tempfile.gettempdir()), logged.folder)
    ]
    files = [path for path in folder.rglob("*") if path.is_file() and "code" not in path.parts]

    # What is a root of others, such as /, is in every text.
    named = {
        (path.name, place)
        for path in files
        for place in places
        if len(place) > 3 and place in path.read_bytes()
    }
    assert named == set()


def test_the_input_example_has_the_columns_and_their_own_types(folder, mixed_data):
    example = json.loads((folder / "input_example.json").read_text())

    assert example["columns"] == mixed_data.schema.feature_names
    for row in example["data"]:
        values = dict(zip(example["columns"], row, strict=True))
        assert isinstance(values["owner"], bool)
        assert isinstance(values["children"], int)


def test_its_requirements_are_all_that_predicting_explaining_and_files_import(folder, tmp_path):
    code = """
import importlib.metadata, json, re, sys

def closure(names):
    found, left = set(), [name.lower() for name in names]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        left += [re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in requires if "extra ==" not in line]
    return {re.sub(r"[-_.]+", "-", name) for name in found}

wanted = [line.split("==")[0] for line in open(sys.argv[1] + "/requirements.txt").read().split()]
allowed = closure(wanted)
blocked = {
    module
    for module, distributions in importlib.metadata.packages_distributions().items()
    if not any(re.sub(r"[-_.]+", "-", name).lower() in allowed for name in distributions)
} - {"proto_model", "_distutils_hack", "pkg_resources", "setuptools"}
# MLflow's own list has these, but a version must not need them: other ways to serve it leave MLflow out.
blocked |= {"sklearn", "scipy", "matplotlib", "skops", "lore_sa", "joblib"}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
row = {"age": 40, "income": 2e4, "job": None, "owner": True, "children": 1}
answer = model.predict([row], params={"explain": True})
import proto_model, proto_model.serving.mlflow.file_model
explained = answer["explanation"][0]["rule"]["text"]
print(json.dumps([proto_model.__file__, explained, answer["prediction"].tolist()]))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"

    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    file, explained, prediction = json.loads(done.stdout.splitlines()[-1])
    assert Path(file).is_relative_to(folder)
    assert explained.startswith("IF ")
    assert prediction in (["no"], ["yes"])


def test_mlserver_finds_a_model_and_its_runtime_in_the_folder_of_a_version(folder):
    settings = json.loads((folder / "model-settings.json").read_text())

    assert (settings["name"], settings["parameters"]) == ("proto_model", {"uri": "."})
    assert json.loads((folder / "settings.json").read_text())["parallel_workers"] == 0
    assert (folder / f"{settings['implementation'].split('.')[0]}.py").is_file()
    assert '"code"' in (folder / "runtime.py").read_text()
