"""The models of one server, by name, each as the generation that answers now.

A request takes a generation once, when its path is known, and keeps it to its end: no answer mixes two. A
swap exchanges one reference. Nobody counts who uses the old one: when its last request has ended, nothing
holds it any more, and its memory and its files go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from proto_model.serving.http.errors import NotFoundError
from proto_model.serving.http.pool import Pool
from proto_model.serving.http.served_model import ServedModel
from proto_model.serving.http.service import Explain, Service, make_pools
from proto_model.serving.http.settings import ServerSettings

__all__ = ["Generation", "Models"]

VERSION_HEADER = b"x-model-version"
# Rows of which the engine warms up: one, and as many as take its kernel for many rows.
WARM_ROWS = (1, 64)
MAX_SHOWN = 20


class Generation:
    """One version of one model, loaded; nothing about it changes.

    `name` is the one it is served under, by default that of its schema; `alias` is the registry's, if it was
    asked for by one. `explain` is as for `Service`.
    """

    def __init__(
        self,
        model: ServedModel,
        settings: ServerSettings,
        pools: Mapping[str, Pool],
        *,
        name: str = "",
        alias: str = "",
        explain: Explain | None = None,
    ) -> None:
        self.model = model
        self.name = name or model.schema.model_name
        self.alias = alias
        self.version = model.version
        self.service = Service(model, settings, pools, name=self.name, explain=explain)
        self.schema_page = orjson.dumps(model.schema.to_dict(), option=orjson.OPT_INDENT_2)
        self.headers = [(VERSION_HEADER, self.version.encode())] if self.version else []

    @property
    def n_bytes(self) -> int:
        """Memory that the version's arrays take, shared ones included."""
        return self.model.predictor.bundle.n_bytes

    def is_called(self, version: str) -> bool:
        """Whether this is its version or its alias."""
        return version in (self.version, self.alias) and bool(version)

    def warm(self, before: Generation | None = None) -> None:
        """Have the engine compiled and its memory at hand, and the explainers that the one before had."""
        predictor = self.model.predictor
        for n_rows in WARM_ROWS:
            predictor.predict_proba(np.zeros((n_rows, len(predictor.schema.features))))
        for engine in before.model.predictor.engines if before is not None else ():
            predictor.explainer(engine)

    def text(self) -> str:
        """What it is called, for messages."""
        names = ", ".join(filter(None, (self.version and f"version {self.version}", self.alias)))
        return f"{self.name!r} ({names})" if names else repr(self.name)


class Models:
    """Generations in their places, in the order of the command line; those of one name are its versions."""

    def __init__(self, generations: Iterable[Generation], pools: Mapping[str, Pool]) -> None:
        self._generations = list(generations)
        self._pools = pools

    @classmethod
    def of(cls, *models: ServedModel, settings: ServerSettings, **pools_options: Any) -> Models:
        """Models under their own names."""
        pools = make_pools(settings, **pools_options)
        return cls((Generation(model, settings, pools) for model in models), pools)

    @property
    def all(self) -> Sequence[Generation]:
        """Those that answer now."""
        return tuple(self._generations)

    @property
    def first(self) -> Generation:
        """The one that answers where no name is given."""
        return self._generations[0]

    def find(self, name: str, version: str | None = None) -> Generation:
        """Generation of a name, and a version or alias if one is given; NotFoundError says what there is."""
        named = [generation for generation in self._generations if generation.name == name]
        for generation in named:
            if version is None or generation.is_called(version):
                return generation
        texts = [generation.text() for generation in self._generations[:MAX_SHOWN]]
        there = (
            f"There is {texts[0]}"
            if len(texts) == 1
            else f"There are {', '.join(texts[:-1])} and {texts[-1]}"
        )
        what = f"version {version[:80]!r} of {name[:80]!r}" if named and version else f"model {name[:80]!r}"
        raise NotFoundError(f"There is no {what} here. {there}.")

    def versions(self, name: str) -> list[str]:
        """Versions of a name that are known by a number."""
        return [one.version for one in self._generations if one.name == name and one.version]

    def swap(self, place: int, generation: Generation) -> None:
        """Let this one answer the requests that come from now on."""
        self._generations[place] = generation

    def let_go(self) -> None:
        """Hold no model any more, in a process that answers no requests."""
        self._generations.clear()

    def close(self) -> None:
        """Have what is at work end at its next step, and the threads with it."""
        for pool in self._pools.values():
            pool.close()
