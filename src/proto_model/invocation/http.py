"""Requests to a server that may still be starting, and what its errors say."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from proto_model.errors import CallerError, ProtoModelError
from proto_model.registry.tracking import shown_url

_PAUSE_S = 0.2
_ASK_TIMEOUT_S = 10.0
_MISTYPED = "The URL is not valid. Give one such as http://127.0.0.1:5001."
_JSON = {"Content-Type": "application/json"}
START = (
    "Is the server running? These start one, and so does `mlflow models serve` with --env-manager local:\n"
    "  python -m proto_model serve -m <model URI>\n"
    "  python -m proto_model mlserver --serve <model URI>"
)


class InvocationError(ProtoModelError):
    """The server could not be reached, or did not answer with predictions."""


class WrongUrlError(InvocationError, CallerError):
    """What should be the URL of a server is none."""


class RefusedError(InvocationError):
    """The server answered with an error."""


class RejectedError(RefusedError, CallerError):
    """The server answered that the request is wrong: its rows, its options, or its token."""


def endpoint(server: str, path: str) -> str:
    """URL of a path below a server's; what stands behind a `?` there stays at the end."""
    try:
        parts = urlsplit(server)
    except ValueError as error:
        raise WrongUrlError(_MISTYPED) from error
    return parts._replace(path=parts.path.rstrip("/") + path).geturl()


def invoke(url: str, body: dict[str, Any], *, wait_s: float, timeout_s: float = 60.0) -> Any:
    """Parsed answer to a POST, sent again until a server that is starting has come up.

    For `wait_s` seconds it goes on while nothing listens there, or the answer is 503. An InvocationError says
    that nothing answers in time, or, in the server's own words, that the answer is an error or not JSON.
    """
    end = time.monotonic() + wait_s
    request = _request(url, json.dumps(body).encode())
    while True:
        status, text = _exchange(request, timeout_s, end, wait_s)
        if status == 200:
            try:
                return json.loads(text)
            except (ValueError, RecursionError) as error:
                raise InvocationError(f"The answer from {shown_url(url)} is not JSON: {error}") from error
        if status != 503 or time.monotonic() >= end:
            kind = RejectedError if 400 <= status < 500 else RefusedError
            raise kind(f"{shown_url(url)} answered {status}: {_said(text)}")
        time.sleep(_PAUSE_S)


def told(url: str, body: dict[str, Any] | None = None) -> Any:
    """What a server tells at a URL: parsed JSON of a GET, or of a POST; None where it has nothing to tell."""
    request = _request(url, None if body is None else json.dumps(body).encode())
    status, text = _exchange(request, _ASK_TIMEOUT_S, 0.0, 0.0)
    if status != 200:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def wait_until_up(server: str, wait_s: float) -> None:
    """Return once a server answers, and is not about to load its model any more; it waits up to `wait_s`."""
    end = time.monotonic() + wait_s
    while _starting(server, end, wait_s) and time.monotonic() < end:
        time.sleep(_PAUSE_S)


def _starting(server: str, end: float, wait_s: float) -> bool:
    """Whether the server has no model yet: MLServer then answers 404, except to what V2 says of health."""

    def status(path: str) -> int:
        return _exchange(_request(endpoint(server, path), None), _ASK_TIMEOUT_S, end, wait_s)[0]

    if status("/ping") == 200 or status("/healthz") == 200:
        return False
    return status("/v2/health/live") == 200 and status("/v2/health/ready") != 200


def _request(url: str, data: bytes | None) -> urllib.request.Request:
    try:
        is_url = (
            url.startswith(("http://", "https://")) and urlsplit(url).port != 0
        )  # ValueError: above 65535
    except ValueError:
        is_url = False
    if not is_url:
        raise WrongUrlError(_MISTYPED)
    return urllib.request.Request(url, data, _JSON)


def _exchange(
    request: urllib.request.Request, timeout_s: float, end: float, wait_s: float
) -> tuple[int, str]:
    """Status and text of an answer; tried again until `end` while nothing listens."""
    shown = shown_url(request.full_url)
    while True:
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                return response.status, response.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(errors="replace")
        except OSError as error:  # urllib's URLError is one
            if time.monotonic() >= end:
                reason = getattr(error, "reason", error)
                reason = getattr(reason, "strerror", None) or reason
                raise InvocationError(
                    f"No answer from {shown} within {wait_s:g} s: {reason}. {START}"
                ) from error
        except http.client.InvalidURL as error:
            raise WrongUrlError(_MISTYPED) from error
        except ValueError as error:  # of a redirect
            raise InvocationError(f"{shown} sends requests on to what is no URL: {error}.") from error
        except http.client.HTTPException as error:
            raise InvocationError(f"{shown} is not an HTTP server. Check the port.") from error
        time.sleep(_PAUSE_S)


def _said(text: str) -> str:
    """What an error body says: MLflow's `message`, MLServer's `error`, or a problem with its faults."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text[:2000]
    if not isinstance(content, dict):
        return text[:2000]
    said = content.get("message") or content.get("error") or content.get("detail") or content.get("title")
    faults = content.get("errors")
    return "\n".join(
        [str(said or text)[:4000], *(json.dumps(f) for f in (faults if isinstance(faults, list) else []))]
    )
