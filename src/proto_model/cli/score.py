"""Score a file of rows on all cores: predictions out, one for each row, in the same order.

Example: python -m proto_model score --input people.parquet --output predictions.csv --passthrough id

CSV, JSON Lines, Parquet and Arrow IPC, also compressed by gzip or zstd; the output's name says its format.
The output appears when it is complete. Prints a JSON summary.

With --run-on spark, Apache Spark scores instead, and the output is a folder: docs/engines.md says when to.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from proto_model.cli.exit_code import exit_code
from proto_model.cli.parameters import add_parameters, given_parameters
from proto_model.cli.parser import CommandParser
from proto_model.cli.paths import callers_folders, located
from proto_model.cli.spark_options import add_session, session_flags, spark_exit_code
from proto_model.cli.trust import add_trust, given_trust
from proto_model.errors import InputError
from proto_model.files import FORMAT_NAMES, named_format, score_file
from proto_model.files.transfer import FileSettings
from proto_model.model import Bundle, Predictor
from proto_model.parameters import FILE, parameters_of
from proto_model.registry.model_folder import downloaded, local_folder
from proto_model.registry.publishing import trusted

LOCAL, SPARK = "local", "spark"

_EXPLAINING = next(row.choices for row in parameters_of(FILE) if row.name == "engine")
_BUNDLE = Path("artifacts") / "bundle"


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("score", __doc__, epilog=f"Formats: {', '.join(FORMAT_NAMES)}.")
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
    parser.add_argument(
        "--run-on",
        default=LOCAL,
        metavar="WHERE",
        help="local: this machine's cores; spark: Apache Spark, by the flags below (default: %(default)s)",
    )
    add_parameters(parser, FILE)
    add_session(parser)
    add_trust(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Score the file; 0 when the output is complete, else there is none."""
    arguments = build_parser().parse_args(argv)

    def run() -> int:
        if _where(arguments) == SPARK:
            return spark_exit_code(lambda: print(json.dumps(_scored_by_spark(arguments))))
        with tempfile.TemporaryDirectory(prefix="proto_model-") as download:
            print(json.dumps(_scored(arguments, Path(download))))
        return 0

    return exit_code(run)


def _where(arguments: argparse.Namespace) -> str:
    """Where to score; raises InputError for flags that the other way has.

    `mlflow run -e score -P engine=...` fills `--run-on` in. Before there was Spark, that parameter was passed
    on as the engine of explanations, whose names it still takes.
    """
    where: str = arguments.run_on
    if where in _EXPLAINING:
        arguments.engine, where = where, LOCAL
    if where not in (LOCAL, SPARK):
        raise InputError(f"--run-on is {where!r}, {LOCAL} or {SPARK} expected.")
    if where == LOCAL and (flags := session_flags(arguments)):
        raise InputError(f"{flags[0]} is for Spark. Add --run-on {SPARK}.")
    if where == SPARK and arguments.workers:
        raise InputError(f"--workers is not for Spark. Use --master local[{arguments.workers}].")
    return where


def _scored_by_spark(arguments: argparse.Namespace) -> dict[str, Any]:
    """Summary of a file that Spark scored; what is there already is replaced, as it is without Spark."""
    from proto_model.cli.spark_score import spark_format, spark_scored
    from proto_model.spark.scoring.batch import TableTask
    from proto_model.spark.scoring.places import Place

    folders = callers_folders(os.environ, Path.cwd())
    input_format, _ = spark_format(arguments.input_format)
    output_format, codec = spark_format(arguments.output_format)
    source = Place.of(located(str(arguments.input), folders), input_format, {})
    options = {"compression": codec} if codec else {}
    target = Place.of(str(folders[0] / arguments.output), output_format, options, source.format)
    task = TableTask(
        source, target, tuple(arguments.passthrough), mode="overwrite", marking=arguments.on_bad_row == "mark"
    )
    return dataclasses.asdict(spark_scored(arguments, task))


def _scored(arguments: argparse.Namespace, download: Path) -> dict[str, Any]:
    """Summary of a file that was scored."""
    settings = FileSettings.from_environment(os.environ)
    if arguments.workers > 0:
        settings = dataclasses.replace(settings, n_workers=arguments.workers)
    folders = callers_folders(os.environ, Path.cwd())
    input_path, output_path = Path(located(str(arguments.input), folders)), folders[0] / arguments.output
    _check_output(output_path, arguments)  # before the model is downloaded, which takes time
    trust = given_trust(arguments)
    if trust:
        model = trusted(arguments.model, download, trust)
    else:
        model = local_folder(arguments.model) or downloaded(arguments.model, download)
    predictor = Predictor(Bundle.load(model / _BUNDLE), FILE)
    parameters = given_parameters(arguments, predictor.schema, FILE)
    predictor.decision.check_coverage(parameters.coverage)
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


def _check_output(path: Path, arguments: argparse.Namespace) -> None:
    """Raise InputError unless predictions can be written to a path."""
    if not arguments.output_format:
        named_format(path)
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"Cannot write {path}: {path.parent} is no folder, or may not be written to.")


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
