"""Predict and explain by hand, look at a model's schema, or start the mapper service.

For example:
  python -m mapper serve --model-server-url http://127.0.0.1:5001 --schema models:/proto_model@champion
  python -m mapper predict radius=14.2 texture=20.1 smoker=false
  python -m mapper explain --url http://127.0.0.1:8080 --data patient.json --option effort=thorough
  python -m mapper predict --model-server-url http://127.0.0.1:5001 --schema schema.json --data big.csv --json
  python -m mapper predict --file people.parquet --out predictions.parquet --store s3://bucket/folder
  python -m mapper schema --registry-url http://127.0.0.1:5000 --model proto_model@champion
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing

import orjson

from mapper.cli.file_command import (
    FILE_TIMEOUT_S,
    add_file_arguments,
    check_file_arguments,
    run_file_command,
)
from mapper.cli.records import parse_option, read_records
from mapper.cli.tables import explanation_text, prediction_table, schema_table
from mapper.errors import InvalidRequestError, MapperError, SettingsError
from mapper.http.settings import MapperSettings
from mapper.model_server.target import ServiceTarget, Target, open_target
from mapper.registry.source import find_model

__all__ = ["build_parser", "main"]

DEFAULT_URL = "http://127.0.0.1:8080"
CHUNK_ROWS = 1000
TIMEOUT_S = 120.0


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    description, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m mapper",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="start the HTTP service",
        description="Start the HTTP service. Each flag has a variable, such as MAPPER_PORT; flags win.",
        epilog="Example: python -m mapper serve --schema build/schema.json --port 8080 --workers 2",
    )
    for setting in dataclasses.fields(MapperSettings):
        default = "" if "default" in setting.metadata["help"] else f" (default: {setting.default})"
        flags = (
            ["--schema", "--model"] if setting.name == "schema" else [f"--{setting.name.replace('_', '-')}"]
        )
        kind: Callable[[str], object] = type(setting.default)
        serve.add_argument(*flags, dest=setting.name, type=kind, help=setting.metadata["help"] + default)
    for name, text in (("predict", "predict rows"), ("explain", "predict rows and explain why")):
        _add_request_command(commands, name, text)
    schema = commands.add_parser(
        "schema",
        help="show what the model takes",
        description="Show what the model takes and which classes it knows.",
        epilog="Example: python -m mapper schema --model models:/proto_model@champion",
    )
    _add_target(schema)
    schema.add_argument("--json", action="store_true", help="print schema.json itself")
    return parser


def _add_request_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> None:
    command = commands.add_parser(
        name,
        help=text,
        description=f"{text.capitalize()}, through a running mapper service or straight from a model server.",
        epilog=f"Example: python -m mapper {name} --data rows.csv",
    )
    command.add_argument("values", nargs="*", metavar="name=value", help="one row, feature by feature")
    command.add_argument("--data", metavar="FILE", help="rows: a .json or .csv file, or - for standard input")
    _add_target(command)
    command.add_argument(
        "--model-server-url", metavar="URL", help="ask this model server itself; needs --schema or --model"
    )
    command.add_argument(
        "--timeout-s",
        type=_seconds,
        help=f"longest wait (default: {TIMEOUT_S:g}, for a file {FILE_TIMEOUT_S:g})",
    )
    command.add_argument("--json", action="store_true", help="print the answer as JSON")
    if name == "predict":
        command.add_argument(
            "--explain",
            dest="command",
            action="store_const",
            const="explain",
            default=name,
            help="as the command explain",
        )
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="explanation option, such as effort=thorough or immutable_features=age,sex",
    )
    add_file_arguments(command)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text} given, a number of seconds above 0 expected")
    return seconds


def _add_target(command: argparse.ArgumentParser) -> None:
    command.add_argument("--url", help=f"a running mapper service (default: {DEFAULT_URL})")
    command.add_argument(
        "--schema",
        "--model",
        dest="schema",
        metavar="MODEL",
        help="schema.json, model folder, name@alias, models:/name/3 or runs:/id/model",
    )
    command.add_argument(
        "--registry-url", default="", metavar="URL", help="MLflow server (default: MLFLOW_TRACKING_URI)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; give 0 when it worked, 1 when data or servers were at fault, 2 when the usage was."""
    args = build_parser().parse_args(argv)
    try:
        if args.command == "serve":
            from mapper.http.process import run_service

            return run_service(MapperSettings.load(os.environ, vars(args)), os.environ)
        if args.command == "schema":
            _print_schema(args)
        else:
            _print_answers(args)
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
    return 0


