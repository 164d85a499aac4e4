"""From a table to what models learn from and are judged on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proto_model.dates import FIRST, LAST, moments_of
from proto_model.errors import DataError
from proto_model.schema import DATE_TYPES, SECONDS_OF, Feature, FeatureType, ModelSchema
from proto_model.table.columns import Column, read_columns
from proto_model.table.folds import folds
from proto_model.table.identity import REASONS, RowIds, SplitColumns, row_ids, split_columns
from proto_model.table.partition import partition
from proto_model.table.ranges import shown_median, shown_range
from proto_model.table.roles import (
    PROTECTED,
    DroppedColumn,
    Roles,
    check_choices,
    check_protected,
    class_labels,
    target_name,
    usable_columns,
)
from proto_model.table.source import RawTable, load_table
from proto_model.table.split import row_hashes, split_digest

_NO_ROLES = Roles()
_NO_IDS = RowIds()
_BY_ROWS = SplitColumns()


@dataclass(frozen=True)
class TrainingData:
    """Rows to learn from, rows to test on, and how they came about.

    Rows are in the order of their hashes, so that the same rows in another order give the same model. Frames
    are canonical (see `proto_model.values`), labels objects (str), int64, bool or float64, hashes uint64. In
    the schema, categories and (rounded) ranges are those of the training rows; a feature is nullable when any
    row lacks it. `n_rows` counts the table's rows, the `n_unlabelled` ones without a class label included,
    which are left out. Split digests are equal when and only when the test rows are. `protected_test` holds
    the test rows' protected columns, which no model sees and no hash covers.

    `split_by` names the columns that tell rows apart, if any: key, group and time of the rows are in
    `train_ids` and `test_ids`, with hashes of the rows' features. `split_notes` say what users should know
    of the split, a sentence or two each; the `n_left_out` rows are in neither part.
    """

    name: str
    source: str
    schema: ModelSchema
    X_train: pd.DataFrame
    y_train: NDArray[Any]
    X_test: pd.DataFrame
    y_test: NDArray[Any]
    protected_test: pd.DataFrame
    train_hashes: NDArray[np.uint64]
    test_hashes: NDArray[np.uint64]
    split_digest: str
    dropped: tuple[DroppedColumn, ...]
    n_rows: int
    n_unlabelled: int
    split_by: SplitColumns = _BY_ROWS
    train_ids: RowIds = _NO_IDS
    test_ids: RowIds = _NO_IDS
    split_notes: tuple[str, ...] = ()
    n_left_out: int = 0
    is_given: bool = False  # a user has split the rows


def load_training_data(
    dataset: str,
    target: str | None = None,
    test_size: float = 0.2,
    model_name: str = "proto_model",
    roles: Roles = _NO_ROLES,
) -> TrainingData:
    """Training and test rows of a built-in data set or a file, as `load_table` takes it.

    Without a target, the column called target, class, label or y is predicted. `test_size` is the fraction of
    rows held out, above 0 and below 1; the model's name goes into the schema. `roles` are what the user says
    of the columns. A DataError says that the table cannot be read, that it lacks a named column, or that
    nothing can be learned from it.
    """
    return prepare(load_table(dataset), target, test_size, model_name, roles)


def prepare(
    raw: RawTable,
    target: str | None = None,
    test_size: float = 0.2,
    model_name: str = "proto_model",
    roles: Roles = _NO_ROLES,
) -> TrainingData:
    """Training and test rows of a table; parameters and errors as `load_training_data`."""
    columns = read_columns(raw.table)
    by_name = {column.name: column for column in columns}
    chosen = target_name(list(by_name), target, raw.source)
    split_by = _checked(roles, list(by_name), chosen, raw.source)
    labelled = ~by_name[chosen].missing
    columns = [column.rows(labelled) for column in columns]
    y, target_type = class_labels(by_name[chosen].rows(labelled))
    rows = _split(columns, y, chosen, roles.protected, test_size, split_by)
    y, is_test, columns = rows.y, rows.is_test, rows.columns

    protected = roles.protected
    aside = sorted((c for c in columns if c.name in protected), key=lambda c: protected.index(c.name))
    telling = {name: REASONS[role] for role, name in split_by.named.items() if name not in protected}
    columns = [column for column in columns if column.name not in (*protected, *telling, chosen)]
    features, unusable = usable_columns(columns, ~is_test, roles)
    dropped = (*(DroppedColumn(name, reason) for name, reason in telling.items()), *unusable)
    if not features:
        reasons = "; ".join(f"{column.name}: {column.reason}" for column in dropped)
        raise DataError(f"{raw.source} has no column to learn {chosen!r} from. {reasons}.")
    schema = ModelSchema(
        model_name=model_name,
        target=chosen,
        target_type=target_type,
        classes=tuple(np.unique(y).tolist()),
        features=tuple(feature_of(column, ~is_test) for column in features),
    )
    data = TrainingData(
        name=raw.name,
        source=raw.source,
        schema=schema,
        X_train=canonical_frame(features, ~is_test),
        y_train=y[~is_test],
        X_test=canonical_frame(features, is_test),
        y_test=y[is_test],
        protected_test=_kept(aside, is_test),
        train_hashes=rows.hashes[~is_test],
        test_hashes=rows.hashes[is_test],
        split_digest=split_digest(rows.hashes[is_test]),
        dropped=(*(DroppedColumn(column.name, PROTECTED) for column in aside), *dropped),
        n_rows=len(labelled),
        n_unlabelled=int((~labelled).sum()),
        split_by=split_by,
        train_ids=rows.ids.rows(~is_test),
        test_ids=rows.ids.rows(is_test),
        split_notes=rows.notes,
        n_left_out=rows.n_left_out,
    )
    if split_by.named:
        folds(data, 0)  # whether there are any is known now, before anything is trained
    return data


@dataclass(frozen=True)
class _SplitRows:
    """Rows of a table in the order of their hashes, and which of them are for testing."""

    columns: list[Column]
    y: NDArray[Any]
    hashes: NDArray[np.uint64]
    ids: RowIds
    is_test: NDArray[np.bool_]
    notes: tuple[str, ...]
    n_left_out: int


def _split(
    columns: Sequence[Column],
    y: NDArray[Any],
    target: str,
    protected: Sequence[str],
    test_size: float,
    split_by: SplitColumns,
) -> _SplitRows:
    # What models see of two rows is the same, whatever their protected columns say: they are twins.
    hashes = row_hashes([column for column in columns if column.name not in protected])
    order = np.argsort(hashes, kind="stable")
    columns, y, hashes = [column.rows(order) for column in columns], y[order], hashes[order]
    # A hash that covers the target would have equal rows of another class only on the other side.
    units = row_hashes([column for column in columns if column.name not in (*protected, target)])
    ids = row_ids(columns, split_by, units)
    parts = partition(hashes if split_by.cells == "rows" else units, ids, y, test_size, split_by)
    used = parts.is_used
    return _SplitRows(
        columns=[column.rows(used) for column in columns],
        y=y[used],
        hashes=hashes[used],
        ids=ids.rows(used),
        is_test=parts.is_test[used],
        notes=parts.notes,
        n_left_out=int((~used).sum()),
    )


def _checked(roles: Roles, names: list[str], target: str, shown: str) -> SplitColumns:
    """Columns that tell rows apart, once all that users say of the columns is known to make sense."""
    check_protected(roles.protected, names, target, shown)
    check_choices(roles, names, target, shown)
    split_by = split_columns(roles.key, roles.group, roles.time, roles.split)
    split_by.check(names, target, shown)
    if len(names) == 1 + len(roles.protected):
        others = " but the protected ones" if roles.protected else ""
        raise DataError(f"{shown} has no column to learn {target!r} from: it is the only one{others}.")
    return split_by


def feature_of(column: Column, is_train: NDArray[np.bool_]) -> Feature:
    """What a schema says of a column."""
    values = column.values[is_train & ~column.missing]
    nullable = bool(column.missing.any())
    if column.type == "text":
        return Feature(column.name, "text", nullable, terms=column.known)
    if column.texts is not None:
        codes, counts = np.unique(values.astype(np.int64), return_counts=True)
        rows_of = dict(zip(column.texts[codes].tolist(), counts.tolist(), strict=True))
        categories = column.known or tuple(rows_of)
        most_frequent = max(categories, key=rows_of.__getitem__)
        return Feature(column.name, "string", nullable, categories, most_frequent=most_frequent)
    kind: FeatureType = column.type  # type: ignore[assignment]  # what cannot be a feature is dropped by now
    if kind == "boolean":
        low, high, median = float(values.min()), float(values.max()), float(np.median(values))
    elif kind in DATE_TYPES:
        first, last = FIRST // SECONDS_OF[kind], LAST // SECONDS_OF[kind]
        low, high = np.clip(shown_range(values, whole=True), first, last).tolist()
        median = float(math.floor(shown_median(values, whole=True)))
    else:
        low, high = shown_range(values, kind == "long")
        median = shown_median(values, kind == "long")
    return Feature(column.name, kind, nullable, minimum=low, maximum=high, median=median)


def canonical_frame(columns: Sequence[Column], rows: NDArray[np.bool_]) -> pd.DataFrame:
    """Some rows of columns, as a canonical frame has them."""
    series = {column.name: _series(column.rows(rows)) for column in columns}
    return pd.DataFrame(series, columns=[column.name for column in columns])


def _series(column: Column) -> pd.Series[Any]:
    """Values of a column as a canonical frame has them."""
    if column.texts is not None:
        return pd.Series(column.objects(), dtype=object)
    if column.type in DATE_TYPES:
        return pd.Series(moments_of(column.values, column.type))
    return pd.Series(column.values)


def _kept(columns: Sequence[Column], rows: NDArray[np.bool_]) -> pd.DataFrame:
    """Protected columns of some rows, truth values as such."""
    frame = canonical_frame(columns, rows)
    for column in columns:
        if column.type == "boolean":
            frame[column.name] = frame[column.name].map({0.0: False, 1.0: True}).astype(object)
    return frame if columns else pd.DataFrame(index=range(int(rows.sum())))
