"""One mover at a time: a lock on a registered model, made of the one thing that MLflow does atomically.

A registered model's name is unique: of many who create `<name>__lock`, one succeeds, and has the lock until
it is deleted. A lock stays behind when its owner is killed. Nobody may simply delete it: between the look and
the deletion another one may have done so, and a third may have the lock by right. Whoever wants to break the
lock first creates `<name>__lock_<token of its owner>`, in the same way, and looks again. No token is used
twice, so the lock of a dead owner is broken once, and that of a living one never.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from proto_model.errors import RegistryError
from proto_model.registry.refusals import NotAllowedError
from proto_model.registry.tracking import is_url
from proto_model.registry.versions import found

OWNER_TAG = "lock_owner"

_LEASE_S = 300.0
"""An owner that took longer changes nothing more."""
_EXPIRES_S = 900.0
"""The lock of an owner that nobody can look up is void after this time; clocks may differ by the rest."""
_PATIENCE_S = 60.0
_LAST_SECOND = 253_402_300_799  # of the year 9999
_N_LOOKS, _LOOK_PAUSE_S = 5, 0.02
_FORGETTING_S = 0.2
_EXISTS = ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS")


@dataclass(frozen=True)
class Owner:
    """Process that has a lock, or had it when it ended."""

    doing: str
    token: str
    host: str
    machine: str
    pid: int
    born: str
    since: float
    run_id: str | None = None
    done: str | None = None

    @classmethod
    def of_this_process(cls, doing: str) -> Owner:
        """Owner that is this process, about to do something."""
        pid = os.getpid()
        return cls(
            doing=doing,
            token=secrets.token_hex(6),
            host=socket.gethostname(),
            machine=_machine(),
            pid=pid,
            born=_born(pid) or "",
            since=time.time(),
        )

    @classmethod
    def from_tag(cls, text: str) -> Owner:
        """Owner that a tag names; ValueError, TypeError or RecursionError if it names none.

        What a later release may note besides is left out.
        """
        content: dict[str, Any] = json.loads(text)
        owner = cls(**{item.name: content[item.name] for item in fields(cls) if item.name in content})
        texts = (owner.doing, owner.token, owner.host, owner.machine, owner.born)
        notes = (owner.run_id, owner.done)
        is_one = all(isinstance(value, str) for value in texts)
        is_one &= all(value is None or isinstance(value, str) for value in notes)
        if not (is_one and type(owner.pid) is int and 0 < owner.pid < 2**31):
            raise ValueError(f"{text[:200]!r} names no process")
        if type(owner.since) not in (int, float) or not 0 <= owner.since <= _LAST_SECOND:
            raise ValueError(f"{text[:200]!r} has no time")
        return owner

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended, as far as can be seen from here, or had the lock for too long."""
        if time.time() - self.since > _EXPIRES_S:
            return True
        return self.machine == _machine() and _born(self.pid) != self.born

    def __str__(self) -> str:
        """Who it is, for a message."""
        since = datetime.fromtimestamp(self.since, UTC)
        return f"process {self.pid} on {self.host}, since {since:%Y-%m-%d %H:%M:%S} UTC, to {self.doing}"


