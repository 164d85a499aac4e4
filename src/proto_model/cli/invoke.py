"""Send rows to a served model and show the answer; a model for files gets a file through an object store.

The command asks the server what it serves, and makes rows from the answer. A server that cannot tell, such
as MLflow's, gets an example row: that of runs:/$MLFLOW_RUN_ID/model, else of the champion, else of the
challenger (see MLFLOW_TRACKING_URI). Exit status: 0 answered, 1 no answer from the server, the store or
MLflow, 2 wrong arguments or file.

Example: python run_proto_model_invocation.py --explain
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from proto_model.cli.exit_code import exit_code
from proto_model.cli.parser import CommandParser
from proto_model.errors import ProtoModelError
from proto_model.invocation.answer import answer_table, answered_rows, explanation_text, parsed_rows
from proto_model.invocation.file_trip import round_trip
from proto_model.invocation.http import InvocationError, endpoint, invoke, wait_until_up
from proto_model.invocation.login import token_of, use_login
from proto_model.invocation.registered import RegisteredModel, candidates, first_registered
from proto_model.invocation.requests import request_body
from proto_model.invocation.rows import numbered, read_records, spread_records, write_csv
from proto_model.invocation.server import Server
from proto_model.invocation.store import opened

MODEL_SERVER_URL = "http://127.0.0.1:5001"
MAPPER_URL = "http://127.0.0.1:8080"
N_SHOWN = 5
"""Rows of a file whose predictions are shown."""

Say = Callable[[str], None]


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("invoke", __doc__)
    parser.add_argument("--url", help=f"server (default: {MODEL_SERVER_URL}, or {MAPPER_URL} with --mapper)")
    parser.add_argument("--mapper", action="store_true", help="the server is the mapper")
    access = parser.add_argument_group("access to the server")
    access.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file with a token, or one line `name: token` (default: the token in PROTO_MODEL_TOKEN)",
    )
    access.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="authority of the server's certificate, as a PEM file"
    )
    parser.add_argument("--explain", action="store_true", help="ask for explanations too")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, metavar="FILE", help="rows to send: JSON or CSV")
    source.add_argument(
        "--model-uri", help="model whose example row is sent (default: what the server tells, see above)"
    )
    files = parser.add_argument_group("for a model that takes files")
    files.add_argument(
        "--store",
        metavar="S3_URL",
        help="where the file goes, such as s3://bucket/folder (default: s3://files if AWS_ENDPOINT_URL is "
        "set, else a store on this machine, which is started if none runs)",
    )
    files.add_argument("--endpoint-url", help="address of the store (default: AWS_ENDPOINT_URL, or AWS)")
    parser.add_argument(
        "--wait-s",
        type=_seconds,
        default=60.0,
        help="seconds to wait for a server that is starting (default: %(default)g)",
    )
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} given, seconds from 0 expected")
    return seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    from rich.console import Console

    from proto_model.registry.tracking import quiet_mlflow

    arguments = build_parser().parse_args(argv)
    quiet_mlflow()
    talk = Console(stderr=True, emoji=False)
    console = Console(emoji=False)

    def say(text: str) -> None:
        talk.print(text, markup=False, highlight=False, soft_wrap=True)

    def run() -> int:
        rows = _answered(arguments, say)
        console.print(answer_table(rows, console.width))
        for number, row in enumerate(rows):
            if "explanation" in row:
                text = explanation_text(number, row["explanation"])
                console.print(text, markup=False, soft_wrap=not console.is_terminal)
        return 0

    return exit_code(run)


def _answered(arguments: argparse.Namespace, say: Say) -> list[dict[str, Any]]:
    """Rows of the answer to the request that the arguments ask for."""
    url = arguments.url or (MAPPER_URL if arguments.mapper else MODEL_SERVER_URL)
    use_login(url, token_of(arguments.token_file, os.environ), arguments.ca_file)
    records = read_records(arguments.data) if arguments.data else []  # before all else: it may be wrong
    wait_until_up(url, arguments.wait_s)
    server = Server.asked(url)
    if server.takes_files:
        return _file_rows(arguments, server, say)
    if records:
        say(f"Rows: from {arguments.data}")
    elif server.record is not None and not arguments.model_uri:
        say(f"Row: made from what {url} tells about its model")
        records = [server.record]
    else:
        records = [_registered(arguments, server, say).record]
    path, body = request_body(records, through_mapper=server.is_mapper, explain=arguments.explain)
    return answered_rows(invoke(endpoint(url, path), body, wait_s=arguments.wait_s))


def _file_rows(arguments: argparse.Namespace, server: Server, say: Say) -> list[dict[str, Any]]:
    """The first rows of a file that went through a store."""
    say(f"{server.url} serves a model for files")
    with tempfile.TemporaryDirectory() as temporary:
        file: Path = arguments.data
        if file is None:
            file = Path(temporary) / "rows.csv"
            write_csv(file, numbered(_spread(arguments, server, say)))
        elif file.suffix.lower() == ".json":
            file = Path(temporary) / "rows.csv"
            write_csv(file, numbered(read_records(arguments.data)))
        with opened(arguments.store, arguments.endpoint_url) as store:
            trip = round_trip(
                server,
                store,
                file,
                Path(temporary),
                explain=arguments.explain,
                wait_s=arguments.wait_s,
                say=say,
            )
    say(f"checked: {len(trip.rows):,} rows came back in order, each with a prediction")
    return parsed_rows(trip.rows[:N_SHOWN])


def _spread(arguments: argparse.Namespace, server: Server, say: Say) -> list[dict[str, Any]]:
    """Rows over the range of what the model was trained on."""
    if server.schema is not None and not arguments.model_uri:
        say(f"Rows: made from what {server.url} tells about its model")
        return spread_records(server.schema)
    return spread_records(_registered(arguments, server, say).schema)


def _registered(arguments: argparse.Namespace, server: Server, say: Say) -> RegisteredModel:
    """The model that was named, or the first that may be the one behind the server."""
    if arguments.model_uri:
        found = first_registered([arguments.model_uri])
    else:
        uris = candidates(os.environ, server.model_name or "proto_model")
        try:
            found = first_registered(uris)
        except ProtoModelError as error:
            raise InvocationError(
                f"{server.url} does not tell which columns its model takes, and MLflow has none of "
                f"{', '.join(uris)}. Send rows of your own with --data, or name a model with --model-uri.\n"
                f"{error}"
            ) from error
    say(f"Row: the example of {found.model_uri}")
    return found
