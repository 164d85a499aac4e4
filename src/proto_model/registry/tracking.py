"""Whether MLflow's store answers at all, asked once before longer work depends on it."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from proto_model.errors import RegistryError

__all__ = ["check_store", "without_credentials"]

#: MLflow by itself tries for minutes to reach a server that is not there.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")


def check_store(uri: str) -> None:
    """Make sure that a tracking server or store can be used.

    Parameters
    ----------
    uri : str
        As `mlflow.get_tracking_uri()` gives it.

    Raises
    ------
    RegistryError
        If a server does not answer within half a minute or refuses, or a SQLite file cannot be one.
    """
    problem = _sqlite_problem(uri)
    if problem is None:
        try:
            with _environment(_IMPATIENT):
                MlflowClient(uri).search_experiments(max_results=1)
        except (MlflowException, OSError) as error:
            problem = " ".join(str(error).split())[:300]
    if problem is not None:
        raise RegistryError(
            without_credentials(
                f"MLflow at {uri} cannot be used. Is MLFLOW_TRACKING_URI right, and the server up? {problem}"
            )
        )


def without_credentials(text: str) -> str:
    """Text whose URLs name no user and no password.

    Examples
    --------
    >>> without_credentials("No answer from https://me:secret@mlflow.example:5000/api")
    'No answer from https://mlflow.example:5000/api'
    """
    return _CREDENTIALS.sub("", text)


def _sqlite_problem(uri: str) -> str | None:
    """What is wrong with a SQLite file, which MLflow would try again and again for a minute and a half."""
    scheme, _, rest = uri.partition(":///")
    path = Path(unquote(rest.partition("?")[0]))
    if scheme != "sqlite" or rest.startswith("file:") or not path.parent.is_dir():
        return None  # MLflow makes the folder
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        return f"{path}: {error}."
    return None


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Environment variables for a while; those that are set already win."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
