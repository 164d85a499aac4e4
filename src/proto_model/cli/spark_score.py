"""Score a table of any size with Apache Spark, once or as a stream: one pass, a folder of predictions out.

Example: python -m proto_model spark-score --input people.parquet --output scored --partition-by country

Input and output are paths that Spark knows (folders, s3a://, hdfs://), or tables of its catalog as
table:NAME. The options of `score` mean the same here; --passthrough "*" copies all columns. Without --master
Spark uses what its own configuration says, else all cores of this machine. The summary counts rows, reasons
and classes while rows are written. Exit status: 0 done, 1 the job failed, 2 something can be put right, 130
interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from proto_model.cli.model_uri import CHAMPION, HELP
from proto_model.cli.parameters import add_parameters
from proto_model.cli.parser import CommandParser
from proto_model.cli.spark_options import add_session, given_session, spark_exit_code
from proto_model.cli.trust import add_trust, given_trust
from proto_model.errors import InputError, counted
from proto_model.parameters import FILE, parameters_of
from proto_model.spark.scoring.batch import MODES, TableSummary, TableTask, score_table
from proto_model.spark.scoring.places import FORMATS, Place
from proto_model.spark.scoring.session import pairs, session
from proto_model.spark.scoring.stream import AVAILABLE_NOW, StreamTask, check_stream, score_stream

if TYPE_CHECKING:
    from proto_model.spark import Scorer

_NOT_OF_THE_MODEL = ("input_format", "output_format", "passthrough")
_CODECS = {"gz": "gzip", "zst": "zstd"}


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser(
        "spark-score",
        __doc__,
        epilog=f"Formats: {', '.join(FORMATS)}. docs/engines.md says when to use Spark, and when not.",
    )
    parser.add_argument("--input", required=True, help="path of rows, or table:NAME")
    parser.add_argument("--output", required=True, help="folder of predictions, or table:NAME")
    parser.add_argument("-m", "--model-uri", "--model", dest="model", default=CHAMPION, help=HELP)
    add_parameters(parser, FILE)
    _add_tables(parser)
    _add_stream(parser)
    add_session(parser)
    add_trust(parser)
    return parser


def _add_tables(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("tables")
    group.add_argument(
        "--format",
        dest="input_format",
        metavar="NAME",
        help="the same as --input-format (default: by the name)",
    )
    group.add_argument(
        "--schema",
        default="",
        metavar="DDL",
        help="columns of the input, such as 'age double, job string' (default: as Spark finds them)",
    )
    group.add_argument(
        "--partition-by",
        default="",
        metavar="COL,...",
        help="columns that name the output's folders; copied as well",
    )
    group.add_argument(
        "--mode",
        choices=MODES,
        default="error",
        help="what to do with an output that is there (default: %(default)s)",
    )
    for side, done in (("read", "read"), ("write", "written")):
        group.add_argument(
            f"--{side}-option",
            action="append",
            default=[],
            metavar="K=V",
            help=f"option of Spark's for what is {done}; may be repeated",
        )
    group.add_argument("--summary", type=Path, metavar="FILE", help="write the summary to a file, as JSON")
    group.add_argument("--json", action="store_true", help="print the summary as JSON")


def _add_stream(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("streams")
    group.add_argument("--stream", action="store_true", help="score each row that arrives, once")
    group.add_argument("--checkpoint", default="", metavar="DIR", help="where a stream notes what is done")
    group.add_argument(
        "--trigger",
        default=AVAILABLE_NOW,
        metavar="WHEN",
        help="availableNow: what there is, then end; or how often to look, such as 5s (default: %(default)s)",
    )
    group.add_argument(
        "--follow", action="store_true", help="go on with another version than the one in the checkpoint"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Score the table; see the exit status above."""
    arguments = build_parser().parse_args(argv)
    return spark_exit_code(lambda: _say(arguments, _scored(arguments)))


