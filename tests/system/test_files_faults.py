"""Whole file jobs among faults and addresses that the tests of the single parts do not reach."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import io
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from proto_model.files import FileJob, Outside, Summary, run_jobs
from proto_model.files.transfer import FileSettings
from proto_model.parameters import Parameters
from scripts.object_store import ObjectStore
from tests.fault_proxy import (
    Exchange,
    Fault,
    FaultProxy,
    cut_download,
    drip_head,
    drip_upload,
    edited,
    passed,
    stall_after_upload,
    stall_upload,
    status,
)
from tests.half_model import HalfModel

pytestmark = pytest.mark.system

PUBLIC = "https://8.8.8.8/k?X-Amz-Signature=5ec4e7"
N_ROWS = 150_000  # whose output is more than sockets hold


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with ObjectStore.running(tmp_path_factory.mktemp("store")) as store:
        table = pa.table({"x": np.random.default_rng(0).random(N_ROWS)})
        pa.csv.write_csv(table, str(store.path("many")))
        store.path("few").write_text("x\n0.5\n1\n")
        yield store


@pytest.fixture
def proxy(rclone: ObjectStore) -> Iterator[FaultProxy]:
    with FaultProxy(rclone.port) as proxy:
        yield proxy


@pytest.fixture
def store(rclone: ObjectStore, proxy: FaultProxy) -> Iterator[ObjectStore]:
    yield dataclasses.replace(rclone, port=proxy.port)
    rclone.path("out").unlink(missing_ok=True)


@pytest.fixture
def settings(store: ObjectStore, tmp_path: Path) -> FileSettings:
    allowed = FileSettings.from_environment(store.settings)
    return dataclasses.replace(allowed, backoff_s=0.001, max_backoff_s=0.01, temp_dir=str(tmp_path))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port of this machine that nothing may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def run(store: ObjectStore, settings: FileSettings, key: str, **params: Any) -> Summary:
    job = FileJob(store.presign("get_object", key), store.presign("put_object", "out"))
    [summary] = run_jobs([job], HalfModel(), Parameters.from_params(params), settings)
    assert not list(Path(settings.temp_dir).iterdir())
    return summary


HOSTS = [
    "127.0.0.1",
    "127.9.9.9",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "017700000001",
    "127.1",
    "0x7f.1",
    "127.0.0.1.",
    "0",
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fec0::1]",
    "[ff02::1]",
    "me@127.0.0.1",
    "8.8.8.8@127.0.0.1",
    "8.8.8.8\\@127.0.0.1",
    "8.8.8.8#@127.0.0.1",
    "127.0.0.1%2f8.8.8.8",
]


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("side", ["input_url", "output_url"])
def test_no_spelling_of_a_place_that_is_not_public_is_opened(
    listener: socket.socket, side: str, scheme: str
) -> None:
    port = listener.getsockname()[1]
    for host in HOSTS:
        urls = {"input_url": PUBLIC, "output_url": PUBLIC}
        urls[side] = f"{scheme}://{host}:{port}/k?X-Amz-Signature=5ec4e7"

        [summary] = run_jobs([FileJob(**urls)], HalfModel(), Parameters(), FileSettings())

        assert summary.error_type in ("url", "transfer"), host
        assert re.search(
            r"is not public|four decimal numbers|cannot look up|is not valid|must not have|backslashes|"
            r"link-local|not a URL",
            str(summary.error),
        ), (host, summary.error)
        assert side in str(summary.error)


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/k",
        "http://8.8.8.8:443/k",
        "https://8.8.8.8:22/k",
        "ftp://8.8.8.8/k",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_x",
        "data:text/csv,x",
        "//8.8.8.8/k",
        "/etc/passwd",
        "",
        None,
    ],
)
def test_nothing_but_https_on_its_port_is_opened(url: object) -> None:
    for job in (FileJob(url, PUBLIC), FileJob(PUBLIC, url)):
        [summary] = run_jobs([job], HalfModel(), Parameters(), FileSettings())

        assert summary.error_type == "url"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("faults_before", [0, 1], ids=["download", "upload"])
def test_a_redirect_is_followed_nowhere(
    store: ObjectStore,
    settings: FileSettings,
    proxy: FaultProxy,
    listener: socket.socket,
    code: int,
    faults_before: int,
) -> None:
    target = f"http://127.0.0.1:{listener.getsockname()[1]}/k?token=5ec4e7"
    proxy.inject(*[passed] * faults_before, status(f"{code} Elsewhere", Location=target))
    open_to_all = dataclasses.replace(settings, allowed_hosts=("127.0.0.1",))

    summary = run(store, open_to_all, "few")

    assert summary.error_type == "transfer"
    assert f"answered {code}, a redirect to 127.0.0.1. Redirects are not followed" in str(summary.error)
    assert "5ec4e7" not in str(summary)
    assert not store.path("out").exists()


@pytest.mark.parametrize("moves", ["input_url", "output_url"])
def test_a_name_that_moves_between_check_and_connection_is_not_followed(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, moves: str
) -> None:
    urls = {
        "input_url": store.presign("get_object", "few"),
        "output_url": store.presign("put_object", "out"),
    }
    urls[moves] = urls[moves].replace("127.0.0.1", "moving.example")
    n_lookups = 0

    def resolve(host: str, port: int, **_: object) -> list[Any]:
        nonlocal n_lookups
        n_lookups += host == "moving.example"
        address = "169.254.169.254" if n_lookups > 1 else "127.0.0.1"
        return [(0, 0, 0, "", (address, port))]

    networks = FileSettings.from_environment({"PROTO_MODEL_FILES_ALLOWED_NETWORKS": "127.0.0.0/8"})
    local = dataclasses.replace(settings, allowed_hosts=(), allowed_networks=networks.allowed_networks)
    [summary] = run_jobs(
        [FileJob(**urls)], HalfModel(), Parameters(), local, outside=Outside(resolve=resolve)
    )

    assert n_lookups == 2
    assert summary.error_type == "url"
    assert "the host has the address 169.254.169.254, which is not public" in str(summary.error)
    assert [head[:3] for head in proxy.requests] == ([] if moves == "input_url" else [b"GET"])


def test_proxies_of_the_environment_are_not_used(
    store: ObjectStore, settings: FileSettings, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    assert run(store, settings, "few").status == "done"


@pytest.mark.parametrize("fault", [stall_upload, drip_upload, stall_after_upload])
def test_an_upload_that_does_not_get_on_is_sent_again(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, fault: Fault
) -> None:
    impatient = dataclasses.replace(settings, read_timeout_s=0.5)
    proxy.inject(passed, fault)

    summary = run(store, impatient, "many")

    assert (summary.error, summary.rows) == (None, N_ROWS)
    assert len(store.path("out").read_bytes().splitlines()) == N_ROWS + 1
    assert len([head for head in proxy.requests if head.startswith(b"PUT")]) == 2


@pytest.mark.parametrize("fault", [drip_upload, stall_after_upload])
def test_an_upload_that_never_gets_on_is_given_up(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, fault: Fault
) -> None:
    impatient = dataclasses.replace(settings, read_timeout_s=0.3, max_attempts=2)
    proxy.inject(passed, fault, fault)

    summary = run(store, impatient, "many")

    assert summary.error_type == "transfer"
    assert "gave up after 2 attempts" in str(summary.error)
    assert not store.path("out").exists()


def cut_head(exchange: Exchange) -> None:
    """The connection ends in the middle of the answer's head."""
    exchange.read_body()
    exchange.client.sendall(b"HTTP/1.1 200 OK\r\nServer: s\r\n")


