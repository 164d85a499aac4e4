import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto_model.statistics import (
    CLASS_METRIC_NAMES,
    LOWER_IS_BETTER,
    METRIC_NAMES,
    Answers,
    group_intervals,
    metric_interval,
    metric_intervals,
)
from proto_model.statistics.shares import mean_of_shares, share_interval
from proto_model.training.metrics import classification_metrics

_LEANINGS = st.sampled_from([0.0, 1.0, 30.0])


@st.composite
def answered_rows(draw):
    """Classes of some rows, and answers to them: often right, with ties, classes without rows among them."""
    n_classes, n = draw(st.integers(2, 5)), draw(st.integers(1, 60))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    y = generator.integers(0, draw(st.integers(1, n_classes)), n)
    weights = generator.random((n, n_classes)) + draw(_LEANINGS) * np.eye(n_classes)[y]
    probabilities = np.round(weights / weights.sum(axis=1, keepdims=True), 2)
    probabilities[:, 0] = 0
    probabilities[:, 0] = (1 - probabilities.sum(axis=1)).clip(0)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return y, Answers(probabilities.argmax(axis=1), probabilities), n_classes


@settings(max_examples=40, deadline=None)
@given(answered_rows())
def test_intervals_are_around_the_estimates_that_training_shows(rows):
    y, answers, n_classes = rows
    intervals = metric_intervals(y, answers, n_classes)
    shown = classification_metrics(y, answers.probabilities, list(range(n_classes)))

    for name in METRIC_NAMES:
        assert (name in intervals) == (name in shown)
    for key, interval in intervals.items():
        assert interval.estimate == pytest.approx(shown[key], abs=1e-9)
        assert 0 <= interval.low <= interval.estimate <= interval.high < np.inf
        if not key.startswith("log_loss") and (key != "brier" or n_classes == 2):
            assert interval.high <= 1
        assert interval.high > interval.low


@settings(max_examples=20, deadline=None)
@given(answered_rows(), st.floats(0.5, 0.98))
def test_a_higher_confidence_has_a_wider_interval(rows, confidence):
    y, answers, n_classes = rows
    for name in METRIC_NAMES:
        narrow = metric_interval(name, y, answers, n_classes, confidence=confidence)
        wide = metric_interval(name, y, answers, n_classes, confidence=confidence + 0.01)
        if narrow is not None:
            assert wide.low <= narrow.low + 1e-12
            assert wide.high >= narrow.high - 1e-12


@settings(max_examples=20, deadline=None)
@given(answered_rows(), st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_the_names_of_classes_matter(rows, random):
    y, answers, n_classes = rows
    order = np.array(random.sample(range(len(y)), len(y)))
    names = np.array(random.sample(range(n_classes), n_classes))
    # Of two classes, ranking metrics and Brier's score are about the second one: its name matters.
    if n_classes == 2:
        names = np.array([0, 1])
    renamed = Answers(names[answers.predicted], answers.probabilities[:, np.argsort(names)])
    moved = metric_intervals(names[y][order], renamed[order], n_classes)

    for name, interval in metric_intervals(y, answers, n_classes).items():
        if "/" not in name:
            assert moved[name].low == pytest.approx(interval.low, abs=1e-9)
            assert moved[name].high == pytest.approx(interval.high, abs=1e-9)


def test_no_error_leaves_the_rule_of_three_and_no_width_of_zero():
    # Until now the card said "± 0.005" here.
    y = np.repeat([0, 1], [72, 122])
    probabilities = np.eye(2)[y]
    intervals = metric_intervals(y, Answers(y, probabilities), 2)

    assert intervals["accuracy"].low < 1 - 3 / 194
    assert intervals["accuracy"].low > 1 - 4 / 194
    for name in METRIC_NAMES:
        assert intervals[name].high - intervals[name].low > 0.005, name


def test_a_share_has_clopper_and_pearsons_interval():
    interval = share_interval(8, 10)

    assert (interval.low, interval.high) == pytest.approx((0.4439045, 0.9747893), abs=1e-7)
    assert mean_of_shares(np.array([8]), np.array([10])).low == pytest.approx(interval.low)


def test_what_rows_do_not_define_has_no_interval():
    y = np.zeros(5, dtype=np.int64)
    intervals = metric_intervals(y, Answers(y, np.eye(3)[y]), 3)

    assert "roc_auc" not in intervals
    assert "recall/1" not in intervals
    assert metric_interval("accuracy", y[:0], Answers(y[:0]), 3) is None
    assert group_intervals(y[:0], y[:0], 2) == {}


def test_a_metric_that_does_not_exist_or_lacks_probabilities_is_refused():
    y = np.array([0, 1])
    with pytest.raises(ValueError, match="No metric is called 'kappa'"):
        metric_interval("kappa", y, Answers(y), 2)
    with pytest.raises(ValueError, match="No metric of a class is called 'log_loss'"):
        metric_interval("log_loss", y, Answers(y), 2, class_index=0)
    with pytest.raises(ValueError, match="needs probabilities"):
        metric_interval("roc_auc", y, Answers(y), 2)
    assert set(metric_intervals(y, Answers(y), 2)).isdisjoint({"roc_auc", *LOWER_IS_BETTER})
    assert set(CLASS_METRIC_NAMES) - {"roc_auc", "average_precision"} == {
        key.partition("/")[0] for key in metric_intervals(y, Answers(y), 2) if "/" in key
    }


@pytest.mark.parametrize(
    ("sizes", "recall"),
    [((30, 30), 0.97), ((90, 10), 0.9), ((6,) * 5, 0.9), ((98, 2), 0.8)],
)
def test_the_interval_of_balanced_accuracy_covers(sizes, recall):
    n_rows = np.array(sizes)
    right = np.random.default_rng(3).binomial(n_rows, recall, size=(80, len(sizes)))
    intervals = [mean_of_shares(one, n_rows) for one in right]
    covered = np.mean([interval.low <= recall <= interval.high for interval in intervals])

    assert covered >= 0.93 - 3 * (0.05 * 0.95 / 80) ** 0.5 + 0.02


@pytest.mark.parametrize(("n", "share_of_second", "distance"), [(30, 0.2, 2.5), (100, 0.03, 2.0)])
def test_the_intervals_of_ranking_and_losses_cover(n, share_of_second, distance):
    generator = np.random.default_rng(5)

    def drawn(n_rows):
        y = (generator.random(n_rows) < share_of_second).astype(np.int64)
        score = generator.standard_normal(n_rows) + distance * (y - 0.5)
        odds = np.exp(distance * score) * share_of_second / (1 - share_of_second)
        second = np.round(odds / (1 + odds) * 50) / 50  # in steps, as a small forest has them
        probabilities = np.stack([1 - second, second], axis=1)
        return y, Answers(probabilities.argmax(axis=1), probabilities)

    names = ("roc_auc", "average_precision", "brier", "log_loss", "f1_macro")
    y, answers = drawn(100_000)
    truths = {name: metric_interval(name, y, answers, 2).estimate for name in names}
    hits = dict.fromkeys(names, 0)
    n_sets = 0
    while n_sets < 80:
        y, answers = drawn(n)
        if len(np.unique(y)) < 2:
            continue
        n_sets += 1
        for name in names:
            interval = metric_interval(name, y, answers, 2)
            hits[name] += interval.low <= truths[name] <= interval.high

    assert {name for name in names if hits[name] / n_sets < 0.93 - 0.04} == set()
