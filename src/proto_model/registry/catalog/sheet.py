"""All that is known of one version, or of one that was deleted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient

from proto_model.registry.catalog.editing import run_hyperparameters
from proto_model.registry.catalog.listing import Line, other_tags, with_metrics
from proto_model.registry.catalog.naming import Named, aliases_of, named_version, registered_model
from proto_model.registry.catalog.tombstones import Tombstone
from proto_model.registry.cautions import version_cautions
from proto_model.registry.events import Event, events_of
from proto_model.registry.format_records import formats_of
from proto_model.registry.publishing.tags import PUBLISHED_BY
from proto_model.registry.versions import visible
from proto_model.table.caution import Caution


@dataclass(frozen=True)
class Sheet:
    """A version: its line, what the registry says besides, and what it was trained with.

    `from_run` says that the hyperparameters are those of the run, since nobody said others.
    """

    line: Line
    status: str
    source: str
    trained_by: str | None
    hyperparameters: Mapping[str, Any]
    from_run: bool
    cautions: tuple[Caution, ...]
    events: tuple[Event, ...]

    @property
    def uri(self) -> str:
        """URI of this version and no other."""
        return f"models:/{self.line.model}/{self.line.version}"

    def to_dict(self) -> dict[str, Any]:
        """JSON object."""
        line = self.line
        return line.to_dict() | {
            "uri": self.uri,
            "published_by": line.tags.get(PUBLISHED_BY),
            "config": dict(line.details.config),
            "hyperparameters": dict(self.hyperparameters),
            "hyperparameters_from": "run" if self.from_run else "version",
            "records": list(line.details.records),
            "trained_by": self.trained_by,
            "status": self.status,
            "source": self.source,
            "cautions": [
                {"kind": one.kind, "columns": list(one.columns), "text": one.text} for one in self.cautions
            ],
            "formats": [record.to_dict() for record in formats_of(line.tags)],
            "tags": other_tags(line.tags),
        }


def read_sheet(client: MlflowClient, named: Named) -> Sheet | Tombstone:
    """What is known of the version that is named, or of the newest one of a model.

    A RegistryError says that there is none and never was.
    """
    version = named_version(client, named)
    if isinstance(version, Tombstone):
        return version
    own = aliases_of(registered_model(client, named.model), version)
    (line,) = with_metrics(client, [Line.of(version, own)])
    stated = line.details.hyperparameters
    run = visible(client.get_run, line.run_id) if line.run_id else None
    return Sheet(
        line=line,
        status=str(version.status),
        source=version.source or "",
        trained_by=None if run is None else run.data.tags.get("mlflow.user"),
        hyperparameters=run_hyperparameters(client, line.run_id) if stated is None else stated,
        from_run=stated is None,
        cautions=version_cautions(version),
        events=tuple(events_of(version.tags)),
    )


def metric_rows(metrics: Mapping[str, float]) -> list[tuple[str, float, float | None, float | None]]:
    """Metrics with the ends of their intervals, without those ends as metrics of their own."""
    rows = []
    for name, value in sorted(metrics.items()):
        base, _, of_class = name.partition("/")
        if base.endswith(("_low", "_high")) and base.rpartition("_")[0] in {
            key.partition("/")[0] for key in metrics
        }:
            continue
        suffix = f"/{of_class}" if of_class else ""
        low, high = (metrics.get(f"{base}{end}{suffix}", math.nan) for end in ("_low", "_high"))
        rows.append((name, value, None if math.isnan(low) else low, None if math.isnan(high) else high))
    return rows
