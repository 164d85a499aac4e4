"""A comparison from the aliases to the verdict, and a rollback: what `compare.py` does."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from proto_model.errors import DataError, ProtoModelError, RegistryError
from proto_model.registry.patience import patient
from proto_model.registry.promotion.comparison import (
    Bootstrap,
    ComparisonError,
    Criteria,
    class_indices,
    compare,
    count_pairs,
    decide,
    schema_differences,
)
from proto_model.registry.promotion.journal import UnfinishedMoveError
from proto_model.registry.promotion.moves import after_promotion, turn, version_to_restore
from proto_model.registry.promotion.opponents import Contender, HeldOutRows, held_out_rows, load_contender
from proto_model.registry.promotion.records import ReportRun, rollback_marks, verdict_marks
from proto_model.registry.promotion.report import Evaluation, Report, Side
from proto_model.registry.versions import Aliases, check_unchanged, read_aliases
from proto_model.schema import Label
from proto_model.table.split import HASH_COLUMN

_TAKEN = {"rows": "rows", "file": "presigned URLs of files"}


def compare_and_promote(
    name: str,
    criteria: Criteria,
    *,
    client: MlflowClient,
    now: datetime,
    bootstrap: Bootstrap,
    dry_run: bool,
    run_id: str | None,
) -> Report:
    """Compare challenger and champion of a registered model; the challenger takes over if it is superior.

    A challenger that is not superior keeps its alias: it may be compared again with other criteria. A dry run
    changes nothing in MLflow: no alias, no tag, no run. A ProtoModelError says that the two cannot be
    compared, or that the aliases changed in the meantime; no alias is moved then.

    The client is for the same servers as MLflow's current URIs, from which artifacts are loaded. A confidence
    in `criteria` replaces the bootstrap's own. The report is logged to the run `run_id` if it is still
    running, else to a new one beside the challenger's.
    """
    client = patient(client)
    aliases = read_aliases(name, client=client)
    challenger, champion = _opponents(client, name, aliases)
    if criteria.confidence is not None:
        bootstrap = replace(bootstrap, confidence=criteria.confidence)
    verdict, reason, evaluation = _judge(challenger, champion, criteria, bootstrap)
    report = Report(
        model=name,
        verdict="promoted" if verdict else "kept",
        reason=reason,
        criteria=criteria,
        champion=None if champion is None else Side.of(champion),
        challenger=Side.of(challenger),
        evaluation=evaluation,
        aliases_before=aliases,
        aliases_after=None,
        created_at=now,
        dry_run=dry_run,
        run_id=None,
    )
    return report if dry_run else _carry_out(client, report, run_id)


@dataclass(frozen=True)
class Rollback:
    """A promotion that was undone: the version that was champion, and the one that is champion again."""

    model: str
    taken_back: str | None
    restored: str
    aliases_after: Aliases | None
    dry_run: bool

    @property
    def sentence(self) -> str:
        """What was done, or would be."""
        became = "would be" if self.dry_run else "is"
        loses = "would lose" if self.dry_run else "loses"
        lost = "" if self.taken_back is None else f" Version {self.taken_back} {loses} its alias."
        return f"Version {self.restored} of {self.model!r} {became} champion again.{lost}"

    def to_dict(self) -> dict[str, Any]:
        """JSON object of the rollback."""
        return {"verdict": "rolled_back", **asdict(self)}


def roll_back(name: str, *, client: MlflowClient, now: datetime, dry_run: bool = False) -> Rollback:
    """Undo the last promotion of a registered model; a dry run only says what would be done.

    The version that loses the champion's place gets no alias, and the tag `comparison_verdict: rolled_back`.
    A RegistryError says that there is nothing to undo, or that the aliases changed in the meantime.
    """
    client = patient(client)
    before = read_aliases(name, client=client)
    taken_back, restored = before.champion, version_to_restore(name, before)
    if dry_run:
        return Rollback(name, taken_back, restored, None, dry_run=True)
    with turn(client, name, "undo the last promotion") as taken:
        marks = rollback_marks(name, taken_back, restored, now.isoformat(timespec="seconds"))
        after = taken.roll_back(before, marks)
    return Rollback(name, taken_back, restored, after, dry_run=False)


def _opponents(client: MlflowClient, name: str, aliases: Aliases) -> tuple[ModelVersion, ModelVersion | None]:
    if aliases.challenger is None:
        raise RegistryError(
            f"{name!r} has no challenger. Train one, or point the alias challenger at the version to compare."
        )
    if aliases.challenger == aliases.champion:
        raise RegistryError(
            f"Version {aliases.champion} of {name!r} is both champion and challenger, so there is nothing to "
            "compare. Delete the alias challenger, or point it at another version."
        )
    challenger = client.get_model_version(name, aliases.challenger)
    champion = None if aliases.champion is None else client.get_model_version(name, aliases.champion)
    return challenger, champion


def _judge(
    challenger: ModelVersion, champion: ModelVersion | None, criteria: Criteria, bootstrap: Bootstrap
) -> tuple[bool, str, Evaluation | None]:
    """Whether the challenger is superior, why, and the evaluation; nothing is changed."""
    name = challenger.name
    with tempfile.TemporaryDirectory() as temporary:
        folders = {role: Path(temporary, role) for role in ("challenger", "champion", "rows")}
        for folder in folders.values():
            folder.mkdir()
        ours = load_contender(name, str(challenger.version), folders["challenger"])
        if champion is None:
            reason = (
                f"There was no champion of {name!r} yet, so the challenger is promoted without a comparison."
            )
            try:
                rows = held_out_rows(challenger, None, folders["rows"])
                return True, reason, _evaluate(rows, {"challenger": (challenger, ours)}, bootstrap)
            except (DataError, ComparisonError) as error:
                return True, f"{reason} It could not be evaluated. {error}", None
        theirs = load_contender(name, str(champion.version), folders["champion"])
        if theirs.schema and ours.schema and (found := schema_differences(theirs.schema, ours.schema)):
            raise ComparisonError(
                f"Version {challenger.version} cannot replace version {champion.version}, because their "
                f"schemas differ: {'; '.join(found)} (champion against challenger). Requests for the "
                "champion would fail. Register the new model under another name."
            )
        if ours.takes != theirs.takes and not criteria.allow_signature_change:
            raise ComparisonError(
                f"Version {challenger.version} takes {_TAKEN[ours.takes]} and cannot replace version "
                f"{champion.version}, which takes {_TAKEN[theirs.takes]}: requests for the champion "
                "would fail. Register the new model under another name, or give --allow-signature-change."
            )
        rows = held_out_rows(challenger, champion, folders["rows"])
        pair = {"champion": (champion, theirs), "challenger": (challenger, ours)}
        evaluation = _evaluate(rows, pair, bootstrap)
        comparison = evaluation.comparison
        assert comparison is not None
        decision = decide(comparison.difference, comparison.interval, criteria)
        return decision.superior, decision.reason, evaluation


def _evaluate(
    rows: HeldOutRows, contenders: Mapping[str, tuple[ModelVersion, Contender]], bootstrap: Bootstrap
) -> Evaluation:
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
        comparison = compare(y, y_pred["champion"], y_pred["challenger"], len(classes), bootstrap)
        counts = comparison.counts
    else:
        comparison = None
        counts = count_pairs(y, y_pred["challenger"], y_pred["challenger"], len(classes))
    columns = {"row_hash": frame[HASH_COLUMN].to_numpy(), "label": frame[target].to_numpy()}
    return Evaluation(
        rows=rows,
        rows_run_id=contenders["challenger"][0].tags.get("split_run_id"),
        classes=classes,
        counts=counts,
        challenger_score=counts.scores()[1],
        comparison=comparison,
        predictions=pd.DataFrame(columns | {role: pd.Series(given) for role, given in labels.items()}),
    )


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


def _carry_out(client: MlflowClient, report: Report, run_id: str | None) -> Report:
    """Log the report, move the aliases if it says so, and write the verdict on the versions, in one turn."""
    champion, challenger = report.champion, report.challenger
    expected = report.aliases_before
    with turn(client, report.model, f"compare version {challenger.version} with the champion") as taken:
        check_unchanged(report.model, expected=expected, client=taken.client)
        title = (
            f"compare {report.model} {challenger.version} with {champion.version if champion else 'nothing'}"
        )
        run = ReportRun.start(taken.client, run_id, challenger.run_id, title)
        taken.note_run(run.run_id)
        report = replace(report, run_id=run.run_id)
        if report.verdict == "promoted":
            report = replace(report, aliases_after=after_promotion(expected))
        try:
            run.log(report)  # before the move: no promotion without a report
            marks = verdict_marks(report)
            if report.verdict == "promoted":
                after = taken.promote(expected, marks)
                if after != report.aliases_after:  # there is a newer challenger
                    report = replace(report, aliases_after=after)
                    run.amend(report)
            else:
                taken.keep(expected, marks)
        except UnfinishedMoveError:
            raise
        except BaseException as error:
            run.fail(f"This comparison failed: {error}")
            raise
    return report
