"""`schema`: show what the model takes."""

from __future__ import annotations

import argparse
import os
from contextlib import closing

from mapper.application.model import tabular_model
from mapper.cli.predict import DEFAULT_URL, add_target_flags
from mapper.cli.tables import print_json, schema_table, terminal_width
from mapper.client.target import ServiceTarget
from mapper.model_server.login import Login
from mapper.registry import find_model

TIMEOUT_S = 30.0


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    schema = commands.add_parser(
        "schema",
        help="show what the model takes",
        description="Show what the model takes and which classes it knows.",
        epilog="Example: python -m mapper schema --model models:/proto_model@champion",
    )
    add_target_flags(schema)
    schema.add_argument("--json", action="store_true", help="print schema.json itself")
    schema.set_defaults(run=_print_schema)


def _print_schema(args: argparse.Namespace) -> int:
    if args.schema:
        published = find_model(args.schema, args.registry_url, os.environ)
        schema = tabular_model(published.schema, published.files).schema
    else:
        login = Login(args.token_file, args.ca_file)
        with closing(ServiceTarget(args.url or DEFAULT_URL, TIMEOUT_S, login)) as target:
            known = target.schema
            if known is None:
                print_json(target.document)
                return 0
            schema = known
    if args.json:
        print_json(schema.content)
    else:
        print(schema_table(schema, terminal_width()))
    return 0
