import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapper import InvalidRequestError, ModelSchema, TabularModel
from mapper.errors import TooLargeError

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
WHOLE = st.integers(-(2**53), 2**53)
RECORDS = st.fixed_dictionaries(
    {"mass": FINITE | WHOLE, "ringed": st.booleans()},
    optional={
        "eggs": st.none() | WHOLE,
        "island": st.none() | st.sampled_from(["Biscoe", "Dream", "Bisco", "dream"]),
    },
)
NAMES = ["mass", "eggs", "ringed", "island"]


def faults_of(model, request):
    with pytest.raises(InvalidRequestError) as caught:
        model.map_request(request)
    return {(fault.row, fault.field, fault.kind) for fault in caught.value.errors}


def columns_of(request):
    """Columns of a mapped request, whichever form it has; those left out are all None."""
    if "inputs" in request:
        return {name: request["inputs"].get(name, [None] * request.n_rows) for name in NAMES}
    table = request["dataframe_split"]
    assert table["columns"] == NAMES
    return {name: [row[i] for row in table["data"]] for i, name in enumerate(NAMES)}


@given(records=st.lists(RECORDS, min_size=1, max_size=5))
def test_every_valid_record_comes_through_in_its_place(model, records):
    request = model.map_request({"data": records})

    assert request.n_rows == len(records)
    assert columns_of(request) == {name: [record.get(name) for record in records] for name in NAMES}


@given(records=st.lists(RECORDS, min_size=1, max_size=4), order=st.permutations(NAMES))
def test_rows_in_any_column_order_give_what_records_give(model, records, order):
    rows = [[record.get(name) for name in order] for record in records]

    assert model.map_request({"data": {"columns": order, "rows": rows}}) == model.map_request(
        {"data": records}
    )


@given(record=RECORDS)
def test_one_record_gives_what_a_list_of_one_gives(model, record):
    assert model.map_request({"data": record}) == model.map_request({"data": [record]})


@given(
    good=st.lists(RECORDS, min_size=1, max_size=4),
    where=st.integers(0, 3),
    fault=st.sampled_from(
        [
            ({"mass": "four"}, "mass", "wrong_type"),
            ({"mass": True}, "mass", "wrong_type"),
            ({"mass": None}, "mass", "null_value"),
            ({"mass": math.nan}, "mass", "null_value"),
            ({"mass": -math.inf}, "mass", "not_finite"),
            ({"mass": [1]}, "mass", "wrong_type"),
            ({"eggs": 1.5}, "eggs", "not_whole"),
            ({"eggs": False}, "eggs", "wrong_type"),
            ({"eggs": 2**130}, "eggs", "too_large"),
            ({"ringed": 2}, "ringed", "wrong_type"),
            ({"ringed": "no"}, "ringed", "wrong_type"),
            ({"island": 5}, "island", "wrong_type"),
        ]
    ),
)
def test_a_fault_is_reported_with_its_row_and_field(model, good, where, fault):
    change, field, kind = fault
    records = [dict(record) for record in good]
    where = min(where, len(records) - 1)
    records[where].update(change)

    assert faults_of(model, {"data": records}) == {(where, field, kind)}


def test_all_faults_of_a_request_come_at_once(model, record):
    bad = [{**record, "mass": "heavy", "eggs": 0.5}, record, {"ringed": 7, "colour": "red"}]

    assert faults_of(model, {"data": bad, "parameters": {"effort": "fast"}, "user": 1}) == {
        (None, "user", "unknown_part"),
        (None, "parameters.effort", "bad_parameter"),
        (0, "mass", "wrong_type"),
        (0, "eggs", "not_whole"),
        (2, "mass", "missing_field"),
        (2, "ringed", "wrong_type"),
    }


def test_the_list_of_faults_is_short_and_the_count_is_right(model):
    with pytest.raises(InvalidRequestError) as caught:
        model.map_request({"data": [{"mass": "x", "ringed": True}] * 50})

    assert len(caught.value.errors) == 20
    assert caught.value.error_count == 50


def test_unseen_categories_and_values_out_of_range_are_warnings(model):
    request = model.map_request({"data": [{"mass": 60, "ringed": False, "island": "Drem"}]})

    assert [(w.row, w.field, w.kind) for w in request.warnings] == [
        (0, "mass", "out_of_range"),
        (0, "island", "unseen_category"),
    ]
    assert "'Dream'" in request.warnings[1].message
    assert request["inputs"] == {"mass": [60], "ringed": [False], "island": ["Drem"]}


@pytest.mark.parametrize("as_table", [False, True])
def test_what_is_no_feature_is_left_out_with_a_warning(model, as_table):
    """As every entry point does it: a table with an id is a table of rows."""
    rows = [{"id": n, "mass": 4.0, "ringed": True, "iland": "Dream"} for n in range(3)]
    data = {"columns": list(rows[0]), "rows": [list(row.values()) for row in rows]} if as_table else rows

    request = model.map_request({"data": data})

    assert request["inputs"] == {"mass": [4.0] * 3, "ringed": [True] * 3}
    many = "" if as_table else " (3 rows)"
    assert [(found.row, found.field, found.message) for found in request.warnings] == [
        (0, "id", f"no feature of the model; left out{many}"),
        (0, "iland", f"no feature of the model; left out; did you mean 'island'?{many}"),
    ]
    assert request.warning_count == 2


def test_a_missing_feature_names_what_may_have_been_meant_by_it(model):
    with pytest.raises(InvalidRequestError) as caught:
        model.map_request({"data": [{"mas": 4, "ringed": True}] * 2})

    (fault,) = caught.value.errors
    assert str(fault) == "row 0, mass: a required field is missing; is it misspelled as 'mas'? (2 rows)"


