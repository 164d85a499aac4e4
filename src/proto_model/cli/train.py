"""Train every forest variant on a table, log it to MLflow and register the models.

Uses the MLflow store that MLFLOW_TRACKING_URI names, by default mlflow.db and
mlruns/ in this folder. The last line printed names the run to serve:
MLFLOW_RUN_ID=<run id>.

Example: python -m proto_model train --dataset adult.csv --target class
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto_model.cli.parser import CommandParser
from proto_model.registry.settings import TrainingSettings

if TYPE_CHECKING:
    from proto_model.registry.training_run import TrainingOutcome


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line: an option for each of the `TrainingSettings`."""
    parser = CommandParser("train", __doc__)
    defaults = TrainingSettings().as_params()
    for setting in dataclasses.fields(TrainingSettings):
        default = f" (default: {defaults[setting.name]})" if defaults[setting.name] else ""
        parser.add_argument(
            f"--{setting.name.replace('_', '-')}",
            type=_reader(setting.metadata["read"]),
            default=setting.default,
            help=setting.metadata["help"] + default,
        )
    return parser


def _reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Reader whose complaint argparse shows."""

    def reader(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return reader


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when all went well, 1 when training failed, 2 when the arguments are wrong."""
    settings = TrainingSettings(**vars(build_parser().parse_args(argv)))

    from proto_model.registry.tracking import quiet_mlflow, warnings_shown_once

    quiet_mlflow()
    gc.disable()  # garbage collection during the imports takes half a second and finds nothing
    # Before all others: it looks for NumPy's functions in every module that is loaded.
    importlib.import_module("skops.io")
    from rich.console import Console

    from proto_model.cli.dataset import load_dataset, load_dictionary
    from proto_model.cli.exit_code import exit_code
    from proto_model.cli.paths import callers_folders
    from proto_model.registry.mapping import located_mapping
    from proto_model.registry.training_run import train

    gc.freeze()
    gc.enable()
    folders = callers_folders(os.environ, Path.cwd())
    talk = Console(stderr=True, emoji=False)

    def run() -> int:
        chosen = settings
        if chosen.mapping:
            chosen = dataclasses.replace(chosen, mapping=located_mapping(chosen.mapping, folders))
        with warnings_shown_once(talk):
            outcome = train(
                chosen,
                lambda: load_dataset(chosen.dataset, folders),
                talk,
                lambda: load_dictionary(chosen.dictionary, folders),
            )
        _print_outcome(outcome, chosen.registered_model_name)
        return 0

    return exit_code(run)


def _print_outcome(outcome: TrainingOutcome, model: str) -> None:
    from rich.console import Console

    from proto_model.registry.cautions import show_cautions
    from proto_model.training import leader_board

    best = outcome.standings[0]
    board = Console(width=None if sys.stdout.isatty() else 120, emoji=False)
    board.print(leader_board.rich_table(outcome.standings, "Leader board", board.width))
    show_cautions(outcome.cautions, board)
    print(f"{best.variant} is version {outcome.versions[best.variant]} of {model}, with the alias challenger")
    name = "" if model == TrainingSettings().registered_model_name else f" --model {shlex.quote(model)}"
    print(f"To compare it with the champion: python -m proto_model compare{name}")
    print(f"MLFLOW_RUN_ID={outcome.run_id}", flush=True)