def _scored(arguments: argparse.Namespace) -> TableSummary:
    task = _task(arguments)
    if arguments.stream:
        stream = StreamTask(task, arguments.checkpoint, arguments.trigger, arguments.follow)
        check_stream(stream)
        return spark_scored(arguments, stream)
    if arguments.checkpoint or arguments.follow:
        raise InputError("--checkpoint and --follow are for streams. Add --stream.")
    return spark_scored(arguments, task)


def spark_scored(arguments: argparse.Namespace, task: TableTask | StreamTask) -> TableSummary:
    """Summary of a table, once it is scored by the model, with the parameters, on the Spark of the flags."""
    options = given_session(arguments)
    given_trust(arguments)  # what is wrong with a key is told before Spark starts
    asked = {row.name: getattr(arguments, row.name) for row in parameters_of(FILE)}
    asked = {name: value for name, value in asked.items() if name not in _NOT_OF_THE_MODEL}
    asked |= {"require_published": arguments.require_published, "verify_key": arguments.verify_key or ()}

    with session(options) as spark:
        from proto_model.spark import scorer

        def make_scorer(uri: str, kept: Sequence[str]) -> Scorer:
            return scorer(spark, uri, passthrough=list(kept), **asked)

        if isinstance(task, StreamTask):
            return score_stream(spark, make_scorer, arguments.model, task, _tell)
        with _progress_bar() as progress:
            return score_table(spark, make_scorer, arguments.model, task, progress)


def _task(arguments: argparse.Namespace) -> TableTask:
    """The table that the arguments name; InputError if they do not fit each other."""
    input_format, _ = spark_format(arguments.input_format)
    output_format, codec = spark_format(arguments.output_format)
    source = Place.of(arguments.input, input_format, pairs("--read-option", arguments.read_option))
    more = pairs("--write-option", arguments.write_option)
    target = Place.of(
        arguments.output, output_format, ({"compression": codec} if codec else {}) | more, source.format
    )
    if (
        source.is_files
        and not source.options.get("path")
        and str(source).rstrip("/") == str(target).rstrip("/")
    ):
        raise InputError("Input and output are the same. Name another output.")
    return TableTask(
        source,
        target,
        tuple(arguments.passthrough),
        tuple(filter(None, (name.strip() for name in arguments.partition_by.split(",")))),
        arguments.mode,
        arguments.on_bad_row == "mark",
        arguments.schema,
    )


def spark_format(name: str | None) -> tuple[str, str]:
    """Spark's name of a format that `score` has, and of its compression."""
    format, _, packed = (name or "").partition(".")
    if format in ("arrow", "arrows"):
        raise InputError(
            f"Spark reads and writes no files in the format {name}. Use parquet, or score without Spark."
        )
    if packed and packed not in _CODECS:
        raise InputError(f"Spark has no format {name!r} here. Choose one of {', '.join(FORMATS)}.")
    return "json" if format == "jsonl" else format, _CODECS.get(packed, "")


def _say(arguments: argparse.Namespace, summary: TableSummary) -> None:
    content = dataclasses.asdict(summary)
    text = json.dumps(content, ensure_ascii=False)
    if arguments.summary:
        try:
            arguments.summary.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"Cannot write {arguments.summary}: {error.strerror}.") from error
    if arguments.json:
        print(text)
        return
    for note in summary.notes:
        print(f"note: {note}")
    where = f"version {summary.version} of the model" if summary.version else "the model"
    print(
        f"{summary.output}: {counted(summary.rows, 'row')}, {summary.rejected_rows:,} without a prediction, "
        f"by {where} in {summary.seconds:.1f} s"
    )
    for name, number in summary.predictions.items():
        print(f"  {name}: {number:,}")
    for name, number in summary.rejected_by_reason.items():
        print(f"  not predicted, {name}: {number:,}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None] | None]:
    """Shows the tasks that are done; nothing where no one looks on."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, emoji=False)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.completed:,} of {task.total:,} tasks"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("", total=1)
        yield lambda done, total: bars.update(task, completed=done, total=total)