def test_text_columns_with_some_nulls_are_sent_as_a_table(model, record):
    """MLflow reads the null of a text column as the text "None" when it comes by `inputs`."""
    request = model.map_request({"data": [record, {**record, "island": None}]})

    assert "inputs" not in request
    assert request["dataframe_split"]["data"][1][3] is None


def test_only_nulls_are_sent_as_a_table_too():
    feature = {"name": "a", "type": "double", "nullable": True, "minimum": 0, "maximum": 1, "median": 0}
    content = {
        "schema_version": "1.0",
        "model_name": "m",
        "target": {"name": "t", "type": "long"},
        "classes": [0, 1],
        "features": [feature],
    }

    request = TabularModel(ModelSchema.from_dict(content)).map_request({"data": [{}, {"a": None}]})

    assert request == {"dataframe_split": {"columns": ["a"], "data": [[None], [None]]}}


@pytest.mark.parametrize(
    ("data", "faults"),
    [
        (
            {"columns": ["mass", "mass", "ringed"], "rows": [[1, 1, True]]},
            {(None, "mass", "duplicate_column")},
        ),
        (
            {"columns": ["mass", "colour"], "rows": []},
            {
                (None, "ringed", "missing_field"),
            },
        ),
        (
            {"columns": ["mass", "ringed"], "rows": [[1], [2, True, 3], 5, ["x", True]]},
            {
                (0, None, "row_width"),
                (1, None, "row_width"),
                (2, None, "bad_request"),
                (3, "mass", "wrong_type"),
            },
        ),
        ({"columns": ["mass", "ringed"], "rows": []}, {(None, "data", "bad_request")}),
        ({"columns": "mass", "rows": [[1]]}, {(None, "data.columns", "bad_request")}),
        ([], {(None, "data", "bad_request")}),
        ([[1, True]], {(0, None, "bad_request")}),
        ("mass=1", {(None, "data", "bad_request")}),
    ],
)
def test_the_shape_of_the_data_is_checked(model, data, faults):
    assert faults_of(model, {"data": data}) == faults


@pytest.mark.parametrize("request_", [{}, {"data": None}, {"data": {"mass": 1, "ringed": True}, "file": {}}])
def test_either_data_or_a_file_is_needed(model, request_):
    assert (None, None, "bad_request") in faults_of(model, request_)


def test_too_many_rows_are_refused_by_name(model, record):
    with pytest.raises(TooLargeError, match="Too many rows: 101, and the limit is 100"):
        model.map_request({"data": [record] * 101})


def test_a_file_job_is_passed_on_with_its_options(model):
    file = {"input_url": "https://s3/a.csv?sig=1", "output_url": "https://s3/b.csv?sig=2", "file_id": "march"}

    request = model.map_request(
        {"file": file, "parameters": {"on_bad_row": "mark", "output_format": "csv.gz"}}
    )

    assert request["inputs"] == {name: [value] for name, value in file.items()}
    assert request["params"] == {"on_bad_row": "mark", "output_format": "csv.gz"}
    assert (request.n_rows, request.is_file, request.file_id) == (1, True, "march")


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        5,
        "a.csv",
        "ftp://s3/a?secret",
        "https://?secret",
        "https://me:secret@s3/a",
        "https://s3/ secret",
        "https://s3:x/?secret",
        "https://s3/a?secret#top",
        "https://[::1/?secret",
        "https://s3/?secret" + "a" * 9000,
    ],
)
def test_a_url_of_the_wrong_form_is_refused_and_never_repeated(model, url):
    with pytest.raises(InvalidRequestError) as caught:
        model.map_request({"file": {"input_url": url, "output_url": "https://s3/b"}})

    assert [(fault.field, fault.kind) for fault in caught.value.errors] == [("file.input_url", "bad_url")]
    assert "secret" not in str([fault.to_dict() for fault in caught.value.errors])


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"effort": "max"}, "effort"),
        ({"seed": 1.5}, "seed"),
        ({"max_counterfactuals": 21}, "max_counterfactuals"),
        ({"max_counterfactuals": True}, "max_counterfactuals"),
        ({"immutable_features": "mass"}, "immutable_features"),
        ({"immutable_features": ["mas"]}, "immutable_features"),
        ({"increase_only": ["island"]}, "increase_only"),
        ({"increase_only": ["mass"], "decrease_only": ["mass"]}, "decrease_only"),
        ({"output_format": "csv"}, "output_format"),
        ({"efort": "fast"}, "efort"),
    ],
)
def test_explanation_options_are_checked_against_the_schema(model, record, parameters, field):
    with pytest.raises(InvalidRequestError) as caught:
        model.get_explainer().map_request({"data": record, "parameters": parameters})

    assert [(f.field, f.kind) for f in caught.value.errors] == [(f"parameters.{field}", "bad_parameter")]


def test_a_whole_number_may_be_written_with_a_point(model, record):
    request = model.get_explainer().map_request({"data": record, "parameters": {"seed": 3.0}})

    assert repr(request["params"]["seed"]) == "3"


def test_the_explainers_own_options_hold_where_the_request_gives_none(model, record):
    explainer = model.get_explainer(effort="thorough", seed=3)

    request = explainer.map_request({"data": record, "parameters": {"seed": 4}})

    assert request["params"] == {"effort": "thorough", "seed": 4, "explain": True}
    with pytest.raises(InvalidRequestError):
        model.get_explainer(effort="none")


def test_a_mapped_request_is_the_json_to_send(model, record):
    assert json.loads(json.dumps(model.map_request({"data": record}))) == {
        "inputs": {name: [record[name]] for name in NAMES}
    }
