"""A proxy on a raw socket, in front of a real store, that breaks the next exchanges as it is told."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

Fault = Callable[["Exchange"], None]


@dataclass
class Exchange:
    """One request on its way to the store."""

    client: socket.socket
    head: bytes
    begun_body: bytes
    port: int
    released: threading.Event

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    def answer(self, status: str, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{key}: {value}" for key, value in (headers or {}).items()]
        self.client.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def read_body(self) -> None:
        left = self._length() - len(self.begun_body)
        while left > 0 and (data := self.client.recv(65536)):
            left -= len(data)

    def forward(
        self,
        *,
        edit_request: Callable[[bytes], bytes] = bytes,
        edit_head: Callable[[bytes], bytes] = bytes,
        edit_sent: Callable[[bytes], bytes] = bytes,
        edit_answered: Callable[[bytes], bytes] = bytes,
        request_bytes: int | None = None,
        body_bytes: int | None = None,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Hand the exchange on: all of it, or so many bytes of one of the bodies."""
        with socket.create_connection(("127.0.0.1", self.port)) as store:
            store.sendall(edit_request(self.head))
            body, length = self.begun_body, self._length()
            total = length if request_bytes is None else request_bytes
            sent = 0
            while True:
                body = body[: total - sent]
                store.sendall(edit_sent(body))
                sent += len(body)
                if sent >= total or not (body := self.client.recv(65536)):
                    break
            if sent < length:
                return
            answered = b""
            while b"\r\n\r\n" not in answered:
                data = store.recv(65536)
                if not data:
                    return
                answered += data
            head, _, rest = answered.partition(b"\r\n\r\n")
            self.client.sendall(edit_head(head) + b"\r\n\r\n")
            relayed = 0
            while rest or (rest := store.recv(65536)):  # a head may come without the body's beginning
                rest = rest if body_bytes is None else rest[: body_bytes - relayed]
                self.client.sendall(edit_answered(rest))
                relayed += len(rest)
                if body_bytes is not None and relayed >= body_bytes:
                    then()
                    return
                rest = b""

    def _length(self) -> int:
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self.head)
        return int(found[1]) if found else 0


@dataclass
class FaultProxy:
    """The proxy: `inject` says what happens to the next requests, one fault each; later ones pass."""

    upstream_port: int
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[bytes] = field(default_factory=list)

    def __enter__(self) -> FaultProxy:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._released = threading.Event()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for thread in self._threads:
            thread.join()

    def inject(self, *faults: Fault) -> None:
        self.requests.clear()
        self.faults.extend(faults)

    def release(self) -> None:
        """End every stall."""
        self._released.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,))
                thread.start()
                self._threads.append(thread)

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            received = b""
            while b"\r\n\r\n" not in received:
                data = client.recv(65536)
                if not data:
                    return
                received += data
            head, _, body = received.partition(b"\r\n\r\n")
            self.requests.append(head)
            exchange = Exchange(client, head + b"\r\n\r\n", body, self.upstream_port, self._released)
            (self.faults.popleft() if self.faults else passed)(exchange)


def passed(exchange: Exchange) -> None:
    """No fault."""
    exchange.forward()


def hang_up(exchange: Exchange) -> None:
    """No answer at all."""


def status(text: str, **headers: str) -> Fault:
    """An answer that does not come from the store; a refusal comes before the body is read."""

    def fault(exchange: Exchange) -> None:
        if text.startswith("2"):
            exchange.read_body()
        exchange.answer(text, {key.replace("_", "-"): value for key, value in headers.items()})

    return fault


def status_after_body(text: str) -> Fault:
    """The same, once the whole body has come."""

    def fault(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.answer(text)

    return fault


def cut_download(after: int) -> Fault:
    """The connection ends in the middle of the answer's body."""
    return lambda exchange: exchange.forward(body_bytes=after)


def stall_download(after: int) -> Fault:
    """Nothing more comes in the middle of the answer's body."""
    return lambda exchange: exchange.forward(
        body_bytes=after, then=lambda: exchange.released.wait(30) and None
    )


def drip_download(exchange: Exchange) -> None:
    """One byte at a time, each within any read timeout."""

    def drip() -> None:
        while not exchange.released.wait(0.02):
            exchange.client.sendall(b"1")

    exchange.forward(body_bytes=1, then=drip)


def cut_upload(after: int) -> Fault:
    """The connection ends in the middle of the request's body."""
    return lambda exchange: exchange.forward(request_bytes=after)


def hold_upload(begun: threading.Event) -> Fault:
    """The store gets 100 bytes of the body and never the rest; `begun` is set once it has them."""

    def fault(exchange: Exchange) -> None:
        assert exchange.method == "PUT"
        with socket.create_connection(("127.0.0.1", exchange.port)) as upstream:
            upstream.sendall(exchange.head + exchange.begun_body[:100])
            begun.set()
            while exchange.client.recv(65536):
                pass

    return fault


def stall_upload(exchange: Exchange) -> None:
    """The request's body is not read."""
    exchange.released.wait(30)


def drip_upload(exchange: Exchange) -> None:
    """The request's body is read a little at a time."""
    while not exchange.released.wait(0.02) and exchange.client.recv(1024):
        pass


def stall_after_upload(exchange: Exchange) -> None:
    """The whole body is read, and no answer comes."""
    exchange.read_body()
    exchange.released.wait(30)


def drip_head(exchange: Exchange) -> None:
    """The head of the answer comes one byte at a time, each within any read timeout."""
    exchange.client.sendall(b"HTTP/1.1 200 OK\r\nX-Padding: ")
    while not exchange.released.wait(0.02):
        exchange.client.sendall(b"1")


def _first_bit_flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:] if data else data


def damage_upload(exchange: Exchange) -> None:
    """Some bits of the request's body are not those that were sent."""
    exchange.forward(edit_sent=_first_bit_flipped)


def damage_download(exchange: Exchange) -> None:
    """Some bits of the answer's body are not those that the store sent."""
    exchange.forward(edit_answered=_first_bit_flipped)


def edited(pattern: bytes, replacement: bytes) -> Fault:
    """The head of the answer is changed."""
    return lambda exchange: exchange.forward(edit_head=lambda head: re.sub(pattern, replacement, head))


def without_request_header(name: bytes) -> Fault:
    """A header of the request does not reach the store."""
    pattern = rb"(?i)\r\n" + name + rb":[^\r]*"
    return lambda exchange: exchange.forward(edit_request=lambda head: re.sub(pattern, b"", head))
