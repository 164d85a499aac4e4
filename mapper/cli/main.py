"""Predict and explain by hand, look at a model's schema, start the mapper service, or register with TANGO.

For example:
  python -m mapper serve --model-server-url http://127.0.0.1:5001 --schema models:/proto_model@champion
  python -m mapper predict radius=14.2 texture=20.1 smoker=false
  python -m mapper explain --url http://127.0.0.1:8080 --data patient.json --option effort=thorough
  python -m mapper predict --model-server-url http://127.0.0.1:5001 --schema schema.json --data big.csv --json
  python -m mapper predict --file people.parquet --out predictions.parquet --store s3://bucket/folder
  python -m mapper schema --registry-url http://127.0.0.1:5000 --model proto_model@champion
  python -m mapper tango model --registry-url http://127.0.0.1:5000 --model proto_model@champion
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mapper.cli import predict, schema, serve, tango
from mapper.errors import InvalidRequestError, MapperError, SettingsError


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line; each command sets `run`."""
    description, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m mapper",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve.add_command(commands)
    predict.add_commands(commands)
    schema.add_command(commands)
    tango.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it worked, 1 when data or servers were at fault, 2 when the usage was."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except SettingsError as error:
        print(f"mapper: {error}", file=sys.stderr)
        return 2
    except InvalidRequestError as error:
        print(f"mapper: {error}", *(f"  {fault}" for fault in error.errors), sep="\n", file=sys.stderr)
        left = error.error_count - len(error.errors)
        if left > 0:
            print(f"  ... and {left} more", file=sys.stderr)
        return 1
    except (MapperError, OSError) as error:
        print(f"mapper: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
