import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier

from proto_model.explanation import make_explainer
from proto_model.explanation.lore.relevance import read_features
from proto_model.parameters import Parameters
from proto_model.schema import Feature, ModelSchema


def table(n_features, missing, rng):
    X = rng.normal(size=(300, n_features)).round(2)
    X[:, -1] = rng.integers(0, 4, 300)
    X[rng.random(X.shape) < missing] = np.nan
    return X


def schema_of(n_features):
    numbers = tuple(Feature(f"n{j}", "double", True) for j in range(n_features - 1))
    word = Feature("word", "string", True, categories=("a", "b", "c", "d"), most_frequent="a")
    return ModelSchema("m", "y", "long", (0, 1), (*numbers, word))


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_features=st.integers(3, 12),
    n_read=st.integers(1, 3),
    missing=st.sampled_from([0.0, 0.1, 0.4]),
)
def test_what_a_forest_ignores_is_named_nowhere(seed, n_features, n_read, missing):
    rng = np.random.default_rng(seed)
    X = table(n_features, missing, rng)
    read = rng.choice(n_features, min(n_read, n_features - 1), replace=False)
    y = (np.nan_to_num(X[:, read], nan=0.5).sum(axis=1) + rng.normal(size=300) / 4 > 0.5).astype(int)
    y[:2] = 0, 1
    forest = ExtraTreesClassifier(5, max_depth=4, random_state=0).fit(np.nan_to_num(X[:, read], nan=9), y)
    schema = schema_of(n_features)
    explainer = make_explainer(
        "lore", schema, X, lambda Z: forest.predict_proba(np.nan_to_num(Z[:, read], nan=9))
    )

    explanations = explainer.explain(np.vstack([X[:2], np.full((1, n_features), np.nan)]), Parameters())

    names = {schema.feature_names[j] for j in read}
    for explanation in explanations:
        assert {premise["feature"] for premise in explanation["rule"]["premises"]} <= names
        assert {name for name, share in explanation["feature_importances"].items() if share} <= names
        for counterfactual in explanation["counterfactuals"]:
            assert {change["feature"] for change in counterfactual["changes"]} <= names
            rule = counterfactual["rule"] or {"premises": []}
            assert {premise["feature"] for premise in rule["premises"]} <= names


def test_a_value_that_training_never_missed_is_not_named_where_it_does_not_matter():
    rng = np.random.default_rng(0)
    X = table(6, 0.0, rng)

    def model(Z):
        return np.eye(2)[(np.nan_to_num(Z[:, 0], nan=2.0) + 0 * Z[:, 0] > 0).astype(int)]

    (explanation,) = make_explainer("lore", schema_of(6), X, model).explain(
        np.full((1, 6), np.nan), Parameters()
    )

    assert [premise["feature"] for premise in explanation["rule"]["premises"]] == ["n0"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda X: X[:, :1] > 0, [True, False, False]),
        (lambda X: np.isnan(X[:, 1:2]), [False, True, False]),
        (lambda X: X[:, 2:] > 2.2, [False, False, True]),  # changes one answer in a hundred
        (lambda X: (X[:, :1] > 2.5) & (X[:, 1:2] > 2.5), [True, True, True]),  # in doubt
        (lambda X: X[:, :1] > 99, [True, True, True]),  # of a constant model, nothing is known
    ],
)
def test_features_are_read_that_can_change_an_answer(model, expected):
    X = np.random.default_rng(0).normal(size=(4000, 3))

    def probabilities(Z):
        return np.hstack([model(Z), ~model(Z)]).astype(np.float64)

    read = read_features(
        X, probabilities(X), np.array([False, True, False]), probabilities, np.random.default_rng(1)
    )

    assert read.tolist() == expected
