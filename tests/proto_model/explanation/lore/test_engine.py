import json
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proto_model.errors import ExplanationError, InputError
from proto_model.explanation import make_explainer
from proto_model.explanation.lore.neighborhood import Bins
from proto_model.parameters import Parameters
from proto_model.schema import Feature, ModelSchema

number = st.one_of(st.none(), st.floats(-1e6, 1e6), st.floats(0, 100))
row = st.tuples(
    number,
    st.one_of(st.none(), st.integers(-5, 20)),
    st.one_of(st.none(), st.integers(0, 1)),
    st.one_of(st.none(), st.integers(0, 2)),
    st.one_of(st.none(), st.integers(0, 200)),
).map(lambda values: np.array([np.nan if v is None else v for v in values], dtype=np.float64))

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def satisfies(premises, x, schema):
    """Whether a row satisfies the premises of a rule's JSON, read on their own."""
    for premise in premises:
        j = schema.feature_names.index(premise["feature"])
        feature, value = schema.features[j], x[j]
        if np.isnan(value):
            ok = premise.get("or_missing", False)
        elif "in" in premise:
            shown = feature.categories[int(value)] if feature.categories else bool(value)
            ok = shown in premise["in"]
        else:
            ok = premise.get("above", -np.inf) < value <= premise.get("at_most", np.inf)
        if not ok:
            return False
    return True


def changed(x, changes, schema):
    """The row after a counterfactual's changes; each must start from the row's own value."""
    result = x.copy()
    for change in changes:
        j = schema.feature_names.index(change["feature"])
        categories = schema.features[j].categories
        old = None if np.isnan(x[j]) else (categories[int(x[j])] if categories else x[j])
        assert change["from"] == old
        assert change["to"] != old
        result[j] = categories.index(change["to"]) if categories else change["to"]
    return result


@few
@given(x=row)
def test_every_explanation_holds_what_it_promises(explainer, schema, model, rows, check, x):
    (explanation,) = explainer.explain(x[np.newaxis], Parameters())

    check(explanation)
    label = schema.classes[model(x[np.newaxis]).argmax()]
    assert explanation["prediction"] == explanation["rule"]["consequence"] == label
    assert satisfies(explanation["rule"]["premises"], x, schema)
    assert explanation["rule"]["premises"] or explanation["notes"]
    distances = [c["distance"] for c in explanation["counterfactuals"]]
    assert distances == sorted(distances)
    for counterfactual in explanation["counterfactuals"]:
        z = changed(x, counterfactual["changes"], schema)
        assert counterfactual["valid"]
        assert schema.classes[model(z[np.newaxis]).argmax()] == counterfactual["prediction"] != label
        if counterfactual["rule"] is not None:
            assert satisfies(counterfactual["rule"]["premises"], z, schema)
        for change in counterfactual["changes"]:
            feature = schema.features[schema.feature_names.index(change["feature"])]
            kinds = {"double": float, "long": int, "boolean": bool, "string": str}
            assert type(change["to"]) is kinds[feature.type]
            if feature.type in ("double", "long"):
                assert feature.minimum <= change["to"] <= feature.maximum


@few
@given(x=row, seed=st.integers(-(2**63), 2**63 - 1))
def test_what_may_not_change_does_not(explainer, schema, x, seed):
    options = Parameters(
        seed=seed,
        max_counterfactuals=5,
        immutable_features=("owner", "colour"),
        mutable_features=("age",),
        increase_only=("age",),
        decrease_only=("children",),
    )

    (explanation,) = explainer.explain(x[np.newaxis], options)

    for counterfactual in explanation["counterfactuals"]:
        for change in counterfactual["changes"]:
            assert change["feature"] not in ("owner", "colour")
            if change["feature"] == "age" and change["from"] is not None:
                assert change["to"] > change["from"]
            if change["feature"] == "children" and change["from"] is not None:
                assert change["to"] < change["from"]


@few
@given(x=row, seed=st.integers(0, 1000))
def test_sensitive_features_change_only_where_the_request_names_them(explainer, x, seed):
    options = Parameters(seed=seed, max_counterfactuals=5)

    (held,) = explainer.explain(x[np.newaxis], options)
    (allowed,) = explainer.explain(x[np.newaxis], replace(options, mutable_features=("age", "income")))
    (none,) = explainer.explain(x[np.newaxis], replace(options, max_counterfactuals=0))

    assert "age" not in {change["feature"] for c in held["counterfactuals"] for change in c["changes"]}
    assert held["held_fixed"] == ["age"]
    assert allowed["held_fixed"] == none["held_fixed"] == []


