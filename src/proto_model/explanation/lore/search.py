"""What the searches share: what is known once and for all, the row at hand, and how they ask the model."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.background import Background, Freedom
from proto_model.explanation.interface import Bools, Floats, Ints, PredictProba
from proto_model.explanation.lore.effects import Effects
from proto_model.explanation.lore.moves import Values
from proto_model.explanation.lore.neighborhood import Pool
from proto_model.explanation.lore.rule_search import RuleSearch
from proto_model.explanation.measures import row_generator
from proto_model.parameters import Parameters

Questions = Generator[Floats, Floats, Any]
"""A search that hands out rows and is handed their probabilities, until it returns its result."""


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What is the same for every row: scored rows, values to try, effects, and a rule search per class."""

    background: Background
    pool: Pool
    values: Values
    effects: Effects
    _rules: dict[int, RuleSearch] = field(default_factory=dict)

    @classmethod
    def of(cls, background: Background, predict_proba: PredictProba) -> Knowledge:
        """Ask the model about the pool, and prepare the rest."""
        pool = Pool.build(background, predict_proba)
        return cls(background, pool, Values.of(background), Effects(pool))

    def rules(self, label: int) -> RuleSearch:
        """Rule search for a class. Two threads may both make it; they make the same."""
        if label not in self._rules:
            self._rules[label] = RuleSearch(self.pool, label)
        return self._rules[label]


class Scored(NamedTuple):
    """Rows, the bins of their values, and the model's class for each."""

    X: Floats
    codes: Ints | NDArray[np.int32]
    labels: Ints


@dataclass(frozen=True, eq=False)
class Row:
    """The row to explain: its values, their bins, what may change, and what was asked for."""

    x: Floats
    own: Ints
    freedom: Freedom
    options: Parameters
    knowledge: Knowledge
    _falls: dict[int, Bools] = field(default_factory=dict)

    @classmethod
    def of(cls, x: Floats, options: Parameters, knowledge: Knowledge) -> Row:
        """The row `x` in the numbering of the pool's bins."""
        own = knowledge.pool.bins(x[np.newaxis])[0]
        freedom = Freedom.of(options, knowledge.background).without(~knowledge.pool.read)
        return cls(x, own, freedom, options, knowledge)

    def rng(self, purpose: str) -> np.random.Generator:
        """Random numbers for one purpose; the same in any thread and any order of rows."""
        return row_generator(self.options.seed, self.x, purpose)

    def near(self, label: int, neighbors: Scored, n: int) -> Floats:
        """The `n` nearest neighbours and the `n` nearest real rows that are of another class than `label`.

        Values that may not change, or go the wrong way for the row's class, are put back.
        """
        background, pool = self.knowledge.background, self.knowledge.pool
        chosen = []
        for rows, codes, labels in (neighbors, Scored(background.matrix, pool.real_codes, pool.real_labels)):
            other = np.flatnonzero(labels != label)
            near = rows[other]
            possible = np.where(self._may_go(near, codes[other], labels[other]), near, self.x)
            # Of rows equally far away, those that differ in fewer features make sparser counterfactuals.
            cost = background.distance(self.x, possible) + 0.1 * (near != self.x).sum(axis=1)
            chosen.append(possible[np.argsort(cost, kind="stable")[:n]])
        return np.concatenate(chosen)

    def _may_go(self, X: Floats, codes: Ints | NDArray[np.int32], wanted: Ints) -> Bools:
        """Per value of rows with these bins, whether x may take it and it leads to the wanted class."""
        bins, freedom = self.knowledge.pool.bins, self.freedom
        free = (freedom.increase | freedom.decrease)[bins.feature]
        free[bins.last] = False  # nothing goes missing
        may_go = np.empty(codes.shape, dtype=np.bool_)
        for of_label, mine in _by_label(wanted):
            may_go[mine] = (free & ~self._falls_to(of_label)).take(codes[mine])
        if (freedom.increase != freedom.decrease).any():  # bins are too coarse for directions
            may_go &= freedom.allows(self.x, X)
        return may_go

    def against(self, features: Ints, values: Floats, wanted: Ints) -> Bools:
        """Per single value, whether it alone leads away from the class that is wanted with it."""
        codes = self.knowledge.pool.bins.each(features, values)
        against = np.empty(codes.shape, dtype=np.bool_)
        for label, mine in _by_label(wanted):
            against[mine] = self._falls_to(label)[codes[mine]]
        return against

    def _falls_to(self, label: int) -> Bools:
        if label not in self._falls:
            self._falls[label] = self.knowledge.effects.falls(self.own, label)
        return self._falls[label]


def _by_label(labels: Ints) -> Iterator[tuple[int, Bools | slice]]:
    """Each label and where it is; without a copy if there is only one."""
    found = np.unique(labels).tolist()
    for label in found:
        yield label, slice(None) if len(found) == 1 else labels == label


def together(*searches: Questions) -> Questions:
    """Run searches side by side, so that each round of all of them is one call of the model."""
    results: list[Any] = [None] * len(searches)
    answers: dict[int, Floats | None] = dict.fromkeys(range(len(searches)))
    while answers:
        waiting: dict[int, Floats] = {}
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