@pytest.mark.parametrize("fault", [drip_head, cut_head])
@pytest.mark.parametrize("faults_before", [0, 1], ids=["download", "upload"])
def test_an_answer_whose_head_does_not_end_is_none(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, fault: Fault, faults_before: int
) -> None:
    proxy.inject(*[passed] * faults_before, fault)

    summary = run(store, dataclasses.replace(settings, read_timeout_s=0.5), "few")

    assert (summary.error, summary.rows) == (None, 2)
    assert len(store.path("out").read_text().splitlines()) == 3


def test_whole_numbers_that_turn_into_fractions_late_are_read(
    store: ObjectStore, settings: FileSettings, rclone: ObjectStore
) -> None:
    padding = "p" * 2000
    rows = [f"{i % 2},{padding}\n" for i in range(5000)] + [f"0.5,{padding}\n"]
    rclone.path("late").write_text("x,padding\n" + "".join(rows))

    assert run(store, settings, "late").rows == 5001
    found = pa.csv.read_csv(store.path("out"))["probability_yes"].to_pylist()
    assert found == [i % 2 / 2 for i in range(5000)] + [0.25]


def test_a_compression_that_the_store_announces_is_undone_once_and_checked(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, rclone: ObjectStore
) -> None:
    whole = gzip.compress(b"x\n" + b"0.5\n" * 1000)
    announced = edited(rb"\r\nContent-Length:", b"\r\nContent-Encoding: gzip\r\nContent-Length:")

    rclone.path("packed").write_bytes(whole)
    proxy.inject(announced)
    assert run(store, settings, "packed").rows == 1000

    rclone.path("packed").write_bytes(whole[:-10])
    proxy.inject(announced)
    summary = run(store, settings, "packed")
    assert summary.error_type == "input"
    assert "damaged or cut" in str(summary.error)


