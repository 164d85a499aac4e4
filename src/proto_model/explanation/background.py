"""What an explainer knows of the training table, and which changes of a row are allowed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from proto_model.errors import ArtifactError, InputError
from proto_model.explanation.interface import Bools, Floats, Ints
from proto_model.explanation.sensitive import is_sensitive
from proto_model.parameters import Parameters
from proto_model.schema import DATE_TYPES, ModelSchema, date_text

MAX_ROWS = 2000
MAX_CUTS = 47
ALL_FEATURES = slice(None)

JsonValue = str | int | float | bool | None


@dataclass(frozen=True, eq=False)
class Background:
    """Rows like those of training as a coded matrix, with ranges, spreads and cut points per feature."""

    schema: ModelSchema  # its categories bound what an explanation may propose
    matrix: Floats  # (n_rows, n_features)
    synthetic: bool  # whether its rows are drawn, not training rows themselves
    numeric: Bools  # whether it is a number
    whole: Bools  # whether only whole numbers are possible, as for booleans and category codes, too
    directed: Bools  # whether more and less mean something, as for numbers and booleans
    n_codes: Ints  # categories (2 for a boolean); 0 for a number
    low: Floats  # range of the rows, a bound, too; NaN when always missing; codes run from 0 to `n_codes - 1`
    high: Floats
    scale: Floats  # unit of distance of a number, see `_spread`; 1 for a category
    sensitive: Bools  # whether its name says that nobody should be asked to change it
    cuts: tuple[Floats, ...]  # increasing thresholds between values, with few digits; none for a category

    @property
    def n_features(self) -> int:
        """Number of columns of the coded matrix."""
        return len(self.schema.features)

    @classmethod
    def from_matrix(cls, schema: ModelSchema, matrix: Floats, synthetic: bool = False) -> Background:
        """Background of a schema and coded rows, of which at most `MAX_ROWS` are kept."""
        n_features = len(schema.features)
        if matrix.ndim != 2 or matrix.shape[1] != n_features or not len(matrix):
            raise ArtifactError(
                f"The background has shape {matrix.shape}, expected at least one row of {n_features} values. "
                "Build it with the schema that it is used with."
            )
        if len(matrix) > MAX_ROWS:
            matrix = matrix[np.linspace(0, len(matrix) - 1, MAX_ROWS).astype(np.int64)]
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        types = [feature.type for feature in schema.features]
        numeric = np.array([kind in ("double", "long", *DATE_TYPES) for kind in types])
        n_codes = np.array(
            [2 if f.type == "boolean" else len(f.categories or ()) for f in schema.features], dtype=np.int64
        )
        low, high, scale = np.zeros(n_features), np.zeros(n_features), np.ones(n_features)
        cuts: list[Floats] = []
        for j in range(n_features):
            known = np.sort(matrix[~np.isnan(matrix[:, j]), j])
            if not numeric[j]:
                high[j] = n_codes[j] - 1.0
                cuts.append(np.empty(0))
                continue
            # Not the schema's range, which is rounded outwards: few rows or none are near its ends.
            low[j], high[j] = (known[0], known[-1]) if len(known) else (math.nan, math.nan)
            scale[j] = _spread(known)
            cuts.append(_cuts(known))
        return cls(
            schema=schema,
            matrix=matrix,
            synthetic=synthetic,
            numeric=numeric,
            whole=np.array([kind != "double" for kind in types]),
            directed=np.array([kind != "string" for kind in types]),
            n_codes=n_codes,
            low=low,
            high=high,
            scale=scale,
            sensitive=np.array([is_sensitive(feature.name) for feature in schema.features], dtype=np.bool_),
            cuts=tuple(cuts),
        )

    def check(self, X: Floats) -> Floats:
        """Rows to explain as a float64 matrix; InputError if it does not fit or a value is infinite."""
        X = np.ascontiguousarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise InputError(
                f"The rows have shape {X.shape}, expected (n_rows, {self.n_features}): a coded matrix."
            )
        rows, columns = np.nonzero(np.isinf(X))
        if len(rows):
            name = self.schema.feature_names[columns[0]]
            raise InputError(
                f"Row {rows[0]}, feature {name!r}: infinite. Send a finite number or a missing value."
            )
        return X

    def json_value(self, j: int, code: float) -> JsonValue:
        """Value of feature `j` as JSON shows it: a category's name, true or false, a number, or None."""
        if math.isnan(code):
            return None
        feature = self.schema.features[j]
        if feature.categories is not None:
            return feature.categories[int(code)]
        if feature.type == "boolean":
            return bool(code)
        if feature.type in DATE_TYPES:
            return date_text(code, feature.type)
        return int(code) if feature.type == "long" and float(code).is_integer() else float(code)

    def json_bound(self, j: int, value: float) -> JsonValue:
        """Bound of an interval of feature `j`; of dates, the last one that is not beyond it."""
        feature = self.schema.features[j]
        if feature.type in DATE_TYPES:
            return date_text(math.floor(value), feature.type)
        return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)

    def distance(self, x: Floats, X: Floats) -> Floats:
        """Distance of each row of `X` from `x`: |change| / scale per number, 1 per changed category.

        A value that goes missing, or a missing one that becomes known, counts 1, too.
        """
        with np.errstate(invalid="ignore"):
            change = np.abs(X - x) / self.scale
        change = np.where(self.numeric | np.isnan(change), change, change > 0)
        lost = np.isnan(X) != np.isnan(x)
        distances: Floats = np.where(np.isnan(change), lost, change).sum(axis=1)
        return distances


