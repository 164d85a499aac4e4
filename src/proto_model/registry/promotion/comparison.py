"""Two models' predictions for the same rows, side by side: scores, their difference, and what follows.

Pure functions of labels and predictions. Of the data they need only how many rows of each class which of the
two models predicted right. So they cost the same for a thousand rows as for a million, and anybody can
recompute them from the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from proto_model.errors import ProtoModelError
from proto_model.schema import Label, ModelSchema
from proto_model.statistics import Evidence, balanced_accuracy_difference


class ComparisonError(ProtoModelError):
    """Two model versions cannot be compared with each other."""


@dataclass(frozen=True)
class PairedCounts:
    """Rows of each class, and those that both models predicted right, only the first, only the second.

    Arrays of shape (n_classes,).
    """

    n_rows: NDArray[np.int64]
    both: NDArray[np.int64]
    first_only: NDArray[np.int64]
    second_only: NDArray[np.int64]

    def recalls(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Recall of each class by the first and by the second model; NaN for a class without rows."""
        n_rows = np.where(self.n_rows > 0, self.n_rows, np.nan)
        return (self.both + self.first_only) / n_rows, (self.both + self.second_only) / n_rows

    def evidence(self, confidence: float) -> Evidence:
        """What the rows say of the second model's balanced accuracy minus the first one's."""
        return balanced_accuracy_difference(self.n_rows, self.first_only, self.second_only, confidence)

    def scores(self) -> tuple[float, float]:
        """Balanced accuracy of the first and of the second model: mean recall of the classes with rows."""
        first, second = (float(recall[self.n_rows > 0].mean()) for recall in self.recalls())
        return first, second


@dataclass(frozen=True)
class Comparison:
    """How champion and challenger did on the same rows.

    Scores are balanced accuracies; `evidence` is about the challenger's minus the champion's. In `counts`,
    "first" is the champion. McNemar's test is exact and two-sided.
    """

    champion_score: float
    challenger_score: float
    evidence: Evidence
    mcnemar_p_value: float
    counts: PairedCounts

    @property
    def difference(self) -> float:
        """The challenger's score minus the champion's."""
        return self.evidence.difference

    @property
    def interval(self) -> tuple[float, float]:
        """Interval of the difference."""
        return self.evidence.low, self.evidence.high


def compare(
    y: NDArray[np.int64],
    y_champion: NDArray[np.int64],
    y_challenger: NDArray[np.int64],
    n_classes: int,
    confidence: float = 0.95,
) -> Comparison:
    """Scores of both models on the same rows, their difference and how sure it is.

    Arrays of shape (n_samples,): true and predicted classes, as indices below `n_classes`; -1 is a prediction
    that is no class. A ComparisonError says that there is no row.
    """
    if len(y) == 0:
        raise ComparisonError("There is no row to compare the versions on.")
    counts = count_pairs(y, y_champion, y_challenger, n_classes)
    champion_score, challenger_score = counts.scores()
    return Comparison(
        champion_score=champion_score,
        challenger_score=challenger_score,
        evidence=counts.evidence(confidence),
        mcnemar_p_value=mcnemar_p_value(int(counts.first_only.sum()), int(counts.second_only.sum())),
        counts=counts,
    )


def schema_differences(champion: ModelSchema, challenger: ModelSchema) -> list[str]:
    """What would break for callers of the champion, one phrase each; empty if the challenger can replace it.

    Categories, ranges, medians and the order of features may differ: every new training table changes them.
    A feature that takes missing values in the challenger only breaks nobody's requests.
    """
    found = []
    if (champion.target, champion.target_type) != (challenger.target, challenger.target_type):
        found.append(
            f"target {champion.target!r} ({champion.target_type}) against "
            f"{challenger.target!r} ({challenger.target_type})"
        )
    if list(champion.classes) != list(challenger.classes):
        found.append(f"classes {list(champion.classes)} against {list(challenger.classes)}")
    old = {feature.name: feature for feature in champion.features}
    new = {feature.name: feature for feature in challenger.features}
    if missing := [name for name in old if name not in new]:
        found.append(f"features of the champion only: {missing}")
    if added := [name for name in new if name not in old]:
        found.append(f"features of the challenger only: {added}")
    for name, before in old.items():
        after = new.get(name, before)
        if before.type != after.type:
            found.append(f"feature {name!r}: {before.type} against {after.type}")
        if before.nullable and not after.nullable:
            found.append(f"feature {name!r}: the champion takes missing values, the challenger does not")
    return found


def class_indices(labels: Sequence[Label], classes: Sequence[Label]) -> NDArray[np.int64]:
    """Position of each label among the classes, -1 for a label that is none of them.

    Examples
    --------
    >>> class_indices(["red", "blue", "green"], ["blue", "red"])
    array([ 1,  0, -1])
    """
    index = {label: position for position, label in enumerate(classes)}
    return np.array([index.get(label, -1) for label in labels], dtype=np.int64)


def count_pairs(
    y: NDArray[np.int64], y_first: NDArray[np.int64], y_second: NDArray[np.int64], n_classes: int
) -> PairedCounts:
    """Counts of rows by class and by which of two models predicted them right.

    A predicted number that is no class's index counts as wrong.

    Examples
    --------
    >>> counts = count_pairs(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0, 0, 0]), 2)
    >>> counts.both, counts.first_only, counts.second_only
    (array([1, 0]), array([0, 1]), array([1, 0]))
    """
    first, second = y_first == y, y_second == y

    def per_class(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(y[rows], minlength=n_classes)

    return PairedCounts(
        n_rows=np.bincount(y, minlength=n_classes),
        both=per_class(first & second),
        first_only=per_class(first & ~second),
        second_only=per_class(second & ~first),
    )


def mcnemar_p_value(first_only: int, second_only: int) -> float:
    """Two-sided p-value of McNemar's test in its exact form; 1 when no row tells the models apart.

    The null hypothesis: of the rows that just one of the two models predicted right, each is as likely to be
    the first model's as the second's. Q. McNemar, Psychometrika 12, 1947.

    Examples
    --------
    >>> mcnemar_p_value(1, 5)
    0.21875
    """
    n_discordant = first_only + second_only
    if n_discordant == 0:
        return 1.0
    return float(binomtest(min(first_only, second_only), n_discordant, 0.5).pvalue)
