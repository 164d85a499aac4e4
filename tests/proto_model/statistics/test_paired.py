import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from proto_model.statistics import Answers, balanced_accuracy_difference, paired_difference
from proto_model.statistics.pair_counts import checked, draws, lower_tail


@st.composite
def pair_counts(draw):
    """Rows of each class, and those that only the first or only the second model predicted right."""
    lines = draw(st.lists(st.tuples(*[st.integers(0, 30)] * 3), min_size=1, max_size=4))
    first, second, rest = np.array(lines).T
    rest[0] += 1
    return first + second + rest, first, second


@settings(max_examples=40, deadline=None)
@given(pair_counts())
def test_swapping_the_models_turns_the_sign_of_everything(counts):
    n_rows, first, second = counts
    here = balanced_accuracy_difference(n_rows, first, second)
    there = balanced_accuracy_difference(n_rows, second, first)

    assert here.difference == -there.difference
    assert here.low == pytest.approx(-there.high, abs=1e-12)
    assert here.p_better == pytest.approx(1 - there.p_better, abs=1e-12)
    assert here.low <= here.difference <= here.high
    assert here.low < here.high


@settings(max_examples=40, deadline=None)
@given(pair_counts(), st.floats(0.5, 0.98))
def test_names_of_classes_do_not_matter_and_more_confidence_is_wider(counts, confidence):
    renamed = balanced_accuracy_difference(*(part[::-1] for part in counts))
    evidence = balanced_accuracy_difference(*counts)

    assert np.array_equal(renamed.draws, evidence.draws)
    (low, high), (lower, higher) = evidence.bounds(confidence), evidence.bounds(confidence + 0.01)
    assert lower <= low <= high <= higher
    assert -1 <= lower <= higher <= 1


@pytest.mark.parametrize(("first", "second"), [(0, 3), (2, 9), (10, 25)])
def test_with_one_class_it_is_mcnemars_test_in_its_mid_p_form(first, second):
    evidence = balanced_accuracy_difference(*(np.array([part]) for part in (100_000, first, second)))
    mid_p = binom.cdf(first, first + second, 0.5) - binom.pmf(first, first + second, 0.5) / 2

    assert 1 - evidence.p_better == pytest.approx(mid_p, abs=0.008)


def test_few_rows_that_differ_leave_an_interval_with_a_width():
    # The percentile bootstrap of 0.3.0 gave [0, 0.04] for one row of 63, and [0, 0] for none.
    one = balanced_accuracy_difference(np.array([40, 23]), np.array([0, 0]), np.array([0, 1]))
    none = balanced_accuracy_difference(np.array([40, 23]), np.array([0, 0]), np.array([0, 0]))

    assert one.low < -0.01
    assert one.p_better < 0.95
    assert none.low < -0.02 < 0.02 < none.high
    assert none.p_better == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    "counts", [([100], [2], [9]), ([1000, 1000], [5, 10], [20, 30]), ([95, 50], [0, 2], [6, 5])]
)
def test_the_tail_of_the_formula_is_that_of_the_draws(counts):
    in_order = checked(*(np.array(part) for part in counts))
    sample = draws(in_order)
    for level in (0.005, 0.02, 0.1):
        assert level / 2 < lower_tail(in_order, float(np.quantile(sample, level))) < 2 * level


@pytest.mark.parametrize(
    ("sizes", "apart", "difference"),
    [
        ((30, 30), 0.05, 0.0),
        ((90, 10), 0.3, 0.0),
        ((3,) * 10, 0.4, 0.0),
        ((54, 6), 0.2, -0.02),
        ((50, 50), 0.1, 0.05),
    ],
)
def test_the_interval_of_the_difference_covers(sizes, apart, difference):
    # Cells in which the percentile bootstrap of 0.3.0 covers .64 to .91.
    n_rows = np.array(sizes)
    shares = [(apart - difference) / 2, (apart + difference) / 2, 1 - apart]
    drawn = np.random.default_rng(1).multinomial(n_rows, shares, size=(100, len(sizes)))
    evidence = [balanced_accuracy_difference(n_rows, one[:, 0], one[:, 1]) for one in drawn]
    covered = np.mean([found.low <= difference <= found.high for found in evidence])

    assert covered >= 0.93 - 0.035


