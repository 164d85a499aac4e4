from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from proto_model.errors import ArtifactError
from proto_model.model import Bundle, write_bundle
from proto_model.registry.promotion.comparison import ComparisonError
from proto_model.registry.promotion.opponents import (
    _taken,
    forest_labels,
    load_contender,
    pyfunc_labels,
)
from proto_model.table import encode


class Answering:
    """What is used of a loaded pyfunc model, with a fixed answer."""

    metadata = SimpleNamespace(signature=None)

    def __init__(self, answer):
        self.answer = answer

    def predict(self, frame):
        return self.answer


def test_a_forest_gives_the_labels_of_its_pipeline_in_any_order_of_columns(
    mixed_data, mixed_pipeline, tmp_path
):
    write_bundle(tmp_path, mixed_pipeline, mixed_data.schema, encode(mixed_data.X_train, mixed_data.schema))
    forest = Bundle.load(tmp_path)
    frame = mixed_data.X_test.assign(job=mixed_data.X_test["job"].replace("pilot", "an unknown job"))

    assert list(forest_labels(forest, frame[frame.columns[::-1]])) == mixed_pipeline.predict(frame).tolist()


@pytest.mark.parametrize(
    "answer",
    [
        ["a", "b"],
        np.array(["a", "b"]),
        pd.Series(["a", "b"]),
        pd.DataFrame({"probability": [0.9, 0.8], "prediction": ["a", "b"]}),
        pd.DataFrame({"label": ["a", "b"]}),
    ],
    ids=["list", "array", "series", "column prediction", "only column"],
)
def test_labels_are_found_in_any_usual_answer(answer):
    assert pyfunc_labels(Answering(answer), pd.DataFrame({"x": [1, 2]})) == ["a", "b"]


@pytest.mark.parametrize("answer", [["a"], np.zeros((2, 3))], ids=["too few", "a matrix"])
def test_an_answer_that_is_not_a_label_per_row_is_refused_with_its_shape(answer):
    with pytest.raises(ComparisonError, match="shape"):
        pyfunc_labels(Answering(answer), pd.DataFrame({"x": [1, 2]}))


def test_a_version_without_artifact_is_named(client, tmp_path):
    version = client.create_model_version("m", "file:///nowhere").version
    with pytest.raises(ArtifactError, match=f"Cannot load version {version} of 'm'"):
        load_contender("m", str(version), tmp_path)


@pytest.mark.parametrize("text", ["x: [1", "[]", "5", "signature: 5", "signature: {inputs: x}"])
def test_a_damaged_mlmodel_is_an_error_of_the_artifact(tmp_path, text):
    (tmp_path / "MLmodel").write_text(text)

    with pytest.raises(ArtifactError, match="MLmodel is damaged"):
        _taken(tmp_path)
