"""When a certificate expires: the one field that Python's ssl does not tell of a server's own certificate."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path

__all__ = ["expires"]

BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
VERSION, UTC_TIME = 0xA0, 0x17  # tags of DER
ISSUER_TO_VALIDITY = 3  # after the serial number come algorithm, issuer and validity (RFC 5280, 4.1)
LONG = 0x80


def expires(path: Path) -> datetime.datetime | None:
    """End of the validity of the first certificate in a PEM file, None if it holds none in this form."""
    text = path.read_text(encoding="ascii", errors="replace")
    begin = text.find(BEGIN)
    end = text.find(END, begin)
    if begin < 0 or end < 0:
        return None
    certificate = _first(ssl.PEM_cert_to_DER_cert(text[begin : end + len(END)]))
    fields = [field for field in _fields(_first(certificate)) if field[0] != VERSION]
    _, (tag, written) = _fields(fields[ISSUER_TO_VALIDITY][1])
    digits = written.decode("ascii")
    if tag == UTC_TIME:  # two digits of the year, from 1950 on
        digits = ("20" if digits < "50" else "19") + digits
    return datetime.datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC)


def _first(content: bytes) -> bytes:
    return next(_fields(content))[1]


def _fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tags and contents of what stands in a value of DER, one after the other."""
    place = 0
    while place < len(content):
        tag, length = content[place], content[place + 1]
        place += 2
        if length & LONG:
            size = length & ~LONG
            length = int.from_bytes(content[place : place + size])
            place += size
        yield tag, content[place : place + length]
        place += length
