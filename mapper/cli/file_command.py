"""`--file`, `--out`, `--store`: the command line's way to score a file of any size."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from mapper.client.file_job import predict_file
from mapper.client.progress import TextProgress, shown_bytes
from mapper.client.store import Store
from mapper.errors import SettingsError
from mapper.mapping.parameters import FILE_FORMATS, ON_BAD_ROW
from mapper.model_server.target import Target

__all__ = ["FILE_TIMEOUT_S", "add_file_arguments", "check_file_arguments", "run_file_command"]

FILE_TIMEOUT_S = 4 * 3600.0
EXPIRY_MARGIN_S = 3600

PARAMETERS = ("input_format", "output_format", "passthrough", "on_bad_row")
FLAGS = ("out", "store", "endpoint_url", *PARAMETERS, "file_id", "session", "keep")


def add_file_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of a file's round to a command."""
    flags = command.add_argument_group(
        "files of any size", "By way of an S3 store, with credentials where boto3 looks for them."
    )
    formats = f"one of {', '.join(FILE_FORMATS)}"
    flags.add_argument("--file", type=Path, metavar="FILE", help="rows: CSV, JSON Lines, Parquet or Arrow")
    flags.add_argument("--out", type=Path, metavar="FILE", help="where the predictions go")
    flags.add_argument("--store", metavar="s3://BUCKET/FOLDER", help="where both files go through")
    flags.add_argument(
        "--endpoint-url", metavar="URL", help="of a store other than AWS (default: AWS_ENDPOINT_URL)"
    )
    flags.add_argument("--input-format", metavar="NAME", help=f"{formats} (default: found by content)")
    flags.add_argument(
        "--output-format",
        metavar="NAME",
        help="one of the same (default: by the name of --out, else the input's)",
    )
    flags.add_argument(
        "--passthrough", action="append", metavar="COLUMN", help="column to copy; may be repeated"
    )
    flags.add_argument(
        "--on-bad-row", choices=ON_BAD_ROW, help="end at a row that does not fit (default), or mark it"
    )
    flags.add_argument("--file-id", metavar="TEXT", help="name of the job (default: the file's)")
    flags.add_argument("--session", type=_json, metavar="JSON", help="comes back with the answer")
    flags.add_argument("--keep", action="store_true", help="leave both files in the store")


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON") from error


def check_file_arguments(args: argparse.Namespace) -> None:
    """Nothing, when the flags go together.

    Raises
    ------
    SettingsError
        If one is missing, or makes no sense beside the others.
    """
    if args.file is None:
        useless = [_flag(name) for name in FLAGS if getattr(args, name)]
        if useless:
            raise SettingsError(f"{', '.join(useless)} given without --file.")
        return
    if args.values or args.data:
        raise SettingsError("Give rows either in --file or by name=value pairs or --data.")
    missing = [_flag(name) for name in ("out", "store") if getattr(args, name) is None]
    if missing:
        raise SettingsError(f"--file needs {' and '.join(missing)}.")


def run_file_command(args: argparse.Namespace, target: Target, options: dict[str, Any]) -> None:
    """Do the round and print what came of it.

    Parameters
    ----------
    args : Namespace
        As checked by `check_file_arguments`.
    target : Target
        Who is asked.
    options : dict
        Explanation options.
    """
    given = {name: value for name in PARAMETERS if (value := getattr(args, name)) is not None}
    if named := _format_of(args.out.name):
        given.setdefault("output_format", named)
    timeout_s = args.timeout_s or FILE_TIMEOUT_S
    with _stopped_by_signals():
        answer = predict_file(
            args.file,
            args.out,
            Store.open(args.store, args.endpoint_url),
            lambda request: target.ask_file(args.command, request),
            parameters=options | given,
            file_id=args.file_id,
            session=args.session,
            expires_s=int(timeout_s) + EXPIRY_MARGIN_S,
            keep=args.keep,
            progress=TextProgress(sys.stderr),
        )
    if args.json:
        sys.stdout.buffer.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2) + b"\n")
        sys.stdout.buffer.flush()
        return
    print(_sentence(args.out, answer["file"]))
    for line in _notes(answer):
        print(line)


def _sentence(out: Path, summary: dict[str, Any]) -> str:
    size = shown_bytes(summary["bytes_out"])
    name = str(out).encode(errors="replace").decode()
    return (
        f"{name}: {summary['rows']:,} rows, {summary['rejected_rows']:,} of them rejected; "
        f"{summary['output_format']}, {size}; scored in {summary['seconds']:.2f} s"
    )


def _notes(answer: dict[str, Any]) -> Sequence[str]:
    noted = answer["file"].get("notes")
    return [*([f"note: {noted}"] if noted else []), *(f"kept: {place}" for place in answer.get("kept", ()))]


def _format_of(name: str) -> str | None:
    """Format that a file's name ends with."""
    return next((known for known in FILE_FORMATS if name.lower().endswith(f".{known}")), None)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the round as Ctrl-C does, so that it cleans up; not one that nohup shuts out."""
    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
