"""The process that follows aliases: it asks the registry, downloads a new version, checks and prepares it.

`python -m proto_model.registry.follow BOARD [SECONDS]`: `proto_model.registry.offer` says what the folder
BOARD holds. With SECONDS it asks again and again, at once for each line on its standard input, and ends when
that ends. Without, it asks once. So the processes that answer never import MLflow, and never see a version
that cannot be read.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import re
import select
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from proto_model.errors import ArtifactError, ProtoModelError, RegistryError
from proto_model.model import Bundle
from proto_model.registry.model_folder import BUNDLE, signature_of, told_apart
from proto_model.registry.offer import (
    LOCK,
    MODEL,
    PREPARED,
    Followed,
    Offer,
    Problem,
    read_followed,
    read_trust,
    remove_unused,
    version_folder,
)
from proto_model.registry.publishing import PublicationError, Trust, trusted
from proto_model.registry.tracking import check_store, quiet_mlflow

MAX_PAUSE_S = 300.0  # between two tries while something is wrong, unless `SECONDS` is more
SPREAD = 0.1  # many servers do not ask in the same instant
# Rows of which the two kernels of a forest answer.
PROBE_ROWS = (1, 64)

_QUERY = re.compile(r"(?<=\S)\?[^\s?'\"]+")  # of a URL, which may be a signature

Resolve = Callable[[Followed], str | None]
Download = Callable[[str, Path], Path]


@dataclass
class Follower:
    """Follows one alias.

    `resolve` gives its version, None if there is none, and `download` the folder of a version.
    """

    board: Path
    place: int
    followed: Followed
    resolve: Resolve
    download: Download
    offer: Offer = field(default_factory=Offer)
    n_failures: int = field(init=False, default=0)
    _refused: tuple[str, str] = field(init=False, default=("", ""))  # a version that will never fit, and why

    def check(self, *, anew: bool = False) -> None:
        """Ask once, and offer what there is; with `anew`, also a version that was refused before."""
        if anew:
            self._refused = "", ""
        try:
            version = self.resolve(self.followed)
        except (RegistryError, OSError) as error:
            self._fail("registry", str(error))
            return
        if version is None:
            self._fail("alias", f"{self.followed.uri} does not exist any more.")
        elif version == self.offer.version:
            self._say("", "", "")
        elif version == self._refused[0]:
            self._say("schema", self._refused[1], version)
        else:
            self._take(version)
            # What MLflow leaves of a download refers to itself, and the collector comes after many of them.
            gc.collect()
        remove_unused(self.board, self.place, self.offer.serial)

    def pause_s(self, seconds: float) -> float:
        """How long to wait: longer after each failure in a row."""
        pause = min(seconds * 2.0**self.n_failures, max(seconds, MAX_PAUSE_S))
        return pause * random.uniform(1 - SPREAD, 1 + SPREAD)

    def _take(self, version: str) -> None:
        """Download, check and prepare a version; offer it, or say why not."""
        folder = version_folder(self.board, self.place, self.offer.serial + 1)
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self.download(f"models:/{self.followed.name}/{version}", folder / "download").rename(
                folder / MODEL
            )
            fault, bundle = self._fault(folder / MODEL)
            if bundle is not None:
                bundle.engine.prepare(folder / PREPARED)
        except (ProtoModelError, OSError, MemoryError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            causes = (error, error.__cause__)
            is_memory = (
                any(isinstance(one, MemoryError) for one in causes) or getattr(error, "errno", 0) == 28
            )
            problem: Problem = "memory" if is_memory else "version"
            if isinstance(error, PublicationError):
                problem = "publication"
            self._fail(problem, _text(error), version)
            return
        if bundle is None:
            shutil.rmtree(folder, ignore_errors=True)
            self._refused = version, fault
            self._say("schema", fault, version)
            return
        (folder / LOCK).touch(0o600)
        self.n_failures = 0
        now = time.time()
        self.offer = Offer(
            serial=self.offer.serial + 1,
            version=version,
            schema_digest=bundle.schema.digest,
            signature=signature_of(folder / MODEL),
            since=now,
            checked=now,
        )
        self.offer.write(self.board, self.place)

    def _fault(self, folder: Path) -> tuple[str, Bundle | None]:
        """What keeps a version from taking the place of the one before, or its bundle, which answers.

        Raises ArtifactError if it cannot be loaded.
        """
        if not (folder / BUNDLE / "schema.json").is_file():
            raise ArtifactError(f"{self.followed.uri} is not a model of proto_model.")
        bundle = Bundle.load(folder / BUNDLE)
        signature, before = signature_of(folder), self.offer
        if before.serial and signature != before.signature:
            return f"It takes and gives {signature!r}, the version that is served {before.signature!r}.", None
        if before.serial and bundle.schema.digest != before.schema_digest:
            return (
                f"Its schema_digest is {bundle.schema.digest}, that of the version that is served "
                f"{before.schema_digest}. Start a server for it, and let clients change over."
            ), None
        for n_rows in PROBE_ROWS:
            probabilities = bundle.predict_proba(np.zeros((n_rows, len(bundle.schema.features))))
            if not np.isfinite(probabilities).all():
                raise ArtifactError("It answers with numbers that are not finite.")
        _ = bundle.background  # which is read when the first explanation is asked for
        return "", bundle

    def _fail(self, problem: Problem, detail: str, wanted: str = "") -> None:
        self.n_failures += 1
        self._say(problem, detail, wanted, answered=problem != "registry")

    def _say(self, problem: Problem, detail: str, wanted: str, answered: bool = True) -> None:
        """Write how it goes; the time of a problem is that of its beginning."""
        now = time.time()
        if problem in ("", "schema"):  # there is nothing to try again
            self.n_failures = 0
        is_same = (problem, wanted) == (self.offer.problem, self.offer.wanted)
        self.offer = replace(
            self.offer,
            problem=problem,
            detail=_QUERY.sub("?...", detail),
            wanted=wanted,
            since=self.offer.since if is_same else now,
            checked=now if answered else self.offer.checked,
        )
        self.offer.write(self.board, self.place)


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def from_mlflow(trust: Trust) -> tuple[Resolve, Download]:
    """How MLflow resolves an alias, and downloads a version that can be trusted."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from proto_model.registry.patience import patient
    from proto_model.registry.tracking import without_credentials

    def resolve(followed: Followed) -> str | None:
        try:
            client = patient(MlflowClient())
            return str(client.get_model_version_by_alias(followed.name, followed.alias).version)
        except MlflowException as error:
            # What SQLite's store says of an alias that is not there has another code than what servers say.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise RegistryError(without_credentials(_text(error))) from error

    def download(model_uri: str, folder: Path) -> Path:
        folder.mkdir()
        return trusted(model_uri, folder, trust)

    return resolve, download


