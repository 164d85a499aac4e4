"""Images as others' tools see them: skopeo reads them, umoci unpacks them, runc runs them.

The containers run as the image says, with a read-only root file system and without capabilities, in the
network of this machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from proto_model.deployment.image.build import release_here
from tests.certificates import Authority
from tests.ports import free_ports
from tests.stores import fresh_store

TOOLS = ("mmdebstrap", "skopeo", "umoci", "runc")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.images,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (apt-get install)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="runc needs root here"),
]

ROW = {"sepal length (cm)": 6.1, "sepal width (cm)": 2.9, "petal length (cm)": 4.6, "petal width (cm)": 1.4}
BODY = json.dumps({"dataframe_records": [ROW], "params": {"explain": True}}).encode()
LIMIT_S = 180.0  # MLflow's server imports for long
HEALTH = ("/usr/bin/python3", "-P", "/opt/code/proto_model/serving/http/alive.py", "/ping", "PORT")


class Built(NamedTuple):
    """An image and what the command printed about it."""

    path: Path
    digest: str


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a store that has versions of a model, the last of them the challenger."""
    folder = tmp_path_factory.mktemp("store")
    fresh_store(folder)
    _run(sys.executable, "-m", "proto_model", "train", "--dataset", "iris", "--n-candidates", "1", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def lean(store: Path) -> Built:
    return _built(store, "lean.tar", "-t", "iris:3")


@pytest.fixture(scope="module")
def mapper(store: Path) -> Built:
    return _built(store, "mapper.tar", "--server", "mapper")


def test_the_same_version_gives_the_same_digest(lean: Built, store: Path):
    assert _built(store, "again.tar", "-t", "iris:3").digest == lean.digest


def test_others_read_it_and_it_is_small(lean: Built, mapper: Built):
    shown, other = _inspected(lean), _inspected(mapper)

    assert shown["Digest"] == lean.digest
    assert shown["Labels"]["org.opencontainers.image.version"] == "3"
    assert re.fullmatch("[0-9a-f]{16}", shown["Labels"]["proto_model.schema_digest"])
    assert other["Labels"]["proto_model.server"] == "mapper"
    # Compressed: what a registry stores, and a node downloads.
    assert _compressed(lean) <= 100e6
    assert _compressed(mapper) <= 40e6


def test_there_is_no_shell_no_package_manager_and_no_compiler_in_it(
    lean: Built, mapper: Built, tmp_path: Path
):
    for image in (lean, mapper):
        root = _unpacked(image, tmp_path / image.path.stem) / "rootfs"
        programs = {path.name for path in root.rglob("*") if path.parent.name in ("bin", "sbin")}

        assert {name for name in programs if not re.fullmatch(r"python3[.0-9]*", name)} == set()
        assert not any(root.rglob("pip"))
        assert not any(root.rglob("ensurepip"))
        text = (root / "usr/share/sbom/bom.cdx.json").read_text()
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
        assert {"libc6", "orjson"} <= {component["name"] for component in json.loads(text)["components"]}


def test_it_answers_read_only_without_rights_and_ends_when_it_is_told_to(lean: Built, tmp_path: Path):
    with _running(lean, tmp_path) as container:
        user, capabilities = _rights(container)
        answer = container.post("/invocations", BODY)
        scored = container.post("/score", BODY)

        assert user == 65532
        assert capabilities == 0
        assert answer["predictions"][0]["explanation"]["rule"]["premises"]
        assert scored == answer
        assert container.get("/v2/health/ready") is not None
        assert container.health() == 0
        assert container.ended(signal.SIGTERM) == 0


def test_its_health_check_needs_no_token_and_no_certificate(lean: Built, tmp_path: Path):
    folder = tmp_path / "access"
    folder.mkdir(mode=0o755)
    Authority.made(folder).issue("server")
    (folder / "tokens").write_text("somebody: " + "t" * 32)
    for name in ("tokens", "server-key.pem"):
        os.chown(folder / name, 65532, 65532)
        (folder / name).chmod(0o400)
    mount = {"destination": "/run/access", "type": "bind", "source": str(folder), "options": ["rbind", "ro"]}
    variables = [
        "PROTO_MODEL_TOKEN_FILE=/run/access/tokens",
        "PROTO_MODEL_OPEN=none",
        "PROTO_MODEL_TLS_CERT=/run/access/server.pem",
        "PROTO_MODEL_TLS_KEY=/run/access/server-key.pem",
        "PROTO_MODEL_TLS_CLIENT_CA=/run/access/authority.pem",
    ]

    (tmp_path / "container").mkdir()
    with _running(lean, tmp_path / "container", mount, variables=variables, health="") as container:
        with pytest.raises(urllib.error.HTTPError, match="400"):
            container.get("/ping")
        assert container.health() == 0


def test_a_model_that_a_platform_mounts_is_served_instead(lean: Built, store: Path, tmp_path: Path):
    _run(
        sys.executable, "-m", "mlflow", "artifacts", "download", "-u", "models:/proto_model/1",
        "-d", tmp_path / "other", cwd=store, MLFLOW_TRACKING_URI=f"sqlite:///{store / 'mlflow.db'}",
    )  # fmt: skip
    folder = next((tmp_path / "other").rglob("MLmodel")).parent
    mount = {
        "destination": "/opt/ml/model",
        "type": "bind",
        "source": str(folder),
        "options": ["rbind", "ro"],
    }

    with _running(lean, tmp_path, mount) as container:
        assert container.get("/v2/models/proto_model")["versions"] == ["1"]


def test_a_mapper_in_an_image_answers_for_a_server_in_another(lean: Built, mapper: Built, tmp_path: Path):
    (tmp_path / "lean").mkdir()
    (tmp_path / "mapper").mkdir()
    with _running(lean, tmp_path / "lean") as server:
        variables = [f"MAPPER_MODEL_SERVER_URL=http://127.0.0.1:{server.port}"]
        with _running(mapper, tmp_path / "mapper", variables=variables, health="/healthz") as service:
            answer = service.post("/v1/predict", json.dumps({"data": ROW}).encode())

    assert answer["predictions"][0]["prediction"] in (0, 1, 2, "setosa", "versicolor", "virginica")


@pytest.mark.parametrize("server", ["mlflow", "mlserver"])
def test_the_other_servers_answer_as_well(store: Path, tmp_path: Path, server: str):
    image = _built(store, f"{server}.tar", "--server", server)
    temporary = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]}

    with _running(image, tmp_path, temporary) as container:
        (row,) = container.post("/invocations", BODY)["predictions"]

        assert row["explanation"]["rule"]["premises"]
        assert _rights(container) == (65532, 0)
        assert container.health() == 0
        assert container.ended(signal.SIGTERM) == 0
    assert _compressed(image) <= 400e6


