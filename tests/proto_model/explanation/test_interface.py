import numpy as np
import pytest

from proto_model.errors import InputError
from proto_model.explanation import ExplainOptions, FrameModel, make_explainer
from proto_model.table import decode


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


def test_an_unknown_engine_is_refused_with_the_known_ones(schema, rows, model):
    with pytest.raises(InputError, match="'lime' given, one of lore, lore_sa"):
        make_explainer("lime", schema, rows, model)


def test_a_model_over_frames_gets_values_instead_of_codes(schema, rows):
    frames = []

    def predict_proba(frame):
        frames.append(frame)
        return np.tile([0.25, 0.75], (len(frame), 1))

    probabilities = FrameModel(predict_proba, schema)(rows[:3])

    assert probabilities.tolist() == [[0.25, 0.75]] * 3
    assert frames[0].equals(decode(rows[:3], schema))
