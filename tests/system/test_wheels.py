"""Both wheels, each in an environment of its own: they serve without the libraries that made the model."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.environments import make, run_uv
from tests.ports import free_ports
from tests.terminal import START_S
from tests.trainings import as_in, trained_in

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"mlflow", "mlflow-skinny", "pandas", "scikit-learn", "scipy", "pyarrow", "skops"}
# Run against the wheels in a folder without src/ and mapper/.
SUITES = ("tests/mapper/mapping", "tests/mapper/model_server", "tests/proto_model/forest")
# Of the forests, without the two that take most of the time: more examples of the same functions.
LEFT_OUT = "not random_small_forests and not alone_and_among_others"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Path of a wheel by the name of its package, built by way of a source archive."""
    dist = tmp_path_factory.mktemp("dist")
    for project in (ROOT, ROOT / "mapper"):
        _run(sys.executable, "-m", "build", "--installer", "uv", "--outdir", dist, project)
    return {name: next(dist.glob(f"proto_model_{name}-*.whl")) for name in ("turbo", "mapper")}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version as it is downloaded from the registry."""
    folder = tmp_path_factory.mktemp("model")
    with as_in(folder, trained_in(folder, "--dataset", "iris")):
        mlflow.artifacts.download_artifacts(
            "models:/proto_model@challenger", dst_path=str(folder / "version")
        )
    return next(folder.joinpath("version").rglob("MLmodel")).parent


@pytest.fixture(scope="module")
def environments(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder with the programs of an environment, by the name of the only package installed there."""
    programs = {}
    for name, extra in (("turbo", "[serve]"), ("mapper", "")):
        folder = tmp_path_factory.mktemp(name)
        programs[name] = folder / "bin"
        make(folder, f"{wheels[name]}{extra}", constraints=ROOT / "constraints.txt")
        run_uv("pip", "check", "--python", str(programs[name] / "python"))
    return programs


def test_they_serve_a_downloaded_version_without_the_libraries_that_made_it(
    environments: dict[str, Path], model: Path, tmp_path: Path
) -> None:
    for name, programs in environments.items():
        listed = run_uv("pip", "list", "--format", "json", "--python", str(programs / "python"))
        installed = {package["name"].lower() for package in json.loads(listed)}
        assert not installed & HEAVY
        _report(name, programs, installed)

    server_url, mapper_url = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    schema = model / "mapper" / "schema.json"
    features = json.loads(schema.read_text())["features"]
    body = {"data": {feature["name"]: feature["median"] for feature in features}}
    serve = [environments["turbo"] / "proto-model", "serve", "-m", model, "-p", server_url.rpartition(":")[2]]
    front = [environments["mapper"] / "proto-mapper", "serve", "--schema", schema]
    front += ["--model-server-url", server_url, "--port", mapper_url.rpartition(":")[2]]
    with _serving(serve, f"{server_url}/ping", tmp_path), _serving(front, f"{mapper_url}/readyz", tmp_path):
        predicted = _post(f"{mapper_url}/v1/predict", body)["predictions"][0]
        explained = _post(f"{mapper_url}/v1/explain", body)["predictions"][0]
        parquet = {"Content-Type": "application/vnd.apache.parquet"}
        request = urllib.request.Request(f"{server_url}/invocations", b"PAR1", parquet)
        with pytest.raises(urllib.error.HTTPError, match="415") as refused:  # without the extra `files`
            urllib.request.urlopen(request, timeout=60)
        assert "pyarrow is not installed" in json.load(refused.value)["message"]

    assert predicted["prediction"] in ("setosa", "versicolor", "virginica")
    assert explained["prediction"] == predicted["prediction"]
    assert explained["explanation"]["rule"]["text"].startswith("IF ")


@pytest.mark.long
def test_a_part_of_the_suite_passes_against_the_wheels(wheels: dict[str, Path], tmp_path: Path) -> None:
    site, copy = tmp_path / "site", tmp_path / "copy"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps")
    _run(*pip, "--target", site, *wheels.values())
    for name in ("tests", "schemas", "scripts"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)

    found = "import mapper, proto_model; print(mapper.__file__, proto_model.__file__)"
    files = _run(sys.executable, "-c", found, cwd=copy, PYTHONPATH=str(site)).split()
    assert all(Path(file).is_relative_to(site) for file in files)
    pytest_ = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITES)
    shown = _run(*pytest_, "-m", "not system", "-k", LEFT_OUT, cwd=copy, PYTHONPATH=str(site))

    assert " passed" in shown
    assert " failed" not in shown


def _run(*command: object, cwd: Path = ROOT, **variables: str) -> str:
    """What a command prints."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=_environment() | variables,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def _environment() -> dict[str, str]:
    own = ("PYTHON", "MLFLOW_", "MAPPER_", "PROTO_MODEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


def _report(name: str, programs: Path, installed: set[str]) -> None:
    """Print what the environment weighs and how long the package takes to import."""
    [site] = programs.parent.glob("lib/python*/site-packages")
    tools = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
    files = [path for path in site.rglob("*") if path.relative_to(site).parts[0].split("-")[0] not in tools]
    mebibytes = sum(path.stat().st_size for path in files if path.is_file()) / 2**20
    module = {"turbo": "proto_model.serving.http", "mapper": "mapper"}[name]
    code = f"import time; a = time.perf_counter(); import {module}; print(time.perf_counter() - a)"
    seconds = min(float(_run(programs / "python", "-c", code)) for _ in range(3))
    print(f"{name}: {len(installed)} packages, {mebibytes:.0f} MiB; import {module}: {seconds:.3f} s")


@contextlib.contextmanager
def _serving(command: list[Any], ready_url: str, folder: Path) -> Iterator[None]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [str(word) for word in command], cwd=folder, env=_environment(), stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_S
        while not _answers(ready_url):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(30)
    assert "Traceback" not in log.read_text()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer
