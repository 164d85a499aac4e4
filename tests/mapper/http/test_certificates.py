"""TLS, and tokens at the front of the server, over real sockets."""

import asyncio
import shutil
import socket
import ssl
import time
import warnings

import pytest

from mapper.http.access import Access, AccessError
from mapper.http.certificates import Certificates, Protection
from tests.certificates import Authority
from tests.mapper.http.test_server import GET, play

TOKEN = "t" * 32
HEALTH = b"GET /health HTTP/1.1\r\n\r\n"
loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


def factory(loop):
    return None if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop


@pytest.fixture
def authority(tmp_path):
    return Authority.made(tmp_path)


@pytest.fixture
def trusting(authority):
    """What a client encrypts with that trusts the authority."""
    return ssl.create_default_context(cafile=authority.folder / "authority.pem")


@pytest.fixture
def certificates(authority):
    return Certificates(*authority.issue("server"))


@loops
def test_requests_are_answered_over_tls(certificates, trusting, loop):
    async def scenario(scene):
        client = await scene.connect(GET, trusting)
        for _ in range(3):
            assert (await client.answer())[0] == 200
            client.send(GET)
        assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        client.send(b"GET /early HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")
        await client.answer()
        early = (await client.answer())[2]
        assert early["path"] == "/early"

    play(scenario, tls=certificates, loop_factory=factory(loop))


