"""Send a model's example row, or the rows of a file, to a server; show the answer.

The example row is read from MLflow (see MLFLOW_TRACKING_URI). Exit status:
0 answered, 1 no answer from the server or MLflow, 2 wrong arguments or file.

Example: python run_proto_model_invocation.py --mapper --explain
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import math
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proto_model.errors import InputError, ProtoModelError
from proto_model.registry.tracking import shown_url

if TYPE_CHECKING:
    from rich.table import Table

MODEL_SERVER_URL = "http://127.0.0.1:5001"
MAPPER_URL = "http://127.0.0.1:8080"

_PAUSE_S = 0.2
_MISTYPED = "The URL is not valid. Give one such as http://127.0.0.1:5001."


class InvocationError(ProtoModelError):
    """The server could not be reached, or did not answer with predictions."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m proto_model invoke",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", help=f"server (default: {MODEL_SERVER_URL}, or {MAPPER_URL} with --mapper)")
    parser.add_argument("--mapper", action="store_true", help="the server is the mapper")
    parser.add_argument("--explain", action="store_true", help="ask for explanations too")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, metavar="FILE", help="rows to send: JSON or CSV")
    source.add_argument(
        "--model-uri",
        default="models:/proto_model@champion",
        help="model whose example row is sent (default: %(default)s)",
    )
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

    arguments = build_parser().parse_args(argv)
    talk = Console(stderr=True)
    url = arguments.url or (MAPPER_URL if arguments.mapper else MODEL_SERVER_URL)
    try:
        records = read_records(arguments.data) if arguments.data else example_records(arguments.model_uri)
        path, body = request_body(records, through_mapper=arguments.mapper, explain=arguments.explain)
        rows = answered_rows(invoke(endpoint(url, path), body, wait_s=arguments.wait_s))
    except ProtoModelError as error:
        talk.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 2 if isinstance(error, InputError) else 1
    console = Console()
    console.print(answer_table(rows))
    for number, row in enumerate(rows):
        if "explanation" in row:
            console.print(explanation_text(number, row["explanation"]), markup=False, soft_wrap=True)
    return 0


def example_records(model_uri: str) -> list[dict[str, Any]]:
    """First row of a model's input example."""
    import mlflow.models
    from mlflow.exceptions import MlflowException

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        info = mlflow.models.get_model_info(model_uri)
        if info.saved_input_example_info is None:
            raise InputError(f"{model_uri} has no input example. Send rows of your own with --data.")
        example: Any = mlflow.models.Model.load(model_uri).load_input_example(model_uri)
    except (MlflowException, OSError) as error:
        raise ProtoModelError(f"Cannot load {model_uri}: {error}") from error
    records: list[dict[str, Any]] = json.loads(example.head(1).to_json(orient="records", double_precision=15))
    return records


