"""Both sides, which share no code, take the same `schema.json` and refuse the same."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mapper
from mapper.errors import SchemaError
from proto_model.errors import ArtifactError
from proto_model.schema import ModelSchema

SCHEMAS = Path(__file__).parents[1] / "schemas"
CASES = json.loads((SCHEMAS / "cases" / "schemas.json").read_text())
DICTIONARY = {
    "age": {"description": "Age at admission", "unit": "years", "protected": True},
    "job": {"decode": {"clerk": "office", "nurse": "ward"}, "author": "A. Nurse"},
    "class": {"description": "Who came back"},
}
#: A reader of each side, and the error that refuses a schema.
READERS = [(ModelSchema.from_dict, ArtifactError), (mapper.ModelSchema.from_dict, SchemaError)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


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


def _places(content, at=()):
    """Paths of all objects of a schema but those whose keys are data."""
    if isinstance(content, dict):
        if at != ("dictionary",) and at[-1:] != ("decode",):
            yield at
        for key, value in content.items():
            yield from _places(value, (*at, key))
    elif isinstance(content, list):
        for position, value in enumerate(content):
            yield from _places(value, (*at, position))


@given(st.integers(0, 99), st.data())
def test_any_later_version_is_read_with_unknown_keys_at_every_level(minor, data):
    content = {**copy.deepcopy(CASES["schema"]), "dictionary": copy.deepcopy(DICTIONARY)}
    content["schema_version"] = f"1.{minor}"
    for path in list(_places(content)):
        place = content
        for key in path:
            place = place[key]
        new = data.draw(st.dictionaries(st.text(min_size=1).map("x-{}".format), JSON, max_size=2))
        place |= new
    plain = {**CASES["schema"], "dictionary": DICTIONARY}

    for read, _ in READERS:
        found, known = read(content), read(plain)
        assert (found.digest, found.features) == (known.digest, known.features)
        assert found.classes == known.classes


@pytest.mark.parametrize("version", ["2.0", "0.9", "10.1", "", "one"])
def test_another_major_version_is_refused_with_what_is_read(version):
    for read, error in READERS:
        with pytest.raises(error, match=r"reads( schema_version)? 1\.x"):
            read({**CASES["schema"], "schema_version": version})


def test_both_sides_read_the_same_dictionary():
    content = {**CASES["schema"], "dictionary": DICTIONARY}
    model, client = ModelSchema.from_dict(content), mapper.ModelSchema.from_dict(content)

    for feature in client.features:
        assert (
            feature.entry.to_dict() == model.entry(feature.name).to_dict() == DICTIONARY.get(feature.name, {})
        )
        assert feature.entry.words == model.entry(feature.name).words
    assert client.target_entry.to_dict() == model.entry("class").to_dict() == DICTIONARY["class"]


def test_what_people_are_told_changes_no_digest_and_no_schema_without_it_changes():
    schema = ModelSchema.from_dict(CASES["schema"])
    told = schema.with_dictionary(
        dict(ModelSchema.from_dict({**CASES["schema"], "dictionary": DICTIONARY}).dictionary)
    )
    bare = told.with_dictionary({})

    assert (told.digest, told.fingerprint) == (schema.digest, schema.fingerprint)
    assert mapper.ModelSchema.from_dict(told.to_dict()).digest == schema.digest == "123ff0b3398fb8af"
    assert told.to_dict()["schema_version"] == "1.1"
    assert told.to_dict() == {**schema.to_dict(), "schema_version": "1.1", "dictionary": DICTIONARY}
    # Byte for byte as 0.3.0 wrote it, so bundles without a dictionary keep their digests.
    assert json.dumps(bare.to_dict()) == json.dumps(CASES["schema"])


def test_the_json_schema_describes_what_is_written():
    document = json.loads((SCHEMAS / "model-schema.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(document)
    content = {**CASES["schema"], "schema_version": "1.1", "dictionary": DICTIONARY}
    validator.validate(content)

    for wrong in ({"age": {"unit": 5}}, {"age": "years"}, {"age": {"protected": "yes"}}, []):
        assert not validator.is_valid({**content, "dictionary": wrong})
