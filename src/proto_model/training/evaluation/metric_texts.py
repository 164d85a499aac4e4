"""Metrics as users read them: a value and its interval. Light, because commands that only list need it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

ENDS = ("_low", "_high")
"""What follows a metric's name in those of its interval's ends."""


def is_bound(name: str) -> bool:
    """Whether a name is that of an end of an interval.

    Examples
    --------
    >>> is_bound("accuracy"), is_bound("accuracy_low"), is_bound("recall_high/b"), is_bound("recall/b_low")
    (False, True, True, False)
    """
    return name.partition("/")[0].endswith(ENDS)


def with_interval(metrics: Mapping[Any, float], name: str, digits: int = 4) -> str:
    """Value of a metric and, if it has one, its interval.

    Examples
    --------
    >>> with_interval({"recall/b": 0.957, "recall_low/b": 0.9312, "recall_high/b": 0.98}, "recall/b")
    '0.9570 (0.931 to 0.980)'
    """
    name, _, of_class = name.partition("/")
    value, low, high = (
        metrics.get(f"{name}{end}/{of_class}" if of_class else f"{name}{end}", float("nan"))
        for end in ("", *ENDS)
    )
    if math.isnan(low):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({low:.3f} to {high:.3f})"
