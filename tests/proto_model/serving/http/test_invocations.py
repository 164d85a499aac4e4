"""MLflow's scoring protocol: the same answers, and the same requests refused, as by MLflow's own server."""

import io
import json

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proto_model.parameters import ROWS, parameters_of

GOOD = {
    "age": st.one_of(st.none(), st.integers(18, 90), st.just(41.0)),
    "income": st.floats(1000, 90_000).map(lambda x: round(x, 2)),
    "job": st.sampled_from([None, "clerk", "farmer", "nurse", "pilot", "astronaut", ""]),
    "owner": st.one_of(st.booleans(), st.sampled_from([0, 1, 1.0])),
    "children": st.integers(0, 4),
    "more": st.sampled_from([None, "x", 3, True]),
}
BAD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(
        ["1.5", "", "true", "NaN", 1.5, -1, 2, 10**17, 10**400, float("nan"), float("inf"), [], {}]
    ),
    st.sampled_from([[1], {"a": 1}, [[2]], "a" * 100]),
)
FORMS = ["split", "records", "inputs by row", "inputs by column", "instances", "instances by column"]


@st.composite
def tables(draw):
    """Names of columns, and rows; some with a bad value or two, or without a column."""
    names = draw(st.permutations(list(GOOD)))
    names = names[: draw(st.sampled_from([len(names)] * 4 + [len(names) - 1]))]
    n_rows = draw(st.integers(1, 4))
    rows = [[draw(GOOD[name]) for name in names] for _ in range(n_rows)]
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        rows[draw(st.integers(0, n_rows - 1))][draw(st.integers(0, len(names) - 1))] = draw(BAD)
    return names, rows


def body_of(form, names, rows):
    records = [dict(zip(names, row, strict=True)) for row in rows]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return {
        "split": {"dataframe_split": {"columns": names, "data": rows}},
        "records": {"dataframe_records": records},
        "inputs by row": {"inputs": records},
        "inputs by column": {"inputs": columns},
        "instances": {"instances": records},
        "instances by column": {"instances": columns},
    }[form]


def numpy_mixes_a_column(rows):
    """Whether MLflow, which makes an array of each column of some formats, changes values in doing so."""
    return any(
        len({type(value) for value in column} - {type(None)} - {int, float}) > 0
        and len({type(value) for value in column}) > 1
        for column in zip(*rows, strict=True)
    )


def test_a_row_without_columns_is_refused_as_by_mlflow(call, mlflow_server):
    body = {"dataframe_split": {"columns": [], "data": [[]]}}

    assert call("/invocations", body).status == mlflow_server(json.dumps(body).encode())[0] == 400


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables(), st.sampled_from(FORMS))
def test_every_table_is_answered_or_refused_as_by_mlflow(call, mlflow_server, table, form):
    names, rows = table
    body = json.dumps(body_of(form, names, rows)).encode()

    reply = call("/invocations", body)

    status, answer = mlflow_server(body)
    if form in ("split", "records", "inputs by row") or not numpy_mixes_a_column(rows):
        assert (reply.status, status) in ((200, 200), (400, 400)), (body, reply.body, answer)
    else:
        assert reply.status in (200, 400)
    if reply.status == status == 200:
        assert reply.json == answer
    if reply.status == 400:
        assert reply.json.keys() == {"error_code", "message"}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from([*GOOD, "columns", "data", "index"]), inner),
        ),
        max_leaves=8,
    ),
    st.sampled_from(["dataframe_split", "dataframe_records", "inputs", "instances", "params", "messages"]),
)
def test_no_json_breaks_the_server(call, content, key):
    good = {"age": 40, "income": 2e4, "job": "nurse", "owner": True, "children": 1}
    for body in ({key: content}, {"dataframe_records": [good], key: content}, content):
        reply = call("/invocations", json.dumps(body).encode())

        assert reply.status in (200, 400)
        assert reply.json.keys() in ({"predictions"}, {"error_code", "message"})


