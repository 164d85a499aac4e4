"""Where a URL may lead: every address of its host is vetted, and the connection goes to one that was."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from proto_model.files.transfer.errors import TransferError, UrlError
from proto_model.files.transfer.settings import FileSettings, Network
from proto_model.files.transfer.url import PresignedUrl

Address = IPv4Address | IPv6Address

#: `socket.getaddrinfo`, or what a test puts in its place.
Resolver = Callable[..., Iterable[tuple[Any, Any, Any, Any, tuple[Any, ...]]]]

# Python 3.11 counts these as public: Oracle's metadata service, the 6to4 relay, local-use NAT64.
_NOT_PUBLIC: tuple[Network, ...] = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "2001::/23", "fec0::/10"))
)
_NAT64 = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")
# A last label of digits or in hexadecimal is an IPv4 address to resolvers: 2130706433, 0x7f.1, 127.1.
_LOOKS_NUMERIC = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\.?")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, looking through IPv4 inside IPv6.

    Examples
    --------
    >>> [is_public(ip_address(text)) for text in ("8.8.8.8", "10.1.2.3", "::ffff:169.254.169.254")]
    [True, False, False]
    """
    inner = _embedded(address)
    if inner is not None:
        return is_public(inner)
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified)
        and not any(address in network for network in _NOT_PUBLIC if network.version == address.version)
    )


def vetted_addresses(
    url: PresignedUrl, name: str, settings: FileSettings, resolve: Resolver = socket.getaddrinfo
) -> list[Address]:
    """Addresses that a URL's host has now and that a connection may go to, in the resolver's order.

    The host is looked up once. Connect to these addresses, not to the name, so that the name cannot lead
    elsewhere a moment later. Messages call the URL `name`.

    Raises UrlError if one of the addresses, the scheme or the port is not allowed, TransferError if the name
    cannot be looked up; that may pass.
    """
    host = url.host
    listed = bool({host, f"{host}:{url.port}"} & set(settings.allowed_hosts))
    if ":" not in host and _LOOKS_NUMERIC.fullmatch(host) and not _is_plain_ipv4(host):
        raise UrlError(f"{name} {url}: write an IPv4 address as four decimal numbers.")
    addresses = _look_up(url, name, resolve)
    trusted = listed or all(_in_networks(address, settings.allowed_networks) for address in addresses)
    if not listed:
        for address in addresses:
            if not (is_public(address) or _in_networks(address, settings.allowed_networks)):
                raise UrlError(
                    f"{name} {url}: the host has the address {address}, which is not public. An operator can "
                    "allow it with PROTO_MODEL_FILES_ALLOWED_HOSTS or PROTO_MODEL_FILES_ALLOWED_NETWORKS."
                )
    if url.scheme == "http" and not (settings.allow_http and trusted):
        raise UrlError(
            f"{name} {url}: expected https. An operator can allow http for listed hosts and networks with "
            "PROTO_MODEL_FILES_ALLOW_HTTP=true."
        )
    if url.port not in (80, 443) and not trusted:
        raise UrlError(
            f"{name} {url}: expected port 443. Port {url.port} is allowed for listed hosts and networks only."
        )
    return addresses


def _look_up(url: PresignedUrl, name: str, resolve: Resolver) -> list[Address]:
    try:
        found = [ip_address(entry[4][0]) for entry in resolve(url.host, url.port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        if not _may_open_files():
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None  # getaddrinfo says less
        raise TransferError(f"{name} {url}: cannot look up the host name ({error}).") from error
    except ValueError as error:  # an address with a zone, such as fe80::1%eth0
        raise UrlError(f"{name} {url}: the host has a link-local address.") from error
    if not found:
        raise TransferError(f"{name} {url}: the host name has no address.")
    return list(dict.fromkeys(found))


def _may_open_files() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True


def _embedded(address: Address) -> IPv4Address | None:
    """IPv4 address that an IPv6 one leads to: mapped, compatible, 6to4, Teredo or NAT64."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _in_networks(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _is_plain_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True
