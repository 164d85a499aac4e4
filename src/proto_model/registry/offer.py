"""What the process that follows aliases leaves for those that serve: a folder that all of them share.

| in the folder         | is                                                                        |
|-----------------------|---------------------------------------------------------------------------|
| `models.json`         | what to follow: a list of `Followed`                                      |
| `trust.json`          | what to ask of a version: a `Trust`                                       |
| `<place>.json`        | the `Offer` of the model of that place; it is replaced whole              |
| `<place>/<serial>/`   | one version: `model/`, `prepared/`, and `lock`, which its users share     |

A version that is not on offer any more is removed when nobody holds its lock. The kernel lets go of the locks
of a process that dies. Importing this loads no MLflow.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from proto_model.registry.model_folder import failure_apart
from proto_model.registry.publishing.trust import Trust

Problem = Literal["", "registry", "alias", "schema", "publication", "version", "memory", "load"]
"""Why the version behind an alias is not on offer, or is not known.

The registry does not answer; the alias is gone; the version has another schema, is not published as `Trust`
asks, or cannot be loaded; there was no memory, or no space, for it; or it is on offer, and a worker cannot
load it.
"""

MODELS = "models.json"
TRUST = "trust.json"
MODEL, PREPARED, LOCK = "model", "prepared", "lock"

CAN_FOLLOW = os.name == "posix"  # elsewhere, processes share no locks

_QUICK = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_ALIAS = re.compile(r"models:/+([^/@]+)@([^/@]+)/?")


@dataclass(frozen=True)
class Followed:
    """An alias of a registered model."""

    name: str
    alias: str

    @property
    def uri(self) -> str:
        """As MLflow has it."""
        return f"models:/{self.name}@{self.alias}"

    @classmethod
    def of(cls, model_uri: str) -> Followed | None:
        """Alias that a URI names; None for one that always names the same version."""
        found = _ALIAS.fullmatch(model_uri)
        return None if found is None else cls(found[1], found[2])


@dataclass(frozen=True)
class Offer:
    """The version to serve of one followed alias, and how following it goes; times are since the epoch."""

    serial: int = 0  # counts the versions that were offered; 0: none yet
    version: str = ""
    schema_digest: str = ""
    signature: str = ""
    problem: Problem = ""
    detail: str = ""  # the problem in a sentence
    wanted: str = ""  # version behind the alias, if it has a problem
    since: float = 0.0  # when it was offered, or got its problem
    checked: float = 0.0  # when the registry last answered

    def write(self, board: Path, place: int) -> None:
        """Replace the offer of a place."""
        replace_file(_offer_file(board, place), asdict(self))

    @classmethod
    def read(cls, board: Path, place: int) -> Offer:
        """Offer of a place; the empty one if there is none yet."""
        try:
            return cls(**json.loads(_offer_file(board, place).read_bytes()))
        except FileNotFoundError:
            return cls()

    def folder(self, board: Path, place: int) -> Path:
        """Where the version is."""
        return version_folder(board, place, self.serial)


def follow_command(board: Path, seconds: float | None) -> list[str]:
    """Command of the process that follows; without seconds, it asks once."""
    command = [sys.executable, "-m", "proto_model.registry.follow", str(board)]
    return command if seconds is None else [*command, repr(seconds)]


def follow_environment() -> dict[str, str]:
    """Its variables: MLflow gives up soon, and is asked again later."""
    return _QUICK | dict(os.environ)


def follow_once(board: Path, followed: Sequence[Followed], trust: Trust | None = None) -> None:
    """Have the versions behind aliases on offer; raises ArtifactError if one cannot be."""
    (board / TRUST).write_text((trust or Trust()).to_json(), encoding="utf-8")
    replace_file(board / MODELS, [asdict(one) for one in followed])
    done = subprocess.run(
        follow_command(board, None),
        env=follow_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise failure_apart(done.returncode, done.stderr)


def offer_stamp(board: Path, place: int) -> tuple[int, int] | None:
    """What changes whenever the offer of a place does; cheap to ask for."""
    try:
        state = _offer_file(board, place).stat()
    except FileNotFoundError:
        return None
    return state.st_mtime_ns, state.st_ino


def read_followed(board: Path) -> list[Followed]:
    """What to follow, by place."""
    return [Followed(**one) for one in json.loads((board / MODELS).read_bytes())]


def read_trust(board: Path) -> Trust:
    """What to ask of a version before it is on offer."""
    return Trust.of_json((board / TRUST).read_text(encoding="utf-8"))


def version_folder(board: Path, place: int, serial: int) -> Path:
    """Folder of one version."""
    return board / str(place) / str(serial)


def hold(folder: Path) -> int:
    """Descriptor that keeps a version's folder in place until it is closed.

    Raises FileNotFoundError if the folder is gone.
    """
    import fcntl

    descriptor = os.open(folder / LOCK, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def remove_unused(board: Path, place: int, serial: int) -> None:
    """Remove the folders of a place besides the one on offer that nobody holds."""
    import fcntl

    for folder in (board / str(place)).glob("*"):
        if folder.name == str(serial):
            continue
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def replace_file(path: Path, content: Any) -> None:
    """Write JSON so that readers find the old one or the new one, never a part."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content), encoding="utf-8")
    part.replace(path)


def _offer_file(board: Path, place: int) -> Path:
    return board / f"{place}.json"
