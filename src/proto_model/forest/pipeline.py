"""The forest inside a fitted pipeline, and how its columns come from the coded matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proto_model.forest.engine import CompiledForest
from proto_model.forest.expansion import ExpandedForest, Expansion
from proto_model.schema import ModelSchema

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def forest_columns(pipeline: Pipeline, schema: ModelSchema) -> NDArray[np.int64]:
    """Index into `schema.features` of each column of the forest in a fitted pipeline.

    Without an expansion, `pipeline.predict_proba(frame)` equals
    `forest.predict_proba(encode(frame, schema)[:, columns])`, bit for bit.
    """
    expansion = expansion_of(pipeline)
    if expansion is not None:
        return expansion.source
    position = {name: index for index, name in enumerate(schema.feature_names)}
    parts = pipeline.named_steps["encode"].transformers_
    return np.array([position[name] for _, _, names in parts for name in names], dtype=np.int64)


def expansion_of(pipeline: Pipeline) -> Expansion | None:
    """Expansion of a fitted pipeline's encoder; None if the forest takes coded columns as they are."""
    arrays = getattr(pipeline.named_steps["encode"], "expansion_", None)
    return None if arrays is None else Expansion(**arrays)


def compiled_forest(pipeline: Pipeline, schema: ModelSchema) -> CompiledForest | ExpandedForest:
    """The forest of a fitted pipeline, compiled for coded matrices in the schema's order."""
    forest, expansion = pipeline.named_steps["forest"], expansion_of(pipeline)
    if expansion is not None:
        return ExpandedForest(expansion, CompiledForest.from_sklearn(forest), len(schema.features))
    return CompiledForest.from_sklearn(
        forest, columns=forest_columns(pipeline, schema).tolist(), n_features=len(schema.features)
    )
