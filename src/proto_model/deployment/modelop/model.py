"""The model of an exported source; scoring and measuring take numpy and llvmlite, and nothing else."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from proto_model.deployment.modelop.measures import measures
from proto_model.deployment.package.layout import MODEL_BUNDLE
from proto_model.errors import InputError, listed
from proto_model.model import Bundle, Predictor, RowReader
from proto_model.schema import Label


class OwnModel:
    """What the functions of the source call."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._predictor = Predictor(bundle)
        self._reader = RowReader(bundle.schema)
        self._classes = {label: position for position, label in enumerate(bundle.schema.classes)}

    def score(self, record: Any) -> dict[str, Any]:
        """Prediction and probabilities of a record, as the server answers; an InputError says why not."""
        if not isinstance(record, Mapping):
            raise InputError('The record is no object with a value per column, such as {"age": 40}.')
        return self._predictor.answer(self._reader.records([record])).records()[0]

    def metrics(self, rows: Any) -> dict[str, Any]:
        """How good the model is on rows with labels, in ModelOp's form.

        Rows without a label that it knows, and rows that it does not take, are left out and counted. An
        InputError says that there is no label at all.
        """
        records = _records(rows)
        target = self.bundle.schema.target
        if not any(target in record for record in records):
            given = listed(sorted({*map(str, (name for record in records for name in record))})) or "none"
            raise InputError(f"The rows have no column {target!r} with their labels; they have {given}.")
        kept, y, left_out = [], [], {"without a known label": 0, "not taken": 0}
        for record in records:
            label = self._position(record.get(target))
            if label is None:
                left_out["without a known label"] += 1
                continue
            try:
                kept.append(self._reader.records([record])[0])
                y.append(label)
            except InputError:
                left_out["not taken"] += 1
        if not kept:
            raise InputError(f"No row has a known label of {target!r} and values that the model takes.")
        probabilities = self._predictor.predict_proba(np.array(kept))
        found = measures(self.bundle, np.array(y), probabilities)
        return found | {"rows": len(kept), "rows_left_out": {why: n for why, n in left_out.items() if n}}

    def train(self, rows: Any, folder: Path) -> dict[str, Any]:
        """Train a model of the same kind on rows with labels, and write it; how good it is."""
        from proto_model.deployment.modelop.training import retrain

        return retrain(self.bundle, rows, folder)

    def _position(self, label: Any) -> int | None:
        """Which class a label is, as JSON or a data frame has it."""
        if label is None or label != label:
            return None
        found = self._classes.get(cast("Label", label)) if isinstance(label, Hashable) else None
        if found is None and self.bundle.schema.target_type == "string" and not isinstance(label, str):
            return self._classes.get(str(label))
        return found


def load_model(folder: Path) -> OwnModel:
    """Model of an unpacked attachment; an ArtifactError says what is missing or damaged."""
    return OwnModel(Bundle.load(folder / MODEL_BUNDLE))


def _records(rows: Any) -> list[Mapping[str, Any]]:
    """Rows of a data frame, or of a list of objects."""
    records: Iterable[Any] = rows.to_dict(orient="records") if hasattr(rows, "to_dict") else rows
    found = list(records) if isinstance(records, list | tuple) else []
    if not found or not all(isinstance(one, Mapping) for one in found):
        raise InputError("A data frame or a list of objects with at least one row expected.")
    return found