@dataclass(frozen=True, eq=False)
class Freedom:
    """Which changes of a row are allowed: per feature, whether its value may grow, and may shrink."""

    increase: Bools
    decrease: Bools
    held: tuple[str, ...] = ()  # sensitive features that may not change for that reason alone

    @classmethod
    def of(cls, options: Parameters, background: Background) -> Freedom:
        """Freedom that the options leave; what is sensitive changes only where they name it."""
        names = background.schema.feature_names
        asked = np.isin(names, options.immutable_features)
        held = background.sensitive & ~np.isin(names, options.mutable_features) & ~asked
        fixed = asked | held
        return cls(
            increase=~(fixed | np.isin(names, options.decrease_only)),
            decrease=~(fixed | np.isin(names, options.increase_only)),
            held=tuple(names[j] for j in np.flatnonzero(held)),
        )

    def without(self, features: Bools) -> Freedom:
        """The same without changes of some features."""
        return replace(self, increase=self.increase & ~features, decrease=self.decrease & ~features)

    def allows(self, x: Floats, X: Floats, features: Ints | slice = ALL_FEATURES) -> Bools:
        """Per value of `X`, whether `x` may take it; both hold the given features along the last axis."""
        with np.errstate(invalid="ignore"):
            ok = np.where(X > x, self.increase[features], self.decrease[features])
        # from a missing value there is no up or down
        ok = np.where(np.isnan(x), (self.increase | self.decrease)[features], ok)
        allowed: Bools = ok & ~np.isnan(X) | ~differs(x, X)
        return allowed


def differs(x: Floats, X: Floats) -> Bools:
    """Per value of `X`, whether it is another than that of `x`; missing equals missing."""
    other: Bools = ~((X == x) | (np.isnan(X) & np.isnan(x)))
    return other


def short_number_between(a: float, b: float) -> float:
    """Number t with a <= t < b that has the fewest digits.

    Examples
    --------
    >>> short_number_between(883.4, 884.9)
    884.0
    >>> short_number_between(0.1234, 0.1241)
    0.124
    """
    if not a < b:
        return a
    middle = a + (b - a) / 2
    digits = -math.floor(math.log10(max(abs(a), abs(b), 1e-300)))
    for places in range(digits - 1, digits + 18):
        t = round(middle, places)
        if a <= t < b:
            return t + 0.0
    return a


def _spread(known: Floats) -> float:
    """Median absolute deviation; where that is 0 (one value prevails), the standard one; then 1."""
    if not len(known):
        return 1.0
    deviation = np.abs(known - np.median(known))
    return float(np.median(deviation)) or float(known.std()) or 1.0


def _cuts(known: Floats) -> Floats:
    """At most `MAX_CUTS` thresholds between neighbouring values, spread evenly over the rows."""
    values, counts = np.unique(known, return_counts=True)
    if len(values) < 2:
        return np.empty(0)
    gaps = np.arange(len(values) - 1)
    if len(gaps) > MAX_CUTS:
        below = np.cumsum(counts)[:-1]
        wanted = np.linspace(0, len(known), MAX_CUTS + 2)[1:-1]
        gaps = np.unique(np.clip(np.searchsorted(below, wanted), 0, len(gaps) - 1))
    cuts = [short_number_between(float(values[i]), float(values[i + 1])) for i in gaps]
    return np.array(cuts)
