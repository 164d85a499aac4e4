"""MLflow's client with patience: what a busy database refuses is tried again, and said in a sentence.

So is what a server refuses to a user who may not do it.

MLflow waits 20 seconds for SQLite's lock and then passes the database's own error on, as it does when two
clients set one tag in the same instant. A refused call changed nothing, so it can be made again.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from proto_model.errors import RegistryError
from proto_model.registry.refusals import refusal

_N_ATTEMPTS = 6
_FIRST_PAUSE_S = 0.05

_REFUSED = re.compile(
    r"database (table )?is locked|UNIQUE constraint failed|duplicate (key|entry)|deadlock|StaleDataError"
    r"|could not serialize|lock wait timeout|expected to (update|delete) \d+ row",
    re.IGNORECASE,
)

_READ_ONLY = re.compile(r"readonly database|read[- ]only (transaction|mode)|read_only", re.IGNORECASE)

_DATABASE_LOGGER = logging.getLogger("mlflow.store.db.utils")


def patient(client: MlflowClient, *, pause: Callable[[float], None] = time.sleep) -> MlflowClient:
    """Client whose calls are made again when the database is busy; then a RegistryError says so.

    One says so at once of a database that can only be read.
    """
    return client if isinstance(client, _Patient) else cast(MlflowClient, _Patient(client, pause))


class _Patient:
    """MLflow's client; every method of it may be called."""

    def __init__(self, client: MlflowClient, pause: Callable[[float], None]) -> None:
        self._client = client
        self._pause = pause

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return self._again_and_again(method, name) if callable(method) else method

    def _again_and_again(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            for attempt in range(_N_ATTEMPTS):
                try:
                    with _without_tracebacks():
                        return method(*arguments, **options)
                except (MlflowException, OSError) as error:
                    refused = refusal(error, name, arguments)
                    if refused is not None:
                        raise refused from error
                    if isinstance(error, OSError):
                        raise
                    if _READ_ONLY.search(str(error)):
                        raise RegistryError(
                            f"MLflow's database can only be read here, so {name} changed nothing. Check the "
                            "rights of its file or of its user."
                        ) from error
                    if not _REFUSED.search(str(error)):
                        raise
                    last = error
                # Random pauses, or those who collided would collide again.
                self._pause(_FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1.5))
            raise RegistryError(
                f"MLflow's database is busy: it refused {name} {_N_ATTEMPTS} times. Run the command again. "
                "For many users at once, put a tracking server with PostgreSQL or MySQL behind the store."
            ) from last

        return call


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Keep MLflow from logging the traceback of a refusal, which is not the end of it."""

    def keep(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not (_REFUSED.search(message) or _READ_ONLY.search(message))

    _DATABASE_LOGGER.addFilter(keep)
    try:
        yield
    finally:
        _DATABASE_LOGGER.removeFilter(keep)
