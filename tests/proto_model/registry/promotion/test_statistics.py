import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import bootstrap
from sklearn.metrics import balanced_accuracy_score, recall_score

from proto_model.registry.promotion.statistics import (
    PairedCounts,
    bootstrap_differences,
    count_pairs,
    interval,
    mcnemar_p_value,
    mean_recall,
)


@st.composite
def paired_labels(draw, min_rows=1):
    """True labels that cover every class, and two models' predictions."""
    n_classes = draw(st.integers(2, 5))
    extra = draw(st.lists(st.integers(0, n_classes - 1), min_size=min_rows, max_size=60))
    y = np.array([*range(n_classes), *extra])
    labels = st.lists(st.integers(0, n_classes - 1), min_size=len(y), max_size=len(y))
    return y, np.array(draw(labels)), np.array(draw(labels)), n_classes


@given(paired_labels())
def test_the_counts_give_the_recalls_that_scikit_learn_gives(paired):
    y, first, second, n_classes = paired
    counts = count_pairs(y, first, second, n_classes)

    for recalls, predicted in zip(counts.recalls(), (first, second), strict=True):
        assert_allclose(recalls, recall_score(y, predicted, average=None, labels=range(n_classes)))
        assert mean_recall(recalls) == pytest.approx(balanced_accuracy_score(y, predicted))


@given(paired_labels())
def test_every_row_is_in_one_of_four_cells(paired):
    y, first, second, n_classes = paired
    counts = count_pairs(y, first, second, n_classes)
    wrong_by_both = np.bincount(y[(first != y) & (second != y)], minlength=n_classes)

    assert_array_equal(counts.both + counts.first_only + counts.second_only + wrong_by_both, counts.n_rows)
    assert counts.n_rows.sum() == len(y)


@settings(deadline=None)
@given(paired_labels(), st.integers(0, 2**32 - 1))
def test_the_interval_holds_the_observed_difference(paired, seed):
    y, first, second, n_classes = paired
    counts = count_pairs(y, first, second, n_classes)
    first_recalls, second_recalls = counts.recalls()
    observed = mean_recall(second_recalls) - mean_recall(first_recalls)
    low, high = interval(bootstrap_differences(counts, 1000, seed), 0.95)

    assert low - 1e-9 <= observed <= high + 1e-9


@settings(deadline=None)
@given(paired_labels())
def test_a_model_is_never_apart_from_itself(paired):
    y, first, _, n_classes = paired
    counts = count_pairs(y, first, first, n_classes)

    assert not bootstrap_differences(counts, 200, 0).any()


def test_a_seed_gives_the_same_resamples_again():
    counts = count_pairs(np.repeat([0, 1], 50), np.zeros(100, int), np.tile([0, 1], 50), 2)

    assert_array_equal(bootstrap_differences(counts, 500, 7), bootstrap_differences(counts, 500, 7))
    assert (bootstrap_differences(counts, 500, 7) != bootstrap_differences(counts, 500, 8)).any()


def test_the_interval_agrees_with_one_from_resampled_rows():
    generator = np.random.default_rng(0)
    y = generator.choice(3, size=600, p=[0.6, 0.3, 0.1])
    first = np.where(generator.random(600) < 0.80, y, (y + 1) % 3)
    second = np.where(generator.random(600) < 0.86, y, (y + 1) % 3)

    def difference(y, first, second):
        return balanced_accuracy_score(y, second) - balanced_accuracy_score(y, first)

    by_rows = bootstrap(
        (y, first, second), difference, paired=True, vectorized=False, n_resamples=500,
        method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    by_counts = interval(bootstrap_differences(count_pairs(y, first, second, 3), 20_000, 0), 0.95)

    assert_allclose(by_counts, by_rows, atol=0.015)


def test_the_spread_is_the_one_in_closed_form():
    # Of 400 rows of each class 40 are only the first's and 60 only the second's: the variance of a class's
    # difference is (p + q - (q - p)^2) / n with p = 0.1 and q = 0.15, and the mean of two classes halves it.
    cells = [np.array([value, value]) for value in (400, 300, 40, 60)]
    differences = bootstrap_differences(PairedCounts(*cells), 50_000, 0)

    assert differences.mean() == pytest.approx(0.05, abs=1e-3)
    assert differences.std() == pytest.approx(np.sqrt((0.25 - 0.05**2) / 400 / 2), rel=0.02)


def test_a_class_without_rows_counts_for_nothing():
    counts = count_pairs(np.array([0, 0, 2]), np.array([0, 2, 2]), np.array([0, 0, 2]), 3)

    assert mean_recall(counts.recalls()[0]) == 0.75
    assert set(bootstrap_differences(counts, 200, 0)) <= {0.0, 0.25, 0.5}


def test_ten_thousand_resamples_take_no_time_and_little_memory():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 300, 1_000_000)
    first, second = (np.where(generator.random(len(y)) < 0.9, y, 0) for _ in range(2))
    started = time.perf_counter()
    differences = bootstrap_differences(count_pairs(y, first, second, 300), 10_000, 0)

    assert time.perf_counter() - started < 10
    assert len(differences) == 10_000


@pytest.mark.parametrize(
    ("first_only", "second_only", "p_value"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 6, 2 / 2**6),
        (1, 5, 2 * (1 + 6) / 2**6),
        (2, 8, 2 * (1 + 10 + 45) / 2**10),
    ],
)
def test_mcnemar_gives_the_values_known_by_hand(first_only, second_only, p_value):
    assert mcnemar_p_value(first_only, second_only) == pytest.approx(p_value, rel=1e-12)
    assert mcnemar_p_value(second_only, first_only) == pytest.approx(p_value, rel=1e-12)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_mcnemar_is_symmetric_and_a_probability(first_only, second_only):
    p_value = mcnemar_p_value(first_only, second_only)

    assert 0 <= p_value <= 1
    assert p_value == mcnemar_p_value(second_only, first_only)
