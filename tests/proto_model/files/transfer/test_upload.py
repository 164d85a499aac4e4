from __future__ import annotations

import base64
import dataclasses
import hashlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from proto_model.files.transfer import (
    Content,
    Deadline,
    Endpoint,
    FileSettings,
    LimitError,
    PresignedUrl,
    TransferError,
    UrlError,
    check_signed_headers,
    upload,
)
from scripts.object_store import ObjectStore
from tests.fault_proxy import (
    FaultProxy,
    cut_upload,
    damage_upload,
    edited,
    hang_up,
    passed,
    status,
    status_after_body,
)

DATA = bytes(range(256)) * 4000


@pytest.fixture
def file() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file


@pytest.fixture
def key(rclone: ObjectStore) -> Iterator[str]:
    """Name of an object that does not exist before."""
    yield "out.csv"
    rclone.path("out.csv").unlink(missing_ok=True)


def content(file: IO[bytes], data: bytes = DATA) -> Content:
    file.write(data)
    return Content(file, len(data), hashlib.md5(data).digest(), "text/csv")


def put(
    store: ObjectStore, settings: FileSettings, what: Content, seconds: float = 20, **signed: str
) -> str | None:
    url = PresignedUrl.parse(store.presign("put_object", "out.csv", **signed), "output_url")
    return upload(Endpoint(url, "output_url", settings), what, Deadline(seconds)).etag


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([], id="none"),
        pytest.param([hang_up], id="no answer"),
        pytest.param([cut_upload(500_000)], id="cut at half"),
        pytest.param([status("503 Slow Down", Retry_After="0")], id="503 before the body is read"),
        pytest.param([status_after_body("500 Internal Server Error")], id="500 after the whole body"),
        pytest.param(
            [edited(rb'(?i)ETag: "[^"]*"', b'ETag: "00000000000000000000000000000000"')], id="wrong MD5"
        ),
    ],
)
def test_the_object_is_there_whole(
    store: ObjectStore,
    settings: FileSettings,
    proxy: FaultProxy,
    file: IO[bytes],
    rclone: ObjectStore,
    faults,
    key,
) -> None:
    proxy.inject(*faults)

    etag = put(store, settings, content(file))

    assert etag == f'"{hashlib.md5(DATA).hexdigest()}"'
    assert rclone.path(key).read_bytes() == DATA
    assert b"\r\nContent-Length: 1024000\r\n" in proxy.requests[-1] + b"\r\n"
    assert b"chunked" not in proxy.requests[-1]


def test_an_empty_file_has_a_length_too(
    store: ObjectStore,
    settings: FileSettings,
    proxy: FaultProxy,
    file: IO[bytes],
    rclone: ObjectStore,
    key: str,
) -> None:
    put(store, settings, content(file, b""))

    assert rclone.path(key).read_bytes() == b""
    assert b"Content-Length: 0" in proxy.requests[-1]


def test_headers_are_sent_only_where_they_are_signed(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, file: IO[bytes], key: str
) -> None:
    what = content(file, b"a,b\n")  # small, so that a refusal is not lost in a reset
    proxy.inject(passed)
    put(store, settings, what)
    assert b"content-type" not in proxy.requests[-1].lower()

    put(store, settings, what, ContentType="text/csv")
    assert b"content-type: text/csv" in proxy.requests[-1]

    with pytest.raises(TransferError, match="403 SignatureDoesNotMatch"):
        put(store, settings, what, ContentType="text/plain")


def test_a_signed_md5_is_sent(
    store: ObjectStore,
    settings: FileSettings,
    proxy: FaultProxy,
    file: IO[bytes],
    rclone: ObjectStore,
    key: str,
) -> None:
    put(store, settings, content(file), ContentMD5=base64.b64encode(hashlib.md5(DATA).digest()).decode())

    assert rclone.path(key).read_bytes() == DATA


def test_what_is_damaged_on_its_way_does_not_replace_the_object(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, file: IO[bytes], rclone: ObjectStore, key
) -> None:
    rclone.path(key).write_bytes(b"as before")
    what = content(file)
    proxy.inject(*[damage_upload] * settings.max_attempts)

    with pytest.raises(TransferError, match="400 BadDigest"):
        put(store, settings, what)
    assert len(proxy.requests) == settings.max_attempts
    assert rclone.path(key).read_bytes() == b"as before"

    proxy.inject(damage_upload)
    put(store, settings, what)
    assert rclone.path(key).read_bytes() == DATA


def test_an_older_signature_does_not_cover_a_digest_of_ours(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, file: IO[bytes]
) -> None:
    proxy.inject(status("200 OK"))
    url = f"{store.endpoint}/files/k?AWSAccessKeyId=AKIA&Signature=c2lnbmF0dXJl&Expires=9999999999"

    stored = upload(
        Endpoint(PresignedUrl.parse(url, "output_url"), "output_url", settings), content(file), Deadline(20)
    )

    assert b"md5" not in proxy.requests[0].lower()
    assert stored.checks == ()


