"""The folds of cross-validation: which training rows to learn from, and which to judge on.

Rows that belong together are never on both sides: rows that are equal in all features, since a model that has
learned one of them knows the other, and rows of the same key or group. With a time, models learn from earlier
rows and are judged on later ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedKFold

from proto_model.errors import DataError
from proto_model.table.dealing import dealt
from proto_model.table.identity import RowIds
from proto_model.table.twins import feature_hashes

_N_FOLDS = 5
_N_FOLDS_LARGE = 3  # enough where a fold's score hardly varies, and it halves the time
_LARGE_ROWS = 10_000

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Positions of training rows: those to learn from, and those to judge on."""


class _TrainingRows(Protocol):
    """What folds look at of `TrainingData`."""

    @property
    def X_train(self) -> pd.DataFrame: ...
    @property
    def y_train(self) -> NDArray[Any]: ...
    @property
    def train_ids(self) -> RowIds: ...


def folds(data: _TrainingRows, random_state: int) -> list[Fold]:
    """Folds of the training rows; five, or three from 10,000 rows on, fewer when a class has fewer rows.

    Each row is judged once, and classes are spread evenly. With a time there may be as little as one fold,
    the earliest rows are never judged, and a row is learned from in all folds that judge later ones. A
    DataError says that all rows belong together, so that nothing can be judged.
    """
    y: NDArray[np.int64] = np.unique(data.y_train, return_inverse=True)[1]
    if np.bincount(y).max() < 2:
        raise DataError(
            f"Each of the {y.max() + 1} classes has one training row, which cross-validation cannot both "
            "learn from and judge on. Add rows."
        )
    most = _N_FOLDS if len(y) < _LARGE_ROWS else _N_FOLDS_LARGE
    if data.train_ids.time is not None:
        return _over_time(data, y, _parts(data.train_ids.time, most + 1))
    units = units_of(data, most)
    n_units = int(units.max()) + 1
    if n_units < 2:
        raise DataError(
            "All training rows belong together, by their key, group or features, so there is nothing to "
            "cross-validate on. Add rows of others, or choose another column."
        )
    if n_units == len(y):
        return _stratified(y, int(np.clip(np.bincount(y).min(), 2, most)), random_state)
    n_folds = int(np.clip(_units_per_class(units, y).min(), 2, min(most, n_units)))
    fold = dealt(units, y, n_folds, random_state)[units]
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(n_folds)]


def units_of(data: _TrainingRows, n_folds: int) -> NDArray[np.int64]:
    """Number of the unit that each training row belongs to: rows of one unit are in the same fold.

    Equal features, a common key and a common group make a unit of rows, also by way of others. Where equal
    rows tie so many groups together that a unit is larger than a fold, features of few values are the reason,
    not copies: then groups and keys alone make units.
    """
    twins = feature_hashes(data.X_train)
    named = [hashes for hashes in (data.train_ids.group, data.train_ids.key) if hashes is not None]
    if not named:
        return np.unique(twins, return_inverse=True)[1]
    together, alone = _united([*named, twins]), _united(named)
    largest = max(len(twins) / n_folds, np.bincount(alone).max())
    return together if np.bincount(together).max() <= largest else alone


def _united(labels: list[NDArray[np.uint64]]) -> NDArray[np.int64]:
    """Number of each row's component, where rows that share a label of any kind are connected."""
    first, *others = (np.unique(some, return_inverse=True)[1] for some in labels)
    for other in others:
        ones = np.ones(len(first), dtype=bool)
        n_first, n_other = first.max() + 1, other.max() + 1
        shape = (n_first + n_other, n_first + n_other)
        graph = coo_array((ones, (first, n_first + other)), shape=shape)
        first = connected_components(graph, directed=False)[1].astype(np.int64)[first]
    return first


def _units_per_class(units: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int64]:
    n_classes = int(y.max()) + 1
    return np.bincount(np.unique(units * n_classes + y) % n_classes, minlength=n_classes)


def _stratified(y: NDArray[np.int64], n_folds: int, random_state: int) -> list[Fold]:
    """Folds of rows that all differ."""
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        # A class of one row is learned from in one fold and judged in the other.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return list(splitter.split(y, y))


def _over_time(data: _TrainingRows, y: NDArray[np.int64], parts: NDArray[np.int64]) -> list[Fold]:
    """Folds that learn from all earlier parts of the rows and judge on the next one."""
    found = list(_expanding(data, y, parts))
    if not found:
        raise DataError(
            "Cross-validation learns from earlier rows and judges on later ones, and the training rows leave "
            "nothing to do so: their times are all the same, or their earlier rows have one class only, or "
            "share groups with the later ones. Leave out the time, or add rows."
        )
    return found


def _expanding(data: _TrainingRows, y: NDArray[np.int64], parts: NDArray[np.int64]) -> Iterator[Fold]:
    for part in range(1, parts.max() + 1):
        judge = parts == part
        learn = parts < part
        for ids in (data.train_ids.group, data.train_ids.key):
            if ids is not None:
                learn &= ~np.isin(ids, ids[judge])
        if len(np.unique(y[learn])) > 1:
            yield np.flatnonzero(learn), np.flatnonzero(judge)


def _parts(time: NDArray[np.float64], n_parts: int) -> NDArray[np.int64]:
    """Part of each row, from the earliest on; parts are about as large as ties allow, which stay together."""
    _, codes, n_rows = np.unique(time, return_inverse=True, return_counts=True)
    middles = np.cumsum(n_rows) - n_rows / 2
    parts: NDArray[np.int64] = np.unique(np.floor(middles * n_parts / len(codes)), return_inverse=True)[1]
    return parts[codes]
