"""The folder of a model that is named by a URI; importing this loads no MLflow."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from proto_model.errors import ArtifactError, CallerError, ProtoModelError
from proto_model.parameters import EXPLAINER, FILE, ROWS, Signature


class NoModelError(ArtifactError, CallerError):
    """There is no model of a name, or at a path."""


BUNDLE = Path("artifacts", "bundle")
SOURCE = Path("artifacts", "source")  # of a version that is somebody's model source

# Of MLflow, where it has no code for it; the first one comes in a heading such as "##### File model #####".
_MISSING = ("No such artifact:", "Failed to download artifacts from path")
_NOTHING_THERE = (
    "there is no such model. Give models:/name@alias, models:/name/version or runs:/id/model. To list them, "
    "type: python -m proto_model versions list"
)

_QUICK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}


def signature_of(folder: Path) -> Signature:
    """What the logged model of a folder takes and gives, by the code that it brings."""
    by_code: dict[str, Signature] = {"file.py": FILE, "explainer.py": EXPLAINER}
    return next((signature for code, signature in by_code.items() if (folder / code).is_file()), ROWS)


def local_folder(model_uri: str) -> Path | None:
    """Folder that a URI names by itself, None for one that MLflow has to download.

    An ArtifactError says that it is a path, and there is no such folder.
    """
    path = Path(url2pathname(urlsplit(model_uri).path) if model_uri.startswith("file:") else model_uri)
    if path.is_dir():
        return path
    if ":/" not in model_uri:
        raise NoModelError(
            f"There is no folder {model_uri}. Give one, or a URI such as models:/proto_model@champion."
        )
    return None


def downloaded(model_uri: str, folder: Path) -> Path:
    """Folder of a model that MLflow downloads into an empty one; a path is copied.

    An ArtifactError or RegistryError says that there is no such model, or no registry.
    """
    local_folder(model_uri)
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise ArtifactError(
            f"Cannot download {model_uri}: MLflow is not installed. Install it, or give a downloaded folder."
        ) from error
    from proto_model.registry.tracking import check_store

    if model_uri.startswith(("models:", "runs:")):
        check_store(mlflow.get_tracking_uri())
        _check_version(model_uri)
    try:
        return Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=str(folder)))
    except (MlflowException, OSError, ValueError) as error:
        raise cannot_load(model_uri, error) from error


def cannot_load(model_uri: str, error: Exception) -> ArtifactError:
    """Error that says why MLflow did not give a model, by what it raised."""
    from proto_model.registry.refusals import in_words
    from proto_model.registry.tracking import without_credentials

    missing = _is_missing(error)
    reason = _NOTHING_THERE if missing else in_words(error)
    said = without_credentials(f"Cannot load {model_uri}: {reason}")
    return (NoModelError if missing else ArtifactError)(said)


def _is_missing(error: Exception) -> bool:
    """Whether MLflow says, in one of its ways, that it has no model or no folder of that name."""
    said = str(error)
    code = getattr(error, "error_code", "")
    return code == "RESOURCE_DOES_NOT_EXIST" or any(words in said for words in _MISSING)


def _check_version(model_uri: str) -> None:
    """Raise UnknownNameError, which says what there is, if a URI names a version that is not there."""
    from proto_model.registry.deployed import resolved

    version = re.match(r"models:/[^/@:]+(?:@[^/@]+|/\d+)(?=/|$)", model_uri)
    if version is not None:
        resolved(version[0])


def failure_apart(code: int, said: str) -> ArtifactError:
    """Error of a process that downloads: it ends with 2 if what was given is wrong."""
    reason = said.strip().splitlines() or [f"The download ended with {code}."]
    return (NoModelError if code == 2 else ArtifactError)(reason[-1])


def told_apart(error: Exception) -> int:
    """Tell the process that asked for a download why there is none; the exit code for `failure_apart`."""
    print(" ".join(str(error).split()), file=sys.stderr)
    return 2 if isinstance(error, CallerError) else 1


def downloaded_apart(model_uri: str, folder: Path) -> Path:
    """The same by a process of its own, so that this one never holds MLflow in memory; a path stays in place.

    All that goes wrong is an ArtifactError.
    """
    path = local_folder(model_uri)
    if path is not None:
        return path
    done = subprocess.run(
        [sys.executable, "-m", __name__, model_uri, str(folder)],
        env=_QUICK | os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise failure_apart(done.returncode, done.stderr)
    return Path(done.stdout.splitlines()[-1])


def main(argv: Sequence[str]) -> int:
    """What the other process does: download a model and print its folder; arguments: model URI, folder."""
    model_uri, folder = argv
    try:
        print(downloaded(model_uri, Path(folder)))
    except ProtoModelError as error:
        return told_apart(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
