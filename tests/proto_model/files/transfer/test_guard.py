from __future__ import annotations

import dataclasses
import socket
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.files.transfer import (
    FileSettings,
    PresignedUrl,
    TransferError,
    UrlError,
    is_public,
    vetted_addresses,
)

NOT_PUBLIC = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


def resolver(*addresses: str):
    def resolve(host: str, port: int, **_: object):
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    return resolve


def url(text: str) -> PresignedUrl:
    return PresignedUrl.parse(text, "input_url")


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(UrlError, match="is not public"):
        vetted_addresses(url("https://store.example/k"), "input_url", FileSettings(), resolver(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "52.218.0.1", "2600:1f14::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_pass(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_address_inside_ipv6_is_judged_as_itself(inner) -> None:
    assert is_public(ip_address(f"::ffff:{inner}")) == is_public(inner)
    assert is_public(ip_address(f"64:ff9b::{inner}")) == is_public(inner)


def test_one_private_address_among_public_ones_is_enough() -> None:
    with pytest.raises(UrlError, match=r"10\.0\.0\.1"):
        vetted_addresses(
            url("https://store.example/k"), "input_url", FileSettings(), resolver("8.8.8.8", "10.0.0.1")
        )


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0x7f.1",
        "127.0.0.1.",
        "1.2.3",
        "0",
        "017700000001",
        "8.8.8.08",
    ],
)
def test_odd_spellings_of_addresses_are_refused(host: str) -> None:
    with pytest.raises(UrlError, match="four decimal numbers"):
        vetted_addresses(url(f"https://{host}/k"), "input_url", FileSettings(), resolver("8.8.8.8"))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost.",
        "LOCALHOST",
        "127.0.0.1",
        "[::1]",
        "[::ffff:7f00:1]",
        "[::ffff:127.0.0.1]",
        "[::]",
    ],
)
def test_names_of_this_machine_are_refused_by_the_real_resolver(host: str) -> None:
    with pytest.raises((UrlError, TransferError), match=r"is not public|cannot look up"):
        vetted_addresses(url(f"https://{host}/k"), "input_url", FileSettings())


def test_an_address_of_one_link_is_refused() -> None:
    with pytest.raises(UrlError):
        vetted_addresses(url("https://store.example/k"), "input_url", FileSettings(), resolver("fe80::1%1"))


def test_only_https_and_its_port_are_open_to_the_world() -> None:
    public = resolver("8.8.8.8")
    open_http = FileSettings(allow_http=True)

    assert vetted_addresses(url("https://store.example/k"), "u", FileSettings(), public) == [
        ip_address("8.8.8.8")
    ]
    for text in ("http://store.example/k", "https://store.example:22/k", "https://store.example:8443/k"):
        with pytest.raises(UrlError, match=r"expected https|port"):
            vetted_addresses(url(text), "u", FileSettings(), public)
    with pytest.raises(UrlError, match="expected https"):
        vetted_addresses(url("http://store.example/k"), "u", open_http, public)


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        (FileSettings(allowed_hosts=("minio.example:9000",)), True),
        (FileSettings(allowed_hosts=("minio.example",)), True),
        (FileSettings(allowed_hosts=("minio.example:9001",)), False),
        (FileSettings(allowed_hosts=("other.example",)), False),
        (FileSettings(allowed_networks=(ip_network("10.0.0.0/8"),)), True),
        (FileSettings(allowed_networks=(ip_network("10.9.0.0/16"), ip_network("fc00::/7"))), False),
    ],
)
def test_an_operator_can_allow_a_private_store(settings: FileSettings, passes: bool) -> None:
    private = resolver("10.1.2.3")
    target = url("https://minio.example:9000/k")

    if passes:
        assert vetted_addresses(target, "u", settings, private) == [ip_address("10.1.2.3")]
        with pytest.raises(UrlError, match="expected https"):
            vetted_addresses(url("http://minio.example:9000/k"), "u", settings, private)
        http = dataclasses.replace(settings, allow_http=True)
        assert vetted_addresses(url("http://minio.example:9000/k"), "u", http, private)
    else:
        with pytest.raises(UrlError):
            vetted_addresses(target, "u", settings, private)


def test_a_name_that_cannot_be_looked_up_may_be_tried_again() -> None:
    def fails(*_: object, **__: object):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    with pytest.raises(TransferError, match="cannot look up"):
        vetted_addresses(url("https://store.example/k?X-Amz-Signature=abcdef0"), "u", FileSettings(), fails)
    with pytest.raises(TransferError, match="no address"):
        vetted_addresses(url("https://store.example/k"), "u", FileSettings(), resolver())
