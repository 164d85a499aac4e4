"""The kinds of forest that compete, each with what its search may change.

To add one, add an entry to `VARIANTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sklearn.base import ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline

from proto_model.schema import ModelSchema
from proto_model.training.encoding import make_encoder


@dataclass(frozen=True)
class Variant:
    """A kind of forest, and what its search tries."""

    name: str
    forest: Callable[..., ClassifierMixin]
    defaults: Mapping[str, Any]  # parameters of the first candidate; the others replace some of them
    space: Mapping[str, Any]  # values that the search draws from, each with the same probability


_SPACE: dict[str, list[Any]] = {
    "n_estimators": [200, 300],
    "criterion": ["gini", "entropy"],
    "max_depth": [None, None, 16, 10],
    "min_samples_leaf": [1, 2, 4, 8, 16],
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
            {**_SPACE, "class_weight": [None, "balanced"], "bootstrap": [False, True]},
        ),
    )
}


def make_pipeline(variant: Variant | str, schema: ModelSchema, random_state: int, **params: Any) -> Pipeline:
    """Pipeline from a canonical frame to class labels, not fitted; its steps are `encode` and `forest`.

    A category that the schema does not have counts as missing. `params` replace the variant's defaults.
    """
    chosen = VARIANTS[variant] if isinstance(variant, str) else variant
    forest = chosen.forest(**{**chosen.defaults, **params}, random_state=random_state)
    return Pipeline([("encode", make_encoder(schema)), ("forest", forest)])
