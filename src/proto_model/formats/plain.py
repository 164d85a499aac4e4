"""Formats that hold a forest, and nothing that changes its answers."""

from __future__ import annotations

from proto_model.errors import ArtifactError
from proto_model.formats.source import Source


def refuse_decision(source: Source, what: str) -> None:
    """Raise an ArtifactError if a version does not answer what its forest does."""
    decision = source.decision
    parts = [
        words
        for words, part in (
            ("calibrates probabilities", decision.calibration),
            ("weighs costs", decision.costs),
        )
        if part is not None
    ]
    if parts:
        raise ArtifactError(
            f"No {what} of this version: it {' and '.join(parts)}, for which that format has no place. "
            "Take onnx, skops or sklearn, which hold it, or train with calibrate=none and costs=none."
        )
