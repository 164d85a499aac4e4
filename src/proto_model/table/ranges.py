"""What the schema says of a number's training values, in round numbers: the extremes are somebody's own."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from proto_model.values import LARGEST

_PARTS = 20


def shown_range(values: NDArray[np.float64], whole: bool) -> tuple[float, float]:
    """Round numbers that all values lie between, hardly more than a twentieth of their range away from them.

    Examples
    --------
    >>> shown_range(np.array([17.0, 41.0, 90.0]), whole=True)
    (16.0, 90.0)
    >>> shown_range(np.array([0.0, 48213.17]), whole=False)
    (0.0, 50000.0)
    """
    low, high = float(values.min()), float(values.max())
    unit, exponent = _unit((high - low or abs(low)) / _PARTS, whole)
    places = max(-exponent, 0)
    below, above = math.floor(low / unit), math.ceil(high / unit)
    shown_low, shown_high = round(below * unit, places), round(above * unit, places)
    # Floating point may have rounded the other way.
    shown_low = shown_low if shown_low <= low else round((below - 1) * unit, places)
    shown_high = shown_high if shown_high >= high else round((above + 1) * unit, places)
    return max(shown_low, -LARGEST) + 0.0, min(shown_high, LARGEST) + 0.0


def _unit(most: float, whole: bool) -> tuple[float, int]:
    """Largest of 1, 2 and 5 times a power of ten that is not above `most`, and the power."""
    if most == 0 or not math.isfinite(most):
        return 1.0, 0
    exponent = math.floor(math.log10(most))
    if whole and exponent < 0:
        return 1.0, 0
    step = max((step for step in (1, 2, 5) if step * 10.0**exponent <= most), default=1)
    return step * 10.0**exponent, exponent


def shown_median(values: NDArray[np.float64], whole: bool) -> float:
    """Number with the fewest digits among the middle tenth of the values.

    Examples
    --------
    >>> shown_median(np.arange(1000) / 7, whole=False)
    70.0
    """
    middle = float(np.median(values))
    low, high = (float(np.quantile(values, share, method="nearest")) for share in (0.45, 0.55))
    first = 1 - math.floor(math.log10(max(abs(middle), 1e-300)))
    for places in range(first - 1, first + 16):
        shown = round(middle, min(places, 0) if whole else places)
        if low <= shown <= high:
            return shown + 0.0
    return middle