MALFORMED = {
    "nothing": b"",
    "half of an object": b'{"inputs": [',
    "a list": b"[1]",
    "a number": b"5",
    "not UTF-8": b'{"inputs": "\xff"}',
    "nested deeply": b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number of many digits": b'{"inputs": [{"age": ' + b"9" * 5000 + b"}]}",
    "half a surrogate pair": b'{"inputs": [{"age": "\\ud800"}]}',
    "no format": b"{}",
    "two formats": b'{"inputs": [], "instances": []}',
    "split without data": b'{"dataframe_split": {"columns": []}}',
    "split with another key": b'{"dataframe_split": {"columns": [], "data": [], "x": 1}}',
    "split with rows that are none": b'{"dataframe_split": {"columns": ["age"], "data": [5]}}',
    "split with longer rows": b'{"dataframe_split": {"columns": ["age"], "data": [[5, 6]]}}',
    "split with a shorter row": b'{"dataframe_split": {"columns": ["age"], "data": [[5], []]}}',
    "split without columns": b'{"dataframe_split": {"data": [[5]]}}',
    "split with a wrong index": b'{"dataframe_split": {"columns": ["age"], "data": [[5]], "index": [1, 2]}}',
    "a column twice": b'{"dataframe_split": {"columns": ["age", "age"], "data": [[5, 6]]}}',
    "columns of lists": b'{"dataframe_split": {"columns": [["age"]], "data": [[5]]}}',
    "records that are none": b'{"dataframe_records": [5]}',
    "columns of different lengths": b'{"inputs": {"age": [1, 2], "income": [1]}}',
    "parameters that are none": b'{"inputs": [], "params": 5}',
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bodies_are_refused_with_a_reason(call, mlflow_server, name):
    reply = call("/invocations", MALFORMED[name])

    assert reply.status == 400
    assert len(reply.json["message"]) < 500
    # MLflow breaks at the first two, and takes the last value of the third.
    if name not in ("nested deeply", "a number of many digits", "a column twice"):
        assert mlflow_server(MALFORMED[name])[0] == 400


def test_a_fault_names_row_and_column_as_the_served_model_does(call):
    rows = [[40, 2e4, "nurse", True, 1], [40.5, "much", 3, None, True]]
    names = ["age", "income", "job", "owner", "children"]

    message = call("/invocations", {"dataframe_split": {"columns": names, "data": rows}}).json["message"]

    assert message.startswith("5 faults in the request (rows count from 0):")
    assert "row 1, column 'age': 40.5 given, a whole number expected" in message
    assert "row 1, column 'income': the string \"much\" given" in message
    assert "row 1, column 'children': the boolean true given" in message


@pytest.mark.parametrize("key", ["dataframe_records", "inputs", "instances"])
def test_no_rows_get_no_predictions(call, key):
    assert call("/invocations", {key: []}).json == {"predictions": []}


@pytest.mark.parametrize("value", ["NaN", "1e400", "-Infinity"])
def test_numbers_that_json_does_not_know_are_read_as_mlflow_reads_them(call, mlflow_server, value):
    row = '{"age": VALUE, "income": 2e4, "job": "nurse", "owner": true, "children": 1}'
    body = f'{{"inputs": [{row.replace("VALUE", value)}]}}'.encode()

    assert call("/invocations", body).status == mlflow_server(body)[0] == (200 if value == "NaN" else 400)


@pytest.fixture(scope="module")
def frame():
    return pd.DataFrame(
        {
            "extra": ["a", "b", "c"],
            "owner": [True, False, True],
            "job": ["nurse", None, "poet"],
            "children": [0, 1, 2],
            "income": [20_000.5, 30_000.25, 0.5],
            "age": [30.0, None, 50.0],
        }
    )


