"""A folder with a model source for ModelOp: code with smart tags, attachment, Avro schemas, requirements.

Example: python -m proto_model export modelop -m models:/proto_model@champion --out churn

This runs it, to the same bits as every server; docs/sources.md says more:
python -m proto_model source run churn/model_source.py --attachment churn/attachment.zip --data rows.csv
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from proto_model.cli.model_uri import add_model_uri
from proto_model.cli.trust import add_trust, given_trust


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this form."""
    add_model_uri(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write, new or empty"
    )
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    add_trust(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the folder, and say what is in it."""
    from proto_model.registry.tracking import quiet_mlflow

    quiet_mlflow()
    from proto_model.deployment.modelop.writing import write_source

    done = write_source(arguments.model_uri, arguments.out, trust=given_trust(arguments))
    if arguments.json:
        facts = {"path": str(done.path), "files": done.n_files, "bytes": done.n_bytes}
        print(json.dumps(facts | {"attachment_sha256": done.digest}, indent=2))
        return 0
    print(f"{done.title}: {done.n_files} files, {done.n_bytes / 1e6:.1f} MB", file=sys.stderr)
    print(done.path)
    return 0
