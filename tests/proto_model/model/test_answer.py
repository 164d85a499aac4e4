"""The table of answer fields, and that every form of an answer is derived from it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from proto_model.files.formats import FORMATS
from proto_model.files.output import output_schema
from proto_model.model import KINDS, Answer, AnswerField, Predictor, answer_fields
from proto_model.parameters import EXPLAINER, FILE, ROWS, Parameters
from proto_model.registry.signature import explainer_signature, rows_signature
from proto_model.schema import TASKS, Feature, ModelSchema
from proto_model.serving.http.payload import RowPayload
from proto_model.serving.mlserver.configs import model_settings

SCHEMA = ModelSchema(
    "people",
    "class",
    "string",
    ("no", "yes"),
    (Feature("age", "long", False, minimum=0.0, maximum=90.0, median=40.0),),
)
CLASSES = ["probability_no", "probability_yes"]


def names(schema, parameters, signature):
    return [field.name for field in answer_fields(schema, parameters, signature)]


def test_signature_and_parameters_decide_what_an_answer_has():
    plain, explain = Parameters(), Parameters(explain=True, on_bad_row="mark")

    assert names(SCHEMA, plain, ROWS) == ["prediction", "probability", *CLASSES]
    assert names(SCHEMA, explain, ROWS) == ["prediction", "probability", *CLASSES, "explanation"]
    assert names(SCHEMA, explain, EXPLAINER) == ["prediction", "probability", "explanation"]
    assert names(SCHEMA, explain, FILE) == ["prediction", "probability", *CLASSES, "explanation", "error"]
    assert names(SCHEMA, None, ROWS) == [
        "prediction", "probability", *CLASSES, "prediction_set", "explanation",
    ]  # fmt: skip
    assert names(SCHEMA, Parameters(coverage=0.9), ROWS)[-1] == "prediction_set"


@pytest.mark.parametrize(
    ("target_type", "classes"),
    [("string", ("no", "yes")), ("boolean", (False, True)), ("long", (3, 7)), ("double", (0.5, 1.5))],
)
def test_labels_keep_their_type_in_every_form(target_type, classes):
    schema = dataclasses.replace(SCHEMA, target_type=target_type, classes=classes)
    answer = Answer(answer_fields(schema, Parameters()), np.array([[0.25, 0.75], [0.5, 0.5]]))

    assert [record["prediction"] for record in answer.records()] == [classes[1], classes[0]]
    assert [type(record["prediction"]) for record in answer.records()] == [type(classes[0])] * 2
    assert answer.frame()["prediction"].tolist() == [classes[1], classes[0]]
    assert (
        answer.frame()["prediction"].dtype
        == np.array(classes, dtype=object if target_type == "string" else None).dtype
    )


@pytest.mark.parametrize("n_rows", [0, 1, 2, 100])
def test_records_and_frame_say_the_same(n_rows):
    scores = np.random.default_rng(0).dirichlet([1, 1], n_rows).reshape(n_rows, 2)
    fields = answer_fields(SCHEMA, Parameters(explain=True))
    answer = Answer(fields, scores, [{"row": row} for row in range(n_rows)])

    records = answer.records()

    assert records == answer.frame().to_dict("records")
    assert [record["probability"] for record in records] == scores.max(axis=1).tolist()
    assert [record["probability_yes"] for record in records] == scores[:, 1].tolist()


@pytest.mark.parametrize("n_rows", [1, 2])
def test_a_line_of_the_table_is_all_that_a_field_needs(monkeypatch, forest_model, n_rows):
    """A field that is added shows in every form of an answer."""
    kind = KINDS["classification"]
    margin = AnswerField("margin", "double", lambda answer: answer.by_class[0] - answer.by_class[1])
    fields = kind.fields
    monkeypatch.setattr(kind, "fields", lambda schema: (*fields(schema), margin), raising=False)
    schema = forest_model.schema

    predictor = Predictor(forest_model)
    payload = RowPayload(predictor, 10)
    answer = predictor.answer(np.zeros((n_rows, len(schema.features))))

    assert "margin" in answer.records()[0]
    assert "margin" in answer.frame()
    assert payload.outputs["margin"] == "FP64"
    assert [name for name, _, _ in payload.tensors(answer, ["margin"])] == ["margin"]
    for signature in (rows_signature(schema), explainer_signature(schema)):
        assert signature.outputs.input_types()[-1].name == "double"
        assert "margin" in signature.outputs.input_names()
    assert "margin" in [tensor["name"] for tensor in model_settings(schema, ROWS, {})["outputs"]]
    columns = output_schema(answer_fields(schema, Parameters(), FILE), [], FORMATS["csv"])
    assert columns.field("margin").type == pa.float64()


def test_every_task_has_its_kind():
    assert set(KINDS) == set(TASKS)
