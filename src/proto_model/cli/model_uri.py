"""The model that a command is about, as commands name it."""

from __future__ import annotations

import argparse

CHAMPION = "models:/proto_model@champion"
HELP = "folder or URI of the model (default: %(default)s)"


def add_model_uri(parser: argparse.ArgumentParser) -> None:
    """Add the option `-m`, `--model-uri`."""
    parser.add_argument("-m", "--model-uri", default=CHAMPION, help=HELP)
