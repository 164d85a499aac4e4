"""Train, serve and score with Proto Model Turbo.

Example: python -m proto_model train --dataset wine

For the options of a command: python -m proto_model <command> --help
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

__all__ = ["COMMANDS", "build_parser", "main"]

COMMANDS = {
    "train": ("proto_model.cli.train", "train all variants on a table and register them"),
    "serve": ("proto_model.cli.serve", "serve a model over HTTP, without loading MLflow"),
    "score": ("proto_model.cli.score", "predict a file of any size"),
}
"""Command name to the module whose `main(argv) -> int` it calls (imported only then) and one line of help."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command's name; the command parses the rest."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m proto_model",
        description=__doc__,
        epilog=f"commands:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command", help="one of the commands below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its options")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = build_parser().parse_args(argv)
    module, _ = COMMANDS[arguments.command]
    result: int = importlib.import_module(module).main(arguments.arguments)
    return result
