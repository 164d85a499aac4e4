"""What tells rows apart beside their cells: a key, the group that they belong to, and their time.

Keys and groups are kept as hashes from which the values cannot be computed. A hash can be guessed by hashing
every possible value, as that of any identifier can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import DataError
from proto_model.table.columns import Column, check_known
from proto_model.table.hashing import one_way
from proto_model.table.split import cell_hashes
from proto_model.table.times import moments

#: Reasons of columns that tell rows apart, which the log and the summary of a split show.
REASONS = {
    "key": "key: it identifies rows, so it is no feature",
    "group": "group: its rows stay together, and later rows are of other groups, so it is no feature",
    "time": "time: later rows have other times, so it is no feature",
}

#: What of a row decides its part where no column does: all cells but the target's, or all.
CELLS = ("features", "rows")

_ROLES = ("key", "group", "time")


@dataclass(frozen=True)
class RowIds:
    """Hash of each row's key and group, and its time as a number; None where no column was named.

    `features` are hashes over all cells but the target's: those of label corrections are equal.
    """

    key: NDArray[np.uint64] | None = None
    group: NDArray[np.uint64] | None = None
    time: NDArray[np.float64] | None = None
    features: NDArray[np.uint64] | None = None

    def rows(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> RowIds:
        """The same for some of the rows."""
        return RowIds(
            **{name: None if values is None else values[index] for name, values in vars(self).items()}
        )


@dataclass(frozen=True)
class SplitColumns:
    """Names of the columns that tell rows apart; empty where there is none, and `cells` decide."""

    key: str = ""
    group: str = ""
    time: str = ""
    cells: str = "features"

    @property
    def named(self) -> dict[str, str]:
        """Columns by what they are for."""
        return {role: name for role in _ROLES if (name := getattr(self, role))}

    @property
    def rule(self) -> str:
        """How rows are split, for tags: `features`, `rows`, `key:id`, `time:day+group:customer`."""
        return "+".join(f"{role}:{name}" for role, name in reversed(self.named.items())) or self.cells

    def check(self, names: Sequence[str], target: str, shown: str) -> None:
        """Raise a DataError if a column is none of the table's, is the target, or is named twice."""
        for role, name in self.named.items():
            check_known(name, names, shown, f"use as the {role}")
            if name == target:
                raise DataError(f"Column {name!r} is the target, so it cannot be the {role}.")
        roles = list(self.named)
        for position, role in enumerate(roles):
            for other in roles[position + 1 :]:
                if self.named[role] == self.named[other]:
                    raise DataError(_twice(self.named[role], role, other))


def split_columns(key: str, group: str, time: str, split: str) -> SplitColumns:
    """What tells rows apart, as users say it; a DataError says that `split` is unknown, or of no use."""
    found = SplitColumns(key, group, time, split or CELLS[0])
    if found.cells not in CELLS:
        raise DataError(f"split {split!r} given, {' or '.join(CELLS)} expected.")
    if split and found.named:
        named = " and ".join(f"{role} {name!r}" for role, name in found.named.items())
        raise DataError(
            f"split={split} cannot be combined with the {named}: rows are split by one or the other. Leave "
            "out split."
        )
    return found


def _twice(name: str, role: str, other: str) -> str:
    if (role, other) == ("key", "group"):
        return (
            f"Column {name!r} cannot be both key and group: a key names one row, a group several. Give the "
            "group alone if its values repeat, the key alone otherwise."
        )
    return (
        f"Column {name!r} cannot be both {role} and {other}: rows of the same time stay together anyway. "
        f"Give the time alone, or another column as the {role}."
    )


def row_ids(columns: Sequence[Column], named: SplitColumns, units: NDArray[np.uint64]) -> RowIds:
    """Key, group and time of each row, from the columns of that name, and its features' hash.

    `units` are hashes over all cells but the target's. A row without a group is a group of its own, with its
    equals in these. A DataError says that keys or times are missing, or that a column cannot be one.
    """
    found = {column.name: column for column in columns}
    time = found[named.time] if named.time else None
    return RowIds(
        key=_hashes(found[named.key], "key") if named.key else None,
        group=_hashes(found[named.group], "group", units) if named.group else None,
        time=None if time is None else moments(_complete(time, "time")),
        features=one_way(units),
    )


def _hashes(column: Column, role: str, of_missing: NDArray[np.uint64] | None = None) -> NDArray[np.uint64]:
    if column.type == "other":
        raise DataError(
            f"Column {column.name!r} cannot be the {role}: it has lists, structures or binary values. "
            "Convert them to text or numbers."
        )
    if column.missing.all():
        raise DataError(f"Column {column.name!r} cannot be the {role}: every value is missing.")
    cells = cell_hashes(column)
    if of_missing is None:
        _complete(column, role)
    else:
        cells = np.where(column.missing, of_missing, cells)
    return one_way(cells)


def _complete(column: Column, role: str) -> Column:
    n_missing = int(column.missing.sum())
    if n_missing:
        raise DataError(
            f"Column {column.name!r} cannot be the {role}: {n_missing} of {len(column.values)} rows have no "
            "value in it. Fill it in, or remove these rows."
        )
    return column
