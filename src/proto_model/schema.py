"""The model schema: what training, serving, the mapper and batch scoring know of a model's data.

It travels as `schema.json`, whose own JSON Schema is `schemas/model-schema.schema.json`. Within a major
version, later ones only add keys, which readers pass over: 1.1 added the data dictionary, 1.2 sample rows
and the threshold.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from proto_model.dictionary import NO_ENTRY, Entry
from proto_model.errors import ArtifactError

__all__ = [
    "DATE_TYPES",
    "DICTIONARY_VERSION",
    "MAX_SAMPLES",
    "SAMPLES_VERSION",
    "SCHEMA_VERSION",
    "SECONDS_OF",
    "TASKS",
    "Feature",
    "FeatureType",
    "Label",
    "ModelSchema",
    "Sample",
    "date_text",
]

SCHEMA_VERSION = "1.0"
DICTIONARY_VERSION = "1.1"
SAMPLES_VERSION = "1.2"
MAX_SAMPLES = 20

FeatureType = Literal["double", "long", "boolean", "string", "date", "datetime", "text"]
Label = str | int | float | bool
Sample = tuple[str | int | float | bool | None, ...]
"""A row as a client would send it, in the order of the features."""

SECONDS_OF: dict[str, int] = {"date": 86_400, "datetime": 1}
"""Seconds in the unit that the coded matrix counts a date in, since the beginning of 1970 (UTC)."""

DATE_TYPES = tuple(SECONDS_OF)
_EPOCH = datetime(1970, 1, 1)
_RANGE = ("minimum", "maximum", "median")

_LABELS: dict[str, tuple[type, ...]] = {
    "string": (str,), "boolean": (bool,), "long": (int, float), "double": (int, float)
}  # fmt: skip
_MAX_TERMS = 48  # bits of a float64, and a few less

TASKS = ("classification",)
"""What a model of this release can be for; `proto_model.model.KINDS` has what depends on it."""


@dataclass(frozen=True)
class Feature:
    """One column that the model takes.

    Parameters
    ----------
    name : str
        Column name, as in the table.
    type : {"double", "long", "boolean", "string", "date", "datetime", "text"}
        A `string` feature is categorical; of a `text`, the terms count. A `date` has no time, a `datetime`
        counts seconds in UTC.
    nullable : bool
        Whether a missing value (an absent column, `null`, NaN) is accepted: true when training saw one.
    categories : tuple of str or None
        The known categories of a `string` feature, sorted; None for the others.
    minimum, maximum, median : float or None
        Over the training rows, in round numbers, so that nobody's own value shows: `minimum` may be lower,
        `maximum` higher. None for a `string` or `text` feature. Booleans count as 0 and 1, dates in their
        unit since 1970; in JSON, dates are written as such.
    most_frequent : str or None
        The commonest category of a `string` feature; None for the others.
    terms : tuple of str or None
        The words of a `text` feature that count, sorted; None for the others.
    """

    name: str
    type: FeatureType
    nullable: bool
    categories: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    median: float | None = None
    most_frequent: str | None = None
    terms: tuple[str, ...] | None = None

    @property
    def takes_numbers(self) -> bool:
        """Whether its values are numbers or truth values; those of all others come as text."""
        return self.type in ("double", "long", "boolean")

    def to_dict(self) -> dict[str, Any]:
        """JSON object of this feature; keys that do not apply to its type are left out."""
        item: dict[str, Any] = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
            if value is not None
        }
        if self.type in DATE_TYPES:
            item |= {key: date_text(item[key], self.type) for key in _RANGE if key in item}
        return item

    @classmethod
    def from_dict(cls, item: dict[str, Any]) -> Feature:
        """Feature from its JSON object; a TypeError when a key is missing. Other keys do not count."""
        values: dict[str, Any] = {key: value for key, value in item.items() if key in _FEATURE_KEYS}
        for key in ("categories", "terms"):
            if values.get(key) is not None:
                if not isinstance(values[key], list):
                    raise ValueError(f"{key} of feature {values.get('name')!r} are not a list")
                values[key] = tuple(values[key])
        if values.get("type") in DATE_TYPES:
            values |= {key: _date_code(values[key], values["type"]) for key in _RANGE if key in values}
        return cls(**values)


_FEATURE_KEYS = frozenset(one.name for one in dataclasses.fields(Feature))


@dataclass(frozen=True)
class ModelSchema:
    """Features in order, target and classes of one model version.

    Parameters
    ----------
    model_name : str
        Registered model name.
    target : str
        Name of the column that is predicted.
    target_type : {"double", "long", "boolean", "string"}
        Type of the class labels.
    classes : tuple
        Class labels as in the table, in the order of scikit-learn's `classes_`.
    features : tuple of Feature
        In the order of the training table.
    task : str
        What the model is for, one of `TASKS`.
    dictionary : tuple of (str, Entry)
        What people are told of features and target, by their names; not of all, and of none in version 1.0.
    samples : tuple of Sample
        Rows that are nobody's, for whoever wants to try the model; none up to version 1.1. Schemas are not
        compared by them.
    threshold : float or None
        Of two classes, the second is predicted where its probability is above this; None for more classes,
        and up to version 1.1. Decisions follow `decision.json`; this is for people.
    """

    model_name: str
    target: str
    target_type: FeatureType
    classes: tuple[Label, ...]
    features: tuple[Feature, ...]
    schema_version: str = field(default=SCHEMA_VERSION, compare=False)
    task: str = "classification"
    dictionary: tuple[tuple[str, Entry], ...] = field(default=(), hash=False)
    samples: tuple[Sample, ...] = field(default=(), compare=False, repr=False)
    threshold: float | None = field(default=None, compare=False)

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        return dict(self.dictionary)

    def entry(self, column: str) -> Entry:
        """What the dictionary says of a feature or the target; an empty entry if it says nothing."""
        return self._entries.get(column, NO_ENTRY)

    def with_dictionary(self, entries: Mapping[str, Entry]) -> ModelSchema:
        """The same schema with what a dictionary says of its columns, in their order."""
        names = (*self.feature_names, self.target)
        told = tuple((name, entries[name]) for name in names if entries.get(name, NO_ENTRY) != NO_ENTRY)
        version = DICTIONARY_VERSION if told else SCHEMA_VERSION
        told_schema = dataclasses.replace(self, dictionary=told, schema_version=version)
        return told_schema.with_samples(self.samples).with_threshold(self.threshold)

    def with_samples(self, samples: Sequence[Sample]) -> ModelSchema:
        """The same schema with rows to try."""
        version = SAMPLES_VERSION if samples else self.schema_version
        return dataclasses.replace(self, samples=tuple(samples), schema_version=version)

    def with_threshold(self, threshold: float | None) -> ModelSchema:
        """The same schema with the probability from which on the second class is predicted."""
        version = self.schema_version if threshold is None else SAMPLES_VERSION
        return dataclasses.replace(self, threshold=threshold, schema_version=version)

    @cached_property
    def feature_names(self) -> list[str]:
        """Names of the features, in order."""
        return [feature.name for feature in self.features]

    @cached_property
    def probability_columns(self) -> list[str]:
        """Names of the output columns with each class's probability, in the order of `classes`."""
        return [f"probability_{_label_text(label)}" for label in self.classes]

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that two schemas share when they accept the same rows and classes.

        Names, types, nullability and classes count; ranges, medians and categories seen do not, because they
        change with every training table, and neither does what people are told: a server that follows an
        alias refuses a version of another digest.
        """
        essence = {
            "target_type": self.target_type,
            "classes": list(self.classes),
            "features": sorted([f.name, f.type, f.nullable] for f in self.features),
        }
        return hashlib.sha256(json.dumps(essence, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 that two schemas share when a forest of one gives the answers of the other.

        The order of features, categories, terms and classes counts; ranges and names of model and target do
        not.
        """
        essence = [
            self.target_type,
            list(self.classes),
            [[f.name, f.type, f.nullable, f.categories, f.terms] for f in self.features],
        ]
        return hashlib.sha256(json.dumps(essence).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """JSON object of the schema."""
        return {
            "schema_version": self.schema_version,
            "model_name": self.model_name,
            "task": self.task,
            "target": {"name": self.target, "type": self.target_type},
            "classes": list(self.classes),
            "features": [feature.to_dict() for feature in self.features],
            # At the top, where the readers of releases before it passed unknown keys over.
            **(
                {"dictionary": {n: entry.to_dict() for n, entry in self.dictionary}}
                if self.dictionary
                else {}
            ),
            **({} if self.threshold is None else {"threshold": self.threshold}),
            **({"samples": [list(row) for row in self.samples]} if self.samples else {}),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ModelSchema:
        """Schema from its JSON object; raises ArtifactError if this release cannot read it."""
        try:
            version = content["schema_version"]
            if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
                raise ArtifactError(
                    f"schema_version {version} given, this release reads {SCHEMA_VERSION.split('.')[0]}.x. "
                    "Use the release of this package that wrote the model."
                )
            task = content.get("task", "classification")
            if task not in TASKS:
                raise ArtifactError(
                    f"task {task!r} given, this release knows {', '.join(TASKS)}. "
                    "Use the release of this package that wrote the model."
                )
            features = tuple(Feature.from_dict(item) for item in content["features"])
            schema = cls(
                model_name=content["model_name"],
                target=content["target"]["name"],
                target_type=content["target"]["type"],
                classes=tuple(content["classes"]),
                features=features,
                schema_version=version,
                task=task,
                dictionary=_dictionary(content.get("dictionary", {}), content),
                samples=_samples(content.get("samples", []), len(features)),
                threshold=_threshold(content),
            )
            if not isinstance(content["classes"], list):
                raise ValueError("classes are not a list")
            _check(schema)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            told = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise ArtifactError(f"Not a model schema: {told}. Download the model again.") from error
        return schema

    def write(self, path: Path) -> None:
        """Write `schema.json`."""
        path.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> ModelSchema:
        """Schema from a `schema.json` file; raises ArtifactError if it is not one."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ArtifactError(
                f"Cannot read {path} as a model schema: {error}. Download the whole model, or log it again."
            ) from error
        try:
            return cls.from_dict(content)
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from error


def _dictionary(items: Any, content: Mapping[str, Any]) -> tuple[tuple[str, Entry], ...]:
    """Entries of the columns that a schema has; a ValueError names one that is wrong."""
    if not isinstance(items, dict):
        raise ValueError("dictionary is no object")
    names = {*(item["name"] for item in content["features"]), content["target"]["name"]}
    entries = []
    for name in [name for name in items if name in names]:
        try:
            entries.append((name, Entry.from_dict(items[name])))
        except ValueError as error:
            raise ValueError(f"{name!r} in the dictionary {error}") from error
    return tuple(entries)


def _threshold(content: Mapping[str, Any]) -> float | None:
    """Share of the second class, if a schema says one; a ValueError if it is none, or of more classes."""
    if "threshold" not in content:
        return None
    threshold = content["threshold"]
    if type(threshold) not in (int, float) or not 0 < threshold < 1 or len(content["classes"]) != 2:
        raise ValueError(f"threshold {threshold!r} is no number between 0 and 1 of two classes")
    return float(threshold)


def _samples(rows: Any, n_features: int) -> tuple[Sample, ...]:
    """Rows with a value for each feature; a ValueError says what they are instead."""
    if not isinstance(rows, list) or len(rows) > MAX_SAMPLES:
        raise ValueError(f"samples are no list of at most {MAX_SAMPLES} rows")
    for row in rows:
        if not isinstance(row, list) or len(row) != n_features or not all(map(_is_value, row)):
            raise ValueError(f"a sample is no list of {n_features} values")
    return tuple(map(tuple, rows))


def _is_value(value: Any) -> bool:
    """Whether JSON can hold it in a cell of a row."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < 2**63  # what the writers of JSON take; truth values are such numbers, too
    return value is None or _is_text(value)


def date_text(code: float, kind: str) -> str:
    """A coded date as text.

    Examples
    --------
    >>> date_text(19783.0, "date"), date_text(1709294400.0, "datetime")
    ('2024-03-01', '2024-03-01T12:00:00Z')
    """
    try:
        moment = _EPOCH + timedelta(seconds=code * SECONDS_OF[kind])
    except OverflowError:  # an explanation may ask what lies beyond the last date
        moment = datetime.max.replace(microsecond=0) if code > 0 else datetime.min
    return moment.date().isoformat() if kind == "date" else f"{moment.replace(microsecond=0).isoformat()}Z"


def _date_code(text: str, kind: str) -> float:
    """Code of a date that `date_text` has written; a ValueError when it has not."""
    moment = datetime.fromisoformat(text).replace(tzinfo=None)
    return float((moment - _EPOCH) // timedelta(seconds=SECONDS_OF[kind]))


def _check(schema: ModelSchema) -> None:
    """Raise a ValueError if a schema contradicts itself."""
    for text in (schema.model_name, schema.target, *schema.feature_names):
        if not _is_text(text):
            raise ValueError(f"{text!r} is no name")
    if not schema.features or len(set(schema.feature_names)) < len(schema.features):
        raise ValueError("it has no features, or two of the same name")
    for feature in schema.features:
        if fault := _feature_fault(feature):
            raise ValueError(f"feature {feature.name!r} {fault}")
    expected = _LABELS[schema.target_type]
    for label in schema.classes:
        if type(label) not in expected or (type(label) is float and not math.isfinite(label)):
            raise ValueError(f"class {label!r} is no {schema.target_type}")
        if isinstance(label, str) and not _is_text(label):
            raise ValueError(f"class {label!r} is no text")
    if not schema.classes or len(set(schema.classes)) < len(schema.classes):
        raise ValueError("it has no classes, or one twice")


def _feature_fault(feature: Feature) -> str | None:
    """What is wrong with a feature, or None."""
    if feature.type not in get_args(FeatureType):
        return f"has type {feature.type!r}, one of {', '.join(get_args(FeatureType))} expected"
    if type(feature.nullable) is not bool:
        return f"has nullable {feature.nullable!r}, true or false expected"
    for kind, key, words in (("string", "categories", feature.categories), ("text", "terms", feature.terms)):
        if (words is not None) != (feature.type == kind):
            return f"of type {feature.type!r} has {key}" if words is not None else f"has no {key}"
        if words is not None and (not all(map(_is_text, words)) or len(set(words)) < len(words)):
            return f"has {key} that are no texts, or one twice"
    if feature.terms is not None and not 1 <= len(feature.terms) <= _MAX_TERMS:
        return f"has {len(feature.terms)} terms, 1 to {_MAX_TERMS} expected"
    if feature.most_frequent is not None and not _is_text(feature.most_frequent):
        return "has a most frequent category that is no text"
    numbers = [n for n in (feature.minimum, feature.maximum, feature.median) if n is not None]
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        return "has a range that is not of finite numbers"
    if feature.minimum is not None and feature.maximum is not None and feature.minimum > feature.maximum:
        return "has a minimum above its maximum"
    return None


def _is_text(value: Any) -> bool:
    """Whether it is a text that can be written: half a surrogate pair cannot."""
    return isinstance(value, str) and not any("\ud800" <= sign <= "\udfff" for sign in value)


def _label_text(label: Label) -> str:
    """Class label as it stands in a column name: JSON's spelling for booleans, Python's for the rest."""
    return str(label).lower() if isinstance(label, bool) else str(label)
