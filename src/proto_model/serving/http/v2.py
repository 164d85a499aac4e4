"""Paths of the Open Inference Protocol V2: which model a path names, and what the others tell.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import proto_model
from proto_model.serving.http.errors import NotFoundError
from proto_model.serving.http.models import Generation, Models

# Names of Triton's and KServe's extensions of the protocol.
EXTENSIONS = ("binary_tensor_data",)
INDEX = "/v2/repository/index"

Page = dict[str, Any] | list[dict[str, Any]]


class Paths:
    """Finds page or model of a path; `ready` gives the page about readiness."""

    def __init__(self, models: Models, ready: Callable[[], dict[str, Any]]) -> None:
        self._models = models
        self._ready = ready

    def find(self, path: str) -> tuple[Generation, Page | None]:
        """Model that a path names, the first if it names none, and the page; None for `infer`."""
        parts = path.strip("/").split("/")[1:]
        if not parts:
            return self._models.first, {
                "name": "proto-model-turbo",
                "version": proto_model.__version__,
                "extensions": list(EXTENSIONS),
            }
        if parts == ["health", "live"]:
            return self._models.first, {"live": True}
        if parts == ["health", "ready"]:
            return self._models.first, self._ready()
        if parts == ["repository", "index"]:
            return self._models.first, self._index()
        if parts[0] == "models" and len(parts) > 1:
            name, rest = parts[1], parts[2:]
            version = None
            if rest[:1] == ["versions"] and len(rest) > 1:
                version, rest = rest[1], rest[2:]
            generation = self._models.find(name, version)
            if not rest:
                return generation, self._metadata(generation)
            if rest == ["ready"]:
                return generation, {"name": name, "ready": True}
            if rest == ["infer"]:
                return generation, None
        raise NotFoundError(
            f"There is nothing at {path[:80]!r}. There are /v2, /v2/health/live, /v2/health/ready, {INDEX} "
            f"and /v2/models/{self._models.first.name}, with ready, infer and versions below it."
        )

    def _metadata(self, generation: Generation) -> dict[str, Any]:
        """Columns of a version, all versions of its name, and what is known of this one."""
        known = {"version": generation.version, "alias": generation.alias}
        return generation.service.inference.metadata() | {
            "versions": self._models.versions(generation.name),
            "parameters": {
                **{name: value for name, value in known.items() if value},
                "schema_digest": generation.model.schema.digest,
                "memory_bytes": generation.n_bytes,
            },
        }

    def _index(self) -> list[dict[str, Any]]:
        return [
            {
                "name": generation.name,
                **({"version": generation.version} if generation.version else {}),
                "state": "READY",
                "reason": "",
            }
            for generation in self._models.all
        ]
