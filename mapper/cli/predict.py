"""`predict` and `explain`: ask about rows, or have a file of any size scored by way of a store."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import orjson

from mapper.cli.tables import (
    explanation_text,
    fitted,
    is_usual,
    own_table,
    prediction_table,
    print_json,
    terminal_width,
)
from mapper.client.file_job import FileJob, check_paths, predict_file
from mapper.client.picture import Picture, check_picture, explanation_in
from mapper.client.progress import Progress, shown_bytes
from mapper.client.records import pair, read_records
from mapper.client.store import Store
from mapper.client.target import ModelServerTarget, ServiceTarget, Target
from mapper.errors import LIST_LIMIT, Finding, InvalidRequestError, SettingsError
from mapper.mapping.parameters import PARAMETERS, parameters_text
from mapper.model_server.login import Login
from mapper.registry import find_model

DEFAULT_URL = "http://127.0.0.1:8080"
CHUNK_ROWS = 1000
TIMEOUT_S = 120.0
FILE_TIMEOUT_S = 4 * 3600.0
EXPIRY_MARGIN_S = 3600

OPTIONS = {parameter.name: parameter for parameter in PARAMETERS if parameter.use != "file"}
FILE_PARAMETERS = {parameter.name: parameter for parameter in PARAMETERS if parameter.use == "file"}
MODEL_HELP = "schema.json, model folder, name@alias, models:/name/3 or runs:/id/model"
REGISTRY_HELP = "MLflow server or sqlite:/// URI (default: MLFLOW_TRACKING_URI, or mlflow.db in this folder)"
FILE_FLAGS = ("out", "store", "endpoint_url", *FILE_PARAMETERS, "file_id", "session", "keep")


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands to the parser."""
    for name, text in (("predict", "predict rows"), ("explain", "predict rows and explain why")):
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text.capitalize()}, through a running mapper service or a model server.",
            epilog=f"Options:\n{_indented('any')}\n\nOptions of explanations:\n{_indented('explain')}"
            + f"\n\nExample: python -m mapper {name} --data rows.csv",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_row_flags(command)
        _add_file_flags(command)
        command.set_defaults(run=_run)
        if name == "predict":
            explain: dict[str, Any] = {"dest": "command", "action": "store_const", "const": "explain"}
            command.add_argument("--explain", default=name, help="the same as the command explain", **explain)


def _indented(use: Literal["any", "explain"]) -> str:
    return "\n".join(f"  {line}" for line in parameters_text(use).splitlines())


def add_target_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags that say where the model is."""
    add = command.add_argument
    add("--url", help=f"a running mapper service (default: {DEFAULT_URL})")
    add("--schema", "--model", dest="schema", metavar="MODEL", help=MODEL_HELP)
    add("--registry-url", default="", metavar="URL", help=REGISTRY_HELP)
    add("--token-file", default="", metavar="FILE", help="file with the token that the server asks for")
    add("--ca-file", default="", metavar="FILE", help="authority of the server's certificate, as a PEM file")


def _add_row_flags(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("values", nargs="*", metavar="name=value", help="one row, feature by feature")
    add("--data", metavar="FILE", help="rows: a JSON or CSV file, or - for standard input")
    add_target_flags(command)
    add("--model-server-url", metavar="URL", help="ask this model server directly; needs --schema or --model")
    defaults = f"default: {TIMEOUT_S:g}, with --file {FILE_TIMEOUT_S:g}"
    add("--timeout-s", metavar="SECONDS", type=_seconds, help=f"longest wait for an answer ({defaults})")
    add("--json", action="store_true", help="print the answer as JSON")
    picture = (
        "draw the explanation: SVG or PNG, by the suffix; several rows become name-0.svg, name-1.svg, ..."
    )
    add("--picture", type=Path, metavar="FILE", help=picture)
    text = "option, see below; commas separate the names of a list"
    add("--option", action="append", default=[], metavar="NAME=VALUE", help=text)


def _add_file_flags(command: argparse.ArgumentParser) -> None:
    flags = command.add_argument_group(
        "files of any size", "Through an S3 store, with credentials where boto3 looks for them."
    )
    add = flags.add_argument
    add("--file", type=Path, metavar="FILE", help="rows: CSV, JSON Lines, Parquet or Arrow")
    add("--out", type=Path, metavar="FILE", help="where the predictions go; its name can say the format")
    add("--store", metavar="s3://BUCKET/FOLDER", help="where both files are stored meanwhile")
    add("--endpoint-url", metavar="URL", help="of a store other than AWS (default: AWS_ENDPOINT_URL)")
    for name, parameter in FILE_PARAMETERS.items():
        is_list = parameter.document().get("type") == "array"
        words = parameter.document().get("enum", ())
        add(
            _flag(name),
            action="append" if is_list else "store",
            metavar="COLUMN" if is_list else "NAME",
            choices=words if 0 < len(words) < 5 else None,  # longer lists are left to the mapper's check
            help=f"{parameter.text} ({'may be repeated' if is_list else parameter.kind.text})",
        )
    add("--file-id", metavar="TEXT", help="name of the job (default: the file's)")
    add("--session", type=_json, metavar="JSON", help="comes back with the answer")
    add("--keep", action="store_true", help="leave both files in the store")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} given, a number of seconds above 0 expected")
    return seconds


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON") from error


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _run(args: argparse.Namespace) -> int:
    _check_flags(args)
    options = {name: _option(name, text) for name, text in map(pair, args.option)}
    with closing(_target(args)) as target:
        if args.file is not None:
            _run_file(args, target, options)
        elif args.json:
            _print_json_answers(args, target, options)
        else:
            _print_text_answers(args, target, options)
    return 0


def _option(name: str, text: str) -> Any:
    """Value of an option; what is wrong with it is left to the mapper's check."""
    kind = OPTIONS[name].document().get("type") if name in OPTIONS else None
    if kind == "array":
        return [part for part in text.split(",") if part]
    if kind == "number":
        with suppress(ValueError):
            return float(text)
    return int(text) if kind == "integer" and text.lstrip("-").isdecimal() else text


