import numpy as np
import pyarrow as pa
import pytest

from proto_model.errors import DataError
from proto_model.table.columns import read_columns
from proto_model.table.roles import Roles, check_choices, class_labels, target_name, usable_columns

N_ROWS = 40
SHUFFLED = np.random.default_rng(0).permutation(N_ROWS)


def reason(values: object, name: str = "x", is_train: np.ndarray | None = None) -> str | None:
    """Why a column is dropped; None when it is kept."""
    table = pa.table({name: values})
    train = np.ones(table.num_rows, dtype=bool) if is_train is None else is_train
    _, dropped = usable_columns(read_columns(table), train)
    return dropped[0].reason if dropped else None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.nulls(N_ROWS), "all values are missing"),
        (pa.array([None] * N_ROWS, pa.string()), "all values are missing"),
        (np.full(N_ROWS, 3), "constant: the same value in every training row"),
        (["a"] * N_ROWS, "constant: the same value in every training row"),
        (SHUFFLED + 100, "one value per row: a row number"),
        ([f"row {n}" for n in range(N_ROWS)], "one value per row: an identifier"),
        ([["a"]] * N_ROWS, "lists, structures and binary values"),
        (["01.02.2024", "02.02.2024"] * (N_ROWS // 2), "dates that are not written as in ISO 8601"),
        (["2024-02-29", "2023-02-29"] * (N_ROWS // 2), "dates that are not written as in ISO 8601"),
        ([f"{n:06x}" for n in range(N_ROWS)], "one value per row: an identifier"),
    ],
)
def test_a_column_that_cannot_be_a_feature_has_its_reason(values, expected):
    assert (reason(values) or "").startswith(expected)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=N_ROWS),
        SHUFFLED * 3,
        np.arange(N_ROWS) // 2,
        [None, *["a"] * (N_ROWS - 1)],
        ["a", "b"] * (N_ROWS // 2),
        [True, False] * (N_ROWS // 2),
    ],
    ids=[
        "continuous",
        "distinct whole numbers",
        "counts",
        "present or missing",
        "categories",
        "truth values",
    ],
)
def test_what_can_tell_rows_apart_is_kept(values):
    assert reason(values) is None


def test_free_text_is_told_by_how_many_values_it_has():
    many = [f"text {n}" for n in range(N_ROWS - 10)] + ["text 0"] * 10

    assert reason(many) == "free text: 30 distinct values in 40 rows"
    assert reason([f"text {n % 1001}" for n in range(4000)]) == "free text: 1001 distinct values in 4000 rows"
    assert reason([f"text {n % 1000}" for n in range(4000)]) is None


@pytest.mark.parametrize(
    "name", ["id", "ID", "customer_id", "customer id", "customerId", "order-no", "Index", "Key"]
)
def test_distinct_whole_numbers_that_are_named_like_an_identifier_are_dropped(name):
    assert reason(SHUFFLED * 3, name) == "one value per row: an identifier"


@pytest.mark.parametrize("name", ["paid", "width", "humid", "casino", "monkey", "age", "idle"])
def test_names_that_only_end_alike_are_kept(name):
    assert reason(SHUFFLED * 3, name) is None


def test_a_few_rows_are_too_few_to_call_a_column_an_identifier():
    assert reason(np.arange(10)) is None
    assert reason(list("abcdefghij")) is None


def test_only_training_rows_tell_whether_there_is_something_to_learn():
    is_train = np.arange(N_ROWS) < N_ROWS - 5
    same_in_training = np.where(is_train, 1.0, 2.0)
    empty_in_training = pa.array([None if train else 1.0 for train in is_train])

    assert reason(same_in_training, is_train=is_train) == "constant: the same value in every training row"
    assert reason(empty_in_training, is_train=is_train) == "all values in the training rows are missing"


def test_order_is_kept_on_both_sides():
    table = pa.table({"b": [1, 1], "a": [1, 2], "d": [2, 2], "c": [3, 4]})

    usable, dropped = usable_columns(read_columns(table), np.array([True, True]))

    assert [column.name for column in usable] == ["a", "c"]
    assert [column.name for column in dropped] == ["b", "d"]


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
        (["left", "b"], "Left", r"has no column 'Left' to predict\. Did you mean 'left'\?$"),
        (["a", "b"], None, r"has none named target, class, label, y\. Set target to one of 'a', 'b'\."),
        (["class", "y"], None, r"several candidates \(\['class', 'y'\]\)"),
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
        (pa.array(["a", "a"]), "all rows have the class 'a'"),
        (pa.array([7, 7]), r"all rows have the class 7\."),
        (pa.array([[1], [1], [2], [2]]), "lists, structures and binary values cannot be class labels"),
        (pa.array([2**53, 2**53 + 1] * 2), "too large for class labels"),
        (
            pa.array(["a", "a", "b", "a", "a"]),
            r"1 of 2 classes has only one row, such as \['b'\].*for testing\.$",
        ),
        (pa.array(np.arange(9.0) / 7), "Is it a quantity rather than a class"),
    ],
)
def test_classes_that_cannot_be_learned_are_an_error(values, message):
    with pytest.raises(DataError, match=message):
        labels(values)


