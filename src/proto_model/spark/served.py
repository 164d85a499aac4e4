"""A version on the driver: found, examined, and handed to a session."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proto_model.errors import ArtifactError, InputError
from proto_model.model import AnswerField, Bundle, Predictor
from proto_model.parameters import FILE, Parameters, parameters_of
from proto_model.registry.model_folder import BUNDLE, downloaded, local_folder
from proto_model.registry.publishing import trusted
from proto_model.registry.publishing.trust import Trust
from proto_model.schema import ModelSchema
from proto_model.spark.executor import Work
from proto_model.spark.shipping import ship

_NOT_OF_FRAMES = ("input_format", "output_format")

OPTIONS = tuple(p.name for p in parameters_of(FILE) if p.name not in _NOT_OF_FRAMES)
"""Parameters of a request that make sense for frames."""


@dataclass(frozen=True)
class Served:
    """A version that a session has."""

    uri: str
    version: str | None  # its number, unless the URI names a folder or a run
    schema: ModelSchema
    fields: tuple[AnswerField, ...]  # of the answer
    work: Work
    digest: str  # over the bundle


def served(spark: Any, uri: str, trust: Trust, options: Mapping[str, Any]) -> Served:
    """Find a version, and hand it to a session.

    Raises InputError if an option is not known or wrong, and ArtifactError, RegistryError or PublicationError
    if there is no such version, or it is not to be trusted.
    """
    if unknown := [name for name in options if name not in OPTIONS]:
        raise InputError(f"No option {', '.join(unknown)}. There are {', '.join(OPTIONS)}.")
    with tempfile.TemporaryDirectory(prefix="proto_model-") as temporary:
        folder, version = _found(str(uri), Path(temporary), trust)
        predictor = Predictor(Bundle.load(folder / BUNDLE), FILE)
        given = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
        parameters = Parameters.from_params(given, predictor.schema, FILE)
        predictor.decision.check_coverage(parameters.coverage)
        if parameters.explain:
            predictor.explainer(parameters.engine)  # says what is missing before a job does
        work = Work(ship(spark, predictor.bundle), parameters)
        return Served(
            str(uri), version, predictor.schema, predictor.fields(parameters), work, predictor.bundle.digest
        )


def asked_trust(require_published: bool, verify_key: str | Path | Sequence[str | Path]) -> Trust:
    """What the two options, or their variables, ask for."""
    keys = [verify_key] if isinstance(verify_key, (str, Path)) else list(verify_key)
    return Trust.asked(require_published, keys, os.environ)


def _found(uri: str, temporary: Path, trust: Trust) -> tuple[Path, str | None]:
    """Folder of a version, and its number."""
    folder, version = local_folder(uri), None
    if folder is None and uri.startswith("models:/") and not uri.startswith("models:/m-"):
        uri, version = fixed(uri)
    if folder is None or trust:
        folder = trusted(uri, temporary, trust) if trust else downloaded(uri, temporary)
    return folder, version


def fixed(uri: str) -> tuple[str, str]:
    """URI of a version by its number, which stays where an alias moves."""
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise ArtifactError(
            f"Cannot download {uri}: MLflow is not installed. Install it, or give a downloaded folder."
        ) from error
    from proto_model.registry.deployed import resolved
    from proto_model.registry.model_folder import cannot_load
    from proto_model.registry.patience import patient
    from proto_model.registry.tracking import check_store

    check_store(mlflow.get_tracking_uri())
    try:
        chosen = resolved(uri, client=patient(mlflow.MlflowClient()))
    except MlflowException as error:
        raise cannot_load(uri, error) from error
    return chosen.uri, chosen.version
