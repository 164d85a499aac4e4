"""Score a file of rows on all cores: predictions out, one for each row, in the same order.

Example: python -m proto_model score --input people.parquet --output predictions.csv --passthrough id

CSV, JSON Lines, Parquet and Arrow IPC, also compressed by gzip or zstd; the output's name says its format.
The output appears when it is complete. Prints a JSON summary.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from proto_model.cli.parameters import add_parameters, given_parameters
from proto_model.cli.paths import callers_folders, located
from proto_model.cli.trust import add_trust, given_trust
from proto_model.errors import ProtoModelError
from proto_model.files import FORMAT_NAMES, score_file
from proto_model.files.transfer import FileSettings
from proto_model.model import Bundle, Predictor
from proto_model.parameters import FILE
from proto_model.registry.model_folder import downloaded, local_folder
from proto_model.registry.publishing import trusted

_BUNDLE = Path("artifacts") / "bundle"


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m proto_model score",
        description=__doc__,
        epilog=f"Formats: {', '.join(FORMAT_NAMES)}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--input", type=Path, required=True, help="file of rows")
    parser.add_argument("--output", type=Path, required=True, help="file of predictions")
    parser.add_argument(
        "--model",
        default="models:/proto_model@champion",
        help="model URI, or the folder of a downloaded model (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="threads, and processes for many explanations (default: one per core)",
    )
    add_parameters(parser, FILE)
    add_trust(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Score the file; 0 when the output is complete, 2 when there is none."""
    arguments = build_parser().parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="proto_model-") as download:
            print(json.dumps(_scored(arguments, Path(download))))
    except ProtoModelError as error:
        print(f"score: {error}", file=sys.stderr)
        return 2
    return 0


def _scored(arguments: argparse.Namespace, download: Path) -> dict[str, Any]:
    """Summary of a file that was scored."""
    settings = FileSettings.from_environment(os.environ)
    if arguments.workers > 0:
        settings = dataclasses.replace(settings, n_workers=arguments.workers)
    trust = given_trust(arguments)
    if trust:
        model = trusted(arguments.model, download, trust)
    else:
        model = local_folder(arguments.model) or downloaded(arguments.model, download)
    predictor = Predictor(Bundle.load(model / _BUNDLE), FILE)
    parameters = given_parameters(arguments, predictor.schema, FILE)
    predictor.decision.check_coverage(parameters.coverage)
    folders = callers_folders(os.environ, Path.cwd())
    input_path = Path(located(str(arguments.input), folders))
    output_path = folders[0] / arguments.output
    explaining = predictor.explaining(parameters, settings.workers)
    with _progress_bar(Console(stderr=True, emoji=False)) as progress, explaining as explain:
        scored = score_file(
            input_path, output_path, predictor, parameters, settings, explain=explain, progress=progress
        )
    return {
        "output": str(output_path),
        "rows": scored.n_rows,
        "rejected_rows": scored.n_rejected,
        "input_format": str(scored.input_format),
        "output_format": str(scored.output_format),
        "notes": list(scored.notes),
    }


@contextlib.contextmanager
def _progress_bar(console: Console) -> Iterator[Callable[[int, float], None] | None]:
    """Shows rows and the share of the file that is done; nothing where no one looks on."""
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.fields[rows]:,} rows"),
        BarColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("", total=1.0, rows=0)
        yield lambda n_rows, share: bars.update(task, completed=share, rows=n_rows)
