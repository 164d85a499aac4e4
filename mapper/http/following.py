"""A mapper that follows its aliases: schema, mapping, OpenAPI and page change with the version.

A thread asks the registry, and builds the service of a new version beside the one that answers. It asks at
once when the model server answers with another version than the one that is mapped. A version of another
schema is taken over when the model server answers with it, and not before: until then, it would refuse what
the mapper sends.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from mapper.errors import MapperError
from mapper.http.models import Models, Opened
from mapper.model_server.client import ModelServer
from mapper.registry import PublishedModel, VersionFinder

logger = logging.getLogger(__name__)

TICK_S = 0.2
MAX_PAUSE_S = 300.0
SPREAD = 0.1  # many mappers do not ask in the same instant


class Following:
    """Keeps the models at the versions behind their aliases.

    `finders` asks the registry, by name of the model; `open_version` opens what a finder has found. With 0
    `seconds`, it asks only when somebody wants it to.
    """

    def __init__(
        self,
        models: Models,
        finders: Mapping[str, VersionFinder],
        open_version: Callable[[PublishedModel], Opened],
        seconds: float,
    ) -> None:
        self._followed = {
            name: Followed(name, models, finder, open_version, seconds) for name, finder in finders.items()
        }
        for name, followed in self._followed.items():
            models.backends[name].answered = followed.answered
            models.now(name).following = followed.state
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="following", daemon=True)

    def __enter__(self) -> Following:
        """Begin; to be called in the process that answers."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended.set()

    def ask(self, *_: object) -> None:
        """Have the registry asked now: a signal's handler."""
        for followed in self._followed.values():
            followed.is_asked = True

    def _watch(self) -> None:
        while not self._ended.wait(TICK_S):
            if any([followed.is_swapped() for followed in self._followed.values()]):
                # A version refers to itself. Unasked, the collector comes after more than a hundred of them.
                gc.collect()
            for followed in self._followed.values():
                if followed.is_asked or followed.due <= time.monotonic():
                    followed.is_asked = False
                    followed.check()


class Followed:
    """One model, and how following it goes."""

    def __init__(
        self,
        name: str,
        models: Models,
        finder: VersionFinder,
        open_version: Callable[[PublishedModel], Opened],
        seconds: float,
    ) -> None:
        self._name = name
        self._models = models
        self._finder = finder
        self._open = open_version
        self._seconds = seconds
        self._n_failures = 0
        self._answered: str | None = None  # version that the model server named last
        self.state: dict[str, Any] = {}  # what keeps it from following, for whoever asks whether it is ready
        self.is_asked = False
        self._has_swapped = False
        self.due = time.monotonic() + seconds if seconds else float("inf")

    def is_swapped(self) -> bool:
        """Whether another version has taken over since this was asked last."""
        before, self._has_swapped = self._has_swapped, False
        return before

    def answered(self, version: str) -> None:
        """Note the version that the model server named; another one than before is a reason to ask."""
        if version != self._answered:
            self._answered = version
            if version != self._models.now(self._name).version:
                self.is_asked = True

    def check(self) -> None:
        """Ask once, and take over what there is."""
        try:
            self._take(self._finder.version())
        except (MapperError, OSError) as error:
            self._n_failures += 1
            self._say(type(error).__name__, str(error))
        pause = min(self._seconds * 2.0**self._n_failures, max(self._seconds, MAX_PAUSE_S))
        self.due = (
            time.monotonic() + pause * random.uniform(1 - SPREAD, 1 + SPREAD) if pause else float("inf")
        )

    def _take(self, version: str) -> None:
        now = self._models.now(self._name)
        if version == now.version:
            self._n_failures = 0
            self._say("", "")
            return
        published = self._finder.fetch(version)
        if published.schema.digest != now.schema_digest:
            served = asyncio.run(version_of(self._models.backends[self._name].server.again()))
            if served != version:
                self._n_failures = 0
                self._say(
                    "schema",
                    f"Version {version} has another schema, {published.schema.digest}, and the model server "
                    f"answers with version {served or 'unknown'}. Start one that serves version {version}.",
                )
                return
        service = self._models.service(self._name, *self._open(published))
        service.following = self.state
        self._models.swap(self._name, service)
        self._has_swapped = True
        self._models.backends[self._name].metrics.swapped(self._name)
        self._n_failures = 0
        self._say("", "")
        logger.info("model: name=%s version=%s from now on", self._name, version)

    def _say(self, problem: str, detail: str) -> None:
        """Note how it goes, in the log only if that changes."""
        if problem == self.state.get("problem", ""):
            return
        self._models.backends[self._name].metrics.follows(self._name, has_problem=bool(problem))
        self.state.clear()
        if problem:
            self.state.update(problem=problem, detail=detail)
            logger.warning("model: name=%s stays at its version: %s", self._name, detail)
        else:
            logger.info("model: name=%s follows its alias again", self._name)


async def version_of(server: ModelServer) -> str | None:
    """Version that a model server names; None if it does not answer, or names none."""
    try:
        return await server.ping()
    except MapperError:
        return None
    finally:
        server.close()
