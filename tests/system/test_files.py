"""File jobs under `mlflow models serve`, through a store that checks signatures."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.types import ParamSchema

from proto_model.data import TrainingData, encode, load_training_data
from proto_model.files.model import file_signature
from proto_model.serving import write_bundle
from proto_model.serving.logged_model import CODE, save_model
from proto_model.serving.signature import PREDICT_PARAMS
from proto_model.training import make_pipeline
from scripts.object_store import ObjectStore
from tests.fault_proxy import Exchange, FaultProxy, passed

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Add type hints to the `predict` method:UserWarning"),
]

START_S = 90.0


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return load_training_data("iris", None, 0.2, "proto_model")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory, data: TrainingData) -> Path:
    """A served model for files, without a tracking server."""
    folder = tmp_path_factory.mktemp("model")
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=10).fit(data.X_train, data.y_train)
    write_bundle(folder / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
    signature = file_signature(ParamSchema(PREDICT_PARAMS))
    save_model(folder / "model", bundle=folder / "bundle", code=CODE / "file.py", signature=signature)
    return folder / "model"


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, data: TrainingData
) -> Iterator[tuple[ObjectStore, FaultProxy]]:
    """The store behind a proxy, with a file to score."""
    with (
        ObjectStore.running(tmp_path_factory.mktemp("store")) as rclone,
        FaultProxy(rclone.port) as proxy,
    ):
        data.X_test.to_csv(rclone.path("in.csv"), index=False)
        data.X_test.to_parquet(rclone.path("in.parquet"))
        yield dataclasses.replace(rclone, port=proxy.port), proxy


@dataclasses.dataclass
class Server:
    """A running `mlflow models serve`."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    temp: Path

    def invoke(self, *jobs: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
        body = json.dumps({"dataframe_records": list(jobs), "params": params}).encode()
        request = urllib.request.Request(
            f"{self.url}/invocations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return list(json.load(answer)["predictions"])


@contextlib.contextmanager
def serving(model: Path, store: ObjectStore, folder: Path, **settings: str) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    temp = folder / "temp"
    temp.mkdir(exist_ok=True)
    environment = os.environ | store.settings | settings | {"PROTO_MODEL_FILES_TEMP_DIR": str(temp)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model), "-p", str(port)]
    log = folder / "server.log"
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [*command, "-h", "127.0.0.1", "--env-manager", "local"],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = Server(process, f"http://127.0.0.1:{port}", log, temp)
    try:
        _wait_until(lambda: _answers(server), START_S, process)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(server: Server) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{server.url}/ping", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def _wait_until(
    holds: Callable[[], bool], seconds: float, process: subprocess.Popen[bytes] | None = None
) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert process is None or process.poll() is None, "the server ended"
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(
    model_folder: Path, store: tuple[ObjectStore, FaultProxy], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(model_folder, store[0], tmp_path_factory.mktemp("server")) as server:
        yield server


def _job(store: ObjectStore, key: str, out: str) -> dict[str, str]:
    return {
        "input_url": store.presign("get_object", key),
        "output_url": store.presign("put_object", out),
        "file_id": key,
    }


def test_a_request_of_several_jobs(
    server: Server, store: tuple[ObjectStore, FaultProxy], data: TrainingData, model_folder: Path
) -> None:
    signed, _ = store

    done, lost, other = server.invoke(
        _job(signed, "in.csv", "a"),
        _job(signed, "none", "b"),
        _job(signed, "in.parquet", "c"),
        output_format="parquet",
    )

    assert (done["status"], lost["status"], other["status"]) == ("done", "failed", "done")
    assert done["rows"] == other["rows"] == len(data.X_test)
    assert not signed.path("b").exists()
    pd.testing.assert_frame_equal(pd.read_parquet(signed.path("a")), pd.read_parquet(signed.path("c")))


def test_a_request_as_the_mapper_sends_it(server: Server, store: tuple[ObjectStore, FaultProxy]) -> None:
    job = {name: [value] for name, value in _job(store[0], "in.csv", "m").items()}
    body = json.dumps({"inputs": job, "params": {"passthrough": ["petal width (cm)"]}}).encode()
    request = urllib.request.Request(f"{server.url}/invocations", body, {"Content-Type": "application/json"})

    with urllib.request.urlopen(request, timeout=60) as answer:
        [summary] = json.load(answer)["predictions"]

    assert (summary["status"], summary["file_id"]) == ("done", "in.csv")
    assert store[0].path("m").read_text().startswith("petal width (cm),prediction,probability,")


def test_neither_answers_nor_logs_show_a_signature(
    server: Server, store: tuple[ObjectStore, FaultProxy]
) -> None:
    signed, _ = store
    jobs = [_job(signed, "none", "x"), _job(dataclasses.replace(signed, secret_key="0"), "in.csv", "x")]
    jobs.append(
        {**_job(signed, "in.csv", "x"), "input_url": "https://10.1.1.1/k?X-Amz-Signature=aaaa5ec4e7aaaa"}
    )

    shown = json.dumps(server.invoke(*jobs))
    with pytest.raises(urllib.error.HTTPError) as caught:
        server.invoke(*jobs, on_bad_row="skip")
    shown += caught.value.read().decode() + server.log.read_text()

    assert "on_bad_row='skip' given" in shown
    assert "X-Amz-Signature" not in shown
    for job in jobs:
        assert job["input_url"].rpartition("Signature=")[2] not in shown
        assert job["output_url"].rpartition("Signature=")[2] not in shown


def test_a_client_that_goes_away_leaves_no_half_output(
    server: Server, store: tuple[ObjectStore, FaultProxy]
) -> None:
    signed, proxy = store
    held, go_on = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        held.set()
        assert go_on.wait(60)
        exchange.forward()

    proxy.inject(hold)
    body = json.dumps({"dataframe_records": [_job(signed, "in.csv", "gone")]}).encode()
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with socket.create_connection(address) as client:
        head = "POST /invocations HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert held.wait(60)
    assert not signed.path("gone").exists()
    go_on.set()

    _wait_until(lambda: signed.path("gone").exists(), 30)
    [again] = server.invoke(_job(signed, "in.csv", "whole"))
    assert again["status"] == "done"
    assert signed.path("gone").read_bytes() == signed.path("whole").read_bytes()
    assert not list(server.temp.iterdir())


def test_a_server_that_is_killed_or_stopped_leaves_no_output(
    model_folder: Path, store: tuple[ObjectStore, FaultProxy], server: Server, tmp_path: Path
) -> None:
    signed, proxy = store
    job = _job(signed, "in.csv", "cut")

    _end_in_the_middle_of_an_upload(server, signal.SIGKILL, job, proxy)
    assert not signed.path("cut").exists()
    assert not list(server.temp.iterdir())

    with serving(model_folder, signed, tmp_path) as another:
        [again] = another.invoke(job)
        assert again["status"] == "done"
        signed.path("cut").unlink()

        _end_in_the_middle_of_an_upload(another, signal.SIGTERM, job, proxy)
        assert not signed.path("cut").exists()
        assert not list(another.temp.iterdir())


def _end_in_the_middle_of_an_upload(
    server: Server, how: signal.Signals, job: dict[str, str], proxy: FaultProxy
) -> None:
    """Send the signal while the store has half of the output; a supervisor kills what does not stop."""
    in_the_middle = threading.Event()

    def half(exchange: Exchange) -> None:
        assert exchange.method == "PUT"
        with socket.create_connection(("127.0.0.1", exchange.port)) as upstream:
            upstream.sendall(exchange.head + exchange.begun_body[:100])
            in_the_middle.set()
            while exchange.client.recv(65536):
                pass

    def ask() -> None:
        with contextlib.suppress(OSError):
            server.invoke(job)

    proxy.inject(passed, half)
    client = threading.Thread(target=ask)
    client.start()
    assert in_the_middle.wait(60)
    os.killpg(server.process.pid, how)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(2)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
    client.join()
