"""What a registry knows of a version that is to be packaged, and the files about it that its run keeps."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto_model.deployment.package.errors import PackageError
from proto_model.deployment.package.facts import Happened, VersionFacts, is_kept
from proto_model.deployment.package.layout import CARD, PROVENANCE, PUBLICATION
from proto_model.errors import ArtifactError
from proto_model.registry.model_folder import BUNDLE, local_folder
from proto_model.registry.publishing import Publication, Trust, trusted
from proto_model.registry.publishing.files import REGISTERED, copied
from proto_model.registry.publishing.publish import PROVENANCE_SIGNATURE
from proto_model.registry.publishing.verdict import MANIFEST, SIGNATURE
from proto_model.schema import ModelSchema

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_CARD = "model_card.md"
_PLACE = re.compile(rb"`/(?:[^`\n/]*/)*([^`\n/]+)`")  # a table's path in the card, of which the name is kept
_PUBLICATION = (MANIFEST, SIGNATURE, PROVENANCE_SIGNATURE)
_BEGINNINGS = ("trained", "registered")
_NOT_OVER = "interrupted"


@dataclass(frozen=True)
class Gathered:
    """A version's folder, what is known of it, and other files of the package by name."""

    folder: Path
    facts: VersionFacts
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def is_published(self) -> bool:
        """Whether its publication goes along."""
        return f"{PUBLICATION}/{MANIFEST}" in self.files


@contextmanager
def gathered(model_uri: str, trust: Trust) -> Iterator[Gathered]:
    """A version by URI or folder, in a folder of this process that is removed in the end.

    A published version has to be what was published. Raises PublicationError, RegistryError or ArtifactError
    if it is not, or is not there.
    """
    with tempfile.TemporaryDirectory(prefix="proto_model-") as temporary:
        source = local_folder(model_uri)
        gather = _of_registry if source is None and _is_registered(model_uri) else _of_folder
        found = gather(model_uri, Path(temporary, "version"), trust)
        if not (found.folder / BUNDLE / "schema.json").is_file():
            raise ArtifactError(
                f"{model_uri} holds no {BUNDLE / 'schema.json'}: not a model of proto_model. Give the "
                "folder or the URI of one, such as models:/proto_model@champion."
            )
        yield found


def _is_registered(model_uri: str) -> bool:
    """Whether it names a version: runs:/... and models:/m-... name a model that may have none."""
    return model_uri.startswith("models:/") and not model_uri.startswith("models:/m-")


def _of_folder(model_uri: str, to: Path, trust: Trust) -> Gathered:
    import yaml

    source = local_folder(model_uri)
    publication = Publication() if source is None else Publication.beside(source)
    asked = _asking(trust, publication.manifest is not None)
    to.mkdir()
    folder = copied(source, to) if source is not None and not asked else trusted(model_uri, to, asked)
    schema = folder / BUNDLE / "schema.json"
    described: dict[str, Any] = {}
    for name in ("MLmodel", REGISTERED):
        path = folder / name
        try:
            read = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise PackageError(f"Cannot read {name} of {model_uri}: it is no YAML.") from error
        described |= read if isinstance(read, dict) else {}
    created = str(described.get("utc_time_created") or "")
    facts = VersionFacts(
        model=str(described.get("model_name") or "")
        or (ModelSchema.read(schema).model_name if schema.is_file() else "model"),
        version=str(described.get("model_version") or ""),
        created=f"{created[:19].replace(' ', 'T')}+00:00" if created else "",
    )
    pairs = zip((MANIFEST, SIGNATURE), (publication.manifest, publication.signature), strict=True)
    files = {f"{PUBLICATION}/{name}": content for name, content in pairs if content is not None}
    return Gathered(folder, facts, files)


def _of_registry(model_uri: str, to: Path, trust: Trust) -> Gathered:
    import mlflow

    from proto_model.registry.deployed import resolved
    from proto_model.registry.patience import patient
    from proto_model.registry.publishing import is_published
    from proto_model.registry.tracking import check_store

    check_store(mlflow.get_tracking_uri())
    client = patient(mlflow.MlflowClient())
    chosen = resolved(model_uri, client=client)
    version = client.get_model_version(chosen.name, chosen.version)
    to.mkdir()
    folder = trusted(chosen.uri, to, _asking(trust, is_published(version)))
    return Gathered(folder, _facts(version, client), _files(version, client))


def _asking(trust: Trust, published: bool) -> Trust:
    """What is asked, and that a published version is what was published."""
    return Trust(trust.require_published or published, trust.keys)


def _facts(version: ModelVersion, client: MlflowClient) -> VersionFacts:
    from proto_model.registry.catalog.editing import run_hyperparameters
    from proto_model.registry.catalog.history import history
    from proto_model.registry.catalog.naming import Named
    from proto_model.registry.details import Details
    from proto_model.registry.publishing import registered
    from proto_model.registry.publishing.tags import PUBLISHED_BY

    number = str(version.version)
    known = registered.facts_of(version, client)
    details = Details.of(version.description, version.tags)
    params = run_hyperparameters(client, version.run_id)
    entries = history(client, Named(version.name, version=number))
    begun = next(entry for entry in entries if entry.kind in _BEGINNINGS)
    records = ({"context": "record", "name": one} for one in details.records)
    return VersionFacts(
        model=version.name,
        version=number,
        created="" if begun.at is None else begun.at.isoformat(timespec="seconds"),
        author=begun.by or version.tags.get(PUBLISHED_BY, ""),
        description=known["description"],
        tags={key: value for key, value in sorted(known["tags"].items()) if is_kept(key)},
        hyperparameters=dict(params if details.hyperparameters is None else details.hyperparameters),
        params=params,
        metrics=known["metrics"],
        data_sets=(*known["data_sets"], *records),
        events=tuple(
            Happened("" if entry.at is None else entry.at.isoformat(), entry.kind, entry.by or "", entry.what)
            for entry in entries
            if entry.kind not in (*_BEGINNINGS, _NOT_OVER)
        ),
    )


def _files(version: ModelVersion, client: MlflowClient) -> dict[str, bytes]:
    """Model card, provenance and publication; nothing of a run's rows goes along."""
    from proto_model.registry.publishing import registered
    from proto_model.registry.publishing.tags import MANIFEST_SHA256, PUBLICATION_RUN
    from proto_model.registry.versions import found

    files: dict[str, bytes] = {}
    run_id = version.run_id or ""
    run = found(client.get_run, run_id) if run_id else None
    if run is not None:
        origin = registered.provenance_of(run_id, client)
        files |= {f"{PROVENANCE}/{name}": content for name, content in origin.items()}
        card = _downloads(client, run_id, "", {_CARD: CARD})
        files |= {name: _PLACE.sub(rb"`\1`", content) for name, content in card.items()}
    digest = version.tags.get(MANIFEST_SHA256)
    if digest is not None:
        place = f"{registered.FOLDER}/{digest}"
        wanted = {name: f"{PUBLICATION}/{name}" for name in _PUBLICATION}
        files |= _downloads(client, version.tags[PUBLICATION_RUN], place, wanted)
    return files


def _downloads(client: MlflowClient, run_id: str, place: str, wanted: dict[str, str]) -> dict[str, bytes]:
    """Files of a run's folder that are there, by their names in the package."""
    with tempfile.TemporaryDirectory(prefix="proto_model-") as folder:
        return {
            wanted[Path(one.path).name]: Path(
                client.download_artifacts(run_id, one.path, folder)
            ).read_bytes()
            for one in client.list_artifacts(run_id, place or None)
            if Path(one.path).name in wanted
        }
