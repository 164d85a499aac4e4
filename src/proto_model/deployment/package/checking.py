"""Check a package as its users will: in an environment with nothing but what it lists."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proto_model.deployment.package.errors import NoPackageError, PackageError
from proto_model.deployment.package.layout import INTERFACE, SETUP
from proto_model.deployment.package.opening import opened_package
from proto_model.deployment.package.trust import check_programs, examined, read_facts
from proto_model.registry.publishing import Trust, Verdict

# What would let other code or other settings in, or is of no concern to a package.
_LEFT_OUT = ("PYTHON", "VIRTUAL_ENV", "CONDA_", "MLFLOW_", "PROTO_MODEL_", "MAPPER_")
_MAX_SAID = 600


@dataclass(frozen=True)
class Checked:
    """A package that predicts what it did when it was made; `verdict` is None if it is not published."""

    title: str
    said: tuple[str, ...]
    verdict: Verdict | None


def check_package(
    source: Path,
    *,
    python: str = sys.executable,
    trust: Trust | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Checked:
    """Install what a package lists into a new environment, load its model there, and compare predictions.

    Parameters
    ----------
    source : Path
        Folder or zip file. Its own programs are run: of one that is published, `trust` has them compared
        with those of this release before.
    python : str
        The Python of the environment.
    trust : Trust, optional
        What is asked of the version.
    say : callable
        Is told what is being done.

    Raises
    ------
    PackageError
        If the package is damaged, cannot be installed, or gives other predictions.
    PublicationError
        If its version is not what was published.
    """
    trust = trust or Trust()
    if shutil.which(python) is None:
        raise NoPackageError(f"There is no Python {python!r}. Give the name or the path of one, from 3.11.")
    with opened_package(source) as folder, tempfile.TemporaryDirectory(prefix="proto_model-") as temporary:
        facts = read_facts(folder)
        verdict = examined(folder, facts, trust)
        if trust:
            check_programs(folder)
        environment = Path(temporary, "environment")
        say("The files are those of the manifest. Installing what the package lists ...")
        _run(
            ["sh", str(folder / SETUP), str(environment)],
            temporary,
            "The package cannot be installed",
            PYTHON=python,
        )
        say("Predicting the rows of the example ...")
        program = [str(environment / "bin" / "python"), "-I", str(folder / INTERFACE)]
        said = _run(program, temporary, "The package does not work")
    return Checked(facts.title, tuple(said.splitlines()), verdict)


def _run(command: list[str], folder: str, failed: str, **variables: str) -> str:
    """What a command prints; a PackageError with the end of it, if it fails."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=inherited | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        reason = " ".join(f"{done.stdout}\n{done.stderr}".split())[-_MAX_SAID:]
        raise PackageError(f"{failed}: {reason or f'it ended with {done.returncode}'}")
    return done.stdout
