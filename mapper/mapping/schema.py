"""The model schema: all that the mapper knows of the model whose requests it checks.

`schema.json` is logged with every model version; its JSON Schema is `schemas/model-schema.schema.json`. The
model's side has a reader of its own: the two share files, not code. Keys that are not known are passed over,
since a later 1.x may have more.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mapper.errors import SchemaError
from mapper.mapping.dates import DATE_TYPES, date_text, seconds_in
from mapper.mapping.dictionary import NO_ENTRY, Entry

Label = str | int | float | bool
Value = str | int | float | bool | None

TYPES = ("double", "long", "boolean", "string", "date", "datetime", "text")
TASKS = ("classification",)
POLICIES = ("learned", "closed", "open")
MAJOR_VERSION = "1"
LABELS: dict[str, tuple[type, ...]] = {
    "string": (str,), "boolean": (bool,), "long": (int, float), "double": (int, float)
}  # fmt: skip
MAX_TERMS = 48
MAX_SAMPLES = 20


@dataclass(frozen=True)
class Feature:
    """One column that the model takes.

    Numbers and dates have their range over the training rows (dates in seconds since 1970), `string` features
    the categories that training saw, `text` features the words that count.
    A `nullable` feature may be left out or null. `values` says what another value is: a warning where the
    range and the categories were learned, a fault where they are closed, nothing special where they are open;
    `text` is what people are told of it. Both are of fields in an application's own mapping. `entry` is what
    the data dictionary says of the column.
    """

    name: str
    type: str
    nullable: bool
    categories: tuple[str, ...] = ()
    minimum: float = 0.0
    maximum: float = 0.0
    median: float = 0.0
    most_frequent: str = ""
    values: str = "learned"
    text: str = ""
    terms: tuple[str, ...] = ()
    entry: Entry = NO_ENTRY

    @property
    def label(self) -> str:
        """Name and unit, for people: `worst radius (mm)`."""
        return f"{self.name} ({self.entry.unit})" if self.entry.unit else self.name

    @property
    def told(self) -> list[str]:
        """What people are told of it, as sentences: the mapping's text, and the dictionary's entry."""
        return [*([f"{self.text}."] if self.text else []), *self.entry.sentences]

    @property
    def takes_numbers(self) -> bool:
        """Whether its values are numbers or truth values; those of all others come as text."""
        return self.type in ("double", "long", "boolean")

    @cached_property
    def known(self) -> frozenset[str]:
        """The categories, to look one up."""
        return frozenset(self.categories)

    @property
    def seen(self) -> str:
        """What training saw, for people."""
        if self.type == "boolean":
            return "true, false"
        if self.type == "text":
            return (
                "any text; words that count: " + ", ".join(self.terms[:12]) + ", …" * (len(self.terms) > 12)
            )
        if self.type in DATE_TYPES:
            return f"{date_text(self.minimum, self.type)} to {date_text(self.maximum, self.type)}"
        if self.values == "open":
            return "any text" if self.type == "string" else "any number"
        if self.type != "string":
            return f"{self.minimum:.6g} to {self.maximum:.6g}"
        return ", ".join(self.categories[:12]) + (", …" if len(self.categories) > 12 else "")

    @property
    def typical(self) -> Value:
        """A typical value of the training rows, for examples and for the readiness check."""
        if self.type == "string":
            return self.most_frequent
        if self.type == "text":
            return " ".join(self.terms[:3])
        if self.type in DATE_TYPES:
            return date_text(self.median, self.type)
        if self.type == "boolean":
            return self.median >= 0.5
        if self.type == "long":
            return round(self.median)
        short = float(f"{self.median:.6g}")  # 87.2 rather than 87.19999999999999
        return short if self.minimum <= short <= self.maximum else float(self.median)


@dataclass(frozen=True)
class ModelSchema:
    """What one model version takes and predicts.

    `classes` are in the order of the probabilities, `features` in that of the training table. `content` is
    the JSON object that all this was read from.
    """

    model_name: str
    task: str
    target: str
    classes: tuple[Label, ...]
    features: tuple[Feature, ...]
    content: dict[str, Any] = field(repr=False)
    target_entry: Entry = NO_ENTRY

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in order."""
        return [feature.name for feature in self.features]

    @property
    def class_texts(self) -> tuple[str, ...]:
        """Classes as in column names and JSON keys."""
        return tuple(map(class_text, self.classes))

    @property
    def typical_record(self) -> dict[str, Value]:
        """A record of typical values: medians and most frequent categories."""
        return {feature.name: feature.typical for feature in self.features}

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits, equal for versions with the same kind of rows and classes.

        What people are told does not count.
        """
        essence = {
            "target_type": self.content["target"]["type"],
            "classes": list(self.classes),
            "features": sorted([f.name, f.type, f.nullable] for f in self.features),
        }
        return hashlib.sha256(json.dumps(essence, sort_keys=True).encode()).hexdigest()[:16]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ModelSchema:
        """Schema from its JSON object; raises SchemaError if it is wrong, or of another release."""
        try:
            version, task = content["schema_version"], content.get("task", TASKS[0])
            advice = "Use the mapper of the release that trained the model."
            if version.split(".")[0] != MAJOR_VERSION:
                known = f"This release reads schema_version {MAJOR_VERSION}.x"
                raise SchemaError(f"{known}, not {version}. {advice}")
            if task not in TASKS:
                raise SchemaError(f"This release knows the task {', '.join(TASKS)}, not {task!r}. {advice}")
            if not isinstance(content["classes"], list):
                raise ValueError("classes are not a list")
            target = content["target"]["name"]
            entries = _entries(content, target)
            schema = cls(
                model_name=content["model_name"],
                task=task,
                target=target,
                classes=tuple(content["classes"]),
                features=tuple(_feature(item, entries) for item in content["features"]),
                content=dict(content),
                target_entry=entries.get(target, NO_ENTRY),
            )
            _check(schema, content["target"]["type"])
            _check_threshold(content, len(schema.classes))
            _check_samples(content.get("samples", []), len(schema.features))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            told = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise SchemaError(f"Not a model schema: {told}. Was schema.json edited by hand?") from error
        return schema

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelSchema:
        """Schema from the text of a `schema.json`; raises SchemaError as `from_dict` does."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise SchemaError(f"Not a model schema: it is not JSON ({error}).") from error
        if not isinstance(content, dict):
            raise SchemaError("Not a model schema: it is not a JSON object.")
        return cls.from_dict(content)

    @staticmethod
    def find(path: Path | str) -> Path:
        """The `schema.json` that a path names: the file, or the one in a model's folder."""
        path = Path(path)
        places = [path / "mapper" / "schema.json", path / "schema.json"] if path.is_dir() else [path]
        return next((place for place in places if place.is_file()), path)

    @classmethod
    def read(cls, path: Path | str) -> ModelSchema:
        """Schema from a file, or from the folder of a model; raises SchemaError as `from_dict` does."""
        found = cls.find(path)
        if found.is_dir():
            raise SchemaError(
                f"The folder {found} has neither mapper/schema.json nor schema.json. "
                "Give the folder of a logged model, or the path of a schema.json."
            )
        try:
            return cls.from_json(found.read_bytes())
        except OSError as error:
            raise SchemaError(
                f"Cannot read {found}: {error.strerror}. Give the path of a schema.json."
            ) from error
        except SchemaError as error:
            raise SchemaError(f"{found}: {error}") from error


