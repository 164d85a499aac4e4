"""What mistakes cost, as users say it and as a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import DataError, listed
from proto_model.schema import ModelSchema

AUTO, NONE, BALANCED = "auto", "none", "balanced"

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
