"""Ports are below those that the system gives to others, and each is given once."""

import socket
from pathlib import Path

from tests.ports import HIGHEST, LOWEST, free_port, free_ports


def test_each_port_is_given_once_and_none_that_is_taken():
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken)):
        found = [*free_ports(1_000), free_port()]

    assert len({taken, *found}) == 1_002
    assert all(LOWEST <= port < HIGHEST for port in found)


def test_the_system_gives_none_of_them_to_others():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not LOWEST <= listener.getsockname()[1] < HIGHEST
    listed = Path("/proc/sys/net/ipv4/ip_local_port_range")  # Linux
    if listed.exists():
        assert int(listed.read_text().split()[0]) >= HIGHEST