def test_where_only_a_sensitive_feature_would_flip_there_is_no_counterfactual_and_a_note(schema, rows, check):
    def by_age(X):
        return np.eye(2)[(X[:, 4] > 50).astype(int)]

    explainer = make_explainer("lore", schema, rows, by_age)

    held = check(explainer.explain(rows[:1], Parameters())[0])
    allowed = check(explainer.explain(rows[:1], Parameters(mutable_features=("age",)))[0])

    assert held["counterfactuals"] == []
    (why,) = [note for note in held["notes"] if "mutable_features" in note]
    assert "no feature that the model reads may change" in why
    assert {c["feature"] for c in allowed["counterfactuals"][0]["changes"]} == {"age"}
    assert allowed["notes"] == []


def test_a_counterfactual_that_no_part_of_it_hints_at_is_found(schema, rows, check):
    def corner(X):
        income, children, owner, colour, _ = X.T
        return np.eye(2)[((income > 97) & (children == 6) & (owner == 1) & (colour == 2)).astype(int)]

    rows = rows[corner(rows).argmax(axis=1) == 0]
    explainer = make_explainer("lore", schema, rows, corner)
    x = np.array([[50.0, 2, 0, 1, 40]])

    (explanation,) = explainer.explain(x, Parameters(max_counterfactuals=1))
    (none,) = explainer.explain(x, Parameters(decrease_only=("children",)))
    (why,) = [note for note in none["notes"] if "mutable_features" in note]

    check(explanation)
    (found,) = explanation["counterfactuals"]
    assert {change["feature"] for change in found["changes"]} == {"income", "children", "owner", "colour"}
    assert none["counterfactuals"] == []
    assert "No allowed change of the other features gives another class: all" in why


def test_many_small_changes_are_put_together_where_combinations_are_too_many(check):
    names = [*(f"x{k}" for k in range(25)), "sex"]
    features = tuple(Feature(name, "boolean", False) for name in names)
    schema = replace(plain_schema(2), features=features)

    def six(X):
        p = 1 / (1 + np.exp(5.5 - X[:, :25].sum(axis=1) - 8 * X[:, 25]))
        return np.stack([1 - p, p], axis=1)

    X = (np.random.default_rng(0).random((400, 26)) < [*[0.03] * 25, 0.5]).astype(float)
    explainer = make_explainer("lore", schema, X[X[:, :25].sum(axis=1) < 4], six)
    x = np.zeros((1, 26))

    (explanation,) = explainer.explain(x, Parameters())
    (few,) = explainer.explain(x, Parameters(immutable_features=tuple(names[5:25])))

    assert len(check(explanation)["counterfactuals"][0]["changes"]) == 6
    assert few["counterfactuals"] == []
    assert any("all 32 combinations" in note for note in few["notes"])


def with_a_trap(X):
    """Yes from a + b > 0 on, and at one spot where everything around says no."""
    a, b = np.nan_to_num(X.T)
    return np.eye(2)[((a + b > 0) | ((a > -1.7) & (a < -1.3) & (np.abs(b + 2) < 0.1))).astype(int)]


def test_changes_go_the_way_that_the_model_goes_on_average(check):
    schema = replace(plain_schema(2), features=(Feature("a", "double", True), Feature("b", "double", True)))
    X = np.random.default_rng(0).uniform(-3, 3, size=(400, 2)).round(2)
    explainer = make_explainer("lore", schema, X, with_a_trap)
    x = np.array([[0.0, -2.0]])

    usual = check(explainer.explain(x, Parameters(max_counterfactuals=5))[0])
    only_down = Parameters(decrease_only=("a",), immutable_features=("b",))
    forced = check(explainer.explain(x, only_down)[0])

    for counterfactual in usual["counterfactuals"]:
        for change in counterfactual["changes"]:
            assert change["to"] > change["from"]
            assert "against" not in change
    assert usual["counterfactuals"][0]["distance"] > forced["counterfactuals"][0]["distance"]
    (change,) = forced["counterfactuals"][0]["changes"]
    assert change["against"] is True
    assert -1.7 < change["to"] < -1.3
    assert any("against" in note for note in forced["notes"])


def test_the_same_seed_gives_the_same_bytes_in_any_order_thread_or_process(explainer, rows):
    options = Parameters(seed=11)
    alone = [json.dumps(explainer.explain(rows[i : i + 1], options)[0]) for i in range(6)]

    together = [json.dumps(e) for e in explainer.explain(rows[:6], options)]
    backwards = [json.dumps(e) for e in explainer.explain(rows[5::-1], options)]
    copy = pickle.loads(pickle.dumps(explainer))
    with ThreadPoolExecutor(4) as workers:
        threads = list(workers.map(lambda i: json.dumps(copy.explain(rows[i : i + 1], options)[0]), range(6)))

    assert together == alone
    assert backwards == alone[::-1]
    assert threads == alone


