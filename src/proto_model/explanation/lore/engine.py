"""The engine: from rows to explanations."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from proto_model.errors import ExplanationError
from proto_model.explanation.background import Background
from proto_model.explanation.explanation import (
    ONLY_AGAINST,
    Counterfactual,
    Explanation,
    explain_constant,
    none_found,
)
from proto_model.explanation.interface import (
    Bools,
    Explanations,
    Floats,
    Ints,
    PredictProba,
    Progress,
    collected,
)
from proto_model.explanation.lore.counterfactuals import Flip, search_flips
from proto_model.explanation.lore.moves import Moves
from proto_model.explanation.lore.neighborhood import Neighborhood
from proto_model.explanation.lore.rule_search import Marked, RuleSearch
from proto_model.explanation.lore.search import Knowledge, Questions, Row, Scored, together
from proto_model.explanation.lore.surrogate import Surrogate
from proto_model.explanation.measures import balanced_agreement, draw_inside
from proto_model.explanation.rule import Rule
from proto_model.forest import n_cores
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema


class Effort(NamedTuple):
    """How much work goes into a row."""

    n_neighbors: int
    n_held_out: int  # neighbours that the surrogate never sees, to measure its fidelity
    n_pooled: int  # rows of the pool that the surrogate learns from, too
    n_checks: int  # how often a rule may be checked, and narrowed when it fails
    n_checked: int  # rows drawn inside it each time
    n_rounds: int  # how often changes of a counterfactual are taken back


EFFORTS = {"fast": Effort(4000, 400, 3000, 4, 400, 4), "thorough": Effort(9000, 1000, 5000, 8, 1000, 8)}
TARGET = 0.985
ACCEPTED = 0.975
N_NEAR = 6  # rows of another class to start counterfactuals from: neighbours, and as many real rows
WINDOW = 256  # rows handed to the workers at a time


class LoreExplainer:
    """Explains rows by LORE: neighbourhood, surrogate tree, rule and counterfactuals [1]_.

    Safe to share between threads, and picklable when the model is. See `make_explainer`.

    References
    ----------
    .. [1] R. Guidotti et al., "Local Rule-Based Explanations of Black Box Decision Systems", 2018.
       https://arxiv.org/abs/1805.10820
    """

    def __init__(
        self, schema: ModelSchema, background: Floats, predict_proba: PredictProba, synthetic: bool = False
    ) -> None:
        self.background = Background.from_matrix(schema, background, synthetic)
        self.predict_proba = predict_proba
        self._knowledge: Knowledge | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what can be made again, and the lock."""
        background = self.background
        return LoreExplainer, (background.schema, background.matrix, self.predict_proba, background.synthetic)

    def explain(self, X: Floats, options: Parameters, progress: Progress | None = None) -> Explanations:
        """One explanation per row; see `Explainer.explain`. Many rows are shared out to the cores."""
        options.validate(self.background.schema)
        X = self.background.check(X)
        return collected(self._explained(X, options), len(X), progress)

    def _explained(self, X: Floats, options: Parameters) -> Iterator[dict[str, Any]]:
        """Explanations in order; as many rows at work as there are cores."""
        knowledge = self.knowledge()
        n_workers = min(len(X), n_cores())
        if n_workers <= 1:
            for x in X:
                yield self._explain_row(x, options, knowledge)
            return
        with ThreadPoolExecutor(n_workers, thread_name_prefix="explain") as workers:
            for start in range(0, len(X), WINDOW):
                rows = X[start : start + WINDOW]
                yield from workers.map(lambda x: self._explain_row(x, options, knowledge), rows)

    def knowledge(self) -> Knowledge:
        """What is the same for every row; made once, when it is first asked for."""
        with self._lock:
            if self._knowledge is None:
                self._knowledge = Knowledge.of(self.background, self._probabilities)
            return self._knowledge

    def _explain_row(self, x: Floats, options: Parameters, knowledge: Knowledge) -> dict[str, Any]:
        search = _explain(Row.of(x, options, knowledge))
        rows = next(search)
        while True:
            try:
                rows = search.send(self._probabilities(rows))
            except StopIteration as stop:
                explanation: Explanation = stop.value
                return explanation.to_dict(self.background)

    def _probabilities(self, X: Floats) -> Floats:
        """The model's answer, checked for its shape."""
        probabilities = np.asarray(self.predict_proba(X), dtype=np.float64)
        expected = (len(X), len(self.background.schema.classes))
        if probabilities.shape != expected:
            raise ExplanationError(
                f"The model returned probabilities of shape {probabilities.shape}, expected {expected}: one "
                "column per class. Does the schema belong to another version of the model?"
            )
        return probabilities