def _check_flags(args: argparse.Namespace) -> None:
    """Nothing, when the flags go together; raises SettingsError otherwise."""
    if args.picture is not None:
        if args.command != "explain" or args.file is not None:
            raise SettingsError("--picture draws explanations of rows: give it with explain, without --file.")
        check_picture(args.picture)
    if args.file is None:
        useless = [_flag(name) for name in FILE_FLAGS if getattr(args, name)]
        if useless:
            raise SettingsError(f"{', '.join(useless)} given without --file.")
        if bool(args.values) == bool(args.data):
            raise SettingsError("Give rows as name=value pairs, with --data or with --file. See --help.")
        return
    if args.values or args.data:
        raise SettingsError("Give rows either with --file, or as name=value pairs or with --data.")
    missing = [_flag(name) for name in ("out", "store") if getattr(args, name) is None]
    if missing:
        raise SettingsError(f"--file needs {' and '.join(missing)}.")


def _target(args: argparse.Namespace) -> Target:
    login = Login(args.token_file, args.ca_file)
    timeout_s = args.timeout_s or (TIMEOUT_S if args.file is None else FILE_TIMEOUT_S)
    if args.model_server_url:
        if args.url:
            raise SettingsError("Give either --url, for a mapper service, or --model-server-url, not both.")
        if not args.schema:
            raise SettingsError("--model-server-url needs --schema or --model, to check the rows.")
        published = find_model(args.schema, args.registry_url, os.environ)
        return ModelServerTarget(args.model_server_url, published, timeout_s, login)
    if args.schema:
        raise SettingsError("--schema needs --model-server-url: a schema alone cannot predict.")
    return ServiceTarget(args.url or DEFAULT_URL, timeout_s, login)


def _ask(
    command: str, target: Target, records: list[dict[str, Any]], options: dict[str, Any], first_row: int
) -> dict[str, Any]:
    """The answer for a chunk; rows in warnings and faults are counted from the start of the data."""
    try:
        answer = target.ask(command, {"data": records, "parameters": options})
    except InvalidRequestError as error:
        faults = [f if f.row is None else replace(f, row=f.row + first_row) for f in error.errors]
        raise InvalidRequestError(str(error), faults, error.error_count) from error
    for warning in answer["warnings"]:
        warning["row"] = warning.get("row", 0) + first_row
    return answer


