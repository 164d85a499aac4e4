import pytest

from proto_model.errors import InputError
from proto_model.explanation import ExplainOptions


def test_options_come_out_of_a_request_s_parameters():
    params = {"explain": True, "engine": "lore", "seed": 7, "immutable_features": ["age"], "effort": None}

    assert ExplainOptions.from_params(params) == ExplainOptions(seed=7, immutable_features=("age",))


def test_all_faults_of_the_options_are_named_at_once(schema):
    options = ExplainOptions(
        effort="heroic",
        seed=1.5,
        max_counterfactuals=99,
        immutable_features=("shoe size",),
        increase_only=("colour", "age"),
        decrease_only=("age",),
    )

    with pytest.raises(InputError) as caught:
        options.validate(schema)

    message = str(caught.value)
    for part in (
        "'heroic'",
        "fast, thorough",
        "1.5",
        "99",
        "from 0 to 20",
        "'shoe size'",
        "'colour'",
        "'age' is in",
    ):
        assert part in message


def test_good_options_pass(schema):
    ExplainOptions("thorough", -3, 0, ("colour",), ("income", "owner"), ("children",)).validate(schema)
