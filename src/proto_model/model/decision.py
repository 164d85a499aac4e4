"""From a forest's probabilities to what is answered: calibration, costs, and prediction sets of a version.

They stand in `decision.json` beside the forest. Without that file a version answers as the forest does, and
predicts the most probable class.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ArtifactError, InputError
from proto_model.schema import Label

Floats = NDArray[np.float64]
Conformal = Literal["class", "marginal"]

DECISION_FILE = "decision.json"
CONFORMAL: tuple[Conformal, ...] = get_args(Conformal)
# What reading JSON of another shape may raise; deep nesting and endless numbers among it.
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
_COST_RANGE = (1e-12, 1e12)  # beyond what training takes; sums of them neither overflow nor vanish
_STEPS = 1000  # a coverage is rounded up to a thousandth
_COVERAGES = range(_STEPS // 2, _STEPS)


@dataclass(frozen=True, eq=False)
class Calibration:
    """A table per class, from the forest's probability to a better one; between entries it is interpolated.

    Of two classes, only the second has one. The results of more are scaled to sum to 1.
    """

    method: str
    x: tuple[Floats, ...]
    y: tuple[Floats, ...]

    def __call__(self, probabilities: Floats) -> Floats:
        """Calibrated probabilities; those of a row are the same to the bit whatever rows are beside it."""
        if len(self.x) == 1:
            calibrated = np.empty_like(probabilities, order="C")
            calibrated[:, 1] = np.interp(probabilities[:, 1], self.x[0], self.y[0])
            np.subtract(1.0, calibrated[:, 1], out=calibrated[:, 0])
            return calibrated
        weights = np.empty_like(probabilities, order="C")
        for k, (x, y) in enumerate(zip(self.x, self.y, strict=True)):
            weights[:, k] = np.interp(probabilities[:, k], x, y)
        return _shares(weights)


@dataclass(frozen=True, eq=False)
class PredictionSets:
    """Which classes a row may have: those whose probability is not lower than that of most rows of the class.

    `scores` are probabilities of the true class on rows that the model had not learned from, at the ranks
    that `kept_ranks` lists, the largest first: a list per class, or one for all with `marginal`. `n_rows` are
    the rows that they come from.
    """

    conformal: Conformal
    n_rows: tuple[int, ...]
    scores: tuple[tuple[float, ...], ...]

    @cached_property
    def least(self) -> Floats:
        """The least probability with which a class is in the set: a row per coverage, a column per class."""
        table = np.zeros((len(_COVERAGES), len(self.n_rows)))
        for column, (n, scores) in enumerate(zip(self.n_rows, self.scores, strict=True)):
            known = dict(zip(kept_ranks(n), scores, strict=True))
            # A class with too few rows for a coverage is in every set: no probability is too low.
            table[:, column] = [known.get(_rank(n, thousandths), 0.0) for thousandths in _COVERAGES]
        return table

    def members(self, probabilities: Floats, coverage: float) -> NDArray[np.bool_]:
        """Whether each class of each row is in its set, before the predicted class is added."""
        step = min(math.ceil(round(coverage * _STEPS, 6)), _COVERAGES[-1])
        return np.asarray(probabilities >= self.least[step - _COVERAGES[0]])

    @classmethod
    def of(cls, y: NDArray[np.int64], probabilities: Floats, conformal: Conformal) -> PredictionSets:
        """Sets from the classes of rows, and probabilities of a model that had not learned from them."""
        own = probabilities[np.arange(len(y)), y]
        classes = range(probabilities.shape[1])
        groups = [own] if conformal == "marginal" else [own[y == k] for k in classes]
        ordered = [np.sort(group)[::-1] for group in groups]
        # Rounded down: a class is rather once too often in a set than too rarely.
        scores = tuple(
            tuple(math.floor(scores[rank - 1] * 1e7) / 1e7 for rank in kept_ranks(len(scores)))
            for scores in ordered
        )
        return cls(conformal, tuple(map(len, groups)), scores)


def kept_ranks(n_rows: int) -> list[int]:
    """Ranks, from 1, of the order statistics that some coverage asks for: at most 500 of any number."""
    ranks = {_rank(n_rows, thousandths) for thousandths in _COVERAGES}
    return sorted(rank for rank in ranks if rank <= n_rows)


def _rank(n_rows: int, thousandths: int) -> int:
    """The smallest whole number that is not below coverage * (n_rows + 1)."""
    return -(-(n_rows + 1) * thousandths // _STEPS)


@dataclass(frozen=True, eq=False)
class Decision:
    """How a version answers; the one definition for all who score or explain.

    `costs` has a row per true class and a column per predicted one, zeros on the diagonal. The decision is
    the class of least expected cost, of equal ones the first; without costs, the most probable class.
    """

    calibration: Calibration | None = None
    costs: Floats | None = None
    sets: PredictionSets | None = None

    def calibrated(self, probabilities: Floats) -> Floats:
        """Probabilities to answer with, from those of the forest."""
        return probabilities if self.calibration is None else self.calibration(probabilities)

    def scores(self, probabilities: Floats) -> Floats:
        """Shares of the classes that sum to 1, the decided one's being the first of the largest.

        What a class saves of the costs that each row may cause at most. If all mistakes cost the same, these
        are the probabilities themselves.
        """
        if self.costs is None:
            return probabilities
        # Not `@`, whose order of adding, and so the last bit, depends on the number of rows.
        saved = probabilities[:, :1] * self._saved[0]
        for true in range(1, len(self._saved)):
            saved += probabilities[:, true : true + 1] * self._saved[true]
        return _shares(saved)

    def decide(self, probabilities: Floats) -> NDArray[np.int64]:
        """Position of the decided class of each row, from calibrated probabilities."""
        decided: NDArray[np.int64] = self.scores(probabilities).argmax(axis=1)
        return decided

    def threshold(self, n_classes: int) -> float | None:
        """Of two classes, the probability of the second above which it is decided; None for more classes."""
        if n_classes != 2:
            return None
        if self.costs is None:
            return 0.5
        wrongly_second, wrongly_first = float(self.costs[0, 1]), float(self.costs[1, 0])
        threshold = wrongly_second / (wrongly_second + wrongly_first)
        return threshold if 0 < threshold < 1 else None  # rounded away: nothing is above it

    def prediction_sets(
        self, probabilities: Floats, labels: Sequence[Any], coverage: float
    ) -> list[list[Label]]:
        """Labels that each row may have, in the order of the classes; the decided one is always among them.

        Raises InputError if the version was trained without what sets need.
        """
        self.check_coverage(coverage)
        assert self.sets is not None
        members = self.sets.members(probabilities, coverage)
        members[np.arange(len(members)), self.decide(probabilities)] = True
        made: dict[bytes, list[Label]] = {}
        found = []
        for key, row in zip(map(bytes, np.packbits(members, axis=1)), members, strict=True):
            if key not in made:
                made[key] = [labels[k] for k in np.flatnonzero(row).tolist()]
            found.append(made[key])
        return found

    def check_coverage(self, coverage: float) -> None:
        """Raise an InputError if a coverage is asked for that the version cannot give."""
        if coverage and self.sets is None:
            raise InputError(
                "Parameters: coverage given, but this version has no calibration for prediction sets. "
                "Train it again, or leave out coverage."
            )

    @cached_property
    def _saved(self) -> Floats:
        assert self.costs is not None
        saved: Floats = self.costs.max(axis=1, keepdims=True) - self.costs
        return saved

    def write(self, folder: Path) -> None:
        """Write `decision.json`, unless the version answers as without one."""
        content: dict[str, Any] = {}
        if self.calibration is not None:
            x, y = ([table.tolist() for table in part] for part in (self.calibration.x, self.calibration.y))
            content["calibration"] = {"method": self.calibration.method, "x": x, "y": y}
        if self.costs is not None:
            content["costs"] = self.costs.tolist()
        if self.sets is not None:
            sets = self.sets
            content["sets"] = {"conformal": sets.conformal, "n_rows": sets.n_rows, "scores": sets.scores}
        if content:
            (folder / DECISION_FILE).write_text(json.dumps(content) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, n_classes: int) -> Decision:
        """Decision of a bundle, the plain one if it has no file; raises ArtifactError if it does not fit."""
        path = folder / DECISION_FILE
        if not path.is_file():
            return PLAIN
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            unknown = set(content) - {"calibration", "costs", "sets"}
            if unknown:
                raise ValueError(f"it has {', '.join(sorted(map(repr, unknown)))}, which is not known")
            return cls(
                _calibration(content.get("calibration"), n_classes),
                _costs(content.get("costs"), n_classes),
                _sets(content.get("sets"), n_classes),
            )
        except (*_UNREADABLE, OSError) as error:
            raise ArtifactError(
                f"Cannot read {path}: {error}. Download the whole model, log it again, or use the release of "
                "this package that wrote it."
            ) from error


PLAIN = Decision()
"""The forest's own probabilities, the most probable class, and no sets: versions up to 0.3.0."""


