"""What the commands on MLflow's registry share: the store, tables or JSON, questions, exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from proto_model.cli.exit_code import exit_code
from proto_model.cli.parser import CommandParser
from proto_model.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from rich.console import Console

# What JSON may hold as it is, and a terminal obeys.
_STEERING = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

Action = Callable[[argparse.Namespace, "MlflowClient", list[Any], "Console"], int]
"""Appends what is to be shown to a list; the result is the exit status."""


def parser_with_actions(
    command: str, doc: str | None
) -> tuple[argparse.ArgumentParser, Callable[[str, str], argparse.ArgumentParser]]:
    """Parser of a command, and a function that adds the parser of an action: its name, and what it does."""
    parser = CommandParser(command, doc)
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        add_common(added)
        return added

    return parser, action


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options that every action has."""
    parser.add_argument("--tracking-uri", help="MLflow server or store (default: MLFLOW_TRACKING_URI)")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")


def run_action(action: Action, arguments: argparse.Namespace) -> int:
    """Run an action of a command; the result is the exit status: 1 for what is refused, 2 for wrong input."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    from proto_model.registry.tracking import check_store, quiet_mlflow, warnings_shown_once

    quiet_mlflow()
    import mlflow
    from rich.console import Console

    from proto_model.registry.patience import patient

    console = Console(stderr=True, emoji=False)
    if arguments.tracking_uri:
        mlflow.set_tracking_uri(arguments.tracking_uri)

    def run() -> int:
        shown: list[Any] = []
        with contextlib.redirect_stdout(sys.stderr), warnings_shown_once(console):
            check_store(mlflow.get_tracking_uri())
            status = action(arguments, patient(mlflow.MlflowClient()), shown, console)
        for item in shown:
            _print(item, as_json=arguments.json)
        return status

    return exit_code(run)


def _print(item: Any, *, as_json: bool) -> None:
    from rich.console import Console

    if as_json:
        print(json_text(item))
        return
    # Of a table in a pipe, nothing is to be cut off or folded into many lines.
    Console(emoji=False, width=None if sys.stdout.isatty() else 220).print(
        item, highlight=False, markup=False
    )


def json_text(item: Any) -> str:
    """JSON for a terminal: what that would obey is escaped."""
    text = json.dumps(item, ensure_ascii=False, indent=2)
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def confirmed(question: str, yes: bool) -> bool:
    """Whether the user agrees; an InputError says that there is nobody to ask."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError(f"{question} There is no terminal to ask at. Give --yes.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    say("Nothing was changed.")
    return False


def say(text: str) -> None:
    """Tell the user something that is not the result."""
    from proto_model.registry.tracking import printable

    print(printable(text), file=sys.stderr, flush=True)
