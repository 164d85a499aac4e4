"""Rows without column names in both protocols: the same answers as with names."""

import asyncio
import json

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from proto_model.model import Bundle, Predictor, write_bundle
from proto_model.registry.logged_model import CODE, example_rows, save_model
from proto_model.registry.signature import rows_signature
from proto_model.serving.http import ServedModel
from proto_model.table import RawTable, encode, prepare
from proto_model.training import make_pipeline

pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")

NAMES = {"numbers": ["width", "rooms", "garden"], "texts": ["color", "shape"]}
ROWS = {
    "numbers": [[1.5, 2, True], [None, 4, False], [0.25, 3, 1]],
    "texts": [["red", "round"], [None, "flat"], ["green", "unheard of"]],
}
INFER = "/v2/models/proto_model/infer"


def trained(kind):
    """A small forest on numbers and truth values only, or on text only."""
    rng = np.random.default_rng(5)
    n_rows = 300
    if kind == "numbers":
        frame = pd.DataFrame(
            {
                "width": np.where(rng.random(n_rows) < 0.1, np.nan, rng.normal(size=n_rows)),
                "rooms": rng.integers(1, 9, n_rows),
                "garden": rng.random(n_rows) < 0.5,
            }
        )
        score = frame["width"].fillna(0) + frame["garden"] + frame["rooms"] / 9
    else:
        colors = np.where(rng.random(n_rows) < 0.1, None, rng.choice(["red", "green", "blue"], n_rows))
        frame = pd.DataFrame({"color": colors, "shape": rng.choice(["round", "flat"], n_rows)}, dtype=object)
        score = (frame["color"] == "red") + 0.6 * (frame["shape"] == "flat")
    frame["class"] = np.where(score + rng.normal(0, 0.2, n_rows) > score.median(), "yes", "no")
    data = prepare(RawTable(kind, kind, pa.Table.from_pandas(frame, preserve_index=False)))
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=10)
    return data, pipeline.fit(data.X_train, data.y_train)


