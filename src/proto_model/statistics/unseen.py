"""What a row that is not among these could have changed: a difference of probabilities hides it on few rows.

Where two models are right on all rows of a kind, or a class has one row, the rows' own spread is next to
nothing, and so would be the interval. So one more row of each side is imagined for every draw: like one of
these, but of another class, with the random weight that a row has in the Bayesian bootstrap (Rubin 1981).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proto_model.statistics.measures import LOWER_IS_BETTER, Answers, Floats, losses, turned_precisions


def with_unseen(
    draws: Floats,
    metric: str,
    y: NDArray[np.int64],
    answers: tuple[Answers, Answers],
    n_classes: int,
    class_index: int | None,
) -> Floats:
    """Ascending draws of a difference, an even number, each changed by rows that were not seen; ascending.

    The models in the other order get the same draws with the other sign: every draw has its mirror image.
    """
    generator = np.random.default_rng(0)
    half = len(draws) // 2
    changes, mirrored = np.zeros(half), np.zeros(half)
    for of_rows, n_rows in _sides(metric, y, answers, n_classes, class_index):
        if len(of_rows):
            ordered, rows = np.sort(of_rows), generator.integers(0, len(of_rows), half)
            weights = generator.exponential(1.0 / n_rows, half)
            changes += weights * ordered[rows]
            mirrored += weights * ordered[-1 - rows]
    order = generator.permutation(half)
    order = np.where(generator.random(half) < 0.5, order, len(draws) - 1 - order)
    return np.sort(np.concatenate([draws[order] + changes, draws[-1 - order] + mirrored]))


def _sides(
    metric: str,
    y: NDArray[np.int64],
    answers: tuple[Answers, Answers],
    n_classes: int,
    class_index: int | None,
) -> list[tuple[Floats, float]]:
    """Of each side that a row could be on: what a row there changes, times a number, and that number."""
    if metric in LOWER_IS_BETTER:
        return [(_losses_apart(metric, y, *answers), float(len(y)))]
    classes = [1] if n_classes == 2 else np.unique(y).tolist()
    if class_index is not None:
        classes = [class_index]
    found = []
    for index in classes:
        inside = y == index
        first, second = (
            _ranks_if_turned(metric, inside, probabilities[:, index])
            for probabilities in (_probabilities(of) for of in answers)
        )
        apart = second - first
        found.append((apart[~inside], float(inside.sum() * len(classes))))
        # A negative row's weight in average precision is that of one among the positive rows, too.
        n_turned = inside.sum() if metric == "average_precision" else (~inside).sum()
        found.append((apart[inside], float(n_turned * len(classes))))
    return found


def _losses_apart(metric: str, y: NDArray[np.int64], first: Answers, second: Answers) -> Floats:
    """Loss of the first less that of the second, were each row of the most probable other class."""
    ours, theirs = _probabilities(second), _probabilities(first)
    mean = (ours + theirs) / 2
    np.put_along_axis(mean, y[:, np.newaxis], -1.0, axis=1)
    other = mean.argmax(axis=1)
    if metric == "log_loss" or np.array_equal(ours, theirs):
        return losses(metric, other, first) - losses(metric, other, second)
    # Brier scores end at 1, so two sure models lose the same where both are wrong; here one of them is.
    return np.concatenate(
        [
            losses(metric, other, first) - losses(metric, y, second),
            losses(metric, y, first) - losses(metric, other, second),
        ]
    )


def _ranks_if_turned(metric: str, inside: NDArray[np.bool_], scores: Floats) -> Floats:
    """What each row would bring if it were on the other side, times the number of rows there."""
    if metric == "average_precision":
        return turned_precisions(inside, scores)
    ordered = np.sort(scores)
    below = np.searchsorted(ordered, scores) + np.searchsorted(ordered, scores, side="right")
    # A positive row beats the share of rows below it, and a negative one is beaten by the others.
    return np.asarray(np.where(inside, -1.0, 1.0) * below / (2 * len(scores)))


def _probabilities(answers: Answers) -> Floats:
    assert answers.probabilities is not None
    return answers.probabilities
