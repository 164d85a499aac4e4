import json
from pathlib import Path

import jsonschema
import pytest

from mapper import ModelSchema
from mapper.errors import SchemaError
from mapper.http.openapi import openapi_document
from proto_model.schema import ModelSchema as ModelSideSchema

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"


def test_the_schema_of_the_tests_is_a_model_schema(schema):
    jsonschema.validate(schema.content, json.loads((SCHEMAS / "model-schema.schema.json").read_text()))


def test_both_sides_read_the_same_from_the_same_file(schema):
    other = ModelSideSchema.from_dict(schema.content)

    assert schema.digest == other.digest
    assert schema.feature_names == other.feature_names
    assert [f"probability_{text}" for text in schema.class_texts] == other.probability_columns


def test_a_typical_record_is_valid(model):
    request = model.map_request({"data": model.schema.typical_record})

    assert request.warning_count == 0


def test_it_is_found_in_a_file_and_in_a_models_folder(schema, schema_path, tmp_path):
    (tmp_path / "mapper").mkdir()
    (tmp_path / "mapper" / "schema.json").write_text(schema_path.read_text())

    assert ModelSchema.read(schema_path) == ModelSchema.read(tmp_path) == schema


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none.json", "Cannot read .*none.json: No such file"),
        ("folder", "folder has neither mapper/schema.json nor schema.json"),
        ("other.json", "other.json: Not a model schema: it is not JSON"),
        ("old.json", "old.json: This release reads schema_version 1.x, not 0.9"),
    ],
)
def test_a_file_that_is_none_is_named_with_what_is_wrong(schema, tmp_path, name, told):
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.json").write_text("hello")
    (tmp_path / "old.json").write_text(json.dumps({**schema.content, "schema_version": "0.9"}))

    with pytest.raises(SchemaError, match=told):
        ModelSchema.read(tmp_path / name)


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": "2.0"},
        {"schema_version": 1},
        {"classes": []},
        {"features": []},
        {"features": [{"name": "a", "type": "date", "nullable": True}]},
        {"features": [{"name": "a", "type": "double", "nullable": True}]},
        {"target": "species"},
        {"task": ["classification"]},
    ],
)
def test_a_damaged_schema_is_refused(schema, change):
    with pytest.raises(SchemaError):
        ModelSchema.from_dict({**schema.content, **change})


def test_the_task_is_classification_unless_the_schema_says_otherwise(schema):
    assert schema.task == "classification"
    assert ModelSchema.from_dict({**schema.content, "task": "classification"}).task == "classification"
    other = {name: part for name, part in schema.content.items() if name != "classes"}

    with pytest.raises(SchemaError, match="knows the task classification, not 'regression'"):
        ModelSchema.from_dict({**other, "task": "regression"})


def test_the_same_name_twice_is_refused(schema):
    content = {**schema.content, "features": schema.content["features"][:1] * 2}

    with pytest.raises(SchemaError, match="same name"):
        ModelSchema.from_dict(content)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_text_that_is_no_schema_is_refused(text):
    with pytest.raises(SchemaError):
        ModelSchema.from_json(text)


def test_openapi_accepts_what_the_mapper_accepts(model, record):
    document = openapi_document(model, None)
    validator = jsonschema.Draft202012Validator({"$ref": "#/components/schemas/predictRows", **document})

    assert validator.is_valid({"data": record})
    assert validator.is_valid({"data": [record, {"mass": 4, "ringed": False}]})
    assert validator.is_valid({"data": {**record, "mass": " 4"}})
    assert not validator.is_valid({"data": {**record, "mass": "heavy"}})
    assert not validator.is_valid({"data": {**record, "mas": 4}})


@pytest.mark.parametrize(("takes", "kinds"), [("rows", 1), ("file", 1), (None, 2)])
def test_openapi_describes_what_the_model_takes(model, takes, kinds):
    body = openapi_document(model, takes)["paths"]["/v1/predict"]["post"]["requestBody"]

    schema = body["content"]["application/json"]["schema"]
    assert len(schema.get("anyOf", [schema])) == kinds
