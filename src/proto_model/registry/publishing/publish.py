"""Publish a version: what it is from then on stands in a manifest, which is signed if there is a key."""

from __future__ import annotations

import datetime
import getpass
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto_model.errors import listed
from proto_model.registry.model_folder import BUNDLE, downloaded
from proto_model.registry.publishing.files import REGISTERED, Content, contents, without_caches
from proto_model.registry.publishing.findings import PublicationError, check
from proto_model.registry.publishing.keys import SigningKey, read_signing_key
from proto_model.registry.publishing.manifest import STATEMENT_FILE, Manifest, read_json
from proto_model.registry.publishing.signature import envelope, sign
from proto_model.registry.publishing.tags import check_not_published
from proto_model.registry.publishing.verdict import SIGNATURE
from proto_model.schema import ModelSchema

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROVENANCE_SIGNATURE = "provenance.sigstore.json"
KEY_VARIABLE = "PROTO_MODEL_SIGNING_KEY"
CERTIFICATES_VARIABLE = "PROTO_MODEL_SIGNING_CERTIFICATES"
PASSWORD_VARIABLE = "PROTO_MODEL_SIGNING_PASSWORD"


def publish(
    model_uri: str,
    *,
    key: SigningKey | Path | None = None,
    by: str = "",
    client: MlflowClient | None = None,
) -> Manifest:
    """Lock a version: write its manifest, sign it, and set `published_at`, `published_by` and other tags.

    Parameters
    ----------
    model_uri : str
        models:/name@alias or models:/name/3.
    key : SigningKey or Path, optional
        By default the file that PROTO_MODEL_SIGNING_KEY names, with the password of
        PROTO_MODEL_SIGNING_PASSWORD, or one that is typed in, and the certificates of the file
        PROTO_MODEL_SIGNING_CERTIFICATES. If there is none, nobody signs, and servers with a verify key refuse
        the version.
    by : str
        Who publishes; by default the user of MLflow or of this machine.

    Returns
    -------
    Manifest

    Raises
    ------
    RegistryError
        If there is no such version, or it is published already.
    PublicationError
        If the key cannot be used, or the version holds something else than plain files.
    """
    from mlflow import MlflowClient

    from proto_model.registry.deployed import resolved
    from proto_model.registry.events import current_user
    from proto_model.registry.patience import patient
    from proto_model.registry.promotion.moves import turn
    from proto_model.registry.publishing import registered

    client = patient(client or MlflowClient())
    chosen = resolved(model_uri, client=client)
    check_not_published(client.get_model_version(chosen.name, chosen.version))
    signer = signing_key(key)
    files, digest = _files(chosen.uri)
    # Whoever edits, deletes or publishes it meanwhile waits, or has done so before the facts are read.
    with turn(client, chosen.name, f"publish version {chosen.version}"):
        version = client.get_model_version(chosen.name, chosen.version)
        check_not_published(version)
        manifest = Manifest(
            model=chosen.name,
            version=chosen.version,
            # As fine as other events, or it would come before what happened in the same second.
            published_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            published_by=by or current_user(),
            files=files,
            facts=registered.facts_of(version, client) | {"schema_digest": digest},
        )
        content = manifest.to_bytes()
        origin = registered.provenance_of(version.run_id, client) if version.run_id else {}
        signed = {} if signer is None else _signed(manifest, content, origin, signer)
        registered.write(version, manifest, content, signed, client)
    return manifest


def _signed(
    manifest: Manifest, content: bytes, origin: Mapping[str, bytes], key: SigningKey
) -> dict[str, bytes]:
    """Signatures by file: of a manifest, and of what a run says of where the version comes from."""
    signed = {SIGNATURE: sign(manifest, content, key)}
    if STATEMENT_FILE in origin:
        signed[PROVENANCE_SIGNATURE] = envelope(_statement(origin[STATEMENT_FILE], manifest), key)
    return signed


def _files(model_uri: str) -> tuple[dict[str, Content], str]:
    """Files of a version, and the digest of its schema; PublicationError if they are not plain files."""
    with tempfile.TemporaryDirectory(prefix="proto_model-") as temporary:
        folder = without_caches(downloaded(model_uri, Path(temporary)))
        files, findings = contents(folder)
        check(model_uri, findings)
        files.pop(REGISTERED, None)
        if not files:
            raise PublicationError(f"{model_uri} holds no files.")
        schema = folder / BUNDLE / "schema.json"
        return files, ModelSchema.read(schema).digest if schema.is_file() else ""


def _statement(content: bytes, manifest: Manifest) -> dict[str, Any]:
    """A run's statement of provenance, which has to be about the version's files."""
    statement = read_json(content, "The statement of provenance")
    try:
        subjects = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    except (KeyError, TypeError) as error:
        raise PublicationError("The run's statement of provenance is damaged.") from error
    differ = [
        name
        for name, digest in subjects.items()
        if name not in manifest.files or manifest.files[name].sha256 != digest
    ]
    if differ:
        raise PublicationError(
            f"The run's statement of provenance is about other files: {listed(differ)}. Train it again."
        )
    return statement


def password(prompt: str) -> str:
    """Password of a signing key: of its variable, or typed in; empty for none."""
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is None and sys.stdin is not None and sys.stdin.isatty():
        given = getpass.getpass(prompt)
    return given or ""


def signing_key(key: SigningKey | Path | None = None) -> SigningKey | None:
    """The key given, or that of the environment with its password and certificates; None for neither."""
    if isinstance(key, SigningKey):
        return key
    path = key or os.environ.get(KEY_VARIABLE)
    if not path:
        return None
    certificates = os.environ.get(CERTIFICATES_VARIABLE)
    return read_signing_key(
        Path(path),
        lambda: password("Password of the signing key: "),
        Path(certificates) if certificates else None,
    )
