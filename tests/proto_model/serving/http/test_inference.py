"""The Open Inference Protocol: metadata from the schema, tensors in and out, `{"error": ...}` for faults."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proto_model.errors import ProtoModelError
from proto_model.serving.http.inference import Inference
from proto_model.serving.http.payload import RowPayload

NAMES = ["age", "income", "job", "owner", "children"]
DATATYPES = {"age": "INT64", "income": "FP64", "job": "BYTES", "owner": "BOOL", "children": "INT64"}
ROWS = [[40, 2e4, "nurse", True, 1], [None, 8e4, None, False, 0], [70, 1.5, "poet", True, 3]]
INFER = "/v2/models/proto_model/infer"


def tensors(rows=ROWS, **changes):
    """An `infer` body; changes replace parts of the tensor of a column."""
    inputs = []
    for place, name in enumerate(NAMES):
        tensor = {
            "name": name,
            "shape": [len(rows), 1],
            "datatype": DATATYPES[name],
            "data": [row[place] for row in rows],
        }
        inputs.append(tensor | changes.get(name, {}))
    return {"inputs": inputs}


@pytest.fixture
def predictions(call):
    """What `/invocations` says of `ROWS`."""
    body = {"dataframe_split": {"columns": NAMES, "data": ROWS}}
    return call("/invocations", body).json["predictions"]


def test_tensors_get_the_predictions_of_invocations(call, predictions):
    reply = call(INFER, tensors() | {"id": "abc"})

    assert reply.status == 200, reply.body
    answer = reply.json
    assert (answer["model_name"], answer["id"]) == ("proto_model", "abc")
    assert {output["name"]: output["data"] for output in answer["outputs"]} == {
        name: [row[name] for row in predictions] for name in predictions[0]
    }
    assert all(output["shape"] == [3, 1] for output in answer["outputs"])
    assert [output["datatype"] for output in answer["outputs"]] == ["BYTES", "FP64", "FP64", "FP64"]


@pytest.mark.parametrize(
    "changes",
    [
        {"age": {"shape": [3]}},
        {"age": {"data": [[40], [None], [70]]}},
        {"children": {"datatype": "FP32", "data": [1.0, 0.0, 3.0]}, "age": {"datatype": "UINT8"}},
        {"owner": {"datatype": "INT8", "data": [1, 0, 1]}},
        {"owner": {"datatype": "BYTES", "data": [" true", "0.0", "TRUE"]}},
        {"age": {"datatype": "BYTES", "data": ["40", "?", " 7e1"]}},
        {"job": {"parameters": {"content_type": "str"}}},
    ],
)
def test_other_spellings_of_the_same_tensor_get_the_same_answer(call, changes):
    assert call(INFER, tensors(**changes)).json == call(INFER, tensors()).json


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"age": {"shape": [2, 1]}}, "3 values given for shape [2, 1]"),
        ({"age": {"shape": [3, 2]}}, "[n_rows, 1] or [n_rows] expected"),
        ({"age": {"shape": "3"}}, "[n_rows, 1] or [n_rows] expected"),
        ({"age": {"shape": [-1, 1]}}, "[n_rows, 1] or [n_rows] expected"),
        ({"age": {"shape": []}}, "[n_rows, 1] or [n_rows] expected"),
        ({"age": {"shape": [True]}}, "[n_rows, 1] or [n_rows] expected"),
        ({"age": {"data": 5}}, "a list of 3 values"),
        ({"age": {"datatype": "BYTES"}}, "the value of row 0 is not of datatype BYTES"),
        (
            {"age": {"datatype": "BYTES", "data": ["40", "old", "?"]}},
            "row 1, column 'age': the string \"old\"",
        ),
        ({"age": {"datatype": "BOOL", "data": [True, None, None]}}, "row 0, column 'age': the boolean true"),
        ({"job": {"datatype": "INT64", "data": [1, 2, 3]}}, "row 0, column 'job': 1 given, a string"),
        ({"age": {"datatype": None}}, "INT64 expected"),
        ({"age": {"datatype": ["FP64"]}}, "INT64 expected"),
        ({"age": {"data": [40, 41.5, 42]}}, "the value of row 1 is not of datatype INT64"),
        ({"age": {"data": [40, True, 42]}}, "the value of row 1 is not of datatype INT64"),
        ({"age": {"datatype": "FP64", "data": [40, 41.5, 42]}}, "row 1, column 'age': 41.5 given"),
        ({"income": {"data": [1, "2", 3]}}, "the value of row 1 is not of datatype FP64"),
        ({"income": {"data": [1, None, 3]}}, "row 1, column 'income': no value given"),
        ({"income": {"data": [[1], [2, 3], [4]]}}, "the value of row 1 is not of datatype FP64"),
        ({"job": {"data": ["a", 1, "b"]}}, "the value of row 1 is not of datatype BYTES"),
        ({"owner": {"data": [True, 1, False]}}, "the value of row 1 is not of datatype BOOL"),
        ({"owner": {"datatype": "INT8", "data": [1, 2, 0]}}, "row 1, column 'owner': 2 given"),
        ({"owner": {"shape": [2], "data": [True, True]}}, "'owner' has 2 rows, others have 3"),
        ({"owner": {"name": "income"}}, "'income' given more than once"),
        ({"owner": {"name": "else"}}, "column 'owner' is missing from every row"),
        ({"owner": {"name": 5}}, "Every input needs a name"),
    ],
)
def test_a_wrong_tensor_is_refused_by_name(call, changes, words):
    reply = call(INFER, tensors(**changes))

    assert reply.status == 400
    assert reply.json.keys() == {"error"}
    assert words in reply.json["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"inputs": {}}',
        b'{"inputs": [5]}',
        b'{"inputs": []}',
        json.dumps(tensors() | {"id": 5}).encode(),
        json.dumps(tensors() | {"id": "\ud800"}).encode(),
        json.dumps(tensors() | {"outputs": [{"name": "nothing"}]}).encode(),
        json.dumps(tensors() | {"outputs": [{"name": []}]}).encode(),
        json.dumps(tensors() | {"outputs": 5}).encode(),
        json.dumps(tensors() | {"parameters": {"explain": "yes"}}).encode(),
        json.dumps(tensors() | {"parameters": [1]}).encode(),
    ],
)
def test_malformed_requests_are_refused(call, body):
    reply = call(INFER, body)

    assert reply.status == 400
    assert reply.json.keys() == {"error"}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(NAMES),
    st.sampled_from(["name", "shape", "datatype", "data"]),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just("FP64")),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)
        ),
        max_leaves=6,
    ),
)
def test_no_tensor_breaks_the_server(call, column, part, value):
    assert call(INFER, tensors(**{column: {part: value}})).status in (200, 400)


def test_no_rows_get_no_predictions(call):
    reply = call(INFER, tensors([]))

    assert reply.status == 200
    assert {len(output["data"]) for output in reply.json["outputs"]} == {0}


def test_only_the_outputs_asked_for_are_given(call, predictions):
    outputs = call(INFER, tensors() | {"outputs": [{"name": "probability"}]}).json["outputs"]

    assert [(output["name"], output["data"]) for output in outputs] == [
        ("probability", [row["probability"] for row in predictions])
    ]


def test_explanations_are_text_tensors_of_json(call):
    params = {"explain": True, "immutable_features": "age"}
    outputs = call(INFER, tensors(ROWS[:1]) | {"parameters": params}).json["outputs"]
    body = {
        "inputs": [dict(zip(NAMES, ROWS[0], strict=True))],
        "params": params | {"immutable_features": ["age"]},
    }

    assert outputs[-1]["name"] == "explanation"
    assert (
        json.loads(outputs[-1]["data"][0]) == call("/invocations", body).json["predictions"][0]["explanation"]
    )


def test_metadata_comes_from_the_schema(call):
    metadata = call("/v2/models/proto_model", method="GET").json

    assert metadata["name"] == "proto_model"
    assert {tensor["name"]: tensor["datatype"] for tensor in metadata["inputs"]} == DATATYPES
    assert all(tensor["shape"] == [-1, 1] for tensor in metadata["inputs"] + metadata["outputs"])
    assert [tensor["name"] for tensor in metadata["outputs"]] == [
        "prediction",
        "probability",
        "probability_no",
        "probability_yes",
        "prediction_set",
        "explanation",
    ]


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v2/health/live", {"live": True}),
        (
            "/v2/health/ready",
            {"ready": True, "models": [{"name": "proto_model", "version": None, "worker_versions": [None]}]},
        ),
        ("/v2/models/proto_model/ready", {"name": "proto_model", "ready": True}),
    ],
)
def test_the_server_says_that_it_is_ready(call, path, answer):
    reply = call(path, method="GET")

    assert (reply.status, reply.json) == (200, answer)


def test_the_server_tells_its_name_and_extensions(call):
    answer = call("/v2", method="GET").json

    assert answer.keys() == {"name", "version", "extensions"}
    assert answer["extensions"] == ["binary_tensor_data"]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/x",
        "/v2/models",
        "/v2/models/other",
        "/v2/models/proto_model/versions/7",
        "/v2/models/other/infer",
    ],
)
def test_what_is_not_here_is_not_found(call, path):
    for method in ("GET", "POST"):
        reply = call(path, method=method)

        assert reply.status == 404
        assert reply.json.keys() == {"error"}


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(0, 3), st.floats(0, 90), st.sampled_from(["nurse", "clerk", "1"])
)


@st.composite
def bodies(draw):
    """Bodies of `infer` that are right, or wrong in a place or two."""
    n_rows = draw(st.sampled_from([0, 1, 2]))
    row = {"age": 40, "income": 2e4, "job": "nurse", "owner": True, "children": 1}
    inputs = [
        {"name": name, "shape": [n_rows, 1], "datatype": DATATYPES[name], "data": [row[name]] * n_rows}
        for name in draw(st.permutations(NAMES))
    ]
    for _ in range(draw(st.integers(0, 2))):
        tensor = draw(st.sampled_from(inputs))
        key = draw(st.sampled_from(list(tensor)))
        tensor[key] = draw(
            {
                "name": st.sampled_from([*NAMES, "other", 3, None]),
                "shape": st.sampled_from([[n_rows], [True, 1], [n_rows, 1.0], [n_rows, 2], [], "1"]),
                "datatype": st.sampled_from(["FP64", "INT8", "BOOL", "BYTES", "FP128", None]),
                "data": st.lists(VALUES, min_size=n_rows, max_size=n_rows) | st.just("x"),
            }[key]
        )
        if draw(st.integers(0, 9)) == 0:
            del tensor[key]
            break
    return json.dumps({"inputs": inputs}).encode()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies())
def test_the_short_way_accepts_and_refuses_what_the_long_way_does(served, body):
    quick, slow = (Inference(RowPayload(served.predictor, 1), "proto_model") for _ in range(2))
    quick.read(json.dumps(tensors(ROWS[:1])).encode())  # the next one is held against it
    slow._usual.columns = lambda tensors, max_rows: None

    def outcome(inference):
        try:
            return inference.read(body).question.rows
        except ProtoModelError as error:
            return str(error)

    np.testing.assert_equal(outcome(quick), outcome(slow))
