"""What a user should know of a searched variant before trusting it, and how all cautions are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proto_model.table import TrainingData
from proto_model.table.cautions import Caution
from proto_model.training.search import SearchResult


@dataclass(frozen=True)
class Judged:
    """A searched variant and what the test rows say about it: class indices, probabilities, importances."""

    result: SearchResult
    data: TrainingData
    y: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    importances: pd.DataFrame


def model_cautions(judged: Judged) -> tuple[Caution, ...]:
    """What a searched variant and its test rows give reason to warn of."""
    return ()


def caution_lines(cautions: Sequence[Caution]) -> list[str]:
    """One line of text for each caution, as it stands in lists of Markdown and of a terminal."""
    return [f"{caution.kind.replace('_', ' ')}: {caution.text}" for caution in cautions]


def caution_section(cautions: Sequence[Caution]) -> list[str]:
    """Paragraphs of Markdown with a heading; none when there is nothing to warn of."""
    if not cautions:
        return []
    return [
        "## Cautions",
        "\n".join(f"- **{line.replace(':', ':**', 1)}" for line in caution_lines(cautions)),
    ]
