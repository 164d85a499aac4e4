"""The kinds of forest that compete, each with what its search may change.

To add one, add an entry to `VARIANTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline

from proto_model.schema import ModelSchema
from proto_model.training.encoding import FEW_LEVELS, make_encoder

_ROUNDS = 20  # of draws, until there are as many different ones as asked for


@dataclass(frozen=True)
class Variant:
    """A kind of forest, and what its search tries."""

    name: str
    forest: Callable[..., ClassifierMixin]
    defaults: Mapping[str, Any]  # parameters of the first candidate; the others replace some of them
    space: Mapping[str, Any]  # values that the search draws from, each as often; encoder options, too


_SPACE: dict[str, list[Any]] = {
    "criterion": ["gini", "entropy"],
    "max_depth": [None, None, 16, 10],
    "min_samples_leaf": [1, 2, 3, 5, 8, 16],
    "max_features": ["sqrt", "log2", 0.3, 0.5],
}

VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant("random_forest", RandomForestClassifier, {"n_estimators": 200}, _SPACE),
        Variant(
            "random_forest_balanced",
            RandomForestClassifier,
            {"n_estimators": 200, "class_weight": "balanced"},
            {**_SPACE, "class_weight": ["balanced", "balanced_subsample"]},
        ),
        Variant(
            "extra_trees",
            ExtraTreesClassifier,
            {"n_estimators": 200},
            {**_SPACE, "class_weight": [None, None, "balanced"], "bootstrap": [False, True]},
        ),
    )
}

_ENCODER_OPTIONS = tuple(signature(make_encoder).parameters)[1:]


def encoder_space(schema: ModelSchema) -> dict[str, list[Any]]:
    """Options of `make_encoder` that make a difference to a table, as a part of each variant's space."""
    n_levels = [len(feature.categories) for feature in schema.features if feature.categories is not None]
    categories = ["ordinal"]
    if max(n_levels, default=0) > FEW_LEVELS:
        categories += ["target", "target", "frequency"]
    if any(2 < n <= FEW_LEVELS for n in n_levels):
        categories += ["ordinal", "one_hot"]
    has_gaps = any(feature.nullable for feature in schema.features if feature.categories is None)
    space = {"categories": categories, "numbers": ["as_is", "as_is", "median"] if has_gaps else ["as_is"]}
    return {name: values for name, values in space.items() if len(values) > 1}


def candidates(
    variant: Variant, schema: ModelSchema, n_candidates: int, random_state: int
) -> list[dict[str, Any]]:
    """Parameters of each candidate of a search: the defaults, then draws from the space, none of them twice.

    The draws use every value of a parameter equally often, as far as their number allows: what matters most,
    the size of the leaves, is not left to chance.
    """
    space = {**variant.space, **encoder_space(schema)}
    names, spaces = list(space), list(space.values())
    generator = np.random.default_rng([random_state, *variant.name.encode()])
    n_draws = n_candidates - 1
    drawn: dict[str, dict[str, Any]] = {}
    for _ in range(_ROUNDS):
        columns = [generator.permutation(np.arange(n_draws) % len(values)) for values in spaces]
        for places in zip(*columns, strict=True):
            draw = {name: values[int(i)] for name, values, i in zip(names, spaces, places, strict=True)}
            if len(drawn) < n_draws:
                drawn.setdefault(repr(draw), draw)
    return [dict(variant.defaults), *({**variant.defaults, **draw} for draw in drawn.values())]


def make_forest(variant: Variant, params: Mapping[str, Any], random_state: int) -> ClassifierMixin:
    """Forest with a candidate's parameters, for one thread, not fitted."""
    own = {name: value for name, value in params.items() if name not in _ENCODER_OPTIONS}
    return variant.forest(**own, random_state=random_state)


def encoder_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a candidate's parameters that are for its encoder."""
    return {name: value for name, value in params.items() if name in _ENCODER_OPTIONS}


def make_pipeline(variant: Variant | str, schema: ModelSchema, random_state: int, **params: Any) -> Pipeline:
    """Pipeline from a canonical frame to class labels, not fitted; its steps are `encode` and `forest`.

    A category that the schema does not have counts as missing. `params` replace the variant's defaults;
    those that `make_encoder` knows are for it.
    """
    chosen = VARIANTS[variant] if isinstance(variant, str) else variant
    all_params = {**chosen.defaults, **params}
    encoder = make_encoder(schema, **encoder_options(all_params))
    return Pipeline([("encode", encoder), ("forest", make_forest(chosen, all_params, random_state))])
