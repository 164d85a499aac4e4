from __future__ import annotations

import dataclasses
import ipaddress
import re
import ssl
import threading
from pathlib import Path

import pytest

from proto_model.files.transfer import (
    Deadline,
    Download,
    Endpoint,
    FileSettings,
    LimitError,
    PresignedUrl,
    TransferError,
    UrlError,
)
from scripts.object_store import ObjectStore
from tests.fault_proxy import (
    Exchange,
    FaultProxy,
    cut_download,
    damage_download,
    drip_download,
    edited,
    hang_up,
    stall_download,
    status,
    without_request_header,
)

CONTENT = bytes(range(256)) * 1200  # larger than what is read at a time
KEY = "numbers.bin"


@pytest.fixture(autouse=True)
def _object(rclone: ObjectStore) -> None:
    rclone.path(KEY).write_bytes(CONTENT)


def signed(store: ObjectStore, key: str = KEY) -> PresignedUrl:
    return PresignedUrl.parse(store.presign("get_object", key), "input_url")


def fetch(store: ObjectStore, settings: FileSettings, key: str = KEY, seconds: float = 20.0) -> bytes:
    with Download(Endpoint(signed(store, key), "input_url", settings), Deadline(seconds)) as download:
        return download.readall()


def test_a_file_comes_whole(store: ObjectStore, settings: FileSettings) -> None:
    with Download(Endpoint(signed(store), "input_url", settings), Deadline(20)) as download:
        assert download.total_bytes == len(CONTENT)
        assert download.etag
        assert download.readall() == CONTENT
        assert download.n_bytes == len(CONTENT)


def test_an_empty_file_comes_whole(store: ObjectStore, settings: FileSettings, rclone: ObjectStore) -> None:
    rclone.path("empty").write_bytes(b"")

    assert fetch(store, settings, "empty") == b""


def test_the_target_is_sent_byte_for_byte(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    url = signed(store, "a ~b%7e.csv")
    with pytest.raises(TransferError, match="404"):
        Download(Endpoint(url, "input_url", settings), Deadline(20))

    assert proxy.requests[0].startswith(f"GET {url.target} HTTP/1.1\r\n".encode())
    assert b"Accept-Encoding: identity" in proxy.requests[0]


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([cut_download(1000)], id="cut"),
        pytest.param([cut_download(1000), cut_download(2000), cut_download(3000)], id="cut three times"),
        pytest.param(
            [cut_download(1000), hang_up, status("503 SlowDown", Retry_After="0")], id="cut, then away"
        ),
        pytest.param([cut_download(1000), without_request_header(b"Range")], id="whole file again, with 200"),
        pytest.param([stall_download(1000)], id="stall"),
        pytest.param([hang_up], id="no answer"),
        pytest.param([status("500 Internal Server Error")], id="500"),
        pytest.param([status("503 Slow Down", Retry_After="0")], id="503"),
        pytest.param([status("429 Too Many Requests")], id="429"),
    ],
)
def test_what_passes_does_not_hurt(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, faults: list[object]
) -> None:
    proxy.inject(*faults)  # type: ignore[arg-type]
    settings = dataclasses.replace(settings, max_attempts=6)

    assert fetch(store, settings) == CONTENT


