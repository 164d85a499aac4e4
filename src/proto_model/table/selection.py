"""Which columns can be features, and why the others cannot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.table.columns import Column
from proto_model.table.split import HASH_COLUMN

__all__ = ["MAX_CATEGORIES", "DroppedColumn", "usable_columns"]

#: More distinct texts than this are free text, not categories.
MAX_CATEGORIES = 1000

_FEW_ROWS = 20  # in fewer rows, values that all differ say nothing
_ID_NAME = re.compile(r"(^|[^A-Za-z])(id|uuid|guid|index|idx|rowid|key|no|nr)$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z0-9](Id|ID|Key|No|Nr)$")


@dataclass(frozen=True)
class DroppedColumn:
    """A column that is no feature, and the reason."""

    name: str
    reason: str


def usable_columns(
    columns: Sequence[Column], is_train: NDArray[np.bool_]
) -> tuple[list[Column], tuple[DroppedColumn, ...]]:
    """Columns that can be features, and those that cannot with the reason.

    A column is dropped when its training rows hold no value, or the same value everywhere; when it holds
    dates, or something nested; when it is called `__row_hash__`; when it is an identifier; when it is free
    text. Identifiers are texts that differ in every row, and whole numbers that differ in every row and
    either count the rows (n consecutive numbers, in any order) or are named like one (`id`, `customer_id`,
    `customerId`, `key`, `index`, ...).
    Free text has more than `MAX_CATEGORIES` distinct values, or more than one per two rows. Tables of fewer
    than 20 rows are too small to tell, so there neither rule is applied.

    Parameters
    ----------
    columns : sequence of Column
        All columns but the target.
    is_train : ndarray of shape (n_rows,)
        True for training rows.

    Returns
    -------
    list of Column, tuple of DroppedColumn
        Both in the order of the table.
    """
    usable: list[Column] = []
    dropped: list[DroppedColumn] = []
    for column in columns:
        reason = _reason(column, is_train)
        if reason is None:
            usable.append(column)
        else:
            dropped.append(DroppedColumn(column.name, reason))
    return usable, tuple(dropped)


def _reason(column: Column, is_train: NDArray[np.bool_]) -> str | None:
    """Why the column is no feature; None when it is one."""
    present = ~column.missing
    if column.name == HASH_COLUMN:
        return "the name is that of the row hashes in files of this program"
    if not present.any():
        return "all values are missing"
    if column.type == "other":
        return "lists, structures and binary values cannot be features; make columns of their parts"
    if column.type == "date":
        return "dates to predict for lie after those learned from; make numbers of them (age, month, weekday)"
    learned = np.unique(column.values[is_train & present])
    if not len(learned):
        return "all values in the training rows are missing"
    if len(learned) == 1 and present[is_train].all():
        return f"constant: {_shown(column, learned[0])} in every training row"
    if present.sum() < _FEW_ROWS:
        return None
    return _text_reason(column, present) if column.type == "string" else _number_reason(column, present)


def _text_reason(column: Column, present: NDArray[np.bool_]) -> str | None:
    n_values, n_distinct = int(present.sum()), len(np.unique(column.values[present]))
    if n_distinct == n_values:
        return "one value per row: an identifier"
    if n_distinct > MAX_CATEGORIES or n_distinct > n_values / 2:
        return f"free text: {n_distinct} distinct values in {n_values} rows"
    return None


def _number_reason(column: Column, present: NDArray[np.bool_]) -> str | None:
    values = np.sort(column.values[present])
    if (np.diff(values) == 0).any() or (values != np.floor(values)).any():
        return None
    if values[-1] - values[0] == len(values) - 1:
        return "one value per row: it counts the rows"
    if column.type == "long" and (_ID_NAME.search(column.name) or _CAMEL_ID.search(column.name)):
        return "one value per row: an identifier"
    return None


def _shown(column: Column, value: float) -> str:
    return repr(column.texts[int(value)]) if column.texts is not None else f"{value:g}"