def read_records(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON or CSV file.

    JSON holds one record, a list of records, or `{"columns": [...], "data": [[...], ...]}`. Everything else
    is read as CSV with a header. An InputError says that there are no rows in it.
    """
    try:
        if path.suffix.lower() == ".json":
            records = _records(json.loads(path.read_text(encoding="utf-8")))
        else:
            import pandas as pd

            frame = pd.read_csv(path, skipinitialspace=True)
            records = json.loads(frame.to_json(orient="records", double_precision=15))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"Cannot read {path}: {error}") from error
    if not records:
        raise InputError(f"{path} has no rows. Give one record, or a list of them.")
    return records


def _records(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, dict) and {"columns", "data"} <= content.keys():
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    if isinstance(content, dict):
        return [content]
    if isinstance(content, list) and all(isinstance(record, dict) for record in content):
        return content
    raise ValueError("one record, a list of records, or columns and data expected")


def request_body(
    records: list[dict[str, Any]], *, through_mapper: bool, explain: bool
) -> tuple[str, dict[str, Any]]:
    """Path below the server's URL and JSON body of the request for some rows."""
    if through_mapper:
        return ("/v1/explain" if explain else "/v1/predict"), {"data": records}
    columns = list(dict.fromkeys(name for record in records for name in record))
    body: dict[str, Any] = {
        "dataframe_split": {
            "columns": columns,
            "data": [[record.get(name) for name in columns] for record in records],
        }
    }
    if explain:
        body["params"] = {"explain": True}
    return "/invocations", body


def endpoint(server: str, path: str) -> str:
    """URL of a path below a server's; what stands behind a `?` there stays at the end."""
    try:
        parts = urlsplit(server)
    except ValueError as error:
        raise InvocationError(_MISTYPED) from error
    return parts._replace(path=parts.path.rstrip("/") + path).geturl()


def invoke(url: str, body: dict[str, Any], *, wait_s: float, timeout_s: float = 60.0) -> Any:
    """Parsed answer to a POST, sent again until a server that is starting has come up.

    For `wait_s` seconds it goes on while nothing listens there, or the answer is 503. An InvocationError says
    that nothing answers in time, or, in the server's own words, that the answer is an error or not JSON.
    """
    if not url.startswith(("http://", "https://")):
        raise InvocationError(_MISTYPED)
    shown = shown_url(url)
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    end = time.monotonic() + wait_s
    while True:
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            if error.code != 503 or time.monotonic() >= end:
                raise InvocationError(f"{shown} answered {error.code}: {_said(text)}") from error
        except OSError as error:  # urllib's URLError is one
            if time.monotonic() >= end:
                raise InvocationError(
                    f"No answer from {shown} within {wait_s:g} s: {getattr(error, 'reason', error)}. "
                    "Is the server running?"
                ) from error
        except http.client.InvalidURL as error:
            raise InvocationError(_MISTYPED) from error
        except http.client.HTTPException as error:
            raise InvocationError(f"{shown} is not an HTTP server. Check the port.") from error
        except ValueError as error:
            raise InvocationError(f"The answer from {shown} is not JSON: {error}") from error
        time.sleep(_PAUSE_S)


def answered_rows(answer: Any) -> list[dict[str, Any]]:
    """Predictions in an answer of the model server or the mapper, one dictionary per row."""
    rows = answer.get("predictions") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not rows:
        raise InvocationError(f"No predictions in the answer: {json.dumps(answer)[:500]}")
    return rows


def _said(text: str) -> str:
    """What an error body says: MLflow's `message`, MLServer's `error`, or a problem with its faults."""
    try:
        content = json.loads(text)
    except ValueError:
        return text[:2000]
    if not isinstance(content, dict):
        return text[:2000]
    said = content.get("message") or content.get("error") or content.get("detail") or content.get("title")
    faults = content.get("errors")
    return "\n".join(
        [str(said or text)[:4000], *(json.dumps(f) for f in (faults if isinstance(faults, list) else []))]
    )


def answer_table(rows: list[dict[str, Any]]) -> Table:
    """Predictions and probabilities, a line per row."""
    from rich.table import Table

    table = Table(title="Predictions")
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    table.add_column("row", justify="right")
    for name in columns:
        table.add_column(name, justify="left" if name == "prediction" else "right")
    for number, row in enumerate(flat):
        table.add_row(str(number), *(_cell(row.get(name)) for name in columns))
    return table


def explanation_text(number: int, explanation: dict[str, Any]) -> str:
    """Rule and counterfactuals of a row, in words."""
    lines = [f"Why row {number}: {explanation['rule']['text']}"]
    for counterfactual in explanation["counterfactuals"]:
        doubt = "" if counterfactual["valid"] else " (not confirmed by the model)"
        lines.append(f"  {counterfactual['text']}{doubt}")
    if not explanation["counterfactuals"]:
        lines.append("  no counterfactual found")
    return "\n".join(lines + [f"  note: {note}" for note in explanation["notes"]])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Row without its explanation; the mapper's probabilities as columns of their own."""
    cells: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict) and name != "explanation":
            cells |= {f"{name} {key}": item for key, item in value.items()}
        elif name != "explanation":
            cells[name] = value
    return cells


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None or value == [] else str(value)
