"""Write a folder with a page that predicts, explains and scores CSV files in the browser, without a server.

Example: python -m proto_model export browser -m models:/proto_model@champion --out page

Open page/index.html from disk, or put the folder on any static server. The page holds the model and makes no
network request: no row leaves the browser. engine.mjs and model.bin are the same for programs of your own, in
Node.js or on the edge. The same version gives the same bytes. The page holds the background of explanations,
which has rows of the training table only if the version was trained with background=rows.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from proto_model.cli.model_uri import add_model_uri
from proto_model.cli.trust import add_trust, given_trust


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this form."""
    add_model_uri(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write, which is new or empty"
    )
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    add_trust(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the folder and say where it is."""
    from proto_model.registry.tracking import quiet_mlflow

    quiet_mlflow()
    from proto_model.deployment.browser import write_page

    done = write_page(arguments.model_uri, arguments.out, trust=given_trust(arguments))
    if done.has_rows:
        _say(
            "Warning: the page holds rows of the training table, because the version was trained with "
            "background=rows. Whoever gets the page can read them."
        )
    if arguments.json:
        print(json.dumps(done.to_dict(), indent=2))
        return 0
    published = ", published" if done.published else ""
    _say(f"{done.title}{published}: a page of {done.n_bytes / 1e6:.1f} MB")
    print(done.index)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
