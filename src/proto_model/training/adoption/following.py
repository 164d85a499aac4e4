"""Fitted pipelines from elsewhere as pipelines of this project: the same forest behind an `Expansion`.

What a pipeline does before its forest is followed column by column. What cannot be said as an `Expansion` is
refused, by its name; and what was followed is held against the pipeline itself, bit for bit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted

from proto_model.errors import DataError
from proto_model.forest.expansion import Expansion, Op
from proto_model.schema import Feature, ModelSchema
from proto_model.training.adoption.columns import (
    UNDEFINED,
    Column,
    IsMissing,
    Levels,
    Number,
    is_missing,
    step_of,
)
from proto_model.training.encoding import ExpandingEncoder

__all__ = ["TAKEN", "adopted", "forest_of", "with_known_levels"]

TAKEN = (
    "ColumnTransformer, FeatureUnion, Pipeline, passthrough, SimpleImputer, OrdinalEncoder, OneHotEncoder, "
    "StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler and feature selection"
)
_FORESTS = (RandomForestClassifier, ExtraTreesClassifier)


@dataclass
class _Trace:
    """What all steps of a pipeline need, and the levels that its encoders know, by feature."""

    schema: ModelSchema
    unseen_as_missing: bool = False
    known: dict[int, set[str]] = field(default_factory=dict)

    def learn(self, column: Column, levels: Iterable[Any]) -> None:
        self.known.setdefault(column.source, set()).update(one for one in levels if isinstance(one, str))

    def name(self, column: Column) -> str:
        return self.schema.features[column.source].name


def forest_of(pipeline: Any) -> Any:
    """The fitted forest that a pipeline ends in; a DataError says why there is none."""
    if isinstance(pipeline, _FORESTS):
        raise DataError("A forest without a pipeline given. Wrap it: make_pipeline('passthrough', forest).")
    if not isinstance(pipeline, Pipeline):
        raise DataError(f"A {type(pipeline).__name__} given, a scikit-learn Pipeline expected.")
    forest = pipeline[-1]
    if type(forest) not in _FORESTS:
        raise DataError(
            f"The pipeline ends in a {type(forest).__name__}, and this project serves "
            "RandomForestClassifier and ExtraTreesClassifier."
        )
    _check_fitted(forest, "The pipeline")
    if not forest.estimators_:
        raise DataError("The forest has no trees.")
    if forest.n_outputs_ != 1:
        raise DataError(f"The forest has {forest.n_outputs_} outputs. Fit one pipeline for each of them.")
    return forest


def _check_fitted(step: Any, what: str) -> None:
    try:
        check_is_fitted(step)
    except NotFittedError as error:
        raise DataError(f"{what} is not fitted. Call the fit of the whole pipeline first.") from error


def adopted(pipeline: Pipeline, schema: ModelSchema, *, unseen_as_missing: bool = False) -> Pipeline:
    """Pipeline with the steps of this project that gives what a fitted one gives of canonical frames.

    The schema is of the columns that it was fitted on, in their order. Categories that no row has are treated
    as missing by everything that serves; a pipeline that does otherwise, or raises an error, is refused
    unless `unseen_as_missing`. A DataError names the first step that cannot be taken over. Nothing is
    verified yet.
    """
    forest = copy.copy(forest_of(pipeline))
    vars(forest).pop("feature_names_in_", None)  # what it gets here are arrays
    trace = _Trace(schema, unseen_as_missing)
    columns = _columns(pipeline, trace)
    if len(columns) != forest.n_features_in_:
        raise DataError(
            f"The forest takes {forest.n_features_in_} columns, and {len(columns)} were followed to it: "
            "its steps do something that this project cannot take over."
        )
    steps = [
        step_of(column, schema.features[column.source], unseen_as_missing=unseen_as_missing)
        for column in columns
    ]
    encoder = ExpandingEncoder(schema.to_dict())
    encoder.expansion_ = Expansion.of(steps, schema).arrays()
    return Pipeline([("encode", encoder), ("forest", forest)])


def with_known_levels(pipeline: Pipeline, schema: ModelSchema) -> ModelSchema:
    """Schema with the categories that a pipeline's encoders know besides."""
    trace = _Trace(replace(schema, features=tuple(map(_without_levels, schema.features))))
    _columns(pipeline, trace)
    features = [
        feature
        if feature.categories is None
        else replace(feature, categories=tuple(sorted({*feature.categories, *trace.known.get(place, ())})))
        for place, feature in enumerate(schema.features)
    ]
    return replace(schema, features=tuple(features))


def _without_levels(feature: Feature) -> Feature:
    return feature if feature.categories is None else replace(feature, categories=())


def _columns(pipeline: Pipeline, trace: _Trace) -> list[Column]:
    """Columns that reach the forest."""
    columns: list[Column] = [
        Number(place) if feature.categories is None else Levels(place, feature.name, feature.categories)
        for place, feature in enumerate(trace.schema.features)
    ]
    for name, step in pipeline.steps[:-1]:
        columns = _followed(step, columns, trace, name)
    return columns


