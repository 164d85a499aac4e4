"""Store a version in other formats: list, add, download and delete them.

Example: python -m proto_model formats add -m models:/proto_model@challenger onnx

  onnx      one graph, from the table's columns to label and probabilities; `mlflow models serve` serves it
  pmml      PMML 4.4
  treelite  the forest alone, for coded rows
  skops     the scikit-learn pipeline, without pickle
  sklearn   the same as a model of MLflow's own flavor; `mlflow models serve` serves it
  pickle    the same as a pickle, which runs code where it is loaded; never served
  file      a model from elsewhere, kept as it is and never loaded: formats add -m ... file model.rda

What this project writes is verified before it appears: on the held-out rows, and on rows at the forest's
thresholds, with missing values and with unseen categories. `formats list` shows the verdict beside its
SHA-256. A published version has the formats that it was published with.

onnx and treelite need: pip install "proto-model-turbo[formats]"
Exit status: 0 done, 1 refused or failed, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto_model.cli.registry_command import (
    Action,
    confirmed,
    parser_with_actions,
    run_action,
    say,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from rich.console import Console


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser, plain_action = parser_with_actions("formats", __doc__)

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        added = plain_action(name, summary)
        added.add_argument(
            "-m",
            "--model-uri",
            required=True,
            metavar="VERSION",
            help="models:/name@alias or models:/name/7",
        )
        return added

    action("list", "list the formats of a version")
    add = action("add", "write a version in a format, verify it, and keep it; or keep a file")
    add.add_argument("format", help="onnx, pmml, treelite, skops, sklearn, pickle or file")
    add.add_argument("path", nargs="?", type=Path, metavar="FILE", help="the file, for the format file")
    download = action("download", "download a format and verify its SHA-256")
    download.add_argument("name", metavar="FORMAT", help="as listed: onnx, or the name of a file")
    download.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder (default: this one)"
    )
    delete = action("delete", "delete a format of a version that is not published")
    delete.add_argument("name", metavar="FORMAT", help="as listed")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the result is the exit status."""
    arguments = build_parser().parse_args(argv)
    return run_action(_ACTIONS[arguments.action], arguments)


def _list(arguments: argparse.Namespace, client: MlflowClient, shown: list[Any], console: Console) -> int:
    from proto_model.registry.catalog.tables import formats_table
    from proto_model.registry.formats import version_formats

    records = version_formats(client, arguments.model_uri)
    if arguments.json:
        shown.append([record.to_dict() for record in records])
    elif records:
        shown.append(formats_table(records))
    else:
        say(f"{arguments.model_uri} has no formats. See: python -m proto_model formats add --help")
    return 0


def _add(arguments: argparse.Namespace, client: MlflowClient, shown: list[Any], console: Console) -> int:
    from proto_model.formats import FORMATS
    from proto_model.registry.catalog.tables import formats_table
    from proto_model.registry.formats import add_format

    if arguments.format in FORMATS and FORMATS[arguments.format].warning:
        say(f"Warning: {FORMATS[arguments.format].warning}")
    with console.status(f"Writing and verifying {arguments.format} ..."):
        record = add_format(client, arguments.model_uri, arguments.format, arguments.path)
    shown.append(record.to_dict() if arguments.json else formats_table([record]))
    return 0


def _download(arguments: argparse.Namespace, client: MlflowClient, shown: list[Any], console: Console) -> int:
    from proto_model.registry.formats import download_format

    path = download_format(client, arguments.model_uri, arguments.name, arguments.out)
    shown.append({"path": str(path)} if arguments.json else str(path))
    return 0


def _delete(arguments: argparse.Namespace, client: MlflowClient, shown: list[Any], console: Console) -> int:
    from proto_model.registry.formats import delete_format

    if not confirmed(f"Delete the format {arguments.name} of {arguments.model_uri}?", arguments.yes):
        return 1
    record = delete_format(client, arguments.model_uri, arguments.name)
    say(f"Deleted the format {record.name}.")
    if arguments.json:
        shown.append(record.to_dict())
    return 0


_ACTIONS: dict[str, Action] = {"list": _list, "add": _add, "download": _download, "delete": _delete}
