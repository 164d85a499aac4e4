"""Compare a registered model's challenger with its champion; promote it if better.

Both are compared by balanced accuracy on the same held-out rows, which neither
saw in training. The challenger needs evidence: an equal one is promoted in at
most 5 % of cases, one that is 2 points worse in at most 1 %. Gates add
further conditions. The report is logged to MLflow; the verdict is printed to
standard output as JSON. Exit status: 0 challenger promoted, 1 champion kept or
not enough rows to tell, 2 could not compare. With --dry-run, the status says
what would be done; with --rollback, 0 says that the last promotion was undone.

Example: python -m proto_model compare --gate "recall[malignant] >= 0.95"
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto_model.cli.exit_code import exit_code, reason
from proto_model.cli.parser import CommandParser

if TYPE_CHECKING:
    from rich.console import Console

    from proto_model.registry.promotion import Criteria

PROMOTED, KEPT, NOT_COMPARED = 0, 1, 2

_ONLY_FOR_COMPARING = (
    *("allow_signature_change", "confidence", "fairness", "gate", "margin", "min_improvement", "no_worse"),
    *("report", "rule", "sequential", "unsure"),
)


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("compare", __doc__)
    parser.add_argument("--model", default="proto_model", help="registered model name (default: %(default)s)")
    parser.add_argument("--tracking-uri", help="MLflow server or store (default: MLFLOW_TRACKING_URI)")
    _add_criteria(parser)
    parser.add_argument(
        "--allow-signature-change",
        action="store_true",
        help="let a model for files replace one for rows, or the other way round",
    )
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write a copy of the report to this folder"
    )
    parser.add_argument("--rollback", action="store_true", help="undo the last promotion instead")
    parser.add_argument(
        "--dry-run", action="store_true", help="change nothing in MLflow; --report is still written"
    )
    return parser


def _add_criteria(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rule",
        choices=("evidence", "point"),
        default="evidence",
        help="point: a higher balanced accuracy is enough, even if it may be chance (default: %(default)s)",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=0.02,
        help="a model worse by this much is promoted in at most 1 %% of cases (default: %(default)s)",
    )
    parser.add_argument(
        "--confidence",
        type=float,
        help="require that this confidence interval is above zero, e.g. 0.95 (default of the rule evidence: "
        "0.9, which an equal model reaches in 5 %% of cases)",
    )
    parser.add_argument(
        "--min-improvement", type=float, default=0.0, help="require at least this difference, e.g. 0.005"
    )
    parser.add_argument(
        "--sequential",
        choices=("on", "off"),
        default="on",
        help="on: all attempts since the last promotion share one error rate, so later ones need more "
        "evidence (default: %(default)s)",
    )
    gates = {
        "--gate": (
            "METRIC >= NUMBER",
            "a limit that the challenger must meet, such as recall[CLASS] >= .95",
        ),
        "--fairness": (
            "MEASURE[COLUMN] >= NUMBER",
            "a limit for groups, such as selection_ratio[sex] >= .8 or tpr_gap[sex] <= .1",
        ),
        "--no-worse": (
            "METRIC=MARGIN",
            "what may be worse than the champion's by no more than a margin, such as roc_auc=.005",
        ),
    }
    for flag, (form, text) in gates.items():
        more = "; may be repeated, or hold several with semicolons"
        parser.add_argument(flag, action="append", default=[], metavar=f'"{form}"', help=text + more)
    parser.add_argument(
        "--unsure",
        choices=("block", "allow"),
        default="block",
        help="allow: promote although there are not enough rows to tell whether a gate is passed "
        "(default: %(default)s)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the result is the exit status."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    unused = [
        f"--{name.replace('_', '-')}"
        for name in _ONLY_FOR_COMPARING
        if getattr(arguments, name) != parser.get_default(name)
    ]
    if arguments.rollback and unused:
        parser.error(f"--rollback compares nothing; leave out {', '.join(unused)}")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

    import mlflow
    from rich.console import Console

    from proto_model.registry.tracking import check_store, warnings_shown_once

    console = Console(stderr=True, emoji=False)
    if arguments.tracking_uri:
        mlflow.set_tracking_uri(arguments.tracking_uri)
    found: dict[str, Any] = {}

    def end(status: int, verdict: dict[str, Any]) -> int:
        print(json.dumps(verdict | found, ensure_ascii=False))
        return status

    def compare() -> int:
        # A tracking server's client prints links to its runs; standard output is for the verdict alone.
        with contextlib.redirect_stdout(sys.stderr), warnings_shown_once(console):
            check_store(mlflow.get_tracking_uri())
            status, verdict = _run(arguments, console, found)
        return end(status, verdict)

    def failed(error: Exception) -> int:
        return end(NOT_COMPARED, {"verdict": "failed", "model": arguments.model, "error": reason(error)})

    return exit_code(compare, failed)


def _run(
    arguments: argparse.Namespace, console: Console, found: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Put right what a killed command left, which goes into `found`; then do what was asked for."""
    from mlflow import MlflowClient

    from proto_model.registry.promotion import settle

    recovery = settle(arguments.model, client=MlflowClient(), dry_run=arguments.dry_run)
    if recovery is not None:
        found["recovery"] = recovery.to_dict()
        console.print(recovery.sentence, markup=False, highlight=False, soft_wrap=True)
        if recovery.completes("rollback" if arguments.rollback else "promotion"):
            verdict = "rolled_back" if arguments.rollback else "promoted"
            return PROMOTED, {"verdict": verdict, "model": arguments.model, "dry_run": arguments.dry_run}
    return (_roll_back if arguments.rollback else _compare)(arguments, console)


