"""Where a relative data set path is looked for.

`mlflow run` changes into the project's folder before it starts the training and does not say where it was
typed in. So a relative path is looked for in, one after the other: the working folder of the `mlflow run`
process (where /proc shows it), the folder of the SQLite tracking store (by default the caller's), the folder
above the project, and the project's own. Outside of `mlflow run` only the working folder counts.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from proto_model.errors import DataError
from proto_model.table.download import is_url

__all__ = ["callers_folders", "located_dataset"]

_MAX_ANCESTORS = 4


def callers_folders(environment: Mapping[str, str], folder: Path) -> list[Path]:
    """Folders that a relative path may have been meant from, the likeliest first.

    Parameters
    ----------
    environment : mapping
        Environment variables of this process.
    folder : Path
        Its working folder.
    """
    if "MLFLOW_RUN_ID" not in environment:
        return [folder]
    candidates = [_ancestors_folder(folder), _store_folder(environment), folder.parent, folder]
    return list(dict.fromkeys(candidate for candidate in candidates if candidate is not None))


def located_dataset(dataset: str, folders: Sequence[Path], names: Collection[str]) -> str:
    """Data set with a relative path made absolute; names and URLs as they are.

    Parameters
    ----------
    dataset : str
        Built-in name, path or URL.
    folders : sequence of Path
        Where a relative path is looked for.
    names : collection of str
        Built-in names, which come before files that are called the same.

    Returns
    -------
    str

    Raises
    ------
    DataError
        If a relative path is in none of the folders, or a URL is not of http or https.
    """
    scheme, colon, _ = dataset.partition("://")
    if colon and not is_url(dataset):
        raise DataError(
            f"A {scheme} URL given; only http and https are read. Give a path, or download it first."
        )
    path = Path(dataset).expanduser()
    if dataset in names or colon or path.is_absolute():
        return dataset
    for folder in folders:
        if (folder / path).exists():
            return str((folder / path).resolve())
    if path.name == dataset and not path.suffix:
        return dataset  # a misspelt name rather than a path
    looked = ", ".join(str(folder) for folder in folders)
    raise DataError(f"No file at {dataset}, looked for in {looked}. An absolute path always works.")


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


def _store_folder(environment: Mapping[str, str]) -> Path | None:
    scheme, _, rest = environment.get("MLFLOW_TRACKING_URI", "").partition(":///")
    store = Path(unquote(rest.partition("?")[0]))
    return store.parent if scheme == "sqlite" and store.is_absolute() else None
