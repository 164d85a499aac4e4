"""Explanations in an application's words, where the schema has a data dictionary."""

from copy import deepcopy

import pytest

from mapper.application.model import check_mapping
from mapper.mapping.schema import ModelSchema
from tests.mapper.application.conftest import MAPPING
from tests.mapper.conftest import EXPLANATION, SCHEMA

DICTIONARY = {
    "mass": {"description": "Mass", "unit": "kg", "decode": {"4": "four"}},
    "eggs": {"unit": "pieces"},
    "island": {
        "description": "Where it was seen",
        "decode": {"Biscoe": "Biscoe Island", "Dream": "Dream Island"},
    },
    "species": {
        "description": "What it is",
        "decode": {"Adelie": "Pygoscelis adeliae", "Gentoo": "P. papua"},
    },
}
EXPLAINED = {
    **EXPLANATION,
    "rule": {
        "premises": [
            {"feature": "mass", "above": 4.1},
            {"feature": "eggs", "above": 0, "at_most": 2},
            {"feature": "island", "in": ["Biscoe"]},
        ],
        "consequence": "Gentoo",
        "text": "",
        "precision": 0.9,
        "coverage": 0.4,
    },
}


@pytest.fixture
def told():
    return ModelSchema.from_dict({**SCHEMA, "schema_version": "1.1", "dictionary": DICTIONARY})


def text_of(mapped):
    return mapped.answers._explanations.map(deepcopy(EXPLAINED))["rule"]["text"]


def test_a_field_that_is_converted_or_looked_up_keeps_the_clients_words(told):
    mapped = check_mapping(MAPPING.encode(), told)

    assert text_of(mapped) == "IF weight > 4100 AND 0 < eggs (pieces) <= 2 AND site is BI or Bi THEN G"
    assert mapped.schema.content["dictionary"] == {
        "site": {"description": "Where it was seen"}, "species": {"description": "What it is"}
    }  # fmt: skip
    assert ModelSchema.from_dict(mapped.schema.content).digest == mapped.schema.digest


def test_a_field_of_another_name_keeps_unit_and_meanings(told):
    mapped = check_mapping(
        b"mapping: 1\nrequest: {where: island, weight: {feature: mass, text: On the scales}}\n", told
    )

    assert text_of(mapped) == (
        "IF weight (kg) > 4.1 AND 0 < eggs (pieces) <= 2 AND where is Biscoe Island THEN P. papua"
    )
    told_of = mapped.schema.content["dictionary"]
    assert told_of["where"] == DICTIONARY["island"]
    assert told_of["weight"] == {"unit": "kg", "decode": {"4": "four"}}
    assert told_of["species"] == DICTIONARY["species"]
    weight = next(feature for feature in mapped.schema.features if feature.name == "weight")
    assert weight.told == ["On the scales.", "Unit: kg.", "4: four."]


def test_numbers_in_an_interval_are_told_with_what_they_mean(told):
    mapped = check_mapping(b"mapping: 1\n", told)
    explained = {**EXPLAINED, "rule": {**EXPLAINED["rule"], "premises": [{"feature": "mass", "at_most": 4}]}}

    text = mapped.answers._explanations.map(explained)["rule"]["text"]
    assert text == "IF mass (kg) <= 4 (four) THEN P. papua"


def test_without_a_dictionary_a_mapping_shows_none(schema):
    mapped = check_mapping(MAPPING.encode(), schema)

    assert "dictionary" not in mapped.schema.content
    assert text_of(mapped) == "IF weight > 4100 AND 0 < eggs <= 2 AND site is BI or Bi THEN G"
