import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.errors import DataError
from proto_model.table import RawTable, Roles, load_training_data, prepare
from proto_model.table.columns import read_columns
from proto_model.table.contradictions import contradictions
from proto_model.table.identity import RowIds, SplitColumns
from proto_model.table.partition import partition
from proto_model.table.split import row_hashes

N_ROWS = 400


def table(n_rows=N_ROWS, seed=0):
    """Orders of customers over some months."""
    generator = np.random.default_rng(seed)
    days = generator.integers(0, 300, n_rows)
    return pd.DataFrame(
        {
            "order": generator.permutation(n_rows) + 1000,
            "customer": generator.integers(0, n_rows // 4, n_rows).astype(str),
            "day": (pd.Timestamp("2024-01-01") + pd.to_timedelta(days, "D")).strftime("%Y-%m-%d"),
            "size": generator.normal(size=n_rows),
            "class": generator.choice(["no", "yes"], n_rows),
        }
    )


def split(frame, test_size=0.2, **roles):
    raw = RawTable("t", "t.csv", pa.Table.from_pandas(frame, preserve_index=False))
    return prepare(raw, "class", test_size, roles=Roles(**roles))


def parts(frame, data, column):
    """What training and test rows have in a column, by a feature in which all rows differ."""
    values = frame.set_index("size")[column]
    return [set(values.loc[part["size"]]) for part in (data.X_train, data.X_test)]


@pytest.mark.parametrize(
    ("dataset", "test_digest", "n_test"),
    [
        ("breast_cancer", "39ff46f4a254ccb3", 97),
        ("wine", "3aee38228e738086", 35),
        ("iris", "57366f49d4c4ea0d", 30),
        ("digits", "4e940ea23a2fad9a", 375),
    ],
)
def test_the_split_by_rows_is_the_one_of_earlier_releases(dataset, test_digest, n_test):
    data = load_training_data(dataset, roles=Roles(split="rows"))

    assert (data.split_digest, len(data.y_test)) == (test_digest, n_test)
    assert data.split_by.rule == "rows"


@pytest.mark.parametrize(
    ("dataset", "test_digest", "n_test"),
    [
        ("breast_cancer", "4a7cfdd1a0254ed3", 110),
        ("wine", "60a79d0ff54c45e1", 38),
        ("iris", "367b9a4f34aeaa25", 42),
        ("digits", "35e64511bcb4feac", 374),
    ],
)
@pytest.mark.parametrize("rule", ["", "features"])
def test_the_split_by_features_stays_what_it_is(dataset, test_digest, n_test, rule):
    data = load_training_data(dataset, roles=Roles(split=rule))

    assert (data.split_digest, len(data.y_test)) == (test_digest, n_test)
    assert data.split_by.rule == "features"


def coarse(n_rows=N_ROWS, seed=0):
    """Rows of which most equal others in all features, while the classes are chance."""
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": generator.integers(20, 80, n_rows),
            "sex": generator.choice(["f", "m"], n_rows),
            "class": generator.choice(["no", "yes"], n_rows),
        }
    )


def test_equal_rows_of_all_classes_are_in_one_part():
    data, by_rows = (split(coarse(), split=rule) for rule in ("features", "rows"))

    def n_shared(data):
        return len(data.X_test.merge(data.X_train.drop_duplicates()))

    assert n_shared(data) == contradictions(data).n_opposed == 0
    # So it was: of the class's own rows, none was in training.
    assert n_shared(by_rows) == contradictions(by_rows).n_opposed > 20
    assert data.split_notes == ()


def test_a_corrected_class_keeps_a_row_in_its_part():
    frame = table()
    corrected = frame.assign(**{"class": frame["class"].to_numpy()[::-1]})

    assert parts(frame, split(frame), "order") == parts(corrected, split(corrected), "order")


