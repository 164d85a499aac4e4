"""Class labels as parts of metric names."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["metric_suffixes"]

_SIGNS = ((">=", "ge_"), ("<=", "le_"), (">", "gt_"), ("<", "lt_"), ("=", "eq_"))
_MAX_LENGTH = 60


def metric_suffixes(labels: Sequence[object]) -> list[str]:
    """Text for each class label that any MLflow store accepts in a metric name, all different.

    Comparison signs become words, because they are often all that tells two labels apart; other characters
    than ASCII letters, digits, `_`, `-` and `.` become `_`. Labels that still coincide, also when only their
    case differs (some databases ignore it), get a number.

    Parameters
    ----------
    labels : sequence
        Class labels of any type.

    Returns
    -------
    list of str
        In the order of `labels`.

    Examples
    --------
    >>> metric_suffixes(["<=50K", ">50K", "a/b", "a b", "", 3])
    ['le_50K', 'gt_50K', 'a_b', 'a_b_2', 'class', '3']
    """
    suffixes: list[str] = []
    taken: set[str] = set()
    for label in labels:
        text = _plain(str(label))
        candidate, number = text, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{text}_{number}"
        taken.add(candidate.casefold())
        suffixes.append(candidate)
    return suffixes


def _plain(text: str) -> str:
    for sign, word in _SIGNS:
        text = text.replace(sign, word)
    return re.sub(r"[^0-9A-Za-z_.-]+", "_", text).strip("_.")[:_MAX_LENGTH] or "class"
