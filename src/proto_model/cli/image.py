"""Write an OCI image that serves a model version; no container engine is needed.

Example: python -m proto_model image -m models:/proto_model@champion --out image.tar -t churn:7

docker load, podman load, skopeo, containerd and Kubernetes take the file. The image holds Python, the server,
the model, and a list of what it is made of: no shell, no pip. The same version gives the same digest. It
runs as user 65532 with a read-only root file system, listens on port 8080 and takes the options of
`python -m proto_model serve`. The packages come from Debian, unpacked by mmdebstrap, and from PyPI.
--context writes a folder for `docker build` instead, on any system.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from proto_model.cli.exit_code import exit_code
from proto_model.cli.model_uri import add_model_uri
from proto_model.cli.parser import CommandParser
from proto_model.cli.trust import add_trust, given_trust

_SERVERS = ("lean", "mlserver", "mlflow", "mapper")
_ARCHITECTURES = ("amd64", "arm64")


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("image", __doc__)
    add_model_uri(parser)
    parser.add_argument("--out", type=Path, help="file to write: an OCI image layout as a tar")
    parser.add_argument("--context", type=Path, metavar="DIR", help="write a folder for docker build instead")
    parser.add_argument("-t", "--tag", default="", metavar="NAME:TAG", help="name of the image")
    parser.add_argument("--server", choices=_SERVERS, default="lean", help="default: %(default)s")
    parser.add_argument("--arch", choices=_ARCHITECTURES, default="", help="default: this machine's")
    parser.add_argument("--mirror", default="", help="mirror of Debian's packages (default: deb.debian.org)")
    parser.add_argument(
        "--push", action="store_true", help="push it to the registry that --tag names, with skopeo"
    )
    add_trust(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the image is written, 1 when it could not be, 2 for wrong arguments."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if (arguments.out is None) == (arguments.context is None):
        parser.error("give one of --out FILE and --context DIR")
    if arguments.push and (arguments.out is None or not arguments.tag):
        parser.error("--push needs --out FILE and --tag NAME:TAG")
    return exit_code(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    from proto_model.deployment.image.build import ImageOptions, build_image
    from proto_model.deployment.image.context import write_context
    from proto_model.deployment.image.push import push
    from proto_model.deployment.image.recipe import recipe_of
    from proto_model.registry.publishing import trusted_apart
    from proto_model.registry.tracking import commit_of

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    trust = given_trust(arguments)
    with tempfile.TemporaryDirectory(prefix="proto_model-") as download:
        say(f"Model: {arguments.model_uri}")
        recipe = recipe_of(trusted_apart(arguments.model_uri, Path(download), trust), arguments.server)
        if arguments.context is not None:
            write_context(recipe, arguments.context)
            print(f"docker build -t {arguments.tag or recipe.schema.model_name} {arguments.context}")
            return 0
        options = ImageOptions(arguments.arch, arguments.mirror, arguments.tag, commit_of(recipe.run_id))
        image = build_image(recipe, arguments.out, options, say)
        say(
            f"{arguments.out}: {image.n_bytes / 1e6:.1f} MB compressed, "
            f"{sum(layer.n_unpacked_bytes for layer in image.layers) / 1e6:.0f} MB unpacked"
        )
        print(image.digest)
        if arguments.push:
            push(arguments.out, arguments.tag, say)
    return 0


if __name__ == "__main__":
    sys.exit(main())
