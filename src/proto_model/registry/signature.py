"""Signatures of the served models: what comes out, and what may be asked for; no input columns.

A column in MLflow's signature has MLflow check it first: `double` takes "1.5", true and infinity silently,
turns other strings down without a row and one column at a time, and every column costs time. Columns of any
type, and optional, would leave values alone, but then MLflow refuses every CSV. Without columns
all values reach `proto_model.model.rows`, which names every fault. A body with one row, from JSON to
JSON on a busy two-core machine: 30 columns 1.6 ms without columns in the signature, 6.1 ms with columns of
any type, 12.3 ms with `double`; 500 columns 11 ms without, 87 ms with any type. Names and types are in
the metadata of `MLmodel`, in `mapper/schema.json` and in the input example.
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
