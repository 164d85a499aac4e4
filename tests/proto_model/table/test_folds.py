import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.model_selection import StratifiedKFold

from proto_model.errors import DataError
from proto_model.table import RawTable, Roles, prepare
from proto_model.table.dealing import dealt
from proto_model.table.folds import folds, units_of
from proto_model.table.identity import RowIds
from proto_model.table.twins import feature_hashes
from proto_model.training import VARIANTS, searches

SMALL_INTS = st.integers(0, 6)


def rows(X, y, **ids):
    """What the folds look at."""
    hashed = {
        name: np.asarray(values, dtype=np.float64 if name == "time" else np.uint64)
        for name, values in ids.items()
    }
    return SimpleNamespace(X_train=pd.DataFrame(X), y_train=np.asarray(y), train_ids=RowIds(**hashed))


def all_different(y, **ids):
    return rows({"x": np.arange(len(y), dtype=np.float64)}, y, **ids)


@pytest.mark.parametrize(
    ("counts", "n_folds"), [([50, 50], 5), ([50, 3], 3), ([50, 1], 2), ([9_000, 1_000], 3), ([2, 2], 2)]
)
def test_there_are_fewer_folds_for_rare_classes_and_large_tables(counts, n_folds):
    assert len(folds(all_different(np.repeat(np.arange(len(counts)), counts)), 0)) == n_folds


def test_classes_of_one_training_row_each_are_refused():
    with pytest.raises(DataError, match="Each of the 2 classes has one training row"):
        folds(all_different([0, 1]), 0)


def test_rows_that_all_differ_have_the_folds_of_scikit_learn():
    y = np.random.default_rng(0).integers(0, 3, 200)
    expected = StratifiedKFold(5, shuffle=True, random_state=4).split(y, y)

    for (learn, judge), (theirs, held_out) in zip(folds(all_different(y), 4), expected, strict=True):
        assert_array_equal(learn, theirs)
        assert_array_equal(judge, held_out)


@given(st.lists(st.tuples(SMALL_INTS, st.integers(0, 3), st.booleans()), min_size=4, max_size=80))
def test_equal_rows_are_in_one_fold_even_if_their_classes_differ(cells):
    x, z, y = (np.array(column) for column in zip(*cells, strict=True))
    assume(len(set(zip(x, z, strict=True))) > 1 and len(set(y)) > 1)
    data = rows({"x": x.astype(float), "z": np.where(z == 3, None, z.astype(str))}, y)

    judged = []
    for learn, judge in folds(data, 0):
        assert set(zip(x[learn], z[learn], strict=True)).isdisjoint(zip(x[judge], z[judge], strict=True))
        assert len(learn) + len(judge) == len(y)
        judged += judge.tolist()
    assert sorted(judged) == list(range(len(y)))


@given(
    st.lists(st.tuples(SMALL_INTS, SMALL_INTS, st.booleans()), min_size=6, max_size=60),
    st.sampled_from([("group",), ("key",), ("group", "key")]),
)
def test_rows_of_a_group_or_a_key_are_in_one_fold(cells, kinds):
    group, key, y = (np.array(column) for column in zip(*cells, strict=True))
    ids = {name: values for name, values in (("group", group), ("key", key)) if name in kinds}
    data = all_different(y, **ids)
    assume(len(set(y)) > 1 and units_of(data, 5).max() > 0)

    for learn, judge in folds(data, 0):
        for values in ids.values():
            assert set(values[learn]).isdisjoint(values[judge])
        assert len(judge)


@given(
    st.lists(st.tuples(st.integers(0, 12), SMALL_INTS, st.booleans()), min_size=6, max_size=60),
    st.booleans(),
)
def test_over_time_models_learn_from_earlier_rows_and_are_judged_on_later_ones(cells, grouped):
    time, group, y = (np.array(column) for column in zip(*cells, strict=True))
    data = all_different(y, time=time, **({"group": group} if grouped else {}))
    try:
        found = folds(data, 0)
    except DataError:
        return

    judged = np.concatenate([judge for _, judge in found])
    assert len(set(judged)) == len(judged) < len(y)
    assert len(found) <= 5
    for learn, judge in found:
        assert time[learn].max() < time[judge].min()
        assert len(set(y[learn])) == 2
        if grouped:
            assert set(group[learn]).isdisjoint(group[judge])
        else:
            assert len(learn) == (time < time[judge].min()).sum()


