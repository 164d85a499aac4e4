"""What outlives a version: connections to the model server, counters, refusals, and requests at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mapper.http.metrics import Metrics
from mapper.http.refusals import Pace, Tally
from mapper.http.settings import MapperSettings
from mapper.model_server.client import ModelServer
from mapper.model_server.login import Login


class Backend:
    """Behind one model, whatever its version; `path` comes after the URLs of the settings.

    `answered` is told the version that the model server names in an answer.
    """

    def __init__(self, settings: MapperSettings, metrics: Metrics, path: str = "") -> None:
        def server(url: str) -> ModelServer:
            login = Login(
                settings.model_token_file,
                settings.model_ca_file,
                settings.model_cert_file,
                settings.model_key_file,
            )
            return ModelServer(url.rstrip("/") + path, settings.limits, metrics.model_server, login)

        self.metrics = metrics
        self.server = server(settings.model_server_url)
        self.explainer = server(settings.explainer_url) if settings.explainer_url else None
        self.pace, self.tally = Pace(), Tally()
        self.at_work: set[asyncio.Task[None]] = set()
        self.answered: Callable[[str], None] = lambda version: None

    def refresh(self) -> None:
        """Look whether the files for the model server have changed."""
        for server in filter(None, (self.server, self.explainer)):
            server.refresh()

    def close(self) -> None:
        """Answer what is still at work with a 503, and end the connections to the model server."""
        for task in self.at_work:
            task.cancel()
        for server in filter(None, (self.server, self.explainer)):
            server.close()
