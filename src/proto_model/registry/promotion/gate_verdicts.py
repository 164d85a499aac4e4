"""What the held-out rows say of each gate: passed, failed, or not enough rows to tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mlflow.artifacts
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from proto_model.registry.promotion.comparison import ComparisonError
from proto_model.registry.promotion.gates import Gate, no_such
from proto_model.schema import Label
from proto_model.statistics import (
    NEED_PROBABILITIES,
    Answers,
    GateVerdict,
    GroupMeasure,
    group_gate,
    metric_gate,
    no_worse_gate,
    paired_difference,
)
from proto_model.table.split import HASH_COLUMN
from proto_model.training.evaluation.groupings import groups_of_column

_PROTECTED = "split/protected.parquet"
_MISSING = "(missing)"


@dataclass(frozen=True)
class GateResult:
    """A gate and what the rows say of it; `verdict` is None if there is no champion to compare with."""

    gate: Gate
    verdict: GateVerdict | None

    @property
    def outcome(self) -> str:
        """One of "passed", "failed", "not enough rows", and "not asked" without a champion."""
        return "not asked" if self.verdict is None else self.verdict.verdict

    @property
    def sentence(self) -> str:
        """What is known, and what is missing."""
        if self.verdict is None:
            return f"{self.gate.text}: not asked, as there is no champion yet."
        needed = self.verdict.rows_needed
        more = f" About {needed} rows would tell." if needed is not None else ""
        pair = "" if self.verdict.compared is None else f" ({' against '.join(self.verdict.compared)})"
        return f"{self.gate.text}: {self.outcome}, {self.verdict.interval.shown()}{pair}.{more}"

    def to_dict(self) -> dict[str, Any]:
        """JSON object; figures are None where there are none."""
        shown: dict[str, Any] = {"gate": self.gate.text, "kind": self.gate.kind, "verdict": self.outcome}
        if self.verdict is None:
            return shown
        found = self.verdict.to_dict()
        figures = {name: found[name] for name in ("limit", "at_least", "rows_needed", "compared")}
        return {**shown, **found["interval"], **figures, "rows": found["n_rows"]}


@dataclass(frozen=True)
class Judged:
    """Rows with true classes and both models' answers, in which gates look; `champion` None without one."""

    frame: pd.DataFrame
    y: NDArray[np.int64]
    classes: tuple[Label, ...]
    challenger: Answers
    champion: Answers | None
    version: ModelVersion

    def class_index(self, gate: Gate) -> int | None:
        """Index of the class that a gate names."""
        if gate.label is None:
            return None
        labels = [str(label) for label in self.classes]
        if gate.label not in labels:
            raise ComparisonError(f"Gate {gate.text!r}: {no_such('class', gate.label, labels)}")
        return labels.index(gate.label)


def judge_gates(gates: Sequence[Gate], judged: Judged, folder: Path) -> tuple[GateResult, ...]:
    """Verdict on each gate; a ComparisonError says which one cannot be judged, and why.

    Files of the challenger's run go into `folder`.
    """
    protected = _protected(judged, folder) if any(gate.kind == "group" for gate in gates) else None
    if protected is None:
        _check_features(gates, judged)
    return tuple(_judge(gate, judged, protected) for gate in gates)


def _judge(gate: Gate, judged: Judged, protected: pd.DataFrame | None) -> GateResult:
    index = judged.class_index(gate)
    y, n_classes = judged.y, len(judged.classes)
    try:
        if gate.kind == "group":
            return GateResult(gate, _group_verdict(gate, judged, protected, index))
        if gate.name in NEED_PROBABILITIES:
            _check_probabilities(gate, judged)
        if gate.kind == "metric":
            verdict = metric_gate(
                gate.name,
                y,
                judged.challenger,
                n_classes,
                gate.limit,
                at_least=gate.at_least,
                class_index=index,
            )
            return GateResult(gate, verdict)
        if judged.champion is None:
            return GateResult(gate, None)
        evidence = paired_difference(
            gate.name, y, judged.champion, judged.challenger, n_classes, class_index=index
        )
        n_rows = len(y) if index is None or gate.name != "recall" else int((y == index).sum())
        return GateResult(gate, no_worse_gate(evidence, gate.limit, n_rows))
    except ValueError as error:
        raise ComparisonError(f"Gate {gate.text!r} cannot be judged: {error}") from error


