"""A folder for `docker build`, for systems without Debian's tools: the same on Docker's Python image."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from proto_model.deployment.image.build import ImageOptions, labels
from proto_model.deployment.image.errors import ImageError
from proto_model.deployment.image.recipe import PORT, Recipe
from proto_model.deployment.image.rootfs import USER

_FOR = Path(".proto_model_context")  # marks a folder that may be replaced


def write_context(recipe: Recipe, folder: Path) -> None:
    """Write Dockerfile, requirements, code and model into a folder, in place of an earlier context.

    Raises
    ------
    ImageError
        If the folder holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / _FOR).is_file():
        raise ImageError(f"{folder} holds other files. Give a new or an empty folder.")
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    (new / _FOR).touch()
    (new / "requirements.txt").write_text("\n".join(recipe.requirements) + "\n", encoding="utf-8")
    for place, source in recipe.folders.items():
        shutil.copytree(
            source,
            new / place.lstrip("/"),
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"),
        )
    (new / "Dockerfile").write_text(dockerfile(recipe), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    new.replace(folder)


def dockerfile(recipe: Recipe) -> str:
    """Text of the Dockerfile."""
    environment = {**recipe.environment, "PYTHONPATH": "/opt/code", "PYTHONUNBUFFERED": "1"}
    command = ["python3", *recipe.command[1:]]
    health = ["python3", *recipe.health[1:]]
    lines = [
        "# BASE may be any image with Python 3.11 or newer as python3.",
        "ARG BASE=python:3.13-slim",
        "FROM ${BASE}",
        "COPY requirements.txt /tmp/requirements.txt",
        "RUN python3 -m pip install --no-cache-dir --only-binary=:all: -r /tmp/requirements.txt",
        "COPY opt /opt",
        *(f"ENV {name}={json.dumps(value)}" for name, value in environment.items()),
        *(f"LABEL {name}={json.dumps(value)}" for name, value in labels(recipe, ImageOptions()).items()),
        f"USER {USER}:{USER}",
        f"EXPOSE {PORT}",
        f"HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD {json.dumps(health)}",
        f"ENTRYPOINT {json.dumps(command)}",
        'CMD ["serve"]',
    ]
    return "\n".join(lines) + "\n"
