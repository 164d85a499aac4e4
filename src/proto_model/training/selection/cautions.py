"""Cautions of a chosen candidate that is no better than a floor, or clearly worse than the yardstick."""

from __future__ import annotations

from proto_model.table.caution import Caution
from proto_model.training.selection import choice, scoring
from proto_model.training.selection.references import BOOSTING, FREQUENCIES, LINEAR
from proto_model.training.selection.result import FoldScores, Reference, SearchResult

_CLEARLY = 3.0  # standard errors of the difference: five folds exceed it by chance in one case of fifty


def selection_cautions(result: SearchResult) -> list[Caution]:
    """What the folds give reason to warn of; nothing of a result that has no references."""
    beside = {reference.name: reference for reference in result.references}
    found = [_against(result, beside[name]) for name in (FREQUENCIES, LINEAR, BOOSTING) if name in beside]
    return [caution for caution in found if caution is not None]


def _against(result: SearchResult, reference: Reference) -> Caution | None:
    """Caution where a floor is as good as the candidate, or the yardstick clearly better."""
    metric = result.metric
    behind, error = _behind(result.folds, reference.folds, metric)
    title = scoring.BY_NAME[metric].title
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