def _explain(row: Row) -> Questions:
    """Explanation of a row; the first question is about the row, its neighbourhood and single changes."""
    x, options, knowledge = row.x, row.options, row.knowledge
    effort = EFFORTS[options.effort]
    hood = Neighborhood.draw(x, row.own, knowledge.pool, effort.n_neighbors, row.rng("neighborhood"))
    moves = Moves.of(x, knowledge.values, row.freedom, row.rng("moves"))
    if options.max_counterfactuals == 0:
        moves = Moves(moves.feature[:0], moves.value[:0])
    answers = yield np.concatenate([x[np.newaxis], hood.X, moves.rows(x)])
    p_x, p_hood, p_moves = np.split(answers, [1, 1 + len(hood.X)])
    label = int(p_x[0].argmax())
    labels = p_hood.argmax(axis=1)
    seen = (labels, p_moves.argmax(axis=1), knowledge.pool.real_labels, knowledge.pool.labels)
    if all((of_rows == label).all() for of_rows in seen):
        return explain_constant(x, p_x[0], options.seed, "lore")

    rules = knowledge.rules(label)
    searches = [_checked_rule(row, rules, (hood.codes, labels == label), effort)]
    if options.max_counterfactuals:
        near = row.near(label, Scored(hood.X, hood.codes, labels), N_NEAR)
        searches.append(search_flips(row, p_x[0], moves, p_moves, near, effort.n_rounds))
    (rule, precision, n_checked), *rest = yield from together(*searches)
    flips, n_combinations = rest[0] if rest else ([], 0)

    surrogate, fidelity, class_fidelity = _surrogate(rules, hood, p_hood, row.own, effort)
    return Explanation(
        x=x,
        prediction=label,
        probability=float(p_x[0, label]),
        rule=rule,
        precision=precision,
        coverage=float(rule.covers(knowledge.background.matrix).mean()),
        counterfactuals=_counterfactuals(flips, surrogate, rules, knowledge),
        importances=_importances(hood.kept, p_hood[:, label]) * knowledge.pool.read,
        fidelity=fidelity,
        class_fidelity=class_fidelity,
        size=len(answers) + n_checked,
        seed=options.seed,
        engine="lore",
        held=row.freedom.held if options.max_counterfactuals else (),
        notes=_notes(row, rule, precision, flips, n_combinations),
    )


def _notes(row: Row, rule: Rule, precision: float, flips: list[Flip], n_combinations: int) -> tuple[str, ...]:
    found_none = bool(row.options.max_counterfactuals and not flips)
    weak = f"The rule is weak: only {precision:.0%} of random rows inside it get this class."
    notes = {
        weak: precision < 0.9,
        "The rule has no conditions: nearly every row gets this class.": not rule.premises,
        none_found(bool(row.freedom.held), n_combinations): found_none,
        ONLY_AGAINST: any(flip.against for flip in flips),
    }
    return tuple(note for note, applies in notes.items() if applies)


