"""Which names and addresses are a server's own."""

import socket

import pytest

from mapper.http.hosts import Hosts


@pytest.mark.parametrize(
    ("host", "address", "allowed", "taken", "refused"),
    [
        (
            "127.0.0.1",
            "127.0.0.1",
            [],
            ["127.0.0.1", "127.0.0.1:99", "localhost:5001", "LOCALHOST.", "a.localhost", "[::1]:80"],
            [
                "evil.example",
                "x",
                "10.0.0.1",
                "127.0.0.1.evil.example",
                "localhost.evil.example",
                "a b",
                "a/b",
            ],
        ),
        ("localhost", "127.0.0.1", [], ["localhost", "127.0.0.1"], ["evil.example"]),
        ("::1", "::1", [], ["[::1]", "[0:0:0:0:0:0:0:1]:80", "localhost"], ["::1", "[::2]", "[::1"]),
        ("10.0.0.5", "10.0.0.5", [], ["10.0.0.5:80"], ["10.0.0.6", "localhost", "evil.example", "x"]),
        ("model.test", "10.0.0.5", [], ["model.test", "10.0.0.5"], ["a.model.test", "10.0.0.6"]),
        (
            "127.0.0.1",
            "127.0.0.1",
            ["Model.example", " *.shop.example ", "", "10.1.1.1", "[fe80::1]"],
            ["model.example:443", "a.shop.example", "a.b.shop.example", "10.1.1.1", "[fe80::1]", "localhost"],
            ["shop.example", "ashop.example", "amodel.example", "10.1.1.2", "[fe80::2]"],
        ),
        (
            "0.0.0.0",
            "0.0.0.0",
            [],
            [
                "10.2.3.4:5001",
                "[fd00::1]",
                "localhost",
                "mapper:8080",
                "model.prod.svc",
                "model.prod.svc.cluster.local",
                "host.docker.internal",
                socket.gethostname(),
            ],
            ["evil.example", "model.prod", "svc.evil.example", "1.2.3.4.evil.example"],
        ),
        ("::", "::", [], ["10.2.3.4", "[fd00::1]", "mapper"], ["evil.example"]),
        (
            "0.0.0.0",
            "0.0.0.0",
            ["model.example"],
            ["10.2.3.4", "localhost", "model.example"],  # probes go on working
            ["evil.example", "mapper", "model.prod.svc"],
        ),
        ("0.0.0.0", "0.0.0.0", ["*"], ["evil.example", "x", "10.2.3.4", "a b"], []),
        ("127.0.0.1", "127.0.0.1", ["*"], ["evil.example", "10.2.3.4"], []),
    ],
)
def test_names_and_addresses(host, address, allowed, taken, refused):
    hosts = Hosts(host, address, allowed)

    for _ in range(2):
        assert [name for name in taken if not hosts.includes(name.encode())] == []
        assert [name for name in refused if hosts.includes(name.encode())] == []


def test_a_guess_is_told():
    assert "--allowed-hosts" in Hosts("0.0.0.0", "0.0.0.0").warning
    assert not Hosts("0.0.0.0", "0.0.0.0", ["a.example"]).warning
    assert not Hosts("127.0.0.1", "127.0.0.1").warning


def test_endless_names_take_no_memory():
    hosts = Hosts("127.0.0.1", "127.0.0.1")
    for i in range(5000):
        assert not hosts.includes(b"evil%d.example" % i)

    assert len(hosts._remembered) <= 1000
