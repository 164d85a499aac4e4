"""From a canonical frame to what a forest learns from."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import OrdinalEncoder, TargetEncoder

from proto_model.forest.expansion import Expansion, Op, Step
from proto_model.schema import DATE_TYPES, Feature, ModelSchema
from proto_model.values import encode

Categories = Literal["ordinal", "target", "frequency", "one_hot"]
Numbers = Literal["as_is", "median"]

#: From more levels than these, a category may be encoded by the target or by how frequent its levels are;
#: up to these, by a column per level.
FEW_LEVELS = 20

_N_FOLDS = 5
_PARTS = {
    "date": (Op.YEAR, Op.MONTH, Op.DAY, Op.WEEKDAY),
    "datetime": (Op.YEAR, Op.MONTH, Op.DAY, Op.WEEKDAY, Op.HOUR),
}


def make_encoder(
    schema: ModelSchema, categories: Categories = "ordinal", numbers: Numbers = "as_is"
) -> ColumnTransformer | ExpandingEncoder:
    """Encoder of a canonical frame, not fitted.

    A category that the schema does not have counts as missing. Dates become parts and an age, texts a column
    per term, whatever the options say.

    Parameters
    ----------
    schema : ModelSchema
        Of the frame.
    categories : {"ordinal", "target", "frequency", "one_hot"}
        Index of the level; or, of categories with more than `FEW_LEVELS` levels, the mean of each class among
        the level's rows (shrunk towards that of all rows) or its share of the rows; or, of the others, a
        column per level. The others stay as they are.
    numbers : {"as_is", "median"}
        Missing values stay as they are, or become the median beside a column that tells them.
    """
    options = ExpandingEncoder(schema.to_dict(), categories, numbers)
    return options if options.expands else _plain_encoder(schema)


def _plain_encoder(schema: ModelSchema) -> ColumnTransformer:
    """Categories as their index, numbers as they are."""
    categorical = [feature for feature in schema.features if feature.categories is not None]
    encoder = OrdinalEncoder(
        categories=[np.array(feature.categories, dtype=object) for feature in categorical],
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
    )
    names = [feature.name for feature in categorical]
    numbers = [feature.name for feature in schema.features if feature.categories is None]
    return ColumnTransformer([("categories", encoder, names), ("numbers", "passthrough", numbers)])


class ExpandingEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Canonical frames as the columns that an `Expansion` makes of them, which `expansion_` holds.

    `fit_transform` gives the rows that a forest learns from: a level's mean comes from other folds than the
    row's own, as scikit-learn's `TargetEncoder` has it. `transform` gives what a forest is asked later.
    """

    def __init__(
        self, schema: dict[str, Any], categories: Categories = "ordinal", numbers: Numbers = "as_is"
    ) -> None:
        self.schema = schema
        self.categories = categories
        self.numbers = numbers

    @property
    def expands(self) -> bool:
        """Whether any column is more than its code."""
        schema = self._schema()
        return any(self._kind(feature) != "as it is" for feature in schema.features)

    def fit(self, X: pd.DataFrame, y: Any = None) -> ExpandingEncoder:
        """Learn what the columns need of the rows."""
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: pd.DataFrame, y: Any = None) -> NDArray[np.float64]:
        """Learn from the rows, and encode them for a forest to learn from."""
        schema = self._schema()
        coded = encode(X, schema)
        steps: list[Step] = []
        learned: dict[int, NDArray[np.float64]] = {}
        for place, feature in enumerate(schema.features):
            kind = self._kind(feature)
            if kind == "target":
                tables, means = _target_means(coded[:, place], len(feature.categories or ()), y)
                for table, column in zip(tables, means, strict=True):
                    learned[len(steps)] = column
                    steps.append(Step(place, Op.LOOKUP, table=tuple(table.tolist())))
            else:
                steps += _steps(kind, place, feature, coded[:, place])
        expansion = Expansion.of(steps, schema)
        self.expansion_ = expansion.arrays()
        matrix = expansion(coded)
        for position, column in learned.items():
            matrix[:, position] = column
        return matrix

    def transform(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """What a forest is asked about rows."""
        return Expansion(**self.expansion_)(encode(X, self._schema()))

    def _schema(self) -> ModelSchema:
        return ModelSchema.from_dict(self.schema)

    def _kind(self, feature: Feature) -> str:
        """How a feature's columns come about."""
        if feature.type in (*DATE_TYPES, "text"):
            return "parts" if feature.type in DATE_TYPES else "terms"
        if feature.categories is None:
            return "filled" if self.numbers == "median" and feature.nullable else "as it is"
        if self.categories == "ordinal" or _has_many_levels(feature) == (self.categories == "one_hot"):
            return "as it is"
        return self.categories


def _has_many_levels(feature: Feature) -> bool:
    return feature.categories is not None and len(feature.categories) > FEW_LEVELS


def _steps(kind: str, place: int, feature: Feature, column: NDArray[np.float64]) -> list[Step]:
    """Columns of a feature that need no labels."""
    known = column[~np.isnan(column)]
    if kind == "filled":
        median = float(np.median(known)) if len(known) else 0.0
        return [Step(place, Op.FILL, median), Step(place, Op.IS_MISSING)]
    if kind == "parts":
        # The newest date that the schema shows, which is nobody's own.
        newest = feature.maximum if feature.maximum is not None else float(known.max(initial=0.0))
        return [Step(place, Op.AGE, newest), *(Step(place, part) for part in _PARTS[feature.type])]
    if kind == "terms":
        terms = [Step(place, Op.TERM, float(bit)) for bit in range(len(feature.terms or ()))]
        return [*terms, Step(place, Op.IS_MISSING)] if feature.nullable else terms
    if kind == "as it is":
        return [Step(place, Op.IDENTITY)]
    n_levels = len(feature.categories or ())
    if kind == "frequency":
        counts = np.bincount(known.astype(np.int64), minlength=n_levels) / max(len(column), 1)
        return [Step(place, Op.LOOKUP, table=(*counts.tolist(), 1 - len(known) / max(len(column), 1)))]
    return [
        Step(place, Op.LOOKUP, table=tuple(float(code == level) for code in range(n_levels + 1)))
        for level in range(n_levels)
    ]


def _target_means(
    column: NDArray[np.float64], n_levels: int, y: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of each class by level, and the same of each row from the other folds, a row per column.

    The last level stands for missing values and for levels that training never saw.
    """
    if y is None:
        raise ValueError("Categories by target need labels: fit with y.")
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    levels = np.where(np.isnan(column), n_levels, column)[:, np.newaxis]
    n_folds = int(np.clip(np.bincount(codes).min(), 2, _N_FOLDS))
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    kind = "binary" if len(classes) <= 2 else "multiclass"
    encoder = TargetEncoder(categories=[np.arange(n_levels + 1.0)], target_type=kind, cv=folds)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        means = encoder.fit_transform(levels, codes)
    return encoder.transform(np.arange(n_levels + 1.0)[:, np.newaxis]).T, means.T
