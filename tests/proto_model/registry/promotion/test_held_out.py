import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import mlflow
import numpy as np
import pandas as pd
import pytest

from proto_model.errors import DataError
from proto_model.registry.promotion.comparison import ComparisonError
from proto_model.registry.promotion.held_out import NearTwins, held_out_rows
from proto_model.registry.record import log_split
from proto_model.table import Roles, load_training_data
from proto_model.table.split import HASH_COLUMN


@pytest.fixture(scope="session")
def people(mixed_frame):
    """`mixed_frame` with a second column in which all differ, so that no row nearly equals another."""
    return mixed_frame.assign(height=np.random.default_rng(1).normal(170, 9, len(mixed_frame)))


@pytest.fixture(scope="module")
def version_trained_on(client, tmp_path_factory):
    """Version whose run has split a table, together with its training data."""
    table = tmp_path_factory.mktemp("tables") / "people.parquet"

    def train(frame, test_size=0.3, **roles):
        frame.to_parquet(table, index=False)
        data = load_training_data(str(table), "class", test_size, roles=Roles(**roles))
        with mlflow.start_run(experiment_id="1") as run:
            log_split(data)
        tags = {"split_run_id": run.info.run_id}
        return client.create_model_version("m", "file:///nowhere", run.info.run_id, tags=tags), data

    return train


@pytest.fixture(scope="module")
def small(people, version_trained_on):
    return version_trained_on(people[:400])


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
    shuffled = replace(rows, frame=rows.frame.sample(frac=1, random_state=0))

    assert rows.frame[HASH_COLUMN].tolist() != shuffled.frame[HASH_COLUMN].tolist()
    assert rows.digest == shuffled.digest


def test_rows_that_the_champion_was_trained_on_are_set_aside(small, people, version_trained_on, tmp_path):
    champion, old = small
    challenger, new = version_trained_on(people, test_size=0.6)
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


def test_a_table_with_other_columns_is_compared_with_a_caveat(small, people, version_trained_on, tmp_path):
    champion, _ = version_trained_on(people[:400].assign(noise=np.arange(400.0) % 7))
    rows = held_out_rows(small[0], champion, tmp_path)

    assert "no row in common" in rows.caveats[0]


@pytest.mark.parametrize("lost", ["split/test_rows.parquet", "split/rows.parquet"])
def test_a_challenger_without_its_rows_cannot_be_judged(client, people, version_trained_on, tmp_path, lost):
    version, _ = version_trained_on(people[:100])
    artifact(client, version, lost).unlink()
    with pytest.raises(DataError, match=f"{lost} of run {version.run_id}"):
        held_out_rows(version, None, tmp_path)


def test_a_champion_whose_rows_vanished_is_compared_with_a_caveat(
    client, small, people, version_trained_on, tmp_path
):
    champion, _ = version_trained_on(people[:100])
    shutil.rmtree(artifact(client, champion, "split"))
    rows = held_out_rows(small[0], champion, tmp_path)

    assert f"run {champion.run_id}" in rows.caveats[0]
    assert "may have been trained on" in rows.caveats[0]


def test_a_file_that_is_no_table_is_named(client, people, version_trained_on, tmp_path):
    version, _ = version_trained_on(people[:100])
    artifact(client, version, "split/test_rows.parquet").write_text("age,class\n")
    with pytest.raises(DataError, match="test_rows"):
        held_out_rows(version, None, tmp_path)


def test_no_row_that_both_left_out_cannot_be_judged(small, client, people, version_trained_on, tmp_path):
    champion, _ = version_trained_on(people[:400])
    split = artifact(client, champion, "split/rows.parquet")
    split.write_bytes(artifact(client, small[0], "split/rows.parquet").read_bytes())
    pd.read_parquet(split).assign(part="train").to_parquet(split)
    with pytest.raises(DataError, match="test rows was used to train"):
        held_out_rows(small[0], champion, tmp_path)


@pytest.fixture(scope="module")
def orders(people):
    """Rows of 150 customers, four each, with a number and a day."""
    n_rows = len(people)
    generator = np.random.default_rng(2)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(generator.integers(0, 300, n_rows), "D")
    return people.assign(
        order=generator.permutation(n_rows) * 7, customer=generator.permutation(n_rows) % 150, day=days
    )


@pytest.fixture(scope="module")
def version_split_by(orders, version_trained_on):
    """Versions of the same table, split by any columns."""
    made = {}

    def version(**roles):
        rule = tuple(roles.items())
        if rule not in made:
            made[rule] = version_trained_on(orders, **roles)
        return made[rule]

    return version


def values(rows, orders, column):
    """What the compared rows have in a column that is no feature."""
    return set(orders.set_index("height")[column].loc[rows.frame["height"]])


