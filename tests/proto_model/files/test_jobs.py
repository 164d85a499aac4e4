from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import logging
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mapper.client.file_job import REHEARSAL_URL
from proto_model.files import FileJob, Outside, Summary, run_jobs
from proto_model.files.transfer import FileSettings, TransferError
from proto_model.parameters import Parameters
from scripts.object_store import ObjectStore
from tests.fault_proxy import (
    FaultProxy,
    cut_download,
    cut_upload,
    edited,
    hang_up,
    stall_download,
    status,
    status_after_body,
    without_request_header,
)

N_ROWS = 3000
CSV = b"id,age,size\n" + b"".join(b"%d,%d,%d.25\n" % (i, i % 90, i % 7) for i in range(N_ROWS))


def _parquet() -> bytes:
    i = np.arange(N_ROWS)
    table = pa.table({"id": i, "age": i % 90, "size": i % 7 + 0.25})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=500, write_page_checksum=True)
    return sink.getvalue()


FILES = {"rows.csv": CSV, "rows.csv.gz": gzip.compress(CSV), "rows.parquet": _parquet()}


@pytest.fixture(scope="session", autouse=True)
def _objects(rclone: ObjectStore) -> None:
    for key, data in FILES.items():
        rclone.path(key).write_bytes(data)


@pytest.fixture
def proxy(rclone: ObjectStore) -> Iterator[FaultProxy]:
    with FaultProxy(rclone.port) as proxy:
        yield proxy


@pytest.fixture
def store(rclone: ObjectStore, proxy: FaultProxy) -> Iterator[ObjectStore]:
    yield dataclasses.replace(rclone, port=proxy.port)
    for path in rclone.path("").glob("out*"):
        path.unlink()


@pytest.fixture
def settings(store: ObjectStore, tmp_path: Path) -> FileSettings:
    allowed = FileSettings.from_environment(store.settings)
    return dataclasses.replace(
        allowed, backoff_s=0.001, max_backoff_s=0.01, read_timeout_s=0.5, temp_dir=str(tmp_path), n_workers=2
    )


def job(store: ObjectStore, key: str, out: str = "out", **how: Any) -> FileJob:
    return FileJob(store.presign("get_object", key, **how), store.presign("put_object", out, **how), key)


def run(store, model, settings, key: str = "rows.csv", **params: Any) -> Summary:
    [summary] = run_jobs([job(store, key)], model, Parameters.from_params(params), settings)
    assert not os.listdir(settings.temp_dir)
    return summary


@pytest.mark.parametrize("key", FILES)
def test_a_job_is_answered_by_what_was_done(store, model, settings, rclone, key: str) -> None:
    summary = run(store, model, settings, key, passthrough=["id"], output_format="csv")

    out = rclone.path("out").read_bytes()
    assert summary.status == "done"
    assert (summary.file_id, summary.rows, summary.rejected_rows) == (key, N_ROWS, 0)
    assert (summary.bytes_in, summary.bytes_out) == (len(FILES[key]), len(out))
    assert summary.sha256 == hashlib.sha256(out).hexdigest()
    assert summary.etag == f'"{hashlib.md5(out).hexdigest()}"'
    assert (summary.input_format, summary.output_format) == (key.removeprefix("rows."), "csv")
    assert (summary.error, summary.error_type) == (None, None)
    assert [int(line.split(b",")[0].strip(b'"')) for line in out.splitlines()[1:]] == list(range(N_ROWS))


@pytest.mark.parametrize("key", FILES)
@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([cut_download(5000)], id="download cut"),
        pytest.param([cut_download(5000), without_request_header(b"Range")], id="download cut, no ranges"),
        pytest.param([stall_download(3000)], id="download stalls"),
        pytest.param([status("503 Slow Down", Retry_After="0"), hang_up], id="store away"),
    ],
)
def test_faults_of_a_download_that_pass_leave_no_trace(
    store, model, settings, rclone, proxy, key, faults
) -> None:
    run(store, model, settings, key, output_format="csv")
    expected = rclone.path("out").read_bytes()
    proxy.inject(*faults)

    assert run(store, model, settings, key, output_format="csv").status == "done"
    assert rclone.path("out").read_bytes() == expected


