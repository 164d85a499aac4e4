import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from proto_model.errors import DataError
from proto_model.table.columns import read_columns


def read(values: pa.Array) -> tuple[str, list[object]]:
    """Type and cells of the only column of a table."""
    (column,) = read_columns(pa.table({"x": values}))
    cells = column.objects() if column.texts is not None else column.values
    return column.type, cells.tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, 2], pa.int64()), ("long", [1.0, 2.0])),
        (pa.array([1, 2], pa.uint8()), ("long", [1.0, 2.0])),
        (pa.array([1.0, 2.0]), ("double", [1.0, 2.0])),
        (pa.array([1.5, 2.0], pa.float32()), ("double", [1.5, 2.0])),
        (pa.array([decimal.Decimal("1.25")]), ("double", [1.25])),
        (pa.array([True, False]), ("boolean", [1.0, 0.0])),
        (pa.array([" a", "b ", None, "?", ""]), ("string", ["a", "b", None, None, None])),
        (pa.array(["1", "2"]), ("string", ["1", "2"])),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ("string", ["b", "a", "b"])),
        (
            pa.array(["2024-01-31", None, "2024-02-01 12:30"]),
            ("date", ["2024-01-31", None, "2024-02-01 12:30"]),
        ),
        (pa.array(["31.12.2024"]), ("date", ["31.12.2024"])),
        (pa.array([datetime.date(2024, 1, 31), None]), ("date", ["2024-01-31", None])),
        (pa.array([[1], None]), ("other", ["[1]", None])),
    ],
)
def test_storage_decides_the_type(values, expected):
    assert read(values) == expected


def test_missing_values_are_nan_whatever_the_type():
    table = pa.table(
        {
            "long": pa.array([1, None]),
            "double": pa.array([None, 1.5]),
            "boolean": pa.array([None, True]),
            "nothing": pa.nulls(2),
        }
    )

    missing = {column.name: column.missing.tolist() for column in read_columns(table)}

    assert missing == {
        "long": [False, True],
        "double": [True, False],
        "boolean": [True, False],
        "nothing": [True, True],
    }


def test_several_chunks_are_one_column():
    chunks = pa.chunked_array([["b", "a"], ["a", None, "c"]])

    (column,) = read_columns(pa.table({"x": chunks}))

    assert column.objects().tolist() == ["b", "a", "a", None, "c"]
    assert column.texts.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39])
def test_a_number_that_forests_cannot_compare_is_an_error(value):
    with pytest.raises(DataError, match="'x': 1 values are infinite or beyond"):
        read(pa.array([1.0, value, np.nan]))


def test_rows_of_a_column_can_be_picked():
    (column,) = read_columns(pa.table({"x": ["a", "b", None]}))

    assert_array_equal(column.rows(np.array([2, 0])).objects(), np.array([None, "a"], dtype=object))
