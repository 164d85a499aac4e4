import numpy as np
import pyarrow as pa
import pytest

from proto_model.errors import DataError
from proto_model.table.columns import read_columns
from proto_model.table.target import class_labels, target_name


def labels(values: pa.Array) -> tuple[list[object], str]:
    (column,) = read_columns(pa.table({"class": values}))
    y, kind = class_labels(column)
    return y.tolist(), kind


@pytest.mark.parametrize("name", ["target", "class", "Label", "Y"])
def test_the_usual_names_need_not_be_given(name):
    assert target_name(["a", name, "b"], None, "t.csv") == name


def test_a_given_name_wins():
    assert target_name(["a", "class"], " a ", "t.csv") == "a"


@pytest.mark.parametrize(
    ("names", "target", "message"),
    [
        (["a", "b"], "c", r"t\.csv has no column 'c' to predict. Its columns are 'a', 'b'\."),
        (["a", "b"], None, r"has none called target, class, label, y\. Give target, one of 'a', 'b'\."),
        (["class", "y"], None, r"several that could be meant \(\['class', 'y'\]\)"),
    ],
)
def test_without_a_clear_target_the_columns_are_named(names, target, message):
    with pytest.raises(DataError, match=message):
        target_name(names, target, "t.csv")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(["b", "a", "b", "a"]), (["b", "a", "b", "a"], "string")),
        (pa.array([1, 2, 1, 2]), ([1, 2, 1, 2], "long")),
        (pa.array([1.0, 2.0, 1.0, 2.0]), ([1, 2, 1, 2], "long")),
        (pa.array([0.5, 1.0, 0.5, 1.0]), ([0.5, 1.0, 0.5, 1.0], "double")),
        (pa.array([True, False, True, False]), ([True, False, True, False], "boolean")),
    ],
)
def test_labels_are_as_in_the_table_and_whole_numbers_are_integers(values, expected):
    y, kind = labels(values)

    assert (y, kind) == expected
    assert [type(label) for label in y] == [type(label) for label in expected[0]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([], pa.int64()), "every value is missing"),
        (pa.array(["a", "a"]), "only one class, 'a'"),
        (pa.array([7, 7]), r"only one class, 7\."),
        (pa.array([[1], [1], [2], [2]]), "lists, structures and binary values cannot be class labels"),
        (pa.array([2**53, 2**53 + 1] * 2), "cannot all be told apart"),
        (
            pa.array(["a", "a", "b", "a", "a"]),
            r"1 of 2 classes have one row only, such as \['b'\].*needed\.$",
        ),
        (pa.array(np.arange(9.0) / 7), "Is it a quantity rather than a class"),
    ],
)
def test_classes_that_cannot_be_learned_are_an_error(values, message):
    with pytest.raises(DataError, match=message):
        labels(values)
