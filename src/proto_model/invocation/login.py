"""Token with which one server is asked, and no other: neither a store, nor where it sends us on."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from proto_model.errors import InputError
from proto_model.invocation.http import WrongUrlError

TOKEN = "PROTO_MODEL_TOKEN"


def token_of(path: Path | None, environment: Mapping[str, str]) -> str:
    """The token of a file, or of the environment; empty if there is none."""
    if path is None:
        text, source = environment.get(TOKEN, ""), TOKEN
    else:
        try:
            text, source = path.read_text(encoding="utf-8-sig", errors="replace"), str(path)
        except OSError as error:
            raise InputError(f"Cannot read the token file {path}: {error.strerror}.") from error
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    token = lines[0].split()[-1].rpartition(":")[2] if lines else ""
    if len(lines) > 1 or (path and not token) or not token.isascii() or not token.isprintable():
        raise InputError(f"{source} must hold one token, or one line `name: token`.")
    return token


def use_login(server: str, token: str, ca_file: Path | None) -> None:
    """Have this process send a token to a server, and trust an authority."""
    handlers: list[urllib.request.BaseHandler] = []
    if token:
        handlers.append(_Login(server, token))
    if ca_file is not None:
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"The authority {ca_file} cannot be used: {reason}.") from error
        handlers.append(urllib.request.HTTPSHandler(context=context))
    urllib.request.install_opener(urllib.request.build_opener(*handlers))


class _Login(urllib.request.BaseHandler):
    """Adds the token to requests for one server."""

    def __init__(self, server: str, token: str) -> None:
        self._origin = _origin(server)
        self._token = token

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        """Called by urllib."""
        if _origin(request.full_url) == self._origin:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        return request

    https_request = http_request


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise WrongUrlError("The URL is not valid. Give one such as http://127.0.0.1:5001.") from error
    return parts.scheme, parts.netloc
