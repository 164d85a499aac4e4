import asyncio

import pytest

from mapper.errors import BusyError, ModelServerAnswerError, ModelServerDownError
from mapper.model_server.client import Gate, Limits, ModelServer
from mapper.model_server.connection import Connection


def test_a_gate_lets_some_in_lets_some_wait_and_turns_the_rest_away():
    async def scenario():
        gate, log = Gate(1, 1), []

        async def visitor(name):
            async with gate:
                log.append(name)
                await asyncio.sleep(0.02)

        first, second = asyncio.create_task(visitor("first")), asyncio.create_task(visitor("second"))
        await asyncio.sleep(0.005)
        with pytest.raises(BusyError):
            await visitor("third")
        await asyncio.gather(first, second)
        await visitor("fourth")
        return log

    assert asyncio.run(scenario()) == ["first", "second", "fourth"]


def test_a_place_that_is_given_up_while_waiting_is_not_lost():
    async def scenario():
        gate = Gate(1, 5)
        await gate.__aenter__()
        waiting = [asyncio.create_task(gate.__aenter__()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await gate.__aexit__()
        waiting[1].cancel()  # in the moment in which it was given the place
        await asyncio.gather(*waiting, return_exceptions=True)
        async with asyncio.timeout(1), gate:
            return "in"

    assert asyncio.run(scenario()) == "in"


def test_visitors_whose_time_is_over_together_are_all_told_so():
    async def visitor(gate, over):
        async with asyncio.timeout_at(over), gate:
            await asyncio.Event().wait()

    async def scenario():
        gate, over = Gate(2, 10), asyncio.get_running_loop().time() + 0.1
        ends = await asyncio.gather(*(visitor(gate, over) for _ in range(8)), return_exceptions=True)
        assert {type(end) for end in ends} == {TimeoutError}
        async with asyncio.timeout(1), gate, gate:
            return "in"

    assert asyncio.run(scenario()) == "in"


def test_an_idle_connection_that_the_server_closed_is_replaced(model, record):
    """Servers close idle connections; a request must not fail because of it."""

    async def scenario():
        seen = 0

        async def answer_once(reader, writer):
            nonlocal seen
            seen += 1
            await reader.readuntil(b"\r\n\r\n")
            body = b'{"predictions": []}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
            writer.close()  # without a word in the answer

        server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            client = ModelServer(f"http://127.0.0.1:{port}")
            for _ in range(3):
                assert await client.invoke(model.map_request({"data": record})) == {"predictions": []}
                await asyncio.sleep(0.02)
            client.close()
        return seen

    assert asyncio.run(scenario()) == 3


def test_no_server_is_told_with_its_address(model, record):
    client = ModelServer("http://127.0.0.1:9", Limits(connect_timeout_s=0.2))

    with pytest.raises(ModelServerDownError, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        asyncio.run(client.invoke(model.map_request({"data": record})))


class FakeTransport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.closed = False

    def write(self, data):
        pass

    def abort(self):
        self.closed = True

    def is_closing(self):
        return self.closed


def exchange(*parts, end=False, max_body_bytes=100):
    """What a connection makes of an answer that comes in these parts."""

    async def scenario():
        connection, transport = Connection(max_body_bytes), FakeTransport()
        connection.connection_made(transport)
        task = asyncio.create_task(connection.exchange(b"x"))
        await asyncio.sleep(0)
        for part in parts:
            connection.data_received(part)
        if end:
            connection.connection_lost(None)
        async with asyncio.timeout(1):
            answer = await task
        return answer.status, answer.body, connection.is_open

    return asyncio.run(scenario())


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (HEAD + b"Content-Length: 5\r\n\r\nhello", (200, b"hello", True)),
        (HEAD + b"content-length:5\r\nConnection: Close\r\n\r\nhello", (200, b"hello", False)),
        (b"HTTP/1.0 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", (404, b"hello", False)),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
            (200, b"hello", True),
        ),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n", (200, b"\r\n\r\n", True)),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 0\r\n\r\n", (200, b"", True)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", True)),
        (HEAD + b"Content-Length: 5\r\n\r\nhello" + HEAD, (200, b"hello", False)),
    ],
)
def test_answers_are_read_however_they_are_cut(wire, expected, size):
    assert exchange(*(wire[i : i + size] for i in range(0, len(wire), size))) == expected


def test_an_answer_without_length_ends_with_the_connection():
    assert exchange(HEAD + b"\r\nhel", b"lo", end=True)[:2] == (200, b"hello")


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        HEAD + b"Content-Length: -5\r\n\r\n",
        HEAD + b"nonsense\r\n\r\n",
        b"x" * 70_000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ],
)
def test_what_is_not_http_is_a_wrong_answer(wire):
    with pytest.raises(ModelServerAnswerError):
        exchange(wire, max_body_bytes=10**6)


@pytest.mark.parametrize(
    "head", [b"Content-Length: 500\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n", b"\r\n"]
)
def test_too_large_an_answer_is_not_read(head):
    with pytest.raises(ModelServerAnswerError, match="more than 100 bytes"):
        exchange(HEAD + head + b"1ff\r\n" + b"x" * 200)


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        (b"", ConnectionResetError),
        (HEAD + b"Content-Length: 5\r\n\r\nhel", ConnectionAbortedError),
        (HEAD, ConnectionAbortedError),
    ],
)
def test_an_end_too_soon_is_told_apart_from_no_answer_at_all(wire, error):
    with pytest.raises(error):
        exchange(*([wire] if wire else []), end=True)
