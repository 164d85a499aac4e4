"""Where a relative path that a command is given is meant from.

`mlflow run` changes into the project's folder before it starts a command and does not say where it was typed
in. So a relative path is looked for in, one after the other: the working folder of the `mlflow run` process
(where /proc shows it), the folder of the SQLite tracking store (by default the caller's), the folder above
the project, and the project's own. Outside of `mlflow run` only the working folder counts.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from proto_model.errors import DataError
from proto_model.registry.tracking import sqlite_path

_MAX_ANCESTORS = 4


def callers_folders(environment: Mapping[str, str], folder: Path) -> list[Path]:
    """Folders that a relative path may have been meant from, the likeliest first.

    `environment` and `folder` are this process's environment variables and working folder.
    """
    if "MLFLOW_RUN_ID" not in environment:
        return [folder]
    store = sqlite_path(environment.get("MLFLOW_TRACKING_URI", ""))
    stores_folder = store.parent if store is not None and store.is_absolute() else None
    candidates = [_ancestors_folder(folder), stores_folder, folder.parent, folder]
    return list(dict.fromkeys(candidate for candidate in candidates if candidate is not None))


def located(path: str, folders: Sequence[Path], names: Collection[str] = ()) -> str:
    """A relative path made absolute; absolute ones, and `names`, as they are.

    A DataError says that a relative path is in none of the folders, or that it is a URL.
    """
    scheme, colon, _ = path.partition("://")
    if colon:
        raise DataError(
            f"Cannot read a {scheme} URL, only http and https. Download the file and give its path."
        )
    wanted = Path(path).expanduser()
    if path in names or wanted.is_absolute():
        return path
    for folder in folders:
        if (folder / wanted).exists():
            return str((folder / wanted).resolve())
    if wanted.name == path and not wanted.suffix:
        return path  # a misspelt name rather than a path
    looked = ", ".join(str(folder) for folder in folders)
    raise DataError(f"No file {path} in {looked}. Check the path, or give an absolute one.")


def _ancestors_folder(folder: Path) -> Path | None:
    """Working folder of the nearest process above this one that works elsewhere; None without /proc."""
    process = os.getppid()
    for _ in range(_MAX_ANCESTORS):
        try:
            theirs = Path(f"/proc/{process}/cwd").readlink()
            status = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return None
        if theirs != folder:
            return theirs
        process = int(status.rpartition(")")[2].split()[1])
    return None