def class_text(label: Label) -> str:
    """A class in a column's name or as a key of JSON: `true` for a boolean, else Python's spelling."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def _check(schema: ModelSchema, target_type: str) -> None:
    """Raise a ValueError if a schema contradicts itself; the model's side refuses the same."""
    if not schema.features or not schema.classes:
        raise ValueError("it needs at least one feature and one class")
    if not all(map(_is_text, (schema.model_name, schema.target, *schema.feature_names))):
        raise ValueError("a name is no text")
    if len(set(schema.feature_names)) < len(schema.features):
        raise ValueError("two features have the same name")
    for feature in schema.features:
        if fault := _fault(feature):
            raise ValueError(f"feature {feature.name!r} {fault}")
    for label in schema.classes:
        is_label = type(label) in LABELS[target_type] and (isinstance(label, str) or math.isfinite(label))
        if not is_label or (isinstance(label, str) and not _is_text(label)):
            raise ValueError(f"class {label!r} is no {target_type}")
    if len(set(schema.classes)) < len(schema.classes):
        raise ValueError("two classes are the same")


def _fault(feature: Feature) -> str | None:
    if type(feature.nullable) is not bool:
        return f"has nullable {feature.nullable!r}, true or false expected"
    for key, words in (("categories", feature.categories), ("terms", feature.terms)):
        if not all(map(_is_text, words)) or len(set(words)) < len(words):
            return f"has {key} that are no texts, or one twice"
    if feature.type == "text" and not 1 <= len(feature.terms) <= MAX_TERMS:
        return f"has {len(feature.terms)} terms, 1 to {MAX_TERMS} expected"
    if not _is_text(feature.most_frequent):
        return "has a most frequent category that is no text"
    if not all(map(math.isfinite, (feature.minimum, feature.maximum, feature.median))):
        return "has a range that is not of finite numbers"
    return "has a minimum above its maximum" if feature.minimum > feature.maximum else None


