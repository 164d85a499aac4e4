import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from proto_model.schema import Feature
from proto_model.training.background.bins import LEAST, MISSING, bins_of


def number(kind="double", low=None, high=None):
    return Feature("x", kind, True, minimum=low, maximum=high)


def drawn(bins, n=2000):
    rng = np.random.default_rng(1)
    return bins.draw(rng.choice(bins.of_row, n), rng)


@given(
    st.lists(st.integers(0, 40) | st.floats(-1e6, 1e6), min_size=1, max_size=200),
    st.sampled_from(["double", "long"]),
)
def test_every_bin_of_numbers_is_shared_by_enough_rows(values, kind):
    column = np.floor(values) if kind == "long" else np.array(values, dtype=np.float64)

    bins = bins_of(number(kind), column, np.random.default_rng(0))

    used = bins.counts[bins.counts > 0]
    assert used.sum() == len(column)
    if len(column) >= LEAST:
        # bins of the same bounds are one: what is left over counts as the common value beside it
        bounds, place = np.unique(np.stack([bins.low, bins.high]), axis=1, return_inverse=True)
        assert np.bincount(place.ravel(), bins.counts, minlength=bounds.shape[1]).min() >= LEAST
    assert (bins.low <= bins.high).all()
    values = drawn(bins)
    assert column.min() <= values.max()
    assert values.min() <= column.max()
    if kind == "long":
        assert_array_equal(values, np.floor(values))


def test_a_value_that_enough_rows_have_is_kept_and_a_rarer_one_is_not():
    column = np.concatenate([np.zeros(LEAST), np.full(LEAST - 1, 1.25), np.full(LEAST, 2.5)])

    values = drawn(bins_of(number(), column, np.random.default_rng(0)))

    assert set(values) == {0.0, 2.5}


def test_an_outlier_is_not_drawn_and_hardly_changes_the_rest():
    column = np.append(np.linspace(0, 1, 500).round(3), 987654.321)

    values = drawn(bins_of(number(high=1e6), column, np.random.default_rng(0)))

    assert 987654.321 not in values
    assert np.median(values) == pytest.approx(0.5, abs=0.05)
    assert (values > 2).mean() < 0.03


def test_drawn_numbers_have_no_more_digits_than_the_column():
    column = np.random.default_rng(0).normal(20, 5, 400).round(1)

    values = drawn(bins_of(number(), column, np.random.default_rng(0)))

    assert_array_equal(values, values.round(1))


@pytest.mark.parametrize("n_rare", [1, LEAST - 1])
def test_rare_categories_are_absent(n_rare):
    feature = Feature("x", "string", False, categories=("a", "b", "rare"), most_frequent="a")
    column = np.repeat([0.0, 1.0, 2.0], [60, 30, n_rare])

    values = drawn(bins_of(feature, column, np.random.default_rng(0)))

    assert set(values) == {0.0, 1.0}
    assert values.mean() == pytest.approx(1 / 3, abs=0.08)


def test_of_fewer_rows_than_a_bin_needs_only_the_schema_is_used():
    categories = Feature("x", "string", False, categories=("a", "b", "c"), most_frequent="a")
    few = np.zeros(LEAST - 1)

    assert set(drawn(bins_of(number("long", 0, 20), few + 7, np.random.default_rng(0)))) == set(range(21))
    codes = [bins_of(categories, few, np.random.default_rng(seed)).of_row for seed in range(9)]
    assert set(np.concatenate(codes)) == {0, 1, 2}


def test_a_rare_gap_is_filled_and_a_common_one_stays():
    column = np.arange(100.0)
    rare, common = column.copy(), column.copy()
    rare[: LEAST - 1], common[:LEAST] = np.nan, np.nan

    rng = np.random.default_rng(0)

    assert MISSING not in bins_of(number(), rare, rng).of_row
    assert np.isnan(drawn(bins_of(number(), common, rng))).mean() == pytest.approx(LEAST / 100, abs=0.04)
    assert np.isnan(drawn(bins_of(number(), np.where(column < 3, column, np.nan), rng))).all()
    assert np.isnan(drawn(bins_of(number(), np.full(5, np.nan), rng))).all()
