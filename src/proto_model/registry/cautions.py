"""Cautions where users meet them: in the terminal, as tags and descriptions, and in a file of each run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from proto_model.table.caution import Caution, caution_lines

CAUTIONS_FILE = "cautions.json"
TAG = "cautions"


def show_cautions(cautions: Sequence[Caution], console: Console, heading: str = "Cautions") -> None:
    """Print cautions, if there are any."""
    if not cautions:
        return
    console.print(Text(f"{heading} ({len(cautions)})", style="bold yellow"))
    for line in caution_lines(cautions):
        kind, _, rest = line.partition(": ")
        text = Text.assemble((f"{kind}: ", "bold"), rest)
        if console.is_terminal:
            console.print(Padding(text, (0, 0, 0, 2)))
        else:  # one line each: what reads a log looks for lines
            console.print(Text.assemble("  ", text), soft_wrap=True)


def caution_tags(cautions: Sequence[Caution]) -> dict[str, str]:
    """Tag of a run or a version that names the kinds of its cautions; none without cautions."""
    kinds = dict.fromkeys(caution.kind for caution in cautions)
    return {TAG: ",".join(kinds)} if kinds else {}


def log_cautions(cautions: Sequence[Caution]) -> None:
    """Tag and `cautions.json` of the active run."""
    mlflow.set_tags(caution_tags(cautions))
    mlflow.log_text(json.dumps([asdict(caution) for caution in cautions], indent=2) + "\n", CAUTIONS_FILE)


def version_cautions(version: ModelVersion) -> tuple[Caution, ...]:
    """Cautions of a version's run; without their texts where the file is gone, none of older versions."""
    kinds = [kind for kind in version.tags.get(TAG, "").split(",") if kind]
    if not kinds:
        return ()
    try:
        with tempfile.TemporaryDirectory(prefix="proto_model_") as folder:
            path = mlflow.artifacts.download_artifacts(
                run_id=version.run_id, artifact_path=CAUTIONS_FILE, dst_path=folder
            )
            items = json.loads(Path(path).read_text(encoding="utf-8"))
        return tuple(Caution(item["kind"], tuple(item["columns"]), item["text"]) for item in items)
    except (MlflowException, OSError, ValueError, KeyError, TypeError, RecursionError):
        return tuple(Caution(kind, (), "the run's `cautions.json` cannot be read") for kind in kinds)


def comparison_cautions(report: Mapping[str, Any]) -> list[str]:
    """A line for each caution of the two versions, from the JSON object of a comparison's report.

    What both share is said once.
    """
    owners: dict[Caution, list[str]] = {}
    for role in ("champion", "challenger"):
        for item in (report[role] or {}).get("cautions", ()):
            caution = Caution(item["kind"], tuple(item["columns"]), item["text"])
            owners.setdefault(caution, []).append(f"version {report[role]['version']}")
    return [
        f"{' and '.join(versions).capitalize()}: {line}"
        for versions, line in zip(owners.values(), caution_lines(list(owners)), strict=True)
    ]


def comparison_section(report: Mapping[str, Any]) -> list[str]:
    """Paragraphs of Markdown for the report of a comparison; none when there is nothing to warn of."""
    lines = comparison_cautions(report)
    listed = "\n".join(f"- {line}" for line in lines).replace("<", "&lt;")
    return ["## Cautions", listed] if lines else []
