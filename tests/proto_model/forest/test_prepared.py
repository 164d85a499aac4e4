"""A forest as it lies in memory, for other processes."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from proto_model.errors import ArtifactError
from proto_model.forest import CompiledForest


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("n_trees", [1, 13])
def test_a_prepared_forest_gives_the_same_bits(tmp_path, shared, n_trees):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(900, 4)), rng.integers(0, 3, 900)
    forest = CompiledForest.from_sklearn(RandomForestClassifier(n_trees, random_state=0).fit(X, y))
    forest.prepare(tmp_path / "prepared")
    again = CompiledForest.load_prepared(tmp_path / "prepared", shared=shared)

    for n_rows in (1, 7, 900):
        np.testing.assert_array_equal(again.predict_proba(X[:n_rows]), forest.predict_proba(X[:n_rows]))
    again.save(tmp_path / "forest.npz")
    forest.save(tmp_path / "first.npz")
    assert (tmp_path / "forest.npz").read_bytes() == (tmp_path / "first.npz").read_bytes()


def test_what_was_removed_meanwhile_is_an_artifact_error(tmp_path):
    with pytest.raises(ArtifactError, match="prepared forest"):
        CompiledForest.load_prepared(tmp_path / "gone", shared=True)
