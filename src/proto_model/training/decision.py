"""The decision of a searched variant: calibration, costs and prediction sets, from its out-of-fold rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import DataError, listed
from proto_model.model.decision import Conformal, Decision, PredictionSets
from proto_model.schema import ModelSchema
from proto_model.table import TrainingData
from proto_model.table.folds import folds
from proto_model.training.calibration import METHODS, Choice, chosen
from proto_model.training.selection.result import SearchResult

BALANCED = "balanced"
CALIBRATIONS = ("auto", "none", *METHODS)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DecisionSettings:
    """What a user wishes: `calibrate` one of `CALIBRATIONS`, costs as text, and what sets hold for."""

    calibrate: str = "auto"
    costs: str = ""
    conformal: Conformal = "class"


@dataclass(frozen=True, eq=False)
class FoundDecision:
    """A decision, and why it is as it is."""

    decision: Decision
    choice: Choice


def find_decision(
    result: SearchResult, data: TrainingData, settings: DecisionSettings, random_state: int
) -> FoundDecision:
    """Decision of a variant from its out-of-fold probabilities; rows that no fold judged are left out.

    Raises DataError if the costs do not fit the classes.
    """
    codes: NDArray[np.int64] = np.unique(data.y_train, return_inverse=True)[1]
    judged = np.asarray(~np.isnan(result.out_of_fold).any(axis=1))
    y, probabilities = codes[judged], result.out_of_fold[judged]
    position = np.cumsum(judged) - 1
    parts = [position[rows[judged[rows]]] for _, rows in folds(data, random_state)]
    choice = chosen(settings.calibrate, y, probabilities, [part for part in parts if len(part)])
    # Of a calibration that had not seen the row, as what is answered later has not.
    sets = PredictionSets.of(y, choice.out_of_fold, settings.conformal)
    costs = cost_matrix(settings.costs, data.schema, np.bincount(codes).tolist())
    return FoundDecision(Decision(choice.calibration, costs, sets), choice)


def cost_matrix(text: str, schema: ModelSchema, n_rows: Sequence[int]) -> Floats | None:
    """What mistakes cost, a row per true class and a column per predicted one; None if nothing is said.

    Between commas stand `true>predicted:cost`, or `true:cost` for whatever is predicted instead; what is not
    named costs 1. `balanced` weighs each class by its rarity, `n_rows` being its rows.

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
    if text.strip().lower() in ("", BALANCED):
        counts = np.asarray(n_rows, dtype=np.float64)
        return costs * (counts.sum() / (len(counts) * counts))[:, np.newaxis] if text.strip() else None
    places: dict[str, tuple[int, Sequence[int]]] = {
        name: (i, [j for j in range(len(names)) if j != i]) for i, name in enumerate(names)
    }
    pairs = {f"{names[i]}>{names[j]}": (i, [j]) for i, others in places.values() for j in others}
    places |= pairs
    given: dict[str, float] = {}
    rest = text.strip().rstrip(",")
    while rest:
        # A label may hold any sign, so that only the labels tell where one ends.
        matching = [place for place in places if rest.startswith(f"{place}:")]
        if not matching:
            raise DataError(
                f"costs: {rest[:60]!r} is no cost of a class; one is {next(iter(pairs))}:10. "
                f"The classes are {listed(names)}."
            )
        place = max(matching, key=len)
        if place in given:
            raise DataError(f"costs: {place} is given twice. Give it once.")
        number, _, rest = rest[len(place) + 1 :].partition(",")
        given[place] = _cost(number, place)
        rest = rest.strip()
    for place in sorted(given, key=lambda place: place in pairs):  # pairs say more than classes
        true, predicted = places[place]
        costs[true, predicted] = given[place]
    return costs


def _cost(text: str, pair: str) -> float:
    try:
        cost = float(text)
    except ValueError:
        cost = np.nan
    if not 0 < cost < 1e9:
        raise DataError(f"costs: {pair}: {text.strip()!r} given, a number above 0 expected, as in {pair}:10")
    return cost


def expected_cost(costs: Floats, y: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean cost per row of predictions."""
    return float(costs[y, predicted].mean())
