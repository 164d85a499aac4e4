"""`example.csv`: rows to try a model with, and what it says to them.

Inputs come first, one column per feature, then `prediction` and the probability of each class. A column of
the answer may be called as a feature is, so both are told apart by their place.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from proto_model.csv_rows import csv_rows
from proto_model.deployment.package.errors import PackageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proto_model.schema import ModelSchema


class Model(Protocol):
    """What predicts."""

    classes_: NDArray[Any]
    feature_names_in_: NDArray[Any]

    def predict(self, rows: Any) -> NDArray[Any]:
        """Label of each row."""

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Probability of each class."""


def write_example(path: Path, rows: Sequence[Sequence[Any]], model: Model, schema: ModelSchema) -> None:
    """Write rows, which hold a value per feature, and what a model says to them, read as they are written."""
    texts = [[cell(value) for value in row] for row in rows]
    header = [*schema.feature_names, "prediction", *schema.probability_columns]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([*row, *said] for row, said in zip(texts, _said(texts, model), strict=True))


def differences(path: Path, model: Model) -> tuple[int, list[str]]:
    """How many rows an example has, and each cell of the answers that a model gives another value for."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv_rows(file)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise PackageError(f"Cannot read {path}: {error}. Get the whole package.") from error
    n_features = len(model.feature_names_in_)
    names, answers = header[:n_features], header[n_features:]
    width = n_features + 1 + len(model.classes_)
    if (
        names != model.feature_names_in_.tolist()
        or any(len(row) != width for row in (header, *rows))
        or not rows
    ):
        raise PackageError(f"{path} has other columns than the model. Get the whole package.")
    found = []
    said = _said([row[:n_features] for row in rows], model)
    for number, (row, cells) in enumerate(zip(rows, said, strict=True)):
        for name, expected, given in zip(answers, row[n_features:], cells, strict=True):
            if given != expected:
                found.append(f"row {number}, {name}: {given} given, {expected} expected")
    return len(rows), found


def _said(rows: Sequence[Sequence[str]], model: Model) -> list[list[str]]:
    """Cells of what a model says to rows of texts, of which the rule book knows what they mean."""
    names = model.feature_names_in_.tolist()
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    labels, probabilities = model.predict(columns).tolist(), model.predict_proba(columns).tolist()
    return [
        [cell(value) for value in (label, *row)] for label, row in zip(labels, probabilities, strict=True)
    ]


def cell(value: Any) -> str:
    """Text of a value; one of a number is that of no other number.

    Examples
    --------
    >>> [cell(value) for value in (0.1, 3, True, None, "a")]
    ['0.1', '3', 'true', '', 'a']
    """
    if value is None or value != value:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
