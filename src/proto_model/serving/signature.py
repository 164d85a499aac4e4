"""Signatures of the served models.

PLACEHOLDER
"""

from __future__ import annotations

from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType

from proto_model.schema import FeatureType, ModelSchema

__all__ = ["EXPLAIN_PARAMS", "PREDICT_PARAMS", "explainer_signature", "rows_signature"]

EXPLAIN_PARAMS = [
    ParamSpec("engine", DataType.string, "lore"),
    ParamSpec("effort", DataType.string, "fast"),
    ParamSpec("seed", DataType.long, 0),
    ParamSpec("max_counterfactuals", DataType.long, 3),
    ParamSpec("immutable_features", DataType.string, [], shape=(-1,)),
    ParamSpec("increase_only", DataType.string, [], shape=(-1,)),
    ParamSpec("decrease_only", DataType.string, [], shape=(-1,)),
]
PREDICT_PARAMS = [ParamSpec("explain", DataType.boolean, False), *EXPLAIN_PARAMS]

LABEL_TYPES: dict[FeatureType, DataType] = {
    "double": DataType.double,
    "long": DataType.long,
    "boolean": DataType.boolean,
    "string": DataType.string,
}


def rows_signature(schema: ModelSchema) -> ModelSignature:
    """Signature of the model that takes rows and gives predictions."""
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(LABEL_TYPES[schema.target_type], "prediction"),
        ColSpec(DataType.double, "probability"),
        *(ColSpec(DataType.double, name) for name in schema.probability_columns),
    ]
    return ModelSignature(outputs=Schema(outputs), params=ParamSchema(PREDICT_PARAMS))


def explainer_signature(schema: ModelSchema) -> ModelSignature:
    """Signature of the model that takes rows and gives explanations."""
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(LABEL_TYPES[schema.target_type], "prediction"),
        ColSpec(DataType.double, "probability"),
        ColSpec(AnyType(), "explanation"),  # type: ignore[no-untyped-call]  # mlflow is half typed
    ]
    return ModelSignature(outputs=Schema(outputs), params=ParamSchema(EXPLAIN_PARAMS))
