"""The same bundle has the same bytes, wherever and whenever it is written."""

import copy
import time

import pytest
from numpy.testing import assert_array_equal

from proto_model.model import Bundle, write_bundle
from proto_model.table import encode


@pytest.fixture
def write(mixed_pipeline, mixed_data, tmp_path):
    """Function that writes a bundle of a pipeline, which is somewhere else in memory each time."""

    def write(name):
        X = encode(mixed_data.X_train, mixed_data.schema)
        write_bundle(tmp_path / name, copy.deepcopy(mixed_pipeline), mixed_data.schema, X)
        return tmp_path / name

    return write


def test_a_bundle_that_is_written_again_has_the_same_bytes(write, monkeypatch):
    first = write("first")
    monkeypatch.setattr(time, "localtime", lambda *_: time.struct_time((2001, 2, 3, 4, 5, 6, 5, 34, 0)))
    second = write("second")

    assert sorted(path.name for path in first.iterdir()) == sorted(path.name for path in second.iterdir())
    differ = [path.name for path in first.iterdir() if path.read_bytes() != (second / path.name).read_bytes()]
    assert differ == []


def test_the_pipeline_is_read_as_it_was(write, mixed_pipeline, mixed_data):
    pipeline = Bundle.load(write("bundle")).pipeline

    assert_array_equal(
        pipeline.predict_proba(mixed_data.X_test), mixed_pipeline.predict_proba(mixed_data.X_test)
    )
    assert pipeline.get_params().keys() == mixed_pipeline.get_params().keys()
