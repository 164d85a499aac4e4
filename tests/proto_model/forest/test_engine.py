import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, RandomForestRegressor

from proto_model.forest import CompiledForest, engine, nodes


def _probabilities_of_the_trees(forest, X):
    """What scikit-learn computes behind its check, which refuses infinite inputs."""
    with np.errstate(over="ignore"):
        X = X.astype(np.float32)
    total = np.zeros((len(X), forest.n_classes_))
    for tree in forest.estimators_:
        total += tree.predict_proba(X, check_input=False)
    return total / len(forest.estimators_)


def _assert_same(forest, X, columns=None, table=None):
    compiled = CompiledForest.from_sklearn(forest, columns, None if table is None else table.shape[1])
    expected = _probabilities_of_the_trees(forest, X)
    table = X if table is None else table
    assert_array_equal(compiled.predict_proba(table), expected, strict=True)
    one_by_one = np.vstack([compiled.predict_proba(table[i : i + 1]) for i in range(min(len(X), 300))])
    assert_array_equal(one_by_one, expected[:300])
    assert_array_equal(compiled.predict_proba(table).argmax(axis=1), np.argmax(expected, axis=1), strict=True)


def _on_thresholds(forest, X, seed):
    """Rows in which a third of the values stands on a threshold of its feature, or just beside it."""
    rng = np.random.default_rng(seed)
    X = rng.choice(X, len(X))
    trees = [estimator.tree_ for estimator in forest.estimators_]
    feature = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    for j in np.unique(feature[feature >= 0]):
        values = rng.choice(threshold[feature == j], len(X))
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
            choices = np.stack(
                [
                    values,
                    np.nextafter(values, np.inf),
                    np.nextafter(values, -np.inf),
                    np.nextafter(single, np.float32(np.inf)).astype(np.float64),
                    np.nextafter(single, np.float32(-np.inf)).astype(np.float64),
                    np.full(len(X), rng.choice([np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0, -0.0])),
                ]
            )
        moved = rng.random(len(X)) < 1 / 3
        X[moved, j] = choices[rng.integers(0, len(choices), len(X)), np.arange(len(X))][moved]
    return X


def test_probabilities_and_labels_are_those_of_scikit_learn(fitted):
    forest, X = fitted
    compiled = CompiledForest.from_sklearn(forest)
    rows = np.random.default_rng(0).choice(X, 3000) * 1.01

    assert_array_equal(compiled.predict_proba(rows), forest.predict_proba(rows), strict=True)
    assert_array_equal(forest.classes_[compiled.predict_proba(rows).argmax(axis=1)], forest.predict(rows))


@pytest.mark.parametrize("seed", range(3))
def test_values_on_thresholds_and_beside_them_go_the_same_way(fitted, seed):
    forest, X = fitted
    _assert_same(forest, _on_thresholds(forest, X, seed))


@pytest.mark.parametrize("n_rows", [0, 1, 2, 12, 13, 48, 49, 63, 64, 65, 127, 1000, 9000])
def test_every_number_of_rows_gives_the_same_probabilities(deep, n_rows):
    forest, X = deep
    compiled = CompiledForest.from_sklearn(forest)
    X = np.resize(X, (n_rows, X.shape[1]))

    proba = compiled.predict_proba(X, n_threads=1)

    assert proba.shape == (n_rows, 2)
    assert proba.dtype == np.float64
    if n_rows:
        assert_array_equal(proba, forest.predict_proba(X))


def test_blocks_with_and_without_missing_values_follow_each_other(deep):
    forest, X = deep
    compiled = CompiledForest.from_sklearn(forest)
    X = np.resize(X, (20_000, X.shape[1]))
    gaps = X.copy()
    gaps[::3000] = np.nan

    for rows in (X, gaps, X, gaps):
        assert_array_equal(compiled.predict_proba(rows, n_threads=1), forest.predict_proba(rows))


