"""Calibration and costs of a version in ONNX: the arithmetic of `model.decision`, operator by operator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proto_model.formats.graph import Graph
from proto_model.model.decision import Calibration, Decision

Floats = NDArray[np.float64]


def decided(graph: Graph, decision: Decision, shares: str, n_classes: int) -> tuple[str, str]:
    """Probabilities to answer with, and the position of each row's class, from those of the forest."""
    probabilities = shares
    if decision.calibration is not None:
        probabilities = _calibrated(graph, decision.calibration, shares, n_classes)
    scores = probabilities
    if decision.costs is not None:
        saved = decision.costs.max(axis=1, keepdims=True) - decision.costs
        parts = graph.split(probabilities, n_classes, 1)
        scores = _scaled(
            graph,
            graph.sum(
                [graph.add("Mul", part, graph.constant(row)) for part, row in zip(parts, saved, strict=True)]
            ),
            n_classes,
        )
    return probabilities, graph.add("ArgMax", scores, axis=1, keepdims=0, select_last_index=0)


def _calibrated(graph: Graph, calibration: Calibration, shares: str, n_classes: int) -> str:
    parts = graph.split(shares, n_classes, 1)
    if len(calibration.x) == 1:
        second = _looked_up(graph, parts[1], calibration.x[0], calibration.y[0])
        return graph.add("Concat", graph.add("Sub", graph.number(1.0), second), second, axis=1)
    tables = zip(parts, calibration.x, calibration.y, strict=True)
    return _scaled(graph, _joined(graph, [_looked_up(graph, part, x, y) for part, x, y in tables]), n_classes)


def _looked_up(graph: Graph, part: str, x: Floats, y: Floats) -> str:
    """What `numpy.interp` makes of a column: the same products and sums, so the same bits."""
    slopes = np.diff(y) / np.diff(x)
    # Before the first entry and behind the last one, the line is flat.
    starts, bases = np.concatenate([x[:1], x]), np.concatenate([y[:1], y])
    slopes = np.concatenate([[0.0], slopes, [0.0]])
    passed = graph.cast(graph.add("GreaterOrEqual", part, graph.constant(x)), "INT64")
    segment = graph.add("ReduceSum", passed, graph.constant(np.array([1])), keepdims=1)
    slope, start, base = (
        graph.add("Gather", graph.constant(table), segment) for table in (slopes, starts, bases)
    )
    rise = graph.add("Mul", slope, graph.add("Sub", part, start))
    return graph.add("Add", rise, base)


def _scaled(graph: Graph, weights: str, n_classes: int) -> str:
    """Rows that sum to 1."""
    return graph.add("Div", weights, graph.sum(graph.split(weights, n_classes, 1)))


def _joined(graph: Graph, columns: Sequence[str]) -> str:
    return columns[0] if len(columns) == 1 else graph.add("Concat", *columns, axis=1)
