"""How good an explanation is, measured the same way for every engine; defined in `docs/explanations.md`."""

from __future__ import annotations

import hashlib

import numpy as np

from proto_model.explanation.background import Background
from proto_model.explanation.interface import Floats, Ints
from proto_model.explanation.rule import Premise, Rule

KEEP = 0.5
_SETTLED = 2.0**30


def settled(values: Floats) -> Floats:
    """Logarithms or powers without their last bits, which differ between CPUs and browsers."""
    rounded: Floats = np.round(values * _SETTLED) / _SETTLED
    return rounded


def row_generator(seed: int, x: Floats, purpose: str) -> np.random.Generator:
    """Random numbers that depend on the seed, the row's own values and their purpose, nothing else."""
    row = np.where(np.isnan(x), np.nan, x + 0.0)  # one bit pattern for missing, one for zero
    digest = hashlib.blake2b(f"{seed}:{purpose}:".encode() + row.tobytes(), digest_size=16).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest, "little")))


def draw_marginals(background: Background, n_rows: int, rng: np.random.Generator) -> Floats:
    """Rows whose features are drawn independently of each other, each as the background has them."""
    picks = rng.integers(0, len(background.matrix), size=(n_rows, background.n_features), dtype=np.int32)
    return background.matrix[picks, np.arange(background.n_features)]


def draw_neighbors(background: Background, x: Floats, n_rows: int, rng: np.random.Generator) -> Floats:
    """Neighbours of x: each feature is kept with probability 1/2, else drawn as the background has it."""
    kept = rng.random((n_rows, background.n_features), dtype=np.float32) < KEEP
    return np.where(kept, x, draw_marginals(background, n_rows, rng))


def draw_inside(background: Background, rule: Rule, n_rows: int, rng: np.random.Generator) -> Floats:
    """Rows inside a rule: bounded numbers uniform, categories by frequency, the rest as in the table."""
    X = draw_marginals(background, n_rows, rng)
    for premise in rule.premises:
        X[:, premise.feature] = _draw_premise(background, premise, n_rows, rng)
    return X


def _draw_premise(background: Background, premise: Premise, n_rows: int, rng: np.random.Generator) -> Floats:
    column = background.matrix[:, premise.feature]
    inside = column[premise.covers(column)]
    missing = np.isnan(inside)
    if premise.codes is not None:
        if len(inside):
            return inside[rng.integers(0, len(inside), n_rows)]
        allowed = np.array(premise.codes or (np.nan,), dtype=np.float64)
        return allowed[rng.integers(0, len(allowed), n_rows)]
    low = max(premise.above, background.low[premise.feature])
    high = min(premise.at_most, background.high[premise.feature])
    # Bounds are open below and closed above, as in the premise: `high - u * width` with u < 1 keeps to that.
    if (
        np.isnan(background.low[premise.feature]) or low > high
    ):  # outside the training range, or a feature that was always missing
        edges = [b for b in (premise.at_most, premise.above) if np.isfinite(b)]
        known = np.full(n_rows, edges[0] if edges else np.nan)
        known = np.nextafter(known, np.inf) if edges and edges[0] == premise.above else known
    elif background.whole[premise.feature]:
        first = np.floor(low) + 1 if low == premise.above else np.ceil(low)
        last = max(np.floor(high), first)
        known = first + np.floor(rng.random(n_rows) * (last - first + 1))
    else:
        # Between neighbouring floats, the product rounds to the whole width.
        known = np.maximum(high - rng.random(n_rows) * (high - low), np.nextafter(low, high))
    if premise.or_missing and len(inside):
        known[rng.random(n_rows) < missing.mean()] = np.nan
    return known


def balanced_agreement(y_model: Ints, y_other: Ints) -> float:
    """Share of rows on which two classifiers agree, averaged over the classes that the first one gives.

    Examples
    --------
    >>> balanced_agreement(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    classes, group = np.unique(y_model, return_inverse=True)
    hits = np.bincount(group, weights=y_model == y_other, minlength=len(classes))
    return float((hits / np.bincount(group, minlength=len(classes))).mean())
