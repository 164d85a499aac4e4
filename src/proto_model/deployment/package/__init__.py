"""Packages of model versions, for whoever has no MLflow: write, check, load, and register them elsewhere.

Importing this loads neither MLflow nor pandas.
"""

from proto_model.deployment.package.errors import PackageError
from proto_model.deployment.package.model import PackagedModel, load_package, self_test

__all__ = ["PackageError", "PackagedModel", "load_package", "self_test"]
