"""The folder of a model that is named by a URI.

MLflow finds and downloads it in a process of its own, so that the server never holds MLflow in memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from proto_model.errors import ArtifactError

__all__ = ["local_folder"]


def local_folder(model_uri: str, download: Path) -> Path:
    """Folder of a model.

    Parameters
    ----------
    model_uri : str
        A folder, or any URI of a model that MLflow understands, such as `models:/proto_model@champion`.
    download : Path
        An empty folder, for a model that is not here yet.

    Raises
    ------
    ArtifactError
        If the model is not found.
    """
    path = Path(url2pathname(urlsplit(model_uri).path) if model_uri.startswith("file:") else model_uri)
    if path.is_dir():
        return path
    if ":/" not in model_uri:
        raise ArtifactError(
            f"There is no folder {model_uri}. Give one, or a URI such as models:/proto_model@champion."
        )
    environment = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"} | os.environ
    environment |= {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    done = subprocess.run(
        [sys.executable, "-m", "proto_model.serving.http.location", model_uri, str(download)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines() or [f"the download ended with {done.returncode}"]
        raise ArtifactError(reason[-1])
    return Path(done.stdout.splitlines()[-1])


def main(argv: list[str]) -> int:
    """Download a model and print its folder; arguments: model URI, folder."""
    from mlflow.artifacts import download_artifacts

    from proto_model.registry.tracking import without_credentials

    model_uri, folder = argv
    try:
        print(download_artifacts(artifact_uri=model_uri, dst_path=folder))
    except Exception as error:  # each kind of store has errors of its own
        print(without_credentials(f"{model_uri}: {' '.join(str(error).split())}"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
