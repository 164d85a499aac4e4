from dataclasses import replace

import pytest

from proto_model.registry.promotion.compatibility import differences
from proto_model.schema import Feature, ModelSchema

SIZE = Feature("size", "double", True, minimum=0.0, maximum=9.0, median=3.0)
COLOR = Feature("color", "string", False, categories=("blue", "red"), most_frequent="red")
SCHEMA = ModelSchema("m", "kind", "string", ("a", "b"), (SIZE, COLOR))


def test_a_schema_can_take_its_own_place():
    assert differences(SCHEMA, SCHEMA) == []


def test_what_a_new_table_changes_is_no_difference():
    grown = replace(
        SCHEMA,
        features=(
            replace(COLOR, nullable=True, categories=("blue", "green", "red")),
            replace(SIZE, maximum=99.0, median=7.0),
        ),
    )

    assert differences(SCHEMA, grown) == []


@pytest.mark.parametrize(
    ("other", "phrase"),
    [
        (replace(SCHEMA, target="type"), "target 'kind' (string) against 'type' (string)"),
        (replace(SCHEMA, classes=("a", "b", "c")), "classes ['a', 'b'] against ['a', 'b', 'c']"),
        (replace(SCHEMA, features=(SIZE,)), "features of the champion only: ['color']"),
        (replace(SCHEMA, features=(SIZE, COLOR, replace(SIZE, name="mass"))), "challenger only: ['mass']"),
        (replace(SCHEMA, features=(replace(SIZE, type="long"), COLOR)), "'size': double against long"),
        (
            replace(SCHEMA, features=(replace(SIZE, nullable=False), COLOR)),
            "'size': the champion takes missing",
        ),
    ],
)
def test_what_breaks_callers_is_named(other, phrase):
    (found,) = differences(SCHEMA, other)

    assert phrase in found
