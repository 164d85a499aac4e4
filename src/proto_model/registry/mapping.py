"""An application's own mapping, on its way into the versions of a training run, or into one that is there.

The mapper reads mappings, and this side shares no code with it. So the mapper's own program checks one, in a
process of its own, and writes what belongs into a version.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from proto_model.errors import ArtifactError, DataError, UnknownNameError
from proto_model.registry.publishing import check_not_published
from proto_model.registry.settings import TrainingSettings
from proto_model.registry.unknown import no_version
from proto_model.registry.versions import found, logged_model_id, version_of_alias
from proto_model.schema import ModelSchema

MAPPING, MANIFEST, SCHEMA = "mapping.yaml", "code.json", "schema.json"
_FORMS = "models:/name@alias or models:/name/3"
FOLDER = "mapper"  # of a version: all that a mapper needs
TIMEOUT_S = 120
_NOT_INSTALLED = (
    "The mapper checks mappings, and it is not installed here. Install it (pip install ./mapper), or go on "
    "without a mapping."
)


def located_mapping(source: str, folders: Sequence[Path]) -> str:
    """A relative path made absolute; `:Class` after it stays. A DataError says that there is no such file."""
    path, colon, name = source.rpartition(":") if ".py:" in source else (source, "", "")
    for folder in folders:
        found = (folder / Path(path).expanduser()).absolute()
        if found.is_file():
            return f"{found}{colon}{name}"
    looked = ", ".join(str(folder) for folder in folders)
    raise DataError(f"No mapping {path} in {looked}. Check the path, or give an absolute one.")


def checked_mapping(settings: TrainingSettings, schema: ModelSchema, folder: Path) -> Path | None:
    """Folder of the mapping that the settings name, if they do, once the mapper has accepted it.

    A DataError says what is wrong with it.
    """
    if not settings.mapping:
        return None
    if settings.file_management:
        raise DataError(
            "A mapping does not apply to files. Train without --mapping, or with file_management=false."
        )
    return _checked(settings.mapping, schema, folder)


def _checked(source: str, schema: ModelSchema, folder: Path) -> Path:
    if find_spec("mapper") is None:
        raise DataError(_NOT_INSTALLED)
    with tempfile.TemporaryDirectory() as temporary:
        described = Path(temporary) / "schema.json"
        schema.write(described)
        command = [sys.executable, "-m", "mapper", "mapping", "check", source]
        command += ["--schema", str(described), "--out", str(folder / FOLDER)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired as error:
            raise DataError(f"The mapper did not check {source} in {TIMEOUT_S} s.") from error
    if done.returncode != 0:
        reason = done.stderr.strip().removeprefix("mapper: ") or f"the mapper ended with {done.returncode}"
        raise DataError(f"{source} does not fit the model: {reason}")
    return folder


def attach_mapping(model_id: str, folder: Path) -> None:
    """Put a checked mapping beside the schema in the `mapper/` of a logged model."""
    MlflowClient().log_model_artifacts(model_id, str(folder))


@dataclass(frozen=True)
class Attached:
    """Files of a mapping in a version, and those whose place they took."""

    files: list[str]
    replaced: list[str]


def attach_to_version(
    source: str, model_uri: str, *, replace: bool = False, client: MlflowClient | None = None
) -> Attached:
    """Put a mapping, once the mapper has accepted it, into a version that is there.

    `model_uri` is models:/name@alias or models:/name/3. Raises UnknownNameError if there is no such version,
    ArtifactError if it is not one of this project, DataError if it takes files, if the mapping does not fit,
    or if there is one and it is not to be replaced.
    """
    client = client or MlflowClient()
    model_id = _logged_model(client, model_uri)
    artifacts = get_artifact_repository(client.get_logged_model(model_id).artifact_location)
    present = {Path(item.path).name for item in client.list_logged_model_artifacts(model_id, FOLDER)}
    with tempfile.TemporaryDirectory() as temporary:

        def read(name: str) -> Path:
            path = f"{FOLDER}/{name}"
            return Path(artifacts.download_artifacts(path, temporary))  # type: ignore[no-untyped-call]

        if SCHEMA not in present:
            raise ArtifactError(f"{model_uri} has no {FOLDER}/{SCHEMA}; this project did not log it.")
        schema = ModelSchema.read(read(SCHEMA))
        before = sorted(present & {MAPPING, MANIFEST})
        if before and not replace:
            raise DataError(f"{model_uri} has a mapping ({', '.join(before)}). Give --replace to replace it.")
        if MANIFEST in before:
            before += sorted(present & set(json.loads(read(MANIFEST).read_text())["files"]))
        folder = _checked(source, schema, Path(temporary) / "checked")
        files = sorted(path.name for path in (folder / FOLDER).iterdir())
        attach_mapping(model_id, folder)
        # The new one is whole before the old one goes; a class left behind would map on.
        for name in sorted(set(before) - set(files)):
            artifacts.delete_artifacts(f"{FOLDER}/{name}")  # type: ignore[no-untyped-call]  # MLflow's
    return Attached(files, before)


def _logged_model(client: MlflowClient, model_uri: str) -> str:
    """Id of the logged model behind a URI."""
    path = unquote(model_uri.removeprefix("models:/"))
    name, at, word = path.rpartition("@") if "@" in path else path.rpartition("/")
    if path == model_uri or not name or not (at == "@" or word.isdecimal()):
        raise UnknownNameError(f"{model_uri} is not the URI of a version. Give {_FORMS}.")
    version: ModelVersion | None
    if at == "@":
        version = version_of_alias(name, word, client=client)
    else:
        version = found(client.get_model_version, name, word)
    if version is None:
        names = {"alias": word} if at == "@" else {"number": word}
        raise no_version(client, name, **names)
    check_not_published(version)
    if version.tags.get("signature") == "file":
        raise DataError(f"{model_uri} takes files, and a mapping does not apply to files.")
    model_id = logged_model_id(version.source)
    if model_id is None:
        raise ArtifactError(f"{model_uri} was logged by MLflow 2, which leaves no way to add files to it.")
    return model_id
