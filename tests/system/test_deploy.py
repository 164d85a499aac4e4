"""What deploy/ says of running services, asked of running services: probes, KServe's requests, metrics."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proto_model.cli import container
from proto_model.serving.http.metrics import STATUSES
from tests.deploy.dashboard import METRIC, SCRAPED, asked, expressions
from tests.deploy.kustomization import DEPLOY, KUBERNETES, containers, rendered
from tests.deploy.published import promtool
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


@pytest.fixture(scope="module")
def pages(services: Services) -> str:
    """What Prometheus scrapes from both services after requests of every kind, right and wrong."""
    server, mapper = services
    inputs = [
        {"name": name, "datatype": "FP64", "shape": [1, 1], "data": [value]} for name, value in ROW.items()
    ]
    expected = [
        (post(f"{server}/invocations", {"dataframe_records": [ROW]}), 200),
        (post(f"{server}/invocations", {"dataframe_records": [ROW | {"petal width (cm)": "wide"}]}), 400),
        (post(f"{server}/v2/models/proto_model/infer", {"inputs": inputs}), 200),
        (post(f"{mapper}/v1/predict", {"data": ROW}), 200),
        (post(f"{mapper}/v1/predict", {"data": ROW | {"petal width (cm)": 1000}}), 200),
        (post(f"{mapper}/v1/predict", {"data": {"petal width (cm)": "wide"}}), 422),
        (post(f"{mapper}/v1/explain", {"data": ROW}), 200),
    ]
    assert [status for (status, _), _ in expected] == [status for _, status in expected]
    return get(f"{server}/metrics") + get(f"{mapper}/metrics")


def test_every_query_asks_for_metrics_that_running_services_have(pages: str):
    samples: dict[str, list[dict[str, str]]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", pages, re.MULTILINE):
        samples.setdefault(name, []).append(dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)))

    n_asked = 0
    for name, matchers in asked():
        assert name in samples, f"no service has {name}"
        known = {label for sample in samples[name] for label in sample}
        for label, operator, value in matchers:
            assert label in known | SCRAPED, f"{name} has no label {label}"
            if label in known and label != "status":
                assert operator in ("=", "=~")
                pattern = value if operator == "=~" else re.escape(value)
                assert any(re.fullmatch(pattern, sample.get(label, "")) for sample in samples[name]), (
                    f"no sample of {name} has {label}{operator}{value}"
                )
        n_asked += 1
    assert n_asked >= 25
    for expression in expressions():
        of_all = {
            label for match in METRIC.finditer(expression) for sample in samples[match[1]] for label in sample
        }
        for grouping in re.findall(r"by \(([^)]*)\)", expression):
            assert set(re.split(r",\s*", grouping)) <= of_all | SCRAPED, expression


def test_every_status_that_queries_name_is_one_that_the_services_count(pages: str):
    for name, matchers in asked():
        for label, _, value in matchers:
            if label == "status" and name.startswith("proto_model"):
                assert any(re.fullmatch(value, str(status)) for status in STATUSES), value
                assert all(
                    any(re.fullmatch(part, str(status)) for status in STATUSES) for part in value.split("|")
                ), value


def test_prometheus_finds_no_fault_in_the_metrics(services: Services, pages: str):
    for url in services:
        done = promtool("check", "metrics", given=get(f"{url}/metrics"))

        assert done.returncode == 0, done.stdout + done.stderr


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
