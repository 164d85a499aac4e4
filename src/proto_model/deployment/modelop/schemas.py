"""Avro schemas of what a version takes and gives, as records of JSON hold it.

Dates and texts are strings, as they are sent. A name is that of the column, which Avro's own rules would not
allow to have spaces; fastavro takes it. `dataClass` and `role` are ModelOp's.
"""

from __future__ import annotations

import json
import re
from typing import Any

from proto_model.schema import Feature, ModelSchema

_TYPES = {"double": "double", "long": "long", "boolean": "boolean"}


def input_schema(schema: ModelSchema) -> dict[str, Any]:
    """Avro schema of a record to score. A column that may be missing may be absent or null."""
    return _record(f"{schema.model_name} input", [_feature(schema, one) for one in schema.features])


def output_schema(schema: ModelSchema) -> dict[str, Any]:
    """Avro schema of what is given for a record."""
    fields: list[dict[str, Any]] = [
        {
            "name": "prediction",
            "type": _TYPES.get(schema.target_type, "string"),
            "role": "score",
            "dataClass": "categorical",
        }
    ]
    for name in ("probability", *schema.probability_columns):
        fields.append({"name": name, "type": "double", "role": "non_predictor", "dataClass": "numerical"})
    return _record(f"{schema.model_name} output", fields)


def schema_text(schema: dict[str, Any]) -> bytes:
    """File of a schema."""
    return (json.dumps(schema, indent=2, ensure_ascii=False) + "\n").encode()


def _record(name: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return {"type": "record", "name": plain if plain[:1].isalpha() else f"_{plain}", "fields": fields}


def _feature(schema: ModelSchema, feature: Feature) -> dict[str, Any]:
    kind = _TYPES.get(feature.type, "string")
    field: dict[str, Any] = {"name": feature.name, "type": kind}
    if feature.nullable:
        field |= {"type": ["null", kind], "default": None}
    told = schema.entry(feature.name).description
    if told:
        field["doc"] = told
    field |= {"role": "predictor", "dataClass": "numerical" if feature.takes_numbers else "categorical"}
    if feature.categories is not None:
        field["categories"] = list(feature.categories)
    return field
