from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import balanced_accuracy_score, recall_score

from proto_model.registry.promotion.comparison import (
    ComparisonError,
    class_indices,
    compare,
    count_pairs,
    mcnemar_p_value,
    schema_differences,
)
from proto_model.schema import Feature, ModelSchema

labels = st.integers(0, 3)
rows = st.lists(st.tuples(labels, labels, labels), min_size=1, max_size=80).map(np.array)
SIZE = Feature("size", "double", True, minimum=0.0, maximum=9.0, median=3.0)
COLOR = Feature("color", "string", False, categories=("blue", "red"), most_frequent="red")
SCHEMA = ModelSchema("m", "kind", "string", ("a", "b"), (SIZE, COLOR))


@settings(deadline=None)
@given(rows)
def test_swapping_the_models_negates_the_difference(table):
    y, first, second = table.T
    there, back = (compare(y, *pair, 4) for pair in ((first, second), (second, first)))

    assert there.difference == -back.difference
    assert there.mcnemar_p_value == back.mcnemar_p_value


@settings(deadline=None)
@given(rows)
def test_the_scores_are_those_of_scikit_learn_and_the_interval_holds_the_difference(table):
    y, first, second = table.T
    y = np.concatenate([y, np.arange(4)])
    first, second = (np.concatenate([predicted, np.arange(4)]) for predicted in (first, second))
    comparison = compare(y, first, second, 4)

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

    assert count_pairs(y, y, y, 30).scores() == (1.0, 1.0)


def test_a_label_that_is_no_class_counts_as_wrong():
    assert_array_equal(class_indices(["a", "z", "b"], ("a", "b")), [0, -1, 1])
    predicted = np.array([0, -1, 1])
    assert count_pairs(np.array([0, 0, 1]), predicted, predicted, 2).scores() == (0.75, 0.75)


def test_no_rows_cannot_be_compared():
    with pytest.raises(ComparisonError, match="no row"):
        compare(np.array([], int), np.array([], int), np.array([], int), 2)


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
        assert np.nanmean(recalls) == pytest.approx(balanced_accuracy_score(y, predicted))


@given(paired_labels())
def test_every_row_is_in_one_of_four_cells(paired):
    y, first, second, n_classes = paired
    counts = count_pairs(y, first, second, n_classes)
    wrong_by_both = np.bincount(y[(first != y) & (second != y)], minlength=n_classes)

    assert_array_equal(counts.both + counts.first_only + counts.second_only + wrong_by_both, counts.n_rows)
    assert counts.n_rows.sum() == len(y)


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


def test_a_schema_can_take_its_own_place():
    assert schema_differences(SCHEMA, SCHEMA) == []


def test_what_a_new_table_changes_is_no_difference():
    grown = replace(
        SCHEMA,
        features=(
            replace(COLOR, nullable=True, categories=("blue", "green", "red")),
            replace(SIZE, maximum=99.0, median=7.0),
        ),
    )

    assert schema_differences(SCHEMA, grown) == []


@pytest.mark.parametrize(
    ("other", "phrase"),
    [
        (replace(SCHEMA, target="type"), "target 'kind' (string) against 'type' (string)"),
        (replace(SCHEMA, classes=("a", "b", "c")), "classes ['a', 'b'] against ['a', 'b', 'c']"),
        (replace(SCHEMA, features=(SIZE,)), "features of the champion only: ['color']"),
        (replace(SCHEMA, features=(SIZE, COLOR, replace(SIZE, name="mass"))), "challenger only: ['mass']"),
        (replace(SCHEMA, features=(replace(SIZE, type="long"), COLOR)), "'size': double against long"),
        (
            replace(SCHEMA, features=(replace(SIZE, nullable=False), COLOR)),
            "'size': the champion takes missing",
        ),
    ],
)
def test_what_breaks_callers_is_named(other, phrase):
    (found,) = schema_differences(SCHEMA, other)

    assert phrase in found
