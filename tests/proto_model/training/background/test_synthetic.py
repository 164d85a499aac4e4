import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from proto_model.schema import Feature, ModelSchema
from proto_model.table import encode
from proto_model.training.background.bins import LEAST
from proto_model.training.background.synthetic import MAX_ROWS, MIN_ROWS, synthetic_rows


def schema_of(*features):
    return ModelSchema("m", "y", "string", ("a", "b"), features)


def numbers(n, kind="double", **facts):
    return schema_of(*(Feature(f"x{j}", kind, False, **facts) for j in range(n)))


def as_set(X):
    return {row.tobytes() for row in np.where(np.isnan(X), np.nan, X + 0.0)}


@st.composite
def tables(draw):
    """Features of every type, and coded rows of them: few values or many, with and without gaps."""
    n_rows = draw(st.sampled_from([1, 2, LEAST - 1, LEAST, 25, 90]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    features, columns = [], []
    for j, kind in enumerate(
        draw(st.lists(st.sampled_from(["double", "long", "boolean", "string"]), min_size=1))
    ):
        n_values = draw(st.sampled_from([1, 2, 5, 400]))
        missing = draw(st.sampled_from([0.0, 0.0, 0.1, 0.6, 1.0]))
        n_codes = {"boolean": 2, "string": n_values}.get(kind, n_values)
        column = rng.integers(0, n_codes, n_rows).astype(np.float64)
        if kind == "double" and draw(st.booleans()):
            column = column * draw(st.sampled_from([1e-30, 0.01, 3.7, 1e30])) - 0.5
        gaps = rng.random(n_rows) < missing
        categories = tuple(f"c{code}" for code in range(n_codes)) if kind == "string" else None
        low, high = (None, None) if categories else (float(column.min()), float(column.max()))
        features.append(Feature(f"x{j}", kind, bool(gaps.any()), categories, minimum=low, maximum=high))
        columns.append(np.where(gaps, np.nan, column))
    return schema_of(*features), np.stack(columns, axis=1), rng.integers(0, 3, n_rows)


@given(tables(), st.integers(0, 5))
def test_rows_are_valid_in_range_and_missing_only_where_the_table_is(table, seed):
    schema, X, y = table

    rows = synthetic_rows(X, y, schema, seed)

    assert rows.dtype == np.float64
    assert 0 < len(rows) <= MAX_ROWS
    for j, feature in enumerate(schema.features):
        column, known = rows[:, j], rows[~np.isnan(rows[:, j]), j]
        assert feature.nullable or len(known) == len(column)
        if np.isnan(X[:, j]).all():
            assert not len(known)
        if feature.categories is not None:
            assert set(known) <= set(range(len(feature.categories)))
        elif feature.type == "boolean":
            assert set(known) <= {0, 1}
        elif len(known):
            assert feature.minimum <= known.min()
            assert known.max() <= feature.maximum
        if feature.type != "double":
            assert_array_equal(known, np.floor(known))
    assert_array_equal(rows, synthetic_rows(X, y, schema, seed))


@given(tables(), st.integers(0, 3))
def test_no_training_row_is_drawn_where_others_are_possible(table, seed):
    schema, X, y = table
    schema = schema_of(*schema.features, Feature("z", "double", False, minimum=0, maximum=1))
    X = np.column_stack([X, np.random.default_rng(seed).random(len(X))])

    assert not as_set(X) & as_set(synthetic_rows(X, y, schema, seed))


def test_a_row_that_enough_rows_share_may_be_drawn():
    X = np.repeat([[0.0, 0.0], [1.0, 1.0]], 50, axis=0)
    X = np.concatenate([X, [[0.0, 1.0]]])
    schema = numbers(2, "boolean")

    rows = synthetic_rows(X, X[:, 0].astype(np.int64), schema)

    assert as_set(rows) == as_set(X[:100])


@pytest.mark.parametrize("n_rows", [3, 700, 5000])
def test_there_are_as_many_rows_within_limits(n_rows):
    X = np.random.default_rng(0).random((n_rows, 3))

    rows = synthetic_rows(X, np.zeros(n_rows, dtype=np.int64), numbers(3, minimum=0, maximum=1))

    assert len(rows) == min(max(n_rows, MIN_ROWS), MAX_ROWS)


def test_columns_keep_their_spread_and_what_they_have_in_common(mixed_data):
    X = encode(mixed_data.X_train, mixed_data.schema)
    y = np.unique(mixed_data.y_train, return_inverse=True)[1]
    rng = np.random.default_rng(0)
    twin = X[:, :1] * 3 + rng.normal(0, 1, (len(X), 1))
    schema = schema_of(*mixed_data.schema.features, Feature("twin", "double", True))
    X = np.concatenate([X, np.where(np.isnan(twin), 0, twin)], axis=1)

    rows = synthetic_rows(X, y, schema)

    for j in range(X.shape[1]):
        shares = np.linspace(0.1, 0.9, 5)
        real, drawn = (np.nanquantile(matrix[:, j], shares) for matrix in (X, rows))
        step = 1.0 if schema.features[j].categories else 0.0  # a quantile between two codes is either
        assert np.abs(real - drawn).max() <= max(step, 0.6 * np.nanstd(X[:, j]))
        assert np.isnan(rows[:, j]).mean() == pytest.approx(np.isnan(X[:, j]).mean(), abs=0.04)
    known = ~np.isnan(rows[:, 0]) & (rows[:, 5] != 0)
    assert np.corrcoef(rows[known][:, [0, 5]].T)[0, 1] > 0.8


@pytest.mark.parametrize(("n_rows", "n_columns", "n_classes"), [(2500, 500, 2), (3000, 4, 100), (60, 3, 40)])
def test_wide_tables_and_many_classes(n_rows, n_columns, n_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns)).round(2)

    rows = synthetic_rows(X, np.arange(n_rows) % n_classes, numbers(n_columns))

    assert rows.shape == (min(max(n_rows, MIN_ROWS), MAX_ROWS), n_columns)
    assert not as_set(X) & as_set(rows)
