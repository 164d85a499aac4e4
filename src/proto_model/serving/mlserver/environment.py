"""A virtual environment with MLServer and what a logged model requires, unless this one has both."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from proto_model.errors import ProtoModelError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

MLSERVER_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
BELOW = (3, 14)
# Hidden, because MLServer looks for models in all other folders.
FOLDER = ".mlserver"


class MLServerEnvironmentError(ProtoModelError):
    """The environment could not be made."""


def programs(model_requirements: Path, build: Path) -> Path:
    """Folder of the program `mlserver`: this environment's, if it fits, else that of one below `build`.

    Such an environment is made once for the same requirements and the same Python.
    """
    if sys.version_info >= BELOW:
        raise MLServerEnvironmentError(
            f"MLServer needs a Python below {BELOW[0]}.{BELOW[1]}. Use one, or the lean server: "
            "python -m proto_model serve."
        )
    lists = (model_requirements, MLSERVER_REQUIREMENTS)
    here = Path(sys.executable).parent
    if (here / "mlserver").exists() and not unmet(lists):
        return here
    digest = hashlib.sha256(sys.version.encode() + b"".join(file.read_bytes() for file in lists)).hexdigest()
    folder = build.resolve() / FOLDER / digest[:12]
    if not (folder / "complete").exists():
        print(
            f"Making an environment with MLServer in {folder}, once; this takes a minute or two",
            file=sys.stderr,
        )
        _make(folder, lists)
    return folder / "bin"


def unmet(lists: Sequence[Path]) -> list[str]:
    """Requirements of some lists that this environment does not meet."""
    from packaging.requirements import Requirement

    lines = [line for file in lists for line in file.read_text(encoding="utf-8").splitlines()]
    wanted = [Requirement(line) for line in lines if line[:1].isalnum()]
    return [
        str(requirement)
        for requirement in wanted
        if requirement.marker is None or requirement.marker.evaluate()
        if not _met(requirement)
    ]


def _met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _make(folder: Path, lists: Sequence[Path]) -> None:
    """Make the environment with uv if it is there, which takes seconds, else with venv and pip."""
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed
    python = folder / "bin" / "python"
    wanted = [part for file in lists for part in ("-r", file)]
    beside = Path(sys.executable).with_name("uv")
    uv = beside if beside.exists() else shutil.which("uv")
    if uv:
        _run([uv, "venv", "--quiet", "--python", sys.executable, folder])
        _run([uv, "pip", "install", "--quiet", "--python", python, *wanted])
    else:
        _run([sys.executable, "-m", "venv", folder])
        _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])
    (folder / "complete").touch()


def _run(command: Sequence[str | Path]) -> None:
    try:
        done = subprocess.run(command, stdout=sys.stderr)
    except OSError as error:
        raise MLServerEnvironmentError(f"Cannot run {command[0]}: {error.strerror}.") from error
    if done.returncode != 0:
        raise MLServerEnvironmentError(
            f"No environment with MLServer could be made: {command[0]} failed, see above."
        )
