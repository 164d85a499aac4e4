"""What a model card says of how its hyperparameters were chosen."""

from __future__ import annotations

from collections.abc import Iterable

from proto_model.training.selection.result import FoldScores, SearchResult
from proto_model.training.selection.scoring import BY_NAME

_BESIDE = ("log_loss", "brier", "balanced_accuracy", "roc_auc")


def selection_sentences(result: SearchResult) -> str:
    """By what the candidate was chosen, and what stands beside it in the table."""
    said = (
        f"Best of {len(result.table)} candidates by {BY_NAME[result.metric].described} in cross-validation "
        "on the training rows; of those within one standard error of the best, the smallest forest."
    )
    said += (
        f" The balanced accuracy of its decisions there: {result.cv_balanced_accuracy:.4f} ± "
        f"{result.cv_std:.4f} (standard deviation over the folds)."
    )
    if not result.references:
        return said
    return f"{said} Floors and yardstick are for comparison, on the same folds; they are not registered."


def selection_table(result: SearchResult) -> tuple[list[str], list[tuple[str, ...]]]:
    """Head and rows of a table with the cross-validation of this forest and of the models beside it."""
    names = list(dict.fromkeys((result.metric, *_BESIDE)))
    rows = [("this forest", *_figures(result.folds, names))]
    for reference in result.references:
        kind = "yardstick" if reference.is_yardstick else "floor"
        rows.append((f"{reference.name} ({kind})", *_figures(reference.folds, names)))
    return ["in cross-validation", *(BY_NAME[name].described for name in names)], rows


def _figures(folds: FoldScores, names: Iterable[str]) -> list[str]:
    means = folds.means
    return [f"{means[name]:.4f}" if name in means else "not defined" for name in names]
