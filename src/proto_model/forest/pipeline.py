"""Where the forest inside a fitted pipeline finds its features in the coded matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proto_model.forest.engine import CompiledForest
from proto_model.schema import ModelSchema

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def forest_columns(pipeline: Pipeline, schema: ModelSchema) -> NDArray[np.int64]:
    """Index into `schema.features` of each feature of the forest in a fitted pipeline.

    With it, `pipeline.predict_proba(frame)` equals `forest.predict_proba(encode(frame, schema)[:, columns])`,
    bit for bit.
    """
    position = {name: index for index, name in enumerate(schema.feature_names)}
    parts = pipeline.named_steps["encode"].transformers_
    return np.array([position[name] for _, _, names in parts for name in names], dtype=np.int64)


def compiled_forest(pipeline: Pipeline, schema: ModelSchema) -> CompiledForest:
    """The forest of a fitted pipeline, compiled for coded matrices in the schema's order."""
    return CompiledForest.from_sklearn(
        pipeline.named_steps["forest"],
        columns=forest_columns(pipeline, schema).tolist(),
        n_features=len(schema.features),
    )