@pytest.mark.parametrize("checksum", [True, False])
def test_a_flipped_bit_is_found_by_the_checksum_of_its_page_and_by_nothing_else(
    store: ObjectStore, settings: FileSettings, rclone: ObjectStore, checksum: bool
) -> None:
    sink = io.BytesIO()
    table = pa.table({"x": [0.5, 0.25]})
    pq.write_table(table, sink, write_page_checksum=checksum, compression="none", use_dictionary=False)
    data = bytearray(sink.getvalue())
    data[data.index(np.array([0.5, 0.25]).tobytes()) + 6] ^= 8
    rclone.path("flipped").write_bytes(data)

    summary = run(store, settings, "flipped", output_format="csv")

    if checksum:
        assert (summary.error_type, store.path("out").exists()) == ("input", False)
    else:
        assert summary.status == "done"


def test_a_large_row_group_is_never_in_memory_whole(
    store: ObjectStore, settings: FileSettings, rclone: ObjectStore
) -> None:
    model, n_rows = HalfModel(300), 30_000
    names = model.schema.feature_names
    column = pa.array(np.random.default_rng(0).random(n_rows))
    table = pa.table([column] * len(names), names=names)
    pq.write_table(table, rclone.path("group"), row_group_size=n_rows, use_dictionary=False)
    job = FileJob(store.presign("get_object", "group"), store.presign("put_object", "out"))

    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        [summary] = run_jobs([job], model, Parameters(), dataclasses.replace(settings, n_workers=2))
    finally:
        pa.set_memory_pool(before)

    assert (summary.error, summary.rows) == (None, n_rows)
    assert pool.max_memory() < table.nbytes / 2, pool.max_memory()


def test_what_a_store_says_of_a_refusal_is_shown_without_its_secrets(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy
) -> None:
    def told(exchange: Exchange) -> None:
        target = exchange.head.split(b" ")[1].decode()
        signature = target.rpartition("=")[2]
        exchange.read_body()
        body = f"<Error><Code>Odd</Code><Message>{target} {signature}</Message><StringToSign>{signature}"
        with contextlib.suppress(OSError):
            exchange.answer("400 Bad Request", body=body.encode())

    for faults in ([told], [passed, told]):
        proxy.inject(*faults)
        summary = run(store, settings, "few")
        assert "400 Odd" in str(summary.error)
        for head in proxy.requests:
            assert head.split(b" ")[1].decode().rpartition("=")[2] not in str(summary)


@pytest.mark.parametrize("key", ["many", "many.parquet"])
def test_a_download_that_breaks_goes_on_at_the_next_address_of_the_host(
    store: ObjectStore, settings: FileSettings, proxy: FaultProxy, rclone: ObjectStore, key: str
) -> None:
    if key == "many.parquet":
        pq.write_table(pa.csv.read_csv(rclone.path("many")), rclone.path(key), use_dictionary=False)
    urls = [store.presign("get_object", key), store.presign("put_object", "out")]
    proxy.inject(*[cut_download(300_000)] * 3)

    def resolve(host: str, port: int, **_: object) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in ("127.0.0.77", "127.0.0.1")]

    [summary] = run_jobs(
        [FileJob(*urls)], HalfModel(), Parameters(), settings, outside=Outside(resolve=resolve)
    )

    assert (summary.error, summary.rows) == (None, N_ROWS)
