"""Whether a process grows: the slope of its memory over the last two thirds of its life, with an interval."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.soak.record import MIB, SPAN_S

WARM = 1 / 3  # of a life: what is loaded once, and what first requests need
MIN_BLOCKS = 6
LEVEL = 0.95
#: A process is flat if it may not grow at all, or certainly grows by less than this share of itself an hour.
FLAT_SHARE = 0.1


@dataclass(frozen=True)
class Look:
    """Memory and descriptors of one process at one moment; `pss` counts in part what several map."""

    role: str
    pid: int
    age_s: float
    rss: int
    pss: int
    descriptors: int | None


@dataclass(frozen=True)
class Slope:
    """Growth of an hour, and the interval of it at `LEVEL`."""

    per_hour: float
    low: float
    high: float


def slope(ages: Sequence[float], values: Sequence[float], block_s: float) -> Slope | None:
    """Growth over the last two thirds of a life; None where too little of it was seen.

    What goes up and down with each swap, or is asked for in bursts, is no independent deviation from a line.
    So the line is fitted to means over `block_s` seconds, which hold several swaps.
    """
    from scipy import stats

    blocks: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for age, value in zip(ages, values, strict=True):
        if age >= WARM * max(ages):
            blocks[int(age // block_s)].append((age, value))
    full = [points for _, points in sorted(blocks.items())]
    if len(full) < MIN_BLOCKS or full[-1][-1][0] - full[0][0][0] < SPAN_S:
        return None
    x, y = np.array([[statistics.fmean(column) for column in zip(*points, strict=True)] for points in full]).T
    x -= x.mean()
    per_s = float(x @ y / (x @ x))
    left = y - y.mean() - per_s * x
    error = float(np.sqrt(left @ left / (len(x) - 2) / (x @ x)))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(x) - 2)) * error
    return Slope(3600 * per_s, 3600 * (per_s - half), 3600 * (per_s + half))


def lives(looks: Iterable[Look], block_s: float) -> list[dict[str, Any]]:
    """A row of the report for each process: how long it was seen, its memory, and how that grew."""
    by_process: dict[tuple[str, int], list[Look]] = defaultdict(list)
    for look in looks:
        by_process[look.role, look.pid].append(look)
    rows = []
    for (role, _), seen in sorted(by_process.items(), key=lambda item: (item[0][0], -item[1][-1].age_s)):
        row: dict[str, Any] = {"role": role, "seconds": round(seen[-1].age_s), "flat": None}
        ages = [look.age_s for look in seen]
        for name in ("rss", "pss"):
            values = [getattr(look, name) / MIB for look in seen]
            found = slope(ages, values, block_s)
            row[f"{name}_mib_median"] = round(statistics.median(values), 1)
            row[f"{name}_mib_max"] = round(max(values), 1)
            row[f"{name}_mib_per_hour"] = _rounded(found)
            if name == "rss" and found is not None:  # PSS changes when others map, or no longer map, the same
                row["flat"] = is_flat(found, statistics.fmean(values))
        row["descriptors_max"] = max(look.descriptors or 0 for look in seen)
        row["descriptors_last"] = seen[-1].descriptors
        rows.append(row)
    return rows


def is_flat(found: Slope, mean: float) -> bool:
    """Whether memory may not grow at all, or grows by little."""
    return found.low <= 0 or found.high <= FLAT_SHARE * mean


def _rounded(found: Slope | None) -> list[float] | None:
    return None if found is None else [round(found.per_hour, 2), round(found.low, 2), round(found.high, 2)]