def test_ties_go_to_the_first_class():
    X = np.array([[0.0], [1.0], [0.0], [1.0]])
    forest = RandomForestClassifier(4, bootstrap=False, random_state=0).fit(X, ["b", "b", "a", "a"])
    compiled = CompiledForest.from_sklearn(forest)

    assert_array_equal(compiled.predict_proba(X), np.full((4, 2), 0.5))
    assert_array_equal(compiled.predict_proba(X).argmax(axis=1), np.zeros(4, dtype=np.int64))


def test_one_class_has_probability_one():
    X = np.arange(6.0).reshape(3, 2)
    compiled = CompiledForest.from_sklearn(RandomForestClassifier(3).fit(X, [7, 7, 7]))

    assert_array_equal(compiled.predict_proba(X), np.ones((3, 1)))
    assert_array_equal(compiled.predict_proba(np.resize(X, (200, 2))), np.ones((200, 1)))


def test_a_split_off_of_missing_values_is_followed():
    X = np.array([[1.0], [2.0], [np.nan], [np.nan]] * 5)
    forest = RandomForestClassifier(5, bootstrap=False, random_state=0).fit(X, [0, 0, 1, 1] * 5)
    assert np.isinf(np.concatenate([tree.tree_.threshold for tree in forest.estimators_])).any()

    _assert_same(forest, np.array([[1.0], [np.nan], [np.inf], [-np.inf], [1e300]] * 20))


def test_many_classes_are_added_up_in_the_same_order():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 5)), np.arange(400) % 40
    _assert_same(RandomForestClassifier(20, max_depth=4, random_state=0).fit(X, y), X)


def test_columns_say_where_each_feature_is(fitted):
    forest, X = fitted
    columns = np.random.default_rng(0).permutation(X.shape[1] + 3)[: X.shape[1]]
    table = np.full((len(X), X.shape[1] + 3), np.nan)
    table[:, columns] = X

    _assert_same(forest, X, columns, table)


def test_nodes_that_do_not_fit_eight_bytes_take_sixteen(fitted, monkeypatch, tmp_path):
    monkeypatch.setattr(nodes, "_fits_narrow", lambda *_: False)
    forest, X = fitted
    _assert_same(forest, _on_thresholds(forest, X, seed=0))

    compiled = CompiledForest.from_sklearn(forest)
    compiled.save(tmp_path / "forest.npz")
    loaded = CompiledForest.load(tmp_path / "forest.npz")
    assert_array_equal(loaded.predict_proba(X), forest.predict_proba(X))


@pytest.mark.parametrize("n_features", [256, 70_000])
def test_many_features_are_told_apart(n_features):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, n_features)).astype(np.float32)
    y = X[:, 255] + X[:, -1] > 0
    _assert_same(ExtraTreesClassifier(20, random_state=0).fit(X, y), X.astype(np.float64))


