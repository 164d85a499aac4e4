"""One log of what happened to a model's versions: from events, runs, reports, tags and tombstones.

Events name who and when. What older releases did left no events: their trainings and comparisons are runs,
their last comparison and where they are deployed are tags. Nothing is told twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.entities.model_registry import ModelVersion
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE, MLFLOW_USER

from proto_model.errors import RegistryError
from proto_model.registry.catalog.listing import moment
from proto_model.registry.catalog.naming import Named, named_version, registered_model
from proto_model.registry.catalog.runs import experiments_of, runs_of
from proto_model.registry.catalog.tombstones import Tombstone, tombstones_of
from proto_model.registry.deployed import TAG as DEPLOYED
from proto_model.registry.events import Event, events_of
from proto_model.registry.promotion.history import HISTORY_TAG, VERDICT_TAG
from proto_model.registry.promotion.journal import pending_move
from proto_model.registry.publishing.tags import PUBLISHED_AT, PUBLISHED_BY
from proto_model.registry.versions import versions_of

_COMPARISON_TAGS = ("comparison_run_id", "promotion_run_id")
_VERDICTS = {
    "promoted": "promoted",
    "kept": "compared",
    "not_enough_rows": "compared",
    "not_compared": "compared",
}
_TITLES = (
    re.compile(r"# (?P<model>.+): version (?P<version>\d+) (?:against version (?P<other>\d+)|as the first)"),
    re.compile(r"compare (?P<model>.+) (?P<version>\d+) with (?:(?P<other>\d+)|nothing)"),
)


@dataclass(frozen=True)
class Entry:
    """Something that happened; `at` and `by` are None where nobody noted them."""

    at: datetime | None
    kind: str
    version: str | None
    by: str | None
    what: str
    run_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "at": None if self.at is None else self.at.isoformat(timespec="seconds"),
            "event": self.kind,
            "version": None if self.version is None else int(self.version),
            "by": self.by,
            "what": self.what,
            "run_id": self.run_id,
        }


def history(client: MlflowClient, named: Named) -> list[Entry]:
    """Log of a model, or of the version that is named, the newest entry last; undated ones come first."""
    model = registered_model(client, named.model)
    wanted = named.version
    if named.alias is not None:
        one = named_version(client, named)
        wanted = str(one.version)
    versions = list(versions_of(client, named.model))
    stones = list(tombstones_of(model.tags, {str(version.version) for version in versions}).values())
    if wanted is not None:
        versions = [version for version in versions if str(version.version) == wanted]
        stones = [stone for stone in stones if stone.version == wanted]
        if not versions and not stones:
            named_version(client, named)  # says why there is none
    runs = runs_of(
        client,
        [
            *(version.run_id for version in versions),
            *(stone.run_id for stone in stones),
            *(version.tags.get(tag) for version in versions for tag in _COMPARISON_TAGS),
        ],
    )
    entries = [entry for version in versions for entry in _of_version(version, runs)]
    entries += [entry for stone in stones for entry in _of_tombstone(stone, runs)]
    entries += _of_comparisons(client, named.model, wanted, runs, entries)
    entries += _of_tags(versions, entries)
    entries += _of_champions(model.tags, wanted, entries)
    entries += _unfinished(client, named.model, wanted)
    first = datetime.min.replace(tzinfo=UTC)
    return sorted(entries, key=lambda entry: entry.at or first)


def _of_version(version: ModelVersion, runs: Mapping[str, Run]) -> Iterator[Entry]:
    """Training and events of a version."""
    number = str(version.version)
    variant = version.tags.get("variant", "")
    yield _begun(number, variant, version.run_id, moment(version.creation_timestamp), runs)
    events = events_of(version.tags)
    yield from (_of_event(event, number) for event in events)
    published = version.tags.get(PUBLISHED_AT)
    if published and "published" not in {event.kind for event in events}:
        yield Entry(_time(published), "published", number, version.tags.get(PUBLISHED_BY), "")
    told = {event.what.partition(":")[0] for event in events if event.kind == "deployed"}
    for key, image in sorted(version.tags.items()):
        environment = key.removeprefix(DEPLOYED)
        if key.startswith(DEPLOYED) and image and f"to {environment}" not in told:
            yield Entry(None, "deployed", number, None, f"to {environment}: {image}")


def _of_tombstone(stone: Tombstone, runs: Mapping[str, Run]) -> Iterator[Entry]:
    yield _begun(stone.version, stone.variant or "", stone.run_id, _time(stone.created), runs)
    for at, kind, by, what in stone.events:
        yield Entry(_time(at), kind, stone.version, by or None, what)
    yield Entry(_time(stone.at), "deleted", stone.version, stone.by or None, stone.reason)


def _begun(
    number: str, variant: str, run_id: str | None, created: datetime | None, runs: Mapping[str, Run]
) -> Entry:
    """Training of a version; its registration, if the run that logged it is gone."""
    run = runs.get(run_id or "")
    if run is None:
        return Entry(created, "registered", number, None, variant, run_id)
    return Entry(moment(run.info.start_time), "trained", number, _user(run), variant, run_id)


def _of_event(event: Event, number: str) -> Entry:
    return Entry(event.at, event.kind, number, event.by or None, event.what, event.run_id)


def _of_comparisons(
    client: MlflowClient,
    model: str,
    wanted: str | None,
    known: Mapping[str, Run],
    entries: Iterable[Entry],
) -> list[Entry]:
    """Comparisons that are runs, and that no event tells of."""
    told = {entry.run_id for entry in entries}
    runs = {run_id: run for run_id, run in known.items() if VERDICT_TAG in run.data.tags}
    experiments, token = experiments_of(known.values()) or ["0"], None
    while True:
        page = client.search_runs(
            experiments, f"tags.{VERDICT_TAG} LIKE '%'", ViewType.ALL, 1000, page_token=token
        )
        runs |= {run.info.run_id: run for run in page}
        token = page.token
        if not token:
            break
    found = []
    for run_id, run in runs.items():
        title = _title(run)
        if run_id in told or title is None or title["model"] != model:
            continue
        if wanted is not None and wanted not in (title["version"], title["other"]):
            continue
        verdict = run.data.tags[VERDICT_TAG]
        against = f"against version {title['other']}" if title["other"] else "as the first champion"
        what = against if verdict == "promoted" else f"{against}: {verdict.replace('_', ' ')}"
        kind = _VERDICTS.get(verdict, "compared")
        at = moment(run.info.start_time)
        found.append(Entry(at, kind, title["version"], _user(run), what, run_id))
    return found


def _title(run: Run) -> re.Match[str] | None:
    """Which versions a comparison was about: its report begins with that, or else the run's name says so."""
    places = (run.data.tags.get(MLFLOW_RUN_NOTE, ""), run.data.tags.get(MLFLOW_RUN_NAME) or run.info.run_name)
    matches = (pattern.match(place or "") for pattern, place in zip(_TITLES, places, strict=True))
    return next((match for match in matches if match is not None), None)


