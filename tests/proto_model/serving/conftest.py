"""The forest of `mixed_pipeline` as a bundle, and logged to a store of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
from sklearn.pipeline import Pipeline

from proto_model.data import TrainingData, encode
from proto_model.serving import ForestModel, log_explainer, log_forest_model, write_bundle


@dataclass(frozen=True)
class Logged:
    """URIs of what was logged."""

    tracking_uri: str
    run_id: str
    model_uri: str
    explainer_uri: str
    folder: Path


@pytest.fixture(scope="session")
def bundle(
    mixed_pipeline: Pipeline, mixed_data: TrainingData, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("serving") / "bundle"
    write_bundle(folder, mixed_pipeline, mixed_data.schema, encode(mixed_data.X_train, mixed_data.schema))
    return folder


@pytest.fixture(scope="session")
def forest_model(bundle: Path) -> ForestModel:
    return ForestModel.load(bundle)


@pytest.fixture(scope="module")
def logged(
    mixed_pipeline: Pipeline, mixed_data: TrainingData, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Logged]:
    """Both models, logged with unpickling forbidden."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        mlflow.set_tracking_uri(uri)
        experiment = mlflow.create_experiment("serving", artifact_location=(folder / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment) as run, warnings.catch_warnings():
            # mlflow 3.17 on the columns of an input example
            warnings.filterwarnings("ignore", "Operation with range is deprecated")
            model = log_forest_model(mixed_pipeline, mixed_data)
            explainer = log_explainer(mixed_pipeline, mixed_data)
        yield Logged(uri, run.info.run_id, model.model_uri, explainer.model_uri, Path(folder / "artifacts"))
        mlflow.set_tracking_uri(None)