def _print_schema(args: argparse.Namespace) -> None:
    if args.schema:
        schema = find_model(args.schema, args.registry_url, os.environ).schema
    else:
        with closing(ServiceTarget(args.url or DEFAULT_URL, 30.0)) as target:
            schema = target.schema
    if args.json:
        _print_json(schema.content)
    else:
        print(schema_table(schema))


def _print_answers(args: argparse.Namespace) -> None:
    """Ask about a file, or chunk by chunk about rows."""
    check_file_arguments(args)
    if args.file is None and bool(args.values) == bool(args.data):
        raise SettingsError("Give rows as name=value pairs, by --data or by --file. See --help.")
    parameters = dict(map(parse_option, args.option))
    with closing(_target(args)) as target:
        if args.file is not None:
            run_file_command(args, target, parameters)
            return
        (_print_json_answers if args.json else _print_text_answers)(args, target, parameters)


def _print_text_answers(args: argparse.Namespace, target: Target, parameters: dict[str, object]) -> None:
    """Answers as tables and texts, printed as they come."""
    n_rows = n_warnings = 0
    for records in read_records(args.data, args.values, target.schema, CHUNK_ROWS):
        answer = target.ask(args.command, records, parameters, first_row=n_rows)
        predictions = answer["predictions"]
        if args.command == "explain":
            for row, prediction in enumerate(predictions, n_rows):
                print(explanation_text(row, prediction))
        else:
            print(prediction_table(predictions, n_rows, target.schema))
        sys.stdout.flush()
        for warning in answer["warnings"]:
            print(
                f"warning: row {warning.get('row', 0)}, {warning['field']}: {warning['message']}",
                file=sys.stderr,
            )
        n_rows += len(predictions)
        n_warnings += answer["warning_count"]
    if n_rows > 1:
        print(f"{n_rows} rows, {n_warnings} warnings", file=sys.stderr)


def _print_json_answers(args: argparse.Namespace, target: Target, parameters: dict[str, object]) -> None:
    """All answers as one, whose predictions are written as they come."""
    out = sys.stdout.buffer
    n_rows = warning_count = 0
    warnings: list[object] = []
    model: object = None
    for records in read_records(args.data, args.values, target.schema, CHUNK_ROWS):
        answer = target.ask(args.command, records, parameters, first_row=n_rows)
        if n_rows == 0:
            model = answer["model"]
            out.write(b'{"model":' + orjson.dumps(model) + b',"predictions":[')
        else:
            out.write(b",")
        out.write(orjson.dumps(answer["predictions"])[1:-1])
        out.flush()
        n_rows += len(answer["predictions"])
        warnings += answer["warnings"]
        warning_count += answer["warning_count"]
    tail = {"warnings": warnings[:20], "warning_count": warning_count}
    out.write(b"]," + orjson.dumps(tail)[1:] + b"\n")
    out.flush()


def _target(args: argparse.Namespace) -> Target:
    timeout_s = args.timeout_s or (TIMEOUT_S if args.file is None else FILE_TIMEOUT_S)
    if args.model_server_url:
        if args.url:
            raise SettingsError("--url asks a mapper service, --model-server-url a model server: give one.")
        if not args.schema:
            raise SettingsError("--model-server-url needs --schema or --model, to check the rows.")
        published = find_model(args.schema, args.registry_url, os.environ)
        return open_target(args.model_server_url, published, timeout_s)
    if args.schema:
        raise SettingsError("--schema needs --model-server-url: a schema alone predicts nothing.")
    return ServiceTarget(args.url or DEFAULT_URL, timeout_s)


def _print_json(content: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.buffer.flush()
