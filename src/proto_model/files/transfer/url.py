"""Presigned URLs: their parts, what they sign, until when they hold, and how to show them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address
from itertools import groupby
from operator import itemgetter
from string import ascii_lowercase, ascii_uppercase
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from proto_model.files.transfer.errors import UrlError

SignatureKind = Literal["s3v4", "s3v2", "gcs", "azure", "none"]

_ALLOWED = re.compile(r"[!-~]+")  # printable ASCII without the space: what may stand in a request line
_HOST = re.compile(r"[a-z0-9._-]+")
_BRACKETS = re.compile(r"\[[^][]*\](:\d*)?")
_LONGEST = 16_384
_SHOWN = 300

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)  # keeps the length, unlike str.lower
_SHORTEST_SECRET = 6
_PIECE = 8
# What a query says in the clear; a store that repeats a part of it, such as a region, gives nothing away.
_OPEN = re.compile(
    r"x-(amz|goog)-(algorithm|credential|date|expires|signedheaders|content-sha256)|expires|s[eprtv]|sk[etv]|spr"
)


@dataclass(frozen=True, repr=False)
class PresignedUrl:
    """A URL that carries its own permission."""

    scheme: str
    host: str  # in lower case, IPv6 without its brackets
    port: int
    netloc: str  # host and port as they stand in the URL, for the `Host` header, which is signed
    target: str  # path and query, byte for byte as signed
    kind: SignatureKind
    signed_headers: tuple[str, ...]  # to be sent as they were signed; without `host`
    expires_at: datetime | None

    @property
    def path(self) -> str:
        """Path without the query."""
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        """URL without its query, for messages and logs."""
        shown = f"{self.scheme}://{self.netloc}{self.path}"
        return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."

    __repr__ = __str__

    def redact(self, text: str) -> str:
        """Text without the values of the query, in case a store repeats one in its answer.

        In any case and spelled as in the URL or decoded; of a signature or a token also any eight characters
        in a row, because a text may be cut anywhere.
        """
        lowered, hidden = text.translate(_LOWER), [False] * len(text)
        for length, pieces in self._pieces().items():
            for start in range(len(text) - length + 1):
                if lowered[start : start + length] in pieces:
                    hidden[start : start + length] = [True] * length
        runs = groupby(zip(text, hidden, strict=True), key=itemgetter(1))
        return "".join("[hidden]" if is_hidden else "".join(c for c, _ in run) for is_hidden, run in runs)

    def _pieces(self) -> dict[int, set[str]]:
        """What to hide, in lower case, by its length."""
        query = self.target.partition("?")[2]
        spelled = [part.partition("=")[::2] for part in query.split("&")]
        pieces: dict[int, set[str]] = {}
        for name, value in spelled + parse_qsl(query):
            value = value.translate(_LOWER)
            if len(value) < _SHORTEST_SECRET:
                continue
            length = len(value) if _OPEN.fullmatch(name.lower()) else min(len(value), _PIECE)
            found = {value[start : start + length] for start in range(len(value) - length + 1)}
            pieces.setdefault(length, set()).update(found)
            if name.lower().endswith("-credential"):  # the key's name comes before its scope
                key = re.split(r"/|%2f", value)[0]
                pieces.setdefault(len(key), set()).add(key)
        return pieces

    def check_expiry(self, name: str, now: datetime) -> None:
        """Raise UrlError, naming the URL `name`, when its signature has ended."""
        if self.expires_at is not None and self.expires_at <= now:
            raise UrlError(
                f"{name} {self}: the URL expired at {self.expires_at:%Y-%m-%d %H:%M:%S} UTC. "
                "Sign a new one and send the request again."
            )

    @classmethod
    def parse(cls, text: object, name: str) -> PresignedUrl:
        """URL of a request's text, called `name` in messages.

        Raises UrlError if the text is not an absolute http(s) URL, or has parts that hide where it leads.

        Examples
        --------
        >>> url = PresignedUrl.parse("https://b.s3.example/k.csv?X-Amz-Signature=5e", "input_url")
        >>> url, url.kind, url.target
        (https://b.s3.example/k.csv, 's3v4', '/k.csv?X-Amz-Signature=5e')
        """
        if not isinstance(text, str) or not text:
            raise UrlError(f"{name}: expected a presigned http(s) URL, got {type(text).__name__}.")
        if len(text) > _LONGEST:
            raise UrlError(f"{name}: the URL has {len(text)} characters. The limit is {_LONGEST}.")
        if not _ALLOWED.fullmatch(text) or "\\" in text:
            raise UrlError(f"{name}: encode spaces, line ends, backslashes and non-ASCII letters in the URL.")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise UrlError(f"{name}: not a URL.") from None  # its text could hold the query
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UrlError(f"{name}: the URL must start with https:// and a host.")
        if port == 0:
            raise UrlError(f"{name}: the URL has port 0. Leave it out, or give the port of the store.")
        if "@" in parts.netloc or "#" in text:
            raise UrlError(f"{name}: the URL must not have a user name, a password or a #fragment.")
        host = parts.hostname
        # Python 3.11 takes `a[::1]b` for the address within.
        bracketed = "[" in parts.netloc
        if not (_BRACKETS.fullmatch(parts.netloc) and _is_ipv6(host) if bracketed else _HOST.fullmatch(host)):
            raise UrlError(f"{name}: the host in the URL is not valid.")
        query = {key.lower(): value for key, value in parse_qsl(parts.query, keep_blank_values=True)}
        kind = _kind(query)
        return cls(
            scheme=parts.scheme,
            host=host,
            port=port or (443 if parts.scheme == "https" else 80),
            netloc=parts.netloc,
            target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            kind=kind,
            signed_headers=_signed_headers(query, kind),
            expires_at=_expiry(query, kind, name),
        )


def _is_ipv6(host: str) -> bool:
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _kind(query: dict[str, str]) -> SignatureKind:
    if "x-amz-signature" in query:
        return "s3v4"
    if "x-goog-signature" in query:
        return "gcs"
    if "signature" in query and "expires" in query:
        return "s3v2"  # and Google's older form, which signs the same things
    if "sig" in query and "se" in query:
        return "azure"
    return "none"


def _signed_headers(query: dict[str, str], kind: SignatureKind) -> tuple[str, ...]:
    listed = query.get("x-amz-signedheaders" if kind == "s3v4" else "x-goog-signedheaders", "")
    names = {header.strip().lower() for header in listed.split(";")}
    return tuple(sorted(names - {"", "host"}))


def _expiry(query: dict[str, str], kind: SignatureKind, name: str) -> datetime | None:
    try:
        if kind in ("s3v4", "gcs"):
            vendor = "amz" if kind == "s3v4" else "goog"
            signed_at = datetime.strptime(query[f"x-{vendor}-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return signed_at + timedelta(seconds=int(query[f"x-{vendor}-expires"]))
        if kind == "s3v2":
            return datetime.fromtimestamp(int(query["expires"]), UTC)
        if kind == "azure":
            ends = datetime.fromisoformat(query["se"])
            return ends if ends.tzinfo else ends.replace(tzinfo=UTC)
    except KeyError:
        return None
    except (ValueError, OverflowError, OSError):
        raise UrlError(f"{name}: cannot read the expiry in the URL. Was the URL cut or edited?") from None
    return None
