"""What deploy/ says of running services, asked of running services: probes, KServe's requests, metrics."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proto_model.cli import container
from tests.deploy.kustomization import DEPLOY, KUBERNETES, containers, rendered
from tests.file_servers import free_ports, get, post
from tests.terminal import background

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
ROW = {"sepal length (cm)": 6.1, "sepal width (cm)": 2.9, "petal length (cm)": 4.6, "petal width (cm)": 1.4}

# The entry point of an image, with another folder in the place of /mnt/models, which a test cannot mount.
CONTAINER = """
import pathlib, sys
from proto_model.cli import container
container.KSERVE = pathlib.Path(sys.argv[1])
sys.exit(container.main(sys.argv[2:]))
"""


class Services(NamedTuple):
    """Addresses of a model server and of the mapper before it."""

    model_server: str
    mapper: str


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a store that has versions of a model, the last of them the challenger."""
    folder = tmp_path_factory.mktemp("store")
    _run("-m", "proto_model", "train", "--dataset", "iris", "--n-candidates", "1", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def mounted(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/mnt/models as KServe's storage initializer leaves it: what lies at the URI that MLflow tells."""
    uri = _run(
        "-c",
        "import mlflow; client = mlflow.MlflowClient();"
        "version = client.get_model_version_by_alias('proto_model', 'challenger').version;"
        "print(client.get_model_version_download_uri('proto_model', version))",
        cwd=store,
    ).strip()
    source = store / uri if not uri.startswith("file:") else Path(uri.removeprefix("file://"))
    return Path(shutil.copytree(source, tmp_path_factory.mktemp("mnt") / "models"))


@pytest.fixture(scope="module")
def services(mounted: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Both services, started as their containers' entry points start them, with the manifests' options."""
    logs = tmp_path_factory.mktemp("logs")
    port, mapper_port = map(str, free_ports(2))
    urls = Services(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{mapper_port}")
    runtime, _ = rendered(DEPLOY / "kserve")
    args = containers(runtime)[0]["args"]
    assert Path("/mnt/models") == container.KSERVE
    environment = os.environ | {"PORT": port, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            background(
                [sys.executable, "-c", CONTAINER, str(mounted), *args, "--host", "127.0.0.1"],
                f"{urls.model_server}/ping", logs, environment, logs,
            )
        )  # fmt: skip
        (mapper,) = (one for one in _deployments() if one["metadata"]["name"] == "mapper")
        (one,) = containers(mapper)
        variables = {item["name"]: item["value"] for item in one["env"]} | {
            "MAPPER_MODEL_SERVER_URL": urls.model_server,
            "MAPPER_SCHEMA": str(mounted / "mapper" / "schema.json"),
            "MAPPER_PORT": mapper_port,
        }
        stack.enter_context(
            background(
                [sys.executable, "-m", "mapper", *one["args"]],
                f"{urls.mapper}/readyz", logs, environment | variables, logs,
            )
        )  # fmt: skip
        yield urls


def test_every_probe_is_answered(services: Services):
    runtime, _ = rendered(DEPLOY / "kserve")
    asked = 0
    for resource in [*_deployments(), runtime]:
        url = services.mapper if resource["metadata"]["name"] == "mapper" else services.model_server
        (one,) = containers(resource)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            with urllib.request.urlopen(url + one[probe]["httpGet"]["path"], timeout=30) as answer:
                assert answer.status == 200
            asked += 1
    assert asked == 9


def test_a_model_that_kserve_mounts_answers_as_kserve_asks(services: Services):
    url = services.model_server
    described = json.loads(get(f"{url}/v2/models/proto_model"))
    inputs = [
        {"name": name, "datatype": "FP64", "shape": [1, 1], "data": [value]} for name, value in ROW.items()
    ]

    status, answer = post(f"{url}/v2/models/proto_model/infer", {"id": "7", "inputs": inputs})

    assert get(f"{url}/v2/models/proto_model/ready") is not None
    assert {column["name"] for column in described["inputs"]} == set(ROW)
    assert status == 200
    assert answer["id"] == "7"
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    _, plain = post(f"{url}/invocations", {"dataframe_records": [ROW]})
    assert outputs["prediction"] == [plain["predictions"][0]["prediction"]]
    assert outputs["probability"] == [plain["predictions"][0]["probability"]]


def _deployments() -> list[dict[str, Any]]:
    resources = rendered(KUBERNETES / "overlays" / "production")
    return [resource for resource in resources if resource["kind"] == "Deployment"]


def _run(*command: str | Path, cwd: Path, **variables: str) -> str:
    variables["MLFLOW_TRACKING_URI"] = f"sqlite:///{cwd / 'mlflow.db'}"
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
