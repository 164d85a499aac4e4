"""Which rows are for training, which for testing, and which for neither, by what tells rows apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import DataError, counted
from proto_model.table.identity import RowIds, SplitColumns
from proto_model.table.split import check_test_size, rows_of_test_units, test_rows

_UNEVEN = 0.08  # a share of test rows that is off by less needs no word


@dataclass(frozen=True)
class Partition:
    """Which rows are for testing, which rows are used at all, and what users should know of this."""

    is_test: NDArray[np.bool_]
    is_used: NDArray[np.bool_]
    notes: tuple[str, ...] = ()


def partition(
    hashes: NDArray[np.uint64], ids: RowIds, y: NDArray[Any], test_size: float, columns: SplitColumns
) -> Partition:
    """Parts of the rows: by their time, else by the hash of their group, else of their key, else `hashes`.

    The last are those of the rows' features, or, if `columns` say so, of the rows with their classes.

    With a time, the newest rows are for testing, and rows of the same time stay together; earlier rows that
    share a group or a key with these are left out. A DataError says that a class cannot be learned, or that
    there is nothing to test on.
    """
    if ids.time is not None:
        return _over_time(ids, y, test_size, columns)
    notes = _notes(ids, columns)
    if ids.group is not None:
        is_test = rows_of_test_units(ids.group, y, test_size, f"group of {columns.group!r}")
        _check_keys(ids, is_test, columns)
    elif ids.key is not None:
        is_test = rows_of_test_units(ids.key, y, test_size, f"key of {columns.key!r}")
    else:
        is_test = test_rows(hashes, y, test_size)
    notes += [*_uneven(is_test, test_size, columns, hashes), *_untested(y, is_test)]
    return Partition(is_test, np.ones(len(y), dtype=bool), tuple(notes))


def _over_time(ids: RowIds, y: NDArray[Any], test_size: float, columns: SplitColumns) -> Partition:
    check_test_size(test_size)
    assert ids.time is not None
    is_test = ids.time >= _border(ids.time, test_size, columns.time)
    is_used = np.ones(len(y), dtype=bool)
    for values in (ids.group, ids.key):
        if values is not None:
            is_used &= is_test | ~np.isin(values, values[is_test])
    is_train = is_used & ~is_test
    notes = list(_notes(ids, columns))
    that_count = ""
    if not is_used.all():
        shared = " or ".join(repr(name) for role, name in columns.named.items() if role != "time")
        n_left_out = int((~is_used).sum())
        are, their = ("is", "its") if n_left_out == 1 else ("are", "their")
        that_count = f", without those that share a {shared} with later ones"
        notes.append(
            f"{counted(n_left_out, 'earlier row')} {are} left out, because later rows, which judge, share "
            f"{their} {shared}."
        )
    if len(np.unique(y[is_train])) < 2:
        raise DataError(
            f"Split by the time {columns.time!r}, there are not two classes to learn in "
            f"{counted(int(is_train.sum()), 'earlier row')}{that_count}. Choose another test_size, or leave "
            "out one of the columns."
        )
    _check_learnable(y, is_train, is_test, columns.time)
    return Partition(is_test, is_used, (*notes, *_untested(y[is_used], is_test[is_used])))


def _border(time: NDArray[np.float64], test_size: float, name: str) -> float:
    """Earliest time of the newest rows, which are as close to the share `test_size` as ties allow."""
    moments, n_rows = np.unique(time, return_counts=True)
    if len(moments) < 2:
        raise DataError(f"Column {name!r} cannot be the time: all rows have the same one.")
    n_later = np.cumsum(n_rows[::-1])[::-1][1:]
    return float(moments[1:][np.argmin(np.abs(n_later - test_size * len(time)))])


def _check_learnable(
    y: NDArray[Any], is_train: NDArray[np.bool_], is_test: NDArray[np.bool_], name: str
) -> None:
    """Raise a DataError if a class has no row to learn from, or a single class has rows to test on."""
    unknown = np.setdiff1d(y, y[is_train]).tolist()
    if unknown:
        n_rows = counted(int(np.isin(y, unknown).sum()), "row")
        raise DataError(
            f"Split by the time {name!r}, {_classes(unknown)} no earlier row to learn from ({n_rows}). "
            "Choose a smaller test_size, remove these rows, or leave out the time."
        )
    tested = np.unique(y[is_test]).tolist()
    if len(tested) < 2:
        raise DataError(
            f"Split by the time {name!r}, there is no class but {tested[0]!r} in "
            f"{counted(int(is_test.sum()), 'later row')}, which cannot judge a model. Choose a larger "
            "test_size, or leave out the time."
        )


def _check_keys(ids: RowIds, is_test: NDArray[np.bool_], columns: SplitColumns) -> None:
    """Raise a DataError if rows of one key are in groups of both parts."""
    if ids.key is None:
        return
    both = np.intersect1d(ids.key[is_test], ids.key[~is_test])
    if len(both):
        are = "is" if len(both) == 1 else "are"
        raise DataError(
            f"{counted(len(both), 'key')} of {columns.key!r} {are} in more than one group of "
            f"{columns.group!r}, so the same row would be on both sides of the split. Give each key "
            "one group, or leave out one of the two columns."
        )


def _notes(ids: RowIds, columns: SplitColumns) -> list[str]:
    if ids.key is None:
        return []
    counts = np.unique(ids.key, return_counts=True)[1]
    n_repeated = int((counts > 1).sum())
    if not n_repeated:
        return []
    are = "is that" if n_repeated == 1 else "are those"
    return [
        f"{n_repeated:,} of {counted(len(counts), 'key')} of {columns.key!r} {are} of several rows "
        f"({counts[counts > 1].sum():,} in all). The rows of a key stay together, as those of a group do; if "
        "they are states of one row, keep the last of each only."
    ]


def _uneven(
    is_test: NDArray[np.bool_], test_size: float, columns: SplitColumns, hashes: NDArray[np.uint64]
) -> list[str]:
    share = float(is_test.mean())
    if abs(share - test_size) < _UNEVEN:
        return []
    found = f"{100 * share:.0f} % of the rows are test rows, not {100 * test_size:.0f} %:"
    if columns.group:
        return [
            f"{found} the groups of {columns.group!r} are few or of uneven size, and each is on one side."
        ]
    n_units = len(np.unique(hashes))
    if columns.rule != "features" or n_units > len(hashes) / 2:
        return []  # rows that differ, and few of them
    return [
        f"{found} rows with equal features stay together, and the {len(hashes):,} rows have {n_units:,} "
        "different ones. Add columns that tell rows apart."
    ]


def _untested(y: NDArray[Any], is_test: NDArray[np.bool_]) -> list[str]:
    untested = np.setdiff1d(y, y[is_test]).tolist()
    if not untested:
        return []
    shown = _classes(untested)
    return [f"{shown[0].upper()}{shown[1:]} no test row: nothing says how well a model tells such rows."]


def _classes(labels: list[Any]) -> str:
    shown = ", ".join(repr(label) for label in labels[:5]) + (", ..." if len(labels) > 5 else "")
    return f"the class {shown} has" if len(labels) == 1 else f"the classes {shown} have"