def wishes(**roles: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Names of the columns that are used, and the reasons of the others."""
    table = pa.table(
        {
            "age": SHUFFLED // 3,
            "order_id": SHUFFLED * 3,
            "name": [f"name {n}" for n in range(N_ROWS)],
            "country": ["here"] * N_ROWS,
            "empty": pa.nulls(N_ROWS),
        }
    )
    usable, dropped = usable_columns(read_columns(table), np.ones(N_ROWS, dtype=bool), Roles(**roles))
    return [column.name for column in usable], {column.name: column.reason for column in dropped}


def test_what_the_user_drops_is_dropped_for_that_reason():
    used, reasons = wishes(drop=("age", "empty"), keep=("name",))

    assert used == ["name"]
    assert reasons["age"] == reasons["empty"] == "you dropped it"
    assert reasons["order_id"] == "one value per row: an identifier"


def test_a_column_to_keep_is_used_whatever_it_looks_like():
    assert wishes(keep=("order_id", "name", "country"))[0] == ["age", "order_id", "name", "country"]


def test_only_the_named_features_are_used_whatever_they_look_like():
    used, reasons = wishes(features=("name", "age"))

    assert used == ["age", "name"]
    assert set(reasons.values()) == {"not among the features that you named"}


@pytest.mark.parametrize("role", ["keep", "features"])
def test_a_column_that_cannot_be_used_is_not_kept_in_silence(role):
    message = rf"Column 'empty' cannot be used: all values are missing\. Take it out of {role}\."
    with pytest.raises(DataError, match=message):
        wishes(**{role: ("empty",)})


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"drop": ("agee",)}, r"t\.csv has no column 'agee' to drop\. Did you mean 'age'\?"),
        ({"keep": ("x",)}, r"t\.csv has no column 'x' to keep\. Its columns are '"),
        ({"features": ("age", "x")}, r"no column 'x' to use"),
        ({"drop": ("class",)}, r"Column 'class' is the target\. Take it out of drop\."),
        ({"drop": ("age",), "keep": ("age",)}, r"'age' is in drop and in keep\."),
        ({"drop": ("age",), "features": ("age",)}, r"'age' is in drop and in features\."),
        ({"protected": ("sex",), "keep": ("sex",)}, r"'sex' is protected, .* Take it out of keep"),
        ({"key": "age", "keep": ("age",)}, r"'age' is the key, so it is no feature\. Take it out of keep\."),
        ({"features": ("age",), "keep": ("sex",)}, r"'sex' is in keep, but not in features"),
    ],
)
def test_wishes_that_cannot_be_followed_are_errors(roles, message):
    with pytest.raises(DataError, match=message):
        check_choices(Roles(**roles), ["age", "sex", "class"], "class", "t.csv")