@pytest.mark.parametrize("key", FILES)
@pytest.mark.parametrize(
    ("faults", "kind", "reason"),
    [
        pytest.param(
            [cut_download(3000), *[cut_download(100)] * 9], "transfer", "gave up", id="cut again and again"
        ),
        pytest.param(
            [cut_download(3000), *[edited(rb'(?i)ETag: "[^"]*"', b'ETag: "x"')] * 9],
            "transfer",
            "changed",
            id="other file",
        ),
        pytest.param(
            [edited(rb"Content-Length: \d+", b"Content-Length: 999999")] * 9,
            "transfer",
            "changed",
            id="too long",
        ),
        pytest.param([status("403 Forbidden")], "transfer", "403", id="refused"),
        pytest.param(
            [status("302 Found", Location="http://127.0.0.1/")], "transfer", "redirect", id="redirect"
        ),
    ],
)
def test_faults_of_a_download_that_stay_upload_nothing(
    store, model, settings, rclone, proxy, key, faults, kind, reason
) -> None:
    proxy.inject(*faults)

    summary = run(store, model, settings, key)

    assert (summary.status, summary.error_type) == ("failed", kind)
    assert reason in str(summary.error)
    assert not rclone.path("out").exists()
    assert not any(request.startswith(b"PUT") for request in proxy.requests)


@pytest.mark.parametrize("key", FILES)
def test_a_length_that_is_too_small_uploads_nothing(store, model, settings, rclone, proxy, key) -> None:
    proxy.inject(*[edited(rb"Content-Length: \d+", b"Content-Length: 3000")] * 9)

    summary = run(store, model, settings, key)

    assert summary.status == "failed"
    # What stands at the wrong end of a Parquet file may be found out first.
    assert summary.error_type in (("input", "transfer") if key == "rows.parquet" else ("transfer",))
    assert not rclone.path("out").exists()


@pytest.mark.parametrize("fault", [cut_upload(2000), status_after_body("500 Internal Server Error"), hang_up])
def test_faults_of_an_upload_that_pass_leave_no_trace(store, model, settings, rclone, proxy, fault) -> None:
    def only_for_put(exchange) -> None:
        if exchange.method == "PUT":
            fault(exchange)
        else:
            exchange.forward()

    proxy.inject(only_for_put, only_for_put)

    summary = run(store, model, settings)
    assert summary.status == "done"
    assert summary.etag == f'"{hashlib.md5(rclone.path("out").read_bytes()).hexdigest()}"'


@pytest.mark.parametrize(
    ("data", "params", "reason"),
    [
        (b"id,age\n1,2\n2,x\n", {}, "line 3, column 'age': the string \"x\" given, a whole number expected"),
        (b"id\n1\n", {}, "Columns missing in the file: 'age'"),
        (b"id,age\n1,2\n", {"passthrough": ["name"]}, "'name'"),
        (b"", {}, "empty"),
        (FILES["rows.parquet"][:-20], {}, "Parquet file has no footer"),
        (FILES["rows.csv.gz"][:-20], {}, "damaged or cut"),
    ],
)
def test_a_file_that_does_not_fit_uploads_nothing(
    store, model, settings, rclone, data, params, reason
) -> None:
    rclone.path("bad").write_bytes(data)

    summary = run(store, model, settings, "bad", **params)

    assert (summary.status, summary.error_type) == ("failed", "input")
    assert reason in str(summary.error)
    assert not rclone.path("out").exists()


def test_one_failing_job_does_not_undo_the_others(store, model, settings, rclone) -> None:
    jobs = [
        job(store, "rows.csv", "out1"),
        job(store, "missing", "out2"),
        FileJob("http://169.254.169.254/latest/meta-data", "", "third"),
        dataclasses.replace(job(store, "rows.parquet", "out4"), file_id=None),
    ]

    summaries = run_jobs(jobs, model, Parameters(), settings)

    assert [s.status for s in summaries] == ["done", "failed", "failed", "done"]
    assert [s.file_id for s in summaries] == ["rows.csv", "missing", "third", None]
    assert [s.error_type for s in summaries] == [None, "transfer", "url", None]
    assert rclone.path("out1").exists()
    assert not rclone.path("out2").exists()
    assert rclone.path("out4").exists()


def test_what_can_be_known_before_the_work_is(store, model, settings, proxy) -> None:
    def summary_of(input_url: str, output_url: str, now: datetime) -> Summary:
        proxy.requests.clear()
        [summary] = run_jobs(
            [FileJob(input_url, output_url)], model, Parameters(), settings, outside=Outside(now=lambda: now)
        )
        assert not proxy.requests
        return summary

    get, put = store.presign("get_object", "rows.csv"), store.presign("put_object", "out", expires_s=60)
    later = datetime.now(UTC) + timedelta(seconds=100)
    assert "output_url" in str(summary_of(get, put, later).error)
    assert "expired at" in str(summary_of(get, put, later).error)

    signed = "https://8.8.8.8/k?X-Amz-Signature=1abcdef&X-Amz-SignedHeaders=host%3Bx-amz-acl"
    summary = summary_of(get, signed, datetime.now(UTC))
    assert summary.error_type == "url"
    assert "x-amz-acl" in str(summary.error)
    assert "is not public" in str(summary_of(get, "https://10.0.0.1/k", datetime.now(UTC)).error)


