"""A version that was written as a model source answers as everywhere."""

import json
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pandas as pd
import pytest

from proto_model.deployment.modelop import OwnModel
from proto_model.deployment.modelop.writing import write_source
from proto_model.deployment.package import PackageError
from proto_model.errors import InputError
from proto_model.model import Bundle, Predictor, coded_rows
from proto_model.registry.logged_model import sent_rows
from proto_model.sources import Options, Source, run
from proto_model.table import encode
from proto_model.training.metrics import classification_metrics


@pytest.fixture(scope="module")
def source(exported) -> Source:
    return Source.read(exported / "model_source.py")


@pytest.fixture(scope="module")
def records(mixed_data) -> list[dict]:
    """Rows as JSON has them."""
    frame = sent_rows(encode(mixed_data.X_test, mixed_data.schema), mixed_data.schema)[:60]
    return [
        {name: None if value is None or value != value else value for name, value in row.items()}
        for row in frame.astype(object).to_dict(orient="records")
    ]


@pytest.fixture(scope="module")
def loaded(bundle) -> Bundle:
    return Bundle.load(bundle)


def test_every_row_gets_the_answer_of_the_server_to_the_last_bit(exported, source, records, loaded):
    outcome = run(source, "score", records, attachments=[exported / "attachment.zip"])
    predictor = Predictor(loaded)

    expected = predictor.answer(coded_rows(records, loaded.schema)).records()
    assert outcome.records == expected
    assert len(expected) == 60


def test_a_row_that_is_refused_gets_the_sentence_of_the_server(exported, source, records, loaded):
    rows = [records[0] | {"age": "old"}, records[0] | {"income": None}, {}, records[0]]
    outcome = run(source, "score", rows, attachments=[exported / "attachment.zip"])

    sentences = []
    for row in rows[:3]:
        with pytest.raises(Exception, match="in the request") as caught:
            coded_rows([row], loaded.schema)
        sentences.append(str(caught.value))
    assert [reason for _, reason in outcome.first] == sentences
    assert len(outcome.records) == 1


def test_what_is_no_row_or_has_no_label_is_refused(loaded, records):
    model = OwnModel(loaded)

    for call, given, said in (
        (model.score, 5, "The record is no object with a value per column"),
        (model.metrics, records[:2], "The rows have no column 'class' with their labels"),
        (model.metrics, [{"class": "perhaps"}], "No row has a known label of 'class'"),
        (model.metrics, [], "at least one row expected"),
    ):
        with pytest.raises(InputError, match=said):
            call(given)


def test_metrics_are_those_of_a_training_run(exported, source, mixed_data, loaded, tmp_path):
    frame = mixed_data.X_test.assign(**{"class": mixed_data.y_test})
    path = tmp_path / "rows.jsonl"
    frame.to_json(path, orient="records", lines=True, double_precision=15)
    with path.open("a") as file:
        file.write('{"age": 1}\n{"class": "perhaps"}\n' + json.dumps({"class": "no", "age": "old"}) + "\n")

    found = run(source, "metrics", path, attachments=[exported / "attachment.zip"]).records[0]

    probabilities = loaded.predict_proba(encode(mixed_data.X_test, mixed_data.schema))
    y = np.searchsorted(["no", "yes"], mixed_data.y_test)
    expected = classification_metrics(y, probabilities, ["no", "yes"], loaded.decide(probabilities))
    for name, value in expected.items():
        metric, _, label = name.partition("/")
        told = found["performance"][0]["values"]["classes"][label][metric] if label else found[name]
        assert told == pytest.approx(value, abs=1e-12), name
    assert found["auc"] == found["roc_auc"]
    assert sum(sum(row.values()) for row in found["confusion_matrix"]) == found["rows"] == len(frame)
    assert found["rows_left_out"] == {"without a known label": 2, "not taken": 1}
    assert found["roc_curve"][0] == {"fpr": 0.0, "tpr": 0.0}
    assert found["roc_curve"][-1] == {"fpr": 1.0, "tpr": 1.0}
    x, z = (np.array([point[axis] for point in found["roc_curve"]]) for axis in ("fpr", "tpr"))
    assert np.trapezoid(z, x) == pytest.approx(found["auc"], abs=1e-9)


def test_training_leaves_an_attachment_for_the_same_source(exported, source, mixed_frame, records, tmp_path):
    data = tmp_path / "rows.parquet"
    mixed_frame.to_parquet(data)
    out = tmp_path / "out"

    outcome = run(source, "training", data, attachments=[exported / "attachment.zip"], output_dir=out)
    assert outcome.failure == ""
    again = run(source, "score", records, attachments=[out / "attachment.zip"])

    assert {path.name for path in out.iterdir()} == {"attachment.zip", "input.avsc", "output.avsc"}
    told = outcome.records[0]
    assert (told["variant"], told["hyperparameters"]["n_estimators"]) == ("random_forest", 20)
    assert 0.5 < told["test"]["balanced_accuracy"] <= 1
    assert len(again.records) == len(records)
    assert again.digest != outcome.digest


def test_schemas_say_what_is_taken_and_given(exported, source, records):
    pytest.importorskip("fastavro")
    attached = [exported / "attachment.zip"]

    fields = {one["name"]: one for one in json.loads((exported / "input.avsc").read_text())["fields"]}
    assert fields["age"]["type"] == ["null", "long"]
    assert fields["income"]["type"] == "double"
    assert fields["job"]["type"] == ["null", "string"]
    assert fields["job"]["categories"] == ["clerk", "farmer", "nurse", "pilot"]
    rows = [*records, records[0] | {"owner": "yes"}, {}]
    checked = run(source, "score", rows, attachments=attached, options=Options(schema_check=True))
    plain = run(source, "score", records, attachments=attached)
    assert checked.records == plain.records
    assert sorted(checked.rejected) == [
        "'income' is missing, double expected",
        "'owner' is text, boolean expected",
    ]


def test_the_same_version_gives_the_same_bytes(exported, model, tmp_path):
    again = write_source(str(model), tmp_path / "again").path

    files = {path.relative_to(exported): path.read_bytes() for path in exported.rglob("*") if path.is_file()}
    assert files == {
        path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()
    }
    assert {path.as_posix() for path in files} >= {"model_source.py", "attachment.zip", "requirements.txt"}
    with pytest.raises(PackageError, match="is there already"):
        write_source(str(model), again)


def test_scoring_and_measuring_take_numpy_llvmlite_and_orjson_only(exported, records, tmp_path):
    with zipfile.ZipFile(exported / "attachment.zip") as archive:
        archive.extractall(tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps([{"class": "no"} | one for one in records[:5]]))
    program = f"""
        import importlib.abc, json, sys
        ALLOWED = {{"numpy", "llvmlite", "orjson", "proto_model", "model_source"}}
        class Blocked(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                top = name.partition(".")[0]
                if top not in ALLOWED and top not in sys.stdlib_module_names and not top.startswith("_"):
                    raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
        sys.meta_path.insert(0, Blocked())
        sys.path.insert(0, {str(exported)!r})
        import model_source
        rows = json.load(open("rows.json"))
        model_source.begin()
        print(next(model_source.action(rows[0]))["prediction"], next(model_source.metrics(rows))["rows"])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, text=True, capture_output=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == "5"


def test_labels_of_data_frames_are_recognized(loaded):
    frame = pd.DataFrame({"age": [40.0, None], "income": [1e4, 2e4], "job": ["nurse", None]})
    frame = frame.assign(owner=[True, False], children=[1, 2], **{"class": ["no", "yes"]})
    assert OwnModel(loaded).metrics(frame)["rows"] == 2
