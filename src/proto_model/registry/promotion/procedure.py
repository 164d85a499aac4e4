"""A comparison from the aliases to the verdict, and a rollback: all that changes the registry is here."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from proto_model.errors import DataError, ProtoModelError, RegistryError
from proto_model.registry.promotion.comparison import ComparisonError, class_indices, compare, score
from proto_model.registry.promotion.compatibility import differences
from proto_model.registry.promotion.contender import Contender, load_contender
from proto_model.registry.promotion.decision import Criteria, decide
from proto_model.registry.promotion.explainer import let_explainer_follow
from proto_model.registry.promotion.held_out import HASH_COLUMN, HeldOutRows, held_out_rows
from proto_model.registry.promotion.records import ReportRun, mark_rollback, mark_versions
from proto_model.registry.promotion.report import Evaluation, Report, Side
from proto_model.registry.promotion.statistics import count_pairs
from proto_model.registry.versions import Aliases, check_unchanged, promote, read_aliases, rollback
from proto_model.schema import Label

__all__ = ["Rollback", "compare_and_promote", "roll_back"]

logger = logging.getLogger(__name__)

_DEFAULT_CONFIDENCE = 0.95


def compare_and_promote(
    name: str,
    criteria: Criteria,
    *,
    client: MlflowClient,
    now: datetime,
    n_resamples: int = 10_000,
    random_state: int = 0,
    dry_run: bool = False,
    run_id: str | None = None,
) -> Report:
    """Compare challenger and champion of a registered model; the challenger takes over if it is superior.

    A challenger that is not superior keeps its alias: it may be compared again with other criteria.

    Parameters
    ----------
    name : str
        Registered model name.
    criteria : Criteria
        What superior means.
    client : MlflowClient
        For the same servers as MLflow's current tracking and registry URIs, from which artifacts are loaded.
    now : datetime
        With a time zone.
    n_resamples, random_state : int
        Of the bootstrap.
    dry_run : bool
        Change nothing in MLflow: no alias, no tag, no run.
    run_id : str, optional
        Run that the report is logged to if it is still running; by default a new one beside the challenger's.

    Returns
    -------
    Report

    Raises
    ------
    ProtoModelError
        If the two cannot be compared, or the aliases changed in the meantime. No alias is moved then.
    """
    aliases = read_aliases(name, client=client)
    challenger, champion = _opponents(client, name, aliases)
    verdict, reason, evaluation = _judge(name, challenger, champion, criteria, n_resamples, random_state)
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
    """A promotion that was taken back: the version that was champion, and the one that is champion again."""

    model: str
    taken_back: str | None
    restored: str
    aliases_after: Aliases | None
    dry_run: bool

    @property
    def sentence(self) -> str:
        """What was done, or would be."""
        became = "would be" if self.dry_run else "is"
        lost = "" if self.taken_back is None else f" Version {self.taken_back} keeps no alias."
        return f"Version {self.restored} of {self.model!r} {became} champion again.{lost}"

    def to_dict(self) -> dict[str, Any]:
        """JSON object of the rollback."""
        return {"verdict": "rolled_back", **asdict(self)}


def roll_back(name: str, *, client: MlflowClient, now: datetime, dry_run: bool = False) -> Rollback:
    """Take the last promotion of a registered model back.

    The version that loses the champion's place gets no alias, and the tag `comparison_verdict: rolled_back`.

    Parameters
    ----------
    name : str
        Registered model name.
    client : MlflowClient
        Of the registry.
    now : datetime
        With a time zone.
    dry_run : bool
        Only say what would be done.

    Returns
    -------
    Rollback

    Raises
    ------
    RegistryError
        If there is nothing to take back, or the aliases changed in the meantime.
    """
    before = read_aliases(name, client=client)
    taken_back, restored = before.champion, before.previous_champion
    if restored is None or restored == taken_back:
        raise RegistryError(
            f"There is no promotion of {name!r} to take back: the alias previous_champion is "
            f"{'not set' if restored is None else 'on the champion itself'}."
        )
    if dry_run:
        return Rollback(name, taken_back, restored, None, dry_run=True)
    after = rollback(name, expected=before, client=client)
    try:
        mark_rollback(client, name, taken_back, restored, now.isoformat(timespec="seconds"))
        let_explainer_follow(client, name, restored)
    except MlflowException as error:
        logger.warning("The promotion is taken back, but not all of it could be written down: %s", error)
    return Rollback(name, taken_back, restored, after, dry_run=False)


def _opponents(client: MlflowClient, name: str, aliases: Aliases) -> tuple[ModelVersion, ModelVersion | None]:
    if aliases.challenger is None:
        raise RegistryError(
            f"{name!r} has no challenger. Train one, or give the alias challenger to the version to judge."
        )
    if aliases.challenger == aliases.champion:
        raise RegistryError(
            f"Version {aliases.champion} of {name!r} is champion and challenger at once; there is nothing to "
            "compare. Delete the alias challenger, or give it to another version."
        )
    challenger = client.get_model_version(name, aliases.challenger)
    champion = None if aliases.champion is None else client.get_model_version(name, aliases.champion)
    return challenger, champion


def _judge(
    name: str,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    criteria: Criteria,
    n_resamples: int,
    random_state: int,
) -> tuple[bool, str, Evaluation | None]:
    """Whether the challenger is superior, why, and the evaluation; nothing is changed."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = {role: Path(temporary, role) for role in ("challenger", "champion", "rows")}
        for folder in folders.values():
            folder.mkdir()
        ours = load_contender(name, str(challenger.version), folders["challenger"])
        if champion is None:
            reason = f"{name!r} had no champion, so there was nothing to compare with."
            try:
                rows = held_out_rows(challenger, None, folders["rows"])
                return True, reason, _evaluate_alone(ours, rows, challenger)
            except (DataError, ComparisonError) as error:
                return True, f"{reason} It could not be evaluated: {error}", None
        theirs = load_contender(name, str(champion.version), folders["champion"])
        if theirs.schema and ours.schema and (found := differences(theirs.schema, ours.schema)):
            raise ComparisonError(
                f"Version {challenger.version} cannot take the place of version {champion.version}, because "
                f"their schemas differ: {'; '.join(found)} (champion against challenger). Callers of the "
                "champion would break; register the new model under a name of its own."
            )
        rows = held_out_rows(challenger, champion, folders["rows"])
        evaluation = _evaluate(ours, theirs, rows, challenger, champion, criteria, n_resamples, random_state)
        comparison = evaluation.comparison
        assert comparison is not None
        decision = decide(comparison.difference, comparison.interval, criteria)
        return decision.superior, decision.reason, evaluation


