import numpy as np
import pytest

from proto_model.errors import InputError
from proto_model.explanation import FrameModel, make_explainer
from proto_model.table import decode


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
