"""Send a row of the model's own, or rows of a file, to a served model, and show the answer.

The row is the model's input example, read from MLflow (MLFLOW_TRACKING_URI says where that is). Exit code 0:
answered; 1: the server, or MLflow, did not; 2: wrong arguments or file.

Example: python run_proto_model_invocation.py --mapper --explain
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from pathlib import Path
from typing import Any

from rich.console import Console

from proto_model.cli.invocation import answered_rows, endpoint, invoke, read_records, request_body
from proto_model.cli.invocation_view import answer_table, explanation_text
from proto_model.errors import InputError, ProtoModelError

MODEL_SERVER_URL = "http://127.0.0.1:5001"
MAPPER_URL = "http://127.0.0.1:8080"


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help=f"server; {MODEL_SERVER_URL}, or {MAPPER_URL} with --mapper")
    parser.add_argument("--mapper", action="store_true", help="the server is the mapper")
    parser.add_argument("--explain", action="store_true", help="ask for explanations, too")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, metavar="FILE", help="rows to send: JSON or CSV")
    source.add_argument(
        "--model-uri",
        default="models:/proto_model@champion",
        help="model whose example row is sent; %(default)s unless given",
    )
    parser.add_argument(
        "--wait-s", type=_seconds, default=60.0, help="wait for a server that is starting, %(default)g s"
    )
    return parser


def _seconds(text: str) -> float:
    """Time to wait, from a command line."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} given, seconds from 0 expected")
    return seconds


def example_records(model_uri: str) -> list[dict[str, Any]]:
    """First row of a model's input example."""
    import mlflow.models
    from mlflow.exceptions import MlflowException

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        info = mlflow.models.get_model_info(model_uri)
        if info.saved_input_example_info is None:
            raise InputError(f"{model_uri} has no input example. Send rows of your own with --data.")
        example = mlflow.models.Model.load(model_uri).load_input_example(model_uri)
    except (MlflowException, OSError) as error:
        raise ProtoModelError(f"{model_uri}: {error}") from error
    records: list[dict[str, Any]] = json.loads(example.head(1).to_json(orient="records", double_precision=15))
    return records


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    arguments = build_parser().parse_args(argv)
    talk = Console(stderr=True)
    url = arguments.url or (MAPPER_URL if arguments.mapper else MODEL_SERVER_URL)
    try:
        records = read_records(arguments.data) if arguments.data else example_records(arguments.model_uri)
        path, body = request_body(records, through_mapper=arguments.mapper, explain=arguments.explain)
        answer = invoke(endpoint(url, path), body, wait_s=arguments.wait_s)
        rows = answered_rows(answer)
    except InputError as error:
        talk.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    except ProtoModelError as error:
        talk.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    console = Console()
    console.print(answer_table(rows))
    for number, row in enumerate(rows):
        if "explanation" in row:
            console.print(explanation_text(number, row["explanation"]), markup=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
