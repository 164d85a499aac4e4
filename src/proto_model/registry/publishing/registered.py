"""Published versions in MLflow: their tags, their manifest and signature, and what else is said of them."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from proto_model.registry.descriptions import own_description
from proto_model.registry.details import Details
from proto_model.registry.publishing.findings import Finding
from proto_model.registry.publishing.manifest import PROVENANCE, Manifest, read_part, sha256
from proto_model.registry.publishing.tags import (
    MANIFEST_SHA256,
    PUBLICATION_RUN,
    PUBLISHED_AT,
    PUBLISHED_BY,
    TAGS,
    is_open,
)
from proto_model.registry.publishing.verdict import MANIFEST, SIGNATURE, Publication
from proto_model.registry.tracking import without_folder
from proto_model.registry.versions import found, logged_model_id

FOLDER = "publication"  # of a run's artifacts
_RUN = re.compile(r"[0-9A-Za-z_-]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def facts_of(version: ModelVersion, client: MlflowClient) -> dict[str, Any]:
    """What the registry says of a version; but for tags that go on changing, such as where it is deployed."""
    details = Details.of(version.description, version.tags)
    facts: dict[str, Any] = {
        "model_id": logged_model_id(version.source) or "",
        "run_id": version.run_id or "",
        "description": own_description(version.description),
        "tags": {key: value for key, value in version.tags.items() if not is_open(key) and key not in TAGS},
        "config": dict(details.config),
        "hyperparameters": dict(details.hyperparameters or {}),
        "metrics": {},
        "records": list(details.records),
        "data_sets": [],
        "provenance": {},
    }
    run = found(client.get_run, version.run_id) if version.run_id else None
    if run is not None:
        files = provenance_of(run.info.run_id, client)
        facts["provenance"] = {name: sha256(content) for name, content in files.items()}
        if details.hyperparameters is None:
            facts["hyperparameters"] = {key: without_folder(text) for key, text in run.data.params.items()}
        facts["metrics"] = {key: _number(value) for key, value in run.data.metrics.items()}
        facts["data_sets"] = sorted(
            (
                {
                    "name": one.dataset.name,
                    "digest": one.dataset.digest,
                    "context": next((tag.value for tag in one.tags if tag.key == "mlflow.data.context"), ""),
                }
                for one in (run.inputs.dataset_inputs if run.inputs else ())
            ),
            key=lambda one: (one["context"], one["name"], one["digest"]),
        )
    return facts


def provenance_of(run_id: str, client: MlflowClient) -> dict[str, bytes]:
    """Files about where the version of a run comes from; none if the run is gone."""
    if found(client.get_run, run_id) is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="proto_model-") as folder:
        return {
            Path(one.path).name: Path(client.download_artifacts(run_id, one.path, folder)).read_bytes()
            for one in client.list_artifacts(run_id, PROVENANCE)
            if not one.is_dir
        }


def _number(value: float) -> float | str:
    """A number as JSON can have it."""
    return value if math.isfinite(value) else str(value)


def changes(version: ModelVersion, manifest: Manifest, client: MlflowClient) -> list[Finding]:
    """How the registry differs from what was published."""
    findings = []
    for key, value in ((PUBLISHED_AT, manifest.published_at), (PUBLISHED_BY, manifest.published_by)):
        if version.tags.get(key) != value:
            findings.append(_finding(f"tags.{key}", version.tags.get(key), value))
    now = facts_of(version, client)
    for name, before in manifest.facts.items():
        if name not in now:
            continue
        if isinstance(before, Mapping) and isinstance(now[name], Mapping):
            for key in sorted(before.keys() | now[name].keys()):
                if before.get(key) != now[name].get(key):
                    findings.append(_finding(f"{name}.{key}", now[name].get(key), before.get(key)))
        elif before != now[name]:
            findings.append(_finding(name, now[name], before))
    return findings


def _finding(name: str, now: Any, before: Any) -> Finding:
    def shown(value: Any) -> str:
        text = repr(value)
        return "not set" if value is None else text if len(text) <= 80 else f"{text[:80]}..."

    return Finding("registry", name, f"{name} is {shown(now)} in MLflow, {shown(before)} was published.")


def write(
    version: ModelVersion,
    manifest: Manifest,
    content: bytes,
    signed: Mapping[str, bytes],
    client: MlflowClient,
) -> None:
    """Keep a publication, with what was signed by name; the version is published when its last tag is set."""
    run = found(client.get_run, version.run_id) if version.run_id else None
    # What is in the trash goes when MLflow empties that.
    is_kept = run is not None and run.info.lifecycle_stage == LifecycleStage.ACTIVE
    run_id = version.run_id if version.run_id and is_kept else _new_run(version, client)
    digest = sha256(content)
    with tempfile.TemporaryDirectory(prefix="proto_model-") as folder:
        for name, one in {MANIFEST: content, **signed}.items():
            Path(folder, name).write_bytes(one)
        client.log_artifacts(run_id, folder, f"{FOLDER}/{digest}")
    for key, value in (
        (PUBLICATION_RUN, run_id),
        (MANIFEST_SHA256, digest),
        (PUBLISHED_BY, manifest.published_by),
        (PUBLISHED_AT, manifest.published_at),
    ):
        client.set_model_version_tag(version.name, str(version.version), key, value)


def _new_run(version: ModelVersion, client: MlflowClient) -> str:
    """Run for the publication of a version whose own one is gone, or which has none."""
    run = client.create_run("0", run_name=f"publication of {version.name} {version.version}")
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def read(version: ModelVersion, client: MlflowClient) -> tuple[Publication, list[Finding]]:
    """The publication of a version, and what is wrong with its place."""
    if PUBLISHED_AT not in version.tags:
        text = f"Version {version.version} of {version.name!r} is not published."
        return Publication(), [Finding("unpublished", "", text)]
    run_id, digest = version.tags.get(PUBLICATION_RUN, ""), version.tags.get(MANIFEST_SHA256, "")
    if not _RUN.fullmatch(run_id) or not _SHA256.fullmatch(digest):  # they become parts of paths
        text = f"The tags {PUBLICATION_RUN} and {MANIFEST_SHA256} of version {version.version} were changed."
        return Publication(), [Finding("registry", f"tags.{MANIFEST_SHA256}", text)]
    place = f"{FOLDER}/{digest}"
    with tempfile.TemporaryDirectory(prefix="proto_model-") as folder:
        try:
            present = {Path(one.path).name for one in client.list_artifacts(run_id, place)}
            manifest, signature = (
                read_part(Path(client.download_artifacts(run_id, f"{place}/{name}", folder)))
                if name in present
                else None
                for name in (MANIFEST, SIGNATURE)
            )
        except (MlflowException, OSError) as error:
            reason = " ".join(str(error).split())
            return Publication(), [Finding("manifest", "", f"The manifest cannot be downloaded: {reason}")]
    publication = Publication(manifest, signature)
    if publication.manifest is None:
        return Publication(), [Finding("manifest", "", f"Run {run_id} does not hold its manifest any more.")]
    if sha256(publication.manifest) != digest:
        text = f"The manifest is not the one of the tag {MANIFEST_SHA256}."
        return publication, [Finding("manifest", "", text)]
    return publication, []
