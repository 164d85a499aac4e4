"""What a user says of a version: labels, config, hyperparameters and records, each in one tag.

| tag               | holds                                                                   |
|-------------------|-------------------------------------------------------------------------|
| `labels`          | JSON list of texts, sorted                                              |
| `config`          | JSON object                                                             |
| `hyperparameters` | JSON object; without it, those of the run that trained the version count |
| `records`         | JSON list of the data sets it was trained on: URIs or paths             |

The description is MLflow's own field.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proto_model.errors import InputError, listed
from proto_model.registry.tag_values import MAX_TAG_CHARACTERS, of_tag_value
from proto_model.registry.tracking import shown_url

LABELS, CONFIG, HYPERPARAMETERS, RECORDS = "labels", "config", "hyperparameters", "records"
DETAIL_TAGS = (LABELS, CONFIG, HYPERPARAMETERS, RECORDS)

MAX_LABEL_CHARACTERS = 32


@dataclass(frozen=True)
class Details:
    """What a user says of a version; `hyperparameters` is None where nobody said anything."""

    description: str = ""
    labels: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] | None = None
    records: tuple[str, ...] = ()

    @classmethod
    def of(cls, description: str | None, tags: Mapping[str, str]) -> Details:
        """As the tags of a version have it; what they do not hold in this form is left out."""
        return cls(
            description=description or "",
            labels=tuple(map(str, of_tag_value(tags.get(LABELS), list) or ())),
            config=of_tag_value(tags.get(CONFIG), dict) or {},
            hyperparameters=of_tag_value(tags.get(HYPERPARAMETERS), dict),
            records=tuple(shown_record(str(item)) for item in of_tag_value(tags.get(RECORDS), list) or ()),
        )

    def to_tags(self) -> dict[str, str | None]:
        """Values of the four tags, None for one to leave out; an InputError names one that is too long."""
        values: dict[str, Any] = {
            LABELS: sorted(self.labels) or None,
            CONFIG: dict(self.config) or None,
            HYPERPARAMETERS: None if self.hyperparameters is None else dict(self.hyperparameters),
            RECORDS: list(self.records) or None,
        }
        return {name: None if value is None else _tag(name, value) for name, value in values.items()}


def checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels, trimmed and sorted; an InputError names one that is none, or is there twice.

    Examples
    --------
    >>> checked_labels(["q3", " eu "])
    ('eu', 'q3')
    """
    trimmed = [label.strip() for label in _texts("Labels", labels)]
    for label in trimmed:
        if not label:
            raise InputError("An empty label given. Leave it out.")
        if len(label) > MAX_LABEL_CHARACTERS:
            raise InputError(
                f"Label {label[:60]!r} has {len(label)} characters, and at most {MAX_LABEL_CHARACTERS} "
                "are allowed."
            )
        if _has_control(label):
            raise InputError(f"Label {label!r} holds a control character. Leave that out.")
    twice = sorted({label for label in trimmed if trimmed.count(label) > 1})
    if twice:
        raise InputError(f"Labels given twice: {listed(twice)}. Give each once.")
    return tuple(sorted(trimmed))


def checked_object(name: str, value: object) -> dict[str, Any]:
    """A JSON object as `config` or `hyperparameters`; an InputError says why it is none."""
    if not isinstance(value, Mapping):
        raise InputError(f"{name}: {_kind(value)} given, an object of names and values expected.")
    for key in value:
        if not isinstance(key, str) or not key.strip():
            raise InputError(f"{name}: {key!r} is no name. Names are texts that are not empty.")
    budget = [MAX_TAG_CHARACTERS]
    try:
        plain = {key: _plain(f"{name}: {key!r}", item, budget) for key, item in value.items()}
    except RecursionError as error:
        raise InputError(f"{name} holds lists or objects that are nested too deeply.") from error
    _tag(name, plain)
    return plain


def checked_records(records: Sequence[str]) -> tuple[str, ...]:
    """URIs or paths of data sets, each once, without query and credentials, which may be secret."""
    shown = []
    for record in _texts("Records", records):
        text = record.strip()
        if not text or _has_control(text):
            raise InputError(f"Record {record!r} is no URI and no path.")
        shown.append(shown_record(text))
    kept = tuple(dict.fromkeys(shown))
    _tag(RECORDS, list(kept))
    return kept


def shown_record(record: str) -> str:
    """A data set's URI without user, password, query and fragment; a path as it is.

    Examples
    --------
    >>> shown_record("https://me:secret@lake.example/2026-10.parquet?signature=secret")
    'https://lake.example/2026-10.parquet'
    >>> shown_record("s3://lake/2026-10.parquet"), shown_record("data/a?b.csv")
    ('s3://lake/2026-10.parquet', 'data/a?b.csv')
    """
    return shown_url(record) if "://" in record else record


def changes(before: Details, after: Details) -> dict[str, dict[str, Any]]:
    """What differs between two states, by name, as `{"before": ..., "after": ...}`."""
    names = ("description", LABELS, CONFIG, HYPERPARAMETERS, RECORDS)
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in names}
    return {
        name: {"before": _jsonable(old), "after": _jsonable(new)}
        for name, (old, new) in pairs.items()
        if old != new
    }


def _texts(what: str, values: Sequence[str]) -> Sequence[str]:
    """The same; an InputError says that they are one text, or a mapping, of which Python would make many."""
    if isinstance(values, str | Mapping) or not all(isinstance(value, str) for value in values):
        raise InputError(f"{what}: {values!r:.80} given, a list of texts expected.")
    return values


def _has_control(text: str) -> bool:
    return any(unicodedata.category(character).startswith("C") for character in text)


def _jsonable(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def _tag(name: str, value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if len(text) > MAX_TAG_CHARACTERS:
        raise InputError(
            f"{name} takes {len(text):,} characters as JSON, and MLflow keeps {MAX_TAG_CHARACTERS:,} of "
            "a tag. Shorten it, or put it into a file and give its place in config."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name} holds half a character: {text[error.start]!r}. Leave that out.") from error
    return text


def _plain(where: str, value: object, budget: list[int]) -> Any:
    """A value as JSON has it; YAML has dates and other things besides, NumPy numbers of its own.

    `budget` is how many values may follow, for YAML can say a few of them a billion times.
    """
    budget[0] -= 1
    if budget[0] < 0:
        raise InputError(f"{where} holds more values than MLflow keeps characters of a tag.")
    if isinstance(value, Mapping):
        return {str(key): _plain(where, item, budget) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(where, item, budget) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} is {value}, which JSON does not know.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise InputError(f"{where} is a {type(value).__name__}, and JSON has no such value.")


def _kind(value: object) -> str:
    names = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "a truth value"}
    return names.get(type(value), "nothing" if value is None else f"a {type(value).__name__}")
