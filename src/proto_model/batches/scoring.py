"""Coded rows in, columns of the answer out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from proto_model.batches.answers import answer_columns, json_text
from proto_model.batches.rows import Fault
from proto_model.errors import InputError
from proto_model.model import Answer, AnswerField, Decision
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema

_PART_ROWS = 1 << 14  # to predict between two looks at the time
_EXPLAINED_PART_ROWS = 32

Explain = Callable[[NDArray[np.float64]], list[dict[str, Any]]]


class ScoringModel(Protocol):
    """What scoring needs of a model."""

    @property
    def schema(self) -> ModelSchema:
        """Features and classes."""

    @property
    def decision(self) -> Decision:
        """From probabilities to predictions and sets."""

    def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of each class for rows of the coded matrix; called by several threads at once."""


@dataclass(frozen=True)
class Scoring:
    """How rows are scored, whatever brought them."""

    model: ScoringModel
    parameters: Parameters
    fields: tuple[AnswerField, ...]  # of the answer
    explain: Explain | None = None  # needed when the parameters ask for explanations
    check: Callable[[], None] = lambda: None  # called often; ends the work by raising

    @property
    def marking(self) -> bool:
        """Whether a bad row is kept, with what is wrong with it."""
        return self.parameters.on_bad_row == "mark"

    def columns(
        self, matrix: NDArray[np.float64], faults: Sequence[Fault]
    ) -> tuple[list[pa.Array], NDArray[np.bool_]]:
        """Columns of the answer, in the order of `fields`, and which rows are bad; safe between threads.

        The matrix is changed. If bad rows are not marked, there may be no faults.
        """
        bad = np.zeros(len(matrix), dtype=bool)
        bad[[fault.row for fault in faults]] = True
        matrix[bad] = 0.0
        probabilities = self._predicted(matrix)
        explanations = self._explained(matrix, bad) if self.parameters.explain else None
        errors = _reasons(faults, len(matrix)) if self.marking else None
        decision, coverage = self.model.decision, self.parameters.coverage
        answer = Answer(self.fields, probabilities, explanations, errors, decision, coverage)
        return answer_columns(answer, bad), bad

    def _predicted(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = []
        for start in range(0, max(1, len(matrix)), _PART_ROWS):
            self.check()
            parts.append(self.model.predict_proba(matrix[start : start + _PART_ROWS]))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _explained(self, matrix: NDArray[np.float64], bad: NDArray[np.bool_]) -> list[str | None]:
        """Explanation of each row as JSON, None for the bad ones."""
        if self.explain is None:
            raise InputError("This model has no explainer. Leave out explain.")
        sound = np.flatnonzero(~bad)
        found: list[str | None] = [None] * len(bad)
        for start in range(0, len(sound), _EXPLAINED_PART_ROWS):
            self.check()
            part = sound[start : start + _EXPLAINED_PART_ROWS]
            for row, explanation in zip(part, self.explain(matrix[part]), strict=True):
                found[row] = json_text(explanation)
        return found


def _reasons(faults: Sequence[Fault], n_rows: int) -> list[str | None]:
    """What is wrong with each row, None for the sound ones."""
    reasons: dict[int, list[str]] = {}
    for fault in faults:
        reasons.setdefault(fault.row, []).append(str(fault))
    return ["; ".join(reasons[row]) if row in reasons else None for row in range(n_rows)]