def test_csv_and_parquet_are_answered_as_by_mlflow(call, mlflow_server, frame):
    parquet = io.BytesIO()
    frame.to_parquet(parquet)
    bodies = {
        "text/csv": frame.to_csv(index=False).encode(),
        "application/vnd.apache.parquet": parquet.getvalue(),
    }
    for content_type, body in bodies.items():
        reply = call("/invocations", body, content_type=content_type)

        assert reply.status == 200, reply.body
        assert (200, reply.json) == mlflow_server(body, content_type)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("true,nurse,1,20000,30", 200),
        ("TRUE,,1,2e4,NA", 200),
        ("1,nurse,1,20000,30.0", 200),
        (" 1,nurse, 1,20000 ,30", 200),
        (f"true,{'nurse ' * 30_000},1,20000,30", 200),
        ("yes,nurse,1,20000,30", 400),
        ("true,nurse,true,20000,30", 400),
        ("true,nurse,1.5,20000,30", 400),
        ("true,nurse,1,2_0,30", 400),
        ("true,nurse,1,inf,30", 400),
        ("true,nurse,1,,30", 400),
        ("true,nurse,1,abc,30", 400),
        ("true,nurse,1", 400),
        ('true,"nurse,1,20000,30', 400),
    ],
)
def test_csv_values_are_taken_and_refused_as_by_mlflow(call, mlflow_server, line, status):
    body = f"owner,job,children,income,age\n{line}\n".encode()

    reply = call("/invocations", body, content_type="text/csv; charset=UTF-8")

    assert (reply.status, mlflow_server(body, "text/csv")[0]) == (status, status), reply.body


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "text/csv"),
        (b"\xff\xfe", "text/csv"),
        (b"owner,owner\ntrue,true\n", "text/csv"),
        (b"owner\ntrue,3,4\n", "text/csv"),
        (b"", "application/vnd.apache.parquet"),
        (b"PAR1 and so on PAR1", "application/vnd.apache.parquet"),
    ],
)
def test_broken_tables_are_refused(call, body, content_type):
    reply = call("/invocations", body, content_type=content_type)

    assert reply.status == 400
    assert reply.json["error_code"] == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/json; charset=latin-1", "application/json; version=2"]
)
def test_other_media_types_are_refused(call, mlflow_server, content_type):
    assert call("/invocations", b"{}", content_type=content_type).status == 415
    assert mlflow_server(b"{}", content_type)[0] == 415


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from([p.name for p in parameters_of(ROWS) if p.name != "explain"] + ["other"]),
        st.sampled_from([None, True, 0, 3, 2.0, "lore", "fast", [], ["age"], ["age", None], [1], {}, "age"]),
        max_size=2,
    )
)
def test_parameters_are_taken_and_refused_as_by_mlflow(call, mlflow_server, params):
    row = {"age": 40, "income": 2e4, "job": "nurse", "owner": True, "children": 1}
    body = json.dumps({"inputs": [row], "params": params}).encode()

    assert call("/invocations", body).status == mlflow_server(body)[0]


def test_explanations_are_those_of_the_served_model(call, mlflow_server):
    row = {"age": 40, "income": 2e4, "job": "nurse", "owner": True, "children": 1}
    params = {"explain": True, "seed": 3, "immutable_features": ["age"], "max_counterfactuals": 1}
    body = json.dumps({"dataframe_records": [row, row], "params": params}).encode()

    reply = call("/invocations", body)

    assert reply.status == 200, reply.body
    assert (200, reply.json) == mlflow_server(body)


def test_an_option_that_does_not_fit_the_schema_is_refused(call):
    row = {"age": 40, "income": 2e4, "job": "nurse", "owner": True, "children": 1}
    for params in ({"increase_only": ["shoe size"]}, {"explain": True, "increase_only": ["shoe size"]}):
        reply = call("/invocations", {"inputs": [row], "params": params})

        assert reply.status == 400
        assert "increase_only: no feature 'shoe size'" in reply.json["message"]


def test_a_large_body_gets_the_same_answer(call, mlflow_server, mixed_data):
    rows = mixed_data.X_test.astype(object).where(mixed_data.X_test.notna(), None)
    rows = pd.concat([rows] * 20)
    body = json.dumps({"dataframe_split": rows.to_dict("split", index=False)}).encode()
    assert len(body) > 100_000

    reply = call("/invocations", body)

    assert (reply.status, reply.json) == mlflow_server(body)
