"""A source that stays loaded from one request to the next, and is begun again after it ended."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from proto_model.errors import InputError
from proto_model.sources.process import SourceEndedError
from proto_model.sources.session import Options, Session, SourceModel, session


class RejectedError(InputError):
    """A record was refused, by the source or by its schema."""


class Keeper:
    """Keeps a session of a source, and begins another one when it ended; its timeout is of one request."""

    def __init__(self, model: SourceModel, options: Options) -> None:
        self._model, self._options = model, options
        self._open = contextlib.ExitStack()
        self._session: Session | None = None
        self._lock = threading.Lock()

    def begin(self) -> Session:
        """The session, which is begun if there is none. A SourceEndedError says why it cannot."""
        if self._session is None:
            self._open.close()
            begun = self._open.enter_context(session(self._model, self._options))
            begun.begin()
            self._session = begun
        return self._session

    def answer(self, records: list[Any], is_one: bool) -> Any:
        """What the source gives for each record: its output, or a list unless it is one.

        A RejectedError says which record was refused, and why.
        """
        with self._lock:
            try:
                running = self.begin()
                running.deadline = time.monotonic() + self._options.limits.timeout_s
                answers = [self._one(running, n, record, is_one) for n, record in enumerate(records)]
            except SourceEndedError:
                self._session = None
                self._open.close()
                raise
        return answers[0] if is_one else answers

    def end(self) -> None:
        """End the process in the middle of a request, which is answered at once then."""
        running = self._session
        if running is not None:
            running.process.kill()

    def close(self) -> None:
        """End the process."""
        self._open.close()

    def _one(self, running: Session, number: int, record: Any, is_one: bool) -> Any:
        result = running.score(record)
        refused = result.rejected or next(iter(result.dropped), "")
        if refused:
            place = "" if is_one else f"record {number}, counted from 0: "
            raise RejectedError(f"{place}{refused}")
        return result.outputs[0] if len(result.outputs) == 1 else list(result.outputs)
