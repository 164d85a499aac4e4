"""Both sides, which share no code, take the same `schema.json` and refuse the same."""

import copy
import json
from pathlib import Path

import pytest

import mapper
from mapper.errors import SchemaError
from proto_model.errors import ArtifactError
from proto_model.schema import ModelSchema

CASES = json.loads((Path(__file__).parents[1] / "schemas" / "cases" / "schemas.json").read_text())


def _changed(case):
    content = copy.deepcopy(CASES["schema"])
    content["target"] |= case.get("with", {})
    *path, last = case["at"]
    place = content
    for key in path:
        place = place[key]
    place[last] = case["value"]
    return content


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
def test_both_sides_take_or_refuse_a_schema(case, tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(_changed(case)))

    if case["is_read"]:
        assert ModelSchema.read(path).digest == mapper.ModelSchema.read(path).digest
    else:
        with pytest.raises(ArtifactError):
            ModelSchema.read(path)
        with pytest.raises(SchemaError):
            mapper.ModelSchema.read(path)


def test_the_order_of_features_categories_and_classes_counts_for_a_forest():
    schema = ModelSchema.from_dict(CASES["schema"])
    for path in (["features"], ["classes"], ["features", 1, "categories"], ["features", 2, "terms"]):
        content = copy.deepcopy(CASES["schema"])
        place = content
        for key in path:
            place = place[key]
        place.reverse()
        assert ModelSchema.from_dict(content).fingerprint != schema.fingerprint
    assert ModelSchema.from_dict({**CASES["schema"], "model_name": "other"}).fingerprint == schema.fingerprint
