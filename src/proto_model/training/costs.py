"""What mistakes cost, as users say it and as a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import DataError, listed
from proto_model.schema import ModelSchema

AUTO, NONE, BALANCED = "auto", "none", "balanced"

Floats = NDArray[np.float64]
_HIGHEST_COST = 1e9


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
