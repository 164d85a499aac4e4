"""How sure the metrics on the test rows are: their intervals beside them, and as text.

The ends of an interval are metrics, too: `accuracy_low` and `accuracy_high`, of a class `recall_low/<label>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from proto_model.statistics import Answers, metric_intervals
from proto_model.training.evaluation.group_bounds import CONFIDENCE
from proto_model.training.evaluation.metric_texts import ENDS, is_bound
from proto_model.training.metrics import METRICS, metric_suffixes
from proto_model.training.selection.choice import DEFAULT_METRIC


def metric_bounds(
    y: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    predicted: NDArray[np.int64],
    labels: Sequence[object],
) -> dict[str, float]:
    """Ends of the 95 % intervals of `METRICS` and `CLASS_METRICS`; parameters as of these.

    Examples
    --------
    >>> right = np.repeat([0, 1], 30)
    >>> bounds = metric_bounds(right, np.eye(2)[right], right, ["a", "b"])
    >>> round(bounds["accuracy_low"], 3), bounds["recall_high/b"]
    (0.94, 1.0)
    """
    suffixes = metric_suffixes(labels)
    found = metric_intervals(y, Answers(predicted, probabilities), len(labels), CONFIDENCE)
    bounds = {}
    for key, interval in found.items():
        name, _, index = key.partition("/")
        of_class = f"/{suffixes[int(index)]}" if index else ""
        bounds[f"{name}_low{of_class}"], bounds[f"{name}_high{of_class}"] = interval.low, interval.high
    return bounds


def logged(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics for MLflow's pages: with intervals where they are on the leader board, or choose by default."""
    shown = [metric.name for metric in METRICS if metric.on_board or metric.name == DEFAULT_METRIC]
    board = {name + end for name in shown for end in ENDS}
    return {name: value for name, value in metrics.items() if not is_bound(name) or name in board}


def whiskers(metrics: Sequence[Mapping[str, float]], name: str) -> NDArray[np.float64]:
    """How far a metric's interval reaches below and above it, shape (2, n); 0 where there is none."""
    values = [(m[name], m.get(f"{name}_low", m[name]), m.get(f"{name}_high", m[name])) for m in metrics]
    return np.array([[value - low for value, low, _ in values], [high - value for value, _, high in values]])


def how_sure(metrics: Mapping[str, float], n_test: int) -> str:
    """Sentence of a card's limits: how well so many rows can know the accuracy."""
    if "accuracy_low" not in metrics:
        return f"With {n_test:,} test rows, small differences between metrics mean nothing."
    return (
        f"With {n_test:,} test rows, the accuracy is between {metrics['accuracy_low']:.3f} and "
        f"{metrics['accuracy_high']:.3f} ({CONFIDENCE:.0%} interval). The intervals above count what chance "
        "does to the test rows, not rows of another source or a later time."
    )
