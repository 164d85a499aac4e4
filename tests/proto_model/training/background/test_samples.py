"""Rows to try a model with are nobody's, and legal on both sides."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapper.mapping.model import TabularModel
from mapper.mapping.schema import ModelSchema as MapperSchema
from proto_model.model.rows import RowReader
from proto_model.table import RawTable, encode, prepare
from proto_model.training.background import StoredBackground
from proto_model.training.background.bins import LEAST
from proto_model.training.background.samples import MAX_BYTES, N_SAMPLES


def learned(frame):
    table = RawTable("table", "table", pa.Table.from_pandas(frame, preserve_index=False))
    return prepare(table, frame.columns[-1])


def mixed(n_rows, seed, missing=0.1):
    """A table with a column of each type, numbers of few and of many digits, and values that are missing."""
    rng = np.random.default_rng(seed)
    gone = lambda: rng.random(n_rows) < missing  # noqa: E731
    day = pd.Timestamp("2020-01-01")
    frame = pd.DataFrame(
        {
            "size": np.where(gone(), np.nan, rng.normal(size=n_rows) * 1e-4),
            "large": rng.integers(0, 9, n_rows) * 1e12 / 7,
            "count": pd.array(np.where(gone(), None, rng.integers(0, 90, n_rows)), dtype="Int64"),
            "owner": rng.random(n_rows) < 0.5,
            "job": np.where(gone(), None, rng.choice(["clerk", "nurse", 'a "quoted", one'], n_rows)),
            "since": (day + pd.to_timedelta(rng.integers(0, 2000, n_rows), "D")),
            "seen": day + pd.to_timedelta(rng.integers(0, 10**7, n_rows), "s"),
            "comment": [f"{word} order {i}" for i, word in enumerate(rng.choice(["late", "nice"], n_rows))],
        }
    )
    frame["kind"] = np.where(
        np.arange(n_rows) % 20 < 17, "a", np.where(np.arange(n_rows) % 20 < 19, "b", "c")
    )
    return frame


def assert_legal(schema):
    """The mapper takes each row without a warning, and so does the model's side."""
    outside = MapperSchema.from_dict(json.loads(json.dumps(schema.to_dict())))
    records = [dict(zip(schema.feature_names, row, strict=True)) for row in schema.samples]
    model = TabularModel(outside)
    for record in records:
        request = model.map_request({"data": record})
        assert list(request.warnings) == []
    if records:
        assert RowReader(schema).records(records).shape == (len(records), len(schema.features))


@given(
    seed=st.integers(0, 50), n_rows=st.sampled_from([60, 150, 400]), missing=st.sampled_from([0, 0.1, 0.5])
)
def test_each_sample_is_a_row_that_mapper_and_model_take(seed, n_rows, missing):
    data = learned(mixed(n_rows, seed, missing))
    schema = StoredBackground.of(data).described(data.schema)

    assert 1 <= len(schema.samples) <= N_SAMPLES
    assert_legal(schema)


def test_samples_are_no_training_rows_and_show_few_digits():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=300).round(1), "b": rng.integers(0, 5, 300)})
    frame["kind"] = rng.choice(["x", "y"], 300)
    data = learned(frame)
    samples = StoredBackground.of(data).samples

    rows = [tuple(row) for row in encode(data.X_train, data.schema)]
    assert samples
    assert all(rows.count(sample) == 0 or rows.count(sample) >= LEAST for sample in samples)
    assert all(len(str(abs(sample[0])).replace(".", "")) <= 6 for sample in samples)


def test_each_class_has_a_sample_before_another_has_two():
    frame = mixed(600, 1)
    frame["size"] = np.where(frame["kind"] == "a", 1.0, np.where(frame["kind"] == "b", 2.0, 3.0))
    sizes = [round(row[0]) for row in StoredBackground.of(learned(frame)).samples]

    assert set(sizes[:3]) == {1, 2, 3}


def test_a_version_with_training_rows_has_no_samples():
    data = learned(mixed(200, 2))
    background = StoredBackground.of(data, "rows")

    assert background.samples == ()
    assert "samples" not in background.described(data.schema).to_dict()


@pytest.mark.parametrize(("n_columns", "fits"), [(300, N_SAMPLES), (1500, 2)])
def test_samples_of_a_wide_table_stay_small(n_columns, fits):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(40, n_columns)), columns=[f"x{i}" for i in range(n_columns)])
    frame["kind"] = np.arange(40) % 2
    data = learned(frame)
    samples = StoredBackground.of(data).samples

    assert len(json.dumps(samples)) <= MAX_BYTES + 1000
    assert len(samples) >= min(fits, 2)


def test_what_a_schema_is_compared_by_does_not_count_samples():
    data = learned(mixed(200, 3))
    schema = StoredBackground.of(data).described(data.schema)

    assert (schema.digest, schema.fingerprint) == (data.schema.digest, data.schema.fingerprint)
    assert schema.schema_version == "1.2"