def _followed(step: Any, columns: list[Column], trace: _Trace, name: str) -> list[Column]:
    """Columns that come out of a step."""
    if step is None or isinstance(step, str):
        if step in (None, "passthrough"):
            return columns
        if step == "drop":
            return []
    if isinstance(step, Pipeline):
        for inner, part in step.steps:
            columns = _followed(part, columns, trace, f"{name}.{inner}")
        return columns
    if isinstance(step, ColumnTransformer | FeatureUnion) and step.transformer_weights:
        raise DataError(f"Step {name!r} weighs its parts, which this project cannot take over.")
    if isinstance(step, (ColumnTransformer, SelectorMixin, *_FOLLOWED)):
        _check_fitted(step, f"Step {name!r}")
    if isinstance(step, ColumnTransformer):
        return _branches(step, columns, trace, name)
    if isinstance(step, FeatureUnion):
        parts = [_followed(part, columns, trace, f"{name}.{inner}") for inner, part in step.transformer_list]
        return [column for part in parts for column in part]
    if isinstance(step, FunctionTransformer) and step.func is None:
        return columns
    if isinstance(step, SelectorMixin):
        return [column for column, kept in zip(columns, step.get_support(), strict=True) if kept]
    for kind, follow in _FOLLOWED.items():
        if type(step) is kind:
            return follow(step, columns, trace, name)
    raise DataError(
        f"Step {name!r} is a {type(step).__name__}, which cannot be taken over exactly. These can: {TAKEN}. "
        "Do what it does before the pipeline, and fit that on the result."
    )


def _branches(step: ColumnTransformer, columns: list[Column], trace: _Trace, name: str) -> list[Column]:
    found = []
    for inner, part, _ in step.transformers_:
        places = step._transformer_to_input_indices[inner]  # names, slices and masks, as numbers
        if len(places):
            found += _followed(part, [columns[place] for place in places], trace, f"{name}.{inner}")
    return found


def _imputed(step: SimpleImputer, columns: list[Column], trace: _Trace, name: str) -> list[Column]:
    if not is_missing(step.missing_values):
        raise DataError(
            f"Step {name!r} fills {step.missing_values!r}. Missing values are NaN or None here: replace them "
            "so before the pipeline."
        )
    found: list[Column] = []
    for column, value in zip(columns, step.statistics_.tolist(), strict=True):
        if is_missing(value):  # scikit-learn leaves out a column without values
            raise DataError(f"Step {name!r} has no value to fill {trace.name(column)!r} with.")
        if isinstance(column, Number):
            found.append(replace(column, fill=float(value)) if math.isnan(column.fill) else column)
        elif isinstance(column, Levels):
            filled = {side: _filled(getattr(column, side), value) for side in ("missing", "unseen")}
            values = tuple(_filled(one, value) for one in column.values)
            found.append(replace(column, values=values, **filled))
        else:
            found.append(column)
    if step.indicator_ is not None:
        for place in step.indicator_.features_:
            found.append(IsMissing(_plain_source(columns[place], trace, name)))
    return found


def _filled(one: Any, value: Any) -> Any:
    return value if one is not UNDEFINED and is_missing(one) else one


def _plain_source(column: Column, trace: _Trace, name: str) -> int:
    lacks = isinstance(column, Number) and math.isnan(column.fill)
    lacks |= isinstance(column, Levels) and column.missing is None
    if not lacks:
        raise DataError(f"Step {name!r} asks whether {trace.name(column)!r} is missing after it was filled.")
    return column.source


def _ordinal(step: OrdinalEncoder, columns: list[Column], trace: _Trace, name: str) -> list[Column]:
    found: list[Column] = []
    rare = getattr(step, "infrequent_categories_", None) or [None] * len(columns)
    for column, levels, infrequent in zip(columns, step.categories_, rare, strict=True):
        texts = _levels(column, trace, step, name, infrequent)
        trace.learn(texts, levels.tolist())
        known = {level: float(code) for code, level in enumerate(levels.tolist()) if not is_missing(level)}
        unseen: Any = math.nan if trace.unseen_as_missing else UNDEFINED
        if step.handle_unknown == "use_encoded_value":
            unseen = float(step.unknown_value)
        blank = float(step.encoded_missing_value) if any(map(is_missing, levels.tolist())) else unseen
        found.append(_mapped(texts, known.get, unseen, blank, f"the {type(step).__name__} of step {name!r}"))
    return found


