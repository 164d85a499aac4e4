"""A model source as MLflow serves it: rows in, what its score function gives out."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from proto_model.errors import InputError, ProtoModelError
from proto_model.serving.mlflow.columns import leave_rows_unchecked
from proto_model.serving.mlflow.pyfunc import Params, as_mlflow_error
from proto_model.sources import Keeper, unpacked
from proto_model.sources.stored import StoredSource, check_allowed

ARTIFACT = "source"


class SourceModelServer(PythonModel):
    """What MLflow hosts of a version that is a source. It runs only where the environment allows it."""

    _keeper: Keeper
    _columns: Mapping[str, tuple[str, bool]]

    def load_context(self, context: PythonModelContext) -> None:
        """Unpack the source and check that it is the registered one; it runs when it is first asked."""
        leave_rows_unchecked()
        try:
            stored = StoredSource.read(Path(context.artifacts[ARTIFACT]))
            check_allowed(stored.digest)
            self._open = contextlib.ExitStack()
            weakref.finalize(self, self._open.close)  # MLflow never says that it is done with a model
            options = stored.options
            model = self._open.enter_context(
                unpacked(stored.source, stored.attachments, needs_schemas=options.schema_check)
            )
            stored.check(model)
            schema = model.input_schema
            self._columns = {} if schema is None else schema.columns
        except ProtoModelError as error:
            raise as_mlflow_error(error) from error
        self._keeper = self._open.enter_context(contextlib.closing(Keeper(model, options)))

    def predict(
        self, context: PythonModelContext | None, model_input: pd.DataFrame, params: Params = None
    ) -> pd.DataFrame:
        """Answer with a row per row; a RequestError says which row the source refused, and why."""
        try:
            if (params or {}).get("explain"):
                raise InputError(
                    "This version is a model source, which only its own code could explain. Ask without "
                    "explain."
                )
            answers = self._keeper.answer(records_of(model_input, self._columns), False)
            return frame_of(answers)
        except ProtoModelError as error:
            raise as_mlflow_error(error) from error


def records_of(rows: Any, schema: Mapping[str, tuple[str, bool]]) -> list[dict[str, Any]]:
    """Rows as JSON has them, with the columns and of the types that Avro's schema says.

    `schema` has the type of each column, and whether it may be null. A data frame has no missing whole
    number or truth value but in a column of floats: these become whole, and true or false, again. What is
    missing is null, and so is a column that may be: a mapper leaves out columns of nulls.
    """
    frame = _frame(rows)
    n_rows = len(frame)
    columns = {
        name: _values(frame[name], kind) if name in frame.columns else [None] * n_rows
        for name, (kind, nullable) in schema.items()
        if nullable or name in frame.columns
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _frame(rows: Any) -> pd.DataFrame:
    """Rows in whichever form MLflow hands them over; an InputError says what they are instead."""
    if isinstance(rows, pd.DataFrame):
        return rows
    if isinstance(rows, Mapping):
        lengths: dict[str, int] = {}
        for name, values in rows.items():
            if not hasattr(values, "__len__") or isinstance(values, str):
                raise InputError(f"Column {name!r} is no list of values. Send a value per row.")
            lengths[name] = len(values)
            if lengths[name] != next(iter(lengths.values())):
                raise InputError(
                    f"Columns have as many values as there are rows, but {next(iter(lengths))!r} has "
                    f"{next(iter(lengths.values()))} values, {name!r} {lengths[name]}."
                )
        return pd.DataFrame({name: pd.Series(list(values), dtype=object) for name, values in rows.items()})
    if isinstance(rows, list | tuple | np.ndarray):
        if not all(isinstance(row, Mapping) for row in rows):
            raise InputError("The rows have no names of columns. Send objects with a value per column.")
        return pd.DataFrame(list(rows), dtype=object)
    raise InputError(f"Rows with a value per column expected, {type(rows).__name__} given.")


def _values(column: pd.Series[Any], kind: str) -> list[Any]:
    if pd.api.types.is_datetime64_any_dtype(column):
        known = column.dropna()
        only_days = bool((known == known.dt.normalize()).all())
        texts = [moment.date().isoformat() if only_days else moment.isoformat() for moment in known]
        column = pd.Series(texts, index=known.index, dtype=object).reindex(column.index)
    values = column.astype(object).where(column.notna(), None).tolist()
    read = {"long": _whole, "int": _whole, "boolean": _truth}.get(kind, lambda value: value)
    return [read(value.item() if hasattr(value, "item") else value) for value in values]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _truth(value: Any) -> Any:
    return bool(value) if type(value) in (int, float) and value in (0, 1) else value


def frame_of(answers: list[Any]) -> pd.DataFrame:
    """Answers with a column per field; those that are no objects are the column `prediction`."""
    several = next((n for n, one in enumerate(answers) if isinstance(one, list)), None)
    if several is not None:
        raise InputError(
            f"The source gave {len(answers[several])} outputs for row {several}, one is expected."
        )
    rows = [one if isinstance(one, dict) else {"prediction": one} for one in answers]
    return pd.DataFrame(rows)
