"""Units of rows dealt to folds, so that each fold gets its share of every class.

scikit-learn's StratifiedGroupKFold does the same one unit at a time. Here all units with the same number of
rows of each class are dealt in one step, because most units of a table are alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proto_model.table.hashing import mixed


def dealt(
    units: NDArray[np.int64], y: NDArray[np.int64], n_folds: int, random_state: int
) -> NDArray[np.int64]:
    """Fold of each unit; `units` and `y` have the unit and the class of each row, as numbers from 0.

    The largest units come first, each to the fold that has had the least of its classes so far.
    """
    n_classes = int(y.max()) + 1
    pairs, counts = np.unique(units * n_classes + y, return_counts=True)
    owners, classes = np.divmod(pairs, n_classes)
    starts = np.searchsorted(owners, np.arange(owners[-1] + 2))
    # What a class's row weighs is the larger the rarer the class; a row of any class weighs something.
    weights = 1.0 / np.bincount(y).astype(np.float64)
    kinds, firsts, members = _kinds(owners, classes, counts, starts)
    generator = np.random.default_rng(random_state)
    order = generator.permutation(len(starts) - 1)
    order = order[np.argsort(members[order], kind="stable")]
    ends = np.cumsum(np.bincount(members, minlength=kinds))
    sizes = np.bincount(owners, weights=counts)
    loads, rows = np.zeros((n_folds, n_classes)), np.zeros(n_folds)
    fold = np.empty(len(starts) - 1, dtype=np.int64)
    for kind in np.argsort(-sizes[firsts], kind="stable"):
        unit = firsts[kind]
        held = slice(starts[unit], starts[unit + 1])
        own, share = classes[held], counts[held] * weights[classes[held]]
        size = sizes[unit] / len(y)
        step = float(share @ share + size * size)
        mine = order[(ends[kind - 1] if kind else 0) : ends[kind]]
        taken = _shares(loads[:, own] @ share + rows * size, step, len(mine))
        fold[mine] = np.repeat(np.arange(n_folds), taken)
        loads[:, own] += taken[:, None] * share
        rows += taken * size
    return fold


def _kinds(
    owners: NDArray[np.int64],
    classes: NDArray[np.int64],
    counts: NDArray[np.int64],
    starts: NDArray[np.int64],
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Number of kinds of units, the first unit of each, and the kind of each unit.

    Units with equal counts of every class are of one kind.
    """
    cells = mixed(classes.astype(np.uint64) * np.uint64(2**32) + counts.astype(np.uint64))
    marks = np.add.reduceat(cells, starts[:-1])
    firsts, members = np.unique(marks, return_index=True, return_inverse=True)[1:]
    return len(firsts), firsts, members


def _shares(loads: NDArray[np.float64], step: float, n_units: int) -> NDArray[np.int64]:
    """How many of some equal units each fold gets, each in turn going to the least loaded fold."""
    taken = np.zeros(len(loads), dtype=np.int64)
    if n_units > len(loads):  # most of them at once: up to the level that they fill all folds to
        lowest = np.sort(loads)
        levels = (n_units * step + np.cumsum(lowest)) / np.arange(1, len(loads) + 1)
        filled = np.append(levels[:-1] <= lowest[1:], True)
        level = levels[int(np.argmax(filled))]
        taken = np.floor(np.maximum(level - loads, 0) / step * (1 - 1e-9)).astype(np.int64)
    for _ in range(n_units - int(taken.sum())):
        taken[np.argmin(loads + taken * step)] += 1
    return taken
