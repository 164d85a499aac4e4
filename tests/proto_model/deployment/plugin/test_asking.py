import numpy as np
import pandas as pd
import pytest

from proto_model.deployment.plugin.asking import records_of
from proto_model.deployment.plugin.errors import DeploymentInputError


def test_rows_of_a_data_frame_are_what_json_has():
    frame = pd.DataFrame(
        {
            "n": np.array([1, 2], dtype=np.int64),
            "x": [0.1 + 0.2, np.nan],
            "b": [True, False],
            "t": ["a", None],
            "d": pd.to_datetime(["2026-01-02", None]),
        }
    )

    assert records_of(frame) == [
        {"n": 1, "x": 0.1 + 0.2, "b": True, "t": "a", "d": "2026-01-02T00:00:00"},
        {"n": 2, "x": None, "b": False, "t": None, "d": None},
    ]


def test_a_record_is_a_row():
    assert records_of({"a": 1}) == records_of([{"a": np.int64(1)}]) == [{"a": 1}]


@pytest.mark.parametrize("inputs", [None, [], "a", 3, [1], pd.DataFrame()])
def test_what_is_no_rows_is_told(inputs):
    with pytest.raises(DeploymentInputError, match="rows expected"):
        records_of(inputs)
