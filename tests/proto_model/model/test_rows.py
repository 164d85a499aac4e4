import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from proto_model.errors import InputError
from proto_model.model.rows import RowReader, coded_rows
from proto_model.schema import Feature, ModelSchema
from proto_model.table import encode
from proto_model.values import LARGEST

SCHEMA = ModelSchema(
    "m",
    "class",
    "string",
    ("no", "yes"),
    (
        Feature("size", "double", False, minimum=0.0, maximum=9.5, median=3.5),
        Feature("age", "long", True, minimum=18.0, maximum=90.0, median=37.0),
        Feature("owner", "boolean", False, minimum=0.0, maximum=1.0, median=0.0),
        Feature("job", "string", True, ("clerk", "nurse"), most_frequent="nurse"),
        Feature("town", "string", False, ("Ulm",), most_frequent="Ulm"),
    ),
)
GOOD = {"size": 1.5, "age": 40, "owner": True, "job": "nurse", "town": "Ulm"}
NUMBERS = ModelSchema("m", "class", "long", (0, 1), SCHEMA.features[:2])


def faults(data, schema=SCHEMA):
    with pytest.raises(InputError) as caught:
        coded_rows(data, schema)
    return str(caught.value)


def forms(records):
    """The same rows as MLflow hands them over for its formats."""
    frame = pd.DataFrame(records)
    columns = {name: [record.get(name) for record in records] for name in records[0]}
    return {
        "frame": frame,
        "objects": frame.astype(object),
        "csv": pd.read_csv(io.StringIO(frame.to_csv(index=False))),
        "records": records,
        "records of arrays": [{k: np.array(v) for k, v in record.items()} for record in records],
        "lists": columns,
        "instances": {
            name: np.array([np.array(value, dtype=object) for value in values])
            for name, values in columns.items()
        },
        "arrays": {name: np.array(values) for name, values in columns.items()},
    }


@pytest.mark.parametrize("form", list(forms([GOOD])))
def test_rows_in_any_form_give_the_same_codes(form):
    rows = [GOOD, GOOD | {"size": 2, "age": 7, "owner": False, "job": "clerk"}]

    assert_array_equal(coded_rows(forms(rows)[form], SCHEMA), [[1.5, 40, 1, 1, 0], [2, 7, 0, 0, 0]])


@given(st.permutations(["extra", *GOOD]))
def test_the_order_of_columns_and_further_ones_do_not_matter(order):
    frame = pd.DataFrame([GOOD | {"extra": "x"}])[order]

    assert_array_equal(coded_rows(frame, SCHEMA), [[1.5, 40, 1, 1, 0]])


@pytest.mark.parametrize("missing", [None, np.nan, float("nan"), pd.NA])
def test_missing_values_of_nullable_features_are_nan(missing):
    frame = pd.DataFrame([GOOD | {"age": missing, "job": missing}]).astype(object)

    assert_array_equal(coded_rows(frame, SCHEMA), [[1.5, np.nan, 1, np.nan, 0]])


def test_absent_nullable_columns_and_unseen_categories_are_nan():
    row = {"size": 1, "owner": False, "town": "Rome"}

    assert_array_equal(coded_rows([row], SCHEMA), [[1, np.nan, 0, np.nan, np.nan]])


def test_a_mapping_of_single_values_is_one_row():
    assert_array_equal(coded_rows(GOOD, SCHEMA), [[1.5, 40, 1, 1, 0]])