def test_the_output_urls_expiry_ends_the_job(store, model, settings, rclone, proxy) -> None:
    proxy.inject(*[stall_download(100)] * 9)
    brief = FileJob(store.presign("get_object", "rows.csv"), store.presign("put_object", "out", expires_s=2))

    [summary] = run_jobs([brief], model, Parameters(), dataclasses.replace(settings, max_attempts=50))
    assert summary.error_type == "limit"
    assert "expiry of its output_url" in str(summary.error)
    assert not rclone.path("out").exists()


def test_a_full_disk_is_said_and_uploads_nothing(store, model, settings, rclone, monkeypatch) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    monkeypatch.setattr(
        "proto_model.files.jobs.open_unnamed",
        lambda _settings: open("/dev/full", "r+b", buffering=0),
    )

    summary = run(store, model, settings)
    assert summary.error_type == "limit"
    assert "disk for temporary files is full" in str(summary.error)
    assert not rclone.path("out").exists()


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_disk_that_fills_up_while_a_file_arrives_is_said(store, model, settings, rclone, share) -> None:
    rows = pa.table({"age": np.arange(200_000), "size": np.random.default_rng(0).random(200_000)})
    with open(rclone.path("large.parquet"), "wb") as file:
        pq.write_table(rows, file)
    n_bytes = rclone.path("large.parquet").stat().st_size
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * n_bytes), unlimited[1]))
    try:
        summary = run(store, model, settings, "large.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)

    assert summary.error_type == "limit"
    assert "disk for temporary files is full" in str(summary.error)
    assert not rclone.path("out").exists()


def test_a_fault_of_ours_fails_its_job_only(store, settings, model, rclone, caplog) -> None:
    class Broken:
        schema = model.schema
        decision = model.decision

        def predict_proba(self, matrix):
            raise ZeroDivisionError("oops")

    with caplog.at_level(logging.DEBUG):
        summary = run(store, Broken(), settings)
    assert (summary.status, summary.error_type, summary.error) == (
        "failed",
        "internal",
        "ZeroDivisionError: oops",
    )
    assert not rclone.path("out").exists()


def test_nothing_of_a_failing_run_shows_a_signature(store, model, settings, proxy, caplog, capfd) -> None:
    texts: list[str] = []
    jobs = [
        job(store, "rows.csv"),
        job(store, "missing"),
        job(dataclasses.replace(store, secret_key="0" * 40), "rows.csv"),
    ]
    jobs.append(FileJob(store.presign("get_object", "rows.csv") + "\n", store.presign("put_object", "out")))
    jobs.append(
        FileJob(
            store.presign("get_object", "rows.csv"), store.presign("put_object", "out").replace("http", "ftp")
        )
    )
    jobs.append(
        FileJob(
            store.presign("get_object", "rows.csv").replace(str(store.port), "1"),
            store.presign("put_object", "out"),
        )
    )
    proxy.inject(
        hang_up,
        cut_download(10),
        status("500 Oops"),
        status("302 Found", Location="http://h/?X-Amz-Signature=leak"),
    )
    with caplog.at_level(logging.DEBUG):
        for one in jobs:
            [summary] = run_jobs([one], model, Parameters(), settings)
            texts += [str(summary), repr(one), str(summary.to_dict())]
    texts += [caplog.text, *capfd.readouterr()]

    shown = "\n".join(texts)
    assert "file job" in shown
    assert "gave up" in shown or "redirect" in shown
    assert "X-Amz" not in shown
    assert "leak" not in shown
    for one in jobs:
        for url in (str(one.input_url), str(one.output_url)):
            assert url.rpartition("X-Amz-Signature=")[2].strip() not in shown


def test_an_upload_goes_on_while_the_next_file_is_scored(store, model, settings, proxy) -> None:
    next_began = threading.Event()

    def fault(exchange) -> None:
        n_gets = sum(request.startswith(b"GET") for request in proxy.requests)
        if n_gets > 1:
            next_began.set()
        if exchange.method == "PUT":
            assert next_began.wait(10)
        exchange.forward()

    proxy.inject(*[fault] * 4)
    patient = dataclasses.replace(settings, read_timeout_s=20)

    summaries = run_jobs(
        [job(store, "rows.csv", "out1"), job(store, "rows.csv", "out2")], model, Parameters(), patient
    )
    assert [s.status for s in summaries] == ["done", "done"]


def test_scoring_loads_no_heavy_library() -> None:
    code = (
        "import sys, proto_model.files, proto_model.serving\n"
        "print(sorted({'mlflow', 'pandas', 'sklearn', 'matplotlib', 'boto3'} & sys.modules.keys()))"
    )
    source = Path(__file__).parents[3] / "src"
    shown = subprocess.check_output(
        [sys.executable, "-c", code], text=True, env=os.environ | {"PYTHONPATH": str(source)}
    )
    assert shown == "[]\n"


def test_jobs_that_shall_not_go_on_fail_and_leave_nothing(store, model, settings, rclone, proxy) -> None:
    ended = threading.Event()

    def go_on() -> None:
        if ended.is_set():
            raise TransferError("The server is ending.")

    def end(exchange) -> None:
        ended.set()
        exchange.forward()

    proxy.inject(end)
    jobs = [job(store, "rows.csv", "out1"), job(store, "rows.csv", "out2")]
    summaries = run_jobs(jobs, model, Parameters(), settings, go_on=go_on)

    assert [(s.status, s.error_type) for s in summaries] == [("failed", "transfer")] * 2
    assert summaries[0].error == "The server is ending."
    assert not list(rclone.path("").glob("out*"))
    assert not os.listdir(settings.temp_dir)


def test_few_files_are_open_however_many_jobs_there_are(store, model, settings, proxy) -> None:
    waiting = threading.Event()
    most = 0

    def hold(exchange) -> None:
        if exchange.method == "PUT":
            waiting.wait(10)
        exchange.forward()

    def go_on() -> None:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("no /proc here")
    before = len(os.listdir("/proc/self/fd"))
    proxy.inject(*[hold] * 200)
    threading.Timer(2, waiting.set).start()
    patient = dataclasses.replace(settings, read_timeout_s=20)

    summaries = run_jobs(
        [job(store, "rows.csv", f"out{n}") for n in range(40)], model, Parameters(), patient, go_on=go_on
    )

    assert {summary.status for summary in summaries} == {"done"}
    assert [summary.file_id for summary in summaries] == ["rows.csv"] * 40
    assert most - before < 40  # the proxy's own sockets are in this process, too


def test_too_many_open_files_are_not_the_stores_fault(store, model, settings, rclone) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    settings = dataclasses.replace(settings, allowed_hosts=(f"127.0.0.1:{rclone.port}",))
    n_open = len(os.listdir("/proc/self/fd"))
    for spare in range(8):
        resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + spare, limits[1]))
        try:
            [summary] = run_jobs([job(rclone, "rows.parquet")], model, Parameters(), settings)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        if summary.status == "failed":
            assert (summary.error_type, "too many files open" in str(summary.error)) == ("limit", True), (
                summary
            )


