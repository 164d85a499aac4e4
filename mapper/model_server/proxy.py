"""Blocking HTTP, for programs and the command line; the service has a faster client."""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import orjson

from mapper.errors import ModelServerDownError, ModelServerTimeoutError, SettingsError
from mapper.mapping.answer import ModelAnswer
from mapper.mapping.interfaces import TangoModelServerProxy
from mapper.mapping.objects import Bytes, request_kind
from mapper.mapping.request import ModelRequest
from mapper.model_server.answer import read_answer


def shown_url(url: str) -> str:
    """A URL as it may be shown; raises SettingsError if it is not an absolute http or https URL.

    Examples
    --------
    >>> shown_url("http://me:secret@models:5001/a?token=x")
    'http://models:5001/a'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # what the socket will do with it
    except ValueError:
        host, port = "", None
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if not host or not is_plain or parts.scheme not in ("http", "https"):
        raise SettingsError("Invalid server URL: http://host:port or https://host expected.")
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}{parts.path}"


def basic_login(url: str) -> str | None:
    """Value of the Authorization header for a URL with a user name, if it has one."""
    parts = urlsplit(url)
    if not parts.username:
        return None
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(login.encode()).decode()}"


class Reply(NamedTuple):
    """Status, headers with lower-case names, and body."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpClient:
    """Requests to one server over one connection; redirects are not followed.

    A user name and password in the URL are sent as basic authentication. Raises SettingsError for a bad URL.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.url = shown_url(url)
        parts = urlsplit(url)
        self._prefix = parts.path.rstrip("/")
        self._headers = dict(headers or {})
        if (login := basic_login(url)) and "Authorization" not in self._headers:
            self._headers["Authorization"] = login
        address: dict[str, Any] = {"host": parts.hostname, "port": parts.port, "timeout": timeout_s}
        self._connection = (
            http.client.HTTPSConnection(**address, context=context)
            if parts.scheme == "https"
            else http.client.HTTPConnection(**address)
        )

    def request(
        self, method: str, path: str, body: bytes | None = None, *, may_repeat: bool = False
    ) -> Reply:
        """The server's reply, whatever its status; raises OSError if there is none, or none in time.

        With `may_repeat`, a request is sent again if the server had closed an idle connection. Without, it is
        sent once, over a new one.
        """
        if may_repeat:
            with suppress(ConnectionError):
                return self._exchange(method, path, body)
        self.close()
        return self._exchange(method, path, body)

    def _exchange(self, method: str, path: str, body: bytes | None) -> Reply:
        try:
            self._connection.request(method, self._prefix + path, body, self._headers)
            response = self._connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        except http.client.HTTPException as error:
            self.close()  # or the rest of a broken answer stands in the way of all further requests
            raise ConnectionResetError(f"no HTTP reply: {error!r}") from error
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """End the connection; the next request opens another one."""
        self._connection.close()


class ModelServerProxy(TangoModelServerProxy):
    """Blocking client of a server that speaks MLflow's scoring protocol; not for several threads at once.

    It waits `timeout_s` for an answer; `headers` are sent along, such as Authorization. Raises SettingsError
    if the URL is invalid.
    """

    def __init__(
        self,
        server_proxy_url: str,
        timeout_s: float = 60.0,
        headers: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        headers = {"Content-Type": "application/json", **(headers or {})}
        self._client = HttpClient(server_proxy_url, headers, timeout_s, context)
        self._timeout_s = timeout_s

    def get_model_server_url(self) -> str:
        """Where the model server listens, without user name and password."""
        return self._client.url

    def close(self) -> None:
        """End the connection; the next call opens another one."""
        self._client.close()

    def invoke(self, request_type: Any, payload: Any) -> dict[str, Any]:
        """The model server's answer to a mapped request.

        `request_type` is `predict` or `explain`, as text or as a member of an enum such as `RequestType`; the
        payload itself says whether to explain. It is a mapped request, or JSON of one as bytes or text. Of a
        ModelRequest the answer remembers what to check in `map_response`. Raises ValueError for another
        type, and the errors of `read_answer`, also where there is no answer.
        """
        request_kind(request_type)
        body = payload.encode() if isinstance(payload, str) else payload
        body = bytes(body) if isinstance(body, Bytes) else orjson.dumps(payload)
        request = payload if isinstance(payload, ModelRequest) else None
        may_repeat = request is not None and not request.is_file
        name = f"The model server at {self._client.url}"
        try:
            reply = self._client.request("POST", "/invocations", body, may_repeat=may_repeat)
        except TimeoutError as error:
            raise ModelServerTimeoutError(f"{name} did not answer within {self._timeout_s:g} s.") from error
        except OSError as error:
            raise ModelServerDownError(f"{name} does not answer. Is it running?") from error
        return ModelAnswer(read_answer(reply.status, reply.headers.get("retry-after"), reply.body), request)