@pytest.mark.parametrize("empty", [pd.DataFrame(), [], {}, np.array([]), pd.DataFrame(columns=list(GOOD))])
def test_no_rows_are_no_rows(empty):
    assert coded_rows(empty, SCHEMA).shape == (0, 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": "1_5"}, "column 'size': the string \"1_5\" given, a number expected, such as 3.5"),
        ({"size": "?"}, "column 'size': no value (\"?\") given, a number expected, such as 3.5"),
        ({"size": 1e39}, "column 'size': 1e+39 given, a number between -3.4e+38 and 3.4e+38 expected"),
        ({"size": True}, "column 'size': the boolean true given, a number expected"),
        ({"size": None}, "column 'size': no value given, a number expected"),
        ({"size": float("nan")}, "column 'size': no value given"),
        (
            {"size": float("-inf")},
            "column 'size': -inf given, a number between -3.4e+38 and 3.4e+38 expected",
        ),
        ({"size": 10**400}, "column 'size': inf given"),
        ({"size": [1, 2]}, "column 'size': list [1, 2] given"),
        ({"age": 3.7}, "column 'age': 3.7 given, a whole number expected, such as 37"),
        ({"age": True}, "column 'age': the boolean true given"),
        ({"owner": "no"}, "column 'owner': the string \"no\" given, true or false expected"),
        ({"owner": "2.0"}, "column 'owner': 2 given, true or false expected"),
        ({"owner": 2}, "column 'owner': 2 given, true or false expected"),
        ({"owner": None}, "column 'owner': no value given"),
        ({"job": 3}, "column 'job': 3 given, a string expected, such as \"nurse\""),
        ({"job": True}, "column 'job': the boolean true given"),
        ({"town": None}, "column 'town': no value given, a string expected, such as \"Ulm\""),
    ],
)
def test_a_value_that_does_not_fit_is_named_in_every_form(change, words):
    rows = [GOOD, GOOD | change]
    for form in (rows, pd.DataFrame(rows).astype(object), {k: [r[k] for r in rows] for k in GOOD}):
        message = faults(form)

        assert f"row 1, {words}" in message
        assert message.startswith("1 fault in the request")


def test_all_faults_come_at_once_in_the_order_of_rows():
    message = faults([GOOD | {"size": "x", "town": 1}, GOOD, GOOD | {"age": 1.5}])

    assert message.splitlines()[0] == "3 faults in the request (rows count from 0):"
    assert [line.split(":")[0] for line in message.splitlines()[1:]] == [
        "row 0, column 'size'",
        "row 0, column 'town'",
        "row 2, column 'age'",
    ]


def test_of_many_faults_twenty_are_shown_and_the_rest_is_counted():
    message = faults(pd.DataFrame([GOOD | {"size": "x"}] * 500))

    assert message.startswith("500 faults")
    assert len(message.splitlines()) == 22
    assert message.endswith("and 480 more")


def test_absent_columns_are_named_in_one_line_after_wrong_values():
    message = faults([{"age": "old"}])

    first, wrong, absent = message.splitlines()
    assert first.startswith("4 faults")
    assert wrong.startswith("row 0, column 'age': ")
    assert absent == "3 columns are missing from every row: 'size', 'owner', 'town'"


def test_columns_given_twice_are_named():
    frame = pd.DataFrame([[1.0, 2, 3.0]], columns=["size", "age", "size"])

    assert "more than once: 'size'" in faults(frame, NUMBERS)


def test_columns_of_different_lengths_are_named():
    assert "'age': 1 given, 2 values expected" in faults({"size": [1, 2], "age": [3]}, NUMBERS)


@pytest.mark.parametrize("rows", [np.zeros((2, 3)), [[1, 2]], 3, "text"])
def test_rows_without_names_are_refused_with_the_names_where_they_need_them(rows):
    assert "'size'" in faults(rows)


def test_a_model_of_text_and_numbers_says_which_columns_need_names():
    for rows in ([[1.5, 40, True, "nurse", "Ulm"]], np.zeros((1, 5))):
        message = faults(rows)

        assert message.startswith("Rows without column names given.")
        assert "text for some columns, such as 'job', and not for others, such as 'size'" in message


NUMBER_ROWS = st.lists(
    st.lists(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-3, 90),
            st.floats(),
            st.sampled_from(["1.5", "", "x", 10**400]),
        ),
        min_size=2,
        max_size=2,
    ),
    min_size=1,
    max_size=4,
)


def outcome_of(read, *arguments):
    try:
        return read(*arguments)
    except InputError as error:
        return str(error)


@given(NUMBER_ROWS)
def test_rows_without_names_are_read_as_with_them(rows):
    reader = RowReader(NUMBERS)
    named = outcome_of(reader.table, NUMBERS.feature_names, rows)

    np.testing.assert_equal(outcome_of(reader.matrix, rows), named)
    np.testing.assert_equal(outcome_of(coded_rows, rows, NUMBERS), named)
    flat = [value for row in rows for value in row]
    np.testing.assert_equal(outcome_of(reader.tensor, flat, len(rows)), named)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8, np.uint64])
