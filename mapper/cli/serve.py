"""`serve`: start the HTTP service. Its flags are the settings."""

from __future__ import annotations

import argparse
import dataclasses
import os
from typing import Any

from mapper.http.settings import MapperSettings

METAVARS: dict[type, str] = {int: "N", float: "SECONDS"}
LIMITS = "limits"
# Titles of `--help`, and the settings below them; all others are limits.
GROUPS: dict[str, tuple[str, ...]] = {
    "model": (
        *("model_server_url", "schema", "follow", "explainer_url", "registry_url", "signature", "mapping"),
        *("model", "allow_code", "code_digest"),
    ),
    "address": ("host", "port", "health_port", "allowed_hosts", "workers", "log_level"),
    "access": ("token_file", "open", "tls_cert", "tls_key", "tls_client_ca"),
    "login at the model server": ("model_token_file", "model_ca_file", "model_cert_file", "model_key_file"),
    LIMITS: (),
}


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    serve = commands.add_parser(
        "serve",
        help="start the HTTP service",
        usage="%(prog)s [options]",
        description="Start the HTTP service. Each flag has a variable, such as MAPPER_PORT; the flag wins.",
        epilog="""For example:
  python -m mapper serve --schema build/schema.json --port 8080 --workers 2
  python -m mapper serve --schema models:/proto_model@champion --follow 10
  python -m mapper serve --schema a=models:/a@champion --schema b=models:/b@champion""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    groups = {title: serve.add_argument_group(title) for title in GROUPS}
    for setting in dataclasses.fields(MapperSettings):
        _add_flag(groups[group_of(setting.name)], setting)
    serve.set_defaults(run=_serve)


def group_of(name: str) -> str:
    """Title of the group of flags that a setting belongs to."""
    return next((title for title, names in GROUPS.items() if name in names), LIMITS)


def _add_flag(group: argparse._ArgumentGroup, setting: dataclasses.Field[Any]) -> None:
    """Add the flag of a setting."""
    text = setting.metadata["help"]
    text += "" if "default" in text or setting.type == "bool" else f" (default: {setting.default})"
    flags = [setting.metadata["flag"] or f"--{setting.name.replace('_', '-')}"]
    flags += ["--model"] if setting.name == "schema" else []
    kind: dict[str, Any] = {
        "type": type(setting.default),
        "metavar": METAVARS.get(type(setting.default), "TEXT"),
    }
    if setting.type == "bool":
        kind = {"action": "store_true", "default": None}
    elif setting.name == "schema":
        kind = {"action": "append", "metavar": "MODEL"}
    group.add_argument(*flags, dest=setting.name, help=text, **kind)


def _serve(args: argparse.Namespace) -> int:
    from mapper.http.process import run_service

    flags = vars(args)
    if flags["schema"] is not None:
        flags["schema"] = ",".join(flags["schema"])
    return run_service(MapperSettings.load(os.environ, flags), os.environ)
