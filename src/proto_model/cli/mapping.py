"""Attach an application's mapping to an existing version.

Example: python -m proto_model mapping attach mapping.yaml --model models:/proto_model@champion

The mapper checks the mapping first, as it does in training (-P mapping=mapping.yaml). Mappers read it when
they start.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from proto_model.cli.exit_code import exit_code
from proto_model.cli.parser import CommandParser
from proto_model.cli.paths import callers_folders


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("mapping", __doc__)
    parser.add_argument("action", choices=("attach",), help="attach: put it into a version")
    parser.add_argument("file", metavar="FILE", help="mapping.yaml, or path/to/module.py:Class, which is run")
    versions = "models:/name@alias or models:/name/3 (default: %(default)s)"
    parser.add_argument("--model", default="models:/proto_model@champion", metavar="URI", help=versions)
    parser.add_argument("--replace", action="store_true", help="replace the mapping that the version has")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the version has the mapping."""
    arguments = build_parser().parse_args(argv)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

    import mlflow

    from proto_model.registry.mapping import attach_to_version, located_mapping
    from proto_model.registry.tracking import check_store

    def run() -> int:
        source = located_mapping(arguments.file, callers_folders(os.environ, Path.cwd()))
        check_store(mlflow.get_tracking_uri())
        attached = attach_to_version(source, arguments.model, replace=arguments.replace)
        print(f"{', '.join(attached.files)} attached to {arguments.model}. Start its mappers again.")
        return 0

    return exit_code(run)
