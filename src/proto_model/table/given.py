"""Training and test rows that a user has split, in place of a table that is split here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from proto_model.errors import DataError, listed
from proto_model.schema import ModelSchema
from proto_model.table.columns import Column, read_columns
from proto_model.table.identity import SplitColumns
from proto_model.table.roles import class_labels
from proto_model.table.split import row_hashes, split_digest
from proto_model.table.training_data import TrainingData, canonical_frame, feature_of

# What pyarrow says of values of several kinds, of numbers beyond 64 bits and of half characters.
_UNREADABLE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeError)
_NOTE = (
    "Both parts were given by whoever trained the model, so nothing here says that test rows are not among "
    "those that it learned from."
)


def given_frames(X: Any, X_test: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both parts as frames with names; columns of arrays are called x0, x1, ...

    A DataError says that they do not fit each other.
    """
    first, second = _frame("X", X), _frame("X_test", X_test)
    if list(first.columns) != list(second.columns):
        differ = sorted({*first.columns} ^ {*second.columns}) or ["their order"]
        raise DataError(f"X and X_test differ in their columns: {listed(differ)}. Give the same ones.")
    return first, second


def given_data(
    X: pd.DataFrame, y: Any, X_test: pd.DataFrame, y_test: Any, *, model_name: str, name: str
) -> TrainingData:
    """Training data of rows that are split already; every column is a feature.

    A DataError names a column that cannot be one, or labels that are none.
    """
    target = str(getattr(y, "name", None) or "target")
    if target in X.columns:
        raise DataError(f"y is called {target!r}, and so is a column of X. Rename one of them.")
    columns = read_columns(_table(X, X_test))
    columns = [_feature_column(column, X, X_test, len(X)) for column in columns]
    labels = read_columns(pa.table({target: _labels(y, y_test, len(X), len(X_test))}))[0]
    if labels.missing.any():
        raise DataError(
            "y has missing labels, or texts such as 'NA' that count as missing. Leave out these rows."
        )
    values, target_type = class_labels(labels)
    hashes = row_hashes([*columns, labels])
    is_train = np.arange(len(hashes)) < len(X)
    order = np.argsort(hashes, kind="stable")
    columns, values = [column.rows(order) for column in columns], values[order]
    hashes, is_train = hashes[order], is_train[order]
    schema = ModelSchema(
        model_name=model_name,
        target=target,
        target_type=target_type,
        classes=tuple(np.unique(values[is_train]).tolist()),
        features=tuple(feature_of(column, is_train) for column in columns),
    )
    unknown = sorted({*map(str, np.unique(values[~is_train]))} - {*map(str, schema.classes)})
    if unknown:
        raise DataError(f"y_test has classes that y does not have: {listed(unknown)}.")
    return TrainingData(
        name=name,
        source=name,
        schema=schema,
        X_train=canonical_frame(columns, is_train),
        y_train=values[is_train],
        X_test=canonical_frame(columns, ~is_train),
        y_test=values[~is_train],
        protected_test=pd.DataFrame(index=range(int((~is_train).sum()))),
        train_hashes=hashes[is_train],
        test_hashes=hashes[~is_train],
        split_digest=split_digest(hashes[~is_train]),
        dropped=(),
        n_rows=len(hashes),
        n_unlabelled=0,
        split_by=SplitColumns(cells="rows"),
        split_notes=(_NOTE,),
        is_given=True,
    )


def _frame(name: str, X: Any) -> pd.DataFrame:
    if not isinstance(X, pd.DataFrame):
        if hasattr(X, "to_pandas"):  # of pyarrow, polars: NumPy would lose the names of the columns
            raise DataError(
                f"{name} is a {type(X).__name__}, a pandas data frame or an array of numbers expected. Give "
                f"{name}.to_pandas(), as the pipeline got it."
            )
        array = np.asarray(X)
        if array.ndim != 2 or array.dtype.kind not in "biuf":
            raise DataError(f"{name}: a table or an array of numbers with two dimensions expected.")
        X = pd.DataFrame(array, columns=[f"x{place}" for place in range(array.shape[1])])
    if not len(X):
        raise DataError(f"{name} has no rows.")
    texts = [column for column in X.columns if not isinstance(column, str)]
    if texts or not X.columns.is_unique:
        raise DataError(f"{name}: every column needs a name of its own that is a text.")
    frame: pd.DataFrame = X.reset_index(drop=True)
    return frame


def _table(X: pd.DataFrame, X_test: pd.DataFrame) -> pa.Table:
    both = pd.concat([X, X_test], ignore_index=True)
    try:
        return pa.Table.from_pandas(both, preserve_index=False)
    except _UNREADABLE as error:
        raise DataError(f"X holds values that are no numbers and no texts: {error}") from error


def _feature_column(column: Column, X: pd.DataFrame, X_test: pd.DataFrame, n_train: int) -> Column:
    """The column as a feature: a number, a truth value or a category."""
    name = column.name
    if column.type == "other" or pd.api.types.is_datetime64_any_dtype(X[name]):
        raise DataError(
            f"Column {name!r} holds neither numbers nor texts. Turn it into such before the pipeline, and "
            "fit that."
        )
    if column.missing[:n_train].all():
        raise DataError(f"Column {name!r} of X has no value. Leave it out, and fit the pipeline without it.")
    if column.texts is None:
        return column
    given = pd.concat([X[name], X_test[name]], ignore_index=True)
    strange = sorted({str(text) for text in given.dropna().unique()} - {*map(str, column.texts)})
    if strange:
        raise DataError(
            f"Column {name!r} holds texts that servers read as something else: {listed(strange)}. Texts "
            "such as 'NA' count as missing, and spaces around a text do not count: replace them first."
        )
    return Column(name, "string", column.values, column.texts)


def _labels(y: Any, y_test: Any, n_rows: int, n_test: int) -> pa.Array:
    parts = [np.asarray(part) for part in (y, y_test)]
    for name, part, n in (("y", parts[0], n_rows), ("y_test", parts[1], n_test)):
        if part.shape != (n,):
            raise DataError(f"{name} has shape {part.shape}, a label for each of {n:,} rows expected.")
    both: NDArray[Any] = np.concatenate(parts)
    try:
        return pa.array(both.tolist(), from_pandas=True)
    except _UNREADABLE as error:
        raise DataError(f"y holds labels of several kinds, or none that can be written: {error}") from error
