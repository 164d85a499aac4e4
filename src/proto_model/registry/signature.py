"""Signatures of the served models: what goes in, what comes out, and what may be asked for.

The columns of rows are told, with their types, not checked: `double` would take "1.5", true and infinity
silently, and report one column at a time without its row. `proto_model.serving.mlflow.columns` sees to it
that all values reach `proto_model.model.rows`, which names every fault.
"""

from __future__ import annotations

import typing

from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType

from proto_model.files import Summary
from proto_model.model import answer_fields
from proto_model.parameters import EXPLAINER, FILE, ROWS, Parameters, Signature, parameters_of
from proto_model.schema import ModelSchema

_PARAM_TYPES = {bool: DataType.boolean, int: DataType.long, float: DataType.double, str: DataType.string}
_ANY = AnyType()  # type: ignore[no-untyped-call]  # mlflow is half typed


def rows_signature(schema: ModelSchema) -> ModelSignature:
    """Signature of the model that takes rows and gives predictions."""
    return _row_signature(schema, ROWS)


def explainer_signature(schema: ModelSchema) -> ModelSignature:
    """Signature of the model that takes rows and gives explanations."""
    return _row_signature(schema, EXPLAINER)


def file_signature() -> ModelSignature:
    """Signature of the model that takes jobs of two presigned URLs and gives a summary of each."""
    # Texts all; of any type, because MLflow puts the data, URLs and all, into its errors about types.
    inputs = [ColSpec(_ANY, name, required=False) for name in ("input_url", "output_url", "file_id")]
    outputs = [
        ColSpec(_summary_type(hint), name, required=False)
        for name, hint in typing.get_type_hints(Summary).items()
    ]
    return ModelSignature(Schema([*inputs]), Schema([*outputs]), _params(FILE))


def _row_signature(schema: ModelSchema, signature: Signature) -> ModelSignature:
    # Dates are told as text: that is how JSON and CSV carry them, and MLflow's `datetime` would take a number
    # for nanoseconds and give an offset up before the rule book could see either.
    inputs = [
        ColSpec(DataType[f.type] if f.takes_numbers else DataType.string, f.name, required=not f.nullable)
        for f in schema.features
    ]
    fields = answer_fields(schema, Parameters.from_params(None, schema, signature), signature)
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(_ANY if field.type == "json" else DataType[field.type], field.name) for field in fields
    ]
    return ModelSignature(Schema([*inputs]), Schema(outputs), _params(signature))


def _params(signature: Signature) -> ParamSchema:
    """Parameters with their types and defaults."""
    return ParamSchema(
        [
            ParamSpec(p.name, _PARAM_TYPES[p.kind], list(p.default), (-1,))
            if p.is_list
            else ParamSpec(p.name, _PARAM_TYPES[p.kind], p.default)
            for p in parameters_of(signature)
        ]
    )


def _summary_type(hint: typing.Any) -> DataType:
    kinds = {hint, *typing.get_args(hint)}
    return DataType.long if int in kinds else DataType.double if float in kinds else DataType.string
