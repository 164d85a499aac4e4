"""Python packages for another machine: wheels only, so that none of their code runs during a build."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from proto_model.deployment.image.errors import ImageError

#: Architectures by Debian's name, with those of Python's wheels.
ARCHITECTURES: Mapping[str, str] = {"amd64": "x86_64", "arm64": "aarch64"}

_GLIBC = ("2_28", "2_27", "2_24", "2_17")  # of the manylinux tags that both releases of Debian can run
_LEFT_OUT = ("tests", "__pycache__")
_PARTS_LEFT_OUT = ("numpy/f2py", "numpy/distutils")  # they build extensions
_ENDINGS_LEFT_OUT = (".pyi", ".pyc", ".a", ".pxd")


def install_wheels(
    requirements: Sequence[str], python: tuple[int, int], architecture: str, folder: Path
) -> None:
    """Unpack wheels of some requirements, and of what these require, into a folder.

    Raises
    ------
    ImageError
        If there is no such wheel, or no pip.
    """
    machine = ARCHITECTURES[architecture]
    number = "".join(map(str, python))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--target", str(folder), "--no-compile", "--only-binary=:all:"]
    command += ["--python-version", ".".join(map(str, python)), "--implementation", "cp"]
    command += ["--abi", f"cp{number}", "--abi", "abi3", "--abi", "none"]
    for glibc in _GLIBC:
        command += ["--platform", f"manylinux_{glibc}_{machine}"]
    command += ["--platform", f"manylinux2014_{machine}", *requirements]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        said = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = " ".join(said[-2:]) or done.stderr.strip()[-300:]
        raise ImageError(f"Cannot install Python {'.'.join(map(str, python))} wheels for {machine}: {reason}")
    _thin(folder)


def _thin(folder: Path) -> None:
    """Remove programs, tests, type stubs and what builds extensions: a service imports none of them."""
    for part in ("bin", *_PARTS_LEFT_OUT):
        shutil.rmtree(folder / part, ignore_errors=True)
    for name, folders, files in os.walk(folder):
        place = Path(name)
        for inner in list(folders):
            if inner in _LEFT_OUT and place != folder:
                shutil.rmtree(place / inner)
                folders.remove(inner)
        for file in files:
            if file.endswith(_ENDINGS_LEFT_OUT) or file in ("direct_url.json", "REQUESTED", "INSTALLER"):
                (place / file).unlink()


def pinned(names: Sequence[str], known: Mapping[str, str]) -> tuple[str, ...]:
    """Requirements of exactly one version each: the known one, else the one that is installed here.

    Raises
    ------
    ImageError
        If neither tells which.
    """
    found = []
    for name in names:
        try:
            found.append(f"{name}=={known.get(name) or version(name)}")
        except PackageNotFoundError as error:
            raise ImageError(
                f"Which version of {name} goes into the image? It is not installed here. Install it: "
                f'pip install "proto-model-turbo[serve,files]".'
            ) from error
    return tuple(found)


def compile_tree(tree: Path, place: str, python: tuple[int, int]) -> bool:
    """Compile the Python files of a folder that will be at another place; whether this Python can.

    In an image nobody may write, so a start would compile everything anew. The caches bear a hash instead of
    a time, and sets have one order, so that the same files give the same caches.
    """
    if sys.version_info[:2] != python:
        return False
    command = [sys.executable, "-I", "-m", "compileall", "-q", "-s", str(tree), "-p", place]
    command += ["--invalidation-mode", "unchecked-hash", str(tree)]
    # A package may hold files for other versions of Python, which this one cannot compile.
    subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": "0"}, capture_output=True)
    return True
