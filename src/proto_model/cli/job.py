"""Run a batch job in ModelOp's form: a job.json with a source, its files, inputs and outputs.

Example: python -m proto_model job run job.json --output-dir results
         python -m proto_model job run job.json --engine spark --master "local[*]"

MODEL_BATCH_JOB scores, MODEL_BATCH_TEST_JOB computes metrics, MODEL_BATCH_TRAINING_JOB trains. The folder of
the results gets job.json (status, messages, times, outputs), log.txt, and outputDir/ with what the source
wrote there. The source runs with your rights: run only what you trust. docs/jobs.md says more.
Exit status: 0 done, 1 the job failed, 2 wrong job or arguments, 130 or 143 stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from proto_model.cli.exit_code import exit_code, tell
from proto_model.cli.parser import CommandParser, amount
from proto_model.cli.trust import add_trust, given_trust
from proto_model.errors import counted
from proto_model.files.transfer import FileSettings
from proto_model.registry.model_folder import downloaded, local_folder
from proto_model.registry.publishing import trusted
from proto_model.sources.limits import MOST, Limits

if TYPE_CHECKING:
    from proto_model.jobs import JobOptions, Result

_LIMITS = Limits()
_MOST_SHOWN = 20
_TERMINATED = 128 + signal.SIGTERM


class _TerminatedError(BaseException):
    """SIGTERM came; raised like KeyboardInterrupt, so that everything that was started ends."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("job", __doc__)
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    run = actions.add_parser(
        "run", help="run a job", description="Run a job, and write its result.", allow_abbrev=False
    )
    run.add_argument("job", type=Path, metavar="job.json", help="the job")
    run.add_argument(
        "--engine",
        choices=("local", "spark"),
        default="",
        help="default: spark if the function takes three lists of files, else local",
    )
    run.add_argument(
        "--master",
        default="",
        metavar="URL",
        help="Spark's master: local[*], yarn, spark://host:7077 (default: the job's, else local[*])",
    )
    run.add_argument(
        "--output-dir",
        metavar="DIR",
        help="new or empty folder, or a URL such as s3://bucket/folder (default: the job's name and -output)",
    )
    run.add_argument("--overwrite", action="store_true", help="let outputs replace files")
    run.add_argument("--schema-check", action="store_true", help="leave out records that fail their schema")
    run.add_argument("--json", action="store_true", help="print the result as JSON")
    _add_limits(run)
    add_trust(run)
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--timeout",
        type=amount(float, MOST),
        default=_LIMITS.timeout_s,
        metavar="S",
        help="longest run time, in seconds (default: %(default)g)",
    )
    group.add_argument(
        "--memory",
        type=amount(int, MOST),
        default=_LIMITS.memory_mb,
        metavar="MB",
        help="of each process of the local engine (default: %(default)s)",
    )
    group.add_argument(
        "--output-size",
        type=amount(int, MOST),
        default=_LIMITS.output_mb,
        metavar="MB",
        help="of all in outputDir (default: %(default)s)",
    )
    group.add_argument(
        "--python",
        default=sys.executable,
        metavar="PATH",
        help="Python that runs the source (default: this one)",
    )
    group.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME",
        help="environment variable that the source gets, such as AWS_ACCESS_KEY_ID; may be repeated",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the result is the exit status."""
    arguments = build_parser().parse_args(argv)
    with _ending_on_sigterm():
        try:
            return exit_code(lambda: _run(arguments))
        except _TerminatedError:
            print("stopped", file=sys.stderr)
            return _TERMINATED


def _run(arguments: argparse.Namespace) -> int:
    from proto_model.jobs import COMPLETE, Job, run_job

    job = Job.read(arguments.job)
    trust = given_trust(arguments)

    def folder_of(uri: str, folder: Path) -> Path:
        if trust:
            return trusted(uri, folder, trust)
        return local_folder(uri) or downloaded(uri, folder)

    output = arguments.output_dir or f"{arguments.job.stem}-output"
    result = run_job(job, output, _options(arguments), folder_of)
    if arguments.json:
        print(json.dumps(result.to_dict(), indent=2))
    _tell(result, to_stdout=not arguments.json)
    return 0 if result.status == COMPLETE else 1


def _options(arguments: argparse.Namespace) -> JobOptions:
    from proto_model.jobs import JobOptions

    return JobOptions(
        engine=arguments.engine,
        master=arguments.master,
        limits=Limits(
            timeout_s=arguments.timeout, memory_mb=arguments.memory, output_mb=arguments.output_size
        ),
        schema_check=arguments.schema_check,
        overwrite=arguments.overwrite,
        python=arguments.python,
        variables=tuple(arguments.env),
        settings=FileSettings.from_environment(os.environ),
    )


def _tell(result: Result, *, to_stdout: bool) -> None:
    """What became of the job, in words: the outputs to stdout, the rest to stderr."""
    failed = bool(result.ran.failure)
    first, *rest = result.messages if failed else ("", *result.messages)
    if first:
        tell(first)
    for message in rest:
        print(f"note: {message}", file=sys.stderr)
    print(f"{result.status}: {result.folder}/job.json", file=sys.stderr)
    if not to_stdout or failed:
        return
    for name, value in result.ran.summary.items():
        if name in ("records_in", "records_out", "rejected") and value not in ({}, 0):
            print(f"{name.replace('_', ' ')}: {_count(value)}")
    outputs = result.to_dict()["outputData"]
    for asset in outputs[:_MOST_SHOWN]:
        size = f" ({counted(asset['fileSize'], 'byte')})" if "fileSize" in asset else ""
        print(f"{asset.get('fileUrl', asset['filename'])}{size}")
    if len(outputs) > _MOST_SHOWN:
        print(f"and {counted(len(outputs) - _MOST_SHOWN, 'more file')}, see job.json", file=sys.stderr)


def _count(value: object) -> str:
    return f"{sum(value.values()) if isinstance(value, dict) else value:,}"


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the block by an exception, once: what ends in it is not interrupted again."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
