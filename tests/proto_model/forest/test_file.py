import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from proto_model.errors import ArtifactError
from proto_model.forest import CompiledForest
from proto_model.forest.nodes import WIDE_NODE


@pytest.fixture(scope="module")
def content(deep, tmp_path_factory):
    """Bytes of a forest's file."""
    path = tmp_path_factory.mktemp("forest") / "forest.npz"
    CompiledForest.from_sklearn(deep[0]).save(path)
    return path.read_bytes()


@pytest.fixture
def damaged(content, tmp_path):
    """Function that changes the arrays of a file and gives the path of the new one."""

    def change(**changes):
        path = tmp_path / "forest.npz"
        path.write_bytes(content)
        with np.load(path) as arrays:
            arrays = {name: arrays[name].copy() for name in arrays.files}
        for name, new in changes.items():
            arrays[name] = new(arrays[name])
        np.savez(path, **arrays)
        return path

    return change


def _set(index, value, field=None):
    def change(array):
        (array if field is None else array[field])[index] = value
        return array

    return change


_FIRST_LINK = (1 << 5) - 1  # feature and direction of missing values, for twelve features


@pytest.mark.parametrize(
    "changes",
    [
        {"nodes": _set(0, 0, "link")},
        {"nodes": _set(0, 2**32 - 1, "link")},
        {"nodes": lambda nodes: nodes[:-1]},
        {"nodes": lambda nodes: nodes[:0]},
        {"nodes": lambda nodes: nodes["link"]},
        {"nodes": lambda nodes: nodes.reshape(1, -1)},
        {"nodes": lambda nodes: _set(5, nodes["link"][5] & _FIRST_LINK | 4 << 5, "link")(nodes)},
        {"nodes": lambda nodes: _set(-1, nodes["link"][-1] | 1 << 4, "link")(nodes)},
        {"nodes": lambda nodes: _set(-1, np.float32(1), "threshold")(nodes)},
        {"leaves": lambda leaves: leaves[:1]},
        {"leaves": lambda leaves: leaves[:, :0]},
        {"leaves": lambda leaves: leaves.astype(np.float32)},
        {"leaves": _set(0, np.nan)},
        {"columns": _set(0, 12)},
        {"columns": _set(0, -1)},
        {"columns": lambda columns: columns[:-1]},
        {"columns": lambda columns: columns.astype(np.int64)},
        {"n_features": lambda n: n - 1},
        {"n_features": lambda n: np.array([n, n])},
        {"tree_start": _set(1, 0)},
        {"tree_start": _set(1, 10**9)},
        {"tree_start": _set(0, 1)},
        {"tree_start": lambda start: start[:-1]},
        {"tree_start": lambda start: start[:1]},
        {"tree_start": lambda start: start + 0.5},
        {"leaves": lambda leaves: np.array([object()])},
    ],
)
def test_a_file_whose_arrays_do_not_fit_together_is_refused(damaged, changes):
    with pytest.raises(ArtifactError, match=r"forest\.npz"):
        CompiledForest.load(damaged(**changes))


def test_a_child_beyond_what_an_integer_holds_is_refused(damaged):
    def widen(nodes):
        wide = np.zeros(len(nodes), dtype=WIDE_NODE)
        wide["threshold"], wide["link"] = nodes["threshold"], nodes["link"]
        wide["link"][0] |= np.uint64(2**64 - 32)
        return wide

    with pytest.raises(ArtifactError):
        CompiledForest.load(damaged(nodes=widen))


def test_trees_that_share_branches_are_refused(damaged):
    """Following all paths through them would take for ever."""

    def share(nodes):
        for place in range(60):
            nodes["link"][place] = nodes["link"][place] & _FIRST_LINK | (place + 1) << 5
        return nodes

    with pytest.raises(ArtifactError, match=r"breadth first|told apart"):
        CompiledForest.load(damaged(nodes=share))


def test_a_file_of_another_version_is_refused(damaged):
    with pytest.raises(ArtifactError, match="version 3, but this release reads versions 1 and 2"):
        CompiledForest.load(damaged(version=lambda version: version + 2))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"nowhere\.npz"):
        CompiledForest.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("content", [b"", b"PK", b"not a forest", b"\x93NUMPY\x01\x00", b"\x80\x04."])
def test_a_file_that_is_no_archive_is_refused(content, tmp_path):
    path = tmp_path / "forest.npz"
    path.write_bytes(content)
    with pytest.raises(ArtifactError):
        CompiledForest.load(path)


def test_a_file_with_flipped_bits_is_refused_or_still_safe_to_walk(content, deep, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "forest.npz"
    X = np.vstack([deep[1][:100], np.full((5, 12), np.nan)])
    n_refused = 0
    for _ in range(150):
        damaged = np.frombuffer(content, dtype=np.uint8).copy()
        n_edge = rng.choice([500, len(content)])  # headers stand at both ends
        places = rng.integers(-n_edge, n_edge, 3).clip(-len(content), len(content) - 1)
        damaged[places] ^= rng.integers(1, 256, 3).astype(np.uint8)
        path.write_bytes(damaged.tobytes())
        try:
            CompiledForest.load(path).predict_proba(X)
        except ArtifactError:
            n_refused += 1
    assert n_refused > 100


def test_a_file_that_ends_early_is_refused(content, tmp_path):
    path = tmp_path / "forest.npz"
    for length in np.linspace(0, len(content) - 1, 40).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(ArtifactError):
            CompiledForest.load(path)


def test_links_that_pass_the_check_keep_every_walk_within_its_tree(damaged, deep):
    rng = np.random.default_rng(0)
    X = deep[1][:200]
    for _ in range(60):

        def shuffle(nodes):
            place = rng.integers(len(nodes))
            nodes["link"][place : place + 1] += np.uint32(rng.choice([1, 16, 32, 64, 2**16, 2**32 - 32]))
            return nodes

        try:
            compiled = CompiledForest.load(damaged(nodes=shuffle))
        except ArtifactError:
            continue
        proba = compiled.predict_proba(X)
        assert ((proba >= 0) & (proba <= 1 + 1e-9)).all()


def test_a_forest_whose_leaves_hold_no_shares_is_not_written(tmp_path):
    X, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    forest = RandomForestClassifier(3, random_state=0).fit(X, y)
    forest.estimators_[1].tree_.value[-1] *= -1  # what weights below zero lead to

    with pytest.raises(ArtifactError, match="This forest cannot be served: the shares"):
        CompiledForest.from_sklearn(forest).save(tmp_path / "forest.npz")
    assert not (tmp_path / "forest.npz").exists()
