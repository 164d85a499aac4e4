"""What is known of a packaged version beside its files: `artifacts/version.json`.

It holds no address of a registry, no id of a run, no place on a disk and no time but those of the version.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from proto_model.deployment.package.errors import PackageError
from proto_model.deployment.package.layout import VERSION
from proto_model.registry.publishing.findings import PublicationError
from proto_model.registry.publishing.manifest import read_json
from proto_model.registry.publishing.tags import TAGS, is_open

FORMAT = "proto_model.package"
FORMAT_VERSION = 1
IMPORTED = "imported_from"
"""Tag of a version that came in a package, about where that was made."""

# Of a run and a split that are elsewhere.
_OF_A_REGISTRY = (*TAGS, IMPORTED, "split_run_id", "explained_model", "explained_version")
_KEY = 250  # characters of a tag's or a metric's name that MLflow keeps


@dataclass(frozen=True)
class Happened:
    """An entry of a version's history; `at` is a time in ISO 8601, or empty where nobody noted it."""

    at: str
    kind: str
    by: str
    what: str


@dataclass(frozen=True)
class VersionFacts:
    """A version as its registry describes it; `version` is empty for a folder that is in none.

    `params` are the hyperparameters of the run, `hyperparameters` those that are said of the version.
    """

    model: str
    version: str = ""
    created: str = ""
    author: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float | str] = field(default_factory=dict)
    data_sets: tuple[Mapping[str, str], ...] = ()
    events: tuple[Happened, ...] = ()

    @property
    def title(self) -> str:
        """Name and number."""
        return f"{self.model} {self.version}".strip()

    def to_bytes(self) -> bytes:
        """JSON; the same facts give the same bytes."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        return (
            json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        ).encode()

    @classmethod
    def of_bytes(cls, content: bytes) -> VersionFacts:
        """Facts of their JSON, which may be anybody's; a PackageError says what is wrong with it."""
        try:
            read = read_json(content, VERSION)
        except PublicationError as error:
            raise PackageError(str(error)) from error
        if (read.pop("format", None), read.pop("format_version", None)) != (FORMAT, FORMAT_VERSION):
            raise PackageError(f"{VERSION} is of another format. Use the release that made the package.")
        unknown = sorted(read.keys() - {one.name for one in fields(cls)})
        if unknown:
            raise PackageError(f"{VERSION} holds {unknown[0]!r}, which does not belong there.")
        for name, value in read.items():
            if not _CHECKS[name](value):
                raise PackageError(f"{VERSION}: {name!r} is not as packages have it.")
        lists = {"data_sets": tuple(read.get("data_sets", ()))}
        lists["events"] = tuple(Happened(**one) for one in read.get("events", ()))
        try:
            return cls(**{**read, **lists})
        except TypeError as error:
            raise PackageError(f"{VERSION} is incomplete.") from error


def is_kept(key: str) -> bool:
    """Whether a tag goes along with its version: it says what the version is, not what became of it there.

    Examples
    --------
    >>> is_kept("variant"), is_kept("deployed_staging"), is_kept("published_at"), is_kept("mlflow.source")
    (True, False, False, False)
    """
    return not (is_open(key) or key in _OF_A_REGISTRY or key.startswith("mlflow."))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_time(value: object) -> bool:
    try:
        return value == "" or (isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None)
    except ValueError:
        return False


def _is_number(value: object) -> bool:
    """Whether it is a number, or a text of one that JSON cannot have."""
    if isinstance(value, str):
        return value in ("nan", "inf", "-inf")
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _mapping(is_value: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict) and all(0 < len(key) <= _KEY and is_value(one) for key, one in value.items())
    )


def _is_plain(value: object) -> bool:
    return True


def _are_tags(value: object) -> bool:
    return _mapping(_is_text)(value) and isinstance(value, dict) and all(map(is_kept, value))


def _are_data_sets(value: object) -> bool:
    return isinstance(value, list) and all(map(_mapping(_is_text), value))


def _are_events(value: object) -> bool:
    names = {one.name for one in fields(Happened)}
    return isinstance(value, list) and all(
        isinstance(one, dict)
        and one.keys() == names
        and all(map(_is_text, one.values()))
        and _is_time(one["at"])
        and one["kind"].replace("_", "").isalnum()
        for one in value
    )


_CHECKS: Mapping[str, Callable[[object], bool]] = {
    "model": lambda value: _is_text(value) and bool(value),
    "version": _is_text,
    "created": _is_time,
    "author": _is_text,
    "description": _is_text,
    "tags": _are_tags,
    "hyperparameters": _mapping(_is_plain),
    "params": _mapping(_is_plain),
    "metrics": _mapping(_is_number),
    "data_sets": _are_data_sets,
    "events": _are_events,
}
