"""Groups of like training rows, each of at least `LEAST`, and of one class where that has as many."""

from __future__ import annotations

import numpy as np

from proto_model.training.background.bins import LEAST, Floats, Ints

_STEPS = 4  # of the power method: a rough direction is enough to halve a group


def groups_of(Z: Floats, y: Ints, rng: np.random.Generator) -> list[Ints]:
    """Indices of each group's rows; `Z` holds the rows' coordinates, `y` their classes as codes.

    Classes are halved along the direction in which their rows differ most, again and again. Rows of classes
    that are too rare form a group of their own, or join the largest class. Fewer rows than `LEAST` altogether
    are one group.
    """
    left = _by_class(y)
    done = []
    while left:
        rows = left.pop()
        if len(rows) < 2 * LEAST:
            done.append(rows)
            continue
        order = rows[np.argsort(_places(Z[rows], rng), kind="stable")]
        left += [order[: len(order) // 2], order[len(order) // 2 :]]
    return done


def _by_class(y: Ints) -> list[Ints]:
    order = np.argsort(y, kind="stable")
    classes = np.split(order, np.flatnonzero(np.diff(y[order])) + 1)
    parts = sorted((rows for rows in classes if len(rows) >= LEAST), key=len)
    rare = [rows for rows in classes if len(rows) < LEAST]
    if rare:
        together = np.concatenate(rare)
        if len(together) < LEAST and parts:
            together = np.concatenate([parts.pop(), together])
        parts.append(together)
    return parts


def _places(Z: Floats, rng: np.random.Generator) -> Floats:
    """Place of each row along the direction in which the rows differ most."""
    Z = Z - Z.mean(axis=0)
    places: Floats = Z @ rng.standard_normal(Z.shape[1])
    for _ in range(_STEPS):
        direction = places @ Z
        length = float(np.sqrt(direction @ direction))
        if length == 0:  # the rows are all alike
            return np.zeros(len(Z))
        places = Z @ (direction / length)
    return places
