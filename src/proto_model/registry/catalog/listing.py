"""The versions of a model, or of all models, as lines to sort and search."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from proto_model.errors import InputError
from proto_model.registry.catalog.naming import Named, named_version, registered_model
from proto_model.registry.catalog.runs import runs_of
from proto_model.registry.catalog.tombstones import PREFIX, Tombstone, tombstones_of
from proto_model.registry.deployed import TAG as DEPLOYED
from proto_model.registry.details import DETAIL_TAGS, Details
from proto_model.registry.events import is_event
from proto_model.registry.format_records import PREFIX as FORMAT
from proto_model.registry.publishing.tags import PUBLISHED_AT, PUBLISHED_BY
from proto_model.registry.versions import versions_of
from proto_model.statistics.measures import LOWER_IS_BETTER

SORTS = ("version", "created", "name")
SHOWN_METRICS = ("balanced_accuracy", "log_loss")


@dataclass(frozen=True)
class Line:
    """One version. `metrics` are those of its run on the test rows, without `test_` before their names."""

    model: str
    version: str
    created: datetime
    aliases: tuple[str, ...]
    details: Details
    tags: Mapping[str, str]
    run_id: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, version: ModelVersion, aliases: Sequence[str]) -> Line:
        """Line of a version, whose metrics are not known yet."""
        return cls(
            model=version.name,
            version=str(version.version),
            created=moment(version.creation_timestamp),
            aliases=tuple(sorted(aliases)),
            details=Details.of(version.description, version.tags),
            tags=dict(version.tags),
            run_id=version.run_id or None,
        )

    @property
    def variant(self) -> str:
        """Kind of forest; empty if the version does not say."""
        return self.tags.get("variant", "")

    @property
    def published(self) -> str:
        """When it was published; empty if it is not."""
        return self.tags.get(PUBLISHED_AT, "")

    @property
    def deployed(self) -> dict[str, str]:
        """Image by environment that it runs in."""
        return {
            key.removeprefix(DEPLOYED): value
            for key, value in sorted(self.tags.items())
            if key.startswith(DEPLOYED) and value
        }

    def matches(self, text: str) -> bool:
        """Whether a text is in the description, the labels, the aliases, the variant or another tag."""
        tags = (f"{key}={value}" for key, value in self.tags.items() if not is_event(key))
        places = (self.details.description, *self.details.labels, *self.aliases, *tags)
        return any(text.casefold() in place.casefold() for place in places)

    def to_dict(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "name": self.model,
            "version": int(self.version),
            "aliases": list(self.aliases),
            "variant": self.variant or None,
            "metrics": {
                name: value if math.isfinite(value) else None for name, value in self.metrics.items()
            },
            "created": self.created.isoformat(timespec="seconds"),
            "published": self.published or None,
            "deployed": self.deployed,
            "labels": list(self.details.labels),
            "description": self.details.description,
            "run_id": self.run_id,
        }


def moment(milliseconds: int) -> datetime:
    """Time that MLflow notes in milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def read_lines(client: MlflowClient, named: Named | None) -> list[Line]:
    """Versions of a model, or the one that is named, or for None those of all models; newest first."""
    if named is None:
        aliases: dict[tuple[str, str], list[str]] = {}
        token = None
        while True:
            page = client.search_registered_models(max_results=1000, page_token=token)
            for model in page:
                for alias, number in model.aliases.items():
                    aliases.setdefault((model.name, str(number)), []).append(alias)
            token = page.token
            if not token:
                break
        versions = list(versions_of(client, None))
    else:
        model = registered_model(client, named.model)
        aliases = {}
        for alias, number in model.aliases.items():
            aliases.setdefault((named.model, str(number)), []).append(alias)
        if named.is_version:
            one = named_version(client, named)
            versions = [] if isinstance(one, Tombstone) else [one]
        else:
            versions = list(versions_of(client, named.model))
    return [Line.of(version, aliases.get((version.name, str(version.version)), ())) for version in versions]


def read_tombstones(client: MlflowClient, named: Named) -> list[Tombstone]:
    """What is left of the deleted versions of a model, or of the one that is named; newest first."""
    tags = registered_model(client, named.model).tags
    living: set[str] = set()
    if any(key.startswith(PREFIX) for key in tags):
        living = {str(version.version) for version in versions_of(client, named.model)}
    stones = tombstones_of(tags, living).values()
    wanted = [stone for stone in stones if named.version in (None, stone.version) and not named.alias]
    return sorted(wanted, key=lambda stone: -int(stone.version))


def with_metrics(client: MlflowClient, lines: Sequence[Line]) -> list[Line]:
    """The same with the metrics of their runs; a run that is gone leaves those that the tags have."""
    runs = runs_of(client, (line.run_id for line in lines))
    filled = []
    for line in lines:
        run = runs.get(line.run_id or "")
        measured = line.tags if run is None else run.data.metrics
        metrics = {
            name.removeprefix("test_"): number
            for name, value in measured.items()
            if name.startswith("test_") and (number := _number(value)) is not None
        }
        filled.append(replace(line, metrics=metrics))
    return filled


def matching(lines: Sequence[Line], text: str) -> list[Line]:
    """Lines that a text is found in; all of them for an empty one."""
    return [line for line in lines if not text or line.matches(text)]


def sorted_lines(lines: Sequence[Line], by: str, *, reverse: bool = False) -> list[Line]:
    """Lines by `SORTS` or by a metric: newest or best first, names from a to z; `reverse` turns that round.

    Those without the metric come last. An InputError says that no line has it.
    """
    key: Callable[[Line], Any]
    if by not in SORTS:
        name = by.removeprefix("test_")
        known = [line for line in lines if not math.isnan(line.metrics.get(name, math.nan))]
        if lines and not known:
            names = sorted({name for line in lines for name in line.metrics if "/" not in name})
            there = f", or by {', '.join(names)}" if names else ""
            raise InputError(f"No version has the metric {by!r}. Sort by {', '.join(SORTS)}{there}.")
        lower = (name in LOWER_IS_BETTER) != reverse
        known.sort(
            key=lambda line: (line.metrics[name] * (1 if lower else -1), line.model, -int(line.version))
        )
        return known + [line for line in lines if math.isnan(line.metrics.get(name, math.nan))]
    if by == "version":
        key = lambda line: (-int(line.version), line.model)  # noqa: E731
    elif by == "created":
        key = lambda line: (-line.created.timestamp(), -int(line.version))  # noqa: E731
    else:
        key = lambda line: (line.model, -int(line.version))  # noqa: E731
    return sorted(lines, key=key, reverse=reverse)


def other_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags of a version that are not shown elsewhere."""
    shown = (*DETAIL_TAGS, "variant", PUBLISHED_AT, PUBLISHED_BY)
    return {
        key: value
        for key, value in sorted(tags.items())
        if value and key not in shown and not is_event(key) and not key.startswith((DEPLOYED, FORMAT))
    }


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None
