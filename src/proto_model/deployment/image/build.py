"""An image from the folder of a model: the trees of its layers, then the file."""

from __future__ import annotations

import datetime
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proto_model import __version__
from proto_model.deployment.image.errors import ImageError
from proto_model.deployment.image.oci import Image, Layer, write_image, write_layer
from proto_model.deployment.image.recipe import LIBRARIES, MODEL, PORT, Recipe
from proto_model.deployment.image.rootfs import RELEASES, USER, Release, unpack_root
from proto_model.deployment.image.sbom import bill_of_materials
from proto_model.deployment.image.wheels import ARCHITECTURES, compile_tree, install_wheels

BILL = Path("usr/share/sbom/bom.cdx.json")
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class ImageOptions:
    """How an image is built: for which machine, from where, called what."""

    architecture: str = ""  # Debian's name; empty for this machine's
    mirror: str = ""  # of Debian's packages; empty for deb.debian.org
    reference: str = ""  # NAME:TAG
    commit: str = ""  # of the code that trained the model

    @property
    def chosen_architecture(self) -> str:
        """The one asked for, or this machine's."""
        if self.architecture:
            return self.architecture
        here = platform.machine().lower()
        for name, machine in ARCHITECTURES.items():
            if here in (name, machine):
                return name
        raise ImageError(f"Images are for {', '.join(ARCHITECTURES)}; this is {here}. Name one with --arch.")


def release_here() -> Release:
    """The release of Debian with this Python, so that its code can be compiled here; else the newest."""
    own = sys.version_info[:2]
    return next((release for release in RELEASES if release.python == own), RELEASES[-1])


def build_image(
    recipe: Recipe, path: Path, options: ImageOptions, say: Callable[[str], None] = lambda text: None
) -> Image:
    """Build an image and write it; `say` is told what is being done.

    Layers go from what changes least to what changes most, so that a registry stores the first ones once for
    all versions.

    Raises
    ------
    ImageError
        If a tool is missing or fails.
    """
    release, architecture = release_here(), options.chosen_architecture
    epoch = _created(recipe)
    if release.python != sys.version_info[:2]:
        say(
            f"This is Python {platform.python_version()}, the image's {'.'.join(map(str, release.python))}: "
            "the image's code is not compiled in advance, and starts slower"
        )
    with tempfile.TemporaryDirectory(prefix="proto_model-image-") as name:
        work = Path(name)
        trees = {part: work / part for part in ("root", "libraries", "code", "model")}
        for tree in trees.values():
            tree.mkdir()
        say(f"Debian {release.suite}: Python and its libraries")
        unpack_root(release, architecture, options.mirror, trees["root"])
        say(f"Wheels: {', '.join(recipe.requirements)}")
        place = _inside(trees["libraries"], LIBRARIES)
        install_wheels(recipe.requirements, release.python, architecture, place)
        for target, source in recipe.folders.items():
            part = "model" if target == MODEL else "code"
            _copy(source, _inside(trees[part], target))
        bill = trees["model"] / BILL
        bill.parent.mkdir(parents=True)
        model = _inside(trees["model"], MODEL, make=False)
        bill.write_text(
            bill_of_materials(recipe, trees["root"], place, model, release.suite), encoding="utf-8"
        )
        layers = []
        for part, tree in trees.items():
            say(f"Layer: {part}")
            if part != "model":
                compile_tree(tree, "/", release.python)
            layers.append(write_layer(tree, work / f"{part}.tar.gz", part, epoch))
            shutil.rmtree(tree)
        return _write(recipe, path, options, layers, epoch)


def _inside(tree: Path, place: str, make: bool = True) -> Path:
    """A place in an image, in the tree of a layer."""
    folder = tree / place.lstrip("/")
    if make:
        folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(
        source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", "build")
    )


def _created(recipe: Recipe) -> int:
    """Seconds since 1970 at which the model was logged: the time of all that is in the image."""
    text = recipe.created.partition(".")[0]
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp())


def _write(recipe: Recipe, path: Path, options: ImageOptions, layers: list[Layer], epoch: int) -> Image:
    created = datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    environment = {
        "PATH": "/usr/bin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
        **recipe.environment,
    }
    config = {
        "User": f"{USER}:{USER}",
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Entrypoint": list(recipe.command),
        "Cmd": ["serve"],
        "WorkingDir": "/",
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "StopSignal": "SIGTERM",
        "Healthcheck": {
            "Test": ["CMD", *recipe.health],
            "Interval": 10 * _SECOND_NS,
            "Timeout": 5 * _SECOND_NS,
            "StartPeriod": 10 * _SECOND_NS,
            "Retries": 3,
        },
        "Labels": labels(recipe, options),
    }
    return write_image(path, layers, config, options.chosen_architecture, created, options.reference)


def labels(recipe: Recipe, options: ImageOptions) -> dict[str, str]:
    """Labels of the image: what it serves, and where that comes from."""
    found = {
        "org.opencontainers.image.title": f"{recipe.schema.model_name} ({recipe.server})",
        "org.opencontainers.image.version": recipe.version or "",
        "org.opencontainers.image.revision": options.commit,
        "proto_model.version": __version__,
        "proto_model.server": recipe.server,
        "proto_model.model_name": recipe.schema.model_name,
        "proto_model.model_version": recipe.version or "",
        "proto_model.run_id": recipe.run_id,
        "proto_model.schema_digest": recipe.schema.digest,
    }
    return {name: value for name, value in found.items() if value}