def _one_hot(step: OneHotEncoder, columns: list[Column], trace: _Trace, name: str) -> list[Column]:
    found: list[Column] = []
    rare = step.infrequent_categories_ if step._infrequent_enabled else [None] * len(columns)
    dropped = [None] * len(columns) if step.drop_idx_ is None else step.drop_idx_
    for column, levels, infrequent, left_out in zip(columns, step.categories_, rare, dropped, strict=True):
        texts = _levels(column, trace, step, name, infrequent)
        trace.learn(texts, levels.tolist())
        is_strict = step.handle_unknown == "error" and not trace.unseen_as_missing
        unseen: Any = UNDEFINED if is_strict else 0.0
        has_blank = any(map(is_missing, levels.tolist()))
        known = frozenset(levels.tolist())
        for place, level in enumerate(levels.tolist()):
            if place == left_out:
                continue
            is_blank = is_missing(level)
            own = None if is_blank else level

            def value(text: Any, own: Any = own, known: Any = known) -> float | None:
                return float(text == own) if text in known else None

            blank = float(is_blank) if has_blank else unseen
            found.append(_mapped(texts, value, unseen, blank, f"the {type(step).__name__} of step {name!r}"))
    return found


def _levels(column: Column, trace: _Trace, step: Any, name: str, infrequent: Any) -> Levels:
    """A column of categories that an encoder takes."""
    if not isinstance(column, Levels) or any(isinstance(value, float) for value in column.values):
        raise DataError(
            f"Step {name!r} encodes {trace.name(column)!r}, which holds numbers. A {type(step).__name__} "
            "can be taken over for columns of text: turn its values into text before the pipeline."
        )
    if infrequent is not None:
        raise DataError(f"Step {name!r} puts infrequent categories together, which cannot be taken over.")
    return column


def _mapped(
    column: Levels, value: Callable[[Any], float | None], unseen: Any, blank: Any, refusal: str
) -> Levels:
    """A column whose values are replaced by numbers; what `value` does not know is unseen."""

    def of(text: Any) -> Any:
        if text is UNDEFINED:
            return text
        if text is None:
            return blank
        number = value(text)
        return unseen if number is None else number

    values = [of(text) for text in column.values]
    if any(one is UNDEFINED for one in values):
        raise DataError(
            f"Column {column.name!r} of X holds categories that {refusal} has not seen, and raises an error "
            "for. Give the rows that it was fitted on, or fit it with handle_unknown."
        )
    # What an earlier step leaves of an unseen category is unseen to this one, too.
    other = unseen if column.unseen is UNDEFINED else of(column.unseen)
    return replace(column, values=tuple(values), missing=of(column.missing), unseen=other, refusal=refusal)


def _scaler(
    parts: Callable[[Any, int], tuple[Op, float, float]],
) -> Callable[[Any, list[Column], _Trace, str], list[Column]]:
    """How a scaler is followed; `parts` are the operation and the numbers of a column."""

    def follow(step: Any, columns: list[Column], trace: _Trace, name: str) -> list[Column]:
        found: list[Column] = []
        if getattr(step, "clip", False):
            raise DataError(f"Step {name!r} clips, which cannot be taken over. Fit it with clip=False.")
        for place, column in enumerate(columns):
            op, first, second = parts(step, place)
            if isinstance(column, Levels) and not any(isinstance(one, str) for one in column.values):
                values = [_apply(op, first, second, one) for one in column.values]
                missing, unseen = (
                    one if one is None or one is UNDEFINED else _apply(op, first, second, one)
                    for one in (column.missing, column.unseen)
                )
                found.append(replace(column, values=tuple(values), missing=missing, unseen=unseen))
            elif isinstance(column, Number) and column.scaling is None:
                fill = column.fill if math.isnan(column.fill) else _apply(op, first, second, column.fill)
                found.append(replace(column, fill=fill, scaling=(op, first, second)))
            else:
                raise DataError(
                    f"Step {name!r} scales {trace.name(column)!r}, which cannot be taken over: it is "
                    "scaled already, is text, or says what is missing."
                )
        return found

    return follow


def _apply(op: Op, first: float, second: float, value: float) -> float:
    """As scikit-learn's arrays do it, one operation after the other."""
    return (value - first) / second if op is Op.SHIFTED else value * first + second


def _part(values: Any, place: int, neutral: float) -> float:
    return neutral if values is None else float(values[place])


_FOLLOWED: dict[type, Callable[[Any, list[Column], _Trace, str], list[Column]]] = {
    SimpleImputer: _imputed,
    OrdinalEncoder: _ordinal,
    OneHotEncoder: _one_hot,
    StandardScaler: _scaler(
        lambda step, place: (
            Op.SHIFTED,
            _part(step.mean_ if step.with_mean else None, place, 0.0),
            _part(step.scale_ if step.with_std else None, place, 1.0),
        )
    ),
    RobustScaler: _scaler(
        lambda step, place: (
            Op.SHIFTED,
            _part(step.center_ if step.with_centering else None, place, 0.0),
            _part(step.scale_ if step.with_scaling else None, place, 1.0),
        )
    ),
    MaxAbsScaler: _scaler(lambda step, place: (Op.SHIFTED, 0.0, float(step.scale_[place]))),
    MinMaxScaler: _scaler(
        lambda step, place: (Op.SCALED, float(step.scale_[place]), float(step.min_[place]))
    ),
}
