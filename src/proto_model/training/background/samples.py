"""A few synthetic rows for people who try a model: they go into `schema.json`, which mappers show."""

from __future__ import annotations

import json
import math

import numpy as np
from numpy.typing import NDArray

from proto_model.schema import DATE_TYPES, Feature, ModelSchema, Sample, date_text
from proto_model.table import decode

Floats = NDArray[np.float64]

N_SAMPLES = 6
MAX_BYTES = 32_768  # of all of them: of a very wide table there are fewer, or none
_DIGITS = 5


def picked(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of a few rows: in turns one of each class, the classes with most rows first."""
    names, counts = np.unique(classes, return_counts=True)
    found = [np.flatnonzero(classes == name) for name in names[np.argsort(-counts, kind="stable")]]
    turns = [places[turn] for turn in range(N_SAMPLES) for places in found if turn < len(places)]
    return np.array(turns[:N_SAMPLES], dtype=np.int64)


def shortened(rows: Floats, schema: ModelSchema) -> Floats:
    """The rows with numbers of a few digits, none beyond the range of its feature."""
    rows = rows.copy()
    for j, feature in enumerate(schema.features):
        if feature.type == "double":
            rows[:, j] = [float(f"{value:.{_DIGITS}g}") for value in rows[:, j]]
            rows[:, j] = np.clip(rows[:, j], feature.minimum, feature.maximum)
    return rows


def sent(rows: Floats, schema: ModelSchema) -> tuple[Sample, ...]:
    """The coded rows as a client would send them, as many as fit into `MAX_BYTES`."""
    frame = decode(rows, schema)
    columns = [
        _values(rows[:, j], feature)
        if feature.takes_numbers or feature.type in DATE_TYPES
        else list(frame[feature.name])
        for j, feature in enumerate(schema.features)
    ]
    kept: list[Sample] = []
    n_bytes = 0
    for row in zip(*columns, strict=True):
        n_bytes += len(json.dumps(row, ensure_ascii=False).encode())
        if n_bytes > MAX_BYTES:
            break
        # A category without a code is a missing one, too.
        if all(
            value is not None or feature.nullable for value, feature in zip(row, schema.features, strict=True)
        ):
            kept.append(row)
    return tuple(kept)


def _values(codes: Floats, feature: Feature) -> list[str | int | float | bool | None]:
    """Numbers, truth values and dates behind their codes."""
    if feature.type in DATE_TYPES:
        return [None if math.isnan(code) else date_text(code, feature.type) for code in codes]
    kinds = {"long": int, "boolean": bool, "double": float}
    return [None if math.isnan(code) else kinds[feature.type](code) for code in codes]
