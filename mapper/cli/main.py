"""Predict, explain, look at a model's schema, start the mapper service, check a mapping, or register.

For example:
  python -m mapper serve --model-server-url http://127.0.0.1:5001 --schema models:/proto_model@champion
  python -m mapper predict radius=14.2 texture=20.1 smoker=false
  python -m mapper explain --url http://127.0.0.1:8080 --data patient.json --option effort=thorough
  python -m mapper predict --model-server-url http://127.0.0.1:5001 --schema schema.json --data big.csv --json
  python -m mapper predict --file people.parquet --out predictions.parquet --store s3://bucket/folder
  python -m mapper schema --registry-url http://127.0.0.1:5000 --model proto_model@champion
  python -m mapper mapping check mapping.yaml --model models:/proto_model@champion
  python -m mapper tango model --registry-url http://127.0.0.1:5000 --model proto_model@champion
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mapper.cli import mapping, predict, schema, serve, tango
from mapper.cli.parser import FAILED, INTERRUPTED, WRONG, CommandParser, tell
from mapper.errors import CallerError, InvalidRequestError, MapperError


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line; each command sets `run`."""
    description, _, examples = (__doc__ or "").partition("\n\n")
    parser: argparse.ArgumentParser = CommandParser(
        prog="python -m mapper", description=description, epilog=examples
    )
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    serve.add_command(commands)
    predict.add_commands(commands)
    schema.add_command(commands)
    mapping.add_command(commands)
    tango.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it worked, 2 for what the caller can fix, 1 for all else."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not words:
        tell(f"give a command:\n\n{parser.format_help()}")
        return WRONG
    args = parser.parse_args(words)
    try:
        return int(args.run(args))
    except InvalidRequestError as error:
        tell("\n  ".join([str(error), *_lines(error)]))
        return WRONG
    except MapperError as error:
        tell(str(error))
        return WRONG if isinstance(error, CallerError) else FAILED
    except OSError as error:
        where = f" {error.filename}" if error.filename is not None else " a file"
        tell(f"Cannot read or write{where}: {error.strerror or error}.")
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _lines(error: InvalidRequestError) -> list[str]:
    """The faults of a request: a line for each, and one for the fields of a row that are missing."""
    missing: dict[int | None, list[str]] = {}
    for fault in error.errors:
        if fault.kind == "missing_field" and fault.field is not None:
            missing.setdefault(fault.row, []).append(fault.field)
    lines = [
        str(fault)
        for fault in error.errors
        if fault.kind != "missing_field" or len(missing.get(fault.row, ())) < 2
    ]
    for row, fields in missing.items():
        if len(fields) > 1:
            where = "" if row is None else f"row {row}: "
            lines.append(f"{where}{len(fields)} required fields are missing: {', '.join(fields)}")
    left = error.error_count - len(error.errors)
    return [*lines, f"... and {left} more"] if left > 0 else lines