@pytest.mark.parametrize("metric", ["f1_macro", "roc_auc", "average_precision", "log_loss", "brier"])
def test_other_metrics_are_compared_on_the_same_rows(metric):
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 300)
    noise = generator.standard_normal(300)

    def answers(distance):
        second = 1 / (1 + np.exp(-distance * (noise + distance * (y - 0.5))))
        probabilities = np.stack([1 - second, second], axis=1)
        return Answers(probabilities.argmax(axis=1), probabilities)

    evidence = paired_difference(metric, y, answers(1.5), answers(2.5), 2)
    swapped = paired_difference(metric, y, answers(2.5), answers(1.5), 2)

    assert evidence.difference > 0
    assert evidence.p_better > 0.95
    assert evidence.low <= evidence.difference <= evidence.high
    assert swapped.difference == -evidence.difference
    assert swapped.low == pytest.approx(-evidence.high, abs=1e-9)
    assert paired_difference(metric, y, answers(2), answers(2), 2).p_better == pytest.approx(0.5, abs=0.01)


def two_models(n_rows, share, distance, generator):
    """Rows of two classes, and two good models that see them through partly different noise."""
    y = (generator.random(n_rows) < share).astype(np.int64)
    common = generator.standard_normal(n_rows)
    found = []
    for better in (1.0, 1.03):
        noise = np.sqrt(0.8) * common + np.sqrt(0.2) * generator.standard_normal(n_rows)
        logit = distance * (noise + distance * better * (y - 0.5)) + np.log(share / (1 - share))
        of_class = 1 / (1 + np.exp(-logit))
        found.append(Answers((of_class > 0.5).astype(np.int64), np.stack([1 - of_class, of_class], axis=1)))
    return y, *found


@pytest.mark.parametrize(
    ("metric", "n_rows", "share", "distance"),
    [
        ("log_loss", 30, 0.5, 3.8),
        ("brier", 30, 0.5, 3.8),
        ("roc_auc", 100, 0.02, 1.5),
        ("precision_macro", 300, 0.1, 0.8),
    ],
)
def test_differences_of_probabilities_cover_where_few_rows_are_wrong_or_of_a_class(
    monkeypatch, metric, n_rows, share, distance
):
    monkeypatch.setattr("proto_model.statistics.pair_counts.N_DRAWS", 2000)
    generator = np.random.default_rng(3)
    y, first, second = two_models(50_000, share, distance, generator)
    truth = paired_difference(metric, y, first, second, 2).difference
    covered = []
    while len(covered) < 150:
        y, first, second = two_models(n_rows, share, distance, generator)
        if len(np.unique(y)) == 2:
            evidence = paired_difference(metric, y, first, second, 2)
            covered.append(evidence.low <= truth <= evidence.high)

    # Three standard errors of the share below .93. The spread of the rows alone covered .68 for the losses.
    assert np.mean(covered) >= 0.93 - 3 * 0.021


def test_models_that_say_the_same_of_all_rows_do_not_differ_in_probabilities():
    y, first, _ = two_models(50, 0.4, 2.0, np.random.default_rng(0))
    for metric in ("log_loss", "brier", "roc_auc", "average_precision"):
        evidence = paired_difference(metric, y, first, first, 2)
        assert (evidence.low, evidence.high) == (0.0, 0.0)


def test_counts_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="contradict each other"):
        balanced_accuracy_difference(np.array([3]), np.array([2]), np.array([2]))
    with pytest.raises(ValueError, match="No class has rows"):
        balanced_accuracy_difference(np.array([0]), np.array([0]), np.array([0]))
    y = np.zeros(4, dtype=np.int64)
    with pytest.raises(ValueError, match="not defined"):
        paired_difference("recall", y, Answers(y), Answers(y), 2, class_index=1)