def _check_probabilities(gate: Gate, judged: Judged) -> None:
    for role, answers in (("challenger", judged.challenger), ("champion", judged.champion)):
        needed = role == "challenger" or gate.kind == "no_worse"
        if needed and answers is not None and answers.probabilities is None:
            raise ComparisonError(
                f"Gate {gate.text!r} needs probabilities, and the {role} answers with labels only. Use a "
                "metric of labels, such as balanced_accuracy."
            )


def _group_verdict(
    gate: Gate, judged: Judged, protected: pd.DataFrame | None, index: int | None
) -> GateVerdict:
    if index is None and gate.name != "accuracy":
        if len(judged.classes) > 2:
            raise ComparisonError(
                f"Gate {gate.text!r}: of {len(judged.classes)} classes, name the one that is meant: "
                f"{gate.name}_{'ratio' if gate.ratio else 'gap'}[{gate.column}][CLASS]."
            )
        index = 1
    assert gate.column is not None
    column = groups_of_column(_column(gate, gate.column, judged.frame, protected))
    groups = column.astype(object).where(column.notna(), _MISSING).to_numpy(dtype=str)
    return group_gate(
        cast(GroupMeasure, gate.name), judged.y, judged.challenger.predicted, groups, gate.limit,
        ratio=gate.ratio, class_index=1 if index is None else index,
    )  # fmt: skip


def _column(gate: Gate, name: str, frame: pd.DataFrame, protected: pd.DataFrame | None) -> pd.Series[Any]:
    known = [column for column in frame.columns if column != HASH_COLUMN]
    if protected is not None:
        if name in protected.columns:
            return protected[name]
        known = [*(column for column in protected.columns if column not in known), *known]
    if name not in frame.columns or name == HASH_COLUMN:
        raise ComparisonError(
            f"Gate {gate.text!r}: {no_such('column', name, list(map(str, known)))} Columns are those of the "
            "challenger's test rows, and those that its training was told to protect."
        )
    return frame[name]


def _check_features(gates: Sequence[Gate], judged: Judged) -> None:
    """Raise ComparisonError for groups of a protected column, where nothing tells the rows' values in it."""
    tags = judged.version.tags
    for gate in gates:
        if gate.kind == "group" and tags.get("protected") and gate.column not in judged.frame.columns:
            raise ComparisonError(
                f"Gate {gate.text!r}: the artifact {_PROTECTED} of run {tags.get('split_run_id')}, which has "
                f"the protected columns of version {judged.version.version} ({tags['protected']}), cannot be "
                "read. Restore it, or train the challenger again."
            )


def _protected(judged: Judged, folder: Path) -> pd.DataFrame | None:
    """Protected columns of the compared rows, row by row; None if there are none, or they cannot be read."""
    run_id = judged.version.tags.get("split_run_id")
    if run_id is None:
        return None
    try:
        path = mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path=_PROTECTED, dst_path=str(folder)
        )
        found = pd.read_parquet(path)
    except (MlflowException, OSError, ValueError):
        return None
    if HASH_COLUMN not in found:
        return None
    # Rows of one hash are told apart by their order. Where not all of them are compared, it tells nothing.
    keys = [HASH_COLUMN, "__nth__"]
    left, right = (
        table[[HASH_COLUMN]].assign(__nth__=table.groupby(HASH_COLUMN).cumcount())
        for table in (judged.frame, found)
    )
    n_compared, n_known = (table.groupby(HASH_COLUMN).size() for table in (left, right))
    whole = n_known.index[n_known == n_compared.reindex(n_known.index)]
    right = pd.concat([right, found.drop(columns=HASH_COLUMN)], axis=1)
    right = right[right[HASH_COLUMN].isin(whole)]
    return left.merge(right, on=keys, how="left").drop(columns=keys)
