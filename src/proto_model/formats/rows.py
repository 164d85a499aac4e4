"""The rows that a format is verified on: held-out ones, and those made where forests may be misread.

Made rows lie at the forest's thresholds, one step below and above them, have missing values everywhere, and
categories that training never saw.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.dates import FIRST, LAST
from proto_model.forest.expansion import Op, Step
from proto_model.formats.source import Source
from proto_model.schema import DATE_TYPES, SECONDS_OF, Feature, ModelSchema, date_text
from proto_model.values import LARGEST

UNSEEN = "a category that training never saw"
N_MADE = 2_000

_DAY = 86_400
_MOST_PER_COLUMN = 20_000  # thresholds that rows are drawn from
_MISSING, _OTHER = 0.1, 0.5  # of the cells

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows as coded matrix; `unseen` says which missing categories are given as unknown texts."""

    schema: ModelSchema
    matrix: Floats
    unseen: NDArray[np.bool_]

    @classmethod
    def of(cls, schema: ModelSchema, matrix: Floats) -> Rows:
        """Rows whose missing categories are missing."""
        return cls(schema, matrix, np.zeros(matrix.shape, dtype=bool))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.matrix)

    def __add__(self, other: Rows) -> Rows:
        """These rows, then others."""
        matrix = np.concatenate([self.matrix, other.matrix])
        return Rows(self.schema, matrix, np.concatenate([self.unseen, other.unseen]))

    def columns(self) -> Iterator[tuple[Feature, NDArray[Any]]]:
        """Values of each feature as a table has them: doubles, or texts of which None is missing."""
        for place, feature in enumerate(self.schema.features):
            codes = self.matrix[:, place]
            if feature.takes_numbers:
                yield feature, codes
            else:
                yield feature, _texts(codes, feature, self.unseen[:, place])


def _texts(codes: Floats, feature: Feature, unseen: NDArray[np.bool_]) -> NDArray[Any]:
    missing = np.isnan(codes)
    if feature.categories is not None:
        unknown = UNSEEN
        while unknown in feature.categories:
            unknown += "!"
        names = np.array([*feature.categories, None, unknown], dtype=object)
        last = len(feature.categories)
        texts: NDArray[Any] = names[np.where(missing, last + unseen, codes).astype(np.int64)]
        return texts
    texts = np.empty(len(codes), dtype=object)
    terms = feature.terms or ()
    for row in np.flatnonzero(~missing).tolist():
        if feature.type in DATE_TYPES:
            texts[row] = date_text(codes[row], feature.type)
        else:
            found = [term for bit, term in enumerate(terms) if int(codes[row]) >> bit & 1]
            texts[row] = " ".join(found) or "."
    return texts


def made_rows(source: Source, base: Floats, n_rows: int = N_MADE, seed: int = 0) -> Rows:
    """Rows at thresholds, with missing values and unseen categories, from coded rows; the same every time."""
    generator = np.random.default_rng(seed)
    matrix = base[np.arange(n_rows) % len(base)].copy()
    features = source.schema.features
    places = _places(source)
    for place, feature in enumerate(features):
        # No threshold is a number where trees only ask whether a value is missing.
        values = _possible(np.array(places.get(place) or [0.0, 1.0]), feature)
        drawn = generator.choice(values, n_rows)
        others = generator.random(n_rows) < _OTHER
        matrix[:, place] = np.where(others, drawn, matrix[:, place])
    missing = generator.random(matrix.shape) < _MISSING
    matrix[missing] = np.nan
    categories = np.array([feature.categories is not None for feature in features])
    unseen = missing & categories & (generator.random(matrix.shape) < 0.5)
    return Rows(source.schema, matrix, unseen)


def _places(source: Source) -> dict[int, list[float]]:
    """Codes of each feature around the thresholds of the forest."""
    trees = source.trees.trees
    column = np.concatenate([tree.column for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    found: dict[int, list[float]] = {}
    for used in source.trees.columns:
        step = source.steps[used]
        at = np.unique(threshold[column == used])
        at = at[:: max(1, len(at) // _MOST_PER_COLUMN)]
        found.setdefault(step.source, []).extend(_around(at[np.isfinite(at)], step, source.schema).tolist())
    return found


def _around(thresholds: Floats, step: Step, schema: ModelSchema) -> Floats:
    """Codes that become the thresholds, and those next to them as doubles and as float32."""
    feature = schema.features[step.source]
    with np.errstate(over="ignore"):
        single = thresholds.astype(np.float32)
        near = [thresholds, np.nextafter(thresholds, -np.inf), np.nextafter(thresholds, np.inf)]
        near += [one.astype(np.float64) for one in (single, np.nextafter(single, np.float32(np.inf)))]
        values = np.concatenate(near)
        if step.op is Op.SHIFTED:
            values = values * step.table[1] + step.table[0]
        elif step.op is Op.SCALED and step.table[0]:
            values = (values - step.table[1]) / step.table[0]
        elif step.op is Op.AGE:
            values = step.value - values * _DAY / SECONDS_OF[feature.type]
        elif step.op not in (Op.IDENTITY, Op.FILL):
            return np.array([0.0, 1.0])
    return np.concatenate([values, np.nextafter(values, -np.inf), np.nextafter(values, np.inf)])


def _possible(values: Floats, feature: Feature) -> Floats:
    """Values that a feature may have, next to those given."""
    if feature.categories is not None:
        return np.array([*map(float, range(len(feature.categories))), np.nan])
    if feature.type == "boolean":
        return np.array([0.0, 1.0])
    if feature.type == "text":
        return np.arange(min(2.0 ** len(feature.terms or ()), 256.0))
    if feature.type in DATE_TYPES:
        unit = SECONDS_OF[feature.type]
        low, high = float(FIRST // unit), float(LAST // unit)
        seen = np.linspace(feature.minimum or 0.0, feature.maximum or 0.0, 50)
        values = np.concatenate([values, seen, [low, high]])
    else:
        low, high = -LARGEST, LARGEST
    if feature.type != "double":
        values = np.concatenate([np.floor(values), np.ceil(values)])
    return np.clip(values[np.isfinite(values)], low, high)
