import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.metrics import balanced_accuracy_score

from proto_model.registry.promotion.comparison import ComparisonError, class_indices, compare, score
from proto_model.registry.promotion.decision import Criteria, decide

labels = st.integers(0, 3)
rows = st.lists(st.tuples(labels, labels, labels), min_size=1, max_size=80).map(np.array)


@settings(deadline=None)
@given(rows)
def test_swapping_the_models_negates_the_difference(table):
    y, first, second = table.T
    there, back = (compare(y, *pair, 4, n_resamples=50) for pair in ((first, second), (second, first)))

    assert there.difference == -back.difference
    assert there.mcnemar_p_value == back.mcnemar_p_value


@settings(deadline=None)
@given(rows, st.floats(0, 1), st.none() | st.floats(0.01, 0.99))
def test_a_model_never_beats_itself(table, min_improvement, confidence):
    y, predicted, _ = table.T
    comparison = compare(y, predicted, predicted.copy(), 4, confidence=confidence or 0.95, n_resamples=50)

    assert not decide(
        comparison.difference, comparison.interval, Criteria(min_improvement, confidence)
    ).superior


@settings(deadline=None)
@given(rows)
def test_the_scores_are_those_of_scikit_learn_and_the_interval_holds_the_difference(table):
    y, first, second = table.T
    y = np.concatenate([y, np.arange(4)])
    first, second = (np.concatenate([predicted, np.arange(4)]) for predicted in (first, second))
    comparison = compare(y, first, second, 4, n_resamples=500)

    assert comparison.champion_score == balanced_accuracy_score(y, first)
    assert comparison.challenger_score == balanced_accuracy_score(y, second)
    assert comparison.interval[0] <= comparison.difference <= comparison.interval[1]


def test_equal_scores_are_equal_whatever_the_order_of_their_sum():
    # Recalls 1/10, 2/10, 3/10 and the same the other way round: their float sums differ in the last bit.
    y = np.repeat([0, 1, 2], 10)
    first = np.concatenate([np.repeat([label, -1], [n, 10 - n]) for label, n in enumerate((1, 2, 3))])
    second = np.concatenate([np.repeat([label, -1], [n, 10 - n]) for label, n in enumerate((3, 2, 1))])

    assert compare(y, first, second, 3).difference == 0


def test_many_classes_in_few_rows_need_no_warning():
    y = np.arange(30)  # scikit-learn takes it for a regression

    assert score(y, y) == 1.0


def test_a_label_that_is_no_class_counts_as_wrong():
    assert_array_equal(class_indices(["a", "z", "b"], ("a", "b")), [0, -1, 1])
    assert score(np.array([0, 0, 1]), np.array([0, -1, 1])) == 0.75


def test_no_rows_cannot_be_compared():
    with pytest.raises(ComparisonError, match="no row"):
        compare(np.array([], int), np.array([], int), np.array([], int), 2)