_edge = st.sampled_from(
    [
        0.0, -0.0, 1.0, 1 / 3, 0.1, np.nan, 1e-46, 1e-320, 16777217.0, 1 + 2**-24, 3.4e38, -3.4e38,
        float(np.nextafter(np.float32(1), np.float32(2))), np.nextafter(1.0, 2.0), np.nextafter(1.0, 0.0),
    ]
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # scikit-learn sums in float32
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_small_forests_agree_on_any_input(data):
    n_features = data.draw(st.integers(1, 5))
    n_classes = data.draw(st.integers(1, 5))
    values = st.one_of(_edge, st.floats(-3, 3, width=32), st.floats(-3, 3))
    X = data.draw(arrays(np.float64, (data.draw(st.integers(2, 40)), n_features), elements=values))
    y = data.draw(arrays(np.int64, len(X), elements=st.integers(0, n_classes - 1)))
    variant = data.draw(st.sampled_from([RandomForestClassifier, ExtraTreesClassifier]))
    forest = variant(data.draw(st.integers(1, 26)), random_state=0, max_features=None).fit(X, y)
    inputs = st.one_of(values, st.sampled_from([np.inf, -np.inf, 1e300, -1e300]))
    table = data.draw(arrays(np.float64, (data.draw(st.integers(1, 80)), n_features), elements=inputs))

    _assert_same(forest, np.vstack([X, table, table]))


def test_a_saved_forest_answers_as_before(fitted, tmp_path):
    forest, X = fitted
    CompiledForest.from_sklearn(forest).save(tmp_path / "forest.npz")

    loaded = CompiledForest.load(tmp_path / "forest.npz")

    assert (loaded.n_features, loaded.n_classes) == (X.shape[1], forest.n_classes_)
    assert_array_equal(loaded.predict_proba(X), forest.predict_proba(X), strict=True)


def test_threads_share_a_forest_and_a_table(deep):
    forest, X = deep
    compiled = CompiledForest.from_sklearn(forest)
    X = np.resize(X, (30_000, X.shape[1]))
    expected = forest.predict_proba(X)
    tables = [X[:1], X[5:25], X[:700], X] * 5

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda table: compiled.predict_proba(table, n_threads=3), tables))

    for table, proba in zip(tables, answers, strict=True):
        first = 5 if len(table) == 20 else 0
        assert_array_equal(proba, expected[first : first + len(table)])


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda X: X.astype(np.float32),
        lambda X: X.tolist(),
        lambda X: np.repeat(X, 2, axis=0)[::2],
    ],
    ids=["column by column", "single precision", "lists", "every other row"],
)
def test_any_numeric_table_is_taken(deep, change):
    forest, X = deep
    X = X[:100]
    expected = forest.predict_proba(X)
    assert_array_equal(CompiledForest.from_sklearn(forest).predict_proba(change(X)), expected)


def test_a_read_only_table_is_taken(deep):
    forest, X = deep
    X = X[:1].copy()
    X.flags.writeable = False
    assert_array_equal(CompiledForest.from_sklearn(forest).predict_proba(X), forest.predict_proba(X))


@pytest.mark.parametrize("shape", [(12,), (3, 11), (3, 13), (1, 3, 12)])
def test_a_table_of_another_shape_is_refused(deep, shape):
    compiled = CompiledForest.from_sklearn(deep[0])
    with pytest.raises(ValueError, match=r"expected \(n_rows, 12\)"):
        compiled.predict_proba(np.zeros(shape))


def test_what_cannot_be_compiled_is_refused(deep):
    X, y = np.arange(8.0).reshape(4, 2), [0, 1, 0, 1]
    with pytest.raises(TypeError, match="got RandomForestRegressor"):
        CompiledForest.from_sklearn(RandomForestRegressor(2).fit(X, y))
    with pytest.raises(ValueError, match="not fitted"):
        CompiledForest.from_sklearn(RandomForestClassifier(2))
    with pytest.raises(ValueError, match="2 outputs"):
        CompiledForest.from_sklearn(RandomForestClassifier(2).fit(X, np.stack([y, y], axis=1)))
    with pytest.raises(ValueError, match="numbers from 0 to 11"):
        CompiledForest.from_sklearn(deep[0], columns=range(1, 13))


def test_memory_is_about_eight_bytes_per_node(deep):
    n_nodes = sum(tree.tree_.node_count for tree in deep[0].estimators_)
    assert 8 * n_nodes < CompiledForest.from_sklearn(deep[0]).nbytes < 13 * n_nodes


def test_importing_the_engine_loads_no_training_library():
    code = (
        "import proto_model.forest, sys; print({'sklearn', 'scipy', 'pandas', 'mlflow'} & sys.modules.keys())"
    )
    run = [sys.executable, "-c", code]
    assert subprocess.check_output(run, text=True, env={"PYTHONPATH": ":".join(sys.path)}) == "set()\n"


@pytest.mark.parametrize(
    ("files", "n_cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, sys.maxsize),
        ({"cpu.cfs_quota_us": "400000\n", "cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, sys.maxsize),
        ({}, sys.maxsize),
    ],
)
def test_a_quota_of_a_container_limits_the_cores(tmp_path, files, n_cores):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / ("cpu" if "cfs" in name else "") / name).write_text(text)
    assert engine._quota(tmp_path) == n_cores