def _check_threshold(content: Mapping[str, Any], n_classes: int) -> None:
    """Raise a ValueError unless it is a share of the second of two classes, or absent."""
    threshold = content.get("threshold", 0.5)
    is_share = type(threshold) in (int, float) and 0 < threshold < 1
    if not is_share or ("threshold" in content and n_classes != 2):
        raise ValueError(f"threshold {threshold!r} is no number between 0 and 1 of two classes")


def _check_samples(rows: Any, n_features: int) -> None:
    """Raise a ValueError unless these are rows with a value for each feature: what the page begins with."""
    if not isinstance(rows, list) or len(rows) > MAX_SAMPLES:
        raise ValueError(f"samples are no list of at most {MAX_SAMPLES} rows")
    for row in rows:
        if not isinstance(row, list) or len(row) != n_features or not all(map(_is_value, row)):
            raise ValueError(f"a sample is no list of {n_features} values")


def _is_value(value: Any) -> bool:
    """Whether a cell of a row can be so."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < 2**63  # what the writers of JSON take; truth values are such numbers, too
    return value is None or _is_text(value)


def _is_text(value: Any) -> bool:
    """Whether it is a text that can be written: half a surrogate pair cannot."""
    return isinstance(value, str) and not any("\ud800" <= sign <= "\udfff" for sign in value)


def _entries(content: Mapping[str, Any], target: str) -> dict[str, Entry]:
    """What the data dictionary says of columns that the schema has; a ValueError names one that is wrong."""
    given = content.get("dictionary", {})
    if not isinstance(given, dict):
        raise ValueError("dictionary is no object")
    names = {*(item["name"] for item in content["features"]), target}
    entries = {}
    for name in [name for name in given if name in names]:
        try:
            entries[name] = Entry.from_dict(given[name])
        except ValueError as error:
            raise ValueError(f"{name!r} in the dictionary {error}") from error
    return entries


def _feature(item: Mapping[str, Any], entries: Mapping[str, Entry]) -> Feature:
    """Feature from its JSON object."""
    kind = item["type"]
    if kind not in TYPES or not isinstance(item["name"], str):
        raise ValueError(f"feature {item['name']!r} has type {kind!r}, one of {', '.join(TYPES)} expected")
    name, nullable = item["name"], item["nullable"]
    for key in ("categories", "terms"):
        if not isinstance(item.get(key, []), list):
            raise ValueError(f"{key} of feature {name!r} are not a list")
    more: dict[str, Any] = {"values": item.get("values", POLICIES[0]), "text": item.get("text", "")}
    more["entry"] = entries.get(name, NO_ENTRY)
    if kind == "string":
        most_frequent = item["most_frequent"]
        return Feature(name, kind, nullable, tuple(item["categories"]), most_frequent=most_frequent, **more)
    if kind == "text":
        return Feature(name, kind, nullable, terms=tuple(item["terms"]), **more)
    if kind in DATE_TYPES:
        seconds = [seconds_in(item[key]) for key in ("minimum", "maximum", "median")]
        if None in seconds:
            raise ValueError(f"feature {name!r} has a range that is not one of dates")
        low, high, median = (float(second or 0) for second in seconds)
        return Feature(name, kind, nullable, minimum=low, maximum=high, median=median, **more)
    low, high, median = (float(item[key]) for key in ("minimum", "maximum", "median"))
    return Feature(name, kind, nullable, minimum=low, maximum=high, median=median, **more)
