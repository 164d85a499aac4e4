"""A comparison from the aliases to the verdict, and a rollback: what `compare.py` does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from proto_model.errors import RegistryError
from proto_model.registry.patience import patient
from proto_model.registry.promotion.decision import Attempt, Criteria, attempt_of
from proto_model.registry.promotion.journal import UnfinishedMoveError, tag_model
from proto_model.registry.promotion.judgment import Judgment, judge
from proto_model.registry.promotion.moves import Turn, after_promotion, turn, version_to_restore
from proto_model.registry.promotion.records import ReportRun, rollback_marks, verdict_marks
from proto_model.registry.promotion.report import Evaluation, Report, Side
from proto_model.registry.versions import Aliases, check_unchanged, read_aliases, read_aliases_and_tags
from proto_model.statistics import Attempts

ATTEMPTS_TAG = "promotion_attempts"
"""Tag of a registered model: attempts to replace its champion since the last promotion."""


def compare_and_promote(
    name: str,
    criteria: Criteria,
    *,
    client: MlflowClient,
    now: datetime,
    dry_run: bool = False,
    run_id: str | None = None,
) -> Report:
    """Compare challenger and champion of a registered model; the challenger takes over if it is superior.

    A challenger that is not superior keeps its alias: it may be compared again with other criteria. A dry run
    changes nothing in MLflow: no alias, no tag, no run; it counts as no attempt. A ProtoModelError says that
    the two cannot be compared, or that the aliases changed in the meantime; no alias is moved then.

    The client is for the same servers as MLflow's current URIs, from which artifacts are loaded. The report
    goes to the run `run_id` if it is still running, else to a new one beside the challenger's.
    """
    client = patient(client)
    aliases, tags = read_aliases_and_tags(name, client=client)
    challenger, champion = _opponents(client, name, aliases)
    judgment = judge(challenger, champion, criteria)

    def report(tags: Mapping[str, str]) -> Report:
        return Report(
            model=name,
            decision=judgment.decide(name, criteria, _attempt(judgment, aliases, tags, criteria)),
            criteria=criteria,
            champion=None if champion is None else Side.of(champion),
            challenger=Side.of(challenger),
            evaluation=judgment.evaluation,
            aliases_before=aliases,
            aliases_after=None,
            created_at=now,
            dry_run=dry_run,
            run_id=None,
        )

    if dry_run:
        return report(tags)
    doing = f"compare version {challenger.version} with the champion"
    with turn(client, name, doing, aliases) as taken:
        check_unchanged(name, expected=aliases, client=taken.client)
        _, tags = read_aliases_and_tags(name, client=taken.client)
        return _carry_out(taken, report(tags), _attempts_tag(tags, judgment.evaluation, aliases), run_id)


def _attempt(
    judgment: Judgment, aliases: Aliases, tags: Mapping[str, str], criteria: Criteria
) -> Attempt | None:
    """Which attempt against the champion this is; None if there is no champion."""
    if aliases.champion is None or judgment.evaluation is None:
        return None
    identity = _identity(aliases, judgment.evaluation)
    return attempt_of(_attempts(aliases.champion, tags), identity, criteria)


def _identity(aliases: Aliases, evaluation: Evaluation) -> str:
    """The same for the same challenger on the same rows, which a repetition gives no second chance."""
    return f"version {aliases.challenger} on rows {evaluation.rows.digest}"


def _attempts(champion: str, tags: Mapping[str, str]) -> Attempts:
    try:
        stored = json.loads(tags.get(ATTEMPTS_TAG, "null"))
    except (ValueError, RecursionError):
        stored = None
    return Attempts.of(champion, stored)


def _attempts_tag(tags: Mapping[str, str], evaluation: Evaluation | None, aliases: Aliases) -> str | None:
    """Value of the tag after an attempt that did not promote; None without a champion."""
    if aliases.champion is None or evaluation is None:
        return None
    attempts = _attempts(aliases.champion, tags).record(_identity(aliases, evaluation))
    return json.dumps(attempts.to_dict())


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


def _carry_out(taken: Turn, report: Report, attempts: str | None, run_id: str | None) -> Report:
    """Log the report, move the aliases if it says so, and write the verdict on the versions."""
    champion, challenger = report.champion, report.challenger
    expected = report.aliases_before
    title = f"compare {report.model} {challenger.version} with {champion.version if champion else 'nothing'}"
    run = ReportRun.start(taken.client, run_id, challenger.run_id, title)
    taken.note_run(run.run_id)
    report = replace(report, run_id=run.run_id)
    if report.verdict == "promoted":
        report = replace(report, aliases_after=after_promotion(expected))
    try:
        run.log(report)  # before the move: no promotion without a report
        marks = verdict_marks(report)
        if report.verdict == "promoted":
            after = taken.promote(expected, [*marks, tag_model(report.model, ATTEMPTS_TAG, None)])
            if after != report.aliases_after:  # there is a newer challenger
                report = replace(report, aliases_after=after)
                run.amend(report)
        else:
            counted = [] if attempts is None else [tag_model(report.model, ATTEMPTS_TAG, attempts)]
            taken.keep(expected, [*counted, *marks])
    except UnfinishedMoveError:
        raise
    except BaseException as error:
        run.fail(f"This comparison failed: {error}")
        raise
    return report
