"""What a server serves: its models, which of their versions each worker has, and what it tells of them.

A model is either loaded before workers are forked, and stays as it is, or follows an alias: then each process
loads the version that is on offer, whose arrays all of them map into their memory.
"""

from __future__ import annotations

import mmap
import os
import socket
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ArtifactError
from proto_model.explanation.interface import Explanations
from proto_model.model import Predictor
from proto_model.model.kinds import Prepared
from proto_model.parameters import Parameters
from proto_model.registry.offer import MODEL, PREPARED, Followed, Offer, Problem, hold
from proto_model.serving.http.explainers import Explainers, NoProcessError
from proto_model.serving.http.models import Generation, Models
from proto_model.serving.http.nursery import Key
from proto_model.serving.http.pool import Pool
from proto_model.serving.http.served_model import ServedModel
from proto_model.serving.http.service import Explain, make_pools
from proto_model.serving.http.settings import ServerSettings

__all__ = ["Hosted", "Hosting", "Source"]

PROBLEMS = tuple(filter(None, get_args(Problem)))
_VERSION, _SWAPS = 0, 1  # of the numbers that a worker shows of a model
_WIDTH = 2


@dataclass(frozen=True)
class Source:
    """One model of the command line: loaded, or the alias to follow at this place of the board."""

    model: ServedModel | None = None
    name: str = ""
    followed: Followed | None = None
    place: int = 0

    @property
    def uri(self) -> str:
        """What it follows; empty for nothing."""
        return self.followed.uri if self.followed is not None else ""

    @property
    def alias(self) -> str:
        """Alias that it is also called by."""
        return self.followed.alias if self.followed is not None else ""


