"""Forests of several kinds, fitted once per test run."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier


def _with_gaps(X, share, seed):
    X = X.copy()
    X[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    return X


def _fit(name):
    X, y = load_breast_cancer(return_X_y=True)
    noisy_X, noisy_y = make_classification(4000, 12, n_informative=8, flip_y=0.2, random_state=0)
    digits_X, digits_y = load_digits(return_X_y=True)
    match name:
        case "shallow":
            return RandomForestClassifier(60, random_state=0).fit(X, y), X
        case "shallow_with_gaps":
            X = _with_gaps(X, 0.1, seed=1)
            return RandomForestClassifier(60, random_state=1).fit(X, y), X
        case "deep":
            return RandomForestClassifier(12, random_state=2).fit(noisy_X, noisy_y), noisy_X
        case "deep_with_gaps":
            X = _with_gaps(noisy_X, 0.05, seed=3)
            return ExtraTreesClassifier(12, random_state=3).fit(X, noisy_y), X
        case "ten_classes":
            return ExtraTreesClassifier(30, random_state=4).fit(digits_X, digits_y), digits_X
        case "weighted":
            forest = RandomForestClassifier(
                50, max_depth=5, class_weight="balanced_subsample", ccp_alpha=0.002, random_state=5
            )
            return forest.fit(digits_X, digits_y % 3), digits_X
        case "many_classes" | "many_weighted_classes_with_gaps":
            X, y = make_classification(
                4000, 12, n_informative=10, n_classes=100, n_clusters_per_class=1, random_state=6
            )
            forest = RandomForestClassifier(15, min_samples_leaf=4, random_state=6)
            if name == "many_classes":
                return forest.fit(X, y), X
            X = _with_gaps(X, 0.05, seed=7)
            return forest.set_params(class_weight="balanced").fit(X, y), X


@pytest.fixture(
    scope="session",
    params=[
        "shallow", "shallow_with_gaps", "deep", "deep_with_gaps", "ten_classes", "weighted",
        "many_classes", "many_weighted_classes_with_gaps",
    ],
)  # fmt: skip
def fitted(request):
    """A fitted forest and its training inputs."""
    return _fit(request.param)


@pytest.fixture(scope="session")
def deep():
    """A forest with trees far beyond what bit masks serve, and its training inputs."""
    return _fit("deep")


@pytest.fixture(scope="session")
def many_classes():
    """A forest of 100 classes, of which a leaf has seen four, and its training inputs."""
    return _fit("many_classes")
