"""Calibration of a forest's probabilities, fitted on rows that it had not learned from.

`sigmoid` is Platt scaling of log odds; with more classes than two, their logarithms get one slope and a shift
per class (bias-corrected temperature scaling). `isotonic` is a rising curve per class, whose steps are joined
at their centres (centred isotonic regression). Either becomes a table: what is served is the table.

J. Platt, 1999; A. Alexandari et al., "Maximum Likelihood with Bias-Corrected Calibration", 2020; A. Oron and
N. Flournoy, "Centered Isotonic Regression", 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from sklearn.metrics import log_loss

from proto_model.model.decision import Calibration

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FLOOR = 1e-3  # added to probabilities before their logarithms: few trees agree to less than that
LEAST_ROWS = 10  # of a class, to calibrate at all
_LEAST_ROWS_ISOTONIC = 100
_MOST_ENTRIES = 100
_PRIOR = 1.0  # strength of the pull towards leaving probabilities as they are
_MOST_STEPS = 50
_LEAST_SLOPE = 0.05
_EDGE = 1e-6  # entries stay away from 0 and 1


def fitted(method: str, y: Ints, probabilities: Floats) -> Calibration:
    """Calibration by a method, from the classes of rows and what a model said that had not seen them."""
    return METHODS[method](y, probabilities)


def _sigmoid(y: Ints, probabilities: Floats) -> Calibration:
    n_classes = probabilities.shape[1]
    slope, *shifts = _slope_and_shifts(_log(probabilities), np.eye(n_classes)[y])
    # Entries are dense where the logarithm is steep.
    ends = np.r_[0.0, np.geomspace(FLOOR / 4, 0.5, _MOST_ENTRIES // 2)]
    grid = np.unique(np.r_[ends, 1 - ends])
    if n_classes == 2:
        odds = slope * (_log(grid) - _log(1 - grid)) + shifts[1] - shifts[0]
        return Calibration("sigmoid", (grid,), (_within(1 / (1 + np.exp(-odds))),))
    weights = np.exp(slope * _log(grid)[:, np.newaxis] + np.array(shifts))
    weights *= (1 - _EDGE) / weights.max()
    return Calibration("sigmoid", (grid,) * n_classes, tuple(map(_within, weights.T)))


def _slope_and_shifts(logs: Floats, hits: Floats) -> Floats:
    """Likeliest parameters of softmax(slope * logs + shifts), pulled a little to slope 1 and no shifts."""
    start = np.r_[1.0, np.zeros(logs.shape[1])]
    found: Floats = start.copy()
    value, shares = _loss(found, logs, hits, start)
    for _ in range(_MOST_STEPS):
        off, mean = shares - hits, (shares * logs).sum(axis=1)
        slopes = np.r_[(off * logs).sum(), off.sum(axis=0)] + _PRIOR * (found - start)
        curve = np.empty((len(found), len(found)))
        curve[0, 0] = (shares * logs**2).sum() - (mean**2).sum()
        curve[0, 1:] = curve[1:, 0] = (shares * (logs - mean[:, np.newaxis])).sum(axis=0)
        curve[1:, 1:] = np.diag(shares.sum(axis=0)) - shares.T @ shares
        curve[np.diag_indices_from(curve)] += _PRIOR
        step = np.linalg.solve(curve, slopes)
        size = 1.0
        while size > 1e-6:
            tried = found - size * step
            tried[0] = max(tried[0], _LEAST_SLOPE)
            new_value, new_shares = _loss(tried, logs, hits, start)
            if new_value <= value:
                break
            size /= 2
        else:
            break
        done = value - new_value < 1e-9 * abs(value)
        found, value, shares = tried, new_value, new_shares
        if done:
            break
    return found


def _loss(parameters: Floats, logs: Floats, hits: Floats, start: Floats) -> tuple[float, Floats]:
    """Negative logarithm of the likelihood with its pull, and the shares of the classes."""
    scores = parameters[0] * logs + parameters[1:]
    scores -= scores.max(axis=1, keepdims=True)
    shares = np.exp(scores)
    shares /= shares.sum(axis=1, keepdims=True)
    own = np.maximum((shares * hits).sum(axis=1), 1e-300)
    pull = parameters - start
    return float(-np.log(own).sum() + _PRIOR / 2 * (pull**2).sum()), shares


def _isotonic(y: Ints, probabilities: Floats) -> Calibration:
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    tables = [_centred(probabilities[:, k], (y == k).astype(np.float64)) for k in classes]
    return Calibration("isotonic", tuple(x for x, _ in tables), tuple(y for _, y in tables))


def _centred(stated: Floats, hits: Floats) -> tuple[Floats, Floats]:
    """Table of a rising curve through the centres of the steps of isotonic regression."""
    x, group = np.unique(stated, return_inverse=True)
    weights = np.bincount(group).astype(np.float64)
    steps = isotonic_regression(np.bincount(group, hits) / weights, weights=weights)
    n = np.add.reduceat(weights, steps.blocks[:-1])
    centres = np.add.reduceat(weights * x, steps.blocks[:-1]) / n
    # No step is surer than its rows allow (Jeffreys): a first or last one has often only rows of one kind.
    heights = (steps.x[steps.blocks[:-1]] * n + 0.5) / (n + 1)
    heights = np.maximum.accumulate(heights)
    kept = np.unique(np.linspace(0, len(n) - 1, min(len(n), _MOST_ENTRIES)).round().astype(np.int64))
    centres, heights = centres[kept], heights[kept]
    # Beyond the outer centres it goes on rising, so that no two probabilities become one.
    if centres[0] > 0:
        centres, heights = np.r_[0.0, centres], np.r_[heights[0] / 2, heights]
    if centres[-1] < 1:
        centres, heights = np.r_[centres, 1.0], np.r_[heights, (1 + heights[-1]) / 2]
    return centres, _within(heights)


METHODS: dict[str, Callable[[Ints, Floats], Calibration]] = {"sigmoid": _sigmoid, "isotonic": _isotonic}


def _log(shares: Floats) -> Floats:
    logs: Floats = np.log(shares + FLOOR)
    return logs


def _within(shares: Floats) -> Floats:
    inside: Floats = np.clip(shares, _EDGE, 1 - _EDGE)
    return inside


@dataclass(frozen=True, eq=False)
class CalibrationChoice:
    """What calibration a model gets, and how the methods did on rows that they were not fitted on.

    `calibration` is None if none helps. `before` and `after` are losses by name, of the chosen method, whose
    `out_of_fold` probabilities are from calibrations that had not seen the row.
    """

    calibration: Calibration | None
    before: dict[str, float]
    after: dict[str, float]
    out_of_fold: Floats
    reason: str


def chosen(wish: str, y: Ints, probabilities: Floats, parts: Sequence[Ints]) -> CalibrationChoice:
    """Calibration that a user wishes (`auto`, `none` or a method); judged part by part, by all other parts.

    With `auto`, a method is taken if its log loss is lower by more than a standard error and its Brier score
    is not higher; isotonic rather than sigmoid only if it is better by that much again.
    """
    before = losses(y, probabilities)
    rarest = int(np.bincount(y, minlength=probabilities.shape[1]).min()) if len(y) else 0
    tried = [name for name in METHODS if wish in (name, "auto")]
    if wish == "auto":
        tried = [name for name in tried if name != "isotonic" or rarest >= _LEAST_ROWS_ISOTONIC]
    if wish == "none":
        return CalibrationChoice(None, before, before, probabilities, "calibrate=none")
    if rarest < LEAST_ROWS or len(parts) < 2:
        reason = f"a class has fewer than {LEAST_ROWS} training rows to calibrate with"
        return CalibrationChoice(None, before, before, probabilities, reason)
    best, best_probabilities = "", probabilities
    for name in tried:
        judged = _cross_fitted(name, y, probabilities, parts)
        if wish != "auto" or _is_better(y, judged, best_probabilities):
            best, best_probabilities = name, judged
    if not best:
        reason = "no method was better by more than a standard error, out of fold"
        return CalibrationChoice(None, before, before, probabilities, reason)
    after = losses(y, best_probabilities)
    reason = "better out of fold" if wish == "auto" else f"calibrate={wish}"
    return CalibrationChoice(fitted(best, y, probabilities), before, after, best_probabilities, reason)


def _cross_fitted(method: str, y: Ints, probabilities: Floats, parts: Sequence[Ints]) -> Floats:
    judged = probabilities.copy()
    for part in parts:
        others = np.ones(len(y), dtype=np.bool_)
        others[part] = False
        if np.bincount(y[others], minlength=probabilities.shape[1]).min() > 0:
            judged[part] = fitted(method, y[others], probabilities[others])(probabilities[part])
    return judged


def _is_better(y: Ints, new: Floats, old: Floats) -> bool:
    gain = log_losses(y, old) - log_losses(y, new)
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    return bool(gain.mean() > error and brier(y, new) <= brier(y, old))


def log_losses(y: Ints, probabilities: Floats) -> Floats:
    """Log loss of each row, as if each class had a little more: a single sure mistake must not decide."""
    own = probabilities[np.arange(len(y)), y]
    n_classes = probabilities.shape[1]
    found: Floats = -np.log((own + FLOOR) / (1 + n_classes * FLOOR))
    return found


def brier(y: Ints, probabilities: Floats) -> float:
    """Mean squared error of the probabilities, summed over the classes."""
    return float(((probabilities - np.eye(probabilities.shape[1])[y]) ** 2).sum(axis=1).mean())


def calibration_error(y: Ints, probabilities: Floats, n_bins: int = 15) -> float:
    """Expected calibration error of the most probable class, over bins of as many rows each."""
    stated = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == y
    order = np.argsort(stated, kind="stable")
    bins = np.array_split(order, min(n_bins, len(order)))
    gaps = [len(rows) * abs(stated[rows].mean() - right[rows].mean()) for rows in bins]
    return float(sum(gaps) / len(order))


def losses(y: Ints, probabilities: Floats) -> dict[str, float]:
    """What calibration is to improve, by name."""
    if not len(y):
        return {}
    return {
        "log loss": float(log_loss(y, probabilities, labels=range(probabilities.shape[1]))),
        "Brier score": brier(y, probabilities),
        "calibration error": calibration_error(y, probabilities),
    }
