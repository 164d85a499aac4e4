import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from proto_model.training.background.bins import LEAST
from proto_model.training.background.groups import groups_of


@given(st.lists(st.integers(0, 5), min_size=1, max_size=300), st.integers(0, 9))
def test_groups_part_the_rows_and_none_is_too_small(y, seed):
    y, rng = np.array(y), np.random.default_rng(seed)

    groups = groups_of(rng.standard_normal((len(y), 3)), y, rng)

    assert_array_equal(np.sort(np.concatenate(groups)), np.arange(len(y)))
    assert min(map(len, groups)) >= min(LEAST, len(y))
    counts = np.bincount(y)
    if (counts[counts > 0] >= LEAST).all():
        assert all(len(set(y[rows])) == 1 for rows in groups)
    assert max(map(len, groups)) < 3 * LEAST


def test_like_rows_are_grouped():
    rng = np.random.default_rng(0)
    place = rng.permutation(400) / 400
    Z = np.stack([place, 1 - place, rng.random(400) / 100], axis=1)

    groups = groups_of(Z, np.zeros(400, dtype=np.int64), rng)

    assert max(np.ptp(place[rows]) for rows in groups) < 0.1


def test_rows_that_are_all_alike_are_grouped_too():
    groups = groups_of(np.ones((50, 2)), np.zeros(50, dtype=np.int64), np.random.default_rng(0))

    assert sum(map(len, groups)) == 50
