import shutil
from pathlib import Path
from urllib.parse import urlparse

import mlflow
import numpy as np
import pandas as pd
import pytest

from proto_model.errors import DataError
from proto_model.registry.promotion.held_out import HASH_COLUMN, held_out_rows
from proto_model.registry.record import log_split
from proto_model.table import load_training_data


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
    with pytest.raises(DataError, match="trained on each of the"):
        held_out_rows(small[0], champion, tmp_path)
