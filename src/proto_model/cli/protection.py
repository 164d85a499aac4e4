"""Flags of who may ask a server, and how."""

from __future__ import annotations

import argparse
import os

from proto_model.serving.http.certificates import Protection

HELP = {
    "token_file": "file with a line `name: token` for each client; without one, no client needs a token",
    "open": "what needs no token: health, metrics, docs (schema, metadata, version), with commas, or none",
    "tls_cert": "PEM file with the certificate chain: the server speaks HTTPS",
    "tls_key": "PEM file with its key, if it is not in the same file",
    "tls_client_ca": "PEM file with the authority whose certificates clients must have",
}


def add_protection(parser: argparse.ArgumentParser) -> None:
    """Add a flag per field of `Protection`, each with a variable such as PROTO_MODEL_TOKEN_FILE."""
    default = Protection()
    group = parser.add_argument_group("access")
    for name, text in HELP.items():
        variable = f"PROTO_MODEL_{name.upper()}"
        value = getattr(default, name)
        group.add_argument(
            f"--{name.replace('_', '-')}",
            default=os.environ.get(variable, value),
            metavar="WHAT" if name == "open" else "FILE",
            help=f"{text} (default: {variable}{f', or {value}' if value else ''})",
        )
