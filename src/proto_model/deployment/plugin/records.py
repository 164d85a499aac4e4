"""Deployments that commands find again: a folder with a record, a lock and a log per name.

Only the user who made them can read them. A record is replaced whole; whoever changes it holds the lock,
which the kernel lets go of when a process dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from proto_model.deployment.plugin.errors import DeploymentError, DeploymentInputError, NoDeploymentError

PLACE = "PROTO_MODEL_DEPLOYMENTS"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Process:
    """A server that the plugin started; `started` tells it from a later process with the same number."""

    pid: int
    started: str
    port: int


@dataclass(frozen=True)
class Record:
    """What is known of a deployment.

    `further` is a process that an update began or is about to end: a command that is killed in between leaves
    none that nobody knows. `result` has what the other targets wrote.
    """

    name: str
    target: str
    model_uri: str
    version: str
    created: str
    config: Mapping[str, str]
    process: Process | None = None
    further: Process | None = None
    result: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Record:
        """A record that was written; raises KeyError or TypeError for something else."""
        processes = {key: Process(**content[key]) if content[key] else None for key in ("process", "further")}
        return cls(**{**content, **processes})


class Records:
    """The folder; `PROTO_MODEL_DEPLOYMENTS` says where, else it is where programs keep such (XDG)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        state = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        place = environment.get(PLACE) or str(Path(state, "proto_model", "deployments"))
        self.folder = Path(place).absolute()

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keep other commands from changing this deployment; DeploymentError if one is about to."""
        if not _NAME.fullmatch(name):
            raise DeploymentInputError(
                f"{name!r} is no name of a deployment. Take up to 63 letters, digits, dots, dashes and "
                "underscores, such as churn."
            )
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # It stays for good: a lock on a file that is removed keeps nobody out.
            descriptor = os.open(self._file(name, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DeploymentError(
                f"Cannot keep deployments in {self.folder}: {error.strerror}. Set {PLACE} to another folder."
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DeploymentError(
                    f"Another command is changing the deployment {name!r}. Wait until it has ended."
                ) from error
            yield
        finally:
            os.close(descriptor)

    def log(self, name: str) -> Path:
        """File of what the servers of a deployment say."""
        return self._file(name, "log")

    def find(self, name: str) -> Record | None:
        """The record of a name; a DeploymentError says that it is damaged."""
        path = self._file(name, "json")
        if not _NAME.fullmatch(name):
            return None
        try:
            return Record.of(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DeploymentError(
                f"The record {path} cannot be read: {error}. If its process is not needed, remove the file."
            ) from error

    def get(self, name: str) -> Record:
        """The record of a name; NoDeploymentError if there is none."""
        record = self.find(name)
        if record is None:
            known = ", ".join(one.name for one in self.all()) or "none"
            raise NoDeploymentError(
                f"There is no deployment {name!r} in {self.folder}. There are: {known}. "
                f"{PLACE} says where to look."
            )
        return record

    def all(self) -> list[Record]:
        """Records of all names, in order."""
        names = sorted(path.stem for path in self.folder.glob("*.json"))
        return [record for name in names if (record := self.find(name)) is not None]

    def write(self, record: Record) -> None:
        """Replace the record of a name."""
        # mkstemp gives the file to this user alone.
        descriptor, part = tempfile.mkstemp(prefix=".", suffix=".part", dir=self.folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(record), file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self._file(record.name, "json"))
        finally:
            Path(part).unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """Remove the record of a name; its lock and its log stay."""
        self._file(name, "json").unlink(missing_ok=True)

    def build(self, name: str) -> Path:
        """Folder of what MLServer needs: its configuration, the model, and an environment."""
        return self._file(name, "mlserver")

    def remove(self, name: str) -> None:
        """Remove the record of a name, its log and what MLServer needed; its lock stays."""
        self.forget(name)
        self.log(name).unlink(missing_ok=True)
        shutil.rmtree(self.build(name), ignore_errors=True)

    def _file(self, name: str, kind: str) -> Path:
        return self.folder / f"{name}.{kind}"
