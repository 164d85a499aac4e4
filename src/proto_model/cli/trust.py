"""Flags of what is asked of a version before it is used."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proto_model.registry.publishing import Trust

REQUIRE_VARIABLE = "PROTO_MODEL_REQUIRE_PUBLISHED"
KEY_VARIABLE = "PROTO_MODEL_VERIFY_KEY"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add `--require-published` and `--verify-key`, each with a variable of its own."""
    group = parser.add_argument_group("trust")
    group.add_argument(
        "--require-published",
        action="store_true",
        help=f"use no version but a published one whose files are unchanged (default: {REQUIRE_VARIABLE})",
    )
    group.add_argument(
        "--verify-key",
        action="append",
        metavar="FILE",
        help="use no version but one published with this key: a PEM file with the public key, or with the "
        f"certificate of an authority; may be given several times (default: {KEY_VARIABLE})",
    )


def given_trust(arguments: argparse.Namespace) -> Trust:
    """What the flags, or their variables, ask for; PublicationError if a key cannot be used."""
    from proto_model.registry.publishing import PublicationError, Trust

    required = os.environ.get(REQUIRE_VARIABLE, "").strip().lower()
    if required not in _TRUE + _FALSE:
        raise PublicationError(f"{REQUIRE_VARIABLE} is {required!r}, true or false expected.")
    keys = arguments.verify_key or list(filter(None, os.environ.get(KEY_VARIABLE, "").split(os.pathsep)))
    return Trust.of(arguments.require_published or required in _TRUE, keys)
