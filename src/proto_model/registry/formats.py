"""Formats of a version in MLflow: added after verification, downloaded by their SHA-256, deleted."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from numpy.typing import NDArray

from proto_model.errors import ArtifactError, DataError, InputError, RegistryError, UnknownNameError, listed
from proto_model.file_names import name_fault
from proto_model.formats import FORMATS, Format, Source, Verdict, format_of, written
from proto_model.model import Bundle, coded_rows
from proto_model.registry.catalog.naming import living_version
from proto_model.registry.events import current_user, write_event
from proto_model.registry.format_models import log_format_model
from proto_model.registry.format_records import PREFIX, FormatRecord, formats_of
from proto_model.registry.model_folder import BUNDLE, downloaded
from proto_model.registry.patience import patient
from proto_model.registry.promotion.learned import MissingSplitError, rows_for_testing
from proto_model.registry.promotion.moves import turn
from proto_model.registry.publishing import registered
from proto_model.registry.publishing.manifest import Manifest
from proto_model.registry.publishing.tags import check_not_published, is_published
from proto_model.registry.tracking import without_credentials

logger = logging.getLogger(__name__)

FILE = "file"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class _Made:
    """A format that is not in MLflow yet."""

    name: str
    kind: str
    path: Path
    verdict: Verdict | None = None
    source: Source | None = None


def version_formats(client: MlflowClient, text: str) -> list[FormatRecord]:
    """Formats of the version that a text names."""
    return formats_of(living_version(client, text).tags)


def add_format(client: MlflowClient, text: str, kind: str, path: Path | None = None) -> FormatRecord:
    """Write a version in another format, verify it, and keep it; or keep the file of a path as it is.

    Raises
    ------
    InputError
        If there is no such format, or the file cannot be kept.
    ArtifactError
        If the version has no such format, or a library for it is missing.
    RegistryError
        If the version is published, or has the format already.
    """
    client = patient(client)
    if (path is None) == (kind == FILE):
        raise InputError(
            "Give the path of the file." if path is None else f"A path is of no use for the format {kind!r}."
        )
    version = living_version(client, text)
    with tempfile.TemporaryDirectory(prefix="proto_model-") as folder:
        name = _file_name(path) if path is not None else format_of(kind).name
        _check_addable(version, name)
        made = _Made(name, FILE, path) if path is not None else _written(version, FORMATS[kind], Path(folder))
        with turn(client, version.name, f"add the format {name} to version {version.version}") as taken:
            return _kept(taken.client, f"{version.name}/{version.version}", made)


def delete_format(client: MlflowClient, text: str, name: str) -> FormatRecord:
    """Remove a format and its files; a RegistryError says that it is not there, or the version published."""
    client = patient(client)
    version = living_version(client, text)
    check_not_published(version)
    with turn(client, version.name, f"delete the format {name} of version {version.version}") as taken:
        version = living_version(taken.client, f"{version.name}/{version.version}")
        check_not_published(version)
        record = _record(version, name)
        # The event first: no change without a trace.
        write_event(client, version.name, str(version.version), "format_deleted", _words(record))
        client.delete_model_version_tag(version.name, str(version.version), f"{PREFIX}{name}")
        _remove(client, record)
    return record


def download_format(client: MlflowClient, text: str, name: str, folder: Path) -> Path:
    """Download a format into a folder; its file there, whose SHA-256 is the one that the version names.

    A format that MLflow serves comes with the other files of its model, in a folder of its own.

    Raises
    ------
    RegistryError
        If there is no such format, or something else is in its place.
    InputError
        If the folder has such a file already.
    """
    version = living_version(patient(client), text)
    record = _record(version, name)
    _check_signed(version, record, client)
    expected = dict(record.files) or {record.file: record.sha256}
    target = folder / (record.name if record.model_id else record.file)
    if target.exists():
        raise InputError(f"{target} exists already. Remove it, or give another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".proto_model-", dir=folder) as temporary:
        found = _downloaded(record, Path(temporary))
        for file, digest in expected.items():
            if name_fault(file) or not (found / file).is_file() or sha256_of(found / file) != digest:
                raise RegistryError(
                    f"{file!r} of the format {name} of version {version.version} is not what was added: "
                    "its SHA-256 differs, or it is gone. Delete the format and add it again."
                )
        clean = Path(temporary, "verified")
        for file in expected:
            (clean / file).parent.mkdir(parents=True, exist_ok=True)
            os.replace(found / file, clean / file)
        os.replace(clean if record.model_id else clean / record.file, target)
    return target / record.file if record.model_id else target


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(version: ModelVersion, name: str) -> FormatRecord:
    records = {record.name: record for record in formats_of(version.tags)}
    if name not in records:
        there = f"It has {listed([*records])}." if records else "It has no formats."
        raise UnknownNameError(
            f"Version {version.version} of {version.name!r} has no format {name!r}. {there} To add one: "
            f"python -m proto_model formats add -m {version.name}/{version.version} FORMAT"
        )
    return records[name]


def _check_addable(version: ModelVersion, name: str) -> None:
    check_not_published(version)
    if f"{PREFIX}{name}" in version.tags:
        raise RegistryError(
            f"Version {version.version} of {version.name!r} has the format {name} already. "
            "Delete it first to add it again."
        )


def _file_name(path: Path) -> str:
    """Name of a file that is to be kept, which is also that of its format."""
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if not _NAME.fullmatch(path.name) or path.name in (*FORMATS, FILE):
        raise InputError(
            f"{path.name!r} cannot be the name of a format. Rename the file: letters, digits, '.', '_' and "
            f"'-', at most 100, and none of {listed([*FORMATS, FILE])}."
        )
    return path.name


def _written(version: ModelVersion, kind: Format, folder: Path) -> _Made:
    """A format of a version, verified on its test rows and on made ones."""
    model = downloaded(f"models:/{version.name}/{version.version}", folder / "version")
    if not (model / BUNDLE).is_dir():
        raise ArtifactError(
            f"Version {version.version} of {version.name!r} is no model of this project. Of it, only files "
            "from elsewhere can be kept."
        )
    source = Source(Bundle.load(model / BUNDLE))
    content, verdict = written(kind, source, _held_out(version, source, folder / "split"))
    path = folder / kind.file
    path.write_bytes(content)
    return _Made(kind.name, kind.name, path, verdict, source)


def _held_out(version: ModelVersion, source: Source, folder: Path) -> NDArray[Any] | None:
    """Coded test rows of the version's run; None if it left none."""
    try:
        frame = rows_for_testing(version, folder)
        return coded_rows(frame, source.schema) if len(frame) else None
    except (MissingSplitError, InputError, DataError):
        return None


