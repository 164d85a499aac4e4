import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from proto_model.registry.split_record import (
    columns_of,
    fingerprints_of,
    parts_of,
    split_facts,
    write_identity,
)
from proto_model.table import RawTable, Roles, prepare
from proto_model.table.split_cautions import split_cautions
from proto_model.table.twins import Fingerprints, near_duplicates


def split(frame, **roles):
    raw = RawTable("t", "t.csv", pa.Table.from_pandas(frame, preserve_index=False))
    return prepare(raw, "class", roles=Roles(**roles))


@pytest.fixture
def orders(mixed_frame):
    numbers = np.arange(len(mixed_frame))
    return mixed_frame.assign(order=numbers * 7, customer=numbers // 5, day=numbers / 10)


@pytest.mark.parametrize(
    "roles",
    [{}, {"key": "order"}, {"group": "customer", "key": "order"}, {"time": "day", "group": "customer"}],
)
def test_what_a_run_keeps_of_its_split_is_read_back(orders, tmp_path, roles):
    data = split(orders, **roles)
    write_identity(data, tmp_path)
    train, test = parts_of(pd.read_parquet(tmp_path / "rows.parquet"))
    facts = json.loads(json.dumps(split_facts(data)))

    assert_array_equal(train.hashes, data.train_hashes)
    assert_array_equal(test.hashes, data.test_hashes)
    for kind in ("key", "group"):
        assert_array_equal(getattr(train.ids, kind), getattr(data.train_ids, kind))
    assert_array_equal(test.ids.time, data.test_ids.time)
    assert columns_of(facts) == data.split_by
    assert facts["features"] == data.schema.feature_names
    if "time" in roles:
        assert facts["trained_until"] < facts["tested_from"]
        assert facts["rows_left_out"] == data.n_left_out


def test_a_run_keeps_no_key_group_time_or_cell_of_a_training_row(orders, tmp_path):
    data = split(orders, time="day", group="customer", key="order")
    write_identity(data, tmp_path)
    kept = pd.concat([pd.read_parquet(path) for path in tmp_path.glob("*.parquet")])

    assert kept["time"].count() == len(data.y_test)
    numbers = set(kept.drop(columns="time").select_dtypes("number").to_numpy().ravel().tolist())
    for column in ("income", "order", "customer"):
        assert numbers.isdisjoint(set(orders[column][orders[column] > 1].astype(float)))


def test_fingerprints_tell_rows_that_differ_in_one_feature(orders, tmp_path):
    data = split(orders.assign(height=np.random.default_rng(0).normal(size=len(orders))), key="order")
    write_identity(data, tmp_path)
    prints = fingerprints_of(pd.read_parquet(tmp_path / "fingerprints.parquet"))
    changed = data.X_train.copy()
    changed.loc[:9, "children"] += 1
    changed.loc[5:14, "job"] = "an unknown job"

    counted = near_duplicates(changed[:30], prints)

    assert (counted.n_rows, counted.n_equal, counted.n_but_one, counted.is_estimate) == (30, 15, 10, False)


def test_of_many_fingerprints_a_part_is_kept_and_the_count_is_an_estimate(orders):
    data = split(orders.assign(height=np.random.default_rng(0).normal(size=len(orders))))
    prints = Fingerprints.of(data.X_train, data.train_hashes, most=500)
    counted = near_duplicates(data.X_train.assign(children=data.X_train["children"] + 7), prints)

    assert prints.halvings > 0
    assert len(prints.but_one) < 1000
    assert counted.is_estimate
    assert counted.n_but_one == pytest.approx(len(data.y_train), rel=0.3)


def test_test_rows_with_the_features_of_training_rows_are_a_caution(orders):
    copies = pd.concat([orders, orders]).assign(order=lambda frame: np.arange(len(frame)) * 3 + 1)
    data = split(copies.drop(columns=["customer", "day"]), key="order")

    (caution,) = split_cautions(data)
    assert caution.kind == "twins"
    assert split_cautions(split(orders)) == ()
