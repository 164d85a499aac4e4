"""How each column of a forest comes from the coded matrix, step by step, and what a category becomes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proto_model.forest.expansion import EXPANSION_FILE, Expansion, Op, Step
from proto_model.schema import ModelSchema


def steps_of(folder: Path, schema: ModelSchema) -> list[Step]:
    """Steps of a bundle, one per column of its forest."""
    if not (folder / EXPANSION_FILE).exists():
        return [Step(place, Op.IDENTITY) for place in range(len(schema.features))]
    expansion = Expansion.load(folder / EXPANSION_FILE, schema)
    tables = np.split(expansion.table, expansion.start[1:-1])
    columns = zip(
        expansion.source.tolist(), expansion.op.tolist(), expansion.value.tolist(), tables, strict=True
    )
    return [Step(source, Op(op), value, tuple(table.tolist())) for source, op, value, table in columns]


def level_table(step: Step, n_levels: int) -> NDArray[np.float64]:
    """What a forest sees of each level of a category; the last one is that of a missing or unseen level."""
    if step.op is Op.LOOKUP:
        return np.array(step.table)
    if step.op is Op.IS_MISSING:
        return np.array([0.0] * n_levels + [1.0])
    last = step.value if step.op is Op.FILL else math.nan
    return np.array([*map(float, range(n_levels)), last])
