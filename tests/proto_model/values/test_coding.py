import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from proto_model.dates import FIRST, LAST
from proto_model.errors import InputError
from proto_model.schema import Feature, ModelSchema
from proto_model.values import decode, encode
from tests.proto_model.carriers import FEATURES

CATEGORIES = ("blue", "green", "red")
SCHEMA = ModelSchema(
    "m",
    "class",
    "long",
    (0, 1),
    (
        Feature("colour", "string", True, categories=CATEGORIES, most_frequent="red"),
        Feature("size", "double", True, minimum=0.0, maximum=9.0, median=3.0),
        Feature("new", "boolean", False, minimum=0.0, maximum=1.0, median=1.0),
    ),
)


def canonical(colours: list[str | None], sizes: list[float], new: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"colour": pd.Series(colours, dtype=object), "size": np.array(sizes), "new": np.array(new)}
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*CATEGORIES, None]),
            st.floats(allow_infinity=False),
            st.sampled_from([0.0, 1.0, np.nan]),
        )
    )
)
def test_rows_survive_the_trip_through_a_matrix(rows):
    frame = (
        canonical(*(list(column) for column in zip(*rows, strict=True))) if rows else canonical([], [], [])
    )
    frame = frame.astype({"size": float, "new": float})

    back = decode(encode(frame, SCHEMA), SCHEMA)

    pd.testing.assert_frame_equal(back, frame)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.just(np.nan), st.integers(-719162, 2932896).map(float)),
            st.one_of(st.just(np.nan), st.integers(FIRST, LAST).map(float)),
            st.one_of(st.just(np.nan), st.integers(0, 15).map(float)),
        ),
        min_size=1,
    )
)
def test_codes_of_dates_and_texts_survive_the_trip_through_a_frame(rows):
    features = tuple(FEATURES[name] for name in ("day", "moment", "note"))
    schema = dataclasses.replace(SCHEMA, features=features)

    frame = decode(np.array(rows), schema)

    assert_array_equal(encode(frame, schema), np.array(rows))
    assert frame.dtypes.tolist()[:2] == [np.dtype("datetime64[s]")] * 2


def test_the_matrix_is_contiguous_in_schema_order_and_nan_where_a_category_is_new_or_missing():
    frame = canonical(["red", "violet", None], [1.5, np.nan, 2.0], [1.0, 0.0, 1.0])

    matrix = encode(frame[["new", "size", "colour"]].assign(further=0), SCHEMA)

    assert matrix.flags.c_contiguous
    assert_array_equal(matrix, [[2, 1.5, 1], [np.nan, np.nan, 0], [np.nan, 2, 1]])


def test_pandas_own_text_columns_are_coded_too():
    frame = canonical(["red", None, "blue"], [0.0] * 3, [0.0] * 3).astype({"colour": "str"})

    assert_array_equal(encode(frame, SCHEMA)[:, 0], [2, np.nan, 0])


def test_a_missing_column_is_named():
    with pytest.raises(InputError, match=r"Columns missing: \['size'\]"):
        encode(canonical(["red"], [0.0], [0.0]).drop(columns="size"), SCHEMA)


@pytest.mark.parametrize("code", [0.5, -1.0, 3.0, np.inf])
def test_a_code_that_is_no_category_is_refused(code):
    with pytest.raises(InputError, match=r"'colour': code .* 3 categories"):
        decode(np.array([[code, 0.0, 0.0]]), SCHEMA)


def test_a_matrix_of_another_width_is_refused():
    with pytest.raises(InputError, match="3\\) expected"):
        decode(np.zeros((2, 2)), SCHEMA)
