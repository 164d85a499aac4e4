"""The folder of a model that is named by a URI; importing this loads no MLflow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from proto_model.errors import ArtifactError, ProtoModelError
from proto_model.parameters import EXPLAINER, FILE, ROWS, Signature

BUNDLE = Path("artifacts", "bundle")
SOURCE = Path("artifacts", "source")  # of a version that is somebody's model source

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
        raise ArtifactError(
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
    from proto_model.registry.refusals import in_words
    from proto_model.registry.tracking import check_store, without_credentials

    if model_uri.startswith(("models:", "runs:")):
        check_store(mlflow.get_tracking_uri())
    try:
        return Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=str(folder)))
    except (MlflowException, OSError, ValueError) as error:
        reason = f"Cannot load {model_uri}: {in_words(error)}"
        raise ArtifactError(without_credentials(reason)) from error


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
        reason = done.stderr.strip().splitlines() or [f"the download ended with {done.returncode}"]
        raise ArtifactError(reason[-1])
    return Path(done.stdout.splitlines()[-1])


def main(argv: Sequence[str]) -> int:
    """What the other process does: download a model and print its folder; arguments: model URI, folder."""
    model_uri, folder = argv
    try:
        print(downloaded(model_uri, Path(folder)))
    except ProtoModelError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
