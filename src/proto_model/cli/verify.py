"""Verify a published version: files, manifest, signature, and what MLflow says of it.

Example: python -m proto_model verify -m models:/proto_model@champion --key verify-key.pem

A folder is verified without a network and without MLflow. Its manifest and signature are those of the folder
<folder>.publication, unless they are given. Says which file differs; the exit code is 0 when the version is
what was published, 1 when it is not, and 2 when that could not be found out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from proto_model.cli.exit_code import WRONG, exit_code
from proto_model.cli.model_uri import add_model_uri
from proto_model.cli.parser import CommandParser
from proto_model.cli.trust import given_trust
from proto_model.registry.publishing.trust import KEY_VARIABLE

if TYPE_CHECKING:
    from proto_model.registry.publishing import Publication, Verdict


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("verify", __doc__)
    add_model_uri(parser)
    parser.add_argument(
        "--key",
        action="append",
        dest="verify_key",
        metavar="FILE",
        help="PEM file with the public key, or with the certificate of an authority; may be given several "
        f"times (default: {KEY_VARIABLE}; without one, nobody's signature is verified)",
    )
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="manifest of the folder")
    parser.add_argument("--signature", type=Path, metavar="FILE", help="signature of the folder")
    parser.add_argument(
        "--reproduce",
        action="store_true",
        help="train it again in a store of its own, from the table and the settings of its run, and compare "
        "the models to the last bit",
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 for a good version, 1 for another one, 2 when nothing is known."""
    arguments = build_parser().parse_args(argv)
    arguments.require_published = False
    return exit_code(lambda: _run(arguments), failed=lambda _: WRONG)


def _run(arguments: argparse.Namespace) -> int:
    verdict = _verdict(arguments)
    if arguments.json:
        print(json.dumps({"model_uri": arguments.model_uri, **verdict.to_dict()}, indent=2))
    else:
        print("\n".join(_lines(arguments.model_uri, verdict, arguments.reproduce)))
    return 0 if verdict.is_good else 1


def _verdict(arguments: argparse.Namespace) -> Verdict:
    from proto_model.registry.publishing import verify
    from proto_model.registry.tracking import quiet_mlflow

    quiet_mlflow()
    keys = given_trust(arguments).verify_keys()
    verdict = verify(arguments.model_uri, keys, publication=_publication(arguments))
    if not arguments.reproduce:
        return verdict
    from proto_model.registry.provenance.reproduction import reproduced

    return verdict.with_findings(reproduced(arguments.model_uri))


def _publication(arguments: argparse.Namespace) -> Publication | None:
    """The files that were given."""
    from proto_model.registry.publishing import Publication
    from proto_model.registry.publishing.manifest import read_part

    if arguments.manifest is None and arguments.signature is None:
        return None
    manifest, signature = (
        None if path is None else read_part(path) for path in (arguments.manifest, arguments.signature)
    )
    return Publication(manifest, signature)


def _lines(model_uri: str, verdict: Verdict, reproduced: bool) -> list[str]:
    name = f"version {verdict.version} of {verdict.model}" if verdict.version else model_uri
    if not verdict.is_good:
        return [f"{name} is not what was published:", *(f"  {one.detail}" for one in verdict.findings)]
    published = (
        f", published at {verdict.published_at} by {verdict.published_by}" if verdict.published_at else ""
    )
    signed = f"Signed with {verdict.signer}." if verdict.signer else "No signature was verified: give --key."
    line = f"{name}{published}: {verdict.n_files} files are unchanged. {signed}"
    return [line, "Trained again, it is the same to the last bit."] if reproduced else [line]
