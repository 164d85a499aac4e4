"""The columns of a signature are told, and checked by nobody but the model itself."""

import json

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import scoring_server

from proto_model.serving.mlflow.columns import leave_rows_unchecked

COLUMNS = [
    ("age", "long", False),
    ("income", "double", True),
    ("job", "string", False),
    ("owner", "boolean", True),
    ("children", "long", True),
]
ROW = {"age": 40, "income": 2e4, "job": "nurse", "owner": True, "children": 1}


def columns_of(signature):
    return [(column.name, column.type.name, column.required) for column in signature.inputs]


@pytest.mark.parametrize("kind", ["model_uri", "explainer_uri"])
def test_the_signature_names_the_columns_with_types_and_which_may_be_absent(logged, kind):
    info = mlflow.models.get_model_info(getattr(logged, kind))

    assert columns_of(info.signature) == COLUMNS
    assert "explain" in [p.name for p in info.signature.params] or kind == "explainer_uri"


@pytest.fixture(scope="module")
def model(logged):
    return mlflow.pyfunc.load_model(logged.model_uri)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"age": 40.5}, "row 1, column 'age': 40.5 given, a whole number expected"),
        ({"age": "old"}, "row 1, column 'age': the string \"old\" given, a whole number expected"),
        ({"income": True}, "row 1, column 'income': the boolean true given, a number expected"),
        ({"income": None}, "row 1, column 'income': no value given"),
        ({"owner": "no"}, "row 1, column 'owner': the string \"no\" given, true or false expected"),
        ({"owner": 2}, "row 1, column 'owner': 2 given, true or false expected"),
        ({"job": 5}, "row 1, column 'job': 5 given, a string expected"),
        ({"children": 2**63}, None),
    ],
)
def test_a_wrong_value_gets_our_words_and_a_right_one_is_left_alone(model, changes, words):
    rows = pd.DataFrame([ROW, ROW | changes], dtype=object)
    body = json.dumps({"dataframe_records": [ROW, ROW | changes]})
    schema = model.metadata.get_input_schema()

    if words is None:
        assert model.predict(rows)["prediction"].isin(["yes", "no"]).all()
        assert scoring_server.invocations(body, "application/json", model, schema).status == 200
        return
    with pytest.raises(MlflowException) as in_process:
        model.predict(rows)
    with pytest.raises(MlflowException) as served:
        scoring_server.invocations(body, "application/json", model, schema)
    for caught in (in_process, served):
        assert caught.value.get_http_status_code() == 400
        assert caught.value.message.startswith("1 fault in the request")
        assert words in caught.value.message


def test_a_nullable_column_may_be_absent_and_a_required_one_is_named(model):
    required = {name: ROW[name] for name, _, required in COLUMNS if required}
    assert len(model.predict(pd.DataFrame([required]))) == 1

    del required["income"]
    with pytest.raises(MlflowException, match=r"column 'income' is missing from every row"):
        model.predict(pd.DataFrame([required]))


def test_text_of_csv_is_read_by_the_rule_book(model):
    body = "age,income,job,owner,children\n40,2e4,nurse,TRUE,1.0\n,15000,,0,2\n"
    schema = model.metadata.get_input_schema()

    assert scoring_server.invocations(body, "text/csv", model, schema).status == 200
    with pytest.raises(MlflowException, match=r"row 0, column 'children': 1\.5 given"):
        scoring_server.invocations(body.replace("1.0", "1.5"), "text/csv", model, schema)


def test_only_the_copy_of_the_loaded_model_is_changed(logged, model):
    folder = mlflow.artifacts.download_artifacts(logged.model_uri)

    assert model.metadata.get_input_schema() is None
    assert model.metadata.get_params_schema() is not None
    assert columns_of(Model.load(folder).signature) == COLUMNS
    np.testing.assert_array_equal(
        mlflow.pyfunc.load_model(folder).predict([ROW]).to_numpy(), model.predict([ROW]).to_numpy()
    )


def test_without_mlflows_loader_nothing_is_checked_and_nothing_changed():
    leave_rows_unchecked()


def test_a_loader_that_keeps_its_metadata_elsewhere_loads_no_model(monkeypatch):
    def load_model():
        leave_rows_unchecked()

    monkeypatch.setattr(mlflow.pyfunc, "load_model", load_model)

    with pytest.raises(KeyError, match="model_meta"):
        mlflow.pyfunc.load_model()
