"""Release a version: test it, build its images, push them, roll them out, and note where it runs.

Example: DEPLOYMENT_ENV=staging python -m proto_model release -m models:/proto_model@challenger \
--registry registry.example.com/churn

1. The alias is resolved once; all later steps use that version.
2. Its server and its mapper are started here, and asked for a prediction (`python -m proto_model invoke`).
3. Both images are built and pushed to --registry. `oci:FOLDER` is a folder in place of a registry.
4. A kustomization with the images' digests on top of the environment's overlay is written and applied.
5. When all pods are new, the version gets the tag deployed_<environment>, and the previous version loses it.

It needs mmdebstrap (or --context), skopeo and kubectl. A step that fails ends the release, and the error
names the step.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from proto_model.cli.exit_code import exit_code
from proto_model.cli.model_uri import add_model_uri
from proto_model.cli.parser import CommandParser
from proto_model.cli.trust import add_trust, given_trust

if TYPE_CHECKING:
    from proto_model.deployment.image import Server
    from proto_model.deployment.release import Place

IMAGES: dict[str, Server] = {"model-server": "lean", "mapper": "mapper"}
"""Name of each image in the manifests, which is also that of its deployment, and the kind of server in it."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("release", __doc__)
    add_model_uri(parser)
    parser.add_argument(
        "-e",
        "--environment",
        default=os.environ.get("DEPLOYMENT_ENV", ""),
        help="such as staging or production (default: DEPLOYMENT_ENV)",
    )
    parser.add_argument("--registry", required=True, metavar="NAME", help="where images go, or oci:FOLDER")
    parser.add_argument(
        "--overlays",
        type=Path,
        default=Path("deploy/kubernetes/overlays"),
        metavar="DIR",
        help="folder with a kustomize overlay per environment (default: %(default)s)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("build/release"),
        metavar="DIR",
        help="where images and the kustomization are written (default: %(default)s)",
    )
    parser.add_argument("--mirror", default="", help="mirror of Debian's packages (default: deb.debian.org)")
    parser.add_argument(
        "--wait",
        default="5m",
        metavar="TIME",
        help="how long pods may take to get ready (default: %(default)s)",
    )
    add_trust(parser)
    stop = parser.add_mutually_exclusive_group()
    stop.add_argument("--dry-run", action="store_true", help="resolve the alias, and say what would be done")
    stop.add_argument(
        "--context", action="store_true", help="write folders for docker build instead, and end there"
    )
    stop.add_argument(
        "--no-deploy", action="store_true", help="write the kustomization, and leave the cluster to others"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when all is done, 1 when a step failed, 2 for wrong arguments."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if not arguments.environment:
        parser.error("set DEPLOYMENT_ENV, or give --environment, such as staging")
    return exit_code(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    from proto_model.registry.tracking import quiet_mlflow

    quiet_mlflow()
    from proto_model.deployment.release import Place, roll_out, smoke_test, write_kustomization
    from proto_model.deployment.release.rollout import overlay_of
    from proto_model.invocation.registered import check_registry
    from proto_model.registry.deployed import TAG, record_deployed, resolved
    from proto_model.registry.publishing import trusted_apart

    trust = given_trust(arguments)
    environment, place = arguments.environment, Place(arguments.registry)
    overlay = overlay_of(environment, arguments.overlays)
    check_registry()
    chosen = resolved(arguments.model_uri)
    _say(f"{arguments.model_uri} is version {chosen.version} of {chosen.name}")
    work = arguments.work / environment
    if arguments.dry_run:
        for image in IMAGES:
            _say(f"would test, build and push {place.name(image)}:{chosen.version}")
        _say(f"would apply {overlay} with their digests, and set the tag {TAG}{environment}")
        return 0
    with tempfile.TemporaryDirectory(prefix="proto_model-") as download:
        model = trusted_apart(chosen.uri, Path(download), trust)
        smoke_test(model, chosen.version, _say)
        if arguments.context:
            return _write_contexts(model, work, place, chosen.version)
        digests = _push_images(model, work, place, chosen.version, arguments.mirror)
    images = {image: (place.name(image), digest) for image, digest in digests.items()}
    written = write_kustomization(work, overlay, images, chosen.version)
    _say(f"Manifests: {written}")
    if arguments.no_deploy:
        _say(f"Apply it with: kubectl apply -k {work}")
        return 0
    roll_out(work, overlay, tuple(IMAGES), arguments.wait, _say)
    name, digest = images["model-server"]
    before = record_deployed(chosen, environment, f"{name}@{digest}")
    _say(f"{chosen.name} {chosen.version} runs in {environment}; before: {', '.join(before) or 'none'}")
    return 0


def _push_images(model: Path, work: Path, place: Place, version: str, mirror: str) -> dict[str, str]:
    """Build and push both images; their digests."""
    from proto_model.deployment.image import ImageOptions, build_image, recipe_of
    from proto_model.deployment.image.push import push
    from proto_model.registry.tracking import commit_of

    digests = {}
    work.mkdir(parents=True, exist_ok=True)
    for image, server in IMAGES.items():
        reference = place.reference(image, version)
        path = work / f"{image}.tar"
        recipe = recipe_of(model, server)
        options = ImageOptions("", mirror, f"{place.name(image)}:{version}", commit_of(recipe.run_id))
        digests[image] = build_image(recipe, path, options, _say).digest
        push(path, reference, _say)
        print(f"{place.name(image)}@{digests[image]}")
    return digests


def _write_contexts(model: Path, work: Path, place: Place, version: str) -> int:
    """Write a folder for `docker build` per image, and say what is left to do."""
    from proto_model.deployment.image import recipe_of
    from proto_model.deployment.image.context import write_context

    for image, server in IMAGES.items():
        write_context(recipe_of(model, server), work / image)
        print(f"docker build --push -t {place.name(image)}:{version} {work / image}")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
