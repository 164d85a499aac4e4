import numpy as np

from proto_model.explanation import FrameModel
from proto_model.table import decode


def test_a_model_over_frames_gets_values_instead_of_codes(schema, rows):
    frames = []

    def predict_proba(frame):
        frames.append(frame)
        return np.tile([0.25, 0.75], (len(frame), 1))

    probabilities = FrameModel(predict_proba, schema)(rows[:3])

    assert probabilities.tolist() == [[0.25, 0.75]] * 3
    assert frames[0].equals(decode(rows[:3], schema))
