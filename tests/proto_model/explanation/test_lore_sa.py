import importlib.util
import json
import logging
import pickle
import random
import warnings

import numpy as np
import pytest

from proto_model.explanation import make_explainer
from proto_model.parameters import Parameters

pytestmark = pytest.mark.skipif(importlib.util.find_spec("lore_sa") is None, reason="lore-sa is optional")


@pytest.fixture(scope="module")
def library(schema, rows, model):
    return make_explainer("lore_sa", schema, rows[:120], model)


def test_the_library_s_explanation_has_our_shape_and_repeats_itself(library, rows, check):
    options = Parameters(seed=3)

    (first,) = library.explain(rows[:1], options)
    between = library.explain(rows[1:2], options)
    (again,) = pickle.loads(pickle.dumps(library)).explain(rows[:1], options)

    check(first)
    check(between[0])
    assert json.dumps(again) == json.dumps(first)
    assert first["engine"] == "lore_sa"
    assert first["neighborhood"]["size"] > 0
    assert 0 <= first["rule"]["precision"] <= 1


def test_nothing_global_is_left_changed(schema, rows, model):
    random.seed(1)
    np.random.seed(1)
    states = random.getstate(), str(np.random.get_state())
    filters, handlers = list(warnings.filters), list(logging.getLogger().handlers)

    make_explainer("lore_sa", schema, rows[:60], model).explain(rows[:1], Parameters())

    assert (random.getstate(), str(np.random.get_state())) == states
    assert warnings.filters == filters
    assert logging.getLogger().handlers == handlers


def test_a_missing_value_is_filled_and_said_so(library, rows, check):
    x = rows[:1].copy()
    x[0, 0] = np.nan

    (explanation,) = library.explain(x, Parameters())

    check(explanation)
    assert any("missing" in note for note in explanation["notes"])


def test_fixed_features_stay(library, rows):
    options = Parameters(immutable_features=("income", "age"), max_counterfactuals=20)

    for explanation in library.explain(rows[3:6], options):
        changed = {c["feature"] for cf in explanation["counterfactuals"] for c in cf["changes"]}
        assert not changed & {"income", "age"}


def test_a_constant_model_has_no_counterfactual_and_says_so(schema, rows, constant_model, check):
    (explanation,) = make_explainer("lore_sa", schema, rows[:50], constant_model).explain(
        rows[:1], Parameters()
    )

    check(explanation)
    assert explanation["counterfactuals"] == []
    assert "same class" in explanation["notes"][0]