def test_a_resume_asks_for_the_rest_of_the_same_file(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    proxy.inject(cut_download(1000))

    assert fetch(store, settings) == CONTENT
    assert b"Range: bytes=1000-" in proxy.requests[1]
    assert b"If-Match: " in proxy.requests[1]


def test_a_slow_store_is_given_up(store: ObjectStore, settings: FileSettings, proxy: FaultProxy) -> None:
    proxy.inject(*[drip_download] * 9)
    slow = dataclasses.replace(
        settings, max_attempts=2, read_timeout_s=0.1, min_bytes_per_s=10_000, max_job_s=5
    )

    with pytest.raises((TransferError, LimitError), match=r"bytes in|longer than"):
        fetch(store, slow, seconds=1.0)


def test_a_stall_ends_with_the_job(store: ObjectStore, settings: FileSettings, proxy: FaultProxy) -> None:
    proxy.inject(*[stall_download(10)] * 9)

    with pytest.raises(LimitError, match="took longer"):
        fetch(store, dataclasses.replace(settings, read_timeout_s=0.1), seconds=0.3)


def test_a_changed_file_is_not_spliced(store: ObjectStore, settings: FileSettings, proxy: FaultProxy) -> None:
    proxy.inject(cut_download(1000), edited(rb'(?i)ETag: "[^"]*"', b'ETag: "other"'))

    with pytest.raises(TransferError, match="changed during the download"):
        fetch(store, settings)


def test_a_store_that_checks_the_condition_itself_is_understood(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    proxy.inject(cut_download(1000), edited(rb"^HTTP/1.1 200 OK", b"HTTP/1.1 206 Partial Content"))
    assert fetch(store, settings) == CONTENT

    for answer in ("412 Precondition Failed", "416 Range Not Satisfiable"):
        proxy.inject(cut_download(1000), status(answer))
        with pytest.raises(TransferError, match="changed during the download"):
            fetch(store, settings)


def test_a_range_that_was_not_asked_for_is_refused(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    proxy.inject(cut_download(1000), edited(rb"Content-Range: bytes 1000-", b"Content-Range: bytes 900-"))

    with pytest.raises(TransferError, match="expected byte 1000, got byte 900"):
        fetch(store, settings)


@pytest.mark.parametrize(
    ("line", "content_range"),
    [
        ("206 Partial Content", "bytes 0-999/{size}"),
        ("206 Partial Content", "bytes 0-999/*"),
        ("206 Partial Content", "bytes 1000-1999/2000"),
        ("206 Partial Content", None),
        ("200 OK", "bytes 0-999/{size}"),
        ("200 OK", "bytes */{size}"),
    ],
)
def test_a_first_answer_with_a_part_is_not_taken_for_the_whole(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, line: str, content_range: str | None
) -> None:
    def part(exchange: Exchange) -> None:
        said = {} if content_range is None else {"Content-Range": content_range.format(size=len(CONTENT))}
        exchange.answer(line, {"ETag": '"1"', **said}, CONTENT[:1000])

    proxy.inject(part)

    with pytest.raises(TransferError, match="the whole file was asked for"):
        fetch(store, settings)


def test_a_first_answer_with_a_range_that_is_the_whole_is_read(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    said = {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}
    proxy.inject(lambda exchange: exchange.answer("206 Partial Content", said, CONTENT))

    assert fetch(store, settings) == CONTENT


def test_a_resume_that_sends_a_part_of_the_rest_is_refused(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    part = edited(rb"Content-Range: bytes 1000-\d+", b"Content-Range: bytes 1000-1999")
    proxy.inject(cut_download(1000), part)

    with pytest.raises(TransferError, match="expected the rest of the file, got a part of it"):
        fetch(store, settings)


def test_a_file_without_etag_and_date_is_not_spliced(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    def anonymous_and_cut(exchange) -> None:
        exchange.forward(
            edit_head=lambda head: re.sub(rb"(?i)\r\n(ETag|Last-Modified): [^\r]*", b"", head),
            body_bytes=1000,
        )

    proxy.inject(anonymous_and_cut, edited(rb"(?i)\r\n(ETag|Last-Modified): [^\r]*", b""))
    with pytest.raises(TransferError, match="changed during the download"):
        fetch(store, settings)


def test_a_length_that_never_comes_is_an_error(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    proxy.inject(edited(rb"Content-Length: \d+", b"Content-Length: 400000"))

    with pytest.raises(TransferError, match="changed during the download"):
        fetch(store, settings)


def test_a_length_that_is_too_small_is_an_error(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    proxy.inject(edited(rb"Content-Length: \d+", b"Content-Length: 1000"))

    with pytest.raises(TransferError, match="longer than the 1000 bytes it announced"):
        fetch(store, settings)


def test_a_connection_that_is_left_open_is_no_error(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    def keep_open(exchange: Exchange) -> None:
        exchange.answer("200 OK", {"ETag": '"1"'}, CONTENT)
        exchange.released.wait(30)

    proxy.inject(keep_open)

    assert fetch(store, settings) == CONTENT


def test_an_answer_without_length_is_refused(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    proxy.inject(edited(rb"\r\nContent-Length: \d+", b""))

    with pytest.raises(TransferError, match="no length"):
        fetch(store, settings)


def test_a_chunked_answer_needs_its_end(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    def chunked(*chunks: bytes):
        head = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: "1"\r\n\r\n'
        return lambda exchange: exchange.client.sendall(head + b"".join(chunks))

    proxy.inject(chunked(b"3\r\na,b\r\n", b"2\r\n\n1\r\n", b"0\r\n\r\n"))
    assert fetch(store, settings) == b"a,b\n1"

    proxy.inject(chunked(b"3\r\na,b\r\n", b"2\r\n\n1\r\n"))
    with pytest.raises(TransferError):
        fetch(store, settings)


def test_a_redirect_is_refused_and_its_query_not_shown(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    proxy.inject(status("307 Temporary Redirect", Location="http://169.254.169.254/meta?token=secret"))

    with pytest.raises(
        TransferError, match=r"307, a redirect to 169\.254\.169\.254. Redirects are not"
    ) as caught:
        fetch(store, settings)
    assert "secret" not in str(caught.value)


def test_a_refusal_is_final_and_says_what_the_store_said(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    wrong = dataclasses.replace(store, secret_key="0" * 40)

    with pytest.raises(TransferError, match="403 SignatureDoesNotMatch") as caught:
        fetch(wrong, settings)
    assert len(proxy.requests) == 1
    assert "Signature=" not in str(caught.value)


def test_a_secret_that_a_store_repeats_is_hidden(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    url = signed(store)
    signature = url.target.rpartition("=")[2]
    body = f"<Error><Code>Odd</Code><Message>not {signature}</Message></Error>".encode()
    proxy.inject(lambda exchange: exchange.answer("418 Teapot", body=body))

    with pytest.raises(TransferError, match=r"418 Odd \(not \[hidden\]\)"):
        Download(Endpoint(url, "input_url", settings), Deadline(20))


def test_tries_end(store: ObjectStore, settings: FileSettings, proxy: FaultProxy) -> None:
    proxy.inject(*[status("503 Slow Down")] * 9)

    with pytest.raises(TransferError, match=r"gave up after 5 attempts\. The last error: answered 503"):
        fetch(store, settings)


def test_retry_after_is_honoured_up_to_a_limit(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    proxy.inject(status("503 Slow Down", Retry_After="7"), status("503 Slow Down", Retry_After="7000"))
    waits: list[float] = []
    settings = dataclasses.replace(settings, max_backoff_s=30.0)

    Download(Endpoint(signed(store), "input_url", settings), Deadline(1000, sleep=waits.append)).close()
    assert waits == [7.0, 30.0]


@pytest.mark.parametrize("announced", [True, False])
def test_a_large_file_is_refused(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, announced: bool
) -> None:
    if not announced:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CONTENT), CONTENT)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        proxy.inject(lambda exchange: exchange.client.sendall(head + body))

    with pytest.raises(LimitError, match="MAX_INPUT_BYTES"):
        fetch(store, dataclasses.replace(settings, max_input_bytes=len(CONTENT) - 1))


def test_the_end_of_a_file_comes_by_a_request_of_its_own(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, rclone: ObjectStore
) -> None:
    with Download(Endpoint(signed(store), "input_url", settings), Deadline(20)) as download:
        assert download.tail(1000) == CONTENT[-1000:]
        assert download.tail(len(CONTENT)) == b""
        for fault in (hang_up, cut_download(100), status("403 Forbidden"), without_request_header(b"Range")):
            proxy.inject(fault)
            assert download.tail(1000) == b""
        rclone.path(KEY).write_bytes(CONTENT[::-1])
        assert download.tail(1000) == b""


def test_a_name_that_moves_is_vetted_at_every_connection(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    answers = iter(["127.0.0.1", "169.254.169.254"])
    allowed = dataclasses.replace(
        settings, allowed_hosts=(), allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),)
    )
    url = dataclasses.replace(signed(store), host="moving.example")
    proxy.inject(cut_download(1000))

    def resolve(host: str, port: int, **_: object):
        assert host == "moving.example"
        return [(0, 0, 0, "", (next(answers), port))]

    with Download(Endpoint(url, "input_url", allowed, resolve), Deadline(20)) as download:
        with pytest.raises(UrlError, match=r"169\.254\.169\.254, which is not public"):
            download.readall()


def test_the_next_address_is_tried(store: ObjectStore, settings: FileSettings) -> None:
    def resolve(host: str, port: int, **_: object):
        return [(0, 0, 0, "", (address, port)) for address in ("127.0.0.77", "127.0.0.1")]

    with Download(Endpoint(signed(store), "input_url", settings, resolve), Deadline(20)) as download:
        assert download.readall() == CONTENT


@pytest.mark.parametrize(
    ("host", "trusted"), [("store.example", True), ("store.example", False), ("other.example", True)]
)
def test_https_checks_the_name_in_the_certificate(
    certificate: tuple[Path, Path], settings: FileSettings, host: str, trusted: bool
) -> None:
    import socket

    names: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        try:
            with context.wrap_socket(client, server_side=True) as secure:
                head = secure.recv(65536)
                assert f"Host: {host}".encode() in head
                secure.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: "1"\r\n\r\nhi')
        except (ssl.SSLError, OSError):
            client.close()

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    url = PresignedUrl.parse(f"https://{host}:{port}/k", "input_url")
    allowed = dataclasses.replace(
        settings, allowed_hosts=(host,), ca_file=str(certificate[0]) if trusted else "", read_timeout_s=5
    )

    def resolve(name: str, port: int, **_: object):
        return [(0, 0, 0, "", ("127.0.0.1", port))]

    if host == "store.example" and trusted:
        with Download(Endpoint(url, "input_url", allowed, resolve), Deadline(20)) as download:
            assert download.readall() == b"hi"
    else:
        with pytest.raises(TransferError, match="certificate is not trusted"):
            Download(Endpoint(url, "input_url", allowed, resolve), Deadline(20))
    thread.join()
    listener.close()
    assert names == [host]


def test_what_is_damaged_on_its_way_without_tls_is_found(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    proxy.inject(damage_download)

    with pytest.raises(TransferError, match="MD5 differs"):
        fetch(store, settings)


def test_checks_say_what_was_compared(store: ObjectStore, settings: FileSettings, proxy: FaultProxy) -> None:
    def checks(*faults) -> tuple[str, ...]:
        proxy.inject(*faults)
        with Download(Endpoint(signed(store), "input_url", settings), Deadline(20)) as download:
            assert download.readall() == CONTENT
            return download.checks

    assert checks() == ("length", "MD5")
    assert checks(cut_download(1000)) == ("length", "MD5")
    assert checks(edited(rb"(?i)ETag: [^\r]*", b'ETag: "part-2"')) == ("length",)


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("503 {signature}", r"503 \[hidden\]"),
        ("403 of {signature} it", r"403 of \[hidden\] it"),
        ("500 {upper}", r"500 \[hidden\]"),
    ],
)
def test_a_reason_phrase_that_repeats_a_secret_is_hidden(
    store: ObjectStore,
    settings: FileSettings,
    proxy: FaultProxy,
    caplog: pytest.LogCaptureFixture,
    answer: str,
    shown: str,
) -> None:
    url = signed(store)
    signature = url.target.rpartition("=")[2]
    proxy.inject(*[status(answer.format(signature=signature, upper=signature.upper()))] * 5)

    with caplog.at_level("DEBUG"), pytest.raises(TransferError, match=shown) as caught:
        Download(Endpoint(url, "input_url", settings), Deadline(20))

    assert signature not in (caplog.text + str(caught.value)).lower()


def test_a_secret_at_the_end_of_a_long_text_is_hidden_before_it_is_cut(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    url = signed(store)
    signature = url.target.rpartition("=")[2]
    body = f"<Error><Code>Odd</Code><Message>{'x ' * 76}{signature}</Message></Error>".encode()
    proxy.inject(lambda exchange: exchange.answer("418 Teapot", body=body))

    with pytest.raises(TransferError) as caught:
        Download(Endpoint(url, "input_url", settings), Deadline(20))
    assert signature[:8] not in str(caught.value)
    assert "x x x" in str(caught.value)
