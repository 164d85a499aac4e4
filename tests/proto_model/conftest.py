"""What several parts are tested on: a table of every kind of column, and a forest fitted on it once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.pipeline import Pipeline

from proto_model.data import RawTable, TrainingData, prepare
from proto_model.training import make_pipeline


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
