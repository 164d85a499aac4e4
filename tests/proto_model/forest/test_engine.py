import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from proto_model.forest import CompiledForest


@pytest.mark.parametrize("variant", [RandomForestClassifier, ExtraTreesClassifier])
@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
@pytest.mark.parametrize("n_rows", [0, 1, 3, 5, 64, 100, 5000])
def test_probabilities_and_labels_are_those_of_scikit_learn(variant, load, n_rows):
    X, y = load(return_X_y=True)
    forest = variant(30, random_state=0).fit(X, y)
    rows = np.random.default_rng(0).choice(X, n_rows)

    compiled = CompiledForest.from_sklearn(forest)

    assert compiled.predict_proba(rows).shape == (n_rows, compiled.n_classes)
    if n_rows:
        assert_array_equal(compiled.predict_proba(rows), forest.predict_proba(rows), strict=True)
        assert_array_equal(forest.classes_[compiled.predict_index(rows)], forest.predict(rows))
