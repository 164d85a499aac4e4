"""How the mapper, or its command line, shows a server who it is, and whom it trusts."""

from __future__ import annotations

import logging
import os
import ssl
import stat
from pathlib import Path
from urllib.parse import urlsplit

from mapper.errors import SettingsError
from mapper.model_server.proxy import basic_login

logger = logging.getLogger(__name__)

MAX_FILE_CHARACTERS = 64 * 1024


class Login:
    """Token of a file, an authority of certificates, and a certificate of its own.

    All are read again when changed. Without a token, the user name and password in a URL count. Raises
    SettingsError if a file cannot be used.
    """

    def __init__(
        self, token_file: str = "", ca_file: str = "", cert_file: str = "", key_file: str = ""
    ) -> None:
        if key_file and not cert_file:
            raise SettingsError(f"The key {key_file} is given without its certificate. Give both.")
        self._path = Path(token_file) if token_file else None
        self._ca_file, self._cert_file, self._key_file = ca_file, cert_file, key_file
        self._seen: tuple[int, ...] = ()
        self._token = ""
        self._refresh_token()
        self._seen_of_files = self._watched()

    def refresh(self) -> bool:
        """Read the files again that have changed; whether there is something else to send or to trust now."""
        seen = self._watched()
        changed = seen != self._seen_of_files
        self._seen_of_files = seen
        return self._refresh_token() or changed

    def _watched(self) -> list[tuple[int, ...]]:
        """What changes when the files for TLS do."""
        return [_stat(Path(name)) for name in (self._ca_file, self._cert_file, self._key_file) if name]

    def _refresh_token(self) -> bool:
        """Whether there is another token now; if it cannot be read any more, the one read last is sent."""
        if self._path is None:
            return False
        seen = _stat(self._path)
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
            context = ssl.create_default_context(cafile=self._ca_file or None)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(f"The authority {self._ca_file} cannot be used: {reason}.") from error
        if self._cert_file:
            try:
                context.load_cert_chain(self._cert_file, self._key_file or None, _no_password)
            except (OSError, ValueError) as error:  # ssl.SSLError is one
                reason = getattr(error, "strerror", None) or str(error)
                raise SettingsError(
                    f"The certificate {self._cert_file} with its key cannot be used: {reason}. Give "
                    "PEM files, the key without a password."
                ) from error
        return context


def _no_password() -> str:
    raise ValueError("the key has a password")


def _stat(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _token(path: Path) -> str:
    """The one token of a file: all of it, or what follows a name."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe again would wait for who writes it
            raise SettingsError(f"The token file {path} is not a regular file. Give the path of one.")
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            text = file.read(MAX_FILE_CHARACTERS)
    except OSError as error:
        raise SettingsError(f"Cannot read the token file {path}: {error.strerror}.") from error
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    token = lines[0].split()[-1].rpartition(":")[2] if lines else ""
    if len(lines) != 1 or not token or not token.isascii() or not token.isprintable():
        raise SettingsError(f"The token file {path} must hold one line: a token, or `name: token`.")
    return token