@pytest.fixture(scope="module", params=["numbers", "texts"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    data, pipeline = trained(kind)
    assert [feature.name for feature in data.schema.features] == NAMES[kind]
    folder = tmp_path_factory.mktemp(kind)
    write_bundle(folder / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
    save_model(
        folder / "model",
        bundle=folder / "bundle",
        code=CODE / "forest.py",
        signature=rows_signature(data.schema),
        input_example=example_rows(encode(data.X_train, data.schema), data.schema),
    )
    return folder / "model"


@pytest.fixture
def call(folder, make_app, ask):
    """Function that sends a body to an app of the model; the app takes at most 50 rows."""
    app = make_app(ServedModel.load(folder), max_rows=50)

    def call(path, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asyncio.run(ask(app, "POST", path, data, {"Content-Type": "application/json"}))

    return call


@pytest.fixture(scope="module")
def of_mlflow(folder):
    """Function from a body to what `mlflow models serve` would answer."""
    model = mlflow.pyfunc.load_model(str(folder))

    def answer(body):
        try:
            found = scoring_server.invocations(json.dumps(body), "application/json", model, None)
        except MlflowException as error:
            return error.get_http_status_code(), error.message
        return found.status, json.loads(found.response)

    return answer


def plain(kind, rows=None):
    """Rows of one JSON type, as tensors and NumPy hold them."""
    rows = ROWS[kind] if rows is None else rows
    return rows if kind == "texts" else [[None if v is None else float(v) for v in row] for row in rows]


def tensor(kind, rows=None, **changes):
    rows = plain(kind, rows)
    n_columns = len(NAMES[kind])
    whole = {
        "name": "input-0",
        "shape": [len(rows), n_columns],
        "datatype": "FP64" if kind == "numbers" else "BYTES",
        "data": [value for row in rows for value in row],
    }
    return {"inputs": [whole | changes]}


def columns_of(reply):
    assert reply.status == 200, reply.body
    return {output["name"]: output["data"] for output in reply.json["outputs"]}


@pytest.mark.parametrize("key", ["inputs", "instances"])
def test_rows_without_names_get_the_answer_of_rows_with_them(call, of_mlflow, kind, key):
    named = call("/invocations", {"dataframe_split": {"columns": NAMES[kind], "data": ROWS[kind]}})
    assert named.status == 200, named.body

    assert call("/invocations", {key: ROWS[kind]}).json == named.json
    assert of_mlflow({key: plain(kind)}) == (200, named.json)


@pytest.mark.parametrize("nested", [False, True])
def test_one_tensor_gets_the_answer_of_a_tensor_for_each_column(call, kind, nested):
    answer = call("/invocations", {"inputs": ROWS[kind]}).json["predictions"]
    data = {"data": plain(kind)} if nested else {}

    columns = columns_of(call(INFER, tensor(kind, **data)))

    assert columns == {name: [row[name] for row in answer] for name in answer[0]}


def test_every_datatype_that_can_hold_the_values_gives_the_same_answer(call, kind):
    rows = [[5, 1, 0], [7, 2, 1]] if kind == "numbers" else [["red", "b"], ["1.5", "flat"]]
    expected = columns_of(call(INFER, tensor(kind, rows)))
    texts = {"datatype": "BYTES", "data": [str(value) for row in rows for value in row]}
    spellings = [texts]
    if kind == "numbers":
        flat = [value for row in rows for value in row]
        spellings += [{"datatype": name, "data": flat} for name in ("FP32", "INT64", "INT8", "UINT16")]

    for spelling in spellings:
        assert columns_of(call(INFER, tensor(kind, rows, **spelling))) == expected


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1, 2, 0], [1, 2]], "Row 1 has 2 values, lists expected with 3 values each"),
        ([[1, 2, 0, 4]], "Row 0 has 4 values, lists expected with 3 values each"),
        ([[]], "expected with 3 values each, those of 'width', 'rooms', 'garden' in this order"),
        ([[[1, 2, 0]]], "Row 0 has 1 values, lists expected"),
        ([[[1], [2], [0]]], "row 0, column 'width': list [1] given, a number expected"),
        ([[1, 2, 0], 5], "Row 1 is a number, lists expected"),
        ([[1, 2, 0], {"width": 1}], "Row 1 is an object, lists expected"),
        ([1, 2, 0], "a list of rows such as [[value, ...], ...]"),
        ([[1.5, True, 0]], "row 0, column 'rooms': the boolean true given, a whole number expected"),
        ([[1.5, 2.5, 3]], "row 0, column 'rooms': 2.5 given"),
        ([[1.5, 2.5, 3]], "row 0, column 'garden': 3 given, true or false expected"),
        ([[10**400, 2, 0]], "row 0, column 'width': inf given"),
        ([["wide", 2, 0]], "row 0, column 'width': the string \"wide\" given"),
        ([[1, None, 0]], "row 0, column 'rooms': no value given"),
    ],
)
@pytest.mark.parametrize("key", ["inputs", "instances"])
@pytest.mark.parametrize("kind", ["numbers"], indirect=True)
def test_wrong_rows_are_refused_with_what_is_expected(call, of_mlflow, key, rows, words):
    reply = call("/invocations", {key: rows})

    assert reply.status == 400, reply.body
    assert words in reply.json["message"]
    status, message = of_mlflow({key: rows})
    # NumPy takes true among numbers for 1 before the model sees it, and rows of several lengths not at all.
    assert status == (200 if rows == [[1.5, True, 0]] else 400), message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [3, 2]}, "is not that of all columns in one, [n_rows, 3]"),
        ({"shape": [9]}, "is not that of all columns in one, [n_rows, 3]"),
        ({"shape": [3, 3, 1]}, "is not that of all columns in one, [n_rows, 3]"),
        ({"shape": [3, 3.0]}, "is not that of all columns in one, [n_rows, 3]"),
        (
            {"shape": None},
            "Send one tensor for each of 'width', 'rooms', 'garden', or one that holds them all",
        ),
        ({"shape": [2, 3]}, "9 values given for shape [2, 3]"),
        ({"shape": [60, 3]}, "9 values given for shape [60, 3]"),
        ({"datatype": "FP128"}, "datatype 'FP128' given, one of BOOL, "),
        ({"datatype": None}, "datatype None given"),
        ({"datatype": "INT64"}, "the value of row 0, column 0 is not of datatype INT64"),
        ({"datatype": "BOOL"}, "the value of row 0, column 0 is not of datatype BOOL"),
        ({"data": "x"}, "data must be a list of 9 values"),
        ({"data": [1.5] * 8 + [True]}, "the value of row 2, column 2 is not of datatype FP64"),
        ({"data": [[1.5, 2, 0]] * 2 + [[1.5, 2]]}, "row 2 is not a list of 3 values"),
        ({"data": [[1.5, 2, 0], 1]}, "row 1 is not a list of 3 values"),
        ({"data": [[[1.5], 2, 0]] * 3}, "the value of row 0, column 0 is not of datatype FP64"),
        ({"data": [1.5, 2, 0] * 2 + [1.5, 2.5, 3]}, "row 2, column 'rooms': 2.5 given"),
        ({"datatype": "BOOL", "data": [True] * 9}, "row 0, column 'width': the boolean true given"),
        ({"name": 5}, "Every input needs a name"),
        ({"name": "rooms"}, "[n_rows, 1] or [n_rows] expected"),
    ],
)
@pytest.mark.parametrize("kind", ["numbers"], indirect=True)
def test_a_wrong_tensor_is_refused_with_what_is_expected(call, changes, words):
    reply = call(INFER, tensor("numbers", **changes))

    assert reply.status == 400, reply.body
    assert words in reply.json["error"]