def _shares(weights: Floats) -> Floats:
    """Rows scaled to sum to 1 in place; added up in a fixed order, which gives the same bits for any rows."""
    total = weights[:, 0].copy()
    for k in range(1, weights.shape[1]):
        total += weights[:, k]
    weights /= total[:, np.newaxis]
    return weights


def _calibration(content: Any, n_classes: int) -> Calibration | None:
    if content is None:
        return None
    x, y = (tuple(np.array(table, dtype=np.float64) for table in content[key]) for key in ("x", "y"))
    n_tables = 1 if n_classes == 2 else n_classes
    if len(x) != n_tables or len(y) != n_tables:
        raise ValueError(f"{len(x)} and {len(y)} tables of the calibration, {n_tables} expected")
    for inputs, outputs in zip(x, y, strict=True):
        if inputs.ndim != 1 or inputs.shape != outputs.shape or not len(inputs):
            raise ValueError("a table of the calibration has no entries, or not as many in y as in x")
        # Neither 0 nor 1: then rounding cannot lead out of that range, nor to a row without any probability.
        if not ((np.diff(inputs) > 0).all() and (np.diff(outputs) >= 0).all()):
            raise ValueError("a table of the calibration does not rise")
        if not (0 < outputs[0] and outputs[-1] < 1 and np.isfinite(inputs).all()):
            raise ValueError("a table of the calibration has a probability that is not between 0 and 1")
    return Calibration(str(content["method"]), x, y)


