"""Texts, for engines that know numbers, truth values and categories: a column for each term.

The coded matrix holds a text as one number, whose bits are its terms. Here each bit becomes a truth value,
the engine explains those, and its explanations are put into the words of the text again. Nobody can be told
to change a text word by word, so counterfactuals leave texts as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from proto_model.explanation.interface import Explainer, Explanations, Floats, PredictProba, Progress
from proto_model.parameters import Parameters
from proto_model.schema import Feature, ModelSchema

Premise = dict[str, Any]


@dataclass(frozen=True)
class Unfolding:
    """A schema without texts in the place of one that has some."""

    schema: ModelSchema
    plain: ModelSchema = field(init=False)

    def __post_init__(self) -> None:
        """Work out the schema with a column per term."""
        features = tuple(part for feature in self.schema.features for part in _parts(feature))
        object.__setattr__(self, "plain", replace(self.schema, features=features))

    def unfold(self, X: Floats) -> Floats:
        """Coded matrix of the plain schema."""
        columns: list[Floats] = []
        for feature, column in zip(self.schema.features, X.T, strict=True):
            if feature.terms is None:
                columns.append(column)
                continue
            missing = np.isnan(column)
            mask = np.where(missing, 0, column).astype(np.int64)
            columns += [(mask >> bit & 1).astype(np.float64) for bit in range(len(feature.terms))]
            columns += [(~missing).astype(np.float64)] if feature.nullable else []
        return np.column_stack(columns) if len(X) else np.empty((0, len(self.plain.features)))

    def fold(self, Z: Floats) -> Floats:
        """Coded matrix of the schema itself; a text that is not given has no terms."""
        X = np.empty((len(Z), len(self.schema.features)))
        at = 0
        for place, feature in enumerate(self.schema.features):
            if feature.terms is None:
                X[:, place] = Z[:, at]
                at += 1
                continue
            n_terms = len(feature.terms)
            X[:, place] = np.nan_to_num(Z[:, at : at + n_terms]) @ 2.0 ** np.arange(n_terms)
            at += n_terms
            if feature.nullable:
                X[Z[:, at] != 1, place] = np.nan
                at += 1
        return X

    def options(self, options: Parameters) -> Parameters:
        """Options about the columns of terms: they are immutable, whatever was asked."""
        texts = {feature.name for feature in self.schema.features if feature.terms is not None}
        kept = tuple(name for name in options.immutable_features if name not in texts)
        fixed = (part.name for f in self.schema.features if f.terms is not None for part in _parts(f))
        mutable = tuple(name for name in options.mutable_features if name not in texts)
        return replace(options, immutable_features=(*kept, *fixed), mutable_features=mutable)

    def in_words(self, explanation: dict[str, Any]) -> dict[str, Any]:
        """An explanation that speaks of texts, not of their terms' columns."""
        words = {part.name: _words(f, part) for f in self.schema.features if f.terms for part in _parts(f)}
        text_of = {name: f.name for f in self.schema.features if f.terms for name in map(_name, _parts(f))}
        rule = explanation["rule"]
        importances: dict[str, float] = {}
        for name, weight in explanation["feature_importances"].items():
            own = text_of.get(name, name)
            importances[own] = round(importances.get(own, 0.0) + weight, 4)
        found = {
            **explanation,
            "rule": {**rule, "premises": _premises(rule, words), "text": _text(rule["text"], words)},
            "counterfactuals": [
                {**c, "rule": c["rule"] and {**c["rule"], "premises": _premises(c["rule"], words)}}
                for c in explanation["counterfactuals"]
            ],
            "feature_importances": dict(sorted(importances.items(), key=lambda item: -item[1])),
        }
        note = "Counterfactuals leave texts as they are."
        return {**found, "notes": [*found["notes"], note]} if found["counterfactuals"] else found


@dataclass(frozen=True)
class _Words:
    """What a premise on a column of a term says, where it is true and where it is false."""

    column: str
    true: Premise
    false: Premise
    true_text: str
    false_text: str


def _words(feature: Feature, part: Feature) -> _Words:
    name = feature.name
    if part.name == _given(name):
        known, missing = {"feature": name}, {"feature": name, "in": [], "or_missing": True}
        return _Words(part.name, known, missing, f"{name} is known", f"{name} is missing")
    term = next(term for term in feature.terms or () if _contains(name, term) == part.name)
    return _Words(
        part.name,
        {"feature": name, "contains": term},
        {"feature": name, "lacks": term},
        part.name,
        f"{name} does not contain {json.dumps(term, ensure_ascii=False)}",
    )


def _premises(rule: dict[str, Any], words: dict[str, _Words]) -> list[Premise]:
    found = []
    for premise in rule["premises"]:
        said = words.get(premise["feature"])
        if said is None:
            found.append(premise)
        elif premise.get("in") in ([True], [False]):
            found.append(said.true if premise["in"] == [True] else said.false)
    # A text that contains a word is known.
    containing = {premise["feature"] for premise in found if "contains" in premise}
    return [
        premise for premise in found if premise.keys() > {"feature"} or premise["feature"] not in containing
    ]


def _text(text: str, words: dict[str, _Words]) -> str:
    for said in words.values():
        if "contains" not in said.true and f'{said.true["feature"]} contains "' in text:
            known = f"{said.column} is true"
            text = text.replace(f"{known} AND ", "").replace(f" AND {known}", "")
        text = text.replace(f"{said.column} is true", said.true_text)
        text = text.replace(f"{said.column} is false", said.false_text)
    return text


def _name(feature: Feature) -> str:
    return feature.name


def _contains(name: str, term: str) -> str:
    return f"{name} contains {json.dumps(term, ensure_ascii=False)}"


def _given(name: str) -> str:
    return f"{name} is given"


def _parts(feature: Feature) -> list[Feature]:
    """Columns of a feature in the plain schema."""
    if feature.terms is None:
        return [feature]
    names = [_contains(feature.name, term) for term in feature.terms]
    names += [_given(feature.name)] if feature.nullable else []
    return [Feature(name, "boolean", False, minimum=0.0, maximum=1.0, median=0.0) for name in names]


@dataclass(frozen=True)
class UnfoldedModel:
    """A model, asked about the plain schema's rows."""

    predict_proba: PredictProba
    unfolding: Unfolding

    def __call__(self, matrix: Floats) -> Floats:
        """Class probabilities of coded rows of the plain schema."""
        return self.predict_proba(self.unfolding.fold(matrix))


@dataclass(frozen=True)
class UnfoldingExplainer:
    """An explainer of rows with texts, made of one that knows none."""

    explainer: Explainer
    unfolding: Unfolding

    def explain(self, X: Floats, options: Parameters, progress: Progress | None = None) -> Explanations:
        """One explanation per row, in order, in words of the texts."""
        options.validate(self.unfolding.schema)
        Z = self.unfolding.unfold(np.asarray(X, dtype=np.float64))
        found = self.explainer.explain(Z, self.unfolding.options(options), progress)
        return list(map(self.unfolding.in_words, found))


def explainer_of_texts(
    make: Callable[..., Explainer],
    schema: ModelSchema,
    background: Floats,
    predict_proba: PredictProba,
    synthetic: bool,
) -> Explainer:
    """Explainer of a schema with texts, by the class of one for schemas without."""
    unfolding = Unfolding(schema)
    model = UnfoldedModel(predict_proba, unfolding)
    return UnfoldingExplainer(
        make(unfolding.plain, unfolding.unfold(background), model, synthetic), unfolding
    )
