"""Two models' predictions for the same rows, side by side: scores, their difference, and what follows.

Pure functions of labels and predictions: paired bootstrap, McNemar's test, the decision. Of the data both
statistics need only how many rows of each class which of the two models predicted right. So they cost the
same for a thousand rows as for a million, and anybody can recompute them from the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from proto_model.errors import InputError, ProtoModelError
from proto_model.schema import Label, ModelSchema

_MAX_DRAWS_AT_ONCE = 2_000_000


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

    def scores(self) -> tuple[float, float]:
        """Balanced accuracy of the first and of the second model: mean recall of the classes with rows."""
        first, second = (float(recall[self.n_rows > 0].mean()) for recall in self.recalls())
        return first, second


@dataclass(frozen=True)
class Bootstrap:
    """How the interval of the difference is drawn; equal values give equal numbers."""

    confidence: float = 0.95
    n_resamples: int = 10_000
    random_state: int = 0


@dataclass(frozen=True)
class Comparison:
    """How champion and challenger did on the same rows.

    Scores are balanced accuracies; `difference` is the challenger's minus the champion's, `differences` are
    the bootstrapped ones. In `counts`, "first" is the champion. McNemar's test is exact and two-sided.
    """

    champion_score: float
    challenger_score: float
    difference: float
    interval: tuple[float, float]
    bootstrap: Bootstrap
    mcnemar_p_value: float
    counts: PairedCounts
    differences: NDArray[np.float64]


@dataclass(frozen=True)
class Criteria:
    """What a challenger has to show to be superior. By default: a higher balanced accuracy.

    At least `min_improvement` higher (0 to 1); with a `confidence`, that interval has to be above zero. It
    takes what the champion takes, rows or files, unless `allow_signature_change`. An InputError says which is
    out of range.
    """

    min_improvement: float = 0.0
    confidence: float | None = None
    allow_signature_change: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.min_improvement <= 1:
            raise InputError(f"min_improvement {self.min_improvement} given, a number from 0 to 1 expected.")
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise InputError(f"confidence {self.confidence} given, a number between 0 and 1 expected.")


@dataclass(frozen=True)
class Decision:
    """Whether the challenger is superior, and the sentence that says why."""

    superior: bool
    reason: str


def compare(
    y: NDArray[np.int64],
    y_champion: NDArray[np.int64],
    y_challenger: NDArray[np.int64],
    n_classes: int,
    bootstrap: Bootstrap,
) -> Comparison:
    """Scores of both models on the same rows, their difference and how sure it is.

    Arrays of shape (n_samples,): true and predicted classes, as indices below `n_classes`; -1 is a prediction
    that is no class. A ComparisonError says that there is no row.
    """
    if len(y) == 0:
        raise ComparisonError("There is no row to compare the versions on.")
    counts = count_pairs(y, y_champion, y_challenger, n_classes)
    champion_score, challenger_score = counts.scores()
    differences = bootstrap_differences(counts, bootstrap.n_resamples, bootstrap.random_state)
    return Comparison(
        champion_score=champion_score,
        challenger_score=challenger_score,
        # Equal scores may differ by the order of additions; that is no difference.
        difference=round(challenger_score - champion_score, 12) + 0.0,
        interval=interval(differences, bootstrap.confidence),
        bootstrap=bootstrap,
        mcnemar_p_value=mcnemar_p_value(int(counts.first_only.sum()), int(counts.second_only.sum())),
        counts=counts,
        differences=differences,
    )


def decide(difference: float, interval: tuple[float, float], criteria: Criteria) -> Decision:
    """Whether a challenger is superior to the champion.

    `difference` is its balanced accuracy minus the champion's; `interval` is at `criteria.confidence` if
    given.

    Examples
    --------
    >>> decide(0.02, (-0.01, 0.05), Criteria()).superior
    True
    >>> print(decide(0.02, (-0.01, 0.05), Criteria(min_improvement=0.03)).reason)
    The challenger's balanced accuracy is higher by 0.0200, but at least 0.03 is required.
    """
    if difference == 0:
        return Decision(False, "Champion and challenger have the same balanced accuracy.")
    if difference < 0:
        return Decision(False, f"The challenger's balanced accuracy is lower by {-difference:.4f}.")
    higher = f"The challenger's balanced accuracy is higher by {difference:.4f}"
    if difference < criteria.min_improvement:
        return Decision(False, f"{higher}, but at least {criteria.min_improvement:g} is required.")
    if criteria.confidence is None:
        return Decision(True, f"{higher}.")
    low, high = interval
    shown = f"its {100 * criteria.confidence:g} % confidence interval, {low:.4f} to {high:.4f},"
    if low <= 0:
        return Decision(False, f"{higher}, but {shown} includes zero.")
    return Decision(True, f"{higher}, and {shown} is above zero.")


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


def bootstrap_differences(counts: PairedCounts, n_resamples: int, random_state: int) -> NDArray[np.float64]:
    """Balanced accuracy of the second model minus that of the first, on resampled rows.

    The bootstrap is paired (a drawn row brings both models' predictions) and stratified (each class keeps its
    number of rows, so that a rare class never drops out of the mean): Efron and Tibshirani 1993, chapters 8
    and 13. Drawing the rows of a class with replacement and counting who was right is one multinomial draw.
    """
    present = counts.n_rows > 0
    n_rows = counts.n_rows[present]
    shares = (
        np.stack([counts.first_only, counts.second_only, counts.n_rows], axis=1)[present] / n_rows[:, None]
    )
    # The third outcome is a row that does not tell the models apart; rounding may leave it just below zero.
    shares[:, 2] -= shares[:, 0] + shares[:, 1]
    shares = shares.clip(0.0, 1.0)
    generator = np.random.default_rng(random_state)
    differences = np.empty(n_resamples)
    step = max(1, _MAX_DRAWS_AT_ONCE // shares.size)
    for start in range(0, n_resamples, step):
        part = differences[start : start + step]
        drawn = generator.multinomial(n_rows, shares, size=(len(part), len(n_rows)))
        part[:] = ((drawn[:, :, 1] - drawn[:, :, 0]) / n_rows).mean(axis=1)
    return differences


def interval(differences: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Percentile confidence interval of bootstrapped differences.

    Examples
    --------
    >>> interval(np.linspace(0.0, 1.0, 101), confidence=0.9)
    (0.05, 0.95)
    """
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    return round(float(low), 12) + 0.0, round(float(high), 12) + 0.0


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
