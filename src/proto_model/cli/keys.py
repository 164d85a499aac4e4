"""Make a pair of keys: one to sign versions with when they are published, one to verify them with.

Example: python -m proto_model keys --out keys

The files are signing-key.pem, which only its owner may read, and verify-key.pem, for everybody. The first one
is encrypted with the password of PROTO_MODEL_SIGNING_PASSWORD, or the one that is typed in. An empty one
leaves it as it is. `openssl ecparam -name prime256v1 -genkey` makes such a key, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from proto_model.cli.exit_code import exit_code
from proto_model.cli.parser import CommandParser


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("keys", __doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for both files")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when both files are written."""
    arguments = build_parser().parse_args(argv)
    from proto_model.registry.publishing import make_keys
    from proto_model.registry.publishing.publish import password

    def run() -> int:
        for path in make_keys(arguments.out, password("Password of the signing key (none: empty): ")):
            print(path)
        return 0

    return exit_code(run)
