"""Models in a registry of MLflow, read without MLflow: from its server, or from its store on this machine."""

from mapper.registry.addresses import check_registry_url, find_registry, shown_registry
from mapper.registry.connector import MlflowRegistryConnector, PublishedModel, VersionFinder, find_model

__all__ = [
    "MlflowRegistryConnector",
    "PublishedModel",
    "VersionFinder",
    "check_registry_url",
    "find_model",
    "find_registry",
    "shown_registry",
]
