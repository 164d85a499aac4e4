"""Whether a server on this machine is alive, asked without a token and without a certificate.

A health check in a container does not know what its server asks of clients. It need not: a refusal of who has
no token, or no certificate, comes from the same event loop as an answer.

Example: python alive.py /ping PORT    # the variable PORT holds the port, 8080 if it is not set
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from collections.abc import Sequence

__all__ = ["fault_of"]

TIMEOUT_S = 3.0
DEFAULT_PORT = "8080"
OK = 200
BAD_REQUEST = 400  # what a server that speaks HTTPS says to plain HTTP
UNAUTHORIZED = 401


def fault_of(port: int, path: str) -> str:
    """What keeps the server on a port from being alive, in a few words; empty if it is."""
    try:
        status = _status(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S), path)
        if status == BAD_REQUEST:
            status = _status_over_tls(port, path)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer on port {port}: {error}"
    return "" if status in (OK, UNAUTHORIZED) else f"port {port} answers {status}"


def _status_over_tls(port: int, path: str) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing secret is sent, and the certificate names no 127.0.0.1
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)
    connection.connect()
    try:
        return _status(connection, path)
    except (ConnectionError, ssl.SSLError):  # after the handshake: it wants a certificate
        return UNAUTHORIZED


def _status(connection: http.client.HTTPConnection, path: str) -> int:
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def main(argv: Sequence[str]) -> int:
    """Ask for a path on the port that a variable holds; 0 if the server is alive."""
    path, variable = argv
    fault = fault_of(int(os.environ.get(variable, DEFAULT_PORT)), path)
    if fault:
        print(fault, file=sys.stderr)
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