def _evaluate_alone(contender: Contender, rows: HeldOutRows, version: ModelVersion) -> Evaluation:
    target, classes = _target_and_classes([contender], rows.frame)
    y = class_indices(rows.frame[target].tolist(), classes)
    labels = _predictions(contender, rows.frame, target, classes, version)
    y_pred = class_indices(labels, classes)
    return Evaluation(
        rows=rows,
        rows_run_id=version.tags.get("split_run_id"),
        classes=classes,
        counts=count_pairs(y, y_pred, y_pred, len(classes)),
        challenger_score=score(y, y_pred),
        comparison=None,
        predictions=_prediction_table(rows.frame, target, challenger=labels),
    )


def _evaluate(
    challenger: Contender,
    champion: Contender,
    rows: HeldOutRows,
    challenger_version: ModelVersion,
    champion_version: ModelVersion,
    criteria: Criteria,
    n_resamples: int,
    random_state: int,
) -> Evaluation:
    target, classes = _target_and_classes([challenger, champion], rows.frame)
    y = class_indices(rows.frame[target].tolist(), classes)
    by_challenger = _predictions(challenger, rows.frame, target, classes, challenger_version)
    by_champion = _predictions(champion, rows.frame, target, classes, champion_version)
    comparison = compare(
        y,
        class_indices(by_champion, classes),
        class_indices(by_challenger, classes),
        len(classes),
        confidence=criteria.confidence or _DEFAULT_CONFIDENCE,
        n_resamples=n_resamples,
        random_state=random_state,
    )
    return Evaluation(
        rows=rows,
        rows_run_id=challenger_version.tags.get("split_run_id"),
        classes=classes,
        counts=comparison.counts,
        challenger_score=comparison.challenger_score,
        comparison=comparison,
        predictions=_prediction_table(rows.frame, target, champion=by_champion, challenger=by_challenger),
    )


def _target_and_classes(
    contenders: Sequence[Contender], frame: pd.DataFrame
) -> tuple[str, tuple[Label, ...]]:
    """Target column and classes, from the first contender that knows its schema."""
    schema = next((contender.schema for contender in contenders if contender.schema is not None), None)
    if schema is None:
        raise ComparisonError(
            "No version carries a schema.json, so it is not known which column is predicted."
        )
    if schema.target not in frame.columns:
        raise ComparisonError(
            f"The held-out rows have no column {schema.target!r}, which is to be predicted."
        )
    unknown = set(frame[schema.target].tolist()) - set(schema.classes)
    if unknown:
        raise ComparisonError(
            f"The held-out rows have labels {sorted(unknown, key=str)[:5]} that are no classes of the model: "
            f"{list(schema.classes)[:20]}."
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
            f"Version {version.version} of {version.name!r} predicts {sorted(set(labels), key=str)[:5]}, of "
            f"which none is a class of the held-out rows: {list(classes)[:20]}."
        )
    return labels


def _prediction_table(frame: pd.DataFrame, target: str, **predictions: Sequence[Label]) -> pd.DataFrame:
    columns = {"row_hash": frame[HASH_COLUMN].to_numpy(), "label": frame[target].to_numpy()}
    return pd.DataFrame(columns | {role: pd.Series(labels) for role, labels in predictions.items()})


def _carry_out(client: MlflowClient, report: Report, run_id: str | None) -> Report:
    """Log the report, move the aliases if it says so, and write the verdict on the versions."""
    champion, challenger = report.champion, report.challenger
    title = f"compare {report.model} {challenger.version} with {champion.version if champion else 'nothing'}"
    run = ReportRun.start(client, run_id, challenger.run_id, title)
    report = replace(report, run_id=run.run_id)
    try:
        run.log(report)  # before the move: no promotion without a report
        if report.verdict == "promoted":
            after = promote(report.model, expected=report.aliases_before, client=client)
            report = replace(report, aliases_after=after)
        else:
            check_unchanged(report.model, expected=report.aliases_before, client=client)
    except BaseException as error:
        run.fail(f"This comparison did not come to its end: {error}")
        raise
    try:
        if report.verdict == "promoted":
            run.amend(report)
            let_explainer_follow(client, report.model, challenger.version)
        mark_versions(client, report)
        run.finish()
    except MlflowException as error:
        logger.warning(
            "The verdict stands (%s), but not all of it could be written down: %s", report.verdict, error
        )
    return report
