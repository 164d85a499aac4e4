"""Which registry has a model: an MLflow server over HTTP, or the SQLite file of its store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mapper.errors import SettingsError
from mapper.model_server.proxy import shown_url
from mapper.registry.sqlite_store import sqlite_file

DEFAULT_FILE = "mlflow.db"  # what MLflow makes in the current folder
WAYS = (
    "Give the URL of an MLflow server or of its store, --registry-url http://host:port or "
    "--registry-url sqlite:///mlflow.db, or the path of a schema.json with --schema."
)


def model_uri(source: str) -> str | None:
    """The URI of a model in a registry that a source names; None if it names a file or a folder.

    Examples
    --------
    >>> model_uri("proto_model@champion"), model_uri("build/schema.json")
    ('models:/proto_model@champion', None)
    """
    if source.startswith(("models:", "runs:")):
        return source
    return f"models:/{source}" if "@" in source and not Path(source).exists() else None


def find_registry(uri: str, registry_url: str, environ: Mapping[str, str]) -> str:
    """URL of the registry that has a model: as given, by MLflow's variables, or the store of this folder.

    Raises SettingsError if there is none.
    """
    url = registry_url or environ.get("MLFLOW_REGISTRY_URI") or environ.get("MLFLOW_TRACKING_URI", "")
    if not url and Path(DEFAULT_FILE).is_file():
        return f"sqlite:///{DEFAULT_FILE}"
    if not url:
        raise SettingsError(
            f"{uri} is in a registry, but MLFLOW_TRACKING_URI is not set and there is no {DEFAULT_FILE} in "
            f"{Path.cwd()}. {WAYS}"
        )
    try:
        check_registry_url(url)
    except SettingsError as error:
        raise SettingsError(f"{uri} is in a registry. {error}") from error
    return url


def check_registry_url(url: str) -> None:
    """Raise SettingsError unless it is the URL of a server, or names an SQLite file."""
    scheme = url.partition(":")[0] if ":" in url else ""
    if scheme in ("http", "https"):
        shown_url(url)
    elif scheme.startswith("sqlite"):
        sqlite_file(url)
    else:
        given = f"{scheme}: given" if scheme else "a path given"
        raise SettingsError(f"The mapper reads registries over HTTP, or in an SQLite file; {given}. {WAYS}")


def shown_registry(url: str) -> str:
    """URL of a registry as the log shows it, without user name, password and query."""
    return url.partition("?")[0] if url.startswith("sqlite") else shown_url(url)