def _kept(client: MlflowClient, text: str, made: _Made) -> FormatRecord:
    """Put a format into MLflow, and note it at the version, which may have changed meanwhile."""
    version = living_version(client, text)
    _check_addable(version, made.name)
    record = FormatRecord(
        name=made.name,
        kind=made.kind,
        file=made.path.name,
        sha256=sha256_of(made.path),
        bytes=made.path.stat().st_size,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by=current_user(),
        verdict=made.verdict,
        **_uploaded(client, version, made),
    )
    # The event first: no change without a trace.
    write_event(client, version.name, str(version.version), "format_added", _words(record))
    client.set_model_version_tag(version.name, str(version.version), *record.to_tag())
    return record


def _uploaded(client: MlflowClient, version: ModelVersion, made: _Made) -> dict[str, Any]:
    """Where a format is from now on."""
    run_id = version.run_id or _new_run(client, version)
    if made.source is None or not FORMATS[made.kind].flavor:
        # MLflow downloads no folder over HTTP that holds a file of the folder's own name.
        path = f"formats/{version.version}/{'file-' if made.kind == FILE else ''}{made.name}"
        client.log_artifact(run_id, str(made.path), path)
        return {"run_id": run_id, "path": path}
    model_id = log_format_model(FORMATS[made.kind], made.source, made.path.read_bytes(), run_id)
    with tempfile.TemporaryDirectory(prefix="proto_model-") as folder:
        found = Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=folder))
        files = {
            path.relative_to(found).as_posix(): sha256_of(path)
            for path in sorted(found.rglob("*"))
            if path.is_file()
        }
    return {"model_id": model_id, "files": files}


def _new_run(client: MlflowClient, version: ModelVersion) -> str:
    """Run for the formats of a version that no run has logged."""
    run = client.create_run("0", run_name=f"formats of {version.name} {version.version}")
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def _remove(client: MlflowClient, record: FormatRecord) -> None:
    """Delete the files of a format; what MLflow cannot delete is left, and the log says so."""
    try:
        if record.model_id:
            client.delete_logged_model(record.model_id)
        else:
            root = client.get_run(record.run_id).info.artifact_uri
            get_artifact_repository(root).delete_artifacts(record.path)  # type: ignore[no-untyped-call]  # mlflow
    except (MlflowException, OSError, NotImplementedError) as error:
        reason = without_credentials(" ".join(str(error).split()))
        logger.warning(
            "The files of the format %s are left in MLflow at %s: %s", record.name, record.uri, reason
        )


def _downloaded(record: FormatRecord, folder: Path) -> Path:
    """Folder of a format's files."""
    uri = f"models:/{record.model_id}" if record.model_id else f"runs:/{record.run_id}/{record.path}"
    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    except (MlflowException, OSError, ValueError) as error:
        reason = without_credentials(" ".join(str(error).split()))
        raise RegistryError(f"The format {record.name} cannot be downloaded: {reason}") from error


def _check_signed(version: ModelVersion, record: FormatRecord, client: MlflowClient) -> None:
    """Raise a RegistryError if a version was published with another state of a format, or without it."""
    if not is_published(version):
        return
    publication, findings = registered.read(version, client)
    key = f"{PREFIX}{record.name}"
    signed = {}
    if publication.manifest is not None:
        signed = Manifest.of_bytes(publication.manifest).facts.get("tags", {})
    if findings or signed.get(key) != version.tags[key]:
        raise RegistryError(
            f"The format {record.name} is not what version {version.version} of {version.name!r} was "
            f"published with. See: python -m proto_model verify -m models:/{version.name}/{version.version}"
        )


def _words(record: FormatRecord) -> str:
    return f"{record.name}: {record.file}, sha256 {record.sha256[:12]}, {record.verified}"
