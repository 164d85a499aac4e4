"""Which features the model reads at all: the others are named in no rule and changed in no counterfactual.

Values of scored rows are exchanged, and the model is asked again. A feature of which no exchange changes any
answer is ignored. Counting rows cannot tell: among many features, chance makes some look useful.
"""

from __future__ import annotations

import numpy as np

from proto_model.explanation.background import differs
from proto_model.explanation.interface import Bools, Floats, Ints, PredictProba

MAX_ALONE = 64  # rows in which a feature is exchanged alone; fewer where there are many features
MAX_VALUES = 300_000
MAX_TOGETHER = 4000  # rows in which all features are exchanged that seem to be ignored
N_ROUNDS = 6
SAME = 1e-12  # a model may add up in another order each time


def read_features(
    X: Floats, probabilities: Floats, may_miss: Bools, predict_proba: PredictProba, rng: np.random.Generator
) -> Bools:
    """Per feature, whether the model reads it; `probabilities` are its answers to the rows `X`.

    Missing values are tried where `may_miss` says so. In doubt, a feature is read: where all rows have the
    same value, and of features that only matter together.
    """
    X, probabilities = X[:MAX_TOGETHER], probabilities[:MAX_TOGETHER]
    exchanged = rng.permuted(X, axis=0)
    exchanged[may_miss & (rng.random(X.shape) < 0.25)] = np.nan
    n_alone = int(np.clip(MAX_VALUES // X.shape[1] ** 2, 4, MAX_ALONE))
    read = np.asarray(~differs(X, exchanged).any(axis=0))  # of a constant, nothing can be said
    rows = np.arange(len(X))
    for _ in range(N_ROUNDS):
        rest = np.flatnonzero(~read)
        some = rows[:n_alone]
        read[rest] = _read_alone(X[some], probabilities[some], exchanged[some], rest, predict_proba)
        # If what is left changes something together, the next round looks at the rows where it does.
        together = np.where(read, X, exchanged)
        rows = np.flatnonzero(np.abs(predict_proba(together) - probabilities).max(axis=1) > SAME)
        if not len(rows):
            return read if read.any() else ~read
    return np.ones_like(read)


def _read_alone(
    X: Floats, probabilities: Floats, exchanged: Floats, features: Ints, predict_proba: PredictProba
) -> Bools:
    """Per given feature, whether exchanging it alone changes the answer to any of the rows."""
    n_rows = len(X)
    read = np.zeros(len(features), dtype=np.bool_)
    per_call = max(MAX_TOGETHER // n_rows, 1)
    for start in range(0, len(features), per_call):
        part = features[start : start + per_call]
        tried = np.tile(X, (len(part), 1))
        place, column = np.arange(len(tried)), np.repeat(part, n_rows)
        tried[place, column] = exchanged[place % n_rows, column]
        change = np.abs(predict_proba(tried).reshape(len(part), n_rows, -1) - probabilities)
        read[start : start + per_call] = (change > SAME).any(axis=(1, 2))
    return read
