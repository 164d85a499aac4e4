import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from proto_model.training import VARIANTS
from proto_model.training.selection import growth
from proto_model.training.selection.growth import _is_known, held_out_votes


def held_out_probabilities(forest, X, y, X_held_out, n_classes):
    return held_out_votes(forest, X, y, X_held_out).probabilities(n_classes)


@pytest.fixture(scope="module", params=["plain", "missing values", "rare classes"])
def rows(request):
    """Rows to learn from, their classes, and rows to predict."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(150, 6)).round(1).astype(np.float32)
    y = (X[:, 0] + X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 0.5)
    if request.param == "missing values":
        X[rng.random(X.shape) < 0.2] = np.nan
        X[:, 5] = np.round(X[:, 5])
    if request.param == "rare classes":
        y[0], y[1] = 5, 9  # bootstraps without them, and codes that do not follow each other
    return X[:100], y[:100], X[100:]


PARAMS = [
    {"n_estimators": 7},
    {"n_estimators": 5, "criterion": "entropy", "max_features": 0.5, "max_depth": 4},
    {"n_estimators": 5, "criterion": "log_loss", "max_features": None, "min_samples_split": 9},
    {"n_estimators": 5, "min_samples_leaf": 8, "max_features": "log2", "bootstrap": False},
    {"n_estimators": 5, "class_weight": "balanced", "bootstrap": True},
    {"n_estimators": 5, "class_weight": "balanced_subsample", "bootstrap": True, "max_features": 2},
    {"n_estimators": 5, "class_weight": "balanced_subsample", "bootstrap": False},
]


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
@pytest.mark.parametrize("params", PARAMS, ids=lambda params: " ".join(map(str, params.values())))
def test_probabilities_and_predictions_are_those_of_scikit_learn(kind, params, rows):
    X, y, X_held_out = rows
    fitted = kind(random_state=3, **params).fit(X, y)
    forest = kind(random_state=3, **params)
    classes = np.unique(y)

    assert _is_known(forest)
    votes = held_out_votes(forest, X, y, X_held_out)
    held_out = votes.probabilities(int(y.max()) + 1)
    assert_array_equal(held_out[:, classes], fitted.predict_proba(X_held_out))
    assert held_out.sum() == pytest.approx(len(X_held_out))
    assert votes.n_nodes == sum(tree.tree_.node_count for tree in fitted.estimators_)


@pytest.mark.parametrize("params", PARAMS, ids=lambda params: " ".join(map(str, params.values())))
def test_a_forest_grown_in_parts_is_the_one_grown_at_once(params, rows):
    X, y, X_held_out = rows
    forest = RandomForestClassifier(random_state=3, **params)
    smaller = RandomForestClassifier(random_state=3, **params | {"n_estimators": 2})

    part = held_out_votes(forest, X, y, X_held_out, 2)
    whole = held_out_votes(forest, X, y, X_held_out, before=part)

    assert_array_equal(part.probabilities(10), held_out_probabilities(smaller, X, y, X_held_out, 10))
    assert_array_equal(whole.probabilities(10), held_out_probabilities(forest, X, y, X_held_out, 10))
    assert (part.n_trees, whole.n_trees) == (2, params["n_estimators"])
    assert part.n_nodes < whole.n_nodes == held_out_votes(forest, X, y, X_held_out).n_nodes


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_whatever_the_searches_try_is_known(variant):
    for name, values in variant.space.items():
        for value in values:
            assert _is_known(variant.forest(**{**variant.defaults, name: value}, random_state=0, n_jobs=1))


@pytest.mark.parametrize(
    "forest",
    [
        RandomForestClassifier(4, max_leaf_nodes=5, random_state=0),
        RandomForestClassifier(4, max_samples=0.5, random_state=0),
        ExtraTreesClassifier(4, class_weight={0: 2.0, 1: 1.0, 2: 1.0}, random_state=0),
        RandomForestClassifier(4, min_samples_leaf=0.1, random_state=0),
        DecisionTreeClassifier(max_features=1, random_state=0),
    ],
    ids=lambda forest: str(forest)[:40],
)
def test_anything_else_is_fitted(forest):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(0, 3, 60)

    predicted = held_out_probabilities(forest, X[:40], y[:40], X[40:], 3)

    assert not _is_known(forest)
    part = held_out_votes(forest, X[:40], y[:40], X[40:], 1)
    assert held_out_votes(forest, X[:40], y[:40], X[40:], before=part) is part
    assert_array_equal(part.probabilities(3), predicted)
    assert_array_equal(predicted, forest.predict_proba(X[40:]))


def test_parameters_that_scikit_learn_refuses_are_refused(rows):
    with pytest.raises(ValueError, match="max_depth"):
        held_out_probabilities(RandomForestClassifier(3, max_depth=0, random_state=0), *rows, 3)


def test_with_an_untested_version_of_scikit_learn_the_forest_is_fitted(rows, monkeypatch):
    monkeypatch.setattr(growth, "_IS_TESTED", False)
    forest = RandomForestClassifier(3, random_state=0)

    predicted = held_out_probabilities(forest, *rows, int(rows[1].max()) + 1)

    assert_array_equal(predicted[:, np.unique(rows[1])], forest.predict_proba(rows[2]))
