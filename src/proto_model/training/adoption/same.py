"""Whether two models answer alike, bit for bit: on given rows, and at and beside thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from proto_model.errors import DataError
from proto_model.forest.expansion import Op
from proto_model.forest.pipeline import compiled_forest
from proto_model.schema import Feature, ModelSchema
from proto_model.values import encode

_MAX_THRESHOLDS = 100  # of a feature


@dataclass(frozen=True)
class Sameness:
    """How many rows were compared, and how many of them are at thresholds and the like."""

    n_rows: int
    n_probes: int


def check_same(
    pipeline: Pipeline, own: Pipeline, schema: ModelSchema, parts: Sequence[Any], *, as_array: bool
) -> Sameness:
    """Compare a pipeline with the one that was made of it; a DataError says how they differ.

    `parts` are frames of rows as the pipeline takes them; as arrays, if it was fitted on one.
    """
    engine = compiled_forest(own, schema)
    names = schema.feature_names
    probes = _probes(parts[0], own, schema)
    n_rows = 0
    for part in (*parts, probes):
        where = "rows at thresholds, with missing or with unseen values" if part is probes else "rows"
        try:
            expected = pipeline.predict_proba(part[names].to_numpy() if as_array else part[names])
        except (ValueError, TypeError) as error:
            raise DataError(f"The pipeline raises an error for {where} of X or X_test: {error}") from error
        found = engine.predict_proba(encode(_canonical(part, schema), schema))
        differs = (expected != found).any(axis=1)
        if differs.any():
            narrow = any(kind in (np.float32, np.float16) for kind in part[names].dtypes)
            raise DataError(
                f"The pipeline cannot be taken over exactly: {differs.sum():,} of {len(part):,} {where} get "
                f"other probabilities, by up to {np.abs(expected - found).max():.3g}."
                + (" Servers compute with 64 bits: fit it on X.astype('float64')." if narrow else "")
            )
        n_rows += len(part)
    return Sameness(n_rows, len(probes))


def _canonical(part: pd.DataFrame, schema: ModelSchema) -> pd.DataFrame:
    """Rows as a canonical frame: numbers as float64, categories as texts or None."""
    columns = {}
    for feature in schema.features:
        column = part[feature.name]
        if feature.categories is None:
            columns[feature.name] = column.astype("float64")
        else:
            columns[feature.name] = column.astype(object).where(column.notna(), None)
    return pd.DataFrame(columns)


def _probes(rows: pd.DataFrame, own: Pipeline, schema: ModelSchema) -> pd.DataFrame:
    """Rows in which one value each is a threshold or its neighbor, missing, or another category."""
    thresholds = _thresholds(own, schema)
    parts = []
    for feature, at in zip(schema.features, thresholds, strict=True):
        kind = rows[feature.name].dtype
        values: list[Any] = list(feature.categories or at)
        if feature.nullable:
            values.append(np.nan if feature.categories is None else None)
        if not values:
            continue
        places = list(islice(cycle(range(len(rows))), len(values)))
        part = rows.iloc[places].copy()
        part[feature.name] = _as_given(values, feature, kind, part.index)
        parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else rows.iloc[:1]


def _as_given(values: Sequence[Any], feature: Feature, kind: Any, index: Any) -> Any:
    if feature.categories is None:
        return pd.Series(list(values), index=index, dtype="float64")
    dtype = object if isinstance(kind, pd.CategoricalDtype) else kind
    return pd.Series(list(values), index=index, dtype=dtype)


def _thresholds(own: Pipeline, schema: ModelSchema) -> list[list[float]]:
    """Values of each feature at which the forest turns, with their neighbors in 32 and in 64 bits."""
    encoder, forest = own.named_steps["encode"], own.named_steps["forest"]
    arrays = encoder.expansion_
    tables = np.split(arrays["table"], arrays["start"][1:-1])
    split_on = np.concatenate([tree.tree_.feature for tree in forest.estimators_])
    split_at = np.concatenate([tree.tree_.threshold for tree in forest.estimators_])
    found: list[list[float]] = [[] for _ in schema.features]
    for column, (source, op, table) in enumerate(zip(arrays["source"], arrays["op"], tables, strict=True)):
        feature = schema.features[source]
        if feature.type not in ("double", "long") or op == Op.IS_MISSING:
            continue
        at = np.unique(split_at[split_on == column])
        if len(at) > _MAX_THRESHOLDS:
            at = at[np.linspace(0, len(at) - 1, _MAX_THRESHOLDS).astype(np.int64)]
        if op == Op.SHIFTED:
            at = at * table[1] + table[0]
        elif op == Op.SCALED and table[0] != 0:
            at = (at - table[1]) / table[0]
        found[source] += _neighbors(at[np.isfinite(at)]).tolist()
    return found


def _neighbors(at: NDArray[np.float64]) -> NDArray[np.float64]:
    narrow = at.astype(np.float32)
    beside = [np.nextafter(narrow, np.float32(end)).astype(np.float64) for end in (-np.inf, np.inf)]
    return np.unique(np.concatenate([
        at, narrow.astype(np.float64), *beside, np.nextafter(at, -np.inf), np.nextafter(at, np.inf),
    ]))  # fmt: skip
