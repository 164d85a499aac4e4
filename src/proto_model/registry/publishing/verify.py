"""Verify a version, and have one downloaded only if it can be trusted."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from proto_model.errors import ArtifactError, ProtoModelError
from proto_model.registry.model_folder import (
    cannot_load,
    downloaded,
    downloaded_apart,
    failure_apart,
    local_folder,
    told_apart,
)
from proto_model.registry.publishing.files import copied, without_caches
from proto_model.registry.publishing.findings import PublicationError, check
from proto_model.registry.publishing.keys import VerifyKey
from proto_model.registry.publishing.manifest import Manifest
from proto_model.registry.publishing.trust import Trust
from proto_model.registry.publishing.verdict import Publication, Verdict, verdict_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

_QUICK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}


def verify(
    model_uri: str,
    keys: Sequence[VerifyKey] = (),
    *,
    publication: Publication | None = None,
    client: MlflowClient | None = None,
) -> Verdict:
    """All that is wrong with a published version: its files, its manifest, its signature, and its tags.

    Parameters
    ----------
    model_uri : str
        A folder, which needs no network, or a version: models:/name@alias or models:/name/3.
    keys : sequence of VerifyKey
        One of them has to have signed it. Without keys, the files are compared with the manifest only.
    publication : Publication, optional
        Manifest and signature of a folder, by default those of the folder `<folder>.publication` beside it.

    Returns
    -------
    Verdict

    Raises
    ------
    RegistryError, ArtifactError
        If there is no such version or folder, or no registry.
    """
    if local_folder(model_uri) is not None or publication is not None:
        folder = local_folder(model_uri)
        if folder is None:
            raise ArtifactError(f"A manifest or signature of your own is for a folder; {model_uri} is none.")
        return verdict_of(folder, publication or Publication.beside(folder), keys)
    with tempfile.TemporaryDirectory(prefix="proto_model-") as temporary:
        return _registered(model_uri, Path(temporary), keys, client, with_facts=True)[0]


def trusted(model_uri: str, folder: Path, trust: Trust) -> Path:
    """Folder of a model that is downloaded, or copied, into an empty one, and then examined there.

    Nobody else may write where `folder` is. Raises PublicationError unless it can be trusted, ArtifactError
    and RegistryError as `downloaded` does.
    """
    if not trust:
        return downloaded(model_uri, folder)
    keys = trust.verify_keys()
    source = local_folder(model_uri)
    if source is not None:
        copy = copied(source, folder)
        check(model_uri, verdict_of(copy, Publication.beside(source), keys).findings)
        return copy
    verdict, downloads = _registered(model_uri, folder, keys, None, with_facts=False)
    check(model_uri, verdict.findings)
    return downloads


def trusted_apart(model_uri: str, folder: Path, trust: Trust) -> Path:
    """The same by a process of its own, so that this one never holds MLflow in memory.

    Without anything to examine, a path stays in place. All that goes wrong is an ArtifactError.
    """
    if not trust:
        return downloaded_apart(model_uri, folder)
    local_folder(model_uri)
    done = subprocess.run(
        [sys.executable, "-m", "proto_model.registry.publishing.verify", model_uri, str(folder)],
        env=_QUICK | os.environ,
        input=trust.to_json(),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise failure_apart(done.returncode, done.stderr)
    return Path(done.stdout.splitlines()[-1])


def _registered(
    model_uri: str,
    folder: Path,
    keys: Sequence[VerifyKey],
    client: MlflowClient | None,
    *,
    with_facts: bool,
) -> tuple[Verdict, Path]:
    """Verdict on a registered version, and where it was downloaded: nothing is, unless it is published."""
    import mlflow
    from mlflow.exceptions import MlflowException

    from proto_model.registry.deployed import resolved
    from proto_model.registry.patience import patient
    from proto_model.registry.publishing import registered
    from proto_model.registry.tracking import check_store

    if client is None:
        check_store(mlflow.get_tracking_uri())
    try:
        client = patient(client or mlflow.MlflowClient())
        chosen = resolved(model_uri, client=client)
        version = client.get_model_version(chosen.name, chosen.version)
        publication, faults = registered.read(version, client)
        if publication.manifest is None:
            return Verdict(chosen.name, chosen.version, findings=tuple(faults)), folder
        downloads = without_caches(downloaded(chosen.uri, folder))
        verdict = verdict_of(downloads, publication, keys, (chosen.name, chosen.version))
        if with_facts:
            try:
                manifest = Manifest.of_bytes(publication.manifest)
                faults += registered.changes(version, manifest, client)
            except PublicationError:  # the verdict says so
                pass
        return replace(verdict, findings=(*faults, *verdict.findings)), downloads
    except MlflowException as error:
        raise cannot_load(model_uri, error) from error


def main(argv: Sequence[str]) -> int:
    """What the other process does: print the folder. Arguments: model URI, folder; its input is the trust."""
    model_uri, folder = argv
    try:
        print(trusted(model_uri, Path(folder), Trust.of_json(sys.stdin.read())))
    except (ProtoModelError, OSError) as error:
        return told_apart(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
