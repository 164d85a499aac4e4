"""Every way to score gives the same decided answer: calibrated probabilities, class by costs, prediction set.

MLServer's runtime and the lean server both answer through `Invocations` and `Inference`.
"""

import csv
import io
import json

import numpy as np
import orjson
import pandas as pd
import pytest

from mapper import ModelAnswer, ModelSchema, TabularModel
from proto_model.errors import InputError
from proto_model.explanation import ProcessExplainer
from proto_model.files import score_file
from proto_model.model import Bundle, Decision, Predictor, write_bundle
from proto_model.model.decision import PredictionSets
from proto_model.parameters import EXPLAINER, FILE, Parameters
from proto_model.registry.promotion.opponents import forest_labels
from proto_model.serving.http.inference import Inference
from proto_model.serving.http.invocations import Invocations
from proto_model.serving.http.payload import RowPayload
from proto_model.serving.mlflow.pyfunc import RandomForestWrapperModel
from proto_model.table import encode
from proto_model.training.calibration import fitted

COSTS = np.array([[0.0, 1.0], [4.0, 0.0]])  # a missed yes costs four times a false one
COVERAGE = 0.85


@pytest.fixture(scope="module")
def decided(mixed_pipeline, mixed_data, tmp_path_factory):
    """A bundle with a calibration that matters, costs and sets."""
    y = np.searchsorted(mixed_pipeline.classes_, mixed_data.y_test)
    raw = mixed_pipeline.predict_proba(mixed_data.X_test)
    calibration = fitted("sigmoid", y, raw**2 / (raw**2).sum(axis=1, keepdims=True))
    sets = PredictionSets.of(y, calibration(raw), "class")
    folder = tmp_path_factory.mktemp("decided") / "bundle"
    X = encode(mixed_data.X_train, mixed_data.schema)
    write_bundle(folder, mixed_pipeline, mixed_data.schema, X, decision=Decision(calibration, COSTS, sets))
    return Bundle.load(folder)


@pytest.fixture(scope="module")
def frame(mixed_data):
    return mixed_data.X_test.head(60)


@pytest.fixture(scope="module")
def expected(decided, mixed_pipeline, frame):
    """The answer, computed from scikit-learn's probabilities by hand."""
    raw = mixed_pipeline.predict_proba(frame)
    calibration = decided.decision.calibration
    second = np.interp(raw[:, 1], calibration.x[0], calibration.y[0])
    p = np.column_stack([1 - second, second])
    best = (second * 4 > 1 - second).astype(int)
    members = p >= decided.decision.sets.least[round(COVERAGE * 1000) - 500]
    members[np.arange(len(p)), best] = True
    classes = decided.schema.classes
    return [
        {
            "prediction": classes[k],
            "probability": row[k],
            "probability_no": row[0],
            "probability_yes": row[1],
            "prediction_set": [label for label, is_in in zip(classes, inside, strict=True) if is_in],
        }
        for k, row, inside in zip(best.tolist(), p.tolist(), members, strict=True)
    ]


@pytest.fixture(scope="module")
def records(frame):
    return [
        {name: None if pd.isna(value) else value for name, value in row.items()}
        for row in json.loads(frame.to_json(orient="records"))
    ]


def test_the_example_decides_otherwise_than_the_most_probable_class(expected):
    assert any(row["probability"] < 0.5 for row in expected)
    assert {len(row["prediction_set"]) for row in expected} == {1, 2}


def test_the_forests_own_answers_stay_scikit_learns(decided, mixed_pipeline, frame):
    raw = decided.engine.predict_proba(encode(frame, decided.schema))

    np.testing.assert_array_equal(raw, mixed_pipeline.predict_proba(frame))


@pytest.mark.parametrize("n_rows", [1, 60])
def test_json(decided, records, expected, n_rows):
    served = Invocations(payload := RowPayload(Predictor(decided), 1000))
    body = json.dumps({"dataframe_records": records[:n_rows], "params": {"coverage": COVERAGE}}).encode()

    answer = orjson.loads(served.write(payload.answer(served.read(body, "application/json"))))

    assert answer["predictions"] == expected[:n_rows]


@pytest.mark.parametrize("n_rows", [1, 60])
def test_tensors_of_v2(decided, records, expected, n_rows):
    served = Inference(payload := RowPayload(Predictor(decided), 1000), "people")
    kinds = {"double": "FP64", "long": "INT64", "boolean": "BOOL", "string": "BYTES"}
    tensors = [
        {
            "name": feature.name,
            "shape": [n_rows, 1],
            "datatype": kinds[feature.type],
            "data": [_typed(row[feature.name], feature.type) for row in records[:n_rows]],
        }
        for feature in decided.schema.features
    ]
    body = json.dumps({"inputs": tensors, "parameters": {"coverage": COVERAGE}}).encode()

    request = served.read(body)
    answer = orjson.loads(*served.write(request, payload.answer(request.question)))

    columns = {output["name"]: output["data"] for output in answer["outputs"]}
    assert [json.loads(text) for text in columns.pop("prediction_set")] == [
        row["prediction_set"] for row in expected[:n_rows]
    ]
    for name, values in columns.items():
        assert values == [row[name] for row in expected[:n_rows]]


