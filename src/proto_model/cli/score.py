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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from proto_model.errors import ProtoModelError
from proto_model.files import FORMAT_NAMES, Explain, FileOptions, FileSettings, OneThreadModel, score_file
from proto_model.model import ForestModel
from proto_model.registry.location import callers_folders, located_dataset

__all__ = ["build_parser", "main"]

_BUNDLE = Path("artifacts") / "bundle"


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m proto_model score",
        description=__doc__,
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
    formats = f"one of {', '.join(FORMAT_NAMES)}"
    parser.add_argument(
        "--input-format", default="", help=f"{formats} (default: found by content, then name)"
    )
    parser.add_argument("--output-format", default="", help=f"{formats} (default: by name, then the input's)")
    parser.add_argument(
        "--passthrough", action="append", default=[], metavar="COLUMN", help="column to copy; may be repeated"
    )
    parser.add_argument(
        "--on-bad-row",
        choices=["fail", "mark"],
        default="fail",
        help="end at a row that does not fit, or keep it with an error instead (default: %(default)s)",
    )
    parser.add_argument("--explain", action="store_true", help="add each row's explanation as JSON")
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="threads, and processes for many explanations (default: one per core)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Score the file; 0 when the output is complete, 2 when there is none."""
    arguments = build_parser().parse_args(argv)
    try:
        options = FileOptions.from_params(vars(arguments))
        settings = FileSettings.from_environment(os.environ)
        if arguments.workers > 0:
            settings = dataclasses.replace(settings, n_workers=arguments.workers)
        bundle = ForestModel.load(_bundle_folder(arguments.model))
        folders = callers_folders(os.environ, Path.cwd())
        input_path = Path(located_dataset(str(arguments.input), folders, ()))
        output_path = folders[0] / arguments.output
        explaining = _explaining(bundle, settings.workers) if options.explain else contextlib.nullcontext()
        with _progress_bar(Console(stderr=True)) as progress, explaining as explain:
            scored = score_file(
                input_path,
                output_path,
                OneThreadModel(bundle.schema, bundle.forest),
                options,
                settings,
                explain=explain,
                progress=progress,
            )
    except ProtoModelError as error:
        print(f"score: {error}", file=sys.stderr)
        return 2
    summary = {
        "output": str(output_path),
        "rows": scored.n_rows,
        "rejected_rows": scored.n_rejected,
        "input_format": str(scored.input_format),
        "output_format": str(scored.output_format),
        "notes": list(scored.notes),
    }
    print(json.dumps(summary))
    return 0


def _bundle_folder(model: str) -> Path:
    """Folder of the bundle within a model, which is downloaded when it is not a folder here."""
    if (Path(model) / _BUNDLE).is_dir():
        return Path(model) / _BUNDLE
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=model)) / _BUNDLE
    except (MlflowException, OSError) as error:
        raise ProtoModelError(f"The model {model} cannot be had: {error}") from error


@contextlib.contextmanager
def _explaining(bundle: ForestModel, n_jobs: int) -> Iterator[Explain]:
    """Explains rows, many of them in processes."""
    from proto_model.explanation import ExplainOptions, ProcessExplainer, make_explainer

    explainer = make_explainer("lore", bundle.schema, bundle.background, bundle.predict_proba)
    with ProcessExplainer(explainer, n_jobs) as many:
        yield lambda matrix: many.explain(matrix, ExplainOptions())


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
