"""The published LORE library (`lore_sa`) as an engine, where it is installed.

It shares one surrogate between calls, draws from the global random generators, silences the warnings of the
whole process and adds a handler to the root logger when imported (all seen in 1.1.3). So one lock serialises
it, and what it touches is put back. It sees feature numbers and codes, because it cuts names at "=".
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from proto_model.errors import ExplanationError, InputError
from proto_model.explanation.background import Background, Freedom, short_number_between
from proto_model.explanation.explanation import (
    Counterfactual,
    Explanation,
    explain_constant,
    none_found,
)
from proto_model.explanation.interface import Explanations, Floats, Ints, PredictProba, Progress, collected
from proto_model.explanation.measures import balanced_agreement, draw_inside, draw_neighbors, row_generator
from proto_model.explanation.rule import Premise, Rule
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema

N_NEIGHBORS = 1000
N_MEASURED = 1000

_lock = threading.RLock()


class LoreSaExplainer:
    """Explains rows with the library's random generator (effort `fast`) or its genetic one (`thorough`)."""

    def __init__(
        self, schema: ModelSchema, background: Floats, predict_proba: PredictProba, synthetic: bool = False
    ) -> None:
        if importlib.util.find_spec("lore_sa") is None:
            raise InputError(
                "engine 'lore_sa' is not installed here. Install it with "
                "`pip install 'proto-model-turbo[lore-sa]'`, or use engine 'lore'."
            )
        self.background = Background.from_matrix(schema, background, synthetic)
        self.predict_proba = predict_proba
        self._typical = _typical(self.background.matrix)
        self._built: dict[str, _Lore] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the library's objects, which do not pickle."""
        return {**self.__dict__, "_built": {}}

    def explain(self, X: Floats, options: Parameters, progress: Progress | None = None) -> Explanations:
        """One explanation per row; see `Explainer.explain`."""
        options.validate(self.background.schema)
        X = self.background.check(X)
        explained = (self._explain_row(x, options).to_dict(self.background) for x in X)
        return collected(explained, len(X), progress)

    def _explain_row(self, x: Floats, options: Parameters) -> Explanation:
        background = self.background
        probabilities = self.predict_proba(x[np.newaxis])[0]
        index = int(probabilities.argmax())
        if (self.predict_proba(background.matrix).argmax(axis=1) == index).all():
            return explain_constant(x, probabilities, options.seed, "lore_sa")
        rng = row_generator(options.seed, x, "measures")
        fresh = draw_neighbors(background, x, N_MEASURED, rng)
        result, y_surrogate = self._ask_library(x, options, fresh)
        rule = _rule(result["rule"]["premises"], int(result["rule"]["consequence"]["val"]), background, x)
        counterfactuals = self._counterfactuals(x, index, result, options)
        held = Freedom.of(options, background).held if options.max_counterfactuals else ()
        notes = {
            "lore_sa cannot handle missing values: typical training values were used instead.": (
                np.isnan(x).any()
            ),
            "The surrogate predicts another class for this row than the model.": rule.consequence != index,
            "lore_sa found no rule: all neighbours had the same class.": not rule.premises,
            "The row does not satisfy its own rule.": not rule.covers(x[np.newaxis])[0],
            none_found(bool(held)): not counterfactuals,
        }
        inside = self.predict_proba(draw_inside(background, rule, N_MEASURED, rng)).argmax(axis=1)
        answers = self.predict_proba(fresh).argmax(axis=1)
        weights = np.zeros(background.n_features)
        for name, weight in result["feature_importances"] or []:
            weights[int(name[1:])] += weight
        return Explanation(
            x=x,
            prediction=index,
            probability=float(probabilities[index]),
            rule=rule,
            precision=float((inside == rule.consequence).mean()),
            coverage=float(rule.covers(background.matrix).mean()),
            counterfactuals=tuple(counterfactuals),
            importances=weights,
            fidelity=balanced_agreement(answers, y_surrogate),
            class_fidelity=balanced_agreement(answers == index, y_surrogate == index),
            size=result["n_rows"],
            seed=options.seed,
            engine="lore_sa",
            held=held,
            notes=tuple(note for note, applies in notes.items() if applies),
        )

    def _ask_library(self, x: Floats, options: Parameters, fresh: Floats) -> tuple[dict[str, Any], Ints]:
        """What the library says of a row, and the classes that its surrogate gives to fresh neighbours."""
        z, Z = (np.where(np.isnan(values), self._typical, values) for values in (x, fresh))
        seed = int(row_generator(options.seed, x, "lore_sa").integers(2**32))
        with _library():
            try:
                if options.effort not in self._built:
                    self._built[options.effort] = _Lore(self.background, self.predict_proba, options.effort)
                lore = self._built[options.effort]
                return lore.explain(z, seed), lore.surrogate(Z)
            except (ValueError, IndexError, KeyError, TypeError, RuntimeError) as error:
                raise ExplanationError(
                    f"lore_sa could not explain the row: {error!r}. Use engine 'lore' instead."
                ) from error

    def _counterfactuals(
        self, x: Floats, index: int, result: dict[str, Any], options: Parameters
    ) -> list[Counterfactual]:
        """The library's counterfactual rules as least changes, put to the model."""
        background, freedom = self.background, Freedom.of(options, self.background)
        proposed: dict[bytes, tuple[Floats, Rule]] = {}  # the last rule that leads to a row counts
        for item, delta in zip(result["counterfactuals"], result["deltas"], strict=True):
            rule = _rule(item["premises"], int(item["consequence"]["val"]), background, None)
            conditions = [{"attr": d["att"], "op": d["op"], "val": d["thr"]} for d in delta]
            row = _least_change(x, _rule(conditions, rule.consequence, background, None), background)
            if freedom.allows(x, row).all() and (background.distance(x, row[np.newaxis]) > 0)[0]:
                proposed[row.tobytes()] = row, rule
        if not proposed:
            return []
        X = np.array([row for row, _ in proposed.values()])
        found = []
        for (row, rule), p, far in zip(
            proposed.values(), self.predict_proba(X), background.distance(x, X), strict=True
        ):
            y = int(p.argmax())
            found.append(Counterfactual(row, y, float(p[y]), y != index, float(far), rule))
        return sorted(found, key=lambda c: (not c.valid, c.distance))[: options.max_counterfactuals]


