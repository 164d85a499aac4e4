"""Names under which a server may be asked.

A page of another site can have its visitor's browser ask servers that only the visitor reaches, and read the
answers, once its own name resolves to their address (DNS rebinding). The name that was asked for gives such
requests away. It must be an address or a name of this server, or one that is allowed.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from ipaddress import ip_address

__all__ = ["Hosts"]

HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::[0-9]{0,5})?", re.IGNORECASE)
LOCAL = ("localhost", "*.localhost", "127.0.0.1", "::1")
# Nobody can register these, or names without a dot, for the public: Docker and Kubernetes use them.
PRIVATE = ("*.svc", "*.cluster.local", "*.internal", "*.localdomain")
MAX_REMEMBERED = 1000
GUESS = (
    "Listening on all addresses: requests are answered under addresses, names without a dot, and names of a "
    "private network such as *.svc.cluster.local. Set --allowed-hosts to the names that clients use."
)


class Hosts:
    """Names and addresses of one server: where it listens, and what is allowed besides.

    `allowed` has names, addresses, `*.example.com` for all names below one, or `*` for whatever.
    """

    def __init__(self, host: str, address: str, allowed: Iterable[str] = ()) -> None:
        names = [name.strip().lower().strip("[]") for name in allowed if name.strip()]
        bound = ip_address(address.partition("%")[0])
        self._is_guess = bound.is_unspecified and not names  # nobody said under which names it is asked
        self.warning = GUESS if self._is_guess else ""
        self._takes_addresses = bound.is_unspecified
        if bound.is_unspecified or bound.is_loopback:
            names += LOCAL
        if self._is_guess:
            names += [*PRIVATE, socket.gethostname().lower(), socket.getfqdn().lower()]
        names += [host.lower().strip("[]"), str(bound)]
        self._names = {name for name in names if not name.startswith("*")}
        self._endings = tuple(name[1:] for name in names if name.startswith("*"))  # "" ends all
        self._remembered: dict[bytes, bool] = {}

    def includes(self, header: bytes) -> bool:
        """Whether a Host header names this server, at any port: that may be another one in front of it."""
        known = self._remembered.get(header)
        if known is None:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[header] = self._includes(header)
        return known

    def _includes(self, header: bytes) -> bool:
        given = HOST.fullmatch(header.strip())
        if given is None:
            return "" in self._endings
        name = given[1].decode().lower().strip("[]").rstrip(".")
        try:
            address = ip_address(name)
        except ValueError:
            is_private = self._is_guess and "." not in name
            return is_private or name in self._names or name.endswith(self._endings or ("\n",))
        return self._takes_addresses or str(address) in self._names or "" in self._endings
