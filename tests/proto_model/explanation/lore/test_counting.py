import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from proto_model.explanation.lore.counting import WIDTHS, best_splits, count


@settings(max_examples=30, deadline=None)
@given(
    n_rows=st.integers(0, 40),
    n_features=st.integers(1, 4),
    n_nodes=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    width=st.sampled_from(WIDTHS),
)
def test_counting_is_adding_up(n_rows, n_features, n_nodes, seed, width):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 7, (n_rows, n_features))
    values = rng.normal(size=(n_rows, width))
    rows = np.flatnonzero(rng.random(n_rows) < 0.7)
    node = rng.integers(0, n_nodes, len(rows))
    expected = np.zeros((n_nodes, 7, width))
    for i, k in zip(rows, node, strict=True):
        for code in codes[i]:
            expected[k, code] += values[i]

    np.testing.assert_allclose(count(rows, node, codes, values, (n_nodes, 7)), expected)


@settings(max_examples=30, deadline=None)
@given(
    n_nodes=st.integers(0, 4),
    n_features=st.integers(1, 4),
    span=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    width=st.sampled_from(WIDTHS),
)
def test_the_best_split_explains_most(n_nodes, n_features, span, seed, width):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, span, (n_nodes, 30, n_features))  # codes of 30 rows in each node
    values = np.concatenate([np.ones((n_nodes, 30, 1)), rng.random((n_nodes, 30, width - 1))], axis=2)
    sums = np.zeros((n_nodes, n_features, span, width))
    for k, f, c in np.ndindex(sums.shape[:3]):
        sums[k, f, c] = values[k, rows[k, :, f] == c].sum(axis=0)

    gains, codes = best_splits(sums, 5)

    def explained(part):
        return (part[2:] ** 2).sum() / part[1]

    for k in range(n_nodes):
        total = sums[k, 0].sum(axis=0)
        gain = {}
        for f, c in np.ndindex(n_features, span):
            left = sums[k, f, : c + 1].sum(axis=0)
            if min(left[0], 30 - left[0]) >= 5:
                gain[f * span + c] = explained(left) + explained(total - left) - explained(total)
        assert np.isclose(gains[k], max(gain.values(), default=-np.inf))
        assert not gain or np.isclose(gain[codes[k]], gains[k])
