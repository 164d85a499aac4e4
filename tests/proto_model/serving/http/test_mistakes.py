"""What clients of the lean server send by mistake: the status, and the sentence that says what to do."""

import asyncio
import json

import pytest

JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}
INVOCATIONS, INFER = "/invocations", "/v2/models/proto_model/infer"
ROW = {"age": 40, "income": 2e4, "job": "nurse", "owner": True, "children": 1}
TENSORS = {
    "age": ("INT64", [40]),
    "income": ("FP64", [2e4]),
    "job": ("BYTES", ["nurse"]),
    "owner": ("BOOL", [True]),
    "children": ("INT64", [1]),
}


def row(**changed):
    return {"inputs": [{**ROW, **changed}]}


def tensors(**changed):
    """A request whose tensors have a key changed, or are left out for None."""
    listed = []
    for name, (datatype, data) in TENSORS.items():
        tensor = {"name": name, "shape": [1, 1], "datatype": datatype, "data": data}
        more = changed.get(name, {})
        if more is not None:
            listed.append({key: value for key, value in (tensor | more).items() if value is not None})
    return {"inputs": listed}


# Method, path, status, and a part of the sentence.
ADDRESSES = [
    ("GET", INVOCATIONS, 405, "GET given for /invocations, POST expected."),
    ("POST", "/ping", 405, "POST given for /ping, GET expected."),
    ("GET", INFER, 405, f"GET given for {INFER}, POST expected."),
    ("GET", "/nosuch", 404, "Nothing is at '/nosuch'. There are /invocations, /v2, /models/<name>, "),
    ("POST", "/invocation", 404, "Nothing is at '/invocation'. There are /invocations, "),
    ("POST", "/v1/predict", 404, "Nothing is at '/v1/predict'. There are /invocations, "),
    ("POST", "/models/nosuch/invocations", 404, "no model 'nosuch' here. There is 'proto_model'"),
    ("POST", "/models/a/b/c/invocations", 404, "There are /invocations, "),
    ("POST", "/v2/models/nosuch/infer", 404, "no model 'nosuch' here. There is 'proto_model'"),
    ("POST", "/v2/models/proto_model/predict", 404, "with ready, infer and versions below it."),
    (
        "POST",
        "/v2/models/proto_model/versions/9/infer",
        404,
        "no version '9' of 'proto_model' here. There is",
    ),
]

# Headers of a body that is right, status, and a part of the sentence.
HEADERS = [
    ({}, 415, "No Content-Type given, one of application/json, text/csv, "),
    (
        {"Content-Type": "text/plain"},
        415,
        "Content-Type 'text/plain' given, one of application/json, text/csv",
    ),
    ({"Content-Type": "application/json; charset=latin-1"}, 415, "Charset 'latin-1' given, only utf-8 is"),
    ({"Content-Type": "application/json; version=2"}, 415, "parameter 'version' given, only charset=utf-8"),
    (JSON | {"Content-Encoding": "br"}, 415, "Content-Encoding 'br' given, gzip, deflate or none expected."),
    (JSON | {"Content-Encoding": "gzip"}, 400, "not gzip as its Content-Encoding says. Compress it, or"),
]