def test_no_rows_get_no_predictions(call, of_mlflow, kind):
    for key in ("inputs", "instances"):
        assert call("/invocations", {key: []}).json == {"predictions": []}
        assert of_mlflow({key: []}) == (200, {"predictions": []})
    assert {len(column) for column in columns_of(call(INFER, tensor(kind, []))).values()} == {0}


def test_too_many_rows_are_refused_before_they_are_read(call, kind):
    rows = ROWS[kind] * 17

    for path, body in (("/invocations", {"inputs": rows}), (INFER, tensor(kind, rows))):
        reply = call(path, body)

        assert reply.status == 413
        assert "51 rows given, at most 50" in reply.body.decode()


def test_parameters_and_outputs_go_with_rows_without_names(call, kind):
    body = {"inputs": ROWS[kind][:1], "params": {"explain": True}}
    [row] = call("/invocations", body).json["predictions"]
    request = tensor(kind, ROWS[kind][:1]) | {"id": "a", "outputs": [{"name": "explanation"}]}

    answer = call(INFER, request).json

    assert answer["id"] == "a"
    assert [json.loads(text) for text in answer["outputs"][0]["data"]] == [row["explanation"]]


def test_a_model_of_one_column_takes_a_vector_by_any_name(tmp_path, make_app, ask):
    data, _ = trained("numbers")
    frame = pd.DataFrame({"width": data.X_train["width"], "class": data.y_train})
    data = prepare(RawTable("one", "one", pa.Table.from_pandas(frame, preserve_index=False)))
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=5)
    pipeline.fit(data.X_train, data.y_train)
    write_bundle(tmp_path / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
    app = make_app(ServedModel(Predictor(Bundle.load(tmp_path / "bundle"))))

    def answer(name, shape):
        whole = {"name": name, "shape": shape, "datatype": "FP64", "data": [1.5, 0.5]}
        body = json.dumps({"inputs": [whole]}).encode()
        reply = asyncio.run(ask(app, "POST", INFER, body, {"Content-Type": "application/json"}))
        assert reply.status == 200, reply.body
        return reply.json["outputs"]

    assert answer("x", [2]) == answer("x", [2, 1]) == answer("width", [2])
