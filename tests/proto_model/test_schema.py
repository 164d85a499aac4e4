import json

import pytest

from proto_model.errors import ArtifactError
from proto_model.schema import Feature, ModelSchema

SCHEMA = ModelSchema(
    "people",
    "class",
    "string",
    ("no", "yes"),
    (Feature("age", "long", False, minimum=0.0, maximum=90.0, median=40.0),),
)


def test_the_task_is_written_and_a_schema_without_one_is_of_a_classifier(tmp_path):
    SCHEMA.write(tmp_path / "schema.json")
    content = json.loads((tmp_path / "schema.json").read_text())

    assert content.pop("task") == "classification"
    assert ModelSchema.from_dict(content) == ModelSchema.read(tmp_path / "schema.json") == SCHEMA


@pytest.mark.parametrize("task", ["regression", None, 1, ["classification"]])
def test_an_unknown_task_is_refused_with_the_known_ones(task):
    with pytest.raises(ArtifactError, match="this release knows classification"):
        ModelSchema.from_dict({**SCHEMA.to_dict(), "task": task})


@pytest.mark.parametrize("features", ["1.0", [["name"]], [5], {"name": 1}, None])
def test_features_of_another_form_are_no_schema(features):
    with pytest.raises(ArtifactError, match="Not a model schema"):
        ModelSchema.from_dict({**SCHEMA.to_dict(), "features": features})
