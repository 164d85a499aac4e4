import numpy as np

from proto_model.training.evaluation.group_bounds import group_bounds
from proto_model.training.evaluation.intervals import (
    how_sure,
    logged,
    metric_bounds,
    whiskers,
)
from proto_model.training.evaluation.metric_texts import is_bound, with_interval
from proto_model.training.metrics import CLASS_METRICS, METRICS, classification_metrics

LABELS = ["<=50K", ">50K"]


def metrics_of(n_wrong):
    y = np.repeat([0, 1], [72, 122])
    predicted = y.copy()
    predicted[:n_wrong] = 1
    probabilities = np.eye(2)[predicted] * 0.8 + 0.1
    return classification_metrics(y, probabilities, LABELS) | metric_bounds(
        y, probabilities, predicted, LABELS
    )


def test_every_metric_that_is_shown_has_an_interval():
    metrics = metrics_of(5)
    names = [metric.name for metric in METRICS]
    names += [f"{metric.name}/{suffix}" for metric in CLASS_METRICS for suffix in ("le_50K", "gt_50K")]

    assert {name for name in metrics if not is_bound(name)} == set(names)
    for name in names:
        base, _, suffix = name.partition("/")
        low, high = (metrics[f"{base}_{end}" + (f"/{suffix}" if suffix else "")] for end in ("low", "high"))
        assert low <= metrics[name] <= high
        assert low < high
        assert with_interval(metrics, name).startswith(f"{metrics[name]:.4f} ({low:.3f} to {high:.3f}")


def test_194_of_194_are_not_known_to_half_a_percent():
    metrics = metrics_of(0)

    assert metrics["accuracy"] == 1
    assert metrics["accuracy_low"] < 0.985  # the rule of three
    assert "between 0.981 and 1.000" in how_sure(metrics, 194)


def test_mlflows_pages_get_the_intervals_of_the_board_only():
    metrics = metrics_of(5)
    shown = logged(metrics)

    assert {"accuracy_low", "roc_auc_high", "recall/le_50K"} <= set(shown)
    assert set(shown).isdisjoint({"brier_low", "recall_low/le_50K"})


def test_a_metric_without_an_interval_is_shown_alone():
    assert with_interval({"mean_cost": 0.25}, "mean_cost", 3) == "0.250"
    assert whiskers([{"x": 0.5, "x_low": 0.4, "x_high": 0.7}, {"x": 0.1}], "x").round(9).tolist() == [
        [0.1, 0.0],
        [0.2, 0.0],
    ]
    assert "mean nothing" in how_sure({"accuracy": 1.0}, 20)


def test_a_group_of_four_rows_has_a_wide_interval_and_one_without_a_class_none():
    y = np.array([1, 1, 1, 1])
    bounds = group_bounds(y, y, 2)

    assert bounds["accuracy_low"] < 0.41
    assert np.isnan(bounds["false_positive_rate_low"])
