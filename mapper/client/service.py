"""Clients of a running mapper for applications: typed answers, timeouts, retries, problems as exceptions."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar, cast

import orjson

from mapper.client.answers import Answer
from mapper.client.picture import Picture, explanation_in
from mapper.errors import (
    Finding,
    MapperError,
    ModelServerDownError,
    ModelServerTimeoutError,
    SettingsError,
)
from mapper.mapping.schema import ModelSchema
from mapper.model_server.proxy import HttpClient, Reply

__all__ = ["AsyncClient", "Client", "ProblemError"]

T = TypeVar("T")
Rows = Mapping[str, Any] | Sequence[Mapping[str, Any]]

FIRST_PAUSE_S = 0.2  # doubles with each further attempt
LONGEST_TIMEOUT_S = 86_400.0
LONGEST_PAUSE_S = 30.0  # also when the mapper asks for more by Retry-After
PASSING = (502, 503)  # statuses that another attempt may not meet


class ProblemError(MapperError):
    """The mapper answered with a problem (RFC 9457).

    `status` is its HTTP status and `name` its kind, such as `invalid-request`; `errors` are the faults of a
    request that does not fit the model, the first of `error_count`; `request_id` finds it in the log.
    """

    def __init__(self, status: int, document: Mapping[str, Any], retry_after_s: float = 0.0) -> None:
        title = str(document.get("title", "Problem"))
        super().__init__(f"{title} ({status}): {document.get('detail', '')}", document)
        self.status = status
        self.title = title
        self.name = str(document.get("type", "")).rpartition("#")[2]
        self.detail = str(document.get("detail", ""))
        self.request_id = str(document.get("request_id", ""))
        self.errors = tuple(
            Finding(fault["kind"], fault["message"], fault.get("row"), fault.get("field"))
            for fault in document.get("errors", ())
        )
        self.error_count = int(document.get("error_count", len(self.errors)))
        self.retry_after_s = retry_after_s


class Client:
    """Blocking client of a mapper; one connection, so not for several threads at once.

    Parameters
    ----------
    url : str
        Where the mapper listens, such as `http://127.0.0.1:8080`; `/models/NAME` at its end chooses one of
        several models.
    token : str
        Sent as a bearer token, if the mapper asks for one.
    timeout_s : float
        Longest wait for each attempt.
    retries : int
        Further attempts when the mapper is unreachable or busy; predictions change nothing, so they may be
        asked for again. File jobs are sent once.
    context : ssl.SSLContext or None
        For https; None trusts what the system trusts.

    Raises
    ------
    SettingsError
        If the URL, the timeout or the number of retries is invalid.
    MapperError
        From calls: JSON cannot hold a value of the rows, or the answer is not a mapper's.
    ProblemError
        From calls: the mapper refused the request, or could not answer it.
    ModelServerDownError, ModelServerTimeoutError
        From calls: nothing answered at the URL, or not in time.

    Examples
    --------
    >>> with Client("http://127.0.0.1:8080") as client:  # doctest: +SKIP
    ...     answer = client.explain({"mass": 4.2, "ringed": True})
    ...     print(answer["predictions"][0]["explanation"]["rule"]["text"])
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        timeout_s: float = 60.0,
        retries: int = 3,
        context: ssl.SSLContext | None = None,
    ) -> None:
        if not 0 < timeout_s <= LONGEST_TIMEOUT_S:
            raise SettingsError(
                f"timeout_s is {timeout_s}; give seconds above 0, at most {LONGEST_TIMEOUT_S:g}."
            )
        if retries < 0:
            raise SettingsError(f"retries is {retries}; give 0 or more.")
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = HttpClient(url, headers, timeout_s, context)
        self._timeout_s = timeout_s
        self._retries = retries

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the connection."""
        self.close()

    def predict(
        self, data: Rows, *, parameters: Mapping[str, Any] | None = None, session: Any = None
    ) -> Answer:
        """Prediction of a row, or of each of several."""
        return self._ask("predict", _request("data", data, parameters, session))

    def explain(
        self, data: Rows, *, parameters: Mapping[str, Any] | None = None, session: Any = None
    ) -> Answer:
        """The same, each with its explanation."""
        return self._ask("explain", _request("data", data, parameters, session))

    def picture(self, row: Mapping[str, Any], *, parameters: Mapping[str, Any] | None = None) -> Picture:
        """A row's explanation as a picture, which a notebook shows; `write` makes an SVG or PNG file of it.

        Raises SchemaError where an application's own class answers: its records have no known features.
        """
        (item,) = self.explain([row], parameters=parameters)["predictions"]
        schema = ModelSchema.from_dict(self.schema())
        return Picture.of(explanation_in(item), schema, row)

    def predict_file(
        self, input_url: str, output_url: str, *, parameters: Mapping[str, Any] | None = None
    ) -> Answer:
        """Summary of a file job; its predictions are at the output URL."""
        file = {"input_url": input_url, "output_url": output_url}
        return self._ask("predict", _request("file", file, parameters, None), may_repeat=False)

    def schema(self) -> dict[str, Any]:
        """What the model takes: features, ranges, classes."""
        return self._content(self._attempt("GET", "/v1/schema", None, may_repeat=True))

    def close(self) -> None:
        """End the connection; the next call opens another one."""
        self._http.close()

    def _ask(self, command: str, body: bytes, *, may_repeat: bool = True) -> Answer:
        reply = self._attempt("POST", f"/v1/{command}", body, may_repeat=may_repeat)
        return cast(Answer, self._content(reply))

    def _attempt(self, method: str, path: str, body: bytes | None, *, may_repeat: bool) -> Reply:
        """A reply that is no passing problem, or the one of the last attempt."""
        for attempt in range(self._retries + 1 if may_repeat else 1):
            is_last = not may_repeat or attempt == self._retries
            asked_s = 0.0
            try:
                reply = self._http.request(method, path, body, may_repeat=may_repeat)
                if reply.status not in PASSING or is_last:
                    return reply
                asked_s = _seconds(reply.headers.get("retry-after", ""))
            except TimeoutError as error:
                raise ModelServerTimeoutError(
                    f"{self._http.url} did not answer within {self._timeout_s:g} s."
                ) from error
            except OSError as error:
                if is_last:
                    raise ModelServerDownError(
                        f"No mapper service at {self._http.url}. Is it running?"
                    ) from error
            # Clients that failed together are not to come back together.
            pause_s = max(asked_s, FIRST_PAUSE_S * 2**attempt) * random.uniform(1, 1.5)
            time.sleep(min(pause_s, LONGEST_PAUSE_S))
        raise AssertionError("the last attempt returns or raises")

    def _content(self, reply: Reply) -> dict[str, Any]:
        try:
            content = orjson.loads(reply.body)
        except orjson.JSONDecodeError as error:
            raise MapperError(f"{self._http.url} did not answer in JSON. Is it a mapper?") from error
        if not isinstance(content, dict):
            raise MapperError(f"{self._http.url} did not answer with an object. Is it a mapper?")
        if reply.status != 200:
            raise ProblemError(reply.status, content, _seconds(reply.headers.get("retry-after", "")))
        return content


class AsyncClient:
    """Client of a mapper for asyncio; takes what `Client` takes, and any number of calls at once.

    Up to `max_connections` are on their way together, each in a thread with a connection of its own; the
    others wait. A call that is cancelled is no longer awaited; its request still ends within its timeout.
    """

    def __init__(self, url: str, *, max_connections: int = 8, **settings: Any) -> None:
        self._idle = [Client(url, **settings) for _ in range(max_connections)]
        self._places = asyncio.Semaphore(max_connections)

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the connections."""
        self.close()

    async def predict(
        self, data: Rows, *, parameters: Mapping[str, Any] | None = None, session: Any = None
    ) -> Answer:
        """Prediction of a row, or of each of several."""
        return await self._with(lambda client: client.predict(data, parameters=parameters, session=session))

    async def explain(
        self, data: Rows, *, parameters: Mapping[str, Any] | None = None, session: Any = None
    ) -> Answer:
        """The same, each with its explanation."""
        return await self._with(lambda client: client.explain(data, parameters=parameters, session=session))

    async def picture(
        self, row: Mapping[str, Any], *, parameters: Mapping[str, Any] | None = None
    ) -> Picture:
        """A row's explanation as a picture, as `Client.picture` gives it."""
        return await self._with(lambda client: client.picture(row, parameters=parameters))

    async def predict_file(
        self, input_url: str, output_url: str, *, parameters: Mapping[str, Any] | None = None
    ) -> Answer:
        """Summary of a file job; its predictions are at the output URL."""
        return await self._with(
            lambda client: client.predict_file(input_url, output_url, parameters=parameters)
        )

    async def schema(self) -> dict[str, Any]:
        """What the model takes: features, ranges, classes."""
        return await self._with(lambda client: client.schema())

    def close(self) -> None:
        """End the idle connections."""
        for client in self._idle:
            client.close()

    async def _with(self, call: Callable[[Client], T]) -> T:
        await self._places.acquire()
        client = self._idle.pop()
        work = asyncio.ensure_future(asyncio.to_thread(call, client))
        # Only the thread's end gives the client and its place back: a cancelled call still uses them.
        work.add_done_callback(lambda done: self._give_back(client, done))
        return await asyncio.shield(work)

    def _give_back(self, client: Client, done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            done.exception()  # of a call that nobody awaits any more, too
        self._idle.append(client)
        self._places.release()


def _request(part: str, content: Any, parameters: Mapping[str, Any] | None, session: Any) -> bytes:
    request = {part: content, "parameters": parameters, "session": session}
    given = {name: value for name, value in request.items() if value is not None}
    try:
        return orjson.dumps(given, option=orjson.OPT_SERIALIZE_NUMPY)  # NaN becomes null, a missing value
    except TypeError as error:
        raise MapperError(f"JSON cannot hold a value of the request: {error}.") from error


def _seconds(header: str) -> float:
    """Seconds of a Retry-After header; 0 for none, or for a date."""
    return float(header) if header.isdecimal() else 0.0
