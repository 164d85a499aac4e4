"""Signatures of the served models: what comes out, and what may be asked for; rows have no input columns.

MLflow would check columns first: `double` takes "1.5", true and infinity silently and reports one column at
a time without its row; columns of any type refuse every CSV, and 30 columns cost 4 to 11 ms per request.
Without columns, all values reach `proto_model.model.rows`, which names every fault. Names and types are
in the metadata of `MLmodel`, in `mapper/schema.json` and in the input example.
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

_PARAM_TYPES = {bool: DataType.boolean, int: DataType.long, str: DataType.string}
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
    fields = answer_fields(schema, Parameters.from_params(None, schema, signature), signature)
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(_ANY if field.type == "json" else DataType[field.type], field.name) for field in fields
    ]
    return ModelSignature(outputs=Schema(outputs), params=_params(signature))


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
