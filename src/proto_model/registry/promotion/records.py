"""What a comparison leaves in MLflow: a run with the report, and both verdicts."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_USER

from proto_model.registry.events import current_user, event_tag
from proto_model.registry.promotion.history import VERDICT_TAG
from proto_model.registry.promotion.journal import Write, describe, end_run, tag_version
from proto_model.registry.promotion.rendering import markdown
from proto_model.registry.promotion.report import Report, write_report, write_texts
from proto_model.registry.versions import found

_MAX_REASON = 400


@dataclass(frozen=True)
class ReportRun:
    """MLflow run that holds the report of one comparison."""

    client: MlflowClient
    run_id: str

    @classmethod
    def start(cls, client: MlflowClient, run_id: str | None, beside: str | None, name: str) -> ReportRun:
        """Run to log to: the one given if it is still running, as `mlflow run` makes one, else a new one.

        A new one belongs to the experiment of the run `beside`, or to the default one.
        """
        given = None if run_id is None else found(client.get_run, run_id)
        # The variable MLFLOW_RUN_ID may as well name a finished training run that somebody serves.
        if given is not None and given.info.status == "RUNNING":
            return cls(client, given.info.run_id)
        neighbor = None if beside is None else found(client.get_run, beside)
        experiment_id = "0" if neighbor is None else neighbor.info.experiment_id
        tags = {MLFLOW_USER: current_user()}
        return cls(client, client.create_run(experiment_id, run_name=name, tags=tags).info.run_id)

    def log(self, report: Report) -> None:
        """Write the report, its numbers as metrics."""
        content = report.to_dict()
        self._upload(report, write_report)
        # The UI shows the note on the run's page, where the picture's relative link would be broken.
        self.client.set_tag(self.run_id, "mlflow.note.content", re.sub(r"!\[.*\n+", "", markdown(content)))
        self.client.set_tag(self.run_id, VERDICT_TAG, report.verdict)
        interval, mcnemar = content["interval"] or {}, content["mcnemar"] or {}
        numbers = {
            "champion_balanced_accuracy": (content["champion"] or {}).get("balanced_accuracy"),
            "challenger_balanced_accuracy": content["challenger"]["balanced_accuracy"],
            "difference": content["difference"],
            "difference_low": interval.get("low"),
            "difference_high": interval.get("high"),
            "mcnemar_p_value": mcnemar.get("p_value"),
        }
        for name, value in numbers.items():
            if value is not None:
                self.client.log_metric(self.run_id, name, value)

    def amend(self, report: Report) -> None:
        """Replace the texts of the report, now that the aliases have moved."""
        self._upload(report, write_texts)

    def _upload(self, report: Report, write: Callable[[Report, Path], None]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write(report, Path(folder))
            self.client.log_artifacts(self.run_id, folder, "comparison")

    def fail(self, reason: str) -> None:
        """Close the run, and say on its page that its report came to nothing."""
        self.client.set_tag(self.run_id, VERDICT_TAG, "not_compared")
        self.client.set_tag(self.run_id, "mlflow.note.content", reason)
        self.client.set_terminated(self.run_id, "FAILED")


def verdict_marks(report: Report) -> list[Write]:
    """The verdict as tags and as a paragraph of the description on both versions, and the end of the run."""
    promoted = report.verdict == "promoted"
    champion, challenger = report.champion, report.challenger
    sentence = f"{_cut(report.reason)} Report: run `{report.run_id}`."
    comparison = report.comparison
    tags = {
        "comparison_run_id": report.run_id,
        "comparison_at": report.created_at.isoformat(timespec="seconds"),
        "comparison_difference": None if comparison is None else f"{comparison.difference:.6f}",
    }
    paragraph = f"**Comparison of {report.created_at:%Y-%m-%d}:**"
    over = "as the first champion" if champion is None else f"over version {champion.version}"
    against = "" if champion is None else f" against version {champion.version}"
    opponent = None if champion is None else champion.version
    own_tags = tags | {VERDICT_TAG: report.verdict, "comparison_opponent": opponent}
    if promoted:  # later comparisons replace `comparison_run_id`; this one stays
        own_tags["promotion_run_id"] = report.run_id
    outcome = f"promoted {over}" if promoted else f"not promoted{against}"
    kind = "promoted" if promoted else "compared"
    said = over if promoted else f"{outcome}: {report.verdict.replace('_', ' ')}"
    key, event = event_tag(kind, said, at=report.created_at, run_id=report.run_id)
    writes = _marks(
        report.model, challenger.version, own_tags | {key: event}, f"{paragraph} {outcome}. {sentence}"
    )
    if champion is not None:
        tags |= {
            VERDICT_TAG: "replaced" if promoted else "defended",
            "comparison_opponent": challenger.version,
        }
        outcome = f"{'replaced by' if promoted else 'stays champion against'} version {challenger.version}"
        writes += _marks(report.model, champion.version, tags, f"{paragraph} {outcome}. {sentence}")
    return writes if report.run_id is None else [*writes, end_run(report.run_id)]


def rollback_marks(model: str, taken_back: str | None, restored: str, now: str) -> list[Write]:
    """What became of both versions of a rollback, as tags and as a paragraph."""
    paragraph = f"**Rollback of {now[:10]}:**"
    whose = "" if taken_back is None else f" in place of version {taken_back}"
    outcomes = [(restored, "restored", f"champion again{whose}.")]
    if taken_back is not None:
        undone = f"its promotion was undone; version {restored} is champion again."
        outcomes.append((taken_back, "rolled_back", undone))
    writes = []
    for version, verdict, text in reversed(outcomes):
        tags: dict[str, str | None] = {VERDICT_TAG: verdict, "comparison_at": now}
        if version == restored:
            key, event = event_tag("rolled_back", text, at=datetime.fromisoformat(now))
            tags[key] = event
        writes += _marks(model, version, tags, f"{paragraph} {text}")
    return writes


def _marks(model: str, version: str, tags: dict[str, str | None], paragraph: str) -> list[Write]:
    writes = [tag_version(model, version, key, value) for key, value in tags.items()]
    return [*writes, describe(model, version, paragraph)]


def _cut(reason: str) -> str:
    """Reason that fits into a tag together with all else; the report has it in full."""
    return reason if len(reason) <= _MAX_REASON else f"{reason[:_MAX_REASON].rsplit(' ', 1)[0]} ..."
