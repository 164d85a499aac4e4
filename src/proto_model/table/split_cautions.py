"""What users should know of a split: what the data says against it."""

from __future__ import annotations

import numpy as np

from proto_model.table.caution import Caution
from proto_model.table.training_data import TrainingData
from proto_model.table.twins import feature_hashes

_MANY_TWINS = 0.05  # of the test rows; a few are chance where features have few values


def split_cautions(data: TrainingData) -> tuple[Caution, ...]:
    """What makes the scores of a split worth less than they look."""
    columns = tuple(data.split_by.named.values())
    found = [Caution("split", columns, note) for note in data.split_notes]
    n_twins = twins_across(data)
    if n_twins >= _MANY_TWINS * len(data.y_test):
        found.append(
            Caution(
                "twins",
                (),
                f"{n_twins:,} of {len(data.y_test):,} test rows equal a training row in all features; only "
                "their class, or columns that are no features, tell them apart. If they are copies, the test "
                "scores are too good: remove them, or name a column that they share as `group`.",
            )
        )
    return tuple(found)


def twins_across(data: TrainingData) -> int:
    """How many test rows equal a training row in all features."""
    return int(np.isin(feature_hashes(data.X_test), feature_hashes(data.X_train)).sum())