def follow(followers: Sequence[Follower], seconds: float, asked: Callable[[float], bool | None]) -> None:
    """Check each whenever its time has come, until `asked`, which waits, gives None; True means now."""
    due = [time.monotonic()] * len(followers)
    while True:
        now = time.monotonic()
        for place, follower in enumerate(followers):
            if due[place] <= now:
                follower.check()
                due[place] = time.monotonic() + follower.pause_s(seconds)
        answer = asked(max(0.0, min(due) - time.monotonic()))
        if answer is None:
            return
        if answer:
            for follower in followers:
                follower.check(anew=True)


def _asked(seconds: float) -> bool | None:
    """Wait for a line on the standard input: True; False if the time is over, None at its end."""
    if not select.select([0], [], [], seconds)[0]:
        return False
    return True if os.read(0, 4096) else None


def _told(follower: Follower) -> int:
    """Tell why there is no version to serve; the exit code."""
    from proto_model.registry.deployed import resolved

    try:
        resolved(follower.followed.uri)
    except ProtoModelError as error:  # which says what there is
        return told_apart(error)
    return told_apart(ArtifactError(f"Cannot load {follower.followed.uri}: {follower.offer.detail}"))


def main(argv: Sequence[str]) -> int:
    """What the process does; 1 if it asked once, and there is no version to offer."""
    board = Path(argv[0])
    quiet_mlflow()
    try:
        import mlflow

        resolve, download = from_mlflow(read_trust(board))
    except ImportError:
        print("MLflow is not installed. Install it, or give the folder of a model.", file=sys.stderr)
        return 1
    logging.disable()  # what is wrong stands in the offers
    warnings.simplefilter("ignore")
    followers = [
        Follower(board, place, followed, resolve, download, Offer.read(board, place))
        for place, followed in enumerate(read_followed(board))
    ]
    if len(argv) == 1:
        try:
            check_store(mlflow.get_tracking_uri())
        except ProtoModelError as error:
            return told_apart(error)
        for follower in followers:
            follower.check(anew=True)
        missing = [follower for follower in followers if not follower.offer.serial]
        return _told(missing[0]) if missing else 0
    with suppress(KeyboardInterrupt):
        follow(followers, float(argv[1]), _asked)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
