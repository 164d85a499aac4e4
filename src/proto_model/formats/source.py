"""What every format is written from: the parts of a bundle, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proto_model.forest.expansion import Step
from proto_model.formats.steps import steps_of
from proto_model.formats.trees import Trees
from proto_model.model import Bundle
from proto_model.model.decision import Decision
from proto_model.model.kinds import FOREST_FILE
from proto_model.schema import ModelSchema


@dataclass(frozen=True, eq=False)
class Source:
    """A version that is to be written in another format."""

    bundle: Bundle

    @property
    def schema(self) -> ModelSchema:
        """Features, target and classes."""
        return self.bundle.schema

    @property
    def decision(self) -> Decision:
        """From the forest's probabilities to answers."""
        return self.bundle.decision

    @cached_property
    def trees(self) -> Trees:
        """The forest."""
        return Trees.read(self.bundle.folder / FOREST_FILE)

    @cached_property
    def steps(self) -> list[Step]:
        """How each column of the forest comes about."""
        return steps_of(self.bundle.folder, self.schema)

    def answers(self, matrix: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Positions of the labels, and the probabilities, that this project answers for coded rows."""
        probabilities = self.bundle.predict_proba(matrix)
        return self.bundle.decide(probabilities), probabilities
