"""What OpenAPI says of an explanation is part of its JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_type_hints

import jsonschema
import pytest

from mapper.client import answers
from mapper.mapping.explanation import EXPLANATION

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"
FULL = json.loads((SCHEMAS / "explanation.schema.json").read_text(encoding="utf-8"))
COUNTERFACTUAL = "counterfactuals"


def parts(schema):
    """An explanation, its rule, a counterfactual, and one of its changes."""
    keys = schema["properties"]
    one = keys[COUNTERFACTUAL]["items"]
    return [schema, keys["rule"], one, one["properties"]["changes"]["items"]]


def test_it_has_no_key_that_the_schema_lacks_and_requires_none_that_may_be_missing():
    for said, full in zip(parts(EXPLANATION), parts(FULL), strict=True):
        assert said["properties"].keys() <= full["properties"].keys()
        assert set(said.get("required", ())) <= set(full["required"])


def test_the_types_for_applications_have_the_same_keys():
    types = [answers.Explanation, answers.Rule, answers.Counterfactual, answers.Change]
    for said, type_ in zip(parts(EXPLANATION), types, strict=True):
        assert set(said["properties"]) == type_.__required_keys__ | (
            type_.__optional_keys__ & said["properties"].keys()
        )
        assert get_type_hints(type_)


def test_it_is_a_json_schema():
    jsonschema.Draft202012Validator.check_schema(EXPLANATION)
    with pytest.raises(jsonschema.ValidationError, match="'text' is a required property"):
        jsonschema.validate(
            {"premises": [], "consequence": 1, "precision": 1, "coverage": None},
            EXPLANATION["properties"]["rule"],
        )
