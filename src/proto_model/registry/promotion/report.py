"""The report of a comparison: all that was decided and what is needed to recompute it."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from rich.markup import escape
from rich.table import Table

from proto_model import __version__
from proto_model.plotting import save
from proto_model.registry.cautions import comparison_cautions, version_cautions
from proto_model.registry.promotion.comparison import Comparison, PairedCounts
from proto_model.registry.promotion.decision import Criteria, Decision, Outcome
from proto_model.registry.promotion.held_out import HeldOutRows
from proto_model.registry.promotion.rendering import (
    comparison_figure,
    markdown,
    score_lines,
    verdict_sentence,
)
from proto_model.registry.versions import Aliases
from proto_model.schema import Label
from proto_model.table.caution import Caution

REPORT_VERSION = "2.0"

INTERVAL_METHOD = "paired and stratified by class: differences that agree with the rows"

_LIBRARIES = ("mlflow", "numpy", "pandas", "scikit-learn", "scipy")


@dataclass(frozen=True)
class Side:
    """Facts of one version in the comparison; None where its training did not leave them."""

    version: str
    run_id: str | None
    variant: str | None
    dataset: str | None
    signature: str | None
    schema_digest: str | None
    cautions: tuple[Caution, ...] = ()

    @classmethod
    def of(cls, version: ModelVersion) -> Side:
        """Facts of a version, from its tags."""
        facts = {
            name: version.tags.get(name) for name in ("variant", "dataset", "signature", "schema_digest")
        }
        return cls(str(version.version), version.run_id or None, **facts, cautions=version_cautions(version))


@dataclass(frozen=True)
class Evaluation:
    """What the held-out rows say.

    In `counts`, "first" is the champion; both are the challenger if it is alone, and `comparison` is None.
    `predictions` has the hash, the true label and both predictions of each row.
    """

    rows: HeldOutRows
    rows_run_id: str | None
    classes: tuple[Label, ...]
    counts: PairedCounts
    challenger_score: float
    comparison: Comparison | None
    predictions: pd.DataFrame


@dataclass(frozen=True)
class Report:
    """Outcome of one comparison.

    `decision` says whether the challenger became champion; of a dry run, whether it would. `evaluation` is
    None when a first champion could not be evaluated, `aliases_after` when nothing was moved, or not yet,
    `run_id` when the report is not logged.
    """

    model: str
    decision: Decision
    criteria: Criteria
    champion: Side | None
    challenger: Side
    evaluation: Evaluation | None
    aliases_before: Aliases
    aliases_after: Aliases | None
    created_at: datetime
    dry_run: bool
    run_id: str | None

    @property
    def verdict(self) -> Outcome:
        """The decision in a word; unless it is "promoted", the champion stays, if there is one."""
        return self.decision.outcome

    @property
    def reason(self) -> str:
        """The decision in sentences."""
        return self.decision.reason

    @property
    def comparison(self) -> Comparison | None:
        """The two versions side by side; None when there was nothing to compare with."""
        return None if self.evaluation is None else self.evaluation.comparison

    def to_dict(self) -> dict[str, Any]:
        """JSON object of the report."""
        evaluation, comparison = self.evaluation, self.comparison
        champion = None
        if self.champion is not None:
            champion = asdict(self.champion) | {
                "balanced_accuracy": comparison.champion_score if comparison else None
            }
        return {
            "report_version": REPORT_VERSION,
            "model": self.model,
            "verdict": self.verdict,
            "reason": self.reason,
            "dry_run": self.dry_run,
            "created_at": self.created_at.isoformat(timespec="seconds"),
            "run_id": self.run_id,
            "criteria": {"metric": "balanced_accuracy", **self.criteria.to_dict()},
            "champion": champion,
            "challenger": asdict(self.challenger)
            | {"balanced_accuracy": evaluation.challenger_score if evaluation else None},
            "rows": _rows(evaluation) if evaluation else None,
            **_comparison(comparison),
            **self.decision.to_dict(),
            "classes": _classes(evaluation, self.champion is not None) if evaluation else [],
            "aliases": {
                "before": asdict(self.aliases_before),
                "after": asdict(self.aliases_after) if self.aliases_after else None,
            },
            "libraries": {
                "python": platform.python_version(),
                "proto_model": __version__,
                **{name: library_version(name) for name in _LIBRARIES},
            },
        }


def write_report(report: Report, folder: Path) -> None:
    """Write `report.json`, `report.md` and, of an evaluation, `comparison.png` and `predictions.parquet`.

    The folder is made if it does not exist; files of an earlier report in it are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_texts(report, folder)
    if report.evaluation is not None:
        evaluation = report.evaluation
        figure = comparison_figure(evaluation.classes, evaluation.counts, evaluation.comparison)
        save(figure, folder / "comparison.png")
        evaluation.predictions.to_parquet(folder / "predictions.parquet", index=False)


