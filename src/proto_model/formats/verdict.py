"""What a format answers against what the version answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ArtifactError

if TYPE_CHECKING:
    from proto_model.formats.rows import Rows
    from proto_model.formats.source import Source

Answers = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Position of each row's label, and its probabilities."""


@dataclass(frozen=True)
class Verdict:
    """How a format answered rows; `held_out` of them are test rows of the version's run, the others made.

    `by` is what read the format.
    """

    rows: int
    held_out: int
    labels_that_differ: int
    largest_difference: float
    by: str

    def to_dict(self) -> dict[str, Any]:
        """JSON object."""
        return asdict(self)

    @classmethod
    def of(cls, source: Source, rows: Rows, n_held_out: int, answers: Answers, by: str) -> Verdict:
        """Verdict on answers to rows."""
        labels, probabilities = source.answers(rows.matrix)
        theirs, their_probabilities = answers
        if their_probabilities.shape != probabilities.shape or theirs.shape != labels.shape:
            raise ArtifactError(
                f"The format answers {their_probabilities.shape}, {probabilities.shape} was expected."
            )
        differences = np.abs(their_probabilities - probabilities)
        # Not a number is as far off as can be.
        largest = float(np.where(np.isnan(differences), 1.0, differences).max(initial=0.0))
        n_differ = int((theirs != labels).sum())
        return cls(len(rows), n_held_out, n_differ, largest, by)

    @property
    def sentence(self) -> str:
        """In words."""
        return (
            f"{self.labels_that_differ} of {self.rows:,} labels differ, probabilities by at most "
            f"{self.largest_difference:.1g}"
        )