def test_it_is_pushed_as_it_is(lean: Built, store: Path, tmp_path: Path):
    from proto_model.deployment.image.push import push

    push(lean.path, f"oci:{tmp_path / 'registry'}:3", lambda text: None)

    index = json.loads((tmp_path / "registry/index.json").read_text())
    assert index["manifests"][0]["digest"] == lean.digest


def _run(*command: str | Path, cwd: Path | None = None, **variables: str) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _built(store: Path, name: str, *options: str) -> Built:
    command = ["image", "-m", "models:/proto_model@challenger", "--out", str(store / name), *options]
    done = subprocess.run(
        [sys.executable, "-m", "proto_model", *command],
        cwd=store,
        env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{store / 'mlflow.db'}"},
        capture_output=True,
        text=True,
    )
    if "mmdebstrap ended with" in done.stderr and (fault := _fault_of_mirror()):
        pytest.skip(f"Debian's mirror does not answer: {fault}")
    assert done.returncode == 0, done.stderr[-3000:]
    return Built(store / name, done.stdout.strip())


def _fault_of_mirror() -> str:
    """What mmdebstrap says when it reads the lists of packages alone; empty if it can."""
    command = ["mmdebstrap", "--simulate", "--variant=extract", release_here().suite, "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr.strip()[-500:] or "no reason given" if done.returncode else ""


def _inspected(image: Built) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_run("skopeo", "inspect", f"oci-archive:{image.path}"))
    return found


