import numpy as np
import pyarrow as pa
import pytest

from proto_model.table.columns import read_columns
from proto_model.table.selection import usable_columns

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
        (np.full(N_ROWS, 3), "constant: 3 in every training row"),
        (["a"] * N_ROWS, "constant: 'a' in every training row"),
        (SHUFFLED + 100, "one value per row: it counts the rows"),
        ([f"row {n}" for n in range(N_ROWS)], "one value per row: an identifier"),
        ([["a"]] * N_ROWS, "lists, structures and binary values"),
        (["2024-01-01", "2024-01-02"] * (N_ROWS // 2), "dates to predict for lie after"),
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

    assert reason(same_in_training, is_train=is_train) == "constant: 1 in every training row"
    assert reason(empty_in_training, is_train=is_train) == "all values in the training rows are missing"


def test_order_is_kept_on_both_sides():
    table = pa.table({"b": [1, 1], "a": [1, 2], "d": [2, 2], "c": [3, 4]})

    usable, dropped = usable_columns(read_columns(table), np.array([True, True]))

    assert [column.name for column in usable] == ["a", "c"]
    assert [column.name for column in dropped] == ["b", "d"]
