"""The tables by which NumPy draws normal numbers, read off its generator: a browser draws the same ones.

NumPy takes eight bits of a random number for a strip of the bell curve and 52 for a place in it
(G. Marsaglia and W. W. Tsang, "The Ziggurat Method for Generating Random Variables", 2000). The place times
the strip's width is the answer, if the place is below the strip's bound.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_STRIPS = 256
_PLACE_BITS = 52


@cache
def normal_tables() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Width of a place and bound of the places, per strip; both are exact as float64."""
    widths = np.array([_drawn(strip, 1)[0] for strip in range(_STRIPS)])
    bounds = np.array([_bound(strip) for strip in range(_STRIPS)], dtype=np.float64)
    return widths, bounds


def _bound(strip: int) -> int:
    """The least place of a strip for which NumPy needs a second random number."""
    low, high = 0, 1 << _PLACE_BITS
    while low < high:
        middle = (low + high) // 2
        if _drawn(strip, middle)[1]:
            low = middle + 1
        else:
            high = middle
    return low


def _drawn(strip: int, place: int) -> tuple[float, bool]:
    """The normal number of a strip and a place, and whether no second random number was taken."""
    bits = np.random.SFC64(0)
    # The generator's next number is the sum of its first two and its last one, which counts.
    state = np.array([place << 9 | strip, 0, 0, 0], dtype=np.uint64)
    bits.state = {"bit_generator": "SFC64", "state": {"state": state}, "has_uint32": 0, "uinteger": 0}
    number = float(np.random.Generator(bits).standard_normal())
    return number, int(bits.state["state"]["state"][3]) == 1