def _costs(content: Any, n_classes: int) -> Floats | None:
    if content is None:
        return None
    costs = np.array(content, dtype=np.float64)
    if costs.shape != (n_classes, n_classes):
        raise ValueError(f"costs of shape {costs.shape}, ({n_classes}, {n_classes}) expected")
    others = costs[~np.eye(n_classes, dtype=bool)]
    low, high = _COST_RANGE
    if np.diagonal(costs).any() or not ((others >= low) & (others <= high)).all():
        raise ValueError(f"costs are not zero for what is right and {low} to {high} for the rest")
    return costs


def _sets(content: Any, n_classes: int) -> PredictionSets | None:
    if content is None:
        return None
    conformal = next(kind for kind in (*CONFORMAL, None) if kind in (content["conformal"], None))
    if conformal is None:
        raise ValueError(f"sets of the kind {content['conformal']!r}, {' or '.join(CONFORMAL)} expected")
    n_rows, scores = tuple(content["n_rows"]), tuple(map(tuple, content["scores"]))
    n_lists = n_classes if conformal == "class" else 1
    if len(n_rows) != n_lists or len(scores) != n_lists or not all(type(n) is int and n >= 0 for n in n_rows):
        raise ValueError(
            f"the rows of {len(n_rows)} and the scores of {len(scores)} sets, {n_lists} expected"
        )
    for n, values in zip(n_rows, scores, strict=True):
        if len(values) != len(kept_ranks(n)):
            raise ValueError(f"{len(values)} scores of {n} rows, {len(kept_ranks(n))} expected")
        if not all(0 <= low <= high <= 1 for high, low in zip((1.0, *values), values, strict=False)):
            raise ValueError("scores that do not fall from 1 to 0")
    return PredictionSets(conformal, n_rows, scores)
