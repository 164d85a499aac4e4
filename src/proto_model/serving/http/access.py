"""Who may ask: tokens of a file, which is read again when it changes.

A line of the file is a name and a token, with a colon or a space between them; lines that begin with `#` are
comments. One name may have several tokens, for a time in which clients change theirs. In memory are keyed
hashes only.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["Access", "AccessError", "is_local", "open_paths", "read_tokens", "watched"]

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 1024 * 1024
MAX_TOKENS = 1000
LINE = re.compile(r"(?P<name>[A-Za-z0-9._@/-]{1,64})(?:\s*:\s*|\s+)(?P<token>\S+)")
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,512}=*")
ADVICE = "Make one with `openssl rand -hex 32`."
BEARER = re.compile(rb"bearer +([^ ].*)", re.IGNORECASE | re.DOTALL)
NEEDED = "This needs a token: send `Authorization: Bearer <token>`."
WRONG = "This server does not know the token. Ask the operator for one."
NOT_BEARER = "The Authorization header must be `Bearer <token>`."


class AccessError(Exception):
    """Tokens or certificates cannot be used: what is wrong with which file, and what to do."""


def watched(path: Path) -> tuple[int, ...]:
    """What changes when a file does, also one behind a symbolic link; empty if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def is_local(address: str) -> bool:
    """Whether only this machine reaches an address."""
    return address.startswith("127.") or address == "::1"


def read_tokens(path: Path) -> list[tuple[str, str]]:
    """Names and tokens of a file.

    Raises
    ------
    AccessError
        If it cannot be read, others than its owner may write it, or a line is wrong, which no message quotes.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe again would wait for who writes it
            raise AccessError(f"The token file {path} is not a regular file. Give the path of one.")
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise AccessError(f"Cannot read the token file {path}: {error.strerror}.") from error
    if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AccessError(f"Other users can write the token file {path}. Prevent that: chmod go-w {path}.")
    if os.name == "posix" and mode & stat.S_IROTH:
        logger.warning(
            "Every user of this machine can read the token file %s. Prevent that: chmod o-r %s.", path, path
        )
    if len(content) > MAX_FILE_BYTES:
        raise AccessError(f"The token file {path} has more than {MAX_FILE_BYTES} bytes.")
    tokens: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8-sig", errors="replace").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = LINE.fullmatch(text)
        if found is None:
            raise AccessError(f"Line {number} of the token file {path} is not `name: token`.")
        name, token = found["name"], found["token"]
        if not TOKEN.fullmatch(token):
            raise AccessError(
                f"The token in line {number} of {path} needs 16 to 512 letters, digits or ._~+/-. {ADVICE}"
            )
        if tokens.setdefault(token, name) != name:
            raise AccessError(f"The token in line {number} of {path} has another name already. {ADVICE}")
    if not tokens:
        raise AccessError(f"The token file {path} has no tokens. Write lines such as `name: token`. {ADVICE}")
    if len(tokens) > MAX_TOKENS:
        raise AccessError(f"The token file {path} has {len(tokens)} tokens, at most {MAX_TOKENS} are taken.")
    return [(name, token) for token, name in tokens.items()]


class Access:
    """Decides by a request's path and headers whether it is answered, and whose it is.

    `open_paths` need no token. Raises AccessError if the file cannot be used; later, the tokens that it had
    last stay in force when that happens.
    """

    def __init__(self, path: Path, open_paths: Iterable[str] = ()) -> None:
        self._path = path
        self._open = frozenset(path.encode() for path in open_paths)
        self._key = os.urandom(32)
        self._seen = watched(path)
        self._names = self._read()

    def name_of(self, url: bytes, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Name of the client that sends a request, "" if it may ask without.

        Raises PermissionError with a sentence for the client, ValueError if the header is there twice.
        """
        given = None
        for name, value in headers:
            if name == b"authorization":
                if given is not None:
                    raise ValueError("Two Authorization headers given, one expected.")
                given = value
        # As it was sent: a path that is written in another way is not taken for an open one.
        is_open = url.partition(b"?")[0] in self._open
        if given is None:
            if is_open:
                return ""
            raise PermissionError(NEEDED)
        found = BEARER.fullmatch(given.strip(b" \t"))
        if found is None:
            if is_open:
                return ""
            raise PermissionError(NOT_BEARER)
        # The time of a look-up could tell about the hash at most, and whoever asks does not know its key.
        whose = self._names.get(self._digest(found[1]), "")
        if not whose and not is_open:
            raise PermissionError(WRONG)
        return whose

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        seen = watched(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._names = self._read()
        except AccessError as error:
            logger.error("%s The tokens that were read last stay in force.", error)
        else:
            logger.info("tokens read again: %d, of %s", len(self._names), ", ".join(self.names))

    @property
    def names(self) -> list[str]:
        """Names of those that have tokens."""
        return sorted(set(self._names.values()))

    def _read(self) -> dict[bytes, str]:
        return {self._digest(token.encode()): name for name, token in read_tokens(self._path)}

    def _digest(self, token: bytes) -> bytes:
        return hashlib.blake2b(token, digest_size=32, key=self._key).digest()


def open_paths(groups: str, known: Mapping[str, Iterable[str]]) -> list[str]:
    """Paths of the groups that a text names; raises AccessError for another name than those, or `none`."""
    paths: list[str] = []
    for name in groups.replace(",", " ").split():
        if name != "none" and name not in known:
            raise AccessError(f"{name!r} cannot be left open. Choose from {', '.join(known)}, or none.")
        paths += known.get(name, ())
    return paths