def _typed(value, kind):
    if value is None:
        return None
    return {"long": int, "boolean": bool}.get(kind, lambda given: given)(value)


def test_mlflows_model(decided, frame, expected):
    model = RandomForestWrapperModel()
    model.use(decided)

    answer = model.predict(None, frame, {"coverage": COVERAGE})

    assert answer.to_dict(orient="records") == expected
    assert "prediction_set" not in model.predict(None, frame)


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_files(decided, records, expected, tmp_path, name):
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, records)))
    predictor = Predictor(decided, FILE)

    score_file(tmp_path / "rows.jsonl", tmp_path / name, predictor, Parameters(coverage=COVERAGE))

    text = (tmp_path / name).read_text()
    if name.endswith("jsonl"):
        assert [json.loads(line) for line in text.splitlines()] == expected
        return
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [json.loads(row["prediction_set"]) for row in rows] == [row["prediction_set"] for row in expected]
    assert [row["prediction"] for row in rows] == [row["prediction"] for row in expected]
    assert [float(row["probability"]) for row in rows] == [row["probability"] for row in expected]


def test_a_bad_row_of_a_file_has_no_set(decided, records, tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, [records[0], {"age": "?!"}])))
    parameters = Parameters(coverage=COVERAGE, on_bad_row="mark")

    score_file(tmp_path / "rows.jsonl", tmp_path / "out.jsonl", Predictor(decided, FILE), parameters)

    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert first["prediction_set"]
    assert (second["prediction"], second["prediction_set"]) == (None, None)


def test_a_comparison_judges_decisions(decided, frame, expected):
    assert forest_labels(decided, frame) == [row["prediction"] for row in expected]


def test_the_mapper(decided, records, expected):
    served = Invocations(payload := RowPayload(Predictor(decided), 1000))
    model = TabularModel(ModelSchema.from_dict(decided.schema.to_dict()))
    request = model.map_request({"data": records, "parameters": {"coverage": COVERAGE}})

    body = served.write(payload.answer(served.read(orjson.dumps(request), "application/json")))
    answer = model.map_response(ModelAnswer(orjson.loads(body), request))

    for item, row in zip(answer["predictions"], expected, strict=True):
        assert item == {
            "prediction": row["prediction"],
            "probability": row["probability"],
            "probabilities": {"no": row["probability_no"], "yes": row["probability_yes"]},
            "prediction_set": row["prediction_set"],
        }


@pytest.mark.parametrize("signature", ["rows", EXPLAINER])
def test_explanations_are_of_decisions(decided, frame, expected, signature):
    predictor = Predictor(decided, signature)
    parameters = predictor.parameters({"explain": True})
    near = [*[k for k, row in enumerate(expected) if row["probability"] < 0.5][:2], 0]
    X = encode(frame.iloc[near], decided.schema)

    for k, item, x in zip(near, predictor.answer(X, parameters).records(), X, strict=True):
        explanation = item["explanation"]
        assert explanation["prediction"] == item["prediction"] == expected[k]["prediction"]
        assert explanation["probability"] == round(expected[k]["probability"], 6)
        assert explanation["rule"]["consequence"] == item["prediction"]
        assert explanation["counterfactuals"]
        for found in explanation["counterfactuals"]:
            (answer,) = predictor.answer(changed(x, found, decided.schema)[np.newaxis]).records()
            assert answer["prediction"] == found["prediction"] != item["prediction"]
            assert found["probability"] == round(answer["probability"], 6)


def changed(x, counterfactual, schema):
    row = x.copy()
    for change in counterfactual["changes"]:
        place = schema.feature_names.index(change["feature"])
        categories, to = schema.features[place].categories, change["to"]
        row[place] = np.nan if to is None else categories.index(to) if categories else to
    return row


def test_processes_explain_the_same(decided, frame):
    explainer = Predictor(decided).explainer("lore")
    X = encode(frame, decided.schema)[:4]
    options = Parameters(max_counterfactuals=1)

    with ProcessExplainer(explainer, n_jobs=2) as many:
        many._n_asked = 1000  # as if there were enough rows
        assert many.explain(X, options) == explainer.explain(X, options)


def test_a_version_without_sets_says_what_to_do(forest_model):
    for signature in ("rows", EXPLAINER, FILE):
        with pytest.raises(InputError, match="no calibration for prediction sets"):
            Predictor(forest_model, signature).parameters({"coverage": 0.9})


@pytest.mark.parametrize("coverage", [0.3, 1.0, True, "0.9", float("nan")], ids=str)
def test_a_coverage_outside_its_limits_is_refused(decided, coverage):
    with pytest.raises(InputError, match=r"coverage: .* given, a number from 0\.5 to 0\.999 expected"):
        Predictor(decided).parameters({"coverage": coverage})


@pytest.mark.parametrize("coverage", [0, 0.0, None, ""], ids=repr)
def test_no_coverage_is_no_set(decided, frame, coverage):
    predictor = Predictor(decided)
    parameters = predictor.parameters({"coverage": coverage})

    (record,) = predictor.answer(encode(frame.head(1), decided.schema), parameters).records()

    assert "prediction_set" not in record