def _of_tags(versions: Iterable[ModelVersion], entries: Iterable[Entry]) -> list[Entry]:
    """The last comparison or rollback of a version, if its run is gone and it left no event."""
    told = {(entry.version, entry.kind) for entry in entries}
    found = []
    for version in versions:
        number, tags = str(version.version), version.tags
        verdict = tags.get(VERDICT_TAG, "")
        kind = "rolled_back" if verdict == "restored" else _VERDICTS.get(verdict)
        if kind is None or (number, kind) in told:
            continue
        other = tags.get("comparison_opponent")
        what = "champion again" if kind == "rolled_back" else verdict.replace("_", " ")
        what += f" against version {other}" if other and kind != "rolled_back" else ""
        found.append(Entry(_time(tags.get("comparison_at")), kind, number, None, what))
    return found


def _of_champions(tags: Mapping[str, str], wanted: str | None, entries: Iterable[Entry]) -> list[Entry]:
    """Champions of whose promotion nothing else tells."""
    try:
        content = json.loads(tags.get(HISTORY_TAG, "{}"))
        champions = [*map(str, content.get("replaced", ())), str(content.get("champion") or "")]
    except (ValueError, TypeError, AttributeError, RecursionError):
        return []
    told = {entry.version for entry in entries if entry.kind in ("promoted", "rolled_back")}
    missing = [number for number in dict.fromkeys(champions) if number.isdecimal() and number not in told]
    return [
        Entry(None, "promoted", number, None, "became champion; nobody noted when")
        for number in missing
        if wanted in (None, number)
    ]


def _unfinished(client: MlflowClient, model: str, wanted: str | None) -> list[Entry]:
    """A promotion or rollback that was begun and not finished."""
    try:
        move = pending_move(client, model)
    except RegistryError as error:
        return [Entry(None, "interrupted", None, None, str(error))]
    if move is None or wanted not in (None, move.after.champion, move.before.champion):
        return []
    return [Entry(None, "interrupted", move.after.champion, None, f"was to {move.doing}; not finished")]


def _user(run: Run) -> str | None:
    name = run.data.tags.get(MLFLOW_USER) or run.info.user_id
    return None if name in ("", "unknown", None) else str(name)


def _time(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
