"""`serve`: start the HTTP service. Its flags are the settings."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable

from mapper.http.settings import MapperSettings


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    serve = commands.add_parser(
        "serve",
        help="start the HTTP service",
        description="Start the HTTP service. Each flag has a variable, such as MAPPER_PORT; the flag wins.",
        epilog="Examples: python -m mapper serve --schema build/schema.json --port 8080 --workers 2; "
        "to follow promotions, python -m mapper serve --schema models:/proto_model@champion --follow 10; for "
        "several models, python -m mapper serve --schema a=models:/a@champion --schema b=models:/b@champion",
    )
    for setting in dataclasses.fields(MapperSettings):
        default = "" if "default" in setting.metadata["help"] else f" (default: {setting.default})"
        flags = [setting.metadata["flag"] or f"--{setting.name.replace('_', '-')}"]
        flags += ["--model"] if setting.name == "schema" else []
        kind: Callable[[str], object] = type(setting.default)
        if kind is bool:
            text = setting.metadata["help"]
            serve.add_argument(*flags, dest=setting.name, action="store_true", default=None, help=text)
            continue
        if setting.name == "schema":
            serve.add_argument(
                *flags, dest="schema", action="append", help=setting.metadata["help"] + default
            )
            continue
        serve.add_argument(*flags, dest=setting.name, type=kind, help=setting.metadata["help"] + default)
    serve.set_defaults(run=_serve)


def _serve(args: argparse.Namespace) -> int:
    from mapper.http.process import run_service

    flags = vars(args)
    if flags["schema"] is not None:
        flags["schema"] = ",".join(flags["schema"])
    return run_service(MapperSettings.load(os.environ, flags), os.environ)