def test_a_signed_header_that_is_not_known_is_found_before_any_work(store: ObjectStore) -> None:
    url = PresignedUrl.parse(store.presign("put_object", "k", Metadata={"owner": "me"}), "output_url")
    if not url.signed_headers:
        url = PresignedUrl.parse(
            "https://store.example/k?X-Amz-Signature=1&X-Amz-SignedHeaders=host;x-amz-meta-owner",
            "output_url",
        )

    with pytest.raises(UrlError, match=r"x-amz-meta-owner"):
        check_signed_headers(Endpoint(url, "output_url", FileSettings()))


def test_azure_is_told_the_kind_of_blob(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, file: IO[bytes]
) -> None:
    proxy.inject(
        status(
            "201 Created", ETag='"0x8DE"', Content_MD5=base64.b64encode(hashlib.md5(DATA).digest()).decode()
        )
    )
    url = PresignedUrl.parse(
        f"{store.endpoint}/container/blob?sig=abcdef&se=2999-01-01T00:00:00Z", "output_url"
    )

    stored = upload(Endpoint(url, "output_url", settings), content(file), Deadline(20))
    assert (stored.etag, stored.checks) == ('"0x8DE"', ("MD5 sent", "MD5 confirmed"))
    assert b"x-ms-blob-type: BlockBlob" in proxy.requests[0]


@pytest.mark.parametrize(
    "headers", [{"Content_MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}, {"x_goog_hash": "crc32c=AAAA,md5=AAAA"}]
)
def test_a_digest_that_is_not_the_files_is_an_error(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, file: IO[bytes], headers: dict[str, str]
) -> None:
    proxy.inject(*[status("200 OK", **headers)] * 5)

    with pytest.raises(TransferError, match="other bytes than were sent"):
        put(store, settings, content(file))


@pytest.mark.parametrize("headers", [{"x_amz_server_side_encryption": "aws:kms"}, {}])
def test_an_etag_is_an_md5_only_sometimes(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, file: IO[bytes], headers: dict[str, str]
) -> None:
    etag = '"00000000000000000000000000000000"' if headers else '"0123456789abcdef0123456789abcdef-2"'
    proxy.inject(status("200 OK", ETag=etag, **headers))

    assert put(store, settings, content(file)) == etag


@pytest.mark.parametrize(
    "answer", ["403 Forbidden", "307 Temporary Redirect", "411 Length Required", "501 Not Implemented"]
)
def test_a_refusal_is_final(
    store: ObjectStore,
    settings: FileSettings,
    proxy: FaultProxy,
    file: IO[bytes],
    rclone: ObjectStore,
    answer: str,
) -> None:
    proxy.inject(status(answer))

    with pytest.raises(TransferError, match=answer[:3]):
        put(store, settings, content(file, b"a,b\n"))
    assert len(proxy.requests) == 1
    assert not rclone.path("out.csv").exists()


def test_tries_and_time_end(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, file: IO[bytes], rclone: ObjectStore
) -> None:
    what = content(file)
    proxy.inject(*[cut_upload(1000)] * 5)
    with pytest.raises(TransferError, match="gave up after 5 attempts"):
        put(store, settings, what)

    with pytest.raises(LimitError):
        put(store, settings, what, seconds=0.0)
    assert not rclone.path("out.csv").exists()


def refuse_early(
    listener: socket.socket, context: ssl.SSLContext | None, n_bytes: int, heads: list[bytes]
) -> None:
    """Answer the next request once a part of its body came, and hang up with the rest unread."""
    client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the answer could wait, and be dropped
    with context.wrap_socket(client, server_side=True) if context else client as connection:
        received = b""
        while b"\r\n\r\n" not in received or len(received) < n_bytes:
            received += connection.recv(65536)
        heads.append(received.partition(b"\r\n\r\n")[0])
        body = b"<Error><Code>QuotaExceeded</Code><Message>The bucket is full</Message></Error>"
        head = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)


@pytest.mark.parametrize("n_bytes", [0, 200_000])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_a_store_says_in_mid_upload_is_the_error(
    settings: FileSettings, certificate: tuple[Path, Path], file: IO[bytes], scheme: str, n_bytes: int
) -> None:
    what = content(file, DATA * 20)  # more than all the buffers on the way hold
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    heads: list[bytes] = []
    context = None
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    thread = threading.Thread(target=refuse_early, args=(listener, context, n_bytes, heads))
    thread.start()
    url = PresignedUrl.parse(f"{scheme}://store.example:{port}/k?Signature=abc", "output_url")
    allowed = dataclasses.replace(
        settings,
        allowed_hosts=("store.example",),
        ca_file=str(certificate[0]),
        read_timeout_s=10,
    )

    with listener, pytest.raises(TransferError, match=r"403 QuotaExceeded \(The bucket is full\)"):
        upload(Endpoint(url, "output_url", allowed, at_home), what, Deadline(20))

    thread.join()
    assert len(heads) == 1


def at_home(_name: str, port: int, **_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    """Every name is this machine's."""
    return [(0, 0, 0, "", ("127.0.0.1", port))]
