"""The servers that the benchmarks compare, over models that are made for them."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PLAIN = '''
import cloudpickle
import pandas as pd
from mlflow.pyfunc import PythonModel


class PlainForest(PythonModel):
    """What is written in five minutes: labels and probabilities of a pickled scikit-learn forest."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def predict(self, context, model_input, params=None):
        probabilities = self.pipeline.predict_proba(model_input)
        classes = self.pipeline.classes_
        columns = {f"probability_{label}": probabilities[:, i] for i, label in enumerate(classes)}
        labels = classes[probabilities.argmax(axis=1)]
        return pd.DataFrame({"prediction": labels, "probability": probabilities.max(axis=1)} | columns)
'''


# What a server that has to be quick does without.
HEAVY = ("mlflow", "pandas", "sklearn", "scipy", "pyarrow", "fastapi", "pydantic", "matplotlib")


@dataclass(frozen=True)
class Models:
    """Folders of two models of the same forest, and a row for them.

    Parameters
    ----------
    plain, ours : Path
        A cloudpickle pyfunc with a column signature; the model that this package logs.
    columns, row : list
        Names, and values of one row.
    n_nodes : int
        Of the forest.
    """

    plain: Path
    ours: Path
    columns: list[str]
    row: list[float]
    n_nodes: int

    def body(self, folder: Path, n_rows: int) -> Path:
        """File with `dataframe_split` of so many rows."""
        path = folder / f"body-{len(self.columns)}-{n_rows}.json"
        rng = np.random.default_rng(0)
        rows = [
            [float(v) for v in np.array(self.row) * rng.uniform(0.9, 1.1, len(self.row))]
            for _ in range(n_rows)
        ]
        path.write_text(json.dumps({"dataframe_split": {"columns": self.columns, "data": rows}}))
        return path


def make_models(folder: Path, dataset: str | int, n_estimators: int = 200, n_rows: int = 20_000) -> Models:
    """Fit a forest, on a built-in dataset or on made-up rows of so many columns, and save it both ways."""
    from proto_model.registry.tracking import quiet_mlflow

    quiet_mlflow()
    import mlflow.pyfunc
    import pandas as pd
    import pyarrow as pa
    from mlflow.models import infer_signature
    from sklearn.datasets import make_classification

    from proto_model.model import write_bundle
    from proto_model.registry.logged_model import CODE, example_rows, save_model
    from proto_model.registry.signature import rows_signature
    from proto_model.table import RawTable, encode, load_table, prepare
    from proto_model.training import make_pipeline

    if isinstance(dataset, str):
        data = prepare(load_table(dataset))
    else:
        X, y = make_classification(
            n_rows, dataset, n_informative=max(2, dataset // 3), flip_y=0.1, random_state=0
        )
        frame = pd.DataFrame(X, columns=[f"column_{i:03}" for i in range(dataset)]).assign(**{"class": y})
        table = pa.Table.from_pandas(frame, preserve_index=False)
        data = prepare(RawTable(f"made_{dataset}", "made up", table))
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=n_estimators)
    pipeline.fit(data.X_train, data.y_train)
    folder.mkdir(parents=True)
    logging.getLogger("mlflow.pyfunc").setLevel(logging.ERROR)  # that pickles are not safe is the point here
    write_bundle(folder / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
    module: dict[str, Any] = {"__name__": "__main__"}
    example = data.X_test.head(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(PLAIN, module)
        plain = module["PlainForest"](pipeline)
        save_model(
            folder / "ours",
            bundle=folder / "bundle",
            code=CODE / "forest.py",
            signature=rows_signature(data.schema),
            input_example=example_rows(encode(data.X_test, data.schema), data.schema),
        )
        mlflow.pyfunc.save_model(
            str(folder / "plain"),
            python_model=plain,
            signature=infer_signature(example, plain.predict(None, example)),
            pip_requirements=["mlflow", "scikit-learn", "pandas"],
        )
    n_nodes = sum(tree.tree_.node_count for tree in pipeline[-1].estimators_)
    row = [float(value) for value in data.X_test.iloc[0]]
    return Models(folder / "plain", folder / "ours", data.schema.feature_names, row, n_nodes)


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Parameters
    ----------
    url : str
        Of its `/invocations`.
    pid : int
        Its first process.
    start_s : float
        From its start to its first answer.
    """

    url: str
    pid: int
    start_s: float

    def memory_mb(self) -> float:
        """Resident memory of the largest of its processes."""
        return max(_memory_mb(pid) for pid in (self.pid, *descendants(self.pid)))


@contextmanager
def serving(kind: str, models: Models, folder: Path, mlserver: Path | None = None) -> Iterator[Server]:
    """One of the servers: `plain` and `ours` under `mlflow models serve`, `lean`, and `mlserver`."""
    port, *others = free_ports(3)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    if kind == "lean":
        command = [sys.executable, "-m", "proto_model", "serve", "-m", str(models.ours), "-p", str(port)]
    elif kind == "mlserver":
        assert mlserver is not None
        home = folder / f"mlserver-{port}"
        _write_mlserver_folder(home, models.ours, port, others)
        command = [str(mlserver), "start", str(home)]
    else:
        model = models.plain if kind == "plain" else models.ours
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "models",
            "serve",
            "-m",
            str(model),
            "--env-manager",
            "local",
        ]
        command += ["-h", "127.0.0.1", "-p", str(port)]
    url = f"http://127.0.0.1:{port}/invocations"
    body = models.body(folder, 1).read_bytes()
    begin = time.perf_counter()
    log = (folder / f"{kind}-{port}.log").open("w")
    with log, subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder) as process:
        try:
            wait_for_answer(url, body, process, Path(log.name))
            yield Server(url, process.pid, time.perf_counter() - begin)
        finally:
            pids = descendants(process.pid)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            for pid in pids:
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, 15)


def command(text: str) -> Path:
    """Path of a program, from a command line; servers run in folders of their own."""
    path = Path(text).absolute()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no program {text}")
    return path


def heavy_imports(models: Models, folder: Path) -> list[str]:
    """Those of `HEAVY` that the lean server imports until it has answered a row and 1000 of them."""
    [port] = free_ports(1)
    command = [sys.executable, "-X", "importtime", "-m", "proto_model", "serve", "-m", str(models.ours)]
    log = folder / "imports.log"
    with (
        log.open("w") as output,
        subprocess.Popen([*command, "-p", str(port)], stderr=output) as process,
    ):
        try:
            for n_rows in (1, 1000):
                body = models.body(folder, n_rows).read_bytes()
                wait_for_answer(f"http://127.0.0.1:{port}/invocations", body, process, log)
        finally:
            process.terminate()
    lines = [line for line in log.read_text().splitlines() if line.startswith("import time:")]
    packages = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "proto_model" in packages
    return sorted(packages.intersection(HEAVY))


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def wait_for_answer(url: str, body: bytes, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when a server answers a body; RuntimeError with its log if it has ended."""
    end = time.monotonic() + 300
    while True:
        try:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=30).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"no answer from {process.args}: {log.read_text()[-2000:]}") from error
            time.sleep(0.01)


def _write_mlserver_folder(home: Path, model: Path, port: int, others: list[int]) -> None:
    home.mkdir()
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(model / 'code')!r})\n"
        "from proto_model.serving.mlserver.runtime import ForestRuntime\n"
    )
    (home / "runtime.py").write_text(code)
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": others[0], "metrics_port": others[1]}
    (home / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0, "debug": False}))
    model_settings = {"name": "proto_model", "implementation": "runtime.ForestRuntime"}
    model_settings["parameters"] = {"uri": str(model)}
    (home / "model-settings.json").write_text(json.dumps(model_settings))


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [found for child in children for found in (int(child), *descendants(int(child)))]


def _memory_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)