def test_a_temporary_folder_that_vanishes_fails_its_job_in_a_sentence(
    store, model, settings, tmp_path
) -> None:
    (tmp_path / "gone").mkdir()
    lost = dataclasses.replace(settings, temp_dir=str(tmp_path / "gone"))
    (tmp_path / "gone").rmdir()

    [summary, other] = run_jobs(
        [job(store, "rows.csv"), FileJob("http://169.254.169.254/", "")], model, Parameters(), lost
    )

    assert (summary.error_type, other.error_type) == ("limit", "url")
    assert "PROTO_MODEL_FILES_TEMP_DIR" in str(summary.error)


def test_a_file_id_stays_on_one_line_of_the_log(store, model, settings, caplog) -> None:
    forged = dataclasses.replace(
        job(store, "rows.csv"), file_id="a\nINFO file job b: done\x1b[2J" + "x" * 999
    )

    with caplog.at_level(logging.INFO):
        [summary] = run_jobs([forged], model, Parameters(), settings)

    assert summary.file_id == forged.file_id
    [line] = [record.getMessage() for record in caplog.records if "file job" in record.getMessage()]
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) < 400


def test_values_of_a_file_are_in_the_answer_and_not_in_the_log(
    store, model, settings, rclone, caplog
) -> None:
    rclone.path("bad").write_bytes(b"age,size\n1,2\nmarker-4711,3\n")

    with caplog.at_level(logging.DEBUG):
        summary = run(store, model, settings, "bad")

    assert "marker-4711" in str(summary.error)
    assert "marker-4711" not in caplog.text


def test_the_summary_says_what_was_verified(store, model, settings, proxy) -> None:
    assert run(store, model, settings).verified == "input: length, MD5; output: MD5 sent, MD5 confirmed"
    proxy.inject(edited(rb"(?i)ETag: [^\r]*", b"X: y"), edited(rb"(?i)ETag: [^\r]*", b"X: y"))
    assert run(store, model, settings).verified == "input: length; output: MD5 sent"


def test_a_rehearsal_is_no_failure_in_the_log(model, settings, caplog) -> None:
    with caplog.at_level(logging.INFO):
        [summary] = run_jobs([FileJob(REHEARSAL_URL, REHEARSAL_URL, "a")], model, Parameters(), settings)

    assert (summary.status, summary.error_type) == ("failed", "url")
    [line] = [record.getMessage() for record in caplog.records if "file job" in record.getMessage()]
    assert line.startswith("file job 'a': not begun (url): ")