def test_another_seed_draws_other_neighbours(explainer, rows):
    first, second = (explainer.explain(rows[:1], Parameters(seed=seed))[0] for seed in (1, 2))

    assert first["neighborhood"]["seed"] == 1
    assert first["feature_importances"] != second["feature_importances"]


def test_no_global_random_state_is_touched(explainer, rows):
    random.seed(5)
    np.random.seed(5)
    before = random.getstate(), str(np.random.get_state())

    explainer.explain(rows[:2], Parameters())

    assert (random.getstate(), str(np.random.get_state())) == before


def test_a_known_model_is_read_rightly(explainer, rows):
    x = np.array([[80.0, 0, 1, 2, 60], [5.0, 0, 0, 0, 30]])

    rich, poor = explainer.explain(x, Parameters())

    for explanation in (rich, poor):
        assert next(iter(explanation["feature_importances"])) == "income"
        assert explanation["rule"]["precision"] > 0.95
        assert explanation["fidelity"] > 0.85
        assert any(p["feature"] == "income" for p in explanation["rule"]["premises"])
    assert [c["feature"] for c in poor["counterfactuals"][0]["changes"]] == ["income"]
    assert 40 <= poor["counterfactuals"][0]["changes"][0]["to"] <= 43


def test_more_effort_scores_more_rows(explainer, rows, check):
    fast, thorough = (
        check(explainer.explain(rows[:1], Parameters(effort=effort))[0]) for effort in ("fast", "thorough")
    )

    assert thorough["neighborhood"]["size"] > 2 * fast["neighborhood"]["size"]


def test_as_many_counterfactuals_as_asked_and_different_ones(explainer, rows):
    for n in (0, 1, 6):
        (explanation,) = explainer.explain(rows[:1], Parameters(max_counterfactuals=n))

        kinds = [frozenset(c["feature"] for c in cf["changes"]) for cf in explanation["counterfactuals"]]
        assert len(kinds) <= n
        assert n == 0 or kinds
        assert len(set(kinds)) == len(kinds)


def test_when_nothing_may_change_it_says_so(explainer, schema, rows):
    options = Parameters(immutable_features=tuple(schema.feature_names))

    (explanation,) = explainer.explain(rows[:1], options)

    assert explanation["counterfactuals"] == []
    assert "No counterfactual is possible" in explanation["notes"][-1]


def test_progress_is_told_row_by_row_and_order_is_kept(explainer, rows):
    told = []

    explanations = explainer.explain(rows[:5], Parameters(), progress=lambda *state: told.append(state))

    assert told == [(i, 5) for i in range(1, 6)]
    assert [e["prediction"] for e in explanations] == [
        explainer.explain(rows[i : i + 1], Parameters())[0]["prediction"] for i in range(5)
    ]


def test_no_rows_give_no_explanations(explainer):
    assert explainer.explain(np.empty((0, 5)), Parameters()) == []


def test_a_constant_model_is_explained_as_one(schema, rows, constant_model, check):
    (explanation,) = make_explainer("lore", schema, rows, constant_model).explain(rows[:1], Parameters())

    check(explanation)
    assert explanation["rule"]["text"] == "ALWAYS no"
    assert explanation["counterfactuals"] == []
    assert explanation["fidelity"] is None
    assert "same class" in explanation["notes"][0]


@dataclass(frozen=True)
class Threshold:
    """Classes by the first feature: below 0, up to 1, above."""

    n_classes: int = 2

    def __call__(self, X):
        first = np.nan_to_num(X[:, 0], nan=5.0)
        return np.eye(self.n_classes)[np.minimum(np.searchsorted([0.0, 1.0, 2.0], first), self.n_classes - 1)]


def plain_schema(n_features, n_classes=2, kind="double"):
    return ModelSchema(
        "plain",
        "y",
        "long",
        tuple(range(n_classes)),
        tuple(
            Feature(f"feature number {j}", kind, True, minimum=-3.0, maximum=3.0) for j in range(n_features)
        ),
    )


@pytest.mark.parametrize(
    "X",
    [
        np.linspace(-3, 3, 50)[:, np.newaxis],
        np.zeros((30, 1)),
        np.full((20, 1), np.nan),
        np.array([[1.0]]),
        np.tile([[0.5, np.nan]], (10, 1)),
        np.column_stack([np.linspace(-3, 3, 40), np.full(40, np.nan)]),
        np.array([[-1e300, 1e300], [1e300, -1e300], [5e-324, 0.0]]),
    ],
    ids=["one feature", "all equal", "all missing", "one row", "duplicates", "a missing column", "extremes"],
)
def test_poor_tables_never_crash(X, check):
    schema = plain_schema(X.shape[1])
    explainer = make_explainer("lore", schema, X, Threshold())

    for x in (X[:1], np.full_like(X[:1], np.nan), np.full_like(X[:1], 1e300), np.full_like(X[:1], -1e300)):
        check(explainer.explain(x, Parameters())[0])