class Hosting:
    """The models of a server, for all its workers; to be made before they are forked.

    `board` is the folder of `proto_model.registry.offer`, if any model follows an alias; `follow_s` how often
    the registry is asked, None for on demand only.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        settings: ServerSettings,
        board: Path | None = None,
        follow_s: float | None = None,
    ) -> None:
        self.sources = sources
        self.settings = settings
        self.board = board
        self.follow_s = follow_s
        n_numbers = _WIDTH * len(sources)
        self._memory = mmap.mmap(-1, 8 * n_numbers * settings.workers)
        numbers = memoryview(self._memory).cast("q")
        self._workers = [numbers[n_numbers * i : n_numbers * (i + 1)] for i in range(settings.workers)]

    def load(
        self,
        place: int,
        pools: Mapping[str, Pool],
        offer: Offer | None = None,
        explain: Explain | None = None,
    ) -> Generation:
        """Generation of a source; raises ArtifactError, OSError or MemoryError."""
        source, settings = self.sources[place], self.settings
        if source.model is not None:
            return Generation(source.model, settings, pools, name=source.name, explain=explain)
        assert self.board is not None
        offer = offer or Offer.read(self.board, source.place)
        folder = offer.folder(self.board, source.place)
        held = hold(folder)
        try:
            prepared = Prepared(folder / PREPARED, shared=settings.n_processes > 1)
            model = ServedModel.load(folder / MODEL, prepared=prepared)
        except BaseException:
            os.close(held)
            raise
        # A request that is at work may read more of its files, in processes of its own.
        weakref.finalize(model.predictor.bundle, os.close, held).atexit = False
        return Generation(model, settings, pools, name=source.name, alias=source.alias, explain=explain)

    def predictor(self, key: Key) -> Predictor:
        """The model of a key, loaded in a process that explains."""
        return self.load(key.place, {}, Offer(serial=key.serial)).model.predictor

    def load_all(self) -> list[Generation]:
        """Every model, loaded: what is compiled here, no worker has to compile again."""
        return [self.load(place, {}) for place in range(len(self.sources))]

    def show(self, worker: int, place: int, version: str | None, *, swapped: bool = False) -> None:
        """Say which version a worker has."""
        mine = self._workers[worker]
        mine[_WIDTH * place + _VERSION] = int(version) if version and version.isdecimal() else 0
        mine[_WIDTH * place + _SWAPS] += swapped

    def versions(self, place: int) -> list[str | None]:
        """Version that each worker has; None for none, or one without a number."""
        return [str(mine[_WIDTH * place] or "") or None for mine in self._workers]

    def n_swaps(self, place: int) -> int:
        """Swaps of all workers."""
        return sum(mine[_WIDTH * place + _SWAPS] for mine in self._workers)


class Hosted:
    """The models of one worker, as they are now, and what there is to tell of them."""

    def __init__(
        self,
        hosting: Hosting,
        worker: int = 0,
        changed: Callable[[str, int], None] = lambda kind, n_jobs: None,
    ) -> None:
        self.hosting = hosting
        self.worker = worker
        self.pools = make_pools(hosting.settings, changed)
        self.offers: list[Offer | None] = []
        self._explainers: Explainers | None = None
        generations = []
        for place, source in enumerate(hosting.sources):
            offer = None
            if source.model is None and hosting.board is not None:
                offer = Offer.read(hosting.board, source.place)
            generation = hosting.load(place, self.pools, offer, self._explain(_key(place, offer)))
            hosting.show(worker, place, generation.version)
            generations.append(generation)
            self.offers.append(offer)
        self.models = Models(generations, self.pools)
        self.problems: list[str] = [""] * len(generations)  # why this worker has not what is on offer

    def take(self, place: int, offer: Offer) -> None:
        """Load what is on offer beside what answers, and swap; raises as `Hosting.load` does."""
        before = self.models.all[place]
        key = _key(place, offer)
        generation = self.hosting.load(place, self.pools, offer, self._explain(key))
        if generation.model.schema.digest != before.model.schema.digest:
            raise ArtifactError(f"Version {offer.version} has another schema than the one that is served.")
        generation.warm(before)
        self.models.swap(place, generation)
        if self._explainers is not None:
            self._explainers.exchange(key)
        self.hosting.show(self.worker, place, generation.version, swapped=True)

    @contextmanager
    def explaining(self, listeners: Sequence[socket.socket], died: Callable[[], None]) -> Iterator[None]:
        """Have processes explain, if there shall be any; to be entered before this process has threads.

        They let go of the listeners. `died` is called for each that ends by itself.
        """
        rows = [place for place, one in enumerate(self.models.all) if one.model.files is None]
        n_processes = -(-self.hosting.settings.explainers // self.hosting.settings.workers)
        if not rows or not n_processes:
            yield
            return

        def let_go() -> None:
            self.models.let_go()
            for listener in listeners:
                listener.close()

        self._explainers = Explainers(
            n_processes,
            {_key(place, self.offers[place]): self.models.all[place].model.predictor for place in rows},
            self.hosting.predictor,
            let_go,
            died,
        )
        self.pools["explanation"].at_once = n_processes
        try:
            yield
        finally:
            self._explainers.close()

    def _explain(self, key: Key) -> Explain:
        """What explains with the model of a key."""

        async def explain(
            matrix: NDArray[np.float64], parameters: Parameters, seconds: float
        ) -> Explanations:
            if self._explainers is None or not self._explainers.is_open:
                raise NoProcessError
            return await self._explainers.explain(key, matrix, parameters, seconds)

        return explain

    def ready(self) -> dict[str, Any]:
        """Page about readiness: versions of all workers, and what keeps a model from following its alias."""
        return {"ready": True, "models": [self._ready(place) for place in range(len(self.offers))]}

    def _ready(self, place: int) -> dict[str, Any]:
        generation, source, offer = self.models.all[place], self.hosting.sources[place], self.offers[place]
        page: dict[str, Any] = {
            "name": generation.name,
            "version": generation.version,
            "worker_versions": self.hosting.versions(place),
        }
        if source.followed is not None and offer is not None:
            page["follows"] = source.followed.uri
            page["checked"] = round(offer.checked, 3)
            problem, detail = self._problem(place)
            if problem:
                page |= {"problem": problem, "detail": detail, "wanted_version": offer.wanted or None}
        return page

    def _problem(self, place: int) -> tuple[str, str]:
        offer = self.offers[place]
        if offer is not None and offer.problem:
            return offer.problem, offer.detail
        return ("load" if self.problems[place] else ""), self.problems[place]

    def lines(self) -> list[str]:
        """Prometheus' text about the models."""
        generations = self.models.all
        labels = [_labels(model_name=one.name, model_version=one.version or "") for one in generations]
        infos = [
            _labels(
                model_name=one.name,
                model_version=one.version or "",
                schema_digest=one.model.schema.digest,
            )
            for one in generations
        ]
        lines = [
            *_metric(
                "proto_model_info", "gauge", "The models that are served.", ((info, 1) for info in infos)
            ),
            *_metric(
                "proto_model_version_memory_bytes",
                "gauge",
                "Arrays of a version; workers share them.",
                zip(labels, (one.n_bytes for one in generations), strict=True),
            ),
        ]
        followed = [place for place, offer in enumerate(self.offers) if offer is not None]
        if not followed:
            return lines
        names = [
            _labels(model_name=generations[place].name, follows=self.hosting.sources[place].uri)
            for place in followed
        ]
        return lines + self._following_lines(followed, names)

    def _following_lines(self, followed: Sequence[int], names: Sequence[str]) -> list[str]:
        problems = [
            (f'{name},problem="{problem}"', int(self._problem(place)[0] == problem))
            for place, name in zip(followed, names, strict=True)
            for problem in PROBLEMS
        ]
        offers = [offer for offer in self.offers if offer is not None]
        return [
            *_metric(
                "proto_model_swaps_total",
                "counter",
                "Versions that took the place of another one, in each worker.",
                zip(names, map(self.hosting.n_swaps, followed), strict=True),
            ),
            *_metric(
                "proto_model_follow_problem", "gauge", "1: why the alias is not followed.", iter(problems)
            ),
            *_metric(
                "proto_model_follow_checked_time_seconds",
                "gauge",
                "When the registry last answered, since the epoch.",
                zip(names, (offer.checked for offer in offers), strict=True),
            ),
        ]


def _key(place: int, offer: Offer | None) -> Key:
    return Key(place, 0 if offer is None else offer.serial)


def _metric(name: str, kind: str, text: str, values: Iterator[tuple[str, float]]) -> list[str]:
    return [
        f"# HELP {name} {text}",
        f"# TYPE {name} {kind}",
        *(f"{name}{{{labels}}} {value!r}" for labels, value in values),
    ]


def _labels(**values: str) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
