"""How the mapper, or its command line, shows a server who it is, and whom it trusts."""

from __future__ import annotations

import logging
import os
import ssl
import stat
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from mapper.errors import SettingsError
from mapper.model_server.proxy import basic_login

logger = logging.getLogger(__name__)

MAX_FILE_CHARACTERS = 64 * 1024


class Login:
    """Token of a file, which is read again when it changes, and an authority of certificates.

    Without a token, the user name and password in a URL count. Raises SettingsError if a file cannot be used.
    """

    def __init__(self, token_file: str = "", ca_file: str = "") -> None:
        self._path = Path(token_file) if token_file else None
        self._ca_file = ca_file
        self._seen: tuple[int, ...] = ()
        self._token = ""
        self.refresh()

    def refresh(self) -> bool:
        """Read the file again if it has changed; whether there is another token now.

        If it cannot be read any more, the token that was read last is sent.
        """
        if self._path is None:
            return False
        seen: tuple[int, ...] = ()
        with suppress(OSError):
            found = os.stat(self._path)
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen == self._seen and self._token:
            return False
        self._seen = seen
        try:
            self._token = _token(self._path)
        except SettingsError as error:
            if not self._token:
                raise
            logger.error("%s The token that was read last is sent.", error)
            return False
        return True

    def header(self, url: str) -> str | None:
        """Value of the Authorization header, if there is one."""
        return f"Bearer {self._token}" if self._token else basic_login(url)

    def headers(self, url: str) -> dict[str, str]:
        """The header by its name, if there is one."""
        header = self.header(url)
        return {"Authorization": header} if header else {}

    def context(self, url: str) -> ssl.SSLContext | None:
        """What a connection to a URL is encrypted with, if it is."""
        if urlsplit(url).scheme != "https":
            return None
        try:
            return ssl.create_default_context(cafile=self._ca_file or None)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(f"The authority {self._ca_file} cannot be used: {reason}.") from error


def _token(path: Path) -> str:
    """The one token of a file: all of it, or what follows a name."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe again would wait for who writes it
            raise SettingsError(f"The token file {path} is no regular file. Give the path of one.")
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            text = file.read(MAX_FILE_CHARACTERS)
    except OSError as error:
        raise SettingsError(f"The token file {path} cannot be read: {error.strerror}.") from error
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    token = lines[0].split()[-1].rpartition(":")[2] if lines else ""
    if len(lines) != 1 or not token or not token.isascii() or not token.isprintable():
        raise SettingsError(f"The token file {path} must hold one line: a token, or `name: token`.")
    return token
