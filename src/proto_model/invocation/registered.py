"""Models of MLflow's runs and registry that may be the one behind a server, and rows for them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proto_model.errors import ArtifactError, InputError, ProtoModelError
from proto_model.invocation.rows import Record, typical_record
from proto_model.schema import ModelSchema

SCHEMA = "mapper/schema.json"


@dataclass(frozen=True)
class RegisteredModel:
    """A model that MLflow has, its columns, and a row that it takes."""

    model_uri: str
    schema: ModelSchema
    record: Record


def candidates(environment: Mapping[str, str], model_name: str = "proto_model") -> list[str]:
    """URIs of models that may be served, the likeliest first: the run that was exported, then the aliases."""
    run_id = environment.get("MLFLOW_RUN_ID")
    aliases = [f"models:/{model_name}@{alias}" for alias in ("champion", "challenger")]
    return [f"runs:/{run_id}/model", *aliases] if run_id else aliases


def first_registered(uris: list[str]) -> RegisteredModel:
    """The first of some models that MLflow has; an InputError tells why each is not there."""
    check_registry()
    reasons = []
    for uri in uris:
        try:
            return registered(uri)
        except ProtoModelError as error:
            reasons.append(str(error))
    raise InputError("\n".join(reasons))


def check_registry() -> None:
    """Raise a RegistryError unless there is a store that answers."""
    import mlflow

    from proto_model.registry.tracking import check_store

    check_store(mlflow.get_tracking_uri())


def registered(model_uri: str) -> RegisteredModel:
    """The model of a URI; its row is the first of its input example, if it has one."""
    from proto_model.registry.model_folder import downloaded, local_folder

    with tempfile.TemporaryDirectory() as temporary:
        folder = local_folder(model_uri)
        file = folder / SCHEMA if folder else downloaded(f"{model_uri}/{SCHEMA}", Path(temporary))
        schema = ModelSchema.read(file)
    return RegisteredModel(model_uri, schema, example_record(model_uri) or typical_record(schema))


def example_record(model_uri: str) -> Record | None:
    """First row of a model's input example; None for a model without one, as those for files are."""
    import mlflow.models
    from mlflow.exceptions import MlflowException

    try:
        info = mlflow.models.get_model_info(model_uri)
        if info.saved_input_example_info is None:
            return None
        example: Any = mlflow.models.Model.load(model_uri).load_input_example(model_uri)
    except (MlflowException, OSError) as error:
        raise ArtifactError(f"Cannot load {model_uri}: {error}") from error
    records: list[Record] = json.loads(example.head(1).to_json(orient="records", double_precision=15))
    return records[0]
