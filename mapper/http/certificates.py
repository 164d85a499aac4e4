"""TLS of a server: certificates that are read again when they change."""

from __future__ import annotations

import datetime
import logging
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .access import Access, AccessError, is_local, open_paths, watched
from .expiry import expires

__all__ = ["NOT_TLS", "Certificates", "Protection"]

logger = logging.getLogger(__name__)

SOON = datetime.timedelta(days=30)
HELLO = 0x16  # first byte of what a client sends that begins with TLS
TEXT = b"This port speaks HTTPS. Use https:// instead of http://.\n"
NOT_TLS = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(TEXT), TEXT)
)


@dataclass(frozen=True)
class Protection:
    """What an operator may set of who asks, and how: paths of files, empty where there is none."""

    token_file: str = ""
    open: str = "health"
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""

    def access(self, groups: Mapping[str, Iterable[str]]) -> Access | None:
        """Who may ask, if tokens are needed; raises AccessError. `groups` has paths that can be left open."""
        paths = open_paths(self.open, groups)
        return Access(Path(self.token_file), paths) if self.token_file else None

    def certificates(self) -> Certificates | None:
        """TLS, if there is a certificate; raises AccessError."""
        if not self.tls_cert:
            if self.tls_key or self.tls_client_ca:
                raise AccessError("A key or an authority of clients is given, but no certificate (tls_cert).")
            return None
        chain, key, client_ca = (
            Path(text) if text else None for text in (self.tls_cert, self.tls_key, self.tls_client_ca)
        )
        assert chain is not None
        return Certificates(chain, key, client_ca)

    def warning(self, address: str) -> str:
        """What is to be said about listening at an address without protection; empty if all is well."""
        if is_local(address) or (self.tls_cert and self.tls_client_ca):
            return ""
        if not self.token_file:
            return (
                f"Whoever reaches {address} may ask: there is no token file. Set --token-file, or keep "
                "others away by a proxy or a network."
            )
        if not self.tls_cert:
            return (
                f"Tokens go to {address} unencrypted. Set --tls-cert and --tls-key, unless a proxy on this "
                "machine or a mesh encrypts."
            )
        return ""


class Certificates:
    """Certificate chain and key of a server; with `client_ca`, clients need a certificate of that authority.

    Raises AccessError if a file cannot be used; later, what was read last stays in force when that happens.
    """

    def __init__(self, chain: Path, key: Path | None = None, client_ca: Path | None = None) -> None:
        self._chain, self._key, self._client_ca = chain, key, client_ca
        self._seen = self._watched()
        self._context = self._read()
        self._expires = expires(chain)
        self._said = ""

    def context(self) -> ssl.SSLContext:
        """For the next connection."""
        return self._context

    def refresh(self) -> None:
        """Read the files again if one has changed, and warn of a certificate that expires."""
        seen = self._watched()
        if seen != self._seen:
            self._seen = seen
            try:
                self._context = self._read()
                self._expires = expires(self._chain)
            except (AccessError, OSError) as error:  # perhaps only one of two files is there yet
                logger.error("%s What was read last stays in force.", error)
            else:
                logger.info("certificates read again: %s", self._chain)
        self._warn()

    def _warn(self) -> None:
        left = SOON if self._expires is None else self._expires - datetime.datetime.now(datetime.UTC)
        what = "" if left >= SOON else "expires" if left > datetime.timedelta() else "expired"
        if what and f"{what} {self._expires}" != self._said:
            self._said = f"{what} {self._expires}"
            logger.warning(
                "The certificate %s %s on %s. Renew it: clients refuse one that has expired.",
                self._chain,
                what,
                f"{self._expires:%Y-%m-%d %H:%M} UTC",
            )

    def _watched(self) -> list[tuple[int, ...]]:
        return [watched(path) for path in (self._chain, self._key, self._client_ca) if path is not None]

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._chain, self._key, _no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is one
            raise AccessError(
                f"The certificate {self._chain} with its key cannot be used: {_reason(error)}. Give a PEM "
                "file with the chain, and one with its key without a password."
            ) from error
        if self._client_ca is not None:
            try:
                context.load_verify_locations(self._client_ca)
            except OSError as error:
                raise AccessError(
                    f"The authority of clients {self._client_ca} cannot be used: {_reason(error)}."
                ) from error
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _no_password() -> str:
    raise ValueError("the key has a password")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).replace("_", " ").lower()