@dataclass
class Lock:
    """The right to move a model's aliases. `broken` are the locks that dead owners had left."""

    client: MlflowClient
    name: str
    owner: Owner
    broken: list[Owner] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raise RegistryError if the time is up: somebody else may have the lock by now."""
        if time.monotonic() - self._began > _LEASE_S:
            raise RegistryError(
                f"The registry took more than {_LEASE_S:g} seconds, so nothing more was changed. "
                "The next comparison or rollback finishes what was begun."
            )

    def note_run(self, run_id: str) -> None:
        """Remember the MLflow run that the owner has opened, which nobody closes if it is killed."""
        self._note(replace(self.owner, run_id=run_id))

    def note_done(self, kind: str) -> None:
        """Remember that nothing is left to do, so that a command that is run again does not do it twice."""
        self._note(replace(self.owner, done=kind))

    def _note(self, owner: Owner) -> None:
        self.owner = owner
        self.client.set_registered_model_tag(self.name, OWNER_TAG, json.dumps(asdict(owner)))


def lock_name(model: str) -> str:
    """Registered model that is the lock of another one."""
    return f"{model}__lock"


def lock_owner(client: MlflowClient, name: str) -> Owner | None:
    """Owner of a lock; None if nobody has it. A RegistryError says that the name belongs to a model."""
    text = None
    for _ in range(_N_LOOKS):  # MLflow reads a model and then its tags; in between it may be deleted
        model = found(client.get_registered_model, name)
        if model is None:
            return None
        text = model.tags.get(OWNER_TAG)
        if text is not None:
            break
        time.sleep(_LOOK_PAUSE_S)
    try:
        return Owner.from_tag(text or "")
    except (ValueError, TypeError, RecursionError) as error:
        raise RegistryError(
            f"The registered model {name!r} has a name that promotions need for their lock, but is none. "
            "Rename or delete it."
        ) from error


@contextmanager
def locked(
    client: MlflowClient,
    model: str,
    doing: str,
    *,
    patience_s: float = _PATIENCE_S,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[Lock]:
    """The lock of a registered model, waited for if somebody living has it; a RegistryError names who.

    `meanwhile` is called now and then; what it raises ends the waiting.
    """
    lock = Lock(client, lock_name(model), Owner.of_this_process(doing))
    _take(lock, lock.name, time.monotonic() + patience_s, meanwhile)
    try:
        yield lock
    finally:
        owner = lock_owner(client, lock.name)
        if owner is not None and owner.token == lock.owner.token:
            _remove(client, lock.name)


def _take(lock: Lock, name: str, deadline: float, meanwhile: Callable[[], None]) -> None:
    """Create the lock called `name` for the owner of `lock`."""
    pause, has_waited = 0.02, False
    while True:
        holder = _seen_owner(lock.client, name)
        if isinstance(holder, Owner):
            if holder.token == lock.owner.token:  # the server's answer to our own request was lost
                return
            if holder.is_gone:
                _break(lock, name, holder, deadline, meanwhile)
                continue
        else:
            if has_waited and is_url(lock.client.tracking_uri):
                # A server with basic-auth forgets rights on a name after the name; ours, too, if we hurry.
                time.sleep(_FORGETTING_S)
            if _created(lock, name):
                return
        if holder is not None and time.monotonic() > deadline:
            raise RegistryError(
                f"Somebody else is at it: {holder}. Nothing was changed; try again when that has ended."
            )
        has_waited = True
        time.sleep(pause * random.uniform(0.5, 1.5))
        meanwhile()
        pause = min(1.0, 1.5 * pause)


def _seen_owner(client: MlflowClient, name: str) -> Owner | str | None:
    """Owner of a lock; None if nobody has it, and a text if this user may not see whether anybody has.

    Servers whose default is NO_PERMISSIONS also hide what does not exist.
    """
    try:
        return lock_owner(client, name)
    except NotAllowedError:
        return f"another user, if the registered model {name!r} exists; an administrator can delete it"


def _created(lock: Lock, name: str) -> bool:
    """Whether the lock is ours now; False if somebody was faster."""
    lock.owner = replace(lock.owner, since=time.time())
    lock._began = time.monotonic()
    owner = json.dumps(asdict(lock.owner))
    note = "A lock while aliases are moved. Whoever was killed left it; the next promotion removes it."
    try:
        lock.client.create_registered_model(name, tags={OWNER_TAG: owner}, description=note)
    except MlflowException as error:
        # MLflow looks up the model that was in the way; by then it may be gone.
        if error.error_code not in (*_EXISTS, "RESOURCE_DOES_NOT_EXIST"):
            raise
        return False
    return True


def _break(lock: Lock, name: str, gone: Owner, deadline: float, meanwhile: Callable[[], None]) -> None:
    """Delete the lock of an owner that is gone, unless somebody else has done so."""
    breaking = f"{lock.name}_{gone.token}"
    _take(lock, breaking, deadline, meanwhile)
    try:
        holder = lock_owner(lock.client, name)
        if holder is not None and holder.token == gone.token:
            try:
                _remove(lock.client, name)
            except NotAllowedError as error:
                raise NotAllowedError(
                    f"A command of another user was killed and left the lock {name!r} ({gone}). Ask that "
                    "user, or an administrator, to delete that registered model."
                ) from error
            lock.broken.append(holder)
    finally:
        _remove(lock.client, breaking)


def _remove(client: MlflowClient, name: str) -> None:
    found(client.delete_registered_model, name)


def _machine() -> str:
    """Where a process number means one process: host, boot and container."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8])
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # not Linux
        pass
    return " ".join(parts)


def _born(pid: int) -> str | None:
    """When a process of this machine began, in the kernel's ticks; "" if unknown, None if it has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        state, *facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return None if state in "ZX" else facts[18]
