"""What a version's calibration, costs and prediction sets do on the test rows, for metrics and model card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.model.decision import DECISION_FILE, PredictionSets
from proto_model.training.calibration import losses
from proto_model.training.costs import expected_cost
from proto_model.training.decision import FoundDecision
from proto_model.training.evaluation.markdown import cell, markdown_table

SHOWN_COVERAGE = 0.9
_MAX_CLASSES = 15

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DecidedRows:
    """Test rows as a version answers them: classes, probabilities raw and calibrated, and decisions."""

    found: FoundDecision
    y: Ints
    raw: Floats
    probabilities: Floats
    predicted: Ints

    @classmethod
    def of(cls, found: FoundDecision, y: Ints, raw: Floats) -> DecidedRows:
        """Rows of these classes, of which the forest said so much."""
        probabilities = found.decision.calibrated(raw)
        return cls(found, y, raw, probabilities, found.decision.decide(probabilities))

    def metrics(self) -> dict[str, float]:
        """Mean cost of the decisions, and of the most probable classes; nothing without costs."""
        costs = self.found.decision.costs
        if costs is None:
            return {}
        return {
            "mean_cost": expected_cost(costs, self.y, self.predicted),
            "mean_cost_most_probable": expected_cost(costs, self.y, self.probabilities.argmax(axis=1)),
        }

    def section(self, labels: Sequence[str]) -> list[str]:
        """Paragraphs of the model card."""
        return [
            "## Probabilities and decisions",
            *self._calibration(),
            *self._costs(labels),
            *self._sets(labels),
            f"`{DECISION_FILE}` in the version's bundle holds all this. Whatever serves or explains the "
            "version applies it to the forest's probabilities; `pipeline.skops` is the pipeline without it.",
        ]

    def _calibration(self) -> Iterable[str]:
        choice = self.found.choice
        if choice.calibration is None:
            yield f"Probabilities are averages over the trees, not calibrated: {choice.reason}."
        else:
            yield (
                f"Probabilities are calibrated: method `{choice.calibration.method}`, {choice.reason}. It "
                "was fitted on training rows, each judged by a forest that had not learned from it."
            )
        before, after = losses(self.y, self.raw), losses(self.y, self.probabilities)
        if choice.calibration is None or not choice.before:
            rows = [(f"{name} (lower is better)", f"{value:.4f}") for name, value in before.items()]
            yield markdown_table(["", "test rows"], rows, numbers=True)
            return
        yield markdown_table(
            ["lower is better", "out of fold: forest", "calibrated", "test rows: forest", "calibrated"],
            [
                (name, *(f"{part[name]:.4f}" for part in (choice.before, choice.after, before, after)))
                for name in before
            ],
            numbers=True,
        )

    def _costs(self, labels: Sequence[str]) -> Iterable[str]:
        costs = self.found.decision.costs
        why = self.found.why_costs
        if costs is None:
            yield (
                "Predicted is the most probable class, of equally probable ones the first"
                f"{f': {why}' if why else ''}."
            )
            return
        cost, other = self.metrics().values()
        yield (
            f"{f'Balanced costs are used: {why}. ' if why else ''}Predicted is the class of least expected "
            "cost, so the predicted class may be less probable than another one, and `probability` below "
            f"0.5. Mean cost on the test rows: **{cost:.4f}**, against {other:.4f} if the most probable "
            "class were predicted."
        )
        if len(labels) == 2:
            share = costs[0, 1] / (costs[0, 1] + costs[1, 0])
            yield f"That is: **{cell(labels[1])}** is predicted if its probability is above {share:.3g}."
        if len(labels) <= _MAX_CLASSES:
            lines = [(name, *(f"{cost:g}" for cost in row)) for name, row in zip(labels, costs, strict=True)]
            yield markdown_table(["true class, cost of predicting", *labels], lines, numbers=True)

    def _sets(self, labels: Sequence[str]) -> Iterable[str]:
        decision = self.found.decision
        if decision.sets is None:
            return
        members = decision.sets.members(self.probabilities, SHOWN_COVERAGE)
        members[np.arange(len(members)), self.predicted] = True
        inside, sizes = members[np.arange(len(self.y)), self.y], members.sum(axis=1)
        per_class = decision.sets.conformal == "class"
        of_what = "of each class" if per_class else "of all classes together"
        yield (
            f"A request with `coverage` gets sets of classes. At {SHOWN_COVERAGE}, they are to hold the true "
            f"class of at least {SHOWN_COVERAGE:.0%} of the rows {of_what}, if rows are like those of "
            "training. On the test rows:"
        )
        lines = [("all", f"{len(self.y):,}", f"{inside.mean():.3f}", f"{sizes.mean():.2f}")]
        for k, name in enumerate(labels[:_MAX_CLASSES]):
            own = self.y == k
            if own.any():
                figures = f"{inside[own].mean():.3f}", f"{sizes[own].mean():.2f}"
                lines.append((name, f"{own.sum():,}", *figures))
        yield markdown_table(["class", "test rows", "covered", "classes in a set"], lines, numbers=True)
        yield from _always_included(decision.sets, labels)


def _always_included(sets: PredictionSets, labels: Sequence[str]) -> Iterable[str]:
    """Which classes have too few rows for the highest coverage, and from where on."""
    if sets.conformal == "marginal":
        return
    needed = int(np.ceil(SHOWN_COVERAGE / (1 - SHOWN_COVERAGE) - 1e-9))
    few = [f"{cell(name)} ({n} rows)" for name, n in zip(labels, sets.n_rows, strict=True) if n < needed]
    if few:
        yield (
            f"A class with fewer than {needed} training rows is in every set of coverage {SHOWN_COVERAGE}: "
            f"{', '.join(few[:_MAX_CLASSES])}."
        )
