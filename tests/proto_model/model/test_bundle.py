import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from proto_model.errors import ArtifactError
from proto_model.model import Bundle, Predictor, write_bundle
from proto_model.model.digests import write_digests
from proto_model.table import encode


def awkward(frame):
    """The test rows, some with categories never seen, some with values missing."""
    rows = frame.copy()
    rows.loc[::3, "job"] = "astronaut"
    rows.loc[1::3, "job"] = None
    rows.loc[::4, "age"] = np.nan
    return rows


def test_predictions_equal_the_pipelines_bit_for_bit(forest_model, mixed_pipeline, mixed_data):
    rows = awkward(mixed_data.X_test)

    answer = Predictor(forest_model).answer(encode(rows, mixed_data.schema)).frame()

    expected = mixed_pipeline.predict_proba(rows)
    assert_array_equal(answer[mixed_data.schema.probability_columns].to_numpy(), expected)
    assert_array_equal(answer["prediction"].to_numpy(), mixed_pipeline.predict(rows))
    assert_array_equal(answer["probability"].to_numpy(), expected.max(axis=1))


def test_the_pipeline_comes_back_as_it_was(forest_model, mixed_pipeline, mixed_data):
    rows = awkward(mixed_data.X_test)

    assert_array_equal(forest_model.pipeline.predict_proba(rows), mixed_pipeline.predict_proba(rows))


def test_the_background_is_what_was_given_and_at_most_two_thousand_rows(
    tmp_path, mixed_pipeline, mixed_data, forest_model
):
    X_train = encode(mixed_data.X_train, mixed_data.schema)
    write_bundle(tmp_path, mixed_pipeline, mixed_data.schema, np.tile(X_train, (10, 1)))

    assert_array_equal(forest_model.background, X_train)
    assert forest_model.background_kind == "rows"
    assert Bundle.load(tmp_path).background.shape == (2000, X_train.shape[1])


def test_the_bundle_says_that_its_background_is_synthetic(tmp_path, mixed_pipeline, mixed_data):
    rows = encode(mixed_data.X_train, mixed_data.schema)[:7]
    write_bundle(tmp_path, mixed_pipeline, mixed_data.schema, rows, "synthetic")

    bundle = Bundle.load(tmp_path)

    assert bundle.background_kind == "synthetic"
    assert_array_equal(bundle.background, rows)
    assert Predictor(bundle).explainer("lore").background.synthetic


def test_a_background_without_a_kind_is_training_rows_as_up_to_0_2_0(tmp_path, bundle):
    for file in bundle.iterdir():
        Path(tmp_path / file.name).write_bytes(file.read_bytes())
    np.savez_compressed(tmp_path / "background.npz", rows=Bundle.load(bundle).background)
    write_digests(tmp_path)

    assert Bundle.load(tmp_path).background_kind == "rows"


def test_a_background_of_an_unknown_kind_is_refused(tmp_path, bundle):
    for file in bundle.iterdir():
        Path(tmp_path / file.name).write_bytes(file.read_bytes())
    np.savez(tmp_path / "background.npz", rows=Bundle.load(bundle).background, kind="borrowed")
    write_digests(tmp_path)

    with pytest.raises(ArtifactError, match="kind 'borrowed', one of synthetic, rows expected"):
        _ = Bundle.load(tmp_path).background


@pytest.mark.parametrize("name", ["schema.json", "forest.npz"])
def test_a_missing_file_is_named(tmp_path, bundle, name):
    for file in bundle.iterdir():
        if file.name != name:
            Path(tmp_path / file.name).write_bytes(file.read_bytes())

    with pytest.raises(ArtifactError, match=name):
        Bundle.load(tmp_path)


def test_a_damaged_background_is_named(tmp_path, bundle):
    for file in bundle.iterdir():
        Path(tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "background.npz").write_bytes(b"PK\x03\x04 cut off")

    with pytest.raises(ArtifactError, match=r"background\.npz is not the file that was written"):
        Bundle.load(tmp_path)
    write_digests(tmp_path)
    with pytest.raises(ArtifactError, match=r"background\.npz cannot be read as a background"):
        _ = Bundle.load(tmp_path).background


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows[:, :3], "float64 of shape"),
        (lambda rows: rows[0], "float64 of shape"),
        (lambda rows: rows[:0], "float64 of shape"),
        (lambda rows: rows.astype(np.float32), "rows are float32"),
        (lambda rows: np.where(rows == rows[0, 0], np.inf, rows), "not all numbers are finite"),
        (lambda rows: rows + 1000, "column 'job' has codes of none of its 4 categories"),
        (lambda rows: rows * np.nan, "column .* has missing values"),
        (lambda rows: rows.astype(object), "cannot be read as a background"),
    ],
)
def test_a_background_that_does_not_fit_the_schema_is_refused(tmp_path, bundle, change, reason):
    for file in bundle.iterdir():
        Path(tmp_path / file.name).write_bytes(file.read_bytes())
    np.savez(tmp_path / "background.npz", rows=change(Bundle.load(bundle).background))
    write_digests(tmp_path)

    with pytest.raises(ArtifactError, match=reason):
        _ = Bundle.load(tmp_path).background


def test_a_background_of_another_width_is_refused(tmp_path, mixed_pipeline, mixed_data):
    with pytest.raises(ArtifactError, match=r"\[>0, 5\] expected"):
        write_bundle(tmp_path, mixed_pipeline, mixed_data.schema, np.zeros((3, 2)))


def test_another_process_reads_the_bundle_again(forest_model, mixed_data):
    X = encode(mixed_data.X_test, mixed_data.schema)

    content = pickle.dumps(forest_model.predict_proba)

    assert len(content) < 1000
    assert_array_equal(pickle.loads(content)(X), forest_model.predict_proba(X))
