"""The decision of a searched variant: calibration, costs and prediction sets, from its out-of-fold rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proto_model.model.decision import Conformal, Decision, PredictionSets
from proto_model.statistics.pair_counts import pseudo_counts
from proto_model.table import TrainingData
from proto_model.table.folds import folds
from proto_model.training.calibration import METHODS, CalibrationChoice, chosen
from proto_model.training.costs import AUTO, BALANCED, cost_matrix
from proto_model.training.metrics import Predictions
from proto_model.training.selection.result import FoldScores, SearchResult

CALIBRATIONS = ("auto", "none", *METHODS)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class DecisionSettings:
    """What a user wishes: `calibrate` one of `CALIBRATIONS`, costs as text, and what sets hold for."""

    calibrate: str = "auto"
    costs: str = AUTO
    conformal: Conformal = "class"


@dataclass(frozen=True, eq=False)
class FoundDecision:
    """A decision, and why it is as it is.

    `why_costs` is the reason for or against costs where nobody gave any. `folds` are the positions of the
    training rows that each fold judged, and `predicted` is what they were decided to be; -1 if none did.
    """

    decision: Decision
    choice: CalibrationChoice
    why_costs: str = ""
    folds: tuple[Ints, ...] = ()
    predicted: Ints | None = None


def find_decision(
    result: SearchResult, data: TrainingData, settings: DecisionSettings, random_state: int
) -> FoundDecision:
    """Decision of a variant from its out-of-fold probabilities; rows that no fold judged are left out.

    Raises DataError if the costs do not fit the classes.
    """
    codes: Ints = np.unique(data.y_train, return_inverse=True)[1]
    judged = np.asarray(~np.isnan(result.out_of_fold).any(axis=1))
    y, probabilities = codes[judged], result.out_of_fold[judged]
    position = np.cumsum(judged) - 1
    judged_by = tuple(rows[judged[rows]] for _, rows in folds(data, random_state))
    parts = [position[rows] for rows in judged_by if len(rows)]
    choice = chosen(settings.calibrate, y, probabilities, parts)
    # Of a calibration that had not seen the row, as what is answered later has not.
    sets = PredictionSets.of(y, choice.out_of_fold, settings.conformal)
    n_rows = np.bincount(codes).tolist()
    if settings.costs.strip().lower() == AUTO:
        balanced = cost_matrix(BALANCED, data.schema, n_rows)
        costs, why = _costs_if_better(balanced, y, choice.out_of_fold)
    else:
        costs, why = cost_matrix(settings.costs, data.schema, n_rows), ""
    predicted = np.full(len(codes), -1)
    predicted[judged] = Decision(costs=costs).decide(choice.out_of_fold)
    return FoundDecision(Decision(choice.calibration, costs, sets), choice, why, judged_by, predicted)


def _costs_if_better(costs: Floats | None, y: Ints, probabilities: Floats) -> tuple[Floats | None, str]:
    """The costs if they lead to better decisions on rows that the model had not seen, else None; and why."""
    if not len(y):
        return None, "no row was judged out of fold"
    plain, weighed = probabilities.argmax(axis=1), Decision(costs=costs).decide(probabilities)
    n_rows, first, second = (
        np.bincount(y[rows], minlength=probabilities.shape[1])
        for rows in (slice(None), (plain == y) & (weighed != y), (plain != y) & (weighed == y))
    )
    present = n_rows > 0
    gain, error = _gain(n_rows[present], first[present], second[present])
    right = np.bincount(y[plain == y], minlength=probabilities.shape[1])
    before = float((right[present] / n_rows[present]).mean())
    figures = f"{before:.4f} to {before + gain:.4f}, standard error of the difference {error:.4f}"
    if gain > error:
        return costs, f"they raise the balanced accuracy of decisions out of fold from {figures}"
    return None, (
        "balanced costs would not raise the balanced accuracy of decisions out of fold by more than a "
        f"standard error ({figures})"
    )


def _gain(n_rows: Ints, first_only: Ints, second_only: Ints) -> tuple[float, float]:
    """What the second of two decisions gains in balanced accuracy, and the standard error over paired rows.

    Counts are per class, of rows and of those that only one decides right. As elsewhere, a pseudo-row for
    each side keeps a difference that a few rows do not show from counting as impossible.
    """
    pseudo = pseudo_counts(n_rows)
    lost, won = ((only + pseudo) / (n_rows + 2 * pseudo) for only in (first_only, second_only))
    variances = (won + lost - (won - lost) ** 2) / n_rows
    gain = float(((second_only - first_only) / n_rows).mean())
    return round(gain, 12) + 0.0, float(np.sqrt(variances.sum()) / len(n_rows))


def with_decisions(result: SearchResult, data: TrainingData, found: FoundDecision) -> SearchResult:
    """The result with those metrics over the folds that judge decisions taken from the version's decisions.

    They are from calibrations that had not seen the row. What judges probabilities stays.
    """
    if found.predicted is None or (found.decision.calibration is None and found.decision.costs is None):
        return result  # it decides as the search did
    codes: Ints = np.unique(data.y_train, return_inverse=True)[1]
    parts = [
        _decided_scores(Predictions(codes[rows], result.out_of_fold[rows], found.predicted[rows]))
        for rows in found.folds
    ]
    of_decisions = {name: np.array([part[name] for part in parts]) for name in parts[0]}
    scores = FoldScores({**result.folds.by_metric, **of_decisions}, result.folds.weights)
    return replace(
        result,
        folds=scores,
        cv_balanced_accuracy=scores.mean("balanced_accuracy"),
        cv_std=float(scores.by_metric["balanced_accuracy"].std()),
    )


def _decided_scores(rows: Predictions) -> dict[str, float]:
    """Metrics of a whole table that judge predicted classes; those that rank rows take ten times as long."""
    per_class = {"precision": rows.precision, "recall": rows.recall, "f1": rows.f1, "f2": rows.f2}
    means = {f"{name}_macro": float(values[rows.present].mean()) for name, values in per_class.items()}
    accuracy = float((rows.y == rows.predicted).mean())
    return means | {"balanced_accuracy": means["recall_macro"], "accuracy": accuracy}
