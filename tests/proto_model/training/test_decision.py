"""Costs as a user types them, and the decision that a search's out-of-fold rows lead to."""

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from proto_model.registry import settings
from proto_model.table import RawTable, prepare
from proto_model.table.folds import folds
from proto_model.training import SearchResult
from proto_model.training.calibration import METHODS
from proto_model.training.decision import (
    CALIBRATIONS,
    DecisionSettings,
    _gain,
    find_decision,
    with_decisions,
)
from proto_model.training.metrics import METRICS, Predictions
from proto_model.training.selection import scoring
from proto_model.training.selection.result import FoldScores


def searched(shares, strength, n_rows=600, seed=0):
    """Training data with classes of these shares, and a search that found their true probabilities."""
    rng = np.random.default_rng(seed)
    y = rng.choice(len(shares), n_rows, p=shares)
    evidence = strength * np.eye(len(shares))[y] + rng.normal(size=(n_rows, len(shares)))
    frame = pd.DataFrame({f"x{k}": evidence[:, k] for k in range(len(shares))})
    frame["y"] = [f"class {k}" for k in y]
    data = prepare(RawTable("made", "made", pa.Table.from_pandas(frame)), "y", 0.2)
    known = np.exp(strength * data.X_train.to_numpy()) * shares  # the true probabilities are so much of all
    out_of_fold = known / known.sum(axis=1, keepdims=True)
    codes = np.unique(data.y_train, return_inverse=True)[1]
    parts = [judge for _, judge in folds(data, 0)]
    by_fold = [scoring.scores(codes[rows], out_of_fold[rows]) for rows in parts]
    scores = FoldScores(
        {name: np.array([fold[name] for fold in by_fold]) for name in by_fold[0]},
        np.array([len(rows) for rows in parts], dtype=float),
    )
    balanced = scores.by_metric["balanced_accuracy"]
    return data, SearchResult(
        "random_forest", None, {}, scores.mean("balanced_accuracy"), balanced.std(), pd.DataFrame(), 1.0,
        out_of_fold, folds=scores,
    )  # fmt: skip


@pytest.mark.parametrize("shares", [[0.88, 0.12], [0.15, 0.7, 0.15]])
def test_auto_takes_balanced_costs_where_classes_are_rare(shares):
    data, result = searched(shares, 1.3)

    found, balanced, none = (
        find_decision(result, data, DecisionSettings(costs=costs), 0)
        for costs in ("auto", "balanced", "none")
    )

    np.testing.assert_array_equal(found.decision.costs, balanced.decision.costs)
    assert none.decision.costs is None
    assert none.why_costs == balanced.why_costs == ""
    before, after = (with_decisions(result, data, f).cv_balanced_accuracy for f in (none, found))
    assert after > before + 0.02
    codes = np.unique(data.y_train, return_inverse=True)[1]
    recall = [(found.predicted[codes == k] == k).mean() for k in range(len(shares))]
    assert f"to {np.mean(recall):.4f}, standard error" in found.why_costs


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.55, 0.45], [0.34, 0.33, 0.33]])
def test_auto_changes_nothing_where_classes_are_balanced(shares):
    data, result = searched(shares, 1.3)

    found = find_decision(result, data, DecisionSettings(calibrate="none"), 0)

    assert found.decision.costs is None
    assert "would not raise the balanced accuracy" in found.why_costs
    assert with_decisions(result, data, found) is result
    np.testing.assert_array_equal(found.predicted, result.out_of_fold.argmax(axis=1))


def test_auto_is_right_more_often_than_chance_where_costs_do_not_matter():
    taken = 0
    for seed in range(40):
        data, result = searched([0.6, 0.4], 0.0, n_rows=200, seed=seed)
        noise = np.random.default_rng(seed).dirichlet([1, 1], len(result.out_of_fold))
        result = dataclasses.replace(result, out_of_fold=noise)  # tells nothing, so no costs can help
        taken += find_decision(result, data, DecisionSettings(calibrate="none"), 0).decision.costs is not None

    assert taken <= 12  # one standard error is passed in 16 % of such tables: more than 12 in one of 60 runs


def test_the_choice_of_costs_depends_on_nothing_else():
    data, result = searched([0.88, 0.12], 1.3)

    first, second = (find_decision(result, data, DecisionSettings(), 0) for _ in range(2))

    assert first.why_costs == second.why_costs
    np.testing.assert_array_equal(first.predicted, second.predicted)


def test_metrics_over_the_folds_are_those_of_decisions():
    data, result = searched([0.88, 0.12], 1.3)
    found = find_decision(result, data, DecisionSettings(calibrate="none", costs="balanced"), 0)

    decided = with_decisions(result, data, found)

    codes = np.unique(data.y_train, return_inverse=True)[1]
    parts = [
        Predictions(codes[rows], result.out_of_fold[rows], found.predicted[rows])
        for _, rows in folds(data, 0)
    ]
    expected = {metric.name: [metric.function(part) for part in parts] for metric in METRICS}
    assert set(decided.folds.by_metric) == set(expected)
    for name, values in expected.items():  # those of probabilities are the same for all decisions
        np.testing.assert_allclose(decided.folds.by_metric[name], values, err_msg=name)
    assert decided.cv_balanced_accuracy > result.cv_balanced_accuracy
    assert decided.cv_std == pytest.approx(np.std(expected["balanced_accuracy"]))


def test_a_few_rows_that_no_one_contradicts_are_no_proof():
    assert _gain(np.array([500, 1]), np.array([0, 0]), np.array([0, 1]))[1] > 0.4
    assert _gain(np.array([100, 100]), np.array([3, 0]), np.array([0, 9])) == pytest.approx(
        (0.03, np.sqrt(0.09 * 0.91 + 0.03 * 0.97) / 20), rel=0.2
    )


def test_the_settings_know_the_methods():
    assert settings._CALIBRATIONS == CALIBRATIONS == ("auto", "none", *METHODS)


def test_rows_that_no_fold_judged_are_left_out(mixed_data):
    n_rows = len(mixed_data.y_train)
    rng = np.random.default_rng(0)
    out_of_fold = rng.dirichlet([1, 1], n_rows)
    result = SearchResult("random_forest", None, {}, 0.5, 0.1, pd.DataFrame(), 1.0, out_of_fold)
    first = dataclasses.replace(
        result, out_of_fold=np.where(np.arange(n_rows)[:, None] < 50, np.nan, out_of_fold)
    )

    whole, part = (find_decision(r, mixed_data, DecisionSettings(), 0) for r in (result, first))

    assert sum(whole.decision.sets.n_rows) == n_rows
    assert sum(part.decision.sets.n_rows) == n_rows - 50
    assert whole.decision.costs is None
