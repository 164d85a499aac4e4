"""Train, serve and score with Proto Model Turbo.

Example: python -m proto_model train --dataset wine

Every command explains itself: python -m proto_model <command> --help
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

__all__ = ["COMMANDS", "build_parser", "main"]

COMMANDS = {
    "train": ("proto_model.cli.train", "train all variants on a table and register them"),
    "serve": ("proto_model.cli.serve", "answer requests over HTTP, fast and light"),
    "score": ("proto_model.cli.score", "predictions for a file of any size"),
}
"""Command name to the module whose `main(argv) -> int` it calls (imported only then) and one line of help."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command's name; the rest of the line is the command's own."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m proto_model",
        description=__doc__,
        epilog=f"commands:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command", help="one of those below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its own arguments")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = build_parser().parse_args(argv)
    module, _ = COMMANDS[arguments.command]
    result: int = importlib.import_module(module).main(arguments.arguments)
    return result


if __name__ == "__main__":
    sys.exit(main())
