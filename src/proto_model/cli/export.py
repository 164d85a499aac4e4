"""Write a version in the form that another place runs.

Examples
--------
    python -m proto_model export browser -m models:/proto_model@champion --out page
    python -m proto_model export modelop -m models:/proto_model@champion --out churn

  browser  a folder with a page that predicts, explains and scores CSV files in the browser, without a server
  modelop  a folder with a model source for ModelOp: code with smart tags, attachment, Avro schemas

For the options of one: python -m proto_model export browser --help
Exit status: 0 done, 1 refused or failed, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

from proto_model.cli.exit_code import exit_code
from proto_model.cli.parser import CommandParser

TARGETS = {
    "browser": "proto_model.cli.export_browser",
    "modelop": "proto_model.cli.export_modelop",
}
"""Name of each form, to the module with its help, `add_arguments(parser)` and `run(arguments) -> int`."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("export", __doc__)
    forms = parser.add_subparsers(dest="target", metavar="form", required=True)
    for name, place in TARGETS.items():
        module = importlib.import_module(place)
        text = module.__doc__ or ""
        added = forms.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(added)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the result is the exit status."""
    arguments = build_parser().parse_args(argv)
    module = importlib.import_module(TARGETS[arguments.target])
    return exit_code(lambda: int(module.run(arguments)))
