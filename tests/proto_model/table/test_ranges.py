import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.table.ranges import shown_median, shown_range
from proto_model.values import LARGEST

numbers = st.floats(-LARGEST, LARGEST)
columns = st.lists(numbers, min_size=1, max_size=30).map(np.array)


@given(columns)
def test_every_value_lies_in_the_range_that_is_shown(values):
    low, high = shown_range(values, whole=False)

    assert -LARGEST <= low <= values.min()
    assert values.max() <= high <= LARGEST
    if values.min() >= 0:
        assert low >= 0
    width = values.max() - values.min()
    if width > 1e-6 * np.abs(values).max():  # below, floating point has no finer grid
        assert high - low <= 1.2 * width


@given(st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=30).map(np.array))
def test_whole_numbers_are_shown_as_whole_numbers(values):
    values = values.astype(np.float64)

    for shown in (*shown_range(values, whole=True), shown_median(values, whole=True)):
        assert shown == math.floor(shown)


@given(columns)
def test_the_median_that_is_shown_is_among_the_middle_values(values):
    shown = shown_median(values, whole=False)

    assert np.quantile(values, 0.45, method="nearest") <= shown <= np.quantile(values, 0.55, method="nearest")


@pytest.mark.parametrize(
    ("values", "whole", "shown"),
    [
        ([0.0, 99999.0], True, (0.0, 100_000.0)),
        ([1.0, 99.0], True, (0.0, 100.0)),
        ([0.0, 3.0], True, (0.0, 3.0)),
        ([6.981, 28.11], False, (6.0, 29.0)),
        ([-0.0123, 0.0456], False, (-0.014, 0.046)),
        ([5.0], True, (5.0, 5.0)),
    ],
)
def test_ranges_are_round(values, whole, shown):
    assert shown_range(np.array(values), whole) == pytest.approx(shown)
