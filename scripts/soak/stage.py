"""What the soak is played on: models and their answers, an object store, servers, and relays before them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scripts.object_store import ObjectStore
from scripts.soak.record import Record
from scripts.soak.relay import Relay
from scripts.soak.wire import HOST

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
END_S = 60.0
N_FILE_ROWS = 2000

Kind = Literal["rows", "files", "mapper"]


@dataclass(frozen=True)
class Version:
    """A model in a folder, and what scikit-learn says of each of the soak's rows."""

    folder: Path
    answers: list[dict[str, Any]]


@dataclass(frozen=True)
class Models:
    """Two versions for rows, of the same schema; one for files; and the rows."""

    versions: tuple[Version, Version]
    files: Version
    records: list[dict[str, Any]]
    names: list[str]
    schema: Path


def make_models(folder: Path) -> Models:
    """Train the forests on a data set that scikit-learn brings along."""
    from proto_model.model import write_bundle
    from proto_model.registry.logged_model import CODE, example_rows, save_model
    from proto_model.registry.signature import file_signature, rows_signature
    from proto_model.registry.tracking import quiet_mlflow
    from proto_model.table import encode, load_training_data
    from proto_model.training import make_pipeline

    quiet_mlflow()
    data = load_training_data("wine", None, 0.2, "proto_model")
    rng = np.random.default_rng(0)
    table = data.X_train.sample(N_FILE_ROWS, replace=True, random_state=0).reset_index(drop=True)
    table = (table * rng.uniform(0.8, 1.2, table.shape)).round(4)
    made = []
    for seed, kind in ((0, "rows"), (1, "rows"), (0, "files")):
        place = folder / f"{kind}-{seed}"
        pipeline = make_pipeline("random_forest", data.schema, seed, n_estimators=30)
        pipeline.fit(data.X_train, data.y_train)
        write_bundle(place / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
        code, signature, example = (
            (
                "forest.py",
                rows_signature(data.schema),
                example_rows(encode(data.X_test, data.schema), data.schema),
            )
            if kind == "rows"
            else ("file.py", file_signature(), None)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow, on columns and on examples
            save_model(
                place / "model",
                bundle=place / "bundle",
                code=CODE / code,
                signature=signature,
                input_example=example,
            )
        made.append(Version(place / "model", answers_of(pipeline, data.schema.classes, table)))
    names = list(data.schema.feature_names)
    records = [dict(zip(names, map(float, row), strict=True)) for row in table[names].to_numpy()]
    schema = folder / "rows-0" / "bundle" / "schema.json"
    return Models((made[0], made[1]), made[2], records, names, schema)


def answers_of(pipeline: Any, classes: Any, table: Any) -> list[dict[str, Any]]:
    """Each row's answer as the model server writes it, computed by scikit-learn."""
    shares = pipeline.predict_proba(table)
    labels = [classes[position] for position in shares.argmax(axis=1)]
    return [
        {
            "prediction": label,
            "probability": float(row.max()),
            **{f"probability_{name}": float(share) for name, share in zip(classes, row, strict=True)},
        }
        for label, row in zip(labels, shares, strict=True)
    ]


class Server:
    """A server process with its log; clients reach it by way of relays."""

    def __init__(self, kind: Kind, number: int, folder: Path) -> None:
        self.kind = kind
        self.log = folder / f"{kind}-{number}.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self, command: list[str], environment: dict[str, str]) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, env=os.environ | environment, stderr=log
            )
        path = "/healthz" if self.kind == "mapper" else "/ping"
        async with asyncio.timeout(START_S):
            while not (found := re.search(r"on http://[^ ]*:(\d+)", self.log.read_text(errors="replace"))):
                if self.process.poll() is not None:
                    raise RuntimeError(self.log.read_text(errors="replace"))
                await asyncio.sleep(0.05)
            self.port = int(found[1])
            while not await _answers_get(self.port, path):
                await asyncio.sleep(0.05)

    @property
    def pid(self) -> int:
        """Its first process."""
        assert self.process is not None
        return self.process.pid

    async def stop(self, record: Record) -> None:
        """End it politely, and see that it does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(asyncio.to_thread(self.process.wait), END_S)
        except TimeoutError:
            self.kill()
            record.unforeseen(f"{self.kind} server", "did not end on SIGTERM")
            return
        if code != 0:
            record.unforeseen(f"{self.kind} server", f"ended with {code}")
        if "Traceback" in (text := self.log.read_text(errors="replace")):
            where = text.index("Traceback")
            record.unforeseen(f"{self.kind} server", "traceback in its log", text[where : where + 1200])

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


async def _answers_get(port: int, path: str) -> bool:
    with contextlib.suppress(OSError, EOFError):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode())
            return (await reader.readline()).split(b" ")[1:2] == [b"200"]
        finally:
            writer.close()
    return False


class Stage:
    """All of it: started, exchanged while clients are at work, and ended."""

    def __init__(
        self, models: Models, store: ObjectStore, folder: Path, record: Record, workers: int
    ) -> None:
        self.models = models
        self.record = record
        self.folder = folder
        self.temp = folder / "temp"
        self.temp.mkdir()
        self._workers = str(workers)
        self._store = store
        self.fronts: dict[Kind, Relay] = {"rows": Relay(), "files": Relay(), "mapper": Relay()}
        #: Between mapper and model server, and between file server and store; these two get the faults.
        self.model_relay, self.store_relay = Relay(), Relay()
        self.servers: dict[Kind, Server] = {}
        self.serving = 0  # which of the two versions
        self._n_started = 0

    @property
    def store(self) -> ObjectStore:
        """The store as the file server reaches it."""
        return dataclasses.replace(self._store, port=self.store_relay.port)

    async def __aenter__(self) -> Stage:
        """Start it all."""
        for relay in (*self.fronts.values(), self.model_relay, self.store_relay):
            await relay.start()
        self.store_relay.target = self._store.port
        try:
            for kind in self.fronts:
                await self.exchange(kind)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it all."""
        # The mapper first, which needs the others.
        for server in reversed(self.servers.values()):
            if server.process is not None and server.process.poll() is None:
                await server.stop(self.record)
        for server in self.servers.values():
            server.kill()
        for relay in (*self.fronts.values(), self.model_relay, self.store_relay):
            await relay.stop()

    async def exchange(self, kind: Kind) -> None:
        """Put a new server in the place of the one that runs: no request may get lost."""
        before = self.servers.get(kind)
        if kind == "rows" and before is not None:
            self.serving = 1 - self.serving
        self._n_started += 1
        server = Server(kind, self._n_started, self.folder)
        try:
            await server.start(*self._command(kind))
        except BaseException:
            server.kill()
            raise
        self.servers[kind] = server
        self.fronts[kind].target = server.port
        if kind == "rows":
            self.model_relay.target = server.port
        if before is not None:
            await before.stop(self.record)

    def _command(self, kind: Kind) -> tuple[list[str], dict[str, str]]:
        if kind == "mapper":
            url = f"http://{HOST}:{self.model_relay.port}"
            command = ["mapper", "serve", "--port", "0", "--schema", str(self.models.schema)]
            command += ["--model-server-url", url, "--workers", self._workers, "--predict-timeout-s", "10"]
            return command, {}
        version = self.models.files if kind == "files" else self.models.versions[self.serving]
        command = ["proto_model", "serve", "-m", str(version.folder), "-p", "0", "--workers", self._workers]
        command += ["--max-connections", "200"]
        files = {
            "PROTO_MODEL_FILES_TEMP_DIR": str(self.temp),
            "PROTO_MODEL_FILES_BACKOFF_S": "0.1",
            "PROTO_MODEL_FILES_MAX_BACKOFF_S": "1",
            "PROTO_MODEL_FILES_READ_TIMEOUT_S": "10",
            **self.store.settings,
        }
        return command, files if kind == "files" else {}


def json_bytes(content: Any) -> bytes:
    """Content as JSON."""
    return json.dumps(content).encode()