class _Lore:
    """One of the library's explainers, over feature numbers `f0`, `f1`, ... and codes."""

    def __init__(self, background: Background, predict_proba: PredictProba, effort: str) -> None:
        import lore_sa.dataset
        import lore_sa.lore
        import pandas as pd

        filled = np.where(np.isnan(background.matrix), _typical(background.matrix), background.matrix)
        table = pd.DataFrame(filled, columns=[f"f{j}" for j in range(background.n_features)])
        table["target"] = predict_proba(table.to_numpy()).argmax(axis=1)
        codes = [f"f{j}" for j in np.flatnonzero(~background.numeric)]
        dataset = lore_sa.dataset.TabularDataset(table, "target", categorial_columns=[*codes, "target"])
        for name in codes:
            known = range(int(background.n_codes[int(name[1:])]))
            dataset.descriptor["categorical"][name]["distinct_values"] = [float(code) for code in known]
        n_classes = len(background.schema.classes)
        dataset.descriptor["target"]["target"]["distinct_values"] = list(range(n_classes))
        kind = "TabularGeneticGeneratorLore" if effort == "thorough" else "TabularRandomGeneratorLore"
        self._model = _ArgMax(predict_proba)
        self._lore = getattr(lore_sa.lore, kind)(self._model, dataset)

    def explain(self, z: Floats, seed: int) -> dict[str, Any]:
        random.seed(seed)
        np.random.seed(seed)
        self._model.n_rows = 0
        result: dict[str, Any] = self._lore.explain(z, N_NEIGHBORS)
        return {**result, "n_rows": self._model.n_rows}

    def surrogate(self, X: Floats) -> Ints:
        classes: Ints = self._lore.surrogate.dt.predict(self._lore.encoder.encode(X.tolist()))
        return classes.astype(np.int64)