def write_texts(report: Report, folder: Path) -> None:
    """Write `report.json` and `report.md` only, into an existing folder."""
    content = report.to_dict()
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text(markdown(content), encoding="utf-8")


def _rows(evaluation: Evaluation) -> dict[str, Any]:
    rows = evaluation.rows
    return {
        "source_run_id": evaluation.rows_run_id,
        "test_rows": rows.n_test_rows,
        "set_aside": rows.n_set_aside,
        "compared": len(rows.frame),
        "digest": rows.digest,
        "unseen_by_both": rows.is_unseen,
        "caveats": list(rows.caveats),
        "remarks": list(rows.remarks),
        "notes": list(rows.notes),
        "split_by": dict(rows.split_by),
        "near_duplicates": [asdict(counted) for counted in rows.near_duplicates],
    }


def _comparison(comparison: Comparison | None) -> dict[str, Any]:
    if comparison is None:
        return {"difference": None, "interval": None, "mcnemar": None}
    low, high = comparison.interval
    return {
        "difference": comparison.difference,
        "interval": {
            "low": low,
            "high": high,
            "confidence": comparison.evidence.confidence,
            "method": INTERVAL_METHOD,
            "n_draws": len(comparison.evidence.draws),
        },
        "mcnemar": {
            "p_value": comparison.mcnemar_p_value,
            "champion_only": int(comparison.counts.first_only.sum()),
            "challenger_only": int(comparison.counts.second_only.sum()),
            "method": "exact, two-sided",
        },
    }


def _classes(evaluation: Evaluation, with_champion: bool) -> list[dict[str, Any]]:
    counts = evaluation.counts
    champion_recalls, challenger_recalls = counts.recalls()
    items = []
    for index, label in enumerate(evaluation.classes):
        n_rows = int(counts.n_rows[index])
        item: dict[str, Any] = {"label": label, "rows": n_rows}
        if with_champion:
            right = {
                "both_right": int(counts.both[index]),
                "champion_only_right": int(counts.first_only[index]),
                "challenger_only_right": int(counts.second_only[index]),
            }
            item |= right | {"both_wrong": n_rows - sum(right.values())}
            item["champion_recall"] = float(champion_recalls[index]) if n_rows else None
        item["challenger_recall"] = float(challenger_recalls[index]) if n_rows else None
        items.append(item)
    return items


def report_table(report: Report) -> Table:
    """Both scores, their difference and how sure it is, for a terminal; as much of it as there is."""
    table = Table(title=escape(f"{report.model}: balanced accuracy"), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    if report.evaluation is not None:
        rows = report.evaluation.rows
        for line in score_lines(report.to_dict()):
            table.add_row(*line, style="bold" if line[0] == "difference" else None)
        table.add_row("held-out rows", f"{len(rows.frame)} ({rows.n_set_aside} excluded)")
        for result in report.decision.gates:
            interval = "" if result.verdict is None else result.verdict.interval.shown()
            table.add_row(escape(result.gate.text), f"{result.outcome}, {interval}".strip(", "))
    return table


def report_sentences(report: Report) -> list[str]:
    """Verdict, caveats and where the report is, each in a sentence or two."""
    sentences = [f"{verdict_sentence(report.to_dict())} {report.reason}"]
    if report.evaluation is not None:
        sentences += (*report.evaluation.rows.caveats, *report.evaluation.rows.notes)
    sentences += comparison_cautions(report.to_dict())
    if report.run_id is not None:
        sentences.append(f"The report is in run {report.run_id}.")
    if report.dry_run:
        sentences.append("Dry run: nothing was changed.")
    return sentences
