"""Whether the model server is reachable and serves the version whose schema the mapper has."""

from __future__ import annotations

import asyncio
import time

from mapper.errors import MapperError
from mapper.mapping.model import TabularModel
from mapper.model_server.client import ModelServer

KEPT_S = 2.0
EXPLAINER_WAIT_S = 0.5  # a probe must not fail because a server of explanations is unreachable


class Readiness:
    """Asks the model server, and remembers its answer briefly.

    `explainer_state` says how a server of explanations does, if there is one; predictions go on without it.
    """

    explainer_state: str | None = None

    def __init__(
        self,
        model: TabularModel,
        server: ModelServer,
        *,
        takes_files: bool,
        explainer: ModelServer | None = None,
    ) -> None:
        self._model = model
        self._server = server
        self._takes_files = takes_files
        self._explainer = explainer
        self._asked = asyncio.Lock()
        self._until = 0.0
        self._error: MapperError | None = None
        self._answered = -KEPT_S

    async def check(self) -> None:
        """Nothing, when a typical row gets an answer that fits the schema; raises MapperError otherwise."""
        async with self._asked:
            if time.monotonic() >= self._until:
                has_answered = time.monotonic() < self._answered + KEPT_S
                self._error = None if has_answered else await self._ask()
                if self._explainer is not None:
                    self.explainer_state = await self._ask_explainer(self._explainer)
                self._until = time.monotonic() + KEPT_S
        if self._error is not None:
            raise self._error

    def answered(self) -> None:
        """Say that the model server has just given an answer that fits: a busy one need not be asked."""
        self._answered = time.monotonic()

    async def _ask(self) -> MapperError | None:
        try:
            if self._takes_files:  # a probe would write a file
                await self._server.ping()
            else:
                request = self._model.map_request({"data": self._model.schema.typical_record})
                self._model.map_response(await self._server.invoke(request))
        except MapperError as error:
            return error
        return None

    async def _ask_explainer(self, server: ModelServer) -> str:
        try:
            async with asyncio.timeout(EXPLAINER_WAIT_S):
                await server.ping()
        except MapperError as error:
            return str(error)
        except TimeoutError:
            return f"The server of explanations at {server.url} does not answer."
        return "ready"
