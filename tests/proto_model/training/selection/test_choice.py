import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from proto_model.training.selection.choice import choose, difference, mean


def test_of_candidates_within_one_standard_error_the_smallest_is_taken():
    losses = np.array([[0.30, 0.40, 0.50], [0.31, 0.40, 0.50], [0.40, 0.50, 0.60]])

    choice = choose(losses, np.ones(3), np.array([50.0, 20.0, 1.0]))

    assert (choice.index, choice.best) == (1, 0)
    assert choice.ties.tolist() == [True, True, False]


def test_folds_that_differ_from_each_other_do_not_make_a_tie():
    losses = np.array([[0.10, 0.50, 0.90], [0.11, 0.51, 0.91]])  # the same difference in each fold

    assert choose(losses, np.ones(3), np.array([50.0, 20.0])).index == 0


def test_a_huge_standard_error_is_no_tie():
    # A forest whose certainty was wrong once: its log loss explodes in one fold.
    losses = np.array([[0.10, 0.10, 0.10, 0.10, 0.10], [0.10, 0.10, 0.10, 0.10, 0.46]])

    assert choose(losses, np.ones(5), np.array([50.0, 20.0])).index == 0


def test_folds_count_by_their_rows():
    losses = np.array([[0.2, 0.4], [0.4, 0.3]])

    assert choose(losses, np.array([1.0, 9.0]), np.array([1.0, 2.0])).best == 1
    assert choose(losses, np.array([9.0, 1.0]), np.array([1.0, 2.0])).best == 0


def test_folds_without_a_value_are_left_out_and_one_fold_has_no_standard_error():
    losses = np.array([[0.2, np.nan], [0.1, np.nan]])

    choice = choose(losses, np.ones(2), np.array([1.0, 2.0]))

    assert choice.index == 1
    with pytest.raises(ValueError, match="not defined in any fold"):
        choose(losses[:, 1:], np.ones(1), np.ones(2))


def test_with_equal_weights_the_standard_error_is_the_usual_one():
    losses = np.random.default_rng(0).normal(size=(2, 7))
    pairs = losses[1] - losses[0]

    means, errors = difference(losses[1], losses[0], np.full(7, 12.0))

    assert_allclose(means, pairs.mean())
    assert_allclose(errors, pairs.std(ddof=1) / np.sqrt(7))
    assert_allclose(mean(losses, np.full(7, 3.0)), losses.mean(axis=1))


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6))
def test_the_chosen_one_is_never_larger_than_the_best_and_close_to_it(seed, n_candidates, n_folds):
    rng = np.random.default_rng(seed)
    losses, sizes = rng.exponential(size=(n_candidates, n_folds)), rng.integers(1, 9, n_candidates) * 1.0
    weights = rng.integers(1, 50, n_folds) * 1.0

    choice = choose(losses, weights, sizes)

    means = mean(losses, weights)
    assert choice.best == means.argmin()
    assert sizes[choice.index] <= sizes[choice.best]
    assert means[choice.index] <= 1.05 * means.min() + 1e-12