@loops
@pytest.mark.parametrize("wire", [GET, b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n123456789", b"x"])
def test_http_at_a_port_for_https_is_told_so(certificates, loop, wire):
    async def scenario(scene):
        client = await scene.connect(wire)
        answer = await client.end()
        assert answer.startswith(b"HTTP/1.1 400 Bad Request")
        assert b"This port speaks HTTPS" in answer

    play(scenario, tls=certificates, loop_factory=factory(loop))


@loops
@pytest.mark.parametrize("beginning", [b"", b"\x16\x03\x01\x02"])
def test_handshakes_that_do_not_go_on_lock_nobody_out(certificates, trusting, loop, beginning):
    async def scenario(scene):
        slow = [await asyncio.to_thread(socket.create_connection, scene.address) for _ in range(60)]
        for client in slow:
            client.send(beginning)
        await asyncio.sleep(0)
        for _ in range(3):
            client = await scene.connect(GET, trusting)
            assert (await client.answer())[0] == 200
        for client in slow:
            client.close()

    play(scenario, tls=certificates, max_connections=10, loop_factory=factory(loop))


def test_handshakes_that_stop_after_the_first_message_make_room(certificates, trusting):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        trusting.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()

    async def scenario(scene):
        slow = [await asyncio.to_thread(socket.create_connection, scene.address) for _ in range(10)]
        for client in slow:
            client.send(hello)
            await asyncio.to_thread(client.recv, 1)  # the server has begun, too
        for _ in range(3):
            client = await scene.connect(GET, trusting)
            assert (await client.answer())[0] == 200
        for client in slow:
            client.close()

    play(scenario, tls=certificates, max_connections=10)


def test_who_waits_is_not_refused_in_the_moment_in_which_room_is_made(certificates, trusting):
    """Handshakes are late, and the wait is over, in the same turn of a loop that was held up."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        trusting.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()

    async def scenario(scene):
        slow = [await asyncio.to_thread(socket.create_connection, scene.address) for _ in range(10)]
        for client in slow:
            client.send(hello)
            await asyncio.to_thread(client.recv, 1)
        answering = asyncio.create_task(scene.connect(GET, trusting))
        await asyncio.sleep(0.01)  # it waits for a place
        time.sleep(0.6)
        assert (await (await answering).answer())[0] == 200
        for client in slow:
            client.close()

    play(scenario, tls=certificates, max_connections=10)


def test_old_tls_is_refused_and_nothing_is_negotiated_again(certificates, trusting):
    assert certificates.context().options & ssl.OP_NO_RENEGOTIATION
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        trusting.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        trusting.maximum_version = ssl.TLSVersion.TLSv1_1

    async def scenario(scene):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await scene.connect(GET, trusting)

    play(scenario, tls=certificates)


def test_clients_need_a_certificate_of_the_authority(authority, trusting, tmp_path):
    (tmp_path / "other").mkdir()
    other = Authority.made(tmp_path / "other")
    certificates = Certificates(*authority.issue("server"), authority.folder / "authority.pem")

    async def asks(scene, chain):
        context = ssl.create_default_context(cafile=authority.folder / "authority.pem")
        if chain is not None:
            context.load_cert_chain(*chain)
        client = await scene.connect(GET, context)
        return (await client.answer())[0]

    async def scenario(scene):
        assert await asks(scene, authority.issue("client")) == 200
        for chain in (None, other.issue("client"), authority.issue("late", days=-1)):
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await asks(scene, chain)

    play(scenario, tls=certificates)


def serial_number(scene):
    return ssl.get_server_certificate(scene.address)


def test_changed_certificates_are_used_for_new_connections(authority, certificates, trusting, caplog):
    caplog.set_level("INFO")

    async def scenario(scene):
        first = await scene.connect(GET, trusting)
        await first.answer()
        before = await asyncio.to_thread(serial_number, scene)
        authority.issue("server")
        certificates.refresh()
        assert await asyncio.to_thread(serial_number, scene) != before
        first.send(GET)
        assert (await first.answer())[0] == 200

    play(scenario, tls=certificates)
    assert "certificates read again" in caplog.text


def test_certificates_that_break_leave_what_was_read_last(authority, certificates, trusting, caplog):
    chain, key = authority.folder / "server.pem", authority.folder / "server-key.pem"
    new_chain, _ = authority.issue("next")
    shutil.copy(new_chain, chain)  # the key is not there yet
    for _ in range(3):
        certificates.refresh()
    assert caplog.text.count("stays in force") == 1
    key.unlink()
    certificates.refresh()

    async def scenario(scene):
        assert (await (await scene.connect(GET, trusting)).answer())[0] == 200

    play(scenario, tls=certificates)


@pytest.mark.parametrize("broken", ["chain", "key", "client_ca"])
def test_files_that_cannot_be_used_are_named(authority, tmp_path, broken):
    chain, key = authority.issue("server")
    paths = {"chain": chain, "key": key, "client_ca": authority.folder / "authority.pem"}
    paths[broken] = tmp_path / "text"
    paths[broken].write_text("no certificate")

    with pytest.raises(AccessError, match="cannot be used"):
        Certificates(**paths)


def test_a_key_without_a_certificate_is_an_error():
    with pytest.raises(AccessError, match="no certificate"):
        Protection(tls_key="key.pem").certificates()


@pytest.mark.parametrize(
    ("settings", "address", "said"),
    [
        ({}, "127.0.0.1", ""),
        ({}, "::1", ""),
        ({}, "0.0.0.0", "no token file"),
        ({"tls_cert": "x"}, "::", "no token file"),
        ({"token_file": "x"}, "10.0.0.1", "unencrypted"),
        ({"token_file": "x", "tls_cert": "x"}, "0.0.0.0", ""),
        ({"tls_cert": "x", "tls_client_ca": "x"}, "0.0.0.0", ""),
    ],
)
def test_a_server_that_others_reach_without_protection_warns(settings, address, said):
    warning = Protection(**settings).warning(address)

    assert said in warning
    assert bool(warning) == bool(said)


@pytest.fixture
def access(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"anna: {TOKEN}\n")
    path.chmod(0o600)
    return Access(path, ["/health"])


def asking(*lines, path="/a", body=b""):
    head = f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"".join(line.encode("latin-1") + b"\r\n" for line in lines) + b"\r\n" + body


GOOD = f"Authorization: Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (asking(GOOD), 200),
        (asking(GOOD.replace("Authorization", "aUTHORIZATION")), 200),
        (asking(GOOD.replace(": ", ":\t ")), 200),
        (HEALTH, 200),
        (asking(), 401),
        (asking("Authorization: Bearer " + "x" * 32, body=b"x" * 100_000), 401),
        (asking("Authorization:"), 401),
        (asking(GOOD, GOOD), 400),
        (asking(GOOD, "authorization: Bearer " + "x" * 32), 400),
        (asking(f"Authorization : Bearer {TOKEN}"), 400),
        (asking("Authorization: Bearer", f" {TOKEN}"), 400),
        (asking(f"X: a\nAuthorization: Bearer {TOKEN}\x0b"), 400),
        (asking(f"Authorization: Bearer {TOKEN}\xa0"), 401),
        (asking("Authorization: Bearer " + "x" * 40_000), 431),
        (asking(path="/health/../a"), 401),
        (asking(path="http://x/health"), 401),
        (asking("Connection: Upgrade", "Upgrade: h2c"), 401),
        (asking("Connection: Upgrade", "Upgrade: h2c", GOOD), 200),
        (asking("Transfer-Encoding: chunked"), 400),
    ],
)
def test_requests_without_the_token_do_not_reach_the_application(access, wire, status):
    async def scenario(scene):
        answer = await scene.ask(wire)
        assert answer[0] == status
        for scope in scene.app.scopes:
            assert "fault" in scope or scope["client_name"] in ("anna", "")
        if status == 200:
            assert scene.app.scopes[0]["client_name"] == ("" if wire == HEALTH else "anna")

    play(scenario, access=access)


def test_a_request_behind_one_with_a_token_needs_one_too(access):
    async def scenario(scene):
        client = await scene.connect(asking(GOOD, body=b"hello") + asking(path="/b") + asking(GOOD))
        assert (await client.answer())[0] == 200
        assert (await client.answer())[0] == 401
        assert await client.end() == b""

    play(scenario, access=access)