# Path, body, status, and a part of the sentence.
BODIES = [
    (
        INVOCATIONS,
        b"",
        400,
        'The body is empty. Send a JSON object with the rows, such as {"inputs": [...]}.',
    ),
    (
        INVOCATIONS,
        b"{",
        400,
        "not JSON: Expecting property name enclosed in double quotes at line 1, column 2",
    ),
    (INVOCATIONS, b"age=40", 400, "not JSON: Expecting value at line 1, column 1."),
    (INVOCATIONS, b'{"inputs": "\xe4"}', 400, "not JSON: byte 12 is not utf-8."),
    (INVOCATIONS, b"[" * 3000, 400, "The body is not JSON: "),
    (INVOCATIONS, [ROW], 400, "The body is not a JSON object. Send a JSON object with the rows"),
    (INVOCATIONS, {}, 400, "dataframe_records, inputs, instances expected in the body, nothing given."),
    (INVOCATIONS, {"data": ROW}, 400, "inputs, instances expected in the body, 'data' given."),
    (INVOCATIONS, row() | {"instances": [ROW]}, 400, "Exactly one of dataframe_split, "),
    (INVOCATIONS, {"inputs": "x"}, 400, 'a list of objects such as [{"column": value, ...}]'),
    (INVOCATIONS, {"inputs": [[40, 2e4]]}, 400, "Rows without column names given. This model needs them"),
    (INVOCATIONS, {"dataframe_records": ROW}, 400, "must be a list of objects such as"),
    (INVOCATIONS, {"dataframe_split": {"columns": ["age"]}}, 400, "an object with columns (names), data"),
    (
        INVOCATIONS,
        {"dataframe_split": {"columns": ["age", "age"], "data": [[1, 1]]}},
        400,
        "Columns given more than once: 'age'. Send each of them once.",
    ),
    (
        INVOCATIONS,
        {"dataframe_split": {"columns": ["age", "job"], "data": [[1]]}},
        400,
        "Row 0: 1 given, 2 values expected, one per column.",
    ),
    (
        INVOCATIONS,
        {"inputs": {"age": [1, 2], "income": [1]}},
        400,
        "Column 'income': 1 given, 2 values expected, as in the columns before it.",
    ),
    (INVOCATIONS, {"inputs": [{"age": 1}]}, 400, "missing from every row: 'income', 'owner', 'children'"),
    (INVOCATIONS, row(age="old"), 400, "row 0, column 'age': the string \"old\" given, a whole number"),
    (INVOCATIONS, row(age=1.5), 400, "row 0, column 'age': 1.5 given, a whole number expected, such as"),
    (INVOCATIONS, row(age=1e300), 400, "a number between -3.4e+38 and 3.4e+38 expected"),
    (
        INVOCATIONS,
        row(income=None),
        400,
        "row 0, column 'income': no value given, a number expected, such as",
    ),
    (
        INVOCATIONS,
        row(income=float("nan")),
        400,
        "row 0, column 'income': no value given, a number expected, such as",
    ),
    (INVOCATIONS, row(job=3), 400, "row 0, column 'job': 3 given, a string expected, such as"),
    (INVOCATIONS, row(owner="perhaps"), 400, 'the string "perhaps" given, true or false expected'),
    (INVOCATIONS, row(children=[1]), 400, "row 0, column 'children': "),
    (INVOCATIONS, row() | {"params": {"explain": "perhaps"}}, 400, "explain: 'perhaps' given, true or false"),
    (
        INVOCATIONS,
        row() | {"params": {"effort": "fst", "explain": True}},
        400,
        "one of fast, thorough expected",
    ),
    (INVOCATIONS, {"inputs": [ROW] * 4}, 413, "4 rows given, at most 3 are taken at once. Send fewer"),
    (INVOCATIONS, b" " * 5000, 413, "larger than 4000 bytes. Send several smaller requests."),
    (INFER, b"", 400, "The body is empty. Send a JSON object with the rows, such as"),
    (INFER, {}, 400, "inputs must be a list of objects, each with a name."),
    (INFER, {"inputs": [5]}, 400, "inputs must be a list of objects, each with a name."),
    (INFER, {"inputs": []}, 400, "Send one tensor for each of age, income, job, owner, children."),
    (INFER, tensors(owner=None), 400, "'owner'"),
    (INFER, tensors(age={"datatype": None}), 400, "Input 'age': no datatype given, INT64 expected."),
    (INFER, tensors(age={"datatype": "FP99"}), 400, "Input 'age': datatype 'FP99' given, INT64 expected."),
    (INFER, tensors(age={"shape": [1, 2]}), 400, "Input 'age': shape [1, 2] given, [n_rows, 1] or [n_rows]"),
    (INFER, tensors(age={"shape": [2, 1], "data": [1, 2, 3]}), 400, "3 values given for shape [2, 1]."),
    (INFER, tensors(age={"data": ["old"]}), 400, "age"),
]

TABLES = [
    (b"age\n1\n", "missing from every row: 'income', 'owner', 'children'"),
    (b"age,income,job,owner,children\nx,2,nurse,true,1\n", "column 'age'"),
    (
        b"age,income,job,owner,children\n1,2\n",
        "row 0, column 'owner': no value given, true or false expected",
    ),
]

# Mistakes that are taken, because MLflow's own servers take them: an unknown column or parameter is left out.
TAKEN = [
    row(extra=1),
    row(job="pilot"),  # not seen in training
    row(age=10_000),  # outside the range of training
    row() | {"params": {"explian": True}},
    {"inputs": []},
]


@pytest.fixture
def send(make_app, ask):
    """Function that sends one request to an app; status and sentence of its reply, and its headers."""
    app = make_app(max_rows=3, max_body_bytes=4000)

    def send(method, path, body=b"", headers=JSON):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = asyncio.run(ask(app, method, path, content, headers))
        said = reply.json.get("error" if path.startswith("/v2/") else "message", "")
        return reply.status, said, reply.headers

    return send


@pytest.mark.parametrize(("method", "path", "status", "sentence"), ADDRESSES)
def test_wrong_methods_and_paths(send, method, path, status, sentence):
    given, said, headers = send(method, path, row())

    assert given == status
    assert sentence in said
    assert ("allow" in headers) == (status == 405)


@pytest.mark.parametrize(("headers", "status", "sentence"), HEADERS)
def test_wrong_headers(send, headers, status, sentence):
    given, said, answered = send("POST", INVOCATIONS, row(), headers)

    assert given == status
    assert sentence in said
    assert answered["content-type"] == "application/json"


@pytest.mark.parametrize(("path", "body", "status", "sentence"), BODIES)
def test_wrong_bodies(send, path, body, status, sentence):
    given, said, _ = send("POST", path, body)

    assert given == status, said
    assert sentence in said


@pytest.mark.parametrize(("table", "sentence"), TABLES)
def test_wrong_tables(send, table, sentence):
    given, said, _ = send("POST", INVOCATIONS, table, CSV)

    assert given == 400
    assert sentence in said


@pytest.mark.parametrize("body", TAKEN)
def test_what_is_taken(send, body):
    assert send("POST", INVOCATIONS, body)[0] == 200
