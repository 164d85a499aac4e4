"""Ports, and why nobody can listen at an address."""

from __future__ import annotations

import errno
import socket

from proto_model.errors import CallerError

__all__ = ["MAX_PORT", "AddressError", "port_number", "refused_address"]

MAX_PORT = 65535


class AddressError(CallerError):
    """A server cannot listen where it was told to."""


def port_number(text: str) -> int | None:
    """Port that a text spells, 0 for any free one; None if it spells none.

    Examples
    --------
    >>> port_number("8080"), port_number("99999"), port_number("http")
    (8080, None, None)
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > 5:
        return None
    number = int(text)
    return number if number <= MAX_PORT else None


def refused_address(
    host: str, port: int, error: OSError, *, port_option: str = "-p", host_option: str = "--host"
) -> AddressError:
    """The error where the system refuses an address: what is wrong with it, and which option to change.

    Examples
    --------
    >>> print(refused_address("127.0.0.1", 80, PermissionError(errno.EACCES, "Permission denied")))
    Cannot listen on 127.0.0.1:80: this user may not use the port. Choose one from 1024 with -p.
    """
    other = f"Choose another port with {port_option}, or 0 for a free one."
    if error.errno == errno.EADDRINUSE:
        reason = f"the address is in use. {other}"
    elif error.errno == errno.EACCES:
        reason = f"this user may not use the port. Choose one from 1024 with {port_option}."
    elif isinstance(error, socket.gaierror):
        reason = (
            f"{host!r} is no address of this machine. Check {host_option}: 127.0.0.1, or 0.0.0.0 for all."
        )
    elif error.errno == errno.EADDRNOTAVAIL:
        reason = f"this machine has no such address. Check {host_option}: 127.0.0.1, or 0.0.0.0 for all."
    else:
        reason = f"{(error.strerror or str(error)).partition(' (while ')[0]}. {other}"
    shown = f"[{host}]" if ":" in host else host
    return AddressError(f"Cannot listen on {shown}:{port}: {reason}")
