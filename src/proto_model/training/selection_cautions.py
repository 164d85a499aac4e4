"""Cautions of a chosen candidate: against the models beside it, and of its probabilities as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from proto_model.table import TrainingData
from proto_model.table.cautions import Caution
from proto_model.training import choice, scoring
from proto_model.training.references import BOOSTING, FREQUENCIES, LINEAR
from proto_model.training.result import FoldScores, Reference, SearchResult

_CLEARLY = 2.0  # standard errors of the difference
_ERROR = 0.001  # how often calibrated probabilities may get a caution, all classes together
_FLAT, _RELATIVE = 0.005, 0.1  # a mean probability may be off by so much, and by this share of the rarer side


def selection_cautions(result: SearchResult, data: TrainingData) -> list[Caution]:
    """What the folds give reason to warn of; nothing of a result that has no references."""
    beside = {reference.name: reference for reference in result.references}
    found = [_against(result, beside[name]) for name in (FREQUENCIES, LINEAR, BOOSTING) if name in beside]
    found.append(calibration_caution(result.out_of_fold, data.y_train, data.schema.classes))
    return [caution for caution in found if caution is not None]


def _against(result: SearchResult, reference: Reference) -> Caution | None:
    """Caution where a floor is as good as the candidate, or the yardstick clearly better."""
    metric = result.metric
    behind, error = _behind(result.folds, reference.folds, metric)
    title = scoring.BY_NAME[metric].described
    values = f"{reference.folds.mean(metric):.4f} against {result.folds.mean(metric):.4f}"
    if reference.name == FREQUENCIES:
        if behind < -error:
            return None
        return Caution("guessing", (), (
            f"this forest is no better than answering each class with its frequency: {title} {values} in "
            "cross-validation. The columns say too little of the target, or there are too few rows."
        ))  # fmt: skip
    if reference.is_yardstick:
        if not behind > _CLEARLY * error:
            return None
        return Caution("yardstick", (), (
            f"{reference.name} is clearly better on the same folds: {title} {values}. It is a yardstick "
            "only, and not registered. More candidates, more rows or better columns may close the gap."
        ))  # fmt: skip
    if behind < 0:
        return None
    degree = "better" if behind > _CLEARLY * error else "as good"
    values += " in cross-validation"
    return Caution("linear_model", (), (
        f"a {reference.name} is {degree}: {title} {values}. It is smaller and easier to check."
    ))  # fmt: skip


def _behind(own: FoldScores, other: FoldScores, metric: str) -> tuple[float, float]:
    """By how much a loss exceeds another on the same folds, and the standard error of that."""
    losses = scoring.loss(metric, own.by_metric[metric]), scoring.loss(metric, other.by_metric[metric])
    means, errors = choice.difference(*losses, own.weights)
    return float(means), float(errors)


def calibration_caution(
    probabilities: NDArray[np.float64], y: NDArray[np.object_], classes: Sequence[object]
) -> Caution | None:
    """Caution where the mean probability of a class is far from how often the class occurs.

    Probabilities are those of rows that the model has not learned from; rows of NaN are left out. The worst
    class is named, by a test of the mean difference that errs in one of 1000 tables, for differences that
    matter.
    """
    judged = np.isfinite(probabilities).all(axis=1)
    is_class = y[judged, np.newaxis] == np.array(classes, dtype=object)
    if len(is_class) < 2:
        return None
    gaps = probabilities[judged] - is_class
    gap, error = gaps.mean(axis=0), gaps.std(axis=0, ddof=1) / np.sqrt(len(gaps))
    rates = is_class.mean(axis=0)
    matters = np.abs(gap) > _FLAT + _RELATIVE * np.minimum(rates, 1 - rates)
    significant = np.abs(gap) > ndtri(1 - _ERROR / (2 * len(classes))) * error
    if not (matters & significant).any():
        return None
    worst = int(np.argmax(np.where(matters & significant, np.abs(gap), 0)))
    if len(classes) == 2:
        worst = 1  # both are equally far off
    return Caution("calibration", (), (
        f"its probabilities are off as a whole: in cross-validation, it answers {classes[worst]!r} with "
        f"{rates[worst] + gap[worst]:.3f} on average, and {rates[worst]:.3f} of the rows are. Do not take "
        "them as risks. Class weights do this to a forest: one without them, or calibration, helps."
    ))  # fmt: skip