def test_protected_columns_do_not_decide_the_part():
    frame = coarse()
    data, other = (
        split(some, protected=("sex",)) for some in (frame, frame.assign(sex=frame["sex"].to_numpy()[::-1]))
    )

    assert data.split_digest == other.split_digest
    assert set(data.X_test["age"]).isdisjoint(data.X_train["age"])


def test_features_of_few_values_leave_another_share_of_test_rows_and_that_is_said():
    generator = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"size": generator.integers(0, 7, N_ROWS), "class": generator.choice(["a", "b"], N_ROWS)}
    )
    data = split(frame)

    share = round(100 * len(data.y_test) / N_ROWS)
    assert abs(share - 20) >= 8
    assert data.split_notes[0].startswith(f"{share} % of the rows are test rows, not 20 %")
    assert "the 400 rows have 7 different ones" in data.split_notes[0]


GROUPED = st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc")), min_size=6, max_size=40)


@given(GROUPED, st.floats(0.05, 0.95))
def test_every_class_is_learned_and_something_is_tested_whatever_rows_are_equal(cells, test_size):
    features = np.array([number for number, _ in cells])
    y = np.array([label for _, label in cells], dtype=object)
    hashes = row_hashes_of(features)
    n_different = {label: len(set(features[y == label])) for label in set(y)}
    if min(n_different.values()) == 1:
        with pytest.raises(DataError, match="are all the same"):
            partition(hashes, RowIds(), y, test_size, SplitColumns())
        return
    found = partition(hashes, RowIds(), y, test_size, SplitColumns())

    assert set(features[found.is_test]).isdisjoint(features[~found.is_test])
    assert set(y[~found.is_test]) == set(y)
    assert found.is_test.any()
    for label in set(y) - set(y[found.is_test]):
        assert repr(label) in found.notes[-1]
        for one in set(features[y == label]):  # without it, some class would not be learned
            assert not set(y[features == one]) <= set(y[~found.is_test & (features != one)])


def test_a_group_is_on_one_side():
    frame = table()
    data = split(frame, group="customer")
    train, test = parts(frame, data, "customer")

    assert train.isdisjoint(test)
    assert len(data.y_test) == pytest.approx(0.2 * N_ROWS, abs=0.06 * N_ROWS)
    assert data.split_by.rule == "group:customer"
    assert {column.name: column.reason.split(":")[0] for column in data.dropped}["customer"] == "group"
    assert "customer" not in data.schema.feature_names


def test_a_key_keeps_a_corrected_row_where_it_was():
    frame = table()
    corrected = frame.assign(
        size=frame["size"] * 2, customer="x", **{"class": frame["class"].to_numpy()[::-1]}
    )
    one, other = split(frame, key="order"), split(corrected, key="order")

    assert parts(frame, one, "order") == parts(corrected, other, "order")
    assert one.split_notes == ()


def test_the_storage_of_a_key_does_not_move_a_row():
    frame = table()
    texts = frame.assign(order=frame["order"].astype(str))

    assert parts(frame, split(frame, key="order"), "order") == [
        {int(key) for key in part} for part in parts(texts, split(texts, key="order"), "order")
    ]


def test_the_past_is_learned_from_and_the_newest_rows_judge():
    frame = table()
    data = split(frame, time="day")
    train, test = parts(frame, data, "day")

    assert max(train) < min(test)
    assert len(data.y_test) == pytest.approx(0.2 * N_ROWS, abs=3)
    assert len(data.y_train) + len(data.y_test) == N_ROWS


@pytest.mark.parametrize("other", ["group", "key"])
def test_over_time_earlier_rows_of_a_later_group_are_left_out(other):
    frame = table()
    data = split(frame, time="day", **{other: "customer"})
    days, customers = parts(frame, data, "day"), parts(frame, data, "customer")

    assert max(days[0]) < min(days[1])
    assert customers[0].isdisjoint(customers[1])
    assert data.n_left_out == N_ROWS - len(data.y_train) - len(data.y_test) > 0
    assert f"{data.n_left_out} earlier rows are left out" in " ".join(data.split_notes)


