"""File jobs through stores that hold a client to the letter, by every kind of signature they know."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
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
from tests.fault_proxy import Exchange, FaultProxy, cut_download, cut_upload, passed, status_after_body
from tests.half_model import HalfModel
from tests.strict_stores import AzureStore, Store, SwiftStore

pytestmark = pytest.mark.system

N_ROWS = 20_000


TABLE = pa.table({"id": np.arange(N_ROWS), "x": np.random.default_rng(0).random(N_ROWS)})


def _file(kind: str) -> bytes:
    sink = io.BytesIO()
    if kind == "parquet":
        # Larger than what is read of its end at once.
        noise = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(100), N_ROWS, [None, pa.py_buffer(np.random.default_rng(1).bytes(100 * N_ROWS))]
        )
        table = TABLE.append_column("noise", noise)
        pq.write_table(table, sink, row_group_size=2000, compression="none", use_dictionary=False)
        return sink.getvalue()
    pa.csv.write_csv(TABLE, sink)
    return gzip.compress(sink.getvalue()) if kind == "csv.gz" else sink.getvalue()


FILES = {f"rows.{kind}": _file(kind) for kind in ("csv", "csv.gz", "parquet")}


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftStore]:
    with SwiftStore.running(tmp_path_factory.mktemp("swift")) as store:
        for key, data in FILES.items():
            store.put(key, data)
        yield store


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureStore]:
    with AzureStore.running(tmp_path_factory.mktemp("azurite")) as store:
        for key, data in FILES.items():
            store.put(key, data)
        yield store


@pytest.fixture(params=["s3v4", "s3v2", "azure"])
def direct(request: pytest.FixtureRequest) -> Any:
    """A store, and how its URLs are signed."""
    if request.param == "azure":
        return request.getfixturevalue("azurite")
    version = {"s3v4": "s3v4", "s3v2": "s3"}[request.param]
    return dataclasses.replace(request.getfixturevalue("swift"), signature_version=version)


@pytest.fixture
def proxy(direct: Store) -> Iterator[FaultProxy]:
    with FaultProxy(direct.port) as proxy:
        yield proxy


@pytest.fixture
def store(direct: Any, proxy: FaultProxy) -> Any:
    """The same store, seen through the proxy."""
    return dataclasses.replace(direct, port=proxy.port)


@pytest.fixture
def settings(tmp_path: Path) -> FileSettings:
    return FileSettings(
        allowed_networks=(ip_network("127.0.0.0/8"),),
        allow_http=True,
        backoff_s=0.01,
        max_backoff_s=0.1,
        temp_dir=str(tmp_path),
        n_workers=2,
    )


def run(store: Any, settings: FileSettings, key: str, out: str, **params: Any) -> Summary:
    job = FileJob(store.presign("get_object", key), store.presign("put_object", out))
    [summary] = run_jobs([job], HalfModel(), Parameters.from_params(params), settings)
    return summary


def check(store: Store, summary: Summary, out: str) -> None:
    """The output is whole, and every row is in its place."""
    data = store.get(out)
    assert summary.error is None
    assert data is not None
    assert summary.sha256 == hashlib.sha256(data).hexdigest()
    found = pa.csv.read_csv(io.BytesIO(data))
    assert found["id"].to_pylist() == list(range(N_ROWS))
    np.testing.assert_array_equal(found["probability_yes"], TABLE["x"].to_numpy() / 2)


def out_name(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W+", "-", request.node.name)


@pytest.mark.parametrize("key", FILES)
def test_a_job_with_each_kind_of_signature(
    store: Any, settings: FileSettings, key: str, request: pytest.FixtureRequest
) -> None:
    out = out_name(request)

    check(store, run(store, settings, key, out, passthrough=["id"], output_format="csv"), out)


@pytest.mark.parametrize("direct", ["s3v4", "azure"], indirect=True)
@pytest.mark.parametrize("key", ["rows.csv", "rows.parquet"])
def test_a_download_that_breaks_goes_on_with_206(
    store: Any, settings: FileSettings, proxy: FaultProxy, key: str, request: pytest.FixtureRequest
) -> None:
    answers: list[bytes] = []

    def seen(exchange: Exchange) -> None:
        exchange.forward(edit_head=lambda head: answers.append(head) or head)

    out = out_name(request)
    proxy.inject(cut_download(5000), *[seen] * 3)

    check(store, run(store, settings, key, out, passthrough=["id"], output_format="csv"), out)
    resumed = [head for head in proxy.requests if b"Range: bytes=5000-\r\n" in head + b"\r\n"]
    assert len(resumed) == 1
    assert any(head.startswith(b"HTTP/1.1 206") for head in answers)


@pytest.mark.parametrize("direct", ["s3v4", "azure"], indirect=True)
@pytest.mark.parametrize("key", ["rows.csv", "rows.parquet"])
def test_a_file_that_is_replaced_meanwhile_is_not_spliced(
    store: Any, settings: FileSettings, proxy: FaultProxy, key: str, request: pytest.FixtureRequest
) -> None:
    out = out_name(request)
    store.put("replaced", FILES[key])

    def cut_and_replace(exchange: Exchange) -> None:
        exchange.forward(body_bytes=5000, then=lambda: store.put("replaced", FILES[key] + b"\n"))

    proxy.inject(cut_and_replace)
    summary = run(store, settings, "replaced", out)

    assert summary.error_type == "transfer"
    assert "changed during the download" in str(summary.error)
    assert store.get(out) is None


@pytest.mark.parametrize("direct", ["s3v4", "azure"], indirect=True)
@pytest.mark.parametrize(
    "fault", [cut_upload(50_000), status_after_body("500 Internal Server Error")], ids=["cut", "500"]
)
def test_an_upload_that_breaks_is_sent_again(
    store: Any, settings: FileSettings, proxy: FaultProxy, fault: Any, request: pytest.FixtureRequest
) -> None:
    out = out_name(request)
    seen_between: list[bytes | None] = []

    def look_first(exchange: Exchange) -> None:
        seen_between.append(store.get(out))
        exchange.forward()

    proxy.inject(passed, fault, look_first)
    summary = run(store, settings, "rows.csv", out, passthrough=["id"])

    assert seen_between == [None]
    check(store, summary, out)


def test_no_rows_are_a_file_too(store: Any, settings: FileSettings, request: pytest.FixtureRequest) -> None:
    out = out_name(request)
    store.put("none", b"id,x\n")

    assert run(store, settings, "none", out).rows == 0
    assert store.get(out) == b"prediction,probability,probability_no,probability_yes\n"


@pytest.mark.parametrize("wrong", ["signature", "method", "key", "expired"])
def test_what_is_not_signed_is_refused_and_not_shown(
    store: Any, settings: FileSettings, proxy: FaultProxy, wrong: str, request: pytest.FixtureRequest
) -> None:
    out = out_name(request)
    output_url = store.presign("put_object", out)
    if wrong == "signature":
        name = re.search(r"(?i)[?&](x-amz-signature|signature|sig)=", output_url)
        assert name is not None
        at = name.end()
        output_url = output_url[:at] + ("0" if output_url[at] != "0" else "1") + output_url[at + 1 :]
    elif wrong == "method":
        output_url = store.presign("get_object", out)
    elif wrong == "key":
        output_url = output_url.replace(out, f"{out}-other")
    else:
        output_url = _expired(store, out)
    store.put("few", b"x\n0.5\n")  # so that a refusal is not lost in a reset
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)

    [summary] = run_jobs(
        [FileJob(store.presign("get_object", "few"), output_url)],
        HalfModel(),
        Parameters(),
        settings,
        outside=Outside(now=lambda: an_hour_ago),
    )

    assert summary.error_type == "transfer"
    assert "answered 403" in str(summary.error)
    assert len([head for head in proxy.requests if head.startswith(b"PUT")]) == 1
    assert store.get(out) is None
    for value in re.findall(r"=([^&]{12,})", output_url):
        assert value not in repr(summary)


def _expired(store: Any, key: str) -> str:
    """URL that ended a moment ago, although it was signed well."""
    if getattr(store, "signature_version", "") != "s3v4":
        return str(store.presign("put_object", key, expires_s=-5))
    with pytest.MonkeyPatch.context() as patch:
        long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=100)
        patch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: long_ago)
        return str(store.presign("put_object", key, expires_s=60))


def test_a_signed_type_has_to_be_the_outputs(swift: SwiftStore, settings: FileSettings) -> None:
    swift.put("few", b"x\n0.5\n")
    source = swift.presign("get_object", "few")

    def put_with(signature_version: str, media_type: str) -> Summary:
        signing = dataclasses.replace(swift, signature_version=signature_version)
        url = signing.presign("put_object", "typed", ContentType=media_type)
        return run_jobs([FileJob(source, url)], HalfModel(), Parameters(), settings)[0]

    assert "403" in str(put_with("s3v4", "text/plain").error)
    # A URL of version 2 does not tell that a type was signed.
    assert "403" in str(put_with("s3", "text/csv").error)
    assert swift.get("typed") is None
    assert put_with("s3v4", "text/csv").error is None
    assert swift.get("typed") is not None


def test_azure_refuses_a_blob_without_its_kind(azurite: AzureStore) -> None:
    request = urllib.request.Request(azurite.presign("put_object", "bare"), b"x", method="PUT")
    request.add_header("Content-Type", "")

    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        urllib.request.urlopen(request)
    caught.value.close()