def test_an_array_of_rows_is_read_in_the_order_of_the_features(dtype):
    rows = np.array([[1, 40], [2, 50]], dtype=dtype, order="F")

    matrix = coded_rows(rows, NUMBERS)

    assert_array_equal(matrix, [[1.0, 40.0], [2.0, 50.0]])
    assert matrix.flags.c_contiguous
    assert not np.shares_memory(matrix, rows)


@pytest.mark.parametrize(
    ("rows", "given"),
    [
        (np.zeros((2, 3)), "An array of shape [2, 3] given"),
        (np.zeros((1, 0)), "An array of shape [1, 0] given"),
        (np.zeros((2, 2, 1)), "An array of shape [2, 2, 1] given"),
        ([[1, 2], [3]], "Row 1 has 1 values"),
        ([[]], "Row 0 has 0 values"),
        ([[1, 2], {"size": 1}], "Row 1 is an object"),
        ([[1, 2], None], "Row 1 is null"),
    ],
)
def test_rows_of_another_width_are_refused_with_what_was_expected(rows, given):
    message = faults(rows, NUMBERS)

    assert message.startswith(given)
    assert "expected with 2 values each, those of 'size', 'age' in this order" in message


def test_values_of_rows_without_names_are_refused_by_row_and_column():
    for rows in ([[1.0, 40], [math.inf, 1.5]], np.array([[1.0, 40], [math.inf, 1.5]])):
        assert faults(rows, NUMBERS).splitlines()[1:] == [
            "row 1, column 'size': inf given, a number between -3.4e+38 and 3.4e+38 expected",
            "row 1, column 'age': 1.5 given, a whole number expected, such as 37",
        ]
    assert "row 0, column 'size': the boolean true given" in faults(np.array([[True, False]]), NUMBERS)


def test_arrays_without_rows_are_no_rows():
    for rows in ([], np.zeros((0, 2)), np.array([])):
        assert coded_rows(rows, NUMBERS).shape == (0, 2)


def test_a_matrix_of_numbers_is_checked_at_once():
    frame = pd.DataFrame({"age": [1.0, 2.5, np.nan], "size": [np.inf, 0.0, np.nan]})

    message = faults(frame, NUMBERS)

    assert "row 0, column 'size': inf given" in message
    assert "row 1, column 'age': 2.5 given" in message
    assert "row 2, column 'size': no value given" in message
    assert message.startswith("3 faults")


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "size": st.floats(-LARGEST, LARGEST) | st.integers(-(2**60), 2**60),
                "age": st.none() | st.integers(-(2**53), 2**53),
                "owner": st.booleans(),
                "job": st.none() | st.sampled_from(["clerk", "nurse", "pilot"]),
                "town": st.sampled_from(["Ulm", "Bonn"]),
            }
        ),
        min_size=1,
        max_size=6,
    )
)
def test_what_json_carries_arrives(records):
    sent = json.loads(json.dumps(records))
    columns = {name: [record[name] for record in records] for name in GOOD}
    canonical = pd.DataFrame(
        {
            "size": np.array(columns["size"], dtype=float),
            "age": np.array([np.nan if v is None else v for v in columns["age"]], dtype=float),
            "owner": np.array(columns["owner"], dtype=float),
            "job": pd.Series(columns["job"], dtype=object),
            "town": pd.Series(columns["town"], dtype=object),
        }
    )

    assert_array_equal(coded_rows(pd.DataFrame(sent), SCHEMA), encode(canonical, SCHEMA))
    assert_array_equal(coded_rows(sent, SCHEMA), encode(canonical, SCHEMA))


def test_many_rows_are_read_column_by_column_with_the_same_result(mixed_data):
    frame = pd.concat([mixed_data.X_test] * 120, ignore_index=True)

    assert frame.size > 50_000
    assert_array_equal(coded_rows(frame, mixed_data.schema), encode(frame, mixed_data.schema))


def test_rows_without_any_column_are_not_lost():
    reader = RowReader(NUMBERS)
    nullable = RowReader(ModelSchema("m", "class", "long", (0, 1), SCHEMA.features[1:2]))

    with pytest.raises(InputError, match="'size' is missing from every row"):
        reader.table([], [[], []])
    assert_array_equal(nullable.table([], [[], []]), [[math.nan], [math.nan]])
