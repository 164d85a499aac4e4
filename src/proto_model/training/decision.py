"""The decision of a searched variant: calibration, costs and prediction sets, from its out-of-fold rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import DataError, listed
from proto_model.model.decision import Conformal, Decision, PredictionSets
from proto_model.schema import ModelSchema
from proto_model.statistics.pair_counts import pseudo_counts
from proto_model.table import TrainingData
from proto_model.table.folds import folds
from proto_model.training.calibration import METHODS, Choice, chosen
from proto_model.training.metrics import Predictions
from proto_model.training.selection.result import FoldScores, SearchResult

_HIGHEST_COST = 1e9

AUTO, NONE, BALANCED = "auto", "none", "balanced"
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
    choice: Choice
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


def cost_matrix(text: str, schema: ModelSchema, n_rows: Sequence[int]) -> Floats | None:
    """What mistakes cost, a row per true class and a column per predicted one; None if nothing is said.

    Between commas stand `true>predicted:cost`, or `true:cost` for whatever is predicted instead; what is not
    named costs 1. `balanced` weighs each class by its rarity, `n_rows` being its rows. `auto` says nothing
    yet: rows decide, in `find_decision`.

    Raises DataError, which names what is wrong and the classes that there are.

    Examples
    --------
    >>> from proto_model.schema import Feature, ModelSchema
    >>> schema = ModelSchema("m", "y", "string", ("benign", "malignant"), (Feature("x", "double", False),))
    >>> cost_matrix("malignant>benign:10", schema, [5, 5]).tolist()
    [[0.0, 1.0], [10.0, 0.0]]
    """
    names = [name.removeprefix("probability_") for name in schema.probability_columns]
    costs = 1.0 - np.eye(len(names))
    word = text.strip().lower()
    if word in ("", NONE, AUTO):
        return None
    if word == BALANCED:
        counts = np.asarray(n_rows, dtype=np.float64)
        costs *= (counts.sum() / (len(counts) * counts))[:, np.newaxis]
        return costs
    given: dict[tuple[int, int | None], float] = {}
    rest = text.strip().rstrip(",")
    while rest:
        place, shown = _place(rest, names)
        if place in given:
            raise DataError(f"costs: {shown} is given twice. Give it once.")
        number, _, rest = rest[len(shown) + 1 :].partition(",")
        given[place] = _cost(number, shown)
        rest = rest.strip()
    for (true, predicted), cost in sorted(given.items(), key=lambda item: item[0][1] is not None):
        if predicted is None:
            costs[true] = np.where(np.arange(len(names)) == true, 0.0, cost)
        else:  # after the classes, because a pair says more
            costs[true, predicted] = cost
    return costs


def _place(rest: str, names: Sequence[str]) -> tuple[tuple[int, int | None], str]:
    """True and predicted class (None: any other) that a text begins with, and how it writes them."""
    # A label may hold any sign, so that only the labels tell where one ends.
    found: dict[str, tuple[int, int | None]] = {}
    for true, name in enumerate(names):
        if rest.startswith(f"{name}:"):
            found[name] = true, None
        if rest.startswith(f"{name}>"):
            after = rest[len(name) + 1 :]
            others = [j for j, other in enumerate(names) if j != true and after.startswith(f"{other}:")]
            found |= {f"{name}>{names[j]}": (true, j) for j in others}
    if not found:
        raise DataError(
            f"costs: {rest[:60]!r} is no cost of a class; one is {names[0]}>{names[1]}:10. "
            f"The classes are {listed(names)}."
        )
    shown = max(found, key=len)
    return found[shown], shown


def _cost(text: str, place: str) -> float:
    try:
        cost = float(text)
    except ValueError:
        cost = np.nan
    if not 0 < cost <= _HIGHEST_COST:
        raise DataError(
            f"costs: {place}: {text.strip()!r} given, a number above 0 and up to {_HIGHEST_COST:,.0f} "
            f"expected, as in {place}:10."
        )
    return cost


def expected_cost(costs: Floats, y: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean cost per row of predictions."""
    return float(costs[y, predicted].mean())
