"""What the held-out rows say of a challenger and its champion; nothing is changed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from proto_model.errors import DataError, ProtoModelError
from proto_model.registry.promotion.comparison import (
    ComparisonError,
    class_indices,
    compare,
    count_pairs,
    schema_differences,
)
from proto_model.registry.promotion.decision import Attempt, Criteria, Decision, decide, decide_alone
from proto_model.registry.promotion.gate_verdicts import GateResult, Judged, judge_gates
from proto_model.registry.promotion.held_out import HeldOutRows, held_out_rows
from proto_model.registry.promotion.opponents import Contender, load_contender
from proto_model.registry.promotion.report import Evaluation
from proto_model.schema import Label
from proto_model.statistics import NEED_PROBABILITIES, Answers
from proto_model.table.split import HASH_COLUMN

_MOST_DIFFERENCES = 5
_TAKEN = {"rows": "rows", "file": "presigned URLs of files"}


@dataclass(frozen=True)
class Judgment:
    """What the rows say of two versions, before it is known which attempt this is; None without rows."""

    evaluation: Evaluation | None
    gates: tuple[GateResult, ...] = ()
    note: str = ""

    def decide(self, name: str, criteria: Criteria, attempt: Attempt | None) -> Decision:
        """The decision; `attempt` is None for a first champion."""
        if attempt is None or self.evaluation is None:
            decision = decide_alone(name, criteria, self.gates)
            return replace(decision, reason=f"{decision.reason} {self.note}".strip())
        return decide(self.evaluation.counts, criteria, attempt, self.gates)


def judge(challenger: ModelVersion, champion: ModelVersion | None, criteria: Criteria) -> Judgment:
    """What the held-out rows say of both, or of the challenger alone; nothing is changed."""
    name = challenger.name
    with tempfile.TemporaryDirectory() as temporary:
        folders = {role: Path(temporary, role) for role in ("challenger", "champion", "rows")}
        for folder in folders.values():
            folder.mkdir()
        ours = load_contender(name, str(challenger.version), folders["challenger"])
        if champion is None:
            try:
                rows = held_out_rows(challenger, None, folders["rows"])
                return _evaluate(rows, {"challenger": (challenger, ours)}, criteria, folders["rows"])
            except (DataError, ComparisonError) as error:
                if criteria.gates:
                    raise
                return Judgment(None, note=f"It could not be evaluated. {error}")
        theirs = load_contender(name, str(champion.version), folders["champion"])
        _check_replaceable(challenger, champion, ours, theirs, criteria)
        rows = held_out_rows(challenger, champion, folders["rows"])
        pair = {"champion": (champion, theirs), "challenger": (challenger, ours)}
        return _evaluate(rows, pair, criteria, folders["rows"])


def _check_replaceable(
    challenger: ModelVersion, champion: ModelVersion, ours: Contender, theirs: Contender, criteria: Criteria
) -> None:
    """Raise ComparisonError if requests for the champion would fail."""
    if theirs.schema and ours.schema and (found := schema_differences(theirs.schema, ours.schema)):
        told = found[:_MOST_DIFFERENCES]
        told += [f"and {len(found) - len(told)} more"] if len(found) > len(told) else []
        raise ComparisonError(
            f"Version {challenger.version} cannot replace version {champion.version}, because their "
            f"schemas differ: {'; '.join(told)} (champion against challenger). Requests for the "
            "champion would fail. Train the new model under another name: set registered_model_name."
        )
    if ours.takes != theirs.takes and not criteria.allow_signature_change:
        raise ComparisonError(
            f"Version {challenger.version} takes {_TAKEN[ours.takes]} and cannot replace version "
            f"{champion.version}, which takes {_TAKEN[theirs.takes]}: requests for the champion "
            "would fail. Register the new model under another name, or give --allow-signature-change."
        )


def _evaluate(
    rows: HeldOutRows,
    contenders: Mapping[str, tuple[ModelVersion, Contender]],
    criteria: Criteria,
    folder: Path,
) -> Judgment:
    """What the rows say of the contenders "champion" and "challenger", or of the challenger alone."""
    frame = rows.frame
    target, classes = _target_and_classes([contender for _, contender in contenders.values()], frame)
    labels = {
        role: _predictions(contender, frame, target, classes, version)
        for role, (version, contender) in contenders.items()
    }
    y = class_indices(frame[target].tolist(), classes)
    y_pred = {role: class_indices(predicted, classes) for role, predicted in labels.items()}
    if "champion" in y_pred:
        comparison = compare(
            y, y_pred["champion"], y_pred["challenger"], len(classes), criteria.interval_confidence
        )
        counts = comparison.counts
    else:
        comparison = None
        counts = count_pairs(y, y_pred["challenger"], y_pred["challenger"], len(classes))
    columns = {"row_hash": frame[HASH_COLUMN].to_numpy(), "label": frame[target].to_numpy()}
    challenger = contenders["challenger"][0]
    evaluation = Evaluation(
        rows=rows,
        rows_run_id=challenger.tags.get("split_run_id"),
        classes=classes,
        counts=counts,
        challenger_score=counts.scores()[1],
        comparison=comparison,
        predictions=pd.DataFrame(columns | {role: pd.Series(given) for role, given in labels.items()}),
    )
    with_probabilities = any(gate.name in NEED_PROBABILITIES for gate in criteria.gates)
    answers = {
        role: Answers(y_pred[role], _probabilities(contender, frame, target) if with_probabilities else None)
        for role, (_, contender) in contenders.items()
    }
    judged = Judged(
        frame.drop(columns=[target]), y, classes, answers["challenger"], answers.get("champion"), challenger
    )
    return Judgment(evaluation, judge_gates(criteria.gates, judged, folder))


def _probabilities(contender: Contender, frame: pd.DataFrame, target: str) -> NDArray[np.float64] | None:
    if contender.predict_proba is None:
        return None
    return contender.predict_proba(frame.drop(columns=[target, HASH_COLUMN]))


def _target_and_classes(
    contenders: Sequence[Contender], frame: pd.DataFrame
) -> tuple[str, tuple[Label, ...]]:
    """Target column and classes, from the first contender that knows its schema."""
    schema = next((contender.schema for contender in contenders if contender.schema is not None), None)
    if schema is None:
        raise ComparisonError("Neither version has a schema.json, so the column to predict is unknown.")
    if schema.target not in frame.columns:
        raise ComparisonError(
            f"The held-out rows have no column {schema.target!r}, which the model predicts."
        )
    unknown = set(frame[schema.target].tolist()) - set(schema.classes)
    if unknown:
        raise ComparisonError(
            f"The held-out rows have labels {sorted(unknown, key=str)[:5]}, which are not among the model's "
            f"classes: {list(schema.classes)[:20]}."
        )
    return schema.target, schema.classes


def _predictions(
    contender: Contender,
    frame: pd.DataFrame,
    target: str,
    classes: tuple[Label, ...],
    version: ModelVersion,
) -> list[Label]:
    try:
        labels = list(contender.predict(frame.drop(columns=[target, HASH_COLUMN])))
    except (MlflowException, ProtoModelError, ValueError, TypeError, KeyError) as error:
        raise ComparisonError(
            f"Version {version.version} of {version.name!r} cannot score the held-out rows: {error}"
        ) from error
    if not set(labels) & set(classes):
        raise ComparisonError(
            f"Version {version.version} of {version.name!r} predicts {sorted(set(labels), key=str)[:5]}; "
            f"none of them is a class of the held-out rows: {list(classes)[:20]}."
        )
    return labels
