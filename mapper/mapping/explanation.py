"""What OpenAPI says of an explanation: what applications read, as in schemas/explanation.schema.json.

The model server makes explanations and the mapper sends them on, so a later one may have more keys.
"""

from __future__ import annotations

from typing import Any

__all__ = ["EXPLANATION"]

_TEXT = {"type": "string"}
_LABEL = {"type": ["string", "number", "boolean"]}
_SHARE = {"type": ["number", "null"]}
_LIST_OF_OBJECTS = {"type": "array", "items": {"type": "object"}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


# The mapper sends on any object, so none of its parts is promised.
EXPLANATION: dict[str, Any] = _object(
    prediction=_LABEL,
    probability={"type": "number"},
    rule=_object(
        premises=_LIST_OF_OBJECTS, consequence=_LABEL, text=_TEXT, precision=_SHARE, coverage=_SHARE
    ),
    counterfactuals={
        "type": "array",
        "items": _object(
            changes={"type": "array", "items": _object(**{"feature": _TEXT, "from": {}, "to": {}})},
            prediction=_LABEL,
            probability={"type": "number"},
            valid={"type": "boolean"},
            distance={"type": "number"},
            text=_TEXT,
        ),
    },
    feature_importances={"type": "object", "additionalProperties": {"type": "number"}},
    fidelity=_SHARE,
    engine=_TEXT,
    notes={"type": "array", "items": _TEXT},
)
del EXPLANATION["required"]