class _ArgMax:
    """The model as the library wants it: rows to class indices."""

    def __init__(self, predict_proba: PredictProba) -> None:
        self._predict_proba = predict_proba
        self.n_rows = 0

    def predict(self, X: Any) -> Ints:
        matrix = np.asarray(X, dtype=np.float64)
        self.n_rows += len(matrix)
        classes: Ints = self._predict_proba(matrix).argmax(axis=1)
        return classes


@contextmanager
def _library() -> Iterator[None]:
    """Sole use of the library, with everything global as it was before once it is done."""
    with _lock, warnings.catch_warnings():
        python_state, numpy_state = random.getstate(), np.random.get_state()
        handlers = set(logging.getLogger().handlers)
        warnings.simplefilter("ignore")
        try:
            importlib.import_module("lore_sa.lore")
            for handler in set(logging.getLogger().handlers) - handlers:
                logging.getLogger().removeHandler(handler)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _rule(items: list[dict[str, Any]], consequence: int, background: Background, x: Floats | None) -> Rule:
    """Rule in our form from the library's conditions, with as few digits as the table allows."""
    above: dict[int, float] = {}
    at_most: dict[int, float] = {}
    codes: dict[int, set[int]] = {}
    for item in items:
        j, sign = int(item["attr"][1:]), item["op"]
        if background.numeric[j]:
            value = _rounded_threshold(
                float(item["val"]), background.matrix[:, j], None if x is None else x[j]
            )
            if sign in (">", ">="):
                above[j] = max(above.get(j, -math.inf), value)
            else:
                at_most[j] = min(at_most.get(j, math.inf), value)
        else:
            known = codes.setdefault(j, set(range(int(background.n_codes[j]))))
            code = int(float(item["val"]))
            known &= {code} if sign == "=" else known - {code}
    premises = (
        Premise(
            feature=j,
            above=above.get(j, -math.inf),
            at_most=at_most.get(j, math.inf),
            codes=tuple(sorted(codes[j])) if j in codes else None,
            or_missing=x is not None and bool(np.isnan(x[j])),
        )
        for j in sorted({*above, *at_most, *codes})
    )
    return Rule(tuple(premises), consequence)


def _rounded_threshold(threshold: float, column: Floats, own: float | None) -> float:
    """The shortest number that separates the same values of the table, and of the row."""
    values = column if own is None else np.append(column, own)
    below, over = values[values <= threshold], values[values > threshold]
    if not len(below) or not len(over):
        return float(threshold)
    return short_number_between(float(below.max()), float(over.min()))


def _least_change(x: Floats, rule: Rule, background: Background) -> Floats:
    """The row nearest to x that satisfies the rule, among values that can exist."""
    row = x.copy()
    for premise in rule.premises:
        j = premise.feature
        if premise.covers(x[j : j + 1])[0]:
            continue
        column = background.matrix[:, j]
        inside = column[premise.covers(column) & ~np.isnan(column)]
        if premise.codes is not None:
            choices, counts = np.unique(inside if len(inside) else premise.codes, return_counts=True)
            row[j] = choices[counts.argmax()] if len(choices) else x[j]
        elif not x[j] <= premise.at_most and premise.at_most < math.inf:
            row[j] = math.floor(premise.at_most) if background.whole[j] else premise.at_most
        elif len(inside):
            row[j] = inside.min()
    return row


def _typical(matrix: Floats) -> Floats:
    """The middle known value of each column (one that occurs); 0 where all are missing."""
    known = np.sort(matrix, axis=0)  # missing values go last
    counts = (~np.isnan(matrix)).sum(axis=0)
    middle = known[np.maximum(counts - 1, 0) // 2, np.arange(matrix.shape[1])]
    typical: Floats = np.nan_to_num(middle)
    return typical
