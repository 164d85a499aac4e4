"""Virtual environments beside that of the tests; those in `build/` are kept for the next run.

uv makes them, which takes a tenth of the work that venv and pip take.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import uv

ROOT = Path(__file__).resolve().parents[1]


def environment(name: str, *requirements: str | Path, constraints: Path | None = None) -> Path:
    """Folder of the programs of an environment that is made once per set of requirements: texts or files."""
    parts = [part if isinstance(part, str) else part.read_text() for part in requirements]
    parts.append(constraints.read_text() if constraints else "")
    folder = made_once(name, parts, lambda folder: make(folder, *requirements, constraints=constraints))
    return folder / "bin"


def made_once(name: str, parts: list[str], make: Callable[[Path], None]) -> Path:
    """Folder in `build/venvs` that is made when it is first asked for, by one process of the tests."""
    digest = hashlib.sha256("\0".join([sys.version, *parts]).encode()).hexdigest()[:12]
    folder = ROOT / "build" / "venvs" / f"{name}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            (folder / "complete").touch()
    return folder


def make(folder: Path, *requirements: str | Path, constraints: Path | None = None) -> None:
    """Make an environment of this Python with what texts name or files list.

    Raises subprocess.CalledProcessError, with what uv said, if something cannot be installed.
    """
    listed = [("-r", str(part)) if isinstance(part, Path) else (part,) for part in requirements]
    words = [word for pair in listed for word in pair]
    if constraints is not None:
        words += ["-c", str(constraints)]
    run_uv("venv", "--python", sys.executable, str(folder))
    run_uv("pip", "install", "--python", str(folder / "bin" / "python"), *words)


def run_uv(*arguments: str) -> str:
    """What uv prints."""
    command = [uv.find_uv_bin(), *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def node_modules(name: str, *packages: str) -> Path:
    """Folder of packages of npm, each with its version; without npm or its registry, the test is left out."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on PATH; on Debian: apt-get install npm")

    def make_modules(folder: Path) -> None:
        folder.mkdir()
        options = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder))
        done = subprocess.run([str(npm), "install", *options, *packages], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm cannot install {', '.join(packages)}: {done.stderr.strip()[-300:]}")

    return made_once(name, list(packages), make_modules) / "node_modules"