@pytest.mark.parametrize("roles", [{}, {"group": "customer"}, {"key": "order"}])
def test_a_split_depends_on_no_order_and_new_rows_move_no_old_one(roles):
    frame = table()
    grown = pd.concat([frame, table(seed=1).assign(order=lambda new: new["order"] + N_ROWS)])
    data, moved, larger = (
        split(some, **roles) for some in (frame, frame.sample(frac=1)[frame.columns[::-1]], grown)
    )

    assert data.train_hashes.tolist() == moved.train_hashes.tolist()
    assert data.split_digest == moved.split_digest
    assert set(data.train_hashes) < set(larger.train_hashes)
    assert set(data.test_hashes) < set(larger.test_hashes)


@given(GROUPED, st.floats(0.05, 0.95))
def test_every_class_is_learned_whatever_the_groups(cells, test_size):
    group = np.array([number for number, _ in cells])
    y = np.array([label for _, label in cells], dtype=object)
    hashes = row_hashes_of(np.arange(len(cells)))
    ids = RowIds(group=row_hashes_of(group))
    if len(set(group)) < 2:
        with pytest.raises(DataError, match="there are too few"):
            partition(hashes, ids, y, test_size, SplitColumns(group="g"))
        return
    try:
        found = partition(hashes, ids, y, test_size, SplitColumns(group="g"))
    except DataError:  # no group can be spared, as each is the only one of a class
        for one in set(group):
            assert not set(y[group == one]) <= set(y[group != one])
        return

    assert set(group[found.is_test]).isdisjoint(group[~found.is_test])
    assert set(y[~found.is_test]) == set(y)
    assert found.is_test.any()
    untested = set(y) - set(y[found.is_test])
    said = " ".join(note for note in found.notes if "no test row" in note)
    assert {label for label in "abc" if repr(label) in said} == untested
    for label in untested:  # it is in groups alone without which some class would not be learned
        for one in set(group[y == label]):
            assert not set(y[group == one]) <= set(y[~found.is_test & (group != one)])


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.sampled_from("ab")), min_size=6, max_size=40),
    st.floats(0.05, 0.95),
)
def test_no_later_row_is_learned_from_and_no_group_is_on_both_sides(cells, test_size):
    time, group, y = (np.array(column) for column in zip(*cells, strict=True))
    ids = RowIds(group=row_hashes_of(group), time=time.astype(float))
    hashes = row_hashes_of(np.arange(len(cells)))
    try:
        found = partition(hashes, ids, y, test_size, SplitColumns(group="g", time="t"))
    except DataError:
        return

    train, test = found.is_used & ~found.is_test, found.is_used & found.is_test
    assert time[train].max() < time[test].min()
    assert set(group[train]).isdisjoint(group[test])
    assert set(y[train]) == set(y)
    assert len(set(y[test])) == 2


def row_hashes_of(values):
    return row_hashes(read_columns(pa.table({"x": values})))


