import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.registry.settings import METRICS as NAMES
from proto_model.training.metrics import METRICS, Predictions
from proto_model.training.selection.scoring import (
    QUICK,
    loss,
    metric_called,
    score,
    scores,
    with_one_more_vote,
)


def predictions(seed, n_classes, n_rows=60):
    """Classes, one of which may be absent, and probabilities, some of them 0 or 1."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(n_classes, 0.3), n_rows)
    probabilities[:5] = np.eye(n_classes)[rng.integers(0, n_classes, 5)]
    return rng.integers(0, max(n_classes - 1, 2), n_rows), probabilities


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_quick_scores_are_those_of_the_evaluation(seed, n_classes):
    y, probabilities = predictions(seed, n_classes)
    known = {metric.name: metric.function for metric in METRICS}

    for name in QUICK:
        assert score(name, y, probabilities) == pytest.approx(known[name](Predictions(y, probabilities)))


def test_every_metric_is_a_score_and_a_setting():
    y, probabilities = predictions(1, 2)

    assert {name: score(name, y, probabilities) for name in NAMES} == pytest.approx(scores(y, probabilities))
    assert set(NAMES) == {metric.name for metric in METRICS}
    with pytest.raises(ValueError, match="'auc' given, one of balanced_accuracy, accuracy"):
        metric_called("auc")


def test_less_loss_is_better_whatever_the_metric():
    y = np.array([0, 1, 0, 1])
    good, bad = np.array([[0.9, 0.1], [0.2, 0.8]] * 2), np.array([[0.4, 0.6], [0.7, 0.3]] * 2)

    for name in NAMES:
        value, worse = (np.array(score(name, y, probabilities)) for probabilities in (good, bad))
        assert loss(name, value) < loss(name, worse)


def test_one_more_vote_leaves_no_zeros_and_still_sums_to_one():
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5]])

    voted = with_one_more_vote(probabilities, 49, np.array([0.8, 0.2]))

    assert voted[0, 1] == pytest.approx(0.004)
    assert voted.sum(axis=1) == pytest.approx([1, 1])
