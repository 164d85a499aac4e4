import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import bootstrap
from sklearn.metrics import balanced_accuracy_score, recall_score

from proto_model.errors import InputError
from proto_model.registry.promotion.comparison import (
    Bootstrap,
    ComparisonError,
    Criteria,
    PairedCounts,
    bootstrap_differences,
    class_indices,
    compare,
    count_pairs,
    decide,
    interval,
    mcnemar_p_value,
    schema_differences,
)
from proto_model.schema import Feature, ModelSchema

labels = st.integers(0, 3)
rows = st.lists(st.tuples(labels, labels, labels), min_size=1, max_size=80).map(np.array)
some_differences = st.floats(-1, 1)
some_criteria = st.builds(
    Criteria, min_improvement=st.floats(0, 1), confidence=st.none() | st.floats(0.01, 0.99)
)
SIZE = Feature("size", "double", True, minimum=0.0, maximum=9.0, median=3.0)
COLOR = Feature("color", "string", False, categories=("blue", "red"), most_frequent="red")
SCHEMA = ModelSchema("m", "kind", "string", ("a", "b"), (SIZE, COLOR))


@settings(deadline=None)
@given(rows)
def test_swapping_the_models_negates_the_difference(table):
    y, first, second = table.T
    there, back = (
        compare(y, *pair, 4, Bootstrap(n_resamples=50)) for pair in ((first, second), (second, first))
    )

    assert there.difference == -back.difference
    assert there.mcnemar_p_value == back.mcnemar_p_value


@settings(deadline=None)
@given(rows, st.floats(0, 1), st.none() | st.floats(0.01, 0.99))
def test_a_model_never_beats_itself(table, min_improvement, confidence):
    y, predicted, _ = table.T
    comparison = compare(y, predicted, predicted.copy(), 4, Bootstrap(confidence or 0.95, 50))

    assert not decide(
        comparison.difference, comparison.interval, Criteria(min_improvement, confidence)
    ).superior


@settings(deadline=None)
@given(rows)
def test_the_scores_are_those_of_scikit_learn_and_the_interval_holds_the_difference(table):
    y, first, second = table.T
    y = np.concatenate([y, np.arange(4)])
    first, second = (np.concatenate([predicted, np.arange(4)]) for predicted in (first, second))
    comparison = compare(y, first, second, 4, Bootstrap(n_resamples=500))

    assert comparison.champion_score == balanced_accuracy_score(y, first)
    assert comparison.challenger_score == balanced_accuracy_score(y, second)
    assert comparison.interval[0] <= comparison.difference <= comparison.interval[1]


def test_equal_scores_are_equal_whatever_the_order_of_their_sum():
    # Recalls 1/10, 2/10, 3/10 and the same the other way round: their float sums differ in the last bit.
    y = np.repeat([0, 1, 2], 10)
    first = np.concatenate([np.repeat([label, -1], [n, 10 - n]) for label, n in enumerate((1, 2, 3))])
    second = np.concatenate([np.repeat([label, -1], [n, 10 - n]) for label, n in enumerate((3, 2, 1))])

    assert compare(y, first, second, 3, Bootstrap()).difference == 0


def test_many_classes_in_few_rows_need_no_warning():
    y = np.arange(30)  # scikit-learn takes it for a regression

    assert count_pairs(y, y, y, 30).scores() == (1.0, 1.0)


def test_a_label_that_is_no_class_counts_as_wrong():
    assert_array_equal(class_indices(["a", "z", "b"], ("a", "b")), [0, -1, 1])
    predicted = np.array([0, -1, 1])
    assert count_pairs(np.array([0, 0, 1]), predicted, predicted, 2).scores() == (0.75, 0.75)


def test_no_rows_cannot_be_compared():
    with pytest.raises(ComparisonError, match="no row"):
        compare(np.array([], int), np.array([], int), np.array([], int), 2, Bootstrap())


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


@settings(deadline=None)
@given(paired_labels(), st.integers(0, 2**32 - 1))
def test_the_interval_holds_the_observed_difference(paired, seed):
    y, first, second, n_classes = paired
    counts = count_pairs(y, first, second, n_classes)
    first_recalls, second_recalls = counts.recalls()
    observed = np.nanmean(second_recalls) - np.nanmean(first_recalls)
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

    assert np.nanmean(counts.recalls()[0]) == 0.75
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


def test_by_default_any_higher_score_is_superior():
    assert decide(1e-6, (-0.1, 0.1), Criteria()).superior
    assert not decide(-1e-6, (-0.1, 0.1), Criteria()).superior


def test_a_margin_has_to_be_reached():
    assert not decide(0.0099, (0.005, 0.02), Criteria(min_improvement=0.01)).superior
    assert decide(0.01, (0.005, 0.02), Criteria(min_improvement=0.01)).superior


def test_with_a_confidence_the_interval_has_to_exclude_zero():
    confident = Criteria(confidence=0.95)

    assert decide(0.02, (0.001, 0.04), confident).superior
    assert not decide(0.02, (0.0, 0.04), confident).superior
    assert "95 % confidence interval" in decide(0.02, (0.0, 0.04), confident).reason


@given(some_criteria)
def test_equal_scores_never_promote(asked):
    assert not decide(0.0, (0.0, 0.0), asked).superior


@given(some_differences, some_differences, some_differences, some_criteria)
def test_two_models_are_never_superior_to_each_other(difference, one, other, asked):
    low, high = sorted([one, other])

    there, back = decide(difference, (low, high), asked), decide(-difference, (-high, -low), asked)
    assert not (there.superior and back.superior)


@given(some_differences, some_differences, some_differences, some_criteria)
def test_asking_for_more_never_promotes_more(difference, one, other, asked):
    low, high = sorted([one, other])

    if decide(difference, (low, high), asked).superior:
        assert decide(difference, (low, high), Criteria()).superior


@pytest.mark.parametrize(
    "wrong", [{"confidence": 0.0}, {"confidence": 95.0}, {"min_improvement": -0.1}, {"min_improvement": 2.0}]
)
def test_criteria_out_of_range_are_refused_with_the_value(wrong):
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        Criteria(**wrong)


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