def learned_values(data, orders, column):
    return set(orders.set_index("height")[column].loc[data.X_train["height"]])


@pytest.mark.parametrize("roles", [{"group": "customer"}, {"key": "order"}, {"time": "day"}])
def test_versions_split_alike_are_judged_on_all_test_rows(version_split_by, orders, roles, tmp_path):
    version, data = version_split_by(**roles)
    rows = held_out_rows(version, version, tmp_path)

    assert (rows.n_set_aside, rows.caveats) == (0, ())
    assert set(rows.split_by.values()) == {":".join(*roles.items())}
    column = next(iter(roles.values()))
    assert values(rows, orders, column).isdisjoint(learned_values(data, orders, column))


@pytest.mark.parametrize("group_is_new", [True, False])
def test_customers_that_a_version_split_by_rows_learned_from_are_set_aside(
    version_split_by, version_trained_on, orders, tmp_path, group_is_new
):
    known = orders[orders["customer"] < 120]
    by_rows, learned = version_trained_on(known, test_size=0.9, drop=("customer",))
    by_group, grouped = version_split_by(group="customer")
    pair = (by_group, by_rows) if group_is_new else (by_rows, by_group)
    rows = held_out_rows(*pair, tmp_path)

    assert rows.n_set_aside
    for data in (learned, grouped):
        known = learned_values(data, orders, "customer")
        assert values(rows, orders, "customer").isdisjoint(known)
    assert rows.caveats == ()


def test_what_cannot_be_known_of_the_customers_of_a_version_is_a_caveat(
    version_trained_on, version_split_by, orders, tmp_path
):
    other = orders.assign(height=orders["height"] + 1)
    by_rows, data = version_trained_on(pd.concat([orders[:200], other[:50]]), test_size=0.8)
    rows = held_out_rows(version_split_by(group="customer")[0], by_rows, tmp_path)

    unknown = int(data.X_train["height"].isin(other["height"]).sum())
    assert f"that of {unknown} of its {len(data.y_train)} training rows is not known" in rows.caveats[0]
    assert "Train it again with group=customer" in rows.caveats[0]


def test_customers_who_are_all_known_leave_nothing_to_compare_on(version_split_by, tmp_path):
    by_rows, by_group = version_split_by()[0], version_split_by(group="customer")[0]
    with pytest.raises(DataError, match=r"by group:customer and version \d+ by features: train both"):
        held_out_rows(by_group, by_rows, tmp_path)


def test_a_challenger_that_knows_the_future_is_refused(version_split_by, tmp_path):
    over_time, by_rows = version_split_by(time="day")[0], version_split_by()[0]
    with pytest.raises(ComparisonError, match="Train the challenger again with time=day"):
        held_out_rows(by_rows, over_time, tmp_path)


def test_a_champion_that_knows_the_future_has_a_caveat(version_split_by, tmp_path):
    over_time, by_rows = version_split_by(time="day")[0], version_split_by()[0]
    rows = held_out_rows(over_time, by_rows, tmp_path)

    assert rows.n_set_aside
    assert f"version {by_rows.version} was not: version {by_rows.version} may have an adv" in rows.caveats[0]


def test_rows_as_early_as_those_that_the_champion_learned_from_are_set_aside(
    version_trained_on, version_split_by, orders, tmp_path
):
    champion, later = version_trained_on(orders, test_size=0.1, time="day")
    rows = held_out_rows(version_split_by(time="day")[0], champion, tmp_path)

    assert min(values(rows, orders, "day")) > max(learned_values(later, orders, "day"))
    assert rows.caveats == ()


@pytest.mark.parametrize("content", ["[" * 99_999, "[]", '{"trained_until": "soon"}', '{"features": 5}'])
def test_a_summary_of_the_split_that_is_none_is_named(client, version_trained_on, people, tmp_path, content):
    version, _ = version_trained_on(people)
    artifact(client, version, "split/summary.json").write_text(content)

    with pytest.raises(DataError, match=r"The artifact split/summary\.json of run .* cannot be read"):
        held_out_rows(version, None, tmp_path)


