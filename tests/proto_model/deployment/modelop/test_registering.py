"""Model sources as versions."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import invocations

from proto_model.deployment.modelop.registering import register
from proto_model.deployment.package.importing import Imported
from proto_model.errors import ArtifactError, DataError, InputError
from proto_model.model import Bundle
from proto_model.registry.model_source import HeldOut, RegisteredSource
from proto_model.registry.promotion.decision import Criteria
from proto_model.registry.promotion.judgment import judge
from proto_model.registry.promotion.opponents import load_contender
from proto_model.registry.publishing import Trust
from proto_model.serving.http.served_model import ServedModel
from proto_model.serving.mlflow.source_model import records_of
from proto_model.sources import Options, SourceError
from proto_model.sources.stored import NotAllowedError

SOURCE = """
# modelop.schema.0: input.avsc
def begin():
    global limit
    limit = float(open("limit.txt").read())

def action(x):
    if x["age"] is not None and x["age"] < 0:
        raise ValueError("nobody is that young")
    old = (x["age"] or 0) > limit
    yield {"prediction": "yes" if old else "no", "probability": 1.0}
"""
SCHEMA = {
    "type": "record",
    "name": "In",
    "fields": [
        {"name": "age", "type": ["null", "long"], "default": None},
        {"name": "income", "type": "double"},
        {"name": "job", "type": ["null", "string"], "default": None},
        {"name": "owner", "type": "boolean"},
        {"name": "children", "type": "long"},
    ],
}
ROW = {"age": 70, "income": 1.5, "job": None, "owner": True, "children": 0}

pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory, mixed_frame) -> Path:
    """Folder of somebody's source, with rows to judge it on."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "model.py").write_text(SOURCE)
    (folder / "input.avsc").write_text(json.dumps(SCHEMA))
    with zipfile.ZipFile(folder / "model.zip", "w") as archive:
        archive.writestr("limit.txt", "50")
    mixed_frame[400:].to_json(folder / "rows.jsonl", orient="records", lines=True, double_precision=15)
    return folder


@pytest.fixture(scope="module")
def registered(foreign, module_store) -> RegisteredSource:
    done = register(
        foreign / "model.py",
        [foreign / "model.zip"],
        "aged",
        options=Options(),
        held_out=HeldOut(foreign / "rows.jsonl"),
        alias="challenger",
    )
    assert isinstance(done, RegisteredSource)
    return done


def test_an_exported_source_becomes_its_version_again(exported, bundle, module_store):
    done = register(exported / "model_source.py", [exported / "attachment.zip"], "again", options=Options())

    assert isinstance(done, Imported)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/again/{done.version}"))
    assert Bundle.load(folder / "artifacts" / "bundle").digest == Bundle.load(bundle).digest


def test_a_version_that_is_a_source_runs_nothing_unless_it_is_allowed(registered, monkeypatch):
    monkeypatch.delenv("PROTO_MODEL_SOURCES", raising=False)
    with pytest.raises(MlflowException, match=r"runs somebody's own code .* export PROTO_MODEL_SOURCES="):
        mlflow.pyfunc.load_model(f"models:/aged/{registered.version}")
    for other in ("0123456789abcdef", registered.digest[:32], "all", "*"):
        monkeypatch.setenv("PROTO_MODEL_SOURCES", other)
        with pytest.raises(MlflowException, match="runs somebody's own code"):
            mlflow.pyfunc.load_model(f"models:/aged/{registered.version}")


def test_a_comparison_says_only_how_a_source_is_allowed(registered, monkeypatch, tmp_path):
    monkeypatch.delenv("PROTO_MODEL_SOURCES", raising=False)
    with pytest.raises(NotAllowedError) as raised:
        load_contender("aged", registered.version, tmp_path)

    said = str(raised.value)
    assert said.startswith(
        f"Cannot load version {registered.version} of 'aged': This version runs somebody's"
    )
    assert said.endswith(f"allow it with: export PROTO_MODEL_SOURCES={registered.digest}")


def test_an_allowed_source_answers_as_a_model_of_mlflows(registered, monkeypatch):
    monkeypatch.setenv("PROTO_MODEL_SOURCES", registered.digest)
    model = mlflow.pyfunc.load_model(f"models:/aged/{registered.version}")

    answer = model.predict(pd.DataFrame([ROW, ROW | {"age": None, "job": "nurse"}]))

    assert answer.to_dict(orient="records") == [
        {"prediction": "yes", "probability": 1.0},
        {"prediction": "no", "probability": 1.0},
    ]
    with pytest.raises(MlflowException, match="record 0, counted from 0: action raised ValueError"):
        model.predict(pd.DataFrame([ROW | {"age": -1}]))
    with pytest.raises(MlflowException, match="only its own code could explain"):
        model.predict(pd.DataFrame([ROW]), params={"explain": True})
    model.unwrap_python_model()._open.close()


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": {"age": [70, 20], "income": [1.5, 2.0], "owner": [True, False], "children": [0, 1]}},
        {"inputs": [ROW, ROW | {"age": 20}]},
        {"instances": [ROW, ROW | {"age": 20}]},
        {"dataframe_records": [ROW, ROW | {"age": 20}]},
        {"dataframe_split": {"columns": [*ROW], "data": [[*ROW.values()], [20, 2.0, "cook", False, 1]]}},
    ],
)
def test_mlflows_server_takes_rows_in_every_form(registered, monkeypatch, body):
    monkeypatch.setenv("PROTO_MODEL_SOURCES", registered.digest)
    model = mlflow.pyfunc.load_model(f"models:/aged/{registered.version}")

    response = invocations(json.dumps(body), "application/json", model, model.metadata.get_input_schema())

    assert [row["prediction"] for row in json.loads(response.response)["predictions"]] == ["yes", "no"]
    model.unwrap_python_model()._open.close()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"age": [1, 2], "income": [1.0]}, "'age' has 2 values, 'income' 1"),
        ({"age": 1}, "'age' is no list of values"),
        ([[1, 2.0]], "rows have no names"),
        ("rows", "str given"),
    ],
)
def test_rows_of_no_known_form_are_refused(rows, said):
    with pytest.raises(InputError, match=said):
        records_of(rows, {"age": ("long", False), "income": ("double", False)})


