import datetime
import tempfile
from pathlib import Path

import numpy as np
import pytest

from proto_model.errors import ArtifactError
from proto_model.formats.onnx_graph import output_names, write_onnx
from proto_model.formats.onnx_run import feeds
from proto_model.formats.rows import Rows, made_rows
from tests.proto_model.formats.sources import make_source

onnx = pytest.importorskip("onnx", reason="The extra proto-model-turbo[formats] is not installed")
onnxruntime = pytest.importorskip("onnxruntime")


def session_of(content, n_threads=0):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def dated():
    """A version with dates, as version and as graph."""
    with tempfile.TemporaryDirectory() as folder:
        source = make_source(2, ("date", "datetime", "double"), folder=Path(folder, "bundle"))
        yield source, session_of(write_onnx(source))


def test_many_trees_give_the_same_bits_with_any_number_of_threads():
    """Of more than 80 trees, onnxruntime adds those of one row in several threads, in any order."""
    with tempfile.TemporaryDirectory() as folder:
        source = make_source(
            9, ("double", "tenths", "string"), n_trees=120, n_classes=3, folder=Path(folder, "bundle")
        )
        rows = made_rows(source, source.bundle.background, 60)
        content = write_onnx(source)
    _, probabilities = source.answers(rows.matrix)
    for n_threads in (1, 4):
        session = session_of(content, n_threads)
        names = output_names(source)[2:]
        for start, end in ((0, 1), (1, 2), (0, 60)):
            part = Rows(rows.schema, rows.matrix[start:end], rows.unseen[start:end])
            found = np.column_stack(session.run(names, feeds(part)))
            np.testing.assert_array_equal(found, probabilities[start:end])


def test_columns_and_answers_have_the_names_that_the_version_has(dated):
    source, session = dated
    assert [one.name for one in session.get_inputs()] == source.schema.feature_names
    assert [one.name for one in session.get_outputs()] == [
        "prediction", "probability", "probability_class 00 <&>", "probability_class 01 <&>",
    ]  # fmt: skip
    row = {one.name: np.array([""] if "string" in one.type else [np.nan]) for one in session.get_inputs()}
    label, own, *by_class = session.run(None, row)
    assert own[0] == max(by_class)[0]
    assert label[0] == source.schema.classes[int(np.argmax(by_class))]


@pytest.mark.parametrize(
    "text", ["1999-12-31", "1999-12-31T00:00", "1999-12-31T00:00:00", "1999-12-31T00:00:00Z"]
)
def test_a_moment_may_be_written_in_several_ways(dated, text):
    source, session = dated
    moment = datetime.datetime(1999, 12, 31, tzinfo=datetime.UTC).timestamp()
    matrix = np.array([[-400.0, moment, 0.5]])
    columns = feeds(Rows.of(source.schema, matrix))
    columns[source.schema.feature_names[1]] = np.array([text], dtype=object)
    found = np.column_stack(session.run(output_names(source)[2:], columns))
    np.testing.assert_array_equal(found, source.answers(matrix)[1])


@pytest.mark.parametrize("text", ["yesterday", "1999-12-31 08:00", "1999-12-31T08:00:00+02:00", "31.12.1999"])
def test_a_text_that_is_no_date_ends_the_run(dated, text):
    source, session = dated
    columns = feeds(Rows.of(source.schema, np.array([[-400.0, 0.0, 0.5]])))
    columns[source.schema.feature_names[1]] = np.array([text], dtype=object)
    with pytest.raises(Exception, match="Cast"):
        session.run(None, columns)


def test_the_same_version_gives_the_same_bytes(dated):
    source, _ = dated
    assert write_onnx(source) == write_onnx(source)
    onnx.checker.check_model(onnx.load_from_string(write_onnx(source)), full_check=True)


def test_a_feature_with_the_name_of_an_output_is_refused(dated, monkeypatch):
    source, _ = dated
    monkeypatch.setattr("proto_model.formats.onnx_graph.output_names", lambda _: source.schema.feature_names)
    with pytest.raises(ArtifactError, match="has the name of an output"):
        write_onnx(source)
