import shutil
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlparse

import mlflow
import numpy as np
import pandas as pd
import pytest

from proto_model.errors import ArtifactError, DataError
from proto_model.model import Bundle, write_bundle
from proto_model.registry.promotion.comparison import ComparisonError
from proto_model.registry.promotion.opponents import (
    _taken,
    forest_labels,
    held_out_rows,
    load_contender,
    pyfunc_labels,
)
from proto_model.registry.record import log_split
from proto_model.table import encode, load_training_data
from proto_model.table.split import HASH_COLUMN


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


@pytest.fixture(scope="module")
def version_trained_on(client, tmp_path_factory):
    """Version whose run has split a table, together with its training data."""
    table = tmp_path_factory.mktemp("tables") / "people.parquet"

    def train(frame, test_size=0.3):
        frame.to_parquet(table)
        data = load_training_data(str(table), test_size=test_size)
        with mlflow.start_run(experiment_id="1") as run:
            log_split(data)
        tags = {"split_run_id": run.info.run_id}
        return client.create_model_version("m", "file:///nowhere", run.info.run_id, tags=tags), data

    return train


@pytest.fixture(scope="module")
def small(mixed_frame, version_trained_on):
    return version_trained_on(mixed_frame[:400])


def artifact(client, version, path):
    return Path(urlparse(client.get_run(version.run_id).info.artifact_uri).path, path)


def test_versions_of_one_run_are_judged_on_all_its_test_rows(small, tmp_path):
    version, data = small
    rows = held_out_rows(version, version, tmp_path)

    assert (rows.n_test_rows, rows.n_set_aside, rows.caveats) == (len(data.y_test), 0, ())
    assert set(rows.frame[HASH_COLUMN]) == set(data.test_hashes)
    assert rows.frame[data.schema.target].tolist() == data.y_test.tolist()


def test_the_digest_does_not_depend_on_the_order_of_the_rows(small, tmp_path):
    rows = held_out_rows(small[0], None, tmp_path)
    shuffled = held_out_rows(small[0], None, tmp_path)
    shuffled.frame[:] = shuffled.frame.sample(frac=1, random_state=0).to_numpy()

    assert rows.frame[HASH_COLUMN].tolist() != shuffled.frame[HASH_COLUMN].tolist()
    assert rows.digest == shuffled.digest


def test_rows_that_the_champion_was_trained_on_are_set_aside(
    small, mixed_frame, version_trained_on, tmp_path
):
    champion, old = small
    challenger, new = version_trained_on(mixed_frame, test_size=0.6)
    rows = held_out_rows(challenger, champion, tmp_path)
    hashes = rows.frame[HASH_COLUMN].to_numpy()

    assert rows.n_set_aside == np.isin(new.test_hashes, old.train_hashes).sum() > 0
    assert len(rows.frame) + rows.n_set_aside == rows.n_test_rows == len(new.y_test)
    assert not np.isin(hashes, old.train_hashes).any()
    assert not np.isin(hashes, new.train_hashes).any()
    assert rows.caveats == ()


def test_a_champion_of_unknown_training_rows_is_compared_with_a_caveat(client, small, tmp_path):
    unknown = client.create_model_version("m", "file:///nowhere")
    rows = held_out_rows(small[0], unknown, tmp_path)

    assert len(rows.frame) == rows.n_test_rows
    assert f"Version {unknown.version} has no tag split_run_id" in rows.caveats[0]


def test_a_table_with_other_columns_is_compared_with_a_caveat(
    small, mixed_frame, version_trained_on, tmp_path
):
    champion, _ = version_trained_on(mixed_frame[:400].assign(noise=np.arange(400.0) % 7))
    rows = held_out_rows(small[0], champion, tmp_path)

    assert "no row in common" in rows.caveats[0]


@pytest.mark.parametrize("lost", ["split/test_rows.parquet", "split/rows.parquet"])
def test_a_challenger_without_its_rows_cannot_be_judged(
    client, mixed_frame, version_trained_on, tmp_path, lost
):
    version, _ = version_trained_on(mixed_frame[:100])
    artifact(client, version, lost).unlink()
    with pytest.raises(DataError, match=f"{lost} of run {version.run_id}"):
        held_out_rows(version, None, tmp_path)


def test_a_champion_whose_rows_vanished_is_compared_with_a_caveat(
    client, small, mixed_frame, version_trained_on, tmp_path
):
    champion, _ = version_trained_on(mixed_frame[:100])
    shutil.rmtree(artifact(client, champion, "split"))
    rows = held_out_rows(small[0], champion, tmp_path)

    assert f"run {champion.run_id}" in rows.caveats[0]
    assert "may have been trained on" in rows.caveats[0]


def test_a_file_that_is_no_table_is_named(client, mixed_frame, version_trained_on, tmp_path):
    version, _ = version_trained_on(mixed_frame[:100])
    artifact(client, version, "split/test_rows.parquet").write_text("age,class\n")
    with pytest.raises(DataError, match="test_rows"):
        held_out_rows(version, None, tmp_path)


def test_no_row_that_both_left_out_cannot_be_judged(small, client, mixed_frame, version_trained_on, tmp_path):
    champion, _ = version_trained_on(mixed_frame[:400])
    split = artifact(client, champion, "split/rows.parquet")
    split.write_bytes(artifact(client, small[0], "split/rows.parquet").read_bytes())
    pd.read_parquet(split).assign(part="train").to_parquet(split)
    with pytest.raises(DataError, match="test rows was used to train"):
        held_out_rows(small[0], champion, tmp_path)


@pytest.mark.parametrize("text", ["x: [1", "[]", "5", "signature: 5", "signature: {inputs: x}"])
def test_a_damaged_mlmodel_is_an_error_of_the_artifact(tmp_path, text):
    (tmp_path / "MLmodel").write_text(text)

    with pytest.raises(ArtifactError, match="MLmodel is damaged"):
        _taken(tmp_path)
