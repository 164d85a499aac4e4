"""Flags of what is asked of a version before it is used."""

from __future__ import annotations

import argparse
import os

from proto_model.registry.publishing.trust import KEY_VARIABLE, REQUIRE_VARIABLE, Trust


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add `--require-published` and `--verify-key`, each with a variable of its own."""
    group = parser.add_argument_group("trust")
    group.add_argument(
        "--require-published",
        action="store_true",
        help=f"use only a published version whose files are unchanged (default: {REQUIRE_VARIABLE})",
    )
    group.add_argument(
        "--verify-key",
        action="append",
        metavar="FILE",
        help="use only a version published with this key: a PEM file with the public key, or with the "
        f"certificate of an authority; may be given several times (default: {KEY_VARIABLE})",
    )


def given_trust(arguments: argparse.Namespace) -> Trust:
    """What the flags, or their variables, ask for; PublicationError if a key cannot be used."""
    return Trust.asked(arguments.require_published, arguments.verify_key or (), os.environ)
