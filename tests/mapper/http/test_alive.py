"""What a container's health check says of servers that ask for tokens and certificates."""

import asyncio
import http.server
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mapper.http import alive
from mapper.http.access import Access
from mapper.http.certificates import Certificates
from tests.certificates import Authority
from tests.mapper.http.test_server import play

PROGRAM = Path(alive.__file__)


@pytest.fixture
def authority(tmp_path):
    return Authority.made(tmp_path)


def found(path="/health", loop="asyncio", **options):
    """What the check finds at a server with such options."""
    faults = []

    async def scenario(scene):
        faults.append(await asyncio.to_thread(alive.fault_of, scene.address[1], path))

    factory = None if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    play(scenario, loop_factory=factory, **options)
    return faults


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_server_with_tls_is_alive(authority, loop):
    assert found(loop=loop, tls=Certificates(*authority.issue("server"))) == [""]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_server_that_wants_certificates_of_clients_is_alive(authority, loop):
    tls = Certificates(*authority.issue("server"), authority.folder / "authority.pem")

    assert found(loop=loop, tls=tls) == [""]


def test_a_server_with_an_expired_certificate_is_alive(authority):
    assert found(tls=Certificates(*authority.issue("server", days=-1))) == [""]


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_server_that_wants_a_token_is_alive(authority, tmp_path, encrypted):
    tokens = tmp_path / "tokens"
    tokens.write_text("somebody: " + "t" * 32)
    tokens.chmod(0o600)
    tls = Certificates(*authority.issue("server")) if encrypted else None

    assert found(access=Access(tokens), tls=tls) == [""]


@pytest.mark.parametrize(("status", "code"), [(200, 0), (401, 0), (404, 1), (503, 1)])
def test_the_program_asks_where_a_variable_says(status, code):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/ping" else 500)
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        done = subprocess.run(
            [sys.executable, "-P", PROGRAM, "/ping", "THE_PORT"],
            env={"THE_PORT": str(server.server_port)},
            capture_output=True,
            text=True,
        )

    assert done.returncode == code, done.stderr
    assert done.stderr == ("" if code == 0 else f"port {server.server_port} answers {status}\n")


def test_what_is_not_there_is_an_error_in_words():
    assert alive.fault_of(1, "/ping").startswith("no answer on port 1: ")