def test_only_unseen_categories(check):
    schema = replace(
        plain_schema(2),
        features=(
            Feature("first", "double", True),
            Feature("word", "string", True, categories=("a", "b"), most_frequent="a"),
        ),
    )
    X = np.column_stack([np.linspace(-3, 3, 40), np.arange(40) % 2]).astype(np.float64)

    (explanation,) = make_explainer("lore", schema, X, Threshold()).explain(
        np.array([[-1.0, np.nan]]), Parameters()
    )

    check(explanation)


def test_hundreds_of_features_and_classes_stay_short(check):
    schema = plain_schema(300, n_classes=120)
    X = np.random.default_rng(0).normal(size=(200, 300)).clip(-3, 3)

    explanations = make_explainer("lore", schema, X, Threshold(120)).explain(
        X[:2], Parameters(max_counterfactuals=20)
    )

    for explanation in explanations:
        check(explanation)
        assert len(explanation["feature_importances"]) < 300
        assert any("most important of 300 features" in note for note in explanation["notes"])


def test_long_lists_of_categories_do_not_cost_counterfactuals(check):
    names = tuple(f"charge number {k}, as described" for k in range(440))
    schema = replace(
        plain_schema(1),
        features=(Feature("charge", "string", True, categories=names), Feature("n", "double", True)),
    )
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 440, 2000), rng.normal(size=2000).round(2)])

    def model(Z):
        return np.eye(2)[
            ((np.nan_to_num(Z[:, 0]) * 7919 % 440 < 230) & (np.nan_to_num(Z[:, 1]) > -1)).astype(int)
        ]

    explanations = make_explainer("lore", schema, X, model).explain(X[:8], Parameters())

    for explanation in map(check, explanations):
        assert explanation["counterfactuals"]
        assert len(explanation["rule"]["text"]) < 1000
        for premise in explanation["rule"]["premises"]:
            assert premise["feature"] != "charge" or {"in", "count"} & set(premise)


def test_a_model_of_another_schema_is_told_apart(schema, rows):
    explainer = make_explainer("lore", schema, rows, lambda X: np.ones((len(X), 3)) / 3)

    with pytest.raises(ExplanationError, match="one column per class"):
        explainer.explain(rows[:1], Parameters())


def test_bad_options_and_rows_are_refused(explainer, rows):
    with pytest.raises(InputError, match="effort"):
        explainer.explain(rows[:1], Parameters(effort="none"))
    with pytest.raises(InputError, match="infinite"):
        explainer.explain(np.full((1, 5), np.inf), Parameters())


@dataclass
class Thirds:
    """A model of three classes, two of which it tells apart by noise that no small tree can imitate."""

    def __call__(self, X):
        first = np.nan_to_num(X[:, 0]) > 50
        odd = np.sin(1e4 * np.nan_to_num(X).sum(axis=1)) > 0
        answers = np.where(first, 0, np.where(odd, 1, 2))
        return np.eye(3)[answers] * 0.9 + 1 / 30


def test_fidelity_is_also_told_for_the_class_of_the_row_alone(schema, rows, check):
    many = replace(schema, classes=("a", "b", "c"))
    (explanation,) = make_explainer("lore", many, rows, Thirds()).explain(
        np.array([[80.0, 0, 1, 2, 60]]), Parameters()
    )

    check(explanation)
    assert explanation["class_fidelity"] > 0.95
    assert explanation["fidelity"] < 0.8


def test_with_two_classes_both_fidelities_are_the_same(explainer, rows):
    for explanation in explainer.explain(rows[:3], Parameters()):
        assert explanation["class_fidelity"] == explanation["fidelity"]


def test_whole_rows_are_put_into_bins_only_for_rules(schema, rows, model, monkeypatch):
    explainer = make_explainer("lore", schema, rows, model)
    explainer.explain(rows[:1], Parameters())
    binned = []
    whole = Bins.__call__
    monkeypatch.setattr(Bins, "__call__", lambda bins, X: binned.append(len(X)) or whole(bins, X))

    (explanation,) = explainer.explain(rows[5:6], Parameters())

    # The row itself, rows inside its rule if that fails, and the counterfactuals that are given.
    assert explanation["counterfactuals"]
    assert len(binned) <= 3
    assert sorted(binned)[:2] == [1, len(explanation["counterfactuals"])]
