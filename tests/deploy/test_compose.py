"""compose.yaml, and what Prometheus and Grafana get: their own checkers, and that nothing is open to all."""

from __future__ import annotations

import configparser
import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import mlflow.cli
import pytest
import yaml
from mlflow.server.security_utils import is_allowed_host_header

from mapper.http.settings import PREFIX, MapperSettings
from proto_model.cli import container, serve
from proto_model.files.transfer.settings import PREFIX as FILES
from proto_model.files.transfer.settings import FileSettings
from tests.deploy.dashboard import expressions
from tests.deploy.kustomization import DEPLOY, KUBERNETES, ROOT, documents
from tests.deploy.published import compose_schema, promtool

VARIABLE = re.compile(r"\$\{(\w+)(:[?-][^}]*)?\}")
TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
OUR_OWN = ("model-server", "file-server", "mapper")


def test_it_fits_the_schema_of_the_specification():
    schema = compose_schema()
    content = {key: value for key, value in COMPOSE.items() if key != "name"}  # is younger than the schema

    jsonschema.Draft7Validator(schema).validate(content)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate({"services": {"mapper": {"img": "mapper:1"}}})


def test_every_port_is_on_this_machine_only():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert len(ports) == len(set(ports)) >= 6
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert not any(service.get("network_mode") == "host" for service in SERVICES.values())


def test_every_image_has_a_version_and_every_password_is_asked_for():
    for name, service in SERVICES.items():
        if name not in OUR_OWN:
            assert re.fullmatch(r"[a-z./]+:v?\d+\.\d+[\w.-]*", service["image"]), name
    listed = re.findall(r"^(\w+)=(.*)$", (DEPLOY / ".env.example").read_text(), re.MULTILINE)
    examples = dict(listed)
    used = {match[1]: match[2] or "" for match in VARIABLE.finditer(TEXT)}
    assert set(used) == set(examples)
    assert {name for name, rest in used.items() if not rest.startswith(":?")} == {"FILE_SERVER_IMAGE"}
    assert not any(examples[name] for name in examples if name.endswith(("PASSWORD", "KEY")))


def test_every_option_is_known_to_what_runs():
    for name in ("model-server", "file-server"):
        given = container.build_parser().parse_args(SERVICES[name]["command"])
        assert (
            _seconds(SERVICES[name]["stop_grace_period"])
            > 5 + serve.build_parser().parse_args(given.options).drain_timeout_s
        )
    mapper = SERVICES["mapper"]
    assert mapper["command"] == ["serve"]
    assert set(mapper["environment"]) <= {
        PREFIX + field.name.upper() for field in dataclasses.fields(MapperSettings)
    }
    settings = MapperSettings.load(mapper["environment"], {})
    assert _seconds(mapper["stop_grace_period"]) > 5 + settings.drain_s
    files = SERVICES["file-server"]["environment"]
    assert set(files) <= {FILES + field.name.upper() for field in dataclasses.fields(FileSettings)}
    assert FileSettings.from_environment(files).allow_http


def test_mlflow_knows_its_options():
    given = SERVICES["mlflow"]["command"]

    known = {option for parameter in mlflow.cli.server.params for option in parameter.opts}
    assert given[:2] == ["mlflow", "server"]
    assert {option.partition("=")[0] for option in given[2:]} <= known
    (hosts,) = (option.partition("=")[2] for option in given if option.startswith("--allowed-hosts="))
    for host in ("mlflow:5000", "127.0.0.1:5000", "localhost:5000"):
        assert is_allowed_host_header(hosts.split(","), host)
    assert not is_allowed_host_header(hosts.split(","), "example.com:5000")


def test_mlflow_asks_for_a_password_and_locks_published_versions():
    mlflow_service = SERVICES["mlflow"]
    apps = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["mlflow.app"]
    (app,) = (one for one in mlflow_service["command"] if one.startswith("--app-name="))
    assert app.partition("=")[2] in apps
    environment = mlflow_service["environment"]
    assert {"MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"} <= set(environment)
    settings = configparser.ConfigParser()
    settings.read(DEPLOY / "mlflow" / "basic_auth.ini")
    mine = settings["mlflow"]
    assert "admin_password" not in mine
    assert mine["default_permission"] in ("NO_PERMISSIONS", "READ", "EDIT", "MANAGE")
    (store,) = (one for one in mlflow_service["command"] if one.startswith("--backend-store-uri="))
    assert mine["database_uri"] == store.partition("=")[2]
    mounted = {
        volume["target"] if isinstance(volume, dict) else volume.split(":")[1]
        for volume in mlflow_service["volumes"]
    }
    assert mounted == {environment["MLFLOW_AUTH_CONFIG_PATH"], environment["PYTHONPATH"]}


def test_names_of_services_and_files_are_those_that_there_are():
    scraped = {
        target
        for job in documents(DEPLOY / "monitoring" / "prometheus.yaml")[0]["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    }
    assert scraped == {f"{name}:8080" for name in OUR_OWN}
    for service in SERVICES.values():
        assert set(service.get("networks", [])) <= set(COMPOSE["networks"])
        assert set(service.get("depends_on", [])) <= set(SERVICES)
        for volume in service.get("volumes", []):
            if isinstance(volume, dict):  # one that a variable names
                assert (volume["type"], volume["read_only"]) == ("bind", True)
                continue
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_prometheus_takes_configuration_rules_and_queries(tmp_path: Path):
    inside = documents(KUBERNETES / "monitoring" / "prometheus.yaml")[0]
    for job in inside["scrape_configs"]:
        del job["kubernetes_sd_configs"]  # Debian's promtool is built without Kubernetes
    (tmp_path / "inside.yaml").write_text(yaml.safe_dump(inside))
    for path in (DEPLOY / "monitoring" / "prometheus.yaml", tmp_path / "inside.yaml"):
        done = promtool("check", "config", path)
        assert done.returncode == 0, done.stderr
    rules = [{"record": f"query:{n}", "expr": text} for n, text in enumerate(expressions())]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))

    done = promtool("check", "rules", tmp_path / "queries.yaml")

    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout
    (tmp_path / "wrong.yaml").write_text("groups: [{name: a, rules: [{record: a, expr: 'sum(('}]}]")
    assert promtool("check", "rules", tmp_path / "wrong.yaml").returncode != 0


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))