def _checked_rule(row: Row, rules: RuleSearch, near: Marked, effort: Effort) -> Questions:
    """Rule, its precision on rows that the model has scored for that alone, and how many these were."""
    background, bins, rng = row.knowledge.background, row.knowledge.pool.bins, row.rng("rule")
    best: tuple[Rule, float] | None = None
    codes, hits = np.empty((0, len(row.x)), dtype=np.int64), np.empty(0, dtype=np.bool_)
    for check in range(effort.n_checks):
        # Rows of failed checks join the search. They count little beside the pool, so aim higher after two.
        target = TARGET if check < 2 else 0.99
        extra = (codes, hits) if len(codes) else None
        rule = rules.rule(rules.find(row.own, target, extra, near), row.own)
        if best is not None and rule == best[0]:
            break
        inside = draw_inside(background, rule, effort.n_checked, rng)
        hit = (yield inside).argmax(axis=1) == rules.label
        codes, hits = np.concatenate([bins(inside), codes]), np.concatenate([hit, hits])
        if best is None or hit.mean() > best[1]:
            best = rule, float(hit.mean())
        if hit.mean() >= ACCEPTED:
            break
    assert best is not None
    return (*best, len(hits))


def _surrogate(
    rules: RuleSearch, hood: Neighborhood, p_hood: Floats, own: Ints, effort: Effort
) -> tuple[Surrogate, float, float]:
    """Surrogate, its fidelity on neighbours that it was not trained on, and the same for x's class alone."""
    positions = rules.position[hood.codes]
    held_out = effort.n_held_out
    pooled, p_pooled, weights = rules.similar(own, effort.n_pooled)
    surrogate = Surrogate.fit(
        np.concatenate([positions[held_out:], pooled]),
        np.concatenate([p_hood[held_out:], p_pooled]),
        np.concatenate([np.ones(len(positions) - held_out), weights]),
        rules.pool.bins,
        rules.pool.read,
    )
    told = surrogate.predict(positions[:held_out])
    answers = p_hood[:held_out].argmax(axis=1)
    mine = balanced_agreement(answers == rules.label, told == rules.label)
    return surrogate, balanced_agreement(answers, told), mine


def _importances(kept: Bools, p_label: Floats) -> Floats:
    """How much the probability of the class falls, on average, when a feature's value is not x's.

    The slope of a linear fit on which values were kept, which is the Banzhaf value of the feature; what could
    be chance is taken off. It may also rise, so it is the size that counts.
    """
    centred = np.ascontiguousarray((kept - kept.mean(axis=0)).T)
    rest = p_label - p_label.mean()
    squares = np.maximum((centred**2).sum(axis=1), 1e-9)
    slopes = np.zeros(len(centred))
    # The masks are independent, so that fitting all features at once and then the rest again soon converges.
    for _ in range(3 if kept.shape[0] > 20 * kept.shape[1] else 1):
        step = (centred * rest).sum(axis=1) / squares
        slopes += step
        rest = rest - (centred * step[:, np.newaxis]).sum(axis=0)
    chance = rest.std() * 2 / np.sqrt(len(kept))
    importances: Floats = np.maximum(np.abs(slopes) - chance, 0.0)
    return importances


def _counterfactuals(
    flips: list[Flip], surrogate: Surrogate, rules: RuleSearch, knowledge: Knowledge
) -> tuple[Counterfactual, ...]:
    """Flips, each with the rule of the surrogate that leads to it where the surrogate agrees."""
    if not flips:
        return ()
    codes = knowledge.pool.bins(np.array([flip.values for flip in flips]))
    positions = rules.position[codes]
    told = surrogate.predict(positions)
    found = []
    for flip, own, position, label_told in zip(flips, codes, positions, told, strict=True):
        label = int(flip.probabilities.argmax())
        rule = None
        if label_told == label:
            rule = Rule(rules.rule(rules.box(surrogate.path(position)), own).premises, label)
        probability = float(flip.probabilities[label])
        found.append(Counterfactual(flip.values, label, probability, True, flip.distance, rule, flip.against))
    return tuple(found)