def _print_text_answers(args: argparse.Namespace, target: Target, options: dict[str, Any]) -> None:
    """Answers as tables and texts, printed as they come."""
    n_rows = n_warnings = 0
    width = terminal_width()
    for records in read_records(args.data, args.values, CHUNK_ROWS):
        answer = _ask(args.command, target, records, options, n_rows)
        predictions = answer["predictions"]
        _draw(args.picture, target, records, predictions, n_rows)
        if args.command == "explain":
            for row, prediction in enumerate(predictions, n_rows):
                print(fitted(explanation_text(row, prediction), width))
        else:
            schema = target.schema if is_usual(predictions) else None
            print(
                own_table(predictions, n_rows, width)
                if schema is None
                else prediction_table(predictions, n_rows, schema, width)
            )
        sys.stdout.flush()
        for warning in answer["warnings"]:
            print(f"warning: {Finding(**warning)}", file=sys.stderr)
        n_rows += len(predictions)
        n_warnings += answer["warning_count"]
    if n_rows > 1:
        print(f"{n_rows} rows, {n_warnings} warnings", file=sys.stderr)


def _draw(
    path: Path | None,
    target: Target,
    records: list[dict[str, Any]],
    predictions: list[dict[str, Any]],
    first_row: int,
) -> None:
    """Write the pictures of a chunk, if they are wanted."""
    if path is None:
        return
    schema = target.schema
    if schema is None:
        raise SettingsError(
            "--picture needs the model's features, and an application's own class has others."
        )
    is_single = first_row == 0 and len(records) == 1
    for row, (record, item) in enumerate(zip(records, predictions, strict=True), first_row):
        place = path if is_single else path.with_stem(f"{path.stem}-{row}")
        Picture.of(explanation_in(item), schema, record, "" if is_single else f"Row {row}").write(place)
        print(f"wrote {place}", file=sys.stderr)


def _print_json_answers(args: argparse.Namespace, target: Target, options: dict[str, Any]) -> None:
    """All answers as one, whose predictions are written as they come."""
    out = sys.stdout.buffer
    n_rows = warning_count = 0
    warnings: list[object] = []
    for records in read_records(args.data, args.values, CHUNK_ROWS):
        answer = _ask(args.command, target, records, options, n_rows)
        _draw(args.picture, target, records, answer["predictions"], n_rows)
        head = b'{"model":' + orjson.dumps(answer["model"]) + b',"predictions":['
        out.write((b"," if n_rows else head) + orjson.dumps(answer["predictions"])[1:-1])
        out.flush()
        n_rows += len(answer["predictions"])
        warnings += answer["warnings"]
        warning_count += answer["warning_count"]
    tail = {"warnings": warnings[:LIST_LIMIT], "warning_count": warning_count}
    out.write(b"]," + orjson.dumps(tail)[1:] + b"\n")
    out.flush()


def _run_file(args: argparse.Namespace, target: Target, options: dict[str, Any]) -> None:
    """Do the round trip and print what came of it."""
    parameters = {name: value for name in FILE_PARAMETERS if (value := getattr(args, name)) is not None}
    formats = FILE_PARAMETERS["output_format"].document()["enum"]
    named = [known for known in formats if args.out.name.lower().endswith(f".{known}")]
    if named:
        parameters.setdefault("output_format", named[0])
    elif args.out.suffix and "output_format" not in parameters:
        raise SettingsError(
            f"No format has names such as {args.out.name}. End it in .csv, .jsonl, .parquet or .arrow, or "
            "give --output-format."
        )
    job = FileJob(
        file=args.file,
        out=args.out,
        parameters=options | parameters,
        file_id=args.file_id,
        session=args.session,
        expires_s=int(args.timeout_s or FILE_TIMEOUT_S) + EXPIRY_MARGIN_S,
        keep=args.keep,
    )
    check_paths(job.file, job.out)  # before the store is asked, which may need credentials
    with _stopped_by_signals():
        store = Store.open(args.store, args.endpoint_url)
        answer = predict_file(
            job, store, lambda request: target.ask(args.command, request), Progress(sys.stderr)
        )
    if args.json:
        print_json(answer)
        return
    summary = answer["file"]
    name = str(args.out).encode(errors="replace").decode()
    print(
        f"{name}: {summary['rows']:,} rows, {summary['rejected_rows']:,} of them rejected; "
        f"{summary['output_format']}, {shown_bytes(summary['bytes_out'])}; "
        f"scored in {summary['seconds']:.2f} s"
    )
    if summary.get("notes"):
        print(f"note: {summary['notes']}")
    for place in answer.get("kept", ()):
        print(f"kept: {place}")


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the round trip as Ctrl-C does, so that it cleans up; not under nohup."""
    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
