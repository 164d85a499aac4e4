"""What a version was trained from: digests of the data, the code, the libraries, and what machine it was."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import numpy as np

import proto_model
from proto_model.table import TrainingData, encode
from proto_model.training.evaluation import library_versions

PACKAGE = Path(proto_model.__file__).parent
_GIT_TIMEOUT_S = 10


@dataclass(frozen=True)
class Origin:
    """The same for all variants of a run; digests are SHA-256, empty where there is nothing."""

    training_data: str
    test_data: str
    code: str
    lock: str
    libraries: str
    commit: str
    is_dirty: bool | None
    repository: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]


def origin_of(data: TrainingData) -> Origin:
    """Origin of what is trained on these data, here and now."""
    # The code's own repository, not one in which somebody has installed it.
    is_checkout = (PACKAGE.parents[1] / ".git").exists()
    status = _git("status", "--porcelain", "--untracked-files=no") if is_checkout else None
    lock = PACKAGE.parents[1] / "uv.lock"
    return Origin(
        training_data=_rows_digest(data, "train"),
        test_data=_rows_digest(data, "test"),
        code=_files_digest(PACKAGE.rglob("*.py")),
        lock=hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else "",
        libraries=_installed_digest(),
        commit=(_git("rev-parse", "HEAD") or "") if is_checkout else "",
        is_dirty=None if status is None else bool(status),
        repository=_without_user((_git("remote", "get-url", "origin") or "") if is_checkout else ""),
        versions=library_versions(),
        machine={
            "system": platform.system(),
            "architecture": platform.machine(),
            "libc": " ".join(platform.libc_ver()).strip(),
            "cores": str(os.cpu_count()),
        },
    )


def _rows_digest(data: TrainingData, part: str) -> str:
    """Digest over every row of a part as models see it: all cells of all features, and the label."""
    X, y = (data.X_train, data.y_train) if part == "train" else (data.X_test, data.y_test)
    digest = hashlib.sha256(data.schema.digest.encode())
    digest.update(np.ascontiguousarray(encode(X, data.schema), dtype="<f8").tobytes())
    digest.update(json.dumps(np.asarray(y).tolist()).encode())
    return digest.hexdigest()


def _files_digest(paths: Iterable[Path]) -> str:
    names = {path.relative_to(PACKAGE).as_posix(): path for path in paths}
    lines = (f"{hashlib.sha256(names[name].read_bytes()).hexdigest()}  {name}\n" for name in sorted(names))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _installed_digest() -> str:
    """Digest over names and versions of everything that is installed."""
    found = {f"{one.metadata['Name'].lower().replace('_', '-')}=={one.version}" for one in distributions()}
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def _git(*arguments: str) -> str | None:
    """What git says of the code; None if it says nothing."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _without_user(url: str) -> str:
    """URL of a repository without credentials; empty for a path of this machine."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        return ""
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"