def test_parts_over_time_are_even_and_the_first_is_never_judged():
    y = np.arange(600) % 2
    found = folds(all_different(y, time=np.random.default_rng(0).permutation(600)), 0)

    assert [(len(learn), len(judge)) for learn, judge in found] == [(100 * n, 100) for n in range(1, 6)]


@pytest.mark.parametrize(
    ("ids", "complaint"),
    [({"group": np.zeros(20)}, "belong together"), ({"time": np.zeros(20)}, "earlier rows")],
)
def test_rows_that_all_belong_together_cannot_be_cross_validated(ids, complaint):
    with pytest.raises(DataError, match=complaint):
        folds(all_different(np.arange(20) % 2, **ids), 0)


def test_equal_rows_of_different_groups_stay_together_unless_that_ties_up_most_rows():
    group = np.arange(60) // 3
    y = np.arange(60) % 2
    copies = rows({"x": np.where(group < 2, np.arange(60) % 3, np.arange(60)).astype(float)}, y, group=group)
    coarse = rows({"x": (np.arange(60) % 2).astype(float)}, y, group=group)

    assert len(np.unique(units_of(copies, 5)[:6])) == 1
    assert_array_equal(units_of(coarse, 5), group)


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 12), st.integers(1, 4))
def test_classes_are_spread_evenly_whatever_belongs_together(seed, n_folds, largest, n_classes):
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, largest + 1, 150)
    group = np.repeat(np.arange(150), sizes)
    y = generator.choice(n_classes, len(group), p=generator.dirichlet(np.full(n_classes, 3.0)))
    units, classes = np.unique(group, return_inverse=True)[1], np.unique(y, return_inverse=True)[1]

    fold = dealt(units, classes, n_folds, seed)[units]

    sizes_of_folds = np.bincount(fold, minlength=n_folds)
    assert abs(sizes_of_folds - len(y) / n_folds).max() <= largest
    for label in range(classes.max() + 1):
        per_fold = np.bincount(fold[classes == label], minlength=n_folds)
        assert np.ptp(per_fold) <= 2 * largest


def test_another_order_of_rows_or_columns_gives_the_same_folds(mixed_frame):
    doubled = pd.concat([mixed_frame, mixed_frame[::3]])
    data, moved = (
        prepare(RawTable("t", "t.csv", pa.Table.from_pandas(frame, preserve_index=False)))
        for frame in (doubled, doubled.sample(frac=1, random_state=2)[doubled.columns[::-1]])
    )

    for (learn, judge), (again, held_out) in zip(folds(data, 1), folds(moved, 1), strict=True):
        assert_array_equal(data.train_hashes[learn], moved.train_hashes[again])
        assert_array_equal(data.train_hashes[judge], moved.train_hashes[held_out])


def test_rows_that_a_forest_cannot_tell_apart_are_equal():
    frame = pd.DataFrame({"x": [0.1, np.float32(0.1), 0.0, -0.0, np.nan], "job": ["a", "a", None, None, "a"]})
    hashes = feature_hashes(frame)

    assert hashes[0] == hashes[1]
    assert hashes[2] == hashes[3]
    assert len(set(hashes)) == 3
    assert_array_equal(hashes, feature_hashes(frame[["job", "x"]]))


def repeated_noise(n_rows=300, n_times=4, seed=0):
    """A table that nobody can learn anything from, each row of which is there several times."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(generator.normal(size=(n_rows, 5)), columns=list("abcde"))
    frame["class"] = generator.choice(["no", "yes"], n_rows)
    return pd.concat([frame] * n_times)


@pytest.mark.parametrize("roles", [Roles(), Roles(key="id"), Roles(group="customer"), Roles(time="day")])
def test_a_table_of_repeated_noise_scores_like_a_coin(roles):
    frame = repeated_noise()
    customers = frame.reset_index()["index"]
    frame = frame.reset_index(drop=True).assign(id=np.arange(1200), customer=customers, day=customers // 3)
    raw = RawTable("noise", "noise.csv", pa.Table.from_pandas(frame, preserve_index=False))
    data = prepare(raw, roles=roles)
    small = dataclasses.replace(VARIANTS["random_forest"], defaults={"n_estimators": 20})
    with searches([small], data, 1) as results:
        score = next(results).cv_balanced_accuracy

    assert 0.35 < score < 0.65
