"""The distributions of leaves: rows of a matrix with few classes, runs of entries with many."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from proto_model.forest import CompiledForest, leaves
from proto_model.forest.leaves import ENTRY, LAST_ENTRY, begins_leaf, leaves_fault, pack_leaves


def _unpacked(packed, places, n_classes):
    """The distributions that start at some places."""
    if packed.dtype != ENTRY:
        return packed[places]
    rows = np.zeros((len(places), n_classes))
    for row, place in zip(rows, places.tolist(), strict=True):
        is_last = False
        while not is_last:
            share, label = packed[place].item()
            row[label & LAST_ENTRY - 1] = share
            is_last, place = bool(label & LAST_ENTRY), place + 1
    return rows


def _shares(n_leaves, n_classes, n_seen, seed=0):
    rng = np.random.default_rng(seed)
    values = np.zeros((n_leaves, n_classes))
    for row in values:
        row[rng.choice(n_classes, rng.integers(1, n_seen + 1), replace=False)] = 1.0
    return values / values.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("n_classes", "n_seen"), [(1, 1), (2, 2), (16, 2), (17, 2), (40, 3), (40, 40)])
def test_packed_leaves_are_what_was_given_and_each_is_kept_once(n_classes, n_seen):
    values = _shares(300, n_classes, n_seen)
    packed, places = pack_leaves(lambda: iter([values, values[::-1]]), n_classes)

    assert_array_equal(_unpacked(packed, places, n_classes), np.concatenate([values, values[::-1]]))
    assert_array_equal(np.unique(places), np.unique(places[:300]))
    assert len(np.unique(places)) == len(np.unique(values, axis=0))
    assert leaves_fault(packed, n_classes) is None
    assert begins_leaf(packed, places.astype(np.uint32)).all()


@pytest.mark.parametrize(
    ("n_classes", "n_seen", "kind"), [(16, 1, "rows"), (17, 1, "runs"), (60, 60, "rows")]
)
def test_runs_are_for_leaves_that_have_seen_few_of_many_classes(n_classes, n_seen, kind):
    values = _shares(50, n_classes, n_seen)
    packed, _ = pack_leaves(lambda: iter([values]), n_classes)

    assert ("runs" if packed.dtype == ENTRY else "rows") == kind


def test_leaves_whose_hashes_clash_are_both_kept(monkeypatch):
    monkeypatch.setattr(leaves, "_hashes", lambda bits, label, start: np.zeros(len(start), dtype=np.uint64))
    values = _shares(20, 40, 3)
    packed, places = pack_leaves(lambda: iter([values]), 40)

    assert packed.dtype == ENTRY
    assert_array_equal(_unpacked(packed, places, 40), values)


def test_a_leaf_that_has_seen_nothing_adds_nothing():
    values = np.zeros((2, 40))
    values[1, 5] = 1
    packed, places = pack_leaves(lambda: iter([values]), 40)

    assert_array_equal(_unpacked(packed, places, 40), values)


def test_a_place_within_a_run_begins_no_leaf():
    packed = np.array([(0.5, 0), (0.5, 3 | LAST_ENTRY), (1.0, 2 | LAST_ENTRY)], dtype=ENTRY)

    assert_array_equal(begins_leaf(packed, np.arange(5, dtype=np.uint32)), [True, False, True, False, False])


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], "leaves are"),
        ([(0.5, 0), (0.5, 1)], "no end"),
        ([(1.0, 40 | LAST_ENTRY)], "none of 40 classes"),
        ([(0.5, 0), (0.4, 1 | LAST_ENTRY)], "sum to 1"),
        ([(1.5, 0), (-0.5, 1 | LAST_ENTRY)], "negative"),
        ([(np.nan, 0 | LAST_ENTRY)], "sum to 1"),
        ([(np.inf, 0 | LAST_ENTRY)], "sum to 1"),
        ([(1e300, 0 | LAST_ENTRY)], "sum to 1"),
    ],
)
def test_entries_that_are_no_distributions_are_named(entries, reason):
    assert reason in leaves_fault(np.array(entries, dtype=ENTRY), 40)


@pytest.mark.parametrize("row", [[0.5, 0.4], [1.5, -0.5], [np.nan, 1], [np.inf, 1], [1e300, 0]])
def test_rows_that_are_no_distributions_are_named(row):
    assert "sum to 1" in leaves_fault(np.array([[0.5, 0.5], row]), 2)


def test_a_forest_of_many_classes_takes_little_memory_and_a_small_file(many_classes, tmp_path):
    forest, _ = many_classes
    compiled = CompiledForest.from_sklearn(forest)
    compiled.save(tmp_path / "forest.npz")
    n_nodes = sum(tree.tree_.node_count for tree in forest.estimators_)

    assert compiled.nbytes < 50 * n_nodes  # rows of 100 classes: 400 and more
    assert (tmp_path / "forest.npz").stat().st_size < 50 * n_nodes


def test_a_file_of_many_classes_from_an_earlier_release_still_loads(many_classes, tmp_path, monkeypatch):
    forest, X = many_classes
    monkeypatch.setattr(leaves, "_FEW_CLASSES", 100)
    CompiledForest.from_sklearn(forest).save(tmp_path / "forest.npz")
    with np.load(tmp_path / "forest.npz") as arrays:
        assert (arrays["version"], arrays["leaves"].shape[1:]) == (1, (100,))

    loaded = CompiledForest.load(tmp_path / "forest.npz")

    assert_array_equal(loaded.predict_proba(X), forest.predict_proba(X), strict=True)


def test_runs_lie_in_files_of_another_version_so_that_earlier_releases_refuse_them(many_classes, tmp_path):
    CompiledForest.from_sklearn(many_classes[0]).save(tmp_path / "forest.npz")

    with np.load(tmp_path / "forest.npz") as arrays:
        assert (arrays["version"], arrays["n_classes"], arrays["leaves"].dtype) == (2, 100, ENTRY)


@pytest.mark.parametrize("shared", [True, False])
def test_a_prepared_forest_of_many_classes_gives_the_same_bits(many_classes, tmp_path, shared):
    forest, X = many_classes
    CompiledForest.from_sklearn(forest).prepare(tmp_path / "prepared")
    again = CompiledForest.load_prepared(tmp_path / "prepared", shared=shared)

    for n_rows in (1, 7, 900):
        assert_array_equal(again.predict_proba(X[:n_rows]), forest.predict_proba(X[:n_rows]))
    again.save(tmp_path / "forest.npz")
    assert_array_equal(CompiledForest.load(tmp_path / "forest.npz").predict_proba(X), forest.predict_proba(X))