def test_rows_reach_the_source_as_json_has_them():
    frame = pd.DataFrame(
        {
            "n": [1.0, None],
            "x": [1.0, 2.5],
            "t": [1.0, None],
            "d": pd.to_datetime(["2024-03-01", None]),
            "z": [0, 0],
        }
    )

    kinds = {"n": "long", "x": "double", "t": "boolean", "d": "string", "s": "string", "u": "string"}

    records = records_of(frame, {name: (kind, name == "s") for name, kind in kinds.items()})

    assert records == [
        {"n": 1, "x": 1.0, "t": True, "d": "2024-03-01", "s": None},
        {"n": None, "x": 2.5, "t": None, "d": None, "s": None},
    ]
    assert [type(value) for value in records[0].values()] == [int, float, bool, str, type(None)]


def test_what_is_known_of_the_source_stands_at_its_version(registered, mixed_frame):
    client = MlflowClient()
    version = client.get_model_version("aged", registered.version)
    truth = mixed_frame["class"][400:]
    said = (mixed_frame["age"][400:].fillna(0) > 50).map({True: "yes", False: "no"})

    assert version.tags["source_digest"] == registered.digest
    assert registered.metrics["accuracy"] == pytest.approx((truth == said).mean())
    assert client.get_model_version_by_alias("aged", "challenger").version == int(registered.version)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/aged/{registered.version}"))
    schema = json.loads((folder / "mapper" / "schema.json").read_text())
    assert (schema["target"]["name"], schema["classes"]) == ("class", ["no", "yes"])
    assert {one["name"]: one["nullable"] for one in schema["features"]} == {
        "age": True, "income": False, "job": True, "owner": False, "children": False
    }  # fmt: skip
    with pytest.raises(ArtifactError, match="is a model source, which runs code of its own"):
        ServedModel.load(folder)


def test_a_comparison_asks_the_source(registered, monkeypatch):
    monkeypatch.setenv("PROTO_MODEL_SOURCES", f"{'0' * 64},{registered.digest.upper()}")
    version = MlflowClient().get_model_version("aged", registered.version)

    judgment = judge(version, None, Criteria())

    assert judgment.evaluation is not None, judgment.note
    assert judgment.evaluation.challenger_score == pytest.approx(registered.metrics["balanced_accuracy"])
    assert not judgment.evaluation.rows.is_unseen


def test_another_attachment_is_another_version(foreign, registered, tmp_path):
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("limit.txt", "30")

    other = register(foreign / "model.py", [tmp_path / "model.zip"], "aged", options=Options())

    assert isinstance(other, RegisteredSource)
    assert (other.digest == registered.digest, other.version == registered.version) == (False, False)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"model.py": "def action(x): yield 1"}, SourceError, "has no Avro schema of its input"),
        ({"model.py": "# modelop.schema.0: input.avsc\n"}, SourceError, "has no score function"),
        ({"rows.jsonl": '{"age": 1}\n'}, DataError, "has no column .* with the labels"),
        ({"rows.jsonl": '{"class": "no"}\n'}, DataError, "has no column 'age', which model.py takes"),
        ({"rows.jsonl": "{\n"}, DataError, "record 1 is none: the line is no JSON"),
        ({"model.py": SOURCE.replace("> limit", "> nothing")}, InputError, "refuses a held-out row"),
        (
            {"model.py": SOURCE.replace('"yes" if', '"maybe" if').replace('"no"', '"x"')},
            InputError,
            "No prediction",
        ),
        ({"model.py": SOURCE.replace('"prediction"', '"p"')}, InputError, "gives no `prediction`"),
    ],
)
def test_what_is_missing_is_told_and_nothing_is_registered(
    foreign, module_store, tmp_path, change, error, said
):
    for path in foreign.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for name, content in change.items():
        (tmp_path / name).write_text(content)

    with pytest.raises(error, match=said):
        register(
            tmp_path / "model.py", [tmp_path / "model.zip"], "never", options=Options(),
            held_out=HeldOut(tmp_path / "rows.jsonl"),
        )  # fmt: skip
    assert MlflowClient().search_registered_models("name = 'never'") == []


def test_trust_cannot_be_asked_of_somebodys_code(foreign):
    with pytest.raises(SourceError, match="nobody published what it runs"):
        register(foreign / "model.py", [], "x", options=Options(), trust=Trust(require_published=True))
    with pytest.raises(InputError, match="no name of a model"):
        register(foreign / "model.py", [], "x/1", options=Options())
