"""What several parts are tested on: a table of every kind of column, and a forest fitted on it once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.pipeline import Pipeline

from proto_model.model import Bundle, write_bundle
from proto_model.registry.logged_model import log_explainer, log_forest_model
from proto_model.table import RawTable, TrainingData, encode, prepare
from proto_model.training import make_pipeline
from scripts.object_store import ObjectStore
from tests.stores import fresh_store


@pytest.fixture(scope="session")
def mixed_frame() -> pd.DataFrame:
    """600 people: numbers, whole numbers, truth values and categories, some missing, two uneven classes."""
    rng = np.random.default_rng(7)
    n_rows = 600
    age = rng.integers(18, 90, n_rows)
    income = rng.lognormal(10, 0.6, n_rows)
    job = rng.choice(np.array(["clerk", "farmer", "nurse", "pilot"], dtype=object), n_rows)
    owner = rng.random(n_rows) < 0.4
    score = (age - 50) / 20 + np.log(income / 22_000) + (job == "pilot") + owner + rng.normal(0, 0.5, n_rows)
    return pd.DataFrame(
        {
            "age": pd.array(np.where(rng.random(n_rows) < 0.05, None, age), dtype="Int64"),
            "income": income,
            "job": pd.Series(np.where(rng.random(n_rows) < 0.1, None, job), dtype=object),
            "owner": owner,
            "children": rng.integers(0, 4, n_rows),
            "class": np.where(score > 1.6, "yes", "no"),
        }
    )


@pytest.fixture(scope="session")
def mixed_data(mixed_frame: pd.DataFrame) -> TrainingData:
    """`mixed_frame` split and typed."""
    table = pa.Table.from_pandas(mixed_frame, preserve_index=False)
    return prepare(RawTable("people", "people.parquet", table))


@pytest.fixture(scope="session")
def mixed_pipeline(mixed_data: TrainingData) -> Pipeline:
    """A small forest fitted on `mixed_data`; not to be changed by tests."""
    pipeline = make_pipeline("random_forest", mixed_data.schema, 0, n_estimators=20)
    return pipeline.fit(mixed_data.X_train, mixed_data.y_train)


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
def forest_model(bundle: Path) -> Bundle:
    return Bundle.load(bundle)


@pytest.fixture(scope="module")
def logged(
    mixed_pipeline: Pipeline, mixed_data: TrainingData, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Logged]:
    """Both models, logged with unpickling forbidden."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        uri = fresh_store(folder)
        mlflow.set_tracking_uri(uri)
        experiment = mlflow.create_experiment("serving", artifact_location=(folder / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment) as run, warnings.catch_warnings():
            # mlflow 3.17 on the columns of an input example
            warnings.filterwarnings("ignore", "Operation with range is deprecated")
            model = log_forest_model(mixed_pipeline, mixed_data)
            explainer = log_explainer(mixed_pipeline, mixed_data)
        yield Logged(uri, run.info.run_id, model.model_uri, explainer.model_uri, Path(folder / "artifacts"))
        mlflow.set_tracking_uri(None)


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 store that checks signatures."""
    with ObjectStore.running(tmp_path_factory.mktemp("store")) as store:
        yield store
