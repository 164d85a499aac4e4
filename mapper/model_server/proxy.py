"""The model server for programs that call it themselves, one request at a time."""

from __future__ import annotations

from typing import Any

import orjson

from mapper.errors import ModelServerDownError, ModelServerTimeoutError
from mapper.mapping.answer import ModelAnswer, read_answer
from mapper.mapping.interfaces import TangoModelServerProxy
from mapper.mapping.request import ModelRequest
from mapper.model_server.client import HttpClient

__all__ = ["ModelServerProxy"]


class ModelServerProxy(TangoModelServerProxy):
    """Blocking client of a server that speaks MLflow's scoring protocol; not for several threads at once.

    Parameters
    ----------
    url : str
        Where it listens, such as `http://127.0.0.1:5001`.
    timeout_s : float
        Longest wait for an answer.

    Raises
    ------
    SettingsError
        If the URL is not one.
    """

    def __init__(self, url: str, timeout_s: float = 60.0) -> None:
        self._client = HttpClient(url, {"Content-Type": "application/json"}, timeout_s)
        self._timeout_s = timeout_s

    def get_model_server_url(self) -> str:
        """Where the model server listens, without user name and password."""
        return self._client.url

    def close(self) -> None:
        """End the connection; the next call opens another one."""
        self._client.close()

    def invoke(self, request_type: str, payload: Any) -> dict[str, Any]:
        """The model server's answer to a mapped request.

        Parameters
        ----------
        request_type : {"predict", "explain"}
            What is asked for.
        payload : ModelRequest or dict
            From `map_request`. Of a ModelRequest the answer remembers what to check in `map_response`.

        Raises
        ------
        ValueError
            If the type is another one.
        ModelServerDownError, ModelServerTimeoutError, ModelServerAnswerError, RefusedByModelError
            If the model server cannot be reached, is too slow, answers wrongly, or refuses the data.
        """
        if request_type not in ("predict", "explain"):
            raise ValueError(f"request_type {request_type!r} given, 'predict' or 'explain' expected")
        body = orjson.dumps(payload)
        request = payload if isinstance(payload, ModelRequest) else None
        url = self._client.url
        may_repeat = request is not None and not request.is_file
        for may_repeat_now in (may_repeat, False):
            try:
                reply = self._client.request("POST", "/invocations", body)
                break
            except TimeoutError as error:
                raise ModelServerTimeoutError(
                    f"The model server at {url} did not answer within {self._timeout_s:g} s."
                ) from error
            except OSError as error:  # an idle connection may have been closed by the server
                if not may_repeat_now:
                    raise ModelServerDownError(
                        f"The model server at {url} does not answer. Is it running?"
                    ) from error
        return ModelAnswer(read_answer(reply.status, reply.headers.get("retry-after"), reply.body), request)