@pytest.mark.parametrize(
    ("roles", "complaint"),
    [
        ({"group": "custmer"}, "no column 'custmer' to use as the group. Did you mean 'customer'?"),
        ({"key": "class"}, "Column 'class' is the target, so it cannot be the key."),
        ({"key": "order", "group": "order"}, "cannot be both key and group: a key names one row"),
        ({"time": "day", "group": "day"}, "cannot be both group and time: rows of the same time stay"),
        ({"time": "customer"}, "'customer' cannot be the time: it has neither dates nor numbers"),
        ({"time": "constant"}, "'constant' cannot be the time: all rows have the same one"),
        ({"key": "gaps"}, "'gaps' cannot be the key: 100 of 400 rows have no value in it"),
        ({"time": "gaps"}, "'gaps' cannot be the time: 100 of 400 rows have no value in it"),
        ({"group": "nothing"}, "'nothing' cannot be the group: every value is missing"),
        ({"group": "lists"}, "'lists' cannot be the group: it has lists"),
        ({"group": "constant"}, "cannot be split by the group of 'constant': there are too few"),
        ({"split": "rows", "key": "order"}, "split=rows cannot be combined with the key 'order'"),
        (
            {"split": "features", "time": "day", "group": "customer"},
            "with the group 'customer' and time 'day'",
        ),
        ({"split": "row"}, "split 'row' given, features or rows expected."),
        ({"group": "customer", "key": "size_class"}, "keys of 'size_class' are in more than one group"),
    ],
)
def test_columns_that_cannot_tell_rows_apart_are_errors(roles, complaint):
    frame = table().assign(
        constant=1.5, nothing=None, lists=[[1]] * N_ROWS, gaps=np.where(np.arange(N_ROWS) < 100, np.nan, 2.0)
    )
    frame["size_class"] = (frame["size"] * 10).round()
    frame.loc[350:, "gaps"] = 3.0
    with pytest.raises(DataError, match=re.escape(complaint)):
        split(frame, **roles)


def test_a_row_without_a_group_is_a_group_of_its_own():
    frame = table()
    frame.loc[:199, "customer"] = None
    data = split(frame, group="customer")
    lonely = frame.set_index("size")["customer"].isna()

    assert 0 < lonely.loc[data.X_test["size"]].sum() < 200


def test_keys_that_repeat_are_counted_and_stay_together():
    frame = table().assign(order=np.arange(N_ROWS) // 2)
    data = split(frame, key="order")
    train, test = parts(frame, data, "order")

    assert train.isdisjoint(test)
    assert "200 of 200 keys of 'order' are those of several rows (400 in all)" in data.split_notes[0]


def test_a_class_of_a_single_group_is_learned_and_not_tested():
    frame = table()
    frame.loc[frame["customer"] == frame["customer"][0], "class"] = "odd"
    data = split(frame, group="customer")

    assert "odd" in data.y_train
    assert "odd" not in data.y_test
    assert "The class 'odd' has no test row" in data.split_notes[-1]


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (
            lambda day: np.where(day > "2024-10-20", "new", np.where(day > "2024-05", "a", "b")),
            "the class 'new' has no earlier row",
        ),
        (
            lambda day: np.where(day < "2024-02-01", "b", "a"),
            r"no class but 'a' in \d+ later rows, which cannot judge",
        ),
    ],
)
def test_a_class_that_the_past_or_the_future_lacks_is_an_error(labels, complaint):
    frame = table()
    frame["class"] = labels(frame["day"])
    with pytest.raises(DataError, match=complaint):
        split(frame, time="day")


@pytest.mark.parametrize(
    ("days", "labels", "complaint"),
    [
        ([1, 2, 3, 4, 5], "ababa", "no class but 'a' in 1 later row, which"),
        ([1, 2, 2, 2, 2], "ababa", "not two classes to learn in 1 earlier row. Choose"),
    ],
)
def test_single_rows_are_counted_as_such(days, labels, complaint):
    frame = pd.DataFrame({"x": np.arange(5.0), "day": days, "class": list(labels)})

    with pytest.raises(DataError, match=complaint):
        split(frame, time="day")


def test_a_class_of_the_past_alone_is_a_note():
    frame = table()
    frame.loc[frame["day"] < "2024-02-01", "class"] = "early"
    data = split(frame, time="day")

    assert "early" not in data.y_test
    assert data.split_notes == (
        "The class 'early' has no test row: nothing says how well a model tells such rows.",
    )


def test_few_large_groups_leave_another_share_of_test_rows_and_that_is_said():
    frame = table().assign(customer=np.repeat(list("abc"), [160, 120, 120]))
    data = split(frame, group="customer")

    share = 100 * len(data.y_test) // N_ROWS
    assert share in (30, 40)
    assert data.split_notes[0].startswith(f"{share} % of the rows are test rows, not 20 %")
