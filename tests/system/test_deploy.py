"""What deploy/ says of running services, asked of running services: probes, KServe's requests, metrics."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import pytest
import yaml

from proto_model.cli import container
from proto_model.serving.http.metrics import STATUSES
from tests.certificates import Authority
from tests.deploy.dashboard import METRIC, SCRAPED, asked, expressions, panels
from tests.deploy.kustomization import ACCESS, DEPLOY, KUBERNETES, containers, rendered
from tests.deploy.published import promtool
from tests.file_servers import get, post
from tests.ports import free_ports
from tests.terminal import background
from tests.trainings import trained_in

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
ROW = {"sepal length (cm)": 6.1, "sepal width (cm)": 2.9, "petal length (cm)": 4.6, "petal width (cm)": 1.4}

MISSING = [tool for tool in ("mmdebstrap", "skopeo") if shutil.which(tool) is None]
# The entry point of an image, with another folder in the place of /mnt/models, which a test cannot mount.
CONTAINER = """
import pathlib, sys
from proto_model.cli import container
container.KSERVE = pathlib.Path(sys.argv[1])
sys.exit(container.main(sys.argv[2:]))
"""


class Services(NamedTuple):
    """Addresses of a model server and of the mapper before it, and of their ports for health."""

    model_server: str
    mapper: str
    model_server_health: str
    mapper_health: str


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a store that has versions of a model, the last of them the challenger."""
    folder = tmp_path_factory.mktemp("store")
    trained_in(folder, "--dataset", "iris")
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
    ports = port, mapper_port, health_port, mapper_health_port = [str(free) for free in free_ports(4)]
    urls = Services(*(f"http://127.0.0.1:{port}" for port in ports))
    runtime, _ = rendered(DEPLOY / "kserve")
    args = containers(runtime)[0]["args"]
    assert Path("/mnt/models") == container.KSERVE
    environment = os.environ | {"PORT": port, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    here = ["--host", "127.0.0.1", "--health-port", health_port]
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            background(
                [sys.executable, "-c", CONTAINER, str(mounted), *args, *here],
                f"{urls.model_server}/ping", logs, environment, logs,
            )
        )  # fmt: skip
        (mapper,) = (one for one in _deployments() if one["metadata"]["name"] == "mapper")
        (one,) = containers(mapper)
        variables = {item["name"]: item["value"] for item in one["env"]} | {
            "MAPPER_MODEL_SERVER_URL": urls.model_server,
            "MAPPER_SCHEMA": str(mounted / "mapper" / "schema.json"),
            "MAPPER_PORT": mapper_port,
            "MAPPER_HEALTH_PORT": mapper_health_port,
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
        (one,) = containers(resource)
        by_port = {8080: services.model_server, "health": services.model_server_health}
        if resource["metadata"]["name"] == "mapper":
            by_port = {"health": services.mapper_health}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asks = one[probe]["httpGet"]
            with urllib.request.urlopen(by_port[asks["port"]] + asks["path"], timeout=30) as answer:
                assert answer.status == 200
            asked += 1
    assert asked == 9


def test_with_the_component_clients_need_a_token_and_the_mapper_has_its_own(mounted: Path, tmp_path: Path):
    port, mapper_port, health_port, mapper_health_port = [str(free) for free in free_ports(4)]
    secrets, app, own = tmp_path / "run", "a" * 32, "m" * 32
    for name, text in {
        "access/tokens": f"app: {app}\nmapper: {own}\n",
        "model/token": f"mapper: {own}\n",
    }.items():
        (secrets / name).parent.mkdir(parents=True)
        (secrets / name).write_text(text)
        (secrets / name).chmod(0o440)
    (secrets / "tls").mkdir()
    authority = Authority.made(secrets / "model", "ca")
    (secrets / "model/ca.pem").rename(secrets / "model/ca.crt")
    for issued, name in zip(authority.issue("server"), ("crt", "key"), strict=True):
        issued.rename(secrets / f"tls/tls.{name}")
    resources = rendered(KUBERNETES / "overlays" / "production", ACCESS)
    deployed = {one["metadata"]["name"]: containers(one)[0] for one in resources if containers(one)}
    server = [arg.replace("/run/", f"{secrets}/") for arg in deployed["model-server"]["args"]]
    variables = {
        item["name"]: item["value"].replace("/run/", f"{secrets}/") for item in deployed["mapper"]["env"]
    }
    assert variables["MAPPER_MODEL_SERVER_URL"] == "https://model-server"
    variables |= {
        "MAPPER_MODEL_SERVER_URL": f"https://127.0.0.1:{port}",
        "MAPPER_SCHEMA": str(mounted / "mapper" / "schema.json"),
        "MAPPER_PORT": mapper_port,
        "MAPPER_HEALTH_PORT": mapper_health_port,
    }
    environment = os.environ | {"PORT": port, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"} | variables
    here = ["--host", "127.0.0.1", "--health-port", health_port]
    context = ssl.create_default_context(cafile=str(secrets / "model/ca.crt"))

    def asked(token: str) -> int:
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {token}"} if token else {}
        )
        url = f"https://localhost:{mapper_port}/v1/predict"
        request = urllib.request.Request(url, json.dumps({"data": ROW}).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    with (
        background(
            [sys.executable, "-c", CONTAINER, str(mounted), *server, *here],
            f"http://127.0.0.1:{health_port}/ping", tmp_path, environment, tmp_path,
        ),
        background(
            [sys.executable, "-m", "mapper", *deployed["mapper"]["args"]],
            f"http://127.0.0.1:{mapper_health_port}/readyz", tmp_path, environment, tmp_path,
        ),
    ):  # fmt: skip
        assert [asked(app), asked(""), asked("x" * 32)] == [200, 401, 401]
        assert "mapper_client_requests_total" in get(f"http://127.0.0.1:{mapper_health_port}/metrics")
        counted = get(f"http://127.0.0.1:{health_port}/metrics")
        assert 'proto_model_client_requests_total{client="mapper"}' in counted


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
    server, mapper, *health = services
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
    return "".join(get(f"{url}/metrics") for url in health)


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


@pytest.fixture(scope="module")
def prometheus(services: Services, pages: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Prometheus that asks both services as deploy/ has it, but every second."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed (.ci/run unpacks it from Debian's package)")
    folder = tmp_path_factory.mktemp("prometheus")
    settings = yaml.safe_load((DEPLOY / "monitoring" / "prometheus.yaml").read_text())
    shutil.copy(DEPLOY / "monitoring" / "rules.yaml", folder)
    settings["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    jobs = {"model-server": services.model_server_health, "mapper": services.mapper_health}
    settings["scrape_configs"] = [job for job in settings["scrape_configs"] if job["job_name"] in jobs]
    for job in settings["scrape_configs"]:
        job["static_configs"] = [{"targets": [jobs[job["job_name"]].removeprefix("http://")]}]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = ["prometheus", "--config.file=prometheus.yaml", "--storage.tsdb.path=data"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    with background(command, f"{url}/-/ready", folder, dict(os.environ), folder):
        yield url


def test_every_panel_shows_something_of_services_that_are_used(services: Services, prometheus: str):
    body, rejected = {"data": ROW}, {"data": ROW | {"petal width (cm)": "wide"}}
    left = panels()
    end = time.monotonic() + 90
    while left:
        assert time.monotonic() < end, "\n".join(f"{title}: {query}" for title, query in left)
        for _ in range(5):
            assert post(f"{services.mapper}/v1/predict", body)[0] == 200
            assert post(f"{services.mapper}/v1/explain", body)[0] == 200
        assert post(f"{services.mapper}/v1/predict", {"data": ROW | {"petal width (cm)": 1000}})[0] == 200
        assert post(f"{services.mapper}/v1/predict", rejected)[0] == 422
        assert post(f"{services.model_server}/invocations", {"dataframe_records": [{}]})[0] == 400
        left = [(title, query) for title, query in left if not _values(prometheus, query)]


def test_no_alert_fires_about_services_that_are_well(prometheus: str):
    rules = json.loads(get(f"{prometheus}/api/v1/rules"))["data"]["groups"][0]["rules"]

    assert len(rules) >= 6
    assert [rule.get("lastError", "") for rule in rules] == [""] * len(rules)
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


def _values(prometheus: str, query: str) -> list[float]:
    """Numbers that a query gives now."""
    found = json.loads(get(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"))
    assert found["status"] == "success", found
    values = [float(item["value"][1]) for item in found["data"]["result"]]
    return [value for value in values if not math.isnan(value)]


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


def test_a_dry_run_says_what_it_would_do_and_does_nothing(store: Path, tmp_path: Path):
    done = _released(store, tmp_path, "--registry", "registry.example.com/iris", "--dry-run")

    assert done.returncode == 0, done.stderr
    assert "is version 3 of proto_model" in done.stderr
    assert "would test, build and push registry.example.com/iris/model-server:3" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert _deployed(store) == {}


def test_without_debians_tools_a_release_is_tested_and_leaves_the_building_to_docker(
    store: Path, tmp_path: Path
):
    done = _released(store, tmp_path, "--registry", "registry.example.com/iris", "--context")

    assert done.returncode == 0, done.stderr
    assert "Model server: serves version 3\nModel server: predicts\nMapper: predicts\n" in done.stderr
    for image in ("model-server", "mapper"):
        folder = tmp_path / "work" / "staging" / image
        assert (folder / "Dockerfile").is_file()
        assert f"docker build --push -t registry.example.com/iris/{image}:3 {folder}" in done.stdout


def test_an_environment_without_manifests_is_told(store: Path, tmp_path: Path):
    done = _released(store, tmp_path, "--registry", "registry.example.com", "-e", "prod")

    assert done.returncode == 1
    assert "DEPLOYMENT_ENV to one of: production, staging." in done.stderr


@pytest.mark.images
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (apt-get install)")
def test_a_release_goes_into_a_folder_in_place_of_a_registry_and_is_noted(store: Path, tmp_path: Path):
    registry = tmp_path / "registry"

    done = _released(store, tmp_path, "--registry", f"oci:{registry}", "--wait", "90s")

    assert done.returncode == 0, done.stderr
    images = dict(line.split("@") for line in done.stdout.splitlines())
    for image in ("model-server", "mapper"):
        index = json.loads((registry / image / "index.json").read_text())
        assert [one["digest"] for one in index["manifests"]] == [images[f"registry/{image}"]]
        assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "3"
    work = tmp_path / "work" / "staging"
    deployments = [one for one in rendered(work) if one["kind"] == "Deployment"]
    assert {containers(one)[0]["image"] for one in deployments} == {
        f"{name}@{digest}" for name, digest in images.items()
    }
    status = "rollout status deployment/{} --namespace proto-model-staging --timeout=90s"
    assert (tmp_path / "kubectl.log").read_text().splitlines() == [
        f"apply --kustomize {work}",
        status.format("model-server"),
        status.format("mapper"),
    ]
    assert _deployed(store) == {"3": f"registry/model-server@{images['registry/model-server']}"}


def _released(store: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`release` of the challenger into staging, with a kubectl that notes what it is asked and agrees."""
    programs = store / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "kubectl").write_text(f'#!/bin/sh\necho "$@" >> {folder}/kubectl.log\n')
    (programs / "kubectl").chmod(0o755)
    command = ["-m", "proto_model", "release", "-m", "models:/proto_model@challenger"]
    command += ["--overlays", str(KUBERNETES / "overlays"), "--work", str(folder / "work"), *options]
    environment = os.environ | {
        "DEPLOYMENT_ENV": "staging",
        "MLFLOW_TRACKING_URI": f"sqlite:///{store / 'mlflow.db'}",
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(
        [sys.executable, *command], cwd=store, env=environment, capture_output=True, text=True
    )


def _deployed(store: Path) -> dict[str, str]:
    """Image of each version that runs in staging."""
    client = mlflow.MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    versions = client.search_model_versions("name = 'proto_model'")
    return {
        str(one.version): one.tags["deployed_staging"] for one in versions if "deployed_staging" in one.tags
    }


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
