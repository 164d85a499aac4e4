"""Train, compare, serve and score with Proto Model Turbo.

Example: python -m proto_model train --dataset wine

For the options of a command: python -m proto_model <command> --help
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from proto_model.cli.exit_code import FAILED, WRONG, interrupted, tell
from proto_model.cli.parser import CommandParser

COMMANDS = {
    "train": ("train all variants on a table and register them", "train"),
    "compare": ("promote the challenger if it is better than the champion", "train"),
    "serve": ("serve a model over HTTP, without loading MLflow", "serve,files"),
    "mlserver": ("configure MLServer for a model, and start it", "train"),
    "score": ("predict a file of any size", "files"),
    "spark-score": ("predict a table of any size with Apache Spark, once or as a stream", "train,spark"),
    "job": ("run a batch job in ModelOp's form, here or on Spark", "train,sources"),
    "mapping": ("add an application's mapping to a version", "train"),
    "verify": ("check that a published version has not changed", "train"),
    "keys": ("create a key pair to sign and verify versions with", "train"),
    "image": ("write an OCI image that serves a version, without a container engine", "train,serve,files"),
    "package": ("write a version as files that need no MLflow; check one, or register it elsewhere", "train"),
    "export": ("write a version as a page for the browser, or as a model source for ModelOp", "train"),
    "release": ("test a version, push its images, roll them out, record where it runs", "train,serve,files"),
    "container": ("serve the model of an image; images run this", "serve,files"),
    "versions": ("list, show, edit, publish and delete versions, and read their history", "train"),
    "access": ("control who may do what with a model, on a server with basic-auth", "train"),
    "formats": ("keep a version as ONNX, PMML, treelite, skops, a model of MLflow's, or a file", "train"),
    "source": ("run, show, serve or register a model source with ModelOp's tags", "train,serve,sources"),
    "invoke": ("send rows to a served model and show the answer", "train"),
}
"""Command, to one line of help and the extra that has its libraries.

Its module is `proto_model.cli.<command>`, with `_` for `-`, imported when it is asked for, with a
`main(argv) -> int`.
"""


def build_parser() -> CommandParser:
    """Parser of the command's name; the command parses the rest."""
    parser = CommandParser("", __doc__, epilog=f"commands:\n{listed_commands()}")
    parser.add_argument("command", choices=COMMANDS, metavar="command", help="one of the commands below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its options")
    return parser


def listed_commands() -> str:
    """A line for each command."""
    width = max(map(len, COMMANDS))
    return "\n".join(f"  {name:<{width}}  {summary}" for name, (summary, _) in COMMANDS.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; without one, list them all."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not words:
        tell(
            f"Give a command:\n\n{listed_commands()}\n\nFor its options, type: {parser.prog} <command> --help"
        )
        return WRONG
    arguments = parser.parse_args(words)
    command: str = arguments.command
    try:
        module = importlib.import_module(f"proto_model.cli.{command.replace('-', '_')}")
        result: int = module.main(arguments.arguments)
    except ModuleNotFoundError as error:
        if (error.name or "proto_model").partition(".")[0] == "proto_model":
            raise
        extra = COMMANDS[command][1]
        tell(
            f"{command} needs {error.name}, which is not installed. "
            f'Install it with: pip install "proto-model-turbo[{extra}]"'
        )
        return FAILED
    except KeyboardInterrupt:  # also while libraries are loaded, which takes seconds
        return interrupted()
    return result