@pytest.mark.parametrize("rules", [("features", "rows"), ("rows", "features")])
@pytest.mark.parametrize("is_old", [False, True])
def test_rows_or_features_that_a_version_of_another_split_learned_from_are_set_aside(
    client, version_trained_on, mixed_frame, tmp_path, rules, is_old
):
    frame = mixed_frame[["age", "children", "class"]]
    (challenger, new), (champion, old) = (
        version_trained_on(frame, test_size=0.5, split=rule) for rule in rules
    )
    if is_old:  # as 0.3.0 left it
        by_rows = (challenger, champion)[rules.index("rows")]
        path = artifact(client, by_rows, "split/rows.parquet")
        pd.read_parquet(path)[["row_hash", "part"]].to_parquet(path)
        artifact(client, by_rows, "split/fingerprints.parquet").unlink()
        artifact(client, by_rows, "split/summary.json").write_text("{}")
    rows = held_out_rows(challenger, champion, tmp_path)

    compared = rows.frame[["age", "children"]]
    for data in (new, old):
        assert not np.isin(rows.frame[HASH_COLUMN], data.train_hashes).any()
        assert compared.merge(data.X_train.drop_duplicates()).empty
    assert 0 < len(compared) < 0.4 * len(new.y_test)
    assert tuple(rows.split_by.values()) == rules
    assert f"{len(compared)} of the {len(new.y_test)} test rows are left" in rows.notes[0]
    assert f"train the challenger again with split={rules[1]}" in rows.notes[0]
    assert not any("is not known, as the other" in caveat for caveat in rows.caveats)


def test_features_of_a_version_of_030_that_cannot_be_known_are_a_caveat(
    client, version_trained_on, people, tmp_path
):
    champion, old = version_trained_on(people, split="rows")
    path = artifact(client, champion, "split/rows.parquet")
    pd.read_parquet(path)[["row_hash", "part"]].to_parquet(path)
    challenger, _ = version_trained_on(people[:500])
    rows = held_out_rows(challenger, champion, tmp_path)

    n_unknown = int(old.X_train["height"].isin(people["height"][500:]).sum())
    assert f"that of {n_unknown} of its {len(old.y_train)} training rows is not known" in rows.caveats[0]
    assert not rows.is_unseen


def test_corrected_classes_stay_on_their_side(version_trained_on, people, tmp_path):
    champion, old = version_trained_on(people)
    challenger, new = version_trained_on(people.assign(**{"class": people["class"].to_numpy()[::-1]}))
    rows = held_out_rows(challenger, champion, tmp_path)

    assert set(new.X_test["height"]) == set(old.X_test["height"])
    assert (rows.n_set_aside, rows.caveats, rows.remarks, rows.notes) == (0, (), (), ())
    assert rows.is_unseen


@pytest.mark.parametrize("column", ["children", "class"])
def test_a_corrected_row_is_not_called_unseen(version_trained_on, people, column, tmp_path):
    champion, old = version_trained_on(people, split="rows")
    learned = people["height"].isin(old.X_train["height"])
    other = {"children": people["children"] + 1, "class": people["class"].map({"yes": "no", "no": "yes"})}
    challenger, _ = version_trained_on(
        people.assign(**{column: other[column].where(learned, people[column])}), split="rows"
    )
    rows = held_out_rows(challenger, champion, tmp_path)

    n_corrected = int(rows.frame["height"].isin(old.X_train["height"]).sum())
    ours, theirs = rows.near_duplicates
    assert n_corrected > 50
    assert (ours.equal_features, ours.one_feature_differs) == (0, 0)
    counts = (theirs.equal_features, theirs.one_feature_differs)
    assert counts == ((n_corrected, 0) if column == "class" else (0, n_corrected))
    assert f"equal a training row of version {champion.version}" in rows.caveats[0]


def test_a_key_tells_corrected_rows(version_trained_on, orders, tmp_path):
    champion, old = version_trained_on(orders, key="order")
    challenger, _ = version_trained_on(
        orders.assign(children=orders["children"] + 1), key="order", test_size=0.6
    )
    rows = held_out_rows(challenger, champion, tmp_path)

    assert rows.n_set_aside
    assert values(rows, orders, "order").isdisjoint(learned_values(old, orders, "order"))
    assert rows.caveats == ()


def test_a_version_without_fingerprints_has_a_caveat(client, version_trained_on, people, tmp_path):
    version, _ = version_trained_on(people[:100])
    artifact(client, version, "split/fingerprints.parquet").unlink()
    rows = held_out_rows(version, None, tmp_path)

    assert "is not known: it is of 0.3.0 or before" in rows.caveats[0]
    assert rows.near_duplicates[0].equal_features is None


def test_rows_that_are_nearly_equal_by_chance_are_a_remark(version_trained_on, mixed_frame, tmp_path):
    version, _ = version_trained_on(mixed_frame)
    rows = held_out_rows(version, None, tmp_path)
    (counted,) = rows.near_duplicates

    assert counted.one_feature_differs > 0
    assert rows.caveats == ()
    assert f"{counted.one_feature_differs} others in all features but one; chance explains" in rows.remarks[0]
    assert not rows.is_unseen


@pytest.mark.parametrize(("found", "expected", "more"), [(1, 0.0, True), (3, 3.0, False), (30, 3.0, True)])
def test_more_near_duplicates_than_chance_explains_are_told_apart(found, expected, more):
    counted = NearTwins("1", 100, 0, found, 0.0, expected)

    assert counted.is_more_than_chance == more
