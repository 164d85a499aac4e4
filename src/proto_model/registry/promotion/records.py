"""What a comparison leaves in MLflow: a run with the report, both verdicts, the explainer's alias."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient

from proto_model.registry.promotion.rendering import markdown
from proto_model.registry.promotion.report import Report, write_report, write_texts
from proto_model.registry.versions import (
    CHALLENGER,
    CHAMPION,
    explainer_name,
    found,
    set_alias,
    version_of_alias,
)

VERDICT_TAG = "comparison_verdict"

_PARAGRAPH = re.compile(r"\n*^\*\*(?:Comparison|Rollback) of .*$", re.MULTILINE)


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
        return cls(client, client.create_run(experiment_id, run_name=name).info.run_id)

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


def mark_versions(client: MlflowClient, report: Report) -> None:
    """Write the verdict as tags and as a paragraph of the description on both versions."""
    promoted = report.verdict == "promoted"
    champion, challenger = report.champion, report.challenger
    sentence = f"{report.reason} Report: run `{report.run_id}`."
    comparison = report.comparison
    tags = {
        "comparison_run_id": report.run_id,
        "comparison_at": report.created_at.isoformat(timespec="seconds"),
        "comparison_difference": None if comparison is None else f"{comparison.difference:.6f}",
    }
    paragraph = f"**Comparison of {report.created_at:%Y-%m-%d}:**"
    over = "as the first champion" if champion is None else f"over version {champion.version}"
    against = "" if champion is None else f"against version {champion.version}"
    opponent = None if champion is None else champion.version
    own_tags = tags | {VERDICT_TAG: report.verdict, "comparison_opponent": opponent}
    if promoted:  # later comparisons replace `comparison_run_id`; this one stays
        own_tags["promotion_run_id"] = report.run_id
    outcome = f"promoted {over}" if promoted else f"not promoted {against}"
    _mark(client, report.model, challenger.version, own_tags, f"{paragraph} {outcome}. {sentence}")
    if champion is not None:
        tags |= {
            VERDICT_TAG: "replaced" if promoted else "defended",
            "comparison_opponent": challenger.version,
        }
        outcome = f"{'replaced by' if promoted else 'stays champion against'} version {challenger.version}"
        _mark(client, report.model, champion.version, tags, f"{paragraph} {outcome}. {sentence}")


def mark_rollback(client: MlflowClient, model: str, taken_back: str | None, restored: str, now: str) -> None:
    """Write on both versions of a rollback what became of them."""
    paragraph = f"**Rollback of {now[:10]}:**"
    whose = "" if taken_back is None else f" in place of version {taken_back}"
    outcomes = [(restored, "restored", f"champion again{whose}.")]
    if taken_back is not None:
        undone = f"its promotion was undone; version {restored} is champion again."
        outcomes.append((taken_back, "rolled_back", undone))
    for version, verdict, text in reversed(outcomes):
        tags: dict[str, str | None] = {VERDICT_TAG: verdict, "comparison_at": now}
        _mark(client, model, version, tags, f"{paragraph} {text}")


def _mark(
    client: MlflowClient, model: str, version: str, tags: dict[str, str | None], paragraph: str
) -> None:
    present = client.get_model_version(model, version)
    for key, value in tags.items():
        if value is not None:
            client.set_model_version_tag(model, version, key, value)
        elif key in present.tags:
            client.delete_model_version_tag(model, version, key)
    kept = _PARAGRAPH.sub("", present.description or "").strip()
    client.update_model_version(model, version, f"{kept}\n\n{paragraph}".strip())


def let_explainer_follow(client: MlflowClient, name: str, version: str) -> None:
    """Give the explainer's alias `champion` to the version that explains the new champion of `name`.

    Nothing changes if no explainer has the tag `explained_version` for it.
    """
    explainer = explainer_name(name)
    those = client.search_model_versions(f"name = '{explainer}' and tag.explained_version = '{version}'")
    if not those:
        return
    newest = str(max(int(item.version) for item in those))
    set_alias(explainer, CHAMPION, newest, client=client)
    challenger = version_of_alias(explainer, CHALLENGER, client=client)
    if challenger is not None and str(challenger.version) == newest:
        client.delete_registered_model_alias(explainer, CHALLENGER)