def _compare(arguments: argparse.Namespace, console: Console) -> tuple[int, dict[str, Any]]:
    from mlflow import MlflowClient

    from proto_model.errors import InputError
    from proto_model.registry.promotion import (
        compare_and_promote,
        report_sentences,
        report_table,
        write_report,
    )

    criteria = _criteria(arguments)
    if arguments.report:  # before anything is moved
        try:
            arguments.report.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"Cannot create the folder --report {arguments.report}: {error.strerror}. Choose another one."
            ) from error
    with console.status(f"Comparing the versions of {arguments.model!r} ..."):
        report = compare_and_promote(
            arguments.model,
            criteria,
            client=MlflowClient(),
            now=datetime.now(UTC),
            dry_run=arguments.dry_run,
            run_id=os.environ.get("MLFLOW_RUN_ID"),
        )
    if arguments.report:
        try:
            write_report(report, arguments.report)
        except OSError as error:  # the verdict stands, and MLflow has the report
            logging.warning("Cannot write the copy of the report: %s", error)
    console.print(report_table(report))
    for sentence in report_sentences(report):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    return PROMOTED if report.verdict == "promoted" else KEPT, report.to_dict()


def _criteria(arguments: argparse.Namespace) -> Criteria:
    from proto_model.registry.promotion import Criteria, parse_gates

    return Criteria(
        min_improvement=arguments.min_improvement,
        confidence=arguments.confidence,
        allow_signature_change=arguments.allow_signature_change,
        rule=arguments.rule,
        margin=arguments.margin,
        sequential=arguments.sequential == "on",
        gates=(
            *parse_gates(arguments.gate, "metric"),
            *parse_gates(arguments.fairness, "group"),
            *parse_gates(arguments.no_worse, "no_worse"),
        ),
        allow_unsure=arguments.unsure == "allow",
    )


def _roll_back(arguments: argparse.Namespace, console: Console) -> tuple[int, dict[str, Any]]:
    from mlflow import MlflowClient

    from proto_model.registry.promotion import roll_back

    done = roll_back(arguments.model, client=MlflowClient(), now=datetime.now(UTC), dry_run=arguments.dry_run)
    console.print(done.sentence, markup=False, highlight=False, soft_wrap=True)
    return PROMOTED, done.to_dict()