def _compressed(image: Built) -> int:
    """Bytes of the layers."""
    manifest = json.loads(_run("skopeo", "inspect", "--raw", f"oci-archive:{image.path}"))
    return sum(layer["size"] for layer in manifest["layers"])


def _unpacked(image: Built, folder: Path) -> Path:
    """Folder of a bundle for runc."""
    _run("skopeo", "copy", "-q", f"oci-archive:{image.path}", f"oci:{folder}-layout:image")
    _run("umoci", "unpack", "--image", f"{folder}-layout:image", folder)
    return folder


class Container:
    """A container that runs, and the port of its service."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes]) -> None:
        self.name, self.port, self.process = name, port, process

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=LIMIT_S) as answer:
            return json.loads(answer.read().strip() or b"null") or {}

    def post(self, path: str, body: bytes) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return json.load(answer)

    def pid(self) -> int:
        return int(json.loads(_run("runc", "state", self.name))["pid"])

    def health(self) -> int:
        """Exit code of the image's health check."""
        return subprocess.run(["runc", "exec", self.name, *HEALTH]).returncode

    def ended(self, number: int) -> int:
        _run("runc", "kill", self.name, str(number))
        return self.process.wait(LIMIT_S)


@contextmanager
def _running(
    image: Built,
    folder: Path,
    *mounts: dict[str, Any],
    variables: list[str] | None = None,
    health: str = "/ping",
) -> Iterator[Container]:
    bundle = _unpacked(image, folder / "bundle")
    (port,) = free_ports(1)
    config = json.loads((bundle / "config.json").read_text())
    named = "MAPPER_PORT" if health == "/healthz" else "PORT"
    config["process"] |= {"terminal": False, "capabilities": {}, "rlimits": []}
    config["process"]["env"] += [f"{named}={port}", *(variables or [])]
    config["root"]["readonly"] = True
    kept = [mount for mount in config["mounts"] if mount["destination"] in ("/proc", "/dev")]
    config["mounts"] = [*kept, *mounts]
    spaces = config["linux"]["namespaces"]
    config.pop("hostname", None)
    config["linux"] = {"namespaces": [space for space in spaces if space["type"] in ("pid", "mount", "ipc")]}
    (bundle / "config.json").write_text(json.dumps(config))
    name = f"proto-model-{os.getpid()}-{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["runc", "run", "-b", bundle, name], stdout=log, stderr=log)
    container = Container(name, port, process)
    try:
        _wait(container, health, folder / "log")
        yield container
    finally:
        if process.poll() is None:
            subprocess.run(["runc", "kill", name, "KILL"], capture_output=True)
            process.wait(LIMIT_S)


def _wait(container: Container, path: str, log: Path) -> None:
    end = time.monotonic() + LIMIT_S
    while not _answers(container, path):
        said = log.read_text(errors="replace")[-2000:]
        assert container.process.poll() is None, f"ended: {said}"
        assert time.monotonic() < end, f"no answer: {said}"
        time.sleep(0.05)


def _answers(container: Container, path: str) -> bool:
    """Whether it does at a path, or says so of itself if there is none."""
    if not path:
        return container.health() == 0
    try:
        container.get(path)
    except OSError:
        return False
    return True


def _rights(container: Container) -> tuple[int, int]:
    """User and effective capabilities of the container's first process."""
    status = Path(f"/proc/{container.pid()}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["Uid"].split()[0]), int(fields["CapEff"], 16)
