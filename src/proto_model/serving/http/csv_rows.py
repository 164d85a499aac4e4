"""Rows of a CSV body by the schema's types; what counts as missing is what pandas counts."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

from proto_model.errors import InputError
from proto_model.schema import Feature, ModelSchema
from proto_model.serving.http.rows import refuse_repeated

__all__ = ["csv_columns"]

# `pandas.read_csv`, which MLflow's server uses, takes these for a missing value.
MISSING = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A")
) | {"NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
TRUTH = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}


def csv_columns(body: bytes, schema: ModelSchema) -> dict[str, list[Any]]:
    """Values of the features that a CSV body with a header holds.

    What is not of its feature's type stays a string, to be refused with all others. No rows, no columns.

    Raises
    ------
    InputError
        If it is not CSV in UTF-8, has no header, a feature twice, or a row longer than its header.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")) if row]
    except UnicodeDecodeError as error:
        raise InputError(f"The body is not UTF-8: byte {error.start}.") from error
    except csv.Error as error:
        raise InputError(f"The body is not CSV: {error}.") from error
    if not rows:
        raise InputError("The body is empty, CSV with a line of column names expected.")
    header, *rows = rows
    refuse_repeated(header, schema)
    for number, row in enumerate(rows):
        if len(row) > len(header):
            raise InputError(f"Row {number} has {len(row)} values below {len(header)} column names.")
        row += [""] * (len(header) - len(row))
    if not rows:
        return {}
    place = {name: position for position, name in enumerate(header)}
    columns = list(zip(*rows, strict=True))
    return {
        feature.name: list(map(_reader(feature), columns[place[feature.name]]))
        for feature in schema.features
        if feature.name in place
    } or {header[0]: list(columns[0])}


def _reader(feature: Feature) -> Callable[[str], Any]:
    """Function from text to value."""
    if feature.categories is not None:
        return lambda text: None if text in MISSING else text
    return _truth if feature.type == "boolean" else _number


def _number(text: str) -> float | str | None:
    """Number of a text; the text itself when it is none."""
    if text in MISSING:
        return None
    try:
        # Python's own notations with an underscore are not CSV's.
        return text if "_" in text else float(text)
    except ValueError:
        return text


def _truth(text: str) -> bool | float | str | None:
    """Truth value of a text, or what it is as a number."""
    return TRUTH[text] if text in TRUTH else _number(text)
