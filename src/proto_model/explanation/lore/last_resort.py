"""Where the search finds no counterfactual: all combinations of values if they can be counted, or a climb.

Combinations take one value per bin of each feature that may change, the one nearest to the row's own. Where
they are too many, single changes are put on top of each other, best first, for as long as they help.
"""

from __future__ import annotations

from collections.abc import Generator
from math import prod

import numpy as np

from proto_model.explanation.interface import Floats
from proto_model.explanation.lore.moves import Moves, margin
from proto_model.explanation.lore.search import Row

MAX_COMBINATIONS = 50_000  # some 50 ms of a forest, for the few rows where nothing else is found
N_CLIMBING = 8  # rows that each step of the climb goes on from
MAX_CLIMBED = 6  # steps

Tries = Generator[Floats, tuple[Floats, bool], None]
"""Rows to try; each time, the model's answers and whether a counterfactual is found come back."""


def combinations(row: Row) -> Floats | None:
    """The row with every combination of values that it may take, or None if they are too many."""
    may_change = row.freedom.increase | row.freedom.decrease
    options = {j: _options(row, j) for j in np.flatnonzero(may_change).tolist()}
    if prod(map(len, options.values())) > MAX_COMBINATIONS:
        return None
    grid = np.meshgrid(*options.values(), indexing="ij")
    X = np.repeat(row.x[np.newaxis], grid[0].size if grid else 1, axis=0)
    for j, values in zip(options, grid, strict=True):
        X[:, j] = values.ravel()
    return X


def _options(row: Row, j: int) -> Floats:
    """The row's own value of a feature, and of every other bin the allowed value nearest to it."""
    own, known = row.x[j], row.knowledge.values.known[j]
    feature = np.full(len(known), j)
    known = known[row.freedom.allows(np.full(len(known), own), known, feature)]
    known = known[np.argsort(np.abs(known - own), kind="stable")]
    bins = row.knowledge.pool.bins.each(np.full(len(known), j), known)
    first = np.unique(bins, return_index=True)[1]
    return np.append(own, known[first[bins[first] != row.own[j]]])


def climb(row: Row, label: int, moves: Moves) -> Tries:
    """Rows with ever more changes, each step from those that came nearest to another class."""
    best, reached = row.x[np.newaxis], np.inf
    for _ in range(MAX_CLIMBED):
        X = np.concatenate([moves.rows(x) for x in best])
        if not len(X):
            break
        probabilities, found = yield X
        lacking = margin(probabilities, label)
        if found or not lacking.min() < reached:
            break
        reached = float(lacking.min())
        best = np.unique(X[np.argsort(lacking, kind="stable")[:N_CLIMBING]], axis=0)
