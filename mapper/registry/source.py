"""Where a model's schema comes from: a file, a model folder, or the registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mapper.errors import SettingsError
from mapper.mapping.schema import ModelSchema
from mapper.registry.mlflow import MlflowRegistryConnector, PublishedModel

__all__ = ["find_model"]


def find_model(source: str, registry_url: str, environ: Mapping[str, str]) -> PublishedModel:
    """Schema and version of the model that `source` names.

    Parameters
    ----------
    source : str
        A path, `models:/...`, `runs:/...`, or short `name@alias`.
    registry_url : str
        MLflow server; empty takes MLFLOW_TRACKING_URI.
    environ : mapping
        Environment of the process.

    Raises
    ------
    SettingsError
        If the registry is needed and no server is named.
    SchemaError, RegistryError
        If there is no such model, or its schema is damaged.
    """
    if not source.startswith(("models:", "runs:")):
        if "@" not in source or Path(source).exists():
            return PublishedModel(ModelSchema.read(Path(source)))
        source = f"models:/{source}"
    url = registry_url or environ.get("MLFLOW_REGISTRY_URI") or environ.get("MLFLOW_TRACKING_URI", "")
    if not url.startswith(("http://", "https://")):
        named = f"{url.partition(':')[0]}: is not one" if url else "none is named"
        raise SettingsError(
            f"{source} is in a registry, and its schema comes over HTTP from an MLflow server; {named}. "
            "Give --registry-url http://host:port, or the path of a schema.json by --schema."
        )
    return MlflowRegistryConnector(url, environ).fetch(source)
