"""The neighbourhood of a row: rows like it, some with a class of their own."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.lore.pool import Pool

__all__ = ["Neighborhood", "Questions", "together"]

Questions = Generator[NDArray[np.float64], NDArray[np.float64], Any]
"""A search that hands out rows and is handed their probabilities, until it returns its result."""


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """Rows that keep each value of x with probability 1/2, and otherwise have one of the background.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        The coded rows.
    codes : ndarray of shape (n_rows, n_features)
        Their bins.
    kept : ndarray of shape (n_rows, n_features)
        Which values are x's.
    """

    X: NDArray[np.float64]
    codes: NDArray[np.int64]
    kept: NDArray[np.bool_]

    @classmethod
    def draw(
        cls, x: NDArray[np.float64], own: NDArray[np.int64], pool: Pool, n_rows: int, rng: np.random.Generator
    ) -> Neighborhood:
        """Neighbours of the row `x` with bins `own`."""
        matrix = pool.bins.background.matrix
        shape = (n_rows, len(x))
        kept = rng.integers(0, 2, size=shape, dtype=np.uint8).astype(np.bool_)
        picks = rng.integers(0, len(matrix), size=shape, dtype=np.uint16 if len(matrix) < 65536 else np.int64)
        flat = picks * np.int64(len(x)) + np.arange(len(x))
        return cls(
            X=np.where(kept, x, matrix.ravel()[flat]),
            codes=np.where(kept, own, pool.real_codes.ravel()[flat]),
            kept=kept,
        )


def together(*searches: Questions) -> Questions:
    """Run searches side by side, so that each round of all of them is one call of the model."""
    results: list[Any] = [None] * len(searches)
    waiting: dict[int, NDArray[np.float64]] = {}
    answers: dict[int, NDArray[np.float64] | None] = dict.fromkeys(range(len(searches)))
    while answers:
        waiting = {}
        for k, answer in answers.items():
            try:
                waiting[k] = next(searches[k]) if answer is None else searches[k].send(answer)
            except StopIteration as stop:
                results[k] = stop.value
        if not waiting:
            break
        probabilities = yield np.concatenate(list(waiting.values()))
        ends = np.cumsum([len(rows) for rows in waiting.values()])[:-1]
        answers = dict(zip(waiting, np.split(probabilities, ends), strict=True))
    return results
