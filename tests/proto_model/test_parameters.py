"""The table of parameters, and that everything else about them is derived from it."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from proto_model.cli import score
from proto_model.errors import InputError
from proto_model.parameters import EXPLAINER, FILE, ROWS, Parameters, parameters_of
from proto_model.registry.signature import explainer_signature, file_signature, rows_signature
from proto_model.schema import Feature, ModelSchema
from scripts import parameter_tables

SCHEMA = ModelSchema(
    "people",
    "class",
    "string",
    ("no", "yes"),
    (
        Feature("income", "double", True, minimum=0.0, maximum=1.0, median=0.5),
        Feature("age", "long", False, minimum=0.0, maximum=90.0, median=40.0),
        Feature("colour", "string", True, categories=("blue", "red"), most_frequent="red"),
    ),
)

NAMES = [field.name for field in fields(Parameters)]
OTHER = {bool: "yes", int: "1", float: "1", str: 1}  # a value of another type


@pytest.mark.parametrize("name", NAMES)
def test_a_line_of_the_table_is_all_that_a_parameter_needs(name):
    (parameter,) = (row for row in parameters_of() if row.name == name)

    signatures = {
        ROWS: rows_signature(SCHEMA),
        EXPLAINER: explainer_signature(SCHEMA),
        FILE: file_signature(),
    }
    for signature, of_mlflow in signatures.items():
        specs = {spec.name: spec for spec in of_mlflow.params.params}
        assert (name in specs) == (signature in parameter.of)
        if name in specs:
            assert specs[name].default == (
                list(parameter.default) if parameter.is_list else parameter.default
            )
    with pytest.raises(InputError, match=f"^Parameters: {name}: .* given, {parameter.expected} expected"):
        Parameters.from_params({name: OTHER[parameter.kind]}, SCHEMA)
    assert f"--{name.replace('_', '-')}" in score.build_parser().format_help()


def test_the_documents_have_the_tables():
    for path, text in parameter_tables.documents().items():
        assert path.read_text(encoding="utf-8") == text, "run python scripts/parameter_tables.py"


def test_what_is_not_given_is_the_default():
    given = {"explain": True, "engine": "", "seed": 7, "immutable_features": ["age"], "effort": None}

    assert Parameters.from_params(given) == Parameters(explain=True, seed=7, immutable_features=("age",))
    assert Parameters.from_params(None) == Parameters()


def test_only_parameters_of_the_signature_are_taken():
    given = {"explain": False, "on_bad_row": "mark", "shoe_size": 43, "seed": 1}

    assert Parameters.from_params(given, SCHEMA, ROWS) == Parameters(seed=1)
    assert Parameters.from_params(given, SCHEMA, EXPLAINER) == Parameters(explain=True, seed=1)
    assert Parameters.from_params(given, SCHEMA, FILE) == Parameters(on_bad_row="mark", seed=1)


def test_numpys_values_are_taken_as_plain_ones():
    given = {"explain": np.bool_(True), "seed": np.int64(3), "increase_only": np.array(["age"])}

    assert Parameters.from_params(given, SCHEMA) == Parameters(explain=True, seed=3, increase_only=("age",))


def test_all_faults_are_named_at_once():
    given = {
        "effort": "heroic",
        "seed": 1.5,
        "max_counterfactuals": 99,
        "immutable_features": ["shoe size"],
        "increase_only": ["colour"],
        "decrease_only": "age",
        "passthrough": ["id", "id"],
        "explain": 1,
    }

    with pytest.raises(InputError) as caught:
        Parameters.from_params(given, SCHEMA)

    message = str(caught.value)
    for part in (
        "explain: 1 given, true or false expected",
        "effort: 'heroic' given, one of fast, thorough expected",
        "seed: 1.5 given, a whole number expected",
        "max_counterfactuals: 99 given, a whole number from 0 to 20 expected",
        "immutable_features: no feature 'shoe size'; the model has 'income', 'age', 'colour'",
        "increase_only: the categories of 'colour' have no order; use immutable_features",
        "decrease_only: 'age' given, a list of strings expected",
        "passthrough: ['id', 'id'] names a column twice",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"immutable_features": [5]}, r"immutable_features: \[5\] given, a list of strings expected"),
        ({"coverage": True}, "coverage: true given, a number from 0.5 to 0.999 expected"),
    ],
)
def test_what_was_given_is_shown_as_requests_write_it(given, words):
    with pytest.raises(InputError, match=words):
        Parameters.from_params(given, SCHEMA)


def test_a_feature_cannot_be_increased_only_and_decreased_only():
    with pytest.raises(InputError, match="'age' is in increase_only and in decrease_only"):
        Parameters.from_params({"increase_only": ["age"], "decrease_only": ["age"]}, SCHEMA)


def test_good_values_pass():
    Parameters(
        effort="thorough", seed=-3, max_counterfactuals=0, immutable_features=("colour",),
        increase_only=("income",), decrease_only=("age",),
    ).validate(SCHEMA)  # fmt: skip


@pytest.mark.parametrize("params", [5, [], "explain"])
def test_params_that_are_no_object_are_refused(params):
    with pytest.raises(InputError, match="params must be an object"):
        Parameters.from_params(params)


def test_of_many_faults_twenty_are_named_and_the_rest_is_counted():
    with pytest.raises(InputError) as caught:
        Parameters.from_params({"immutable_features": [f"f{n}" for n in range(100_000)]}, SCHEMA)

    assert str(caught.value).endswith("; and 99980 more.")
    assert len(str(caught.value)) < 3000
