"""A small blocking HTTP client, for the library and the command line; the service has a faster one."""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from mapper.model_server.model_server import shown_url

__all__ = ["HttpClient", "Reply"]


class Reply(NamedTuple):
    """Status, headers with lower-case names, and body."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpClient:
    """Requests to one server over one connection; redirects are not followed.

    Parameters
    ----------
    url : str
        Where the server listens; a user name and password in it are sent as basic authentication.
    headers : mapping, optional
        Headers of every request.
    timeout_s : float
        Longest wait for each answer.
    context : ssl.SSLContext, optional
        How to trust an https server; by default as the system does.

    Raises
    ------
    SettingsError
        If the URL is not one.
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
        if parts.username and "Authorization" not in self._headers:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        host = parts.hostname or ""
        self._connection = (
            http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
        )

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """The server's reply, whatever its status.

        Raises
        ------
        OSError
            If there is no reply; `TimeoutError` when it took too long.
        """
        try:
            self._connection.request(method, self._prefix + path, body, {**self._headers, **(headers or {})})
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
