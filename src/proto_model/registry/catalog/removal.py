"""Deletion of versions: what speaks against it, what stays known of them, and what stays in MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from proto_model.errors import ArtifactError, RegistryError
from proto_model.model.digests import DIGESTS_FILE, read_digests
from proto_model.registry.catalog.listing import Line, moment
from proto_model.registry.catalog.naming import aliases_of, living_version, registered_model
from proto_model.registry.catalog.tombstones import Tombstone
from proto_model.registry.details import Details
from proto_model.registry.events import current_user, events_of
from proto_model.registry.model_folder import BUNDLE
from proto_model.registry.patience import patient
from proto_model.registry.promotion.journal import explainer_versions
from proto_model.registry.promotion.moves import turn
from proto_model.registry.publishing.tags import MANIFEST_SHA256, PUBLISHED_AT, is_published
from proto_model.registry.refusals import NotAllowedError
from proto_model.registry.versions import explainer_name, logged_model_id, versions_of, visible


@dataclass(frozen=True)
class Removal:
    """A version that is to be deleted, its explainers, and what speaks against it, one phrase each."""

    model: str
    version: str
    explainers: tuple[str, ...]
    obstacles: tuple[str, ...]
    run_id: str | None = None
    model_id: str | None = None

    @property
    def left(self) -> str:
        """What a deletion leaves in MLflow, in a sentence."""
        kept = [f"run {self.run_id}"] if self.run_id else []
        kept += [f"the logged model {self.model_id}"] if self.model_id else []
        if not kept:
            return "Its files stay where they are."
        return f"Left in MLflow: {' and '.join(kept)}, with all files."

    def to_dict(self) -> dict[str, Any]:
        """JSON object."""
        content = asdict(self)
        return content | {"version": int(self.version), "explainers": list(map(int, self.explainers))}


def planned_removal(client: MlflowClient, text: str) -> Removal:
    """What the deletion of the version that a text names would do; an error says that there is none."""
    client = patient(client)
    version = living_version(client, text)
    own = aliases_of(registered_model(client, version.name), version)
    explainers = _explainers(client, version)
    obstacles = list(_obstacles(Line.of(version, own)))
    for twin in explainers:
        twin_name = explainer_name(version.name)
        tags = client.get_model_version(twin_name, twin).tags
        obstacles += [f"its explainer {twin} is published"] if tags.get(PUBLISHED_AT) else []
    return Removal(
        model=version.name,
        version=str(version.version),
        explainers=tuple(explainers),
        obstacles=tuple(obstacles),
        run_id=version.run_id or None,
        model_id=logged_model_id(version.source),
    )


def check_removable(plan: Removal, *, force: bool) -> None:
    """Raise RegistryError if something speaks against a deletion that is not forced."""
    if plan.obstacles and not force:
        raise RegistryError(
            f"Version {plan.version} of {plan.model!r} {' and '.join(plan.obstacles)}, so it stays. "
            "Give --force to delete it anyway."
        )


def delete_version(
    client: MlflowClient, text: str, *, reason: str = "", force: bool = False
) -> tuple[Removal, Tombstone]:
    """Delete a version and its explainers, and leave a tombstone; its number is never used again.

    A RegistryError says that it has an alias, is published or deployed, which `force` overrules.
    """
    client = patient(client)
    first = planned_removal(client, text)  # an alias may move on meanwhile
    check_removable(first, force=force)
    with turn(client, first.model, f"delete version {first.version}"):
        plan = planned_removal(client, f"{first.model}/{first.version}")
        check_removable(plan, force=force)
        version = client.get_model_version(plan.model, plan.version)
        twin_name = explainer_name(plan.model)
        for twin in plan.explainers:
            explainer = client.get_model_version(twin_name, twin)
            _bury(client, explainer, reason or f"version {plan.version} of {plan.model} was deleted", ())
        stone = _bury(client, version, reason, plan.explainers)
    return plan, stone


def prunable(client: MlflowClient, name: str, keep: int) -> tuple[list[Removal], list[Line]]:
    """What pruning to the newest `keep` versions removes, oldest first, and older ones that it spares."""
    client = patient(client)
    model = registered_model(client, name)
    doomed, spared = [], []
    for version in list(versions_of(client, name))[keep:]:
        line = Line.of(version, aliases_of(model, version))
        if any(_obstacles(line)):
            spared.append(line)
        else:
            number = str(version.version)
            doomed.append(
                Removal(name, number, (), (), version.run_id or None, logged_model_id(version.source))
            )
    return doomed[::-1], spared


def prune(
    client: MlflowClient,
    removals: Sequence[Removal],
    *,
    reason: str,
    advance: Callable[[str], None] = lambda version: None,
) -> tuple[list[str], dict[str, str]]:
    """Delete versions, each if it still may be: those that went, and why others stayed."""
    done, stayed = [], {}
    for removal in removals:
        try:
            delete_version(client, f"{removal.model}/{removal.version}", reason=reason)
        except NotAllowedError:  # nor are the others
            raise
        except RegistryError as error:
            stayed[removal.version] = str(error)
        else:
            done.append(removal.version)
        advance(removal.version)
    return done, stayed


def model_digest(client: MlflowClient, version: ModelVersion) -> str | None:
    """SHA-256 that says which model a version was: of the manifest of a published one, else of its bundle.

    None if its files are gone, and of versions up to 0.3.0, whose bundles hold no digest.
    """
    if is_published(version):
        return version.tags.get(MANIFEST_SHA256)
    uri = client.get_model_version_download_uri(version.name, str(version.version))
    try:
        with tempfile.TemporaryDirectory(prefix="proto_model_") as folder:
            place = f"{uri}/{(BUNDLE / DIGESTS_FILE).as_posix()}"
            return read_digests(Path(mlflow.artifacts.download_artifacts(place, dst_path=folder)))[1]
    except (MlflowException, ArtifactError, OSError):
        return None


def _obstacles(line: Line) -> Iterator[str]:
    if line.aliases:
        yield f"has the {'alias' if len(line.aliases) == 1 else 'aliases'} {', '.join(line.aliases)}"
    if line.published:
        yield "is published"
    if line.deployed:
        yield f"is deployed in {', '.join(line.deployed)}"


def _explainers(client: MlflowClient, version: ModelVersion) -> list[str]:
    """Versions of the registered explainer that explain a version."""
    name = explainer_name(version.name)
    if visible(client.get_registered_model, name) is None:
        return []
    return explainer_versions(client, name, str(version.version))


def _bury(client: MlflowClient, version: ModelVersion, reason: str, explainers: tuple[str, ...]) -> Tombstone:
    """Write a version's tombstone, and delete it."""
    number, details = str(version.version), Details.of(version.description, version.tags)
    stone = Tombstone(
        version=number,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        by=current_user(),
        reason=reason,
        run_id=version.run_id or None,
        model_id=logged_model_id(version.source),
        digest=model_digest(client, version),
        variant=version.tags.get("variant"),
        description=details.description,
        labels=details.labels,
        aliases=aliases_of(registered_model(client, version.name), version),
        created=moment(version.creation_timestamp).isoformat(timespec="milliseconds"),
        published_at=version.tags.get(PUBLISHED_AT),
        explainers=explainers,
        events=tuple(
            (event.at.isoformat(timespec="milliseconds"), event.kind, event.by, event.what)
            for event in events_of(version.tags)
        ),
    )
    client.set_registered_model_tag(version.name, stone.key, stone.to_tag())
    try:
        client.delete_model_version(version.name, number)
    except (MlflowException, NotAllowedError):
        client.delete_registered_model_tag(version.name, stone.key)  # somebody else may delete it later
        raise
    return stone
